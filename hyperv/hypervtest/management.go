package hypervtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Fixture is a management in a world of its own, with the machines that the kit
// works with.
type Fixture struct {
	World      *sim.World
	Management hyperv.Management

	// Machines in these states, created in this order. Off has a network adapter,
	// and Running and Off have a disk.
	Off, Running, Paused, Saved [16]byte
	// Switch is a virtual switch that exists.
	Switch [16]byte

	// PutBack writes the configuration file of a machine that was deleted, at the
	// path it had, as a requester does between PreRestore and PostRestore.
	PutBack func(path string) error

	// Exists tells whether a file of the host is there. Without it the kit does not
	// look at files.
	Exists func(path string) bool
	// Snapshots counts the snapshots that are kept in the live disks of a machine.
	// Without it the kit does not look for them.
	Snapshots func(id [16]byte) int
	// FailSave makes the next Save of a machine fail. Without it the kit does not
	// try that.
	FailSave func(id [16]byte)
}

// NewFixture makes a fresh fixture. The kit closes its world.
type NewFixture func() (*Fixture, error)

// A Promise is what a [hyperv.Management] owes, as a sentence.
type Promise string

// A Broken is a promise that was not kept.
type Broken struct {
	Promise Promise
	Fact    string // the call, and what happened
}

func (b *Broken) Error() string { return string(b.Promise) + ": " + b.Fact }

// ErrSkipped is why a case was not tried: the fixture has not got what it takes.
var ErrSkipped = errors.New("skipped")

// A managementCase tries one promise with a fresh fixture.
type managementCase struct {
	promise Promise
	try     func(k *try) error
}

// TestManagement exercises a management and returns what it did wrong, joined:
// each a [*Broken], with the promise and the call. What the fixture has no means
// to try is left out.
func TestManagement(newFixture NewFixture) error {
	var errs []error
	for _, c := range managementCases() {
		if err := c.run(newFixture); err != nil && !errors.Is(err, ErrSkipped) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// RunManagement does what [TestManagement] does, as a sub-test for each promise.
func RunManagement(t *testing.T, newFixture NewFixture) {
	t.Helper()
	for _, c := range managementCases() {
		t.Run(string(c.promise), func(t *testing.T) {
			t.Helper()
			switch err := c.run(newFixture); {
			case errors.Is(err, ErrSkipped):
				t.Skip(err)
			case err != nil:
				t.Error(err)
			}
		})
	}
}

func managementCases() []managementCase {
	var all []managementCase
	for _, list := range [][]managementCase{inventoryCases, controlCases, guestCases, registryCases} {
		all = append(all, list...)
	}
	return all
}

// run tries the promise in a process of the fixture's world.
func (c managementCase) run(newFixture NewFixture) error {
	f, err := newFixture()
	if err != nil {
		return fmt.Errorf("making a fixture: %w", err)
	}
	defer func() { _ = f.World.Close() }()
	err = f.World.Do(context.Background(), func(ctx context.Context) error {
		return sim.Protect(ctx, func() error { return c.try(&try{Fixture: f, Management: f.Management, ctx: ctx}) })
	})
	if err == nil || errors.Is(err, ErrSkipped) {
		return err
	}
	return &Broken{Promise: c.promise, Fact: err.Error()}
}

// A try is one case under way.
type try struct {
	*Fixture
	hyperv.Management
	ctx context.Context
}

func skip(what string) error { return fmt.Errorf("%w: the fixture %s", ErrSkipped, what) }

// nobody is the ID of no machine and no switch.
var nobody = [16]byte{0xFF, 1, 2, 3, 4, 5, 0x40, 7, 0x80, 9}

// failsWith checks that a call was refused for the reason it should be.
func failsWith(call string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s returned %w, want %w", call, orNil(err), want)
	}
	return nil
}

var errNil = errors.New("nil")

func orNil(err error) error {
	if err == nil {
		return errNil
	}
	return err
}

// ok checks that a call was carried out.
func ok(call string, err error) error {
	if err != nil {
		return fmt.Errorf("%s returned %w", call, err)
	}
	return nil
}

// is checks what a machine is doing.
func (k *try) is(id [16]byte, want hyperv.State) error {
	m, err := k.Machine(k.ctx, id)
	if err != nil {
		return ok("Machine", err)
	}
	if m.State != want {
		return fmt.Errorf("the machine is %v, want %v", m.State, want)
	}
	if m.Facts.State != want {
		return fmt.Errorf("the machine is %v, and its facts say %v", want, m.Facts.State)
	}
	return nil
}

// A standing is a machine of the fixture with its state.
type standing struct {
	id [16]byte
	in hyperv.State
}

// standings are those of the machines in the order they were created, but for
// states that are not wanted.
func (k *try) standings(but ...hyperv.State) []standing {
	all := []standing{{k.Off, hyperv.StateOff}, {k.Running, hyperv.StateRunning}, {k.Paused, hyperv.StatePaused}, {k.Saved, hyperv.StateSaved}}
	return slices.DeleteFunc(all, func(s standing) bool { return slices.Contains(but, s.in) })
}

// steps carries out steps up to the first that fails.
func steps(list ...func() error) error {
	for _, s := range list {
		if err := s(); err != nil {
			return err
		}
	}
	return nil
}

func (k *try) save(id [16]byte) func() error {
	return func() error { return ok("Save", k.Save(k.ctx, id)) }
}

func (k *try) restore(id [16]byte, to hyperv.State) func() error {
	return func() error { return ok("Restore", k.Restore(k.ctx, id, to)) }
}

func (k *try) turnOff(id [16]byte) func() error {
	return func() error { return ok("TurnOff", k.TurnOff(k.ctx, id)) }
}

func (k *try) stays(id [16]byte, s hyperv.State) func() error {
	return func() error { return k.is(id, s) }
}

func (k *try) refused(call string, want error, do func() error) func() error {
	return func() error { return failsWith(call, do(), want) }
}
