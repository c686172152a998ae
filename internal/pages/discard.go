package pages

import "slices"

// Discard makes n bytes from off on zero and frees the pages that are wholly
// among them. It copies no more of a shared tree than a write to the two ends
// of the range would.
func (t *Tree) Discard(off, n int64) {
	if n <= 0 || !t.covers(off) {
		return
	}
	to := off + n
	if !t.covers(to - 1) {
		to = fan << t.shift // cannot overflow: to is greater
	}
	root := t.root.without(t.own, t.shift, off, to)
	if root == nil {
		*t = Tree{}
		return
	}
	if root != t.root {
		t.root, t.own = root, true
	}
}

// without makes the bytes of a node from one place to another zero. It returns
// n itself, or a copy if n was not the tree's own and something changed, or nil
// if nothing is left.
func (n *node) without(own bool, shift uint8, from, to int64) *node {
	for i := index(from, shift); i <= index(to-1, shift); i++ {
		if !n.has(i) {
			continue
		}
		base := int64(i) << shift
		lo, hi := max(from-base, 0), min(to-base, 1<<shift)
		mine := own && n.own>>i&1 != 0
		if shift == runShift {
			old := n.run(i)
			left := old.without(mine, int(lo), int(hi))
			if left == old {
				continue
			}
			if !own {
				n, own = n.clone(), true
			}
			n.setRun(i, left, true)
			continue
		}
		old := n.kid(i)
		var left *node
		if hi-lo < 1<<shift {
			left = old.without(mine, shift-fanShift, lo, hi)
		}
		if left == old {
			continue
		}
		if !own {
			n, own = n.clone(), true
		}
		n.setKid(i, left)
	}
	if n.mask == 0 {
		return nil
	}
	return n
}

// setKid makes a new node child i of a node that may be changed; nil removes it.
func (n *node) setKid(i uint, kid *node) {
	j, bit := rank(n.mask, i), uint64(1)<<i
	if kid == nil {
		n.kids = slices.Delete(n.kids, j, j+1)
		n.mask, n.own = n.mask&^bit, n.own&^bit
		return
	}
	n.kids[j] = kid
	n.own |= bit
}

// without is the same for a run. What stays of a piece of the tree's own is
// copied out of it, so that the rest is free at once.
func (r run) without(own bool, from, to int) run {
	if to-from == RunSize {
		return run{}
	}
	if r.parts != nil {
		return run{parts: r.parts.without(own, from, to)}
	}
	x := split(r.whole, own).without(true, from, to)
	if own {
		x.unpin()
	}
	return run{parts: x}
}
