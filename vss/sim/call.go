package sim

import (
	"context"
	"time"
)

// Go starts fn as a process of the actor; it runs when the running process gives
// way. The world waits for no process by itself: see [Proc.Wait].
func (a *Actor) Go(name string, fn func(ctx context.Context) error) *Proc {
	return a.start(context.Background(), name, fn)
}

// Background is Go for a process that a deadlock report marks as such: a
// workload, a poll, a watch.
func (a *Actor) Background(name string, fn func(ctx context.Context) error) *Proc {
	p := a.Go(name, fn)
	p.background = true
	return p
}

// Call runs fn as a process of the actor and waits for its result: the way into
// a service from whoever calls it. If the caller dies, fn goes on. Called with
// an ordinary context it drives the world until the process ends; if the actor is
// dead, by one step.
func (a *Actor) Call(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	if p := procOf(ctx); p != nil && p.w == a.w {
		if err := p.enter(ctx); err != nil {
			return err
		}
		return a.start(ctx, name, fn).Wait(ctx)
	}
	w := a.w
	if err := w.take(); err != nil {
		return err
	}
	defer w.mu.Unlock()
	w.polls = 0
	p := a.start(ctx, name, fn)
	if p.ended { // its actor is dead: who asks until it lives again must come to an end
		w.nudge()
		return p.err
	}
	return w.drive(ctx, p, w.virtualLimit)
}

// maxPolls is how often in a row Poll may find a world in which nothing moves.
const maxPolls = 10_000

// Poll is Call for a question that somebody may ask in a loop. From ordinary
// code it lets the world take one more step when fn has its answer, so that the
// loop ends. If nothing at all moves from one question to the next, for ten
// thousand questions, that is a deadlock.
func (a *Actor) Poll(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	if p := procOf(ctx); p != nil && p.w == a.w {
		return a.Call(ctx, name, fn)
	}
	w := a.w
	if err := w.take(); err != nil {
		return err
	}
	defer w.mu.Unlock()
	err := w.drive(ctx, a.start(ctx, name, fn), w.virtualLimit)
	if moved := w.nudge(); moved || err != nil {
		w.polls = 0
		return err
	}
	if w.polls++; w.polls > maxPolls {
		return w.stuck(idle)
	}
	return nil
}

// nudge takes one turn, and tells whether there was one to take.
func (w *World) nudge() (moved bool) {
	if len(w.runq) == 0 && len(w.timers) > 0 {
		w.until = max(w.until, w.timers[0].at)
	}
	w.budget = ^uint64(0)
	_ = w.guard(func() error {
		moved = w.turn() == runs
		w.unwind()
		return nil
	})
	return moved
}

// Do runs fn as a process of the world itself and returns its error. Called
// with an ordinary context it drives the world until the process ends.
func (w *World) Do(ctx context.Context, fn func(ctx context.Context) error) error {
	return w.root.Call(ctx, "do", fn)
}

// Advance lets d of virtual time pass, whatever the limit of virtual time, and
// all work that is due until then, and at that instant, be done. It is for
// ordinary code; a process calls [Sleep].
func (w *World) Advance(d time.Duration) error {
	if err := w.take(); err != nil {
		return err
	}
	defer w.mu.Unlock()
	w.polls = 0
	end := after(w.now, max(d, 0))
	w.limit(end)
	w.outer = context.Background()
	defer func() { w.outer = nil }()
	return w.guard(func() error {
		for {
			switch why := w.turn(); why {
			case exhausted:
				return w.stuck(why)
			case idle, tooLate:
				w.now = end
				return nil
			}
		}
	})
}

// take locks the world for an operation from ordinary code.
func (w *World) take() error {
	if !w.lock() {
		return ErrContext
	}
	if w.closed.Load() {
		w.mu.Unlock()
		return ErrClosed
	}
	return nil
}

// guard closes the world if a panic or Goexit that belongs to the driver passes
// through.
func (w *World) guard(fn func() error) error {
	whole := false
	defer func() {
		if !whole {
			w.close()
		}
	}()
	err := fn()
	whole = true
	return err
}
