package vhdx

import (
	"encoding/binary"
	"io"

	"github.com/shadowsim/shadowsim/disk"
)

// What images are made with where Options say nothing.
const (
	DefaultBlockSize      = 32 * mib // of a fixed or dynamic image
	DefaultChildBlockSize = 2 * mib  // of a differencing image
	DefaultCreator        = "shadowsim"

	logLength = mib
	logAt     = mib
	metaAt    = 2 * mib
	metaSize  = mib
	tableAt   = 3 * mib
)

// Options says what image to make. Zero fields are what Windows would choose,
// but for the identifiers: nothing here draws a random number, and equal options
// make equal bytes.
type Options struct {
	Size      int64  // of the disk: a multiple of the logical sector, up to MaxSize
	Type      Type   // zero means Dynamic, or Differencing if there is a parent
	Parent    Parent // of a differencing image, which takes size, sectors and ID from it
	BlockSize int64  // zero means DefaultBlockSize, or DefaultChildBlockSize

	SectorSize         int64 // logical: 512 or 4096; zero means 512
	PhysicalSectorSize int64 // not below the logical; zero means 4096

	ID            GUID   // of the disk, as its user sees it
	FileWriteGUID GUID   // zero means one that derives from ID and the other options
	DataWriteGUID GUID   // likewise; give one where several disks have the same ID
	Creator       string // zero means DefaultCreator
}

// Create makes f an empty image, whose disk reads as zeros, or as its parent,
// and opens it. What was in f is gone.
func Create(f File, o Options) (*Image, error) {
	d, err := newDraft(o)
	if err != nil {
		return nil, during("Create", err)
	}
	if err := d.create(f); err != nil {
		return nil, during("Create", err)
	}
	im, err := openWriting(f)
	if err != nil {
		return nil, during("Create", err)
	}
	im.parent = o.Parent.Image
	return im, nil
}

// A draft is an image before its first byte is written: what its structures
// say and where they will lie.
type draft struct {
	o      Options
	lay    *layout
	header Header
	items  []Item
	values []byte // of the items, as they follow the metadata table
	table  int64  // bytes of the region with the block allocation table
}

// newDraft verifies o.
func newDraft(o Options) (*draft, error) {
	if err := o.settle(); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	d := &draft{o: o}
	m := &metadata{blockSize: o.BlockSize, hasParent: o.Type == Differencing, size: o.Size, sector: o.SectorSize}
	d.lay = newLayout(m)
	d.lay.tableAt = tableAt
	d.table = roundUp(d.lay.entries*8, mib)
	if d.table > 1<<32-mib {
		return nil, bad(ErrBlockSize, -1, "block size", "%d makes a table of %d bytes", o.BlockSize, d.table)
	}
	if err := d.describe(); err != nil {
		return nil, err
	}
	d.header = Header{
		FileWriteGUID: orElse(o.FileWriteGUID, o.derive("file")),
		DataWriteGUID: orElse(o.DataWriteGUID, o.derive("data")),
		Version:       formatVersion,
		LogLength:     logLength,
		LogOffset:     logAt,
	}
	return d, nil
}

// settle fills in what o leaves out.
func (o *Options) settle() error {
	p := o.Parent.Image
	if o.Type == 0 {
		o.Type = Dynamic
		if p != nil {
			o.Type = Differencing
		}
	}
	switch {
	case o.Type != Fixed && o.Type != Dynamic && o.Type != Differencing:
		return bad(ErrType, -1, "disk type", "%d", uint8(o.Type))
	case o.Type == Differencing && p == nil:
		return bad(ErrParentNotFound, -1, "parent", "a differencing disk needs one")
	case o.Type != Differencing && o.Parent != Parent{}:
		return bad(ErrType, -1, "disk type", "a %v disk has no parent", o.Type)
	}
	block := int64(DefaultBlockSize)
	if p != nil {
		if err := checkChain(nil, p); err != nil {
			return err
		}
		block = DefaultChildBlockSize
		o.Size = orElse(o.Size, p.lay.size)
		o.SectorSize = orElse(o.SectorSize, p.lay.sector)
		o.PhysicalSectorSize = orElse(o.PhysicalSectorSize, p.meta.physical)
		o.ID = orElse(o.ID, p.meta.diskID)
		if o.SectorSize != p.lay.sector {
			return bad(ErrSectorSize, -1, "logical sector size", "%d over a parent with %d", o.SectorSize, p.lay.sector)
		}
	}
	o.BlockSize = orElse(o.BlockSize, block)
	o.SectorSize = orElse(o.SectorSize, 512)
	o.PhysicalSectorSize = orElse(o.PhysicalSectorSize, 4096)
	o.Creator = orElse(o.Creator, DefaultCreator)
	return nil
}

// check verifies the numbers in o.
func (o *Options) check() error {
	if err := checkSectorSize(o.SectorSize, -1, "logical sector size"); err != nil {
		return err
	}
	if err := checkSectorSize(o.PhysicalSectorSize, -1, "physical sector size"); err != nil {
		return err
	}
	if o.PhysicalSectorSize < o.SectorSize {
		return bad(ErrSectorSize, -1, "physical sector size", "%d is below the logical, %d", o.PhysicalSectorSize, o.SectorSize)
	}
	if err := checkSize(uint64(o.Size), o.SectorSize, -1); err != nil {
		return err
	}
	return checkBlockSize(o.BlockSize, -1)
}

