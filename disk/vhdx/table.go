package vhdx

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/shadowsim/shadowsim/disk"
)

// A State says what an entry of the block allocation table knows of its block,
// with the format's own numbers.
type State uint8

// The states of payload blocks. A sector bitmap block is NotPresent or
// FullyPresent.
const (
	NotPresent       State = 0 // never written: the parent's, or zero without one
	Undefined        State = 1 // reads as zero, also over a parent
	Zero             State = 2 // zero, also over a parent
	Unmapped         State = 3 // trimmed; reads as zero, also over a parent
	FullyPresent     State = 6 // in the file
	PartiallyPresent State = 7 // in the file where its sector bitmap says so, the rest the parent's
)

// entry is an entry of the block allocation table: a state and a place.
type entry uint64

func makeEntry(off int64, s State) entry { return entry(off) | entry(s) }

func (e entry) state() State     { return State(e & 7) }
func (e entry) offset() int64    { return int64(e &^ (mib - 1)) }
func (e entry) reserved() uint64 { return uint64(e) & (mib - 1) &^ 7 }

// inFile reports whether the block lies in the file.
func (e entry) inFile() bool { return e.state() >= FullyPresent }

// layout is what the metadata and the region table decide about the places of
// things; it never changes.
type layout struct {
	size       int64
	sector     int64 // logical
	block      int64
	ratioShift uint // payload blocks in a chunk, as a power of two
	hasParent  bool
	tableAt    int64
	entries    int64 // of the table that are in use
	parts      []disk.Extent
}

// chunkSectors is how many sectors one sector bitmap block speaks for.
const chunkSectors = 8 * mib

func newLayout(m *metadata) *layout {
	l := &layout{size: m.size, sector: m.sector, block: m.blockSize, hasParent: m.hasParent}
	l.ratioShift = uint(bits.TrailingZeros64(uint64(chunkSectors * m.sector / m.blockSize)))
	n := l.blocks()
	if l.hasParent {
		chunks := (n + 1<<l.ratioShift - 1) >> l.ratioShift
		l.entries = chunks * (1<<l.ratioShift + 1)
	} else {
		l.entries = n + (n-1)>>l.ratioShift
	}
	return l
}

// blocks returns how many payload blocks the disk has.
func (l *layout) blocks() int64 { return (l.size + l.block - 1) / l.block }

// used returns how many bytes of block b belong to the disk: all but in the
// last block.
func (l *layout) used(b int64) int64 { return min(l.block, l.size-b*l.block) }

// payloadIndex and bitmapIndex return where the table has a payload block, and
// the bitmap block of a chunk.
func (l *layout) payloadIndex(b int64) int64    { return b + b>>l.ratioShift }
func (l *layout) bitmapIndex(chunk int64) int64 { return (chunk+1)<<l.ratioShift + chunk }
func (l *layout) chunk(b int64) int64           { return b >> l.ratioShift }

// whatIs returns the block that the i-th entry of the table is about, or, for a
// bitmap block, its chunk.
func (l *layout) whatIs(i int64) (n int64, isBitmap bool) {
	stride := int64(1)<<l.ratioShift + 1
	chunk, in := i/stride, i%stride
	if in == stride-1 {
		return chunk, true
	}
	return chunk<<l.ratioShift + in, false
}

// checkEntry verifies the i-th entry of the table of a file of size bytes.
func (l *layout) checkEntry(i int64, e entry, size int64) error {
	n, isBitmap := l.whatIs(i)
	need, what := l.block, "block"
	if isBitmap {
		need, what = mib, "sector bitmap block"
	} else if n >= l.blocks() {
		return nil // padding behind the last block
	} else if n == l.blocks()-1 { // may be stored short
		need = l.used(n)
	}
	s, off := e.state(), e.offset()
	switch {
	case e.reserved() != 0:
		return l.badEntry(i, "reserved bits of %s %d: %#x", what, n, uint64(e))
	case s == 4 || s == 5, isBitmap && s != NotPresent && s != FullyPresent:
		return l.badEntry(i, "%s %d in state %d", what, n, s)
	case !l.hasParent && (s == PartiallyPresent || isBitmap && s != NotPresent):
		return l.badEntry(i, "%s %d in state %d without a parent", what, n, s)
	case !e.inFile():
		return nil
	case off < mib || off > size-need:
		return l.badEntry(i, "%s %d at %d leaves the file of %d", what, n, off, size)
	}
	if l.overPart(disk.Extent{Off: off, Len: need}) {
		return l.badEntry(i, "%s %d at %d lies over the log or a region", what, n, off)
	}
	return nil
}

