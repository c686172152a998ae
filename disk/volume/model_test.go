package volume_test

import (
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/disk/volume"
)

const clusterSize = 4096

// A node is a file of the model: everything is a plain copy.
type node struct {
	id       int
	name     string
	kind     byte // 'f', 'd' or 'l'
	parent   *node
	kids     map[string]*node // by folded name
	target   string
	readOnly bool
	quota    int // bytes that may be allocated below; 0 is none
	data     []byte
	clusters map[int]bool // allocated
	writers  int
}

// A model is a volume that is obviously right: a shadow copy is a deep copy.
type model struct {
	root     *node
	capacity int
	sealed   bool
	nextID   *int
}

func newModel(capacity int) *model {
	return &model{root: &node{kind: 'd', kids: map[string]*node{}}, capacity: capacity, nextID: new(int)}
}

func (m *model) clone() *model {
	c := *m
	c.root = m.root.clone(nil)
	return &c
}

func (n *node) clone(parent *node) *node {
	c := *n
	c.parent, c.writers, c.data, c.clusters, c.kids = parent, 0, slices.Clone(n.data), map[int]bool{}, nil
	for i := range n.clusters {
		c.clusters[i] = true
	}
	if n.kind == 'd' {
		c.kids = map[string]*node{}
	}
	for key, kid := range n.kids {
		c.kids[key] = kid.clone(&c)
	}
	return &c
}

// each visits a node and all below it.
func (n *node) each(visit func(*node)) {
	visit(n)
	for _, kid := range n.kids {
		kid.each(visit)
	}
}

func (n *node) below(dir *node) bool {
	for ; n != nil; n = n.parent {
		if n == dir {
			return true
		}
	}
	return false
}

func (m *model) free() int {
	used := 0
	m.root.each(func(n *node) { used += len(n.clusters) * clusterSize })
	return max(m.capacity-used, 0)
}

// lacks tells whether so many more clusters do not fit below a directory.
func (m *model) lacks(dir *node, clusters int) bool {
	return clusters > 0 && clusters*clusterSize > min(m.free(), dir.allowance())
}

// used is what is allocated below a node.
func (n *node) used() (bytes int) {
	n.each(func(x *node) { bytes += len(x.clusters) * clusterSize })
	return bytes
}

// allowance is what the quotas of a node and those above leave.
func (n *node) allowance() int {
	left := 1 << 30
	for ; n != nil; n = n.parent {
		if n.quota > 0 {
			left = min(left, n.quota-n.used())
		}
	}
	return left
}

func elements(path string) []string {
	var out []string
	for _, e := range strings.FieldsFunc(path, func(r rune) bool { return r == '\\' || r == '/' }) {
		if e == ".." {
			out = out[:max(len(out)-1, 0)]
		} else {
			out = append(out, e)
		}
	}
	return out
}

func (n *node) path() []string {
	if n.parent == nil {
		return nil
	}
	return append(n.parent.path(), n.name)
}

