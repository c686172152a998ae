// Package names makes equal what Windows takes for the same name.
package names

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fold is a text with each letter in upper case. No letter beyond ASCII is equal
// to one of it.
func Fold(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return strings.Map(FoldRune, s)
		}
	}
	return strings.ToUpper(s) // the same for ASCII, and much faster
}

// FoldRune is [Fold] for one letter.
func FoldRune(r rune) rune {
	if r <= unicode.MaxASCII {
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}
	if u := unicode.ToUpper(r); u > unicode.MaxASCII {
		return u
	}
	return r
}
