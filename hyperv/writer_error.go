package hyperv

import (
	"fmt"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
)

// failure is an error of a handler: which machine, why, and with which of the
// codes that a writer may set.
func failure(code vss.HRESULT, on string, cause error) error {
	return &WriterError{Code: code, VM: on, Err: cause}
}

// A WriterError is why the writer failed an event, and over which machine.
type WriterError struct {
	Code vss.HRESULT // what the requester sees
	VM   string      // name, or a component's name
	Err  error
}

// Error names the machine, the cause, and the code unless the cause ends with it.
func (e *WriterError) Error() string {
	s := fmt.Sprintf("%s: %v", e.VM, e.Err)
	if code := e.Code.Error(); !strings.HasSuffix(s, code) {
		s += ": " + code
	}
	return s
}

// Unwrap gives the code and the cause.
func (e *WriterError) Unwrap() []error { return []error{e.Code, e.Err} }

// writerCode is the code for a failure below: the one that the cause carries if a
// writer may report it, else what is given.
func writerCode(err error, otherwise vss.HRESULT) vss.HRESULT {
	if hr := vss.HRESULTOf(err); hr.WriterFailure() {
		return hr
	}
	return otherwise
}

// The numbers under which the management service of Windows Server 2008 reports a
// rollback that failed ("Event ID 10103", "Event ID 10104", "Event ID 10111").
const (
	EventRevertFailed   = 10103 // of one VHD
	EventRollbackFailed = 10104 // of one or more VHDs of a machine
	EventMountFailed    = 10111 // a VHD of the shadow copy could not be mounted
)

// EventFrozenBefore is the host's warning that a guest may have been backed up
// inconsistently, for one of its file systems was frozen before: so a test of the
// Linux Integration Services finds it. Older hosts log 10107.
const EventFrozenBefore = 10150

// A RollbackError is why a VHD file of a shadow copy could not be rolled back to the
// guest's snapshot.
type RollbackError struct {
	VHD   string // path of the live file
	Event int    // EventMountFailed or EventRevertFailed
	Err   error
}

// Error names the file, the step and the event.
func (e *RollbackError) Error() string {
	step := "cannot be reverted to the guest's snapshot"
	if e.Event == EventMountFailed {
		step = "cannot be mounted from the shadow copy"
	}
	return fmt.Sprintf("%s %s (event %d): %v", e.VHD, step, e.Event, e.Err)
}

// Unwrap is the cause.
func (e *RollbackError) Unwrap() error { return e.Err }
