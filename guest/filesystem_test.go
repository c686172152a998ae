package guest_test

import (
	"encoding/binary"
	"math/bits"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
)

// volumeOf makes a volume of 34 MiB with one file system.
func volumeOf(t testing.TB, fs guest.FileSystem) *disk.Memory {
	return newDisk(t, 34*mib, guest.DiskSpec{Scheme: guest.SuperFloppy, Partitions: []guest.PartitionSpec{with(fs)}})
}

// imageOf makes a volume that begins like one that another program made.
func imageOf(t testing.TB, name string, size int64) *disk.Memory {
	t.Helper()
	b, err := loadImage(name)
	if err != nil {
		t.Fatal(err)
	}
	d := disk.NewMemory(size)
	poke(t, d, 0, b...)
	return d
}

// TestContradictions changes one field at a time to a value that the field
// cannot have. What the signature promises is not believed then.
func TestContradictions(t *testing.T) {
	ntfs := volumeOf(t, guest.FileSystem{Kind: guest.NTFS, Serial: 1})
	refs := volumeOf(t, guest.FileSystem{Kind: guest.ReFS, Serial: 1})
	exfat := volumeOf(t, guest.FileSystem{Kind: guest.ExFAT, Serial: 1})
	fat16 := volumeOf(t, guest.FileSystem{Kind: guest.FAT16})
	fat32 := volumeOf(t, guest.FileSystem{Kind: guest.FAT32})
	ext4 := volumeOf(t, guest.FileSystem{Kind: guest.Ext4})
	xfs, btrfs, iso := imageOf(t, "xfs", 320*mib), imageOf(t, "btrfs", 128*mib), imageOf(t, "iso", 358400)
	ff8 := []byte{255, 255, 255, 255, 255, 255, 255, 255}
	zero8 := make([]byte, 8)
	for _, c := range []struct {
		field string
		of    *disk.Memory
		at    int64
		value []byte
	}{
		{"NTFS sector size 0", ntfs, 11, zero8[:2]},
		{"NTFS sector size 256", ntfs, 11, []byte{0, 1}},
		{"NTFS sector size 8192", ntfs, 11, []byte{0, 32}},
		{"NTFS sectors per cluster 0", ntfs, 13, zero8[:1]},
		{"NTFS sectors per cluster 3", ntfs, 13, []byte{3}},
		{"NTFS sectors per cluster 2^-56", ntfs, 13, []byte{200}},
		{"NTFS reserved sectors", ntfs, 14, []byte{1}},
		{"NTFS number of FATs", ntfs, 16, []byte{2}},
		{"NTFS root entries", ntfs, 17, []byte{1}},
		{"NTFS sectors of 16 bits", ntfs, 19, []byte{1}},
		{"NTFS FAT size", ntfs, 22, []byte{1}},
		{"NTFS sectors of 32 bits", ntfs, 32, []byte{1}},
		{"NTFS sectors 0", ntfs, 40, zero8},
		{"NTFS sectors 2^64-1", ntfs, 40, ff8},
		{"NTFS file table at 0", ntfs, 48, zero8},
		{"NTFS file table outside", ntfs, 48, ff8},
		{"NTFS mirror at 0", ntfs, 56, zero8},
		{"NTFS mirror outside", ntfs, 56, ff8},
		{"NTFS record size 0", ntfs, 64, zero8[:1]},
		{"NTFS record size 3 clusters", ntfs, 64, []byte{3}},
		{"NTFS record size 2^-1", ntfs, 64, []byte{255}},
		{"NTFS record size 2^-128", ntfs, 64, []byte{128}},
		{"NTFS record size 32 clusters", ntfs, 64, []byte{32}},
		{"NTFS first record", ntfs, 16 << 10, []byte("BAAD")},
		{"NTFS signature", ntfs, 510, []byte{0}},
		{"ReFS sector size", refs, 32, []byte{1}},
		{"ReFS cluster size 0", refs, 36, zero8[:1]},
		{"ReFS cluster size", refs, 36, []byte{3}},
		{"ReFS sectors 0", refs, 24, zero8},
		{"ReFS sectors 2^64-1", refs, 24, ff8},
		{"ReFS structure", refs, 16, []byte("XXXX")},
		{"exFAT sectors 0", exfat, 72, zero8},
		{"exFAT sectors 2^64-1", exfat, 72, ff8},
		{"exFAT sector shift 8", exfat, 108, []byte{8}},
		{"exFAT sector shift 13", exfat, 108, []byte{13}},
		{"exFAT cluster shift", exfat, 109, []byte{17}},
		{"exFAT number of FATs 0", exfat, 110, zero8[:1]},
		{"exFAT number of FATs 3", exfat, 110, []byte{3}},
		{"exFAT zero region", exfat, 63, []byte{1}},
		{"exFAT clusters", exfat, 92, zero8[:4]},
		{"exFAT root", exfat, 96, zero8[:4]},
		{"FAT jump", fat16, 0, []byte{0x90}},
		{"FAT sector size", fat16, 11, zero8[:2]},
		{"FAT sectors per cluster", fat16, 13, []byte{3}},
		{"FAT reserved", fat16, 14, zero8[:2]},
		{"FAT number of FATs 0", fat16, 16, zero8[:1]},
		{"FAT number of FATs 3", fat16, 16, []byte{3}},
		{"FAT16 without root", fat16, 17, zero8[:2]},
		{"FAT32 with root", fat32, 17, []byte{1}},
		{"FAT media", fat16, 21, []byte{1}},
		{"FAT table larger than volume", fat16, 22, ff8[:2]},
		{"FAT32 table 0", fat32, 36, zero8[:4]},
		{"ext blocks of 128 KiB", ext4, 1024 + 24, []byte{7}},
		{"ext blocks 0", ext4, 1024 + 4, zero8[:4]},
		{"ext journal device", ext4, 1024 + 96, []byte{8}},
		{"ext blocks 2^63", ext4, 1024 + 336, ff8[:4]},
		{"XFS block size", xfs, 4, ff8[:4]},
		{"XFS blocks 0", xfs, 8, zero8},
		{"XFS blocks 2^64-1", xfs, 8, ff8},
		{"btrfs sector size", btrfs, 64<<10 + 144, []byte{1}},
		{"btrfs size 0", btrfs, 64<<10 + 112, zero8},
		{"ISO block size", iso, 32<<10 + 128, ff8[:2]},
		{"ISO blocks 0", iso, 32<<10 + 80, zero8[:4]},
	} {
		before, err := guest.DetectFileSystem(c.of, c.of.Size())
		if err != nil || before.Kind == guest.UnknownFileSystem || before.Kind == guest.NoFileSystem {
			t.Fatalf("%s: the sound volume holds %v, %v", c.field, before, err)
		}
		f := c.of.Fork()
		poke(t, f, c.at, c.value...)
		if fs, err := guest.DetectFileSystem(f, f.Size()); err != nil || fs != (guest.FileSystem{Kind: guest.UnknownFileSystem}) {
			t.Errorf("%s: the volume holds %+v, %v", c.field, fs, err)
		}
	}
}

