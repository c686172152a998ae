package vss

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// An Inclusion says whether a requester adds a component to a backup by name.
// A component that is not added comes along with the closest selectable
// component above it that is ("Working with Selectability for Backup").
type Inclusion uint8

// The rules of inclusion. A nonselectable component defines no set: what stands
// below it is judged as if it were not there.
const (
	// MustAdd: nonselectable, with no selectable component above. It is added
	// if any component of the writer is.
	MustAdd Inclusion = iota + 1
	// MayAdd: selectable, with no selectable component above.
	MayAdd
	// MayAddAlone: selectable, below a selectable component. It is added only if
	// none of those above it is.
	MayAddAlone
	// NeverAdd: nonselectable, below a selectable component.
	NeverAdd
)

// String returns a phrase for a transcript.
func (i Inclusion) String() string {
	return wordOf(i, "unknown", "must be added", "may be added", "may be added alone", "never added")
}

// A ComponentTree answers questions about the component sets of one writer. It
// stands for the components as they were when it was made
// ("Logical Pathing of Components").
type ComponentTree struct {
	components []ComponentInfo
	at         map[ComponentKey]int
	sorted     []int    // the components, each behind those above it
	paths      []string // by component: the full path, so that paths sort as trees
	parent     []int    // by component: the closest component above, or -1
	inSet      []bool   // by component: whether some component above is selectable
}

