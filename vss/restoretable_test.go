package vss_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/shadowsim/shadowsim/vss"
)

// restorePlace is the decision in the words of "Setting VSS Restore Methods" and of
// VSS_RESTORE_TARGET, condition by condition.
func restorePlace(m vss.RestoreMethod, t vss.RestoreTarget, c vss.RestoreConditions) vss.RestorePlace {
	is := func(x vss.RestoreConditions) bool { return c&x == x }
	if is(vss.IfNewTarget) {
		return vss.PlaceNewTarget
	}
	if m == vss.MethodCustom {
		return vss.PlaceCustom
	}
	if m == vss.MethodRestoreAtReboot {
		return vss.PlaceReboot
	}
	if m == vss.MethodRestoreAtRebootIfCannotReplace && !is(vss.IfAbsent) && !is(vss.IfReplaceable) {
		return vss.PlaceReboot
	}
	mapped := vss.PlaceNowhere
	if is(vss.IfMapped) && is(vss.IfMappedFree) {
		mapped = vss.PlaceAlternate
	}
	switch t {
	case vss.TargetDirected:
		return vss.PlaceDirected
	case vss.TargetAlternate:
		return mapped
	}
	if m == vss.MethodUndefined && t == vss.TargetOriginal {
		return vss.PlaceNowhere
	}
	if m == vss.MethodRestoreToAlternateLocation && t == vss.TargetOriginal {
		return mapped
	}
	var free bool
	switch m {
	case vss.MethodRestoreIfNotThere:
		free = is(vss.IfAbsent)
	case vss.MethodRestoreAtRebootIfCannotReplace:
		free = true // the rest was decided above
	case vss.MethodStopRestoreStart:
		if !is(vss.IfStopped) {
			return vss.PlaceNowhere
		}
		free = is(vss.IfReplaceable)
	default:
		free = is(vss.IfReplaceable)
	}
	switch {
	case free:
		return vss.PlaceOriginal
	case t == vss.TargetOriginalLocation:
		return vss.PlaceNowhere
	}
	return mapped
}

// TestRestoreMethodTable walks every method, target and set of conditions.
func TestRestoreMethodTable(t *testing.T) {
	seen := make(map[vss.RestorePlace]int)
	for m := vss.MethodUndefined; m <= vss.MethodRestoreStopStart; m++ {
		for target := vss.TargetUndefined; target <= vss.TargetOriginalLocation; target++ {
			asked := target
			if target == vss.TargetUndefined {
				asked = vss.TargetOriginal
			}
			for c := vss.RestoreConditions(0); c < 64; c++ {
				want := restorePlace(m, asked, c)
				got, err := vss.DecideRestore(m, target, c)
				seen[got]++
				if got != want || (err == nil) != (want != vss.PlaceNowhere) {
					t.Errorf("%v, %v, conditions %06b: %v, %v; want %v", m, target, c, got, err, want)
				}
			}
		}
	}
	for p := vss.PlaceNowhere; p <= vss.PlaceNewTarget; p++ {
		if seen[p] == 0 {
			t.Errorf("%v never happens", p)
		}
	}
	if _, err := vss.DecideRestore(99, vss.TargetOriginal, 0); !errors.Is(err, vss.ErrInvalidArg) {
		t.Errorf("an unknown method: %v", err)
	}
}

// Why nothing is restored has a code: the rows that people ask about.
func TestRestoreMethodCodes(t *testing.T) {
	for _, tt := range []struct {
		method vss.RestoreMethod
		target vss.RestoreTarget
		given  vss.RestoreConditions
		want   vss.HRESULT
	}{
		{vss.MethodUndefined, vss.TargetOriginal, 0, vss.ErrInvalidArg},
		{vss.MethodRestoreIfNotThere, vss.TargetOriginal, vss.IfReplaceable, vss.ErrObjectAlreadyExists},
		{vss.MethodRestoreIfNotThere, vss.TargetOriginal, vss.IfMapped | vss.IfMappedFree, vss.SOK},
		{vss.MethodRestoreIfNotThere, vss.TargetOriginalLocation, vss.IfMapped | vss.IfMappedFree, vss.ErrObjectAlreadyExists},
		{vss.MethodRestoreIfCanReplace, vss.TargetOriginal, vss.IfMapped, vss.ErrAccessDenied},
		{vss.MethodStopRestoreStart, vss.TargetOriginal, vss.IfReplaceable | vss.IfMapped | vss.IfMappedFree, vss.ErrBadState},
		{vss.MethodRestoreToAlternateLocation, vss.TargetOriginal, vss.IfAbsent | vss.IfReplaceable, vss.ErrObjectNotFound},
		{vss.MethodRestoreIfCanReplace, vss.TargetAlternate, vss.IfReplaceable, vss.ErrObjectNotFound},
	} {
		if _, err := vss.DecideRestore(tt.method, tt.target, tt.given); vss.HRESULTOf(err) != tt.want {
			t.Errorf("%v, %v, %06b: %v, not %v", tt.method, tt.target, tt.given, err, tt.want)
		}
	}
}

// Where a component goes whose file is there and cannot be replaced.
func ExampleDecideRestore() {
	place, err := vss.DecideRestore(vss.MethodRestoreIfCanReplace, vss.TargetOriginal, vss.IfMapped|vss.IfMappedFree)
	fmt.Println(place, err)
	place, err = vss.DecideRestore(vss.MethodRestoreIfCanReplace, vss.TargetOriginalLocation, vss.IfMapped|vss.IfMappedFree)
	fmt.Println(place, err)
	// Output:
	// alternate <nil>
	// nowhere DecideRestore: E_ACCESSDENIED (0x80070005): VSS_RME_RESTORE_IF_CAN_REPLACE with VSS_RT_ORIGINAL_LOCATION
}
