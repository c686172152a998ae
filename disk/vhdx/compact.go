package vhdx

import (
	"cmp"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// Compact makes the file of a dynamic or differencing image shorter. Blocks
// that hold nothing but zeros, and those of a child that hold nothing, lose
// their place, and so do sector bitmaps that nothing needs; what lies at the
// end of the file moves into gaps that hold it, and the rest is cut off. A fixed
// image is [ErrType].
//
// The disk stays as it is and keeps its DataWriteGUID, so children are not
// disturbed. What moves is copied before the log names its new place, and its
// old one is used for something else afterwards: whenever the power goes, the
// image is the same disk. After an error Compact can be called again.
func (im *Image) Compact() error {
	return during("Compact", im.compact())
}

func (im *Image) compact() error {
	if im.file == nil {
		return disk.ErrReadOnly
	}
	if im.meta.leaveAllocated {
		return bad(ErrType, -1, "disk type", "a fixed disk keeps its blocks")
	}
	c := compaction{im: im}
	if _, err := c.settle(); err != nil {
		return err
	}
	if err := c.evict(); err != nil {
		return err
	}
	for more := true; more; { // the table may leave a gap for a block, and the other way round
		before := c.moves
		if err := c.pack(); err != nil {
			return err
		}
		more = c.moves > before
	}
	end, err := c.settle()
	if err != nil || end >= im.file.Size() {
		return err
	}
	if err := c.begin(); err != nil {
		return err
	}
	return im.writer.cut(end)
}

// A compaction is a call of Compact under way.
type compaction struct {
	im      *Image
	touched bool // the file has its new identifier
	moves   int
}

// begin gives the file a new identifier, before it is changed.
func (c *compaction) begin() error {
	if c.touched {
		return nil
	}
	err := c.im.writer.touch()
	c.touched = err == nil
	return err
}

// set changes the i-th entry of the table. Where it had a place, that is free
// once the change is safe.
func (c *compaction) set(i int64, e entry, old disk.Extent) error {
	w := c.im.writer
	if err := c.begin(); err != nil {
		return err
	}
	if err := w.reserve(); err != nil {
		return err
	}
	if _, err := c.im.at(i); err != nil {
		return err
	}
	w.set(i, e)
	if old.Len > 0 {
		w.freed = append(w.freed, old)
	}
	return nil
}

// settle brings what was changed to the file, finds out what is free there, and
// returns where it could end.
func (c *compaction) settle() (end int64, err error) {
	if err := c.im.writer.commit(); err != nil {
		return 0, err
	}
	return c.im.writer.findFree()
}

// A place is where the i-th entry of the table says that something lies.
type place struct {
	i int64
	entry
}

// places returns the entries that name a place, in the order of the table.
func (im *Image) places() ([]place, error) {
	var all []place
	err := im.eachEntry(func(i int64, e entry) bool {
		if n, isBitmap := im.lay.whatIs(i); e.offset() != 0 && (isBitmap || n < im.lay.blocks()) {
			all = append(all, place{i, e})
		}
		return true
	})
	return all, err
}

// lengthOf returns how many bytes the i-th entry of the table is about.
func (l *layout) lengthOf(i int64) int64 {
	if _, isBitmap := l.whatIs(i); isBitmap {
		return mib
	}
	return l.block
}

// taken returns what of the file a place takes. The last block of a disk may be
// stored short, at the end of the file.
func (im *Image) taken(p place) disk.Extent {
	end := min(p.offset()+im.lay.lengthOf(p.i), roundUp(im.file.Size(), mib))
	return disk.Extent{Off: p.offset(), Len: end - p.offset()}
}

// evict takes their places from blocks that need none.
func (c *compaction) evict() error {
	im := c.im
	all, err := im.places()
	if err != nil {
		return err
	}
	partial := int64(-1) // the chunk of the last block that needs its bitmap
	for _, p := range all {
		n, isBitmap := im.lay.whatIs(p.i)
		state := p.state()
		switch {
		case isBitmap && partial != n:
			state = NotPresent
		case !isBitmap && p.inFile():
			if state, err = im.leastState(n, p.entry); err != nil {
				return err
			}
		}
		if state == PartiallyPresent {
			partial = im.lay.chunk(n)
		}
		if state >= FullyPresent {
			continue
		}
		var old disk.Extent
		if p.inFile() { // others name a place that is not theirs
			old = im.taken(p)
		}
		if err := c.set(p.i, makeEntry(0, state), old); err != nil {
			return err
		}
	}
	return nil
}

// leastState returns the state in which block b, which has a place, would show
// the same and take the least room.
func (im *Image) leastState(b int64, e entry) (State, error) {
	s, none := e.state(), Zero
	own := []disk.Extent{{Len: im.lay.used(b)}}
	if s == PartiallyPresent {
		own, none = nil, NotPresent
		r := im.runs(b, 0, im.lay.used(b))
		for r.next() {
			if r.own {
				own = append(own, disk.Extent{Off: r.from, Len: r.to - r.from})
			}
		}
		if r.err != nil {
			return s, r.err
		}
	}
	for _, x := range own {
		if s == PartiallyPresent && !im.zeroBelow(b*im.lay.block+x.Off, x.Len) {
			return s, nil
		}
		if zero, err := im.zeroInFile(e.offset()+x.Off, x.Len); err != nil || !zero {
			return s, err
		}
	}
	return none, nil
}

// zeroBelow reports whether the parent is known to hold nothing in a range.
func (im *Image) zeroBelow(off, n int64) bool {
	if im.parent == nil {
		return false
	}
	for range im.parent.Extents(off, n) {
		return false
	}
	return true
}

// zeroInFile reports whether a range of the file is zero.
func (im *Image) zeroInFile(off, n int64) (bool, error) {
	buf := make([]byte, min(n, 64<<10))
	for x := range disk.Extents(im.src, off, n) {
		for at := x.Off; at < x.End(); at += int64(len(buf)) {
			p := buf[:min(int64(len(buf)), x.End()-at)]
			if err := readFull(im.src, p, at, "block data"); err != nil || !allZero(p) {
				return false, err
			}
		}
	}
	return true, nil
}

// pack moves what lies at the end of the file into gaps before it, the large
// before the small, which fit in what the large leave over.
func (c *compaction) pack() error {
	im := c.im
	if _, err := c.settle(); err != nil {
		return err
	}
	all, err := im.places()
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Compare(a.offset(), b.offset()) })
	var blocks, bitmaps []place
	for _, p := range all {
		if _, isBitmap := im.lay.whatIs(p.i); isBitmap {
			bitmaps = append(bitmaps, p)
		} else {
			blocks = append(blocks, p)
		}
	}
	for _, alike := range [][]place{blocks, bitmaps} {
		if err := c.packAlike(alike); err != nil {
			return err
		}
		if _, err := c.settle(); err != nil { // what these left is room for those
			return err
		}
	}
	return c.packTable()
}

