package guest

import (
	"fmt"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// A DiskSpec says how [Format] divides a new disk. Identities are given and
// never drawn, so that the same spec always makes the same bytes.
type DiskSpec struct {
	Scheme    Scheme    // MBR, GPT or SuperFloppy
	Signature uint32    // of an MBR; not zero
	GUID      guid.GUID // of a GPT; not zero

	// Partitions come in the order in which they lie on the disk: up to four in
	// an MBR, all primary, up to 128 in a GPT. A super-floppy has one that takes
	// the whole disk and says nothing but its file system.
	Partitions []PartitionSpec
}

// A PartitionSpec is one partition of a [DiskSpec].
type PartitionSpec struct {
	Size int64 // bytes, whole sectors; 0 takes what the others leave

	// Type follows from Role, file system and Hidden if it is zero. One that is
	// set must not contradict a Role that is set.
	Type PartitionType
	Role Role

	Active        bool // MBR
	Hidden        bool
	NoDriveLetter bool      // GPT
	Name          string    // GPT; up to 36 UTF-16 units
	ID            guid.GUID // GPT; zero: the disk's, with the partition's index added

	// FileSystem has Kind, Serial or UUID, Label and ClusterSize as wanted; zero
	// for the last is a usual value. NoFileSystem leaves the partition raw.
	// Format makes NTFS, FAT12, FAT16, FAT32, exFAT, ReFS and the ext family.
	FileSystem FileSystem
}

// A chunk is bytes that Format will write. Everything is planned before the
// first one is written.
type chunk struct {
	off   int64
	bytes block
}

// Format writes a partition table and boot sectors to a disk that is new, that
// is, zero: bytes that belong to neither are not touched. Partitions begin at
// multiples of 1 MiB. The tables are complete. Of file systems there is as much
// as makes them recognised: boot sectors and their copies, the heads of FATs,
// the records of an NTFS file table up to the one of the volume's label. Only
// the FAT ones could be mounted.
//
// A spec that cannot be fulfilled is a [*LayoutError] with [ErrSpec] or, where
// there is no room, [ErrTruncated]; the disk is not touched then.
func Format(d disk.Store, spec DiskSpec) error {
	m := image{r: d, size: d.Size() / sectorSize * sectorSize, sector: sectorSize, op: "Format"}
	chunks, bad := m.plan(spec)
	if bad != nil {
		return bad
	}
	for _, c := range chunks {
		if _, err := d.WriteAt(c.bytes, c.off); err != nil {
			return m.fail(c.off, "new disk", err)
		}
	}
	return nil
}

// plan returns everything to be written.
func (d image) plan(spec DiskSpec) ([]chunk, *LayoutError) {
	parts, bad := d.arrange(spec)
	if bad != nil {
		return nil, bad
	}
	var chunks []chunk
	switch spec.Scheme {
	case MBR:
		chunks = mbrChunks(spec.Signature, parts)
	case GPT:
		chunks = d.gptChunks(spec.GUID, parts)
	}
	for _, p := range parts {
		inside, cause := p.FileSystem.chunks(p.Off, p.Len)
		if cause != 0 {
			return nil, d.fail(p.Off, fmt.Sprintf("%v of partition %d", p.FileSystem.Kind, p.Index), cause)
		}
		for _, c := range inside {
			chunks = append(chunks, chunk{p.Off + c.off, c.bytes})
		}
	}
	return chunks, nil
}

// arrange gives each partition of the spec its place and its type.
func (d image) arrange(spec DiskSpec) ([]Partition, *LayoutError) {
	if cause := spec.check(); cause != 0 {
		return nil, d.fail(0, "disk", cause)
	}
	if spec.Scheme == SuperFloppy {
		return []Partition{{Len: d.size, FileSystem: spec.Partitions[0].FileSystem}}, nil
	}
	limit := d.size
	if spec.Scheme == GPT {
		limit -= gptTailSectors * d.sector
	}
	rest, bad := d.rest(spec.Partitions, limit)
	if bad != nil {
		return nil, bad
	}
	parts := make([]Partition, 0, len(spec.Partitions))
	off := int64(mib)
	for i, ps := range spec.Partitions {
		p, cause := ps.partition(spec, i+1)
		p.Off, p.Len = off, ps.Size
		if ps.Size == 0 {
			p.Len = rest
		}
		if cause == 0 && p.end() > limit {
			cause = ErrTruncated
		}
		if cause == 0 && spec.Scheme == MBR && p.end()/d.sector > 1<<32-1 {
			cause = ErrSpec
		}
		if cause != 0 {
			return nil, d.fail(p.Off, fmt.Sprintf("partition %d", p.Index), cause)
		}
		parts, off = append(parts, p), alignUp(p.end(), mib)
	}
	return parts, nil
}

// rest returns the bytes for the one partition that takes what is left.
func (d image) rest(parts []PartitionSpec, limit int64) (int64, *LayoutError) {
	rest, takers := limit/mib*mib-mib, 0
	for i, ps := range parts {
		switch {
		case ps.Size < 0 || ps.Size%d.sector != 0:
			return 0, d.fail(0, fmt.Sprintf("partition %d", i+1), ErrSpec)
		case ps.Size > limit:
			return 0, d.fail(0, fmt.Sprintf("partition %d", i+1), ErrTruncated)
		case ps.Size == 0:
			takers++
		}
		rest -= alignUp(ps.Size, mib)
	}
	switch {
	case takers > 1:
		return 0, d.fail(0, "disk", ErrSpec)
	case takers == 1 && rest <= 0:
		return 0, d.fail(0, "disk", ErrTruncated)
	}
	return rest, nil
}

// check tells whether the spec as a whole makes sense.
func (s DiskSpec) check() Code {
	n := len(s.Partitions)
	ok := false
	switch s.Scheme {
	case MBR:
		ok = s.Signature != 0 && s.GUID == (guid.GUID{}) && n <= mbrSlots
	case GPT:
		ok = s.Signature == 0 && s.GUID != (guid.GUID{}) && n <= gptEntries
	case SuperFloppy:
		ok = s.Signature == 0 && s.GUID == (guid.GUID{}) && n == 1 && s.Partitions[0].bare()
	}
	if !ok {
		return ErrSpec
	}
	return 0
}

// bare tells that nothing but the file system is set, and that there is one.
func (ps PartitionSpec) bare() bool {
	want := PartitionSpec{FileSystem: ps.FileSystem}
	return ps == want && ps.FileSystem.Kind != NoFileSystem
}

// partition turns the spec of a partition into what the table will say.
func (ps PartitionSpec) partition(disk DiskSpec, index int) (Partition, Code) {
	p := Partition{Index: index, Active: ps.Active, Hidden: ps.Hidden, NoDriveLetter: ps.NoDriveLetter,
		Name: ps.Name, ID: ps.ID, FileSystem: ps.FileSystem}
	var ok bool
	if disk.Scheme == MBR {
		p.Type, ok = ps.mbrType()
		ok = ok && !ps.NoDriveLetter && ps.Name == "" && ps.ID == guid.GUID{}
	} else {
		p.Type, ok = ps.gptType()
		ok = ok && !ps.Active && gptNameFits(ps.Name)
		if p.ID == (guid.GUID{}) {
			p.ID = derivedID(disk.GUID, index)
		}
	}
	var hidden bool
	p.Role, hidden = p.Type.role()
	if ps.Hidden {
		ok = ok && p.Role == RoleData && (hidden || disk.Scheme == GPT)
	}
	ok = ok && (p.Role == RoleData || !ps.NoDriveLetter) && p.Role != RoleExtended && p.Type.MBR != mbrProtective
	ok = ok && (ps.Role == RoleData || ps.Role == p.Role)
	if !ok {
		return p, ErrSpec
	}
	return p, 0
}

// derivedID adds a partition's index to the last four bytes of the disk's GUID.
func derivedID(disk guid.GUID, index int) guid.GUID {
	for i, n := 15, uint32(index); i >= 12; i-- {
		n += uint32(disk[i])
		disk[i], n = byte(n), n>>8
	}
	return disk
}
