package sim

import "slices"

// A tally counts by name. Most have few names, for which a list is smaller than
// a map and found through as fast.
type tally struct {
	few  []counted
	many map[string]uint64
}

type counted struct {
	name string
	n    uint64
}

const maxFew = 16

// add counts one more of the name and returns how many there were before.
func (t *tally) add(name string) uint64 {
	if t.many != nil {
		n := t.many[name]
		t.many[name] = n + 1
		return n
	}
	for i := range t.few {
		if c := &t.few[i]; c.name == name {
			c.n++
			return c.n - 1
		}
	}
	if len(t.few) == maxFew {
		t.many = make(map[string]uint64)
		for _, c := range t.few {
			t.many[c.name] = c.n
		}
		t.few = nil
		return t.add(name)
	}
	t.few = append(t.few, counted{name, 1})
	return 0
}

// forgetOnly forgets a name that was counted once.
func (t *tally) forgetOnly(name string) {
	if t.many[name] == 1 {
		delete(t.many, name)
	}
	t.few = slices.DeleteFunc(t.few, func(c counted) bool { return c.name == name && c.n == 1 })
}
