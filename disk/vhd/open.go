package vhd

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"github.com/shadowsim/shadowsim/disk"
)

// Open opens the image in a file of size bytes for reading. It reads the
// footer, the dynamic header, parent locators and the block allocation table,
// and nothing of the disk; malformed ones are an [Error] with one of this package's codes. If
// the footer at the end is lost but its copy at the start is good, the image
// opens with a note. A differencing image opens without its parent; see
// SetParent.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	src, ok := r.(disk.Source)
	if !ok || src.Size() != size {
		src = io.NewSectionReader(r, 0, size)
	}
	im, err := open(src)
	if err != nil {
		return nil, during("Open", err)
	}
	return im, nil
}

// OpenFile opens the image in f for reading and writing in place. Unlike Open
// it refuses an image whose footer at the end is lost; see Repair.
func OpenFile(f File) (*Image, error) {
	im, err := open(f)
	if err != nil {
		return nil, during("OpenFile", err)
	}
	if im.recovered != nil {
		return nil, during("OpenFile", im.recovered)
	}
	im.file = f
	return im, nil
}

// Repair opens the image in f as OpenFile does, and first, if the footer at the
// end is lost and its copy is good, writes the copy behind everything that is
// there. A file that was cut off in the middle of growing is whole again.
func Repair(f File) (*Image, error) {
	im, err := open(f)
	if err == nil && im.recovered != nil {
		im.file = f
		err = im.moveFooter(im.dyn.place(im.end))
	}
	if err != nil {
		return nil, during("Repair", err)
	}
	im, err = OpenFile(f)
	return im, during("Repair", err)
}

func open(src disk.Source) (*Image, error) {
	im := &Image{src: src, grain: defaultGrain}
	if err := im.findFooter(); err != nil {
		return nil, err
	}
	im.size = int64(im.footer.CurrentSize)
	if im.footer.Type == Fixed {
		if im.size > im.end {
			return nil, bad(ErrFileSize, im.end, "footer", "%d bytes of data before it, the disk has %d", im.end, im.size)
		}
		return im, nil
	}
	im.compareCopy()
	if err := im.readHeader(); err != nil {
		return nil, err
	}
	if im.footer.Type == Differencing {
		if err := im.readLink(); err != nil {
			return nil, err
		}
	}
	return im, im.readBlocks()
}

// findFooter reads the footer at the end or, if its cookie or checksum is
// wrong, the copy at the start.
func (im *Image) findFooter() error {
	tail, err := readTail(im.src, im.src.Size())
	if err != nil {
		return err
	}
	if tail.size < oldFooterSize {
		return bad(ErrFooterMissing, 0, "file", "%d bytes are too few for a footer", tail.size)
	}
	im.footer, err = parseFooter(tail.footer(), tail.at)
	if !errors.Is(err, ErrFooterMissing) && !errors.Is(err, ErrFooterChecksum) {
		im.rawFooter, im.end = tail.buf, tail.at
		return err
	}
	return im.recover(tail, err)
}

// recover takes the copy at the start for the footer that was lost.
func (im *Image) recover(tail *tail, lost error) error {
	var front [FooterSize]byte
	if im.src.Size() >= FooterSize {
		if err := readFull(im.src, front[:], 0, "footer copy"); err != nil {
			return err
		}
	}
	f, err := parseFooter(front[:], 0)
	switch {
	case errors.Is(err, ErrFooterMissing) && !tail.found:
		return bad(ErrFormatUnknown, -1, "file", "no cookie %q at either end", footerCookie)
	case errors.Is(err, ErrFooterMissing):
		return lost
	case err != nil:
		return err
	case f.Type == Fixed: // which keeps no copy: the guest wrote this
		return lost
	}
	im.footer, im.rawFooter, im.end = f, front, im.src.Size()
	im.recovered = lost
	im.notes = append(im.notes, fmt.Sprintf("footer recovered from its copy: %v", lost))
	return nil
}

// compareCopy notes what the copy of the footer says otherwise. The one at the
// end counts.
func (im *Image) compareCopy() {
	if im.recovered != nil {
		return
	}
	if err := im.copyTrouble(); err != nil {
		im.notes = append(im.notes, err.Error())
	}
}

