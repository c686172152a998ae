// Package file keeps block stores in files of the operating system, for disks
// that are larger than memory.
//
//	f, err := file.Create("disk.img", 2<<40)   // sparse: takes no room yet
//	defer f.Close()
//	f.WriteAt(sector, 1<<30)
//	im, err := vhd.Create(f, vhd.Options{...}) // an image file in place
//
// A [Store] has [disk.Discarder], [disk.Extenter], [disk.Resizer] and
// [disk.Syncer]. On Linux a discard punches a hole, and extents are what the file
// system has allocated; elsewhere, and where the file system cannot, a discard
// writes zeros or cuts the file, and all of a file counts as allocated. It takes
// no snapshots; a [disk.Overlay] over one does.
//
// This is the only package of block stores that touches the machine it runs on.
// What a simulated world needs stays in memory.
package file

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"syscall"

	"github.com/shadowsim/shadowsim/disk"
)

// A Store is a block store in a file. Any number of goroutines may read it at
// once; writing, discarding and resizing need it for themselves. Nobody else may
// change the length of the file meanwhile.
//
// Errors are [*disk.Error] with the cause inside: a [disk.Code], or what the
// operating system said; a full disk is [disk.ErrNoSpace] as well.
type Store struct {
	f        *os.File
	size     int64
	readOnly bool
}

// Create makes a file of size bytes, all zero, in place of the one that may be
// there. It takes room as it is written, where the file system can do that.
func Create(name string, size int64) (*Store, error) {
	if size < 0 {
		return nil, fail("Create", size, disk.ErrSize)
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, fail("Create", 0, err)
	}
	s := &Store{f: f}
	if err := s.setLength(size); err != nil {
		return nil, errors.Join(fail("Create", size, err), f.Close())
	}
	return s, nil
}

// Open opens a file for reading and writing.
func Open(name string) (*Store, error) { return open(name, os.O_RDWR) }

// OpenReadOnly opens a file for reading.
func OpenReadOnly(name string) (*Store, error) { return open(name, os.O_RDONLY) }

