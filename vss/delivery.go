package vss

import (
	"context"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A delivery is one event on its way to one writer: a process of the writer's
// actor that runs the handler. It is settled once, by whatever comes first: the
// handler's end, the end of its window, the death of the writer, or the end of
// the operation that sent it.
type delivery struct {
	session *session
	event   Event
	started time.Duration
	failure WriterFailure // set by the handler
	view    *WriterComponents
	proc    *sim.Proc
	settled bool
	over    bool // the handler has returned
	done    sim.Signal
}

// deliver starts the handler of a writer.
func (x *session) deliver(e Event) *delivery {
	d := &delivery{session: x, event: e, started: x.sub.service.now()}
	d.done.Name = e.String()
	if e != EventIdentify {
		x.join()
	}
	x.sub.pending = append(x.sub.pending, d)
	switch e {
	case EventAbort:
		x.aborted = true
		x.deadline = 0
	case EventFreeze:
		x.deadline = d.started + x.sub.config.FreezeTimeout
	case EventThaw:
		x.deadline = 0
	case EventPostSnapshot:
		x.posted = true
	}
	d.proc = x.sub.actor.Go(e.String(), d.run)
	return d
}

func (s *Service) now() time.Duration { return s.actor.World().Now() }

// run is the handler's process.
func (d *delivery) run(ctx context.Context) error {
	defer d.done.Set()
	x := d.session
	sim.Emit(ctx, d.event.Kind(), "", sim.S("writer", x.sub.name), sim.S("session", x.bc.name))
	err := d.attempt(ctx)
	d.over = true
	d.logCrash(err)
	if !x.sub.alive() {
		return err
	}
	abort := d.settle(d.outcome(err))
	if abort && d.event != EventAbort {
		d.abortLocally(ctx)
	}
	return err
}

// attempt asks the fault plan and runs the handler.
func (d *delivery) attempt(ctx context.Context) error {
	if err := sim.At(ctx, sim.Point(d.event.Kind())); err != nil {
		return err
	}
	return sim.Protect(ctx, func() error { return d.handle(ctx) })
}

// abortLocally sends the writer the Abort that its own refusal raises. The round
// it failed in waits for it.
func (d *delivery) abortLocally(ctx context.Context) {
	if d.session.gets(EventAbort) {
		_ = d.session.sub.service.waitFor(ctx, d.session.deliver(EventAbort))
	}
}

// outcome says what the handler's result means.
func (d *delivery) outcome(err error) (Outcome, WriterFailure) {
	f := d.failure
	switch {
	case err == nil && f.Code == SOK:
		return OutcomeTrue, WriterFailure{}
	case err == nil:
		return OutcomeFailed, f
	case f.Code == SOK:
		f = d.failureOf(err)
	}
	return OutcomeFalse, f
}

// failureOf reads the code that a writer's error stands for. One that was
// injected at the event itself counts as it is; another error counts with a code
// that a writer may report, and is not retryable otherwise.
func (d *delivery) failureOf(err error) WriterFailure {
	f := WriterFailure{Code: ErrWriterErrorNonRetryable, Message: err.Error()}
	if injected, ok := err.(*sim.FaultError); ok && injected.Fault.Point == sim.Point(d.event.Kind()) {
		f.Code = HRESULT(injected.HRESULT())
	} else if h := HRESULTOf(err); h.WriterFailure() || h == ErrWriterErrorPartialFailure {
		f.Code = h
	}
	return f
}

// settle ends the delivery with an outcome, once. It tells whether the writer is
// to be sent Abort.
func (d *delivery) settle(o Outcome, f WriterFailure) (abort bool) {
	if d.settled {
		return false
	}
	d.settled = true
	x := d.session
	x.sub.forgetDelivery(d)
	m, _ := x.step(d.event, o, f)
	x.omitted = x.omitted || m.Omits
	if o == OutcomeExpired || o == OutcomeLost {
		d.give()
	}
	if d.event == EventFreeze && m.To.Failed() && m.Abort {
		x.deadline = 0
	}
	d.emitEnd(o.String())
	if o != OutcomeTrue {
		x.logRejection(d.event, o, f)
	}
	return m.Abort
}

// give tells the handler that nobody waits for it any more.
func (d *delivery) give() {
	d.proc.Cancel()
	d.done.Set()
}

// abandon ends the delivery without an outcome: the operation it belongs to was
// given up.
func (d *delivery) abandon() {
	if d.settled {
		return
	}
	d.settled = true
	d.session.sub.forgetDelivery(d)
	d.give()
	d.emitEnd("abandoned")
}

func (sub *Subscription) forgetDelivery(d *delivery) {
	sub.pending = slices.DeleteFunc(sub.pending, func(p *delivery) bool { return p == d })
}

func (d *delivery) emitEnd(outcome string) {
	x := d.session
	x.sub.actor.Emit(endOf(d.event.Kind()), "", sim.S("writer", x.sub.name), sim.S("session", x.bc.name),
		sim.S("outcome", outcome), sim.S("state", x.state.String()), sim.S("hr", codeName(x.failure.Code)))
}

// handle calls the handler; an event for which the writer has none is handled.
func (d *delivery) handle(ctx context.Context) error {
	w := d.session.sub.writer
	se := SessionEvent{call: d}
	switch d.event {
	case EventIdentify:
		ev := &IdentifyEvent{Metadata: d.session.metadata, service: d.session.sub.service}
		return w.Identify(ctx, ev)
	case EventPrepareSnapshot:
		return w.PrepareSnapshot(ctx, &PrepareSnapshotEvent{SnapshotEvent{se}})
	case EventFreeze:
		return w.Freeze(ctx, &FreezeEvent{SnapshotEvent{se}})
	case EventThaw:
		return w.Thaw(ctx, &ThawEvent{SnapshotEvent{se}})
	case EventAbort:
		return w.Abort(ctx, &AbortEvent{SnapshotEvent{se}})
	}
	return d.handleOptional(ctx, w, se)
}

func (d *delivery) handleOptional(ctx context.Context, w Writer, se SessionEvent) error {
	ce := ComponentEvent{se}
	switch d.event {
	case EventPrepareBackup:
		if h, ok := w.(BackupPreparer); ok {
			return h.PrepareBackup(ctx, &PrepareBackupEvent{ce})
		}
	case EventPostSnapshot:
		if h, ok := w.(PostSnapshotter); ok {
			return h.PostSnapshot(ctx, &PostSnapshotEvent{SnapshotEvent{se}, ce})
		}
	case EventBackupComplete:
		if h, ok := w.(BackupCompleter); ok {
			return h.BackupComplete(ctx, &BackupCompleteEvent{ce})
		}
	case EventBackupShutdown:
		if h, ok := w.(BackupShutdowner); ok {
			return h.BackupShutdown(ctx, &BackupShutdownEvent{se})
		}
	case EventPreRestore:
		if h, ok := w.(PreRestorer); ok {
			return h.PreRestore(ctx, &PreRestoreEvent{ce})
		}
	case EventPostRestore:
		if h, ok := w.(PostRestorer); ok {
			return h.PostRestore(ctx, &PostRestoreEvent{ce})
		}
	}
	return nil
}
