package sim_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestOrdinaryContextInsideAProcess(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	ended := a.Go("ended", func(context.Context) error { return nil })
	nothing := func(context.Context) error { return nil }
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Yield(ctx)
		bg := t.Context()
		for name, call := range map[string]func() error{
			"Do":      func() error { return w.Do(bg, nothing) },
			"Call":    func() error { return a.Call(bg, "x", nothing) },
			"Poll":    func() error { return a.Poll(bg, "x", nothing) },
			"Wait":    func() error { return ended.Wait(bg) },
			"Advance": func() error { return w.Advance(1) },
			"Close":   w.Close,
			"Sleep":   func() error { return sim.Sleep(bg, 1) },
			"Yield":   func() error { return sim.Yield(bg) },
			"Signal":  func() error { return new(sim.Signal).Wait(bg) },
			"Gate":    func() error { return new(sim.Gate).Pass(bg) },
			"Mutex":   func() error { return new(sim.Mutex).Lock(bg) },
			"At":      func() error { return sim.At(bg, "x") },
			"AtOn":    func() error { return sim.AtOn(bg, "x", "y") },
			"Go":      func() error { return sim.Go(bg, "x", nothing).Wait(ctx) },
			"Actor":   func() error { return a.Close(bg) },
		} {
			if err := call(); err != sim.ErrContext {
				t.Errorf("%s: %v", name, err)
			}
		}
		return sim.Sleep(ctx, 1)
	})
	if err != nil {
		t.Error(err)
	}
}

// The same when the process is driven from another goroutine than the one that
// made the world, while a third waits its turn.
func TestOrdinaryContextWhileOthersWait(t *testing.T) {
	w := sim.New()
	defer w.Close()
	inside, third := make(chan bool), make(chan error)
	go func() {
		<-inside
		third <- w.Do(context.Background(), func(ctx context.Context) error { return sim.Sleep(ctx, 1) })
	}()
	first := make(chan error)
	go func() {
		first <- w.Do(context.Background(), func(ctx context.Context) error {
			close(inside)
			time.Sleep(10 * time.Millisecond) // the third comes to its lock, or not; both are right
			return w.Do(context.Background(), func(context.Context) error { return nil })
		})
	}()
	if err := <-first; err != sim.ErrContext {
		t.Errorf("inside: %v", err)
	}
	if err := <-third; err != nil {
		t.Errorf("outside: %v", err)
	}
}

func TestDeepInsideAProcess(t *testing.T) {
	w := sim.New()
	defer w.Close()
	var deep func(n int) error
	deep = func(n int) error {
		if n == 0 {
			return w.Do(context.Background(), func(context.Context) error { return nil })
		}
		return deep(n - 1)
	}
	for _, n := range []int{0, 50, 57, 58, 59, 60, 61, 62, 63, 64, 65, 70, 120, 200} {
		if err := w.Do(t.Context(), func(context.Context) error { return deep(n) }); err != sim.ErrContext {
			t.Errorf("%d frames deep: %v", n, err)
		}
	}
}

// A process's context is good in its own goroutine alone, and only in its turn.
func TestContextOfAnotherProcess(t *testing.T) {
	w := sim.New()
	defer w.Close()
	var theirs context.Context
	err := w.Do(t.Context(), func(ctx context.Context) error {
		sim.Go(ctx, "other", func(ctx context.Context) error {
			theirs = ctx
			return sim.Sleep(ctx, time.Hour)
		})
		_ = sim.Sleep(ctx, 1)
		return errors.Join(wantContextError(theirs), sim.Sleep(ctx, 1))
	})
	if err != nil {
		t.Error(err)
	}
	if err := wantContextError(theirs); err != nil {
		t.Errorf("between turns: %v", err)
	}
}

func wantContextError(ctx context.Context) error {
	for name, call := range map[string]func() error{
		"Sleep":  func() error { return sim.Sleep(ctx, 1) },
		"Yield":  func() error { return sim.Yield(ctx) },
		"At":     func() error { return sim.At(ctx, "x") },
		"Signal": func() error { return new(sim.Signal).Wait(ctx) },
		"Mutex":  func() error { return new(sim.Mutex).Lock(ctx) },
		"Gate":   func() error { return new(sim.Gate).Pass(ctx) },
		"Go":     func() error { return sim.Go(ctx, "x", nil).Wait(ctx) },
		"Call":   func() error { return sim.Self(ctx).Call(ctx, "x", nil) },
		"Poll":   func() error { return sim.Self(ctx).Poll(ctx, "x", nil) },
		"Do":     func() error { return sim.Self(ctx).World().Do(ctx, nil) },
		"Close":  func() error { return sim.Self(ctx).Close(ctx) },
		"Choose": func() (err error) {
			defer func() {
				if r := recover(); r != nil {
					err = sim.ErrContext
				}
			}()
			sim.Choose(ctx, "x", 2)
			return nil
		},
	} {
		if err := call(); err != sim.ErrContext {
			return fmt.Errorf("%s: %v", name, err)
		}
	}
	return nil
}

// It is not even good while its process runs, and waits for the goroutine that
// took it away.
func TestContextInAnotherGoroutine(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		for range 3 {
			verdict := make(chan error)
			go func() {
				err := wantContextError(ctx)
				if w.Current() != nil {
					err = errors.Join(err, errors.New("it passes for the running process"))
				}
				verdict <- err
			}()
			if err := <-verdict; err != nil {
				return err
			}
			if w.Current() == nil {
				return errors.New("the process does not know itself")
			}
			grow(100) // moves the stack
			if err := sim.Sleep(ctx, 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if w.Current() != nil {
		t.Error("somebody runs between turns")
	}
}

func grow(n int) [256]byte {
	var room [256]byte
	if n > 0 {
		room = grow(n - 1)
	}
	room[n%256]++
	return room
}

// From every depth a process knows its own stack, also after it was moved.
func TestOwnStackAtEveryDepth(t *testing.T) {
	w := sim.New()
	defer w.Close()
	var down func(ctx context.Context, n int) error
	down = func(ctx context.Context, n int) error {
		var room [700]byte
		room[n%700]++
		if err := sim.Sleep(ctx, time.Duration(room[n%700])); err != nil || n == 0 {
			return err
		}
		return errors.Join(down(ctx, n-1), sim.Sleep(ctx, 1))
	}
	err := w.Do(t.Context(), func(ctx context.Context) error {
		return errors.Join(down(ctx, 200), down(ctx, 3), down(ctx, 200))
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSeveralGoroutinesTakeTurns(t *testing.T) {
	w := sim.New()
	defer w.Close()
	const workers, files = 8, 50
	copied, inside := 0, 0
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range files {
				err := w.Do(context.Background(), func(ctx context.Context) error {
					inside++
					if inside != 1 {
						return errors.New("two at once")
					}
					copied++
					inside--
					return sim.Sleep(ctx, time.Second)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if copied != workers*files || w.Now() != workers*files*time.Second {
		t.Errorf("%d copied in %v", copied, w.Now())
	}
}
