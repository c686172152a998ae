//go:build !linux

package file

import (
	"os"
	"runtime"

	"github.com/shadowsim/shadowsim/disk"
)

const onWindows = runtime.GOOS == "windows"

// punch is not known here.
func punch(*os.File, int64, int64) error { return disk.ErrUnsupported }

// nextData takes everything for allocated.
func nextData(_ *os.File, off, end int64) (from, to int64, ok bool) { return off, end, true }
