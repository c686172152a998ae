package hyperv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// PrepareSnapshot brings every machine of the backup into a state in which its
// files can be copied: it saves the ones backed up in the saved state, and has
// the guests of the others take snapshots of themselves. It returns when the last
// is done (R25 to R28). If one fails, all that was done is undone and no machine
// is backed up (R38).
func (w *Writer) PrepareSnapshot(ctx context.Context, ev *vss.PrepareSnapshotEvent) error {
	s := w.sessions[ev.SessionID()]
	if s == nil { // nothing of this writer was chosen
		return nil
	}
	return w.inTurn(ctx, s, func() error {
		err := w.decide(ctx, ev, s)
		if err == nil {
			err = w.carryOut(ctx, s)
		}
		if err != nil {
			sim.Emit(ctx, "hyperv/undo", "R38", sim.S("because", err.Error()))
			delete(w.sessions, s.id)
			err = errors.Join(err, w.host.undo.unwindSession(ctx, w.manage, s.id))
		}
		return err
	})
}

// decide chooses the method for every machine, as it stands now, and refuses
// what cannot work before anything is changed.
func (w *Writer) decide(ctx context.Context, ev *vss.PrepareSnapshotEvent, s *writerSession) error {
	for _, m := range s.members {
		now, err := w.manage.Machine(ctx, m.ID)
		if err != nil {
			return failure(vss.ErrWriterErrorNonRetryable, m.Name(), err)
		}
		m.Machine, m.prior = now, now.State
		m.decision = w.host.profile.Decide(now.Facts)
		sim.Emit(ctx, "hyperv/decide", "R4", sim.S("vm", m.Name()), sim.S("method", m.decision.Method.String()), sim.S("reasons", reasonsText(m.decision)))
		w.noteExcluded(ctx, m)
		if missing := volumesMissing(ev, now); len(missing) > 0 {
			return failure(vss.ErrWriterErrorInconsistentSnapshot, m.Name(), fmt.Errorf("the shadow copy set lacks %s", strings.Join(missing, ", ")))
		}
		switch {
		case m.decision.Method == MethodNone && m.decision.Has(ReasonTransition):
			return failure(vss.ErrWriterErrorRetryable, m.Name(), fmt.Errorf("the machine is %v", now.State))
		case m.decision.Method == MethodNone:
			return failure(vss.ErrWriterErrorNonRetryable, m.Name(), fmt.Errorf("the machine is %v", now.State))
		case m.decision.Method == MethodChildSnapshot && ev.Context().Attributes()&vss.AttrNoAutoRecovery != 0:
			return failure(vss.ErrWriterErrorRetryable, m.Name(), errNoAutoRecovery)
		}
	}
	return nil
}

