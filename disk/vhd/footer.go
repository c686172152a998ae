package vhd

import (
	"encoding/binary"
	"strconv"
	"time"
)

// Sizes that the format fixes.
const (
	SectorSize = 512
	FooterSize = 512
	HeaderSize = 1024

	// MaxSize is the largest disk: 2040 GiB, as Windows and QEMU have it.
	MaxSize int64 = 2040 << 30
)

// Type is the disk type of a footer, with the format's own numbers.
type Type uint32

// The types of disk that exist; 0, 1, 5 and 6 are reserved or retired.
const (
	Fixed        Type = 2
	Dynamic      Type = 3
	Differencing Type = 4
)

// String returns "fixed", "dynamic", "differencing", or the number.
func (t Type) String() string {
	switch t {
	case Fixed:
		return "fixed"
	case Dynamic:
		return "dynamic"
	case Differencing:
		return "differencing"
	}
	return "type " + strconv.FormatUint(uint64(t), 10)
}

// A Tag is a code of four characters: the program that made an image, its
// host, the platform of a parent locator.
type Tag [4]byte

// String returns the characters without the blanks and zero bytes that pad it.
func (t Tag) String() string {
	n := len(t)
	for n > 0 && (t[n-1] == ' ' || t[n-1] == 0) {
		n--
	}
	return string(t[:n])
}

// The tags that Windows 7 and later and Hyper-V write.
var (
	creatorWindows = Tag{'w', 'i', 'n', ' '}
	hostWindows    = Tag{'W', 'i', '2', 'k'}
)

const (
	footerCookie   = "conectix"
	creatorVersion = 0x000A0000
	formatVersion  = 0x00010000
	featureBase    = 0x00000002       // set in every image
	noOffset       = ^uint64(0)       // "there is nothing there"
	footerSumAt    = 64               // where the footer keeps its checksum
	oldFooterSize  = FooterSize - 1   // written before Virtual PC 2004
	epoch          = int64(946684800) // 2000-01-01T00:00:00Z, where VHD time begins
)

// Footer is the last sector of every image, and in images that are not fixed
// the first one too. Every byte has its place here: a footer that was parsed
// and written again is the same.
type Footer struct {
	Features       uint32
	Version        uint32
	DataOffset     uint64 // of the dynamic header; all ones in a fixed disk
	TimeStamp      uint32 // seconds since 2000; see Time
	Creator        Tag
	CreatorVersion uint32
	CreatorHost    Tag
	OriginalSize   uint64 // when the disk was made
	CurrentSize    uint64
	Geometry       Geometry
	Type           Type
	ID             [16]byte // in file order; Windows shows its first three fields reversed
	SavedState     uint8
	Reserved       [427]byte
}

// Time returns when the image was made, as its footer says. Zero is common:
// many tools leave the stamp out.
func (f Footer) Time() time.Time {
	return time.Unix(epoch+int64(f.TimeStamp), 0).UTC()
}

// stamp is the inverse of Footer.Time. The zero Time is the zero stamp; a time
// before 2000 or after 2136-02-07 has no form.
func stamp(t time.Time) (uint32, error) {
	if t.IsZero() {
		return 0, nil
	}
	s := t.Unix() - epoch
	if s < 0 || s > int64(^uint32(0)) {
		return 0, bad(ErrFooterCorrupt, -1, "time stamp", "%s is outside 2000 to 2136", t.UTC().Format(time.RFC3339))
	}
	return uint32(s), nil
}

// Bytes returns the footer as it stands in a file, with its checksum.
func (f Footer) Bytes() [FooterSize]byte {
	var b [FooterSize]byte
	be := binary.BigEndian
	copy(b[0:8], footerCookie)
	be.PutUint32(b[8:], f.Features)
	be.PutUint32(b[12:], f.Version)
	be.PutUint64(b[16:], f.DataOffset)
	be.PutUint32(b[24:], f.TimeStamp)
	copy(b[28:32], f.Creator[:])
	be.PutUint32(b[32:], f.CreatorVersion)
	copy(b[36:40], f.CreatorHost[:])
	be.PutUint64(b[40:], f.OriginalSize)
	be.PutUint64(b[48:], f.CurrentSize)
	be.PutUint16(b[56:], f.Geometry.Cylinders)
	b[58] = f.Geometry.Heads
	b[59] = f.Geometry.SectorsPerTrack
	be.PutUint32(b[60:], uint32(f.Type))
	copy(b[68:84], f.ID[:])
	b[84] = f.SavedState
	copy(b[85:], f.Reserved[:])
	be.PutUint32(b[footerSumAt:], checksum(b[:], footerSumAt))
	return b
}

