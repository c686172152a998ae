package vss

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// InitializeForBackup makes the object one of a backup. Xml is nil, or the stored
// document of a transportable set that is to be imported; a document that cannot
// be read is [ErrInvalidXMLDocument].
func (b *BackupComponents) InitializeForBackup(ctx context.Context, xml io.Reader) error {
	return b.call(ctx, "InitializeForBackup", func(context.Context) error { return b.load(xml) })
}

func (b *BackupComponents) load(xml io.Reader) error {
	if xml == nil {
		b.doc = &BackupComponentsDocument{}
		return nil
	}
	doc, err := ReadBackupComponents(xml)
	if err != nil {
		return err
	}
	b.doc, b.stored = doc, true
	return nil
}

// SetContext chooses the kind of shadow copies; without it the context is
// [ContextBackup]. It may be called once. A combination that a requester may not
// ask for is [ErrInvalidArg].
func (b *BackupComponents) SetContext(ctx context.Context, c SnapshotContext) error {
	return b.call(ctx, "SetContext", func(context.Context) error {
		if err := c.Check(); err != nil {
			return err
		}
		b.context, b.contextSet = c, true
		return nil
	}, sim.S("context", c.String()))
}

// A BackupState says how a requester works (IVssBackupComponents::SetBackupState).
type BackupState struct {
	SelectComponents    bool // with single components, not whole volumes
	BootableSystemState bool
	Type                BackupType
	PartialFileSupport  bool
}

// SetBackupState says how the requester works. An undefined type is
// [ErrInvalidArg].
func (b *BackupComponents) SetBackupState(ctx context.Context, st BackupState) error {
	return b.call(ctx, "SetBackupState", func(context.Context) error {
		if st.Type <= BackupUndefined || st.Type > BackupOther {
			return fail("SetBackupState", "", ErrInvalidArg, "no type of backup: %v", st.Type)
		}
		b.doc.SelectComponents = st.SelectComponents
		b.doc.BootableSystemState = st.BootableSystemState
		b.doc.BackupType = st.Type
		b.doc.PartialFileSupport = st.PartialFileSupport
		b.stateSet = true
		return nil
	}, sim.S("type", st.Type.String()))
}

// EnableWriterClasses leaves only writers of the given classes in. The first call
// cancels what DisableWriterClasses said; further calls add to it. As with the
// other filters, a call after GatherWriterMetadata has no effect.
func (b *BackupComponents) EnableWriterClasses(ctx context.Context, classes ...guid.GUID) error {
	return b.call(ctx, "EnableWriterClasses", func(context.Context) error { b.filter.enable(classes); return nil })
}

// DisableWriterClasses leaves writers of the given classes out, all instances of
// them.
func (b *BackupComponents) DisableWriterClasses(ctx context.Context, classes ...guid.GUID) error {
	return b.call(ctx, "DisableWriterClasses", func(context.Context) error { b.filter.disable(classes); return nil })
}

// DisableWriterInstances leaves single instances out. Instances are learned from
// another object, as they must be known before GatherWriterMetadata.
func (b *BackupComponents) DisableWriterInstances(ctx context.Context, instances ...guid.GUID) error {
	return b.call(ctx, "DisableWriterInstances", func(context.Context) error {
		b.filter.instances = append(b.filter.instances, instances...)
		return nil
	})
}

// A writerFilter says which writers are asked.
type writerFilter struct {
	enabled   []guid.GUID // nil: all
	disabled  []guid.GUID
	instances []guid.GUID // switched off
}

func (f *writerFilter) enable(classes []guid.GUID) {
	f.enabled = append(f.enabled, classes...)
	f.disabled = nil
}

func (f *writerFilter) disable(classes []guid.GUID) {
	f.disabled = append(f.disabled, classes...)
	f.enabled = slices.DeleteFunc(f.enabled, func(c guid.GUID) bool { return slices.Contains(classes, c) })
}

func (f *writerFilter) passes(sub *Subscription) bool {
	class := sub.config.ClassID
	return (f.enabled == nil || slices.Contains(f.enabled, class)) &&
		!slices.Contains(f.disabled, class) && !slices.Contains(f.instances, sub.instance)
}

// A ComponentChoice names a component of a writer (IVssBackupComponents::AddComponent).
type ComponentChoice struct {
	WriterID   guid.GUID
	InstanceID guid.GUID // the null GUID stands for any instance of the class
	Type       ComponentType
	ComponentKey
}

