// Package pages holds the sparse, persistent array of bytes that in-memory
// stores are made of.
//
// A [Tree] has no size: every byte that was never written is zero and costs
// nothing. [Tree.Fork] makes a second tree with the same bytes in constant
// time; from then on each of the two copies what it changes. Two trees find the
// ranges in which they differ by passing over everything they share.
//
// Bytes lie in pages of 4 KiB, sixteen to a run of 64 KiB, and sixteen runs to a
// block of 1 MiB. A run whose pages are all there, and all of this tree alone,
// is joined to one piece; so is a block whose runs are. Big arrays read and
// write as fast as flat memory then, while small ones stay small. A page keeps
// no more bytes than were written to its front. Above the blocks stand nodes of
// up to 64 children; a node has room for the children it has, and a tree no more
// levels than its last byte needs.
//
// What may be changed in place is told by one bit for each child: it is set
// while nobody but the parent reaches the child. A node, block, run or page
// belongs to a tree alone if every bit on the way down is set and the tree owns
// its root. Fork gives up the root, hence everything, without touching a node;
// the bits that remain inside are never believed again, since whoever writes
// copies the root first, and a copied node owns none of its children.
//
// A write to a shared piece leaves the piece as it is and points into it for
// the rest. The piece stays in memory while a page of it is pointed to, up to
// 1 MiB for a tree's megabyte.
//
// Any number of goroutines may read a tree. A tree that shares nodes with it
// may be written at the same time. Writing a tree, also discarding from it and
// forking one that was written since the last fork, needs that tree alone.
package pages

import "slices"

// The grain of the tree, in bytes.
const (
	PageSize  = 1 << pageShift
	RunSize   = 1 << runShift
	BlockSize = 1 << blockShift
)

const (
	pageShift  = 12
	runShift   = 16
	blockShift = 20
	fanShift   = 6
	runPages   = RunSize / PageSize
	blockRuns  = BlockSize / RunSize
	fan        = 1 << fanShift
)

// A Tree is a sparse array of bytes. The zero Tree is all zero. A copy of the
// struct is not a second tree: use [Tree.Fork].
type Tree struct {
	root  *node // nil where nothing was written
	shift uint8 // one child of the root spans 1<<shift bytes; blockShift or more
	own   bool  // no other tree reaches the root
}

// A node has up to 64 children: nodes in kids, or, in a lowest node, blocks.
type node struct {
	group[[BlockSize]byte, block]
	kids []*node
}

// A span is the block that holds an offset, in one piece or not.
type span = item[[BlockSize]byte, block]

// kid returns child i, or nil.
func (n *node) kid(i uint) *node {
	if !n.has(i) {
		return nil
	}
	return n.kids[rank(n.mask, i)]
}

// clone returns a copy that owns none of its children.
func (n *node) clone() *node { return &node{n.shared(), slices.Clone(n.kids)} }

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

// find returns the block that holds off, and whether it is the tree's alone.
func (t *Tree) find(off int64) (s span, own bool) {
	if !t.covers(off) {
		return span{}, false
	}
	n, own := t.root, t.own
	for shift := t.shift; ; shift -= fanShift {
		i := index(off, shift)
		own = own && n.owns(i)
		if shift == blockShift {
			return n.get(i), own
		}
		if !n.has(i) {
			return span{}, false
		}
		n = n.kids[rank(n.mask, i)]
	}
}

// Read fills p with the bytes from off on.
func (t *Tree) Read(p []byte, off int64) {
	for len(p) > 0 {
		in := int(off & (BlockSize - 1))
		q := p[:min(len(p), BlockSize-in)]
		switch s, _ := t.find(off); {
		case s.whole != nil:
			copy(q, s.whole[in:])
		case s.sub != nil:
			s.sub.read(q, in)
		default:
			clear(q)
		}
		p, off = p[len(q):], off+int64(len(q))
	}
}
