package vss

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// myWriter is the writer of "Logical Pathing of Components": name, logical path,
// selectable for backup, for restore, and whether it is in the document when a
// requester adds what it must plus LicenseInfo, Security and writerData.
const myWriter = `
Executables  -                    N N Y
ConfigFiles  Executables          N N Y
LicenseInfo  -                    Y N Y
Security     -                    Y N Y
UserInfo     Security             N N -
Certificates Security             N N -
writerData   -                    Y Y Y
Set1         writerData           N Y -
Jan          writerData\Set1      N N -
Dec          writerData\Set1      N N -
Set2         writerData           N Y -
Jan          writerData\Set2      N N -
Dec          writerData\Set2      N N -
Query        writerData\QueryLogs N N -
Usage        writerData           Y Y -
Jan          writerData\Usage     N N -
Dec          writerData\Usage     N N -`

// parseComponents reads a table like myWriter; the second result are the
// components that are to be added.
func parseComponents(table string) ([]ComponentInfo, []ComponentKey) {
	var components []ComponentInfo
	var added []ComponentKey
	for line := range strings.Lines(strings.TrimSpace(table)) {
		f := strings.Fields(line)
		key := ComponentKey{LogicalPath: strings.Trim(f[1], "-"), Name: f[0]}
		components = append(components, ComponentInfo{ComponentKey: key, Type: ComponentFileGroup, Selectable: f[2] == "Y", SelectableForRestore: f[3] == "Y"})
		if f[4] == "Y" {
			added = append(added, key)
		}
	}
	return components, added
}

func key(path string) ComponentKey {
	i := strings.LastIndexByte(path, '\\')
	return ComponentKey{LogicalPath: path[:max(i, 0)], Name: path[i+1:]}
}

func fullPaths(keys []ComponentKey) string {
	var paths []string
	for _, k := range keys {
		paths = append(paths, k.FullPath())
	}
	return strings.Join(paths, " ")
}

func TestOfficialExampleOfSelectability(t *testing.T) {
	components, want := parseComponents(myWriter)
	tree := NewComponentTree(components)
	added, err := tree.Choose(key("LicenseInfo"), key("Security"), key("writerData"))
	if diff := cmp.Diff(want, added); err != nil || diff != "" {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	if err := tree.Check(added); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, tree.Everything()); diff != "" {
		t.Errorf("everything (-want +got):\n%s", diff)
	}

	added, err = tree.Choose(key(`writerData\Usage`))
	if got := fullPaths(added); err != nil || got != `Executables Executables\ConfigFiles writerData\Usage` {
		t.Errorf("Usage alone: %s, %v", got, err)
	}
	for component, want := range map[string]string{
		"Security":         `Security\UserInfo Security\Certificates`,
		`writerData\Usage`: `writerData\Usage\Jan writerData\Usage\Dec`,
		"writerData": `writerData\Set1 writerData\Set1\Jan writerData\Set1\Dec writerData\Set2 writerData\Set2\Jan writerData\Set2\Dec ` +
			`writerData\QueryLogs\Query writerData\Usage writerData\Usage\Jan writerData\Usage\Dec`,
		"Executables": "", "LicenseInfo": "", "nothing": "", `writerData\Set1`: "",
	} {
		if got := fullPaths(tree.Members(key(component))); got != want {
			t.Errorf("with %s come %s, want %s", component, got, want)
		}
	}
}

func TestInclusionRules(t *testing.T) {
	components, _ := parseComponents(myWriter)
	tree := NewComponentTree(components)
	for path, want := range map[string]Inclusion{
		"Executables": MustAdd, `executables\CONFIGFILES`: MustAdd, "LicenseInfo": MayAdd, `Security\UserInfo`: NeverAdd,
		"writerData": MayAdd, `writerData\Usage`: MayAddAlone, `writerData\Usage\Jan`: NeverAdd, `writerData\QueryLogs\Query`: NeverAdd,
	} {
		if got, ok := tree.Inclusion(key(path)); !ok || got != want {
			t.Errorf("%s %v, want %v", path, got, want)
		}
	}
	if got, ok := tree.Inclusion(key("Set1")); ok || got.String() != "unknown" {
		t.Errorf("Set1 at the root %v", got)
	}
}

