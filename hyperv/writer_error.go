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
