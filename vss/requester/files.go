package requester

import (
	"io"
	"io/fs"
)

// Files is a tree of files that can be written by io/fs names: where a backup
// goes, and where a restore writes to. A simulated host's files are such a tree,
// and so are a [Directory] and a [Memory].
//
// Create makes an empty file or empties the one that is there. Mkdir and Symlink
// fail with [fs.ErrExist] when something is there; Remove removes a file, a link
// or an empty directory. A tree that holds symbolic links implements
// [fs.ReadLinkFS].
type Files interface {
	fs.FS
	Create(name string) (io.WriteCloser, error)
	Mkdir(name string) error
	Symlink(target, link string) error
	Remove(name string) error
	Rename(old, new string) error
}
