package vss

import (
	"context"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// An Async is an operation of the service that goes on by itself (IVssAsync).
type Async struct {
	service   *Service
	method    string
	task      *task
	over      sim.Signal
	err       error
	firm      bool // cannot be cancelled
	cancelled bool // Cancel was called, or the requester gave up
}

// QueryStatus asks how the operation stands: [AsyncPending], [AsyncFinished],
// [AsyncCancelled], or the code it failed with. Each call from ordinary code
// lets the world take a step, so that a loop around it ends. The error is that of
// asking.
func (a *Async) QueryStatus(ctx context.Context) (HRESULT, error) {
	h := AsyncPending
	err := a.service.actor.Poll(ctx, "QueryStatus", func(context.Context) error {
		h = a.status()
		return nil
	})
	return h, a.service.unreachable("QueryStatus", err)
}

func (a *Async) status() HRESULT {
	switch {
	case !a.over.IsSet():
		return AsyncPending
	case a.err == nil:
		return AsyncFinished
	}
	return HRESULTOf(a.err)
}

// Wait gives way until the operation is over. It returns nil even if the
// operation failed; [Async.Err] and [Async.QueryStatus] say how it ended
// ("IVssAsync::Wait"; one sentence of that page says otherwise).
func (a *Async) Wait(ctx context.Context) error {
	err := a.service.actor.Call(ctx, "Wait", a.over.Wait)
	return a.service.unreachable("Wait", err)
}

// Err is how the operation ended: nil while it runs and after success, an error
// that is [AsyncCancelled] if it was cancelled.
func (a *Async) Err() error {
	if !a.over.IsSet() {
		return nil
	}
	return a.err
}

// Cancel asks the operation to end and waits until it has undone what it began:
// [SOK]. An operation that was over before gives [AsyncFinished],
// [AsyncCancelled], or the code it failed with. The error is that of asking.
func (a *Async) Cancel(ctx context.Context) (HRESULT, error) {
	h := SOK
	err := a.service.actor.Call(ctx, "Cancel", func(ctx context.Context) error {
		if a.over.IsSet() {
			h = a.status()
			return nil
		}
		if a.firm {
			return fail("Cancel", a.method, ErrNotSupported, "the operation cannot be cancelled")
		}
		a.stop()
		return a.over.Wait(ctx)
	})
	return h, a.service.unreachable("Cancel", err)
}

// stop asks the operation to end.
func (a *Async) stop() {
	if !a.over.IsSet() && !a.cancelled {
		a.cancelled = true
		a.task.leave()
	}
}

// finish ends the operation. What fails after it was cancelled was cancelled.
func (a *Async) finish(err error) {
	if a.cancelled && err != nil {
		err = &Error{Op: a.method, Err: AsyncCancelled}
	}
	a.err = err
	a.over.Set()
}
