package vhd

import (
	"fmt"
	"strings"

	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// A Code says in Windows' own numbers what is wrong with an image or a call.
// It is an error by itself, and errors.Is finds it in every error of this
// package. All codecs share it.
type Code = virtdisk.Code

// The codes this package reports.
const (
	ErrFooterMissing  = virtdisk.ErrFooterMissing  // no footer at the end, or a file too short for one
	ErrFooterChecksum = virtdisk.ErrFooterChecksum // neither the footer nor its copy has a good checksum
	ErrFooterCorrupt  = virtdisk.ErrFooterCorrupt  // the checksum is right, a field is out of range
	ErrFormatUnknown  = virtdisk.ErrFormatUnknown  // the file is no VHD
	ErrFormatVersion  = virtdisk.ErrFormatVersion  // the footer's version is not 1.x
	ErrSparseChecksum = virtdisk.ErrSparseChecksum // the dynamic header's checksum is wrong
	ErrSparseVersion  = virtdisk.ErrSparseVersion  // the dynamic header's version is not 1.x
	ErrSparseCorrupt  = virtdisk.ErrSparseCorrupt  // a field of the dynamic header is out of range
	ErrAllocate       = virtdisk.ErrAllocate       // there is no room for a further block
	ErrBAT            = virtdisk.ErrBAT            // a block lies where no block may lie
	ErrBlockSize      = virtdisk.ErrBlockSize      // the block size is not allowed
	ErrBitmap         = virtdisk.ErrBitmap         // a sector holds data that its bitmap denies
	ErrParentNotFound = virtdisk.ErrParentNotFound // a differencing image without its parent
	ErrParentID       = virtdisk.ErrParentID       // what was given as the parent is another disk
	ErrParentTime     = virtdisk.ErrParentTime     // the parent's time stamp is not the one recorded
	ErrSize           = virtdisk.ErrSize           // the disk's size is zero, no multiple of a sector, or above MaxSize
	ErrFileSize       = virtdisk.ErrFileSize       // the file is shorter than what it says it holds
	ErrParentSize     = virtdisk.ErrParentSize     // child and parent differ in size
	ErrChainCycle     = virtdisk.ErrChainCycle     // an image would be its own ancestor, or a chain is longer than MaxChain
	ErrLimit          = virtdisk.ErrLimit          // this kind of image cannot do that
	ErrState          = virtdisk.ErrState          // a saved state forbids it
	ErrShrink         = virtdisk.ErrShrink         // the smaller disk would lose data
	ErrType           = virtdisk.ErrType           // the disk type is none of the three, or wrong for the call
)

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
