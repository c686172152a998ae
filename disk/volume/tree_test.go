package volume

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A snap is a state of a tree that must not change, and what it has to hold.
type snap[T, M any] struct {
	tree  T
	model M
}

// TestDirTreeAgainstMap puts and deletes names in a directory and compares it,
// and every snapshot of it, with a map.
func TestDirTreeAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree dirTree
		model := map[string]entry{}
		var snaps []snap[dirTree, map[string]entry]
		e, id := epoch(1), inodeID(0)
		name := rapid.Custom(func(t *rapid.T) string {
			s := fmt.Sprintf("name%d", rapid.IntRange(0, 400).Draw(t, "n"))
			if rapid.Bool().Draw(t, "upper") {
				s = strings.ToUpper(s)
			}
			return s
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				id++
				x := entry{name.Draw(t, "name"), id}
				tree.put(e, x)
				model[Fold(x.name)] = x
			},
			"putMany": func(t *rapid.T) {
				from, step := rapid.IntRange(0, 300).Draw(t, "from"), rapid.SampledFrom([]int{1, -1}).Draw(t, "step")
				for i := range 100 {
					id++
					x := entry{fmt.Sprintf("name%d", from+i*step), id}
					tree.put(e, x)
					model[Fold(x.name)] = x
				}
			},
			"delete": func(t *rapid.T) {
				n := name.Draw(t, "name")
				tree.delete(e, n)
				delete(model, Fold(n))
			},
			"deleteMany": func(t *rapid.T) {
				from := rapid.IntRange(0, 400).Draw(t, "from")
				for i := range 120 {
					n := fmt.Sprintf("name%d", from+i)
					tree.delete(e, n)
					delete(model, Fold(n))
				}
			},
			"snapshot": func(t *rapid.T) {
				snaps = append(snaps, snap[dirTree, map[string]entry]{tree, maps.Clone(model)})
				e++
			},
			"": func(t *rapid.T) {
				checkDirTree(t, tree, model)
				for _, s := range snaps {
					checkDirTree(t, s.tree, s.model)
				}
			},
		})
	})
}

func checkDirTree(t *rapid.T, tree dirTree, model map[string]entry) {
	var got, want []entry
	tree.all(func(x entry) bool {
		got = append(got, x)
		return true
	})
	for _, key := range slices.Sorted(maps.Keys(model)) {
		want = append(want, model[key])
		if x, found := tree.get(key); !found || x != model[key] {
			t.Fatalf("get(%s) = %v, %v", key, x, found)
		}
	}
	if !slices.Equal(got, want) || tree.len != len(want) {
		t.Fatalf("the tree has %v, want %v", got, want)
	}
	if _, found := tree.get("other"); found {
		t.Fatal("found what is not there")
	}
}

// TestTableAgainstMap does the same for the inode table, and checks that changes
// finds exactly what differs between any two states.
func TestTableAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type model = map[inodeID]*inode
		var tab table
		now := model{}
		var snaps []snap[table, model]
		e := epoch(1)
		id := rapid.Custom(func(t *rapid.T) inodeID {
			return inodeID(rapid.Uint64Range(1, 40).Draw(t, "low") << rapid.SampledFrom([]int{0, 0, 5, 11, 30}).Draw(t, "shift"))
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				i, n := id.Draw(t, "id"), &inode{}
				tab.put(e, i, n)
				now[i] = n
			},
			"remove": func(t *rapid.T) {
				i := id.Draw(t, "id")
				if now[i] != nil {
					tab.put(e, i, nil)
					delete(now, i)
				}
			},
			"snapshot": func(t *rapid.T) {
				snaps = append(snaps, snap[table, model]{tab, maps.Clone(now)})
				e++
			},
			"": func(t *rapid.T) {
				for _, s := range append(snaps, snap[table, model]{tab, now}) {
					for i := range inodeID(50) {
						for _, shift := range []int{0, 5, 11, 30} {
							if got := s.tree.get(i << shift); got != s.model[i<<shift] {
								t.Fatalf("get(%d) = %p, want %p", i<<shift, got, s.model[i<<shift])
							}
						}
					}
					checkChanges(t, s.tree, tab, s.model, now)
					checkChanges(t, tab, s.tree, now, s.model)
				}
				if len(now) == 0 && tab.root != nil && tab.root.used != 0 {
					t.Fatal("an empty table holds on to nodes")
				}
			},
		})
	})
}

func checkChanges(t *rapid.T, a, b table, x, y map[inodeID]*inode) {
	type pair struct{ was, is *inode }
	got := map[pair]int{}
	changes(a, b, func(was, is *inode) { got[pair{was, is}]++ })
	want := map[pair]int{}
	for id := range x {
		if x[id] != y[id] {
			want[pair{x[id], y[id]}]++
		}
	}
	for id := range y {
		if x[id] == nil {
			want[pair{nil, y[id]}]++
		}
	}
	if !maps.Equal(got, want) {
		t.Fatalf("%d changes, want %d", len(got), len(want))
	}
}

func TestFoldAgreesWithCompare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.SampledFrom([]rune("aAbBäÄſsßẞıIiİKkσςΣ😀_")), 0, 4, -1)
		a, b := s.Draw(t, "a"), s.Draw(t, "b")
		if got := compareFold(a, b); (got == 0) != (Fold(a) == Fold(b)) || (got < 0) != (compareFold(b, a) > 0) {
			t.Fatalf("compareFold(%q, %q) = %d, but they fold to %q and %q", a, b, got, Fold(a), Fold(b))
		}
	})
}

func TestEmptiedTableHoldsNothing(t *testing.T) {
	var tab table
	for id := range inodeID(5000) {
		tab.put(1, id, &inode{})
	}
	for id := range inodeID(5000) {
		tab.put(epoch(1+id%3), id, nil)
	}
	if tab.root.used != 0 {
		t.Errorf("an empty table holds on to nodes: %b", tab.root.used)
	}
}
