package guest

import "fmt"

// A LayoutError tells what is wrong with the bytes of a disk, or why a disk
// could not be laid out as asked. Err is a [Code], or the error of the reader
// or store underneath.
type LayoutError struct {
	Op   string // the call: "ReadLayout"
	Off  int64  // the byte on the disk or volume where the object begins
	What string // the object: "backup GPT header"
	Err  error
}

// Error prints the call, the object, its place and the cause.
func (e *LayoutError) Error() string {
	return fmt.Sprintf("guest: %s: %s", e.Op, e.detail())
}

// detail leaves out the call, for texts about a layout that was read.
func (e *LayoutError) detail() string {
	return fmt.Sprintf("%s at byte %d: %v", e.What, e.Off, e.Err)
}

// Unwrap returns the cause, so that errors.Is finds the code.
func (e *LayoutError) Unwrap() error { return e.Err }

// A Code is a reason for which the bytes of a disk are refused.
type Code uint8

// The reasons of a [LayoutError].
const (
	ErrTruncated Code = iota + 1 // the disk or volume is too small for what it must hold
	ErrSignature                 // the bytes that identify the object are missing
	ErrChecksum                  // the checksum does not match
	ErrVersion                   // a version that is not known here
	ErrField                     // a field holds a value that its definition rules out
	ErrRange                     // the object reaches outside of what contains it
	ErrOverlap                   // two objects claim the same bytes
	ErrLoop                      // a chain leads back into itself
	ErrLimit                     // more objects than any real disk has
	ErrSpec                      // Format or WriteSystem was asked for something impossible
	ErrNoSystem                  // the volume carries no system record
)

var codeText = [...]string{
	ErrTruncated: "too small",
	ErrSignature: "signature is missing",
	ErrChecksum:  "checksum does not match",
	ErrVersion:   "unknown version",
	ErrField:     "impossible value",
	ErrRange:     "reaches outside",
	ErrOverlap:   "overlaps another",
	ErrLoop:      "chain runs in a circle",
	ErrLimit:     "too many",
	ErrSpec:      "cannot be made as asked",
	ErrNoSystem:  "no system record",
}

// Error prints the reason in words.
func (c Code) Error() string {
	if c > 0 && int(c) < len(codeText) {
		return codeText[c]
	}
	return fmt.Sprintf("guest error %d", uint8(c))
}

// malformed tells an error about the bytes from one of the reader, for which
// no second copy on the disk makes up.
func (e *LayoutError) malformed() bool {
	_, ok := e.Err.(Code)
	return ok
}
