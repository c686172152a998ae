package disk

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math/bits"

	"github.com/shadowsim/shadowsim/internal/pages"
)

// sectorSize is the grain at which an overlay knows its own bytes.
const sectorSize = 512

// A bitmap has one bit for each sector of a store, least significant first. It
// is sparse, and as quick to snapshot as the store, because it lies in a Memory
// itself.
type bitmap struct{ bits *Memory }

func newBitmap(size int64) bitmap { return bitmap{NewMemory(bitmapSize(size))} }

// bitmapSize returns the bytes of a bitmap for a store of the given size.
func bitmapSize(size int64) int64 {
	sectors := size/sectorSize + min(size%sectorSize, 1)
	return (sectors + 7) / 8
}

const (
	chunkBytes   = 512            // of a bitmap, looked at together
	chunkSectors = chunkBytes * 8 // what they speak for
)

// same tells whether the sector at off is set, and how far this holds, at most
// to end.
func (b bitmap) same(off, end int64) (set bool, upto int64) {
	var chunk [chunkBytes]byte
	sec, last := off/sectorSize, (end-1)/sectorSize
	b.bits.tree.Read(chunk[:], sec/chunkSectors*chunkBytes)
	i := int(sec % chunkSectors)
	set = chunk[i/8]>>(i%8)&1 != 0
	for {
		n := equalBits(&chunk, i, set)
		sec += int64(n)
		if n == chunkSectors && !set {
			sec = b.skip(sec, last)
		}
		if sec > last {
			return set, end
		}
		if i+n < chunkSectors {
			return set, sec * sectorSize
		}
		b.bits.tree.Read(chunk[:], sec/chunkSectors*chunkBytes)
		i = int(sec % chunkSectors)
	}
}

// skip returns the first sector from sec on that may be set, or one behind last.
func (b bitmap) skip(sec, last int64) int64 {
	next := last + 1
	b.bits.tree.Extents(sec/8, last/8-sec/8+1, func(off, _ int64) bool {
		next = max(sec, off*8)
		return false // what the store says joins all that follows first
	})
	return next
}

// runs yields what is set between two offsets, a sector's start each, in
// ascending order, no two touching.
func (b bitmap) runs(off, end int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		if off >= end {
			return
		}
		j := joiner{yield: yield, win: Extent{off, end - off}}
		first, last := off/sectorSize/8, (end-1)/sectorSize/8
		var page [4096]byte
		b.bits.tree.Extents(first, last-first+1, func(at, n int64) bool {
			for stop := at + n; at < stop; at += int64(len(page)) {
				p := page[:min(int64(len(page)), stop-at)]
				clear(page[len(p):])
				b.bits.tree.Read(p, at)
				if !j.words(&page, at) {
					return false
				}
			}
			return true
		})
		j.flush()
	}
}

// words adds what is set in a page of a bitmap, whose first byte is the at-th.
func (j *joiner) words(page *[4096]byte, at int64) bool {
	for i := 0; i < len(page); i += 8 {
		word := binary.LittleEndian.Uint64(page[i:])
		for sec := (at + int64(i)) * 8; word != 0; {
			skip := bits.TrailingZeros64(word)
			n := bits.TrailingZeros64(^(word >> skip))
			sec += int64(skip)
			if !j.page(sec*sectorSize, int64(n)*sectorSize) {
				return false
			}
			word, sec = word>>skip>>n, sec+int64(n)
		}
	}
	return true
}

// equalBits counts the bits from i on that are like set.
func equalBits(chunk *[chunkBytes]byte, i int, set bool) int {
	if i == 0 && bytes.Equal(chunk[1:], chunk[:chunkBytes-1]) && (chunk[0] == 0xff && set || chunk[0] == 0 && !set) {
		return chunkSectors // which most are, and is found several times as fast
	}
	from := i
	for i < chunkSectors {
		word := binary.LittleEndian.Uint64(chunk[i/64*8:])
		if set {
			word = ^word
		}
		left := 64 - i%64
		n := min(bits.TrailingZeros64(word>>(i%64)), left)
		i += n
		if n < left {
			break
		}
	}
	return i - from
}

// set sets the bits of all sectors that the range touches.
func (b bitmap) set(off, end int64) {
	sec, stop := off/sectorSize, (end-1)/sectorSize+1
	for ; sec < stop && sec%8 != 0; sec++ {
		b.setOne(sec)
	}
	b.fill(sec/8, stop/8-sec/8)
	for sec = max(sec, stop&^7); sec < stop; sec++ {
		b.setOne(sec)
	}
}

func (b bitmap) setOne(sec int64) {
	var x [1]byte
	b.bits.tree.Read(x[:], sec/8)
	x[0] |= 1 << (sec % 8)
	b.bits.tree.Write(x[:], sec/8)
}

// fill sets whole bytes. A long range, a disk's size of it, consists of many
// references to the same memory.
func (b bitmap) fill(off, n int64) {
	if n <= 0 {
		return
	}
	ones := bytes.Repeat([]byte{0xff}, int(min(n, 2*pages.RunSize)))
	b.bits.tree.Write(ones, off)
	for done := int64(len(ones)); done < n; {
		k := min(n-done, done)
		b.bits.tree.Share(off+done, &b.bits.tree, off, k)
		done += k
	}
}

// diff yields the ranges of the store, up to its size, that are set in only one
// of the two.
func (b bitmap) diff(old bitmap, size int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		j := joiner{yield: yield, win: Extent{Len: size}}
		pages.Diff(b.bits.tree, old.bits.tree, 0, bitmapSize(size), func(off, n int64) bool {
			for end := off + n; off < end; off += chunkBytes {
				var x, y [chunkBytes]byte
				b.bits.tree.Read(x[:], off)
				old.bits.tree.Read(y[:], off)
				for i := range x {
					if x[i] != y[i] && !j.page((off+int64(i))*8*sectorSize, 8*sectorSize) {
						return false
					}
				}
			}
			return true
		})
		j.flush()
	}
}
