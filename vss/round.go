package vss

import (
	"context"
	"errors"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// round sends an event to those of the sessions that are to have it, in the
// order given, and waits until all handlers have ended or their time is over.
// The handlers run side by side. The error is that of the operation, which was
// cancelled or whose process died; what the writers answered is in their
// sessions.
func (s *Service) round(ctx context.Context, e Event, sessions []*session) error {
	sent := make([]*delivery, 0, len(sessions))
	for _, x := range sessions {
		if e == EventIdentify || x.gets(e) {
			sent = append(sent, x.deliver(e))
		}
	}
	for i, d := range sent {
		if err := s.waitFor(ctx, d); err != nil {
			for _, d := range sent[i:] {
				d.abandon()
			}
			return err
		}
	}
	return nil
}

// waitFor waits for one handler as long as its event may take.
func (s *Service) waitFor(ctx context.Context, d *delivery) error {
	if limit, ok := s.config.Windows[d.event]; ok && limit > 0 {
		left, cancel := sim.WithTimeout(ctx, max(d.started+limit-s.now(), 0))
		defer cancel()
		err := d.done.Wait(left)
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			d.settle(OutcomeLost, WriterFailure{Code: ErrWriterNotResponding})
			return nil
		}
		return d.waited(err)
	}
	return d.waited(d.done.Wait(ctx))
}

// waited sees to it that a handler which ended without a word is settled: its
// writer is dead.
func (d *delivery) waited(err error) error {
	if err == nil && !d.settled {
		d.session.sub.lose()
	}
	return err
}

var freezeLevels = []ApplicationLevel{LevelFrontEnd, LevelBackEnd, LevelSystem, LevelSystemRM}

// freeze freezes the writers: front-end applications first, then back-end ones,
// then the system, each level only when the one before has answered, because an
// application must stop writing into another before that one freezes
// ("VSS_APPLICATION_LEVEL"). The undocumented resource manager level comes last.
func (s *Service) freeze(ctx context.Context, sessions []*session) error {
	same := make([]*session, 0, len(sessions))
	for _, level := range freezeLevels {
		same = same[:0]
		for _, x := range sessions {
			if x.sub.config.Level == level {
				same = append(same, x)
			}
		}
		if len(same) == 0 {
			continue
		}
		if err := s.round(ctx, EventFreeze, same); err != nil {
			return err
		}
	}
	return nil
}

// watchWindows ends the freeze windows of the sessions as they run out, each on
// its own: the writer has failed, its handler may go on but is told, and Abort
// runs beside it. It goes on until it is cancelled.
func (s *Service) watchWindows(ctx context.Context, b *BackupComponents) error {
	for {
		now := s.now()
		next := now + s.shortestWindow(b)
		for _, x := range b.sessions {
			if x.deadline == 0 {
				continue
			}
			if x.deadline <= now {
				if d := x.expire(); d != nil {
					b.aborting = append(b.aborting, d)
				}
			} else {
				next = min(next, x.deadline)
			}
		}
		if err := sim.Sleep(ctx, next-now); err != nil {
			return err
		}
	}
}

// shortestWindow is how long the watch may sleep without missing the end of a
// window that opens meanwhile.
func (s *Service) shortestWindow(b *BackupComponents) time.Duration {
	least := DefaultFreezeTimeout
	for _, x := range b.sessions {
		least = min(least, x.sub.config.FreezeTimeout)
	}
	return least
}

// expire is the end of a writer's freeze window. It returns the Abort that the
// writer is sent, or nil.
func (x *session) expire() *delivery {
	x.deadline = 0
	f := WriterFailure{Code: ErrWriterErrorTimeout, Message: "the freeze window of " + x.sub.config.FreezeTimeout.String() + " has run out"}
	x.sub.actor.Emit("vss/freeze-window", "", sim.S("writer", x.sub.name), sim.S("session", x.bc.name),
		sim.S("window", x.sub.config.FreezeTimeout.String()))
	frozen := true
	for _, d := range x.sub.pending {
		if d.session == x && d.event == EventFreeze {
			d.settle(OutcomeExpired, f)
			frozen = false
			break
		}
	}
	if frozen {
		x.step(EventFreeze, OutcomeExpired, f)
		x.logRejection(EventFreeze, OutcomeExpired, f)
	}
	if x.gets(EventAbort) {
		return x.deliver(EventAbort)
	}
	return nil
}
