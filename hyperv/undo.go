package hyperv

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shadowsim/shadowsim/guest"
)

// An undoKind is something that the writer did to a machine.
type undoKind uint8

const (
	undoLock     undoKind = iota + 1 // took it for the backup
	undoSaved                        // put it into the saved state
	undoSnapshot                     // had its guest take snapshots
	undoMount                        // mounted one of its VHD files from a shadow copy
)

func (k undoKind) String() string {
	return [...]string{"", "backup lock", "saved by the writer", "snapshot in the guest", "mounted VHD"}[k]
}

// An undoEntry is one such thing, and what is needed to undo it.
type undoEntry struct {
	kind    undoKind
	session [16]byte
	vm      [16]byte
	name    string
	to      State        // of a saved machine: where it belongs
	copies  []guest.Copy // of a snapshot
	path    string       // of a mounted VHD
	failed  error        // why the inverse did not work
}

// An undoStack is what the writer has to undo. It stands on the host, so that it
// outlives the management service.
type undoStack struct{ entries []*undoEntry }

func (s *undoStack) push(e undoEntry) { s.entries = append(s.entries, &e) }

// drop takes an entry off that needs no undoing any more.
func (s *undoStack) drop(e *undoEntry) {
	s.entries = slices.DeleteFunc(s.entries, func(x *undoEntry) bool { return x == e })
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

// unwind undoes everything, the latest first.
func (s *undoStack) unwind(ctx context.Context, m Management) error {
	return s.undo(ctx, m, slices.Clone(s.entries))
}

// unwindSession undoes what one session did.
func (s *undoStack) unwindSession(ctx context.Context, m Management, session [16]byte) error {
	return s.undo(ctx, m, s.of(session, undoLock, undoSaved, undoSnapshot, undoMount))
}

// undo works through entries, the latest first. One whose inverse fails stays on
// the stack with the reason; the others are undone all the same.
func (s *undoStack) undo(ctx context.Context, m Management, entries []*undoEntry) error {
	var errs []error
	for _, e := range slices.Backward(entries) {
		if err := e.undo(ctx, m); err != nil {
			e.failed = err
			errs = append(errs, fmt.Errorf("%s: %v: %w", e.name, e.kind, err))
			continue
		}
		s.drop(e)
	}
	return errors.Join(errs...)
}

// undo carries out the inverse. A machine that was deleted meanwhile needs none,
// and one that somebody started or turned off is left as it is.
func (e *undoEntry) undo(ctx context.Context, m Management) error {
	now, err := m.Machine(ctx, e.vm)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	switch e.kind {
	case undoLock:
		return m.Unlock(ctx, e.vm)
	case undoSaved:
		if now.State != StateSaved {
			return nil
		}
		return m.Restore(ctx, e.vm, e.to)
	case undoSnapshot:
		return m.DropSnapshots(ctx, e.vm, e.copies)
	default: // undoMount: the mount went with the process that held it
		return nil
	}
}
