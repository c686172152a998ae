package sim

import (
	"context"
	"slices"
	"time"
)

// drive gives processes their turns until p has ended. The caller holds the
// world. A panic or Goexit that belongs to the driver closes the world on its
// way.
func (w *World) drive(ctx context.Context, p *Proc, limit time.Duration) error {
	w.limit(after(w.now, limit))
	return w.guard(func() error {
		err := w.runUntil(ctx, p)
		w.unwind() // what p killed in its last turn
		if w.print != nil {
			w.root.history = mix(w.root.history, p.history)
		}
		return err
	})
}

// limit says how far the world may run from here.
func (w *World) limit(until time.Duration) {
	w.until = until
	w.budget = w.steps.Load() + w.eventLimit
	if w.budget < w.eventLimit {
		w.budget = ^uint64(0)
	}
}

// A halt is why a world gives nobody a turn.
type halt int

const (
	runs      halt = iota // it does
	idle                  // nothing is runnable and no timer is set
	tooLate               // nothing is runnable before the limit of this drive
	exhausted             // the number of events of this drive is used up
)

func (w *World) runUntil(ctx context.Context, p *Proc) error {
	w.outer, w.goal = ctx, p
	defer func() { w.outer, w.goal = nil, nil }()
	for !p.ended {
		if err := ctx.Err(); err != nil {
			p.ctx.cancel(err)
		}
		if why := w.turn(); why != runs {
			err := w.stuck(why)
			w.bury([]*Proc{p})
			return err
		}
	}
	return p.err
}

// turn gives one process its turn, moving time when none can run, or says why
// not.
func (w *World) turn() halt {
	if len(w.foreign) > 0 {
		w.lookAround()
	}
	if len(w.dying) > 0 {
		w.give(w.nextDying())
		return runs
	}
	if why := w.pass(); why != runs {
		return why
	}
	if w.steps.Load() >= w.budget {
		return exhausted
	}
	w.give(w.pick())
	return runs
}

// give is resume for the driver, in whose goroutine some things go on that began
// in a process.
func (w *World) give(p *Proc) {
	w.resume(p, false)
	if q := w.leaving; q != nil {
		w.leaving = nil
		q.co.next() // its goroutine exits, and this one with it
	}
	if f := w.fatal; f != nil {
		w.fatal = nil
		f.goOn(12)
	}
}

// begin counts a turn of p.
func (w *World) begin(p *Proc) {
	w.steps.Add(1)
	p.step++
	p.queued = false
	w.running.Store(p)
}

// resume runs p until it gives way. Lent tells that it is another process that
// calls.
func (w *World) resume(p *Proc, lent bool) {
	w.begin(p)
	if w.print != nil {
		p.learnTurn()
	}
	if p.co == nil {
		if p.dead {
			w.running.Store(nil)
			p.end() // it never ran
			return
		}
		p.co = w.takeCoro()
		p.co.p = p
	}
	p.co.lent = lent
	p.co.next()
	w.running.Store(nil)
	if p.ended && w.leaving != p {
		w.spare = append(w.spare, p.co)
		p.co = nil
	}
}

// giveWay ends p's turn and returns when it has its next. Where the driver would
// only look who is next, p does that in its place and runs the next one on top of
// itself, which saves the way to the driver and back, or all of it if p is next
// itself. What a process cannot do, the driver does: processes that stand on one
// another give way down to it.
func (p *Proc) giveWay() {
	w := p.w
	for w.mayPass() {
		q := w.pick()
		if q == p {
			w.begin(p)
			return
		}
		if q.co != nil && q.co.busy {
			w.below = q
			break
		}
		p.co.busy = true
		w.resume(q, true)
		p.co.busy = false
		if w.below == p {
			w.below = nil
			w.begin(p)
			return
		}
	}
	p.co.yield(struct{}{})
}

// mayPass tells whether a process may give the next turn in the driver's place: a
// process is runnable, now or when time has moved, and there is nothing else to
// see to.
func (w *World) mayPass() bool {
	if w.outer == nil || w.print != nil || w.below != nil || w.leaving != nil || w.fatal != nil ||
		len(w.dying) > 0 || len(w.foreign) > 0 || w.goal != nil && w.goal.ended || w.outer.Err() != nil {
		return false
	}
	if w.pass() != runs {
		return false
	}
	return (len(w.runq) == 1 || w.calm) && w.steps.Load() < w.budget
}

// pass moves time until a process is runnable, or says why none will be.
func (w *World) pass() halt {
	for len(w.runq) == 0 {
		if len(w.timers) == 0 {
			return idle
		}
		if w.timers[0].at > w.until {
			return tooLate
		}
		w.now = w.timers[0].at
		w.fire()
	}
	return runs
}

func (w *World) takeCoro() *coro {
	if n := len(w.spare); n > 0 {
		c := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return c
	}
	return newCoro()
}

// ready puts p where it gets its turn, now or when its actor is resumed.
func (w *World) ready(p *Proc) {
	p.queued = true
	if p.actor.pauses > 0 {
		w.held = append(w.held, p)
		return
	}
	w.enqueue(p)
}

// enqueue puts p at the end of the queue, which moves through its memory from
// the beginning again when it was empty.
func (w *World) enqueue(p *Proc) {
	if len(w.runq) == 0 {
		w.runq = w.room[:0]
	}
	full := len(w.runq) == cap(w.runq)
	if w.runq = append(w.runq, p); full {
		w.room = w.runq
	}
}

// pick takes the process whose turn it is out of the queue.
func (w *World) pick() *Proc {
	i := 0
	if n := len(w.runq); n > 1 {
		i = w.chooseRun(n)
	}
	p := w.runq[i]
	if i == 0 {
		w.runq[0] = nil
		w.runq = w.runq[1:]
	} else {
		w.runq = slices.Delete(w.runq, i, i+1)
	}
	return p
}

// bury makes processes see that they were killed; the next turns are theirs, in
// the order of their actors' paths and their names, which does not depend on who
// came first. The running process learns of it by its next call.
func (w *World) bury(procs []*Proc) {
	slices.SortFunc(procs, compareProcs)
	running := w.running.Load()
	queued := false
	for _, p := range procs {
		if p.dead || p.ended {
			continue
		}
		p.dead = true
		queued = queued || p.queued
		p.queued = true // no cancellation wakes it now
		p.ctx.cancel(ErrDead)
		if p != running {
			w.dying = append(w.dying, p)
		}
	}
	if queued {
		isDead := func(p *Proc) bool { return p.dead }
		w.runq = slices.DeleteFunc(w.runq, isDead)
		w.held = slices.DeleteFunc(w.held, isDead)
	}
}

func (w *World) nextDying() *Proc {
	p := w.dying[0]
	w.dying[0] = nil
	if w.dying = w.dying[1:]; len(w.dying) == 0 {
		w.dying = nil
	}
	return p
}

// unwind lets the killed processes end. What one throws goes on when all have.
func (w *World) unwind() {
	defer func() {
		if len(w.dying) > 0 {
			w.running.Store(nil)
			w.unwind()
		}
	}()
	for len(w.dying) > 0 {
		w.give(w.nextDying())
	}
}
