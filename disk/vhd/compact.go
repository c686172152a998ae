package vhd

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// Compact makes the file of a dynamic or differencing image shorter. Blocks
// that show nothing but zeros, and those of a child that hold nothing, lose
// their place, blocks at the end of the file move into the gaps, and the rest
// is cut off. A fixed image is [ErrType], one with a saved state [ErrState].
//
// A block is copied before the table names its new place, and the footer is
// written before the file is cut: interrupted at any moment, the image is the
// same disk.
func (im *Image) Compact() error {
	return during("Compact", im.compact())
}

func (im *Image) compact() error {
	if err := im.changeable(); err != nil {
		return err
	}
	if im.dyn == nil {
		return bad(ErrType, -1, "disk type", "a fixed disk has no blocks")
	}
	for b, entry := range im.table.placed(0) {
		empty, err := im.isEmpty(b, entry)
		if err == nil && empty {
			err = im.setEntry(b, absent)
		}
		if err != nil {
			return err
		}
	}
	end, err := im.pack()
	if err != nil || end+FooterSize > im.end {
		return err
	}
	if _, err := im.writeFile(im.rawFooter[:], end, "footer"); err != nil {
		return err
	}
	if err := im.sync(); err != nil {
		return err
	}
	im.end = end
	return im.cut()
}

// isEmpty reports whether the disk would be the same without block b.
func (im *Image) isEmpty(b int64, entry uint32) (bool, error) {
	bits, err := im.bitmap(b, entry)
	if err != nil {
		return false, err
	}
	data := bitmapAt(entry) + im.dyn.bitmap
	for from, to := range bits.set(0, im.used(b)) {
		start := b * im.dyn.block
		if im.link != nil && !im.zeroBelow(start+from, to-from) {
			return false, nil
		}
		if zero, err := im.isZero(data+from, to-from); err != nil || !zero {
			return false, err
		}
	}
	return true, nil
}

// isZero reports whether a range of the file is zero.
func (im *Image) isZero(off, n int64) (bool, error) {
	buf := make([]byte, min(n, 64<<10))
	for e := range disk.Extents(im.src, off, n) {
		for at := e.Off; at < e.End(); at += int64(len(buf)) {
			p := buf[:min(int64(len(buf)), e.End()-at)]
			if err := readFull(im.src, p, at, "block data"); err != nil || !virtdisk.AllZero(p) {
				return false, err
			}
		}
	}
	return true, nil
}

// setEntry writes where block b lies, and syncs before and after.
func (im *Image) setEntry(b int64, entry uint32) error {
	if err := im.sync(); err != nil {
		return err
	}
	var raw [4]byte
	binary.BigEndian.PutUint32(raw[:], entry)
	if _, err := im.writeFile(raw[:], im.dyn.tableAt+b*4, "block allocation table"); err != nil {
		return err
	}
	im.table.set(b, entry)
	return im.sync()
}

// A tenant is something that has a place in the file: a block, or a part that
// cannot move.
type tenant struct {
	disk.Extent
	block int64 // -1 for other parts
}

// tenants returns all that has a place, in the order of the file.
func (im *Image) tenants() []tenant {
	front, header, table := im.parts()
	all := []tenant{{front, -1}, {header, -1}, {table, -1}}
	if im.link != nil {
		for _, e := range im.link.extents {
			all = append(all, tenant{e, -1})
		}
	}
	for b, entry := range im.table.placed(0) {
		all = append(all, tenant{disk.Extent{Off: bitmapAt(entry), Len: im.dyn.bitmap + im.dyn.block}, b})
	}
	slices.SortFunc(all, func(a, b tenant) int { return cmp.Compare(a.Off, b.Off) })
	return all
}

// pack moves blocks from the end of the file into gaps before them, and returns
// where the footer can go.
func (im *Image) pack() (end int64, err error) {
	all, length := im.tenants(), im.dyn.bitmap+im.dyn.block
	at := int64(0) // all before is taken, or too little for a block
	for i := 0; i < len(all); i++ {
		for to := im.dyn.place(at); to+length <= all[i].Off; to = im.dyn.place(at) {
			last := lastBlock(all[i:])
			if last < 0 {
				break
			}
			moving := all[i+last]
			if err := im.move(moving.block, moving.Off, to); err != nil {
				return 0, err
			}
			all = slices.Delete(all, i+last, i+last+1)
			if at = to + length; i == len(all) {
				return im.dyn.place(at), nil
			}
		}
		at = max(at, all[i].End())
	}
	return im.dyn.place(at), nil
}

// lastBlock returns the index of the last tenant that is a block, or -1.
func lastBlock(all []tenant) int {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].block >= 0 {
			return i
		}
	}
	return -1
}

// move copies block b from one place in the file to another, free one.
func (im *Image) move(b, from, to int64) error {
	length := im.dyn.bitmap + im.dyn.block
	if err := im.erase(to, length); err != nil {
		return err
	}
	s := virtdisk.NewSparse(im.file)
	if err := s.SkipTo(to); err != nil {
		return err
	}
	if err := s.CopyFrom(im.src, from, length); err != nil {
		return ioError(to, "block data", err)
	}
	return im.setEntry(b, uint32(to/SectorSize))
}
