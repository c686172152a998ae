package guest

import (
	"hash/crc32"
	"unicode/utf16"

	"github.com/shadowsim/shadowsim/internal/guid"
)

const (
	gptEntries     = 128
	gptTailSectors = 1 + gptEntries*gptEntrySize/sectorSize // the backup header and its entries
)

// mbrType returns the number for a partition of an MBR.
func (ps PartitionSpec) mbrType() (PartitionType, bool) {
	if ps.Type != (PartitionType{}) {
		return ps.Type, ps.Type.MBR != 0 && ps.Type.GPT == guid.GUID{}
	}
	t := PartitionType{MBR: mbrNTFS}
	switch ps.Role {
	case RoleData:
		switch ps.FileSystem.Kind {
		case FAT12:
			t.MBR = mbrFAT12
		case FAT16:
			t.MBR = mbrFAT16
		case FAT32:
			t.MBR = mbrFAT32
		case Ext2, Ext3, Ext4:
			t.MBR = mbrLinux
			return t, !ps.Hidden
		}
		if ps.Hidden {
			t.MBR |= mbrHidden
		}
	case RoleEFI:
		t.MBR = mbrEFI
	case RoleRecovery:
		t.MBR = mbrRecovery
	case RoleOEM:
		t.MBR = mbrOEM
	case RoleDynamic:
		t.MBR = mbrDynamic
	case RoleStorageSpace:
		t.MBR = mbrStorageSpace
	default:
		return t, false
	}
	return t, true
}

// gptType returns the GUID for a partition of a GPT. The space of a dynamic
// disk is of its data type; its metadata partition has to be asked for by type.
func (ps PartitionSpec) gptType() (PartitionType, bool) {
	if ps.Type != (PartitionType{}) {
		return ps.Type, ps.Type.MBR == 0
	}
	t := PartitionType{GPT: gptData}
	switch ps.Role {
	case RoleData:
		switch ps.FileSystem.Kind {
		case Ext2, Ext3, Ext4:
			t.GPT = gptLinux
		}
	case RoleEFI:
		t.GPT = gptEFI
	case RoleReserved:
		t.GPT = gptReserved
	case RoleRecovery:
		t.GPT = gptRecovery
	case RoleDynamic:
		t.GPT = gptDynamicData
	case RoleStorageSpace:
		t.GPT = gptStorageSpace
	default:
		return t, false
	}
	return t, true
}

// mbrChunks makes the first sector of an MBR disk.
func mbrChunks(signature uint32, parts []Partition) []chunk {
	b := make(block, sectorSize)
	b.put32(mbrSignature, signature)
	for i, p := range parts {
		b.putSlot(i, p.Type.MBR, p.Off/sectorSize, p.Len/sectorSize)
		if p.Active {
			b[mbrEntries+16*i] = 0x80
		}
	}
	b.sign()
	return []chunk{{0, b}}
}

func (b block) putSlot(slot int, kind byte, start, count int64) {
	e := b[mbrEntries+16*slot:]
	e[4] = kind
	e.putCHS(1, start)
	e.putCHS(5, start+count-1)
	e.put32(8, uint32(start))
	e.put32(12, uint32(count))
}

// putCHS writes a sector number the old way, with 255 heads and 63 sectors a
// track; the last value stands for everything beyond 1024 cylinders.
func (b block) putCHS(at int, sector int64) {
	const heads, perTrack, cylinders = 255, 63, 1024
	c, h, s := sector/(heads*perTrack), sector/perTrack%heads, sector%perTrack+1
	if c >= cylinders {
		c, h, s = cylinders-1, heads-1, perTrack
	}
	b[at], b[at+1], b[at+2] = byte(h), byte(s)|byte(c>>8<<6), byte(c)
}

// gptChunks makes the protective MBR and both copies of the table.
func (d image) gptChunks(disk guid.GUID, parts []Partition) []chunk {
	guard := make(block, sectorSize)
	guard.putSlot(0, mbrProtective, 1, min(d.sectors()-1, 1<<32-1))
	guard.sign()
	entries := make(block, gptEntries*gptEntrySize)
	for i, p := range parts {
		entries[i*gptEntrySize:].putEntry(p)
	}
	last := d.sectors() - 1
	tail := last - gptTailSectors + 1
	head := gptHead{at: 1, other: last, array: 2, first: 1 + gptTailSectors, last: tail - 1, disk: disk}
	back := head
	back.at, back.other, back.array = last, 1, tail
	return []chunk{
		{0, guard}, {d.sector, head.block(entries)}, {2 * d.sector, entries},
		{tail * d.sector, entries}, {last * d.sector, back.block(entries)},
	}
}

// putEntry writes a partition's entry.
func (b block) putEntry(p Partition) {
	attributes := p.Attributes
	if p.Hidden {
		attributes |= gptHidden
	}
	if p.NoDriveLetter {
		attributes |= gptNoDriveLetter
	}
	b.putGUID(0, p.Type.GPT)
	b.putGUID(16, p.ID)
	b.put64(32, uint64(p.Off/sectorSize))
	b.put64(40, uint64(p.end()/sectorSize-1))
	b.put64(48, attributes)
	for i, u := range utf16.Encode([]rune(p.Name)) {
		b.put16(gptNameAt+2*i, u)
	}
}

// gptNameFits tells whether a name comes back from a table as it went in.
func gptNameFits(name string) bool {
	return len(utf16.Encode([]rune(name))) <= gptNameUnits && plainText(name, 0, 4*gptNameUnits)
}

// A gptHead is one of the two headers to be.
type gptHead struct {
	at, other, array, first, last int64
	disk                          guid.GUID
}

func (h gptHead) block(entries block) block {
	b := make(block, sectorSize)
	b.putText(0, gptMagic)
	b.put32(8, gptRevision)
	b.put32(12, gptHeaderSize)
	b.put64(24, uint64(h.at))
	b.put64(32, uint64(h.other))
	b.put64(40, uint64(h.first))
	b.put64(48, uint64(h.last))
	b.putGUID(56, h.disk)
	b.put64(72, uint64(h.array))
	b.put32(80, gptEntries)
	b.put32(84, gptEntrySize)
	b.put32(88, crc32.ChecksumIEEE(entries))
	b.put32(16, crc32.ChecksumIEEE(b[:gptHeaderSize]))
	return b
}