// lookup finds a path: its directory, its last element, and the node, if any.
func (m *model) lookup(path []string, follow bool, hops *int) (dir *node, name string, n *node, code volume.Code) {
	if len(path) == 0 {
		return nil, "", m.root, 0
	}
	last := path[len(path)-1]
	_, _, dir, code = m.lookup(path[:len(path)-1], true, hops)
	if code != 0 {
		return nil, "", nil, code
	}
	if dir == nil || dir.kind != 'd' {
		return nil, "", nil, volume.ErrPathNotFound
	}
	n = dir.kids[volume.Fold(last)]
	if n == nil || n.kind != 'l' || !follow {
		return dir, last, n, 0
	}
	if *hops++; *hops > 63 {
		return nil, "", nil, volume.ErrCantResolveName
	}
	if strings.HasPrefix(n.target, `\`) {
		return m.lookup(elements(n.target), true, hops)
	}
	return m.lookup(elements(strings.Join(dir.path(), `\`)+`\`+n.target), true, hops)
}

func (m *model) at(path string, follow bool) (dir *node, name string, n *node, code volume.Code) {
	return m.lookup(elements(path), follow, new(int))
}

func (m *model) add(dir *node, name string, kind byte) *node {
	*m.nextID++
	n := &node{id: *m.nextID, name: name, kind: kind, parent: dir, clusters: map[int]bool{}}
	if kind == 'd' {
		n.kids = map[string]*node{}
	}
	dir.kids[volume.Fold(name)] = n
	return n
}

func (n *node) unlink() { delete(n.parent.kids, volume.Fold(n.name)) }

func (m *model) mkdir(path string) volume.Code {
	dir, name, n, code := m.at(path, false)
	if code == 0 && n != nil {
		code = volume.ErrAlreadyExists
	}
	if code == 0 {
		m.add(dir, name, 'd')
	}
	return code
}

func (m *model) symlink(target, path string) volume.Code {
	dir, name, n, code := m.at(path, false)
	if code == 0 && n != nil {
		code = volume.ErrAlreadyExists
	}
	if code == 0 {
		m.add(dir, name, 'l').target = target
	}
	return code
}

// open finds or makes a file to be written; exclusive openings count.
func (m *model) open(path string, mode volume.Access) (*node, volume.Code) {
	dir, name, n, code := m.at(path, true)
	switch {
	case code != 0:
		return nil, code
	case n == nil && mode&(volume.OpenAlways|volume.CreateNew) == 0:
		return nil, volume.ErrFileNotFound
	case n == nil:
		return m.add(dir, name, 'f'), 0
	case mode&volume.CreateNew != 0:
		return nil, volume.ErrFileExists
	case n.kind != 'f' || n.readOnly && mode&volume.Write != 0:
		return nil, volume.ErrAccessDenied
	case n.writers > 0 && mode&volume.Write != 0:
		return nil, volume.ErrSharingViolation
	}
	if mode&volume.Truncate != 0 {
		n.resize(0)
	}
	return n, 0
}

// set replaces a file by one of these bytes and clusters.
func (m *model) set(path string, data []byte, clusters map[int]bool) volume.Code {
	dir, name, n, code := m.at(path, true)
	if code != 0 {
		return code
	}
	had := 0
	if n != nil {
		dir, had = n.parent, len(n.clusters)
		if _, code := m.open(path, volume.Write); code != 0 {
			return code
		}
	}
	if m.lacks(dir, len(clusters)-had) {
		return volume.ErrDiskFull
	}
	if n == nil {
		n = m.add(dir, name, 'f')
	}
	n.data, n.clusters = slices.Clone(data), clusters
	return 0
}

func clustersOf(off, size int) map[int]bool {
	out := map[int]bool{}
	for i := off / clusterSize; size > 0 && i*clusterSize < off+size; i++ {
		out[i] = true
	}
	return out
}

func (m *model) write(n *node, off int, data []byte) volume.Code {
	more := 0
	for i := range clustersOf(off, len(data)) {
		if !n.clusters[i] {
			more++
		}
	}
	if m.lacks(n.parent, more) {
		return volume.ErrDiskFull
	}
	if len(data) > 0 && off+len(data) > len(n.data) {
		n.resize(off + len(data))
	}
	copy(n.data[min(off, len(n.data)):], data)
	for i := range clustersOf(off, len(data)) {
		n.clusters[i] = true
	}
	return 0
}

func (n *node) resize(size int) {
	n.data = append(slices.Clone(n.data[:min(size, len(n.data))]), make([]byte, max(size-len(n.data), 0))...)
	for i := range n.clusters {
		if i*clusterSize >= size {
			delete(n.clusters, i)
		}
	}
}

func (n *node) discard(off, size int) {
	clear(n.data[off : off+size])
	for i := range n.clusters {
		if off <= i*clusterSize && (i+1)*clusterSize <= off+size {
			delete(n.clusters, i)
		}
	}
}

// removable tells why a tree cannot be removed. Several reasons may hold; the
// test takes any of them.
func (n *node) removable() (reasons []volume.Code) {
	n.each(func(x *node) {
		if x.readOnly {
			reasons = append(reasons, volume.ErrAccessDenied)
		}
		if x.writers > 0 {
			reasons = append(reasons, volume.ErrSharingViolation)
		}
	})
	return reasons
}

func (m *model) remove(path string, all bool) []volume.Code {
	_, _, n, code := m.at(path, false)
	switch {
	case code == volume.ErrPathNotFound && all || code == 0 && n == nil && all:
		return nil
	case code != 0:
		return []volume.Code{code}
	case n == nil:
		return []volume.Code{volume.ErrFileNotFound}
	case n == m.root:
		return []volume.Code{volume.ErrAccessDenied}
	case len(n.kids) > 0 && !all:
		return []volume.Code{volume.ErrDirNotEmpty}
	}
	reasons := n.removable()
	if reasons == nil {
		n.unlink()
	}
	return reasons
}

func (m *model) rename(old, new string) []volume.Code {
	_, _, n, code := m.at(old, false)
	if code == 0 && n == nil {
		code = volume.ErrFileNotFound
	}
	if code != 0 {
		return []volume.Code{code}
	}
	dir, name, over, code := m.at(new, false)
	if code != 0 {
		return []volume.Code{code}
	}
	var reasons []volume.Code
	if n == m.root || over == m.root {
		return []volume.Code{volume.ErrAccessDenied}
	}
	if n.writers > 0 {
		reasons = append(reasons, volume.ErrSharingViolation)
	}
	n.each(func(x *node) {
		if x != n && x.writers > 0 {
			reasons = append(reasons, volume.ErrAccessDenied)
		}
	})
	if dir.below(n) {
		reasons = append(reasons, volume.ErrInvalidParameter)
	}
	if over != nil && over != n {
		if n.kind == 'd' || over.kind == 'd' {
			reasons = append(reasons, volume.ErrAlreadyExists)
		} else {
			reasons = append(reasons, over.removable()...)
		}
	}
	more := n.used()
	if over != nil && over != n {
		more -= over.used()
	}
	for d := dir; d != nil; d = d.parent {
		if d.quota > 0 && !n.below(d) && more > 0 && more > d.quota-d.used() {
			reasons = append(reasons, volume.ErrDiskFull)
		}
	}
	if reasons == nil {
		n.unlink()
		n.name, n.parent = name, dir
		dir.kids[volume.Fold(name)] = n
	}
	return reasons
}

// differs counts the clusters of a shadow copy that have other bytes in the next
// state: what a diff area has to hold at the least.
func (m *model) differs(next *model) (clusters int) {
	byID := map[int]*node{}
	next.root.each(func(n *node) { byID[n.id] = n })
	m.root.each(func(n *node) {
		other := byID[n.id]
		for i := range n.clusters {
			if other == nil || n.cluster(i) != other.cluster(i) {
				clusters++
			}
		}
	})
	return clusters
}

// cluster returns the bytes of a cluster, zero behind the end of the file.
func (n *node) cluster(i int) (c [clusterSize]byte) {
	copy(c[:], n.data[min(i*clusterSize, len(n.data)):])
	return c
}
