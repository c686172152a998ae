package sim

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"
)

// drive gives processes their turns until p has ended. The caller holds the
// world.
func (w *World) drive(ctx context.Context, p *Proc, limit time.Duration) error {
	w.until = w.now + limit
	w.budget = w.steps.Load() + w.eventLimit
	finished := false
	defer func() {
		if !finished { // a panic or Goexit goes on in this goroutine
			w.running.Store(nil)
			w.close()
		}
	}()
	for !p.ended {
		if err := ctx.Err(); err != nil {
			p.ctx.cancel(err)
		}
		if reason := w.turn(); reason != "" {
			err := w.stuck(reason)
			w.abandon(p)
			finished = true
			return err
		}
	}
	finished = true
	return p.err
}

// turn gives one process its turn, moving time when none can run. It returns
// why it could not.
func (w *World) turn() (stuck string) {
	for len(w.runq) == 0 {
		if len(w.timers) == 0 {
			return deadlock
		}
		if w.timers[0].at > w.until {
			return fmt.Sprintf("%v of virtual time", w.virtualLimit)
		}
		w.now = w.timers[0].at
		w.fire()
	}
	if w.steps.Load() >= w.budget {
		return fmt.Sprintf("%d events", w.eventLimit)
	}
	w.resume(w.pick())
	return ""
}

// nudge takes one turn if there is one to take.
func (w *World) nudge() {
	if w.closed.Load() {
		return
	}
	p := w.root.start(context.Background(), "nudge", func(ctx context.Context) error {
		if len(w.runq) == 0 && len(w.timers) > 0 {
			return Sleep(ctx, w.timers[0].at-w.now)
		}
		return Yield(ctx)
	})
	_ = w.drive(context.Background(), p, w.virtualLimit)
}

// abandon kills a process whose caller gives up waiting, and lets it unwind.
func (w *World) abandon(p *Proc) {
	p.die()
	w.releaseHeld()
	w.budget += 1000
	for !p.ended && w.turn() == "" {
	}
}

// resume runs p until it gives way.
func (w *World) resume(p *Proc) {
	w.steps.Add(1)
	p.step++
	if w.print != nil {
		p.learn(mix(p.hash, p.step))
	}
	if p.co == nil {
		p.co = w.takeCoro()
		p.co.p = p
	}
	w.running.Store(p)
	p.co.next()
	w.running.Store(nil)
	if p.ended {
		w.idle = append(w.idle, p.co)
		p.co = nil
	}
	if r := w.fatal; r != nil {
		w.fatal = nil
		panic(r)
	}
}

func (w *World) takeCoro() *coro {
	if n := len(w.idle); n > 0 {
		c := w.idle[n-1]
		w.idle = w.idle[:n-1]
		return c
	}
	return newCoro()
}

func (w *World) ready(p *Proc) {
	if p.actor.pauses > 0 && !p.dead {
		w.held = append(w.held, p)
		return
	}
	w.runq = append(w.runq, p)
}

// pick takes the process whose turn it is out of the queue.
func (w *World) pick() *Proc {
	i := 0
	if n := len(w.runq); n > 1 {
		i = w.chooseRun(n)
	}
	p := w.runq[i]
	if i == 0 {
		w.runq = w.runq[1:]
	} else {
		w.runq = slices.Delete(w.runq, i, i+1)
	}
	return p
}

func (w *World) stuck(reason string) *StuckError {
	e := &StuckError{Reason: reason, At: w.now}
	var procs []*Proc
	w.root.each(func(a *Actor) { procs = append(procs, a.procs...) })
	slices.SortFunc(procs, func(a, b *Proc) int { return cmp.Compare(a.order, b.order) })
	for _, p := range procs {
		if what := p.waiting(); what != "" {
			e.Waiting = append(e.Waiting, Waiting{Process: p.String(), For: what})
		}
	}
	return e
}

func (p *Proc) waiting() string {
	what := p.waitFor
	if what != "" && p.waitOn != nil {
		what += " " + p.waitOn.String()
	}
	if p.actor.pauses > 0 {
		what += " (paused)"
	}
	if what != "" && p.background {
		what += " (background)"
	}
	return what
}

