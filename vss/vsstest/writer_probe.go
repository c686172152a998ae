package vsstest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A probe stands between the service and the writer and sees what the writer is
// told and what it answers.
type probe struct {
	run   *writerRun
	w     vss.Writer
	actor *sim.Actor
}

// A handlerCall is one call of a handler.
type handlerCall struct {
	event   vss.Event
	session guid.GUID
	actor   *sim.Actor
	began   time.Duration
	ended   time.Duration
	over    bool
	err     error
}

func (c *handlerCall) when() string {
	s := "at " + c.began.String()
	if c.session != (guid.GUID{}) {
		s = "in session " + guid.String(c.session)[:8] + " " + s
	}
	return s
}

// A hook is what happens behind an event, once.
type hook struct {
	event string
	name  string
	fn    func(ctx context.Context) error
	proc  *sim.Proc
}

// behind starts what is to happen behind an event, in processes of the machine.
func (r *writerRun) behind(event string) {
	for _, x := range r.active {
		for _, h := range x.hooks {
			if h.event == event && h.proc == nil {
				h.proc = r.machine.Go(h.name, h.fn)
			}
		}
	}
}

// call runs a handler and looks at its answer.
func (p *probe) call(ctx context.Context, e vss.Event, session guid.GUID, fn func() error) error {
	r := p.run
	c := &handlerCall{event: e, session: session, actor: p.actor, began: r.world.Now()}
	r.calls = append(r.calls, c)
	r.spoilWrites(e)
	switch e {
	case vss.EventFreeze:
		r.frozen[session] = true
	case vss.EventThaw, vss.EventAbort:
		delete(r.frozen, session)
	}
	defer func() {
		c.over, c.ended = true, r.world.Now()
		if !p.actor.Dead() {
			r.behind(e.String())
		}
	}()
	goroutines := r.goroutines()
	c.err = fn()
	if started := goroutines(); started != "" {
		r.breaks(promiseGoroutine, e.String(), c.when(), "it started %s", started)
	}
	p.judgeAnswer(ctx, c)
	return c.err
}

// judgeAnswer looks at the error of a handler whose time was not over.
func (p *probe) judgeAnswer(ctx context.Context, c *handlerCall) {
	r := p.run
	if c.err == nil || p.actor.Dead() || ctx.Err() != nil {
		return
	}
	switch h := vss.HRESULTOf(c.err); {
	case errors.Is(c.err, sim.ErrContext):
		r.breaks(promiseContext, c.event.String(), c.when(), "%s", oneLine(c.err))
	case c.event == vss.EventIdentify:
		r.breaks(promiseIdentify, c.event.String(), c.when(), "it failed: %s", oneLine(c.err))
	case !h.WriterFailure() && h != vss.ErrWriterErrorPartialFailure:
		r.breaks(promiseCode, c.event.String(), c.when(), "it failed without one: %s", oneLine(c.err))
	}
	if c.event == vss.EventAbort && !r.faulty {
		r.breaks(promiseAbort, c.event.String(), c.when(), "it failed: %s", oneLine(c.err))
	}
}

// spoilWrites plans the faults of writes that begin with a handler.
func (r *writerRun) spoilWrites(e vss.Event) {
	for i, st := range r.writes {
		if st.get("at") != e.String() {
			continue
		}
		r.writes[i] = "spent"
		f, err := sim.ParseFault(fmt.Sprintf("%s on=D: nth=%s %s", PointWrite, st.get("nth"), st.get("does")))
		if err != nil {
			r.breaks(promiseReadable, "Replay", "", "%v", err)
			continue
		}
		r.world.Inject(f)
	}
}

// Unwrap returns the writer.
func (p *probe) Unwrap() vss.Writer { return p.w }

func (p *probe) Identify(ctx context.Context, ev *vss.IdentifyEvent) error {
	return p.call(ctx, vss.EventIdentify, guid.GUID{}, func() error { return p.w.Identify(ctx, ev) })
}

