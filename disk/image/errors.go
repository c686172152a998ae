package image

import (
	"fmt"
	"strings"

	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// A Code says in Windows' own numbers what is wrong with an image, a chain or a
// call. All codecs share it.
type Code = virtdisk.Code

// The codes this package reports beside those of the codecs.
const (
	ErrFormatUnknown  = virtdisk.ErrFormatUnknown  // the content is of no known format
	ErrParentNotFound = virtdisk.ErrParentNotFound // nothing leads to the parent
	ErrParentID       = virtdisk.ErrParentID       // what was found as the parent is another disk
	ErrParentTime     = virtdisk.ErrParentTime     // the parent's time stamp is not the one recorded
	ErrParentAccess   = virtdisk.ErrParentAccess   // the parent may not be read
	ErrParentSize     = virtdisk.ErrParentSize     // child and parent differ in size
	ErrParentBroken   = virtdisk.ErrParentBroken   // the parent has an error of its own
	ErrChainCycle     = virtdisk.ErrChainCycle     // a file is its own ancestor, or the chain too long
	ErrSectorSize     = virtdisk.ErrSectorSize     // not a size of sectors that the format has
	ErrLimit          = virtdisk.ErrLimit          // this kind of image cannot do that
	ErrType           = virtdisk.ErrType           // wrong kind of image for the call
	ErrShrink         = virtdisk.ErrShrink         // the smaller disk would lose data
)

// An Error tells which call failed on which file.
type Error struct {
	Op   string // the call: "OpenChain"
	Path string // the file; "" when there is none
	Err  error  // a Code, a sentence around one, or the error of a codec or a file
}

// Error prints the call, the file and the cause, in one line.
func (e *Error) Error() string {
	parts := []string{"image", e.Op}
	if e.Path != "" {
		parts = append(parts, e.Path)
	}
	return strings.Join(append(parts, e.Err.Error()), ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func fail(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Path: path, Err: err}
}

// because puts a sentence in front of a code.
func because(code error, format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), code)
}

// both is an error that is code and what it wraps.
func both(code, err error) error { return fmt.Errorf("%w: %w", code, err) }
