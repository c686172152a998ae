package file

import (
	"io"
	"os"
	"syscall"
)

// Numbers of Linux that package syscall does not name: lseek(2), fallocate(2).
const (
	seekData  = 3
	seekHole  = 4
	keepSize  = 1
	punchHole = 2

	onWindows = false
)

// punch makes a hole. It fails where the file system has none.
func punch(f *os.File, off, n int64) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) {
		for {
			if err = syscall.Fallocate(int(fd), keepSize|punchHole, off, n); err != syscall.EINTR {
				return
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// nextData returns the next range between off and end that is allocated. It
// reads the position of the file, which nothing else here uses.
func nextData(f *os.File, off, end int64) (from, to int64, ok bool) {
	from, err := f.Seek(off, seekData)
	switch {
	case isPastData(err):
		return 0, 0, false
	case err != nil || from < off:
		return off, end, true
	case from >= end:
		return 0, 0, false
	}
	to, err = f.Seek(from, seekHole)
	if err != nil || to <= from {
		to = end
	}
	return from, min(to, end), true
}

// isPastData tells the answer to a question for data behind the last.
func isPastData(err error) bool {
	e, ok := err.(*os.PathError)
	return ok && e.Err == syscall.ENXIO || err == io.EOF
}
