package simtest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/simtest"
)

// race is a program with a mistake that only one order of its processes shows: a
// balance is read, and written after somebody else wrote it.
func race(ctx context.Context, w *sim.World) error {
	balance := 0
	pay := func(ctx context.Context) error {
		read := balance
		if err := sim.Yield(ctx); err != nil {
			return err
		}
		balance = read + 1
		return nil
	}
	return w.Do(ctx, func(ctx context.Context) error {
		first := sim.Go(ctx, "first", pay)
		if err := sim.Sleep(ctx, time.Second); err != nil {
			return err
		}
		second := sim.Go(ctx, "second", pay)
		third := sim.Go(ctx, "third", func(ctx context.Context) error {
			if err := sim.Yield(ctx); err != nil {
				return err
			}
			return pay(ctx)
		})
		if err := sim.Join(ctx, first, second, third); err != nil {
			return err
		}
		if balance != 3 {
			return errors.New("a payment was lost")
		}
		return nil
	})
}

var broken = flag.Bool("broken", false, "run the property that fails, for TestCheckShrinksToAReplayLine")

// TestBroken is the property that must fail; it runs in a process of its own.
func TestBroken(t *testing.T) {
	if !*broken {
		t.Skip("run by TestCheckShrinksToAReplayLine")
	}
	simtest.Check(t, func(t *rapid.T, w *sim.World) {
		if err := race(context.Background(), w); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCheckShrinksToAReplayLine: a failing order shrinks to few deviations, and
// the printed line repeats it.
func TestCheckShrinksToAReplayLine(t *testing.T) {
	if _, err := os.Stat(os.Args[0]); err != nil {
		t.Skipf("the test cannot run itself here: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestBroken$", "-broken", "-rapid.nofailfile", "-rapid.seed=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the broken property holds:\n%s", out)
	}
	lines := strings.Split(string(out), "\n")
	line := ""
	for _, l := range lines {
		if _, rest, ok := strings.Cut(l, `simtest.Replay(t, "`); ok {
			line = strings.TrimSuffix(strings.TrimSpace(rest), `")`)
		}
	}
	if line == "" {
		t.Fatalf("no replay line in\n%s", out)
	}
	r, err := sim.ParseRecording(line)
	if err != nil {
		t.Fatal(err)
	}
	deviations := 0
	for _, c := range r {
		if c.Chosen != 0 {
			deviations++
		}
	}
	if deviations == 0 || deviations > 2 {
		t.Errorf("the shrunk run has %d deviations: %s", deviations, line)
	}
	w := simtest.New(t, simtest.Replay(t, line))
	if err := race(t.Context(), w); err == nil {
		t.Errorf("%s does not repeat the failure", line)
	}
}

func TestCheckHoldsForACorrectProgram(t *testing.T) {
	simtest.Check(t, func(t *rapid.T, w *sim.World) {
		n := 0
		err := w.Do(context.Background(), func(ctx context.Context) error {
			var procs []*sim.Proc
			for i := range 3 {
				procs = append(procs, sim.Go(ctx, fmt.Sprint(i), func(ctx context.Context) error {
					if sim.Choose(ctx, "rest", 2) == 1 {
						if err := sim.Yield(ctx); err != nil {
							return err
						}
					}
					n++
					return nil
				}))
			}
			return sim.Join(ctx, procs...)
		})
		if err != nil || n != 3 {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// fakeTB collects what a helper reports.
type fakeTB struct {
	testing.TB
	errors  []string
	logs    []string
	cleanup []func()
}

func (f *fakeTB) Helper()                      {}
func (f *fakeTB) Failed() bool                 { return len(f.errors) > 0 }
func (f *fakeTB) Cleanup(fn func())            { f.cleanup = append(f.cleanup, fn) }
func (f *fakeTB) Errorf(s string, args ...any) { f.errors = append(f.errors, fmt.Sprintf(s, args...)) }
func (f *fakeTB) Logf(s string, args ...any)   { f.logs = append(f.logs, fmt.Sprintf(s, args...)) }

func (f *fakeTB) end() {
	for i := len(f.cleanup); i > 0; i-- {
		f.cleanup[i-1]()
	}
}

func TestNewReportsUnreachedFaults(t *testing.T) {
	f := &fakeTB{TB: t}
	w := simtest.New(f, sim.Plan("never/asked hang"), sim.Seed(3))
	w.Actor("a").Emit("something", "R1")
	f.end()
	if len(f.errors) != 1 || !strings.Contains(f.errors[0], "never/asked hang") {
		t.Errorf("errors %q", f.errors)
	}
	if len(f.logs) != 1 || !strings.Contains(f.logs[0], "something") {
		t.Errorf("logs %q", f.logs)
	}
	if err := w.Do(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, sim.ErrClosed) {
		t.Errorf("the world is open: %v", err)
	}
}

func TestWatchNamesAStuckProcess(t *testing.T) {
	w := simtest.New(t)
	named := make(chan string, 1)
	real := make(chan struct{})
	stop := simtest.Watch(w, 40*time.Millisecond, func(process, stacks string) {
		if !strings.Contains(stacks, "goroutine") {
			process = "no stacks"
		}
		named <- process
		close(real)
	})
	defer stop()
	err := w.Actor("h1").Call(t.Context(), "handler", func(context.Context) error {
		<-real // a handler must not do this
		return nil
	})
	if got := <-named; err != nil || got != "h1:handler" {
		t.Errorf("named %q, %v", got, err)
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