// ParseFooter reads a footer and verifies its cookie, its checksum, and the
// fields that say how to read the rest: version, type and size. b holds 512
// bytes, or 511 as programs older than Virtual PC 2004 wrote them.
func ParseFooter(b []byte) (Footer, error) {
	f, err := parseFooter(b, 0)
	return f, during("ParseFooter", err)
}

// parseFooter is ParseFooter for a footer that stands at off in its file.
func parseFooter(b []byte, off int64) (Footer, error) {
	if len(b) == oldFooterSize {
		b = append(b[:oldFooterSize:oldFooterSize], 0)
	}
	if len(b) != FooterSize || string(b[:8]) != footerCookie {
		return Footer{}, bad(ErrFooterMissing, off, "footer", "no cookie %q", footerCookie)
	}
	be := binary.BigEndian
	if got, want := be.Uint32(b[footerSumAt:]), checksum(b, footerSumAt); got != want {
		return Footer{}, bad(ErrFooterChecksum, off+footerSumAt, "footer checksum", "0x%08X, computed 0x%08X", got, want)
	}
	f := Footer{
		Features:       be.Uint32(b[8:]),
		Version:        be.Uint32(b[12:]),
		DataOffset:     be.Uint64(b[16:]),
		TimeStamp:      be.Uint32(b[24:]),
		Creator:        Tag(b[28:32]),
		CreatorVersion: be.Uint32(b[32:]),
		CreatorHost:    Tag(b[36:40]),
		OriginalSize:   be.Uint64(b[40:]),
		CurrentSize:    be.Uint64(b[48:]),
		Geometry:       Geometry{be.Uint16(b[56:]), b[58], b[59]},
		Type:           Type(be.Uint32(b[60:])),
		ID:             [16]byte(b[68:84]),
		SavedState:     b[84],
		Reserved:       [427]byte(b[85:512]),
	}
	return f, f.check(off)
}

// check verifies what a footer with a good checksum may still get wrong.
func (f Footer) check(off int64) error {
	if f.Version>>16 != 1 {
		return bad(ErrFormatVersion, off+12, "footer version", "0x%08X", f.Version)
	}
	switch f.Type {
	case Fixed, Dynamic, Differencing:
	default:
		return bad(ErrType, off+60, "footer disk type", "%d", uint32(f.Type))
	}
	return checkSize(f.CurrentSize, off+48)
}

// checkSize verifies the size of a disk, found at off of a file or, when off
// is -1, given by a caller.
func checkSize(size uint64, off int64) error {
	const field = "disk size"
	switch {
	case size == 0:
		return bad(ErrSize, off, field, "zero")
	case size%SectorSize != 0:
		return bad(ErrSize, off, field, "%d is no multiple of %d", size, SectorSize)
	case size > uint64(MaxSize):
		return bad(ErrSize, off, field, "%d is above %d", size, MaxSize)
	}
	return nil
}

// TypeSize is how many bytes at the beginning of a footer [TypeIn] needs.
const TypeSize = 64

// TypeIn is the type that a footer gives for its disk, without a look at whether all
// of it is good; 0 if it is no footer.
func TypeIn(b []byte) Type {
	if len(b) < TypeSize || !hasCookie(b) {
		return 0
	}
	return Type(binary.BigEndian.Uint32(b[60:]))
}

// checksum is the complement of the sum of all bytes of b, the four at sumAt
// counted as zeros.
func checksum(b []byte, sumAt int) uint32 {
	var sum uint32
	for _, c := range b {
		sum += uint32(c)
	}
	for _, c := range b[sumAt : sumAt+4] {
		sum -= uint32(c)
	}
	return ^sum
}
