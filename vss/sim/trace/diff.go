package trace

import (
	"strings"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Options say what counts as a difference.
type Options struct {
	IgnoreTime bool // the same events at other times are the same
	Context    int  // events shown around a difference; 3 if zero
}

// Diff tells two runs apart: the events that only one of them has, with some of
// those that both have around them, in the form of a unified difference. It is ""
// if the runs are the same. Sequence numbers do not count.
func Diff(a, b sim.Trace, o Options) string {
	if o.Context == 0 {
		o.Context = 3
	}
	return render(edits(lines(a, o), lines(b, o)), o.Context)
}

func lines(t sim.Trace, o Options) []string {
	out := make([]string, len(t))
	for i, e := range t {
		if o.IgnoreTime {
			e.Time = 0
		}
		out[i] = e.String()
	}
	return out
}

// An edit is a line of a difference: in both runs (' '), or in one.
type edit struct {
	sign byte
	text string
}

// edits finds a short edit script: what both begin and end with is set aside, and
// between that the shortest is found with Myers' greedy algorithm, as long as it
// is short; runs that have next to nothing in common are shown one after the
// other.
func edits(a, b []string) []edit {
	var head, tail []edit
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head = append(head, edit{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, edit{' ', a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	out := append(head, middle(a, b)...)
	for i := len(tail) - 1; i >= 0; i-- {
		out = append(out, tail[i])
	}
	return out
}

// maxEdits bounds the length of a script that is searched for; its memory grows
// with the square.
const maxEdits = 2000

// middle is Myers' algorithm: furthest[k] is how far into a the best path on
// diagonal k comes.
func middle(a, b []string) []edit {
	limit := min(len(a)+len(b), maxEdits)
	furthest := make([]int, 2*limit+3)
	var rounds [][]int
	for d := 0; d <= limit; d++ {
		rounds = append(rounds, append([]int(nil), furthest...))
		for k := -d; k <= d; k += 2 {
			x := step(furthest, limit, d, k)
			y := x - k
			for x < len(a) && y < len(b) && a[x] == b[y] {
				x, y = x+1, y+1
			}
			furthest[k+limit+1] = x
			if x >= len(a) && y >= len(b) {
				return backtrack(a, b, rounds, limit, d)
			}
		}
	}
	var out []edit
	for _, s := range a {
		out = append(out, edit{'-', s})
	}
	for _, s := range b {
		out = append(out, edit{'+', s})
	}
	return out
}

// step is where a path on diagonal k begins its round: one down from the diagonal
// above, or one right from the one below.
func step(furthest []int, limit, d, k int) int {
	if k == -d || k != d && furthest[k+limit] < furthest[k+limit+2] {
		return furthest[k+limit+2]
	}
	return furthest[k+limit] + 1
}

func backtrack(a, b []string, rounds [][]int, limit, d int) []edit {
	var back []edit
	x, y := len(a), len(b)
	for ; d >= 0; d-- {
		k := x - y
		from := step(rounds[d], limit, d, k)
		fromY := from - k
		for x > from && y > fromY {
			x, y = x-1, y-1
			back = append(back, edit{' ', a[x]})
		}
		if d == 0 {
			break
		}
		if k == -d || k != d && rounds[d][k+limit] < rounds[d][k+limit+2] {
			y--
			back = append(back, edit{'+', b[y]})
		} else {
			x--
			back = append(back, edit{'-', a[x]})
		}
	}
	out := make([]edit, len(back))
	for i, e := range back {
		out[len(back)-1-i] = e
	}
	return out
}

// render prints the edits, leaving out what is far from a difference.
func render(list []edit, context int) string {
	near := make([]bool, len(list))
	for i, e := range list {
		if e.sign != ' ' {
			for j := max(0, i-context); j <= min(len(list)-1, i+context); j++ {
				near[j] = true
			}
		}
	}
	var b strings.Builder
	for i, e := range list {
		switch {
		case near[i]:
			b.WriteByte(e.sign)
			b.WriteString(e.text)
			b.WriteByte('\n')
		case i > 0 && near[i-1]:
			b.WriteString("…\n")
		}
	}
	return b.String()
}
