// Package guid prints and parses the 16-byte identifiers of Windows.
//
// A GUID holds the bytes in the order of its text: byte 0 is the first two hex
// digits. The mixed-endian form in which some files store one is made by
// [Windows] and undone by it as well.
package guid

import (
	"encoding/hex"
	"fmt"
)

// GUID is an identifier, bytes in the order of the text.
type GUID = [16]byte

// String prints g in lower case without braces:
// 66841cd4-6ded-4f4b-8f17-fd23f8ddc3de.
func String(g GUID) string {
	b := text(g, "0123456789abcdef")
	return string(b[1:37])
}

// text is g within braces.
func text(g GUID, digits string) (b [38]byte) {
	at := 1
	for i, x := range g {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b[at] = '-'
			at++
		}
		b[at], b[at+1] = digits[x>>4], digits[x&15]
		at += 2
	}
	b[0], b[37] = '{', '}'
	return b
}

// Upper prints g in upper case without braces, as the components and files of
// virtual machines are named.
func Upper(g GUID) string {
	t := text(g, "0123456789ABCDEF")
	return string(t[1:37])
}

// AppendUpper appends what [Upper] prints.
func AppendUpper(b []byte, g GUID) []byte {
	t := text(g, "0123456789ABCDEF")
	return append(b, t[1:37]...)
}

// Braced prints g in lower case within braces.
func Braced(g GUID) string {
	b := text(g, "0123456789abcdef")
	return string(b[:])
}

// Parse reads a GUID in any case, with braces or without.
func Parse(s string) (GUID, error) {
	var g GUID
	t := s
	if len(t) == 38 && t[0] == '{' && t[37] == '}' {
		t = t[1:37]
	}
	if len(t) != 36 || t[8] != '-' || t[13] != '-' || t[18] != '-' || t[23] != '-' {
		return g, fmt.Errorf("guid: %q is not of the form 8-4-4-4-12", s)
	}
	var digits [32]byte
	at := 0
	for _, part := range [...]string{t[0:8], t[9:13], t[14:18], t[19:23], t[24:36]} {
		at += copy(digits[at:], part)
	}
	if _, err := hex.Decode(g[:], digits[:]); err != nil {
		return GUID{}, fmt.Errorf("guid: %q: %w", s, err)
	}
	return g, nil
}

// MustParse is Parse for constants; it panics on a malformed one.
func MustParse(s string) GUID {
	g, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return g
}

// Windows swaps the first three fields, from text order to the mixed-endian
// order of Windows structures or back.
func Windows(g GUID) GUID {
	g[0], g[1], g[2], g[3] = g[3], g[2], g[1], g[0]
	g[4], g[5] = g[5], g[4]
	g[6], g[7] = g[7], g[6]
	return g
}
