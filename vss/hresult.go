package vss

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An HRESULT is the code that every call of the Volume Shadow Copy Service ends
// with, and an error value when it is one of the failures. The constants carry
// the numbers of the public header, so that a code read from an event log can
// be compared with one of this package:
//
//	if errors.Is(err, vss.ErrSnapshotSetInProgress) { … }
//
// A success code is never returned as an error by this package; [HRESULT.Err]
// makes that choice.
type HRESULT uint32

// Succeeded tells whether h is a success code.
func (h HRESULT) Succeeded() bool { return h&0x8000_0000 == 0 }

// Failed tells whether h is a failure code.
func (h HRESULT) Failed() bool { return !h.Succeeded() }

// Facility returns the part of Windows that defined the code: 4 for the codes
// of the service, 7 for Windows errors dressed as an HRESULT.
func (h HRESULT) Facility() uint16 { return uint16(h>>16) & 0x7FF }

// Code returns the low 16 bits, the number within the facility.
func (h HRESULT) Code() uint16 { return uint16(h) }

// HRESULT returns the number itself. Errors of other packages have the same
// method, which is how [HRESULTOf] finds their codes.
func (h HRESULT) HRESULT() uint32 { return uint32(h) }

// Name returns the Windows name, VSS_E_BAD_STATE, or "" for a code without one.
func (h HRESULT) Name() string {
	if i, ok := h.find(); ok {
		return codes[i].name
	}
	return ""
}

// Meaning says in a few words what the code stands for, or "".
func (h HRESULT) Meaning() string {
	if i, ok := h.find(); ok {
		return codes[i].meaning
	}
	return ""
}

// String prints name and number, VSS_E_BAD_STATE (0x80042301), or the number
// alone.
func (h HRESULT) String() string {
	if name := h.Name(); name != "" {
		return fmt.Sprintf("%s (0x%08X)", name, uint32(h))
	}
	return fmt.Sprintf("0x%08X", uint32(h))
}

// Error is String.
func (h HRESULT) Error() string { return h.String() }

// Err returns h if it is a failure, and nil if it is a success code.
func (h HRESULT) Err() error {
	if h.Succeeded() {
		return nil
	}
	return h
}

// WriterFailure tells whether a writer may report h as its failure. The service
// refuses every other code ("CVssWriter::SetWriterFailure").
func (h HRESULT) WriterFailure() bool {
	switch h {
	case ErrWriterErrorInconsistentSnapshot, ErrWriterErrorOutOfResources, ErrWriterErrorTimeout,
		ErrWriterErrorRetryable, ErrWriterErrorNonRetryable:
		return true
	}
	return false
}

// LastError returns the text that vssadmin prints behind "Last error:" for a
// writer in this state.
func (h HRESULT) LastError() string {
	switch h {
	case SOK:
		return "No error"
	case ErrWriterErrorInconsistentSnapshot:
		return "Inconsistent shadow copy"
	case ErrWriterErrorOutOfResources:
		return "Out of resources"
	case ErrWriterErrorTimeout:
		return "Timed out"
	case ErrWriterErrorRetryable:
		return "Retryable error"
	case ErrWriterErrorNonRetryable:
		return "Non-retryable error"
	case ErrWriterNotResponding:
		return "Not responding"
	}
	return "Unexpected error"
}

func (h HRESULT) find() (int, bool) {
	return slices.BinarySearchFunc(codes, h, func(c code, h HRESULT) int { return cmp.Compare(c.value, h) })
}

// HRESULTOf returns the code that an error comes down to: the first error in
// its chain that has one, be it an HRESULT or an error of another package with
// a method HRESULT() uint32. It is [SOK] for nil and [ErrUnexpected] for an
// error without a code.
func HRESULTOf(err error) HRESULT {
	if err == nil {
		return SOK
	}
	var coded interface{ HRESULT() uint32 }
	if errors.As(err, &coded) {
		return HRESULT(coded.HRESULT())
	}
	return ErrUnexpected
}

// ParseHRESULT reads a code as people write it, in any case: the number
// (0x800423F4, or decimal, also as a negative number), the name
// (VSS_E_WRITERERROR_NONRETRYABLE), the name without its first part or parts
// (E_WRITERERROR_NONRETRYABLE, WRITERERROR_NONRETRYABLE), and what
// [HRESULT.String] prints. Where a short name has two readings, the service's
// failure codes come first. A number needs no name. The error is [ErrInvalidArg].
func ParseHRESULT(s string) (HRESULT, error) {
	text := strings.TrimSpace(s)
	if h, ok := parseNumber(text); ok {
		return h, nil
	}
	name, number, printed := strings.Cut(text, " (")
	for _, prefix := range [...]string{"", "VSS_", "VSS_E_", "E_", "VSS_S_", "S_"} {
		i := slices.IndexFunc(codes, func(c code) bool { return strings.EqualFold(c.name, prefix+name) })
		if i < 0 {
			continue
		}
		if printed && !strings.EqualFold(number, fmt.Sprintf("0x%08X)", uint32(codes[i].value))) {
			break
		}
		return codes[i].value, nil
	}
	return 0, fail("ParseHRESULT", "", ErrInvalidArg, "%q is not a result code", s)
}

func parseNumber(s string) (HRESULT, bool) {
	if n, err := strconv.ParseUint(s, 0, 32); err == nil {
		return HRESULT(n), true
	}
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return HRESULT(uint32(n)), true
	}
	return 0, false
}
