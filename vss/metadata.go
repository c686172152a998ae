package vss

import (
	"iter"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A WriterMetadata is what a writer says about itself and its data: the Writer
// Metadata Document. A writer fills it in its Identify handler with the methods
// that begin with Set and Add, which refuse what the real ones refuse
// (IVssCreateWriterMetadata); a requester reads it, stores it with the backup,
// and reads the stored one when it restores:
//
//	stored, err := os.Open("writer.xml")
//	…
//	metadata, err := vss.ReadWriterMetadata(stored)
//	for i := range metadata.Components { … }
//
// The fields may be read and changed at will, with one exception: a component
// is not renamed where it stands. Elements and attributes of a document that
// this package does not know are kept, and written again at their place.
//
// Lookups do not change the value, so several goroutines may read one.
type WriterMetadata struct {
	Identity WriterIdentity
	Schema   BackupSchema

	// Restore is how the files are to be put back; nil if the writer has not
	// said so yet, which it must.
	Restore *RestorePolicy

	Components       []ComponentInfo
	Excludes         []ExcludedFiles // never backed up, whatever file sets say
	SnapshotExcludes []ExcludedFiles // deleted from the shadow copy by the writer

	index     index[ComponentKey]
	locations *extra // of the element around the three lists
	extra     *extra
}

// A WriterIdentity tells who a writer is (IVssExamineWriterMetadata::GetIdentity).
type WriterIdentity struct {
	WriterID     guid.GUID // of the class, chosen by the developer
	InstanceID   guid.GUID // of this run of the writer's process
	InstanceName string    // tells the instances of a class apart for good; optional
	FriendlyName string    // not localized
	Usage        UsageType
	Source       SourceType
	MajorVersion uint32
	MinorVersion uint32

	extra *extra
}

// A RestorePolicy is how a writer wants its files put back
// (IVssCreateWriterMetadata::SetRestoreMethod).
type RestorePolicy struct {
	Method         RestoreMethod
	Service        string // for the methods that stop and start a service
	UserProcedure  string // reserved; a description for people
	WriterRestore  WriterRestore
	RebootRequired bool

	// AlternateLocations say where files go whose own place is not free. They
	// are for all components and found by the words of a file set.
	AlternateLocations []FileMapping

	extra *extra
}

// ExcludedFiles are files that a backup leaves out. They are compared with the
// original path of a file, not with the alternate path it is read from
// (IVssCreateWriterMetadata::AddExcludeFiles).
type ExcludedFiles struct {
	FileSpec

	extra *extra
}

// A ComponentInfo describes a component (IVssWMComponent).
type ComponentInfo struct {
	ComponentKey
	Type    ComponentType
	Caption string // localized
	Icon    []byte

	RestoreMetadata        bool // reserved
	NotifyOnBackupComplete bool // reserved
	Selectable             bool // whether a requester may leave it out, or take it alone
	SelectableForRestore   bool // the same for a restore, where it came with another component
	Flags                  ComponentFlags

	Files         []FileSet // of a file group
	DatabaseFiles []FileSet // of a database
	LogFiles      []FileSet // of a database
	Dependencies  []Dependency

	extra *extra
}

// A Dependency is a component of another writer without which a component is
// of no use: both must be backed up and restored, in any order
// (IVssCreateWriterMetadata::AddComponentDependency).
type Dependency struct {
	WriterID guid.GUID
	ComponentKey

	extra *extra
}

// Remote tells whether the other component lives on another machine, whose name
// then stands before its path. Sources differ in whether the prefix belongs to
// the logical path or to the name; both count.
func (d Dependency) Remote() bool {
	return strings.HasPrefix(d.LogicalPath, `\\`) || strings.HasPrefix(d.Name, `\\`)
}

// FileSets walks all file sets of the component, whatever they are for.
func (c *ComponentInfo) FileSets() iter.Seq[*FileSet] {
	return func(yield func(*FileSet) bool) {
		for _, list := range [][]FileSet{c.Files, c.DatabaseFiles, c.LogFiles} {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
	}
}

// Component returns the component with that name, nil if there is none. It is
// valid until the next component is added.
func (m *WriterMetadata) Component(key ComponentKey) *ComponentInfo {
	if i, ok := m.find(key); ok {
		return &m.Components[i]
	}
	return nil
}

func (m *WriterMetadata) find(key ComponentKey) (int, bool) {
	return m.index.find(len(m.Components), key.fold(), m.keyAt)
}

func (m *WriterMetadata) keyAt(i int) ComponentKey { return m.Components[i].ComponentKey.fold() }

// AlternateLocation returns where the files of a file set go when their own
// place is not free.
func (m *WriterMetadata) AlternateLocation(f FileSpec) (destination string, ok bool) {
	if m.Restore == nil {
		return "", false
	}
	return destinationOf(m.Restore.AlternateLocations, f)
}
