package vhd

import (
	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// defaultGrain is what a child takes over from its parent at least: a byte of
// the bitmap. Readers exist that take a byte whose first bit is set for full
// (libvhdi), and guests write 4 KiB at a time anyway.
const defaultGrain = 8 * SectorSize

// SetGrain sets how many sectors, aligned, a differencing image takes over from
// its parent at least when one of them is written: 1, 2, 4 or 8. The format
// demands no more than 1; 8 is what every image begins with, because libvhdi
// reads no others right.
func (im *Image) SetGrain(sectors int) error {
	grain, err := checkGrain(sectors)
	if err != nil {
		return during("SetGrain", err)
	}
	im.grain = grain
	return nil
}

// checkGrain returns a grain in bytes.
func checkGrain(sectors int) (int64, error) {
	switch sectors {
	case 1, 2, 4, 8:
		return int64(sectors) * SectorSize, nil
	}
	return 0, bad(ErrLimit, -1, "grain", "%d sectors are not 1, 2, 4 or 8", sectors)
}

// writeChild stores p at the place in of block b of a differencing image. The
// data comes first: until the bitmap confirms a sector nobody looks at it.
func (im *Image) writeChild(p []byte, b, in int64) error {
	entry := im.table.entry(b)
	if entry == absent {
		if virtdisk.AllZero(p) && im.zeroBelow(b*im.dyn.block+in, int64(len(p))) {
			return nil
		}
		wide, at, err := im.widen(p, b, in)
		if err != nil {
			return err
		}
		return im.allocate(b, at, int64(len(wide)), wide)
	}
	data := bitmapAt(entry) + im.dyn.bitmap
	if im.table.isFull(b) {
		_, err := im.writeFile(p, data+in, "block data")
		return err
	}
	bits, err := im.bitmap(b, entry)
	if err != nil {
		return err
	}
	at := in
	if !bits.allSet(in/SectorSize, (in+int64(len(p))+SectorSize-1)/SectorSize) {
		if p, at, err = im.widen(p, b, in); err != nil {
			return err
		}
	}
	if _, err := im.writeFile(p, data+at, "block data"); err != nil {
		return err
	}
	return im.confirm(b, entry, bits, at, at+int64(len(p)))
}

// widen returns p with what the disk shows around it, up to whole grains, and
// where in block b that begins.
func (im *Image) widen(p []byte, b, in int64) (wide []byte, at int64, err error) {
	end := in + int64(len(p))
	at = in &^ (im.grain - 1)
	to := min(roundUp(end, im.grain), im.used(b))
	if at == in && to == end {
		return p, in, nil
	}
	wide = make([]byte, to-at)
	start := b * im.dyn.block
	if _, err := im.read(wide[:in-at], start+at); err != nil {
		return nil, 0, err
	}
	copy(wide[in-at:], p)
	_, err = im.read(wide[end-at:], start+end)
	return wide, at, err
}

// confirm sets the bits of block b from from to to, whose data is written.
func (im *Image) confirm(b int64, entry uint32, bits sectorBits, from, to int64) error {
	first, last := from/SectorSize, to/SectorSize
	if bits.allSet(first, last) {
		return nil
	}
	if err := im.sync(); err != nil {
		return err
	}
	bits.add(first, last)
	im.table.writable(b) // from here on the bitmap is not that of other forks
	first, last = first/8, (last+7)/8
	if _, err := im.writeFile(bits[first:last], bitmapAt(entry)+first, "block bitmap"); err != nil {
		return err
	}
	im.noteFull(b, bits)
	return im.sync()
}

// zeroBelow reports whether the parent is known to hold nothing in a range.
func (im *Image) zeroBelow(off, n int64) bool {
	return im.parent != nil && zeroIn(im.parent, off, n)
}

// zeroIn reports whether s is known to hold nothing in a range.
func zeroIn(s disk.Source, off, n int64) bool {
	for range disk.Extents(s, off, n) {
		return false
	}
	return true
}

// discardChild makes a range of a differencing image zero.
func (im *Image) discardChild(off, n int64) error {
	for end := off + n; off < end; {
		b, in := off/im.dyn.block, off%im.dyn.block
		n := min(end-off, im.used(b)-in)
		if err := im.discardBlock(b, in, in+n); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// discardBlock makes a part of block b zero. Where it begins or ends within a
// grain, zeros are written.
func (im *Image) discardBlock(b, from, to int64) error {
	entry := im.table.entry(b)
	if entry == absent && im.zeroBelow(b*im.dyn.block+from, to-from) {
		return nil
	}
	first, last := roundUp(from, im.grain), to&^(im.grain-1)
	if to == im.used(b) {
		last = to
	}
	var zeros [defaultGrain]byte
	if first >= last {
		return im.writePieces(zeros[:], b, from, to)
	}
	if err := im.writePieces(zeros[:], b, from, first); err != nil {
		return err
	}
	if err := im.writePieces(zeros[:], b, last, to); err != nil {
		return err
	}
	if entry = im.table.entry(b); entry == absent {
		return im.allocate(b, first, last-first, nil)
	}
	if err := im.erase(bitmapAt(entry)+im.dyn.bitmap+first, last-first); err != nil || im.table.isFull(b) {
		return err
	}
	bits, err := im.bitmap(b, entry)
	if err != nil {
		return err
	}
	return im.confirm(b, entry, bits, first, last)
}

// writePieces writes p over and over from from to to of block b.
func (im *Image) writePieces(p []byte, b, from, to int64) error {
	for from < to {
		n := min(int64(len(p)), to-from)
		if err := im.writeChild(p[:n], b, from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

var _ disk.Mapper = (*Image)(nil)
