package volume

import (
	"io"
	"io/fs"

	"github.com/shadowsim/shadowsim/disk"
)

// An Access says what a file is opened for.
type Access uint8

// What a file can be opened for. Read, or Write, or both have to be among it.
const (
	Read       Access = 1 << iota
	Write             // changes go to the volume at once
	OpenAlways        // make the file when it is missing
	CreateNew         // make the file; it must not exist
	Truncate          // empty the file and drop its streams; needs Write

	ReadWrite = Read | Write
)

// A Share says what others may do with a file that is open for writing. Reading
// is always allowed here, where Windows would want it said.
type Share uint8

// The two ways to share, with the values of Windows.
const (
	Exclusive  Share = 0 // nobody else opens it for writing
	ShareWrite Share = 2 // others that share it too may open it for writing
)

// A File is an open file.
//
// A file that is open for reading alone is a snapshot of the instant at which it
// was opened: Stat and Read agree, whatever happens to the volume, and ReadAt may
// be called from any goroutine.
//
// A file that is open for writing is the file itself, and the same one across
// shadow copies of the volume: what is written before one is in it, what is
// written after is not. As long as it is open, the file cannot be removed or
// renamed, nor, unless both shared it, opened for writing again. WriteAt behind
// the end makes the file longer, unlike that of a block device of fixed size; in
// everything else a File is a [disk.Store] with the optional interfaces, so that
// a disk image can live in it.
//
// Read, Write and Seek share one position and need a goroutine for themselves.
type File struct {
	v      *Volume
	id     inodeID
	path   string // for errors
	access Access
	snap   *disk.Memory // of a file that is open for reading alone
	info   *Info        // the same
	pos    int64
	closed bool
}

// Open opens a file for reading, as it stands now. It works whoever has the file
// open.
func (v *Volume) Open(path string) (*File, error) { return v.OpenFile(path, Read, Exclusive) }

// Create makes an empty file, or empties the one that has the name, and opens it
// exclusively for reading and writing.
func (v *Volume) Create(path string) (*File, error) {
	return v.OpenFile(path, ReadWrite|OpenAlways|Truncate, Exclusive)
}

// OpenFile opens a file. Opening for writing fails with [ErrSharingViolation]
// when somebody has the file open for writing and does not share it or share
// does not, with [ErrAccessDenied] when the file is read-only or a directory.
func (v *Volume) OpenFile(path string, access Access, share Share) (f *File, err error) {
	writes := access&^Read != 0
	err = v.do("OpenFile", path, writes, func(elems []string) error {
		f, err = v.open(elems, access, share)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.path = path
	return f, nil
}

func (v *Volume) open(elems []string, access Access, share Share) (*File, error) {
	if access&ReadWrite == 0 || access&Truncate != 0 && access&Write == 0 {
		return nil, ErrInvalidParameter
	}
	p, err := v.walk(elems, true)
	if err != nil {
		return nil, err
	}
	return v.openAt(p, access, share)
}

func (v *Volume) openAt(p place, access Access, share Share) (*File, error) {
	fresh := p.id == 0
	if fresh {
		if access&(OpenAlways|CreateNew) == 0 {
			return nil, ErrFileNotFound
		}
		v.add(&p, isFile)
	} else if access&CreateNew != 0 {
		return nil, ErrFileExists
	} else if err := v.openable(p.id, access, share); err != nil {
		return nil, err
	}
	f := &File{v: v, id: p.id, access: access}
	if access&Write == 0 {
		f.snap, f.info = v.files.get(p.id).data.Freeze(), v.info(p.id, p.shown())
		return f, nil
	}
	v.lend(p.id, share)
	if access&Truncate != 0 && !fresh {
		v.overwrite(p.id, disk.NewMemory(0), 0)
	}
	return f, nil
}

// openable tells why an existing file cannot be opened.
func (v *Volume) openable(id inodeID, access Access, share Share) error {
	n := v.files.get(id)
	if n.kind != isFile || access&Write != 0 && n.attrs&ReadOnly != 0 {
		return ErrAccessDenied
	}
	if w := v.writers[id]; access&Write != 0 && w.count > 0 && !(w.shared && share&ShareWrite != 0) {
		return ErrSharingViolation
	}
	return nil
}

// lend notes that somebody writes a file.
func (v *Volume) lend(id inodeID, share Share) {
	if v.writers == nil {
		v.writers = map[inodeID]writers{}
	}
	v.writers[id] = writers{v.writers[id].count + 1, share&ShareWrite != 0} // all share it, or there is one
}

// Close ends the use of the file. A second Close is [ErrInvalidHandle].
func (f *File) Close() error {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if f.closed {
		return f.failed("Close", ErrInvalidHandle)
	}
	f.closed = true
	if f.access&Write == 0 {
		return nil
	}
	switch w := f.v.writers[f.id]; w.count {
	case 0: // a stream that was removed
	case 1:
		delete(f.v.writers, f.id)
	default:
		f.v.writers[f.id] = writers{w.count - 1, w.shared}
	}
	return nil
}

// Stat describes the file: as it was when it was opened for reading, or as it is.
func (f *File) Stat() (fs.FileInfo, error) {
	if f.snap != nil {
		return f.info, f.failed("Stat", f.check(Read))
	}
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if err := f.usable(ReadWrite); err != nil {
		return nil, f.failed("Stat", err)
	}
	return f.v.info(f.id, f.v.files.get(f.id).name), nil
}

// Sync does nothing: what is written is on the volume.
func (f *File) Sync() error { return f.failed("Sync", f.check(ReadWrite)) }

// check refuses a closed file, and one that is open for other things only.
func (f *File) check(access Access) error {
	if f.closed {
		return ErrInvalidHandle
	}
	if f.access&access == 0 {
		return ErrAccessDenied
	}
	return nil
}

// usable is check, and refuses what the volume refuses. The caller holds the
// lock.
func (f *File) usable(access Access) error {
	if err := f.check(access); err != nil {
		return err
	}
	if f.v.files.get(f.id) == nil && !f.v.deleted { // a stream that was removed
		return ErrInvalidHandle
	}
	return f.v.usable(access == Write)
}

// failed wraps an error with the call and the path; io.EOF stays bare, as
// readers must return it.
func (f *File) failed(op string, err error) error {
	if err == io.EOF {
		return err
	}
	return fail(op, f.path, err)
}
