package sim_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestTraceGrowsWithoutChange(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("h1")
	const events = 5000
	var snapshots []sim.Trace
	err := w.Do(t.Context(), func(ctx context.Context) error {
		for i := range events {
			attrs := make([]sim.Attr, i%4)
			for j := range attrs {
				attrs[j] = sim.N("n", i*10+j)
			}
			if i%2 == 0 {
				sim.Emit(ctx, "even", "", attrs...)
			} else {
				a.Emit("odd", fmt.Sprint("R", i), attrs...)
			}
			for j := range attrs {
				attrs[j] = sim.S("overwritten", "by the caller")
			}
			if i%37 == 0 || i > events-3 {
				snapshots = append(snapshots, w.Trace())
			}
			if err := sim.Sleep(ctx, time.Second); err != nil {
				return err
			}
		}
		return nil
	})
	whole := w.Trace()
	if err != nil || len(whole) != events || len(whole.Select("odd")) != events/2 {
		t.Fatalf("%d events, %v", len(whole), err)
	}
	for i, e := range whole {
		ok := e.Seq == uint64(i+1) && e.Time == time.Duration(i)*time.Second && len(e.Attrs) == i%4 &&
			e.Actor == map[int]string{0: "", 1: "h1"}[i%2] && e.Rule == map[int]string{0: "", 1: fmt.Sprint("R", i)}[i%2]
		for j, a := range e.Attrs {
			ok = ok && a == sim.N("n", i*10+j)
		}
		if !ok {
			t.Fatalf("event %d is %+v", i, e)
		}
	}
	for _, s := range snapshots {
		if s.String() != whole[:len(s)].String() {
			t.Fatalf("the trace of %d events changed", len(s))
		}
		_ = append(s, sim.Event{Kind: "added by the reader"})
	}
	if slices.ContainsFunc(w.Trace(), func(e sim.Event) bool { return e.Kind == "added by the reader" }) {
		t.Error("a reader wrote into the trace")
	}
}

func TestEventPrints(t *testing.T) {
	e := sim.Event{Time: 90 * time.Second, Actor: "h1", Kind: "k", Rule: "R1", Attrs: []sim.Attr{
		sim.S("word", "x"), sim.S("empty", ""), sim.S("two", "a b"), sim.S("eq", "a=b"), sim.S("nl", "a\nb"),
		sim.S("bad", "\xff"), sim.S("quote", `"`), sim.S("ü", "ü"), sim.N("n", -5), sim.N("code", uint32(0x800423F4)),
	}}
	const want = `       1m30s  h1                           k word=x empty="" two="a b" eq="a=b" nl="a\nb" bad="\xff" quote="\"" ü=ü n=-5 code=2147754996  [R1]`
	if e.String() != want {
		t.Errorf("got  %s\nwant %s", e, want)
	}
	if e.Get("two") != "a b" || e.Get("n") != "-5" || e.Get("none") != "" || e.Attrs[4].String() != `nl="a\nb"` {
		t.Error("an attribute is read wrong")
	}
}

func TestNoTrace(t *testing.T) {
	w := sim.New(sim.NoTrace(), sim.TraceIO())
	defer w.Close()
	w.Actor("a").Emit("x", "")
	sim.Emit(t.Context(), "in ordinary code", "")
	if len(w.Trace()) != 0 || !w.TracesIO() || w.Trace().String() != "" {
		t.Errorf("%v", w.Trace())
	}
}
