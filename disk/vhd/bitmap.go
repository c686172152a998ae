package vhd

import "iter"

// bitmapSize returns how many bytes of bitmap stand before a block.
func bitmapSize(block int64) int64 {
	perSector := int64(8 * SectorSize * SectorSize) // bytes that one sector of bitmap speaks for
	return (block + perSector - 1) / perSector * SectorSize
}

// sectorBits is the bitmap of one block: a bit a sector, the first sector of a
// byte in its highest bit.
type sectorBits []byte

func (s sectorBits) isSet(sector int64) bool { return s[sector/8]&(0x80>>(sector%8)) != 0 }

// run returns the end of the run of equal bits that begins at sector and ends
// at last at the latest.
func (s sectorBits) run(sector, last int64) int64 {
	set := s.isSet(sector)
	same := byte(0)
	if set {
		same = 0xFF
	}
	for sector < last && s.isSet(sector) == set {
		if sector%8 == 0 && s[sector/8] == same {
			sector += 8
		} else {
			sector++
		}
	}
	return min(sector, last)
}

// runs yields the ranges of bytes within from and to, counted from the start
// of the block, whose sectors are all set or all clear, as asked for.
func (s sectorBits) runs(set bool, from, to int64) iter.Seq2[int64, int64] {
	return func(yield func(int64, int64) bool) {
		last := (to + SectorSize - 1) / SectorSize
		for sector := from / SectorSize; sector < last; {
			next := s.run(sector, last)
			if s.isSet(sector) == set && !yield(max(from, sector*SectorSize), min(to, next*SectorSize)) {
				return
			}
			sector = next
		}
	}
}

// clear yields the ranges that the bitmap denies, set those it confirms.
func (s sectorBits) clear(from, to int64) iter.Seq2[int64, int64] { return s.runs(false, from, to) }
func (s sectorBits) set(from, to int64) iter.Seq2[int64, int64]   { return s.runs(true, from, to) }

// add sets the bits of sectors first to last, that one not included.
func (s sectorBits) add(first, last int64) {
	for ; first < last && first%8 != 0; first++ {
		s[first/8] |= 0x80 >> (first % 8)
	}
	for ; first+8 <= last; first += 8 {
		s[first/8] = 0xFF
	}
	for ; first < last; first++ {
		s[first/8] |= 0x80 >> (first % 8)
	}
}

// allSet reports whether sectors first to last are set, that one not included.
func (s sectorBits) allSet(first, last int64) bool {
	return first >= last || s.isSet(first) && s.run(first, last) == last
}

// used returns how many bytes of block b belong to the disk: all but in the
// last block, which is stored whole nevertheless.
func (im *Image) used(b int64) int64 { return min(im.dyn.block, im.size-b*im.dyn.block) }

// bitmap reads the bitmap of b, and remembers it if it is full.
func (im *Image) bitmap(b int64, entry uint32) (sectorBits, error) {
	bits := make(sectorBits, im.dyn.bitmap)
	if err := readFull(im.src, bits, bitmapAt(entry), "block bitmap"); err != nil {
		return nil, err
	}
	im.noteFull(b, bits)
	return bits, nil
}

// noteFull remembers that the bitmap of b is full, if it is.
func (im *Image) noteFull(b int64, bits sectorBits) {
	if bits.allSet(0, im.used(b)/SectorSize) {
		im.table.setFull(b)
	}
}
