package guest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// undoLimit is how long a failed backup waits for writers to undo what they did,
// before it takes its shadow copies away without them.
const undoLimit = time.Minute

// A windowsRequestor is the "Hyper-V Volume Shadow Copy Requestor" (R13): an
// ordinary requester of the machine's own service (R9).
type windowsRequestor struct{ runner sessionRunner }

func newWindowsRequestor(m *Machine) *windowsRequestor {
	return &windowsRequestor{sessionRunner{machine: m, name: string(BackupService)}}
}

func (w *windowsRequestor) Snapshot(ctx context.Context, o SnapshotOptions) (*Snapshot, error) {
	if m := w.runner.machine; m.now() < m.readyAt {
		return nil, w.runner.fail(ErrBusy)
	}
	b := &windowsBackup{machine: w.runner.machine, options: o, result: &Snapshot{}}
	return w.runner.run(ctx, o, b)
}

func (w *windowsRequestor) Abort(ctx context.Context) error { return w.runner.abort(ctx) }

// Release deletes the copies through the machine's service.
func (w *windowsRequestor) Release(ctx context.Context, s *Snapshot) error {
	return w.runner.release(ctx, s, func(ctx context.Context) error {
		return w.runner.machine.deleteSnapshots(ctx, s)
	})
}

// A windowsBackup is one backup session in the guest.
type windowsBackup struct {
	machine *Machine
	owner   *sim.Actor // the requestor's process
	options SnapshotOptions
	bc      *vss.BackupComponents
	result  *Snapshot
}

// run carries the session from Identify to BackupShutdown (R26).
func (b *windowsBackup) run(ctx context.Context) (*Snapshot, error) {
	b.owner = sim.Self(ctx)
	b.machine.actor.Emit("guest/backup", "R26")
	if err := b.sequence(ctx); err != nil {
		return nil, err
	}
	b.machine.actor.Emit("guest/backup.end", "R26", sim.N("copies", len(b.result.Copies)))
	return b.result, nil
}

