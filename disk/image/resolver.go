package image

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// A Resolver opens image files by their Windows paths, which are absolute as
// far as that of the leaf is, and free of dots. Where nothing lies it answers
// with an error that is fs.ErrNotExist, and the next path is tried; one that is
// fs.ErrPermission becomes [ErrParentAccess]. A source that has a method
// Close() error is closed with the chain. One that is a [File] can be written.
type Resolver interface {
	OpenImage(path string) (disk.Source, error)
}

// ResolverFunc is a function as a Resolver.
type ResolverFunc func(path string) (disk.Source, error)

// OpenImage calls f.
func (f ResolverFunc) OpenImage(path string) (disk.Source, error) { return f(path) }

// FS resolves paths in a file system in which drives are folders at the top:
// `C:\VMs\base.vhd` is C/VMs/base.vhd, also as `\\?\C:\VMs\base.vhd`, and a path
// without a drive is one from the top. Upper and lower case count as one where
// there is no exact match. Paths of other volumes and of other machines do not
// exist. Files need io.ReaderAt, and can only be read.
func FS(fsys fs.FS) Resolver { return fileSystem{fsys} }

type fileSystem struct{ fsys fs.FS }

func (r fileSystem) OpenImage(name string) (disk.Source, error) {
	inside, ok := fsPath(name)
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f, err := r.fsys.Open(inside)
	if errors.Is(err, fs.ErrNotExist) {
		if other, found := r.fold(inside); found {
			f, err = r.fsys.Open(other)
		}
	}
	if err != nil {
		return nil, err
	}
	src, err := sourceOf(f)
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: inside, Err: err}
	}
	return src, nil
}

// fsPath returns where a Windows path lies in a file system.
func fsPath(name string) (string, bool) {
	name, _ = strings.CutPrefix(name, `\\?\`)
	name = strings.ReplaceAll(name, `\`, "/")
	if len(name) > 2 && name[1] == ':' && name[2] == '/' {
		name = strings.ToUpper(name[:1]) + name[2:]
	}
	return name, fs.ValidPath(name) && !strings.ContainsAny(name, ":?")
}

// fold looks for a path whatever the case of its letters.
func (r fileSystem) fold(name string) (string, bool) {
	at := "."
	for _, element := range strings.Split(name, "/") {
		entries, err := fs.ReadDir(r.fsys, at)
		if err != nil {
			return "", false
		}
		found := false
		for _, e := range entries {
			if found = strings.EqualFold(e.Name(), element); found {
				at = path.Join(at, e.Name())
				break
			}
		}
		if !found {
			return "", false
		}
	}
	return at, true
}

// file is a file of a file system as a source.
type file struct {
	fs.File
	io.ReaderAt
	size int64
}

func (f file) Size() int64 { return f.size }

func sourceOf(f fs.File) (disk.Source, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok || !info.Mode().IsRegular() {
		return nil, disk.ErrUnsupported
	}
	return file{f, r, info.Size()}, nil
}

// samePath reports whether two Windows paths name one file.
func samePath(a, b string) bool { return strings.EqualFold(cleanPath(a), cleanPath(b)) }

// cleanPath returns a Windows path in the one form that it has, but for the case
// of its letters.
func cleanPath(path string) string {
	path, _ = strings.CutPrefix(path, `\\?\`)
	if joined, ok := virtdisk.Join("", path); ok {
		return joined
	}
	return path
}
