package file

import (
	"io"
	"syscall"
)

// NoSpace is what a full disk says.
const NoSpace = syscall.ENOSPC

// Fail wraps an error as every call does.
func Fail(err error) error { return fail("test", 0, err) }

// CutFile is a file that Cut may shorten.
type CutFile interface {
	Truncate(int64) error
	io.WriterAt
}

// Cut is Discard to the end of a file where no holes can be punched.
func (s *Store) Cut(wrap func(CutFile) CutFile, off int64) error { return s.cut(wrap(s.f), off) }
