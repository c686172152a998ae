package requester

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A Directory is a directory of the computer the program runs on, as [Files].
// Nothing outside of it is reached, whatever links it holds. Of a file's metadata
// it keeps the time of modification and whether it is read-only.
type Directory struct{ root *os.Root }

var _ Files = (*Directory)(nil)

// OpenDirectory opens a directory, and makes it if it is missing. Close it.
func OpenDirectory(path string) (*Directory, error) {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Directory{root}, nil
}

// Close ends the use of the directory.
func (d *Directory) Close() error { return d.root.Close() }

// Open opens a file or directory for reading.
func (d *Directory) Open(name string) (fs.File, error) { return d.root.FS().Open(name) }

// Stat describes a file or directory, or what a link leads to.
func (d *Directory) Stat(name string) (fs.FileInfo, error) { return fs.Stat(d.root.FS(), name) }

// Lstat describes a file, a directory or a link.
func (d *Directory) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(d.root.FS(), name) }

// ReadLink returns the target of a link.
func (d *Directory) ReadLink(name string) (string, error) { return fs.ReadLink(d.root.FS(), name) }

// Create makes an empty file or empties the one that is there.
func (d *Directory) Create(name string) (io.WriteCloser, error) {
	return d.root.Create(filepath.FromSlash(name))
}

// Mkdir makes a directory.
func (d *Directory) Mkdir(name string) error { return d.root.Mkdir(filepath.FromSlash(name), 0o777) }

// Symlink makes a symbolic link whose target is kept as it is given.
func (d *Directory) Symlink(target, link string) error {
	return d.root.Symlink(target, filepath.FromSlash(link))
}

// Remove removes a file, a link or an empty directory.
func (d *Directory) Remove(name string) error { return d.root.Remove(filepath.FromSlash(name)) }

// Rename gives a file or directory another name.
func (d *Directory) Rename(old, new string) error {
	return d.root.Rename(filepath.FromSlash(old), filepath.FromSlash(new))
}

// SetMetadata sets the time of modification, unless it is zero, and makes a file
// read-only or writable.
func (d *Directory) SetMetadata(name string, _, modified time.Time, attributes uint32) error {
	name = filepath.FromSlash(name)
	mode := fs.FileMode(0o666)
	if attributes&attributeReadOnly != 0 {
		mode = 0o444
	}
	if info, err := d.root.Stat(name); err == nil && info.IsDir() {
		mode |= 0o333
	}
	if !modified.IsZero() {
		if err := d.root.Chtimes(name, modified, modified); err != nil {
			return err
		}
	}
	return d.root.Chmod(name, mode)
}
