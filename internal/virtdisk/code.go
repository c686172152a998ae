// Package virtdisk holds the error codes that every kind of virtual disk image
// shares, so that errors.Is knows one of them whichever codec reports it.
package virtdisk

import (
	"fmt"
	"io/fs"
)

// A Code says in Windows' own numbers what is wrong with an image, a chain of
// images or a call. It is an error by itself, to be found with errors.Is in
// the errors of the packages that report it.
type Code uint32

// The codes, with the numbers of the Windows headers (Win32 page "System Error
// Codes" and winerror.h, facility virtual disk).
const (
	ErrHeader          Code = 1392       // no header can be trusted
	ErrFooterMissing   Code = 0xC03A0001 // no footer at the end, or a file too short for one
	ErrFooterChecksum  Code = 0xC03A0002 // neither the footer nor its copy has a good checksum
	ErrFooterCorrupt   Code = 0xC03A0003 // the checksum is right, a field is out of range
	ErrFormatUnknown   Code = 0xC03A0004 // the file is of no known format
	ErrFormatVersion   Code = 0xC03A0005 // the version of the format is not supported
	ErrSparseChecksum  Code = 0xC03A0006 // the dynamic header's checksum is wrong
	ErrSparseVersion   Code = 0xC03A0007 // the dynamic header's version is not supported
	ErrSparseCorrupt   Code = 0xC03A0008 // a field of the dynamic header is out of range
	ErrAllocate        Code = 0xC03A0009 // there is no room for a further block
	ErrBAT             Code = 0xC03A000A // a block lies where no block may lie
	ErrBlockSize       Code = 0xC03A000B // the block size is not allowed
	ErrBitmap          Code = 0xC03A000C // a bitmap contradicts what is stored
	ErrParentNotFound  Code = 0xC03A000D // nothing leads to the parent
	ErrParentID        Code = 0xC03A000E // what was found as the parent is another disk
	ErrParentTime      Code = 0xC03A000F // the parent's time stamp is not the one recorded
	ErrMetadataRead    Code = 0xC03A0010 // a region, the metadata or the log cannot be read
	ErrMetadataWrite   Code = 0xC03A0011 // metadata could not be written
	ErrSize            Code = 0xC03A0012 // the disk's size is zero, no multiple of a sector, or above the limit
	ErrFileSize        Code = 0xC03A0013 // the file is shorter than what it says it holds
	ErrProvider        Code = 0xC03A0014 // no provider is there for this format
	ErrNotVirtualDisk  Code = 0xC03A0015 // the object is no virtual disk
	ErrParentAccess    Code = 0xC03A0016 // the parent may not be read
	ErrParentSize      Code = 0xC03A0017 // child and parent differ in size
	ErrChainCycle      Code = 0xC03A0018 // a file is its own ancestor
	ErrParentBroken    Code = 0xC03A0019 // the parent has an error of its own
	ErrLimit           Code = 0xC03A001A // this kind of image cannot do that
	ErrType            Code = 0xC03A001B // the type of disk is unknown, or wrong for the call
	ErrState           Code = 0xC03A001C // the state that the image is in forbids it
	ErrSectorSize      Code = 0xC03A001D // the sector size is not supported, or not the parent's
	ErrOwned           Code = 0xC03A001E // somebody else has the disk
	ErrOnline          Code = 0xC03A001F // the disk is online and writable
	ErrLogTracking     Code = 0xC03A0020 // replica change log: tracking was not started
	ErrLogSize         Code = 0xC03A0021 // replica change log: the log has its largest size
	ErrLogOffline      Code = 0xC03A0022 // replica change log: the disk changed while offline
	ErrLogState        Code = 0xC03A0023 // replica change log: wrong state of tracking
	ErrLogInconsistent Code = 0xC03A0024 // replica change log: the tracking file contradicts itself
	ErrShrink          Code = 0xC03A0025 // the smaller disk would lose data
	ErrMinimumUnknown  Code = 0xC03A0026 // the least size of the disk cannot be told
	ErrMinimumReached  Code = 0xC03A0027 // the disk has its least size already
	ErrMetadataFull    Code = 0xC03A0028 // there is no room for another metadata item
	ErrTrackingID      Code = 0xC03A0029 // the change tracking id is unknown or too old
	ErrTrackingOff     Code = 0xC03A002A // the disk's changes are not tracked
	ErrTrackingLost    Code = 0xC03A0030 // what tracked the changes is gone or broken
	facilityVirtDisk   Code = 0xC03A0000
)

