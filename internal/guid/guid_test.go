package guid_test

import (
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/internal/guid"
)

func TestParsePrint(t *testing.T) {
	const text = "66841cd4-6ded-4f4b-8f17-fd23f8ddc3de"
	for _, in := range []string{text, strings.ToUpper(text), "{" + text + "}"} {
		g, err := guid.Parse(in)
		if err != nil {
			t.Fatalf("Parse(%q): %v", in, err)
		}
		if guid.String(g) != text || guid.Braced(g) != "{"+text+"}" || guid.Upper(g) != strings.ToUpper(text) || string(guid.AppendUpper([]byte("x"), g)) != "x"+guid.Upper(g) {
			t.Errorf("Parse(%q) prints %s, %s, %s", in, guid.String(g), guid.Braced(g), guid.Upper(g))
		}
		if g[0] != 0x66 || guid.Windows(g)[0] != 0xd4 || guid.Windows(guid.Windows(g)) != g {
			t.Errorf("byte order of %q is wrong: %x", in, g)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{"", "{}", "66841cd4-6ded-4f4b-8f17-fd23f8ddc3d", "66841cd4x6ded-4f4b-8f17-fd23f8ddc3de", "g6841cd4-6ded-4f4b-8f17-fd23f8ddc3de", "{66841cd4-6ded-4f4b-8f17-fd23f8ddc3de"} {
		if g, err := guid.Parse(in); err == nil || g != (guid.GUID{}) {
			t.Errorf("Parse(%q) = %x, %v; want an error", in, g, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("66841cd4-6ded-4f4b-8f17-fd23f8ddc3de")
	f.Fuzz(func(t *testing.T, s string) {
		if g, err := guid.Parse(s); err == nil && !strings.EqualFold(guid.String(g), strings.Trim(s, "{}")) {
			t.Errorf("Parse(%q) prints %s", s, guid.String(g))
		}
	})
}
