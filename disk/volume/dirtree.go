package volume

import "slices"

// A dirTree holds the entries of one directory in the order of their folded
// names: a persistent B+ tree. Nodes are copied when written under another epoch
// than their own, as those of the inode table. Nodes that run empty are removed;
// nodes that run low are left, which keeps removal simple and costs no more than
// a level.
type dirTree struct {
	root *dirNode
	len  int
}

// An entry is a name in a directory, in the case it was given.
type entry struct {
	name string
	id   inodeID
}

// A dirNode has either entries or kids. low[i] is at most the least name below
// kids[i] and above every name below kids[i-1].
type dirNode struct {
	epoch   epoch
	entries []entry
	low     []string
	kids    []*dirNode
}

const dirWidth = 32

// get finds a name, in whatever case.
func (t *dirTree) get(name string) (entry, bool) {
	n := t.root
	if n == nil {
		return entry{}, false
	}
	for n.kids != nil {
		n = n.kids[n.kidFor(name)]
	}
	i, found := n.find(name)
	if !found {
		return entry{}, false
	}
	return n.entries[i], true
}

// put adds an entry or replaces the one of the same folded name.
func (t *dirTree) put(e epoch, x entry) {
	if t.root == nil {
		t.root = &dirNode{epoch: e}
	}
	root, right, added := t.root.put(e, x)
	if right != nil {
		root = &dirNode{epoch: e, low: []string{"", right.least()}, kids: []*dirNode{root, right}}
	}
	t.root = root
	if added {
		t.len++
	}
}

// delete removes a name, if it is there.
func (t *dirTree) delete(e epoch, name string) {
	if _, found := t.get(name); !found {
		return
	}
	t.len--
	t.root = t.root.delete(e, name)
	for t.root != nil && len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
}

// all visits the entries in order until visit returns false.
func (t *dirTree) all(visit func(entry) bool) {
	if t.root != nil {
		t.root.all(visit)
	}
}

func (n *dirNode) all(visit func(entry) bool) bool {
	for _, x := range n.entries {
		if !visit(x) {
			return false
		}
	}
	for _, k := range n.kids {
		if !k.all(visit) {
			return false
		}
	}
	return true
}

// put returns the node in n's place, the node to its right when n had to be
// split, and whether the name is new.
func (n *dirNode) put(e epoch, x entry) (left, right *dirNode, added bool) {
	n = n.own(e)
	if n.kids == nil {
		i, found := n.find(x.name)
		if found {
			n.entries[i] = x
			return n, nil, false
		}
		n.entries = slices.Insert(n.entries, i, x)
		return n, n.split(e, i), true
	}
	i := n.kidFor(x.name)
	kid, right, added := n.kids[i].put(e, x)
	n.kids[i] = kid
	if right != nil {
		n.kids = slices.Insert(n.kids, i+1, right)
		n.low = slices.Insert(n.low, i+1, right.least())
	}
	return n, n.split(e, i+1), added
}

// split cuts the upper half off a node that has become too wide by an insertion
// at the given place. Names often come in order, so a node that overflows at its
// end stays full.
func (n *dirNode) split(e epoch, at int) *dirNode {
	if len(n.entries) <= dirWidth && len(n.kids) <= dirWidth {
		return nil
	}
	if at < dirWidth {
		at = dirWidth / 2
	}
	right := &dirNode{epoch: e}
	n.entries, right.entries = cut(n.entries, at)
	n.kids, right.kids = cut(n.kids, at)
	n.low, right.low = cut(n.low, at)
	return right
}

// cut divides a slice in two that share nothing.
func cut[T any](s []T, at int) (left, right []T) {
	if s == nil {
		return nil, nil
	}
	right = append(make([]T, 0, dirWidth+1), s[at:]...)
	clear(s[at:])
	return s[:at], right
}

// delete returns the node in n's place, nil when it ran empty. The name is there.
func (n *dirNode) delete(e epoch, name string) *dirNode {
	n = n.own(e)
	if n.kids == nil {
		i, _ := n.find(name)
		n.entries = slices.Delete(n.entries, i, i+1)
		if len(n.entries) == 0 {
			return nil
		}
		return n
	}
	i := n.kidFor(name)
	if kid := n.kids[i].delete(e, name); kid != nil {
		n.kids[i] = kid
		return n
	}
	n.kids = slices.Delete(n.kids, i, i+1)
	n.low = slices.Delete(n.low, i, i+1)
	if len(n.kids) == 0 {
		return nil
	}
	return n
}

// own returns n itself when it belongs to e, or a copy that does.
func (n *dirNode) own(e epoch) *dirNode {
	if n.epoch == e {
		return n
	}
	return &dirNode{
		epoch:   e,
		entries: slices.Clone(n.entries),
		low:     slices.Clone(n.low),
		kids:    slices.Clone(n.kids),
	}
}

// find is the place of a name among the entries of a leaf.
func (n *dirNode) find(name string) (int, bool) {
	return slices.BinarySearchFunc(n.entries, name, func(x entry, name string) int {
		return compareFold(x.name, name)
	})
}

// kidFor is the kid below which a name stands or would stand.
func (n *dirNode) kidFor(name string) int {
	i, found := slices.BinarySearchFunc(n.low[1:], name, compareFold)
	if found {
		i++
	}
	return i
}

// least is a name no greater than any below n.
func (n *dirNode) least() string {
	if n.kids != nil {
		return n.low[0]
	}
	return n.entries[0].name
}
