package vss

import (
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// WriterComponents is a writer's part of the Backup Components Document, as an
// event handler sees it (IVssWriterComponents). It is no good when the handler
// has returned.
type WriterComponents struct {
	call *delivery
	rec  *WriterRecord
}

func (d *delivery) components() *WriterComponents {
	if d.view == nil {
		d.view = &WriterComponents{call: d, rec: d.session.recordOf()}
	}
	return d.view
}

// WriterID is the writer's class.
func (w *WriterComponents) WriterID() guid.GUID { return w.rec.WriterID }

// InstanceID is the writer instance; in a restore the one that was backed up.
func (w *WriterComponents) InstanceID() guid.GUID { return w.rec.InstanceID }

// All lists the components that the requester chose, in its order.
func (w *WriterComponents) All() []*WriterComponent {
	out := make([]*WriterComponent, len(w.rec.Components))
	for i, r := range w.rec.Components {
		out[i] = &WriterComponent{call: w.call, r: r}
	}
	return out
}

// Component returns the component with that name, nil if it was not chosen.
func (w *WriterComponents) Component(key ComponentKey) *WriterComponent {
	r := w.rec.Component(key)
	if r == nil {
		return nil
	}
	return &WriterComponent{call: w.call, r: r}
}

// A WriterComponent is one component of the document in a writer's hands
// (IVssComponent). Writers read it at any time while the handler runs, and change
// it in the events that each method names; elsewhere a change is [ErrBadState].
type WriterComponent struct {
	call *delivery
	r    *ComponentRecord
}

// Key names the component.
func (c *WriterComponent) Key() ComponentKey { return c.r.ComponentKey }

// Type is the component's type.
func (c *WriterComponent) Type() ComponentType { return c.r.Type }

// Record is all that the document says about the component now. It is a copy.
func (c *WriterComponent) Record() *ComponentRecord { return c.r.Clone() }

// BackupSucceeded tells whether the requester has all files of the set safe.
func (c *WriterComponent) BackupSucceeded() bool { return c.r.BackupSucceeded }

// SelectedForRestore tells whether the requester restores the component.
func (c *WriterComponent) SelectedForRestore() bool { return c.r.SelectedForRestore }

// AdditionalRestores tells whether more restores follow, so that the writer must
// neither recover nor go online yet.
func (c *WriterComponent) AdditionalRestores() bool { return c.r.AdditionalRestores }

// BackupMetadata is what the writer noted in the backup.
func (c *WriterComponent) BackupMetadata() []byte { return slices.Clone(c.r.BackupMetadata) }

// RestoreMetadata is what the writer noted in PreRestore.
func (c *WriterComponent) RestoreMetadata() []byte { return slices.Clone(c.r.RestoreMetadata) }

// NewTargets are the places to which the requester restores files elsewhere than
// where they were (GetNewTarget).
func (c *WriterComponent) NewTargets() []FileMapping { return slices.Clone(c.r.NewTargets) }

// FileRestoreStatus is how the requester put the files back. Outside of a restore
// it is [ErrBadState].
func (c *WriterComponent) FileRestoreStatus() (FileRestoreStatus, error) {
	if !c.call.session.bc.restore {
		return FilesUndefined, fail("GetFileRestoreStatus", c.r.FullPath(), ErrBadState, "only in a restore")
	}
	return c.r.FileRestoreStatus, nil
}

var (
	inBackupEvents  = []Event{EventPrepareBackup, EventPostSnapshot}
	inRestoreEvents = []Event{EventPreRestore}
	inEither        = []Event{EventPrepareBackup, EventPostSnapshot, EventPreRestore}
	inFailable      = []Event{EventPrepareBackup, EventPostSnapshot, EventPreRestore, EventPostRestore}
)

// allow tells whether a change is in order now.
func (c *WriterComponent) allow(op string, events []Event) error {
	switch {
	case c.call.over || c.call.settled:
		return fail(op, c.r.FullPath(), ErrBadState, "the handler of %v has returned", c.call.event)
	case !slices.Contains(events, c.call.event):
		return fail(op, c.r.FullPath(), ErrBadState, "not in %v", c.call.event)
	}
	return nil
}

func (c *WriterComponent) change(op string, events []Event, fn func(r *ComponentRecord)) error {
	if err := c.allow(op, events); err != nil {
		return err
	}
	fn(c.r)
	return nil
}

// SetBackupMetadata notes something for the restore, once: a second call is
// [ErrObjectAlreadyExists]. In PrepareBackup and PostSnapshot.
func (c *WriterComponent) SetBackupMetadata(data []byte) error {
	const op = "SetBackupMetadata"
	if err := c.allow(op, inBackupEvents); err != nil {
		return err
	}
	if c.r.BackupMetadata != nil {
		return fail(op, c.r.FullPath(), ErrObjectAlreadyExists, "the metadata is set")
	}
	c.r.BackupMetadata = append([]byte{}, data...)
	return nil
}

// SetRestoreMetadata notes something for PostRestore. In PreRestore, and, as one
// page has it, in the events of a backup.
func (c *WriterComponent) SetRestoreMetadata(data []byte) error {
	return c.change("SetRestoreMetadata", inEither, func(r *ComponentRecord) { r.RestoreMetadata = append([]byte{}, data...) })
}

// SetBackupStamp names the moment of the backup, for later ones that build on it.
// In PrepareBackup and PostSnapshot.
func (c *WriterComponent) SetBackupStamp(stamp string) error {
	return c.change("SetBackupStamp", inBackupEvents, func(r *ComponentRecord) { r.BackupStamp = stamp })
}

// AddDifferencedFiles makes the requester back up, whole, the files that changed
// since a moment; the zero Time leaves that to the requester's own records. In
// PrepareBackup and PostSnapshot.
func (c *WriterComponent) AddDifferencedFiles(f FileSpec, since time.Time) error {
	const op = "AddDifferencedFilesByLastModifyTime"
	if problem := f.problem(); problem != "" {
		return fail(op, c.r.FullPath(), ErrInvalidArg, "%s", problem)
	}
	return c.change(op, inBackupEvents, func(r *ComponentRecord) {
		r.DifferencedFiles = append(r.DifferencedFiles, DifferencedFiles{FileSpec: f, LastModified: FiletimeOf(since)})
	})
}

// AddPartialFile makes the requester back up parts of a file: one that is named
// without wildcards, at or below the path of a file set of the component. Others,
// and malformed ranges, are [ErrInvalidArg]. In PrepareBackup and PostSnapshot.
func (c *WriterComponent) AddPartialFile(p PartialFile) error {
	const op = "AddPartialFile"
	if problem := p.problem(); problem != "" {
		return fail(op, c.r.FullPath(), ErrInvalidArg, "%s", problem)
	}
	if !c.holds(p.Path) {
		return fail(op, c.r.FullPath(), ErrInvalidArg, "%s is not below a path of the component", p.Path)
	}
	return c.change(op, inBackupEvents, func(r *ComponentRecord) { r.PartialFiles = append(r.PartialFiles, p) })
}

// SetRestoreTarget says where the component set goes. In PreRestore.
func (c *WriterComponent) SetRestoreTarget(t RestoreTarget) error {
	const op = "SetRestoreTarget"
	if t <= TargetUndefined || t > TargetOriginalLocation {
		return fail(op, c.r.FullPath(), ErrInvalidArg, "%v", t)
	}
	return c.change(op, inRestoreEvents, func(r *ComponentRecord) { r.RestoreTarget = t })
}

// AddDirectedTarget sends parts of a file to parts of another; the requester
// heeds it if the target is [TargetDirected]. Both files are named without
// wildcards, and may be the same; their ranges match in number and length, else
// it is [ErrInvalidArg]. In PreRestore.
func (c *WriterComponent) AddDirectedTarget(t DirectedTarget) error {
	if problem := t.problem(); problem != "" {
		return fail("AddDirectedTarget", c.r.FullPath(), ErrInvalidArg, "%s", problem)
	}
	return c.change("AddDirectedTarget", inRestoreEvents, func(r *ComponentRecord) { r.DirectedTargets = append(r.DirectedTargets, t) })
}

// SetPrepareForBackupFailureMsg explains a failure, in PrepareBackup only.
func (c *WriterComponent) SetPrepareForBackupFailureMsg(msg string) error {
	return c.change("SetPrepareForBackupFailureMsg", []Event{EventPrepareBackup}, func(r *ComponentRecord) { r.PrepareForBackupFailure = msg })
}

// SetPostSnapshotFailureMsg explains a failure, in PostSnapshot only.
func (c *WriterComponent) SetPostSnapshotFailureMsg(msg string) error {
	return c.change("SetPostSnapshotFailureMsg", []Event{EventPostSnapshot}, func(r *ComponentRecord) { r.PostSnapshotFailure = msg })
}

// SetPreRestoreFailureMsg explains a failure, in PreRestore only.
func (c *WriterComponent) SetPreRestoreFailureMsg(msg string) error {
	return c.change("SetPreRestoreFailureMsg", []Event{EventPreRestore}, func(r *ComponentRecord) { r.PreRestoreFailure = msg })
}

// SetPostRestoreFailureMsg explains a failure, in PostRestore, where it and
// SetFailure are the only changes left.
func (c *WriterComponent) SetPostRestoreFailureMsg(msg string) error {
	return c.change("SetPostRestoreFailureMsg", []Event{EventPostRestore}, func(r *ComponentRecord) { r.PostRestoreFailure = msg })
}

// SetFailure says that this component failed while others did not. The writer
// also sets [ErrWriterErrorPartialFailure] on the event. Codes that a writer may
// not report, other than [SOK], are [ErrInvalidArg]. In all events that can be
// changed, and in PostRestore.
func (c *WriterComponent) SetFailure(f ComponentFailure) error {
	const op = "SetFailure"
	if !f.Code.WriterFailure() && f.Code != SOK {
		return fail(op, c.r.FullPath(), ErrInvalidArg, "%v is not a writer's failure", f.Code)
	}
	return c.change(op, inFailable, func(r *ComponentRecord) { r.Failure = &f })
}
