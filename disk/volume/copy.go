package volume

import (
	"errors"
	"io"
	"io/fs"
	"path"
)

// CopyFS copies everything in src below the directory dir of dst, which is made
// when it is missing: directories, files and symbolic links, with what is known
// of times and attributes; a file without a write permission becomes read-only.
// Security descriptors are left behind, as a copy by hand does: what was copied
// inherits from the folder that it is in.
// Files that exist in dst are not overwritten, they are [fs.ErrExist], also where
// names of src differ in case alone. Bytes that are in memory on both sides are
// passed on by reference, and holes are not copied, see [File.WriteTo].
func CopyFS(dst Files, dir string, src fs.FS) error {
	c := copier{dst: dst, src: src, dir: dir}
	if err := c.mkdirAll(dir); err != nil {
		return err
	}
	if err := fs.WalkDir(src, ".", c.visit); err != nil {
		return err
	}
	for _, d := range c.dirs {
		if err := keep(dst, d.name, d.info); err != nil {
			return err
		}
	}
	return nil
}

// A copier is a CopyFS in progress.
type copier struct {
	dst  Files
	src  fs.FS
	dir  string
	dirs []copied // whose times are set when nothing is added to them any more
}

// A copied is a directory that was made.
type copied struct {
	name string
	info fs.FileInfo
}

// mkdirAll makes a directory of dst and those above it.
func (c *copier) mkdirAll(name string) error {
	if name == "." {
		return nil
	}
	if err := c.mkdirAll(path.Dir(name)); err != nil {
		return err
	}
	return c.mkdir(name)
}

// mkdir makes a directory, unless there is one.
func (c *copier) mkdir(name string) error {
	err := c.dst.Mkdir(name)
	if errors.Is(err, fs.ErrExist) {
		if info, statErr := fs.Stat(c.dst, name); statErr == nil && info.IsDir() {
			return nil
		}
	}
	return err
}

// visit copies one entry of src.
func (c *copier) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	to := path.Join(c.dir, name)
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch d.Type() {
	case fs.ModeDir:
		if name == "." {
			return nil
		}
		c.dirs = append(c.dirs, copied{to, info})
		return c.mkdir(to)
	case fs.ModeSymlink:
		return c.link(name, to, info)
	case 0:
		return c.file(name, to)
	}
	return failName("copy", name, fs.ErrInvalid)
}

// link copies a symbolic link.
func (c *copier) link(name, to string, info fs.FileInfo) error {
	target, err := fs.ReadLink(c.src, name)
	if err != nil {
		return err
	}
	if leadsToDir(c.src, name, info) {
		return symlinkDir(c.dst, target, to)
	}
	return c.dst.Symlink(target, to)
}

// leadsToDir tells whether a link was made for a directory.
func leadsToDir(fsys fs.FS, name string, info fs.FileInfo) bool {
	if i, ok := info.(*Info); ok {
		return i.attrs&Directory != 0
	}
	behind, err := fs.Stat(fsys, name)
	return err == nil && behind.IsDir()
}

// file copies a file.
func (c *copier) file(name, to string) error {
	if _, err := fs.Lstat(c.dst, to); err == nil {
		return failName("copy", to, ErrFileExists)
	}
	r, err := c.src.Open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return err
	}
	w, err := c.dst.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return keep(c.dst, to, info)
}

// keep gives a copy the times and attributes of the original, where dst can.
func keep(dst Files, name string, info fs.FileInfo) error {
	times := Times{Modified: info.ModTime()}
	attrs := Archive
	if info.IsDir() {
		attrs = 0
	} else if info.Mode()&0o200 == 0 {
		attrs |= ReadOnly
	}
	if i, ok := info.(*Info); ok {
		times, attrs = i.Times(), i.attrs
	}
	return errors.Join(chtimes(dst, name, times), setAttributes(dst, name, attrs))
}

// chtimes sets times where files can.
func chtimes(files Files, name string, t Times) error {
	if c, ok := files.(interface{ Chtimes(string, Times) error }); ok {
		return c.Chtimes(name, t)
	}
	return nil
}

// setAttributes sets attributes where files can.
func setAttributes(files Files, name string, a Attributes) error {
	if s, ok := files.(interface {
		SetAttributes(string, Attributes) error
	}); ok {
		return s.SetAttributes(name, a)
	}
	return nil
}
