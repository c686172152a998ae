package disktest

import "slices"

// patience is how many shorter scripts are tried at most.
const patience = 400

// shrink looks for a shorter script that breaks the same promise. Scripts take a
// fraction of a millisecond, so that this ends soon, and always alike.
func (k *kit) shrink(name string, s script, bad *Broken) *Broken {
	left := patience
	better := func(c script) bool {
		if left == 0 {
			return false
		}
		left--
		b := k.try(name, c)
		if b == nil || b.Promise != bad.Promise {
			return false
		}
		s, bad = c, b
		return true
	}
	for n := len(s); n > 0; n /= 2 { // leave out n steps at a time
		for i := 0; i+n <= len(s); {
			if !better(slices.Delete(slices.Clone(s), i, i+n)) {
				i += n
			}
		}
	}
	for i := range s {
		for _, simpler := range simplify(s[i]) {
			c := slices.Clone(s)
			c[i] = simpler
			if c[i] != s[i] {
				better(c)
			}
		}
	}
	return bad
}

// simplify returns steps that are easier to read, each better than those before.
func simplify(x step) (list []step) {
	add := func(change func(*step)) {
		y := x
		change(&y)
		list = append(list, y)
	}
	add(func(y *step) { y.fill = min(y.fill, 1) })
	if x.off >= 0 && x.kind != resize {
		add(func(y *step) { y.fill = min(y.fill, 1); y.off, y.n = y.off&^4095, y.n+y.off&4095 })
		add(func(y *step) { y.fill = min(y.fill, 1); y.n = min(y.n, 4096) })
		add(func(y *step) { y.fill = min(y.fill, 1); y.n = min(y.n, 1) })
		add(func(y *step) { y.fill = min(y.fill, 1); y.off, y.n = min(y.off, 4096), min(y.n, 1) })
		add(func(y *step) { y.fill = min(y.fill, 1); y.off, y.n = 0, min(y.n, 1) })
	}
	return list
}
