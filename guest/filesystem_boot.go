package guest

// The file systems of Windows, each known by the first sector of its volume.

const (
	maxClusterSize = 2 << 20 // of NTFS since Windows 10
	maxExFATShift  = 25      // sector and cluster of exFAT together: 32 MiB
	fat12Clusters  = 4085    // the first count that is FAT16, by the FAT specification
	fat16Clusters  = 65525   // the first count that is FAT32
)

// plausibleSector tells a size that sectors have.
func plausibleSector(n int64) bool { return n >= 512 && n <= 4096 && isPowerOfTwo(n) }

func isNTFS(b block) bool { return b.is(3, "NTFS    ") && b.signed() }

// detectNTFS checks the boot sector as Windows does before mounting, and that
// the file table begins where it says.
func (d image) detectNTFS(b block) (FileSystem, *LayoutError) {
	unknown := FileSystem{Kind: UnknownFileSystem}
	sector := int64(b.u16(11))
	cluster := ntfsCluster(b[13]) * sector
	fs, ok := FileSystem{Kind: NTFS, Serial: b.u64(72), ClusterSize: cluster}.span(b.u64(40), sector, sector)
	if !ok || !plausibleSector(sector) || cluster <= 0 || cluster > maxClusterSize ||
		!b[14:21].zero() || b.u16(22) != 0 || b.u32(32) != 0 || fs.Sectors == 0 {
		return unknown, nil
	}
	clusters := uint64(fs.Sectors) / uint64(cluster/sector)
	table, mirror := b.u64(48), b.u64(56)
	if table == 0 || table >= clusters || mirror == 0 || mirror >= clusters || !ntfsRecordSize(b[64], cluster) {
		return unknown, nil
	}
	at := int64(table) * cluster
	if at > d.size-4 {
		return fs, nil // it does not fit into the volume, which the caller finds out
	}
	record, bad := d.read(at, 4, "NTFS file table")
	if bad != nil {
		return unknown, bad
	}
	if !record.is(0, "FILE") {
		return unknown, nil
	}
	return fs, nil
}

// ntfsCluster returns the sectors in a cluster: the number itself up to 128,
// beyond that the negative of its binary logarithm. Zero is none.
func ntfsCluster(n byte) int64 {
	switch {
	case n <= 128 && isPowerOfTwo(int64(n)):
		return int64(n)
	case n >= 0xF4:
		return 1 << (256 - int(n))
	}
	return 0
}

// ntfsRecordSize checks the size of a record in the file table, which is given
// in clusters or as a negative binary logarithm of bytes.
func ntfsRecordSize(n byte, cluster int64) bool {
	size := int64(n) * cluster
	if n >= 128 {
		size = 1 << min(256-int(n), 62)
	}
	return size >= 512 && size <= 64<<10 && isPowerOfTwo(size)
}

// detectBitLocker knows the boot sector that Windows Vista and later put
// before an encrypted volume, and that of a removable one.
func detectBitLocker(b block) (FileSystem, bool) {
	const id = "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"
	if !b.is(3, "-FVE-FS-") && !(b.is(3, "MSWIN4.1") && b.is(424, id)) {
		return FileSystem{}, false
	}
	return FileSystem{Kind: BitLocker, SectorSize: int64(b.u16(11))}, true
}

// detectReFS knows the file system recognition structure of Windows with the
// name of ReFS in it.
func detectReFS(b block) (FileSystem, bool) {
	if !b.is(0, "\x00\x00\x00ReFS\x00\x00\x00\x00") || !b.is(16, "FSRS") {
		return FileSystem{}, false
	}
	sector, perCluster := int64(b.u32(32)), int64(b.u32(36))
	fs, ok := FileSystem{Kind: ReFS, Serial: b.u64(56), ClusterSize: sector * perCluster}.span(b.u64(24), sector, sector)
	if !ok || !plausibleSector(sector) || !isPowerOfTwo(perCluster) || perCluster > 128 || fs.Sectors == 0 {
		return FileSystem{Kind: UnknownFileSystem}, true
	}
	return fs, true
}

// detectExFAT follows the exFAT file system specification.
func detectExFAT(b block) (FileSystem, bool) {
	if !b.is(3, "EXFAT   ") || !b.signed() {
		return FileSystem{}, false
	}
	unknown := FileSystem{Kind: UnknownFileSystem}
	shift, more := b[108], b[109]
	if shift < 9 || shift > 12 || more > maxExFATShift-shift || !b[11:64].zero() || b[110] < 1 || b[110] > 2 {
		return unknown, true
	}
	sector := int64(1) << shift
	fs, ok := FileSystem{Kind: ExFAT, Serial: uint64(b.u32(100)), ClusterSize: sector << more}.span(b.u64(72), sector, sector)
	if !ok || fs.Sectors == 0 || b.u32(92) == 0 || b.u32(96) < 2 {
		return unknown, true
	}
	return fs, true
}

// detectFAT follows the FAT file system specification: no magic number tells
// FAT, only a parameter block that makes sense, and the number of clusters
// tells FAT12 from FAT16. FAT32 has no 16-bit table size.
func detectFAT(b block) (FileSystem, bool) {
	sector, perCluster := int64(b.u16(11)), int64(b[13])
	reserved, tables, roots := int64(b.u16(14)), int64(b[16]), int64(b.u16(17))
	if b[0] != 0xEB && b[0] != 0xE9 || !b.signed() || !plausibleSector(sector) || !isPowerOfTwo(perCluster) ||
		reserved == 0 || tables == 0 || tables > 2 || b[21] < 0xF0 {
		return FileSystem{}, false
	}
	total, tableSize := int64(b.u16(19)), int64(b.u16(22))
	if total == 0 {
		total = int64(b.u32(32))
	}
	wide := tableSize == 0
	if wide {
		tableSize = int64(b.u32(36))
	}
	clusters := (total - reserved - tables*tableSize - alignUp(roots*32, sector)/sector) / perCluster
	if tableSize == 0 || clusters <= 0 || wide == (roots != 0) {
		return FileSystem{}, false
	}
	fs := FileSystem{Kind: FAT16, SectorSize: sector, Sectors: total, ClusterSize: sector * perCluster}
	extended := 38
	switch {
	case wide:
		fs.Kind, extended = FAT32, 66
	case clusters < fat12Clusters:
		fs.Kind = FAT12
	}
	if b[extended] == 0x28 || b[extended] == 0x29 {
		fs.Serial = uint64(b.u32(extended + 1))
	}
	if b[extended] == 0x29 {
		fs.Label = b.label(extended+5, 11)
	}
	if fs.Label == fatNoLabel {
		fs.Label = ""
	}
	return fs, true
}
