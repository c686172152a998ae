package vhdx

import (
	"math/bits"

	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// A sector bitmap block is 1 MiB long and speaks for one chunk: a bit a logical
// sector, the first sector of a byte in its lowest bit. A set bit says that the
// sector is in this file, a clear one that it is the parent's.

// bitsAt returns the place in the file of the bits of block b.
func (im *Image) bitsAt(b int64) (int64, error) {
	chunk := im.lay.chunk(b)
	i := im.lay.bitmapIndex(chunk)
	e, err := im.at(i)
	if err != nil {
		return 0, err
	}
	if e.state() != FullyPresent {
		return 0, bad(ErrBitmap, im.lay.tableAt+8*i, "sector bitmap block", "block %d is partially present, and its chunk %d has no bitmap", b, chunk)
	}
	return e.offset() + (b&(1<<im.lay.ratioShift-1))*im.lay.bitsLen(), nil
}

// bitsLen returns how many bytes of bitmap speak for one payload block.
func (l *layout) bitsLen() int64 { return l.block / l.sector / 8 }

// A runReader walks over the runs of equal bits of a block.
type runReader struct {
	im       *Image
	own      bool  // the sectors of this run are in the file
	from, to int64 // this run, in bytes from the start of the block
	end      int64
	err      error

	at     int64 // place in the file of the block's bits
	buf    [64]byte
	loaded int64 // the first byte of the bits in buf
	have   int64 // how many of them
}

// runs returns the runs between two places of block b.
func (im *Image) runs(b, from, to int64) runReader {
	r := runReader{im: im, from: from, to: from, end: to}
	r.at, r.err = im.bitsAt(b)
	return r
}

// next goes on to the next run. It returns false behind the last one, and after
// an error.
func (r *runReader) next() bool {
	if r.err != nil || r.to >= r.end {
		return false
	}
	r.from = r.to
	sector := r.im.lay.sector
	first, last := r.from/sector, (r.end+sector-1)/sector
	for s := first; s < last; {
		word, n := r.word(s)
		if r.err != nil {
			return false
		}
		if s == first {
			r.own = word&1 != 0
		}
		if r.own {
			word = ^word
		}
		same := min(int64(bits.TrailingZeros64(word)), n)
		s += same
		r.to = min(s*sector, r.end)
		if same < n {
			break
		}
	}
	return true
}

// word returns the bits from sector s on, and how many they are: up to 64.
func (r *runReader) word(s int64) (word uint64, n int64) {
	i := s / 8
	if i < r.loaded || i >= r.loaded+r.have {
		r.loaded = i &^ 7
		r.have = min(int64(len(r.buf)), r.im.lay.bitsLen()-r.loaded)
		if r.err = r.im.readMeta(r.buf[:r.have], r.at+r.loaded); r.err != nil {
			return 0, 1
		}
	}
	for k := int64(0); k < 8 && i+k < r.loaded+r.have; k++ {
		word |= uint64(r.buf[i+k-r.loaded]) << (8 * k)
		n += 8
	}
	return word >> (s % 8), n - s%8
}

// readMeta fills p with bytes of a sector bitmap block, as changed by what has
// not reached the file yet.
func (im *Image) readMeta(p []byte, off int64) error {
	if im.writer == nil || len(im.writer.bits) == 0 && len(im.writer.inflight) == 0 {
		return readFull(im.src, p, off, "sector bitmap block")
	}
	for len(p) > 0 {
		page, in := off&^(logSector-1), off&(logSector-1)
		q := p[:min(int64(len(p)), logSector-in)]
		if d := im.writer.waiting(page); d != nil {
			copy(q, d[in:])
		} else if err := readFull(im.src, q, off, "sector bitmap block"); err != nil {
			return err
		}
		p, off = p[len(q):], off+int64(len(q))
	}
	return nil
}

// allZero reports whether p holds nothing but zeros.
func allZero(p []byte) bool { return virtdisk.AllZero(p) }
