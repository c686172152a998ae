package simtest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/simtest"
)

func TestNewClosesTheWorld(t *testing.T) {
	before := runtime.NumGoroutine()
	f := &fakeTB{TB: t}
	var w *sim.World
	said := f.run(func(t *fakeTB) {
		w = simtest.New(t)
		w.Actor("a").Go("sleeps", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) })
		_ = w.Advance(1)
	})
	if f.failed || said != "" {
		t.Errorf("a good test says %s", said)
	}
	if err := w.Advance(1); err != sim.ErrClosed {
		t.Errorf("the world is open: %v", err)
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, before it were %d", runtime.NumGoroutine(), before)
}

func TestNewReportsUnreachedFaults(t *testing.T) {
	for _, c := range []simtest.Config{{}, {AllowUnreached: true}} {
		f := &fakeTB{TB: t}
		said := f.run(func(t *fakeTB) { c.New(t, sim.Plan("never/asked hang", "nor/this err=0x1")) })
		const want = "simtest: planned and never reached: never/asked hang; nor/this err=0x00000001"
		if f.failed == c.AllowUnreached || strings.Contains(said, want) == c.AllowUnreached {
			t.Errorf("%+v: failed: %v, said %s", c, f.failed, said)
		}
	}
}

func TestAFailureSaysWhatIsNeededToRepeatIt(t *testing.T) {
	f := &fakeTB{TB: t}
	said := f.run(func(t *fakeTB) {
		w := simtest.New(t, sim.Seed(7), sim.Plan("vss/freeze on=h1 err=0x5"))
		_ = w.Actor("h1").Call(context.Background(), "freeze", func(ctx context.Context) error {
			sim.Choose(ctx, "way", 3)
			_ = sim.At(ctx, "vss/freeze")
			panic("oops")
		})
		t.Fatal("this went wrong")
	})
	for _, want := range []string{
		"this went wrong",
		"0s  h1  fault  point=vss/freeze on=h1",
		"panic: sim: h1:freeze panicked: oops",
		"seed: 7",
		"fault: vss/freeze on=h1 err=0x00000005",
		`replay with: simtest.Replay(t, "way/3=`,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q but\n%s", want, said)
		}
	}
}

func TestReportOfALongTrace(t *testing.T) {
	w := simtest.New(t)
	for i := range 10_000 {
		w.Actor("a").Emit(fmt.Sprint("event", i), "")
	}
	report := simtest.Report(w)
	if n := strings.Count(report, "\n"); n > 410 {
		t.Errorf("%d lines", n)
	}
	for _, want := range []string{"event0\n", "event199\n... 9600 events ...\n", "event9800\n", "event9999\n"} {
		if !strings.Contains(report, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestWatchNamesAStuckProcess(t *testing.T) {
	w := simtest.New(t)
	named := make(chan string, 1)
	real := make(chan struct{})
	stop := simtest.Watch(w, 40*time.Millisecond, func(process, stacks string) {
		if strings.Count(stacks, "]:\n") != 1 || !strings.Contains(stacks, "TestWatchNamesAStuckProcess") || !strings.Contains(stacks, "chan receive") {
			process = "not this one:\n" + stacks
		}
		named <- process
		close(real)
	})
	defer stop()
	w.Actor("h1").Go("bystander", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) })
	err := w.Actor("h1").Call(t.Context(), "handler", func(context.Context) error {
		<-real // a handler must not do this
		return nil
	})
	if got := <-named; err != nil || got != "h1#2:handler" {
		t.Errorf("named %s, %v", got, err)
	}
	stop()
}

func TestAStuckProcessFailsTheTest(t *testing.T) {
	f := &fakeTB{TB: t}
	said := f.run(func(t *fakeTB) {
		w := simtest.Config{Patience: 20 * time.Millisecond}.New(t)
		_ = w.Actor("h1").Call(context.Background(), "handler", func(context.Context) error {
			for !t.Failed() { // it is on a real lock, say
				time.Sleep(time.Millisecond)
			}
			return nil
		})
	})
	if !strings.Contains(said, "h1:handler has had its turn for 20ms") {
		t.Errorf("said %s", said)
	}
}

// A world that moves is not stuck, be it ever so slow, and one that stands still
// between operations is not either.
func TestTheWatchdogIsPatient(t *testing.T) {
	slow := func(w *sim.World) error {
		time.Sleep(60 * time.Millisecond)
		return w.Do(context.Background(), func(ctx context.Context) error {
			for range 40 {
				time.Sleep(3 * time.Millisecond)
				if err := sim.Sleep(ctx, 1); err != nil {
					return err
				}
			}
			return nil
		})
	}
	w := simtest.Config{Patience: 50 * time.Millisecond}.New(t)
	off := simtest.Config{Patience: -1}.New(t)
	if err := errors.Join(slow(w), slow(off)); err != nil {
		t.Error(err)
	}
}

func TestReplay(t *testing.T) {
	for _, c := range []struct {
		line string
		want string
	}{
		{"way/3=2", ""},
		{"", ""},
		{"way/3=2 way/3=1", "drift: the run ended at choice 1 of 2"},
		{"way/4=1", "drift at choice 0: was way/4, now way/3"},
		{"nonsense", "sim: recording"},
	} {
		f := &fakeTB{TB: t}
		chosen := -1
		said := f.run(func(t *fakeTB) {
			defer func() {
				if err, ok := recover().(error); ok {
					t.Error(err)
				}
			}()
			w := simtest.New(t, simtest.Replay(t, c.line))
			_ = w.Do(context.Background(), func(ctx context.Context) error {
				chosen = sim.Choose(ctx, "way", 3)
				return nil
			})
		})
		if f.failed != (c.want != "") || !strings.Contains(said, c.want) {
			t.Errorf("%s: said %s", c.line, said)
		}
		if c.line == "way/3=2" && chosen != 2 {
			t.Errorf("it chose %d", chosen)
		}
	}
}

func TestEveryFaultRunsEach(t *testing.T) {
	const point sim.Point = "test/point"
	points := []sim.FaultPoint{{Point: point, Outcomes: []sim.Outcome{{Err: 0x80070005}, {Delay: time.Second}}}}
	runs, failed := 0, 0
	simtest.EveryFault(t, points, func(t *testing.T, w *sim.World) {
		runs++
		err := w.Do(t.Context(), func(ctx context.Context) error {
			return errors.Join(sim.AtOn(ctx, point, "a"), sim.AtOn(ctx, point, "b"))
		})
		if err != nil {
			failed++
		}
	})
	if runs != 5 || failed != 2 {
		t.Errorf("%d runs, %d failed; want 5 and 2", runs, failed)
	}
}
