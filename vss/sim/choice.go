package sim

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// A Chooser picks one of n ways, 0 to n-1; n is at least 2.
type Chooser interface {
	Choose(what string, n int) int
}

// A Scheduler is a Chooser with its own way to pick the next process. Key gives
// a number that depends on a process and on how often it had its turn, and on
// nothing else.
type Scheduler interface {
	Pick(n int, key func(i int) uint64) int
}

// ChooseFunc is a function as a Chooser.
type ChooseFunc func(what string, n int) int

// Choose calls f.
func (f ChooseFunc) Choose(what string, n int) int { return f(what, n) }

// First always takes the first way.
var First Chooser = first{}

type first struct{}

func (first) Choose(string, int) int               { return 0 }
func (first) Pick(n int, _ func(i int) uint64) int { return 0 }

// A Choice is one branch of a run.
type Choice struct {
	Name   string
	N      int
	Chosen int
}

func (c Choice) what() string { return c.Name + "/" + strconv.Itoa(c.N) }

// chooserPanic is a panic in a Chooser; it belongs to who drives the world.
type chooserPanic struct{ value any }

// Error prints the panic's value.
func (c chooserPanic) Error() string { return fmt.Sprintf("sim: the chooser panicked: %v", c.value) }

// Choose picks one of n ways, 0 to n-1. The name holds the path of the object
// that is asked about ("h1/D:/latency"), so that a new question about one object
// shifts nothing elsewhere. With n = 1 nobody is asked. Without a world, or with
// n < 1, it panics: that is a mistake of the caller's.
func Choose(ctx context.Context, name string, n int) int {
	p := procOf(ctx)
	if p == nil || n < 1 {
		panic(fmt.Sprintf("sim.Choose(%q, %d): no process or no way", name, n))
	}
	if n == 1 {
		return 0
	}
	i := p.w.choose(name, n)
	p.learn(mix(hashString(offset64, name), uint64(i)))
	return i
}

func (w *World) choose(name string, n int) int {
	i := guard(func() int { return w.chooser.Choose(name, n) })
	return w.record(name, n, i)
}

const runChoice = "run"

func (w *World) chooseRun(n int) int {
	if w.sched == nil {
		return w.choose(runChoice, n)
	}
	i := guard(func() int { return w.sched.Pick(n, w.turnKey) })
	return w.record(runChoice, n, i)
}

func (w *World) turnKey(i int) uint64 { return mix(w.runq[i].hash, w.runq[i].step) }

func (w *World) record(name string, n, i int) int {
	if i < 0 || i >= n {
		panic(chooserPanic{fmt.Sprintf("%d of %d chosen for %s", i, n, name)})
	}
	if w.chooser != First {
		w.choices = append(w.choices, Choice{name, n, i})
	}
	return i
}

func guard(ask func() int) int {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(*DriftError); ok {
				panic(r)
			}
			panic(chooserPanic{r})
		}
	}()
	return ask()
}

// seeded draws from one stream per name, and runs the process with the least
// hash of the seed, its path and its own step.
type seeded struct {
	seed   uint64
	counts map[string]uint64
}

func (s *seeded) Choose(what string, n int) int {
	if s.counts == nil {
		s.counts = make(map[string]uint64)
	}
	s.counts[what]++
	return int(mix(hashString(s.seed, what), s.counts[what]) % uint64(n))
}

func (s *seeded) Pick(n int, key func(i int) uint64) int {
	best, least := 0, mix(s.seed, key(0))
	for i := 1; i < n; i++ {
		if h := mix(s.seed, key(i)); h < least {
			best, least = i, h
		}
	}
	return best
}

// A Recording is what was chosen in a run, in order. It prints as one line that
// [ParseRecording] reads back: name/n=chosen, with *count behind a repetition.
type Recording []Choice

// Recording returns the choices of the run so far. A world without a chooser of
// its own needs none and records none.
func (w *World) Recording() Recording { return w.choices }

func (r Recording) String() string {
	var b strings.Builder
	for i := 0; i < len(r); {
		n := 1
		for i+n < len(r) && r[i+n] == r[i] {
			n++
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s/%d=%d", escape(r[i].Name), r[i].N, r[i].Chosen)
		if n > 1 {
			fmt.Fprintf(&b, "*%d", n)
		}
		i += n
	}
	return b.String()
}

// maxRecording bounds what ParseRecording makes of a repetition.
const maxRecording = 1 << 24

// ParseRecording reads what [Recording.String] printed.
func ParseRecording(line string) (Recording, error) {
	var r Recording
	for _, f := range strings.Fields(line) {
		c, times, err := parseChoice(f)
		if err != nil {
			return nil, fmt.Errorf("sim: recording: %q: %w", f, err)
		}
		if len(r)+times > maxRecording {
			return nil, fmt.Errorf("sim: recording: more than %d choices", maxRecording)
		}
		for range times {
			r = append(r, c)
		}
	}
	return r, nil
}

func parseChoice(f string) (c Choice, times int, err error) {
	eq := strings.LastIndexByte(f, '=')
	slash := strings.LastIndexByte(f[:max(eq, 0)], '/')
	if eq < 0 || slash < 0 {
		return c, 0, fmt.Errorf("not of the form name/n=chosen")
	}
	chosen, repeat, again := strings.Cut(f[eq+1:], "*")
	times = 1
	if again {
		if times, err = strconv.Atoi(repeat); err != nil || times < 1 {
			return c, 0, fmt.Errorf("bad repetition")
		}
	}
	c.Name = unescape(f[:slash])
	if c.N, err = strconv.Atoi(f[slash+1 : eq]); err != nil {
		return c, 0, err
	}
	if c.Chosen, err = strconv.Atoi(chosen); err != nil {
		return c, 0, err
	}
	if c.N < 2 || c.Chosen < 0 || c.Chosen >= c.N {
		return c, 0, fmt.Errorf("no such choice")
	}
	return c, times, nil
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Replay makes a world take the choices of a recorded run. A run that asks for
// something else stops with a panic of type [*DriftError] in the goroutine that
// drives it; behind the end of the recording the first way is taken.
func Replay(r Recording) Option {
	next := 0
	return WithChooser(ChooseFunc(func(what string, n int) int {
		if next >= len(r) {
			return 0
		}
		c := r[next]
		if c.Name != what || c.N != n {
			panic(&DriftError{Index: next, Was: c.what(), Now: Choice{what, n, 0}.what()})
		}
		next++
		return c.Chosen
	}))
}
