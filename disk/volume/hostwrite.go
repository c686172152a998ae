package volume

import (
	"io"
	"io/fs"
	"path"
	"strings"
)

// write runs a call on the drive that a name leads to, if it can be written.
func (h *Host) write(op, name string, call func(files Files, rest string) error) error {
	_, err := h.follow(op, name, func(fsys fs.FS, rest string) error {
		files, ok := fsys.(Files)
		if !ok {
			return ErrWriteProtect
		}
		return call(files, rest)
	})
	return err
}

// Create makes an empty file or empties the one that is there, and opens it.
func (h *Host) Create(name string) (w io.WriteCloser, err error) {
	err = h.write("create", name, func(files Files, rest string) (err error) {
		w, err = files.Create(rest)
		return err
	})
	return w, err
}

// Mkdir makes a directory.
func (h *Host) Mkdir(name string) error {
	return h.write("mkdir", name, func(files Files, rest string) error { return files.Mkdir(rest) })
}

// Symlink makes a symbolic link, see [Volume.Symlink]; the target may be on
// another drive.
func (h *Host) Symlink(target, link string) error {
	dir := false
	if drive, _ := cutDrive(target); drive != "" {
		if name, err := Name(target); err == nil {
			info, err := h.Stat(name)
			dir = err == nil && info.IsDir()
		}
	}
	if dir {
		return h.SymlinkDir(target, link)
	}
	return h.write("symlink", link, func(files Files, rest string) error { return files.Symlink(target, rest) })
}

// SymlinkDir makes a symbolic link to a directory, whether or not it exists.
func (h *Host) SymlinkDir(target, link string) error {
	return h.write("symlink", link, func(files Files, rest string) error {
		return symlinkDir(files, target, rest)
	})
}

// symlinkDir makes a link to a directory where the difference is known.
func symlinkDir(files Files, target, link string) error {
	if d, ok := files.(interface {
		SymlinkDir(target, link string) error
	}); ok {
		return d.SymlinkDir(target, link)
	}
	return files.Symlink(target, link)
}

// Remove removes a file, a link or an empty directory.
func (h *Host) Remove(name string) error {
	return h.write("remove", name, func(files Files, rest string) error { return files.Remove(rest) })
}

// Rename gives a file, a link or a directory another name, see [Volume.Rename].
// From one drive to another it is [ErrNotSameDevice].
func (h *Host) Rename(old, new string) error {
	from, err := h.place("rename", old)
	if err != nil {
		return err
	}
	to, err := h.place("rename", new)
	if err != nil {
		return err
	}
	fromRoot, _, _ := strings.Cut(from, "/")
	if toRoot, _, _ := strings.Cut(to, "/"); compareFold(fromRoot, toRoot) != 0 {
		return failName("rename", old, ErrNotSameDevice)
	}
	_, rest, err := h.drive(to)
	if err != nil {
		return failName("rename", new, err)
	}
	err = h.write("rename", from, func(files Files, at string) error { return files.Rename(at, rest) })
	return failName("rename", old, err)
}

// place follows the links to the directory of a name, and none at its end.
func (h *Host) place(op, name string) (string, error) {
	parent, base := path.Split(name)
	if parent == "" {
		_, _, err := h.drive(name)
		return name, failName(op, name, err)
	}
	at, err := h.follow(op, strings.TrimSuffix(parent, "/"), func(fsys fs.FS, rest string) error {
		_, err := fs.Stat(fsys, rest)
		return err
	})
	return at + "/" + base, err
}

// Chtimes sets the times of a file or directory, where the drive can.
func (h *Host) Chtimes(name string, t Times) error {
	return h.write("chtimes", name, func(files Files, rest string) error { return chtimes(files, rest, t) })
}

// SetAttributes sets the attributes of a file or directory, where the drive can.
func (h *Host) SetAttributes(name string, a Attributes) error {
	return h.write("setattributes", name, func(files Files, rest string) error {
		return setAttributes(files, rest, a)
	})
}
