package vhd

import (
	"encoding/binary"
	"io"
	"time"

	"github.com/shadowsim/shadowsim/disk"
)

// Options says what image to make. Zero fields are what Windows would write,
// but for ID and Time: nothing here draws a random number or reads the clock.
type Options struct {
	Size           int64     // of the disk: a multiple of 512, up to MaxSize
	Type           Type      // zero means Dynamic, or Differencing if there is a parent
	Parent         Parent    // of a differencing image, whose Size may then be zero
	Grain          int       // as in SetGrain; zero means 8
	BlockSize      int64     // of an image that is not fixed; zero means DefaultBlockSize
	ID             [16]byte  // unique identifier, in file order
	Time           time.Time // of creation; the zero Time is stored as zero
	Creator        Tag       // zero means "win ", from which QEMU too believes the size
	CreatorVersion uint32    // zero means 0x000A0000
	CreatorHost    Tag       // zero means "Wi2k"
}

// Create makes f an empty image, whose disk reads as zeros, and opens it. What
// was in f is gone.
func Create(f File, o Options) (*Image, error) {
	d, err := newDraft(o)
	if err != nil {
		return nil, during("Create", err)
	}
	if err := d.create(f); err != nil {
		return nil, during("Create", err)
	}
	im, err := d.open(f)
	if err != nil {
		return nil, during("Create", err)
	}
	im.file = f
	return im, nil
}

// open opens what create has written. Nothing is read but what names a parent.
func (d *draft) open(f File) (*Image, error) {
	if d.footer.Type == Differencing {
		im, err := open(f)
		if err == nil {
			im.parent, im.grain = d.parent, d.grain
		}
		return im, err
	}
	im := &Image{src: f, size: d.size, footer: d.footer, rawFooter: d.rawFooter, end: d.first, grain: defaultGrain}
	if d.footer.Type == Dynamic {
		im.dyn = &d.layout
		im.table = blockTable{owner: new(owner), mine: true, pages: make([]*tablePage, (d.blocks+pageBlocks-1)/pageBlocks)}
	}
	return im, nil
}

// A draft is an image before its first byte is written: what its structures
// say and where they will lie.
type draft struct {
	footer    Footer
	rawFooter [FooterSize]byte
	size      int64
	layout    layout // of an image that is not fixed
	parent    *Image // of a differencing image
	grain     int64
	locators  []byte // what its locators point at; it follows the table
	blocks    int64
	first     int64 // where the first bitmap goes
	stride    int64 // from one bitmap to the next
}

// newDraft verifies o.
func newDraft(o Options) (*draft, error) {
	if err := o.settle(); err != nil {
		return nil, err
	}
	if err := checkSize(uint64(o.Size), -1); err != nil {
		return nil, err
	}
	when, err := stamp(o.Time)
	if err != nil {
		return nil, err
	}
	d := &draft{size: o.Size}
	d.footer = Footer{
		Features:       featureBase,
		Version:        formatVersion,
		DataOffset:     noOffset,
		TimeStamp:      when,
		Creator:        orElse(o.Creator, creatorWindows),
		CreatorVersion: orElse(o.CreatorVersion, creatorVersion),
		CreatorHost:    orElse(o.CreatorHost, hostWindows),
		OriginalSize:   uint64(o.Size),
		CurrentSize:    uint64(o.Size),
		Geometry:       GeometryOf(o.Size),
		Type:           o.Type,
		ID:             o.ID,
	}
	switch o.Type {
	case Fixed:
		d.first = o.Size
	case Dynamic, Differencing:
		d.footer.DataOffset = FooterSize
		if err := d.layOut(orElse(o.BlockSize, DefaultBlockSize), o); err != nil {
			return nil, err
		}
	default:
		return nil, bad(ErrType, -1, "disk type", "%d", uint32(o.Type))
	}
	d.rawFooter = d.footer.Bytes()
	return d, nil
}

