package sim

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A simCtx is a context whose cancellation and deadline happen in virtual time.
// Its Done channel is real, for code that passes it on, but nothing in a world
// waits for it. Other goroutines may use it as any context, except to give way
// under it.
type simCtx struct {
	p           *Proc
	up          context.Context // what it was derived from; of a process's own: that of its starter, for Value alone
	above       *simCtx         // the one it is cancelled with
	first, last *simCtx         // derived from it
	next        *simCtx         // derived from the one above
	timer       *timer
	shield      bool // it is cancelled with the process alone
	foreign     bool // somewhere above is a context that others can end: ask up

	state   atomic.Uint32 // live, canceled or expired
	outside atomic.Pointer[outside]
}

// outside is what a context has for other goroutines, once somebody asks for it.
type outside struct {
	mu    sync.Mutex // guards what follows
	done  chan struct{}
	shut  bool      // done is closed
	after []*func() // see AfterFunc
}

func (c *simCtx) out() *outside {
	if c.outside.Load() == nil {
		c.outside.CompareAndSwap(nil, new(outside))
	}
	return c.outside.Load()
}

const (
	live = iota
	canceled
	expired
)

type simKey struct{}

func (c *simCtx) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *simCtx) Done() <-chan struct{} {
	o := c.out()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done == nil {
		o.done = make(chan struct{})
	}
	if c.Err() != nil {
		o.shutDone()
	}
	return o.done
}

func (c *simCtx) Err() error {
	switch c.state.Load() {
	case canceled:
		return context.Canceled
	case expired:
		return context.DeadlineExceeded
	}
	if c.foreign {
		return c.up.Err()
	}
	return nil
}

func (c *simCtx) Value(key any) any {
	if _, ok := key.(simKey); ok {
		return c
	}
	if c.up != nil {
		return c.up.Value(key)
	}
	return nil
}

func nearest(ctx context.Context) *simCtx {
	if c, ok := ctx.(*simCtx); ok {
		return c
	}
	c, _ := ctx.Value(simKey{}).(*simCtx)
	return c
}

func procOf(ctx context.Context) *Proc {
	if c := nearest(ctx); c != nil {
		return c.p
	}
	return nil
}

// between tells what lies between ctx and the nearest context of ours: nothing
// that matters, a shield from cancellation ([context.WithoutCancel]), or a context
// that others can end. One of the latter learns of c's end by itself.
func between(ctx context.Context, c *simCtx) (shield, foreign bool) {
	if ctx == context.Context(c) {
		return false, false
	}
	done := ctx.Done()
	return done == nil, done != nil && done != c.Done()
}

// cancel ends c and what was derived from it, and wakes who waits under it.
// Shielded contexts end with the process alone.
func (c *simCtx) cancel(cause error) {
	p := c.p
	last := p.dead || p.ended
	if c.close(cause) {
		if by := p.w.running.Load(); by != nil && by != p {
			p.learn(by.actor.history)
		}
		if c.timer != nil {
			p.w.dropTimer(c.timer)
		}
		if p.parked && p.co.wait.ctx.under(c) {
			p.wakeUp(cause)
		}
	} else if !last {
		return
	}
	children := c.first
	c.first, c.last = nil, nil
	for d := children; d != nil; d = children {
		children, d.next = d.next, nil
		if d.shield && !last {
			c.add(d)
		} else {
			d.cancel(cause)
		}
	}
}

// add puts a context that was derived from c behind the others.
func (c *simCtx) add(d *simCtx) {
	if c.first == nil {
		c.first = d
	} else {
		c.last.next = d
	}
	c.last = d
}

// remove takes a derived context out, if it is there.
func (c *simCtx) remove(d *simCtx) {
	var before *simCtx
	for e := c.first; e != nil; before, e = e, e.next {
		switch {
		case e != d:
			continue
		case before == nil:
			c.first = d.next
		default:
			before.next = d.next
		}
		if c.last == d {
			c.last = before
		}
		d.next = nil
		return
	}
}