var names = map[Code]string{
	ErrHeader:          "ERROR_FILE_CORRUPT",
	ErrFooterMissing:   "ERROR_VHD_DRIVE_FOOTER_MISSING",
	ErrFooterChecksum:  "ERROR_VHD_DRIVE_FOOTER_CHECKSUM_MISMATCH",
	ErrFooterCorrupt:   "ERROR_VHD_DRIVE_FOOTER_CORRUPT",
	ErrFormatUnknown:   "ERROR_VHD_FORMAT_UNKNOWN",
	ErrFormatVersion:   "ERROR_VHD_FORMAT_UNSUPPORTED_VERSION",
	ErrSparseChecksum:  "ERROR_VHD_SPARSE_HEADER_CHECKSUM_MISMATCH",
	ErrSparseVersion:   "ERROR_VHD_SPARSE_HEADER_UNSUPPORTED_VERSION",
	ErrSparseCorrupt:   "ERROR_VHD_SPARSE_HEADER_CORRUPT",
	ErrAllocate:        "ERROR_VHD_BLOCK_ALLOCATION_FAILURE",
	ErrBAT:             "ERROR_VHD_BLOCK_ALLOCATION_TABLE_CORRUPT",
	ErrBlockSize:       "ERROR_VHD_INVALID_BLOCK_SIZE",
	ErrBitmap:          "ERROR_VHD_BITMAP_MISMATCH",
	ErrParentNotFound:  "ERROR_VHD_PARENT_VHD_NOT_FOUND",
	ErrParentID:        "ERROR_VHD_CHILD_PARENT_ID_MISMATCH",
	ErrParentTime:      "ERROR_VHD_CHILD_PARENT_TIMESTAMP_MISMATCH",
	ErrMetadataRead:    "ERROR_VHD_METADATA_READ_FAILURE",
	ErrMetadataWrite:   "ERROR_VHD_METADATA_WRITE_FAILURE",
	ErrSize:            "ERROR_VHD_INVALID_SIZE",
	ErrFileSize:        "ERROR_VHD_INVALID_FILE_SIZE",
	ErrProvider:        "ERROR_VIRTDISK_PROVIDER_NOT_FOUND",
	ErrNotVirtualDisk:  "ERROR_VIRTDISK_NOT_VIRTUAL_DISK",
	ErrParentAccess:    "ERROR_VHD_PARENT_VHD_ACCESS_DENIED",
	ErrParentSize:      "ERROR_VHD_CHILD_PARENT_SIZE_MISMATCH",
	ErrChainCycle:      "ERROR_VHD_DIFFERENCING_CHAIN_CYCLE_DETECTED",
	ErrParentBroken:    "ERROR_VHD_DIFFERENCING_CHAIN_ERROR_IN_PARENT",
	ErrLimit:           "ERROR_VIRTUAL_DISK_LIMITATION",
	ErrType:            "ERROR_VHD_INVALID_TYPE",
	ErrState:           "ERROR_VHD_INVALID_STATE",
	ErrSectorSize:      "ERROR_VIRTDISK_UNSUPPORTED_DISK_SECTOR_SIZE",
	ErrOwned:           "ERROR_VIRTDISK_DISK_ALREADY_OWNED",
	ErrOnline:          "ERROR_VIRTDISK_DISK_ONLINE_AND_WRITABLE",
	ErrLogTracking:     "ERROR_CTLOG_TRACKING_NOT_INITIALIZED",
	ErrLogSize:         "ERROR_CTLOG_LOGFILE_SIZE_EXCEEDED_MAXSIZE",
	ErrLogOffline:      "ERROR_CTLOG_VHD_CHANGED_OFFLINE",
	ErrLogState:        "ERROR_CTLOG_INVALID_TRACKING_STATE",
	ErrLogInconsistent: "ERROR_CTLOG_INCONSISTENT_TRACKING_FILE",
	ErrShrink:          "ERROR_VHD_RESIZE_WOULD_TRUNCATE_DATA",
	ErrMinimumUnknown:  "ERROR_VHD_COULD_NOT_COMPUTE_MINIMUM_VIRTUAL_SIZE",
	ErrMinimumReached:  "ERROR_VHD_ALREADY_AT_OR_BELOW_MINIMUM_VIRTUAL_SIZE",
	ErrMetadataFull:    "ERROR_VHD_METADATA_FULL",
	ErrTrackingID:      "ERROR_VHD_INVALID_CHANGE_TRACKING_ID",
	ErrTrackingOff:     "ERROR_VHD_CHANGE_TRACKING_DISABLED",
	ErrTrackingLost:    "ERROR_VHD_MISSING_CHANGE_TRACKING_INFORMATION",
}

// Name returns the name of the Windows constant, or "" for a number that is
// none of these.
func (c Code) Name() string { return names[c] }

// Number returns the code as Windows reports it: a Win32 error number.
func (c Code) Number() uint32 { return uint32(c) }

// Error prints the Windows constant and its number.
func (c Code) Error() string {
	number := fmt.Sprintf("0x%08X", uint32(c))
	if c < ErrFooterMissing {
		number = fmt.Sprint(uint32(c)) // as Win32 numbers are known
	}
	if name := c.Name(); name != "" {
		return fmt.Sprintf("%s (%s)", name, number)
	}
	return "error " + number
}

// Is matches the errors of package io/fs that mean the same: a parent that is
// not found is a file that does not exist.
func (c Code) Is(target error) bool {
	switch c {
	case ErrParentNotFound:
		return target == fs.ErrNotExist
	case ErrParentAccess:
		return target == fs.ErrPermission
	}
	return false
}
