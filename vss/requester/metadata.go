package requester

import (
	"errors"
	"io/fs"
	"time"
)

// Attributes of a file, with the numbers of Windows.
const (
	attributeReadOnly = 0x1
	attributeArchive  = 0x20
)

// A metadataSetter is a tree of files that keeps times and attributes, with the
// numbers of Windows. A zero time says nothing.
type metadataSetter interface {
	SetMetadata(name string, created, modified time.Time, attributes uint32) error
}

// keep gives a file the times and attributes of another one, where the tree can.
// A source that knows no attributes has at least a time and a mode. The security
// descriptor is the one that belongs to the file.
func (t *tree) keep(name string, like fs.FileInfo) error {
	if err := t.secure(name, like); err != nil {
		return err
	}
	s, ok := t.Files.(metadataSetter)
	if !ok {
		return nil
	}
	var created time.Time
	if c, ok := like.(interface{ Created() time.Time }); ok {
		created = c.Created()
	}
	return s.SetMetadata(name, created, like.ModTime(), attributesOf(like))
}

func attributesOf(info fs.FileInfo) uint32 {
	if a, ok := info.(interface{ FileAttributes() uint32 }); ok {
		return a.FileAttributes()
	}
	attributes := uint32(0)
	if !info.IsDir() {
		attributes = attributeArchive
	}
	if perm := info.Mode().Perm(); perm != 0 && perm&0o200 == 0 { // 0 is a tree without permissions
		attributes |= attributeReadOnly
	}
	return attributes
}

// remove removes a file, also one that is read-only.
func remove(f Files, name string) error {
	err := f.Remove(name)
	s, ok := f.(metadataSetter)
	if !ok || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := s.SetMetadata(name, time.Time{}, time.Time{}, 0); err != nil {
		return err
	}
	return f.Remove(name)
}
