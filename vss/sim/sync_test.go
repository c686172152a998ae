package sim_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestMutexServesInTheOrderTheyCame(t *testing.T) {
	w := sim.New()
	defer w.Close()
	var m sim.Mutex
	var order []string
	hold := func(ctx context.Context, name string, d time.Duration) error {
		if err := m.Lock(ctx); err != nil {
			return err
		}
		defer m.Unlock()
		order = append(order, fmt.Sprint(name, "@", sim.Now(ctx)))
		return sim.Sleep(ctx, d)
	}
	for i, name := range []string{"a", "b", "c"} {
		w.Actor(name).Go("p", func(ctx context.Context) error {
			_ = sim.Sleep(ctx, time.Duration(i))
			return hold(ctx, name, time.Second)
		})
	}
	// One that gives up, comes back, and so stands at the end.
	w.Actor("z").Go("p", func(ctx context.Context) error {
		_ = sim.Sleep(ctx, 1)
		c, cancel := sim.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		if err := m.Lock(c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock: %v", err)
		}
		return hold(ctx, "z", time.Second)
	})
	if err := w.Advance(time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "a@0s b@1s c@2s z@3s" {
		t.Errorf("served %s", got)
	}
}

func TestMutexHandedToOneWhoDies(t *testing.T) {
	w := sim.New()
	defer w.Close()
	var m sim.Mutex
	a, b := w.Actor("a"), w.Actor("b")
	err := w.Do(t.Context(), func(ctx context.Context) error {
		if err := m.Lock(ctx); err != nil {
			return err
		}
		if err := m.Lock(ctx); err == nil || errors.Is(err, sim.ErrDead) {
			t.Errorf("locked twice: %v", err)
		}
		a.Go("p", func(ctx context.Context) error { return errors.Join(m.Lock(ctx), sim.Sleep(ctx, time.Hour)) })
		late := b.Go("q", func(ctx context.Context) error { return m.Lock(ctx) })
		_ = sim.Sleep(ctx, 1)
		m.Unlock() // to a's process, which is killed before its turn
		a.Kill()
		return late.Wait(ctx)
	})
	if err != nil {
		t.Error(err)
	}
	m.Unlock()
	m.Unlock() // of an unlocked one: nothing
}

// Who was handed the lock has it, also when its context ends before its turn.
func TestMutexHandedToOneWhoIsCancelled(t *testing.T) {
	w := sim.New()
	defer w.Close()
	var m sim.Mutex
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = m.Lock(ctx)
		var cancel context.CancelFunc
		p := sim.Go(ctx, "waiter", func(ctx context.Context) error {
			var c context.Context
			c, cancel = sim.WithCancel(ctx)
			if err := m.Lock(c); err != nil {
				return err
			}
			defer m.Unlock()
			if c.Err() == nil {
				t.Error("it was not cancelled")
			}
			return nil
		})
		_ = sim.Sleep(ctx, time.Second)
		m.Unlock()
		cancel()
		return errors.Join(p.Wait(ctx), m.Lock(ctx))
	})
	if err != nil {
		t.Error(err)
	}
}

func TestGate(t *testing.T) {
	w := sim.New()
	defer w.Close()
	var g sim.Gate
	var passed []time.Duration
	w.Actor("writer").Background("writes", func(ctx context.Context) error {
		for {
			if err := g.Pass(ctx); err != nil {
				return err
			}
			passed = append(passed, sim.Now(ctx))
			_ = sim.Sleep(ctx, 4*time.Second)
		}
	})
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, 3*time.Second)
		g.Shut()
		if !g.IsShut() {
			t.Error("not shut")
		}
		_ = sim.Sleep(ctx, 3*time.Second)
		g.Open()
		g.Shut() // at once: who was let go finds it shut again
		_ = sim.Sleep(ctx, 3*time.Second)
		g.Open()
		return sim.Sleep(ctx, time.Second)
	})
	if err != nil || fmt.Sprint(passed) != "[0s 9s]" || g.IsShut() {
		t.Errorf("%v: passed at %v", err, passed)
	}
}

func TestSignal(t *testing.T) {
	w := sim.New()
	defer w.Close()
	s := &sim.Signal{World: w}
	woken := 0
	for range 3 {
		w.Actor("a").Go("p", func(ctx context.Context) error {
			err := s.Wait(ctx)
			woken++
			return errors.Join(err, s.Wait(ctx))
		})
	}
	err := w.Do(t.Context(), func(ctx context.Context) error {
		c, cancel := sim.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := s.Wait(c); !errors.Is(err, context.DeadlineExceeded) || s.IsSet() {
			t.Errorf("Wait: %v", err)
		}
		s.Set()
		s.Set()
		return errors.Join(s.Wait(ctx), sim.Yield(ctx))
	})
	if err != nil || woken != 3 || !s.IsSet() {
		t.Errorf("%v, %d woken", err, woken)
	}
}
