package sim

import (
	"context"
	"slices"
	"time"
)

// A simCtx is a context whose cancellation and deadline happen in virtual time.
// Its Done channel is real, for code that passes it on, but nothing in a world
// waits for it.
type simCtx struct {
	p        *Proc
	values   context.Context // of the process's starter, for Value alone
	up       context.Context // for a derived context: what it was derived from
	above    *simCtx         // the nearest one above
	children []*simCtx
	err      error // context.Canceled or context.DeadlineExceeded
	cause    error
	done     chan struct{}
	after    []*func() // see AfterFunc
	parked   int       // processes that wait under this context
}

type simKey struct{}

func (c *simCtx) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *simCtx) Done() <-chan struct{} {
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *simCtx) Err() error {
	if c.err == nil && c.up != nil {
		return c.up.Err()
	}
	return c.err
}

func (c *simCtx) Value(key any) any {
	if _, ok := key.(simKey); ok {
		return c
	}
	if c.up != nil {
		return c.up.Value(key)
	}
	if c.values != nil {
		return c.values.Value(key)
	}
	return nil
}

func nearest(ctx context.Context) *simCtx {
	c, _ := ctx.Value(simKey{}).(*simCtx)
	return c
}

func procOf(ctx context.Context) *Proc {
	if c, ok := ctx.(*simCtx); ok {
		return c.p
	}
	if c := nearest(ctx); c != nil {
		return c.p
	}
	return nil
}

func (c *simCtx) count(n int) {
	for ; c != nil; c = c.above {
		c.parked += n
	}
}

// cancel ends c and what was derived from it, and wakes who waits under it.
func (c *simCtx) cancel(cause error) {
	if c.err != nil {
		return
	}
	c.err, c.cause = context.Canceled, cause
	if cause == context.DeadlineExceeded {
		c.err = cause
	}
	if c.done != nil {
		close(c.done)
	}
	if c.parked > 0 && c.p.waitFor != "" && c.p.waitCtx.under(c) {
		c.p.wakeUp(cause)
	}
	for _, f := range c.after {
		(*f)()
	}
	for _, d := range c.children {
		d.cancel(cause)
	}
	c.after, c.children = nil, nil
}

// AfterFunc lets package context derive from c without starting a goroutine.
// The function runs at once where c is cancelled.
func (c *simCtx) AfterFunc(f func()) (stop func() bool) {
	if c.err != nil {
		f()
		return func() bool { return false }
	}
	c.after = append(c.after, &f)
	return func() bool {
		i := slices.Index(c.after, &f)
		if i >= 0 {
			c.after = slices.Delete(c.after, i, i+1)
		}
		return i >= 0
	}
}

func (c *simCtx) under(a *simCtx) bool {
	for ; c != nil; c = c.above {
		if c == a {
			return true
		}
	}
	return false
}

func derive(ctx context.Context) (*simCtx, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	above := nearest(ctx)
	c := &simCtx{p: p, up: ctx, above: above}
	above.children = append(above.children, c)
	return c, nil
}

// WithCancel derives a context whose cancel function wakes the process if it
// waits under it. In ordinary code it is the standard one.
func WithCancel(ctx context.Context) (context.Context, context.CancelFunc) {
	c, err := derive(ctx)
	if err != nil {
		return context.WithCancel(ctx)
	}
	return c, func() { c.cancel(context.Canceled); c.detach() }
}

// WithTimeout derives a context that ends after d of virtual time: calls under
// it fail with [context.DeadlineExceeded]. In ordinary code, where no world can
// be told, it is just cancellable.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c, err := derive(ctx)
	if err != nil {
		return context.WithCancel(ctx)
	}
	w := c.p.w
	t := &timer{at: w.now + d, ctx: c, actor: c.p.actor}
	w.addTimer(t)
	return c, func() {
		w.dropTimer(t)
		c.cancel(context.Canceled)
		c.detach()
	}
}

func (c *simCtx) detach() {
	a := c.above
	if i := slices.Index(a.children, c); i >= 0 {
		a.children = slices.Delete(a.children, i, i+1)
	}
}
