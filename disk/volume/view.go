package volume

import (
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Files is a view of files that can be read and written by io/fs names: what a
// restore writes to. [FS] and [Host] are such views. Create makes an empty file
// or empties the one that is there; Mkdir and Symlink fail with [fs.ErrExist]
// when something is; Remove removes a file, a link or an empty directory.
type Files interface {
	fs.FS
	Create(name string) (io.WriteCloser, error)
	Mkdir(name string) error
	Symlink(target, link string) error
	Remove(name string) error
	Rename(old, new string) error
}

// An FS is a volume seen through io/fs: names have forward slashes, and letters
// are found in any case. Files are opened as snapshots. It implements [Files],
// [fs.ReadDirFS], [fs.ReadFileFS], [fs.StatFS] and [fs.ReadLinkFS]; its errors
// are *fs.PathError with a [Code] or an [*Elsewhere] inside.
type FS struct{ v *Volume }

var (
	_ Files         = (*FS)(nil)
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// FS returns the view of the volume through io/fs. It shows the volume as it is
// at each call.
func (v *Volume) FS() *FS { return &FS{v: v} }

// Volume returns the volume that is seen.
func (f *FS) Volume() *Volume { return f.v }

// do runs a call on an io/fs name under the lock.
func (f *FS) do(op, name string, write bool, call func(elems []string) error) error {
	return failName(op, name, f.v.parsed(parseName, name, write, call))
}

// Open opens a file for reading as it stands, as a *[File], or a directory.
func (f *FS) Open(name string) (file fs.File, err error) {
	err = f.do("open", name, false, func(elems []string) error {
		file, err = f.open(elems, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return file, nil
}

func (f *FS) open(elems []string, name string) (fs.File, error) {
	p, err := f.v.find(elems, true)
	if err != nil {
		return nil, err
	}
	if f.v.files.get(p.id).kind == isDir {
		return &dir{v: f.v, id: p.id, info: f.v.viewed(p), name: name}, nil
	}
	file, err := f.v.openAt(p, Read, Exclusive)
	if err != nil {
		return nil, err
	}
	file.path = name
	return file, nil
}

// viewed describes a place; the root is ".".
func (v *Volume) viewed(p place) *Info {
	if p.shown() == `\` {
		return v.info(p.id, ".")
	}
	return v.info(p.id, p.shown())
}

// Stat describes a file, a directory, or what a link leads to, as an *[Info].
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name, true) }

// Lstat describes a file, a directory, or a link itself, as an *[Info].
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f *FS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	var info *Info
	err := f.do(op, name, false, func(elems []string) error {
		p, err := f.v.find(elems, follow)
		if err == nil {
			info = f.v.viewed(p)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

// ReadDir lists a directory, sorted by name as package io/fs demands.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	var list []*Info
	err := f.do("readdir", name, false, func(elems []string) (err error) {
		list, err = f.v.readDir(elems)
		return err
	})
	if err != nil {
		return nil, err
	}
	return entries(list), nil
}

// ReadNamed lists the one entry of a directory that has a name, in whatever case,
// or none, without a look at the others.
func (f *FS) ReadNamed(dir, name string) ([]fs.DirEntry, error) {
	var list []fs.DirEntry
	err := f.do("readdir", dir, false, func(elems []string) error {
		info, err := f.v.named(elems, name)
		if info != nil {
			list = []fs.DirEntry{fs.FileInfoToDirEntry(info)}
		}
		return err
	})
	return list, err
}

// ReadFile returns the bytes of a file of less than 2 GiB.
func (f *FS) ReadFile(name string) ([]byte, error) { return f.appendFile(nil, name) }

func (f *FS) appendFile(b []byte, name string) ([]byte, error) {
	var file *File
	err := f.do("readfile", name, false, func(elems []string) (err error) {
		file, err = f.v.open(elems, Read, Exclusive)
		return err
	})
	if err != nil {
		return b, err
	}
	b, err = file.appendTo(b)
	return b, failName("readfile", name, err)
}

// ReadLink returns the target of a link. A relative one has forward slashes, as
// io/fs names have; any other is a Windows path.
func (f *FS) ReadLink(name string) (target string, err error) {
	err = f.do("readlink", name, false, func(elems []string) error {
		target, err = f.v.readlink(elems)
		return err
	})
	if drive, _ := cutDrive(target); drive == "" && !strings.HasPrefix(target, `\`) {
		target = strings.ReplaceAll(target, `\`, "/")
	}
	return target, err
}

// Create makes an empty file or empties the one that is there, and opens it
// exclusively as a *[File].
func (f *FS) Create(name string) (io.WriteCloser, error) {
	var file *File
	err := f.do("create", name, true, func(elems []string) (err error) {
		file, err = f.v.open(elems, ReadWrite|OpenAlways|Truncate, Exclusive)
		return err
	})
	if err != nil {
		return nil, err
	}
	file.path = name
	return file, nil
}

// Mkdir makes a directory.
func (f *FS) Mkdir(name string) error { return f.do("mkdir", name, true, f.v.mkdir) }

// Symlink makes a symbolic link, see [Volume.Symlink].
func (f *FS) Symlink(target, link string) error {
	return f.do("symlink", link, true, func(elems []string) error {
		return f.v.symlink(target, elems, f.v.leadsToDir(target, elems))
	})
}

// SymlinkDir makes a symbolic link to a directory, whether or not it exists.
func (f *FS) SymlinkDir(target, link string) error {
	return f.do("symlink", link, true, func(elems []string) error {
		return f.v.symlink(target, elems, true)
	})
}

// Remove removes a file, a link or an empty directory.
func (f *FS) Remove(name string) error { return f.do("remove", name, true, f.v.remove) }

// Rename gives a file, a link or a directory another name, see [Volume.Rename].
func (f *FS) Rename(old, new string) error {
	return f.do("rename", old, true, func(from []string) error {
		to, err := parseName(nil, new)
		if err != nil {
			return err
		}
		return f.v.rename(from, to)
	})
}

// Chtimes sets the times of a file or directory.
func (f *FS) Chtimes(name string, t Times) error {
	return f.do("chtimes", name, true, func(elems []string) error { return f.v.chtimes(elems, t) })
}

// SetAttributes sets the attributes of a file or directory, see
// [Volume.SetAttributes].
func (f *FS) SetAttributes(name string, a Attributes) error {
	return f.do("setattributes", name, true, func(elems []string) error { return f.v.setAttributes(elems, a) })
}

// A dir is an open directory.
type dir struct {
	v      *Volume
	id     inodeID
	info   *Info
	name   string // for errors
	list   []fs.DirEntry
	listed bool
	closed bool
}

// Stat describes the directory as it was when it was opened.
func (d *dir) Stat() (fs.FileInfo, error) {
	if d.closed {
		return nil, failName("stat", d.name, ErrInvalidHandle)
	}
	return d.info, nil
}

// Read refuses: a directory has no bytes.
func (d *dir) Read([]byte) (int, error) { return 0, failName("read", d.name, ErrAccessDenied) }

// Close ends the use of the directory.
func (d *dir) Close() error {
	if d.closed {
		return failName("close", d.name, ErrInvalidHandle)
	}
	d.closed = true
	return nil
}

// ReadDir lists the directory as it is at the first call.
func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.closed {
		return nil, failName("readdir", d.name, ErrInvalidHandle)
	}
	if err := d.fill(); err != nil {
		return nil, failName("readdir", d.name, err)
	}
	if n <= 0 {
		n = len(d.list)
	} else if len(d.list) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.list))
	part := slices.Clone(d.list[:n])
	d.list = d.list[n:]
	return part, nil
}

func (d *dir) fill() error {
	if d.listed {
		return nil
	}
	return d.v.locked(false, func() error {
		list, err := d.v.list(d.id)
		if err == nil {
			d.list, d.listed = entries(list), true
		}
		return err
	})
}
