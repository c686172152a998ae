package sim

import (
	"errors"
	"fmt"
)

// A Search runs a scenario again and again, each time another way, until all
// ways are tried: an odometer over the choices of the runs.
//
// With Prune it leaves a run where the world stands as it stood in an earlier
// one. Each actor keeps a running hash of what it took part in, and of what
// those it heard from took part in; two orders of steps that have nothing to do
// with each other so come to one. This is sound for actors that share nothing
// but the world's own means (signals, mutexes, gates, waits, calls) and for
// checks that look at end states; times count by their distance, not by date.
type Search struct {
	Prune      bool
	Deviations int // at most so many choices that are not the first; 0: any number
	MaxRuns    int // stop after so many; 0: never
}

// A SearchReport tells what a search did.
type SearchReport struct {
	Runs     int  // carried to their end
	Pruned   int  // left because they came to a known state
	Complete bool // every way within the bounds was tried
}

// A SearchError is a run of a search that failed, with the line that repeats it.
type SearchError struct {
	Recording Recording
	Err       error
}

func (e *SearchError) Error() string {
	return fmt.Sprintf("%v\nreplay: %s", e.Err, e.Recording)
}

// Unwrap is the run's own error.
func (e *SearchError) Unwrap() error { return e.Err }

// Run carries out the search. The scenario makes one world with the option it is
// given and closes it; its error ends the search as a [*SearchError].
func (s Search) Run(scenario func(opt Option) error) (SearchReport, error) {
	var report SearchReport
	o := &odometer{search: s}
	if s.Prune {
		o.prints = &fingerprints{seen: make(map[uint64]int)}
	}
	for {
		pruned, err := o.once(scenario)
		if pruned {
			report.Pruned++
		} else {
			report.Runs++
		}
		if err != nil {
			return report, &SearchError{Recording: o.path, Err: err}
		}
		if !o.advance() {
			report.Complete = true
			return report, nil
		}
		if s.MaxRuns > 0 && report.Runs+report.Pruned >= s.MaxRuns {
			return report, nil
		}
	}
}

// An odometer is the Chooser of a search: it repeats a prefix of choices and
// takes the first way behind it.
type odometer struct {
	search Search
	prints *fingerprints
	path   Recording
	next   int // of path, in this run
	prefix int // how much of path is repeated
}

// errPruned leaves a run; it passes through the kernel as a chooser's panic.
var errPruned = errors.New("sim: this state was seen before")

func (o *odometer) fingerprints() *fingerprints { return o.prints }

func (o *odometer) once(scenario func(opt Option) error) (pruned bool, err error) {
	o.next, o.prefix = 0, len(o.path)
	defer func() {
		if r := recover(); r != nil {
			if c, ok := r.(chooserPanic); !ok || c.value != errPruned {
				panic(r)
			}
			pruned, err = true, nil
		}
	}()
	return false, scenario(WithChooser(o))
}

// Choose takes the next way of the path, or adds to it.
func (o *odometer) Choose(what string, n int) int {
	if o.next < o.prefix {
		c := o.path[o.next]
		if c.Name != what || c.N != n {
			panic(&DriftError{Index: o.next, Was: c.what(), Now: Choice{what, n, 0}.what()})
		}
		o.next++
		return c.Chosen
	}
	if o.prints != nil && o.prints.known(what, o.deviations(len(o.path))) {
		panic(errPruned)
	}
	o.path = append(o.path, Choice{what, n, 0})
	o.next++
	return 0
}

func (o *odometer) deviations(n int) int {
	count := 0
	for _, c := range o.path[:n] {
		if c.Chosen > 0 {
			count++
		}
	}
	return count
}

// advance turns the odometer to the next path.
func (o *odometer) advance() bool {
	for n := len(o.path); n > 0; n-- {
		c := &o.path[n-1]
		more := c.Chosen+1 < c.N
		if more && o.search.Deviations > 0 && c.Chosen == 0 && o.deviations(n) >= o.search.Deviations {
			more = false
		}
		if more {
			c.Chosen++
			o.path = o.path[:n]
			return true
		}
	}
	o.path = nil
	return false
}

// fingerprints remembers the states in which choices were made, and with how few
// deviations.
type fingerprints struct {
	w    *World
	seen map[uint64]int
}

func (f *fingerprints) known(what string, deviations int) bool {
	h := hashString(f.w.fingerprint(), what)
	least, ok := f.seen[h]
	if ok && least <= deviations {
		return true
	}
	f.seen[h] = deviations
	return false
}

// fingerprint is a hash of where the world stands.
func (w *World) fingerprint() uint64 {
	var h uint64
	w.root.each(func(a *Actor) { h = mix(mix(h, a.hash), mix(a.history, uint64(a.pauses))) })
	var set uint64 // sums: the order in a queue is not part of the state
	for _, p := range w.runq {
		set += mix(p.hash, p.step)
	}
	for _, t := range w.timers {
		var owner uint64
		if t.p != nil {
			owner = t.p.hash
		} else {
			owner = mix(t.ctx.p.hash, 1)
		}
		set += mix(owner, uint64(t.at-w.now)+2)
	}
	return mix(h, set)
}

// learn folds what a process heard of into its actor's history.
func (p *Proc) learn(history uint64) {
	if p.w.print != nil {
		p.actor.history = mix(p.actor.history, history)
	}
}
