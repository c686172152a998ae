package names

import (
	"strings"
	"testing"
	"unicode"
)

func TestFold(t *testing.T) {
	for s, want := range map[string]string{
		"":          "",
		`D:\VMs\a`:  `D:\VMS\A`,
		"ÄÖÜ äöü ß": "ÄÖÜ ÄÖÜ ß",
		"kK\u212A":  "KK\u212A", // the sign for kelvin is no K
		"ı\u017F":   "ı\u017F",  // nor are these I and S
	} {
		if got := Fold(s); got != want {
			t.Errorf("%q becomes %q, want %q", s, got, want)
		}
	}
}

// The short way for ASCII is the long one.
func TestASCII(t *testing.T) {
	for r := range rune(unicode.MaxASCII + 1) {
		if s := string(r); Fold(s) != strings.Map(FoldRune, s) {
			t.Errorf("%q becomes %q", s, Fold(s))
		}
	}
}
