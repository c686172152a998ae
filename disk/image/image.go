package image

import (
	"io"
	"iter"
	"strconv"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// Format is what a file is by its content.
type Format uint8

// The formats. Raw is what every file is that is of no other.
const (
	Raw  Format = iota // the bytes of the disk and nothing else
	VHD                // Virtual Hard Disk, of package vhd
	VHDX               // its successor
)

// String returns "raw", "VHD" or "VHDX".
func (f Format) String() string {
	switch f {
	case Raw:
		return "raw"
	case VHD:
		return "VHD"
	case VHDX:
		return "VHDX"
	}
	return "format " + strconv.Itoa(int(f))
}

// Kind says how an image stores its disk.
type Kind uint8

// The kinds of image.
const (
	Fixed        Kind = iota + 1 // all of the disk has its place from the start
	Dynamic                      // blocks are added as they are written
	Differencing                 // blocks are added as they are written, over a parent
)

// String returns "fixed", "dynamic" or "differencing".
func (k Kind) String() string {
	switch k {
	case Fixed:
		return "fixed"
	case Dynamic:
		return "dynamic"
	case Differencing:
		return "differencing"
	}
	return "kind " + strconv.Itoa(int(k))
}

// A File is what an image lives in: bytes that can be read and written in
// place, and a length that can be changed. *disk.Memory is one.
type File interface {
	disk.Store
	disk.Resizer
}

// An Image is the disk inside an image file, *vhd.Image or *vhdx.Image. Beyond the
// optional interfaces named here it has those that its type has; what it
// unwraps to is its file.
type Image interface {
	disk.Store
	disk.Discarder
	disk.Extenter
	disk.Mapper
	disk.Differ
	disk.Unwrapper

	// Spans yields what the image holds itself and what is its parent's.
	Spans(off, n int64) iter.Seq[disk.Span]
	// Writable reports whether the image can be written.
	Writable() bool
	// Notes returns what is unusual about an image that opened, a sentence each.
	Notes() []string
	// Check reads the whole image and returns all that is wrong with it.
	Check() error
	// Compact gives back what the file has and the disk does not need.
	Compact() error
	// Sync waits until everything written is safe.
	Sync() error
	// Close syncs the image, which can only be read from then on.
	Close() error
}

var (
	_ Image = (*vhd.Image)(nil)
	_ Image = (*vhdx.Image)(nil)
)

// Detect tells the format of a file of size bytes by its content alone, never
// by its name; no promise that it will open. The error is one of reading.
func Detect(r io.ReaderAt, size int64) (Format, error) {
	f, err := vhd.Detect(r, size)
	if err != nil {
		return Raw, fail("Detect", "", err)
	}
	switch f {
	case vhd.FormatFixed, vhd.FormatSparse:
		return VHD, nil
	case vhd.FormatVHDX:
		return VHDX, nil
	}
	return Raw, nil
}

// Open opens the image in a file of size bytes for reading. What is of no known
// format is [ErrFormatUnknown]: that it is raw is for the caller to say, who
// then needs nobody to open it. A differencing image opens without its parent;
// [OpenChain] finds that.
func Open(r io.ReaderAt, size int64) (Image, error) {
	src, ok := r.(disk.Source)
	if !ok || src.Size() != size {
		src = io.NewSectionReader(r, 0, size)
	}
	im, err := open(src, reading)
	if err != nil {
		return nil, fail("Open", "", err)
	}
	return im, nil
}

// OpenFile opens the image in f for reading and writing in place.
func OpenFile(f File) (Image, error) {
	im, err := open(f, writing)
	if err != nil {
		return nil, fail("OpenFile", "", err)
	}
	return im, nil
}

// A mode says for what a file is opened.
type mode uint8

const (
	reading   mode = iota
	writing        // in place
	repairing      // in place, after a power cut perhaps
)

// open opens what a file holds by its content.
func open(src disk.Source, how mode) (Image, error) {
	format, err := Detect(src, src.Size())
	if err != nil {
		return nil, err
	}
	f, ok := src.(File)
	if how != reading && !ok {
		return nil, disk.ErrReadOnly
	}
	c, ok := codecs[format]
	if !ok {
		return nil, because(ErrFormatUnknown, "the content is %v", format)
	}
	switch how {
	case writing:
		return c.openFile(f)
	case repairing:
		return c.repair(f)
	}
	return c.open(src)
}

// leafOf returns the image that a chain is as a disk.
func leafOf(im Image) Image {
	if c, ok := im.(*Chain); ok {
		return c.Image
	}
	return im
}

// FormatOf returns the format of an image and its kind, those of the leaf for a
// chain.
func FormatOf(im Image) (Format, Kind) {
	im = leafOf(im)
	for f, c := range codecs {
		if k, ok := c.kind(im); ok {
			return f, k
		}
	}
	return Raw, Fixed
}