// overPart reports whether x overlaps the log or a region, which are in order.
func (l *layout) overPart(x disk.Extent) bool {
	k := sort.Search(len(l.parts), func(k int) bool { return l.parts[k].End() > x.Off })
	return k < len(l.parts) && l.parts[k].Off < x.End()
}

func (l *layout) badEntry(i int64, format string, args ...any) error {
	return bad(ErrBAT, l.tableAt+8*i, "block allocation table", format, args...)
}

// pageEntries is how many entries a page of the table has: those of one sector
// of the log.
const pageEntries = logSector / 8

// An owner marks the pages that one table may write; it has a size so that two
// of them never share an address.
type owner struct{ _ byte }

type tablePage struct {
	owner *owner
	entry [pageEntries]entry
}

// emptyPage stands for all pages of the file that hold zeros.
var emptyPage tablePage

// blockTable is the part of the block allocation table that was used. A fork
// shares all pages until one side writes; pages read later by either are the
// same in both, because what one changes it has in a list of its own.
type blockTable struct {
	owner *owner
	mine  bool // pages, the slice, is not shared
	pages []atomic.Pointer[tablePage]
}

func newTable(entries int64) blockTable {
	return blockTable{
		owner: new(owner),
		mine:  true,
		pages: make([]atomic.Pointer[tablePage], (entries+pageEntries-1)/pageEntries),
	}
}

// fork returns a second table with the same content. Neither sees what is
// written to the other from here on.
func (t *blockTable) fork() blockTable {
	t.owner, t.mine = new(owner), false
	return blockTable{owner: new(owner), pages: t.pages}
}

// writable returns the page with the i-th entry, which has been read, for
// writing.
func (t *blockTable) writable(i int64) *tablePage {
	if !t.mine {
		old := t.pages
		t.pages, t.mine = make([]atomic.Pointer[tablePage], len(old)), true
		for k := range old {
			t.pages[k].Store(old[k].Load())
		}
	}
	slot := &t.pages[i/pageEntries]
	p := slot.Load()
	if p.owner != t.owner {
		p = &tablePage{t.owner, p.entry}
		slot.Store(p)
	}
	return p
}

// bytes returns the page as it stands in the file.
func (p *tablePage) bytes() *[logSector]byte {
	var b [logSector]byte
	for i, e := range p.entry {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(e))
	}
	return &b
}

// at returns the i-th entry of the table, reading and verifying its page when
// it is the first of it to be asked for.
func (im *Image) at(i int64) (entry, error) {
	if p := im.table.pages[i/pageEntries].Load(); p != nil {
		return p.entry[i%pageEntries], nil
	}
	p, err := im.readPage(i / pageEntries)
	if err != nil {
		return 0, err
	}
	return p.entry[i%pageEntries], nil
}

// payload returns the entry of block b.
func (im *Image) payload(b int64) (entry, error) { return im.at(im.lay.payloadIndex(b)) }

// readPage reads a page of the table.
func (im *Image) readPage(n int64) (*tablePage, error) {
	var buf [logSector]byte
	count := min(pageEntries, im.lay.entries-n*pageEntries)
	off := im.lay.tableAt + n*logSector
	if err := readFull(im.src, buf[:8*count], off, "block allocation table"); err != nil {
		return nil, err
	}
	p := &emptyPage
	if !allZero(buf[:]) {
		p = new(tablePage) // without an owner: forks may share it
		for i := range count {
			e := entry(binary.LittleEndian.Uint64(buf[8*i:]))
			if err := im.lay.checkEntry(n*pageEntries+i, e, im.src.Size()); err != nil {
				return nil, err
			}
			p.entry[i] = e
		}
	}
	// If another reader was quicker, its page is the same.
	im.table.pages[n].CompareAndSwap(nil, p)
	return im.table.pages[n].Load(), nil
}

// emptyUntil returns the first block from b on whose page of the table is not
// known to be empty; b itself when its page is not.
func (im *Image) emptyUntil(b int64) int64 {
	first := im.lay.payloadIndex(b) / pageEntries
	n := first
	for n < min(int64(len(im.table.pages)), first+emptyPages) && im.isEmpty(n) {
		n++
	}
	if n == first {
		return b
	}
	if n*pageEntries >= im.lay.entries {
		return im.lay.blocks()
	}
	next, isBitmap := im.lay.whatIs(n * pageEntries)
	if isBitmap {
		next = (next + 1) << im.lay.ratioShift
	}
	return min(next, im.lay.blocks())
}

// emptyPages bounds how far emptyUntil looks.
const emptyPages = 1024

