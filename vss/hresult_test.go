package vss

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryCodeHasNameMeaningAndAdvice(t *testing.T) {
	if !slices.IsSortedFunc(codes, func(a, b code) int { return int(int64(a.value) - int64(b.value)) }) {
		t.Fatal("the table is not sorted")
	}
	seen := map[string]bool{}
	for i, c := range codes {
		if i > 0 && codes[i-1].value == c.value || seen[c.name] {
			t.Errorf("%s stands twice", c.name)
		}
		seen[c.name] = true
		if c.meaning == "" || strings.Contains(c.meaning, "\n") || c.value.Meaning() != c.meaning || c.value.Name() != c.name {
			t.Errorf("%s: meaning %q", c.name, c.value.Meaning())
		}
		if (c.value.Advice().Retry == RetryNotApplicable) != c.value.Succeeded() {
			t.Errorf("%v: advice %v", c.value, c.value.Advice())
		}
		if c.value.Failed() == c.value.Succeeded() {
			t.Errorf("%v has both failed and succeeded, or neither", c.value)
		}
		if success := strings.HasPrefix(strings.TrimPrefix(c.name, "VSS_"), "S_"); success != c.value.Succeeded() {
			t.Errorf("%v succeeded: %v", c.value, c.value.Succeeded())
		}
		if strings.HasPrefix(c.name, "VSS_") && c.value.Facility() != 4 {
			t.Errorf("%v has facility %d", c.value, c.value.Facility())
		}
	}
}

// TestCodesCarryTheRealNumbers holds the constants against the public header.
func TestCodesCarryTheRealNumbers(t *testing.T) {
	for _, row := range codeRows {
		if uint32(row.code) != row.number || row.code.Name() != row.name {
			t.Errorf("%s is 0x%08X, want %s 0x%08X", row.code.Name(), uint32(row.code), row.name, row.number)
		}
		if advice := row.code.Advice(); advice.Retry != row.retry || (advice.Attempts == 3) != row.thrice || (advice.Wait == 10*time.Minute) != row.thrice {
			t.Errorf("%v: advice %v, want %v, three times %v", row.code, advice, row.retry, row.thrice)
		}
	}
	if len(codeRows) != len(codes) {
		t.Errorf("%d codes are tested of %d", len(codeRows), len(codes))
	}
}

func TestPartsOfACode(t *testing.T) {
	for _, row := range []struct {
		h        HRESULT
		facility uint16
		code     uint16
		text     string
	}{
		{ErrBadState, 4, 0x2301, "VSS_E_BAD_STATE (0x80042301)"},
		{ErrAccessDenied, 7, 5, "E_ACCESSDENIED (0x80070005)"},
		{AsyncFinished, 4, 0x230A, "VSS_S_ASYNC_FINISHED (0x0004230A)"},
		{SOK, 0, 0, "S_OK (0x00000000)"},
		{0x80042305, 4, 0x2305, "0x80042305"},
	} {
		if row.h.Facility() != row.facility || row.h.Code() != row.code || row.h.String() != row.text || row.h.Error() != row.text {
			t.Errorf("%v: facility %d code %#x", row.h, row.h.Facility(), row.h.Code())
		}
	}
	if SOK.Err() != nil || SFalse.Err() != nil || ErrBadState.Err() != ErrBadState {
		t.Error("Err does not tell success from failure")
	}
	if HRESULT(0x80042305).Name() != "" || HRESULT(0x80042305).Meaning() != "" {
		t.Error("a number that is not used has a name")
	}
}

// coded is an error of another package.
type coded uint32

func (c coded) Error() string   { return fmt.Sprintf("coded %#x", uint32(c)) }
func (c coded) HRESULT() uint32 { return uint32(c) }

func TestHRESULTOf(t *testing.T) {
	deep := fmt.Errorf("a: %w", &Error{Op: "b", Err: fmt.Errorf("c: %w", ErrProviderVeto)})
	for _, row := range []struct {
		err  error
		want HRESULT
	}{
		{nil, SOK},
		{ErrBadState, ErrBadState},
		{AsyncCancelled, AsyncCancelled},
		{errors.New("unknown"), ErrUnexpected},
		{context.Canceled, ErrUnexpected},
		{deep, ErrProviderVeto},
		{errors.Join(errors.New("unknown"), deep, ErrBadState), ErrProviderVeto},
		{fmt.Errorf("x: %w", coded(0x80070020)), 0x80070020},
		{&Error{Op: "x"}, ErrUnexpected},
		{&Error{Op: "x", Err: coded(0x80042316)}, ErrSnapshotSetInProgress},
	} {
		if got := HRESULTOf(row.err); got != row.want {
			t.Errorf("%v: %v, want %v", row.err, got, row.want)
		}
	}
}

