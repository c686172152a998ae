package sddl

import (
	"errors"
	"strings"
	"testing"
)

func TestWhoMayDoWhat(t *testing.T) {
	for _, c := range []struct {
		chain string // the file's descriptor and those of the folders above
		want  Mask
		ok    bool
	}{
		{"", Read, false},
		{"D:(A;;FA;;;me)", All, true},
		{"D:(A;;FR;;;me)", Read, true},
		{"D:(A;;FR;;;me)", Read | Write, false},
		{"D:(A;;FR;;;me)(A;;FW;;;us)", Read | Write, true},
		{"O:BAG:SYD:AI(A;;0x1f01ff;;;me)S:(AU;;FA;;;WD)", All, true},
		{"D:(A;;FA;;;you)", Read, false},
		{"D:(D;;DC;;;us)(A;;FA;;;me)", Read, true},
		{"D:(D;;DC;;;us)(A;;FA;;;me)", Write, false},
		{"D:(A;;FA;;;me)(D;;FA;;;us)", Write, true}, // the first counts
		{"D:(A;IO;FA;;;me)", Read, false},
		{"|D:(A;OICI;FA;;;me)", All, true},
		{"|D:(A;CI;FA;;;me)", Read, false},
		{"||D:(A;OICI;FA;;;me)", All, true},
		{"||D:(A;OINP;FA;;;me)", Read, false},
		{"|D:(A;OINP;FA;;;me)", Read, true},
		{"D:P|D:(A;OICI;FA;;;me)", Read, false},
		{"D:AI(A;;FR;;;me)|D:(A;OI;FW;;;me)", Read | Write, true},
		{"D:(A;;CCLCRC;;;me)", 0x20005, true},
		{"D:(A;;CCLCR;;;me)", 0x1, false},              // no rights
		{"D:(A;;FA;;;me|D:(A;OI;FA;;;me)", Read, true}, // the first is none
		{"D:(OA;;FA;;;me)", Read, false},
		{`D:(XA;;FA;;;me;(a == "b"))(A;;FR;;;me)`, Read, true},
	} {
		q := Ask(c.want, "me", "us")
		for text := range strings.SplitSeq(c.chain, "|") {
			q.Put(text)
		}
		if q.Allowed() != c.ok {
			t.Errorf("%s: %#x: %t", c.chain, c.want, q.Allowed())
		}
	}
}

func TestGrant(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "D:(A;;FA;;;me)",
		"D:P":                                 "D:P(A;;FA;;;me)",
		"O:BA":                                "O:BAD:(A;;FA;;;me)",
		"O:BAS:(AU;;FA;;;WD)":                 "O:BAD:(A;;FA;;;me)S:(AU;;FA;;;WD)",
		"D:(A;;FR;;;us)":                      "D:(A;;FA;;;me)(A;;FR;;;us)",
		"O:BAD:(D;;FW;;;us)(A;ID;FA;;;BA)S:P": "O:BAD:(D;;FW;;;us)(A;;FA;;;me)(A;ID;FA;;;BA)S:P",
		"D:(D;ID;FW;;;us)":                    "D:(A;;FA;;;me)(D;ID;FW;;;us)",
	} {
		got, err := Grant(text, "FA", "me")
		if got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"x", "D", "D:(", "D:)", "D:(A)x", "D:D:", "D:(A;;FA;;;me)D:P", "Q:BA", ":", "D:()(", "D::", "O:BAD::", "S::x"} {
		if got, err := Grant(text, "FA", "me"); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzGrant(f *testing.F) {
	for _, text := range []string{"", "D:", "O:BAG:SYD:P(D;;FW;;;us)(A;ID;FA;;;BA)S:(AU;;FA;;;WD)"} {
		f.Add(text)
	}
	f.Add("D::")
	f.Fuzz(func(t *testing.T, text string) {
		asked := Ask(All, "BA").Put(text).Put(text)
		if _, err := Grant(text, "FA", "BA"); err != nil && asked.Allowed() {
			t.Errorf("%q is no descriptor, and allows all", text)
		}
		got, err := Grant(text, "FA", "S-1-5-83-0")
		if err != nil {
			return
		}
		if len(got) > len(text)+64 {
			t.Fatalf("%q became %q", text, got)
		}
		if again, err := Grant(got, "FA", "S-1-5-83-0"); err != nil {
			t.Errorf("%q became %q, which is none: %v", text, again, err)
		}
	})
}
