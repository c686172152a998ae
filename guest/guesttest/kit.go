package guesttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// NewRequestor makes the backup service of a machine, as
// [guest.Config.NewRequestor] does.
type NewRequestor func(m *guest.Machine) guest.Requestor

// Options say what the service is made for. The zero value is one of a Windows
// Server 2008.
type Options struct {
	// System is the operating system of the machines.
	System guest.OS

	// Slow is a planned fault that delays a Snapshot by at least an hour:
	// "guest/answer delay=2h". Without it nothing is tried that takes time. The
	// default suits services that come with this module.
	Slow string

	// Faults are the points that the service asks beyond those of package guest.
	Faults []sim.FaultPoint
}

// DefaultSlow delays the services that come with the operating systems.
const DefaultSlow = "guest/answer delay=2h"

func (o Options) system() guest.OS {
	if o.System == "" {
		return guest.WindowsServer2008
	}
	return o.System
}

func (o Options) slow() string {
	if o.Slow == "" {
		return DefaultSlow
	}
	return o.Slow
}

// A Promise is what a [guest.Requestor] owes, as a sentence.
type Promise string

// A Broken is a promise that was not kept.
type Broken struct {
	Promise Promise
	Fact    string // the call, and what happened
}

func (b *Broken) Error() string { return string(b.Promise) + ": " + b.Fact }

// errSkipped is why a case was not tried.
var errSkipped = errors.New("skipped")

// A requestorCase tries one promise, in as many machines as it likes.
type requestorCase struct {
	promise Promise
	try     func(k *kit) error
}

func requestorCases() []requestorCase {
	var all []requestorCase
	for _, list := range [][]requestorCase{snapshotCases, writerCases, endCases, faultCases} {
		all = append(all, list...)
	}
	return all
}

// TestRequestor exercises a backup service and returns what it did wrong, joined:
// each a [*Broken], with the promise and the call.
func TestRequestor(newRequestor NewRequestor, o Options) error {
	var errs []error
	for _, c := range requestorCases() {
		if err := c.run(newRequestor, o); err != nil && !errors.Is(err, errSkipped) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// RunRequestor does what [TestRequestor] does, as a sub-test for each promise.
func RunRequestor(t *testing.T, newRequestor NewRequestor, o Options) {
	t.Helper()
	for _, c := range requestorCases() {
		t.Run(string(c.promise), func(t *testing.T) {
			t.Helper()
			switch err := c.run(newRequestor, o); {
			case errors.Is(err, errSkipped):
				t.Skip(err)
			case err != nil:
				t.Error(err)
			}
		})
	}
}

func (c requestorCase) run(newRequestor NewRequestor, o Options) error {
	err := c.try(&kit{newRequestor: newRequestor, Options: o})
	if err == nil || errors.Is(err, errSkipped) {
		return err
	}
	return &Broken{Promise: c.promise, Fact: err.Error()}
}

// A kit makes machines for one case.
type kit struct {
	newRequestor NewRequestor
	Options
}

// with runs fn with a machine that has just booted, in a process of the machine's
// host, and closes its world.
func (k *kit) with(fn func(ctx context.Context, b *bench) error, opts ...sim.Option) error {
	w := sim.New(append([]sim.Option{sim.Limits(patience, 0)}, opts...)...)
	defer func() { _ = w.Close() }()
	b := newBench(k, w)
	host := w.Actor("host")
	return host.Call(context.Background(), "kit", func(ctx context.Context) error {
		return sim.Protect(ctx, func() error {
			if err := b.boot(ctx); err != nil {
				return err
			}
			return fn(ctx, b)
		})
	})
}

// patience is how long a call may take before the kit calls it stuck, in virtual
// time.
const patience = 6 * time.Hour

// wants checks that a call failed for the reason it should.
func wants(call string, err error, want ...error) error {
	for _, w := range want {
		if errors.Is(err, w) {
			return nil
		}
	}
	if err == nil {
		return fmt.Errorf("%s succeeded, want %w", call, want[0])
	}
	return fmt.Errorf("%s failed with %q, want %w", call, err, want[0])
}

// during adds the call to an error.
func during(call string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return nil
}
