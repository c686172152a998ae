package sim

import (
	"cmp"
	"fmt"
	"slices"
)

// stuck reports every process that has not ended and what it waits for.
func (w *World) stuck(why halt) *StuckError {
	e := &StuckError{Reason: deadlock, At: w.now}
	switch why {
	case tooLate:
		e.Reason = fmt.Sprintf("%v of virtual time", w.virtualLimit)
	case exhausted:
		e.Reason = fmt.Sprintf("%d events", w.eventLimit)
	}
	var procs []*Proc
	w.root.each(func(a *Actor) { procs = append(procs, a.procs...) })
	slices.SortFunc(procs, func(a, b *Proc) int { return cmp.Compare(a.order, b.order) })
	for _, p := range procs {
		e.Waiting = append(e.Waiting, Waiting{Process: p.String(), For: p.waiting()})
	}
	return e
}

func (p *Proc) waiting() string {
	what := "its turn"
	if p.parked && !p.queued {
		wait := &p.co.wait
		what = wait.what
		if wait.on != nil {
			what += " " + wait.on.String()
		}
	}
	if p.actor.pauses > 0 {
		what += " (paused)"
	}
	if p.background {
		what += " (background)"
	}
	return what
}
