package vss

import (
	"math"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A ComponentRecord is one explicitly chosen component in a backup. What it says
// holds for its whole component set, the components below it that came along
// (IVssComponent).
type ComponentRecord struct {
	ComponentKey
	Type ComponentType

	// Of the backup.
	BackupSucceeded     bool // all files of the set are safe; the requester's word
	BackupMetadata      []byte
	BackupStamp         string // the writer's name for this moment
	PreviousBackupStamp string // of the backup that this one builds on
	BackupOptions       string
	PartialFiles        []PartialFile
	DifferencedFiles    []DifferencedFiles

	// Of a restore.
	SelectedForRestore   bool
	SelectedInstance     guid.GUID // the writer instance to restore to; null for any
	Subcomponents        []RestoreSubcomponent
	AdditionalRestores   bool // more restores follow: no recovery yet
	RestoreOptions       string
	RestoreMetadata      []byte
	RestoreTarget        RestoreTarget // undefined means original
	DirectedTargets      []DirectedTarget
	NewTargets           []FileMapping
	AlternateLocations   []FileMapping // the mappings used
	FileRestoreStatus    FileRestoreStatus
	AuthoritativeRestore bool
	RollForward          RollForwardType
	RollForwardPoint     string
	RestoreName          string

	// What went wrong, in the writer's words.
	PrepareForBackupFailure string
	PostSnapshotFailure     string
	PreRestoreFailure       string
	PostRestoreFailure      string
	Failure                 *ComponentFailure

	extra        *extra
	backupExtra  *extra // of the element that holds BackupMetadata
	restoreExtra *extra // of the one that holds RestoreMetadata
}

// A FilePart is a part of one file: the file by directory and name, and the
// ranges, in the form that [ParseRanges] reads ("Working with Partial Files").
type FilePart struct {
	Path   string
	Name   string
	Ranges string
}

// PartialFile is a file of which a backup holds parts only (IVssComponent::GetPartialFile).
type PartialFile struct {
	FilePart
	Metadata string // the writer's, to check the restored file by

	extra *extra
}

// DifferencedFiles are files of which a backup holds those changed since a
// moment. At the zero moment the requester decides by its own records
// (IVssComponent::GetDifferencedFile).
type DifferencedFiles struct {
	FileSpec
	LastModified Filetime

	extra *extra
}

// A DirectedTarget sends parts of a file to parts of another, range by range
// (IVssComponent::GetDirectedTarget).
type DirectedTarget struct {
	Source      FilePart
	Destination FilePart

	extra *extra
}

// A RestoreSubcomponent is a component of a set that is restored by itself
// (IVssComponent::GetRestoreSubcomponent).
type RestoreSubcomponent struct {
	ComponentKey

	extra *extra
}

// A ComponentFailure is how one component failed while others did not
// (IVssComponentEx2::GetFailure).
type ComponentFailure struct {
	Code        HRESULT // one that a writer may set
	Application HRESULT // the application's own
	Message     string

	extra *extra
}

// Target returns where the writer wants the component put: what it said, or the
// default, [TargetOriginal].
func (c *ComponentRecord) Target() RestoreTarget {
	if c.RestoreTarget == TargetUndefined {
		return TargetOriginal
	}
	return c.RestoreTarget
}

// NewTarget returns where the requester wants the files of a file set put, if it
// chose a place.
func (c *ComponentRecord) NewTarget(f FileSpec) (destination string, ok bool) {
	return destinationOf(c.NewTargets, f)
}

// destinationOf looks a file set up by its words.
func destinationOf(mappings []FileMapping, f FileSpec) (string, bool) {
	for i := range mappings {
		if mappings[i].Same(f) {
			return mappings[i].Destination, true
		}
	}
	return "", false
}

// Clone returns a copy that shares nothing with c that could be changed.
func (c *ComponentRecord) Clone() *ComponentRecord {
	d := *c
	d.BackupMetadata = slices.Clone(c.BackupMetadata)
	d.RestoreMetadata = slices.Clone(c.RestoreMetadata)
	d.PartialFiles = slices.Clone(c.PartialFiles)
	d.DifferencedFiles = slices.Clone(c.DifferencedFiles)
	d.Subcomponents = slices.Clone(c.Subcomponents)
	d.DirectedTargets = slices.Clone(c.DirectedTargets)
	d.NewTargets = slices.Clone(c.NewTargets)
	d.AlternateLocations = slices.Clone(c.AlternateLocations)
	if c.Failure != nil {
		failure := *c.Failure
		d.Failure = &failure
	}
	return &d
}

// A Filetime is a moment as Windows stores it: 100 ns units since the year 1601
// in UTC. Zero stands for no moment (FILETIME).
type Filetime uint64

const (
	filetimeSecond = 10_000_000     // units
	filetimeUnix   = 11_644_473_600 // seconds from 1601 to the start of Unix time
)

// FiletimeOf returns the moment t, cut to 100 ns: 0 for the zero Time and for
// anything before 1601, the last moment there is for anything behind it
// (FILETIME).
func FiletimeOf(t time.Time) Filetime {
	seconds := t.Unix() + filetimeUnix
	switch {
	case seconds < 0:
		return 0
	case seconds >= math.MaxUint64/filetimeSecond:
		return math.MaxUint64
	}
	return Filetime(seconds)*filetimeSecond + Filetime(t.Nanosecond()/100)
}

// Time returns the moment in UTC, the zero Time for 0.
func (f Filetime) Time() time.Time {
	if f == 0 {
		return time.Time{}
	}
	return time.Unix(int64(f/filetimeSecond)-filetimeUnix, int64(f%filetimeSecond)*100).UTC()
}
