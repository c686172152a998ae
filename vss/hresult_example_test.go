package vss_test

import (
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/vss"
)

func ExampleHRESULT() {
	err := fmt.Errorf("nightly backup: %w", &vss.Error{Op: "StartSnapshotSet", Err: vss.ErrSnapshotSetInProgress})
	fmt.Println(errors.Is(err, vss.ErrSnapshotSetInProgress))
	fmt.Println(vss.HRESULTOf(err))
	fmt.Println(vss.HRESULTOf(err).Advice())
	// Output:
	// true
	// VSS_E_SNAPSHOT_SET_IN_PROGRESS (0x80042316)
	// later: wait for the other backup
}

func ExampleError() {
	fmt.Println(&vss.Error{Op: "DoSnapshotSet", On: "ledger", State: vss.StateWaitingForThaw, Err: vss.ErrWriterErrorTimeout})
	// Output:
	// DoSnapshotSet: ledger: VSS_WS_WAITING_FOR_THAW: VSS_E_WRITERERROR_TIMEOUT (0x800423F2)
}

func ExampleAdvice() {
	for _, code := range []vss.HRESULT{vss.ErrWriterErrorTimeout, vss.ErrWriterErrorInconsistentSnapshot, vss.ErrBadState} {
		fmt.Printf("%s: %v\n", code.Meaning(), code.Advice())
	}
	// Output:
	// the writer timed out between freeze and thaw: later, after 10m0s, up to 3 times: lower the load
	// the set lacks volumes that the writer needs: never: add the volumes the writer needs
	// a call out of order: never
}

func ExampleParseHRESULT() {
	for _, text := range []string{"0x800423F4", "VSS_E_WRITERERROR_NONRETRYABLE", "e_writererror_nonretryable", "BAD_STATE"} {
		code, err := vss.ParseHRESULT(text)
		fmt.Println(code, err)
	}
	// Output:
	// VSS_E_WRITERERROR_NONRETRYABLE (0x800423F4) <nil>
	// VSS_E_WRITERERROR_NONRETRYABLE (0x800423F4) <nil>
	// VSS_E_WRITERERROR_NONRETRYABLE (0x800423F4) <nil>
	// VSS_E_BAD_STATE (0x80042301) <nil>
}
