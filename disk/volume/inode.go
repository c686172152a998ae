package volume

import "github.com/shadowsim/shadowsim/disk"

// A kind is what an inode is.
type kind uint8

const (
	isFile kind = iota
	isDir
	isLink
)

// An inode is a file, a directory or a symbolic link. It belongs to the volume
// whose epoch it bears; another copies it before changing it. There are no hard
// links, so it has one name and one parent.
type inode struct {
	epoch    epoch
	kind     kind
	linkDir  bool       // of a link: it was made for a directory
	attrs    Attributes // those that can be set
	parent   inodeID
	name     string
	created  ticks
	modified ticks
	security *string // its own security descriptor, or nil; never changed in place

	dir   dirTree // of a directory
	quota int64   // of a directory: what may be allocated below it; 0 is no quota
	below int64   // of one with a quota: what is

	target string // of a link, in Windows form

	// The bytes of a file. Under another epoch than dataEpoch they are shared
	// with a shadow copy, and are forked before they are written.
	data      *disk.Memory
	dataEpoch epoch
	allocated int64
	streams   []stream // of a file; never changed in place
}

// attributes adds what the kind implies.
func (n *inode) attributes() Attributes {
	switch {
	case n.kind == isDir:
		return n.attrs | Directory
	case n.kind == isLink && n.linkDir:
		return n.attrs | Directory | ReparsePoint
	case n.kind == isLink:
		return n.attrs | ReparsePoint
	}
	return n.attrs
}

// own returns an inode for changing; it must exist.
func (v *Volume) own(id inodeID) *inode {
	n := v.files.get(id)
	if n.epoch == v.epoch {
		return n
	}
	c := *n
	c.epoch = v.epoch
	v.files.put(v.epoch, id, &c)
	return &c
}

// ownData returns a file's inode for changing its bytes.
func (v *Volume) ownData(id inodeID) *inode {
	n := v.own(id)
	if n.dataEpoch != v.epoch {
		n.data, n.dataEpoch = n.data.Fork(), v.epoch
	}
	return n
}

// add makes a new inode at a place and notes it there.
func (v *Volume) add(p *place, k kind) *inode {
	now := v.now()
	n := &inode{
		epoch: v.epoch, kind: k, parent: p.dir, name: p.name,
		created: now, modified: now, dataEpoch: v.epoch,
	}
	if k == isFile {
		n.data, n.attrs = disk.NewMemory(0), Archive
	}
	p.id = v.newInode()
	v.files.put(v.epoch, p.id, n)
	v.enter(p.dir, entry{p.name, p.id})
	return n
}

// enter puts a name into a directory.
func (v *Volume) enter(dir inodeID, x entry) {
	d := v.own(dir)
	d.dir.put(v.epoch, x)
	d.modified = v.now()
}

// leave takes a name out of a directory.
func (v *Volume) leave(dir inodeID, name string) {
	d := v.own(dir)
	d.dir.delete(v.epoch, name)
	d.modified = v.now()
}

// drop forgets an inode that has no name any more, all below it, and whoever has
// its streams open.
func (v *Volume) drop(id inodeID) {
	n := v.files.get(id)
	v.forget(id)
	n.dir.all(func(x entry) bool {
		v.drop(x.id)
		return true
	})
	for _, s := range n.streams {
		v.drop(s.id)
	}
	delete(v.writers, id)
	v.used -= n.allocated
	v.bill(n.parent, -n.allocated)
	if n.quota > 0 {
		v.quotas--
	}
	v.files.put(v.epoch, id, nil)
}

// within tells whether an inode is a directory or stands below it.
func (v *Volume) within(id, dir inodeID) bool {
	for id != dir && id != rootID {
		id = v.files.get(id).parent
	}
	return id == dir
}

// info describes an inode under the name by which it was reached.
func (v *Volume) info(id inodeID, name string) *Info {
	i := v.describe(id, name)
	return &i
}

func (v *Volume) describe(id inodeID, name string) Info {
	n := v.files.get(id)
	i := Info{
		name: name, volume: v.id, id: id, attrs: n.attributes(),
		allocated: n.allocated, created: n.created, modified: n.modified, security: n.security,
	}
	if n.kind == isFile {
		i.size = n.data.Size()
	}
	return i
}
