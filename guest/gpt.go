package guest

import (
	"hash/crc32"
	"unicode/utf16"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// The form of a GUID partition table, by the Unified Extensible Firmware
// Interface Specification: a header in sector 1 and its twin in the last
// sector, each naming the other one and its own copy of the entries.
const (
	gptMagic      = "EFI PART"
	gptRevision   = 0x10000
	gptHeaderSize = 92
	gptEntrySize  = 128
	gptNameAt     = 56
	gptNameUnits  = 36 // UTF-16 units in an entry's name

	// Windows makes 128 entries of 128 bytes. The bounds keep a forged header
	// from asking for more memory or time than any real table needs.
	maxEntries   = 1024
	maxEntrySize = 512
)

// A gptTable is one of the two copies: a header that is sound in itself, and
// the entries it vouches for.
type gptTable struct {
	other       int64 // the sector of the other copy's header
	first, last int64 // sectors that partitions may use
	disk        guid.GUID
	count       int64
	entrySize   int64
	entriesSum  uint32
	entries     block
}

// readGPT reads both copies. One sound copy is enough, as it is for Windows;
// what is wrong with the other one is noted in the layout. The copies may be
// sound and still differ: then the first one holds, and that is noted, too.
func (d image) readGPT(l *Layout) *LayoutError {
	var bad *LayoutError
	if d.sector, bad = d.gptSector(); bad != nil {
		return bad
	}
	l.Scheme, l.SectorSize = GPT, d.sector
	t, bad := d.readTableAt(1, "GPT header")
	if bad != nil && !bad.malformed() {
		return bad
	}
	second := d.sectors() - 1
	if bad == nil {
		second = t.other
	}
	twin, badTwin := d.readTableAt(second, "backup GPT header")
	if badTwin == nil && bad == nil && !t.same(twin) {
		badTwin = d.fail(second*d.sector, "backup GPT header", ErrField)
	}
	switch {
	case badTwin != nil && !badTwin.malformed():
		return badTwin
	case bad != nil && badTwin != nil:
		return bad
	case bad != nil:
		l.Damage, t = append(l.Damage, bad), twin
	case badTwin != nil:
		l.Damage = append(l.Damage, badTwin)
	}
	return d.readEntries(l, t)
}

// gptSector finds out which sectors the table counts in: those where its
// signature stands behind the first one.
func (d image) gptSector() (int64, *LayoutError) {
	for _, n := range []int64{sectorSize, 4096} {
		b, bad := d.read(n, int64(len(gptMagic)), "GPT header")
		if bad != nil && !bad.malformed() {
			return 0, bad
		}
		if b.is(0, gptMagic) {
			return n, nil
		}
	}
	return sectorSize, nil
}

// readTableAt reads the copy whose header is in the sector at and checks
// everything that can be checked without looking at the other copy.
func (d image) readTableAt(at int64, what string) (*gptTable, *LayoutError) {
	off := at * d.sector
	b, bad := d.read(off, d.sector, what)
	if bad != nil {
		return nil, bad
	}
	if cause := checkHeader(b, at); cause != 0 {
		return nil, d.fail(off, what, cause)
	}
	t := &gptTable{
		other: d.sectorNumber(b.u64(32)), first: d.sectorNumber(b.u64(40)), last: d.sectorNumber(b.u64(48)),
		disk: b.guid(56), count: int64(b.u32(80)), entrySize: int64(b.u32(84)), entriesSum: b.u32(88),
	}
	array := d.sectorNumber(b.u64(72))
	if cause := d.checkTable(t, at, array); cause != 0 {
		return nil, d.fail(off, what, cause)
	}
	t.entries, bad = d.read(array*d.sector, t.count*t.entrySize, what+" entries")
	if bad == nil && crc32.ChecksumIEEE(t.entries) != t.entriesSum {
		bad = d.fail(array*d.sector, what+" entries", ErrChecksum)
	}
	return t, bad
}

// sectorNumber bounds a sector number from the disk, so that sums and products
// of it cannot overflow: one outside of the disk becomes the first one behind.
func (d image) sectorNumber(n uint64) int64 { return int64(min(n, uint64(d.sectors()))) }

// checkHeader checks that the sector at holds a header made for this place.
func checkHeader(b block, at int64) Code {
	size := int64(b.u32(12))
	switch {
	case !b.is(0, gptMagic):
		return ErrSignature
	case b.u32(8) != gptRevision:
		return ErrVersion
	case size < gptHeaderSize || size > int64(len(b)):
		return ErrField
	}
	copied := append(block(nil), b[:size]...)
	copied.put32(16, 0)
	switch {
	case crc32.ChecksumIEEE(copied) != b.u32(16):
		return ErrChecksum
	case b.u64(24) != uint64(at):
		return ErrField
	}
	return 0
}

// checkTable checks that the ranges a header names lie on the disk and apart.
func (d image) checkTable(t *gptTable, at, array int64) Code {
	switch {
	case t.count > maxEntries || t.entrySize > maxEntrySize:
		return ErrLimit
	case t.count == 0 || t.entrySize < gptEntrySize || !isPowerOfTwo(t.entrySize):
		return ErrField
	}
	end := array + alignUp(t.count*t.entrySize, d.sector)/d.sector
	switch {
	case array < 2 || t.last >= d.sectors() || t.first > t.last:
		return ErrRange
	case array <= at && at < end || array <= t.last && t.first < end || t.first <= at && at <= t.last:
		return ErrOverlap
	case t.other == at:
		return ErrLoop
	}
	return 0
}

// same tells whether both copies describe the same partitions.
func (t *gptTable) same(u *gptTable) bool {
	return t.disk == u.disk && t.first == u.first && t.last == u.last &&
		t.count == u.count && t.entrySize == u.entrySize && t.entriesSum == u.entriesSum
}

func (d image) readEntries(l *Layout, t *gptTable) *LayoutError {
	l.GUID = t.disk
	for i := range t.count {
		if e := t.entries[i*t.entrySize:][:gptEntrySize]; !e[:16].zero() {
			l.Partitions = append(l.Partitions, d.newEntry(int(i)+1, e, t))
		}
	}
	return d.inspect(l.Partitions)
}

// newEntry makes a partition of an entry.
func (d image) newEntry(index int, e block, t *gptTable) Partition {
	first, last := d.sectorNumber(e.u64(32)), d.sectorNumber(e.u64(40))
	p := Partition{
		Index: index, Type: PartitionType{GPT: e.guid(0)}, ID: e.guid(16), Attributes: e.u64(48),
		Off: first * d.sector, Len: max(last-first+1, 0) * d.sector, Name: gptName(e[gptNameAt:]),
	}
	p.Role, _ = p.Type.role()
	p.Hidden = p.Role == RoleData && p.Attributes&gptHidden != 0
	p.NoDriveLetter = p.Role == RoleData && p.Attributes&gptNoDriveLetter != 0
	if first > last || first < t.first || last > t.last {
		p.damage(d, ErrRange)
	}
	return p
}

// gptName decodes an entry's name up to its first zero.
func gptName(b block) string {
	var units []uint16
	for i := 0; i < len(b) && b.u16(i) != 0; i += 2 {
		units = append(units, b.u16(i))
	}
	return string(utf16.Decode(units))
}
