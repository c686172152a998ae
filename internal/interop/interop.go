// Package interop finds the programs that tests compare our files with: disk
// image tools, partition editors, whatever else reads or writes the same bytes.
package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Variable is the environment variable that decides about a missing tool: set
// to "require" the test fails, otherwise it is skipped.
const Variable = "SHADOWSIM_INTEROP"

// Tool returns the path of a program, looking also where only an
// administrator's PATH leads. Without it the test ends: skipped with a line
// that names the program, or failed if Variable asks for that. A short run goes
// without other programs.
func Tool(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("a short run asks no %s", name)
	}
	path, ok := find(name)
	if ok {
		return path
	}
	if os.Getenv(Variable) == "require" {
		t.Fatalf("%s is not installed, and %s=require", name, Variable)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

func find(name string) (path string, ok bool) {
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	for _, dir := range []string{"/sbin", "/usr/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, true
		}
	}
	return "", false
}
