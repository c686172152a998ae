package sim_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestTimeoutInVirtualTime(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		c, cancel := sim.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := sim.Sleep(c, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sleep: %v", err)
		}
		if sim.Now(ctx) != time.Second {
			t.Errorf("at %v", sim.Now(ctx))
		}
		if err := sim.Sleep(c, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the next Sleep: %v", err)
		}
		return sim.Sleep(ctx, time.Second)
	})
	if err != nil {
		t.Error(err)
	}
}

// A time limit ends every wait at its instant, and leaves nothing behind that
// wakes the process later.
func TestTimeoutEndsEveryWait(t *testing.T) {
	for _, c := range waits {
		t.Run(c.name, func(t *testing.T) {
			w := sim.New(slowPoints)
			defer w.Close()
			err := w.Do(t.Context(), func(ctx context.Context) error {
				outer, cancel := sim.WithTimeout(context.WithValue(ctx, &waits, 1), time.Second)
				defer cancel()
				inner, cancel := sim.WithTimeout(context.WithValue(outer, &waits, 2), time.Hour)
				defer cancel()
				if inner.Value(&waits) != 2 || outer.Value(&waits) != 1 || ctx.Value(&waits) != nil {
					t.Error("values are lost")
				}
				if err := c.call(inner); !errors.Is(err, context.DeadlineExceeded) || sim.Now(ctx) != time.Second {
					t.Errorf("%v at %v", err, sim.Now(ctx))
				}
				if inner.Err() != context.DeadlineExceeded || outer.Err() != context.DeadlineExceeded {
					t.Errorf("the contexts: %v, %v", inner.Err(), outer.Err())
				}
				return errors.Join(c.free(ctx), sim.Sleep(ctx, time.Minute))
			})
			if err != nil || w.Now() != time.Second+time.Minute {
				t.Errorf("%v at %v", err, w.Now())
			}
		})
	}
}

func TestTimeoutInThePast(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, time.Hour)
		for _, d := range []time.Duration{0, -time.Minute} {
			c, cancel := sim.WithTimeout(ctx, d)
			if err := c.Err(); err != context.DeadlineExceeded {
				t.Errorf("%v: %v", d, err)
			}
			cancel()
		}
		return sim.Sleep(ctx, time.Second)
	})
	if err != nil || w.Now() != time.Hour+time.Second {
		t.Errorf("%v at %v: time went back", err, w.Now())
	}
}

func TestTheLongestSleep(t *testing.T) {
	const forever = 1<<63 - 1
	w := sim.New(sim.Limits(forever, 0))
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, time.Hour)
		sim.Go(ctx, "beside", func(ctx context.Context) error { return sim.Sleep(ctx, time.Second) })
		c, cancel := sim.WithTimeout(ctx, forever)
		defer cancel()
		return sim.Sleep(c, forever)
	})
	if w.Now() < time.Hour || err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v at %v", err, w.Now())
	}
}

// The timer of a time limit that nobody took back does not outlive its process.
func TestTimeoutOfAnEndedProcess(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		leaky := func(ctx context.Context) error {
			c, _ := sim.WithTimeout(ctx, time.Hour) //nolint:govet // the point of the test
			return c.Err()
		}
		if err := w.Actor("a").Call(ctx, "leaky", leaky); err != nil {
			return err
		}
		return new(sim.Signal).Wait(ctx)
	})
	var stuck *sim.StuckError
	if !errors.As(err, &stuck) || stuck.At != 0 {
		t.Errorf("got %v", err)
	}
}

