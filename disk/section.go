package disk

import (
	"io"
	"iter"
)

// section is a range of a store.
type section struct {
	s   Store
	win Extent
}

// Section returns the range of s that begins at off as a store of n bytes: a
// partition of a disk, the data of a fixed image. What lies outside s is cut
// off. The section has every optional interface but [Resizer]; where s lacks
// one, the call fails with [ErrUnsupported] or falls back as the function of
// that name does.
func Section(s Store, off, n int64) Store {
	return &section{s: s, win: clip(off, n, s.Size())}
}

func (x *section) Size() int64 { return x.win.Len }

// Unwrap returns the store that holds the section.
func (x *section) Unwrap() Store { return x.s }

func (x *section) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fail("ReadAt", off, ErrRange)
	}
	n := int(clip(off, int64(len(p)), x.win.Len).Len)
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	k, err := x.s.ReadAt(p[:n], x.win.Off+off)
	if k == n && err == io.EOF {
		err = nil
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return k, err
}

func (x *section) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fail("WriteAt", off, ErrRange)
	}
	n := int(clip(off, int64(len(p)), x.win.Len).Len)
	k, err := x.s.WriteAt(p[:n], x.win.Off+off)
	if err == nil && n < len(p) {
		err = fail("WriteAt", off, ErrRange)
	}
	return k, err
}

func (x *section) Snapshot() (Store, error) {
	s, err := Snapshot(x.s)
	if err != nil {
		return nil, err
	}
	return &section{s: s, win: x.win}, nil
}

func (x *section) Clone() (Store, error) {
	s, err := Clone(x.s)
	if err != nil {
		return nil, err
	}
	return &section{s: s, win: x.win}, nil
}

func (x *section) Discard(off, n int64) error {
	if err := checkRange("Discard", off, n, x.win.Len); err != nil {
		return err
	}
	return Discard(x.s, x.win.Off+off, n)
}

func (x *section) Sync() error { return Sync(x.s) }

func (x *section) Extents(off, n int64) iter.Seq[Extent] {
	e := clip(off, n, x.win.Len)
	e.Off += x.win.Off
	return within(Extents(x.s, e.Off, e.Len), x.win)
}

// Diff understands a since that is the same range of a relative of the store.
func (x *section) Diff(since Store) (iter.Seq[Extent], error) {
	y, ok := since.(*section)
	if !ok || x.win != y.win {
		return nil, fail("Diff", 0, ErrUnsupported)
	}
	seq, err := Diff(x.s, y.s)
	if err != nil {
		return nil, err
	}
	return within(seq, x.win), nil
}

func (x *section) Map(off, n int64) Segment {
	e := clip(off, n, x.win.Len)
	return Segment{Store: x.s, Off: x.win.Off + e.Off, Len: e.Len}
}
