package vss

import (
	"iter"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A BackupComponentsDocument is the record of one backup: what the requester
// set out to do, the components it chose, and what requester and writers noted
// about them. It is stored with the backup, and every restore begins with it.
//
// It is data alone. Who may change what, and when, is the business of the object
// that holds it ("Backup Components Document Life Cycle"). Elements and
// attributes that this package does not know are kept, and written again at
// their place.
//
// Lookups do not change the value, so several goroutines may read one.
type BackupComponentsDocument struct {
	SelectComponents    bool // the requester works with single components
	BootableSystemState bool
	BackupType          BackupType
	PartialFileSupport  bool // the requester can back up parts of files
	SnapshotSetID       guid.GUID
	RestoreType         RestoreType

	// Snapshots describe the shadow copies of a transportable set; other
	// documents have none.
	Snapshots []SnapshotRecord

	// Writers are the writer instances with components in the backup.
	Writers []*WriterRecord

	index index[writerKey]
	extra *extra
}

// A SnapshotRecord is what another machine needs to import a shadow copy
// ("Importing Transportable Shadow Copied Volumes").
type SnapshotRecord struct {
	ID         guid.GUID
	ProviderID guid.GUID
	Volume     string // the original volume's name
	Machine    string // where the original volume is
	Attributes SnapshotAttributes
	LUNInfo    []byte // the provider's description of the disks

	extra *extra
}

// A WriterRecord is one writer instance in a backup. As the instance's id changes
// with every start of its process, a restore finds the writer by its class and
// its instance name (IVssWriterComponents).
type WriterRecord struct {
	WriterID     guid.GUID
	InstanceID   guid.GUID
	InstanceName string
	Schema       BackupSchema // as the writer's metadata had it
	Components   []*ComponentRecord

	index index[ComponentKey]
	extra *extra
}

type writerKey struct{ writer, instance guid.GUID }

// Writer returns the record of a writer instance, nil if there is none.
func (d *BackupComponentsDocument) Writer(writerID, instanceID guid.GUID) *WriterRecord {
	if i, ok := d.index.find(len(d.Writers), writerKey{writerID, instanceID}, d.keyAt); ok {
		return d.Writers[i]
	}
	return nil
}

func (d *BackupComponentsDocument) keyAt(i int) writerKey {
	return writerKey{d.Writers[i].WriterID, d.Writers[i].InstanceID}
}

// WritersOf walks the instances of a writer class.
func (d *BackupComponentsDocument) WritersOf(writerID guid.GUID) iter.Seq[*WriterRecord] {
	return func(yield func(*WriterRecord) bool) {
		for _, w := range d.Writers {
			if w.WriterID == writerID && !yield(w) {
				return
			}
		}
	}
}

// AddWriter returns the record of the writer instance that w names, and adds w
// if there is none.
func (d *BackupComponentsDocument) AddWriter(w WriterRecord) *WriterRecord {
	if known := d.Writer(w.WriterID, w.InstanceID); known != nil {
		return known
	}
	d.index.rebuild(len(d.Writers), d.keyAt)
	d.index.add(len(d.Writers), writerKey{w.WriterID, w.InstanceID})
	d.Writers = append(d.Writers, &w)
	return &w
}

// Clone returns a copy that shares nothing with d that could be changed.
func (d *BackupComponentsDocument) Clone() *BackupComponentsDocument {
	c := *d
	c.index = index[writerKey]{}
	c.Snapshots = slices.Clone(d.Snapshots)
	for i := range c.Snapshots {
		c.Snapshots[i].LUNInfo = slices.Clone(c.Snapshots[i].LUNInfo)
	}
	c.Writers = nil
	for _, w := range d.Writers {
		c.Writers = append(c.Writers, w.Clone())
	}
	c.reindex()
	return &c
}

func (d *BackupComponentsDocument) reindex() { d.index.rebuild(len(d.Writers), d.keyAt) }

// Component returns the record of a component, nil if it was not added
// explicitly.
func (w *WriterRecord) Component(key ComponentKey) *ComponentRecord {
	if i, ok := w.index.find(len(w.Components), key.fold(), w.keyAt); ok {
		return w.Components[i]
	}
	return nil
}

func (w *WriterRecord) keyAt(i int) ComponentKey { return w.Components[i].ComponentKey.fold() }

// AddComponent adds the record of a component. One of that name is an
// [ErrObjectAlreadyExists].
func (w *WriterRecord) AddComponent(c ComponentRecord) (*ComponentRecord, error) {
	if w.Component(c.ComponentKey) != nil {
		return nil, &Error{Op: "AddComponent", On: c.FullPath(), Err: ErrObjectAlreadyExists}
	}
	w.index.rebuild(len(w.Components), w.keyAt)
	w.index.add(len(w.Components), c.ComponentKey.fold())
	w.Components = append(w.Components, &c)
	return &c, nil
}

// Clone returns a copy that shares nothing with w that could be changed.
func (w *WriterRecord) Clone() *WriterRecord {
	c := *w
	c.index = index[ComponentKey]{}
	c.Components = slices.Grow([]*ComponentRecord(nil), len(w.Components))
	for _, r := range w.Components {
		c.Components = append(c.Components, r.Clone())
	}
	c.reindex()
	return &c
}

func (w *WriterRecord) reindex() { w.index.rebuild(len(w.Components), w.keyAt) }
