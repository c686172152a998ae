package sim

import (
	"container/heap"
	"context"
	"math"
	"slices"
	"time"
)

// after is t later by d, or the end of time.
func after(t, d time.Duration) time.Duration {
	if d > math.MaxInt64-t {
		return math.MaxInt64
	}
	return t + d
}

// Sleep gives way for d of virtual time.
func Sleep(ctx context.Context, d time.Duration) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	if d <= 0 {
		return p.yield(ctx)
	}
	w := p.w
	at := after(w.now, d)
	if at <= w.until && (len(w.timers) == 0 || at < w.timers[0].at) && p.coast() {
		w.now = at
		return nil
	}
	alarm := &p.co.wait.alarm
	*alarm = timer{at: at, p: p, actor: p.actor}
	w.addTimer(alarm)
	err = p.park(ctx, "a timer", alarm)
	w.dropTimer(alarm)
	return err
}

// Yield lets every other runnable process have a turn first.
func Yield(ctx context.Context) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	return p.yield(ctx)
}

func (p *Proc) yield(ctx context.Context) error {
	if p.coast() {
		return nil
	}
	p.w.ready(p)
	return p.park(ctx, "its turn", nil)
}

// coast counts a turn that needs no switch, because nothing else can run. From
// time to time it refuses, so that the driver looks at its limits and its
// context.
func (p *Proc) coast() bool {
	w := p.w
	if len(w.runq)+len(w.dying)+len(w.foreign) > 0 || p.actor.pauses > 0 || w.print != nil {
		return false
	}
	n := w.steps.Load() + 1
	if n >= w.budget || n%1024 == 0 {
		return false
	}
	w.steps.Store(n)
	p.step++
	return true
}

// Now is the virtual time since the world began.
func Now(ctx context.Context) time.Duration {
	if p := procOf(ctx); p != nil {
		return p.w.Now()
	}
	return 0
}

// A timer wakes a process or ends a context.
type timer struct {
	at    time.Duration
	seq   uint64
	index int // in the heap, plus one; 0 when it is in none

	// asleep timers belong to a paused actor; at is what they have left.
	asleep bool

	p     *Proc
	ctx   *simCtx
	actor *Actor
}

func (t *timer) String() string {
	if t.asleep {
		return "with " + t.at.String() + " left"
	}
	return "at " + t.at.String()
}

func (w *World) addTimer(t *timer) {
	w.seq++
	t.seq = w.seq
	if t.actor.pauses > 0 {
		t.at -= w.now
		t.asleep = true
		return
	}
	heap.Push(&w.timers, t)
}

func (w *World) dropTimer(t *timer) {
	t.asleep = false
	if t.index > 0 {
		heap.Remove(&w.timers, t.index-1)
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

// hold puts aside what belongs to an actor that is paused.
func (w *World) hold(a *Actor) {
	queued := false
	a.each(func(b *Actor) {
		for _, p := range b.procs {
			queued = queued || p.queued
			p.eachTimer(func(t *timer) {
				if t.index > 0 {
					heap.Remove(&w.timers, t.index-1)
					t.at -= w.now
					t.asleep = true
				}
			})
		}
	})
	if !queued {
		return
	}
	w.runq = slices.DeleteFunc(w.runq, func(p *Proc) bool {
		if p.actor.pauses == 0 {
			return false
		}
		w.held = append(w.held, p)
		return true
	})
}

// release takes up again what belongs to an actor that is paused no more.
func (w *World) release(a *Actor) {
	queued := false
	a.each(func(b *Actor) {
		if b.pauses > 0 {
			return
		}
		for _, p := range b.procs {
			queued = queued || p.queued
			p.eachTimer(func(t *timer) {
				if t.asleep {
					t.asleep = false
					t.at = after(w.now, t.at)
					heap.Push(&w.timers, t)
				}
			})
		}
	})
	if !queued {
		return
	}
	w.held = slices.DeleteFunc(w.held, func(p *Proc) bool {
		if p.actor.pauses > 0 {
			return false
		}
		w.enqueue(p)
		return true
	})
}

// eachTimer calls fn with the timers of p's sleep and of its contexts.
func (p *Proc) eachTimer(fn func(t *timer)) {
	if p.co != nil {
		fn(&p.co.wait.alarm)
	}
	p.ctx.eachTimer(fn)
}

func (c *simCtx) eachTimer(fn func(t *timer)) {
	if c.timer != nil {
		fn(c.timer)
	}
	for d := c.first; d != nil; d = d.next {
		d.eachTimer(fn)
	}
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
