package disk

import "iter"

// An Overlay is one link of a chain: a store over a parent that it only reads.
// What is written stays in the overlay and wins, sector by sector of 512 bytes;
// the rest is the parent's. It has every optional interface.
//
// The rules for calls from several goroutines are those of [Memory]; the parent
// has to bear being read from all of them.
type Overlay struct {
	link  *link
	below int64 // the parent shows up to here, and less after Resize
	data  *Memory
	own   bitmap
}

// A link names the place of an overlay and its relatives in a chain.
type link struct{ parent Source }

// NewOverlay returns an overlay of size bytes over parent, which nobody may
// change from now on. Behind the end of a shorter parent it is zero. A negative
// size counts as 0.
func NewOverlay(parent Source, size int64) *Overlay {
	size = max(size, 0)
	return &Overlay{
		link:  &link{parent},
		below: min(parent.Size(), size),
		data:  NewMemory(size),
		own:   newBitmap(size),
	}
}

// Size returns the number of bytes.
func (o *Overlay) Size() int64 { return o.data.Size() }

// Parent returns the store below.
func (o *Overlay) Parent() Source { return o.link.parent }

// ReadAt reads as [Source] demands. An error of the parent comes within an
// [Error] that says where.
func (o *Overlay) ReadAt(p []byte, off int64) (int, error) {
	n, ok := fit(len(p), off, o.Size())
	for done := 0; done < n; {
		at := off + int64(done)
		own, end := o.own.same(at, off+int64(n))
		q := p[done:int(end-off)]
		if own {
			o.data.tree.Read(q, at)
		} else if err := o.readParent(q, at); err != nil {
			return done, fail("ReadAt", at, err)
		}
		done += len(q)
	}
	if !ok {
		return n, readEnd("ReadAt", off)
	}
	return n, nil
}

// readParent reads what the overlay shows where nothing is its own.
func (o *Overlay) readParent(p []byte, off int64) error {
	n := int(clip(off, int64(len(p)), o.below).Len)
	clear(p[n:])
	return readFull(o.link.parent, p[:n], off)
}

// WriteAt writes as [Store] demands. Where a sector of the parent is written in
// part, the rest of it is copied.
func (o *Overlay) WriteAt(p []byte, off int64) (int, error) {
	if o.data.frozen {
		return 0, fail("WriteAt", off, ErrReadOnly)
	}
	n, ok := fit(len(p), off, o.Size())
	if err := o.take(off, int64(n)); err != nil {
		return 0, fail("WriteAt", off, err)
	}
	o.data.tree.Write(p[:n], off)
	if !ok {
		return n, fail("WriteAt", off, ErrRange)
	}
	return n, nil
}

// take makes the sectors of a range the overlay's own. Those at its two ends
// may be in it only in part: they get the parent's bytes first.
func (o *Overlay) take(off, n int64) error {
	if n == 0 {
		return nil
	}
	if own, end := o.own.same(off, off+n); own && end == off+n {
		return nil
	}
	for _, at := range [2]int64{off &^ (sectorSize - 1), (off + n - 1) &^ (sectorSize - 1)} {
		own, _ := o.own.same(at, at+1)
		if own || at >= off && at+sectorSize <= off+n {
			continue
		}
		var buf [sectorSize]byte
		sector := buf[:clip(at, sectorSize, o.Size()).Len]
		if err := o.readParent(sector, at); err != nil {
			return err
		}
		o.data.tree.Write(sector, at)
		o.own.set(at, at+1)
	}
	o.own.set(off, off+n)
	return nil
}

// Discard makes the range zero, whatever the parent says.
func (o *Overlay) Discard(off, n int64) error {
	if o.data.frozen {
		return fail("Discard", off, ErrReadOnly)
	}
	if err := checkRange("Discard", off, n, o.Size()); err != nil {
		return err
	}
	if err := o.take(off, n); err != nil {
		return fail("Discard", off, err)
	}
	return o.data.Discard(off, n)
}

// Resize changes the size. Bytes of the parent that a smaller overlay has lost
// do not come back when it grows: what is gained is zero.
func (o *Overlay) Resize(size int64) error {
	if err := o.data.Resize(size); err != nil {
		return err
	}
	o.below = min(o.below, size)
	return o.own.bits.Resize(bitmapSize(size))
}

// Snapshot returns an immutable overlay over the same parent.
func (o *Overlay) Snapshot() (Store, error) {
	return &Overlay{link: o.link, below: o.below, data: o.data.Freeze(), own: bitmap{o.own.bits.Freeze()}}, nil
}

// Clone returns a writable overlay over the same parent.
func (o *Overlay) Clone() (Store, error) {
	return &Overlay{link: o.link, below: o.below, data: o.data.Fork(), own: bitmap{o.own.bits.Fork()}}, nil
}

// Extents yields what the overlay has allocated, and what the parent has where
// it shows.
func (o *Overlay) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		r := clip(off, n, o.Size())
		j := joiner{yield: yield}
		for at := r.Off; at < r.End() && !j.done; {
			own, end := o.own.same(at, r.End())
			src, limit := Source(o.data), end
			if !own {
				src, limit = o.link.parent, max(at, min(end, o.below))
			}
			for e := range Extents(src, at, limit-at) {
				if !j.add(e) {
					break
				}
			}
			at = end
		}
		j.flush()
	}
}

// Diff takes a snapshot or clone of the overlay, of any generation, or what it
// is itself a snapshot or clone of.
func (o *Overlay) Diff(since Store) (iter.Seq[Extent], error) {
	old, ok := strip(since).(*Overlay)
	if !ok || old.link != o.link {
		return nil, fail("Diff", 0, ErrUnsupported)
	}
	data, err := o.data.Diff(old.data)
	if err != nil {
		return nil, err
	}
	seq := union(data, o.own.diff(old.own, o.Size()))
	if o.below != old.below { // one was cut, and the parent shows no longer
		from := min(o.below, old.below)
		seq = union(seq, one(clip(from, max(o.below, old.below)-from, o.Size())))
	}
	return seq, nil
}

// Map names the overlay's own bytes, or the parent's.
func (o *Overlay) Map(off, n int64) Segment {
	e := clip(off, n, o.Size())
	own, end := o.own.same(e.Off, e.End())
	if own || e.Off >= o.below {
		return Segment{Store: o.data, Off: e.Off, Len: end - e.Off}
	}
	return Segment{Store: o.link.parent, Off: e.Off, Len: min(end, o.below) - e.Off}
}
