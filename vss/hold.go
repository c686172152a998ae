package vss

import (
	"context"
	"errors"
	"strings"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// commit is the moment of the copies: all volumes are flushed and their writes
// held, the providers take the copies, and the writes go on as soon as the last
// provider has returned. Held for longer than [HoldTimeout], the writes go on by
// themselves and the set fails.
func (b *BackupComponents) commit(work context.Context) error {
	defer b.release()
	if err := b.flushAndHold(work); err != nil {
		return err
	}
	limited, cancel := sim.WithTimeout(work, HoldTimeout)
	defer cancel()
	err := b.eachProvider(limited, PointProviderCommit, func(ctx context.Context, p *provider) error {
		return p.CommitSnapshots(ctx, b.setID)
	})
	if work.Err() == nil && limited.Err() != nil {
		b.service.Log(b.service.actor, LogEntry{ID: LogCommitFailed, Text: "the shadow copies of set " + short(b.setID) + " could not be committed: writes were held for " + HoldTimeout.String()})
		return fail("DoSnapshotSet", "", ErrHoldWritesTimeout, "writes were held for %v", HoldTimeout)
	}
	return err
}

// flushAndHold flushes all volumes side by side and holds their writes.
func (b *BackupComponents) flushAndHold(work context.Context) error {
	tasks := make([]task, 0, len(b.members))
	for _, m := range b.members {
		tasks = append(tasks, startWork(b.service.actor, "flush "+m.volume.Name(), func(ctx context.Context) error {
			return b.service.hold(ctx, m)
		}))
	}
	var first error
	for i := range tasks {
		if err := tasks[i].wait(work); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// hold flushes one volume and holds its writes, which may take [HoldTimeout].
func (s *Service) hold(ctx context.Context, m *member) error {
	v := m.volume
	limited, cancel := sim.WithTimeout(ctx, HoldTimeout)
	defer cancel()
	on := s.onVolume(v)
	if err := sim.AtOn(limited, PointVolumeFlush, on); err != nil {
		return s.notHeld(ctx, v, err, ErrFlushWritesTimeout)
	}
	if err := sim.AtOn(limited, PointVolumeHold, on); err != nil {
		return s.notHeld(ctx, v, err, ErrHoldWritesTimeout)
	}
	if err := sim.Protect(limited, func() error { return v.FlushAndHold(limited) }); err != nil {
		return s.notHeld(ctx, v, err, ErrFlushWritesTimeout)
	}
	if err := ctx.Err(); err != nil { // too late, nobody would release it
		v.Release()
		return err
	}
	m.held = true
	s.holding = true
	sim.Emit(ctx, "vss/hold", "", sim.S("volume", v.Name()))
	return nil
}

// onVolume names a volume where faults are planned.
func (s *Service) onVolume(v Volume) string {
	return s.actor.Path() + "/" + strings.TrimSuffix(v.Name(), `\`)
}

// notHeld notes in the event log that a volume was not flushed or not held.
func (s *Service) notHeld(ctx context.Context, v Volume, err error, code HRESULT) error {
	err = heldError(v, err, code)
	if ctx.Err() != nil { // the set was given up meanwhile
		return err
	}
	e := LogEntry{ID: LogVolumeError, Text: "unexpected error flushing volume " + v.Name() + ": " + codeName(HRESULTOf(err))}
	if code == ErrHoldWritesTimeout {
		e.ID, e.Text = LogWritesNotHeld, "the writes of volume "+v.Name()+" cannot be held during the shadow copy creation period: "+codeName(HRESULTOf(err))
	}
	s.Log(s.actor, e)
	return err
}

// heldError gives an error without a code of its own the one of the step.
func heldError(v Volume, err error, code HRESULT) error {
	var coded interface{ HRESULT() uint32 }
	if !errors.As(err, &coded) {
		err = fail("DoSnapshotSet", v.Name(), code, "%v", err)
	}
	return &Error{Op: "DoSnapshotSet", On: v.Name(), Err: err}
}

// release lets the writes of all volumes go on.
func (b *BackupComponents) release() {
	for _, m := range b.members {
		m.volume.Release()
		if m.held {
			m.held = false
			b.service.actor.Emit("vss/release", "", sim.S("volume", m.volume.Name()))
		}
	}
	b.service.writeLog()
}
