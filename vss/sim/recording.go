package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Recording is what was chosen in a run, in order. It prints as one line that
// [ParseRecording] reads back: name/n=chosen, with *count behind a repetition.
type Recording []Choice

// Recording returns the choices of the run so far. A world without a chooser of
// its own needs none and records none.
func (w *World) Recording() Recording { return slices.Clone(w.choices) }

// add appends one choice; a repetition only counts.
func (r Recording) add(c Choice) Recording {
	if n := len(r); n > 0 {
		if last := &r[n-1]; last.Chosen == c.Chosen && last.N == c.N && last.Name == c.Name {
			last.Times = last.times() + 1
			return r
		}
	}
	return append(r, c)
}

// Len is the number of choices.
func (r Recording) Len() int {
	n := 0
	for _, c := range r {
		n += c.times()
	}
	return n
}

// Trim leaves out the end, as far as the first way was taken there: a replay
// takes it anyway.
func (r Recording) Trim() Recording {
	for len(r) > 0 && r[len(r)-1].Chosen == 0 {
		r = r[:len(r)-1]
	}
	return r
}

func (r Recording) String() string {
	var b strings.Builder
	for i, c := range r {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s/%d=%d", escape(c.Name), c.N, c.Chosen)
		if c.Times > 1 {
			fmt.Fprintf(&b, "*%d", c.Times)
		}
	}
	return b.String()
}

// ParseRecording reads what [Recording.String] printed.
func ParseRecording(line string) (Recording, error) {
	var r Recording
	for _, f := range strings.Fields(line) {
		c, err := parseChoice(f)
		if err != nil {
			return nil, fmt.Errorf("sim: recording: %q: %w", f, err)
		}
		r = append(r, c)
	}
	return r, nil
}

func parseChoice(f string) (c Choice, err error) {
	eq := strings.LastIndexByte(f, '=')
	slash := strings.LastIndexByte(f[:max(eq, 0)], '/')
	if eq < 0 || slash < 0 {
		return c, errors.New("not of the form name/n=chosen")
	}
	chosen, repeat, again := strings.Cut(f[eq+1:], "*")
	if again {
		if c.Times, err = strconv.Atoi(repeat); err != nil || c.Times < 2 {
			return c, errors.New("bad repetition")
		}
	}
	if c.Name, err = unescape(f[:slash]); err != nil {
		return c, err
	}
	if c.N, err = strconv.Atoi(f[slash+1 : eq]); err != nil {
		return c, err
	}
	if c.Chosen, err = strconv.Atoi(chosen); err != nil {
		return c, err
	}
	if c.N < 2 || c.Chosen < 0 || c.Chosen >= c.N {
		return c, errors.New("no such choice")
	}
	return c, nil
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+3 > len(s) {
				return "", errors.New("bad escape")
			}
			v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", errors.New("bad escape")
			}
			c, i = byte(v), i+2
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

// Replay makes a world take the choices of a recorded run. A run that asks for
// something else stops with a panic of type [*DriftError] in the goroutine that
// drives it; behind the end of the recording the first way is taken.
func Replay(r Recording) Option {
	return func(w *World) { w.setChooser(&replayer{left: r}) }
}

type replayer struct {
	left Recording
	used int // of the first of left
	next int
}

func (r *replayer) Choose(what string, n int) int {
	if len(r.left) == 0 {
		return 0
	}
	c := r.left[0]
	if c.Name != what || c.N != n {
		panic(&DriftError{Index: r.next, Was: c.what(), Now: Choice{Name: what, N: n}.what()})
	}
	r.next++
	if r.used++; r.used >= c.times() {
		r.left, r.used = r.left[1:], 0
	}
	return c.Chosen
}
