package sim_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestPauseKeepsWhatATimerHadLeft(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	var woke time.Duration
	p := a.Child("b").Go("sleeper", func(ctx context.Context) error {
		err := sim.Sleep(ctx, 10*time.Second)
		woke = sim.Now(ctx)
		return err
	})
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, 4*time.Second)
		a.Pause()
		a.Pause() // is pausing once
		_ = sim.Sleep(ctx, time.Minute)
		a.Resume()
		a.Resume()
		return p.Wait(ctx)
	})
	if want := 70 * time.Second; err != nil || woke != want {
		t.Errorf("woke at %v, %v; want %v", woke, err, want)
	}
}

// Pauses of a parent and of a child count each for itself.
func TestNestedPauses(t *testing.T) {
	for _, c := range []struct {
		name string
		ops  string // P, R: of the parent; p, r: of the child; one a second
		want time.Duration
	}{
		{"parent around child", "PprR", 7 * time.Second},
		{"child around parent", "pPRr", 7 * time.Second},
		{"overlapping", "PpRr", 7 * time.Second},
		{"one after the other", "PRpr", 6 * time.Second},
		{"of neither", "rRrR", 4 * time.Second},
	} {
		w := sim.New()
		parent := w.Actor("parent")
		child := parent.Child("child")
		var woke time.Duration
		p := child.Go("sleeper", func(ctx context.Context) error {
			err := sim.Sleep(ctx, 4*time.Second)
			woke = sim.Now(ctx)
			return err
		})
		err := w.Do(t.Context(), func(ctx context.Context) error {
			for _, op := range c.ops {
				_ = sim.Sleep(ctx, time.Second)
				map[rune]func(){'P': parent.Pause, 'R': parent.Resume, 'p': child.Pause, 'r': child.Resume}[op]()
			}
			return p.Wait(ctx)
		})
		if err != nil || woke != c.want {
			t.Errorf("%s: woke at %v, want %v; %v", c.name, woke, c.want, err)
		}
		_ = w.Close()
	}
}

func TestPauseHoldsTimeouts(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	var expired time.Duration
	p := a.Go("p", func(ctx context.Context) error {
		c, cancel := sim.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		err := new(sim.Signal).Wait(c)
		expired = sim.Now(ctx)
		return err
	})
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, time.Second)
		a.Pause()
		_ = sim.Sleep(ctx, time.Minute)
		a.Resume()
		return p.Wait(ctx)
	})
	if !errors.Is(err, context.DeadlineExceeded) || expired != 70*time.Second {
		t.Errorf("%v at %v", err, expired)
	}
}

// What happens to a paused process reaches it when it is resumed, and only then.
func TestPausedProcessIsWokenLater(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	var s sim.Signal
	var times []time.Duration
	note := func(ctx context.Context) error { times = append(times, sim.Now(ctx)); return nil }
	a.Go("waits", func(ctx context.Context) error { return errors.Join(s.Wait(ctx), note(ctx)) })
	a.Go("runnable", func(ctx context.Context) error { return errors.Join(sim.Yield(ctx), sim.Yield(ctx), note(ctx)) })
	a.Go("pauses itself", func(ctx context.Context) error {
		a.Pause()
		err := errors.Join(note(ctx), sim.Yield(ctx), note(ctx))
		return errors.Join(err, sim.Sleep(ctx, time.Second), note(ctx))
	})
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, time.Second)
		a.Go("late", note)
		a.Child("late").Go("child", note)
		s.Set()
		_ = sim.Sleep(ctx, time.Second)
		a.Resume()
		return sim.Sleep(ctx, time.Minute)
	})
	if err != nil || len(times) != 7 || times[0] != 0 || times[6] != 3*time.Second {
		t.Fatalf("%v: %v", err, times)
	}
	for _, at := range times[1:6] {
		if at != 2*time.Second {
			t.Errorf("ran at %v while paused", at)
		}
	}
}

func TestSelfPausedSleeperTakesNoShortcut(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	p := a.Go("p", func(ctx context.Context) error {
		a.Pause()
		return sim.Sleep(ctx, time.Second)
	})
	if err := w.Advance(time.Hour); err != nil || p.Ended() {
		t.Errorf("%v, ended: %v", err, p.Ended())
	}
	a.Resume()
	if err := w.Advance(time.Second); err != nil || !p.Ended() {
		t.Errorf("%v, ended: %v", err, p.Ended())
	}
}

func TestKillOfThePaused(t *testing.T) {
	w := sim.New()
	defer w.Close()
	parent := w.Actor("parent")
	a := parent.Child("a")
	var s sim.Signal
	sleeper := a.Go("sleeper", func(ctx context.Context) error { return sim.Sleep(ctx, time.Second) })
	woken := a.Go("woken", s.Wait)
	if err := w.Advance(0); err != nil {
		t.Fatal(err)
	}
	a.Pause()
	parent.Pause()
	s.Set()
	a.Kill()
	for _, p := range []*sim.Proc{sleeper, woken} {
		if err := p.Wait(t.Context()); err != sim.ErrDead {
			t.Errorf("%v: %v", p, err)
		}
	}
	parent.Resume()
	a.Resume()
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := w.Advance(time.Hour); err != nil || w.Now() != time.Hour {
		t.Errorf("%v at %v", err, w.Now())
	}
}

func TestCallIntoThePausedIsStuck(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	a.Pause()
	err := a.Call(t.Context(), "c", func(context.Context) error { return nil })
	var stuck *sim.StuckError
	if !errors.As(err, &stuck) || !stuck.Deadlock() || stuck.Waiting[0] != (sim.Waiting{Process: "a:c", For: "its turn (paused)"}) {
		t.Errorf("got %v", err)
	}
}
