package vhdx

import (
	"io"
	"slices"
	"strconv"

	"github.com/shadowsim/shadowsim/disk"
)

// A File is what an image lives in: bytes that can be read and written in
// place, and a length that can be changed. Bytes that growth adds are zero.
// *disk.Memory is one. A File that has a method Sync() error is synced where
// the order of writes matters; one without is taken to keep what it is given
// in that order.
type File interface {
	disk.Store
	disk.Resizer
}

// Type is the kind of an image.
type Type uint8

// The kinds of image, numbered as package vhd has them.
const (
	Fixed        Type = 2 // every block has its place from the start
	Dynamic      Type = 3 // blocks are added as they are written
	Differencing Type = 4 // dynamic, over a parent
)

// String returns "fixed", "dynamic", "differencing", or the number.
func (t Type) String() string {
	switch t {
	case Fixed:
		return "fixed"
	case Dynamic:
		return "dynamic"
	case Differencing:
		return "differencing"
	}
	return "type " + strconv.Itoa(int(t))
}

// Image is the disk inside a VHDX file, a [disk.Store]. It holds no data: it
// reads the file when it is read, and writes to it in place.
// Between any two calls the file is a whole image, unless that was put off
// with SetWriteBack.
//
// Like any store, an Image may be read from several goroutines at once and
// must be written by one alone.
type Image struct {
	src     disk.Source // the file, or an overlay with the log replayed
	file    File        // nil when the image is read-only
	creator string
	header  Header
	slot    int // which header is current
	regions []Region
	items   []Item
	meta    *metadata
	metaAt  Region
	lay     *layout
	table   blockTable
	parent  *Image // of a differencing image; nil until it is known
	notes   []string
	writer  *writer // nil when the image is read-only
}

// Size returns the size of the disk in bytes.
func (im *Image) Size() int64 { return im.lay.size }

// Type returns Fixed, Dynamic or Differencing.
func (im *Image) Type() Type {
	switch {
	case im.meta.hasParent:
		return Differencing
	case im.meta.leaveAllocated:
		return Fixed
	}
	return Dynamic
}

// ID returns the identifier that the disk shows to the machine that uses it. It
// is the same along a chain, and so names no file.
func (im *Image) ID() GUID { return im.meta.diskID }

// DataWriteGUID returns the identifier by which children name this image: it
// changes whenever the disk has changed.
func (im *Image) DataWriteGUID() GUID { return im.header.DataWriteGUID }

// Header returns the header in use.
func (im *Image) Header() Header { return im.header }

// Creator returns which program made the image, as it says itself.
func (im *Image) Creator() string { return im.creator }

// BlockSize returns the size of a payload block.
func (im *Image) BlockSize() int64 { return im.lay.block }

// SectorSize returns the logical and the physical sector size of the disk.
func (im *Image) SectorSize() (logical, physical int64) { return im.meta.sector, im.meta.physical }

// Regions returns the region table, Items the metadata table.
func (im *Image) Regions() []Region { return slices.Clone(im.regions) }

// Items returns the metadata table.
func (im *Image) Items() []Item { return slices.Clone(im.items) }

// Notes returns what a reader should know about an image that opened although
// something about it is not as it ought to be, a sentence each.
func (im *Image) Notes() []string { return slices.Clone(im.notes) }

// note adds a note, if there is anything to say.
func (im *Image) note(err error) {
	if err != nil {
		im.notes = append(im.notes, err.Error())
	}
}

// Writable reports whether the image can be written: it was opened with
// OpenFile or made by Create, and is not closed.
func (im *Image) Writable() bool { return im.file != nil }

// Unwrap returns the file, or nil if the image was opened from something that
// is only read.
func (im *Image) Unwrap() disk.Store {
	st, _ := im.src.(disk.Store)
	return st
}

// ReadAt reads the disk. A differencing image whose parent was not given
// answers [ErrParentNotFound] where the parent's bytes would show.
func (im *Image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, during("ReadAt", disk.ErrRange)
	}
	if off >= im.lay.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	var eof error
	if rest := im.lay.size - off; int64(len(p)) > rest {
		p, eof = p[:rest], io.EOF
	}
	n, err := im.read(p, off)
	if err != nil {
		return n, during("ReadAt", err)
	}
	return n, eof
}

// read fills p, which lies wholly inside the disk.
func (im *Image) read(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		b, in := off/im.lay.block, off%im.lay.block
		seg := p[n:]
		if rest := im.lay.block - in; int64(len(seg)) > rest {
			seg = seg[:rest]
		}
		if err := im.readBlock(seg, b, in); err != nil {
			return n, err
		}
		n, off = n+len(seg), off+int64(len(seg))
	}
	return n, nil
}

// readBlock fills p from the place in of block b.
func (im *Image) readBlock(p []byte, b, in int64) error {
	e, err := im.payload(b)
	if err != nil {
		return err
	}
	switch e.state() {
	case FullyPresent:
		return readFull(im.src, p, e.offset()+in, "block data")
	case PartiallyPresent:
		return im.readPartial(p, b, e, in)
	case NotPresent:
		return im.readParent(p, b*im.lay.block+in)
	}
	clear(p)
	return nil
}

// readPartial fills p from a block of which the file has some sectors.
func (im *Image) readPartial(p []byte, b int64, e entry, in int64) error {
	runs := im.runs(b, in, in+int64(len(p)))
	for runs.next() {
		q := p[runs.from-in : runs.to-in]
		var err error
		if runs.own {
			err = readFull(im.src, q, e.offset()+runs.from, "block data")
		} else {
			err = im.readParent(q, b*im.lay.block+runs.from)
		}
		if err != nil {
			return err
		}
	}
	return runs.err
}

// Over returns the image over f, which must hold the same bytes as the file of
// im: a copy or, better, a fork. It costs the same at any size; from then on
// neither image sees what is written to the other.
func (im *Image) Over(f File) *Image {
	c := im.over(f)
	if im.writer != nil {
		c.file, c.writer = f, im.writer.fork(c)
	}
	return c
}

// over returns im, read-only, over another source of the same bytes.
func (im *Image) over(src disk.Source) *Image {
	c := *im
	c.src, c.file, c.writer = src, nil, nil
	c.table = im.table.fork()
	return &c
}

// Snapshot returns an immutable image over a snapshot of the file, if the file
// can take one. Changes that wait for [Image.Sync] are brought to the file
// first.
func (im *Image) Snapshot() (disk.Store, error) {
	st, ok := im.src.(disk.Store)
	if !ok {
		return nil, during("Snapshot", disk.ErrUnsupported)
	}
	if err := im.settle(); err != nil {
		return nil, during("Snapshot", err)
	}
	snap, err := disk.Snapshot(st)
	if err != nil {
		return nil, during("Snapshot", err)
	}
	return im.over(snap), nil
}

// Clone returns a writable image over a fork of the file, if the file can make
// one.
func (im *Image) Clone() (disk.Store, error) {
	if im.file == nil {
		return nil, during("Clone", disk.ErrUnsupported)
	}
	if err := im.settle(); err != nil {
		return nil, during("Clone", err)
	}
	fork, err := disk.Clone(im.file)
	if err != nil {
		return nil, during("Clone", err)
	}
	f, ok := fork.(File)
	if !ok {
		return nil, during("Clone", disk.ErrUnsupported)
	}
	return im.Over(f), nil
}
