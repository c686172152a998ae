package vhdx

import (
	"encoding/binary"
	"io"
	"math"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// The two regions that every image has.
var (
	RegionBAT      = guid.MustParse("2DC27766-F623-4200-9D64-115E9BFD4A08")
	RegionMetadata = guid.MustParse("8B7CA206-4790-4B9A-B8FE-575F050F886E")
)

const (
	regionMark = "regi"
	maxEntries = 2047 // of a region table, and of a metadata table
)

// A Region is a part of the file that the region table names.
type Region struct {
	ID       GUID
	Offset   int64
	Length   int64
	Required bool // who does not know it must not open the image
}

func (r Region) extent() disk.Extent { return disk.Extent{Off: r.Offset, Len: r.Length} }

// ParseRegionTable reads a region table of 64 KiB and verifies signature,
// checksum, count, and that no region occurs twice or lies where none may.
func ParseRegionTable(b []byte) ([]Region, error) {
	rs, err := parseRegionTable(b, 0)
	return rs, during("ParseRegionTable", err)
}

// parseRegionTable is ParseRegionTable for a table that stands at off.
func parseRegionTable(b []byte, off int64) ([]Region, error) {
	if len(b) != TableSize {
		return nil, bad(ErrMetadataRead, off, "region table", "%d bytes, want %d", len(b), TableSize)
	}
	if err := checkSeal(b, regionMark, ErrMetadataRead, off, "region table"); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	n := le.Uint32(b[8:])
	if n > maxEntries {
		return nil, bad(ErrMetadataRead, off+8, "region table count", "%d is above %d", n, maxEntries)
	}
	rs := make([]Region, 0, n)
	seen := make(map[GUID]bool, n)
	for i := range int64(n) {
		at := 16 + 32*i
		p := b[at:]
		id, place, length := getGUID(p), le.Uint64(p[16:]), le.Uint32(p[24:])
		if seen[id] {
			return nil, bad(ErrMetadataRead, off+at, "region table", "region %s is there twice", guid.String(id))
		}
		seen[id] = true
		if place < mib || place%mib != 0 || place > math.MaxInt64-math.MaxUint32 || length == 0 || length%mib != 0 {
			return nil, bad(ErrMetadataRead, off+at+16, "region table", "region %s cannot lie at %d for %d bytes", guid.String(id), place, length)
		}
		rs = append(rs, Region{id, int64(place), int64(length), le.Uint32(p[28:])&1 != 0})
	}
	return rs, nil
}

// regionTable returns a region table as it stands in a file.
func regionTable(rs []Region) []byte {
	b := make([]byte, TableSize)
	le := binary.LittleEndian
	copy(b, regionMark)
	le.PutUint32(b[8:], uint32(len(rs)))
	for i, r := range rs {
		p := b[16+32*i:]
		putGUID(p, r.ID)
		le.PutUint64(p[16:], uint64(r.Offset))
		le.PutUint32(p[24:], uint32(r.Length))
		if r.Required {
			p[28] = 1
		}
	}
	seal(b)
	return b
}

// readRegions reads the region table: the first copy or, if that is damaged,
// the second. The note tells of a damaged or different copy.
func readRegions(r io.ReaderAt) (rs []Region, note error, err error) {
	b1, b2 := make([]byte, TableSize), make([]byte, TableSize)
	if err := readFull(r, b1, regionsAt1, "region table"); err != nil {
		return nil, nil, err
	}
	if err := readFull(r, b2, regionsAt2, "region table"); err != nil {
		return nil, nil, err
	}
	rs, err1 := parseRegionTable(b1, regionsAt1)
	rs2, err2 := parseRegionTable(b2, regionsAt2)
	switch {
	case err1 != nil && err2 != nil:
		return nil, nil, err1
	case err1 != nil:
		return rs2, err1, nil
	case err2 == nil && !slices.Equal(rs, rs2):
		err2 = bad(ErrMetadataRead, regionsAt2, "region table", "the second copy differs from the first")
	}
	return rs, err2, nil
}

// placeRegions verifies that the regions lie inside a file of size bytes, apart
// from each other and from the log, that both known ones are there and that no
// unknown one is required.
func placeRegions(rs []Region, log disk.Extent, size int64) (bat, meta Region, err error) {
	parts := []disk.Extent{}
	if log.Len > 0 {
		parts = append(parts, log)
	}
	for _, r := range rs {
		switch {
		case r.Length > size || r.Offset > size-r.Length:
			return bat, meta, bad(ErrMetadataRead, r.Offset, "region", "%s of %d bytes leaves the file of %d", guid.String(r.ID), r.Length, size)
		case r.ID == RegionBAT:
			bat = r
		case r.ID == RegionMetadata:
			meta = r
		case r.Required:
			return bat, meta, bad(ErrMetadataRead, r.Offset, "region", "%s is required and unknown", guid.String(r.ID))
		}
		parts = append(parts, r.extent())
	}
	if bat.Length == 0 || meta.Length == 0 {
		return bat, meta, bad(ErrMetadataRead, regionsAt1, "region table", "the block allocation table or the metadata is not in it")
	}
	if at, ok := overlapping(parts); ok {
		return bat, meta, bad(ErrMetadataRead, at, "region", "it overlaps another or the log")
	}
	return bat, meta, nil
}

// overlapping sorts extents and tells whether two of them overlap, and where.
func overlapping(xs []disk.Extent) (int64, bool) {
	slices.SortFunc(xs, func(a, b disk.Extent) int {
		switch {
		case a.Off < b.Off:
			return -1
		case a.Off > b.Off:
			return 1
		}
		return 0
	})
	for i := 1; i < len(xs); i++ {
		if xs[i].Off < xs[i-1].End() {
			return xs[i].Off, true
		}
	}
	return 0, false
}
