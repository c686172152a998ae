package requester

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Memory is a tree of files in memory, as [Files]. Runs of zeros take no room.
// The zero Memory is empty and ready. It keeps the times and attributes that it is
// told, and names are case-sensitive.
type Memory struct{ root node }

var (
	_ Files         = (*Memory)(nil)
	_ fs.StatFS     = (*Memory)(nil)
	_ fs.ReadDirFS  = (*Memory)(nil)
	_ fs.ReadLinkFS = (*Memory)(nil)
)

// A node is a file, a directory or a link.
type node struct {
	mode   fs.FileMode
	target string           // of a link
	kids   map[string]*node // of a directory
	size   int64            // of a file
	pages  map[int64][]byte // of a file; what is not there is zero, also at a page's end

	created, modified time.Time
	attributes        uint32
}

const pageSize = 1 << 16

// node finds a node, or returns nil. Links are not followed.
func (m *Memory) node(name string) *node {
	m.root.mode = fs.ModeDir | 0o777
	n := &m.root
	if name == "." {
		return n
	}
	for elem := range strings.SplitSeq(name, "/") {
		if n = n.kids[elem]; n == nil {
			return nil
		}
	}
	return n
}

// put adds a node below a directory that exists.
func (m *Memory) put(op, name string, n *node) error {
	if !fs.ValidPath(name) || name == "." {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	parent := m.node(path.Dir(name))
	if parent == nil || !parent.mode.IsDir() {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	if parent.kids == nil {
		parent.kids = make(map[string]*node)
	}
	parent.kids[path.Base(name)] = n
	return nil
}

// take removes a node that exists from its directory.
func (m *Memory) take(name string) { delete(m.node(path.Dir(name)).kids, path.Base(name)) }

// Create makes an empty file or empties the one that is there.
func (m *Memory) Create(name string) (io.WriteCloser, error) {
	if n := m.node(name); n != nil && !n.mode.IsRegular() {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	n := &node{mode: 0o666, pages: make(map[int64][]byte)}
	if err := m.put("create", name, n); err != nil {
		return nil, err
	}
	return &memoryWriter{n: n}, nil
}

// Mkdir makes a directory.
func (m *Memory) Mkdir(name string) error {
	if m.node(name) != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	return m.put("mkdir", name, &node{mode: fs.ModeDir | 0o777})
}

// Symlink makes a symbolic link. Nothing here follows it.
func (m *Memory) Symlink(target, link string) error {
	if m.node(link) != nil {
		return &fs.PathError{Op: "symlink", Path: link, Err: fs.ErrExist}
	}
	return m.put("symlink", link, &node{mode: fs.ModeSymlink | 0o777, target: target})
}

// Remove removes a file, a link or an empty directory.
func (m *Memory) Remove(name string) error {
	n := m.node(name)
	switch {
	case n == nil:
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	case name == "." || len(n.kids) > 0:
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrInvalid}
	}
	m.take(name)
	return nil
}

// Rename gives a file, a link or a directory with all below it another name,
// which must be free.
func (m *Memory) Rename(old, new string) error {
	n := m.node(old)
	switch {
	case n == nil:
		return &fs.PathError{Op: "rename", Path: old, Err: fs.ErrNotExist}
	case m.node(new) != nil:
		return &fs.PathError{Op: "rename", Path: new, Err: fs.ErrExist}
	case old == "." || strings.HasPrefix(new, old+"/"):
		return &fs.PathError{Op: "rename", Path: new, Err: fs.ErrInvalid}
	}
	if err := m.put("rename", new, n); err != nil {
		return err
	}
	m.take(old)
	return nil
}

// SetMetadata gives a file or directory times and attributes, with the numbers of
// Windows. A zero time is left as it stands.
func (m *Memory) SetMetadata(name string, created, modified time.Time, attributes uint32) error {
	n := m.node(name)
	if n == nil {
		return &fs.PathError{Op: "setmetadata", Path: name, Err: fs.ErrNotExist}
	}
	if !created.IsZero() {
		n.created = created
	}
	if !modified.IsZero() {
		n.modified = modified
	}
	n.attributes = attributes
	return nil
}

func (n *node) entries() []fs.DirEntry {
	list := make([]fs.DirEntry, 0, len(n.kids))
	for _, name := range slices.Sorted(maps.Keys(n.kids)) {
		list = append(list, fs.FileInfoToDirEntry(memoryInfo{name, n.kids[name]}))
	}
	return list
}

// Open opens a file or directory for reading.
func (m *Memory) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	n := m.node(name)
	if n == nil || n.mode&fs.ModeSymlink != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	info := memoryInfo{path.Base(name), n}
	if n.mode.IsDir() {
		return &memoryDir{info: info}, nil
	}
	return &memoryFile{io.NewSectionReader(n, 0, n.size), info, n.size}, nil
}

// Stat describes a file or directory.
func (m *Memory) Stat(name string) (fs.FileInfo, error) {
	n := m.node(name)
	if n == nil || n.mode&fs.ModeSymlink != 0 || !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return memoryInfo{path.Base(name), n}, nil
}

// ReadDir lists a directory.
func (m *Memory) ReadDir(name string) ([]fs.DirEntry, error) {
	n := m.node(name)
	switch {
	case n == nil || !fs.ValidPath(name):
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	case !n.mode.IsDir():
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	return n.entries(), nil
}

// ReadLink returns the target of a link.
func (m *Memory) ReadLink(name string) (string, error) {
	n := m.node(name)
	if n == nil || n.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.target, nil
}

// Lstat describes a file, a directory or a link.
func (m *Memory) Lstat(name string) (fs.FileInfo, error) {
	n := m.node(name)
	if n == nil || !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
	}
	return memoryInfo{path.Base(name), n}, nil
}

// ReadAt reads from a file's pages.
func (n *node) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) && off < n.size {
		in := off % pageSize
		part := p[done:min(int64(len(p)), int64(done)+min(pageSize-in, n.size-off))]
		page := n.pages[off/pageSize]
		clear(part[copy(part, page[min(in, int64(len(page))):]):])
		done += len(part)
		off += int64(len(part))
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

func (n *node) writeAt(p []byte, off int64) {
	if len(p) == 0 {
		return // which makes nothing longer
	}
	for len(p) > 0 {
		in := off % pageSize
		part := p[:min(int64(len(p)), pageSize-in)]
		page, end := n.pages[off/pageSize], in+int64(len(part))
		if end > int64(len(page)) && !zero(part) {
			page = append(page, make([]byte, end-int64(len(page)))...)
			n.pages[off/pageSize] = page
		}
		if in < int64(len(page)) {
			copy(page[in:], part)
		}
		p, off = p[len(part):], off+int64(len(part))
	}
	n.size = max(n.size, off)
}

func zero(p []byte) bool {
	for len(p) > 0 {
		k := min(len(p), len(zeros))
		if !bytes.Equal(p[:k], zeros[:k]) {
			return false
		}
		p = p[k:]
	}
	return true
}

var zeros [4096]byte

// A memoryWriter writes a file. It can leave holes, as an operating system's
// file can, so that a sparse source is copied as one.
type memoryWriter struct {
	n   *node
	pos int64
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.n.writeAt(p, w.pos)
	w.pos += int64(len(p))
	return len(p), nil
}

func (w *memoryWriter) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += w.pos
	case io.SeekEnd:
		offset += w.n.size
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	w.pos = offset
	return offset, nil
}