// copyTrouble returns what is wrong with the copy of the footer.
func (im *Image) copyTrouble() error {
	b := headers.Get().(*[HeaderSize]byte)
	defer headers.Put(b)
	front := (*[FooterSize]byte)(b[:])
	if err := readFull(im.src, front[:], 0, "footer copy"); err != nil {
		return err
	}
	if *front == im.rawFooter {
		return nil
	}
	f, err := parseFooter(front[:], 0)
	var e *Error
	switch {
	case errors.As(err, &e):
		e.Field = "footer copy: " + e.Field
		return e
	case f.Type != im.footer.Type || f.CurrentSize != im.footer.CurrentSize || f.ID != im.footer.ID:
		return bad(ErrFooterCorrupt, 0, "footer copy", "type, size or identifier differ from those at the end")
	}
	return bad(ErrFooterCorrupt, 0, "footer copy", "not the same bytes as at the end")
}

// headers are room for bytes that are taken apart at once.
var headers = sync.Pool{New: func() any { return new([HeaderSize]byte) }}

// readHeader reads the dynamic header and verifies what it says about the file.
func (im *Image) readHeader() error {
	im.dyn = new(layout)
	h := &im.dyn.header
	at, err := im.readHeaderAt(im.footer.DataOffset, h)
	if err != nil {
		return err
	}
	im.dyn.headerAt = at
	im.dyn.block = int64(h.BlockSize)
	im.dyn.bitmap = bitmapSize(im.dyn.block)
	length := int64(h.MaxTableEntries) * 4
	if need := im.blocks(); int64(h.MaxTableEntries) < need {
		return bad(ErrSparseCorrupt, at+28, "dynamic header table entries", "%d, the disk has %d blocks", h.MaxTableEntries, need)
	}
	if h.TableOffset%SectorSize != 0 || h.TableOffset > math.MaxInt64 || int64(h.TableOffset) > im.end-length {
		return bad(ErrSparseCorrupt, at+16, "dynamic header table offset", "a table of %d bytes cannot lie at %d", length, h.TableOffset)
	}
	im.dyn.tableAt = int64(h.TableOffset)
	if front, header, table := im.parts(); overlap(table, header) || overlap(table, front) {
		return bad(ErrSparseCorrupt, at+16, "dynamic header table offset", "a table of %d bytes at %d covers the header or the footer's copy", length, h.TableOffset)
	}
	return nil
}

// readHeaderAt reads the dynamic header at a place that a footer names.
func (im *Image) readHeaderAt(place uint64, h *DynamicHeader) (at int64, err error) {
	if place < FooterSize || place%SectorSize != 0 || place > math.MaxInt64 || int64(place) > im.end-HeaderSize {
		return 0, bad(ErrFooterCorrupt, 16, "footer data offset", "no dynamic header can lie at %d", place)
	}
	at = int64(place)
	b := headers.Get().(*[HeaderSize]byte)
	defer headers.Put(b)
	if err := readFull(im.src, b[:], at, "dynamic header"); err != nil {
		return at, err
	}
	return at, h.parse(b[:], at)
}

// parts returns where a dynamic image has the footer's copy, its header and
// its table.
func (im *Image) parts() (front, header, table disk.Extent) {
	front = disk.Extent{Off: 0, Len: FooterSize}
	header = disk.Extent{Off: im.dyn.headerAt, Len: HeaderSize}
	table = disk.Extent{Off: im.dyn.tableAt, Len: int64(im.dyn.header.MaxTableEntries) * 4}
	return front, header, table
}

// blocks returns how many blocks the disk has; the table may be larger.
func (im *Image) blocks() int64 { return (im.size + im.dyn.block - 1) / im.dyn.block }

// readBlocks reads the block allocation table. Every block must lie between
// the parts that are not blocks, and no two may share a byte.
func (im *Image) readBlocks() error {
	length := im.dyn.bitmap + im.dyn.block
	front, header, table := im.parts()
	taken := []disk.Extent{front, header, table}
	if im.link != nil {
		taken = append(taken, im.link.extents...)
	}
	var places []uint32
	check := func(b int64, entry uint32) error {
		x := disk.Extent{Off: bitmapAt(entry), Len: length}
		if x.End() > im.end || slices.ContainsFunc(taken, func(y disk.Extent) bool { return overlap(x, y) }) {
			return bad(ErrBAT, im.dyn.tableAt+4*b, "block allocation table", "block %d cannot lie at %d to %d", b, x.Off, x.End())
		}
		places = append(places, entry)
		return nil
	}
	var err error
	if im.table, err = readTable(im.src, im.dyn.tableAt, im.blocks(), check); err != nil {
		return err
	}
	slices.Sort(places)
	for i := range len(places) - 1 {
		if at := bitmapAt(places[i+1]); at < bitmapAt(places[i])+length {
			return bad(ErrBAT, at, "block allocation table", "two blocks overlap here")
		}
	}
	return nil
}

func overlap(a, b disk.Extent) bool { return a.Off < b.End() && b.Off < a.End() }
