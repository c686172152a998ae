package clustertest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Bench is what one case works with: two hosts of one kind in a world of their
// own, and a volume that both reach and none has mounted.
type Bench struct {
	World       *sim.World
	Host, Other cluster.Host
	Volume      *hyperv.SharedVolume

	// Machine makes a machine with all its files on Volume, which Host has mounted
	// by then. It is registered on Host and off.
	Machine func(ctx context.Context, name string) (id [16]byte, path string, err error)

	// MachineIn does the same where Host has Volume mounted in a folder. It may be
	// nil for hosts that know drive letters alone; they cannot have Cluster Shared
	// Volumes below C:\ClusterStorage.
	MachineIn func(ctx context.Context, folder, name string) (id [16]byte, path string, err error)

	// Shadow has Host take a shadow copy of Volume. It may be nil for hosts that
	// take none.
	Shadow func(ctx context.Context) (id [16]byte, err error)
}

// A Broken is a promise that a host does not keep.
type Broken struct {
	Case    string
	Promise string
	Err     error // what happened instead, or nil
}

func (b *Broken) Error() string {
	s := b.Case + ": " + b.Promise
	if b.Err != nil {
		s += ": " + b.Err.Error()
	}
	return s
}

// Unwrap is what happened instead.
func (b *Broken) Unwrap() error { return b.Err }

// TestHost exercises hosts and returns what they did wrong, joined: a [*Broken]
// for each promise. It asks for a fresh bench for each case, and closes its world.
func TestHost(newBench func() (*Bench, error)) error {
	var errs []error
	for _, c := range hostCases {
		errs = append(errs, c.run(newBench))
	}
	return errors.Join(errs...)
}

// RunHost does the same as sub-tests. Cases that a host offers nothing for are
// skipped aloud.
func RunHost(t *testing.T, newBench func() (*Bench, error)) {
	t.Helper()
	for _, c := range hostCases {
		t.Run(c.name, func(t *testing.T) {
			err := c.run(func() (*Bench, error) {
				b, err := newBench()
				if err == nil && c.needs != nil {
					if what := c.needs(b); what != "" {
						t.Logf("skipped: the host offers no %s", what)
					}
				}
				return b, err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A hostCase is one situation and the promises in it.
type hostCase struct {
	name  string
	needs func(b *Bench) (missing string) // nil: nothing but the interface itself
	check func(ctx context.Context, k *keeper)
}

func (c hostCase) run(newBench func() (*Bench, error)) error {
	b, err := newBench()
	if err != nil {
		return &Broken{c.name, "a bench can be made", err}
	}
	defer func() { _ = b.World.Close() }()
	if c.needs != nil && c.needs(b) != "" {
		return nil
	}
	k := &keeper{Bench: b, name: c.name}
	err = b.World.Do(context.Background(), func(ctx context.Context) error {
		c.check(ctx, k)
		return nil
	})
	if err != nil {
		k.broken("a call comes to an end, without a panic", err)
	}
	return errors.Join(k.errs...)
}

// A keeper notes broken promises.
type keeper struct {
	*Bench
	name string
	errs []error
}

func (k *keeper) broken(promise string, err error) {
	k.errs = append(k.errs, &Broken{k.name, promise, err})
}

// demand notes a promise that is not kept.
func (k *keeper) demand(kept bool, promise string, args ...any) {
	if !kept {
		k.broken(fmt.Sprintf(promise, args...), nil)
	}
}

// works notes a call that should have worked, and tells whether it has.
func (k *keeper) works(err error, promise string, args ...any) bool {
	if err != nil {
		k.broken(fmt.Sprintf(promise, args...), err)
	}
	return err == nil
}

// refused notes a call that should have failed, and so.
func (k *keeper) refused(err, want error, promise string, args ...any) {
	if err == nil || want != nil && !errors.Is(err, want) {
		k.broken(fmt.Sprintf(promise, args...), fmt.Errorf("the error is %w", or(err)))
	}
}

var errNone = errors.New("none")

func or(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// in demands that a machine of a host is in a state.
func (k *keeper) in(ctx context.Context, h cluster.Host, id [16]byte, want hyperv.State, promise string) {
	switch s, err := h.State(ctx, id); {
	case err != nil:
		k.broken(promise, err)
	case s != want:
		k.broken(promise, fmt.Errorf("it is %v, not %v", s, want))
	}
}

// machine mounts the volume on the host and makes a machine there.
func (k *keeper) machine(ctx context.Context) (id [16]byte, path string, ok bool) {
	if !k.works(k.Host.Mount(hyperv.Mount{Volume: k.Volume}), "a volume can be mounted") {
		return id, path, false
	}
	id, path, err := k.Machine(ctx, "db")
	return id, path, k.works(err, "a machine can be made")
}

// running is a machine that was started.
func (k *keeper) running(ctx context.Context) (id [16]byte, path string, ok bool) {
	if id, path, ok = k.machine(ctx); !ok {
		return id, path, false
	}
	return id, path, k.works(k.Host.Start(ctx, id), "a machine that is off can be started")
}

// silent runs a call that must not give way.
func (k *keeper) silent(call string, fn func()) {
	before := k.World.Steps()
	fn()
	k.demand(k.World.Steps() == before, "%s does not give way", call)
}
