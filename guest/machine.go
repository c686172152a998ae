package guest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A DiskKind says how a disk reaches the machine, which decides whether a backup
// from outside of it can see the disk.
type DiskKind uint8

// The kinds of disks.
const (
	VirtualHardDisk DiskKind = iota // a file on a volume of the host
	PassThrough                     // a physical disk of the host given to the machine (R39)
	InGuestISCSI                    // a disk that the machine's own initiator connects to (R40)
)

// String names the kind.
func (k DiskKind) String() string {
	switch k {
	case VirtualHardDisk:
		return "virtual hard disk"
	case PassThrough:
		return "pass-through"
	case InGuestISCSI:
		return "in-guest iSCSI"
	}
	return "unknown kind"
}

// An Attachment is a disk in the machine's hands.
type Attachment struct {
	Disk Disk
	Kind DiskKind
}

// Disks attaches virtual hard disks in the order given.
func Disks(disks ...Disk) []Attachment {
	list := make([]Attachment, len(disks))
	for i, d := range disks {
		list[i].Disk = d
	}
	return list
}

// A Config is what a machine runs with. All that lasts is in the disks.
type Config struct {
	// Parent is the actor of the virtual machine. Each run has an actor of its
	// own below it, named "guest".
	Parent *sim.Actor

	Disks   []Attachment
	Memory  int64   // bytes of RAM; 0 is [DefaultMemory]
	Catalog Catalog // what the programs of the system record are

	// OldestService is the oldest version of the backup service that the host
	// speaks with: "6.0.6001.18016". Empty, it speaks with all.
	OldestService string

	// CurrentService is the version of the backup service that comes with the
	// host. An older one in the guest is [StatusDegraded]. Empty, none is.
	CurrentService string

	// BusyAfterBoot is how long after a boot the backup service of a Windows is
	// [ErrBusy], because what it needs is still being started.
	BusyAfterBoot time.Duration

	// Detection bounds how long the backup service of a Windows may look for volumes.
	Detection Detection

	// NewRequestor makes the machine's backup service instead of the one that
	// comes with its operating system.
	NewRequestor func(m *Machine) Requestor

	VSS vss.ServiceConfig // of the machine's own service
}

// A Machine is one run of an operating system, from boot or resume to power-off,
// save or death. The next run is another Machine; nothing but the bytes of the
// disks, and after a save those of the memory, goes from one to the other.
//
// Shadow copies inside the machine belong to a run as well: those an earlier one
// left in the disks are dropped when the next begins. Windows keeps persistent
// ones across a restart.
type Machine struct {
	config  Config
	began   string // "Boot" or "Resume"
	actor   *sim.Actor
	path    string
	layouts []*Layout
	drives  []*Drive
	system  *System
	boot    *Drive // the volume with the system record
	memory  *Memory
	service *vss.Service
	apps    []*app
	steps   turnstile

	requestor Requestor
	paused    bool
	pausedAt  time.Duration
	stopping  bool // a save or a shutdown is under way
	toldCold  bool // event 22 is in the log
	readyAt   time.Duration
}

// Actor is the actor of this run. Killing it is a power failure.
func (m *Machine) Actor() *sim.Actor { return m.actor }

// Ended tells whether the run is over.
func (m *Machine) Ended() bool { return m.actor.Dead() }

// System is what the system record says now. It must not be changed.
func (m *Machine) System() *System { return m.system }

// VSS is the machine's own Volume Shadow Copy Service; nil if the operating
// system has none.
func (m *Machine) VSS() *vss.Service { return m.service }

// Memory is the machine's RAM.
func (m *Machine) Memory() *Memory { return m.memory }

// Layouts is what the disks hold, in their order, nil for one that could not be
// understood. It was read when the run began.
func (m *Machine) Layouts() []*Layout { return slices.Clone(m.layouts) }

// Disks lists the attached disks.
func (m *Machine) Disks() []Attachment { return slices.Clone(m.config.Disks) }