// settle fills in what follows from there being a parent.
func (o *Options) settle() error {
	if o.Type == 0 {
		o.Type = Dynamic
		if o.Parent.Image != nil {
			o.Type = Differencing
		}
	}
	switch {
	case o.Type == Differencing && o.Parent.Image == nil:
		return bad(ErrParentNotFound, -1, "parent", "a differencing disk needs one")
	case o.Type == Differencing:
		if o.Size = orElse(o.Size, o.Parent.Image.size); o.Size != o.Parent.Image.size {
			return bad(ErrParentSize, -1, "disk size", "%d over a parent of %d", o.Size, o.Parent.Image.size)
		}
		return checkChain(nil, o.Parent.Image)
	case o.Parent != Parent{}:
		return bad(ErrType, -1, "disk type", "a %v disk has no parent", o.Type)
	}
	return nil
}

// layOut gives the parts of a dynamic image their places: the footer's copy,
// the header, the table, blocks. An image that could not be filled because its
// table would not reach its last block is refused.
func (d *draft) layOut(block int64, o Options) error {
	if err := checkBlockSize(block, -1); err != nil {
		return err
	}
	d.blocks = (d.size + block - 1) / block
	d.layout = layout{
		headerAt: FooterSize,
		tableAt:  FooterSize + HeaderSize,
		block:    block,
		bitmap:   bitmapSize(block),
	}
	l := &d.layout
	l.header = DynamicHeader{
		DataOffset:      noOffset,
		TableOffset:     uint64(l.tableAt),
		Version:         formatVersion,
		MaxTableEntries: uint32(d.blocks),
		BlockSize:       uint32(block),
	}
	end := l.tableAt + roundUp(d.blocks*4, SectorSize)
	if o.Type == Differencing {
		if err := d.addParent(o, end); err != nil {
			return err
		}
	}
	d.stride = roundUp(block+l.bitmap, blockAlign)
	d.first = l.place(roundUp(end+int64(len(d.locators)), blockAlign))
	if last := d.first + (d.blocks-1)*d.stride; last/SectorSize >= int64(absent) {
		return bad(ErrBlockSize, -1, "block size", "%d is too small for a disk of %d bytes", block, d.size)
	}
	return nil
}

// addParent names the parent of a differencing image, with locators from at on.
func (d *draft) addParent(o Options, at int64) (err error) {
	d.parent = o.Parent.Image
	if d.grain, err = checkGrain(orElse(o.Grain, defaultGrain/SectorSize)); err != nil {
		return err
	}
	data, err := o.Parent.draftLink(&d.layout.header)
	if err != nil {
		return err
	}
	d.locators = d.layout.header.placeLocators(data, at)
	return nil
}

// fileSize returns the length of an image with n blocks; a fixed one has none.
func (d *draft) fileSize(n int64) int64 { return d.first + n*d.stride + FooterSize }

// create writes the empty image. The footer comes last.
func (d *draft) create(f File) error {
	if err := f.Resize(0); err != nil {
		return ioError(0, "file size", err)
	}
	if err := f.Resize(d.fileSize(0)); err != nil {
		return ioError(d.fileSize(0), "file size", err)
	}
	if d.footer.Type != Fixed {
		if err := d.writeFront(io.NewOffsetWriter(f, 0), func(int64) uint32 { return absent }); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(d.rawFooter[:], d.first); err != nil {
		return ioError(d.first, "footer", err)
	}
	return nil
}

// writeFront writes what comes before the blocks of an image that is not
// fixed, without the gap behind: the footer's copy, the header, the table, and
// what locators point at.
func (d *draft) writeFront(w io.Writer, entry func(b int64) uint32) error {
	header := d.layout.header.Bytes()
	entries := roundUp(d.blocks, SectorSize/4)
	buf := append(make([]byte, 0, min(64<<10, FooterSize+HeaderSize+4*entries)), d.rawFooter[:]...)
	buf = append(buf, header[:]...)
	for b := range entries {
		e := absent
		if b < d.blocks {
			e = entry(b)
		}
		buf = binary.BigEndian.AppendUint32(buf, e)
		if len(buf) == cap(buf) {
			if _, err := w.Write(buf); err != nil {
				return ioError(-1, "block allocation table", err)
			}
			buf = buf[:0]
		}
	}
	if _, err := w.Write(append(buf, d.locators...)); err != nil {
		return ioError(-1, "block allocation table", err)
	}
	return nil
}

// orElse returns v, or other if v is zero.
func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

var _ disk.Store = (*Image)(nil)
