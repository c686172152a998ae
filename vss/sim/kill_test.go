package sim_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Each call that can wait, and what it waits for: the table for tests of kills,
// cancellations and foreign contexts.
var waits = []struct {
	name string
	call func(ctx context.Context) error
	free func(ctx context.Context) error // the same call when there is nothing to wait for
}{
	{"Sleep", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) },
		func(ctx context.Context) error { return sim.Sleep(ctx, 0) }},
	{"Signal", func(ctx context.Context) error { return new(sim.Signal).Wait(ctx) },
		func(ctx context.Context) error { s := new(sim.Signal); s.Set(); return s.Wait(ctx) }},
	{"Gate", func(ctx context.Context) error { g := new(sim.Gate); g.Shut(); return g.Pass(ctx) },
		func(ctx context.Context) error { return new(sim.Gate).Pass(ctx) }},
	{"Mutex", func(ctx context.Context) error {
		m := new(sim.Mutex)
		w := sim.Self(ctx).World()
		w.Actor("holder").Go("hold", func(ctx context.Context) error {
			_ = m.Lock(ctx)
			return sim.Sleep(ctx, 1000*time.Hour)
		})
		for !strings.Contains(m.String(), "holder") {
			if err := sim.Sleep(ctx, 1); err != nil {
				return err
			}
		}
		return m.Lock(ctx)
	}, func(ctx context.Context) error { return new(sim.Mutex).Lock(ctx) }},
	{"Wait", func(ctx context.Context) error { return hang(ctx).Wait(ctx) },
		func(ctx context.Context) error {
			p := sim.Self(ctx).World().Actor("quick").Go("p", func(context.Context) error { return nil })
			return p.Wait(ctx)
		}},
	{"Call", func(ctx context.Context) error {
		return sim.Self(ctx).World().Actor("service").Call(ctx, "slow", func(ctx context.Context) error {
			return sim.Sleep(ctx, 1000*time.Hour)
		})
	}, func(ctx context.Context) error {
		return sim.Self(ctx).World().Actor("service").Call(ctx, "quick", func(context.Context) error { return nil })
	}},
	{"hang", func(ctx context.Context) error { return sim.At(ctx, "test/hang") },
		func(ctx context.Context) error { return sim.At(ctx, "test/nothing") }},
	{"delay", func(ctx context.Context) error { return sim.At(ctx, "test/delay") },
		func(ctx context.Context) error { return sim.AtOn(ctx, "test/nothing", "x") }},
}

var slowPoints = sim.Plan("test/hang from=1 hang", "test/delay from=1 delay=10h")

func hang(ctx context.Context) *sim.Proc {
	return sim.Self(ctx).World().Actor("hang").Go("p", func(ctx context.Context) error {
		return new(sim.Signal).Wait(ctx)
	})
}

// A killed process gets ErrDead from the call it waits in, whatever that is, and
// is ended by its second call; its defers get ErrDead from all.
func TestKillReachesEveryWait(t *testing.T) {
	for _, c := range waits {
		t.Run(c.name, func(t *testing.T) {
			w := sim.New(slowPoints)
			defer w.Close()
			a := w.Actor("victim")
			var got []error
			p := a.Go("work", func(ctx context.Context) error {
				defer func() {
					for range 3 {
						got = append(got, c.call(ctx), c.free(ctx))
					}
				}()
				got = append(got, c.call(ctx))
				_ = c.free(ctx)
				t.Error("went on after its second call")
				return nil
			})
			err := w.Do(t.Context(), func(ctx context.Context) error {
				_ = sim.Sleep(ctx, time.Minute)
				if p.Ended() {
					t.Error("it did not wait")
				}
				a.Kill()
				return p.Wait(ctx)
			})
			if err != sim.ErrDead {
				t.Errorf("Wait: %v", err)
			}
			if len(got) != 7 || slices.ContainsFunc(got, func(err error) bool { return err != sim.ErrDead }) {
				t.Errorf("the calls returned %v", got)
			}
		})
	}
}

