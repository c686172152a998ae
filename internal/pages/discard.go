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
		if shift == blockShift {
			n, own = n.trimBlock(i, own, int(lo), int(hi))
		} else {
			n, own = n.trimKid(i, own, shift, lo, hi)
		}
	}
	if n.mask == 0 {
		return nil
	}
	return n
}

// trimBlock makes a range of block i zero. It returns n, or a copy that is the
// tree's own if n was not and something changed.
func (n *node) trimBlock(i uint, own bool, from, to int) (*node, bool) {
	old := n.get(i)
	left := blockWithout(old, own && n.owns(i), from, to)
	if left == old {
		return n, own
	}
	if !own {
		n = n.clone()
	}
	n.set(i, left, true)
	return n, true
}

// trimKid is the same for a node.
func (n *node) trimKid(i uint, own bool, shift uint8, from, to int64) (*node, bool) {
	old := n.kid(i)
	var left *node
	if to-from < 1<<shift {
		left = old.without(own && n.owns(i), shift-fanShift, from, to)
	}
	if left == old {
		return n, own
	}
	if !own {
		n = n.clone()
	}
	j := rank(n.mask, i)
	if left == nil {
		n.kids = slices.Delete(n.kids, j, j+1)
		n.mask, n.own = n.mask&^(1<<i), n.own&^(1<<i)
	} else {
		n.kids[j] = left
		n.own |= 1 << i
	}
	return n, true
}

// blockWithout makes a range of a block zero. What stays of a piece of the
// tree's own is copied out of it, so that the rest is free at once.
func blockWithout(s span, own bool, from, to int) span {
	if to-from == BlockSize {
		return span{}
	}
	if s.sub != nil {
		return span{sub: s.sub.without(own, from, to)}
	}
	x := splitBlock(s.whole, own).without(true, from, to)
	if own {
		x.unpin()
	}
	return span{sub: x}
}
