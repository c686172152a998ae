package sim_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// walk lets actors take turns of their own, and returns the order they took.
func walk(w *sim.World, turns ...int) string {
	var order strings.Builder
	for i, n := range turns {
		w.Actor(string(rune('a'+i))).Go("p", func(ctx context.Context) error {
			for range n {
				order.WriteByte(byte('a' + i))
				if err := sim.Yield(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	_ = w.Advance(time.Second)
	return order.String()
}

func factorial(n int) int {
	if n == 0 {
		return 1
	}
	return n * factorial(n-1)
}

// Each process takes one turn more than it yields; the number of their orders is
// known.
func TestSearchTriesEveryOrder(t *testing.T) {
	for _, turns := range [][]int{{1, 1}, {2, 1}, {2, 2}, {1, 1, 1}, {3, 2}, {2, 2, 1}} {
		seen := make(map[string]int)
		all, same := 0, 1
		for _, n := range turns {
			all += n + 1
			same *= factorial(n + 1)
		}
		want := factorial(all) / same
		report, err := sim.Search{}.Run(func(opt sim.Option) error {
			w := sim.New(opt)
			defer w.Close()
			seen[walk(w, turns...)+" "+w.Recording().String()]++
			return nil
		})
		if err != nil || !report.Complete || report.Runs != want || len(seen) != want || report.Pruned != 0 {
			t.Errorf("%v: %+v, %d different ones, %v; want %d", turns, report, len(seen), err, want)
		}
	}
}

// Independent actors come to one end state; the pruned search goes through the
// states, not through the orders: a grid instead of its paths.
func TestPruningMergesOrders(t *testing.T) {
	report, err := sim.Search{Prune: true}.Run(func(opt sim.Option) error {
		w := sim.New(opt)
		defer w.Close()
		walk(w, 6, 6)
		return nil
	})
	orders := factorial(14) / factorial(7) / factorial(7)
	if err != nil || !report.Complete || report.Runs+report.Pruned > 3*8*8 {
		t.Errorf("%+v instead of %d runs, %v", report, orders, err)
	}
}

func TestSearchTriesEveryChoice(t *testing.T) {
	seen := make(map[string]bool)
	scenario := func(opt sim.Option) error {
		w := sim.New(opt)
		defer w.Close()
		return w.Do(context.Background(), func(ctx context.Context) error {
			seen[fmt.Sprint(sim.Choose(ctx, "a", 2), sim.Choose(ctx, "b", 3), sim.Choose(ctx, "c", 4))] = true
			return nil
		})
	}
	for _, c := range []struct {
		search sim.Search
		want   int
	}{
		{sim.Search{}, 24},
		{sim.Search{Prune: true}, 24},
		{sim.Search{Deviations: 1}, 1 + 1 + 2 + 3},
		{sim.Search{Deviations: 2}, 7 + 1*2 + 1*3 + 2*3},
		{sim.Search{Deviations: 3}, 24},
		{sim.Search{Deviations: 9}, 24},
	} {
		clear(seen)
		report, err := c.search.Run(scenario)
		if err != nil || !report.Complete || report.Runs != c.want || len(seen) != c.want {
			t.Errorf("%+v: %+v, %d different ones, %v; want %d", c.search, report, len(seen), err, c.want)
		}
	}
	report, err := sim.Search{MaxRuns: 5}.Run(scenario)
	if err != nil || report.Complete || report.Runs != 5 {
		t.Errorf("a bounded one: %+v, %v", report, err)
	}
}

var errLost = errors.New("an update was lost")

// lostUpdate is a mistake that shows in some orders only.
func lostUpdate(opts ...sim.Option) error {
	w := sim.New(opts...)
	defer w.Close()
	count := 0
	for _, name := range []string{"a", "b"} {
		w.Actor(name).Go("add", func(ctx context.Context) error {
			read := count
			if name == "a" {
				_ = sim.Yield(ctx)
			}
			count = read + 1
			return nil
		})
	}
	err := w.Advance(time.Second)
	if count != 2 {
		err = errors.Join(err, errLost)
	}
	return err
}

func TestSearchFindsAndReplays(t *testing.T) {
	_, err := sim.Search{}.Run(func(opt sim.Option) error { return lostUpdate(opt) })
	var found *sim.SearchError
	if !errors.As(err, &found) || !errors.Is(err, errLost) {
		t.Fatalf("got %v", err)
	}
	_, line, ok := strings.Cut(err.Error(), "\nreplay: ")
	if !ok && len(found.Recording.Trim()) > 0 {
		t.Fatalf("no line to replay in %v", err)
	}
	r, err := sim.ParseRecording(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := lostUpdate(sim.Replay(r)); !errors.Is(err, errLost) {
		t.Errorf("replaying %s: %v", line, err)
	}
}

func TestSearchNoticesDrift(t *testing.T) {
	for name, fickle := range map[string]func(run int, ctx context.Context){
		"another name":   func(run int, ctx context.Context) { sim.Choose(ctx, fmt.Sprint("x", run), 2) },
		"fewer choices":  func(run int, ctx context.Context) { sim.Choose(ctx, "x", 2-min(run, 1)) },
		"another number": func(run int, ctx context.Context) { sim.Choose(ctx, "x", 2+run) },
	} {
		runs := 0
		_, err := sim.Search{}.Run(func(opt sim.Option) error {
			w := sim.New(opt)
			defer w.Close()
			return w.Do(context.Background(), func(ctx context.Context) error {
				fickle(runs, ctx)
				runs++
				return nil
			})
		})
		var drift *sim.DriftError
		if !errors.As(err, &drift) || drift.Index != 0 || drift.Was == drift.Now {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSearchLetsOtherPanicsPass(t *testing.T) {
	for _, v := range []any{"text", errors.New("error")} {
		o := observe(func() error {
			_, err := sim.Search{}.Run(func(sim.Option) error { panic(v) })
			return err
		})
		if o.panicked != v {
			t.Errorf("%v became %+v", v, o)
		}
	}
}

// A scenario of two worlds, as one that restores into a fresh one: what happened
// in the first is part of the state of the second.
func TestSearchOverTwoWorlds(t *testing.T) {
	ends := func(s sim.Search) []string {
		seen := make(map[string]bool)
		report, err := s.Run(func(opt sim.Option) error {
			first := sim.New(opt)
			defer first.Close()
			kept := 0
			_ = first.Do(context.Background(), func(ctx context.Context) error {
				kept = sim.Choose(ctx, "kept", 3)
				return nil
			})
			second := sim.New(opt)
			defer second.Close()
			return second.Do(context.Background(), func(ctx context.Context) error {
				seen[fmt.Sprint(kept, sim.Choose(ctx, "x", 2))] = true
				return nil
			})
		})
		if err != nil || !report.Complete {
			t.Errorf("%+v, %v", report, err)
		}
		var out []string
		for s := range seen {
			out = append(out, s)
		}
		slices.Sort(out)
		return out
	}
	all, pruned := ends(sim.Search{}), ends(sim.Search{Prune: true})
	if len(all) != 6 || !slices.Equal(all, pruned) {
		t.Errorf("%v, pruned %v", all, pruned)
	}
}