// derive makes an identifier of what the options say.
func (o *Options) derive(what string) GUID {
	le := binary.LittleEndian
	var numbers []byte
	for _, n := range []int64{o.Size, int64(o.Type), o.BlockSize, o.SectorSize, o.PhysicalSectorSize} {
		numbers = le.AppendUint64(numbers, uint64(n))
	}
	parent := GUID{}
	if o.Parent.Image != nil {
		parent = o.Parent.Image.header.DataWriteGUID
	}
	return toGUID(digest([]byte(what), numbers, o.ID[:], parent[:], []byte(o.Parent.Path), []byte(o.Creator)))
}

// describe fills in the metadata items.
func (d *draft) describe() error {
	le := binary.LittleEndian
	var flags uint32
	switch d.o.Type {
	case Fixed:
		flags = paramLeaveAllocated
	case Differencing:
		flags = paramHasParent
	}
	params := le.AppendUint32(le.AppendUint32(nil, uint32(d.o.BlockSize)), flags)
	id := make([]byte, 16)
	putGUID(id, d.o.ID)
	d.add(ItemFileParameters, params, false)
	d.add(ItemDiskSize, le.AppendUint64(nil, uint64(d.o.Size)), true)
	d.add(ItemDiskID, id, true)
	d.add(ItemLogicalSectorSize, le.AppendUint32(nil, uint32(d.o.SectorSize)), true)
	d.add(ItemPhysicalSectorSize, le.AppendUint32(nil, uint32(d.o.PhysicalSectorSize)), true)
	if d.o.Type != Differencing {
		return nil
	}
	l, err := d.o.Parent.link()
	if err != nil {
		return err
	}
	b, err := l.bytes()
	if err != nil {
		return err
	}
	d.add(ItemParentLocator, b, false)
	others, err := d.o.Parent.Image.diskItems()
	if err != nil {
		return err
	}
	for _, v := range others {
		if !v.isKnown() { // the disk's, and so the child's too
			d.put(v.Item, v.value)
		}
	}
	if n := TableSize + len(d.values); n > metaSize {
		return bad(ErrMetadataRead, -1, "metadata", "%d bytes with the parent locator do not fit", n)
	}
	return nil
}

// add adds a required item.
func (d *draft) add(id GUID, value []byte, ofDisk bool) {
	d.put(Item{ID: id, IsVirtualDisk: ofDisk, IsRequired: true}, value)
}

// put adds an item with a value.
func (d *draft) put(it Item, value []byte) {
	it.Offset, it.Length = 0, uint32(len(value))
	if it.Length > 0 {
		it.Offset = uint32(TableSize + len(d.values))
	}
	d.items = append(d.items, it)
	d.values = append(d.values, value...)
}

// first returns where the first block goes.
func (d *draft) first() int64 { return tableAt + d.table }

// create writes the empty image. The headers come last.
func (d *draft) create(f File) error {
	if err := f.Resize(0); err != nil {
		return ioError(0, "file size", err)
	}
	size := d.first()
	if d.o.Type == Fixed {
		size += d.lay.blocks() * d.lay.block
	}
	if err := f.Resize(size); err != nil {
		return ioError(size, "file size", err)
	}
	at := int64(tableAt)
	entries := func(yield func(entry) bool) {}
	if d.o.Type == Fixed {
		entries = d.fixedEntries
	}
	if err := writeTable(io.NewOffsetWriter(f, at), entries); err != nil {
		return err
	}
	for _, p := range d.front() {
		if err := writeFull(f, p.b, p.off, p.field); err != nil {
			return err
		}
	}
	return nil
}

// A part is some bytes that stand at a place of their own.
type part struct {
	off   int64
	field string
	b     []byte
}

// front returns what comes before the block allocation table, but for zeros;
// the headers are the last of it.
func (d *draft) front() []part {
	regions := regionTable([]Region{
		{RegionBAT, tableAt, d.table, true},
		{RegionMetadata, metaAt, metaSize, true},
	})
	h := d.header
	h.SequenceNumber = 1
	h1 := h.Bytes()
	h.SequenceNumber = 2
	h2 := h.Bytes()
	return []part{
		{metaAt, "metadata", append(metadataTable(d.items), d.values...)},
		{regionsAt1, "region table", regions},
		{regionsAt2, "region table", regions},
		{0, "file type identifier", fileIdentifier(d.o.Creator)},
		{headerAt1, "header", h1[:]},
		{headerAt2, "header", h2[:]},
	}
}

// fixedEntries yields the table of a fixed image: its blocks in order.
func (d *draft) fixedEntries(yield func(entry) bool) {
	for i := range d.lay.entries {
		e := entry(0)
		if b, isBitmap := d.lay.whatIs(i); !isBitmap {
			e = makeEntry(d.first()+b*d.lay.block, FullyPresent)
		}
		if !yield(e) {
			return
		}
	}
}

// writeTable writes a block allocation table, front to back.
func writeTable(w io.Writer, entries func(yield func(entry) bool)) (err error) {
	buf := make([]byte, 0, 64<<10)
	flush := func() bool {
		if _, err = w.Write(buf); err != nil {
			err = ioError(-1, "block allocation table", err)
		}
		buf = buf[:0]
		return err == nil
	}
	for e := range entries {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(e))
		if len(buf) == cap(buf) && !flush() {
			return err
		}
	}
	flush()
	return err
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