// The fast ways through each call are closed to a dead process as well.
func TestKilledProcessDoesNothing(t *testing.T) {
	for _, c := range waits {
		t.Run(c.name, func(t *testing.T) {
			w := sim.New(slowPoints)
			defer w.Close()
			a := w.Actor("victim")
			p := a.Go("work", func(ctx context.Context) error {
				sim.Self(ctx).Kill()
				if err := c.free(ctx); err != sim.ErrDead {
					t.Errorf("got %v", err)
				}
				return nil // whatever it says, it is dead
			})
			if err := p.Wait(t.Context()); err != sim.ErrDead {
				t.Errorf("Wait: %v", err)
			}
		})
	}
}

func TestKilledProcessLeavesNoTrace(t *testing.T) {
	chosen := 0
	chooser := sim.ChooseFunc(func(what string, _ int) int {
		if what != "run" {
			chosen++
		}
		return 0
	})
	w := sim.New(sim.WithChooser(chooser), sim.Plan("p err=0x1"))
	defer w.Close()
	a := w.Actor("victim")
	p := a.Go("work", func(ctx context.Context) error {
		id := w.NewID("x")
		before := sim.Latency(ctx, "l", 0, time.Hour)
		a.Kill()
		if sim.Choose(ctx, "x", 2) != 0 {
			t.Error("chose for the dead")
		}
		a.Emit("after", "")
		sim.Emit(ctx, "after", "")
		if first, second := w.NewID("y"), w.NewID("y"); first != second || id == w.NewID("x") {
			t.Error("identities of the dead count")
		}
		if l := sim.Latency(ctx, "l", 0, time.Hour); l == before || l != sim.Latency(ctx, "l", 0, time.Hour) {
			t.Error("latencies of the dead count")
		}
		if p := sim.Go(ctx, "child", func(context.Context) error { return nil }); p.Wait(ctx) != sim.ErrDead {
			t.Error("the dead started a process")
		}
		return nil
	})
	if err := p.Wait(t.Context()); err != sim.ErrDead {
		t.Errorf("Wait: %v", err)
	}
	if chosen != 0 || len(w.Trace()) != 0 || len(w.Hits()) != 0 {
		t.Errorf("%d choices, hits %v, trace:\n%s", chosen, w.Hits(), w.Trace())
	}
}

func TestKilledProcessIsEndedByChooseToo(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("victim")
	p := a.Go("work", func(ctx context.Context) error {
		a.Kill()
		_ = sim.Sleep(ctx, 1)
		sim.Choose(ctx, "x", 2)
		t.Error("went on after its second call")
		return nil
	})
	if err := p.Wait(t.Context()); err != sim.ErrDead {
		t.Errorf("Wait: %v", err)
	}
}

// A kill strikes a process that has its turn coming, not only one that waits.
func TestKillOfARunnableProcess(t *testing.T) {
	for _, c := range []struct {
		name string
		fn   func(ctx context.Context) error
	}{
		{"yielding", sim.Yield},
		{"woken", func(ctx context.Context) error { return sim.Sleep(ctx, time.Second) }},
	} {
		w := sim.New()
		a, b := w.Actor("a"), w.Actor("b")
		var got error
		turns := 0
		killer := func(ctx context.Context) error { a.Kill(); return nil }
		if c.name == "woken" { // by the timer that wakes the killer, who is the first to run
			b.Go("killer", func(ctx context.Context) error {
				_ = sim.Sleep(ctx, time.Second)
				return killer(ctx)
			})
		}
		p := a.Go("work", func(ctx context.Context) error {
			turns++
			got = c.fn(ctx)
			return nil
		})
		if c.name == "yielding" {
			b.Go("killer", killer)
		}
		never := a.Go("never", func(ctx context.Context) error {
			turns++
			return sim.Sleep(ctx, time.Hour)
		})
		if err := w.Advance(time.Minute); err != nil {
			t.Error(err)
		}
		if got != sim.ErrDead || p.Wait(t.Context()) != sim.ErrDead || never.Wait(t.Context()) != sim.ErrDead {
			t.Errorf("%s: got %v", c.name, got)
		}
		if want := map[string]int{"yielding": 1, "woken": 2}[c.name]; turns != want {
			t.Errorf("%s: %d turns, want %d", c.name, turns, want)
		}
		_ = w.Close()
	}
}

