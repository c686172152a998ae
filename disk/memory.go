package disk

import (
	"io"
	"iter"
	"maps"
	"slices"
)

const pageSize = 4096

// Memory is the copy-on-write store.
type Memory struct {
	pages  map[int64][]byte
	size   int64
	frozen bool
}

// NewMemory returns a store of size bytes, all zero. A negative size counts as 0.
func NewMemory(size int64) *Memory {
	return &Memory{pages: map[int64][]byte{}, size: max(size, 0)}
}

// Size returns the number of bytes.
func (m *Memory) Size() int64 { return m.size }

// Fork returns a writable copy.
func (m *Memory) Fork() *Memory {
	c := &Memory{pages: map[int64][]byte{}, size: m.size}
	for i, p := range m.pages {
		c.pages[i] = slices.Clone(p)
	}
	return c
}

// Freeze returns an immutable snapshot.
func (m *Memory) Freeze() *Memory {
	c := m.Fork()
	c.frozen = true
	return c
}

// Snapshot is Freeze.
func (m *Memory) Snapshot() (Store, error) { return m.Freeze(), nil }

// Clone is Fork.
func (m *Memory) Clone() (Store, error) { return m.Fork(), nil }

// ReadAt reads as io.ReaderAt demands.
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fail("ReadAt", off, ErrRange)
	}
	n := int(clip(off, int64(len(p)), m.size).Len)
	for q := p[:n]; len(q) > 0; {
		k := min(len(q), int(pageSize-off%pageSize))
		if pg := m.pages[off/pageSize]; pg != nil {
			copy(q[:k], pg[off%pageSize:])
		} else {
			clear(q[:k])
		}
		q, off = q[k:], off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes what fits.
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	if m.frozen {
		return 0, fail("WriteAt", off, ErrReadOnly)
	}
	if off < 0 {
		return 0, fail("WriteAt", off, ErrRange)
	}
	at, n := off, int(clip(off, int64(len(p)), m.size).Len)
	for q := p[:n]; len(q) > 0; {
		k := min(len(q), int(pageSize-at%pageSize))
		pg := m.pages[at/pageSize]
		if pg == nil {
			pg = make([]byte, pageSize)
			m.pages[at/pageSize] = pg
		}
		copy(pg[at%pageSize:], q[:k])
		q, at = q[k:], at+int64(k)
	}
	if n < len(p) {
		return n, fail("WriteAt", off, ErrRange)
	}
	return n, nil
}

// Discard makes a range zero.
func (m *Memory) Discard(off, n int64) error {
	if m.frozen {
		return fail("Discard", off, ErrReadOnly)
	}
	if err := checkRange("Discard", off, n, m.size); err != nil {
		return err
	}
	for i, p := range m.pages {
		from, to := max(off, i*pageSize), min(off+n, (i+1)*pageSize)
		if to-from == pageSize {
			delete(m.pages, i)
		} else if from < to {
			clear(p[from-i*pageSize : to-i*pageSize])
		}
	}
	return nil
}

// Extents yields the allocated ranges.
func (m *Memory) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		e := clip(off, n, m.size)
		j := joiner{yield: yield}
		for _, i := range slices.Sorted(maps.Keys(m.pages)) {
			from, to := max(e.Off, i*pageSize), min(e.End(), (i+1)*pageSize)
			if !j.add(Extent{from, to - from}) {
				return
			}
		}
		j.flush()
	}
}

// Diff yields the ranges that may differ.
func (m *Memory) Diff(since Store) (iter.Seq[Extent], error) {
	return union(m.Extents(0, m.size), Extents(since, 0, m.size)), nil
}

// Resize changes the size.
func (m *Memory) Resize(size int64) error {
	if m.frozen {
		return fail("Resize", size, ErrReadOnly)
	}
	if size < 0 {
		return fail("Resize", size, ErrSize)
	}
	if size < m.size {
		if err := m.Discard(size, m.size-size); err != nil {
			return err
		}
	}
	m.size = size
	return nil
}