// close marks c as ended for all goroutines, once.
func (c *simCtx) close(cause error) bool {
	how := uint32(canceled)
	if cause == context.DeadlineExceeded {
		how = expired
	}
	if !c.state.CompareAndSwap(live, how) {
		return false
	}
	o := c.outside.Load()
	if o == nil {
		return true
	}
	o.mu.Lock()
	o.shutDone()
	after := o.after
	o.after = nil
	o.mu.Unlock()
	for _, f := range after {
		(*f)()
	}
	return true
}

func (o *outside) shutDone() {
	if o.done != nil && !o.shut {
		o.shut = true
		close(o.done)
	}
}

// AfterFunc lets package context derive from c without starting a goroutine.
func (c *simCtx) AfterFunc(f func()) (stop func() bool) {
	o := c.out()
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.state.Load() != live {
		go f() // another goroutine derives from c while c ends; f may need a lock that the caller holds
		return func() bool { return false }
	}
	o.after = append(o.after, &f)
	return func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		i := slices.Index(o.after, &f)
		if i >= 0 {
			o.after = slices.Delete(o.after, i, i+1)
		}
		return i >= 0
	}
}

// under tells whether c ends with a.
func (c *simCtx) under(a *simCtx) bool {
	for ; c != nil; c = c.above {
		if c == a {
			return true
		}
		if c.shield {
			return false
		}
	}
	return false
}

// waitUnder says what ends p's wait besides what it waits for.
func (p *Proc) waitUnder(ctx context.Context) {
	if ctx == context.Context(&p.ctx) {
		p.co.wait.ctx = &p.ctx
		return
	}
	c := nearest(ctx)
	shield, foreign := between(ctx, c)
	if !shield && !foreign {
		p.co.wait.ctx, foreign = c, c.foreign
	}
	if foreign {
		p.co.wait.any = ctx
		p.w.foreign = append(p.w.foreign, p)
	}
}

func (p *Proc) waitNoMore() {
	wait := &p.co.wait
	wait.ctx = nil
	if wait.any != nil {
		wait.any = nil
		i := slices.Index(p.w.foreign, p)
		p.w.foreign = slices.Delete(p.w.foreign, i, i+1)
	}
}

// lookAround wakes who waits under a context of package context that was
// cancelled: such a one tells nobody here.
func (w *World) lookAround() {
	for _, p := range w.foreign {
		if err := p.co.wait.any.Err(); err != nil {
			p.wakeUp(err)
		}
	}
}

func derive(ctx context.Context) (*simCtx, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	above := nearest(ctx)
	shield, foreign := between(ctx, above)
	c := &simCtx{p: p, up: ctx, above: above, shield: shield || foreign, foreign: foreign || !shield && above.foreign}
	if c.shield {
		c.above = &p.ctx
	}
	c.above.add(c)
	return c, nil
}

// WithCancel derives a context whose cancel function wakes the process if it
// waits under it. In ordinary code it is the standard one.
func WithCancel(ctx context.Context) (context.Context, context.CancelFunc) {
	c, err := derive(ctx)
	if err != nil {
		return context.WithCancel(ctx)
	}
	return c, c.release
}

// WithTimeout derives a context that ends after d of virtual time: calls under
// it fail with [context.DeadlineExceeded]. In ordinary code, where no world can
// be told, it is just cancellable. The deadlines of package context are in real
// time and of no use in a world.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c, err := derive(ctx)
	if err != nil {
		return context.WithCancel(ctx)
	}
	if d <= 0 {
		c.cancel(context.DeadlineExceeded)
		return c, c.release
	}
	w := c.p.w
	c.timer = &timer{at: after(w.now, d), ctx: c, actor: c.p.actor}
	w.addTimer(c.timer)
	return c, c.release
}

// release is the cancel function of a derived context.
func (c *simCtx) release() {
	c.cancel(context.Canceled)
	c.above.remove(c)
}
