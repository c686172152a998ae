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
