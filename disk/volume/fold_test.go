package volume

import (
	"cmp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Names are in the order of their upper case, whatever they have in common at
// their beginnings.
func TestOrderOfNames(t *testing.T) {
	name := rapid.StringOfN(rapid.SampledFrom([]rune("aAéÉüµΜ_\U0001F600")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		if got, want := cmp.Compare(compareFold(a, b), 0), strings.Compare(Fold(a), Fold(b)); got != want {
			t.Errorf("compareFold(%q, %q) is %d, want %d", a, b, got, want)
		}
	})
}

// A path that is clean already is what taking it apart and joining it gives.
func TestCleanPathsStayAsTheyAre(t *testing.T) {
	element := rapid.SampledFrom([]string{"a", "VMs", ".", "..", "", "x.", " ", "nul.txt", "é", "\xff", "a:b", "c/d", "*"})
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.SampledFrom([]string{"", "D:", "d:", `\\?\D:`, `\\?\`}).Draw(t, "drive") +
			rapid.SampledFrom([]string{`\`, "/", ""}).Draw(t, "root") +
			strings.Join(rapid.SliceOfN(element, 0, 4).Draw(t, "elements"), `\`)
		drive, rest, err := Split(path)
		d, elems, e := parse(nil, path)
		if (err == nil) != (e == nil) || err == nil && (drive != d || rest != `\`+strings.Join(elems, `\`)) {
			t.Errorf("Split(%q) is %q, %q, %v; want %q, %q, %v", path, drive, rest, err, d, elems, e)
		}
		if d != "" {
			elems = append([]string{d}, elems...)
		}
		name, err := Name(path)
		if (err == nil) != (e == nil) || err == nil && name != nameOf(elems) {
			t.Errorf("Name(%q) is %q, %v; want %q, %v", path, name, err, elems, e)
		}
	})
}
