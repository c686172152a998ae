package volume

import (
	"io/fs"
	"slices"
	"strings"
)

// Stat describes a file, a directory, or what a link leads to.
func (v *Volume) Stat(path string) (*Info, error) { return v.statPath("Stat", path, true) }

// Lstat describes a file, a directory, or a link itself.
func (v *Volume) Lstat(path string) (*Info, error) { return v.statPath("Lstat", path, false) }

// Describe is Stat for one who asks often: what it returns is nobody else's.
func (v *Volume) Describe(path string) (info Info, err error) {
	err = v.do("Stat", path, false, func(elems []string) error {
		p, err := v.find(elems, true)
		if err == nil {
			info = v.describe(p.id, p.shown())
		}
		return err
	})
	return info, err
}

func (v *Volume) statPath(op, path string, follow bool) (info *Info, err error) {
	err = v.do(op, path, false, func(elems []string) error {
		info, err = v.stat(elems, follow)
		return err
	})
	return info, err
}

func (v *Volume) stat(elems []string, follow bool) (*Info, error) {
	p, err := v.find(elems, follow)
	if err != nil {
		return nil, err
	}
	return v.info(p.id, p.shown()), nil
}

// Resolve follows the links on the way to a path, and one at its end, and returns
// the path of the place itself, with the letters it has in the directories. The
// last element may be missing.
func (v *Volume) Resolve(path string) (resolved string, err error) {
	err = v.do("Resolve", path, false, func(elems []string) error {
		p, err := v.walk(elems, true)
		if err == nil {
			resolved = v.pathOf(p)
		}
		return err
	})
	return resolved, err
}

// pathOf is the path of a place from the root.
func (v *Volume) pathOf(p place) string {
	if p.id == rootID {
		return `\`
	}
	path := `\` + p.name
	for id := p.dir; id != rootID; {
		n := v.files.get(id)
		path, id = `\`+n.name+path, n.parent
	}
	return path
}

// ReadDir lists a directory in the order in which NTFS lists it: by the upper
// case of the names.
func (v *Volume) ReadDir(path string) (list []*Info, err error) {
	err = v.do("ReadDir", path, false, func(elems []string) error {
		list, err = v.readDir(elems)
		return err
	})
	return list, err
}

func (v *Volume) readDir(elems []string) ([]*Info, error) {
	p, err := v.find(elems, true)
	if err != nil {
		return nil, err
	}
	return v.list(p.id)
}

// named describes the entry of a directory that has a name, or is nil.
func (v *Volume) named(elems []string, name string) (*Info, error) {
	p, err := v.find(elems, true)
	if err != nil {
		return nil, err
	}
	n, err := v.directory(p.id)
	if err != nil {
		return nil, err
	}
	x, ok := n.dir.get(name)
	if !ok {
		return nil, nil
	}
	return v.info(x.id, x.name), nil
}

// directory is a directory, if it is one and still there.
func (v *Volume) directory(id inodeID) (*inode, error) {
	n := v.files.get(id)
	if n == nil {
		return nil, ErrPathNotFound
	}
	if n.kind != isDir {
		return nil, ErrDirectory
	}
	return n, nil
}

// list describes the entries of a directory.
func (v *Volume) list(id inodeID) ([]*Info, error) {
	n, err := v.directory(id)
	if err != nil {
		return nil, err
	}
	list, infos := make([]*Info, 0, n.dir.len), make([]Info, n.dir.len)
	n.dir.all(func(x entry) bool {
		i := &infos[len(list)]
		*i = v.describe(x.id, x.name)
		list = append(list, i)
		return true
	})
	return list, nil
}

// Chtimes sets the times of a file, a directory, or what a link leads to.
func (v *Volume) Chtimes(path string, t Times) error {
	return v.do("Chtimes", path, true, func(elems []string) error { return v.chtimes(elems, t) })
}

func (v *Volume) chtimes(elems []string, t Times) error {
	p, err := v.find(elems, true)
	if err != nil {
		return err
	}
	n := v.own(p.id)
	if !t.Created.IsZero() {
		n.created = ticksOf(t.Created)
	}
	if !t.Modified.IsZero() {
		n.modified = ticksOf(t.Modified)
	}
	return nil
}

// SetAttributes sets ReadOnly, Hidden, System and Archive of a file, a directory,
// or what a link leads to, and clears those of them that are not given.
// Directory and ReparsePoint are what they are, and ignored; others are
// [ErrInvalidParameter].
func (v *Volume) SetAttributes(path string, a Attributes) error {
	return v.do("SetAttributes", path, true, func(elems []string) error { return v.setAttributes(elems, a) })
}

func (v *Volume) setAttributes(elems []string, a Attributes) error {
	if a&^(settable|Directory|ReparsePoint) != 0 {
		return ErrInvalidParameter
	}
	p, err := v.find(elems, true)
	if err != nil {
		return err
	}
	v.own(p.id).attrs = a & settable
	return nil
}

// entries turns infos into what package io/fs lists, sorted as it demands.
func entries(list []*Info) []fs.DirEntry {
	slices.SortFunc(list, func(a, b *Info) int { return strings.Compare(a.name, b.name) })
	out := make([]fs.DirEntry, len(list))
	for i, info := range list {
		out[i] = fs.FileInfoToDirEntry(info)
	}
	return out
}
