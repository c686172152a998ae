package guest

import (
	"fmt"
	"io/fs"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// An Error is a failure of a machine: which call failed, on what, and why. Err
// is a [Reason], a [*WriterError], or the cause from below.
type Error struct {
	Op  string // the call: "Snapshot"
	On  string // the machine's path, a volume, a program or a shadow copy
	Err error
}

// Error prints the call, the object and the cause.
func (e *Error) Error() string {
	if e.On == "" {
		return fmt.Sprintf("guest: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("guest: %s: %s: %v", e.Op, e.On, e.Err)
}

// Unwrap returns the cause, so that errors.Is finds the reason.
func (e *Error) Unwrap() error { return e.Err }

// A Reason is why a machine refuses a call or cannot finish it.
type Reason uint8

// The reasons of an [Error].
const (
	ErrNoVolume     Reason = iota + 1 // the machine has no such volume
	ErrNoService                      // there is no such integration service
	ErrNoProgram                      // the catalog does not know the program
	ErrNoMemory                       // the machine's memory has no room
	ErrBadMemory                      // the bytes are not the memory of a machine
	ErrNoShadow                       // there is no such shadow copy
	ErrShadowExists                   // there is a shadow copy of that id already
	ErrEnded                          // the machine was powered off, saved, or died
	ErrPaused                         // the machine is paused
	ErrUnsupported                    // the operating system has no backup service (R14)
	ErrNotInstalled                   // the backup service is not installed (R11)
	ErrNotRunning                     // the backup service is stopped (R12)
	ErrProtocol                       // the backup service does not speak the host's protocol
	ErrBusy                           // the backup service is at work for another caller, or not up yet
	ErrTimeout                        // the guest did not finish in time
	ErrAborted                        // the host told the guest to give up
	ErrNothingToDo                    // no volume of the guest lies on a virtual disk of the host
	ErrWriter                         // a writer in the guest failed; see WriterError
	ErrFrozen                         // the file system is frozen already
	ErrNotFrozen                      // the file system is not frozen
	ErrNotFreezable                   // the file system is none that can be frozen
	ErrNoHotBackup                    // the operating system cannot be backed up while it runs
	ErrDetection                      // the volumes were not detected in time; also ErrTimeout
	reasonCount
)

var reasonText = [reasonCount]string{
	ErrNoVolume:     "no such volume",
	ErrNoService:    "no such integration service",
	ErrNoProgram:    "no such program in the catalog",
	ErrNoMemory:     "out of memory",
	ErrBadMemory:    "not the memory of a machine",
	ErrNoShadow:     "no such shadow copy",
	ErrShadowExists: "shadow copy exists already",
	ErrEnded:        "the machine has ended",
	ErrPaused:       "the machine is paused",
	ErrUnsupported:  "the operating system has no backup service",
	ErrNotInstalled: "the backup service is not installed",
	ErrNotRunning:   "the backup service is not running",
	ErrProtocol:     "the backup service speaks another protocol",
	ErrBusy:         "the backup service is busy",
	ErrTimeout:      "the guest did not answer in time",
	ErrAborted:      "aborted by the host",
	ErrNothingToDo:  "no volume to back up",
	ErrWriter:       "a writer failed",
	ErrFrozen:       "frozen already",
	ErrNotFrozen:    "not frozen",
	ErrNotFreezable: "the file system cannot be frozen",
	ErrNoHotBackup:  "the operating system cannot be backed up while it runs",
	ErrDetection:    "the volumes were not detected in time",
}

// Error prints the reason in words.
func (r Reason) Error() string {
	if r > 0 && r < reasonCount {
		return reasonText[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Is matches the standard library's errors of the same meaning, and [ErrTimeout] for
// the time-out of a detection.
func (r Reason) Is(target error) bool {
	switch r {
	case ErrNoShadow, ErrNoVolume:
		return target == fs.ErrNotExist
	case ErrShadowExists:
		return target == fs.ErrExist
	case ErrDetection:
		return target == ErrTimeout
	}
	return false
}

func shadowError(op string, id [16]byte, cause error) error {
	return &Error{Op: op, On: guid.String(id), Err: cause}
}
