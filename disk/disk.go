// Package disk holds block stores: fixed-size arrays of bytes that a virtual
// disk, a partition or a file of a simulated volume consists of.
//
// A [Store] has three methods. What some stores can do beyond that is an
// optional interface, found by assertion as in package io, with a function of
// the same name that works on every store: [Snapshot], [Clone], [Discard],
// [Extents], [Diff], [Resize], [Sync].
//
// [Memory] is the store that everything else is built from: sparse, copy on
// write, with snapshots and forks that cost the same at any size. [Section] is
// a range of a store, [ReadOnly] a store nobody writes, [Overlay] one link of a
// chain of differencing disks. Around any store, a [SnapshotTree] keeps named
// snapshots to go back to, a [Tracker] remembers what was changed since when,
// [DetectZeros] makes holes of zeros, and [WithFaults] lets the n-th operation
// go wrong.
//
//	m := disk.NewMemory(127 << 30)           // costs a few bytes
//	m.WriteAt(sector, 0)
//	before := m.Freeze()                     // an immutable snapshot
//	m.WriteAt(other, 1<<20)
//	changed, err := disk.Diff(m, before)     // the ranges that may differ
//	err = disk.Copy(disk.Section(m, 1<<20, 64<<20), image)
//
// Nothing here knows a file format, a clock or a simulated world.
package disk

import (
	"io"
	"iter"
)

// A Source is what can be read at any place: the reading half of a [Store].
// *io.SectionReader is one.
type Source interface {
	// ReadAt reads as io.ReaderAt demands: less than len(p) bytes come with an
	// error, which is io.EOF when the range leaves the store.
	io.ReaderAt
	// Size returns the number of bytes.
	Size() int64
}

// A Store is a block device of fixed size.
//
// A write that leaves the store writes the part that fits and returns its
// length with an error of [ErrRange]; a store that may not be written returns
// [ErrReadOnly]. A negative offset is [ErrRange] for reads and writes alike, and
// nothing is transferred. Neither call keeps the slice, and WriteAt leaves it as
// it is. Reads may run at the same time as other reads; a write, a discard and a
// snapshot need the store for themselves.
//
// Package disktest asks a store whether it keeps these promises and those of the
// optional interfaces.
type Store interface {
	Source
	io.WriterAt
}

// A Snapshotter takes snapshots of itself in constant time. The snapshot is
// immutable: its WriteAt fails with [ErrReadOnly]. It may be read from several
// goroutines while the store it came from is written by another.
type Snapshotter interface {
	Snapshot() (Store, error)
}

// A Cloner makes writable forks of itself in constant time. Neither sees what
// is written to the other from then on.
type Cloner interface {
	Clone() (Store, error)
}

// A Discarder gives up the bytes of a range: they read as zero afterwards, and
// the memory of what was wholly covered is free. A store that can report holes
// reports one where all of it was discarded. A range that is not wholly inside
// the store is [ErrRange], and nothing is discarded then.
type Discarder interface {
	Discard(off, n int64) error
}

// An Extenter knows which of its ranges are allocated. Extents yields those
// within off and off+n, in ascending order, clipped to that range, no two of
// them touching. Whatever lies outside reads as zero.
type Extenter interface {
	Extents(off, n int64) iter.Seq[Extent]
}

// A Differ knows which of its ranges may differ from an earlier snapshot or
// another relative. Diff yields them in ascending order, no two touching, at a
// cost that grows with the number of changed blocks and not with the size.
// Everything outside them, up to the store's own size, equals since, which
// counts as zero behind its end. A store that is no relative gets
// [ErrUnsupported]. The sequence is to be walked before either is written again.
type Differ interface {
	Diff(since Store) (iter.Seq[Extent], error)
}

// A Resizer changes its size. What it loses is discarded, what it gains is zero.
// A negative size is an error that changes nothing, and so is one that the store
// cannot have: [ErrSize] of stores, a code of their own of image formats.
// Snapshots and clones keep the size they have.
type Resizer interface {
	Resize(size int64) error
}

// A Mapper consists, in part, of ranges of other stores. Map tells where the
// bytes from off on come from: the result names a store and the place there,
// and Len says how far this holds, at least 1 and at most n. A nil Store means
// that those Len bytes are found nowhere else. [Copy] asks, so that pages
// in memory are passed on by reference through any number of wrappers.
type Mapper interface {
	Map(off, n int64) Segment
}

// A Syncer keeps what it is given in a place that forgets: Sync returns when
// what was written before is safe. A store without the method is safe at once.
type Syncer interface {
	Sync() error
}

// An Unwrapper is a store around another one. Unwrapping serves inspection;
// offsets need not be the same inside.
type Unwrapper interface {
	Unwrap() Store
}

// An Extent is a range of bytes.
type Extent struct{ Off, Len int64 }

// End returns the offset behind the last byte.
func (e Extent) End() int64 { return e.Off + e.Len }

// A Segment is a range of bytes of a store.
type Segment struct {
	Store Source
	Off   int64
	Len   int64
}

// Snapshot returns an immutable snapshot of s, or [ErrUnsupported]: there is no
// silent copy of a store that cannot take one.
func Snapshot(s Store) (Store, error) {
	if t, ok := s.(Snapshotter); ok {
		return t.Snapshot()
	}
	return nil, fail("Snapshot", 0, ErrUnsupported)
}

// Clone returns a writable fork of s. A store that takes snapshots but makes no
// clones gets an [Overlay] over a snapshot; one that does neither,
// [ErrUnsupported].
func Clone(s Store) (Store, error) {
	if t, ok := s.(Cloner); ok {
		if c, err := t.Clone(); !isUnsupported(err) {
			return c, err
		}
	}
	base, err := Snapshot(s)
	if err != nil {
		return nil, fail("Clone", 0, ErrUnsupported)
	}
	return NewOverlay(base, base.Size()), nil
}

// Discard makes the range read as zero; a store that cannot discard is written
// with zeros.
func Discard(s Store, off, n int64) error {
	if t, ok := s.(Discarder); ok {
		return t.Discard(off, n)
	}
	if err := checkRange("Discard", off, n, s.Size()); err != nil {
		return err
	}
	return writeZeros(s, off, n)
}

// Extents yields the allocated ranges of s between off and off+n as [Extenter]
// promises; a store that does not know is allocated everywhere.
func Extents(s Source, off, n int64) iter.Seq[Extent] {
	if t, ok := s.(Extenter); ok {
		return t.Extents(off, n)
	}
	return one(clip(off, n, s.Size()))
}

// Diff yields the ranges of s that may differ from since as [Differ] promises.
// Where s cannot tell, these are the ranges that either of the two has
// allocated.
func Diff(s, since Store) (iter.Seq[Extent], error) {
	if t, ok := s.(Differ); ok {
		seq, err := t.Diff(since)
		if !isUnsupported(err) {
			return seq, err
		}
	}
	size := s.Size()
	return union(Extents(s, 0, size), Extents(since, 0, size)), nil
}

// Sync makes what was written to s safe, where that is not so by itself.
func Sync(s Source) error {
	if t, ok := s.(Syncer); ok {
		return t.Sync()
	}
	return nil
}

// Resize changes the size of s, or returns [ErrUnsupported].
func Resize(s Store, size int64) error {
	if t, ok := s.(Resizer); ok {
		return t.Resize(size)
	}
	return fail("Resize", size, ErrUnsupported)
}
