package vhd

import (
	"encoding/binary"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// Resize changes the size of the disk of an image that has no parent. What is
// gained is zero. A smaller disk would lose what lies behind its end, so unless
// that is zero the call is refused with [ErrShrink]; an image with a saved
// state, with [ErrState]. The room of blocks that are lost is given back by
// Compact.
//
// Cut off at any moment, the image has the old size or the new one. A fixed
// image has but one footer: cut off between growth and the footer it has lost
// that, and until it is cut a smaller one shows the new footer behind its new
// end.
func (im *Image) Resize(size int64) error {
	return during("Resize", im.resize(size))
}

func (im *Image) resize(size int64) error {
	if err := im.changeable(); err != nil {
		return err
	}
	if im.link != nil {
		return bad(ErrLimit, -1, "disk size", "a differencing disk has that of its parent")
	}
	if size < 0 {
		return bad(ErrSize, -1, "disk size", "%d", size)
	}
	if err := checkSize(uint64(size), -1); err != nil {
		return err
	}
	switch {
	case size < im.size:
		return im.shrink(size)
	case size > im.size:
		return im.grow(size)
	}
	return nil
}

// changeable refuses to change the layout of an image that may not be written
// or that a saved state goes with.
func (im *Image) changeable() error {
	switch {
	case im.file == nil:
		return disk.ErrReadOnly
	case im.footer.SavedState == 1:
		return bad(ErrState, im.end+84, "footer saved state", "a machine that was saved expects the image as it is")
	}
	return nil
}

func (im *Image) grow(size int64) error {
	if im.dyn == nil {
		return im.growFixed(size)
	}
	if err := im.growTable(size); err != nil {
		return err
	}
	if err := im.clearTail(); err != nil {
		return err
	}
	return im.setSize(size)
}

// growFixed puts the footer behind more data. What is between the old end of
// the disk and the new one becomes zero.
func (im *Image) growFixed(size int64) error {
	old, end := im.end, max(im.end, size)
	if err := im.erase(im.size, min(size, old)-im.size); err != nil {
		return err
	}
	f, raw := im.sized(size)
	if end == old {
		if err := im.putFooter(raw, old); err != nil {
			return err
		}
		im.footer, im.rawFooter, im.size = f, raw, size
		return im.sync()
	}
	if err := im.putFooter(raw, end); err != nil {
		return err
	}
	im.footer, im.rawFooter, im.size, im.end = f, raw, size, end
	if err := im.sync(); err != nil {
		return err
	}
	return orSync(im, im.erase(old, min(size-old, FooterSize)))
}

// sized returns the footer for another size.
func (im *Image) sized(size int64) (Footer, [FooterSize]byte) {
	f := im.footer
	f.CurrentSize, f.Geometry = uint64(size), GeometryOf(size)
	return f, f.Bytes()
}

// orSync syncs after what did not fail.
func orSync(im *Image, err error) error {
	if err != nil {
		return err
	}
	return im.sync()
}

// setSize writes the size to the footer and then to its copy.
func (im *Image) setSize(size int64) error {
	f, raw := im.sized(size)
	if err := im.putFooter(raw, im.end); err != nil {
		return err
	}
	im.footer, im.rawFooter, im.size = f, raw, size
	if err := im.sync(); err != nil || im.dyn == nil {
		return err
	}
	_, err := im.writeFile(raw[:], 0, "footer copy")
	return orSync(im, err)
}

// clearTail makes zero what the last block stores behind the end of the disk,
// and its bitmap full, for the disk is about to reach there.
func (im *Image) clearTail() error {
	b := im.blocks() - 1
	entry, used := im.table.entry(b), im.used(b)
	if entry == absent || used == im.dyn.block {
		return nil
	}
	if err := im.fill(b, entry); err != nil {
		return err
	}
	if err := im.eraseNonzero(bitmapAt(entry)+im.dyn.bitmap+used, im.dyn.block-used); err != nil {
		return err
	}
	bits, err := im.bitmap(b, entry)
	if err != nil {
		return err
	}
	bits.add(0, im.dyn.block/SectorSize)
	_, err = im.writeFile(bits, bitmapAt(entry), "block bitmap")
	return orSync(im, err)
}

// growTable makes room in the table for the blocks of a larger disk.
func (im *Image) growTable(size int64) error {
	old, n := im.blocks(), (size+im.dyn.block-1)/im.dyn.block
	missing, stride := n, roundUp(im.dyn.block+im.dyn.bitmap, blockAlign)
	for range im.table.placed(0) {
		missing--
	}
	if last := im.end + n*4 + missing*stride; last/SectorSize >= int64(absent) {
		return bad(ErrBlockSize, -1, "block size", "%d is too small for a disk of %d bytes", im.dyn.block, size)
	}
	if n > old {
		at := im.dyn.tableAt
		if length := roundUp(n*4, SectorSize); at+length > im.tableRoom() {
			at = im.end
			if err := im.moveTable(n); err != nil {
				return err
			}
		} else if err := im.writeTable(at, old, length/4); err != nil {
			return err
		}
		im.table.grow(n)
		return im.setTable(at, n)
	}
	return im.setTable(im.dyn.tableAt, n)
}

// tableRoom returns where the next thing behind the table begins.
func (im *Image) tableRoom() int64 {
	at, room := im.dyn.tableAt, im.end
	if im.dyn.headerAt > at {
		room = min(room, im.dyn.headerAt)
	}
	for _, entry := range im.table.placed(0) {
		if p := bitmapAt(entry); p > at {
			room = min(room, p)
		}
	}
	return room
}

// moveTable writes a table of n entries behind everything else.
func (im *Image) moveTable(n int64) error {
	length := roundUp(n*4, SectorSize)
	at, end := im.end, im.dyn.place(im.end+length)
	if err := im.moveFooter(end); err != nil {
		return err
	}
	im.end = end
	return im.writeTable(at, 0, length/4)
}

// writeTable writes entries from first to last, that one not included, of a
// table at a place in the file, and syncs. What is behind the blocks there are
// is absent.
func (im *Image) writeTable(at, first, last int64) error {
	blocks := im.blocks()
	buf := make([]byte, 0, min(64<<10, (last-first)*4))
	for b := first; b < last; b++ {
		e := absent
		if b < blocks {
			e = im.table.entry(b)
		}
		buf = binary.BigEndian.AppendUint32(buf, e)
		if len(buf) == cap(buf) || b == last-1 {
			if _, err := im.writeFile(buf, at+(b+1)*4-int64(len(buf)), "block allocation table"); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return im.sync()
}

// setTable writes to the header where the table lies and how long it is.
func (im *Image) setTable(at, n int64) error {
	if at == im.dyn.tableAt && n == int64(im.dyn.header.MaxTableEntries) {
		return nil
	}
	dyn := *im.dyn
	dyn.tableAt, dyn.header.TableOffset, dyn.header.MaxTableEntries = at, uint64(at), uint32(n)
	raw := dyn.header.Bytes()
	if _, err := im.writeFile(raw[:], dyn.headerAt, "dynamic header"); err != nil {
		return err
	}
	im.dyn = &dyn
	return im.sync()
}

// grow makes the table describe n blocks; the new ones are absent.
func (t *blockTable) grow(n int64) {
	pages := int((n + pageBlocks - 1) / pageBlocks)
	if len(t.pages) < pages {
		t.pages, t.mine = append(slices.Clone(t.pages), make([]*tablePage, pages-len(t.pages))...), true
	}
}

func (im *Image) shrink(size int64) error {
	if err := im.lastData(size); err != nil {
		return err
	}
	if im.dyn == nil {
		return im.shrinkFixed(size)
	}
	old, n := im.blocks(), (size+im.dyn.block-1)/im.dyn.block
	if err := im.setSize(size); err != nil {
		return err
	}
	for b, entry := range im.table.placed(n) {
		if b < old && entry != absent {
			im.table.set(b, absent)
		}
	}
	if im.table.entry(n-1) != absent {
		im.table.writable(n - 1) // a full bitmap is a shorter one now than in other forks
	}
	if old > n {
		if err := im.writeTable(im.dyn.tableAt, n, old); err != nil {
			return err
		}
	}
	return im.setTable(im.dyn.tableAt, n)
}

// lastData refuses a size behind which the disk holds other than zeros.
func (im *Image) lastData(size int64) error {
	buf := make([]byte, 64<<10)
	for e := range im.Extents(size, im.size-size) {
		for at := e.Off; at < e.End(); at += int64(len(buf)) {
			p := buf[:min(int64(len(buf)), e.End()-at)]
			if _, err := im.read(p, at); err != nil {
				return err
			}
			if !virtdisk.AllZero(p) {
				return bad(ErrShrink, -1, "disk size", "%d bytes, and there is data behind %d", size, at)
			}
		}
	}
	return nil
}

// shrinkFixed writes the footer behind less data and cuts off the rest.
func (im *Image) shrinkFixed(size int64) error {
	f, raw := im.sized(size)
	if _, err := im.writeFile(raw[:], size, "footer"); err != nil {
		return err
	}
	if err := im.sync(); err != nil {
		return err
	}
	im.footer, im.rawFooter, im.size, im.end = f, raw, size, size
	return im.cut()
}

// cut ends the file behind the footer.
func (im *Image) cut() error {
	if err := im.file.Resize(im.end + FooterSize); err != nil {
		return ioError(im.end, "file size", err)
	}
	return im.sync()
}