func TestChoosingAgainstTheRules(t *testing.T) {
	components, all := parseComponents(myWriter)
	tree := NewComponentTree(components)
	if got, err := tree.Choose(); err != nil || got != nil {
		t.Errorf("of a writer that is not wanted, %v is added, %v", got, err)
	}
	if got, err := tree.Choose(key("writerData"), key(`writerData\Usage`)); err != nil || strings.Contains(fullPaths(got), "Usage") {
		t.Errorf("Usage is added beside writerData: %s, %v", fullPaths(got), err)
	}
	for _, row := range []struct {
		wanted string
		code   HRESULT
	}{{`writerData\Set1`, ErrInvalidArg}, {"Set1", ErrObjectNotFound}} {
		if _, err := tree.Choose(key(row.wanted)); !errors.Is(err, row.code) {
			t.Errorf("%s is chosen: %v", row.wanted, err)
		}
	}
	for _, row := range []struct {
		name  string
		added []ComponentKey
		codes []HRESULT
		says  []string
	}{
		{"nothing", nil, nil, nil},
		{"nonselectable ones alone", all[:2], nil, nil},
		{"a mandatory one is missing", []ComponentKey{all[0], all[2]}, []HRESULT{ErrInvalidArg}, []string{`Executables\ConfigFiles`}},
		{"one that is implicit", append(slices.Clone(all), key(`writerData\Usage`)), []HRESULT{ErrInvalidArg}, []string{"comes along with writerData"}},
		{"one that is never added", append(slices.Clone(all), key(`Security\UserInfo`)), []HRESULT{ErrInvalidArg}, []string{`Security\UserInfo`}},
		{"unknown and twice", append(slices.Clone(all), key("x"), key("SECURITY")), []HRESULT{ErrObjectNotFound, ErrObjectAlreadyExists}, []string{"x", "SECURITY"}},
	} {
		err := tree.Check(row.added)
		if (err == nil) != (row.codes == nil) {
			t.Errorf("%s: %v", row.name, err)
		}
		for i := range row.codes {
			if !errors.Is(err, row.codes[i]) || !strings.Contains(err.Error(), row.says[i]) {
				t.Errorf("%s: %v, want %v about %s", row.name, err, row.codes[i], row.says[i])
			}
		}
	}
}

func TestSelectingForRestore(t *testing.T) {
	components, added := parseComponents(myWriter)
	tree := NewComponentTree(components)
	usage, _ := tree.Choose(key(`writerData\Usage`))
	for _, row := range []struct {
		component string
		added     []ComponentKey
		root      string
		code      HRESULT
	}{
		{"LicenseInfo", added, "LicenseInfo", SOK}, // explicit: whatever its flag says
		{`Executables\ConfigFiles`, added, `Executables\ConfigFiles`, SOK},
		{`writerData\Set1`, added, "writerData", SOK},
		{`writerData\Usage`, added, "writerData", SOK},
		{`writerData\Usage`, usage, `writerData\Usage`, SOK},
		{`writerData\Usage\Jan`, usage, "", ErrInvalidArg},
		{`Security\UserInfo`, added, "", ErrInvalidArg},
		{`writerData\Set1`, usage, "", ErrObjectNotFound},
		{"nothing", added, "", ErrObjectNotFound},
	} {
		root, err := tree.RestoreRoot(key(row.component), row.added)
		if root.FullPath() != row.root || HRESULTOf(err) != row.code {
			t.Errorf("%s: below %q, %v; want %q, %v", row.component, root.FullPath(), err, row.root, row.code)
		}
	}
}

