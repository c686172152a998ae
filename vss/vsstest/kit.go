package vsstest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/simtest"
)

// Bounds of what a kit does unless its options say otherwise.
const (
	defaultRuns  = 100
	defaultStuck = 10 * time.Second // of real time
	shrinkRuns   = 200              // to make one finding smaller
)

// What a line that is given back promises.
const (
	promiseReadable Promise = "the line can be read"
	promiseRepeats  Promise = "the run repeats"
)

// A kit runs scripts and collects what was broken.
type kit struct {
	cases   []kitCase
	draw    func(t *rapid.T) script
	run     func(w *sim.World, s script) []*Broken // one run in a fresh world
	world   []sim.Option
	runs    int
	stuck   time.Duration
	replay  string
	running Promise // that processes give way
	halted  bool    // a run is stuck for good, or all was found that was wanted

	// enough, if it is not nil, ends the runs when it is true of what was found.
	enough func(found []*Broken) bool
}

// A kitCase is scripts that belong together.
type kitCase struct {
	name    string
	scripts func() []script
}

// drawn is a random run: a script and the order of processes.
type drawn struct {
	script script
	order  sim.Option
}

func (k *kit) generator() *rapid.Generator[drawn] {
	return rapid.Custom(func(t *rapid.T) drawn { return drawn{k.draw(t), simtest.Choices(t)} })
}

// limits keeps a run that goes nowhere short.
func limits() sim.Option { return sim.Limits(time.Hour, 500_000) }

// attempt makes one run. Order is nil for first in, first out.
func (k *kit) attempt(s script, order sim.Option) []*Broken {
	opts := append([]sim.Option{limits()}, k.world...)
	recorded, err := s.order()
	if err != nil {
		return []*Broken{{Promise: promiseReadable, Call: "Replay", Fact: oneLine(err), Replay: s.line()}}
	}
	if recorded != nil {
		order = recorded
	}
	if order != nil {
		opts = append(opts, order)
	}
	w := sim.New(opts...)
	result := make(chan []*Broken, 2) // of the run, and of the watch
	stop := simtest.Watch(w, k.stuck, func(process, _ string) {
		result <- []*Broken{{Promise: k.running, Call: process, Replay: s.line(),
			Fact: fmt.Sprintf("the process has had its turn for %v: it is stuck on a real lock or channel, or in a loop", k.stuck)}}
	})
	defer stop()
	go func() { result <- k.guarded(w, s) }()
	found := <-result
	k.halted = slices.ContainsFunc(found, func(b *Broken) bool { return b.Promise == k.running })
	return found
}

// guarded makes a run and closes its world. What drives the world may panic: a
// recorded order that does not fit.
func (k *kit) guarded(w *sim.World, s script) (found []*Broken) {
	defer func() {
		if r := recover(); r != nil {
			found = []*Broken{{Promise: promiseRepeats, Call: "Replay", Fact: fmt.Sprint(r), Replay: s.line()}}
		}
	}()
	defer func() { _ = w.Close() }()
	return k.finish(w, s, k.run(w, s))
}

// finish gives the findings of a run the line that repeats it.
func (k *kit) finish(w *sim.World, s script, found []*Broken) []*Broken {
	line := s.line()
	if r := w.Recording().Trim(); len(r) > 0 && !s.ordered() {
		line = append(slices.Clone(s), step(orderVerb+" "+r.String())).line()
	}
	for _, b := range found {
		b.Replay = line
	}
	return found
}

// test runs everything and returns what was broken.
func (k *kit) test() error {
	var f findings
	if k.replay != "" {
		f.add(k.attempt(parseScript(k.replay), nil)...)
		return f.err()
	}
	for _, c := range k.cases {
		f.add(k.all(c)...)
		k.halted = k.over(&f)
	}
	g := k.generator()
	for i := 1; i <= k.runs && !k.over(&f); i++ {
		d := g.Example(i)
		for _, b := range k.attempt(d.script, d.order) {
			if !f.known(b) {
				f.add(k.shrink(d.script, b))
			}
		}
	}
	return f.err()
}

// over tells whether no more runs are to be made.
func (k *kit) over(f *findings) bool {
	return k.halted || k.enough != nil && k.enough(f.list)
}

// all makes the runs of a case.
func (k *kit) all(c kitCase) []*Broken {
	var f findings
	for _, s := range c.scripts() {
		if k.over(&f) {
			break
		}
		f.add(k.attempt(s, nil)...)
	}
	return f.list
}

// shrink looks for a shorter script that breaks the promise the same way, in the
// plain order of processes if that will do.
func (k *kit) shrink(s script, b *Broken) *Broken {
	left := shrinkRuns
	try := func(s script) *Broken {
		if left--; left < 0 || k.halted {
			return nil
		}
		for _, o := range k.attempt(s, nil) {
			if o.key() == b.key() {
				return o
			}
		}
		return nil
	}
	best := try(s)
	if best == nil {
		return b // it takes the order; the line has it
	}
	for again := true; again; {
		again = false
		for _, t := range s.smaller() {
			if o := try(t); o != nil {
				s, best, again = t, o, true
				break
			}
		}
	}
	return best
}

// subtests runs everything as sub-tests, the random runs under rapid, which
// shrinks a failure and takes its flags: -rapid.checks, -rapid.seed.
func (k *kit) subtests(t *testing.T) {
	if k.replay != "" {
		if err := k.test(); err != nil {
			t.Error(err)
		}
		return
	}
	for _, c := range k.cases {
		t.Run(c.name, func(t *testing.T) {
			for _, b := range k.all(c) {
				t.Error(b)
			}
		})
	}
	t.Run("any sequence", func(t *testing.T) {
		if k.halted {
			t.Skip("a run before is stuck for good")
		}
		c := simtest.Config{AllowUnreached: true, Patience: k.stuck}
		c.Check(t, func(t *rapid.T, w *sim.World) {
			s := k.draw(t)
			var errs []error
			for _, b := range k.finish(w, s, k.run(w, s)) {
				errs = append(errs, b)
			}
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
		}, append([]sim.Option{limits()}, k.world...)...)
	})
}
