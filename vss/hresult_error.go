package vss

import (
	"fmt"
	"strings"
)

// An Error is a failure of this package: which call failed, on what, and why.
// The code is found by [HRESULTOf] and by errors.Is, which also looks through
// errors of other packages that carry a code.
type Error struct {
	Op    string      // the call: "DoSnapshotSet"
	On    string      // the writer, volume, component or document
	State WriterState // where a writer stood; 0 where that says nothing
	Err   error       // an HRESULT, or a cause with one in its chain
}

// Error prints the parts on one line:
//
//	DoSnapshotSet: ledger: VSS_WS_WAITING_FOR_THAW: VSS_E_WRITERERROR_TIMEOUT (0x800423F2)
func (e *Error) Error() string {
	var parts []string
	for _, part := range []string{e.Op, e.On, e.where(), e.cause()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(strings.FieldsFunc(strings.Join(parts, ": "), isLineEnd), "; ")
}

func isLineEnd(r rune) bool { return r == '\n' || r == '\r' }

func (e *Error) where() string {
	if e.State == StateUnknown {
		return ""
	}
	return e.State.String()
}

func (e *Error) cause() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is tells whether e comes down to the code target, as [HRESULTOf] has it.
func (e *Error) Is(target error) bool {
	h, ok := target.(HRESULT)
	return ok && e.Err != nil && HRESULTOf(e.Err) == h
}

// fail makes an Error whose cause is h with an explanation behind it.
func fail(op, on string, h HRESULT, format string, args ...any) error {
	return &Error{Op: op, On: on, Err: fmt.Errorf("%w: %s", h, fmt.Sprintf(format, args...))}
}
