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

var stepPoints = []sim.FaultPoint{
	{Point: "prepare", Outcomes: []sim.Outcome{{Err: 1}, {Delay: time.Hour}}},
	{Point: "freeze", Outcomes: []sim.Outcome{{Err: 1}}},
	{Point: "undo", Outcomes: []sim.Outcome{{Err: 1}}},
	{Point: "unused", Outcomes: []sim.Outcome{{Err: 1}}},
}

// steps is a job with an undo, which only runs when something failed; frozen is
// what the job leaves behind when the undo fails as well.
func steps(plans *[]string, leaks bool) func(opt sim.Option) error {
	return func(opt sim.Option) error {
		w := sim.New(opt)
		defer w.Close()
		var plan []string
		for _, f := range w.Plan() {
			plan = append(plan, f.String())
		}
		*plans = append(*plans, strings.Join(plan, ", "))
		frozen := false
		_ = w.Actor("h1").Call(context.Background(), "job", func(ctx context.Context) error {
			err := errors.Join(sim.At(ctx, "prepare"), sim.At(ctx, "prepare"))
			if err == nil {
				frozen = true
				if err = sim.At(ctx, "freeze"); err == nil {
					frozen = false
				}
			}
			if err != nil && sim.At(ctx, "undo") == nil {
				frozen = false
			}
			return err
		})
		if u := w.Unreached(); len(u) > 0 {
			return fmt.Errorf("%v was never reached", u)
		}
		if frozen && leaks {
			return errors.New("left frozen")
		}
		return nil
	}
}

func TestFaultSearch(t *testing.T) {
	for _, c := range []struct {
		search sim.FaultSearch
		want   string
	}{
		{sim.FaultSearch{}, `
prepare on=h1 err=0x00000001
prepare on=h1 delay=1h0m0s
freeze on=h1 err=0x00000001`},
		{sim.FaultSearch{Double: true}, `
prepare on=h1 err=0x00000001
prepare on=h1 err=0x00000001, prepare on=h1 nth=2 err=0x00000001
prepare on=h1 err=0x00000001, prepare on=h1 nth=2 delay=1h0m0s
prepare on=h1 err=0x00000001, undo on=h1 err=0x00000001
prepare on=h1 delay=1h0m0s
prepare on=h1 delay=1h0m0s, prepare on=h1 nth=2 err=0x00000001
prepare on=h1 delay=1h0m0s, prepare on=h1 nth=2 delay=1h0m0s
prepare on=h1 delay=1h0m0s, freeze on=h1 err=0x00000001
freeze on=h1 err=0x00000001
freeze on=h1 err=0x00000001, undo on=h1 err=0x00000001`},
		{sim.FaultSearch{Nth: 9}, `
prepare on=h1 err=0x00000001
prepare on=h1 nth=2 err=0x00000001
prepare on=h1 delay=1h0m0s
prepare on=h1 nth=2 delay=1h0m0s
freeze on=h1 err=0x00000001`},
		{sim.FaultSearch{Lasting: true}, `
prepare on=h1 err=0x00000001
prepare on=h1 from=1 err=0x00000001
prepare on=h1 delay=1h0m0s
prepare on=h1 from=1 delay=1h0m0s
freeze on=h1 err=0x00000001
freeze on=h1 from=1 err=0x00000001`},
	} {
		var plans []string
		c.search.Points = stepPoints
		report, err := c.search.Run(steps(&plans, false))
		if got := strings.Join(plans, "\n"); err != nil || !report.Complete || report.Runs != len(plans) || got != c.want {
			t.Errorf("%+v: %+v, %v, tried%s\nwant%s", c.search, report, err, got, c.want)
		}
	}
}

func TestFaultSearchNamesTheFaults(t *testing.T) {
	var plans []string
	_, err := sim.FaultSearch{Points: stepPoints, Double: true}.Run(steps(&plans, true))
	const want = "left frozen\nfault: freeze on=h1 err=0x00000001\nfault: undo on=h1 err=0x00000001"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	broken := errors.New("broken")
	report, err := sim.FaultSearch{Points: stepPoints}.Run(func(sim.Option) error { return broken })
	if err == nil || err.Error() != "broken" || !errors.Is(err, broken) || report.Runs != 1 {
		t.Errorf("a run without faults: %+v, %v", report, err)
	}
}

func TestFaultSearchStopsWhenItHasEnough(t *testing.T) {
	const all = 11 + 4 // without and with deviations, of which there are none
	for most := 1; most < all+2; most++ {
		var plans []string
		s := sim.FaultSearch{Points: stepPoints, Double: true, Deviations: 1, MaxRuns: most}
		report, err := s.Run(steps(&plans, false))
		if err != nil || report.Runs != min(most, all) || report.Complete != (most >= all) {
			t.Errorf("at most %d: %+v, %v", most, report, err)
		}
	}
}

// A mistake that takes a fault and an order to show is found by deviations.
func TestFaultSearchDeviates(t *testing.T) {
	scenario := func(opt sim.Option) error {
		w := sim.New(opt)
		defer w.Close()
		a, b := w.Actor("a"), w.Actor("b")
		undone, late := false, false
		b.Go("undo", func(ctx context.Context) error {
			undone = sim.Yield(ctx) == nil
			return nil
		})
		p := a.Go("work", func(ctx context.Context) error {
			err := errors.Join(sim.At(ctx, "freeze"), sim.Yield(ctx))
			late = err != nil && !undone
			return nil
		})
		_ = p.Wait(context.Background())
		if late {
			return errors.New("it failed before the undo was ready")
		}
		return nil
	}
	s := sim.FaultSearch{Points: stepPoints, Double: true}
	if report, err := s.Run(scenario); err != nil || report.Runs != 2 {
		t.Fatalf("without deviations: %+v, %v", report, err)
	}
	for _, prune := range []bool{false, true} {
		s.Deviations, s.Prune = 2, prune
		_, err := s.Run(scenario)
		var found *sim.SearchError
		if !errors.As(err, &found) || len(found.Faults) != 1 || len(found.Recording.Trim()) == 0 {
			t.Fatalf("got %v", err)
		}
		if err := scenario(sim.Options(sim.Faults(found.Faults...), sim.Replay(found.Recording.Trim()))); err == nil {
			t.Errorf("%v does not fail again", found)
		}
	}
}

// Points reached in a second world of a scenario count as well.
func TestFaultSearchOverTwoWorlds(t *testing.T) {
	var seen []string
	report, err := sim.FaultSearch{Points: stepPoints}.Run(func(opt sim.Option) error {
		for _, point := range []sim.Point{"prepare", "freeze"} {
			w := sim.New(opt)
			err := w.Actor("h1").Call(context.Background(), "job", func(ctx context.Context) error { return sim.At(ctx, point) })
			seen = append(seen, fmt.Sprint(point, " ", err != nil))
			_ = w.Close()
		}
		return nil
	})
	const want = "[prepare false freeze false prepare true freeze false prepare false freeze false prepare false freeze true]"
	if err != nil || len(report.Single) != 3 || fmt.Sprint(seen) != want {
		t.Errorf("%v, %v\nwant %v; %v", report, seen, want, err)
	}
}
