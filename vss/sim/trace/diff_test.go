package trace_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/trace"
)

// A guest's veto changes the end of a run: some events go, others come.
func TestDiff(t *testing.T) {
	calm := backup()
	veto := slices.Clone(calm[:5])
	veto = append(veto, sim.Event{Time: 2 * time.Second, Actor: "h1/vmms", Kind: "vss/abort", Rule: "R37"})
	veto = append(veto, calm[8])
	golden(t, "veto.diff", trace.Diff(calm, veto, trace.Options{Context: 2}))
	golden(t, "back.diff", trace.Diff(veto, calm, trace.Options{}))
	if d := trace.Diff(calm, calm, trace.Options{}); d != "" {
		t.Errorf("a run differs from itself: %s", d)
	}
	if a, b := trace.Compare(calm, calm, trace.Options{}).First(); a != len(calm) || b != len(calm) {
		t.Errorf("a run differs from itself at %d, %d", a, b)
	}
	if a, b := trace.Compare(calm, calm[:3], trace.Options{}).First(); a != 3 || b != 3 {
		t.Errorf("a run differs from its beginning at %d, %d", a, b)
	}
}

func TestDiffIgnoresNumbersAndPerhapsTimes(t *testing.T) {
	a, b := backup(), backup()
	for i := range b {
		b[i].Seq += 100
	}
	if d := trace.Diff(a, b, trace.Options{}); d != "" {
		t.Errorf("sequence numbers count: %s", d)
	}
	b[0].Time = time.Hour
	if d := trace.Diff(a, b, trace.Options{IgnoreTime: true}); d != "" {
		t.Errorf("times count: %s", d)
	}
	if d := trace.Diff(a, b, trace.Options{}); d == "" {
		t.Error("times do not count")
	}
}

// same tells apart what Compare is to tell apart.
func same(a, b sim.Event, o trace.Options) bool {
	if o.IgnoreTime {
		a.Time, b.Time = 0, 0
	}
	return a.String() == b.String()
}

// leastEdits is the length of the shortest way, by the plain table.
func leastEdits(a, b sim.Trace, o trace.Options) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			best := min(row[j+1], row[j]) + 1
			if same(a[i], b[j], o) {
				best = diagonal
			}
			diagonal, row[j+1] = row[j+1], best
		}
	}
	return row[len(b)]
}

func TestCompareIsAShortestEdit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := drawTrace(rt, "a", 15), drawTrace(rt, "b", 15)
		o := trace.Options{IgnoreTime: rapid.Bool().Draw(rt, "ignore time")}
		d := trace.Compare(a, b, o)
		i, j, edits := 0, 0, 0
		last := trace.Op(-1)
		for _, e := range d.Edits {
			if e.N <= 0 || e.Op == last || e.A != i || e.B != j {
				rt.Fatalf("%+v does not go on from %d, %d", e, i, j)
			}
			last = e.Op
			if e.Op != trace.OnlyB {
				i += e.N
			}
			if e.Op != trace.OnlyA {
				j += e.N
			}
			if e.Op != trace.Both {
				edits += e.N
				continue
			}
			for k := range e.N {
				if !same(a[e.A+k], b[e.B+k], o) {
					rt.Fatalf("%v is not %v", a[e.A+k], b[e.B+k])
				}
			}
		}
		if i != len(a) || j != len(b) || !d.Minimal || edits != leastEdits(a, b, o) {
			rt.Errorf("%d edits, at least %d, cover %d of %d and %d of %d", edits, leastEdits(a, b, o), i, len(a), j, len(b))
		}
		if d.Equal() != (edits == 0) || (d.String() == "") != d.Equal() {
			rt.Errorf("equal: %v, with %d edits", d.Equal(), edits)
		}
		a0, b0 := d.First()
		for k := range min(a0, b0) {
			if !same(a[k], b[k], o) {
				rt.Errorf("the first difference is at %d, not at %d", k, min(a0, b0))
			}
		}
	})
}

// Runs that have next to nothing in common are not compared for ever.
func TestCompareOfLongRunsIsBounded(t *testing.T) {
	var a, b sim.Trace
	common := sim.Event{Actor: "a", Kind: "common"}
	a, b = append(a, common), append(b, common)
	for i := range 20_000 {
		a = append(a, sim.Event{Actor: "a", Kind: fmt.Sprint("only here ", i)})
		b = append(b, sim.Event{Actor: "b", Kind: fmt.Sprint("only there ", i)})
	}
	a, b = append(a, common), append(b, common)
	d := trace.Compare(a, b, trace.Options{})
	if d.Minimal || len(d.Edits) != 4 || strings.Count(d.String(), "\n") != 40_003 {
		t.Errorf("%d edits", len(d.Edits))
	}
	c := slices.Clone(a)
	c = slices.Delete(c, 10_000, 10_001)
	if d := trace.Compare(a, c, trace.Options{}); !d.Minimal || len(d.Edits) != 3 {
		t.Errorf("a small difference of long runs: %+v", d.Edits)
	}
}