// packAlike moves the last of some blocks of one length into the first gap that
// holds it, and so on. The gaps are in order; those that come to them meanwhile
// lie behind all blocks that are left.
func (c *compaction) packAlike(all []place) error {
	w := c.im.writer
	for g := 0; g < len(w.free) && len(all) > 0; {
		last := all[len(all)-1]
		n := c.im.lay.lengthOf(last.i)
		if w.free[g].Off > last.offset() {
			return nil
		}
		if w.free[g].Len < n {
			g++
			continue
		}
		if err := c.move(last, w.free[g].Off); err != nil {
			return err
		}
		w.free[g].Off, w.free[g].Len = w.free[g].Off+n, w.free[g].Len-n
		all = all[:len(all)-1]
	}
	return nil
}

// move brings a block to another place.
func (c *compaction) move(p place, to int64) error {
	old := c.im.taken(p)
	if err := c.copyTo(to, c.im.lay.lengthOf(p.i), old); err != nil {
		return err
	}
	c.moves++
	return c.set(p.i, makeEntry(to, p.state()), old)
}

// packTable moves the block allocation table into the smallest gap before it
// that holds it.
func (c *compaction) packTable() error {
	im, w := c.im, c.im.writer
	i := slices.IndexFunc(im.regions, func(r Region) bool { return r.ID == RegionBAT })
	old := im.regions[i].extent()
	best := -1
	for g, x := range w.free {
		if x.Off < old.Off && x.Len >= old.Len && (best < 0 || x.Len < w.free[best].Len) {
			best = g
		}
	}
	if best < 0 {
		return nil
	}
	to := disk.Extent{Off: w.free[best].Off, Len: old.Len}
	if err := c.copyTo(to.Off, to.Len, old); err != nil {
		return err
	}
	c.moves++
	lay := *im.lay
	made, err := im.useTable(&lay, to)
	if made { // what is free is found out anew
		w.free = slices.Delete(w.free, best, best+1)
	}
	return err
}

// copyTo copies a piece of the file to another place, which nothing takes and
// which has n bytes.
func (c *compaction) copyTo(to, n int64, from disk.Extent) error {
	im := c.im
	if err := c.begin(); err != nil {
		return err
	}
	if err := erase(im.file, to, n); err != nil {
		return err
	}
	s := virtdisk.NewSparse(im.file)
	if err := s.SkipTo(to); err != nil {
		return err
	}
	if err := s.CopyFrom(im.file, from.Off, min(from.Len, im.file.Size()-from.Off)); err != nil {
		return ioError(to, "block data", err)
	}
	return nil
}
