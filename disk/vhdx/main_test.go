package vhdx_test

import (
	"os"
	"runtime/debug"
	"testing"
)

// The tests make and drop many images: collecting them less often takes half the time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
