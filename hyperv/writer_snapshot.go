package hyperv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// PrepareSnapshot brings every machine of the backup into a state in which its
// files can be copied: it saves the ones backed up in the saved state, and has
// the guests of the others take snapshots of themselves. It returns when the last
// is done (R25 to R28). If one fails, all that was done is undone and no machine
// is backed up (R38).
//
// Which one failed, and why, the text of the writer's status begins with. The
// components do not say it: OnPrepareSnapshot is handed none, and a writer that failed
// in it sees no later event in which it could change them.
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
		now, err := w.atRest(ctx, m.ID)
		if err != nil {
			return failure(vss.ErrWriterErrorNonRetryable, m.Name(), err)
		}
		m.Machine, m.prior = now, now.State
		if now.State.Critical() { // once it is saved it waits for nothing any more
			m.prior = StatePaused
		}
		m.decision = w.host.profile.Decide(now.Facts)
		w.noteDecision(ctx, s, m)
		if err := w.compareMethod(s, m); err != nil {
			return err
		}
		w.noteExcluded(ctx, m)
		if missing := w.volumesMissing(ev, now); len(missing) > 0 {
			return failure(vss.ErrWriterErrorInconsistentSnapshot, m.Name(), fmt.Errorf("the shadow copy set lacks %s", strings.Join(missing, ", ")))
		}
		switch {
		case m.decision.Method == MethodNone && m.decision.Has(ReasonTransition):
			return failure(vss.ErrWriterErrorRetryable, m.Name(), fmt.Errorf("the machine is %v", now.State))
		case m.decision.Method == MethodNone:
			return failure(vss.ErrWriterErrorNonRetryable, m.Name(), fmt.Errorf("the machine is %v", now.State))
		case m.decision.Method == MethodChildSnapshot && !w.host.profile.Policy.LateAutoRecovery && ev.Context().Attributes()&vss.AttrNoAutoRecovery != 0:
			return failure(vss.ErrWriterErrorRetryable, m.Name(), errNoAutoRecovery)
		}
	}
	return nil
}

// atRest describes a machine, if need be after it has got to a state in which it
// stays.
func (w *Writer) atRest(ctx context.Context, id [16]byte) (Machine, error) {
	for waited := time.Duration(0); ; waited += time.Second {
		m, err := w.manage.Machine(ctx, id)
		if err != nil || m.State.Stable() || m.State.Critical() || waited >= w.host.profile.Policy.TransitionLimit {
			return m, err
		}
		if err := sim.Sleep(ctx, time.Second); err != nil {
			return m, err
		}
	}
}

// noteDecision puts the method and each reason into the trace, every reason with
// the requirement that it comes from.
func (w *Writer) noteDecision(ctx context.Context, s *writerSession, m *member) {
	vm := sim.S("vm", m.Name())
	sim.Emit(ctx, "hyperv/decide", "R4", vm, sim.S("method", m.decision.Method.String()), sim.S("reasons", reasonsText(m.decision)))
	for _, r := range m.decision.Reasons {
		sim.Emit(ctx, "hyperv/reason", r.Code.Rule(), vm, sim.S("code", string(r.Code)), sim.S("detail", r.Detail))
	}
	for _, n := range m.decision.Notes {
		sim.Emit(ctx, "hyperv/note", n.Code.Rule(), vm, sim.S("code", string(n.Code)), sim.S("detail", n.Detail))
	}
	if told, ok := s.told[m.ID]; ok && told.method != m.decision.Method {
		sim.Emit(ctx, "hyperv/method-changed", "", vm, sim.S("told", told.method.String()), sim.S("now", m.decision.Method.String()))
	}
}

// compareMethod deals with a machine whose caption told another method.
func (w *Writer) compareMethod(s *writerSession, m *member) error {
	d, ok := s.told[m.ID]
	told := d.method
	if !ok || told == m.decision.Method {
		return nil
	}
	err := fmt.Errorf("the method is now %v, and the caption told %v", m.decision.Method, told)
	switch w.host.profile.Policy.Redecide {
	case RedecideRefuse:
		return failure(vss.ErrWriterErrorRetryable, m.Name(), err)
	case RedecideNever:
		if told == MethodOffline { // its files change while they are copied
			return failure(vss.ErrWriterErrorRetryable, m.Name(), err)
		}
		m.decision.Method = told
	}
	return nil
}

