package disk

import "iter"

// readOnly is a store that nobody writes.
type readOnly struct{ src Source }

// ReadOnly returns s as a store whose WriteAt and Discard fail with
// [ErrReadOnly]. It shows later writes to s; [Snapshot] does not. It has every
// optional interface but [Resizer], as far as s has.
func ReadOnly(s Source) Store { return readOnly{src: s} }

func (r readOnly) Size() int64 { return r.src.Size() }

func (r readOnly) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 { // a reader has words of its own for that
		return 0, fail("ReadAt", off, ErrRange)
	}
	return r.src.ReadAt(p, off)
}

func (r readOnly) WriteAt(p []byte, off int64) (int, error) {
	return 0, fail("WriteAt", off, ErrReadOnly)
}

// Unwrap returns the store inside, or nil where it cannot be written at all.
func (r readOnly) Unwrap() Store {
	s, _ := r.src.(Store)
	return s
}

func (r readOnly) Discard(off, n int64) error { return fail("Discard", off, ErrReadOnly) }

func (r readOnly) Snapshot() (Store, error) {
	if s, ok := r.src.(Store); ok {
		return Snapshot(s)
	}
	return nil, fail("Snapshot", 0, ErrUnsupported)
}

func (r readOnly) Clone() (Store, error) {
	if s, ok := r.src.(Store); ok {
		return Clone(s)
	}
	return nil, fail("Clone", 0, ErrUnsupported)
}

func (r readOnly) Sync() error { return Sync(r.src) }

func (r readOnly) Extents(off, n int64) iter.Seq[Extent] { return Extents(r.src, off, n) }

func (r readOnly) Diff(since Store) (iter.Seq[Extent], error) {
	s, ok := r.src.(Store)
	if !ok {
		return nil, fail("Diff", 0, ErrUnsupported)
	}
	return Diff(s, strip(since))
}

// strip returns the store inside wrappers that have its bytes.
func strip(s Store) Store {
	for {
		w, ok := s.(interface{ inside() Store })
		if !ok || w.inside() == nil {
			return s
		}
		s = w.inside()
	}
}

func (r readOnly) inside() Store { return r.Unwrap() }

func (r readOnly) Map(off, n int64) Segment {
	e := clip(off, n, r.src.Size())
	return Segment{Store: r.src, Off: e.Off, Len: e.Len}
}
