package guest

import (
	"context"
	"time"

	"github.com/shadowsim/shadowsim/disk"
)

// An Application is a program as it runs: a function that takes one step after
// another over bytes, those of the machine's volumes and those of its own
// region of memory. Whatever is to outlive a save must be in one of them; the
// Go value is gone after it, and the next run makes a new one.
//
// The machine calls its methods one at a time, those of [vss.Writer] too if it
// is one. A save waits until the call has returned.
type Application interface {
	// Step does a bounded piece of work and says how long to rest until the
	// next; at least [MinRest] passes. An error is a crash: the program ends,
	// the machine goes on.
	Step(ctx context.Context, e *Env) (rest time.Duration, err error)
}

// A Starter is an application that wants to know when a run begins: at boot with
// its memory all zero, and after a resume with its memory as it was saved. Start
// is called before the first step and before any writer event. Backup sessions
// do not survive a save, so whatever a session froze must be thawed here.
type Starter interface {
	Start(ctx context.Context, e *Env) error
}

// A Sizer is an application that says how many bytes of memory it wants; others
// get [DefaultRegion].
type Sizer interface {
	RegionSize() int64
}

const (
	// MinRest is the least time between two steps of an application.
	MinRest = time.Millisecond
	// DefaultRegion is the memory of an application that is no [Sizer].
	DefaultRegion = 64 << 10
)

// A Constructor makes an application for one run of a machine from what the
// system record says about the program. It refuses arguments that it does not
// understand.
type Constructor func(p Program) (Application, error)

// A Catalog knows programs by the names that system records use.
type Catalog map[string]Constructor

// An Env is what the machine offers to an application.
type Env struct {
	Program Program
	Memory  disk.Store // its region, the same bytes after a resume
	machine *Machine
}

// Open gives access to a volume by its name ("D:"), for as long as ctx goes.
// Reads and writes wait while the volume holds them, and may fail, as on a real
// machine. Programs keep to the volume's [Volume.Data].
func (e *Env) Open(ctx context.Context, volume string) (*File, error) {
	d, err := e.machine.Drive(volume)
	if err != nil {
		return nil, err
	}
	return d.Open(ctx), nil
}
