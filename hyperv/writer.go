package hyperv

import (
	"context"
	"fmt"
	"slices"

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
		Usage:   vss.UsageUserData,
		Source:  vss.SourceOther,
	}
}

// A writerSession is what the writer remembers of one backup.
type writerSession struct {
	id      [16]byte
	members []*member
}

// A member is a machine that a backup comprises.
type member struct {
	Machine
	decision Decision
	prior    State
}

// Identify describes every machine as a component (R24). A machine whose
// configuration cannot be described is left out.
func (w *Writer) Identify(ctx context.Context, ev *vss.IdentifyEvent) error {
	md := ev.Metadata
	if err := md.SetBackupSchema(vss.SchemaNewTarget); err != nil {
		return err
	}
	err := md.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreAlways})
	if err != nil {
		return err
	}
	machines, err := w.manage.Machines(ctx)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if err := md.AddComponent(w.component(m)); err != nil {
			return err
		}
	}
	return md.AddComponent(w.storeComponent())
}

// prepare begins a session with the machines that the requester chose, or with
// all of them where it works without components.
func (w *Writer) prepare(ctx context.Context, ev *vss.PrepareBackupEvent) (*writerSession, error) {
	s := &writerSession{id: ev.SessionID()}
	if !ev.ComponentsSelected() {
		machines, err := w.manage.Machines(ctx)
		for _, m := range machines {
			s.members = append(s.members, &member{Machine: m})
		}
		return s, err
	}
	for _, c := range ev.Components().All() {
		if c.Key().Name == initialStoreComponent {
			continue
		}
		id, err := guid.Parse(c.Key().Name)
		if err != nil {
			return nil, failure(vss.ErrWriterErrorNonRetryable, c.Key().Name, err)
		}
		m, err := w.manage.Machine(ctx, id)
		if err != nil {
			return nil, failure(vss.ErrWriterErrorNonRetryable, c.Key().Name, err)
		}
		s.members = append(s.members, &member{Machine: m})
	}
	return s, nil
}

// PrepareBackup takes the chosen machines for the backup. If one is held by
// another operation or is gone, all are given back.
func (w *Writer) PrepareBackup(ctx context.Context, ev *vss.PrepareBackupEvent) error {
	s, err := w.prepare(ctx, ev)
	if err != nil {
		return err
	}
	for _, m := range s.members {
		if err := w.manage.Lock(ctx, m.ID, "backup"); err != nil {
			_ = w.host.undo.unwindSession(ctx, w.manage, s.id)
			return failure(vss.ErrWriterErrorRetryable, m.Name(), err)
		}
		w.host.undo.push(undoEntry{kind: undoLock, session: s.id, vm: m.ID, name: m.Name()})
	}
	w.sessions[s.id] = s
	return nil
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
	delete(w.sessions, ev.SessionID())
	return w.host.undo.unwindSession(ctx, w.manage, ev.SessionID())
}

// BackupComplete gives the machines back.
func (w *Writer) BackupComplete(ctx context.Context, ev *vss.BackupCompleteEvent) error {
	return w.host.undo.undo(ctx, w.manage, w.host.undo.of(ev.SessionID(), undoLock))
}

// BackupShutdown undoes what a session left that ended early.
func (w *Writer) BackupShutdown(ctx context.Context, ev *vss.BackupShutdownEvent) error {
	delete(w.sessions, ev.SessionID())
	return w.host.undo.unwindSession(ctx, w.manage, ev.SessionID())
}

// failure is an error of a handler: which machine, why, and with which of the
// codes that a writer may set.
func failure(code vss.HRESULT, on string, cause error) error {
	return &WriterError{Code: code, VM: on, Err: cause}
}

// A WriterError is why the writer failed an event, and over which machine.
type WriterError struct {
	Code vss.HRESULT // what the requester sees
	VM   string      // name, or a component's name
	Err  error
}

func (e *WriterError) Error() string { return fmt.Sprintf("%s: %v: %v", e.VM, e.Err, e.Code) }

// Unwrap gives the code and the cause.
func (e *WriterError) Unwrap() []error { return []error{e.Code, e.Err} }

// writerCode is the code for a failure below: the one that the cause carries if a
// writer may report it, else what is given.
func writerCode(err error, otherwise vss.HRESULT) vss.HRESULT {
	if hr := vss.HRESULTOf(err); hr.WriterFailure() {
		return hr
	}
	return otherwise
}

// volumesMissing lists the letters of volumes that hold files of a machine but
// are not in the set.
func volumesMissing(ev *vss.PrepareSnapshotEvent, m Machine) []string {
	var out []string
	for _, path := range append([]string{m.Path}, m.Configuration.VHDPaths()...) {
		if !ev.IsPathAffected(path) && !slices.Contains(out, path[:2]) {
			out = append(out, path[:2])
		}
	}
	return out
}
