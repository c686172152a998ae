package guest

import (
	"encoding/binary"
	"io"

	"github.com/shadowsim/shadowsim/internal/guid"
)

const (
	sectorSize = 512     // the sector of an MBR disk and of every virtual hard disk in VHD format
	mib        = 1 << 20 // partitions begin at multiples of it since Windows Server 2008
)

// An image is a disk, or a range of one, on its way to being understood. Every
// read is bounded by it.
type image struct {
	r      io.ReaderAt
	base   int64 // where on the disk the range begins
	size   int64
	sector int64  // bytes in a logical sector
	op     string // for errors
}

// part returns a range of the image that is known to lie within it.
func (d image) part(off, n int64) image {
	d.base, d.size = d.base+off, n
	return d
}

// sectors returns the number of whole sectors.
func (d image) sectors() int64 { return d.size / d.sector }

func (d image) fail(off int64, what string, cause error) *LayoutError {
	return &LayoutError{Op: d.op, Off: d.base + off, What: what, Err: cause}
}

// read returns the n bytes at off. A range outside of the image is [ErrRange];
// callers bound n themselves.
func (d image) read(off, n int64, what string) (block, *LayoutError) {
	if off < 0 || n < 0 || off > d.size || n > d.size-off {
		return nil, d.fail(off, what, ErrRange)
	}
	b := make(block, n)
	if bad := d.readInto(b, off, what); bad != nil {
		return nil, bad
	}
	return b, nil
}

// readInto fills b with the bytes at off, all of which are in the image.
func (d image) readInto(b block, off int64, what string) *LayoutError {
	k, err := d.r.ReadAt(b, d.base+off)
	if k == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return d.fail(off, what, err)
}

// A block is bytes of a disk, integers little-endian.
type block []byte

func (b block) u16(at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
func (b block) u32(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
func (b block) u64(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

// guid reads the mixed-endian form that Windows structures have.
func (b block) guid(at int) guid.GUID { return guid.Windows(guid.GUID(b[at : at+16])) }

// is tells whether the bytes at a place are those of s.
func (b block) is(at int, s string) bool {
	return at+len(s) <= len(b) && string(b[at:at+len(s)]) == s
}

// zero tells whether all bytes are zero.
func (b block) zero() bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (b block) put16(at int, v uint16)        { binary.LittleEndian.PutUint16(b[at:], v) }
func (b block) put32(at int, v uint32)        { binary.LittleEndian.PutUint32(b[at:], v) }
func (b block) put64(at int, v uint64)        { binary.LittleEndian.PutUint64(b[at:], v) }
func (b block) putGUID(at int, g guid.GUID)   { w := guid.Windows(g); copy(b[at:], w[:]) }
func (b block) putText(at int, s string)      { copy(b[at:], s) }
func (b block) sign()                         { b.put16(510, 0xAA55) }
func (b block) signed() bool                  { return len(b) >= sectorSize && b.u16(510) == 0xAA55 }
func isPowerOfTwo[T int64 | uint64](n T) bool { return n > 0 && n&(n-1) == 0 }
func alignUp(n, to int64) int64               { return (n + to - 1) / to * to }