// Drives lists the mounted volumes in the order of disks and places on them.
func (m *Machine) Drives() []*Drive { return slices.Clone(m.drives) }

// Volumes tells where the mounted volumes lie.
func (m *Machine) Volumes() []Volume {
	list := make([]Volume, len(m.drives))
	for i, d := range m.drives {
		list[i] = d.volume
	}
	return list
}

// Drive returns the mounted volume of a name: "C:", `C:\`, in any case, or the
// name of a volume without a letter.
func (m *Machine) Drive(name string) (*Drive, error) {
	for _, d := range m.drives {
		if strings.EqualFold(d.volume.Name(), strings.TrimSuffix(name, `\`)) {
			return d, nil
		}
	}
	return nil, &Error{Op: "Drive", On: m.path + "/" + name, Err: ErrNoVolume}
}

// WriteAt writes to a volume as some program inside the machine would.
func (m *Machine) WriteAt(ctx context.Context, volume string, off int64, p []byte) error {
	return m.access(ctx, "WriteAt", volume, func(f *File) error {
		_, err := f.WriteAt(p, off)
		return err
	})
}

// ReadAt reads from a volume as some program inside the machine would. It fails
// unless it fills p.
func (m *Machine) ReadAt(ctx context.Context, volume string, off int64, p []byte) error {
	return m.access(ctx, "ReadAt", volume, func(f *File) error {
		n, err := f.ReadAt(p, off)
		if n == len(p) {
			err = nil
		}
		return err
	})
}

func (m *Machine) access(ctx context.Context, op, volume string, fn func(*File) error) error {
	d, err := m.Drive(volume)
	if err != nil {
		return err
	}
	return m.call(ctx, op, func(ctx context.Context) error { return fn(d.Open(ctx)) })
}

// call runs fn as a process of the machine.
func (m *Machine) call(ctx context.Context, op string, fn func(ctx context.Context) error) error {
	return m.callOn(ctx, m.actor, op, fn)
}

// callOn is call for an actor below the machine's. The death of the machine on
// the way is [ErrEnded].
func (m *Machine) callOn(ctx context.Context, a *sim.Actor, op string, fn func(ctx context.Context) error) error {
	if m.Ended() {
		return m.fail(op, ErrEnded)
	}
	err := a.Call(ctx, op, fn)
	if err != nil && m.Ended() && errors.Is(err, sim.ErrDead) {
		return m.fail(op, ErrEnded)
	}
	return err
}

// Pause stops the machine where it stands; timers stop with it.
func (m *Machine) Pause() {
	if !m.paused && !m.Ended() {
		m.paused, m.pausedAt = true, m.actor.World().Now()
		m.actor.Pause()
	}
}

// Continue lets a paused machine go on.
func (m *Machine) Continue() {
	if !m.paused {
		return
	}
	m.paused = false
	for _, a := range m.apps {
		a.due += m.actor.World().Now() - m.pausedAt
	}
	m.actor.Resume()
}

// Paused tells whether the machine is paused.
func (m *Machine) Paused() bool { return m.paused }

// PausedFor is how long the machine has stood still now, or zero.
func (m *Machine) PausedFor() time.Duration {
	if !m.paused {
		return 0
	}
	return m.actor.World().Now() - m.pausedAt
}

// now is the time as programs see it: it stands still in a paused machine.
func (m *Machine) now() time.Duration {
	if m.paused {
		return m.pausedAt
	}
	return m.actor.World().Now()
}

// dropKept removes the shadow copies that an earlier run left in the disks.
func (m *Machine) dropKept() error {
	for _, a := range m.config.Disks {
		for _, id := range a.Disk.KeptIDs() {
			if err := a.Disk.Drop(id); err != nil {
				return m.fail(m.began, err)
			}
		}
	}
	return nil
}

func (m *Machine) fail(op string, cause error) error {
	return &Error{Op: op, On: m.path, Err: cause}
}
