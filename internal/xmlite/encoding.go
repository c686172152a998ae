package xmlite

import (
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// An Encoding is the form of a text in a file.
type Encoding uint8

// The encodings that are written. All of them are read, and UTF-16 in
// big-endian order as well.
const (
	UTF8       Encoding = iota // without a mark
	UTF8BOM                    // with the byte order mark
	UTF16LE                    // without a mark
	UTF16LEBOM                 // with the byte order mark
)

// Encode turns UTF-8 into another encoding. For [UTF8] it returns text itself.
func Encode(text []byte, e Encoding) []byte {
	switch e {
	case UTF8BOM:
		return append([]byte("\uFEFF"), text...)
	case UTF16LE:
		return appendUTF16(make([]byte, 0, 2*len(text)), text)
	case UTF16LEBOM:
		return AppendUTF16(make([]byte, 0, 2*len(text)+2), text)
	}
	return text
}

// AppendUTF16 appends UTF-8 to b as [UTF16LEBOM].
func AppendUTF16(b, text []byte) []byte { return appendUTF16(append(b, 0xFF, 0xFE), text) }

// Decode returns a text that is in memory as UTF-8 without a byte order mark.
func Decode(file []byte, lim Limits) (string, error) {
	if err := lim.checkSize(int64(len(file))); err != nil {
		return "", err
	}
	return decode(file)
}

func appendUTF16(b, text []byte) []byte {
	for len(text) > 0 {
		if c := text[0]; c < utf8.RuneSelf {
			b, text = append(b, c, 0), text[1:]
			continue
		}
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		if r > 0xFFFF {
			high, low := utf16.EncodeRune(r)
			b = append(b, byte(high), byte(high>>8), byte(low), byte(low>>8))
			continue
		}
		b = append(b, byte(r), byte(r>>8))
	}
	return b
}

// Read reads all of r, up to the size that lim allows, and returns it as UTF-8
// without a byte order mark. An error of r is returned as it is, wrapped.
func Read(r io.Reader, lim Limits) (string, error) {
	lim = lim.withDefaults()
	var b strings.Builder
	piece := int64(32 << 10)
	if size, ok := sizeOf(r); ok {
		b.Grow(int(min(size, lim.Size+1)))
		if size < piece {
			piece = max(size+1, 512) // what says 0 may not know
		}
	}
	if _, err := io.CopyBuffer(&b, io.LimitReader(r, lim.Size+1), make([]byte, piece)); err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	if err := lim.checkSize(int64(b.Len())); err != nil {
		return "", err
	}
	return decode(b.String())
}

// sizeOf is how much there is to read, where r knows.
func sizeOf(r io.Reader) (int64, bool) {
	switch r := r.(type) {
	case interface{ Len() int }:
		return int64(r.Len()), true
	case fs.File:
		if info, err := r.Stat(); err == nil && info.Mode().IsRegular() {
			return max(info.Size(), 0), true
		}
	}
	return 0, false
}

// checkSize refuses a text of more bytes than are allowed.
func (l Limits) checkSize(n int64) error {
	if most := l.withDefaults().Size; n > most {
		return &SyntaxError{Line: 1, Column: 1, Msg: fmt.Sprintf("longer than %d bytes", most), Err: ErrLimit}
	}
	return nil
}

// decode recognizes the encoding by its mark, or by where the zero byte of the
// first character stands.
func decode[T string | []byte](s T) (string, error) {
	switch mark := string(s[:min(len(s), 3)]); {
	case mark == "\xEF\xBB\xBF":
		return string(s[3:]), nil
	case strings.HasPrefix(mark, "\xFF\xFE"):
		return decodeUTF16(s[2:], 0, 1)
	case strings.HasPrefix(mark, "\xFE\xFF"):
		return decodeUTF16(s[2:], 1, 0)
	case len(s) >= 2 && s[0] != 0 && s[1] == 0:
		return decodeUTF16(s, 0, 1)
	case len(s) >= 2 && s[0] == 0 && s[1] != 0:
		return decodeUTF16(s, 1, 0)
	}
	return string(s), nil
}

// decodeUTF16 reads units whose low byte stands at low and whose high byte at high.
func decodeUTF16[T string | []byte](s T, low, high int) (string, error) {
	var b strings.Builder
	b.Grow(len(s) / 2)
	wrong := func(msg string) (string, error) {
		line, column := Position(b.String(), b.Len())
		return "", &SyntaxError{Line: line, Column: column, Msg: msg}
	}
	if len(s)%2 != 0 {
		return wrong("UTF-16 with an odd number of bytes")
	}
	for i := 0; i < len(s); i += 2 {
		unit := rune(s[i+low]) | rune(s[i+high])<<8
		if unit < utf8.RuneSelf {
			b.WriteByte(byte(unit))
			continue
		}
		if !utf16.IsSurrogate(unit) {
			b.WriteRune(unit)
			continue
		}
		i += 2
		if i == len(s) {
			return wrong("half a surrogate pair")
		}
		r := utf16.DecodeRune(unit, rune(s[i+low])|rune(s[i+high])<<8)
		if r == utf8.RuneError {
			return wrong("half a surrogate pair")
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}
