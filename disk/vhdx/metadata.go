package vhdx

import (
	"encoding/binary"
	"io"
	"math/bits"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// The metadata items that the format knows.
var (
	ItemFileParameters     = guid.MustParse("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
	ItemDiskSize           = guid.MustParse("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
	ItemDiskID             = guid.MustParse("BECA12AB-B2E6-4523-93EF-C309E000C746")
	ItemLogicalSectorSize  = guid.MustParse("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
	ItemPhysicalSectorSize = guid.MustParse("CDA348C7-445D-4471-9CC9-E9885251C556")
	ItemParentLocator      = guid.MustParse("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
)

const (
	metadataMark = "metadata"
	maxUserItems = 1024
	maxItem      = 1 << 20

	flagUser     = 1
	flagDisk     = 2
	flagRequired = 4

	paramLeaveAllocated = 1
	paramHasParent      = 2
)

// An Item is an entry of the metadata table.
type Item struct {
	ID            GUID
	Offset        uint32 // from the start of the metadata region
	Length        uint32
	IsUser        bool
	IsVirtualDisk bool // goes with the disk, along its chain, and not with the file
	IsRequired    bool // who does not know it must not open the image
}

// ParseMetadataTable reads a metadata table of 64 KiB, which begins a region of
// the given length, and verifies signature, counts, and that each item occurs
// once and lies in the region, apart from the others.
func ParseMetadataTable(b []byte, region int64) ([]Item, error) {
	items, err := parseMetadataTable(b, region, 0)
	return items, during("ParseMetadataTable", err)
}

// parseMetadataTable is ParseMetadataTable for a table that stands at off.
func parseMetadataTable(b []byte, region, off int64) ([]Item, error) {
	const field = "metadata table"
	if len(b) != TableSize || string(b[:8]) != metadataMark {
		return nil, bad(ErrMetadataRead, off, field, "no signature %q", metadataMark)
	}
	le := binary.LittleEndian
	n := int64(le.Uint16(b[10:]))
	if n > maxEntries {
		return nil, bad(ErrMetadataRead, off+10, field, "%d entries are more than %d", n, maxEntries)
	}
	type key struct {
		id   GUID
		user bool
	}
	items, seen := make([]Item, 0, n), make(map[key]bool, n)
	var places []disk.Extent
	users := 0
	for i := range n {
		it := parseItem(b[32+32*i:])
		if at := off + 32 + 32*i; seen[key{it.ID, it.IsUser}] {
			return nil, bad(ErrMetadataRead, at, field, "item %s is there twice", guid.String(it.ID))
		} else if it.misplaced(region) {
			return nil, bad(ErrMetadataRead, at+16, field, "item %s cannot lie at %d for %d bytes", guid.String(it.ID), it.Offset, it.Length)
		}
		seen[key{it.ID, it.IsUser}] = true
		if it.IsUser {
			users++
		}
		if it.Length > 0 {
			places = append(places, disk.Extent{Off: int64(it.Offset), Len: int64(it.Length)})
		}
		items = append(items, it)
	}
	if users > maxUserItems {
		return nil, bad(ErrMetadataRead, off+10, field, "%d user items are more than %d", users, maxUserItems)
	}
	if at, ok := overlapping(places); ok {
		return nil, bad(ErrMetadataRead, off+at, field, "two items overlap here")
	}
	return items, nil
}

func parseItem(p []byte) Item {
	le := binary.LittleEndian
	flags := le.Uint32(p[24:])
	return Item{
		ID:            getGUID(p),
		Offset:        le.Uint32(p[16:]),
		Length:        le.Uint32(p[20:]),
		IsUser:        flags&flagUser != 0,
		IsVirtualDisk: flags&flagDisk != 0,
		IsRequired:    flags&flagRequired != 0,
	}
}

// misplaced reports whether an item lies where none may in a region of the
// given length.
func (it Item) misplaced(region int64) bool {
	if it.Length == 0 {
		return it.Offset != 0
	}
	return it.Length > maxItem || it.Offset < TableSize || int64(it.Offset)+int64(it.Length) > region
}

func (it Item) put(p []byte) {
	le := binary.LittleEndian
	putGUID(p, it.ID)
	le.PutUint32(p[16:], it.Offset)
	le.PutUint32(p[20:], it.Length)
	var flags uint32
	for _, f := range []struct {
		set bool
		bit uint32
	}{{it.IsUser, flagUser}, {it.IsVirtualDisk, flagDisk}, {it.IsRequired, flagRequired}} {
		if f.set {
			flags |= f.bit
		}
	}
	le.PutUint32(p[24:], flags)
}

// metadataTable returns a metadata table as it stands in a file.
func metadataTable(items []Item) []byte {
	b := make([]byte, TableSize)
	copy(b, metadataMark)
	binary.LittleEndian.PutUint16(b[10:], uint16(len(items)))
	for i, it := range items {
		it.put(b[32+32*i:])
	}
	return b
}

// metadata is what the metadata region says about the disk.
type metadata struct {
	blockSize      int64
	leaveAllocated bool
	hasParent      bool
	size           int64
	diskID         GUID
	sector         int64 // logical
	physical       int64
	link           Link // when hasParent is set
}

// A knownItem is a metadata item of fixed length.
type knownItem struct {
	id     GUID
	field  string
	length uint32
	read   func(m *metadata, b []byte, off int64) error
}

// knownItems must all be there.
var knownItems = []knownItem{
	{ItemFileParameters, "file parameters", 8, (*metadata).readParameters},
	{ItemLogicalSectorSize, "logical sector size", 4, func(m *metadata, b []byte, off int64) error {
		m.sector = int64(binary.LittleEndian.Uint32(b))
		return checkSectorSize(m.sector, off, "logical sector size")
	}},
	{ItemPhysicalSectorSize, "physical sector size", 4, func(m *metadata, b []byte, off int64) error {
		m.physical = int64(binary.LittleEndian.Uint32(b))
		return checkSectorSize(m.physical, off, "physical sector size")
	}},
	{ItemDiskSize, "virtual disk size", 8, func(m *metadata, b []byte, off int64) error {
		size := binary.LittleEndian.Uint64(b)
		m.size = int64(size)
		return checkSize(size, m.sector, off)
	}},
	{ItemDiskID, "virtual disk ID", 16, func(m *metadata, b []byte, off int64) error {
		m.diskID = getGUID(b)
		return nil
	}},
}

// readParameters reads the file parameters item.
func (m *metadata) readParameters(b []byte, off int64) error {
	le := binary.LittleEndian
	m.blockSize = int64(le.Uint32(b))
	flags := le.Uint32(b[4:])
	m.hasParent = flags&paramHasParent != 0
	m.leaveAllocated = flags&paramLeaveAllocated != 0 && !m.hasParent
	return checkBlockSize(m.blockSize, off)
}

// readMetadata reads the items that the format knows. The note tells of a
// locator that a disk without a parent has.
func readMetadata(r io.ReaderAt, region Region) (m *metadata, items []Item, note error, err error) {
	table := make([]byte, TableSize)
	if err := readFull(r, table, region.Offset, "metadata table"); err != nil {
		return nil, nil, nil, err
	}
	if items, err = parseMetadataTable(table, region.Length, region.Offset); err != nil {
		return nil, nil, nil, err
	}
	system, err := systemItems(items, region)
	if err != nil {
		return nil, nil, nil, err
	}
	m = &metadata{}
	for _, k := range knownItems {
		it, ok := system[k.id]
		off := region.Offset + int64(it.Offset)
		if !ok || it.Length != k.length {
			return nil, nil, nil, bad(ErrMetadataRead, off, k.field, "an item of %d bytes, want %d", it.Length, k.length)
		}
		b := make([]byte, k.length)
		if err := readFull(r, b, off, k.field); err != nil {
			return nil, nil, nil, err
		}
		if err := k.read(m, b, off); err != nil {
			return nil, nil, nil, err
		}
	}
	it, ok := system[ItemParentLocator]
	if m.hasParent {
		m.link, err = readLocator(r, it, region)
	} else if ok {
		note = bad(ErrMetadataRead, region.Offset+int64(it.Offset), "parent locator", "the disk has no parent")
	}
	return m, items, note, err
}

// systemItems returns the items that are not the user's, and refuses those that
// are required and unknown.
func systemItems(items []Item, region Region) (map[GUID]Item, error) {
	known := map[GUID]bool{ItemParentLocator: true}
	for _, k := range knownItems {
		known[k.id] = true
	}
	system := make(map[GUID]Item)
	for _, it := range items {
		if it.IsRequired && (it.IsUser || !known[it.ID]) {
			return nil, bad(ErrMetadataRead, region.Offset, "metadata table", "item %s is required and unknown", guid.String(it.ID))
		}
		if !it.IsUser {
			system[it.ID] = it
		}
	}
	return system, nil
}

// readLocator reads the parent locator of a differencing disk.
func readLocator(r io.ReaderAt, it Item, region Region) (Link, error) {
	off := region.Offset + int64(it.Offset)
	if it.Length == 0 {
		return Link{}, bad(ErrParentNotFound, region.Offset, "parent locator", "a differencing disk without one")
	}
	b := make([]byte, it.Length)
	if err := readFull(r, b, off, "parent locator"); err != nil {
		return Link{}, err
	}
	return parseLocator(b, off)
}

// checkBlockSize verifies a block size, found at off of a file or, when off is
// -1, given by a caller.
func checkBlockSize(size, off int64) error {
	if size < mib || size > 256*mib || bits.OnesCount64(uint64(size)) != 1 {
		return bad(ErrBlockSize, off, "block size", "%d is no power of two from 1 MiB to 256 MiB", size)
	}
	return nil
}

func checkSectorSize(size, off int64, field string) error {
	if size != 512 && size != 4096 {
		return bad(ErrSectorSize, off, field, "%d is neither 512 nor 4096", size)
	}
	return nil
}

// checkSize verifies the size of a disk.
func checkSize(size uint64, sector, off int64) error {
	const field = "virtual disk size"
	switch {
	case size == 0:
		return bad(ErrSize, off, field, "zero")
	case size > uint64(MaxSize):
		return bad(ErrSize, off, field, "%d is above %d", size, MaxSize)
	case size%uint64(sector) != 0:
		return bad(ErrSize, off, field, "%d is no multiple of %d", size, sector)
	}
	return nil
}
