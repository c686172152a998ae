package image

import (
	"io"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// Options says what image to make. Zero fields are what Windows would write,
// but for ID and Time: nothing here draws a random number or reads the clock.
type Options struct {
	Format    Format   // zero means raw
	Kind      Kind     // zero means Dynamic, or Differencing if there is a parent
	Size      int64    // of the disk; a plan takes that of its source, a child that of its parent
	BlockSize int64    // of an image that is not fixed; zero means the format's default
	ID        [16]byte // identifier of the image, or what the format's identifiers are made from

	SectorSize int64     // logical: 512, or with VHDX 4096; zero means 512
	Time       time.Time // of creation, where the format has room for it
	Parent     Image     // of a differencing image; a chain stands for its leaf
	Place      Place     // where the two lie
}

// A Place says where a child and its parent lie, in the words of Windows.
type Place struct {
	Parent string // absolute, `C:\VMs\base.vhd`, or as seen from the child's folder
	Child  string // absolute; with it, Parent is written as seen from there too
}

// Create makes f an empty image, whose disk reads as zeros or as its parent,
// and opens it. What was in f is gone.
func Create(f File, o Options) (Image, error) {
	c, ok := codecs[o.Format]
	if !ok {
		return nil, fail("Create", "", because(ErrFormatUnknown, "no images are made of %v", o.Format))
	}
	im, err := c.create(f, o)
	if err != nil {
		return nil, fail("Create", "", err)
	}
	return im, nil
}

// NewPlan plans an image, or with format [Raw] a file, of the disk src: to
// convert an image give it as src, to collapse a chain give that. With a Parent
// the image holds what differs from it. The disk must not change while there is
// a plan for it.
func NewPlan(src disk.Source, o Options) (Plan, error) {
	if o.Format == Raw {
		if o.Parent != nil || o.Kind == Differencing {
			return nil, fail("NewPlan", "", because(ErrType, "raw bytes have no parent"))
		}
		return rawPlan{src}, nil
	}
	c, ok := codecs[o.Format]
	if !ok {
		return nil, fail("NewPlan", "", because(ErrFormatUnknown, "no images are made of %v", o.Format))
	}
	p, err := c.plan(src, o)
	if err != nil {
		return nil, fail("NewPlan", "", err)
	}
	return p, nil
}

// Convert makes f an image of the disk src; what was in f is gone.
func Convert(f File, src disk.Source, o Options) error {
	p, err := NewPlan(src, o)
	if err != nil {
		return err
	}
	if err = f.Resize(0); err == nil {
		err = f.Resize(p.Size())
	}
	if err != nil {
		return fail("Convert", "", err)
	}
	return fail("Convert", "", p.WriteAtTo(f))
}

// Resize changes the size of a disk. What a larger one gains is zero; a smaller
// one is refused with [ErrShrink] when data would be lost, and a store that has
// one size for ever with disk.ErrUnsupported.
func Resize(im Image, size int64) error {
	return fail("Resize", "", disk.Resize(leafOf(im), size))
}

// Compact makes an image's file as short as it can be without another one: what
// is zero leaves it, what is behind gaps moves into them. A fixed image never
// has room to give back and is [ErrType].
func Compact(im Image) error {
	return fail("Compact", "", im.Compact())
}

// rawPlan writes the bytes of a disk and nothing else.
type rawPlan struct{ src disk.Source }

func (p rawPlan) Size() int64 { return p.src.Size() }

func (p rawPlan) WriteTo(w io.Writer) (int64, error) {
	s := virtdisk.NewStream(w)
	err := s.CopyFrom(p.src, 0, p.Size())
	return s.Written(), fail("WriteTo", "", err)
}

// WriteAtTo writes the last byte in any case, so that a file that grows by being
// written has its length.
func (p rawPlan) WriteAtTo(w io.WriterAt) error {
	s, size := virtdisk.NewSparse(w), p.Size()
	if size == 0 {
		return nil
	}
	err := s.CopyFrom(p.src, 0, size)
	var last [1]byte
	if err == nil {
		err = readFull(p.src, last[:], size-1)
	}
	if err == nil {
		_, err = w.WriteAt(last[:], size-1)
	}
	return fail("WriteAtTo", "", err)
}

// readFull fills p or fails.
func readFull(s io.ReaderAt, p []byte, off int64) error {
	n, err := s.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}
