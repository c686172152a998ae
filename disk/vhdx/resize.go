package vhdx

import (
	"encoding/binary"
	"io"
	"iter"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// Resize changes the size of the disk. What is gained is zero. A smaller disk
// would lose what lies behind its end, so unless that is zero the call is
// refused with [ErrShrink]. A parent does not show in what is gained, however
// large it is.
//
// A larger disk has its block allocation table at another place of the file,
// where its old one becomes free, and a fixed one all its blocks; of a smaller
// one the end of the file is cut off where nothing is. The change is made
// through the log: whenever the power goes, the disk has the old size or the
// new one. After an error it may have either.
func (im *Image) Resize(size int64) error {
	return during("Resize", im.resize(size))
}

func (im *Image) resize(size int64) error {
	if im.file == nil {
		return disk.ErrReadOnly
	}
	if size < 0 {
		return bad(ErrSize, -1, "virtual disk size", "%d", size)
	}
	if err := checkSize(uint64(size), im.lay.sector, -1); err != nil {
		return err
	}
	switch {
	case size < im.lay.size:
		return im.shrink(size)
	case size > im.lay.size:
		return im.grow(size)
	}
	return im.writer.finish() // of a call that failed, perhaps
}

// sized returns the layout of the image with another size of the disk.
func (im *Image) sized(size int64) *layout {
	m := *im.meta
	m.size = size
	l := newLayout(&m)
	l.tableAt, l.parts = im.lay.tableAt, im.lay.parts
	return l
}

// sizeItem returns the value of the metadata item with the size of the disk.
func sizeItem(size int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(size)) }

// shrink makes the disk smaller. Blocks behind its end are the file's no more.
func (im *Image) shrink(size int64) error {
	if err := im.zeroFrom(size); err != nil {
		return err
	}
	w, lay := im.writer, im.sized(size)
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	gone, err := im.behind(lay)
	if err != nil {
		return err
	}
	made := false
	err = w.setItem(ItemDiskSize, sizeItem(size), func(m *metadata) {
		m.size, im.lay, im.table, made = size, lay, newTable(lay.entries), true
	})
	if made {
		w.frozen = append(w.frozen, gone...)
	}
	if err != nil {
		return err
	}
	w.release()
	return w.trim()
}

// zeroFrom refuses to cut what is not zero.
func (im *Image) zeroFrom(size int64) error {
	buf := make([]byte, 64<<10)
	for x := range im.Extents(size, im.lay.size-size) {
		for at := x.Off; at < x.End(); {
			p := buf[:min(int64(len(buf)), x.End()-at)]
			if _, err := im.read(p, at); err != nil {
				return err
			}
			if !allZero(p) {
				return bad(ErrShrink, -1, "virtual disk size", "%d bytes, and there is data behind %d", size, at)
			}
			at += int64(len(p))
		}
	}
	return nil
}

// behind returns the places of blocks that a smaller layout does not have.
func (im *Image) behind(lay *layout) ([]disk.Extent, error) {
	var gone []disk.Extent
	err := im.eachEntry(func(i int64, e entry) bool {
		n, isBitmap := im.lay.whatIs(i)
		x := disk.Extent{Off: e.offset(), Len: im.lay.block}
		cut := n >= lay.blocks() && n < im.lay.blocks()
		if isBitmap {
			x.Len, cut = mib, i >= lay.entries
		}
		if cut && e.inFile() {
			x.Len = min(x.Len, roundUp(im.file.Size(), mib)-x.Off)
			gone = append(gone, x)
		}
		return true
	})
	return gone, err
}

// grow makes the disk larger.
func (im *Image) grow(size int64) error {
	lay := im.sized(size)
	length := roundUp(lay.entries*8, mib)
	if length > 1<<32-mib {
		return bad(ErrLimit, -1, "virtual disk size", "%d makes a table of %d bytes", size, length)
	}
	w := im.writer
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	hide := im.lay.hasParent && (im.parent == nil || im.parent.lay.size > im.lay.size)
	if err := im.clearEnd(hide); err != nil {
		return err
	}
	table, err := w.take(length)
	if err != nil {
		return err
	}
	taken := []disk.Extent{{Off: table, Len: length}}
	first := int64(0)
	if n := (lay.blocks() - im.lay.blocks()) * lay.block; im.meta.leaveAllocated && n > 0 {
		if first, err = w.take(n); err == nil {
			taken = append(taken, disk.Extent{Off: first, Len: n})
		}
	}
	if err == nil {
		gained := entry(Zero)
		switch {
		case first > 0:
			gained = makeEntry(first, FullyPresent)
		case !hide:
			gained = entry(NotPresent)
		}
		err = im.writeGrown(lay, table, gained)
	}
	made := false
	if err == nil {
		made, err = im.useTable(lay, taken[0])
	}
	if !made {
		w.free = append(w.free, taken...)
	}
	return err
}

