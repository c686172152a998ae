package requester

import (
	"io"
	"io/fs"
)

// Files is a tree of files that can be written by io/fs names: where a backup
// goes, and where a restore writes to. A simulated host's files are such a tree,
// and so are a [Directory] and a [Memory]. A tree that holds symbolic links
// implements [fs.ReadLinkFS].
type Files interface {
	fs.FS
	// Create makes an empty file, or empties the one that is there.
	Create(name string) (io.WriteCloser, error)
	// Mkdir makes a directory. It fails with [fs.ErrExist] when something is there.
	Mkdir(name string) error
	// Symlink makes a symbolic link. It fails with [fs.ErrExist] when something is
	// there.
	Symlink(target, link string) error
	// Remove removes a file, a link or an empty directory.
	Remove(name string) error
	// Rename gives a file or directory another name.
	Rename(old, new string) error
}
