package guest

import (
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/shadowsim/shadowsim/disk"
)

// ShadowFileName is the one file of a guest's shadow copy: the volume, byte for
// byte. It is an io.ReaderAt, and an io.WriterAt that fails once the copy is
// sealed.
const ShadowFileName = "volume"

// A shadowFS is a shadow copy as a file system.
type shadowFS struct{ store disk.Store }

// Open opens the file or the root directory.
func (s shadowFS) Open(name string) (fs.File, error) {
	switch {
	case !fs.ValidPath(name):
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	case name == ".":
		return &shadowDir{file: shadowInfo{name: ShadowFileName, size: s.store.Size()}}, nil
	case name == ShadowFileName:
		return &shadowFile{SectionReader: io.NewSectionReader(s.store, 0, s.store.Size()), store: s.store}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

type shadowFile struct {
	*io.SectionReader
	store disk.Store
}

func (f *shadowFile) WriteAt(p []byte, off int64) (int, error) { return f.store.WriteAt(p, off) }
func (f *shadowFile) Close() error                             { return nil }
func (f *shadowFile) Stat() (fs.FileInfo, error) {
	return shadowInfo{name: ShadowFileName, size: f.Size()}, nil
}

type shadowDir struct {
	file shadowInfo
	read bool
}

func (d *shadowDir) Stat() (fs.FileInfo, error) {
	return shadowInfo{name: ".", mode: fs.ModeDir | 0o555}, nil
}
func (d *shadowDir) Close() error { return nil }
func (d *shadowDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: errors.New("is a directory")}
}

// ReadDir lists the file once.
func (d *shadowDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.read {
		if n > 0 {
			return nil, io.EOF
		}
		return nil, nil
	}
	d.read = true
	return []fs.DirEntry{fs.FileInfoToDirEntry(d.file)}, nil
}

type shadowInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i shadowInfo) Name() string { return i.name }
func (i shadowInfo) Size() int64  { return i.size }
func (i shadowInfo) Mode() fs.FileMode {
	if i.mode == 0 {
		return 0o644
	}
	return i.mode
}
func (i shadowInfo) ModTime() time.Time { return time.Time{} }
func (i shadowInfo) IsDir() bool        { return i.mode.IsDir() }
func (i shadowInfo) Sys() any           { return nil }
