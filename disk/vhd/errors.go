package vhd

import (
	"fmt"
	"strings"
)

// A Code says in Windows' own numbers what is wrong with an image or a call.
// It is an error by itself, and errors.Is finds it in every error of this
// package.
type Code uint32

// The codes this package reports.
const (
	ErrFooterMissing  Code = 0xC03A0001 // no footer at the end, or a file too short for one
	ErrFooterChecksum Code = 0xC03A0002 // neither the footer nor its copy has a good checksum
	ErrFooterCorrupt  Code = 0xC03A0003 // the checksum is right, a field is out of range
	ErrFormatUnknown  Code = 0xC03A0004 // the file is no VHD
	ErrFormatVersion  Code = 0xC03A0005 // the footer's version is not 1.x
	ErrSparseChecksum Code = 0xC03A0006 // the dynamic header's checksum is wrong
	ErrSparseVersion  Code = 0xC03A0007 // the dynamic header's version is not 1.x
	ErrSparseCorrupt  Code = 0xC03A0008 // a field of the dynamic header is out of range
	ErrAllocate       Code = 0xC03A0009 // there is no room for a further block
	ErrBAT            Code = 0xC03A000A // a block lies where no block may lie
	ErrBlockSize      Code = 0xC03A000B // the block size is not allowed
	ErrBitmap         Code = 0xC03A000C // a sector holds data that its bitmap denies
	ErrSize           Code = 0xC03A0012 // the disk's size is zero, no multiple of a sector, or above MaxSize
	ErrFileSize       Code = 0xC03A0013 // the file is shorter than what it says it holds
	ErrLimit          Code = 0xC03A001A // this kind of image cannot do that
	ErrType           Code = 0xC03A001B // the disk type is none of the three, or wrong for the call
)

// Name returns the name of the Windows constant, or "" for a code that this
// package does not report.
func (c Code) Name() string {
	switch c {
	case ErrFooterMissing:
		return "ERROR_VHD_DRIVE_FOOTER_MISSING"
	case ErrFooterChecksum:
		return "ERROR_VHD_DRIVE_FOOTER_CHECKSUM_MISMATCH"
	case ErrFooterCorrupt:
		return "ERROR_VHD_DRIVE_FOOTER_CORRUPT"
	case ErrFormatUnknown:
		return "ERROR_VHD_FORMAT_UNKNOWN"
	case ErrFormatVersion:
		return "ERROR_VHD_FORMAT_UNSUPPORTED_VERSION"
	case ErrSparseChecksum:
		return "ERROR_VHD_SPARSE_HEADER_CHECKSUM_MISMATCH"
	case ErrSparseVersion:
		return "ERROR_VHD_SPARSE_HEADER_UNSUPPORTED_VERSION"
	case ErrSparseCorrupt:
		return "ERROR_VHD_SPARSE_HEADER_CORRUPT"
	case ErrAllocate:
		return "ERROR_VHD_BLOCK_ALLOCATION_FAILURE"
	case ErrBAT:
		return "ERROR_VHD_BLOCK_ALLOCATION_TABLE_CORRUPT"
	case ErrBlockSize:
		return "ERROR_VHD_INVALID_BLOCK_SIZE"
	case ErrBitmap:
		return "ERROR_VHD_BITMAP_MISMATCH"
	case ErrSize:
		return "ERROR_VHD_INVALID_SIZE"
	case ErrFileSize:
		return "ERROR_VHD_INVALID_FILE_SIZE"
	case ErrLimit:
		return "ERROR_VIRTUAL_DISK_LIMITATION"
	case ErrType:
		return "ERROR_VHD_INVALID_TYPE"
	}
	return ""
}

// Error prints the Windows constant and its number.
func (c Code) Error() string {
	name := c.Name()
	if name == "" {
		return fmt.Sprintf("error 0x%08X", uint32(c))
	}
	return fmt.Sprintf("%s (0x%08X)", name, uint32(c))
}

// Error is what every function of this package returns when it fails, but for
// io.EOF at the end of the disk.
type Error struct {
	Op    string // the call: "Open", "WriteAt"
	Off   int64  // the place in the file where the trouble lies; -1 when it lies in the call
	Field string // what it is about: "footer checksum", "block 7"; "" when Err says it all
	Err   error  // a Code, a sentence around a Code, a disk.Code, or what the file answered
}

// Error prints the call, the field, its place and the cause, in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("vhd: ")
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field)
		if e.Off >= 0 {
			fmt.Fprintf(&b, " at %d", e.Off)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// bad builds an Error whose cause is code with a sentence in front that shows
// the value met. The exported function that fails fills in Op.
func bad(code Code, off int64, field, format string, args ...any) *Error {
	return &Error{Off: off, Field: field, Err: fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), code)}
}

// ioError wraps what a file answered.
func ioError(off int64, field string, err error) *Error {
	return &Error{Off: off, Field: field, Err: err}
}

// during names the call that an error of this package ended; any other error
// is wrapped. A nil error stays nil.
func during(op string, err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *Error:
		named := *e
		named.Op = op
		return &named
	default:
		return &Error{Op: op, Off: -1, Err: err}
	}
}
