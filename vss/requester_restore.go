package vss

import (
	"context"
	"io"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// InitializeForRestore makes the object one of a restore, of the backup whose
// Backup Components Document xml is. One that cannot be read is
// [ErrInvalidXMLDocument].
func (b *BackupComponents) InitializeForRestore(ctx context.Context, xml io.Reader) error {
	const op = "InitializeForRestore"
	return b.call(ctx, op, func(context.Context) error {
		if xml == nil {
			return fail(op, "", ErrInvalidArg, "no document")
		}
		if err := b.load(xml); err != nil {
			return err
		}
		b.restore = true
		return nil
	})
}

// SetRestoreState says what kind of restore it is; without it, one by copy.
func (b *BackupComponents) SetRestoreState(ctx context.Context, t RestoreType) error {
	return b.call(ctx, "SetRestoreState", func(context.Context) error {
		if t < RestoreUndefined || t > RestoreOther {
			return fail("SetRestoreState", "", ErrInvalidArg, "%v", t)
		}
		b.doc.RestoreType = t
		return nil
	}, sim.S("type", t.String()))
}

// SetSelectedForRestore chooses a component of the document for the restore, or
// takes the choice back. A component that is not there itself, and one whose
// writer is not running, is [ErrObjectNotFound]: files of an absent writer are
// restored without its help.
func (b *BackupComponents) SetSelectedForRestore(ctx context.Context, c ComponentChoice, selected bool) error {
	return b.selectForRestore(ctx, "SetSelectedForRestore", c, selected, guid.GUID{})
}

// SetSelectedForRestoreEx chooses a component for a restore to a certain running
// instance of the writer, which must have [SchemaRestoreWithMove], else it is
// [ErrInvalidArg]. The null GUID makes it SetSelectedForRestore.
func (b *BackupComponents) SetSelectedForRestoreEx(ctx context.Context, c ComponentChoice, selected bool, instance guid.GUID) error {
	return b.selectForRestore(ctx, "SetSelectedForRestoreEx", c, selected, instance)
}

func (b *BackupComponents) selectForRestore(ctx context.Context, op string, c ComponentChoice, selected bool, instance guid.GUID) error {
	return b.edit(ctx, op, c, func(r *ComponentRecord) error {
		if instance != (guid.GUID{}) {
			if err := b.checkInstance(op, c, instance); err != nil {
				return err
			}
		} else if x := b.writerOf(ComponentChoice{WriterID: c.WriterID}); x == nil || x.sub.express != nil {
			return fail(op, c.FullPath(), ErrObjectNotFound, "the writer is not running")
		}
		r.SelectedForRestore, r.SelectedInstance = selected, instance
		if !selected {
			r.SelectedInstance = guid.GUID{}
		}
		return nil
	})
}

func (b *BackupComponents) checkInstance(op string, c ComponentChoice, instance guid.GUID) error {
	x := b.instanceOf(instance)
	switch {
	case x == nil || x.sub.config.ClassID != c.WriterID:
		return fail(op, c.FullPath(), ErrObjectNotFound, "no such instance of the writer is running")
	case x.metadata.Schema&SchemaRestoreWithMove == 0:
		return fail(op, c.FullPath(), ErrInvalidArg, "the writer cannot be moved")
	}
	return nil
}

// AddRestoreSubcomponent narrows the restore of a selected component set to a
// component below it that can be chosen for a restore. An unknown component, or
// one that cannot be chosen, is [ErrObjectNotFound]; one that does not lie below
// is [ErrInvalidArg].
func (b *BackupComponents) AddRestoreSubcomponent(ctx context.Context, c ComponentChoice, sub ComponentKey) error {
	const op = "AddRestoreSubcomponent"
	return b.edit(ctx, op, c, func(r *ComponentRecord) error {
		if !r.SelectedForRestore {
			return fail(op, c.FullPath(), ErrBadState, "the component is not selected")
		}
		if !sub.IsDescendantOf(r.ComponentKey) {
			return fail(op, sub.FullPath(), ErrInvalidArg, "not below %s", r.FullPath())
		}
		x := b.writerOf(ComponentChoice{WriterID: c.WriterID})
		if x == nil {
			return fail(op, sub.FullPath(), ErrObjectNotFound, "the writer is not running")
		}
		if info := x.metadata.Component(sub); info == nil || !info.SelectableForRestore {
			return fail(op, sub.FullPath(), ErrObjectNotFound, "not selectable for restore")
		}
		r.Subcomponents = append(r.Subcomponents, RestoreSubcomponent{ComponentKey: sub})
		return nil
	})
}

// SetAdditionalRestores tells the writer that more images follow, so that it must
// not recover yet. It holds for every restore of a chain but the last.
func (b *BackupComponents) SetAdditionalRestores(ctx context.Context, c ComponentChoice, more bool) error {
	return b.edit(ctx, "SetAdditionalRestores", c, func(r *ComponentRecord) error { r.AdditionalRestores = more; return nil })
}

// SetRestoreOptions gives a writer its options for a component, once in a restore:
// a second call for the component is [ErrBadState]. That it may be made once is in
// "Setting VSS Restore Options", the code is inferred.
func (b *BackupComponents) SetRestoreOptions(ctx context.Context, c ComponentChoice, options string) error {
	const op = "SetRestoreOptions"
	return b.edit(ctx, op, c, func(r *ComponentRecord) error {
		if b.optioned[r] {
			return fail(op, c.FullPath(), ErrBadState, "the component has its options")
		}
		if b.optioned == nil {
			b.optioned = make(map[*ComponentRecord]bool)
		}
		b.optioned[r] = true
		r.RestoreOptions = options
		return nil
	})
}

// SetAuthoritativeRestore asks for a restore that other replicas yield to. The
// writer must have [SchemaAuthoritativeRestore], else it is [ErrInvalidArg], as
// with the schema bits of the calls below; no code is documented.
func (b *BackupComponents) SetAuthoritativeRestore(ctx context.Context, c ComponentChoice, authoritative bool) error {
	const op = "SetAuthoritativeRestore"
	return b.edit(ctx, op, c, func(r *ComponentRecord) error {
		r.AuthoritativeRestore = authoritative
		return nil
	}, SchemaAuthoritativeRestore)
}

// SetRollForward says how far logs are applied. The writer must have
// [SchemaRollForwardRestore]; a partial one needs a point.
func (b *BackupComponents) SetRollForward(ctx context.Context, c ComponentChoice, t RollForwardType, point string) error {
	const op = "SetRollForward"
	return b.edit(ctx, op, c, func(r *ComponentRecord) error {
		if t <= RollForwardUndefined || t > RollForwardPartial || t == RollForwardPartial && point == "" {
			return fail(op, c.FullPath(), ErrInvalidArg, "%v to %q", t, point)
		}
		r.RollForward, r.RollForwardPoint = t, point
		return nil
	}, SchemaRollForwardRestore)
}

// SetRestoreName restores a component under another name. The writer must have
// [SchemaRestoreRename].
func (b *BackupComponents) SetRestoreName(ctx context.Context, c ComponentChoice, name string) error {
	const op = "SetRestoreName"
	return b.edit(ctx, op, c, func(r *ComponentRecord) error {
		if name == "" {
			return fail(op, c.FullPath(), ErrInvalidArg, "no name")
		}
		r.RestoreName = name
		return nil
	}, SchemaRestoreRename)
}

// AddNewTarget puts the files of a file set to another place. The writer must
// have [SchemaNewTarget]; a file set that no component of the set has, word for
// word, is [ErrObjectNotFound]. What the running writer does not describe any
// more, such as a database that was dropped, is in the document alone, which names
// no file sets: then every one is taken.
func (b *BackupComponents) AddNewTarget(ctx context.Context, c ComponentChoice, m FileMapping) error {
	const op = "AddNewTarget"
	return b.edit(ctx, op, c, func(r *ComponentRecord) error {
		if problem := m.problem(); problem != "" {
			return fail(op, c.FullPath(), ErrInvalidArg, "%s", problem)
		}
		if !b.declares(c, m.FileSpec) {
			return fail(op, c.FullPath(), ErrObjectNotFound, "%v is no file set of the component", m.FileSpec)
		}
		r.NewTargets = append(r.NewTargets, m)
		return nil
	}, SchemaNewTarget)
}

// declares tells whether a component or one below it has the file set, as far as
// the running writer knows the component.
func (b *BackupComponents) declares(c ComponentChoice, f FileSpec) bool {
	x := b.writerOf(ComponentChoice{WriterID: c.WriterID})
	if x == nil {
		return false
	}
	if x.metadata.Component(c.ComponentKey) == nil {
		return true
	}
	for i := range x.metadata.Components {
		info := &x.metadata.Components[i]
		if !info.Same(c.ComponentKey) && !info.IsDescendantOf(c.ComponentKey) {
			continue
		}
		for set := range info.FileSets() {
			if set.Same(f) {
				return true
			}
		}
	}
	return false
}

// AddAlternativeLocationMapping records that the files of a file set went to
// their alternate location. It must be one that the writer's metadata maps, else
// it is [ErrObjectNotFound].
func (b *BackupComponents) AddAlternativeLocationMapping(ctx context.Context, c ComponentChoice, m FileMapping) error {
	const op = "AddAlternativeLocationMapping"
	return b.edit(ctx, op, c, func(r *ComponentRecord) error {
		x := b.writerOf(ComponentChoice{WriterID: c.WriterID})
		if x != nil {
			if _, ok := x.metadata.AlternateLocation(m.FileSpec); !ok {
				return fail(op, c.FullPath(), ErrObjectNotFound, "%v has no mapping", m.FileSpec)
			}
		}
		r.AlternateLocations = append(r.AlternateLocations, m)
		return nil
	})
}

// SetRangesFilePath says where the file that holds the ranges of a partial file
// was restored to.
func (b *BackupComponents) SetRangesFilePath(ctx context.Context, c ComponentChoice, partial int, path string) error {
	const op = "SetRangesFilePath"
	return b.edit(ctx, op, c, func(r *ComponentRecord) error {
		if partial < 0 || partial >= len(r.PartialFiles) {
			return fail(op, c.FullPath(), ErrObjectNotFound, "partial file %d of %d", partial, len(r.PartialFiles))
		}
		r.PartialFiles[partial].Ranges = path
		return nil
	})
}

// SetFileRestoreStatus says how the files of a selected component set were put
// back, one value for all of them.
func (b *BackupComponents) SetFileRestoreStatus(ctx context.Context, c ComponentChoice, st FileRestoreStatus) error {
	const op = "SetFileRestoreStatus"
	return b.edit(ctx, op, c, func(r *ComponentRecord) error {
		if st <= FilesUndefined || st > FilesFailed {
			return fail(op, c.FullPath(), ErrInvalidArg, "%v", st)
		}
		r.FileRestoreStatus = st
		return nil
	})
}

// PreRestore tells the writers of the selected components that their files are
// about to be put back. It succeeds even if a writer refuses; GatherWriterStatus
// tells. With nothing selected, or every choice taken back, it is out of order.
func (b *BackupComponents) PreRestore(ctx context.Context) error {
	return b.run(ctx, "PreRestore", b.preRestore)
}

// StartPreRestore is PreRestore without waiting.
func (b *BackupComponents) StartPreRestore(ctx context.Context) (*Async, error) {
	return b.start(ctx, "PreRestore", b.preRestore)
}

func (b *BackupComponents) preRestore(_, work context.Context) error {
	b.restorers()
	return b.service.round(work, EventPreRestore, b.sessions)
}

// selected tells whether a component of the document is restored.
func (b *BackupComponents) selected() bool {
	for _, w := range b.doc.Writers {
		if slices.ContainsFunc(w.Components, isSelected) {
			return true
		}
	}
	return false
}

func isSelected(r *ComponentRecord) bool { return r.SelectedForRestore }

// restorers decides who takes part: the writers with a selected component, one
// instance for each stored one.
func (b *BackupComponents) restorers() {
	for _, rec := range b.doc.Writers {
		if x := b.restoresTo(rec); x != nil && slices.ContainsFunc(rec.Components, isSelected) {
			x.takes = true
		}
	}
}

// PostRestore tells the writers that the files are back. A writer's failure shows
// in its status; one that died or was started anew since PreRestore makes it fail
// with [ErrUnexpectedWriterError], when the others have been told.
func (b *BackupComponents) PostRestore(ctx context.Context) error {
	return b.run(ctx, "PostRestore", b.postRestore)
}

// StartPostRestore is PostRestore without waiting.
func (b *BackupComponents) StartPostRestore(ctx context.Context) (*Async, error) {
	return b.start(ctx, "PostRestore", b.postRestore)
}

func (b *BackupComponents) postRestore(_, work context.Context) error {
	if err := b.reliably(work, EventPostRestore); err != nil {
		return err
	}
	for _, x := range b.sessions {
		if x.takes && !x.sub.alive() {
			return fail("PostRestore", x.sub.name, ErrUnexpectedWriterError, "the writer is gone")
		}
	}
	return nil
}