// sequence is the backup as it goes when nothing goes wrong. The status of the
// writers is asked after every phase.
func (b *windowsBackup) sequence(ctx context.Context) (err error) {
	if b.bc, err = b.machine.service.CreateBackupComponents(ctx); err != nil {
		return b.event(eventInit, err)
	}
	for _, step := range []func(context.Context) error{
		b.configure,
		b.bc.GatherWriterMetadata,
		b.noteMissing,
		b.addVolumes,
		b.bc.PrepareForBackup,
		b.checkWriters,
		b.bc.DoSnapshotSet,
		b.checkWriters,
		b.bc.BackupComplete,
		b.checkWriters,
		b.checkCopies,
		b.finish,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// configure asks for copies that outlive the session and that writers may
// recover (R36): the context carries no VSS_VOLSNAP_ATTR_NO_AUTORECOVERY.
func (b *windowsBackup) configure(ctx context.Context) error {
	kind := vss.BackupFull
	if b.options.Copy {
		kind = vss.BackupCopy
	}
	for _, step := range []struct {
		point sim.Point
		event int
		call  func() error
	}{
		{PointInitialize, eventInit, func() error { return b.bc.InitializeForBackup(ctx, nil) }},
		{PointSetContext, eventSetContext, func() error { return b.bc.SetContext(ctx, vss.ContextAppRollback) }},
		{PointSetBackupState, eventSetBackupState, func() error { return b.bc.SetBackupState(ctx, vss.BackupState{Type: kind}) }},
	} {
		err := sim.At(ctx, step.point)
		if err == nil {
			err = step.call()
		}
		if err != nil {
			return b.event(step.event, err)
		}
	}
	return nil
}

// noteMissing makes writers visible that did not describe themselves. As in
// Windows the backup goes on without them, and their data is as after a crash.
func (b *windowsBackup) noteMissing(context.Context) error {
	n, err := b.bc.GetWriterMetadataCount()
	if err != nil {
		return err
	}
	known := make(map[guid.GUID]bool)
	for i := range n {
		w, err := b.bc.GetWriterMetadata(i)
		if err != nil {
			return err
		}
		known[w.Identity.InstanceID] = true
	}
	for _, w := range b.machine.service.Writers() {
		if !known[w.InstanceID()] {
			b.machine.actor.Emit("guest/writer-missing", "", sim.S("writer", w.Name()))
		}
	}
	return nil
}

// addVolumes puts every volume on a virtual hard disk into one set. Other disks
// the host does not see, and their volumes stay out (R39, R40).
func (b *windowsBackup) addVolumes(ctx context.Context) (err error) {
	m := b.machine
	if err := sim.At(ctx, PointDetect); err != nil {
		return b.event(eventDetection, err)
	}
	if err := m.config.Detection.detect(ctx, m.drives); err != nil {
		return b.event(eventDetection, err)
	}
	for i, d := range m.config.Disks {
		if d.Kind != VirtualHardDisk {
			m.actor.Emit("guest/skip", d.Kind.rule(), sim.N("disk", i), sim.S("kind", d.Kind.String()))
		}
	}
	drives := m.backupDrives()
	if len(drives) == 0 {
		return ErrNothingToDo
	}
	if b.result.Set, err = b.bc.StartSnapshotSet(ctx); err != nil {
		return err
	}
	for _, d := range drives {
		if err := sim.AtOn(ctx, PointDiskNumber, d.path); err != nil {
			return b.event(eventDiskNumber, err)
		}
		id, err := b.bc.AddToSnapshotSet(ctx, d.Name(), guid.GUID{})
		if err != nil {
			return err
		}
		b.result.Copies = append(b.result.Copies, d.copyOf(id))
	}
	return nil
}

func (k DiskKind) rule() string {
	if k == InGuestISCSI {
		return "R40"
	}
	return "R39"
}

// checkWriters fails if any writer has failed.
func (b *windowsBackup) checkWriters(ctx context.Context) error {
	if err := b.bc.GatherWriterStatus(ctx); err != nil {
		return err
	}
	n, err := b.bc.GetWriterStatusCount()
	if err != nil {
		return err
	}
	for i := range n {
		st, err := b.bc.GetWriterStatus(i)
		if err != nil {
			return err
		}
		if st.Code.Failed() {
			return b.event(eventWriter, &WriterError{Writer: st.Name, State: st.State, Failure: st.WriterFailure})
		}
	}
	return nil
}

// checkCopies fails if the volume of a shadow copy is not to be found, or if a copy
// is gone already, such as one whose diff area is full.
func (b *windowsBackup) checkCopies(ctx context.Context) error {
	var missing []error
	for _, c := range b.result.Copies {
		d, err := b.original(ctx, c)
		if err != nil {
			return b.event(eventNoOriginal, err)
		}
		if d.find(c.ID) < 0 {
			missing = append(missing, d.fail("Snapshot", shadowError("Kept", c.ID, ErrNoShadow)))
		}
	}
	switch len(missing) {
	case 0:
		return nil
	case len(b.result.Copies):
		return b.event(eventNoneArrived, errors.Join(missing...))
	}
	return b.event(eventSomeArrived, errors.Join(missing...))
}

// original finds the volume that a shadow copy is of.
func (b *windowsBackup) original(ctx context.Context, c Copy) (*Drive, error) {
	d, err := b.machine.Drive(c.Volume)
	if err != nil {
		return nil, err
	}
	if err := sim.AtOn(ctx, PointOriginalVolume, d.path); err != nil {
		return nil, shadowError("Original", c.ID, fmt.Errorf("%w: %w", ErrNoVolume, err))
	}
	return d, nil
}

// finish releases the requester's object, which sends BackupShutdown. A writer
// that does not return from it holds the host up as long as the session may take.
func (b *windowsBackup) finish(ctx context.Context) error { return b.aside(ctx, b.bc.Release) }

// aside runs fn in a process of its own and waits for it as long as ctx goes.
func (b *windowsBackup) aside(ctx context.Context, fn func(context.Context) error) error {
	return sim.Go(ctx, "release", fn).Wait(ctx)
}

// undo leaves nothing of the session: writers that are frozen are sent Abort, the
// requester's object is released, the shadow copies are gone. What the writers
// answer changes nothing any more.
func (b *windowsBackup) undo(base context.Context) error {
	if b.bc == nil {
		return nil
	}
	phase := b.bc.Phase()
	b.machine.actor.Emit("guest/backup-undone", "", sim.S("phase", phase.String()))
	ctx, cancel := sim.WithTimeout(base, undoLimit)
	defer cancel()
	err := b.aside(ctx, func(ctx context.Context) (err error) {
		if phase != vss.PhaseReleased {
			err = b.bc.AbortBackup(ctx)
		}
		return errors.Join(err, b.bc.Release(ctx), b.quiet(ctx))
	})
	if errors.Is(err, context.DeadlineExceeded) {
		b.machine.actor.Emit("guest/backup-stuck", "", sim.S("after", undoLimit.String()))
	}
	return b.machine.dropAll(b.result)
}

// quiet waits until the service has nothing more to do for a requestor that died:
// it releases the object by itself then, beside undo.
func (b *windowsBackup) quiet(ctx context.Context) error {
	for b.owner.Dead() && len(b.machine.service.Leftovers()) > 0 && !b.machine.service.Actor().Dead() {
		if err := sim.Sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// event writes a failure to the guest's event log.
func (b *windowsBackup) event(id int, err error) error { return b.machine.event(id, err) }

// A WriterError is the failure of a writer inside the guest. It is [ErrWriter].
type WriterError struct {
	Writer  string // its name
	State   vss.WriterState
	Failure vss.WriterFailure
}

// Error names the writer, the state it failed in, and its code, these as Windows
// names them.
func (e *WriterError) Error() string {
	return fmt.Sprintf("writer %q: %v: %v", e.Writer, e.State, e.Failure.Code)
}

// Unwrap returns the writer's code.
func (e *WriterError) Unwrap() error { return e.Failure.Code }

// Is matches [ErrWriter].
func (e *WriterError) Is(target error) bool { return target == ErrWriter }

// deleteSnapshots deletes shadow copies through the machine's service.
func (m *Machine) deleteSnapshots(ctx context.Context, s *Snapshot) error {
	bc, err := m.service.CreateBackupComponents(ctx)
	if err != nil {
		return m.fail("Release", err)
	}
	err = errors.Join(bc.InitializeForBackup(ctx, nil), bc.SetContext(ctx, vss.ContextAll))
	for _, c := range s.Copies {
		if err != nil {
			break
		}
		_, err = bc.DeleteSnapshots(ctx, c.ID, vss.ObjectSnapshot, true)
		if errors.Is(err, vss.ErrObjectNotFound) {
			err = nil
		}
	}
	if err = errors.Join(err, bc.Release(ctx)); err != nil {
		return m.fail("Release", err)
	}
	return nil
}
