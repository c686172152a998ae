package sim

import (
	"errors"
	"fmt"
	"strings"
)

// A Search runs a scenario again and again, each time another way, until all
// ways are tried: an odometer over the choices of the runs.
//
// With Prune it leaves a run where the world stands as it stood in an earlier
// one. Each actor keeps a running hash of what it took part in, and of what
// those it heard from took part in; two orders of steps that have nothing to do
// with each other so come to one. This is sound for actors that share nothing
// but the world's own means (signals, mutexes, gates, waits, calls) and for
// checks that look at end states; times count by their distance, not by date,
// but for who asks for the date.
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

// A SearchError is a run of a search that failed, with the lines that repeat it.
type SearchError struct {
	Faults    []Fault
	Recording Recording
	Err       error
}

func (e *SearchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v", e.Err)
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "\nfault: %s", f)
	}
	if r := e.Recording.Trim(); len(r) > 0 {
		fmt.Fprintf(&b, "\nreplay: %s", r)
	}
	return b.String()
}

// Unwrap is the run's own error.
func (e *SearchError) Unwrap() error { return e.Err }

// Run carries out the search. The scenario makes its worlds with the option it
// is given, which comes last, and closes them; its error ends the search as a
// [*SearchError]. A scenario that asks for other choices than before, though all
// were answered as before, ends it as well, with a [*DriftError].
func (s Search) Run(scenario func(opt Option) error) (SearchReport, error) {
	var report SearchReport
	o := &odometer{search: s}
	if s.Prune {
		o.prints = &fingerprints{seen: make(map[uint64]int), ordered: s.Deviations > 0}
	}
	for {
		pruned, err := o.once(scenario)
		if pruned {
			report.Pruned++
		} else {
			report.Runs++
		}
		if err != nil {
			return report, &SearchError{Recording: o.recording(), Err: err}
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
	search     Search
	prints     *fingerprints
	path       []Choice
	next       int // of path, in this run
	prefix     int // how much of path is repeated
	deviations int // in path
}

// errPruned leaves a run; it passes through the kernel as a chooser's panic.
var errPruned = errors.New("sim: this state was seen before")

func (o *odometer) fingerprints() *fingerprints { return o.prints }

func (o *odometer) once(scenario func(opt Option) error) (pruned bool, err error) {
	o.next, o.prefix = 0, len(o.path)
	if o.prints != nil {
		o.prints.restart()
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *DriftError:
			err = r
		case error:
			if pruned = r == errPruned; !pruned {
				panic(r)
			}
		default:
			panic(r)
		}
	}()
	if err = scenario(WithChooser(o)); err == nil && o.next < o.prefix {
		err = &DriftError{Index: o.next, Was: o.path[o.next].what(), Now: "the end"}
	}
	return false, err
}

// Choose takes the next way of the path, or adds to it.
func (o *odometer) Choose(what string, n int) int {
	if o.next < o.prefix {
		c := o.path[o.next]
		if c.Name != what || c.N != n {
			panic(&DriftError{Index: o.next, Was: c.what(), Now: Choice{Name: what, N: n}.what()})
		}
		o.next++
		return c.Chosen
	}
	if o.prints != nil && o.prints.known(what, o.deviations) {
		panic(errPruned)
	}
	o.path = append(o.path, Choice{Name: what, N: n})
	o.next++
	return 0
}

// advance turns the odometer to the next path: the last choice that has a way
// left takes it, and what came behind is forgotten.
func (o *odometer) advance() bool {
	most := o.search.Deviations
	for n := len(o.path); n > 0; n-- {
		c := &o.path[n-1]
		if c.Chosen > 0 {
			o.deviations--
		}
		if c.Chosen+1 < c.N && (most == 0 || o.deviations < most) {
			c.Chosen++
			o.deviations++
			o.path = o.path[:n]
			return true
		}
	}
	o.path = o.path[:0]
	return false
}

func (o *odometer) recording() Recording {
	var r Recording
	for _, c := range o.path {
		r = r.add(c)
	}
	return r
}
