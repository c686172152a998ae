package guest

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A FileSystemKind names a file system.
type FileSystemKind uint8

// What is found in the first sectors of a partition.
const (
	NoFileSystem FileSystemKind = iota // nothing but zeros: never formatted
	UnknownFileSystem
	NTFS
	FAT12
	FAT16
	FAT32
	ExFAT
	ReFS
	BitLocker // an encrypted volume; what is inside cannot be seen
	Ext2
	Ext3
	Ext4
	XFS
	Btrfs
	LinuxSwap
	ISO9660
	UFS
)

var fileSystemNames = [...]string{"none", "unknown", "NTFS", "FAT12", "FAT16", "FAT32", "exFAT", "ReFS",
	"BitLocker", "ext2", "ext3", "ext4", "XFS", "btrfs", "swap", "ISO 9660", "UFS"}

// String names the file system.
func (k FileSystemKind) String() string {
	if int(k) < len(fileSystemNames) {
		return fileSystemNames[k]
	}
	return fmt.Sprintf("FileSystemKind(%d)", uint8(k))
}

// A FileSystem is what a boot sector or superblock says about itself.
type FileSystem struct {
	Kind FileSystemKind

	// Serial is the volume serial number: eight bytes for NTFS, ReFS and UFS, four
	// for FAT and exFAT. Others have the UUID instead.
	Serial uint64
	UUID   guid.GUID

	// Label is the volume's name where it stands in the boot sector or
	// superblock. NTFS, ReFS and exFAT keep theirs in a file.
	Label string

	SectorSize  int64 // bytes; 512 where the file system counts in blocks alone
	Sectors     int64 // what the file system spans
	ClusterSize int64 // bytes; the block of the ext family, XFS, btrfs and UFS
}

// known tells that there is a file system, and one with a name.
func (f FileSystem) known() bool { return f.Kind > UnknownFileSystem }

// fits tells whether a volume of size bytes is large enough for it.
func (f FileSystem) fits(size int64) bool { return f.Sectors*f.SectorSize <= size }

// SnapshotCapable tells whether the Volume Shadow Copy Service of Windows
// Server 2008 can take a shadow copy of such a volume: NTFS alone. Later
// systems add ReFS, see [Rules].
func (f FileSystem) SnapshotCapable() bool { return f.Kind == NTFS }

// String prints the name, and the identity where there is one.
func (f FileSystem) String() string {
	s := f.Kind.String()
	switch f.Kind {
	case NTFS, ReFS, UFS:
		s += fmt.Sprintf(" serial %016x", f.Serial)
	case FAT12, FAT16, FAT32, ExFAT:
		s += fmt.Sprintf(" serial %08x", f.Serial)
	case Ext2, Ext3, Ext4, XFS, Btrfs, LinuxSwap:
		s += " uuid " + guid.String(f.UUID)
	}
	if f.Label != "" {
		s += fmt.Sprintf(" label %q", f.Label)
	}
	return s
}

const (
	bootHead = 4096           // holds every boot sector, and the ext superblock
	deepHead = 64<<10 + 4<<10 // reaches behind the superblocks of btrfs and UFS 2
)

// DetectFileSystem tells which file system a volume of size bytes carries, from
// its first 68 KiB and, for NTFS, the first record of its file table. A boot
// sector whose fields contradict each other counts as unknown, and so does
// everything else that is not recognised: a volume is only ever taken for NTFS
// if Windows could mount it. The error is always one of r.
//
// Boot sectors come first, because Windows looks at them alone. Nothing but
// zeros in those 68 KiB is [NoFileSystem].
func DetectFileSystem(r io.ReaderAt, size int64) (FileSystem, error) {
	size = max(size, 0)
	d := image{r: r, size: size, sector: sectorSize, op: "DetectFileSystem"}
	fs, bad := d.detect()
	switch {
	case bad != nil:
		return FileSystem{Kind: UnknownFileSystem}, bad
	case !fs.fits(size):
		return FileSystem{Kind: UnknownFileSystem}, nil
	}
	return fs, nil
}

func (d image) detect() (FileSystem, *LayoutError) {
	unknown := FileSystem{Kind: UnknownFileSystem}
	head := heads.Get().(*[bootHead]byte)
	defer heads.Put(head)
	b := block(head[:max(min(bootHead, d.size), 0)])
	if bad := d.readInto(b, 0, "boot sector"); bad != nil {
		return unknown, bad
	}
	if len(b) < sectorSize {
		return unknown, nil
	}
	if isNTFS(b) {
		return d.detectNTFS(b)
	}
	if fs, ok := probe(b, detectBitLocker, detectReFS, detectExFAT, detectFAT); ok {
		return fs, nil
	}
	if d.size > bootHead {
		deep, bad := d.read(0, min(deepHead, d.size), "superblock")
		if bad != nil {
			return unknown, bad
		}
		b = deep
	}
	if fs, ok := probe(b, detectExt, detectXFS, detectBtrfs, detectUFS, detectSwap, detectISO); ok {
		return fs, nil
	}
	if b.zero() {
		return FileSystem{}, nil
	}
	return unknown, nil
}

// heads are first bytes of volumes, of which nobody keeps any.
var heads = sync.Pool{New: func() any { return new([bootHead]byte) }}

// probe asks each detector whether the first bytes of a volume are of its kind.
// One that knows the bytes and cannot believe them says so with an unknown one.
func probe(b block, detectors ...func(block) (FileSystem, bool)) (FileSystem, bool) {
	for _, detect := range detectors {
		if fs, ok := detect(b); ok {
			return fs, true
		}
	}
	return FileSystem{}, false
}

// span fills in a size that is counted in units of unit bytes. A count that
// cannot be the size of any disk means that the rest cannot be believed.
func (f FileSystem) span(count uint64, unit, sector int64) (FileSystem, bool) {
	if unit <= 0 || sector <= 0 || count > uint64(math.MaxInt64/unit) {
		return FileSystem{}, false
	}
	f.SectorSize, f.Sectors = sector, int64(count)*unit/sector
	return f, true
}

// label trims the padding of a fixed field. What is no text is left out.
func (b block) label(at, n int) string {
	s, _, _ := strings.Cut(string(b[at:at+n]), "\x00")
	if s = strings.TrimRight(s, " "); !utf8.ValidString(s) {
		return ""
	}
	return s
}
