package pages

import "slices"

// Write puts p at off. Zeros written where no page is allocate none.
func (t *Tree) Write(p []byte, off int64) {
	for len(p) > 0 {
		in := int(off & (BlockSize - 1))
		q := p[:min(len(p), BlockSize-in)]
		if s, own := t.find(off); own && s.whole != nil {
			copy(s.whole[in:], q)
		} else {
			t.writeBlock(s, own, q, off)
		}
		p, off = p[len(q):], off+int64(len(q))
	}
}

// writeBlock writes within a block that is not in one piece or not the tree's
// own.
func (t *Tree) writeBlock(old span, own bool, p []byte, off int64) {
	switch {
	case len(p) == BlockSize && !hasZeros(p):
		whole := make([]byte, BlockSize) // not cleared first: the copy fills it
		copy(whole, p)
		t.put(off, span{whole: (*[BlockSize]byte)(whole)}, true)
		return
	case old == (span{}) && allZero(p):
		return
	}
	x := old.sub
	if !own {
		x = t.openBlock(off)
	}
	x.write(p, int(off&(BlockSize-1)))
	if whole := x.join(); whole != nil {
		t.put(off, span{whole: whole}, true)
	}
	if x.mask == 0 {
		t.Discard(off&^(BlockSize-1), BlockSize)
	}
}

// reach makes the tree high enough for off.
func (t *Tree) reach(off int64) {
	if t.root == nil {
		*t = Tree{root: new(node), shift: blockShift, own: true}
		for !t.covers(off) {
			t.shift += fanShift
		}
	}
	for !t.covers(off) {
		t.lift()
	}
}

// lift puts a node on top of the root.
func (t *Tree) lift() {
	n := &node{kids: []*node{t.root}}
	n.mask = 1
	if t.own {
		n.own = 1
	}
	*t = Tree{root: n, shift: t.shift + fanShift, own: true}
}

// open returns the lowest node above off, for changing.
func (t *Tree) open(off int64) *node {
	t.reach(off)
	if !t.own {
		t.root, t.own = t.root.clone(), true
	}
	n := t.root
	for shift := t.shift; shift > blockShift; shift -= fanShift {
		n = n.openKid(index(off, shift))
	}
	return n
}

// openKid returns child i of a node that may be changed, for changing.
func (n *node) openKid(i uint) *node {
	j := rank(n.mask, i)
	switch {
	case !n.has(i):
		n.kids = slices.Insert(n.kids, j, new(node))
	case !n.owns(i):
		n.kids[j] = n.kids[j].clone()
	}
	n.mask |= 1 << i
	n.own |= 1 << i
	return n.kids[j]
}

// openBlock returns the block that holds off as runs, for changing.
func (t *Tree) openBlock(off int64) *block {
	n, i := t.open(off), index(off, blockShift)
	s := n.get(i)
	switch {
	case s.whole != nil:
		s = span{sub: splitBlock(s.whole, n.owns(i))}
	case s.sub == nil:
		s.sub = new(block)
	case n.owns(i):
		return s.sub
	default:
		s.sub = s.sub.clone()
	}
	n.set(i, s, true)
	return s.sub
}

// put makes s the block that holds off.
func (t *Tree) put(off int64, s span, own bool) {
	t.open(off).set(index(off, blockShift), s, own)
}
