package disk

import (
	"iter"
	"slices"
)

// A SnapshotTree is a store with a history: named snapshots, each below the one
// that the store stood on when it was taken. The store can go back to any of
// them, go on from there, and so grow branches.
//
//	t := disk.NewSnapshotTree(m)
//	t.Take("installed")
//	t.Take("patched")
//	t.Revert("installed")  // what was written since is gone, unless it is in "patched"
//	t.Take("other")        // beside "patched", below "installed"
//	t.Delete("installed")  // both go on; nothing is copied
//
// Over a [Memory] every call takes the same short time at any size and with any
// number of snapshots; other stores need to be a [Snapshotter] and take what
// their snapshots and clones take. Snapshots share what is equal: deleting one
// frees only what no other state has.
//
// The tree itself is the store as it stands now. The rules for calls from
// several goroutines are those of the store inside; the calls that change the
// tree count as writes.
type SnapshotTree struct {
	wrapper
	parent *snapshotNode
	named  map[string]*snapshotNode
	order  []*snapshotNode // in the order in which they were taken, deleted ones among them
}

// A snapshotNode is a snapshot, or what is left of a deleted one: a link from
// those above it to those below.
type snapshotNode struct {
	name   string
	store  Store // nil when deleted
	parent *snapshotNode
}

// NewSnapshotTree returns s as a store with a history, which is empty. From now
// on s is to be used through the tree alone.
func NewSnapshotTree(s Store) *SnapshotTree {
	return &SnapshotTree{wrapper: wrapper{s}, named: make(map[string]*snapshotNode)}
}

// Take takes a snapshot of the store as it stands. A name that is taken is
// [ErrExists].
func (t *SnapshotTree) Take(name string) error {
	if t.named[name] != nil {
		return fail("Take", 0, ErrExists)
	}
	s, err := Snapshot(t.s)
	if err != nil {
		return err
	}
	n := &snapshotNode{name: name, store: s, parent: t.parent.alive()}
	t.parent, t.named[name] = n, n
	t.order = append(t.order, n)
	return nil
}

// Open returns a snapshot. It stays as it is, also when the tree deletes it.
func (t *SnapshotTree) Open(name string) (Store, error) {
	n, err := t.find("Open", name)
	if err != nil {
		return nil, err
	}
	return n.store, nil
}

// Fork returns a writable store with the bytes of a snapshot. It is not part of
// the tree.
func (t *SnapshotTree) Fork(name string) (Store, error) {
	n, err := t.find("Fork", name)
	if err != nil {
		return nil, err
	}
	return Clone(n.store)
}

// Revert makes the store what it was when the snapshot was taken. What was
// written since the last snapshot is gone; the snapshots stay.
func (t *SnapshotTree) Revert(name string) error {
	n, err := t.find("Revert", name)
	if err != nil {
		return err
	}
	s, err := Clone(n.store)
	if err != nil {
		return err
	}
	t.s, t.parent = s, n
	return nil
}

// Delete forgets a snapshot. Those that were taken after it stand on the one
// below it from then on; no bytes of theirs change.
func (t *SnapshotTree) Delete(name string) error {
	n, err := t.find("Delete", name)
	if err != nil {
		return err
	}
	n.store = nil
	delete(t.named, name)
	if len(t.order) > 2*len(t.named)+8 {
		t.order = slices.DeleteFunc(t.order, func(n *snapshotNode) bool { return n.store == nil })
		for _, n := range t.order {
			n.parent = n.parent.alive()
		}
		t.parent = t.parent.alive()
	}
	return nil
}

// Parent returns the name of the snapshot on which the store stands: the one
// that was taken or reverted to last, or, if that is deleted, the one below. It
// is "" if there is none.
func (t *SnapshotTree) Parent() string { return t.parent.alive().title() }

// All yields the name of every snapshot and of the one below it, "" for none, in
// the order in which they were taken.
func (t *SnapshotTree) All() iter.Seq2[string, string] {
	return func(yield func(name, parent string) bool) {
		for _, n := range t.order {
			if n.store != nil && !yield(n.name, n.parent.alive().title()) {
				return
			}
		}
	}
}

// Changed yields the ranges in which the store may differ from a snapshot, as
// [Diff] does.
func (t *SnapshotTree) Changed(since string) (iter.Seq[Extent], error) {
	n, err := t.find("Changed", since)
	if err != nil {
		return nil, err
	}
	return Diff(t.s, n.store)
}

func (t *SnapshotTree) find(op, name string) (*snapshotNode, error) {
	if n := t.named[name]; n != nil {
		return n, nil
	}
	return nil, fail(op, 0, ErrNoSnapshot)
}

// alive returns n, or the nearest below that is not deleted, or nil.
func (n *snapshotNode) alive() *snapshotNode {
	for n != nil && n.store == nil {
		n = n.parent
	}
	return n
}

func (n *snapshotNode) title() string {
	if n == nil {
		return ""
	}
	return n.name
}
