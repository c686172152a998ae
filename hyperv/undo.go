package hyperv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// An undoKind is something that the writer did to a machine.
type undoKind uint8

const (
	undoLock     undoKind = iota + 1 // took it for the backup
	undoSaved                        // put it into the saved state
	undoSnapshot                     // had its guest take snapshots
	undoMount                        // mounted one of its VHD files from a shadow copy
	undoCutOff                       // saved it, and the host ended: left to the administrator
)

func (k undoKind) String() string {
	return [...]string{"", "backup lock", "saved by the writer", "snapshot in the guest", "mounted VHD",
		"saved by a backup that the end of the host cut off; to be started by hand"}[k]
}

// An undoEntry is one such thing, and what is needed to undo it. It is pushed
// before the thing is done: a machine goes on with what it was told to do if the
// writer dies meanwhile.
type undoEntry struct {
	kind    undoKind
	session [16]byte
	vm      [16]byte
	name    string
	to      State         // of a saved machine: where it belongs
	since   time.Duration // of a saved machine: when it was told to
	late    bool          // of a saved machine: the writer does not wait for it any more
	waiting bool          // a process of the host waits for the inverse
	inside  *childTask    // of a snapshot
	failed  error         // why the inverse did not work
}

// A childTask is what a guest was asked to do, and what became of it.
type childTask struct {
	requestor guest.Requestor
	over      sim.Signal // the guest has answered
	copies    []guest.Copy
	frozen    []string // volumes that were frozen before the guest was asked
}

// An undoStack is what the writer has to undo. It stands on the host, so that it
// outlives the management service.
type undoStack struct {
	entries []*undoEntry
	host    *Host
}

func (s *undoStack) push(e undoEntry) *undoEntry {
	s.entries = append(s.entries, &e)
	if e.kind == undoSaved {
		s.host.mark(e.vm, belongsMarks[e.to])
	}
	return &e
}

// drop takes an entry off that needs no undoing any more.
func (s *undoStack) drop(e *undoEntry) {
	for i, x := range slices.Backward(s.entries) { // the latest goes first, most often
		if x == e {
			s.unmark(e)
			s.entries = slices.Delete(s.entries, i, i+1)
			return
		}
	}
}

// unmark takes the marks away that an entry left on disk.
func (s *undoStack) unmark(e *undoEntry) {
	if e.kind == undoSaved || e.kind == undoCutOff {
		s.host.unmark(e.vm, belongsMarks[e.to])
	}
}

// forget takes all entries off that concern a machine, or those of some kinds:
// it is gone, or somebody else has changed what was to be undone.
func (s *undoStack) forget(vm [16]byte, kinds ...undoKind) {
	s.entries = slices.DeleteFunc(s.entries, func(e *undoEntry) bool {
		gone := e.vm == vm && (len(kinds) == 0 || slices.Contains(kinds, e.kind))
		if gone {
			s.unmark(e)
		}
		return gone
	})
}

// of lists a session's entries of some kinds in the order they were pushed.
func (s *undoStack) of(session [16]byte, kinds ...undoKind) []*undoEntry {
	var out []*undoEntry
	for _, e := range s.entries {
		if e.session == session && slices.Contains(kinds, e.kind) {
			out = append(out, e)
		}
	}
	return out
}

// unwind undoes everything, the latest first, but what is left to the
// administrator.
func (s *undoStack) unwind(ctx context.Context, m Management) error {
	return s.undo(ctx, m, slices.DeleteFunc(slices.Clone(s.entries), func(e *undoEntry) bool { return e.kind == undoCutOff }))
}

// unwindSession undoes what one session did.
func (s *undoStack) unwindSession(ctx context.Context, m Management, session [16]byte) error {
	return s.undo(ctx, m, s.of(session, undoLock, undoSaved, undoSnapshot, undoMount))
}

// undo works through entries, the latest first, even if ctx has ended. One whose
// inverse fails stays on the stack with the reason; the others are undone all the
// same. What failed is a [WriterError] for each. A process that was killed undoes
// nothing.
func (s *undoStack) undo(ctx context.Context, m Management, entries []*undoEntry) error {
	if sim.Dead(ctx) {
		return sim.ErrDead
	}
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, e := range slices.Backward(entries) {
		if err := s.tryUndo(ctx, m, e); err != nil {
			e.failed = err
			errs = append(errs, failure(vss.ErrWriterErrorNonRetryable, e.name, fmt.Errorf("%v: %w", e.kind, err)))
			continue
		}
		s.drop(e)
	}
	return errors.Join(errs...)
}

// tryUndo carries out one inverse, but does not wait for it longer than anything
// should take, and not at all for a machine that is known to keep others waiting.
func (s *undoStack) tryUndo(ctx context.Context, m Management, e *undoEntry) error {
	if e.late {
		s.goOn(e, m)
	}
	if e.waiting {
		return &Error{Op: "Undo", On: e.name, Err: fmt.Errorf("%w: the machine is at something else still", ErrTimeout)}
	}
	try := func() error {
		return limited(ctx, "Undo", e.name, s.host.profile.Policy.operationLimit(), func(ctx context.Context) error { return e.undo(ctx, m) })
	}
	err := try()
	if errors.Is(err, sim.ErrDead) && !sim.Dead(ctx) {
		err = try() // the machine has died of it, and is off now
	}
	if errors.Is(err, ErrTimeout) {
		s.goOn(e, m)
	}
	return err
}

// goOn has a process of the host wait for an inverse that takes too long, and
// takes the entry off when it is done in the end.
func (s *undoStack) goOn(e *undoEntry, m Management) {
	if e.waiting {
		return
	}
	e.waiting = true
	s.host.actor.Background("undoes at "+e.name, func(ctx context.Context) error {
		err := e.undo(ctx, m)
		if e.waiting = false; err == nil {
			s.drop(e)
		}
		return err
	})
}

// undo carries out the inverse. A machine that was deleted meanwhile needs none,
// and one that somebody started or turned off is left as it is.
func (e *undoEntry) undo(ctx context.Context, m Management) (err error) {
	switch e.kind {
	case undoLock:
		err = e.unlock(ctx, m)
	case undoSaved:
		if err = m.Restore(ctx, e.vm, e.to); errors.Is(err, ErrInvalidState) {
			return nil
		}
		if err == nil {
			sim.Emit(ctx, eventBack, "", sim.S("vm", e.name), sim.S("to", e.to.String()), sim.S("down", (sim.Now(ctx)-e.since).String()))
		}
	case undoSnapshot:
		err = e.inside.undo(ctx, m, e.vm)
	case undoMount: // the mount went with the process that held it
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// lockName is how a session's lock shows on a machine.
func lockName(session [16]byte) string { return fmt.Sprintf("backup %x", session[:4]) }

// unlock gives a machine back, unless another operation has it by now.
func (e *undoEntry) unlock(ctx context.Context, m Management) error {
	now, err := m.Machine(ctx, e.vm)
	if err != nil || now.LockedBy != lockName(e.session) {
		return err
	}
	return m.Unlock(ctx, e.vm)
}

// abortLimit is how long the host waits for a guest that it has told to give up.
// One that does not answer, because it is paused, cleans up when it goes on.
const abortLimit = 2 * time.Minute

// undo ends what is under way in the guest, and deletes what it has made.
func (t *childTask) undo(ctx context.Context, m Management, vm [16]byte) error {
	limited, cancel := sim.WithTimeout(ctx, abortLimit)
	defer cancel()
	if t.requestor.Abort(limited) == nil {
		_ = t.over.Wait(limited)
	}
	return m.DropSnapshots(ctx, vm, t.copies)
}