// NewComponentTree makes the tree of a writer's components, which must not
// change any more. Their order is that of the tree's answers
// ("Logical Pathing of Components").
func NewComponentTree(components []ComponentInfo) *ComponentTree {
	n := len(components)
	t := &ComponentTree{
		components: components,
		at:         make(map[ComponentKey]int, n),
		sorted:     make([]int, n),
		paths:      make([]string, n),
		parent:     make([]int, n),
		inSet:      make([]bool, n),
	}
	for i := range components {
		key := components[i].ComponentKey.fold()
		if _, twice := t.at[key]; !twice {
			t.at[key] = i
		}
		t.sorted[i] = i
		t.paths[i] = strings.ReplaceAll(key.FullPath(), `\`, "\x00")
	}
	slices.SortStableFunc(t.sorted, func(a, b int) int { return cmp.Compare(t.paths[a], t.paths[b]) })
	t.link()
	return t
}

// link finds the closest component above each one: in sorted order it is among
// those on the path to the one before.
func (t *ComponentTree) link() {
	var path []int
	for _, i := range t.sorted {
		for len(path) > 0 && !below(t.paths[i], t.paths[path[len(path)-1]]) {
			path = path[:len(path)-1]
		}
		t.parent[i] = -1
		if len(path) > 0 {
			above := path[len(path)-1]
			t.parent[i] = above
			t.inSet[i] = t.inSet[above] || t.components[above].Selectable
		}
		path = append(path, i)
	}
}

func below(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && rest != "" && rest[0] == 0
}

// Inclusion returns the rule for a component, false if there is none of that
// name.
func (t *ComponentTree) Inclusion(key ComponentKey) (Inclusion, bool) {
	i, ok := t.at[key.fold()]
	if !ok {
		return 0, false
	}
	return t.inclusion(i), true
}

func (t *ComponentTree) inclusion(i int) Inclusion {
	switch {
	case t.components[i].Selectable && t.inSet[i]:
		return MayAddAlone
	case t.components[i].Selectable:
		return MayAdd
	case t.inSet[i]:
		return NeverAdd
	}
	return MustAdd
}

// Everything returns the components to add so that all of the writer's data is
// backed up.
func (t *ComponentTree) Everything() []ComponentKey {
	return t.keysWhere(func(i int) bool { return !t.inSet[i] })
}

func (t *ComponentTree) keysWhere(want func(i int) bool) []ComponentKey {
	var keys []ComponentKey
	for i := range t.components {
		if want(i) {
			keys = append(keys, t.components[i].ComponentKey)
		}
	}
	return keys
}

// Choose returns the components to add so that the wanted ones are backed up:
// those that must be added in any case and the wanted ones, less those that come
// along with others. A component that can only come along is an [ErrInvalidArg],
// one that does not exist an [ErrObjectNotFound].
func (t *ComponentTree) Choose(wanted ...ComponentKey) ([]ComponentKey, error) {
	chosen := make([]bool, len(t.components))
	for _, key := range wanted {
		i, ok := t.at[key.fold()]
		if !ok {
			return nil, &Error{Op: "AddComponent", On: key.FullPath(), Err: ErrObjectNotFound}
		}
		if t.inclusion(i) == NeverAdd {
			return nil, fail("AddComponent", key.FullPath(), ErrInvalidArg, "the component only comes along with another")
		}
		chosen[i] = true
	}
	cover := t.cover(chosen)
	return t.keysWhere(func(i int) bool {
		return t.inclusion(i) == MustAdd && len(wanted) > 0 || chosen[i] && cover[i] < 0
	}), nil
}

// Check returns what is wrong with a list of explicitly added components,
// joined, or nil: components that do not exist, that stand in the list twice,
// that are never added or come along with another one, and those that must be
// added and are not.
func (t *ComponentTree) Check(added []ComponentKey) error {
	var wrong []error
	chosen := make([]bool, len(t.components))
	for _, key := range added {
		i, ok := t.at[key.fold()]
		switch {
		case !ok:
			wrong = append(wrong, &Error{Op: "AddComponent", On: key.FullPath(), Err: ErrObjectNotFound})
		case chosen[i]:
			wrong = append(wrong, &Error{Op: "AddComponent", On: key.FullPath(), Err: ErrObjectAlreadyExists})
		default:
			chosen[i] = true
		}
	}
	cover := t.cover(chosen)
	for i := range t.components {
		if problem := t.problem(i, chosen[i], cover[i], len(added) > 0); problem != "" {
			wrong = append(wrong, fail("AddComponent", t.components[i].FullPath(), ErrInvalidArg, "%s", problem))
		}
	}
	return errors.Join(wrong...)
}

func (t *ComponentTree) problem(i int, chosen bool, cover int, any bool) string {
	switch rule := t.inclusion(i); {
	case chosen && rule == NeverAdd:
		return "the component only comes along with another"
	case chosen && cover >= 0:
		return "the component comes along with " + t.components[cover].FullPath()
	case !chosen && any && rule == MustAdd:
		return "the component must be added if any is"
	}
	return ""
}

// cover returns for each component the closest selectable one above it that is
// chosen, -1 for none.
func (t *ComponentTree) cover(chosen []bool) []int {
	cover := make([]int, len(t.components))
	for _, i := range t.sorted {
		above := t.parent[i]
		switch {
		case above < 0:
			cover[i] = -1
		case chosen[above] && t.components[above].Selectable:
			cover[i] = above
		default:
			cover[i] = cover[above]
		}
	}
	return cover
}

// Members returns the components that come along with an explicitly added one:
// all below it, if it is selectable.
func (t *ComponentTree) Members(added ComponentKey) []ComponentKey {
	root, ok := t.at[added.fold()]
	if !ok || !t.components[root].Selectable {
		return nil
	}
	at, _ := slices.BinarySearchFunc(t.sorted, t.paths[root], func(i int, path string) int { return cmp.Compare(t.paths[i], path) })
	var members []int
	for _, i := range t.sorted[at:] { // what stands below follows in sorted order
		if below(t.paths[i], t.paths[root]) {
			members = append(members, i)
		} else if t.paths[i] != t.paths[root] {
			break
		}
	}
	slices.Sort(members)
	keys := make([]ComponentKey, len(members))
	for k, i := range members {
		keys[k] = t.components[i].ComponentKey
	}
	return keys
}

// RestoreRoot returns the explicitly added component under which a component can
// be selected for restore: itself if it was added; else, if the writer declared
// it selectable for restore, the closest one that brought it along, to which it
// is then added as a subcomponent. It is an [ErrObjectNotFound] if the component
// is not in the backup, an [ErrInvalidArg] if it cannot be selected alone
// ("Working with Selectability for Restore and Subcomponents").
func (t *ComponentTree) RestoreRoot(key ComponentKey, added []ComponentKey) (ComponentKey, error) {
	const op = "SetSelectedForRestore"
	i, ok := t.at[key.fold()]
	if !ok {
		return ComponentKey{}, &Error{Op: op, On: key.FullPath(), Err: ErrObjectNotFound}
	}
	chosen := make([]bool, len(t.components))
	for _, a := range added {
		if j, ok := t.at[a.fold()]; ok {
			chosen[j] = true
		}
	}
	switch cover := t.cover(chosen)[i]; {
	case chosen[i]:
		return t.components[i].ComponentKey, nil
	case cover < 0:
		return ComponentKey{}, &Error{Op: op, On: key.FullPath(), Err: ErrObjectNotFound}
	case !t.components[i].SelectableForRestore:
		return ComponentKey{}, fail(op, key.FullPath(), ErrInvalidArg, "the component is only restored with %s", t.components[cover].FullPath())
	default:
		return t.components[cover].ComponentKey, nil
	}
}