func (p *probe) PrepareSnapshot(ctx context.Context, ev *vss.PrepareSnapshotEvent) error {
	return p.call(ctx, vss.EventPrepareSnapshot, ev.SessionID(), func() error { return p.w.PrepareSnapshot(ctx, ev) })
}

func (p *probe) Freeze(ctx context.Context, ev *vss.FreezeEvent) error {
	return p.call(ctx, vss.EventFreeze, ev.SessionID(), func() error { return p.w.Freeze(ctx, ev) })
}

func (p *probe) Thaw(ctx context.Context, ev *vss.ThawEvent) error {
	return p.call(ctx, vss.EventThaw, ev.SessionID(), func() error { return p.w.Thaw(ctx, ev) })
}

// Abort comes twice if the script says so.
func (p *probe) Abort(ctx context.Context, ev *vss.AbortEvent) error {
	err := p.call(ctx, vss.EventAbort, ev.SessionID(), func() error { return p.w.Abort(ctx, ev) })
	if p.run.again() && !p.actor.Dead() {
		err = errors.Join(err, p.call(ctx, vss.EventAbort, ev.SessionID(), func() error { return p.w.Abort(ctx, ev) }))
	}
	return err
}

func (p *probe) PrepareBackup(ctx context.Context, ev *vss.PrepareBackupEvent) error {
	return p.call(ctx, vss.EventPrepareBackup, ev.SessionID(), func() error {
		if h, ok := p.w.(vss.BackupPreparer); ok {
			return h.PrepareBackup(ctx, ev)
		}
		return nil
	})
}

func (p *probe) PostSnapshot(ctx context.Context, ev *vss.PostSnapshotEvent) error {
	p.run.judgeFrozen(ev)
	return p.call(ctx, vss.EventPostSnapshot, ev.SessionID(), func() error {
		if h, ok := p.w.(vss.PostSnapshotter); ok {
			return h.PostSnapshot(ctx, ev)
		}
		return nil
	})
}

func (p *probe) BackupComplete(ctx context.Context, ev *vss.BackupCompleteEvent) error {
	succeeded := ev.ComponentsSelected() && ev.BackupType() != vss.BackupCopy
	for _, c := range ev.Components().All() {
		succeeded = succeeded && c.BackupSucceeded()
	}
	p.run.succeeded[ev.SessionID()] = succeeded
	return p.keepsLogs(succeeded, vss.EventBackupComplete, func() error {
		return p.call(ctx, vss.EventBackupComplete, ev.SessionID(), func() error {
			if h, ok := p.w.(vss.BackupCompleter); ok {
				return h.BackupComplete(ctx, ev)
			}
			return nil
		})
	})
}

func (p *probe) BackupShutdown(ctx context.Context, ev *vss.BackupShutdownEvent) error {
	return p.keepsLogs(p.run.succeeded[ev.SessionID()], vss.EventBackupShutdown, func() error {
		return p.call(ctx, vss.EventBackupShutdown, ev.SessionID(), func() error {
			if h, ok := p.w.(vss.BackupShutdowner); ok {
				return h.BackupShutdown(ctx, ev)
			}
			return nil
		})
	})
}

func (p *probe) PreRestore(ctx context.Context, ev *vss.PreRestoreEvent) error {
	return p.call(ctx, vss.EventPreRestore, ev.SessionID(), func() error {
		if h, ok := p.w.(vss.PreRestorer); ok {
			return h.PreRestore(ctx, ev)
		}
		return nil
	})
}

func (p *probe) PostRestore(ctx context.Context, ev *vss.PostRestoreEvent) error {
	return p.call(ctx, vss.EventPostRestore, ev.SessionID(), func() error {
		h, ok := p.w.(vss.PostRestorer)
		if !ok {
			return nil
		}
		err := h.PostRestore(ctx, ev)
		if err == nil && !p.actor.Dead() {
			p.run.judgeRestored(ev)
		}
		return err
	})
}
