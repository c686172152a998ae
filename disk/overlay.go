package disk

import (
	"io"
	"iter"
)

// sectorSize is the granularity at which an overlay knows its own bytes.
const sectorSize = 512

// An Origin tells where the bytes of a range of an [Overlay] come from.
type Origin uint8

// The three answers of an overlay.
const (
	Below Origin = iota // the parent's bytes
	Zero                // zero, whatever the parent says
	Own                 // written to the overlay itself
)

// A Span is a range of an overlay with one origin.
type Span struct {
	Extent
	Origin Origin
}

// An Overlay is one link of a chain: a store over a parent that it only reads.
// What is written stays in the overlay and wins; the rest is the parent's.
type Overlay struct {
	parent Source
	below  int64 // the parent shows up to here
	data   *Memory
	own    *Memory // one bit for each sector, least significant first
}

// NewOverlay returns an overlay of size bytes over parent, which nobody may
// change from now on. Behind the end of a shorter parent it is zero.
func NewOverlay(parent Source, size int64) *Overlay {
	size = max(size, 0)
	return &Overlay{
		parent: parent,
		below:  min(parent.Size(), size),
		data:   NewMemory(size),
		own:    NewMemory(bitmapSize(size)),
	}
}

func bitmapSize(size int64) int64 { return (sectors(size) + 7) / 8 }

func sectors(size int64) int64 { return size/sectorSize + min(size%sectorSize, 1) }

// Size returns the number of bytes.
func (o *Overlay) Size() int64 { return o.data.Size() }

// Parent returns the store below.
func (o *Overlay) Parent() Source { return o.parent }

// Spans yields the range from off to off+n as spans in ascending order without
// a gap, neighbours of different origin.
func (o *Overlay) Spans(off, n int64) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		e := clip(off, n, o.Size())
		var last Span
		for at := e.Off; at < e.End(); {
			end := min((at/sectorSize+1)*sectorSize, e.End())
			s := Span{Extent{at, end - at}, o.origin(at)}
			if last.Len > 0 && last.Origin == s.Origin {
				last.Len += s.Len
			} else {
				if last.Len > 0 && !yield(last) {
					return
				}
				last = s
			}
			at = end
		}
		if last.Len > 0 {
			yield(last)
		}
	}
}

func (o *Overlay) origin(off int64) Origin {
	sec := off / sectorSize
	var b [1]byte
	o.own.ReadAt(b[:], sec/8)
	if b[0]>>(sec%8)&1 == 0 {
		if off >= o.below {
			return Zero
		}
		return Below
	}
	for range o.data.Extents(sec*sectorSize, sectorSize) {
		return Own
	}
	return Zero
}

// ReadAt reads as io.ReaderAt demands.
func (o *Overlay) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fail("ReadAt", off, ErrRange)
	}
	n := 0
	for s := range o.Spans(off, int64(len(p))) {
		q := p[n : n+int(s.Len)]
		var err error
		switch s.Origin {
		case Own:
			_, err = o.data.ReadAt(q, s.Off)
		case Zero:
			clear(q)
		case Below:
			err = o.readParent(q, s.Off)
		}
		if err != nil {
			return n, fail("ReadAt", s.Off, err)
		}
		n += len(q)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o *Overlay) readParent(p []byte, off int64) error {
	n := int(clip(off, int64(len(p)), o.below).Len)
	clear(p[n:])
	return readFull(o.parent, p[:n], off)
}

// WriteAt writes what fits.
func (o *Overlay) WriteAt(p []byte, off int64) (int, error) {
	if o.data.frozen {
		return 0, fail("WriteAt", off, ErrReadOnly)
	}
	if off < 0 {
		return 0, fail("WriteAt", off, ErrRange)
	}
	e := clip(off, int64(len(p)), o.Size())
	if e.Len > 0 {
		if err := o.take(e); err != nil {
			return 0, fail("WriteAt", off, err)
		}
		if _, err := o.data.WriteAt(p[:e.Len], off); err != nil {
			return 0, err
		}
	}
	if int(e.Len) < len(p) {
		return int(e.Len), fail("WriteAt", off, ErrRange)
	}
	return int(e.Len), nil
}

// take makes the sectors of a range the overlay's own, with the parent's bytes
// where a sector is only partly in the range.
func (o *Overlay) take(e Extent) error {
	first, last := e.Off/sectorSize, (e.End()-1)/sectorSize
	for _, sec := range [2]int64{first, last} {
		at := sec * sectorSize
		if o.origin(at) == Below && (at < e.Off || at+sectorSize > e.End()) {
			var buf [sectorSize]byte
			k := clip(at, sectorSize, o.Size()).Len
			if err := o.readParent(buf[:k], at); err != nil {
				return err
			}
			o.data.WriteAt(buf[:k], at)
			o.mark(sec)
		}
	}
	for sec := first; sec <= last; sec++ {
		o.mark(sec)
	}
	return nil
}

func (o *Overlay) mark(sec int64) {
	var b [1]byte
	o.own.ReadAt(b[:], sec/8)
	b[0] |= 1 << (sec % 8)
	o.own.WriteAt(b[:], sec/8)
}

// Snapshot returns an immutable overlay over the same parent.
func (o *Overlay) Snapshot() (Store, error) {
	return &Overlay{parent: o.parent, below: o.below, data: o.data.Freeze(), own: o.own.Freeze()}, nil
}

// Clone returns a writable overlay over the same parent.
func (o *Overlay) Clone() (Store, error) {
	return &Overlay{parent: o.parent, below: o.below, data: o.data.Fork(), own: o.own.Fork()}, nil
}

// Discard makes the range zero, whatever the parent says.
func (o *Overlay) Discard(off, n int64) error {
	if o.data.frozen {
		return fail("Discard", off, ErrReadOnly)
	}
	if err := checkRange("Discard", off, n, o.Size()); err != nil || n == 0 {
		return err
	}
	if err := o.take(Extent{off, n}); err != nil {
		return fail("Discard", off, err)
	}
	return o.data.Discard(off, n)
}

// Extents yields own ranges and the parent's where it shows.
func (o *Overlay) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		j := joiner{yield: yield}
		for s := range o.Spans(off, n) {
			switch s.Origin {
			case Own:
				j.add(s.Extent)
			case Below:
				for e := range Extents(o.parent, s.Off, s.Len) {
					j.add(e)
				}
			}
			if j.done {
				return
			}
		}
		j.flush()
	}
}

// Resize changes the size.
func (o *Overlay) Resize(size int64) error {
	if err := o.data.Resize(size); err != nil {
		return err
	}
	o.below = min(o.below, size)
	return o.own.Resize(bitmapSize(size))
}
