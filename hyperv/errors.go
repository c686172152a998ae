package hyperv

import (
	"fmt"

	"github.com/shadowsim/shadowsim/vss"
)

// An Error says what failed, at which machine or file, and why.
type Error struct {
	Op    string // the call: "Save", "Register"
	On    string // the machine's name, or a path
	State State  // of the machine, or 0
	Err   error  // a Code, or a cause
}

func (e *Error) Error() string {
	s := e.Op
	if e.On != "" {
		s += ": " + e.On
	}
	if e.State != 0 {
		s += " (" + e.State.String() + ")"
	}
	return s + ": " + e.Err.Error()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// A Code is a return value of the virtualization WMI provider.
type Code uint32

const (
	ErrFailed        Code = 32768
	ErrAccessDenied  Code = 32769
	ErrNotSupported  Code = 32770
	ErrTimeout       Code = 32772
	ErrParameter     Code = 32773
	ErrInUse         Code = 32774 // another operation holds the machine
	ErrInvalidState  Code = 32775 // the machine's state does not allow the request
	ErrNotAvailable  Code = 32777 // the management service is not running
	ErrOutOfMemory   Code = 32778
	ErrFileNotFound  Code = 32779
	ErrConfiguration Code = 32781 // a configuration file cannot be read
	ErrNotFound      Code = 32782 // no such machine, switch or adapter
)

var codeTexts = map[Code]string{
	ErrFailed:        "failed",
	ErrAccessDenied:  "access denied",
	ErrNotSupported:  "not supported",
	ErrTimeout:       "timed out",
	ErrParameter:     "invalid parameter",
	ErrInUse:         "the machine is in use by another operation",
	ErrInvalidState:  "invalid state for this operation",
	ErrNotAvailable:  "the management service is not running",
	ErrOutOfMemory:   "out of memory",
	ErrFileNotFound:  "file not found",
	ErrConfiguration: "the configuration cannot be read",
	ErrNotFound:      "not found",
}

func (c Code) Error() string { return fmt.Sprintf("%s (%d)", codeTexts[c], uint32(c)) }

// HRESULT is the code as a writer or requester reports it.
func (c Code) HRESULT() uint32 {
	switch c {
	case ErrInUse, ErrTimeout, ErrNotAvailable, ErrOutOfMemory:
		return uint32(vss.ErrWriterErrorRetryable)
	default:
		return uint32(vss.ErrWriterErrorNonRetryable)
	}
}
