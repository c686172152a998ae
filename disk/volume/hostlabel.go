package volume

import (
	"io/fs"
	"path"
	"strings"
)

// rootInfo describes the root of a host: a directory that is on no disk.
func rootInfo() *Info { return &Info{name: ".", attrs: Directory} }

// A drive's root calls itself ".", and a file behind a link to another volume
// has its own name. Seen from the host they have the last element of the name by
// which they were asked for; the same for Stat and for Open followed by Stat.

// lastName is that element; a drive letter is upper case.
func lastName(name string) string {
	if len(name) == 1 {
		return strings.ToUpper(name)
	}
	return path.Base(name)
}

// labelInfo gives an info the name that the host knows it by.
func labelInfo(info fs.FileInfo, name string) fs.FileInfo {
	last := lastName(name)
	if compareFold(info.Name(), last) == 0 {
		return info
	}
	if i, ok := info.(*Info); ok {
		return i.named(last)
	}
	if info.IsDir() {
		return foreignInfo{FileInfo: info, name: last}
	}
	return info
}

// label gives an open file the name that the host knows it by.
func label(file fs.File, name string) fs.File {
	switch f := file.(type) {
	case *File:
		f.info = labelInfo(f.info, name).(*Info)
	case *dir:
		f.info = labelInfo(f.info, name).(*Info)
	case fs.ReadDirFile:
		return foreignDir{ReadDirFile: f, name: name}
	}
	return file
}

// A foreignDir is an open directory of another file system under the host's name.
type foreignDir struct {
	fs.ReadDirFile
	name string
}

func (d foreignDir) Stat() (fs.FileInfo, error) {
	info, err := d.ReadDirFile.Stat()
	if err != nil {
		return nil, err
	}
	return labelInfo(info, d.name), nil
}

// A foreignInfo is an info of another file system under the host's name.
type foreignInfo struct {
	fs.FileInfo
	name string
}

func (i foreignInfo) Name() string { return i.name }
