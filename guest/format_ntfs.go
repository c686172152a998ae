package guest

import "unicode/utf16"

// An ntfsPlan is the geometry of a new NTFS volume. All that is written before
// [SystemOffset] and in the last sector belongs to it.
type ntfsPlan struct {
	fs            FileSystem
	table, mirror int64 // where the file table and its mirror begin
}

const (
	ntfsRecord     = 1024
	ntfsRecords    = 4 // $MFT, $MFTMirr, $LogFile, $Volume
	ntfsIndex      = 4096
	ntfsLabelUnits = 32
	ntfsMaxCluster = 64 << 10 // every version of Windows mounts it, and the mirror stays before the system record
)

// ntfsChunks makes the boot sector and its copy in the last sector, the first
// four records of the file table and their mirror.
func (fs FileSystem) ntfsChunks(off, size int64) ([]chunk, Code) {
	if fs.ClusterSize == 0 {
		fs.ClusterSize = 4096
	}
	label := utf16.Encode([]rune(fs.Label))
	if fs.ClusterSize < sectorSize || fs.ClusterSize > ntfsMaxCluster || !isPowerOfTwo(fs.ClusterSize) ||
		len(label) > ntfsLabelUnits || !plainText(fs.Label, 0, maxText) {
		return nil, ErrSpec
	}
	if size < DataOffset+TailSize {
		return nil, ErrTruncated
	}
	fs.Sectors = size/sectorSize - 1
	plan := ntfsPlan{fs: fs, table: max(16<<10, fs.ClusterSize), mirror: max(32<<10, 2*fs.ClusterSize)}
	boot := plan.boot(off)
	records := make(block, 0, ntfsRecords*ntfsRecord)
	for i := range ntfsRecords {
		records = append(records, ntfsFileRecord(i, label)...)
	}
	return []chunk{{0, boot}, {plan.table, records}, {plan.mirror, records}, {size - sectorSize, boot}}, 0
}

func (n ntfsPlan) boot(off int64) block {
	b := make(block, sectorSize)
	b.putText(0, "\xEB\x52\x90NTFS    ")
	b.put16(11, sectorSize)
	b[13] = byte(n.fs.ClusterSize / sectorSize)
	b[21] = 0xF8
	b.putTrack(off)
	b.put32(36, 0x800080)
	b.put64(40, uint64(n.fs.Sectors))
	b.put64(48, uint64(n.table/n.fs.ClusterSize))
	b.put64(56, uint64(n.mirror/n.fs.ClusterSize))
	b[64] = inClusters(ntfsRecord, n.fs.ClusterSize)
	b[68] = inClusters(ntfsIndex, n.fs.ClusterSize)
	b.put64(72, n.fs.Serial)
	b.sign()
	return b
}

// putTrack writes what boot code wants to know: 63 sectors a track, 255 heads,
// and the sectors before the volume.
func (b block) putTrack(off int64) {
	b.put16(24, 63)
	b.put16(26, 255)
	b.put32(28, uint32(off/sectorSize))
}

// inClusters gives a size in clusters, or as the negative of its binary
// logarithm where a cluster is larger.
func inClusters(size, cluster int64) byte {
	if size >= cluster {
		return byte(size / cluster)
	}
	log := 0
	for ; size > 1; size /= 2 {
		log++
	}
	return byte(-log)
}

// ntfsFileRecord makes a record that is in use and has no attributes, but for
// the volume's own, number 3: its name and the version 3.1.
func ntfsFileRecord(number int, label []uint16) block {
	b := make(block, ntfsRecord)
	b.putText(0, "FILE")
	b.put16(4, 0x30) // the update sequence: its number, then one word a sector
	b.put16(6, 1+ntfsRecord/sectorSize)
	b.put16(16, uint16(max(number, 1)))
	b.put16(18, 1)
	b.put16(20, 0x38)
	b.put16(22, 1) // in use
	b.put32(28, ntfsRecord)
	b.put32(44, uint32(number))
	at := 0x38
	if number == 3 {
		name := make(block, 2*len(label))
		for i, u := range label {
			name.put16(2*i, u)
		}
		at = b.putAttribute(at, 0x60, 0, name)
		at = b.putAttribute(at, 0x70, 1, block{8: 3, 9: 1, 11: 0})
		b.put16(40, 2) // next attribute
	}
	b.put32(at, 0xFFFFFFFF)
	b.put32(24, uint32(at+8))
	const sequence = 1
	b.put16(0x30, sequence)
	for s := range ntfsRecord / sectorSize {
		end := (s+1)*sectorSize - 2
		copy(b[0x32+2*s:], b[end:end+2])
		b.put16(end, sequence)
	}
	return b
}

// putAttribute appends an attribute that is resident, and returns its end.
func (b block) putAttribute(at int, kind uint32, id uint16, value block) int {
	const head = 24
	size := int(alignUp(int64(head+len(value)), 8))
	b.put32(at, kind)
	b.put32(at+4, uint32(size))
	b.put16(at+10, head)
	b.put16(at+14, id)
	b.put32(at+16, uint32(len(value)))
	b.put16(at+20, head)
	copy(b[at+head:], value)
	return at + size
}