// isEmpty reports whether page n is empty. Those behind it that the file has
// nothing of are then known to be so without being read.
func (im *Image) isEmpty(n int64) bool {
	if p := im.table.pages[n].Load(); p != nil {
		return p == &emptyPage
	}
	last := min(int64(len(im.table.pages)), n+emptyPages)
	at := im.lay.tableAt + n*logSector
	hole := at + (last-n)*logSector
	for x := range disk.Extents(im.src, at, hole-at) {
		hole = x.Off
		break
	}
	for k := n; k < last && im.lay.tableAt+(k+1)*logSector <= hole; k++ {
		im.table.pages[k].CompareAndSwap(nil, &emptyPage)
	}
	p := im.table.pages[n].Load()
	if p == nil {
		var err error
		if p, err = im.readPage(n); err != nil {
			return false // whoever needs it will be told
		}
	}
	return p == &emptyPage
}

// scan reads the whole table, without keeping it, and verifies each entry, that
// no two blocks overlap, and that every partial block has its bitmap. It
// returns what is taken in the file: the parts that are not blocks, and the
// blocks, in order.
func (im *Image) scan() (taken []disk.Extent, err error) {
	s := scanner{lay: im.lay, size: im.src.Size(), partial: -1}
	s.taken = append(s.taken, im.lay.parts...)
	var found error
	err = im.eachEntry(func(i int64, e entry) bool {
		found = s.add(i, e)
		return found == nil
	})
	if err != nil || found != nil {
		return nil, cmp.Or(err, found)
	}
	if err := s.endChunk(-1); err != nil {
		return nil, err
	}
	if at, ok := overlapping(s.taken); ok {
		return nil, bad(ErrBAT, at, "block allocation table", "two blocks overlap here")
	}
	return s.taken, nil
}

// eachEntry calls do for the entries that are not zero, as they stand in the
// file, in order, until it says no.
func (im *Image) eachEntry(do func(i int64, e entry) bool) error {
	buf := make([]byte, min(im.lay.entries*8, 64<<10))
	next := int64(0)
	for x := range disk.Extents(im.src, im.lay.tableAt, im.lay.entries*8) {
		at := max(x.Off&^7, next)
		next = roundUp(x.End(), 8)
		for at < next {
			p := buf[:min(int64(len(buf)), next-at)]
			if err := readFull(im.src, p, at, "block allocation table"); err != nil {
				return err
			}
			for k := 0; k < len(p); k += 8 {
				e := entry(binary.LittleEndian.Uint64(p[k:]))
				if e != 0 && !do((at-im.lay.tableAt+int64(k))/8, e) {
					return nil
				}
			}
			at += int64(len(p))
		}
	}
	return nil
}

// A scanner looks at all entries of a table in order.
type scanner struct {
	lay     *layout
	size    int64 // of the file
	taken   []disk.Extent
	partial int64 // the chunk that has a partial block and, so far, no bitmap
}

// add looks at the i-th entry.
func (s *scanner) add(i int64, e entry) error {
	if err := s.lay.checkEntry(i, e, s.size); err != nil {
		return err
	}
	n, isBitmap := s.lay.whatIs(i)
	if !isBitmap && n >= s.lay.blocks() || !e.inFile() {
		return nil
	}
	x, chunk := disk.Extent{Off: e.offset(), Len: s.lay.block}, n
	if isBitmap {
		x.Len = mib
	} else {
		chunk = s.lay.chunk(n)
	}
	if err := s.endChunk(chunk); err != nil {
		return err
	}
	switch {
	case isBitmap:
		s.partial = -1
	case e.state() == PartiallyPresent:
		s.partial = chunk
	}
	s.take(x)
	return nil
}

// endChunk is told of the chunk that the next entry is about.
func (s *scanner) endChunk(chunk int64) error {
	if s.partial >= 0 && s.partial != chunk {
		return bad(ErrBitmap, s.lay.tableAt+8*s.lay.bitmapIndex(s.partial), "sector bitmap block",
			"chunk %d has a partially present block and no bitmap", s.partial)
	}
	return nil
}

// take notes a block, joined to the last one where they touch.
func (s *scanner) take(x disk.Extent) {
	if n := len(s.taken); n > 0 && s.taken[n-1].End() == x.Off {
		s.taken[n-1].Len += x.Len
		return
	}
	s.taken = append(s.taken, x)
}

// gaps returns what is not taken below end, in order; taken must be in order
// itself.
func gaps(taken []disk.Extent, end int64) []disk.Extent {
	var free []disk.Extent
	at := int64(mib)
	for _, x := range taken {
		if x.Off > at {
			free = append(free, disk.Extent{Off: at, Len: min(x.Off, end) - at})
		}
		at = max(at, x.End())
	}
	if at < end {
		free = append(free, disk.Extent{Off: at, Len: end - at})
	}
	return slices.Clip(free)
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