// Truncate changes the size.
func (w *memoryWriter) Truncate(size int64) error {
	if size < 0 {
		return fs.ErrInvalid
	}
	for at := range w.n.pages {
		if at*pageSize >= size {
			delete(w.n.pages, at)
		}
	}
	if page := w.n.pages[size/pageSize]; int64(len(page)) > size%pageSize {
		clear(page[size%pageSize:])
	}
	w.n.size = size
	return nil
}

func (w *memoryWriter) Close() error { return nil }

// A memoryFile reads a file.
type memoryFile struct {
	*io.SectionReader
	info memoryInfo
	size int64 // when it was opened
}

// WriteTo writes the rest of the file to w. When w can be positioned and sized,
// and stands at its end, pages that are not there are skipped, so that a sparse
// file stays one.
func (f *memoryFile) WriteTo(w io.Writer) (int64, error) {
	to, ok := w.(io.WriteSeeker)
	resize := resizer(w)
	if !ok || resize == nil || !atEnd(to) {
		return io.Copy(w, f.SectionReader)
	}
	base, err := to.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	begin, _ := f.Seek(0, io.SeekCurrent)
	n := f.info.n
	for _, at := range slices.Sorted(maps.Keys(n.pages)) {
		from, end := max(at*pageSize, begin), min(at*pageSize+int64(len(n.pages[at])), f.size)
		if from >= end {
			continue
		}
		if _, err := to.Seek(base+from-begin, io.SeekStart); err != nil {
			return 0, err
		}
		if _, err := to.Write(n.pages[at][from-at*pageSize : end-at*pageSize]); err != nil {
			return 0, err
		}
	}
	_, _ = f.Seek(0, io.SeekEnd)
	return f.size - begin, resize(base + f.size - begin)
}

// resizer finds the method that makes what is written to longer or shorter.
func resizer(w io.Writer) func(int64) error {
	switch w := w.(type) {
	case interface{ Truncate(int64) error }:
		return w.Truncate
	case interface{ Resize(int64) error }:
		return w.Resize
	}
	return nil
}

func atEnd(s io.Seeker) bool {
	at, err := s.Seek(0, io.SeekCurrent)
	end, err2 := s.Seek(0, io.SeekEnd)
	return err == nil && err2 == nil && at == end
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *memoryFile) Close() error               { return nil }

// A memoryDir lists a directory as it was when it was first asked to.
type memoryDir struct {
	info    memoryInfo
	listed  bool
	entries []fs.DirEntry
}

func (d *memoryDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *memoryDir) Close() error               { return nil }

func (d *memoryDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: fs.ErrInvalid}
}

func (d *memoryDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.listed {
		d.listed, d.entries = true, d.info.n.entries()
	}
	if n <= 0 {
		n = len(d.entries)
	} else if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	list := d.entries[:n]
	d.entries = d.entries[n:]
	return list, nil
}

type memoryInfo struct {
	name string
	n    *node
}

func (i memoryInfo) Name() string { return i.name }
func (i memoryInfo) Size() int64  { return i.n.size }
func (i memoryInfo) Mode() fs.FileMode {
	if i.n.attributes&attributeReadOnly != 0 {
		return i.n.mode &^ 0o222
	}
	return i.n.mode
}
func (i memoryInfo) ModTime() time.Time     { return i.n.modified }
func (i memoryInfo) Created() time.Time     { return i.n.created }
func (i memoryInfo) FileAttributes() uint32 { return i.n.attributes }
func (i memoryInfo) IsDir() bool            { return i.n.mode.IsDir() }
func (i memoryInfo) Sys() any               { return nil }
