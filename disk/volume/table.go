package volume

import "math/bits"

// An epoch says who may change a node in place: the volume whose epoch the node
// bears. A shadow copy gives the volume a new epoch and keeps the old root, so
// that whatever was there before belongs to nobody and is copied when written.
type epoch uint64

// An inodeID is the number of a file, never used twice within a volume. 0 is none.
type inodeID uint64

// The inode table is a persistent trie over the bits of the number, so that
// tables of two shadow copies have the same shape and can be compared by skipping
// what they share.
const (
	tableBits  = 5
	tableWidth = 1 << tableBits
)

// A table maps numbers to inodes. Its zero value is empty; a copy of it is a
// snapshot, provided that both sides write under epochs that are new to them.
type table struct {
	root  *tableNode
	depth int // levels below the root
}

// A tableNode has either children or inodes.
type tableNode struct {
	epoch  epoch
	used   uint32 // bit i: slot i is filled
	kids   *[tableWidth]*tableNode
	inodes *[tableWidth]*inode
}

// get finds an inode; nil when there is none.
func (t *table) get(id inodeID) *inode {
	n := t.root
	if n == nil || !t.holds(id) {
		return nil
	}
	for level := t.depth; level > 0; level-- {
		if n = n.kids[slot(id, level)]; n == nil {
			return nil
		}
	}
	return n.inodes[slot(id, 0)]
}

// put stores an inode; nil removes it.
func (t *table) put(e epoch, id inodeID, n *inode) {
	for t.root != nil && !t.holds(id) {
		if t.root.used != 0 {
			root := newTableNode(e, false)
			root.set(0, t.root)
			t.root = root
			t.depth++
		} else {
			t.root, t.depth = nil, 0
		}
	}
	if t.root == nil {
		t.depth = levelOf(id)
		t.root = newTableNode(e, t.depth == 0)
	}
	t.root = t.root.put(e, id, t.depth, n)
}

// holds tells whether the number is within the trie's reach.
func (t *table) holds(id inodeID) bool { return levelOf(id) <= t.depth }

// levelOf is the level at which the root must stand to reach a number.
func levelOf(id inodeID) int { return max(bits.Len64(uint64(id))-1, 0) / tableBits }

// slot is the place of a number in a node of the given level.
func slot(id inodeID, level int) int { return int(id>>(level*tableBits)) & (tableWidth - 1) }

func newTableNode(e epoch, leaf bool) *tableNode {
	if leaf {
		return &tableNode{epoch: e, inodes: new([tableWidth]*inode)}
	}
	return &tableNode{epoch: e, kids: new([tableWidth]*tableNode)}
}

// put stores an inode below n and returns the node that stands in n's place.
func (n *tableNode) put(e epoch, id inodeID, level int, x *inode) *tableNode {
	n = n.own(e)
	i := slot(id, level)
	if level == 0 {
		n.inodes[i] = x
		n.mark(i, x != nil)
		return n
	}
	kid := n.kids[i]
	if kid == nil {
		kid = newTableNode(e, level == 1)
	}
	kid = kid.put(e, id, level-1, x)
	if kid.used == 0 {
		kid = nil
	}
	n.set(i, kid)
	return n
}

// own returns n itself when it belongs to e, or a copy that does.
func (n *tableNode) own(e epoch) *tableNode {
	if n.epoch == e {
		return n
	}
	c := newTableNode(e, n.inodes != nil)
	c.used = n.used
	if n.inodes != nil {
		*c.inodes = *n.inodes
	} else {
		*c.kids = *n.kids
	}
	return c
}

func (n *tableNode) set(i int, kid *tableNode) {
	n.kids[i] = kid
	n.mark(i, kid != nil)
}

func (n *tableNode) mark(i int, filled bool) {
	n.used &^= 1 << i
	if filled {
		n.used |= 1 << i
	}
}

// changes visits, in order of their numbers, the inodes that are not the same in
// both tables; the one that is missing on a side is nil. It skips whatever the
// tables share, so it takes time in what was changed.
func changes(old, now table, visit func(was, is *inode)) {
	depth := max(old.depth, now.depth)
	changedNodes(old.lift(depth), now.lift(depth), depth, visit)
}

// lift is the root as a trie of the given depth has it.
func (t *table) lift(depth int) *tableNode {
	n := t.root
	for d := t.depth; n != nil && d < depth; d++ {
		up := newTableNode(0, false)
		up.set(0, n)
		n = up
	}
	return n
}

func changedNodes(a, b *tableNode, level int, visit func(was, is *inode)) {
	if a == b {
		return
	}
	for i := range tableWidth {
		if level > 0 {
			changedNodes(a.kid(i), b.kid(i), level-1, visit)
		} else if x, y := a.inode(i), b.inode(i); x != y {
			visit(x, y)
		}
	}
}

func (n *tableNode) kid(i int) *tableNode {
	if n == nil {
		return nil
	}
	return n.kids[i]
}

func (n *tableNode) inode(i int) *inode {
	if n == nil {
		return nil
	}
	return n.inodes[i]
}
