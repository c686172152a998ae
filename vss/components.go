package vss

import (
	"strings"
	"unicode/utf8"

	"github.com/shadowsim/shadowsim/internal/names"
)

// A ComponentKey names a component of a writer: its logical path, empty at the
// root, and its name. Keys are compared without regard to case
// ("Logical Pathing of Components").
type ComponentKey struct {
	LogicalPath string
	Name        string
}

// FullPath returns logical path and name, joined by a backslash. The
// components below this one have it as their logical path or as the beginning
// of it.
func (k ComponentKey) FullPath() string {
	if k.LogicalPath == "" {
		return k.Name
	}
	return k.LogicalPath + `\` + k.Name
}

// String is FullPath.
func (k ComponentKey) String() string { return k.FullPath() }

// Same tells whether k and other name the same component.
func (k ComponentKey) Same(other ComponentKey) bool { return k.fold() == other.fold() }

// IsDescendantOf tells whether k stands below other: whether its logical path is
// other's full path or begins with it and a backslash. That no component stands
// between the two does not matter ("Logical Pathing of Components").
func (k ComponentKey) IsDescendantOf(other ComponentKey) bool {
	path, above := fold(trimPath(k.LogicalPath)), fold(trimPath(other.FullPath()))
	rest, below := strings.CutPrefix(path, above)
	return below && above != "" && (rest == "" || rest[0] == '\\')
}

// fold returns the form in which keys are compared.
func (k ComponentKey) fold() ComponentKey {
	return ComponentKey{fold(trimPath(k.LogicalPath)), fold(k.Name)}
}

// trimPath removes the backslashes around a logical path, which some writers
// and tools add.
func trimPath(path string) string { return strings.Trim(path, `\`) }

// fold maps the strings that Windows holds for equal to one: upper case, letter
// by letter.
func fold(s string) string { return names.Fold(s) }

// sameFolded is fold(a) == fold(b), which most often shows without folding either.
func sameFolded(a, b string) bool {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if x >= utf8.RuneSelf || y >= utf8.RuneSelf {
			return fold(a[i:]) == fold(b[i:])
		}
		if x != y && names.FoldRune(rune(x)) != names.FoldRune(rune(y)) {
			return false
		}
	}
	return len(a) == len(b)
}

// An index finds the members of a slice by key. It is kept by the methods that
// add to the slice; where the slice was changed beside them, and so has another
// length, finding falls back to a walk, which needs no lock.
type index[K comparable] struct {
	at map[K]int
	n  int // how many members at covers
}

// find returns the position of key among n members.
func (x *index[K]) find(n int, key K, keyOf func(int) K) (int, bool) {
	if x.n == n {
		i, ok := x.at[key]
		if !ok {
			return 0, false
		}
		if i < n && keyOf(i) == key {
			return i, true
		}
	}
	for i := range n {
		if keyOf(i) == key {
			return i, true
		}
	}
	return 0, false
}

// rebuild makes the index anew unless it covers the n members. Of several
// members with one key the first is found.
func (x *index[K]) rebuild(n int, keyOf func(int) K) {
	if x.n == n && x.at != nil {
		return
	}
	x.at, x.n = make(map[K]int, n), n
	for i := range n {
		if _, ok := x.at[keyOf(i)]; !ok {
			x.at[keyOf(i)] = i
		}
	}
}

// add notes that key is member n; the caller has called rebuild for n.
func (x *index[K]) add(n int, key K) {
	x.at[key], x.n = n, n+1
}
