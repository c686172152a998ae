package vhdx

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"unicode/utf16"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// Sizes and places that the format fixes.
const (
	HeaderSize = 4096
	TableSize  = 64 << 10 // of a region table, and of a metadata table

	// MaxSize is the largest disk: 64 TiB.
	MaxSize int64 = 64 << 40

	mib        = 1 << 20
	logSector  = 4096 // the unit of the log, and of what it updates
	fileTypeID = "vhdxfile"
	headerAt1  = 64 << 10
	headerAt2  = 128 << 10
	regionsAt1 = 192 << 10
	regionsAt2 = 256 << 10

	creatorSize   = 512
	headerMark    = "head"
	formatVersion = 1
	sumAt         = 4 // where headers, region tables and log entries keep their checksum
)

// GUID is an identifier with its bytes in the order of its text. The file has
// the first three fields reversed, which this package takes care of.
type GUID = guid.GUID

// getGUID and putGUID read and write a GUID as it stands in a file.
func getGUID(b []byte) GUID    { return guid.Windows(GUID(b[:16])) }
func putGUID(b []byte, g GUID) { g = guid.Windows(g); copy(b, g[:]) }

// castagnoli is the CRC-32C that guards headers, region tables and log entries.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC-32C of b with the checksum's own four bytes as zeros.
func checksum(b []byte) uint32 {
	var zero [4]byte
	sum := crc32.Update(0, castagnoli, b[:sumAt])
	sum = crc32.Update(sum, castagnoli, zero[:])
	return crc32.Update(sum, castagnoli, b[sumAt+4:])
}

// seal writes the checksum into b.
func seal(b []byte) { binary.LittleEndian.PutUint32(b[sumAt:], checksum(b)) }

// checkSeal verifies the mark and the checksum of a structure that stands at
// off.
func checkSeal(b []byte, mark string, code Code, off int64, field string) error {
	if string(b[:4]) != mark {
		return bad(code, off, field, "no signature %q", mark)
	}
	if got, want := binary.LittleEndian.Uint32(b[sumAt:]), checksum(b); got != want {
		return bad(code, off+sumAt, field+" checksum", "0x%08X, computed 0x%08X", got, want)
	}
	return nil
}