// volumesMissing lists the volumes that hold files of a machine but are not in
// the set.
func (w *Writer) volumesMissing(ev *vss.PrepareSnapshotEvent, m Machine) []string {
	var out []string
	for _, path := range w.host.ownPaths(slices.Concat([]string{m.Path}, m.Configuration.VHDPaths(), m.Parents, m.Checkpoints)) {
		if ev.IsPathAffected(path) {
			continue
		}
		name := cmp.Or(rootOfVolume(path, m.Facts.Folders), path)
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

// A stage of PrepareSnapshot works at the machines of one method.
type stage struct {
	method Method
	do     func(context.Context, *writerSession, *member) error
	code   func(error) vss.HRESULT
}

// carryOut saves machines and asks guests, as the policy has it, in the order the
// machines were created, as long as somebody waits for it.
func (w *Writer) carryOut(ctx context.Context, s *writerSession) error {
	stages := []stage{
		{MethodSavedState, w.save, saveCode},
		{MethodChildSnapshot, w.snapshot, snapshotCode},
	}
	if w.host.profile.Policy.GuestsFirst {
		slices.Reverse(stages)
	}
	for _, st := range stages {
		var due []*member
		for _, m := range s.members {
			if m.decision.Method == st.method {
				due = append(due, m)
			}
		}
		if err := w.carryOutStage(ctx, s, st, due); err != nil {
			return err
		}
	}
	return nil
}

// carryOutStage works at machines, at several at a time if the policy says so.
// After the first failure nothing new is begun.
func (w *Writer) carryOutStage(ctx context.Context, s *writerSession, st stage, due []*member) (failed error) {
	work := func(inner context.Context) error {
		for len(due) > 0 && failed == nil {
			m := due[0]
			due = due[1:]
			err := ctx.Err()
			if err == nil {
				err = st.do(inner, s, m)
			}
			if err != nil && failed == nil {
				failed = failure(st.code(err), m.Name(), err)
			}
		}
		return nil
	}
	n := min(w.host.profile.Policy.Parallel, len(due))
	if n <= 1 {
		_ = work(ctx)
		return failed
	}
	procs := make([]*sim.Proc, n)
	for i := range procs {
		procs[i] = sim.Go(ctx, "prepares machines", work)
	}
	// The undoing must not begin while somebody is still at a machine.
	if err := sim.Join(context.WithoutCancel(ctx), procs...); err != nil && failed == nil {
		failed = err
	}
	return failed
}

// save saves a machine. It waits for the end, even if nobody waits for the
// writer any more: the machine cannot be stopped half-way. After too long it stops
// waiting, and the machine is brought back whenever it is saved in the end.
func (w *Writer) save(ctx context.Context, s *writerSession, m *member) error {
	sim.Emit(ctx, "hyperv/save", "R25", sim.S("vm", m.Name()), sim.S("from", m.prior.String()))
	e := w.host.undo.push(undoEntry{kind: undoSaved, session: s.id, vm: m.ID, name: m.Name(), to: m.prior, since: sim.Now(ctx)})
	err := w.limited(ctx, "Save", m.Name(), func(ctx context.Context) error { return w.manage.Save(ctx, m.ID) })
	switch {
	case err == nil || sim.Dead(ctx):
	case errors.Is(err, ErrTimeout):
		e.late = true
	default:
		w.host.undo.drop(e)
	}
	return err
}

// limited has management do something to a machine, and says [ErrTimeout] if that
// takes longer than anything should.
func (w *Writer) limited(ctx context.Context, op, vm string, do func(context.Context) error) error {
	return limited(ctx, op, vm, w.host.profile.Policy.operationLimit(), do)
}

func limited(ctx context.Context, op, vm string, limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := sim.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	err := do(ctx)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return &Error{Op: op, On: vm, Err: fmt.Errorf("%w after %v", ErrTimeout, limit)}
	}
	return err
}

// How long it takes until the host knows that a guest is done, between the two
// bounds; the guest's programs go on meanwhile. The figures are the model's own.
const minAnswer, maxAnswer = 200 * time.Millisecond, 800 * time.Millisecond

// DefaultAnswerLimit is how long the host waits for a guest.
const DefaultAnswerLimit = guest.DefaultTimeout + abortLimit

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
	for _, volume := range m.inside.frozen {
		sim.Emit(ctx, "hyperv/event", "", sim.S("vm", m.Name()), sim.N("id", EventFrozenBefore), sim.S("volume", volume))
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
		ctx, cancel := sim.WithTimeout(ctx, w.host.profile.Policy.answerLimit())
		defer cancel()
		taken, err := t.requestor.Snapshot(ctx, guest.SnapshotOptions{Copy: w.host.profile.CopyBackup})
		switch {
		case err == nil:
			t.copies, t.frozen = taken.Copies, taken.Frozen
		case errors.Is(err, sim.ErrDead):
			err = fmt.Errorf("%w: %w", guest.ErrNotRunning, err)
		}
		return err
	})
}

// saveCode is what the requester sees when a machine cannot be saved.
func saveCode(err error) vss.HRESULT {
	if errors.Is(err, ErrTimeout) {
		return vss.ErrWriterErrorTimeout
	}
	return writerCode(err, vss.ErrWriterErrorNonRetryable)
}

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
