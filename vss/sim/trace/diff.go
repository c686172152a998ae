package trace

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Options say what counts as a difference.
type Options struct {
	IgnoreTime bool // the same events at other times are the same
	Context    int  // events shown around a difference; 3 if zero
}

// Diff tells two runs apart in words: where they first differ, and the events
// that only one of them has, between some that both have. It is "" if the runs are
// the same. Sequence numbers do not count.
func Diff(a, b sim.Trace, o Options) string { return Compare(a, b, o).String() }

// A Difference is how to get from trace A to trace B.
type Difference struct {
	A, B  sim.Trace
	Edits []Edit // in order; together they cover both traces

	// Minimal tells that no shorter way exists. It is looked for up to a thousand
	// events that differ; beyond, all between the first and the last difference
	// counts as different.
	Minimal bool

	context int
}

// An Edit is a run of events that are in both traces, or in one alone.
type Edit struct {
	A, B int // where it begins in each
	N    int // events
	Op   Op
}

// Op tells in which traces an edit's events are.
type Op int

// The traces an event is in.
const (
	Both  Op = iota // A[A:A+N] is B[B:B+N]
	OnlyA           // A[A:A+N]
	OnlyB           // B[B:B+N]
)

// Compare compares two traces event by event; their sequence numbers do not
// count.
func Compare(a, b sim.Trace, o Options) Difference {
	x, y := o.intern(a, b)
	head := 0
	for head < min(len(x), len(y)) && x[head] == y[head] {
		head++
	}
	tail := 0
	for tail < min(len(x), len(y))-head && x[len(x)-1-tail] == y[len(y)-1-tail] {
		tail++
	}
	out := Difference{A: a, B: b, context: cmp.Or(o.Context, 3)}
	var middle []Edit
	middle, out.Minimal = shortest(x[head:len(x)-tail], y[head:len(y)-tail])
	add := func(e Edit) {
		switch n := len(out.Edits); {
		case e.N == 0:
		case n > 0 && out.Edits[n-1].Op == e.Op:
			out.Edits[n-1].N += e.N
		default:
			out.Edits = append(out.Edits, e)
		}
	}
	add(Edit{0, 0, head, Both})
	for _, e := range middle {
		e.A, e.B = e.A+head, e.B+head
		add(e)
	}
	add(Edit{len(x) - tail, len(y) - tail, tail, Both})
	return out
}

// intern gives the same number to the same events.
func (o Options) intern(a, b sim.Trace) (x, y []int) {
	known := make(map[string]int)
	number := func(t sim.Trace) []int {
		out := make([]int, len(t))
		for i, e := range t {
			if o.IgnoreTime {
				e.Time = 0
			}
			key := fmt.Sprintf("%d %q %q %q %q", e.Time, e.Actor, e.Kind, e.Rule, e.Attrs)
			if known[key] == 0 {
				known[key] = len(known) + 1
			}
			out[i] = known[key]
		}
		return out
	}
	return number(a), number(b)
}

// maxEdits bounds the search for the shortest way; its memory grows with the
// square.
const maxEdits = 1000

// shortest finds the fewest events to leave out and to put in, by E. W. Myers'
// "An O(ND) Difference Algorithm and Its Variations".
func shortest(x, y []int) (edits []Edit, minimal bool) {
	bound := min(maxEdits, len(x)+len(y))
	var rows [][]int // rows[d][k+d]: how far in x diagonal k comes with d edits
	for d := 0; d <= bound; d++ {
		row := make([]int, 2*d+1)
		rows = append(rows, row)
		for k := -d; k <= d; k += 2 {
			i, _ := step(rows, d, k)
			for i < len(x) && i-k < len(y) && x[i] == y[i-k] {
				i++
			}
			if row[k+d] = i; i >= len(x) && i-k >= len(y) {
				return walkBack(rows, len(x), len(y)), true
			}
		}
	}
	return []Edit{{0, 0, len(x), OnlyA}, {len(x), 0, len(y), OnlyB}}, false
}

// step is how far in x diagonal k comes by the dth edit, and which one that is:
// what comes further, to put an event of y in or to leave one of x out.
func step(rows [][]int, d, k int) (int, Op) {
	if d == 0 {
		return 0, Both
	}
	at := func(k int) int { return rows[d-1][k+d-1] }
	if k == -d || k != d && at(k-1) < at(k+1) {
		return at(k + 1), OnlyB
	}
	return at(k-1) + 1, OnlyA
}

// walkBack reads the edits off the rows, from the ends of x and y.
func walkBack(rows [][]int, i, j int) []Edit {
	var edits []Edit
	for d := len(rows) - 1; d >= 0; d-- {
		start, op := step(rows, d, i-j)
		edits = append(edits, Edit{start, start - (i - j), i - start, Both})
		i, j = start, start-(i-j)
		switch op {
		case OnlyA:
			i--
		case OnlyB:
			j--
		default:
			continue
		}
		edits = append(edits, Edit{i, j, 1, op})
	}
	slices.Reverse(edits)
	return edits
}

// Equal tells whether there is no difference.
func (d Difference) Equal() bool {
	return !slices.ContainsFunc(d.Edits, func(e Edit) bool { return e.Op != Both })
}

// First is where the traces first differ: an index into each, which is the
// trace's length if only the other goes on.
func (d Difference) First() (a, b int) {
	for _, e := range d.Edits {
		if e.Op != Both {
			return e.A, e.B
		}
	}
	return len(d.A), len(d.B)
}

// String tells where the traces first differ and prints what does, "-" for an
// event of A alone and "+" for one of B alone, between some that both have. It is
// empty if the traces are equal.
func (d Difference) String() string {
	if d.Equal() {
		return ""
	}
	a, b := d.First()
	var out strings.Builder
	fmt.Fprintf(&out, "first difference at event %d of %d, and %d of %d\n", a+1, len(d.A), b+1, len(d.B))
	l := newLayout(d.A, d.B)
	print := func(sign string, t sim.Trace) {
		for _, e := range t {
			fmt.Fprintf(&out, "%s %s\n", sign, l.line(e.Time.String(), e))
		}
	}
	for i, e := range d.Edits {
		switch e.Op {
		case OnlyA:
			print("-", d.A[e.A:e.A+e.N])
		case OnlyB:
			print("+", d.B[e.B:e.B+e.N])
		case Both:
			same := d.A[e.A : e.A+e.N]
			before, behind := d.context, d.context
			if i == 0 {
				behind = 0
			}
			if i == len(d.Edits)-1 {
				before = 0
			}
			if skip := e.N - before - behind; skip > 1 {
				print(" ", same[:behind])
				fmt.Fprintf(&out, "  ... %d events in both\n", skip)
				same = same[e.N-before:]
			}
			print(" ", same)
		}
	}
	return out.String()
}
