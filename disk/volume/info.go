package volume

import (
	"io/fs"
	"math"
	"strings"
	"time"
)

// Attributes are a file's attributes, with the values of Windows.
type Attributes uint32

// The attributes a volume keeps. Directory and ReparsePoint tell what a file is
// and cannot be set.
const (
	ReadOnly     Attributes = 0x1 // writing and removing are ErrAccessDenied; a directory may still be added to
	Hidden       Attributes = 0x2
	System       Attributes = 0x4
	Directory    Attributes = 0x10 // a directory, or a symbolic link to one
	Archive      Attributes = 0x20 // written since it was cleared; writing a file sets it
	ReparsePoint Attributes = 0x400

	settable = ReadOnly | Hidden | System | Archive
)

// String lists the attributes: "ReadOnly|Archive"; none is "Normal".
func (a Attributes) String() string {
	var names []string
	for _, x := range []struct {
		bit  Attributes
		name string
	}{{ReadOnly, "ReadOnly"}, {Hidden, "Hidden"}, {System, "System"},
		{Directory, "Directory"}, {Archive, "Archive"}, {ReparsePoint, "ReparsePoint"}} {
		if a&x.bit != 0 {
			names = append(names, x.name)
		}
	}
	if names == nil {
		return "Normal"
	}
	return strings.Join(names, "|")
}

// Times are the times of a file that a restore puts back. A zero time is left as
// it stands. A volume keeps times in units of 100 ns and gives them in UTC.
type Times struct {
	Created, Modified time.Time
}

// A ticks is a time as NTFS keeps it: units of 100 ns since 1601.
type ticks int64

const (
	ticksPerSecond = 10_000_000
	unixToWindows  = 11_644_473_600 // seconds from 1601 to 1970
)

func ticksOf(t time.Time) ticks {
	sec := min(max(t.Unix(), -unixToWindows), math.MaxInt64/ticksPerSecond-unixToWindows-1)
	return ticks((sec+unixToWindows)*ticksPerSecond + int64(t.Nanosecond()/100))
}

func (t ticks) time() time.Time {
	return time.Unix(int64(t)/ticksPerSecond-unixToWindows, int64(t)%ticksPerSecond*100).UTC()
}

// An Info describes a file as it stood when it was asked for. It is the
// fs.FileInfo of everything in this package.
type Info struct {
	name      string
	volume    [16]byte
	id        inodeID
	attrs     Attributes
	size      int64
	allocated int64
	created   ticks
	modified  ticks
	security  *string
}

// Name is the name in its directory, in the case it was given there; of a link
// that was followed, the link's.
func (i *Info) Name() string { return i.name }

// Size is the number of bytes of a file, and 0 for directories and links.
func (i *Info) Size() int64 { return i.size }

// Allocated is the number of bytes that the file takes from the volume: whole
// clusters, and none where it is sparse.
func (i *Info) Allocated() int64 { return i.allocated }

// Mode gives the kind, and permission bits as package os makes them up on
// Windows: 0444 for a read-only file, 0666 for another.
func (i *Info) Mode() fs.FileMode {
	perm := fs.FileMode(0o666)
	if i.attrs&ReadOnly != 0 {
		perm = 0o444
	}
	switch {
	case i.attrs&ReparsePoint != 0:
		return fs.ModeSymlink | perm
	case i.attrs&Directory != 0:
		return fs.ModeDir | perm | 0o111
	}
	return perm
}

// IsDir tells directories; a link is none.
func (i *Info) IsDir() bool { return i.attrs&(Directory|ReparsePoint) == Directory }

// ModTime is the time of the last write.
func (i *Info) ModTime() time.Time { return i.modified.time() }

// Created is the time at which the file was made.
func (i *Info) Created() time.Time { return i.created.time() }

// Times gives both times, as Chtimes takes them.
func (i *Info) Times() Times { return Times{Created: i.Created(), Modified: i.ModTime()} }

// Attributes gives the attributes, the kind among them.
func (i *Info) Attributes() Attributes { return i.attrs }

// FileID is a number that no other file of the volume has or had. A rename keeps
// it, and so does a shadow copy.
func (i *Info) FileID() uint64 { return uint64(i.id) }

// Sys returns nil: whatever there is to know has a method.
func (i *Info) Sys() any { return nil }

// String prints the file as a line of a listing.
func (i *Info) String() string { return fs.FormatFileInfo(i) }

// SameFile tells whether two infos describe the same file of the same volume. A
// shadow copy is another volume.
func SameFile(a, b fs.FileInfo) bool {
	x, okX := a.(*Info)
	y, okY := b.(*Info)
	return okX && okY && x.id == y.id && x.volume == y.volume
}

// named is the same info under another name.
func (i *Info) named(name string) *Info {
	c := *i
	c.name = name
	return &c
}
