package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A ledgerMachine is the machine of one run of the kit: its disks outlive it.
type ledgerMachine struct {
	t      *testing.T
	args   map[string]string
	world  *sim.World
	config guest.Config
}

// start boots the machine, the ledger in it, below the writer's actor. The kit
// talks to the ledger itself: what the machine's own service would do is the
// kit's to do.
func (l *ledgerMachine) start(ctx context.Context, env *vsstest.WriterEnv) (vss.Writer, error) {
	if l.world != env.World {
		l.world, l.config = env.World, newRig(l.t, l.args).Config
	}
	var program *ledger.Ledger
	l.config.Parent = env.Actor
	l.config.Catalog = guest.Catalog{ledger.Name: func(p guest.Program) (guest.Application, error) {
		a, err := ledger.New(p)
		if err == nil {
			program = a.(*ledger.Ledger)
		}
		return a, err
	}}
	m, err := guest.Boot(ctx, l.config)
	if err != nil {
		return nil, err
	}
	data, err := m.Drive("D:")
	log, err2 := m.Drive("E:")
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	return program, env.Use(data, log)
}

// readOnly is a file of an image as a store.
type readOnly struct {
	io.ReaderAt
	size int64
}

func (r readOnly) Size() int64                        { return r.size }
func (r readOnly) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

func volumeIn(image fs.FS, name string) (disk.Store, error) {
	f, err := image.Open(name + "/" + guest.ShadowFileName)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return readOnly{f.(io.ReaderAt), info.Size()}, nil
}

func consistent(image fs.FS) error {
	data, err := volumeIn(image, "D")
	log, err2 := volumeIn(image, "E")
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if verdict, report := ledger.Check(data, log); verdict != ledger.Application {
		return fmt.Errorf("%v: %v", verdict, report)
	}
	return nil
}

func kitOptions() vsstest.WriterOptions {
	return vsstest.WriterOptions{
		Config: (&ledger.Ledger{}).WriterConfig(), Consistent: consistent, Runs: 20, World: []sim.Option{sim.TraceIO()},
	}
}

// The ledger keeps every promise of a writer, in a machine with data and log on
// two volumes.
func TestLedgerKeepsItsPromises(t *testing.T) {
	l := &ledgerMachine{t: t, args: map[string]string{"rest": "150ms"}}
	if err := vsstest.TestWriter(l.start, kitOptions()); err != nil {
		t.Error(err)
	}
}

// A ledger that was told to misbehave is caught.
func TestLedgerThatMisbehaves(t *testing.T) {
	for arg, value := range map[string]string{"slow": "61s", "veto": "thaw"} {
		l := &ledgerMachine{t: t, args: map[string]string{"rest": "150ms", arg: value}}
		o := kitOptions()
		o.Replay = "backup"
		err := vsstest.TestWriter(l.start, o)
		var b *vsstest.Broken
		if !errors.As(err, &b) || b.Promise != "a backup in which nothing goes wrong succeeds" {
			t.Errorf("%s=%s: %v", arg, value, err)
		}
	}
}
