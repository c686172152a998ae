// Package testmain runs the tests of packages that make and drop large images.
package testmain

import (
	"os"
	"runtime/debug"
	"testing"
)

// CollectLess runs the tests with a collector that starts at five times what is
// held, not at twice: most of their time is memory that is new and soon dropped.
func CollectLess(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
