package vss

import (
	"context"
	"io/fs"
)

// A Volume is what the service can take shadow copies of. The interface uses
// standard types alone, so that a package need not import this one to satisfy
// it.
//
// The service calls FlushAndHold on all volumes of a set at once, which is the
// point in time of the copies, and Release on each of them afterwards, whatever
// happened between. A provider calls the methods about shadow copies; the
// system provider calls CreateShadow while writes are held, SealShadow when the
// writers have had their last chance to change the copy, and DeleteShadow to
// take back a copy in any state.
//
// A volume owes these errors: one that wraps fs.ErrNotExist for a shadow copy
// it does not have, and from CreateShadow [ErrInsufficientStorage], or any error
// with a method HRESULT() uint32 that returns its number, when the copy has no
// room. Other errors arrive as the provider's or the volume's failure.
type Volume interface {
	// ID is the GUID of the volume, as in \\?\Volume{GUID}\.
	ID() [16]byte
	// Name is the root path with its backslash: `C:\`, or a mounted folder.
	Name() string
	// FileSystem is "NTFS", "FAT32" and so on, or "RAW".
	FileSystem() string

	// FlushAndHold writes back what the file system holds in memory and then
	// keeps every write waiting until Release.
	FlushAndHold(ctx context.Context) error
	// Release lets writes go on. Without a hold it does nothing.
	Release()

	// CreateShadow takes a copy of the volume as it is now. The copy is
	// writable until it is sealed.
	CreateShadow(ctx context.Context, id [16]byte) error
	// SealShadow makes the copy read-only for good.
	SealShadow(ctx context.Context, id [16]byte) error
	// DeleteShadow removes the copy.
	DeleteShadow(ctx context.Context, id [16]byte) error
	// OpenShadow gives access to the files of the copy.
	OpenShadow(id [16]byte) (fs.FS, error)
	// Shadows lists the copies, oldest first.
	Shadows() [][16]byte
}

// A DiffAreaVolume knows the space that its shadow copies take. The system
// provider refuses a copy with [ErrInsufficientStorage] when none is left
// (IVssDifferentialSoftwareSnapshotMgmt).
type DiffAreaVolume interface {
	Volume
	// DiffArea returns the bytes that shadow copies occupy and may occupy at
	// most; a maximum of 0 is no limit.
	DiffArea() (used, maximum int64)
}

// A RecoveringVolume has a file system that recovers its shadow copies: it rolls
// open transactions back while a copy of the system provider is still writable.
// An error fails the set with [ErrAutoRecoveryFailed]. A context with
// [AttrNoAutoRecovery] leaves the copies as they are
// ("Working with File System and Security Features").
type RecoveringVolume interface {
	Volume
	// RecoverShadow rolls back what was open in the copy when it was taken.
	RecoverShadow(ctx context.Context, id [16]byte) error
}

// A DiskVolume knows the disk it lies on. RecoverSet refuses with
// [ErrUnselectedVolume] to write over a disk that holds other volumes too
// (IVssBackupComponentsEx3::RecoverSet).
type DiskVolume interface {
	Volume
	// Disk is the identity of the disk.
	Disk() [16]byte
}

// A RevertVolume can be set back to one of its shadow copies
// (IVssBackupComponents::RevertToSnapshot).
type RevertVolume interface {
	Volume
	// InUse tells whether open files keep the volume from being dismounted.
	InUse() bool
	// RevertToShadow makes the volume what it was when the copy was taken.
	// Younger copies are lost.
	RevertToShadow(ctx context.Context, id [16]byte) error
}

// A NestedVolume lies on a virtual disk whose file is on a volume of the same
// machine. [BackupComponents.AddToSnapshotSet] refuses it with
// [ErrNestedVolumeLimit] when the outer volume is nested itself or is in the
// same set (IVssBackupComponents::AddToSnapshotSet).
type NestedVolume interface {
	Volume
	// Below is the ID of the volume that holds the virtual disk's file; false
	// if the volume is not on such a disk.
	Below() (volume [16]byte, nested bool)
}
