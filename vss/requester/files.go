package requester

import (
	"errors"
	"io"
	"io/fs"
	"path"
)

// Files is a tree of files that can be written by io/fs names: where a backup
// goes, and where a restore writes to. A simulated host's files are such a tree,
// and so are a [Directory] and a [Memory].
//
// Create makes an empty file or empties the one that is there. Mkdir and Symlink
// fail with [fs.ErrExist] when something is there; Remove removes a file, a link
// or an empty directory.
type Files interface {
	fs.FS
	Create(name string) (io.WriteCloser, error)
	Mkdir(name string) error
	Symlink(target, link string) error
	Remove(name string) error
	Rename(old, new string) error
}

// mkdirAll makes a directory and those above it.
func mkdirAll(f Files, name string) error {
	if name == "." {
		return nil
	}
	if info, err := fs.Stat(f, name); err == nil {
		if info.IsDir() {
			return nil
		}
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	if err := mkdirAll(f, path.Dir(name)); err != nil {
		return err
	}
	if err := f.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// writeFile makes a file of these bytes, with the directories above it.
func writeFile(f Files, name string, data []byte) error {
	if err := mkdirAll(f, path.Dir(name)); err != nil {
		return err
	}
	w, err := f.Create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return errors.Join(err, w.Close())
}

// copyFile copies one file; what both sides can pass on without copying, and
// holes, are their business ([io.Copy]).
func copyFile(dst Files, to string, src fs.FS, from string) (n int64, err error) {
	r, err := src.Open(from)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := mkdirAll(dst, path.Dir(to)); err != nil {
		return 0, err
	}
	w, err := dst.Create(to)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(w, r)
	return n, errors.Join(err, w.Close())
}
