package guest

import (
	"math/bits"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// chunks makes what a new file system has on a volume of size bytes at off.
func (fs FileSystem) chunks(off, size int64) ([]chunk, Code) {
	fs.SectorSize = sectorSize
	switch fs.Kind {
	case NoFileSystem:
		if fs != (FileSystem{SectorSize: sectorSize}) {
			return nil, ErrSpec
		}
		return nil, 0
	case Ext2, Ext3, Ext4:
		return fs.extChunks(size)
	}
	if fs.UUID != (guid.GUID{}) {
		return nil, ErrSpec
	}
	switch fs.Kind {
	case NTFS:
		return fs.ntfsChunks(off, size)
	case FAT12, FAT16, FAT32:
		return fs.fatChunks(off, size)
	case ExFAT:
		return fs.exFATChunks(off, size)
	case ReFS:
		return fs.refsChunks(size)
	}
	return nil, ErrSpec
}

// refsChunks makes the boot sector of ReFS 1.2, the version of Windows Server
// 2012 R2, and its copy in the last sector. The label would be in a file.
func (fs FileSystem) refsChunks(size int64) ([]chunk, Code) {
	if fs.ClusterSize == 0 {
		fs.ClusterSize = 64 << 10
	}
	if fs.ClusterSize < sectorSize || fs.ClusterSize > 64<<10 || !isPowerOfTwo(fs.ClusterSize) || fs.Label != "" {
		return nil, ErrSpec
	}
	if size < DataOffset+TailSize {
		return nil, ErrTruncated
	}
	b := make(block, sectorSize)
	b.putText(3, "ReFS")
	b.putText(16, "FSRS")
	b.put16(20, sectorSize)
	b.put64(24, uint64(size/sectorSize))
	b.put32(32, sectorSize)
	b.put32(36, uint32(fs.ClusterSize/sectorSize))
	b[40], b[41] = 1, 2
	b.put64(56, fs.Serial)
	b.put16(22, recognitionChecksum(b))
	return []chunk{{0, b}, {size - sectorSize, b}}, 0
}

// recognitionChecksum is that of the file system recognition structure: over
// everything but the three bytes of the jump and the checksum.
func recognitionChecksum(b block) (sum uint16) {
	for i, c := range b {
		if i >= 3 && i != 22 && i != 23 {
			sum = bits.RotateLeft16(sum, -1) + uint16(c)
		}
	}
	return sum
}

// extChunks makes the superblock of an ext file system.
func (fs FileSystem) extChunks(size int64) ([]chunk, Code) {
	if fs.ClusterSize == 0 {
		fs.ClusterSize = 4096
	}
	if fs.ClusterSize < 1024 || fs.ClusterSize > 1024<<extMaxLogBlockSize || !isPowerOfTwo(fs.ClusterSize) ||
		fs.Serial != 0 || !plainText(fs.Label, 0, 16) {
		return nil, ErrSpec
	}
	if size < DataOffset+TailSize {
		return nil, ErrTruncated
	}
	blocks := uint64(size / fs.ClusterSize)
	b := make(block, 1024)
	b.put32(4, uint32(blocks))
	b.put32(24, uint32(bits.TrailingZeros64(uint64(fs.ClusterSize/1024))))
	b.put16(56, 0xEF53)
	b.put16(58, 1) // clean
	b.put32(76, 1) // revision with features
	var compatible, incompatible uint32
	switch fs.Kind {
	case Ext3:
		compatible = extHasJournal
	case Ext4:
		compatible, incompatible = extHasJournal, extExtents|ext64Bit
		b.put32(336, uint32(blocks>>32))
	}
	if blocks>>32 != 0 && fs.Kind != Ext4 {
		return nil, ErrSpec
	}
	b.put32(92, compatible)
	b.put32(96, incompatible)
	copy(b[104:120], fs.UUID[:])
	b.putText(120, fs.Label)
	return []chunk{{extAt, b}}, 0
}
