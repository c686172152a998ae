// Package pages holds the sparse, persistent array of bytes that in-memory
// stores are made of.
//
// A [Tree] has no size: every byte that was never written is zero and costs
// nothing. [Tree.Fork] makes a second tree with the same bytes in constant
// time; from then on each of the two copies what it changes. Two trees find the
// ranges in which they differ by passing over everything they share.
//
// Bytes lie in pages of 4 KiB, sixteen to a run. A run whose pages are all
// there, and all of this tree alone, is joined to one piece of 64 KiB: big
// arrays read as fast as flat memory then, while small ones stay small. A page
// keeps no more bytes than were written to its front. Above the runs stand
// nodes of up to 64 children; a node has room for the children it has, and a
// tree no more levels than its last byte needs.
//
// What may be changed in place is told by one bit for each child: it is set
// while nobody but the node reaches the child. A node, run or page belongs to a
// tree alone if every bit on the way down is set and the tree owns its root.
// Fork gives up the root, hence everything, without touching a node; the bits
// that remain inside are never believed again, since whoever writes copies the
// root first, and a copied node owns none of its children.
//
// Any number of goroutines may read a tree. A tree that shares nodes with it
// may be written at the same time. Writing a tree, also discarding from it and
// forking one that was written since the last fork, needs that tree alone.
package pages

import (
	"math/bits"
	"slices"
)

// The grain of the tree, in bytes.
const (
	PageSize = 1 << pageShift
	RunSize  = 1 << runShift
)

const (
	pageShift = 12
	runShift  = 16
	fanShift  = 6
	runPages  = RunSize / PageSize
	fan       = 1 << fanShift
)

// A Tree is a sparse array of bytes. The zero Tree is all zero. A copy of the
// struct is not a second tree: use [Tree.Fork].
type Tree struct {
	root  *node // nil where nothing was written
	shift uint8 // one child of the root spans 1<<shift bytes; runShift or more
	own   bool  // no other tree reaches the root
}

// A node has up to 64 children: nodes, or runs in the lowest ones. Only those
// that exist have a place in a slice. What a read in a filled tree needs stands
// together at the front.
type node struct {
	own    uint64           // the children that only this node reaches
	joined uint64           // the runs that are one piece
	whole  []*[RunSize]byte // these runs
	mask   uint64           // the children that exist
	kids   []*node          // the children of a node that is not a lowest one
	parts  []*parts         // the runs that are not one piece
}

// A run is 64 KiB in one piece, or in parts. It has one of the two; the zero
// run stands for one that does not exist.
type run struct {
	whole *[RunSize]byte
	parts *parts
}

// rank returns the place that child i has, or would have, in a slice of those
// in mask.
func rank(mask uint64, i uint) int { return bits.OnesCount64(mask & (1<<(i&63) - 1)) }

func (n *node) has(i uint) bool { return n.mask>>(i&63)&1 != 0 }

// kid returns child i, or nil.
func (n *node) kid(i uint) *node {
	if !n.has(i) {
		return nil
	}
	return n.kids[rank(n.mask, i)]
}

// run returns run i, or the zero run.
func (n *node) run(i uint) run {
	switch {
	case n.joined>>(i&63)&1 != 0:
		return run{whole: n.whole[rank(n.joined, i)]}
	case n.has(i):
		return run{parts: n.parts[rank(n.mask&^n.joined, i)]}
	}
	return run{}
}

// clone returns a copy that owns none of its children.
func (n *node) clone() *node {
	return &node{
		joined: n.joined,
		whole:  slices.Clone(n.whole),
		mask:   n.mask,
		kids:   slices.Clone(n.kids),
		parts:  slices.Clone(n.parts),
	}
}

// Fork returns a tree with the same bytes. It takes constant time.
func (t *Tree) Fork() Tree {
	if t.own { // a tree that many read at once is not touched
		t.own = false
	}
	return *t
}

// Empty reports whether the tree holds no page: all of it is zero.
func (t *Tree) Empty() bool { return t.root == nil }

// index returns which child of a node with the given shift holds off.
func index(off int64, shift uint8) uint { return uint(off>>(shift&63)) & (fan - 1) }

// covers reports whether off lies within the span of the root.
func (t *Tree) covers(off int64) bool {
	return t.root != nil && uint64(off)>>(t.shift&63) < fan
}

// find returns the run that holds off, and whether it is the tree's alone.
func (t *Tree) find(off int64) (r run, own bool) {
	if !t.covers(off) {
		return run{}, false
	}
	n, own := t.root, t.own
	for shift := t.shift; ; shift -= fanShift {
		i := index(off, shift)
		own = own && n.own>>i&1 != 0
		if shift == runShift {
			return n.run(i), own
		}
		if !n.has(i) {
			return run{}, false
		}
		n = n.kids[rank(n.mask, i)]
	}
}

// Read fills p with the bytes from off on.
func (t *Tree) Read(p []byte, off int64) {
	for len(p) > 0 {
		in := int(off & (RunSize - 1))
		q := p[:min(len(p), RunSize-in)]
		switch r, _ := t.find(off); {
		case r.whole != nil:
			copy(q, r.whole[in:])
		case r.parts != nil:
			r.parts.read(q, in)
		default:
			clear(q)
		}
		p, off = p[len(q):], off+int64(len(q))
	}
}
