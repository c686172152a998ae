package disk

import "iter"

// wrapper passes every call on to another store, and answers with
// [ErrUnsupported] or falls back where that one cannot. Types that do something
// of their own in some of the calls begin with it.
type wrapper struct{ s Store }

// Unwrap returns the store inside.
func (w *wrapper) Unwrap() Store { return w.s }

func (w *wrapper) inside() Store { return w.s }

// Size returns the number of bytes.
func (w *wrapper) Size() int64 { return w.s.Size() }

// ReadAt reads as [Source] demands.
func (w *wrapper) ReadAt(p []byte, off int64) (int, error) { return w.s.ReadAt(p, off) }

// WriteAt writes as [Store] demands.
func (w *wrapper) WriteAt(p []byte, off int64) (int, error) { return w.s.WriteAt(p, off) }

// Snapshot returns a snapshot of the store inside.
func (w *wrapper) Snapshot() (Store, error) { return Snapshot(w.s) }

// Clone returns a fork of the store inside.
func (w *wrapper) Clone() (Store, error) { return Clone(w.s) }

// Discard makes a range zero as [Discarder] promises.
func (w *wrapper) Discard(off, n int64) error { return Discard(w.s, off, n) }

// Extents yields the allocated ranges as [Extenter] promises.
func (w *wrapper) Extents(off, n int64) iter.Seq[Extent] { return Extents(w.s, off, n) }

// Diff yields the ranges that may differ as [Differ] promises. It takes what the
// store inside takes.
func (w *wrapper) Diff(since Store) (iter.Seq[Extent], error) { return Diff(w.s, strip(since)) }

// Resize changes the size as [Resizer] promises.
func (w *wrapper) Resize(size int64) error { return Resize(w.s, size) }

// Sync makes what was written safe, where that is not so by itself.
func (w *wrapper) Sync() error { return Sync(w.s) }

// Map names the range of the store inside.
func (w *wrapper) Map(off, n int64) Segment {
	e := clip(off, n, w.s.Size())
	return Segment{Store: w.s, Off: e.Off, Len: e.Len}
}
