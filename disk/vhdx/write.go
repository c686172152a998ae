package vhdx

import (
	"github.com/shadowsim/shadowsim/disk"
)

// WriteAt writes the disk, in place. Zeros written where the disk is zero
// change nothing, and zeros that fill a block give its place in the file up;
// anything else written where no block is adds one. When it returns, the file
// is a whole image with what was written; see [Image.SetWriteBack].
//
// A write that an error of the file interrupts has written n bytes, and may
// have written more of p and nothing else. All else can be read, now and from
// the file.
func (im *Image) WriteAt(p []byte, off int64) (int, error) {
	if im.file == nil {
		return 0, during("WriteAt", disk.ErrReadOnly)
	}
	if off < 0 {
		return 0, during("WriteAt", disk.ErrRange)
	}
	var short error
	if rest := max(im.lay.size-off, 0); int64(len(p)) > rest {
		p, short = p[:rest], disk.ErrRange
	}
	n, err := im.write(p, off)
	if err == nil {
		err = short
	}
	return n, during("WriteAt", err)
}

// write stores p, which lies wholly inside the disk, and what it changes in the
// tables.
func (im *Image) write(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := im.writer.begin(); err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) {
		b, in := off/im.lay.block, off%im.lay.block
		seg := p[n:]
		if rest := im.lay.block - in; int64(len(seg)) > rest {
			seg = seg[:rest]
		}
		if err := im.writeBlock(seg, b, in); err != nil {
			if im.finishCall() != nil {
				n = 0
			}
			return n, err
		}
		n, off = n+len(seg), off+int64(len(seg))
	}
	if err := im.finishCall(); err != nil {
		return 0, err
	}
	return n, nil
}

// finishCall brings the tables to the file at the end of a call, unless that is
// put off.
func (im *Image) finishCall() error {
	if im.writer.lazy {
		return nil
	}
	return im.writer.commit()
}

// writeBlock stores p at the place in of block b.
func (im *Image) writeBlock(p []byte, b, in int64) error {
	if err := im.writer.reserve(); err != nil {
		return err
	}
	e, err := im.payload(b)
	if err != nil {
		return err
	}
	whole := in == 0 && int64(len(p)) == im.lay.used(b)
	s := e.state()
	switch {
	case whole && !im.meta.leaveAllocated && (e.inFile() || s == NotPresent && im.lay.hasParent) && allZero(p):
		im.giveUp(b, e)
		return nil
	case s == FullyPresent:
		return writeFull(im.file, p, e.offset()+in, "block data")
	case s == PartiallyPresent:
		return im.writePartial(p, b, e, in)
	case s == NotPresent && im.lay.hasParent && !whole:
		return im.addPartial(p, b, in)
	case allZero(p) && !(s == NotPresent && im.lay.hasParent):
		return nil
	}
	return im.addBlock(p, b, in)
}

// addBlock adds block b to the file, with p at its place in and zeros around.
func (im *Image) addBlock(p []byte, b, in int64) error {
	off, err := im.takeWith(im.lay.block, p, in)
	if err != nil {
		return err
	}
	im.writer.set(im.lay.payloadIndex(b), makeEntry(off, FullyPresent))
	return nil
}

// takeWith takes n bytes of the file and writes p at the place in of them.
func (im *Image) takeWith(n int64, p []byte, in int64) (int64, error) {
	off, err := im.writer.take(n)
	if err != nil {
		return 0, err
	}
	if err := writeFull(im.file, p, off+in, "block data"); err != nil {
		im.writer.free = append(im.writer.free, disk.Extent{Off: off, Len: n})
		return 0, err
	}
	return off, nil
}

// addPartial adds block b to the file, of which only the sectors of p are this
// file's own.
func (im *Image) addPartial(p []byte, b, in int64) error {
	if err := im.needBitmap(im.lay.chunk(b)); err != nil {
		return err
	}
	q, at, err := im.wholeSectors(p, b, in)
	if err != nil {
		return err
	}
	if err := im.clearBits(b); err != nil {
		return err
	}
	off, err := im.takeWith(im.lay.block, q, at)
	if err != nil {
		return err
	}
	im.writer.set(im.lay.payloadIndex(b), makeEntry(off, PartiallyPresent))
	return im.setBits(b, at, at+int64(len(q)), makeEntry(off, PartiallyPresent))
}

