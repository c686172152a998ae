package vhd

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
)

const (
	headerCookie = "cxsparse"
	headerSumAt  = 36
	absent       = ^uint32(0) // a BAT entry without a block

	// DefaultBlockSize is what every tool writes; the format knows only it and
	// 512 KiB as tested.
	DefaultBlockSize = 2 << 20

	maxBlockSize = 256 << 20 // of a reader, against images that ask for absurd memory
)

// Locator names the parent of a differencing disk in the words of one platform.
type Locator struct {
	Platform Tag    // zero in an unused slot
	Space    uint32 // room kept: bytes as Windows writes it, sectors as the paper has it
	Length   uint32 // bytes used
	Reserved uint32
	Offset   uint64 // of the data, in the file
}

// DynamicHeader is the second structure of an image that is not fixed. As with
// Footer, every byte has its place.
type DynamicHeader struct {
	DataOffset      uint64 // unused; all ones
	TableOffset     uint64 // of the block allocation table
	Version         uint32
	MaxTableEntries uint32
	BlockSize       uint32
	ParentID        [16]byte
	ParentTimeStamp uint32
	Reserved1       uint32
	ParentNameBytes [512]byte // UTF-16, big-endian, zero padded; see ParentName
	Locators        [8]Locator
	Reserved2       [256]byte
}

// ParentName returns the path of the parent of a differencing disk as the
// header holds it: whole, but cut at 256 UTF-16 units.
func (h DynamicHeader) ParentName() string {
	units := make([]uint16, 0, len(h.ParentNameBytes)/2)
	for i := 0; i < len(h.ParentNameBytes); i += 2 {
		u := binary.BigEndian.Uint16(h.ParentNameBytes[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// Bytes returns the header as it stands in a file, with its checksum.
func (h DynamicHeader) Bytes() [HeaderSize]byte {
	var b [HeaderSize]byte
	be := binary.BigEndian
	copy(b[0:8], headerCookie)
	be.PutUint64(b[8:], h.DataOffset)
	be.PutUint64(b[16:], h.TableOffset)
	be.PutUint32(b[24:], h.Version)
	be.PutUint32(b[28:], h.MaxTableEntries)
	be.PutUint32(b[32:], h.BlockSize)
	copy(b[40:56], h.ParentID[:])
	be.PutUint32(b[56:], h.ParentTimeStamp)
	be.PutUint32(b[60:], h.Reserved1)
	copy(b[64:576], h.ParentNameBytes[:])
	for i, l := range h.Locators {
		p := b[576+24*i:]
		copy(p[0:4], l.Platform[:])
		be.PutUint32(p[4:], l.Space)
		be.PutUint32(p[8:], l.Length)
		be.PutUint32(p[12:], l.Reserved)
		be.PutUint64(p[16:], l.Offset)
	}
	copy(b[768:], h.Reserved2[:])
	be.PutUint32(b[headerSumAt:], checksum(b[:], headerSumAt))
	return b
}

// ParseDynamicHeader reads a dynamic header of 1024 bytes and verifies its
// cookie, checksum, version and block size.
func ParseDynamicHeader(b []byte) (DynamicHeader, error) {
	var h DynamicHeader
	err := h.parse(b, 0)
	return h, during("ParseDynamicHeader", err)
}

// parse is ParseDynamicHeader for a header that stands at off.
func (h *DynamicHeader) parse(b []byte, off int64) error {
	if len(b) != HeaderSize || string(b[:8]) != headerCookie {
		return bad(ErrSparseCorrupt, off, "dynamic header", "no cookie %q", headerCookie)
	}
	be := binary.BigEndian
	if got, want := be.Uint32(b[headerSumAt:]), checksum(b, headerSumAt); got != want {
		return bad(ErrSparseChecksum, off+headerSumAt, "dynamic header checksum", "0x%08X, computed 0x%08X", got, want)
	}
	*h = DynamicHeader{
		DataOffset:      be.Uint64(b[8:]),
		TableOffset:     be.Uint64(b[16:]),
		Version:         be.Uint32(b[24:]),
		MaxTableEntries: be.Uint32(b[28:]),
		BlockSize:       be.Uint32(b[32:]),
		ParentID:        [16]byte(b[40:56]),
		ParentTimeStamp: be.Uint32(b[56:]),
		Reserved1:       be.Uint32(b[60:]),
		ParentNameBytes: [512]byte(b[64:576]),
		Reserved2:       [256]byte(b[768:1024]),
	}
	for i := range h.Locators {
		p := b[576+24*i:]
		h.Locators[i] = Locator{Tag(p[0:4]), be.Uint32(p[4:]), be.Uint32(p[8:]), be.Uint32(p[12:]), be.Uint64(p[16:])}
	}
	if h.Version>>16 != 1 {
		return bad(ErrSparseVersion, off+24, "dynamic header version", "0x%08X", h.Version)
	}
	return checkBlockSize(int64(h.BlockSize), off+32)
}

// checkBlockSize verifies a block size, found at off of a file or, when off is
// -1, given by a caller.
func checkBlockSize(size, off int64) error {
	if size < SectorSize || size > maxBlockSize || bits.OnesCount64(uint64(size)) != 1 {
		return bad(ErrBlockSize, off, "block size", "%d is no power of two from %d to %d", size, SectorSize, maxBlockSize)
	}
	return nil
}