// The dead are nobody's choice.
func TestTheDeadAreNotInTheQueue(t *testing.T) {
	most := 0
	w := sim.New(sim.WithChooser(sim.ChooseFunc(func(_ string, n int) int { most = max(most, n); return 0 })))
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		for range 2 {
			sim.Go(ctx, "living", func(ctx context.Context) error {
				return errors.Join(sim.Yield(ctx), sim.Yield(ctx), sim.Yield(ctx), sim.Yield(ctx))
			})
		}
		waiting := w.Actor("waiting")
		waiting.Go("waits", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) })
		_ = sim.Yield(ctx)
		most = 0
		waiting.Kill()
		_ = sim.Yield(ctx)
		victim := w.Actor("victim")
		for range 10 {
			victim.Go("p", func(ctx context.Context) error { return sim.Yield(ctx) })
		}
		paused := victim.Child("paused")
		paused.Pause()
		paused.Go("p", func(ctx context.Context) error { return sim.Yield(ctx) })
		victim.Kill()
		return errors.Join(sim.Yield(ctx), sim.Yield(ctx))
	})
	if err != nil || most != 3 {
		t.Errorf("%v, a choice among %d", err, most)
	}
}

func TestDeathOfACancelledYielder(t *testing.T) {
	w := sim.New()
	defer w.Close()
	var cancel context.CancelFunc
	turns := 0
	p := w.Actor("a").Go("yielder", func(ctx context.Context) error {
		var c context.Context
		c, cancel = sim.WithCancel(ctx)
		_ = sim.Yield(c)
		turns++
		_ = new(sim.Signal).Wait(ctx)
		turns++
		return nil
	})
	w.Actor("b").Go("canceller", func(ctx context.Context) error { cancel(); return nil })
	if err := w.Advance(time.Second); err != nil || turns != 1 || p.Ended() {
		t.Errorf("%v, %d turns: the cancellation gave the yielder two", err, turns)
	}
}

// The dead unwind before anything else runs, in the order of their names, and
// what they hold is free then.
func TestTheDeadUnwindFirst(t *testing.T) {
	var m sim.Mutex
	var order []string
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	for _, name := range []string{"z", "y", "y"} {
		p := a.Child(name)
		p.Go("p", func(ctx context.Context) error {
			defer func() { order = append(order, p.Path()) }()
			if err := m.Lock(ctx); err != nil {
				return err
			}
			defer m.Unlock()
			return sim.Sleep(ctx, time.Hour)
		})
	}
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, time.Second)
		sim.Go(ctx, "bystander", func(context.Context) error { order = append(order, "bystander"); return nil })
		a.Kill()
		if err := m.Lock(ctx); err != nil {
			return err
		}
		order = append(order, "killer")
		return nil
	})
	if got := strings.Join(order, " "); err != nil || got != "a/y a/y#2 a/z bystander killer" {
		t.Errorf("%v: %s", err, got)
	}
}

func TestKillOfAParent(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	b := a.Child("b").Child("c")
	p := b.Go("p", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) })
	a.Kill()
	if !b.Dead() || !a.Dead() || w.Find("a/b/c") != nil {
		t.Error("the child lives")
	}
	if err := p.Wait(t.Context()); err != sim.ErrDead {
		t.Errorf("Wait: %v", err)
	}
	if c := b.Child("d"); !c.Dead() {
		t.Error("a child of the dead lives")
	}
	if err := b.Call(t.Context(), "x", func(context.Context) error { return nil }); err != sim.ErrDead {
		t.Errorf("Call: %v", err)
	}
	b.Pause()
	b.Resume()
	a.Kill()
	if got := w.Actor("a").Path(); got != "a#2" {
		t.Errorf("a second a is %s", got)
	}
}

func TestPanicOfTheDeadIsNobodysFailure(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	p := a.Go("p", func(ctx context.Context) error {
		if sim.Sleep(ctx, time.Hour) != nil {
			panic("did not expect that")
		}
		return nil
	})
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, 1)
		a.Kill()
		return p.Wait(ctx)
	})
	if err != sim.ErrDead || len(w.Panics()) != 0 || len(w.Trace()) != 0 {
		t.Errorf("%v, %v", err, w.Panics())
	}
}