// TestGeometryNTFS puts sectors, clusters and places of NTFS on either side of
// what they may be. Clusters beyond 64 KiB are from Windows 10, written as the
// negative of a logarithm.
func TestGeometryNTFS(t *testing.T) {
	const size = 16 * mib
	for _, c := range []struct {
		sector, cluster int64 // bytes
		table, mirror   int64 // counted from the last cluster back
		want            bool
	}{
		{512, 512, 9, 8, true},
		{1024, 1024, 9, 8, true},
		{4096, 4096, 9, 8, true},
		{4096, 65536, 9, 8, true},
		{256, 4096, 9, 8, false},
		{768, 6144, 9, 8, false},
		{8192, 8192, 9, 8, false},
		{512, 512 << 10, 9, 8, true},
		{512, 1536, 9, 8, false},
		{512, 2 * mib, 3, 2, true},
		{1024, 4 * mib, 3, 2, false},
		{512, 4096, 0, 8, true},
		{512, 4096, -1, 8, false},
		{512, 4096, 8, 0, true},
		{512, 4096, 8, -1, false},
	} {
		d := volumeOf(t, guest.FileSystem{Kind: guest.NTFS})
		last := size/c.cluster - 1
		per := byte(c.cluster / c.sector)
		if n := c.cluster / c.sector; n > 128 {
			per = byte(256 - bits.TrailingZeros64(uint64(n)))
		}
		poke(t, d, 11, byte(c.sector), byte(c.sector>>8), per)
		for at, v := range map[int64]int64{40: size / c.sector, 48: last - c.table, 56: last - c.mirror} {
			poke(t, d, at, binary.LittleEndian.AppendUint64(nil, uint64(v))...)
		}
		poke(t, d, (last-c.table)*c.cluster, []byte("FILE")...)
		fs, err := guest.DetectFileSystem(d, d.Size())
		if err != nil || fs.SnapshotCapable() != c.want || c.want && fs.ClusterSize != c.cluster {
			t.Errorf("%+v: got %+v, %v", c, fs, err)
		}
		if fs, err := guest.DetectFileSystem(d, size); err != nil || fs.SnapshotCapable() != c.want {
			t.Errorf("%+v on a volume just as large: got %+v, %v", c, fs, err)
		}
		if fs, err := guest.DetectFileSystem(d, size-1); err != nil || fs.SnapshotCapable() {
			t.Errorf("%+v on a volume too small: got %+v, %v", c, fs, err)
		}
	}
}

