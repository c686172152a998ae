package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// verdict is a test that records how Tool ended it.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Helper()                       {}
func (v *verdict) Skipf(format string, a ...any) { v.skipped = fmt.Sprintf(format, a...) }
func (v *verdict) Fatalf(format string, a ...any) {
	v.failed = fmt.Sprintf(format, a...)
}

func TestToolMissing(t *testing.T) {
	if testing.Short() {
		t.Skip("a short run asks no program")
	}
	const name = "no-such-program-anywhere"
	t.Setenv(Variable, "")
	v := &verdict{TB: t}
	if got := Tool(v, name); got != "" || !strings.Contains(v.skipped, name) || v.failed != "" {
		t.Errorf("Tool = %q, skipped %q, failed %q; want a skip that names it", got, v.skipped, v.failed)
	}
	t.Setenv(Variable, "require")
	v = &verdict{TB: t}
	if Tool(v, name); !strings.Contains(v.failed, name) {
		t.Errorf("with %s=require the test failed with %q; want the tool's name", Variable, v.failed)
	}
}

func TestToolFound(t *testing.T) {
	if testing.Short() {
		t.Skip("a short run asks no program")
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "js" {
		t.Skip("needs executable bits")
	}
	dir := t.TempDir()
	want := filepath.Join(dir, "probe")
	if err := os.WriteFile(want, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if got := Tool(t, "probe"); got != want {
		t.Errorf("Tool = %q, want %q", got, want)
	}
}