// writePartial stores p in a block of which the file has some sectors.
func (im *Image) writePartial(p []byte, b int64, e entry, in int64) error {
	r := im.runs(b, in, in+int64(len(p)))
	if r.next() && r.own && r.to == r.end {
		return writeFull(im.file, p, e.offset()+in, "block data")
	}
	if r.err != nil {
		return r.err
	}
	q, at, err := im.wholeSectors(p, b, in)
	if err != nil {
		return err
	}
	if err := writeFull(im.file, q, e.offset()+at, "block data"); err != nil {
		return err
	}
	return im.setBits(b, at, at+int64(len(q)), e)
}

// wholeSectors returns p with whatever else the disk has in the first and the
// last sector that it touches, and the place of the result in the block.
func (im *Image) wholeSectors(p []byte, b, in int64) ([]byte, int64, error) {
	sector := im.lay.sector
	from, to := in&^(sector-1), roundUp(in+int64(len(p)), sector)
	if from == in && to == in+int64(len(p)) {
		return p, in, nil
	}
	q := make([]byte, to-from)
	if from < in {
		if err := im.readBlock(q[:sector], b, from); err != nil {
			return nil, 0, err
		}
	}
	if last := to - sector; to > in+int64(len(p)) && (last > from || from == in) {
		if err := im.readBlock(q[last-from:], b, last); err != nil {
			return nil, 0, err
		}
	}
	copy(q[in-from:], p)
	return q, from, nil
}

// needBitmap makes sure that a chunk has its sector bitmap block.
func (im *Image) needBitmap(chunk int64) error {
	i := im.lay.bitmapIndex(chunk)
	e, err := im.at(i)
	if err != nil || e.state() == FullyPresent {
		return err
	}
	off, err := im.writer.take(mib)
	if err != nil {
		return err
	}
	im.writer.set(i, makeEntry(off, FullyPresent))
	return nil
}

// bitSector returns the sector of a bitmap block at off for being changed.
func (im *Image) bitSector(off int64) (*[logSector]byte, error) {
	w := im.writer
	if b := w.bits[off]; b != nil {
		return b, nil
	}
	b := new([logSector]byte)
	if err := im.readMeta(b[:], off); err != nil {
		return nil, err
	}
	w.bits[off] = b
	return b, nil
}

// clearBits says that no sector of block b is this file's own, whatever was
// said when the block was last in the file.
func (im *Image) clearBits(b int64) error {
	at, err := im.bitsAt(b)
	if err != nil {
		return err
	}
	var buf [logSector]byte
	for n := im.lay.bitsLen(); n > 0; {
		sector, in := at&^(logSector-1), at&(logSector-1)
		k := min(n, logSector-in)
		if err := im.readMeta(buf[:k], at); err != nil {
			return err
		}
		if !allZero(buf[:k]) {
			p, err := im.bitSector(sector)
			if err != nil {
				return err
			}
			clear(p[in : in+k])
		}
		at, n = at+k, n-k
	}
	return nil
}

// setBits says that the sectors from from to to of block b, whose entry is e,
// are this file's own. If all are, the block is fully present.
func (im *Image) setBits(b, from, to int64, e entry) error {
	at, err := im.bitsAt(b)
	if err != nil {
		return err
	}
	for s, last := from/im.lay.sector, to/im.lay.sector; s < last; {
		place := at + s/8
		p, err := im.bitSector(place &^ (logSector - 1))
		if err != nil {
			return err
		}
		in := place & (logSector - 1)
		if s%8 == 0 && last-s >= 8 {
			p[in] = 0xFF
			s += 8
		} else {
			p[in] |= 1 << (s % 8)
			s++
		}
	}
	used := im.lay.used(b)
	if r := im.runs(b, 0, used); r.next() && r.own && r.to == used {
		im.writer.set(im.lay.payloadIndex(b), makeEntry(e.offset(), FullyPresent))
	}
	return nil
}

