package hyperv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// WriterName is the name of the writer (R67).
const WriterName = "Microsoft Hyper-V VSS Writer"

// WriterID is the class of the writer (R68).
var WriterID = guid.MustParse("66841cd4-6ded-4f4b-8f17-fd23f8ddc3de")

// initialStoreComponent is the component that holds the authorization store.
const initialStoreComponent = "InitialStore"

// A Writer is the Hyper-V writer of a host. It works in PrepareSnapshot and
// PostSnapshot and does nothing in Freeze and Thaw (R21, R29, R30).
type Writer struct {
	host     *Host
	manage   Management
	sessions map[[16]byte]*writerSession
	told     map[[16]byte]described // by machine: what the last Identify said; never changed
}

var (
	_ vss.Writer           = (*Writer)(nil)
	_ vss.BackupPreparer   = (*Writer)(nil)
	_ vss.PostSnapshotter  = (*Writer)(nil)
	_ vss.BackupCompleter  = (*Writer)(nil)
	_ vss.BackupShutdowner = (*Writer)(nil)
	_ vss.PreRestorer      = (*Writer)(nil)
	_ vss.PostRestorer     = (*Writer)(nil)
)

// NewWriter makes a writer for the machines of a management, with the volumes
// and the undo stack of a host.
func NewWriter(h *Host, m Management) *Writer {
	return &Writer{host: h, manage: m, sessions: make(map[[16]byte]*writerSession)}
}

func (w *Writer) config(a *sim.Actor) vss.WriterConfig {
	return vss.WriterConfig{
		Actor:   a,
		ClassID: WriterID,
		Name:    WriterName,
		Usage:   cmp.Or(w.host.profile.Policy.Usage, vss.UsageUserData),
		Source:  cmp.Or(w.host.profile.Policy.Source, vss.SourceOther),
	}
}

// A described is what the metadata said of a machine.
type described struct {
	method Method   // by the caption
	path   string   // its configuration
	files  []string // its disks, what they stand on, and the configurations of its checkpoints
}

// A writerSession is what the writer remembers of one backup.
type writerSession struct {
	id      [16]byte
	told    map[[16]byte]described // what was said before it began; see [Writer.PrepareBackup]
	members []*member
	turn    sim.Mutex // Abort may come while an earlier handler is still at work
}

// A member is a machine that a backup comprises.
type member struct {
	Machine
	decision Decision
	prior    State
	inside   *childTask // of one backed up by child VM snapshot
}

// Identify describes every machine as a component (R24). A machine whose
// configuration cannot be read or described is left out; see [Policy.BrokenLosesWriter]
// and [Policy.MetadataLimit] for what loses the whole writer.
func (w *Writer) Identify(ctx context.Context, ev *vss.IdentifyEvent) error {
	md := ev.Metadata
	if err := md.SetBackupSchema(vss.SchemaNewTarget); err != nil {
		return err
	}
	p := w.host.profile.Policy
	err := md.SetRestoreMethod(vss.RestorePolicy{
		Method:        cmp.Or(p.RestoreMethod, vss.MethodRestoreIfCanReplace),
		WriterRestore: cmp.Or(p.WriterRestore, vss.WriterRestoreAlways),
	})
	if err != nil {
		return err
	}
	machines, err := w.manage.Machines(ctx)
	if err != nil {
		return err
	}
	told := make(map[[16]byte]described, len(machines))
	for _, m := range machines {
		err := m.Broken
		if err == nil {
			d := described{w.host.profile.Decide(m.Facts).Method, m.Path, m.files()}
			told[m.ID] = d
			err = md.AddComponent(w.component(m, d))
		}
		if err != nil {
			sim.Emit(ctx, "hyperv/left-out", "", sim.S("vm", m.Name()), sim.S("because", err.Error()))
			if p.BrokenLosesWriter {
				return failure(vss.ErrWriterErrorNonRetryable, m.Name(), err)
			}
		}
	}
	if w.host.profile.Policy.InitialStore {
		if err := md.AddComponent(w.storeComponent()); err != nil {
			return err
		}
	}
	if err := w.checkSize(ev); err != nil {
		return err
	}
	w.told = told
	return nil
}

// PrepareBackup takes the chosen machines for the backup. If one is held by
// another operation or is gone, all are given back.
//
// A machine that has got another disk since it was described is refused, to be tried
// again: the requester does not know of the file, and would leave it out.
//
// From here on the session knows what captions told. Identify does not say for which
// session it describes the machines, so this is what they said in the last one before,
// whoever asked for it. What other requesters are told from here on is theirs.
func (w *Writer) PrepareBackup(ctx context.Context, ev *vss.PrepareBackupEvent) error {
	s := &writerSession{id: ev.SessionID(), told: w.told}
	s.turn.Name = "the handlers of a backup session"
	w.sessions[s.id] = s
	return w.inTurn(ctx, s, func() error {
		err := w.choose(ctx, ev, s)
		if err != nil {
			delete(w.sessions, s.id)
			err = errors.Join(err, w.host.undo.unwindSession(ctx, w.manage, s.id))
		}
		return err
	})
}

