package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// An Error tells which call failed at which offset. Err is a [Code], or the
// error of a store below.
type Error struct {
	Op  string // the call: "WriteAt"
	Off int64  // where in the store; for Resize the size asked for
	Err error
}

// Error prints the call, the place and the cause.
func (e *Error) Error() string {
	return fmt.Sprintf("disk: %s at %d: %v", e.Op, e.Off, e.Err)
}

// Unwrap returns the cause, so that errors.Is finds the code.
func (e *Error) Unwrap() error { return e.Err }

// A Code is a reason for which a store refuses a call.
type Code uint8

// The reasons of plain stores. Image formats have further ones of their own.
const (
	ErrReadOnly    Code = iota + 1 // the store is a snapshot, or opened for reading
	ErrRange                       // the range is not wholly inside the store
	ErrSize                        // the size is negative, or does not suit the other store
	ErrNoSpace                     // a store with a limit has no room for the write
	ErrUnsupported                 // the store cannot do this; errors.ErrUnsupported matches too
	ErrNoSnapshot                  // a [SnapshotTree] has no snapshot of that name; fs.ErrNotExist matches too
	ErrExists                      // the name is taken; fs.ErrExist matches too

	ErrTrackingID   // a [Tracker] never had the point, or has given it up: ERROR_VHD_INVALID_CHANGE_TRACKING_ID
	ErrTrackingOff  // a [Tracker] is switched off: ERROR_VHD_CHANGE_TRACKING_DISABLED
	ErrTrackingLost // changes went unseen since the point: ERROR_VHD_MISSING_CHANGE_TRACKING_INFORMATION
)

var codeText = [...]string{
	ErrReadOnly:    "store is read-only",
	ErrRange:       "range is outside the store",
	ErrSize:        "size does not fit",
	ErrNoSpace:     "no space left",
	ErrUnsupported: "store cannot do this",
	ErrNoSnapshot:  "no snapshot of that name",
	ErrExists:      "name is taken",

	ErrTrackingID:   "unknown change tracking point",
	ErrTrackingOff:  "changes are not tracked",
	ErrTrackingLost: "changes since that point are not known",
}

// Error prints the reason in words.
func (c Code) Error() string {
	if int(c) < len(codeText) && c > 0 {
		return codeText[c]
	}
	return fmt.Sprintf("disk error %d", uint8(c))
}

// Is matches the standard library's errors of the same meaning.
func (c Code) Is(target error) bool {
	switch c {
	case ErrReadOnly:
		return target == fs.ErrPermission
	case ErrUnsupported:
		return target == errors.ErrUnsupported
	case ErrNoSnapshot:
		return target == fs.ErrNotExist
	case ErrExists:
		return target == fs.ErrExist
	}
	return false
}

func fail(op string, off int64, cause error) error {
	return &Error{Op: op, Off: off, Err: cause}
}

func isUnsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }

// fit returns how many of n bytes at off lie inside size bytes, and whether all do.
func fit(n int, off, size int64) (int, bool) {
	switch {
	case off < 0 || off > size:
		return 0, n == 0 && off >= 0
	case int64(n) > size-off:
		return int(size - off), false
	}
	return n, true
}

// readEnd is the error of a read that does not fit.
func readEnd(op string, off int64) error {
	if off < 0 {
		return fail(op, off, ErrRange)
	}
	return io.EOF
}

// checkRange refuses a range that is not wholly inside size bytes.
func checkRange(op string, off, n, size int64) error {
	if off < 0 || n < 0 || off > size || n > size-off {
		return fail(op, off, ErrRange)
	}
	return nil
}