// giveUp makes block b zero, and its place free once that is safe.
func (im *Image) giveUp(b int64, e entry) {
	w := im.writer
	w.set(im.lay.payloadIndex(b), makeEntry(0, Zero))
	if e.inFile() {
		end := min(e.offset()+im.lay.block, roundUp(im.file.Size(), mib))
		w.freed = append(w.freed, disk.Extent{Off: e.offset(), Len: end - e.offset()})
	}
}

// Discard makes a range of the disk read as zero. Blocks that are wholly in it
// leave the file, except in a fixed image, and their places are used again; a
// File that is a [disk.Discarder] is told about them.
func (im *Image) Discard(off, n int64) error {
	if im.file == nil {
		return during("Discard", disk.ErrReadOnly)
	}
	if off < 0 || n < 0 || off > im.lay.size || n > im.lay.size-off {
		return during("Discard", disk.ErrRange)
	}
	if n == 0 {
		return nil
	}
	err := im.writer.begin()
	for at := off; err == nil && at < off+n; {
		b, in := at/im.lay.block, at%im.lay.block
		if next := im.emptyUntil(b); next > b && !im.lay.hasParent {
			at = next * im.lay.block
			continue
		}
		k := min(off+n-at, im.lay.used(b)-in)
		err = im.discardBlock(b, in, k)
		at += k
	}
	if err == nil {
		err = im.finishCall()
	}
	return during("Discard", err)
}

// discardBlock makes n bytes at the place in of block b zero.
func (im *Image) discardBlock(b, in, n int64) error {
	if err := im.writer.reserve(); err != nil {
		return err
	}
	e, err := im.payload(b)
	if err != nil {
		return err
	}
	below := e.state() == NotPresent && im.lay.hasParent
	switch {
	case !e.inFile() && !below:
		return nil
	case n == im.lay.used(b) && !im.meta.leaveAllocated:
		im.giveUp(b, e)
		return nil
	case e.state() == FullyPresent:
		return erase(im.file, e.offset()+in, n)
	}
	zeros := make([]byte, min(n, mib))
	for x := range im.Extents(b*im.lay.block+in, n) {
		for at := x.Off - b*im.lay.block; at < x.End()-b*im.lay.block; {
			k := min(int64(len(zeros)), x.End()-b*im.lay.block-at)
			if err := im.writeBlock(zeros[:k], b, at); err != nil {
				return err
			}
			at += k
		}
	}
	return nil
}

// SetWriteBack says when changes of the tables reach the file. Without it, each
// call that changes them ends with a whole image in the file. With it they
// gather in memory until [Image.Sync] or [Image.Close], or until the log would
// overflow: less to write and to wait for, while the file alone is the disk as
// it was at the last of these, or part of what came later.
func (im *Image) SetWriteBack(on bool) {
	if im.writer != nil {
		im.writer.lazy = on
	}
}

// SetSession mixes id into the identifiers that changes of the image give to
// file and disk. They derive from those in the file, so that equal calls make
// equal bytes: two copies of one file that are to be changed apart from each
// other need different ids, or children cannot tell them apart. Forks made with
// Clone and Over differ by themselves.
func (im *Image) SetSession(id GUID) {
	if im.writer != nil {
		im.writer.salt = digest(id[:])
		im.writer.began = false
	}
}

// settle brings what waits in memory to the file. The next write begins a new
// session, for what the file holds now may be on its way to become a parent.
func (im *Image) settle() error {
	if im.writer == nil {
		return nil
	}
	if err := im.writer.commit(); err != nil {
		return err
	}
	im.writer.began = false
	return nil
}

// Sync makes everything written so far safe: it survives whatever happens to
// the file later, short of damage.
func (im *Image) Sync() error {
	if im.file == nil {
		return nil
	}
	err := im.writer.commit()
	if err == nil {
		err = im.writer.sync()
	}
	return during("Sync", err)
}

// Close is [Image.Sync]; afterwards the image can only be read. The file stays
// open.
func (im *Image) Close() error {
	if im.file == nil {
		return nil
	}
	if err := im.Sync(); err != nil {
		return err
	}
	im.file, im.writer = nil, nil
	return nil
}