// Sleep gives way for d of virtual time.
func Sleep(ctx context.Context, d time.Duration) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	if d <= 0 {
		return Yield(ctx)
	}
	w := p.w
	at := w.now + d
	if len(w.runq) == 0 && at <= w.until && p.actor.pauses == 0 && (len(w.timers) == 0 || at < w.timers[0].at) && w.coast() {
		w.now = at
		return nil
	}
	p.alarm = timer{at: at, p: p, actor: p.actor}
	w.addTimer(&p.alarm)
	err = p.park(ctx, "a timer at", &p.alarm)
	w.dropTimer(&p.alarm)
	return err
}

// coast counts a step that needs no switch; from time to time it refuses, so
// that the driver looks at its limits and its context.
func (w *World) coast() bool {
	n := w.steps.Add(1)
	return w.print == nil && n < w.budget && n%1024 != 0
}

// Yield lets every other runnable process have a turn first.
func Yield(ctx context.Context) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	if len(p.w.runq) == 0 && p.actor.pauses == 0 && p.w.coast() {
		return nil
	}
	p.waitFor = "its turn"
	p.wakeUp(nil)
	return p.park(ctx, "its turn", nil)
}

// Now is the virtual time since the world began.
func Now(ctx context.Context) time.Duration {
	if p := procOf(ctx); p != nil {
		return p.w.now
	}
	return 0
}

// Self is the actor of the process ctx belongs to, or nil.
func Self(ctx context.Context) *Actor {
	if p := procOf(ctx); p != nil {
		return p.actor
	}
	return nil
}

// A timer wakes a process or ends a context.
type timer struct {
	at    time.Duration
	seq   uint64
	index int // in the heap, plus one; 0 when it is in none
	p     *Proc
	ctx   *simCtx
	actor *Actor
}

func (t *timer) String() string { return t.at.String() }

func (w *World) addTimer(t *timer) {
	w.seq++
	t.seq = w.seq
	heap.Push(&w.timers, t)
	if t.actor.pauses > 0 {
		w.holdTimers()
	}
}

func (w *World) dropTimer(t *timer) {
	if t.index > 0 {
		heap.Remove(&w.timers, t.index-1)
		return
	}
	if i := slices.Index(w.asleep, t); i >= 0 {
		w.asleep = slices.Delete(w.asleep, i, i+1)
	}
}

// fire ends the timers that are due, all before anything runs.
func (w *World) fire() {
	for len(w.timers) > 0 && w.timers[0].at <= w.now {
		t := heap.Pop(&w.timers).(*timer)
		if t.ctx != nil {
			t.ctx.cancel(context.DeadlineExceeded)
		} else {
			t.p.wakeUp(nil)
		}
	}
}

// holdTimers puts aside what belongs to paused actors.
func (w *World) holdTimers() {
	for _, t := range slices.Clone(w.timers) {
		if t.actor.pauses > 0 {
			heap.Remove(&w.timers, t.index-1)
			t.at -= w.now
			w.asleep = append(w.asleep, t)
		}
	}
	w.runq = slices.DeleteFunc(w.runq, func(p *Proc) bool {
		if p.actor.pauses == 0 || p.dead {
			return false
		}
		w.held = append(w.held, p)
		return true
	})
}

// releaseHeld takes up again what belongs to actors that are paused no more.
func (w *World) releaseHeld() {
	w.held = slices.DeleteFunc(w.held, func(p *Proc) bool {
		if p.actor.pauses > 0 && !p.dead {
			return false
		}
		w.runq = append(w.runq, p)
		return true
	})
	slices.SortFunc(w.asleep, func(a, b *timer) int { return cmp.Compare(a.seq, b.seq) })
	w.asleep = slices.DeleteFunc(w.asleep, func(t *timer) bool {
		if t.actor.pauses > 0 {
			return false
		}
		t.at += w.now
		heap.Push(&w.timers, t)
		return true
	})
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.index = len(*h)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = 0
	return t
}