func TestComponentKeys(t *testing.T) {
	for _, row := range []struct {
		key, other ComponentKey
		descendant bool
	}{
		{key(`a\b`), key("a"), true},
		{key(`A\b`), key("a"), true},
		{key(`a\x\b`), key("a"), true}, // no component x stands between
		{ComponentKey{`\a\`, "b"}, key("a"), true},
		{key(`ab\c`), key("a"), false},
		{key("a"), key("a"), false},
		{key("a"), key(`a\b`), false},
		{key("a"), ComponentKey{}, false},
		{key(`é\b`), key("É"), true},
	} {
		if got := row.key.IsDescendantOf(row.other); got != row.descendant {
			t.Errorf("%q below %q: %v", row.key, row.other, got)
		}
	}
	if !key(`A\b`).Same(ComponentKey{`\a`, "B"}) || key(`a\b`).Same(key("a")) {
		t.Error("keys are not compared by their words without case")
	}
	if fold("straße ǆıſK") != "STRAßE ǄıſK" {
		t.Errorf("folds to %q", fold("straße ǆıſK"))
	}
}

// TestComponentTreeAgainstTheDefinition compares the tree with the table of
// rules, applied by looking at every pair of components.
func TestComponentTreeAgainstTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var components []ComponentInfo
		segment := rapid.SampledFrom([]string{"a", "A", "b", "aa", "a!", "a\x01"})
		for range rapid.IntRange(0, 12).Draw(t, "components") {
			path := rapid.SliceOfN(segment, 1, 4).Draw(t, "path")
			k := key(strings.Join(path, `\`))
			if !slices.ContainsFunc(components, func(c ComponentInfo) bool { return c.Same(k) }) {
				components = append(components, ComponentInfo{ComponentKey: k, Selectable: rapid.Bool().Draw(t, "selectable")})
			}
		}
		var added []ComponentKey
		for _, c := range components {
			if rapid.Bool().Draw(t, "added") {
				added = append(added, c.ComponentKey)
			}
		}
		tree := NewComponentTree(components)
		for i := range components {
			checkAgainstDefinition(t, tree, components, &components[i], added)
		}
	})
}

func checkAgainstDefinition(t *rapid.T, tree *ComponentTree, all []ComponentInfo, c *ComponentInfo, added []ComponentKey) {
	underSelectable, closest := false, ComponentKey{}
	for _, above := range all {
		if !c.IsDescendantOf(above.ComponentKey) || !above.Selectable {
			continue
		}
		underSelectable = true
		if slices.ContainsFunc(added, above.Same) && len(above.FullPath()) > len(closest.FullPath()) {
			closest = above.ComponentKey
		}
	}
	want := map[[2]bool]Inclusion{{false, false}: MustAdd, {true, false}: MayAdd, {true, true}: MayAddAlone, {false, true}: NeverAdd}[[2]bool{c.Selectable, underSelectable}]
	if got, ok := tree.Inclusion(c.ComponentKey); !ok || got != want {
		t.Fatalf("%q %v, want %v", c.FullPath(), got, want)
	}
	c.SelectableForRestore = true
	root, err := tree.RestoreRoot(c.ComponentKey, added)
	switch {
	case slices.ContainsFunc(added, c.Same):
		closest = c.ComponentKey
	case closest == ComponentKey{}:
		if !errors.Is(err, ErrObjectNotFound) {
			t.Fatalf("%q is restored below %q, %v", c.FullPath(), root, err)
		}
		return
	}
	if err != nil || root != closest {
		t.Fatalf("%q is restored below %q, %v; want %q", c.FullPath(), root, err, closest)
	}
}

// BenchmarkComponentTree measures a writer with as many components as a large
// host has machines.
func BenchmarkComponentTree(b *testing.B) {
	components := make([]ComponentInfo, 100_000)
	for i := range components {
		components[i].ComponentKey = ComponentKey{LogicalPath: fmt.Sprintf("rack %d", i%100), Name: fmt.Sprintf("machine %d", i)}
	}
	for b.Loop() {
		if got := NewComponentTree(components).Everything(); len(got) != len(components) {
			b.Fatal(len(got))
		}
	}
}

// Comparing without folding says what folding says.
func TestSameFolded(t *testing.T) {
	name := rapid.StringOf(rapid.SampledFrom([]rune("aAzZ{[`@1é\u00c9ſsKkıI\u212a\ufffd")))
	rapid.Check(t, func(t *rapid.T) {
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		if rapid.Bool().Draw(t, "alike") {
			b = rapid.SampledFrom([]string{strings.ToLower(a), strings.ToUpper(a), a + "\xff"}).Draw(t, "other")
		}
		if got, want := sameFolded(a, b), fold(a) == fold(b); got != want {
			t.Errorf("%q and %q: %v, want %v", a, b, got, want)
		}
	})
}
