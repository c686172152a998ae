package vhdx

import (
	"fmt"
	"io"
	"strings"

	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// A Code says in Windows' own numbers what is wrong with an image or a call.
// It is an error by itself, and errors.Is finds it in every error of this
// package. All codecs share it.
type Code = virtdisk.Code

// The codes this package reports.
const (
	ErrHeader         = virtdisk.ErrHeader         // no current header, or one that points nowhere
	ErrFormatUnknown  = virtdisk.ErrFormatUnknown  // the file is no VHDX
	ErrFormatVersion  = virtdisk.ErrFormatVersion  // the version of the format or of its log is not 1 or 0
	ErrAllocate       = virtdisk.ErrAllocate       // there is no room for a further block
	ErrBAT            = virtdisk.ErrBAT            // an entry of the block allocation table cannot be
	ErrBlockSize      = virtdisk.ErrBlockSize      // the block size is not allowed
	ErrBitmap         = virtdisk.ErrBitmap         // a block needs a sector bitmap that is not there
	ErrParentNotFound = virtdisk.ErrParentNotFound // no parent was given, or nothing leads to one
	ErrParentID       = virtdisk.ErrParentID       // the parent is another disk, or was written to
	ErrMetadataRead   = virtdisk.ErrMetadataRead   // a region, a metadata item or the log cannot be read
	ErrSize           = virtdisk.ErrSize           // the disk's size is zero, no multiple of a sector, or above MaxSize
	ErrFileSize       = virtdisk.ErrFileSize       // the file is shorter than what it says it holds
	ErrChainCycle     = virtdisk.ErrChainCycle     // the parent is over its own child, or over too many others
	ErrLimit          = virtdisk.ErrLimit          // this kind of image cannot do that
	ErrType           = virtdisk.ErrType           // the disk type is none of the three, or wrong for the call
	ErrShrink         = virtdisk.ErrShrink         // the smaller disk would lose data
	ErrSectorSize     = virtdisk.ErrSectorSize     // a sector size is not allowed, or differs from the parent's
)

// Error is what every function of this package returns when it fails, but for
// io.EOF at the end of the disk.
type Error struct {
	Op    string // the call: "Open", "WriteAt"
	Off   int64  // the place in the file where the trouble lies; -1 when it lies in the call
	Field string // what it is about: "region table", "block 7"; "" when Err says it all
	Err   error  // a Code, a sentence around a Code, a disk.Code, or what the file answered
}

// Error prints the call, the field, its place and the cause, in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("vhdx: ")
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

// readFull reads len(p) bytes at off of a file that must have them.
func readFull(r io.ReaderAt, p []byte, off int64, field string) error {
	if len(p) == 0 {
		return nil
	}
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return bad(ErrFileSize, off, field, "the file ended after %d of %d bytes", n, len(p))
	}
	return ioError(off, field, err)
}
