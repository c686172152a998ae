// Package xmlite reads and writes the plain XML that Windows keeps its
// documents in: elements, attributes, text, comments and processing
// instructions, as UTF-8 or UTF-16.
//
// A [Scanner] walks a text token by token without copying it; [Parse] builds a
// tree for small documents; a [Writer] prints. What a caller does not know it
// keeps: [Scanner.Skip] returns an element as it was written, and [Writer.Raw]
// prints it again.
//
// The scanner is strict. It takes well-formed XML 1.0 without a document type:
// the only entities are the five predefined ones and character references, so
// that nothing in a text can grow, and [Limits] bound depth and number. It
// does not resolve namespaces: a name is what stands in the text.
package xmlite

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits bound what a text may ask of its reader. A zero field stands for the
// default named beside it.
type Limits struct {
	Size     int64 // bytes read, 128 MiB
	Depth    int   // elements open at once, 100
	Elements int   // elements in the text, 1 million; 1<<18 for Parse
	Attrs    int   // attributes of one element, 64
}

// withDefaults fills the zero fields.
func (l Limits) withDefaults() Limits {
	return Limits{
		Size:     orDefault(l.Size, 128<<20),
		Depth:    orDefault(l.Depth, 100),
		Elements: orDefault(l.Elements, 1_000_000),
		Attrs:    orDefault(l.Attrs, 64),
	}
}

func orDefault[N int | int64](n, otherwise N) N {
	if n == 0 {
		return otherwise
	}
	return n
}

// ErrLimit is found in the error of a text that goes beyond its [Limits].
var ErrLimit = errors.New("beyond the limits")

// A SyntaxError says what is wrong with a text, and where. Lines and columns
// count from 1, columns in characters.
type SyntaxError struct {
	Line, Column int
	Msg          string
	Err          error // ErrLimit or nil
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Msg)
}

// Unwrap returns [ErrLimit] when the text was too large rather than wrong.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Position counts lines and columns, from 1, up to a byte offset in a text.
func Position(src string, offset int) (line, column int) {
	before := src[:min(offset, len(src))]
	last := strings.LastIndexByte(before, '\n')
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[last+1:])
}

// isSpace tells white space as XML has it.
func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// blank tells whether s is white space alone.
func blank(s string) bool {
	for i := range len(s) {
		if !isSpace(s[i]) {
			return false
		}
	}
	return true
}

// isChar tells the characters that XML 1.0 allows in a text.
func isChar(r rune) bool {
	switch {
	case r < ' ':
		return r == '\t' || r == '\n' || r == '\r'
	case r >= 0xD800 && r < 0xE000:
		return false
	}
	return r != 0xFFFE && r != 0xFFFF && r <= utf8.MaxRune
}

// badChar returns the offset of the first byte in s that is not UTF-8 or not a
// character of XML, or -1.
func badChar(s string) int {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < ' ' && !isSpace(c) {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !isChar(r) {
			return i
		}
		i += n
	}
	return -1
}

// nameLen returns the length of the name that s begins with, 0 when it begins
// with none.
func nameLen(s string) int {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if !isNameByte(c) || i == 0 && !isNameStart(rune(c)) {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if !isNameStart(r) && (i == 0 || !isNameRune(r)) {
			return i
		}
		i += n
	}
	return len(s)
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '_' || c == '-' || c == '.' || c == ':'
}

// nameStarts are the ranges of NameStartChar in XML 1.0, fifth edition.
var nameStarts = [...][2]rune{
	{':', ':'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}, {0xC0, 0xD6}, {0xD8, 0xF6}, {0xF8, 0x2FF},
	{0x370, 0x37D}, {0x37F, 0x1FFF}, {0x200C, 0x200D}, {0x2070, 0x218F}, {0x2C00, 0x2FEF},
	{0x3001, 0xD7FF}, {0xF900, 0xFDCF}, {0xFDF0, 0xFFFD}, {0x10000, 0xEFFFF},
}

func isNameStart(r rune) bool {
	for _, span := range nameStarts {
		if r < span[0] {
			return false
		}
		if r <= span[1] {
			return true
		}
	}
	return false
}

// isNameRune tells the non-ASCII characters allowed after the first.
func isNameRune(r rune) bool {
	return r == 0xB7 || r >= 0x300 && r <= 0x36F || r >= 0x203F && r <= 0x2040
}
