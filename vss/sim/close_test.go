package sim_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// settledGoroutines counts the goroutines when those that are ending have ended.
func settledGoroutines(want int) int {
	n := 0
	for range 1000 {
		if n = runtime.NumGoroutine(); n <= want {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return n
}

// states puts a world into each state from which it may be closed.
var states = []struct {
	name string
	fn   func(ctx context.Context, w *sim.World)
}{
	{"new", nil},
	{"idle", func(context.Context, *sim.World) {}},
	{"paused", func(ctx context.Context, w *sim.World) {
		a := w.Actor("a")
		a.Go("sleeps", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) })
		a.Go("yields", func(ctx context.Context) error {
			for sim.Yield(ctx) == nil {
			}
			return nil
		})
		_ = sim.Yield(ctx)
		a.Pause()
		a.Go("new", func(ctx context.Context) error { return nil })
	}},
	{"runnable", func(ctx context.Context, w *sim.World) {
		for range 10 {
			w.Actor("a").Go("yields", func(ctx context.Context) error {
				for sim.Yield(ctx) == nil {
				}
				return nil
			})
		}
		_ = sim.Yield(ctx)
		w.Actor("a").Go("new", func(ctx context.Context) error { return nil })
	}},
	{"killed, and not yet unwound", func(ctx context.Context, w *sim.World) {
		a := w.Actor("a")
		a.Go("sleeps", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) })
		_ = sim.Sleep(ctx, 1)
		a.Kill()
	}},
	{"parked in a deferred call", func(ctx context.Context, w *sim.World) {
		w.Actor("a").Go("p", func(ctx context.Context) error {
			defer func() {
				if err := sim.Sleep(ctx, time.Hour); err != sim.ErrDead {
					panic(err)
				}
				_ = sim.Sleep(ctx, time.Hour)
				panic("went on after its second call")
			}()
			return nil
		})
		_ = sim.Sleep(ctx, 1)
	}},
	{"parked in a deferred call of a panic", func(ctx context.Context, w *sim.World) {
		w.Actor("a").Go("p", func(ctx context.Context) error {
			defer func() { _ = sim.Sleep(ctx, time.Hour) }()
			panic("first")
		})
		_ = sim.Sleep(ctx, 1)
	}},
	{"hanging at a fault", func(ctx context.Context, w *sim.World) {
		w.Actor("a").Go("p", func(ctx context.Context) error { return sim.At(ctx, "test/hang") })
		_ = sim.Sleep(ctx, 1)
	}},
	{"starting more while it dies", func(ctx context.Context, w *sim.World) {
		a := w.Actor("a")
		a.Go("p", func(ctx context.Context) error {
			defer func() {
				a.Child("late").Go("x", func(context.Context) error { panic("ran in a closed world") })
				w.Actor("later").Go("x", func(context.Context) error { panic("ran in a closed world") })
				a.Kill()
				a.Pause()
			}()
			return sim.Sleep(ctx, time.Hour)
		})
		_ = sim.Sleep(ctx, 1)
	}},
	{"with every wait", func(ctx context.Context, w *sim.World) {
		for _, c := range waits {
			w.Actor("a").Go(c.name, c.call)
		}
		_ = sim.Sleep(ctx, time.Second)
	}},
	{"with locks that hand over", func(ctx context.Context, w *sim.World) {
		var m sim.Mutex
		for range 5 {
			w.Actor("a").Go("p", func(ctx context.Context) error {
				if err := m.Lock(ctx); err != nil {
					return err
				}
				defer m.Unlock()
				return sim.Sleep(ctx, time.Hour)
			})
		}
		_ = sim.Sleep(ctx, time.Second)
	}},
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	for _, s := range states {
		t.Run(s.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			w := sim.New(slowPoints)
			if s.fn != nil {
				if err := w.Do(t.Context(), func(ctx context.Context) error { s.fn(ctx, w); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if after := settledGoroutines(before); after > before {
				t.Errorf("%d goroutines, before it were %d", after, before)
			}
			for _, p := range w.Panics() {
				if p.Value != "first" {
					t.Error(p)
				}
			}
			nothing := func(context.Context) error { return nil }
			for name, err := range map[string]error{
				"Do":      w.Do(t.Context(), nothing),
				"Advance": w.Advance(1),
				"Call":    w.Actor("x").Call(t.Context(), "x", nothing),
				"Poll":    w.Actor("x").Poll(t.Context(), "x", nothing),
			} {
				if err != sim.ErrClosed {
					t.Errorf("%s: %v", name, err)
				}
			}
			_ = w.Trace().Digest()
		})
	}
}

// What a process throws while it unwinds goes on in who closes the world, when
// all others have ended too.
func TestCloseGoesOnPastWhatIsThrown(t *testing.T) {
	before := runtime.NumGoroutine()
	w := sim.New(sim.Rethrow(func(v any) bool { return v == "mine" }))
	ended := 0
	throws := []func(){nil, runtime.Goexit, func() { panic("mine") }, nil, runtime.Goexit, nil, func() { panic("not mine") }, nil}
	for i, throw := range throws {
		w.Actor(fmt.Sprint("a", i)).Go("p", func(ctx context.Context) error {
			defer func() { ended++ }()
			err := sim.Sleep(ctx, time.Hour)
			if throw != nil {
				throw()
			}
			return err
		})
	}
	if err := w.Advance(1); err != nil {
		t.Fatal(err)
	}
	o := observe(w.Close)
	if ended != len(throws) || !o.exited && o.panicked == nil {
		t.Errorf("%d of %d ended; Close: %+v", ended, len(throws), o)
	}
	if after := settledGoroutines(before); after > before {
		t.Errorf("%d goroutines, before it were %d", after, before)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestGoexitInADeferOfTheKilled(t *testing.T) {
	before := runtime.NumGoroutine()
	w := sim.New()
	a := w.Actor("a")
	a.Go("p", func(ctx context.Context) error {
		defer runtime.Goexit()
		return sim.Sleep(ctx, time.Hour)
	})
	o := observe(func() error {
		return w.Do(t.Context(), func(ctx context.Context) error {
			_ = sim.Sleep(ctx, 1)
			a.Kill()
			return nil
		})
	})
	if !o.exited {
		t.Errorf("got %+v", o)
	}
	if err := w.Do(t.Context(), func(context.Context) error { return nil }); err != sim.ErrClosed {
		t.Errorf("afterwards: %v", err)
	}
	if after := settledGoroutines(before); after > before {
		t.Errorf("%d goroutines, before it were %d", after, before)
	}
}

func TestCloseWaitsForWhoDrives(t *testing.T) {
	w := sim.New()
	inside, closed := make(chan bool), make(chan error)
	go func() {
		<-inside
		closed <- w.Close()
	}()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		close(inside)
		time.Sleep(time.Millisecond)
		return sim.Sleep(ctx, time.Hour)
	})
	if err != nil {
		t.Errorf("Do: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestCloseOrder(t *testing.T) {
	w := sim.New()
	var order []string
	for _, path := range []string{"b", "a", "b"} {
		a := w.Actor(path)
		for _, name := range []string{"y", "x", "x"} {
			var p *sim.Proc
			p = a.Go(name, func(ctx context.Context) error {
				defer func() { order = append(order, p.String()) }()
				return sim.Sleep(ctx, time.Hour)
			})
		}
	}
	if err := errors.Join(w.Advance(1), w.Close()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "a:x a:x#2 a:y b:x b:x#2 b:y b#2:x b#2:x#2 b#2:y" {
		t.Errorf("ended in the order %s", got)
	}
}
