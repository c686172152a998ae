package pages

import (
	"slices"
)

// Write puts p at off. Zeros written where no page is allocate none.
func (t *Tree) Write(p []byte, off int64) {
	for len(p) > 0 {
		in := int(off & (RunSize - 1))
		q := p[:min(len(p), RunSize-in)]
		if r, own := t.find(off); own && r.whole != nil {
			copy(r.whole[in:], q)
		} else {
			t.writeRun(r, own, q, off)
		}
		p, off = p[len(q):], off+int64(len(q))
	}
}

// writeRun writes within a run that is not in one piece or not the tree's own.
func (t *Tree) writeRun(old run, own bool, p []byte, off int64) {
	if len(p) == RunSize {
		if fresh := newRun(p); fresh != (run{}) || old != (run{}) {
			t.putRun(off, fresh, true)
		}
		return
	}
	if old == (run{}) && allZero(p) {
		return
	}
	x := old.parts
	if !own {
		x = t.openRun(off)
	}
	x.write(p, int(off&(RunSize-1)))
	if whole := x.join(); whole != nil {
		t.putRun(off, run{whole: whole}, true)
	}
}

// newRun returns a run with the given bytes: in one piece, or in parts if some
// page of it is all zero.
func newRun(p []byte) run {
	x := new(parts)
	for i := range runPages {
		if allZero(p[i*PageSize : (i+1)*PageSize]) {
			x.write(p, 0)
			if x.mask == 0 {
				return run{}
			}
			return run{parts: x}
		}
	}
	whole := make([]byte, RunSize) // not cleared first: the copy fills it
	copy(whole, p)
	return run{whole: (*[RunSize]byte)(whole)}
}

// reach makes the tree high enough for off.
func (t *Tree) reach(off int64) {
	if t.root == nil {
		*t = Tree{root: new(node), shift: runShift, own: true}
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
	n := &node{mask: 1, kids: []*node{t.root}}
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
	for shift := t.shift; shift > runShift; shift -= fanShift {
		n = n.openKid(index(off, shift))
	}
	return n
}

// openKid returns child i of a node that may be changed, for changing.
func (n *node) openKid(i uint) *node {
	j, bit := rank(n.mask, i), uint64(1)<<i
	switch {
	case !n.has(i):
		n.kids = slices.Insert(n.kids, j, new(node))
		n.mask |= bit
	case n.own&bit == 0:
		n.kids[j] = n.kids[j].clone()
	}
	n.own |= bit
	return n.kids[j]
}

// openRun returns the run that holds off in parts, for changing.
func (t *Tree) openRun(off int64) *parts {
	n, i := t.open(off), index(off, runShift)
	r, own := n.run(i), n.own>>i&1 != 0
	switch {
	case r.whole != nil:
		r = run{parts: split(r.whole, own)}
	case r.parts == nil:
		r.parts = new(parts)
	case !own:
		r.parts = r.parts.clone()
	default:
		return r.parts
	}
	n.setRun(i, r, true)
	return r.parts
}

// putRun makes r the run that holds off. The zero run removes it.
func (t *Tree) putRun(off int64, r run, own bool) {
	if r == (run{}) {
		t.Discard(off&^(RunSize-1), RunSize)
		return
	}
	t.open(off).setRun(index(off, runShift), r, own)
}

// setRun makes r child i of a node that may be changed; the zero run removes it.
func (n *node) setRun(i uint, r run, own bool) {
	n.dropRun(i)
	bit := uint64(1) << i
	switch {
	case r.whole != nil:
		n.whole = slices.Insert(n.whole, rank(n.joined, i), r.whole)
		n.joined |= bit
	case r.parts != nil:
		n.parts = slices.Insert(n.parts, rank(n.mask&^n.joined, i), r.parts)
	default:
		return
	}
	n.mask |= bit
	if own {
		n.own |= bit
	}
}

func (n *node) dropRun(i uint) {
	switch r := n.run(i); {
	case r.whole != nil:
		j := rank(n.joined, i)
		n.whole = slices.Delete(n.whole, j, j+1)
	case r.parts != nil:
		j := rank(n.mask&^n.joined, i)
		n.parts = slices.Delete(n.parts, j, j+1)
	}
	bit := uint64(1) << i
	n.mask, n.own, n.joined = n.mask&^bit, n.own&^bit, n.joined&^bit
}