// AddComponent puts a component into the backup. A component that no gathered
// writer has is [ErrObjectNotFound], one that is in the backup already
// [ErrObjectAlreadyExists].
func (b *BackupComponents) AddComponent(ctx context.Context, c ComponentChoice) error {
	const op = "AddComponent"
	return b.call(ctx, op, func(context.Context) error {
		x := b.writerOf(c)
		if x == nil {
			return fail(op, c.FullPath(), ErrObjectNotFound, "no such writer: %s", guid.Braced(c.WriterID))
		}
		info := x.metadata.Component(c.ComponentKey)
		if info == nil || info.Type != c.Type && c.Type != ComponentUndefined {
			return fail(op, c.FullPath(), ErrObjectNotFound, "no such component of %s", x.sub.name)
		}
		if b.service.config.CheckSelectability {
			if rule, _ := NewComponentTree(x.metadata.Components).Inclusion(info.ComponentKey); rule == NeverAdd {
				return fail(op, c.FullPath(), ErrInvalidArg, "the component only comes with the one above it")
			}
		}
		rec := b.doc.AddWriter(WriterRecord{
			WriterID: x.sub.config.ClassID, InstanceID: x.sub.instance,
			InstanceName: x.sub.config.InstanceName, Schema: x.metadata.Schema,
		})
		_, err := rec.AddComponent(ComponentRecord{ComponentKey: info.ComponentKey, Type: info.Type})
		return err
	}, sim.S("writer", guid.String(c.WriterID)), sim.S("component", c.FullPath()))
}

// writerOf finds the gathered writer that a choice names.
func (b *BackupComponents) writerOf(c ComponentChoice) *session {
	for _, x := range b.sessions {
		if x.sub.config.ClassID == c.WriterID && (c.InstanceID == guid.GUID{} || c.InstanceID == x.sub.instance) {
			return x
		}
	}
	return nil
}

// record finds the record of a component in the document.
func (b *BackupComponents) record(op string, c ComponentChoice) (*WriterRecord, *ComponentRecord, error) {
	for _, w := range b.doc.Writers {
		if w.WriterID != c.WriterID || c.InstanceID != (guid.GUID{}) && w.InstanceID != c.InstanceID {
			continue
		}
		if r := w.Component(c.ComponentKey); r != nil && (c.Type == ComponentUndefined || r.Type == c.Type) {
			return w, r, nil
		}
	}
	return nil, nil, fail(op, c.FullPath(), ErrObjectNotFound, "the component is not in the document")
}

// edit is a call that changes the record of a component whose writer must have
// had the schema bits when it was backed up.
func (b *BackupComponents) edit(ctx context.Context, op string, c ComponentChoice, fn func(r *ComponentRecord) error, needs ...BackupSchema) error {
	return b.call(ctx, op, func(context.Context) error {
		w, r, err := b.record(op, c)
		if err != nil {
			return err
		}
		for _, bit := range needs {
			if w.Schema&bit == 0 {
				return fail(op, c.FullPath(), ErrInvalidArg, "the writer has not %v", bit)
			}
		}
		return fn(r)
	}, sim.S("component", c.FullPath()))
}

// SetBackupOptions gives a writer its options for a component. Like the methods
// below it is [ErrObjectNotFound] for a component that was not added.
func (b *BackupComponents) SetBackupOptions(ctx context.Context, c ComponentChoice, options string) error {
	return b.edit(ctx, "SetBackupOptions", c, func(r *ComponentRecord) error { r.BackupOptions = options; return nil })
}

// SetPreviousBackupStamp tells a writer which backup an incremental or
// differential one builds on: the stamp it put into that backup's document.
func (b *BackupComponents) SetPreviousBackupStamp(ctx context.Context, c ComponentChoice, stamp string) error {
	return b.edit(ctx, "SetPreviousBackupStamp", c, func(r *ComponentRecord) error { r.PreviousBackupStamp = stamp; return nil })
}

// SetBackupSucceeded says whether all files of a component set are safe. Writers
// truncate logs by it. Call it for each component that was added, and not if
// DoSnapshotSet failed.
func (b *BackupComponents) SetBackupSucceeded(ctx context.Context, c ComponentChoice, succeeded bool) error {
	const op = "SetBackupSucceeded"
	attrs := []sim.Attr{sim.S("component", c.FullPath())}
	if !succeeded {
		attrs = append(attrs, sim.S("succeeded", "no"))
	}
	return b.call(ctx, op, func(context.Context) error {
		_, r, err := b.record(op, c)
		if err == nil {
			r.BackupSucceeded = succeeded
		}
		return err
	}, attrs...)
}

// GetWriterComponentsCount is the number of writers in the document.
func (b *BackupComponents) GetWriterComponentsCount() (int, error) {
	if err := b.read("GetWriterComponents"); err != nil {
		return 0, err
	}
	return len(b.doc.Writers), nil
}

// GetWriterComponents returns a copy of a writer's part of the document as it is
// now. Writers edit theirs in PrepareForBackup, DoSnapshotSet and PreRestore:
// fetch it again afterwards. A bad index is [ErrObjectNotFound].
func (b *BackupComponents) GetWriterComponents(i int) (*WriterRecord, error) {
	const op = "GetWriterComponents"
	if err := b.read(op); err != nil {
		return nil, err
	}
	if i < 0 || i >= len(b.doc.Writers) {
		return nil, fail(op, "", ErrObjectNotFound, "writer %d of %d", i, len(b.doc.Writers))
	}
	return b.doc.Writers[i].Clone(), nil
}

// SaveAsXML returns the Backup Components Document. Save it after BackupComplete,
// when it says all there is to say; before PrepareForBackup it is out of order.
func (b *BackupComponents) SaveAsXML() ([]byte, error) {
	if err := b.read("SaveAsXML"); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := b.doc.WriteXML(&buf); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
