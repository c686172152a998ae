package virtdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

func TestCodeText(t *testing.T) {
	for code, want := range map[Code]string{
		ErrFooterMissing: "ERROR_VHD_DRIVE_FOOTER_MISSING (0xC03A0001)",
		ErrTrackingLost:  "ERROR_VHD_MISSING_CHANGE_TRACKING_INFORMATION (0xC03A0030)",
		ErrHeader:        "ERROR_FILE_CORRUPT (1392)",
		0xC03A0031:       "error 0xC03A0031",
		7:                "error 7",
	} {
		if got := code.Error(); got != want {
			t.Errorf("%d prints %q, want %q", uint32(code), got, want)
		}
		if code.Number() != uint32(code) {
			t.Errorf("%v has the number %d", code, code.Number())
		}
	}
}

// TestNames demands that the numbers are without a gap where the headers have
// none, and that no name stands twice.
func TestNames(t *testing.T) {
	seen := map[string]Code{}
	for code := ErrFooterMissing; code <= ErrTrackingOff; code++ {
		name := code.Name()
		if name == "" {
			t.Errorf("0x%08X has no name", uint32(code))
		}
		if other, twice := seen[name]; twice {
			t.Errorf("%s is 0x%08X and 0x%08X", name, uint32(other), uint32(code))
		}
		if !strings.HasPrefix(name, "ERROR_") {
			t.Errorf("0x%08X is named %q, which is no Windows constant", uint32(code), name)
		}
		seen[name] = code
	}
	if got, want := len(names), len(seen)+2; got != want {
		t.Errorf("%d names, want %d: those in a row, ErrHeader and ErrTrackingLost", got, want)
	}
}

func TestIs(t *testing.T) {
	err := fmt.Errorf("opening: %w", ErrParentNotFound)
	if !errors.Is(err, ErrParentNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not what it says", err)
	}
	if errors.Is(err, ErrParentID) || errors.Is(ErrParentID, fs.ErrNotExist) {
		t.Error("two codes count as one")
	}
	if !errors.Is(ErrParentAccess, fs.ErrPermission) {
		t.Error("a parent that may not be read is no fs.ErrPermission")
	}
}
