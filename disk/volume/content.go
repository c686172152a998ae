package volume

import (
	"io"
	"iter"
	"math"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// Size is the number of bytes; of a closed file, 0.
func (f *File) Size() int64 {
	if f.snap != nil {
		return f.snap.Size()
	}
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if f.usable(ReadWrite) != nil {
		return 0
	}
	return f.v.files.get(f.id).data.Size()
}

// ReadAt reads as io.ReaderAt demands.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if f.snap != nil {
		if err := f.check(Read); err != nil {
			return 0, f.failed("ReadAt", err)
		}
		return f.readFrom(f.snap, p, off)
	}
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if err := f.usable(Read); err != nil {
		return 0, f.failed("ReadAt", err)
	}
	return f.readFrom(f.v.files.get(f.id).data, p, off)
}

func (f *File) readFrom(m *disk.Memory, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, f.failed("ReadAt", ErrInvalidParameter)
	}
	n, err := m.ReadAt(p, off)
	return n, f.failed("ReadAt", err)
}

// WriteAt writes all of p or, when the volume is full, nothing. Behind the end
// the file grows; a gap reads as zero and takes no room.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	err := f.usable(Write)
	if err == nil {
		err = f.v.write(f.id, p, off)
	}
	if err != nil {
		return 0, f.failed("WriteAt", err)
	}
	return len(p), nil
}

// Read reads from the position on.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, f.failed("Read", f.check(Read))
	}
	n, err := f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Write writes at the position.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

// Seek moves the position.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	if err := f.check(ReadWrite); err != nil {
		return 0, f.failed("Seek", err)
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += f.Size()
	default:
		return 0, f.failed("Seek", ErrInvalidParameter)
	}
	if offset < 0 {
		return 0, f.failed("Seek", ErrInvalidParameter)
	}
	f.pos = offset
	return offset, nil
}

// Resize makes the file longer, with zeros that take no room, or shorter.
func (f *File) Resize(size int64) error {
	return f.reshape("Resize", func(n *inode) error {
		if size < 0 {
			return ErrInvalidParameter
		}
		if size > maxBytes {
			return ErrFileTooLarge
		}
		lost := max(n.data.Size()-size, 0)
		before := allocated(n.data, size, lost)
		err := n.data.Resize(size)
		f.v.charge(n, allocated(n.data, size, lost)-before)
		return err
	})
}

// Discard makes a range of the file zero and gives back the room of clusters
// that are wholly in it.
func (f *File) Discard(off, size int64) error {
	return f.reshape("Discard", func(n *inode) error {
		if off < 0 || size < 0 || off > n.data.Size()-size {
			return ErrInvalidParameter
		}
		before := allocated(n.data, off, size)
		err := n.data.Discard(off, size)
		f.v.charge(n, allocated(n.data, off, size)-before)
		return err
	})
}

// reshape runs a change of a file that takes no room.
func (f *File) reshape(op string, change func(*inode) error) error {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	err := f.usable(Write)
	if err == nil {
		n := f.v.ownData(f.id)
		if err = change(n); err == nil {
			f.v.touch(n)
		}
	}
	return f.failed(op, err)
}

// Extents yields the allocated ranges between off and off+n; the rest reads as
// zero.
func (f *File) Extents(off, n int64) iter.Seq[disk.Extent] {
	if f.snap != nil {
		return f.snap.Extents(off, n)
	}
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if f.usable(ReadWrite) != nil {
		return slices.Values[[]disk.Extent](nil)
	}
	return slices.Values(slices.Collect(f.v.files.get(f.id).data.Extents(off, n)))
}

// Diff yields the ranges that may differ from an earlier snapshot of the file:
// what Snapshot or Bytes returned, or a File that was opened for reading.
func (f *File) Diff(since disk.Store) (iter.Seq[disk.Extent], error) {
	if s, ok := since.(*File); ok && s.snap != nil {
		since = s.snap
	}
	if f.snap != nil {
		return f.snap.Diff(since)
	}
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if err := f.usable(ReadWrite); err != nil {
		return nil, f.failed("Diff", err)
	}
	seq, err := f.v.files.get(f.id).data.Diff(since)
	if err != nil {
		return nil, f.failed("Diff", err)
	}
	return slices.Values(slices.Collect(seq)), nil
}

// Snapshot returns the bytes as they stand now, immutable, in constant time.
func (f *File) Snapshot() (disk.Store, error) {
	if f.snap != nil {
		return f.snap, nil
	}
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if err := f.usable(ReadWrite); err != nil {
		return nil, f.failed("Snapshot", err)
	}
	return f.v.files.get(f.id).data.Freeze(), nil
}

// Clone returns a copy of the bytes that may be written, in constant time.
func (f *File) Clone() (disk.Store, error) {
	s, err := f.Snapshot()
	if err != nil {
		return nil, err
	}
	return s.(*disk.Memory).Fork(), nil
}

// Bytes returns the file's bytes by reference, to be adopted elsewhere: a fork
// that shares every page until one side writes it. A file that cannot be read
// any more has none.
func (f *File) Bytes() *disk.Memory {
	c, err := f.Clone()
	if err != nil {
		return disk.NewMemory(0)
	}
	return c.(*disk.Memory)
}

