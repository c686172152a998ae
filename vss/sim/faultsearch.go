package sim

import (
	"errors"
	"slices"
)

// A FaultSearch tries a scenario with what can go wrong in it: first with
// nothing, then with every fault alone, then with every two. Which faults there
// are, the runs themselves say: those that can strike in a clean run, and second
// ones at any point that is reached after the first. All these runs take the
// first way at every choice. Then come runs that deviate from that.
type FaultSearch struct {
	Points     []FaultPoint
	Nth        int  // strike up to the nth time a point is reached for an object; 0: the first time alone
	Lasting    bool // try each error, delay and hang also from that time on
	Double     bool // try every second fault, too
	Deviations int  // then up to so many choices that are not the first, without a fault and with each single one
	Prune      bool // as in a [Search], in the runs that deviate
	MaxRuns    int  // stop after so many; 0: never
}

// A FaultReport tells what a fault search did.
type FaultReport struct {
	SearchReport
	Single []Fault // those tried alone
	Pairs  int     // of faults that were tried
}

// Run carries out the search. The scenario makes its worlds with the option it
// is given, which comes last, and closes them; its error ends the search as a
// [*SearchError] that names the faults.
func (s FaultSearch) Run(scenario func(opt Option) error) (FaultReport, error) {
	r := &faultRuns{FaultSearch: s, scenario: scenario}
	err := r.all()
	if errors.Is(err, errEnough) {
		return r.report, nil
	}
	r.report.Complete = err == nil
	return r.report, err
}

// errEnough ends a search that came to its number of runs.
var errEnough = errors.New("sim: enough runs")

type faultRuns struct {
	FaultSearch
	scenario func(opt Option) error
	report   FaultReport
}

func (r *faultRuns) all() error {
	hits, err := r.once()
	if err != nil {
		return err
	}
	r.report.Single = r.faults(hits)
	for _, f := range r.report.Single {
		if hits, err = r.once(f); err != nil {
			return err
		}
		if r.Double {
			if err := r.second(f, hits); err != nil {
				return err
			}
		}
	}
	if r.Deviations == 0 {
		return nil
	}
	if err := r.deviate(); err != nil {
		return err
	}
	for _, f := range r.report.Single {
		if err := r.deviate(f); err != nil {
			return err
		}
	}
	return nil
}

// second tries every fault that can strike when the first has.
func (r *faultRuns) second(first Fault, hits []Hit) error {
	for _, f := range r.faultsFrom(hits, func(h Hit) int { return h.Count - h.After }) {
		if _, err := r.once(first, f); err != nil {
			return err
		}
		r.report.Pairs++
	}
	return nil
}

// once runs the scenario with the faults, and returns what it reached.
func (r *faultRuns) once(plan ...Fault) ([]Hit, error) {
	if r.MaxRuns > 0 && r.report.Runs >= r.MaxRuns {
		return nil, errEnough
	}
	r.report.Runs++
	var worlds []*World
	err := r.scenario(Options(Faults(plan...), func(w *World) { worlds = append(worlds, w) }))
	if err != nil {
		return nil, &SearchError{Faults: plan, Err: err}
	}
	var hits []Hit
	for _, w := range worlds {
		hits = addHits(hits, w.Hits())
	}
	return hits, nil
}

// addHits joins the hits of a scenario's worlds, which share a plan.
func addHits(all, more []Hit) []Hit {
	for _, h := range more {
		i := slices.IndexFunc(all, func(a Hit) bool { return a.Point == h.Point && a.On == h.On })
		if i < 0 {
			all = append(all, h)
		} else {
			all[i].Count = max(all[i].Count, h.Count)
			all[i].After = max(all[i].After, h.After)
		}
	}
	return all
}

func (r *faultRuns) deviate(plan ...Fault) error {
	search := Search{Prune: r.Prune, Deviations: r.Deviations}
	if r.MaxRuns > 0 {
		if search.MaxRuns = r.MaxRuns - r.report.Runs - r.report.Pruned; search.MaxRuns <= 0 {
			return errEnough
		}
	}
	report, err := search.Run(func(opt Option) error { return r.scenario(Options(Faults(plan...), opt)) })
	r.report.Runs += report.Runs
	r.report.Pruned += report.Pruned
	var failed *SearchError
	switch {
	case errors.As(err, &failed):
		failed.Faults = plan
		return failed
	case !report.Complete:
		return errEnough
	}
	return nil
}

// SingleFaults lists every fault that can strike the first time a point is
// reached in a run with the given hits: each outcome of each point, for each
// object.
func SingleFaults(points []FaultPoint, hits []Hit) []Fault {
	return FaultSearch{Points: points}.faults(hits)
}

func (s FaultSearch) faults(hits []Hit) []Fault {
	return s.faultsFrom(hits, func(Hit) int { return 0 })
}

// faultsFrom lists the faults that can strike when a point was reached as often
// as past says.
func (s FaultSearch) faultsFrom(hits []Hit, past func(h Hit) int) []Fault {
	var out []Fault
	for _, h := range hits {
		i := slices.IndexFunc(s.Points, func(p FaultPoint) bool { return p.Point == h.Point })
		if i < 0 {
			continue
		}
		first := past(h) + 1
		last := min(h.Count, past(h)+max(s.Nth, 1))
		for _, o := range s.Points[i].Outcomes {
			for n := first; n <= last; n++ {
				out = append(out, s.strikes(h, o, n)...)
			}
		}
	}
	return out
}

// strikes are the faults that strike first when h is reached the nth time.
func (s FaultSearch) strikes(h Hit, o Outcome, n int) []Fault {
	once := Fault{Point: h.Point, On: h.On, Outcome: o}
	lasting := once
	lasting.From = n
	if n > 1 {
		once.Nth = n
	}
	if s.Lasting && o.Kill == "" {
		return []Fault{once, lasting}
	}
	return []Fault{once}
}