// fileIdentifier returns the first bytes of a file: the signature and who made
// it, cut to 255 units of UTF-16.
func fileIdentifier(creator string) []byte {
	b := append(make([]byte, 0, len(fileTypeID)+creatorSize), fileTypeID...)
	for i, u := range utf16.Encode([]rune(creator)) {
		if i == creatorSize/2-1 {
			break
		}
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// parseFileIdentifier verifies the signature of a file and returns its creator,
// whose text may fill its room to the last unit.
func parseFileIdentifier(b []byte) (creator string, err error) {
	if len(b) < len(fileTypeID)+creatorSize || string(b[:len(fileTypeID)]) != fileTypeID {
		return "", bad(ErrFormatUnknown, 0, "file type identifier", "no signature %q", fileTypeID)
	}
	return text(b[len(fileTypeID):][:creatorSize]), nil
}

// text decodes UTF-16LE up to its end or the first zero.
func text(b []byte) string {
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// Header is the root of an image. There are two of them, of which the one with
// the larger sequence number counts.
type Header struct {
	SequenceNumber uint64
	FileWriteGUID  GUID // changes whenever a session changes the file
	DataWriteGUID  GUID // changes whenever a session changes the disk; children name their parent by it
	LogGUID        GUID // zero when the log holds nothing to replay
	LogVersion     uint16
	Version        uint16
	LogLength      uint32
	LogOffset      uint64
}

// Bytes returns the header as it stands in a file, with its checksum.
func (h Header) Bytes() [HeaderSize]byte {
	var b [HeaderSize]byte
	le := binary.LittleEndian
	copy(b[:], headerMark)
	le.PutUint64(b[8:], h.SequenceNumber)
	putGUID(b[16:], h.FileWriteGUID)
	putGUID(b[32:], h.DataWriteGUID)
	putGUID(b[48:], h.LogGUID)
	le.PutUint16(b[64:], h.LogVersion)
	le.PutUint16(b[66:], h.Version)
	le.PutUint32(b[68:], h.LogLength)
	le.PutUint64(b[72:], h.LogOffset)
	seal(b[:])
	return b
}

// ParseHeader reads a header of 4096 bytes and verifies its signature and
// checksum. A good one may still be of another version, or point nowhere.
func ParseHeader(b []byte) (Header, error) {
	h, err := parseHeader(b, 0)
	return h, during("ParseHeader", err)
}

// parseHeader is ParseHeader for a header that stands at off.
func parseHeader(b []byte, off int64) (Header, error) {
	if len(b) != HeaderSize {
		return Header{}, bad(ErrHeader, off, "header", "%d bytes, want %d", len(b), HeaderSize)
	}
	if err := checkSeal(b, headerMark, ErrHeader, off, "header"); err != nil {
		return Header{}, err
	}
	le := binary.LittleEndian
	return Header{
		SequenceNumber: le.Uint64(b[8:]),
		FileWriteGUID:  getGUID(b[16:]),
		DataWriteGUID:  getGUID(b[32:]),
		LogGUID:        getGUID(b[48:]),
		LogVersion:     le.Uint16(b[64:]),
		Version:        le.Uint16(b[66:]),
		LogLength:      le.Uint32(b[68:]),
		LogOffset:      le.Uint64(b[72:]),
	}, nil
}

// headerAt returns the place of header 0 or 1.
func headerAt(slot int) int64 {
	if slot == 0 {
		return headerAt1
	}
	return headerAt2
}

// currentHeader reads both headers and chooses the one that counts: the only
// valid one, or that with the larger sequence number. Two different ones with
// the same number are no header at all. The note says what is wrong with the
// other one, if anything is.
func currentHeader(r io.ReaderAt) (h Header, slot int, note error, err error) {
	var raw [2][HeaderSize]byte
	var both [2]Header
	var fault [2]error
	for i := range both {
		if err := readFull(r, raw[i][:], headerAt(i), "header"); err != nil {
			return h, 0, nil, err
		}
		both[i], fault[i] = parseHeader(raw[i][:], headerAt(i))
	}
	switch {
	case fault[0] != nil && fault[1] != nil:
		return h, 0, nil, fault[0]
	case fault[0] != nil:
		slot = 1
	case fault[1] != nil:
		slot = 0
	case both[0].SequenceNumber == both[1].SequenceNumber && raw[0] != raw[1]:
		return h, 0, nil, bad(ErrHeader, headerAt1, "headers", "two that differ have the sequence number %d", both[0].SequenceNumber)
	case both[1].SequenceNumber > both[0].SequenceNumber:
		slot = 1
	}
	return both[slot], slot, fault[1-slot], nil
}

// check verifies what a header with a good checksum may still get wrong, in a
// file of size bytes.
func (h Header) check(off, size int64) error {
	logged := h.LogGUID != GUID{}
	switch {
	case h.Version != formatVersion:
		return bad(ErrFormatVersion, off+66, "header version", "%d", h.Version)
	case logged && h.LogVersion != 0:
		return bad(ErrFormatVersion, off+64, "header log version", "%d", h.LogVersion)
	case h.LogLength == 0 && !logged:
		return nil
	case h.LogLength == 0 || h.LogLength%mib != 0:
		return bad(ErrHeader, off+68, "header log length", "%d is no multiple of 1 MiB above zero", h.LogLength)
	case h.LogOffset%mib != 0 || h.LogOffset < mib || h.LogOffset > uint64(size) || int64(h.LogLength) > size-int64(h.LogOffset):
		return bad(ErrHeader, off+72, "header log offset", "no log of %d bytes can lie at %d of a file of %d", h.LogLength, h.LogOffset, size)
	}
	return nil
}