// volumesMissing lists the volumes that hold files of a machine but are not in
// the set.
func volumesMissing(ev *vss.PrepareSnapshotEvent, m Machine) []string {
	var out []string
	for _, path := range append([]string{m.Path}, m.Configuration.VHDPaths()...) {
		if ev.IsPathAffected(path) {
			continue
		}
		name := path
		if letter, _, err := volume.Split(path); err == nil && letter != "" {
			name = letter + ":"
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

var errNoAutoRecovery = errors.New("the context has VSS_VOLSNAP_ATTR_NO_AUTORECOVERY, but the shadow copy has to be rolled back (R36)")

func reasonsText(d Decision) string {
	var parts []string
	for _, r := range d.Reasons {
		parts = append(parts, r.String())
	}
	return strings.Join(parts, "; ")
}

// noteExcluded tells which disks of a machine are not in the backup.
func (w *Writer) noteExcluded(ctx context.Context, m *member) {
	for _, d := range m.Configuration.Drives {
		if d.Kind == DrivePassThrough {
			sim.Emit(ctx, "hyperv/excluded-disk", "R39", sim.S("vm", m.Name()), sim.S("disk", d.Path))
		}
	}
	for _, name := range m.Configuration.Initiators {
		sim.Emit(ctx, "hyperv/excluded-disk", "R40", sim.S("vm", m.Name()), sim.S("disk", name))
	}
}

// carryOut saves machines first and then asks the guests, one after another in
// the order the machines were created, as long as somebody waits for it.
func (w *Writer) carryOut(ctx context.Context, s *writerSession) error {
	for _, step := range []struct {
		method Method
		do     func(context.Context, *writerSession, *member) error
		code   func(error) vss.HRESULT
	}{
		{MethodSavedState, w.save, saveCode},
		{MethodChildSnapshot, w.snapshot, snapshotCode},
	} {
		for _, m := range s.members {
			if m.decision.Method != step.method {
				continue
			}
			err := ctx.Err()
			if err == nil {
				err = step.do(ctx, s, m)
			}
			if err != nil {
				return failure(step.code(err), m.Name(), err)
			}
		}
	}
	return nil
}

// save saves a machine. It waits for the end, even if nobody waits for the
// writer any more: the machine cannot be stopped half-way.
func (w *Writer) save(ctx context.Context, s *writerSession, m *member) error {
	sim.Emit(ctx, "hyperv/save", "R25", sim.S("vm", m.Name()), sim.S("from", m.prior.String()))
	e := w.host.undo.push(undoEntry{kind: undoSaved, session: s.id, vm: m.ID, name: m.Name(), to: m.prior})
	err := w.manage.Save(context.WithoutCancel(ctx), m.ID)
	if err != nil && !dead(ctx) {
		w.host.undo.drop(e)
	}
	return err
}

// How long it takes until the host knows that a guest is done, between the two
// bounds; the guest's programs go on meanwhile. The figures are the model's own.
const minAnswer, maxAnswer = 200 * time.Millisecond, 800 * time.Millisecond

// answerLimit is how long the host waits for a guest, which should have given up
// by itself before.
const answerLimit = guest.DefaultTimeout + abortLimit

func (w *Writer) snapshot(ctx context.Context, s *writerSession, m *member) error {
	sim.Emit(ctx, "hyperv/child-snapshot", "R26", sim.S("vm", m.Name()))
	r, err := w.manage.Requestor(ctx, m.ID)
	if err != nil {
		return err
	}
	m.inside = w.newTask(r, m)
	e := w.host.undo.push(undoEntry{kind: undoSnapshot, session: s.id, vm: m.ID, name: m.Name(), inside: m.inside})
	err = w.ask(ctx, m.inside)
	if errors.Is(err, guest.ErrNothingToDo) { // none of its volumes is on a disk of the host
		w.host.undo.drop(e)
		err = nil
	}
	if err != nil {
		return err
	}
	if err := sim.Sleep(ctx, sim.Latency(ctx, "answer of "+m.Name(), minAnswer, maxAnswer)); err != nil {
		return err
	}
	sim.Emit(ctx, "hyperv/child-snapshot.end", "R28", sim.S("vm", m.Name()), sim.N("copies", len(m.inside.copies)))
	return nil
}

func (w *Writer) newTask(r guest.Requestor, m *member) *childTask {
	t := &childTask{requestor: r}
	t.over.World = w.host.world
	t.over.Name = "the answer of " + m.Name()
	return t
}

// ask has the guest take its snapshots. A process of the host waits for it, so
// that what the guest has made is known if the writer dies meanwhile.
func (w *Writer) ask(ctx context.Context, t *childTask) error {
	return w.host.call(ctx, t.over.Name, func(ctx context.Context) error {
		defer t.over.Set()
		ctx, cancel := sim.WithTimeout(ctx, answerLimit)
		defer cancel()
		taken, err := t.requestor.Snapshot(ctx, guest.SnapshotOptions{Copy: w.host.profile.CopyBackup})
		switch {
		case err == nil:
			t.copies = taken.Copies
		case errors.Is(err, sim.ErrDead):
			err = fmt.Errorf("%w: %w", guest.ErrNotRunning, err)
		}
		return err
	})
}

func saveCode(err error) vss.HRESULT { return writerCode(err, vss.ErrWriterErrorNonRetryable) }

// snapshotCode is what the requester sees when a guest fails: a time-out is
// reported as one, a guest's writer with a writer's code, a guest that is busy
// with another backup as retryable, and all else as not retryable.
func snapshotCode(err error) vss.HRESULT {
	switch {
	case errors.Is(err, guest.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return vss.ErrWriterErrorTimeout
	case errors.Is(err, guest.ErrBusy), errors.Is(err, vss.ErrSnapshotSetInProgress):
		return vss.ErrWriterErrorRetryable
	}
	return writerCode(err, vss.ErrWriterErrorNonRetryable)
}