func TestErrorsIsLooksThroughWrappers(t *testing.T) {
	err := fmt.Errorf("backup: %w", &Error{Op: "StartSnapshotSet", Err: fmt.Errorf("%w: busy", coded(0x80042316))})
	if !errors.Is(err, ErrSnapshotSetInProgress) || errors.Is(err, ErrBadState) || errors.Is(err, ErrUnexpected) {
		t.Errorf("%v is not what its code says", err)
	}
	if !errors.Is(&Error{Op: "x", Err: errors.New("unknown")}, ErrUnexpected) {
		t.Error("an error without a code is not unexpected")
	}
	if errors.Is(&Error{Op: "x"}, SOK) || errors.Is(&Error{Op: "x"}, ErrUnexpected) {
		t.Error("an Error without a cause matches a code")
	}
	var e *Error
	if !errors.As(err, &e) || e.Op != "StartSnapshotSet" {
		t.Error("the Error is not found")
	}
}

func TestErrorText(t *testing.T) {
	for _, row := range []struct {
		err  Error
		want string
	}{
		{Error{Op: "DoSnapshotSet", On: "sql", State: StateWaitingForThaw, Err: ErrWriterErrorTimeout},
			"DoSnapshotSet: sql: VSS_WS_WAITING_FOR_THAW: VSS_E_WRITERERROR_TIMEOUT (0x800423F2)"},
		{Error{Op: "SetContext", Err: ErrBadState}, "SetContext: VSS_E_BAD_STATE (0x80042301)"},
		{Error{On: `C:\`}, `C:\`},
		{Error{Op: "Read", Err: errors.Join(errors.New("one"), errors.New("two\r\nthree"))}, "Read: one; two; three"},
	} {
		if got := row.err.Error(); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}

func TestParseHRESULT(t *testing.T) {
	for _, c := range codes {
		short := strings.TrimPrefix(strings.TrimPrefix(c.name, "VSS_"), "E_")
		texts := []string{c.name, strings.ToLower(c.name), c.value.String(), fmt.Sprintf("0x%x", uint32(c.value)), fmt.Sprint(int32(c.value)),
			strings.TrimPrefix(c.name, "VSS_E_"), short}
		for i, text := range texts {
			got, err := ParseHRESULT(" " + text + "\t")
			if err != nil || got != c.value && !(i >= 5 && c.value == ErrCOMUnexpected) {
				t.Errorf("%q = %v, %v; want %v", text, got, err, c.value)
			}
		}
	}
	for text, want := range map[string]HRESULT{
		"UNEXPECTED": ErrUnexpected, "E_UNEXPECTED": ErrCOMUnexpected, "E_WRITERERROR_TIMEOUT": ErrWriterErrorTimeout,
		"some_snapshots_not_imported": ErrSomeSnapshotsNotImported, "S_SOME_SNAPSHOTS_NOT_IMPORTED": SomeSnapshotsNotImported,
		"ok": SOK, "false": SFalse, "async_finished": AsyncFinished, "2147754752": 0x80042300, "0x80042305": 0x80042305,
	} {
		if got, err := ParseHRESULT(text); err != nil || got != want {
			t.Errorf("%q = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "VSS_E_", "VSS_E_NOTHING", "0x1800423F4", "VSS_E_BAD_STATE (0x80042302)", "VSS_E_BAD_STATE (", "-2147483649"} {
		if got, err := ParseHRESULT(bad); !errors.Is(err, ErrInvalidArg) {
			t.Errorf("%q = %v, %v; want ErrInvalidArg", bad, got, err)
		}
	}
}

func TestAdviceText(t *testing.T) {
	for h, want := range map[HRESULT]string{
		ErrWriterErrorTimeout:              "later, after 10m0s, up to 3 times: lower the load",
		ErrWriterErrorInconsistentSnapshot: "never: add the volumes the writer needs",
		ErrWriterErrorPartialFailure:       "per component: look at each component",
		ErrSnapshotSetInProgress:           "later: wait for the other backup",
		ErrWriterErrorRetryable:            "later, after 10m0s, up to 3 times: if it fails again, restart the writer's service",
		ErrBadState:                        "never",
		AsyncFinished:                      "not applicable",
		0x00042399:                         "not applicable",
		0x80042399:                         "unclear",
	} {
		if got := h.Advice().String(); got != want {
			t.Errorf("%v: %s, want %s", h, got, want)
		}
	}
	if Retry(9).String() != "9" || Remedy(99).String() != "99" {
		t.Error("values without a word do not print their number")
	}
}

func TestLastErrorTexts(t *testing.T) {
	for h, want := range map[HRESULT]string{
		SOK: "No error", ErrWriterErrorInconsistentSnapshot: "Inconsistent shadow copy", ErrWriterErrorOutOfResources: "Out of resources",
		ErrWriterErrorTimeout: "Timed out", ErrWriterErrorRetryable: "Retryable error", ErrWriterErrorNonRetryable: "Non-retryable error",
		ErrWriterNotResponding: "Not responding", ErrAccessDenied: "Unexpected error",
	} {
		if got := h.LastError(); got != want {
			t.Errorf("%v: %s, want %s", h, got, want)
		}
	}
}

func TestWritersMayReportFiveCodes(t *testing.T) {
	n := 0
	for _, c := range codes {
		if c.value.WriterFailure() {
			n++
			if c.value < 0x800423F0 || c.value > 0x800423F4 {
				t.Errorf("a writer may report %v", c.value)
			}
		}
	}
	if n != 5 {
		t.Errorf("a writer may report %d codes", n)
	}
}