// ReadFile returns the bytes of a file of less than 2 GiB.
func (v *Volume) ReadFile(path string) ([]byte, error) {
	f, err := v.Open(path)
	if err != nil {
		return nil, fail("ReadFile", path, bare(err))
	}
	data, err := f.appendTo(nil)
	return data, fail("ReadFile", path, err)
}

// ReadFileAt reads a part of a file as [File.ReadAt] does, without opening it.
func (v *Volume) ReadFileAt(path string, p []byte, off int64) (n int, err error) {
	err = v.do("ReadFileAt", path, false, func(elems []string) error {
		at, err := v.find(elems, true)
		if err != nil {
			return err
		}
		if err := v.openable(at.id, Read, ShareWrite); err != nil {
			return err
		}
		if off < 0 {
			return ErrInvalidParameter
		}
		n, err = v.files.get(at.id).data.ReadAt(p, off)
		return err
	})
	if e, ok := err.(*Error); ok && e.Err == io.EOF {
		err = io.EOF
	}
	return n, err
}

// appendTo reads a snapshot.
func (f *File) appendTo(b []byte) ([]byte, error) {
	size := f.snap.Size()
	if size > math.MaxInt32 {
		return b, ErrFileTooLarge
	}
	n := len(b)
	if b == nil || int64(cap(b)-n) < size {
		b = append(make([]byte, 0, int64(n)+size), b...)
	}
	b = b[:n+int(size)]
	if _, err := f.snap.ReadAt(b[n:], 0); err != nil && err != io.EOF {
		return b[:n], err
	}
	return b, nil
}

// WriteFile makes a file of these bytes, in place of the one that has the name.
// When it fails, for want of room or because somebody writes the file, nothing
// has changed.
func (v *Volume) WriteFile(path string, data []byte) error {
	m := disk.NewMemory(int64(len(data)))
	if _, err := m.WriteAt(data, 0); err != nil {
		return fail("WriteFile", path, err)
	}
	return v.do("WriteFile", path, true, func(elems []string) error { return v.adopt(elems, m) })
}

// adopt gives the file of a path the bytes of m, which is the volume's from now
// on.
func (v *Volume) adopt(elems []string, m *disk.Memory) error {
	p, err := v.walk(elems, true)
	if err != nil {
		return err
	}
	if m.Size() > maxBytes {
		return ErrFileTooLarge
	}
	need := allocated(m, 0, m.Size())
	if p.id == 0 {
		if err := v.room(p.dir, need); err != nil {
			return err
		}
		v.add(&p, isFile)
	} else {
		if err := v.openable(p.id, Write, ShareWrite); err != nil {
			return err
		}
		if err := v.room(v.files.get(p.id).parent, need-v.files.get(p.id).allocated); err != nil {
			return err
		}
	}
	v.overwrite(p.id, m, need)
	return nil
}

// overwrite replaces a file: its bytes and, as Windows does, its streams.
func (v *Volume) overwrite(id inodeID, m *disk.Memory, need int64) {
	n := v.own(id)
	for _, s := range n.streams {
		v.drop(s.id)
	}
	n.streams = nil
	v.setData(id, m, need)
}

// setData replaces the bytes of a file.
func (v *Volume) setData(id inodeID, m *disk.Memory, need int64) {
	n := v.own(id)
	n.data, n.dataEpoch = m, v.epoch
	v.charge(n, need-n.allocated)
	v.touch(n)
}

// write writes into a file, if there is room.
func (v *Volume) write(id inodeID, p []byte, off int64) error {
	size := int64(len(p))
	if off < 0 {
		return ErrInvalidParameter
	}
	if off > maxBytes-size {
		return ErrFileTooLarge
	}
	if size == 0 {
		return nil
	}
	old := v.files.get(id)
	before := allocated(old.data, off, size)
	most := roundUp(off+size) - roundDown(off)
	if err := v.room(old.parent, most-before); err != nil {
		return err
	}
	n := v.ownData(id)
	if off+size > n.data.Size() {
		if err := n.data.Resize(off + size); err != nil {
			return err
		}
	}
	if _, err := n.data.WriteAt(p, off); err != nil {
		return err
	}
	if before < most {
		v.charge(n, allocated(n.data, off, size)-before)
	}
	v.touch(n)
	return nil
}

// touch notes that a file was written.
func (v *Volume) touch(n *inode) {
	n.modified = v.now()
	n.attrs |= Archive
}

// allocated is the room that the clusters in a range of a file take.
func allocated(m *disk.Memory, off, n int64) (sum int64) {
	from := roundDown(off)
	for e := range m.Extents(from, roundUp(off+n)-from) {
		to := roundUp(e.End())
		sum += to - max(roundDown(e.Off), from)
		from = to
	}
	return sum
}

func roundDown(n int64) int64 { return n &^ (cluster - 1) }

func roundUp(n int64) int64 { return roundDown(n + cluster - 1) }