func TestCancelWakes(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		c, cancel := sim.WithCancel(ctx)
		std, stdCancel := context.WithCancel(ctx)
		under, underCancel := sim.WithTimeout(std, time.Hour)
		defer underCancel()
		for _, x := range []struct {
			name   string
			ctx    context.Context
			cancel context.CancelFunc
		}{{"ours", c, cancel}, {"of package context", std, stdCancel}, {"below one of package context", under, stdCancel}} {
			start := sim.Now(ctx)
			sim.Go(ctx, "canceller", func(ctx context.Context) error {
				_ = sim.Sleep(ctx, time.Second)
				x.cancel()
				x.cancel()
				return nil
			})
			select {
			case <-x.ctx.Done():
				if x.ctx != under {
					t.Errorf("%s: done before", x.name)
				}
			default:
			}
			if x.ctx == under { // its context above has ended already
				if err := sim.Sleep(x.ctx, time.Minute); err != context.Canceled {
					t.Errorf("%s: %v", x.name, err)
				}
				continue
			}
			if err := sim.Sleep(x.ctx, time.Minute); err != context.Canceled || sim.Now(ctx)-start != time.Second {
				t.Errorf("%s: %v after %v", x.name, err, sim.Now(ctx)-start)
			}
			<-x.ctx.Done()
		}
		return sim.Sleep(ctx, time.Second)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCancelOfAForeignContextBetweenOurs(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		std, stdCancel := context.WithCancel(ctx)
		under, cancel := sim.WithTimeout(std, time.Hour)
		defer cancel()
		deeper, cancel := sim.WithCancel(context.WithValue(under, &waits, 1))
		defer cancel()
		done := deeper.Done()
		sim.Go(ctx, "canceller", func(ctx context.Context) error {
			_ = sim.Sleep(ctx, time.Second)
			stdCancel()
			return nil
		})
		if err := new(sim.Signal).Wait(deeper); err != context.Canceled || sim.Now(ctx) != time.Second {
			t.Errorf("%v at %v", err, sim.Now(ctx))
		}
		if deeper.Err() != context.Canceled || deeper.Done() != done {
			t.Error("the context does not know")
		}
		<-done
		return sim.Sleep(ctx, 1)
	})
	if err != nil {
		t.Error(err)
	}
}

// Who waits under a context of package context goes on at the time at which that
// was cancelled, also if the canceller lets time pass with nobody else to run.
func TestCancelOfAForeignContextIsAtOnce(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		std, cancel := context.WithCancel(ctx)
		sim.Go(ctx, "canceller", func(ctx context.Context) error {
			_ = sim.Sleep(ctx, time.Second)
			cancel()
			return sim.Sleep(ctx, time.Hour)
		})
		if err := new(sim.Signal).Wait(std); err != context.Canceled || sim.Now(ctx) != time.Second {
			t.Errorf("%v at %v", err, sim.Now(ctx))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A sleep that was cut short leaves no timer behind.
func TestTheTimerOfASleepCutShort(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		c, cancel := sim.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = sim.Sleep(c, time.Hour)
		return new(sim.Signal).Wait(ctx)
	})
	var stuck *sim.StuckError
	if !errors.As(err, &stuck) || stuck.At != time.Second {
		t.Errorf("got %v", err)
	}
}

// Cleaning up under context.WithoutCancel is not disturbed by a time limit, but
// by death.
func TestWithoutCancel(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	var last error
	p := a.Go("p", func(ctx context.Context) error {
		c, cancel := sim.WithTimeout(ctx, time.Second)
		defer cancel()
		quiet := context.WithoutCancel(c)
		inner, cancel := sim.WithTimeout(quiet, time.Minute)
		defer cancel()
		std, cancel := context.WithCancel(context.WithoutCancel(c))
		defer cancel()
		for _, c := range []context.Context{quiet, inner, std} {
			if err := sim.Sleep(c, 10*time.Second); err != nil {
				t.Errorf("cut short: %v", err)
			}
		}
		if err := sim.Sleep(inner, time.Hour); err != context.DeadlineExceeded || sim.Now(ctx) != time.Minute {
			t.Errorf("its own limit: %v at %v", err, sim.Now(ctx))
		}
		last = sim.Sleep(quiet, time.Hour)
		return nil
	})
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, 2*time.Minute)
		a.Kill()
		return p.Wait(ctx)
	})
	if err != sim.ErrDead || last != sim.ErrDead || w.Now() != 2*time.Minute {
		t.Errorf("%v, %v at %v", err, last, w.Now())
	}
}

