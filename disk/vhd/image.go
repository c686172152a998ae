package vhd

import (
	"io"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// A File is what an image lives in: bytes that can be read and written in
// place, and a length that can be changed. Bytes that growth adds are zero.
// *disk.Memory is one. A File that has a method Sync() error is synced where
// the order of writes matters.
type File interface {
	disk.Store
	disk.Resizer
}

// Image is the disk inside a VHD file, a [disk.Store]. It holds no data: it
// reads the file when it is read, and writes to it in place, so the bytes of
// the file are a whole image before and after every call, blocks move in Compact
// alone, and whatever the codec does not know stays as it was.
//
// Like any store, an Image may be read from several goroutines at once and
// must be written by one alone.
type Image struct {
	src       disk.Source
	file      File // nil when the image is read-only
	size      int64
	footer    Footer
	rawFooter [FooterSize]byte
	end       int64 // where the footer at the end begins; what lies before is data
	recovered error // why the footer at the end could not be used, if so
	notes     []string

	dyn   *layout // nil in a fixed image
	table blockTable

	link   *Link  // nil but in a differencing image
	parent *Image // nil also while that is without its parent
	grain  int64  // bytes that a child takes over from its parent at least
}

// layout is what the header of an image that is not fixed decides.
type layout struct {
	header   DynamicHeader
	headerAt int64
	tableAt  int64
	block    int64 // bytes of data in a block
	bitmap   int64 // bytes in front of them
}

// Size returns the size of the disk in bytes.
func (im *Image) Size() int64 { return im.size }

// Type returns Fixed, Dynamic or Differencing.
func (im *Image) Type() Type { return im.footer.Type }

// ID returns the unique identifier in the order of the file's bytes.
func (im *Image) ID() [16]byte { return im.footer.ID }

// Footer returns the footer in use.
func (im *Image) Footer() Footer { return im.footer }

// Header returns the dynamic header; a fixed image has none.
func (im *Image) Header() (DynamicHeader, bool) {
	if im.dyn == nil {
		return DynamicHeader{}, false
	}
	return im.dyn.header, true
}

// Notes returns what a reader should know about an image that opened although
// something about it is not as it ought to be, a sentence each.
func (im *Image) Notes() []string { return slices.Clone(im.notes) }

// Writable reports whether the image can be written: it was opened with
// OpenFile or made by Create.
func (im *Image) Writable() bool { return im.file != nil }

// Unwrap returns the file, or nil if the image was opened from something that
// is only read.
func (im *Image) Unwrap() disk.Store {
	st, _ := im.src.(disk.Store)
	return st
}

// Over returns the image over f, which must hold the same bytes as the file of
// im: a copy or, better, a fork. It costs the same at any size; from then on
// neither image sees what is written to the other.
func (im *Image) Over(f File) *Image {
	c := im.over(f)
	if im.recovered == nil {
		c.file = f
	}
	return c
}

// over returns im, read-only, over another source of the same bytes.
func (im *Image) over(src disk.Source) *Image {
	c := *im
	c.src, c.file = src, nil
	if im.dyn != nil {
		c.table = im.table.fork()
	}
	return &c
}

// Snapshot returns an immutable image over a snapshot of the file, if the file
// can take one.
func (im *Image) Snapshot() (disk.Store, error) {
	st, ok := im.src.(disk.Store)
	if !ok {
		return nil, during("Snapshot", disk.ErrUnsupported)
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

// ReadAt reads the disk. In a block whose bitmap denies a sector the sector
// reads as zero, whatever is stored there.
func (im *Image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, during("ReadAt", disk.ErrRange)
	}
	if off >= im.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	var eof error
	if rest := im.size - off; int64(len(p)) > rest {
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
	if im.dyn == nil {
		if err := readFull(im.src, p, off, "data"); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	n := 0
	for n < len(p) {
		b, in := off/im.dyn.block, off%im.dyn.block
		seg := p[n:]
		if rest := im.dyn.block - in; int64(len(seg)) > rest {
			seg = seg[:rest]
		}
		var err error
		if entry := im.table.entry(b); entry == absent {
			err = im.readBelow(seg, off)
		} else {
			err = im.readBlock(seg, b, entry, in)
		}
		if err != nil {
			return n, err
		}
		n, off = n+len(seg), off+int64(len(seg))
	}
	return n, nil
}

// readBlock fills p from the place in of block b.
func (im *Image) readBlock(p []byte, b int64, entry uint32, in int64) error {
	data := bitmapAt(entry) + im.dyn.bitmap + in
	if im.table.isFull(b) {
		return readFull(im.src, p, data, "block data")
	}
	bits, err := im.bitmap(b, entry)
	if err != nil {
		return err
	}
	for from, to := range bits.set(in, in+int64(len(p))) {
		if err := readFull(im.src, p[from-in:to-in], data+from-in, "block data"); err != nil {
			return err
		}
	}
	for from, to := range bits.clear(in, in+int64(len(p))) {
		if err := im.readBelow(p[from-in:to-in], b*im.dyn.block+from); err != nil {
			return err
		}
	}
	return nil
}

// readBelow fills p with what the disk shows at off where no sector is stored.
func (im *Image) readBelow(p []byte, off int64) error {
	switch {
	case im.link == nil:
		clear(p)
		return nil
	case im.parent == nil:
		return im.orphan()
	}
	_, err := im.parent.read(p, off)
	return err
}

// Map tells that the bytes of a block are bytes of the file, or of the parent,
// so that a copy can pass them on by reference.
func (im *Image) Map(off, n int64) disk.Segment {
	if n = min(n, im.size-off); off < 0 || n <= 0 {
		return disk.Segment{Off: off}
	}
	if im.dyn == nil {
		return disk.Segment{Store: im.src, Off: off, Len: n}
	}
	b, in := off/im.dyn.block, off%im.dyn.block
	entry := im.table.entry(b)
	if entry == absent {
		return im.mapBelow(off, min(n, im.table.nextPlaced(b)*im.dyn.block-off))
	}
	n = min(n, im.dyn.block-in)
	at := disk.Segment{Store: im.src, Off: bitmapAt(entry) + im.dyn.bitmap + in, Len: n}
	if im.table.isFull(b) {
		return at
	}
	bits, err := im.bitmap(b, entry)
	switch {
	case err != nil:
		return disk.Segment{Off: off, Len: n}
	case im.table.isFull(b):
		return at
	case im.link == nil: // the rest of the block is zero
		return disk.Segment{Off: off, Len: n}
	}
	end := min(n, bits.run(in/SectorSize, (in+n+SectorSize-1)/SectorSize)*SectorSize-in)
	if !bits.isSet(in / SectorSize) {
		return im.mapBelow(off, end)
	}
	at.Len = end
	return at
}

// mapBelow is Map for a range in which no sector is stored.
func (im *Image) mapBelow(off, n int64) disk.Segment {
	if im.parent == nil {
		return disk.Segment{Off: off, Len: n}
	}
	return disk.Segment{Store: im.parent, Off: off, Len: n}
}

// bitmapAt returns the offset in the file that a table entry names.
func bitmapAt(entry uint32) int64 { return int64(entry) * SectorSize }

// Sync waits until everything written is safe, where the file knows of that.
func (im *Image) Sync() error { return during("Sync", im.sync()) }

// Close syncs the image, which can only be read from then on. It does not
// close the file.
func (im *Image) Close() error {
	if im.file == nil {
		return nil
	}
	err := im.sync()
	im.file = nil
	return during("Close", err)
}
