package simtest_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/simtest"
)

// pay is a program with a mistake that few orders of its processes show: a balance
// is read, and written after somebody else wrote it.
func pay(w *sim.World) error {
	balance := 0
	add := func(ctx context.Context) error {
		read := balance
		if err := sim.Yield(ctx); err != nil {
			return err
		}
		balance = read + 1
		return nil
	}
	err := w.Do(context.Background(), func(ctx context.Context) error {
		first := sim.Go(ctx, "first", add)
		if err := sim.Sleep(ctx, time.Second); err != nil {
			return err
		}
		second := sim.Go(ctx, "second", add)
		third := sim.Go(ctx, "third", func(ctx context.Context) error {
			_ = sim.Yield(ctx)
			_ = sim.Yield(ctx)
			return add(ctx)
		})
		return sim.Join(ctx, first, second, third)
	})
	if err == nil && balance != 3 {
		err = errors.New("a payment was lost")
	}
	return err
}

var replayLine = regexp.MustCompile(`simtest\.Replay\(t, "([^"]*)"\)`)

// A failing order shrinks to the one deviation that it takes, and the printed line
// repeats it.
func TestCheckShrinksToALineThatReplays(t *testing.T) {
	rapidFlags(t, map[string]string{"nofailfile": "true", "checks": "1000"})
	for _, seed := range []string{"1", "2", "3"} {
		rapidFlags(t, map[string]string{"seed": seed})
		f := &fakeTB{TB: t}
		said := f.run(func(t *fakeTB) {
			simtest.Check(t, func(t *rapid.T, w *sim.World) {
				w.Actor("a").Emit("an event of the shrunk run", "")
				if err := pay(w); err != nil {
					t.Fatal(err)
				}
			})
		})
		m := replayLine.FindAllStringSubmatch(said, -1)
		if len(m) != 1 || !strings.Contains(said, "a payment was lost") || !strings.Contains(said, "an event of the shrunk run") {
			t.Fatalf("seed %s: it said\n%s", seed, said)
		}
		const want = "run/2=1*2"
		if line := m[0][1]; line != want {
			t.Errorf("seed %s: it shrank to %q, want %q", seed, line, want)
		}
		w := simtest.New(t, simtest.Replay(t, m[0][1]))
		if err := pay(w); err == nil {
			t.Errorf("seed %s: %q does not repeat the failure", seed, m[0][1])
		}
	}
	w := simtest.New(t)
	if err := pay(w); err != nil {
		t.Errorf("the default order fails as well: %v", err)
	}
}

// Whatever ends a property inside a process ends it as it does outside.
func TestRapidsOwnPanicsPass(t *testing.T) {
	rapidFlags(t, map[string]string{"nofailfile": "true", "seed": "1"})
	inside := func(fn func(t *rapid.T)) string {
		f := &fakeTB{TB: t}
		return f.run(func(t *fakeTB) {
			simtest.Check(t, func(t *rapid.T, w *sim.World) {
				err := w.Do(context.Background(), func(ctx context.Context) error {
					return sim.Protect(ctx, func() error { fn(t); return nil })
				})
				if err != nil {
					t.Fatalf("it came back as %v", err)
				}
			})
		})
	}
	for _, c := range []struct {
		name string
		fn   func(t *rapid.T)
		want string
	}{
		{"Fatal", func(t *rapid.T) { t.Fatal("found it") }, "[rapid] failed after 0 tests: found it"},
		{"Error", func(t *rapid.T) { t.Error("found it") }, "[rapid] failed after 0 tests: found it"},
		{"Skip", func(t *rapid.T) { t.Skip("not this one") }, "only generated 0 valid tests"},
		{"a draw that finds nothing", func(t *rapid.T) {
			rapid.Int().Filter(func(int) bool { return false }).Draw(t, "x")
		}, "only generated 0 valid tests"},
		{"a draw", func(t *rapid.T) {
			if n := rapid.IntRange(0, 1000).Draw(t, "n"); n > 10 {
				t.Fatalf("%d is too much", n)
			}
		}, "11 is too much"},
	} {
		if said := inside(c.fn); !strings.Contains(said, c.want) {
			t.Errorf("%s: it said\n%s", c.name, said)
		}
	}
}

// A failure does not shrink to another one, though both come out of one world.
func TestFailuresAreToldApartByWhereTheyBegin(t *testing.T) {
	rapidFlags(t, map[string]string{"nofailfile": "true", "checks": "1000"})
	for _, seed := range []string{"1", "2", "3", "4", "5", "6"} {
		rapidFlags(t, map[string]string{"seed": seed})
		f := &fakeTB{TB: t}
		first := ""
		said := f.run(func(t *fakeTB) {
			simtest.Check(t, func(t *rapid.T, w *sim.World) {
				_ = w.Do(context.Background(), func(context.Context) error {
					switch n := rapid.IntRange(0, 1000).Draw(t, "n"); {
					case n > 500:
						if first == "" {
							first = "large"
						}
						t.Fatal("large")
					case n > 100:
						if first == "" {
							first = "middling"
						}
						t.Fatal("middling")
					}
					return nil
				})
			})
		})
		if !strings.Contains(said, "tests: "+first) {
			t.Errorf("seed %s: a failure that was %s shrank to\n%s", seed, first, said)
		}
	}
}

func TestCheckReportsUnreachedFaults(t *testing.T) {
	rapidFlags(t, map[string]string{"nofailfile": "true", "checks": "15"}) // a short run takes a fifth
	for _, c := range []simtest.Config{{}, {AllowUnreached: true}} {
		f := &fakeTB{TB: t}
		said := f.run(func(t *fakeTB) {
			c.Check(t, func(*rapid.T, *sim.World) {}, sim.Plan("never/asked hang"))
		})
		if f.failed == c.AllowUnreached || strings.Contains(said, "planned and never reached: never/asked hang") == c.AllowUnreached {
			t.Errorf("%+v: said %s", c, said)
		}
	}
}

func TestCheckHoldsForACorrectProgram(t *testing.T) {
	rapidFlags(t, map[string]string{"nofailfile": "true", "checks": "500"})
	orders := make(map[string]bool)
	simtest.Check(t, func(t *rapid.T, w *sim.World) {
		n, order := 0, ""
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
					order += fmt.Sprint(i)
					return nil
				}))
			}
			return sim.Join(ctx, procs...)
		})
		orders[order] = true
		if err != nil || n != 3 {
			t.Errorf("%d, %v", n, err)
		}
	})
	if len(orders) < 3 {
		t.Errorf("it tried the orders %v alone", orders)
	}
}

// One option may serve the worlds of a property one after the other.
func TestChoicesOverTwoWorlds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opt := simtest.Choices(t)
		for range 2 {
			w := sim.New(opt)
			err := w.Do(context.Background(), func(ctx context.Context) error {
				for n := 2; n < 12; n++ {
					if i := sim.Choose(ctx, "way", n); i < 0 || i >= n {
						return fmt.Errorf("%d of %d", i, n)
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			_ = w.Close()
		}
	})
}