// clearEnd makes what the last block holds behind the end of the disk zero, and
// the file so long that it has the whole block. If the parent has something
// there that is to be hidden, the image takes those sectors over.
func (im *Image) clearEnd(hide bool) error {
	last := im.lay.blocks() - 1
	if hide && im.lay.used(last) < im.lay.block {
		if err := im.ownEnd(last); err != nil {
			return err
		}
	}
	e, err := im.payload(last)
	if err != nil || !e.inFile() {
		return err
	}
	if err := grow(im.file, e.offset()+im.lay.block); err != nil {
		return err
	}
	used := im.lay.used(last)
	return erase(im.file, e.offset()+used, im.lay.block-used)
}

// ownEnd makes the sectors of the last block that lie behind the end of the disk
// the file's own.
func (im *Image) ownEnd(last int64) error {
	if err := im.writer.reserve(); err != nil {
		return err
	}
	e, err := im.payload(last)
	if err != nil {
		return err
	}
	if e.state() == NotPresent {
		if err := im.needBitmap(im.lay.chunk(last)); err != nil {
			return err
		}
		if err := im.clearBits(last); err != nil {
			return err
		}
		off, err := im.writer.take(im.lay.block)
		if err != nil {
			return err
		}
		e = makeEntry(off, PartiallyPresent)
		im.writer.set(im.lay.payloadIndex(last), e)
	}
	if e.state() == PartiallyPresent {
		if err := im.setBits(last, im.lay.used(last), im.lay.block, e); err != nil {
			return err
		}
	}
	return im.writer.commit()
}

// writeGrown writes the table of a larger disk, where nothing names it yet.
// Blocks that the disk gains are as the entry says, one behind the other if they
// have places.
func (im *Image) writeGrown(lay *layout, at int64, gained entry) error {
	var failure error
	err := writeTable(io.NewOffsetWriter(im.file, at), im.grown(lay, gained, &failure))
	if failure != nil {
		return failure
	}
	return err
}

// grown yields the entries of a larger disk.
func (im *Image) grown(lay *layout, gained entry, failure *error) iter.Seq[entry] {
	return func(yield func(entry) bool) {
		old := im.lay.blocks()
		for i := range lay.entries {
			e, err := entry(0), error(nil)
			n, isBitmap := lay.whatIs(i)
			switch {
			case i < im.lay.entries && (isBitmap || n < old):
				e, err = im.at(i)
			case isBitmap || n >= lay.blocks():
			case gained.inFile():
				e = makeEntry(gained.offset()+(n-old)*lay.block, FullyPresent)
			default:
				e = gained
			}
			if *failure = err; err != nil || !yield(e) {
				return
			}
		}
	}
}

// useTable makes a new layout and the table at a place that of the image. It
// reports whether that is made or, after an error, sure to be.
func (im *Image) useTable(lay *layout, at disk.Extent) (made bool, err error) {
	w := im.writer
	var items []Item
	var old disk.Extent
	regions := slices.Clone(im.regions)
	lay.tableAt, lay.parts = at.Off, nil
	for i := range regions {
		if r := &regions[i]; r.ID == RegionBAT {
			old = r.extent()
			r.Offset, r.Length = at.Off, at.Len
		}
		lay.parts = append(lay.parts, regions[i].extent())
	}
	lay.parts = append(lay.parts, disk.Extent{Off: int64(im.header.LogOffset), Len: int64(im.header.LogLength)})
	overlapping(lay.parts) // none is; this puts them in order
	made, err = w.change(func() (err error) {
		if items, err = w.patchItem(ItemDiskSize, sizeItem(lay.size)); err != nil {
			return err
		}
		if err := w.patch(regionsAt1, regionTable(regions)); err != nil {
			return err
		}
		return w.patch(regionsAt2, regionTable(regions))
	})
	if !made {
		return false, err
	}
	m := *im.meta
	m.size = lay.size
	im.meta, im.items, im.regions, im.lay, im.table = &m, items, regions, lay, newTable(lay.entries)
	w.frozen = append(w.frozen, old)
	if err == nil {
		w.release()
	}
	return true, err
}

// trim cuts off the end of the file where nothing is.
func (w *writer) trim() error {
	end := w.im.file.Size()
	for i := 0; i < len(w.free); i++ {
		if x := w.free[i]; x.Len > 0 && x.End() == end {
			end = x.Off
			w.free = slices.Delete(w.free, i, i+1)
			i = -1
		}
	}
	return w.cut(end)
}

// cut ends the file where nothing is behind.
func (w *writer) cut(end int64) error {
	if end >= w.im.file.Size() {
		return nil
	}
	if err := w.sync(); err != nil {
		return err
	}
	if err := w.im.file.Resize(end); err != nil {
		return ioError(end, "file size", err)
	}
	w.free = slices.DeleteFunc(w.free, func(x disk.Extent) bool { return x.Off >= end })
	return nil
}

var _ disk.Resizer = (*Image)(nil)