func open(name string, flag int) (*Store, error) {
	f, err := os.OpenFile(name, flag, 0)
	if err != nil {
		return nil, fail("Open", 0, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = disk.ErrUnsupported
	}
	if err != nil {
		return nil, errors.Join(fail("Open", 0, err), f.Close())
	}
	return &Store{f: f, size: info.Size(), readOnly: flag == os.O_RDONLY}, nil
}

// Name returns the name the file was opened with.
func (s *Store) Name() string { return s.f.Name() }

// Size returns the number of bytes.
func (s *Store) Size() int64 { return s.size }

// ReadAt reads as [disk.Source] demands.
func (s *Store) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fail("ReadAt", off, disk.ErrRange)
	}
	n := s.fit(len(p), off)
	k, err := s.f.ReadAt(p[:n], off)
	switch {
	case k < n && err == io.EOF:
		return k, fail("ReadAt", off+int64(k), io.ErrUnexpectedEOF) // somebody cut the file
	case k < n:
		return k, fail("ReadAt", off+int64(k), err)
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes as [disk.Store] demands.
func (s *Store) WriteAt(p []byte, off int64) (int, error) {
	switch {
	case s.readOnly:
		return 0, fail("WriteAt", off, disk.ErrReadOnly)
	case off < 0:
		return 0, fail("WriteAt", off, disk.ErrRange)
	}
	n := s.fit(len(p), off)
	if n > 0 {
		if k, err := s.f.WriteAt(p[:n], off); err != nil {
			return k, fail("WriteAt", off+int64(k), err)
		}
	}
	if n < len(p) {
		return n, fail("WriteAt", off, disk.ErrRange)
	}
	return n, nil
}

// fit returns how many of n bytes at off the store has.
func (s *Store) fit(n int, off int64) int { return int(max(0, min(int64(n), s.size-off))) }

// Discard makes a range zero, and gives its room back where the file system can
// do that: on Linux as a hole, elsewhere if it reaches to the end.
func (s *Store) Discard(off, n int64) error {
	switch {
	case s.readOnly:
		return fail("Discard", off, disk.ErrReadOnly)
	case off < 0 || n < 0 || off > s.size || n > s.size-off:
		return fail("Discard", off, disk.ErrRange)
	case n == 0 || punch(s.f, off, n) == nil:
		return nil
	case off+n == s.size:
		return s.cut(s.f, off)
	}
	return s.zero(off, n)
}

// cut makes everything from off on zero, by ending the file there for a moment.
// Where it cannot be made as long again, zeros are written; if that fails too,
// the store is as long as the file.
func (s *Store) cut(f interface {
	Truncate(int64) error
	io.WriterAt
}, off int64) error {
	if err := f.Truncate(off); err != nil {
		return fail("Discard", off, err)
	}
	if f.Truncate(s.size) == nil {
		return nil
	}
	done, err := writeZeros(f, off, s.size-off)
	if err != nil {
		s.size = off + done
		return fail("Discard", s.size, err)
	}
	return nil
}

// zero writes zeros.
func (s *Store) zero(off, n int64) error {
	if done, err := writeZeros(s.f, off, n); err != nil {
		return fail("Discard", off+done, err)
	}
	return nil
}

// writeZeros writes n zeros and returns how many it wrote.
func writeZeros(w io.WriterAt, off, n int64) (done int64, err error) {
	buf := make([]byte, min(n, 1<<18))
	for done < n && err == nil {
		var k int
		k, err = w.WriteAt(buf[:min(n-done, int64(len(buf)))], off+done)
		done += int64(k)
	}
	return done, err
}

// Resize changes the length of the file.
func (s *Store) Resize(size int64) error {
	switch {
	case s.readOnly:
		return fail("Resize", size, disk.ErrReadOnly)
	case size < 0:
		return fail("Resize", size, disk.ErrSize)
	}
	if err := s.setLength(size); err != nil {
		return fail("Resize", size, err)
	}
	return nil
}

// setLength leaves alone a file that has its length: an empty one cut to nothing
// counts as replaced with ext4, which then begins to write it out when it is
// closed.
func (s *Store) setLength(size int64) error {
	if size == s.size {
		return nil
	}
	if err := s.f.Truncate(size); err != nil {
		return err
	}
	s.size = size
	return nil
}

// Extents yields what the file system has allocated, where it tells, as
// [disk.Extenter] promises. What cannot be asked counts as allocated.
func (s *Store) Extents(off, n int64) iter.Seq[disk.Extent] {
	return func(yield func(disk.Extent) bool) {
		if off < 0 {
			off, n = 0, n+off
		}
		for end := off + min(n, s.size-off); off < end; {
			from, to, ok := nextData(s.f, off, end)
			if !ok || !yield(disk.Extent{Off: from, Len: to - from}) {
				return
			}
			off = to
		}
	}
}

// Sync returns when what was written is on the medium.
func (s *Store) Sync() error {
	if s.readOnly {
		return nil
	}
	if err := s.f.Sync(); err != nil {
		return fail("Sync", 0, err)
	}
	return nil
}

// Close closes the file. The store cannot be used any more.
func (s *Store) Close() error {
	if err := s.f.Close(); err != nil {
		return fail("Close", 0, err)
	}
	return nil
}

// errDiskFull is ERROR_DISK_FULL of Windows, which has no name in package
// syscall.
const errDiskFull = syscall.Errno(112)

func fail(op string, off int64, err error) error {
	if errors.Is(err, syscall.ENOSPC) || onWindows && errors.Is(err, errDiskFull) {
		err = fmt.Errorf("%w: %w", disk.ErrNoSpace, err)
	}
	return &disk.Error{Op: op, Off: off, Err: err}
}

var (
	_ disk.Store     = (*Store)(nil)
	_ disk.Discarder = (*Store)(nil)
	_ disk.Extenter  = (*Store)(nil)
	_ disk.Resizer   = (*Store)(nil)
	_ disk.Syncer    = (*Store)(nil)
)
