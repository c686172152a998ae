package guest

import (
	"encoding/binary"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// The file systems of others, each known by a superblock somewhere in the
// first 68 KiB of its volume. Identities stand there in the order of their text.

const (
	extAt   = 1024
	btrfsAt = 64 << 10
	isoAt   = 32 << 10
	ufs1At  = 8 << 10
	ufs2At  = 64 << 10
)

// Features that make an ext file system what it is called. A volume with a
// feature that ext3 does not know is ext4.
const (
	extHasJournal      = 0x4              // compatible
	ext3Incompatible   = 0x2 | 0x4 | 0x10 // file type, needs recovery, meta block groups
	ext3ReadOnly       = 0x1 | 0x2 | 0x4  // sparse super, large file, b-tree directories
	extJournalDevice   = 0x8              // incompatible: the journal of another volume
	extExtents         = 0x40             // incompatible: files are mapped by ranges
	ext64Bit           = 0x80             // incompatible: counts have a high half
	extMaxLogBlockSize = 6                // 64 KiB
)

func detectExt(b block) (FileSystem, bool) {
	if len(b) < extAt+1024 || b.u16(extAt+56) != 0xEF53 {
		return FileSystem{}, false
	}
	s := b[extAt:]
	logSize, compatible, incompatible, readOnly := s.u32(24), s.u32(92), s.u32(96), s.u32(100)
	if logSize > extMaxLogBlockSize || incompatible&extJournalDevice != 0 {
		return FileSystem{Kind: UnknownFileSystem}, true
	}
	fs := FileSystem{Kind: Ext2, UUID: guid.GUID(s[104:120]), Label: s.label(120, 16), ClusterSize: 1024 << logSize}
	switch {
	case incompatible&^ext3Incompatible != 0 || readOnly&^ext3ReadOnly != 0:
		fs.Kind = Ext4
	case compatible&extHasJournal != 0:
		fs.Kind = Ext3
	}
	blocks := uint64(s.u32(4))
	if incompatible&ext64Bit != 0 {
		blocks |= uint64(s.u32(336)) << 32
	}
	return known(fs.span(blocks, fs.ClusterSize, sectorSize))
}

// known turns an impossible size into an unknown file system.
func known(fs FileSystem, ok bool) (FileSystem, bool) {
	if !ok || fs.Sectors == 0 {
		fs = FileSystem{Kind: UnknownFileSystem}
	}
	return fs, true
}

func detectXFS(b block) (FileSystem, bool) {
	if !b.is(0, "XFSB") {
		return FileSystem{}, false
	}
	size := int64(binary.BigEndian.Uint32(b[4:]))
	fs := FileSystem{Kind: XFS, UUID: guid.GUID(b[32:48]), Label: b.label(108, 12), ClusterSize: size}
	if size < 512 || size > 64<<10 || !isPowerOfTwo(size) {
		return FileSystem{Kind: UnknownFileSystem}, true
	}
	return known(fs.span(binary.BigEndian.Uint64(b[8:]), size, sectorSize))
}

func detectBtrfs(b block) (FileSystem, bool) {
	if len(b) < btrfsAt+1024 || !b.is(btrfsAt+64, "_BHRfS_M") {
		return FileSystem{}, false
	}
	s := b[btrfsAt:]
	size := int64(s.u32(144))
	fs := FileSystem{Kind: Btrfs, UUID: guid.GUID(s[32:48]), Label: s.label(299, 256), ClusterSize: size}
	if size < 512 || size > 64<<10 || !isPowerOfTwo(size) {
		return FileSystem{Kind: UnknownFileSystem}, true
	}
	return known(fs.span(s.u64(112), 1, sectorSize))
}

// detectSwap finds the signature at the end of the first page, whose size is
// that of the machine that made it.
func detectSwap(b block) (FileSystem, bool) {
	for page := 4096; page <= 64<<10 && page <= len(b); page *= 2 {
		if b.is(page-10, "SWAPSPACE2") {
			fs := FileSystem{Kind: LinuxSwap, UUID: guid.GUID(b[1036:1052]), Label: b.label(1052, 16), ClusterSize: int64(page)}
			return known(fs.span(uint64(b.u32(1028))+1, int64(page), sectorSize))
		}
	}
	return FileSystem{}, false
}

func detectISO(b block) (FileSystem, bool) {
	if len(b) < isoAt+2048 || !b.is(isoAt+1, "CD001") {
		return FileSystem{}, false
	}
	s := b[isoAt:]
	size := int64(s.u16(128))
	if size < 512 || size > 2048 || !isPowerOfTwo(size) {
		return FileSystem{Kind: UnknownFileSystem}, true
	}
	fs := FileSystem{Kind: ISO9660, Label: s.label(40, 32), ClusterSize: size}
	return known(fs.span(uint64(s.u32(80)), size, sectorSize))
}

// detectUFS finds the superblock of FreeBSD's file system (sys/ufs/ffs/fs.h), of
// either version, in the byte order of the PC.
func detectUFS(b block) (FileSystem, bool) {
	const size = 1376
	for _, v := range []struct {
		at    int
		magic uint32
		count func(s block) uint64
	}{
		{ufs2At, 0x19540119, func(s block) uint64 { return s.u64(1080) }},
		{ufs1At, 0x00011954, func(s block) uint64 { return uint64(s.u32(36)) }},
	} {
		if len(b) < v.at+size || b.u32(v.at+1372) != v.magic {
			continue
		}
		s := b[v.at:]
		whole, fragment := int64(s.u32(48)), int64(s.u32(52))
		if whole > 64<<10 || fragment < 512 || fragment > whole || !isPowerOfTwo(whole) || !isPowerOfTwo(fragment) {
			return FileSystem{Kind: UnknownFileSystem}, true
		}
		fs := FileSystem{Kind: UFS, Serial: s.u64(144), Label: s.label(680, 32), ClusterSize: whole}
		return known(fs.span(v.count(s), fragment, sectorSize))
	}
	return FileSystem{}, false
}
