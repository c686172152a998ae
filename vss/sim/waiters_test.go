package sim

import (
	"context"
	"errors"
	"testing"
)

// Waiting in a loop with a time limit leaves nothing in the lists of who waits,
// and contexts that were given back leave nothing above them.
func TestWhoGaveUpWaitingIsForgotten(t *testing.T) {
	w := New()
	defer w.Close()
	var s Signal
	var g Gate
	var m Mutex
	g.Shut()
	a := w.Actor("a")
	p := a.Go("p", s.Wait)
	a.Go("owner", func(ctx context.Context) error { return errors.Join(m.Lock(ctx), s.Wait(ctx)) })
	err := w.Do(t.Context(), func(ctx context.Context) error {
		std, cancel := context.WithCancel(ctx)
		defer cancel()
		_ = Yield(ctx)
		for range 100 {
			for _, wait := range []func(context.Context) error{s.Wait, g.Pass, m.Lock, p.Wait} {
				for _, parent := range []context.Context{ctx, std, context.WithoutCancel(ctx)} {
					c, cancel := WithTimeout(parent, 1)
					if err := wait(c); !errors.Is(err, context.DeadlineExceeded) {
						return err
					}
					cancel()
				}
			}
		}
		me := procOf(ctx)
		for name, n := range map[string]int{
			"the signal": s.waiters.len() - 2, "the gate": g.waiters.len(), "the mutex": m.waiters.len(), "the process": p.waiters.len(),
			"foreign contexts": len(w.foreign), "the context": len(me.ctx.derived()), "timers": len(w.allTimers()),
		} {
			if n != 0 {
				t.Errorf("%s: %d too many", name, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	h := a.OnKill(a, "hook", nil)
	h()
	if len(a.onKill) != 0 {
		t.Error("a hook that was taken back is there")
	}
}

func (l *line) len() int {
	n := 0
	for p := l.first; p != nil; p = p.co.wait.behind {
		n++
	}
	return n
}

func (c *simCtx) derived() []*simCtx {
	var list []*simCtx
	for d := c.first; d != nil; d = d.next {
		list = append(list, d)
	}
	return list
}
