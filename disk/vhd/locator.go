package vhd

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// The platforms of parent locators. Windows writes the first two and looks at
// no other.
var (
	PlatformW2ku = Tag{'W', '2', 'k', 'u'} // absolute Windows path, UTF-16, little-endian
	PlatformW2ru = Tag{'W', '2', 'r', 'u'} // path seen from the image's folder, UTF-16, little-endian
	PlatformWi2k = Tag{'W', 'i', '2', 'k'} // retired: absolute, a byte a character
	PlatformWi2r = Tag{'W', 'i', '2', 'r'} // retired: relative, a byte a character
	PlatformMac  = Tag{'M', 'a', 'c', ' '} // alias of Mac OS, a blob
	PlatformMacX = Tag{'M', 'a', 'c', 'X'} // file URL, UTF-8
)

// maxLocator is more than the longest Windows path has.
const maxLocator = 64 << 10

// A ParentLocator is one of up to eight ways in which a differencing image
// names its parent.
type ParentLocator struct {
	Platform Tag
	Path     string // what Data says, or "" if that is no text
	Data     []byte // as it stands in the file
}

// readLocators reads what the header's locators point at. One that cannot be
// used is left out, with a note.
func (im *Image) readLocators() error {
	for i, l := range im.dyn.header.Locators {
		if l.Platform == (Tag{}) {
			continue
		}
		if l.Length > maxLocator || l.Offset > uint64(im.end) || int64(l.Length) > im.end-int64(l.Offset) {
			im.note("parent locator %d (%v) skipped: no %d bytes at %d", i, l.Platform, l.Length, l.Offset)
			continue
		}
		data := make([]byte, l.Length)
		if err := readFull(im.src, data, int64(l.Offset), "parent locator"); err != nil {
			return err
		}
		path, trouble := locatorPath(l.Platform, data)
		if trouble != "" {
			im.note("parent locator %d (%v) skipped: %s", i, l.Platform, trouble)
			continue
		}
		im.link.Locators = append(im.link.Locators, ParentLocator{l.Platform, path, data})
		im.link.extents = append(im.link.extents, locatorExtent(l))
	}
	return nil
}

func (im *Image) note(format string, args ...any) {
	im.notes = append(im.notes, fmt.Sprintf(format, args...))
}

// locatorPath returns the text of a locator, or what is wrong with it.
func locatorPath(platform Tag, data []byte) (path, trouble string) {
	switch platform {
	case PlatformW2ku, PlatformW2ru:
		if len(data)%2 != 0 {
			return "", "an odd number of bytes"
		}
		path = decodePath(data)
	case PlatformWi2k, PlatformWi2r:
		runes := make([]rune, len(data))
		for i, c := range data {
			runes[i] = rune(c)
		}
		path = string(runes)
	case PlatformMacX:
		path = string(data)
	default:
		return "", ""
	}
	path = strings.TrimRight(path, "\x00")
	switch {
	case path == "":
		return "", "it is empty"
	case strings.Contains(path, "\x00"):
		return "", "a zero character within the path"
	}
	return path, ""
}

// decodePath decodes UTF-16 of the byte order that Windows writes, unless what
// comes out looks like no path and the other order does.
func decodePath(data []byte) string {
	little := decodeUTF16(binary.LittleEndian, data)
	if strings.ContainsFunc(little, pathLike) {
		return little
	}
	if big := decodeUTF16(binary.BigEndian, data); strings.ContainsFunc(big, pathLike) {
		return big
	}
	return little
}

// pathLike reports whether a character is one that nearly every path has.
func pathLike(r rune) bool {
	return r == '\\' || r == '.' || 'A' <= r&^0x20 && r&^0x20 <= 'Z' || 0xC0 <= r && r <= 0xFF
}

func decodeUTF16(order binary.ByteOrder, data []byte) string {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return string(utf16.Decode(units))
}

// encodeUTF16 is the inverse of decodeUTF16.
func encodeUTF16(order binary.AppendByteOrder, s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return b
}

// clone returns a copy that shares nothing which a caller could change.
func (l *Link) clone() Link {
	c := *l
	c.Locators = slices.Clone(l.Locators)
	for i := range c.Locators {
		c.Locators[i].Data = slices.Clone(c.Locators[i].Data)
	}
	return c
}
