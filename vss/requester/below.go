package requester

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
)

// Below is a directory of a tree as a tree. Unlike what fs.Sub returns it asks for
// what a file is without opening it.
type below struct {
	fsys fs.FS
	dir  string
}

func (b below) name(op, name string) (string, error) {
	switch {
	case !fs.ValidPath(name):
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	case name == ".":
		return b.dir, nil
	}
	return b.dir + "/" + name, nil
}

// ask hands a question on.
func ask[T any](b below, op, name string, fn func(fs.FS, string) (T, error)) (T, error) {
	full, err := b.name(op, name)
	if err != nil {
		var none T
		return none, err
	}
	return fn(b.fsys, full)
}

func (b below) Open(name string) (fs.File, error)      { return ask(b, "open", name, fs.FS.Open) }
func (b below) Stat(name string) (fs.FileInfo, error)  { return ask(b, "stat", name, fs.Stat) }
func (b below) Lstat(name string) (fs.FileInfo, error) { return ask(b, "lstat", name, fs.Lstat) }
func (b below) ReadLink(name string) (string, error)   { return ask(b, "readlink", name, fs.ReadLink) }

// ReadDir lists a directory. A name in it that leads elsewhere is an error: who
// walks the tree by such names may never come to an end.
func (b below) ReadDir(name string) ([]fs.DirEntry, error) {
	return b.list(name, fs.ReadDir)
}

// ReadNamed is that of the tree, if it has one; see [vss.NamedFS].
func (b below) ReadNamed(dir, name string) ([]fs.DirEntry, error) {
	named, ok := b.fsys.(vss.NamedFS)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return b.list(dir, func(_ fs.FS, dir string) ([]fs.DirEntry, error) { return named.ReadNamed(dir, name) })
}

func (b below) list(dir string, read func(fs.FS, string) ([]fs.DirEntry, error)) ([]fs.DirEntry, error) {
	entries, err := ask(b, "readdir", dir, read)
	for _, e := range entries {
		if n := e.Name(); n == "." || !fs.ValidPath(n) || strings.Contains(n, "/") {
			return nil, &fs.PathError{Op: "readdir", Path: b.dir + "/" + dir + "/" + n, Err: fs.ErrInvalid}
		}
	}
	return entries, err
}
