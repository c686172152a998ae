package sim_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestCancelOfARealContextDuringADrive(t *testing.T) {
	w := sim.New()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	a := w.Actor("service")
	finished := false
	err := w.Do(ctx, func(ctx context.Context) error {
		sim.Go(ctx, "cut", func(ctx context.Context) error {
			_ = sim.Sleep(ctx, time.Second)
			cancel()
			return nil
		})
		return a.Call(ctx, "slow", func(ctx context.Context) error {
			err := sim.Sleep(ctx, time.Minute)
			finished = err == nil
			return err
		})
	})
	if err != context.Canceled || w.Now() != time.Second {
		t.Errorf("%v at %v", err, w.Now())
	}
	if err := w.Advance(time.Hour); err != nil || !finished {
		t.Errorf("%v; what was called went on: %v", err, finished)
	}
	if err := w.Do(ctx, func(ctx context.Context) error { return sim.Sleep(ctx, 1) }); err != context.Canceled {
		t.Errorf("under a context that is over: %v", err)
	}
	over, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if err := w.Do(over, func(ctx context.Context) error { return sim.Sleep(ctx, 1) }); err != context.DeadlineExceeded {
		t.Errorf("past a real deadline: %v", err)
	}
}

// A process that never gives way to anybody still notices that its caller has
// had enough.
func TestCancelReachesALonelySleeper(t *testing.T) {
	w := sim.New()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := w.Do(ctx, func(ctx context.Context) error {
		for ; n < 1_000_000; n++ {
			if n == 10 {
				cancel()
			}
			if err := sim.Sleep(ctx, 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != context.Canceled || n > 5000 {
		t.Errorf("%v after %d sleeps", err, n)
	}
}

// What is due at the end of a time that passes is done when it has passed, in any
// order, and what is due later is not begun.
func TestAdvanceIsExact(t *testing.T) {
	for seed := range uint64(5) {
		w := sim.New(sim.Seed(seed))
		a := w.Actor("a")
		var done []time.Duration
		for _, d := range []time.Duration{0, 1, 1000, 1001} {
			a.Go("p", func(ctx context.Context) error {
				_ = sim.Sleep(ctx, d)
				err := a.Call(ctx, "more", sim.Yield)
				done = append(done, d)
				return err
			})
		}
		for _, c := range []struct {
			by   time.Duration
			want int
		}{{-1, 1}, {0, 1}, {1, 2}, {999, 3}, {0, 3}, {1, 4}, {time.Hour, 4}} {
			if err := w.Advance(c.by); err != nil || len(done) != c.want {
				t.Errorf("after %v at %v: %v done, %v", c.by, w.Now(), done, err)
			}
		}
		if w.Now() != time.Hour+1001 {
			t.Errorf("at %v", w.Now())
		}
		_ = w.Close()
	}
}

func TestAdvancePastASpinner(t *testing.T) {
	w := sim.New(sim.Limits(0, 1000))
	defer w.Close()
	w.Actor("a").Go("spins", func(ctx context.Context) error {
		for sim.Yield(ctx) == nil {
		}
		return nil
	})
	var stuck *sim.StuckError
	if err := w.Advance(time.Second); !errors.As(err, &stuck) || stuck.Reason != "1000 events" || w.Now() != 0 {
		t.Errorf("%v at %v", err, w.Now())
	}
}

func TestPollingEnds(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("service")
	done := false
	a.Go("work", func(ctx context.Context) error {
		for range 5 {
			_ = sim.Sleep(ctx, 100*time.Hour)
		}
		done = true
		return nil
	})
	polls := 0
	for answer := false; !answer; polls++ {
		err := a.Poll(t.Context(), "status", func(context.Context) error { answer = done; return nil })
		if err != nil || polls > 100 {
			t.Fatalf("%v after %d polls at %v", err, polls, w.Now())
		}
	}
	if w.Now() != 500*time.Hour {
		t.Errorf("at %v after %d polls", w.Now(), polls)
	}
}

func TestPollingADeadlockEnds(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("service")
	a.Go("work", func(ctx context.Context) error { return (&sim.Signal{Name: "never"}).Wait(ctx) })
	poll := func() error { return a.Poll(t.Context(), "status", func(context.Context) error { return nil }) }
	for round := range 3 { // whatever moves between questions starts the count anew
		for range 9000 {
			if err := poll(); err != nil {
				t.Fatal(err)
			}
		}
		between := []func() error{
			func() error { return w.Advance(1) },
			func() error { return w.Do(t.Context(), func(context.Context) error { return nil }) },
			func() error {
				a.Go("quick", func(context.Context) error { return nil })
				return poll()
			},
		}
		if err := between[round](); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for i := 0; err == nil && i < 20_000; i++ {
		err = poll()
	}
	var stuck *sim.StuckError
	if !errors.As(err, &stuck) || !stuck.Deadlock() || stuck.Waiting[0].For != "signal never" {
		t.Errorf("got %v", err)
	}
}

func TestAskingTheDeadUntilTheyLiveEnds(t *testing.T) {
	w := sim.New()
	defer w.Close()
	host := w.Actor("h1")
	service := host.Child("vmms")
	host.Go("restart", func(ctx context.Context) error {
		_ = sim.Sleep(ctx, time.Minute)
		service = host.Child("vmms")
		return nil
	})
	service.Kill()
	asked := 0
	for service.Call(t.Context(), "ask", func(context.Context) error { return nil }) == sim.ErrDead {
		if asked++; asked > 100 {
			t.Fatal("time stands still")
		}
	}
	if w.Now() != time.Minute {
		t.Errorf("at %v", w.Now())
	}
	service.Kill()
	host.Go("restart", func(ctx context.Context) error { return sim.Sleep(ctx, time.Minute) })
	for w.Now() < 2*time.Minute {
		err := service.Poll(t.Context(), "status", func(context.Context) error { return nil })
		if asked++; err != sim.ErrDead || asked > 200 {
			t.Fatalf("%v, and time stands still", err)
		}
	}
}

func TestPollInsideAProcess(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("service")
	bad := errors.New("bad")
	err := w.Do(t.Context(), func(ctx context.Context) error {
		return a.Poll(ctx, "status", func(context.Context) error { return bad })
	})
	if err != bad {
		t.Errorf("got %v", err)
	}
	if err := a.Poll(t.Context(), "status", func(context.Context) error { return bad }); err != bad {
		t.Errorf("got %v", err)
	}
}

func TestWaitFromOrdinaryCode(t *testing.T) {
	w := sim.New()
	bad := errors.New("bad")
	p := w.Actor("a").Go("p", func(ctx context.Context) error { return errors.Join(sim.Sleep(ctx, time.Hour), bad) })
	if err := p.Wait(t.Context()); !errors.Is(err, bad) || w.Now() != time.Hour {
		t.Errorf("%v at %v", err, w.Now())
	}
	stopped := w.Actor("a").Go("q", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) })
	_ = w.Close()
	if err := p.Wait(t.Context()); !errors.Is(err, bad) {
		t.Errorf("after Close: %v", err)
	}
	if err := stopped.Wait(t.Context()); err != sim.ErrDead {
		t.Errorf("of a process that Close ended: %v", err)
	}
	late := w.Actor("b").Go("late", func(context.Context) error { return nil })
	if err := late.Wait(t.Context()); err != sim.ErrClosed || !late.Ended() {
		t.Errorf("of a process of a closed world: %v", err)
	}
}

func TestJoin(t *testing.T) {
	w := sim.New()
	defer w.Close()
	one, two := errors.New("one"), errors.New("two")
	err := w.Do(t.Context(), func(ctx context.Context) error {
		late := sim.Go(ctx, "late", func(ctx context.Context) error { return errors.Join(sim.Sleep(ctx, 2), one) })
		soon := sim.Go(ctx, "soon", func(ctx context.Context) error { return errors.Join(sim.Sleep(ctx, 1), two) })
		good := sim.Go(ctx, "good", func(ctx context.Context) error { return nil })
		return sim.Join(ctx, late, soon, good)
	})
	if err == nil || err.Error() != "one\ntwo" {
		t.Errorf("got %v", err)
	}
}

// A world inside a world: two simulations that know nothing of each other.
func TestWorldInAWorld(t *testing.T) {
	outer, inner := sim.New(), sim.New()
	defer outer.Close()
	defer inner.Close()
	p := inner.Actor("i").Go("p", func(ctx context.Context) error { return sim.Sleep(ctx, time.Minute) })
	err := outer.Do(t.Context(), func(ctx context.Context) error {
		err := inner.Do(ctx, func(c context.Context) error {
			if err := outer.Do(c, func(context.Context) error { return nil }); err != sim.ErrContext {
				t.Errorf("the outer world from within the inner: %v", err)
			}
			return sim.Sleep(c, time.Hour)
		})
		return errors.Join(err, p.Wait(ctx), sim.Sleep(ctx, time.Second))
	})
	if err != nil || outer.Now() != time.Second || inner.Now() != time.Hour {
		t.Errorf("%v; %v and %v", err, outer.Now(), inner.Now())
	}
}

func TestRunning(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("h1").Child("db 1")
	var names []string
	for range 2 {
		a.Go("work", func(context.Context) error { names = append(names, w.Running()); return nil })
	}
	if err := w.Advance(1); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(names) != "[h1/db%201:work h1/db%201:work#2]" || w.Running() != "" || w.Steps() != 2 {
		t.Errorf("%v, %q, %d", names, w.Running(), w.Steps())
	}
	if a.Parent().Path() != "h1" || a.Parent().Parent() != nil || w.Date() != sim.Epoch.Add(1) {
		t.Error("lost in the tree or in time")
	}
}