// choose begins a session with the machines that the requester chose, or with
// all of them where it works without components.
func (w *Writer) choose(ctx context.Context, ev *vss.PrepareBackupEvent, s *writerSession) error {
	machines, err := w.manage.Machines(ctx)
	if err != nil {
		return failure(writerCode(err, vss.ErrWriterErrorNonRetryable), WriterName, err)
	}
	order := make(map[[16]byte]int, len(machines))
	for i, m := range machines {
		order[m.ID] = i
		if ev.ComponentsSelected() || m.Broken != nil {
			continue
		}
		if err := w.take(ctx, s, m); err != nil {
			return err
		}
	}
	for _, c := range ev.Components().All() {
		if !ev.ComponentsSelected() || c.Key().Name == initialStoreComponent {
			continue
		}
		if err := w.takeComponent(ctx, s, c, machines, order); err != nil {
			_ = c.SetPrepareForBackupFailureMsg(err.Error())
			return err
		}
	}
	w.sort(s, order)
	return nil
}

// sort brings the machines of a session into the order of the policy, whatever the
// order in which the requester chose them.
func (w *Writer) sort(s *writerSession, order map[[16]byte]int) {
	slices.SortStableFunc(s.members, func(a, b *member) int {
		if w.host.profile.Policy.InCreationOrder {
			return cmp.Compare(order[a.ID], order[b.ID])
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
}

// takeComponent takes the machine of a component, which is one of those listed, at
// the place that order says.
func (w *Writer) takeComponent(ctx context.Context, s *writerSession, c *vss.WriterComponent, machines []Machine, order map[[16]byte]int) error {
	id, err := guid.Parse(c.Key().Name)
	if err != nil {
		return failure(vss.ErrWriterErrorNonRetryable, c.Key().Name, err)
	}
	i, ok := order[id]
	if !ok {
		return failure(vss.ErrWriterErrorNonRetryable, c.Key().Name, notRegistered("Machine", id))
	}
	if err := machines[i].Broken; err != nil {
		return failure(vss.ErrWriterErrorNonRetryable, c.Key().Name, err)
	}
	if err := s.checkFiles(machines[i]); err != nil {
		return err
	}
	return w.take(ctx, s, machines[i])
}

// checkFiles fails if a machine has files now that it was described without, such as
// the disk of a checkpoint that somebody has just made.
func (s *writerSession) checkFiles(m Machine) error {
	told, ok := s.told[m.ID]
	if !ok {
		return nil
	}
	for _, now := range append(m.files(), m.Path) {
		if !volume.Equal(now, told.path) && !slices.ContainsFunc(told.files, func(path string) bool { return volume.Equal(path, now) }) {
			return failure(vss.ErrWriterErrorRetryable, m.Name(), fmt.Errorf("%s is new since the metadata were gathered", now))
		}
	}
	return nil
}

// take locks a machine for the session.
func (w *Writer) take(ctx context.Context, s *writerSession, m Machine) error {
	if err := w.manage.Lock(ctx, m.ID, lockName(s.id)); err != nil {
		return failure(writerCode(err, vss.ErrWriterErrorRetryable), m.Name(), err)
	}
	w.host.undo.push(undoEntry{kind: undoLock, session: s.id, vm: m.ID, name: m.Name()})
	s.members = append(s.members, &member{Machine: m})
	return nil
}

// inTurn runs fn when no other handler of the session is at work any more.
func (w *Writer) inTurn(ctx context.Context, s *writerSession, fn func() error) error {
	if err := s.turn.Lock(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	defer s.turn.Unlock()
	return fn()
}

// Freeze does nothing (R29).
func (w *Writer) Freeze(ctx context.Context, _ *vss.FreezeEvent) error {
	sim.Emit(ctx, "hyperv/freeze", "R29", sim.S("work", "none"))
	return nil
}

// Thaw does nothing (R30).
func (w *Writer) Thaw(ctx context.Context, _ *vss.ThawEvent) error {
	sim.Emit(ctx, "hyperv/thaw", "R30", sim.S("work", "none"))
	return nil
}

// Abort undoes everything the session did: machines come back, snapshots in
// guests are deleted, locks are given up.
func (w *Writer) Abort(ctx context.Context, ev *vss.AbortEvent) error {
	return w.end(ctx, ev.SessionID())
}

// BackupComplete notes which machines the requester has safe, and gives them back.
func (w *Writer) BackupComplete(ctx context.Context, ev *vss.BackupCompleteEvent) error {
	for _, c := range ev.Components().All() {
		id, err := guid.Parse(c.Key().Name)
		if vm := w.host.byID[id]; err == nil && vm != nil && c.BackupSucceeded() {
			vm.backedUp, vm.isBackedUp = sim.Now(ctx), true
		}
	}
	return w.host.undo.undo(ctx, w.manage, w.host.undo.of(ev.SessionID(), undoLock))
}

// BackupShutdown undoes what a session left that ended early.
func (w *Writer) BackupShutdown(ctx context.Context, ev *vss.BackupShutdownEvent) error {
	return w.end(ctx, ev.SessionID())
}

// end ends a session, whatever it was at.
func (w *Writer) end(ctx context.Context, id [16]byte) error {
	unwind := func() error {
		delete(w.sessions, id)
		return w.host.undo.unwindSession(ctx, w.manage, id)
	}
	if s := w.sessions[id]; s != nil {
		return w.inTurn(ctx, s, unwind)
	}
	return unwind()
}