// TestRecordSizeNTFS goes through the ways to give the size of a file record.
func TestRecordSizeNTFS(t *testing.T) {
	for size, want := range map[byte]bool{
		0xF8: false, 0xF7: true, 0xF6: true, 0xF0: true, 0xEF: false, // 256 bytes to 128 KiB
		1: true, 2: true, 3: false, 16: true, 32: false, // clusters of 4096 bytes
	} {
		d := volumeOf(t, guest.FileSystem{Kind: guest.NTFS})
		poke(t, d, 64, size)
		if fs, err := guest.DetectFileSystem(d, d.Size()); err != nil || fs.SnapshotCapable() != want {
			t.Errorf("record size %#x: got %v, %v", size, fs, err)
		}
	}
}

// TestClustersFAT counts to the number of clusters that divides FAT12 from
// FAT16.
func TestClustersFAT(t *testing.T) {
	d := newDisk(t, 4*mib, guest.DiskSpec{Scheme: guest.SuperFloppy, Partitions: []guest.PartitionSpec{
		with(guest.FileSystem{Kind: guest.FAT16, ClusterSize: 512})}})
	table := int(bytesAt(t, d, 22, 1)[0])
	for clusters, want := range map[int]guest.FileSystemKind{
		0: guest.UnknownFileSystem, 1: guest.FAT12, 4084: guest.FAT12, 4085: guest.FAT16,
	} {
		total := 1 + 32 + 2*table + clusters
		poke(t, d, 19, byte(total), byte(total>>8))
		if fs, err := guest.DetectFileSystem(d, d.Size()); err != nil || fs.Kind != want {
			t.Errorf("%d clusters: got %v, %v; want %v", clusters, fs, err, want)
		}
	}
}

// TestBitLocker knows an encrypted volume and an encrypted removable one.
func TestBitLocker(t *testing.T) {
	fixed, removable := disk.NewMemory(mib), volumeOf(t, guest.FileSystem{Kind: guest.FAT32})
	poke(t, fixed, 0, []byte("\xEB\x58\x90-FVE-FS-")...)
	poke(t, removable, 3, []byte("MSWIN4.1")...)
	poke(t, removable, 424, 0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01)
	for _, d := range []*disk.Memory{fixed, removable} {
		if fs, err := guest.DetectFileSystem(d, d.Size()); err != nil || fs.Kind != guest.BitLocker || fs.SnapshotCapable() {
			t.Errorf("got %v, %v", fs, err)
		}
	}
	poke(t, removable, 424, 0)
	if fs, _ := guest.DetectFileSystem(removable, removable.Size()); fs.Kind != guest.FAT32 {
		t.Errorf("got %v, want what Windows 98 formatted", fs)
	}
}

// TestLabels leaves out labels that are no text.
func TestLabels(t *testing.T) {
	d := volumeOf(t, guest.FileSystem{Kind: guest.Ext2, Label: "name"})
	poke(t, d, 1024+120, 0xFF)
	if fs, err := guest.DetectFileSystem(d, d.Size()); err != nil || fs.Label != "" || fs.Kind != guest.Ext2 {
		t.Errorf("got %v, %v", fs, err)
	}
}

// TestNames prints values that have no name by their number.
func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		guest.Scheme(4).String():          "Scheme(4)",
		guest.Role(9).String():            "Role(9)",
		guest.FileSystemKind(17).String(): "FileSystemKind(17)",
		guest.Code(12).Error():            "guest error 12",
		guest.Code(0).Error():             "guest error 0",
		guest.Fact{Disk: 2}.String():      "disk 2: fact 0",
		guest.PartitionType{}.String():    "-",
		guest.ErrLoop.Error():             "chain runs in a circle",
		guest.ISO9660.String():            "ISO 9660",
		guest.RoleForeign.String():        "foreign",
		guest.SuperFloppy.String():        "super-floppy",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
