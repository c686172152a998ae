package sim

import (
	"context"
	"fmt"
	"strconv"
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

// A Choice is one branch of a run, or the same branch several times in a row.
type Choice struct {
	Name   string
	N      int
	Chosen int
	Times  int // in a row; 0 counts as 1
}

func (c Choice) what() string { return c.Name + "/" + strconv.Itoa(c.N) }

func (c Choice) times() int { return max(c.Times, 1) }

// Choose picks one of n ways, 0 to n-1. The name holds the path of the object
// that is asked about ("h1/D:/latency"), so that a new question about one object
// shifts nothing elsewhere. With n = 1 nobody is asked; a killed process gets 0.
// Outside of the running process, or with n < 1, it panics: that is a mistake of
// the caller's.
func Choose(ctx context.Context, name string, n int) int {
	p := procOf(ctx)
	if p == nil || n < 1 {
		panic(fmt.Sprintf("sim.Choose(%q, %d): no process or no way", name, n))
	}
	if p.w.running.Load() != p || !p.co.own() {
		panic(fmt.Sprintf("sim.Choose(%q, %d): %v", name, n, ErrContext))
	}
	if p.dead || p.w.fatal != nil {
		_ = p.enter(ctx)
		return 0
	}
	if n == 1 {
		return 0
	}
	i := p.w.choose(name, n)
	p.learn(mix(hashString(offset64, name), uint64(i)))
	return i
}

func (w *World) choose(name string, n int) int {
	i := w.ask(func() int { return w.chooser.Choose(name, n) })
	return w.record(name, n, i)
}

const runChoice = "run"

// chooseRun picks the place in the queue of the process that runs next.
func (w *World) chooseRun(n int) int {
	if w.sched == nil {
		return w.choose(runChoice, n)
	}
	i := w.ask(func() int { return w.sched.Pick(n, w.turnKey) })
	return w.record(runChoice, n, i)
}

func (w *World) record(name string, n, i int) int {
	if i < 0 || i >= n {
		w.ask(func() int { panic(fmt.Sprintf("sim: the chooser took way %d of %d for %s", i, n, name)) })
	}
	if w.chooser != First {
		w.choices = w.choices.add(Choice{Name: name, N: n, Chosen: i})
	}
	return i
}

// ask calls the chooser. Its panics belong to who drives the world: inside a
// process they end the process and go on from there, whatever the process
// recovers from.
func (w *World) ask(f func() int) int {
	if w.running.Load() != nil {
		defer func() {
			if r := recover(); r != nil {
				w.fatal = &fatal{r, site()}
				panic(doomed{})
			}
		}()
	}
	return f()
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
