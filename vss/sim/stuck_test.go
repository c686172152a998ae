package sim_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestDeadlockNamesWhoWaitsForWhat(t *testing.T) {
	w := sim.New(sim.Plan("vss/freeze hang"))
	defer w.Close()
	a := w.Actor("h1")
	m, g := &sim.Mutex{Name: "set"}, &sim.Gate{Name: "D:"}
	a.Go("owner", func(ctx context.Context) error { return errors.Join(m.Lock(ctx), new(sim.Signal).Wait(ctx)) })
	a.Go("locks", m.Lock)
	g.Shut()
	a.Background("writes", g.Pass)
	p := a.Go("freeze", func(ctx context.Context) error { return sim.At(ctx, "vss/freeze") })
	vm := a.Child("vm")
	vm.Go("sleeps", func(ctx context.Context) error { return sim.Sleep(ctx, time.Minute) })
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, 10*time.Second)
		vm.Pause()
		vm.Go("new", func(context.Context) error { return nil })
		return p.Wait(ctx)
	})
	const want = `sim: stuck at 10s: deadlock
	h1:owner waits for signal a signal
	h1:locks waits for mutex set held by h1:owner
	h1:writes waits for gate D: (background)
	h1:freeze waits for a hang at vss/freeze
	h1/vm:sleeps waits for a timer with 50s left (paused)
	:do waits for the end of h1:freeze
	h1/vm:new waits for its turn (paused)`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %v", err, want)
	}
	if err := w.Do(t.Context(), func(ctx context.Context) error { vm.Resume(); return sim.Sleep(ctx, time.Hour) }); err != nil {
		t.Errorf("the world does not go on: %v", err)
	}
}

func TestRunawayInVirtualTime(t *testing.T) {
	w := sim.New()
	defer w.Close()
	w.Actor("a").Background("workload", func(ctx context.Context) error {
		for sim.Sleep(ctx, time.Hour) == nil {
		}
		return nil
	})
	never := func(ctx context.Context) error { return (&sim.Signal{Name: "never"}).Wait(ctx) }
	for i := 1; i < 3; i++ { // each call has its own 48 hours
		err := w.Do(t.Context(), never)
		var stuck *sim.StuckError
		if !errors.As(err, &stuck) || stuck.Deadlock() || stuck.Reason != "48h0m0s of virtual time" ||
			stuck.At != time.Duration(i)*sim.DefaultVirtualLimit || len(stuck.Waiting) != 2 ||
			stuck.Waiting[0].Process != "a:workload" || stuck.Waiting[1].For != "signal never" {
			t.Errorf("got %v", err)
		}
	}
	if err := w.Advance(100 * time.Hour); err != nil || w.Now() != 196*time.Hour {
		t.Errorf("Advance: %v, at %v", err, w.Now())
	}
	alone := sim.New(sim.Limits(time.Hour, 0))
	defer alone.Close()
	err := alone.Do(t.Context(), func(ctx context.Context) error { return sim.Sleep(ctx, 2*time.Hour) })
	var stuck *sim.StuckError
	if !errors.As(err, &stuck) || stuck.Reason != "1h0m0s of virtual time" {
		t.Errorf("a sleep past the limit: %v", err)
	}
}

func TestRunawayInEvents(t *testing.T) {
	spin := map[string]func(ctx context.Context) error{
		"sleep": func(ctx context.Context) error { return sim.Sleep(ctx, 1) },
		"yield": sim.Yield,
		"call": func(ctx context.Context) error {
			return sim.Self(ctx).Call(ctx, "c", func(context.Context) error { return nil })
		},
		"deadline": func(ctx context.Context) error {
			c, cancel := sim.WithTimeout(ctx, 1)
			defer cancel()
			_ = sim.Sleep(c, 2)
			return nil
		},
	}
	for name, step := range spin {
		w := sim.New(sim.Limits(0, 100_000))
		spinner := func(ctx context.Context) error {
			for {
				_ = step(ctx)
			}
		}
		err := w.Do(t.Context(), spinner)
		var stuck *sim.StuckError
		if !errors.As(err, &stuck) || stuck.Reason != "100000 events" || w.Steps() > 100_100 {
			t.Errorf("%s: %v after %d steps", name, err, w.Steps())
		}
		w.Actor("a").Background("spinner", spinner)
		if err := w.Do(t.Context(), func(ctx context.Context) error { return new(sim.Signal).Wait(ctx) }); !errors.As(err, &stuck) {
			t.Errorf("%s in the background: %v", name, err)
		}
		_ = w.Close()
	}
	huge := sim.New(sim.Limits(1<<63-1, 1<<64-1))
	defer huge.Close()
	if err := errors.Join(huge.Advance(time.Hour), huge.Advance(time.Hour)); err != nil {
		t.Errorf("with limits that are none: %v", err)
	}
}

func TestDefaultEventLimit(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		for sim.Sleep(ctx, 1) == nil {
		}
		return nil
	})
	var stuck *sim.StuckError
	if !errors.As(err, &stuck) || stuck.Reason != "10000000 events" || w.Steps() > sim.DefaultEventLimit+10 {
		t.Errorf("%v after %d steps", err, w.Steps())
	}
}

func TestDeadlockOfAProcessThatWaitsForItself(t *testing.T) {
	w := sim.New()
	defer w.Close()
	var p *sim.Proc
	p = w.Actor("a").Go("p", func(ctx context.Context) error { return p.Wait(ctx) })
	err := p.Wait(t.Context())
	var stuck *sim.StuckError
	if !errors.As(err, &stuck) || stuck.Waiting[0].For != "the end of a:p" {
		t.Errorf("got %v", err)
	}
	if p.Ended() {
		t.Error("who gave up waiting ended the process")
	}
	if err := w.Advance(time.Second); err != nil {
		t.Error(err)
	}
}
