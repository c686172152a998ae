package disk

import (
	"iter"

	"github.com/shadowsim/shadowsim/internal/pages"
)

// pageSize is the grain of a Memory: what it allocates, and what [Digest] hashes.
const pageSize = pages.PageSize

// A Memory is a store in memory: sparse, and copy on write.
//
// Bytes that were never written are zero and cost nothing, at any size. Writing
// zeros where nothing is allocated allocates nothing. Memory is taken in pages
// of 4 KiB, and less for a page in whose front alone something was written.
// Where a store is filled, pages are joined to pieces of 64 KiB and of 1 MiB.
//
// On a 64-bit machine an empty store takes 32 bytes at any size, and so does a
// snapshot that nobody has written below yet. A written page takes its 4,096
// bytes where everything around it is written, 4,165 if it is the only one in
// 64 KiB, 4,250 in 1 MiB, 4,360 in 256 MiB, and 4,640 if it is the only one in a
// store of 1 TiB; a small file some 300 bytes more than its content.
// BenchmarkBytes measures all of this.
//
// A snapshot ([Memory.Freeze]) and a writable fork ([Memory.Fork]) take the same
// short time at any size. Both share all pages with the store they come from;
// whichever is written copies the pages it changes, once. As long as one page of
// a piece is shared, the whole piece stays in memory.
//
// Any number of goroutines may read a Memory at once. While one goroutine
// writes it, snapshots and forks of it may be read and written elsewhere. Every
// other call on the store that is written has to wait, Freeze and Fork too;
// those of a snapshot, which nobody writes, need not.
type Memory struct {
	tree   pages.Tree
	size   int64
	frozen bool
}

// NewMemory returns a store of size bytes, all zero. A negative size counts as 0.
func NewMemory(size int64) *Memory { return &Memory{size: max(size, 0)} }

// Size returns the number of bytes.
func (m *Memory) Size() int64 { return m.size }

// Fork returns a writable store with the same bytes. Neither sees what is
// written to the other.
func (m *Memory) Fork() *Memory { return &Memory{tree: m.tree.Fork(), size: m.size} }

// Freeze returns an immutable snapshot. Dropping it needs no call.
func (m *Memory) Freeze() *Memory {
	if m.frozen {
		return m
	}
	return &Memory{tree: m.tree.Fork(), size: m.size, frozen: true}
}

// Snapshot is [Memory.Freeze] as [Snapshotter] has it.
func (m *Memory) Snapshot() (Store, error) { return m.Freeze(), nil }

// Clone is [Memory.Fork] as [Cloner] has it.
func (m *Memory) Clone() (Store, error) { return m.Fork(), nil }

// ReadAt reads as [Source] demands.
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	n, ok := fit(len(p), off, m.size)
	m.tree.Read(p[:n], off)
	if !ok {
		return n, readEnd("ReadAt", off)
	}
	return n, nil
}

// WriteAt writes as [Store] demands.
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	if m.frozen {
		return 0, fail("WriteAt", off, ErrReadOnly)
	}
	n, ok := fit(len(p), off, m.size)
	m.tree.Write(p[:n], off)
	if !ok {
		return n, fail("WriteAt", off, ErrRange)
	}
	return n, nil
}

// Discard makes the range zero and frees the pages that are wholly inside.
func (m *Memory) Discard(off, n int64) error {
	if m.frozen {
		return fail("Discard", off, ErrReadOnly)
	}
	if err := checkRange("Discard", off, n, m.size); err != nil {
		return err
	}
	m.tree.Discard(off, n)
	return nil
}

// Resize changes the size. What a smaller store loses is discarded, what a
// larger one gains is zero.
func (m *Memory) Resize(size int64) error {
	switch {
	case m.frozen:
		return fail("Resize", size, ErrReadOnly)
	case size < 0:
		return fail("Resize", size, ErrSize)
	}
	m.tree.Discard(size, m.size-size)
	m.size = size
	return nil
}

// Extents yields the allocated ranges as [Extenter] promises: pages of 4 KiB,
// joined and clipped. A store that is written meanwhile may be reported in part
// as it was and in part as it is.
func (m *Memory) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		e := clip(off, n, m.size)
		j := joiner{yield: yield, win: e}
		m.tree.Extents(e.Off, e.Len, j.page)
		j.flush()
	}
}

// Diff yields the ranges that may differ as [Differ] promises, in pages of
// 4 KiB. It takes any other Memory, also behind [ReadOnly] and the like, and is quick where
// they share pages: with a snapshot, a fork, a common ancestor.
func (m *Memory) Diff(since Store) (iter.Seq[Extent], error) {
	old, ok := strip(since).(*Memory)
	if !ok {
		return nil, fail("Diff", 0, ErrUnsupported)
	}
	return func(yield func(Extent) bool) {
		j := joiner{yield: yield, win: Extent{Len: m.size}}
		pages.Diff(m.tree, old.tree, 0, m.size, j.page)
		j.flush()
	}, nil
}