func TestShieldedContextsEndWithTheirProcess(t *testing.T) {
	w := sim.New()
	defer w.Close()
	real, cancel := context.WithCancel(t.Context())
	defer cancel()
	var inner context.Context
	_ = w.Do(real, func(ctx context.Context) error {
		inner, _ = sim.WithTimeout(context.WithoutCancel(ctx), time.Hour) //nolint:govet // the point of the test
		cancel()
		for sim.Sleep(ctx, 1) == nil {
		}
		if inner.Err() != nil {
			t.Error("the caller's cancellation goes through the shield")
		}
		return sim.Sleep(inner, 1)
	})
	if inner.Err() == nil {
		t.Error("it goes on")
	}
}

// Goroutines of other people may look at a process's context at any time.
func TestContextIsSafeForOtherGoroutines(t *testing.T) {
	w := sim.New()
	defer w.Close()
	var wg sync.WaitGroup
	err := w.Do(t.Context(), func(ctx context.Context) error {
		for range 4 {
			c, cancel := sim.WithTimeout(ctx, time.Second)
			defer cancel()
			std, cancel := context.WithCancel(c)
			wg.Go(func() {
				<-c.Done()
				_ = c.Err()
				<-std.Done()
			})
			wg.Go(func() {
				x, cancel := context.WithCancel(c)
				_ = x.Err()
				cancel()
			})
			defer cancel()
		}
		return sim.Sleep(ctx, time.Minute)
	})
	wg.Wait()
	if err != nil {
		t.Error(err)
	}
}

func TestContextsOutsideOfAProcess(t *testing.T) {
	ctx, cancel := sim.WithTimeout(t.Context(), time.Nanosecond)
	if ctx.Err() != nil {
		t.Error("a limit in virtual time struck in ordinary code")
	}
	cancel()
	if ctx.Err() != context.Canceled {
		t.Error("it cannot be cancelled")
	}
	ctx, cancel = sim.WithCancel(t.Context())
	cancel()
	if ctx.Err() != context.Canceled {
		t.Error("it cannot be cancelled")
	}
	if sim.Now(ctx) != 0 || sim.Self(ctx) != nil {
		t.Error("ordinary code is somewhere")
	}
}

func TestDeriveFromTheCancelled(t *testing.T) {
	w := sim.New()
	defer w.Close()
	_ = w.Do(t.Context(), func(ctx context.Context) error {
		c, cancel := sim.WithCancel(ctx)
		cancel()
		d, cancel := sim.WithTimeout(c, time.Hour)
		defer cancel()
		if _, ok := d.Deadline(); ok {
			t.Error("a virtual deadline shows as a date")
		}
		if err := sim.Sleep(d, 1); err != context.Canceled {
			t.Errorf("got %v", err)
		}
		stop := context.AfterFunc(ctx, func() {})
		if !stop() || stop() {
			t.Error("AfterFunc cannot be stopped once")
		}
		if err := context.Cause(d); err != context.Canceled {
			t.Errorf("cause %v", err)
		}
		return nil
	})
}

func TestCancelOfAProcess(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	err := w.Do(t.Context(), func(ctx context.Context) error {
		early := a.Go("early", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) })
		early.Cancel()
		waiting := a.Go("waiting", func(ctx context.Context) error {
			c, cancel := sim.WithTimeout(ctx, 2*time.Hour)
			defer cancel()
			err := sim.Sleep(c, time.Hour)
			return errors.Join(err, sim.Sleep(context.WithoutCancel(ctx), time.Minute))
		})
		shielded := a.Go("shielded", func(ctx context.Context) error { return sim.Sleep(context.WithoutCancel(ctx), time.Minute) })
		_ = sim.Sleep(ctx, time.Second)
		waiting.Cancel()
		shielded.Cancel()
		for _, c := range []struct {
			p    *sim.Proc
			want error
			at   time.Duration
		}{{early, context.Canceled, time.Second}, {shielded, nil, time.Minute}, {waiting, context.Canceled, time.Minute + time.Second}} {
			err := c.p.Wait(ctx)
			if !errors.Is(err, c.want) || sim.Now(ctx) != c.at {
				t.Errorf("%v ended at %v with %v", c.p, sim.Now(ctx), err)
			}
			c.p.Cancel()
			if again := c.p.Wait(ctx); !errors.Is(again, c.want) {
				t.Errorf("%v afterwards: %v", c.p, again)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
