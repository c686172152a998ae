package guest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/guest"
)

// mixedMBR and mixedGPT have every kind of partition that Format makes.
var mixedMBR = guest.DiskSpec{Scheme: guest.MBR, Signature: 0x1A2B3C4D, Partitions: []guest.PartitionSpec{
	{Size: 4 * mib, Active: true, FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: 0x0123456789ABCDEF, Label: "System"}},
	{Size: 3 * mib, FileSystem: guest.FileSystem{Kind: guest.FAT12, Serial: 0xCAFE0012, Label: "TWELVE"}},
	{Size: 34 * mib, FileSystem: guest.FileSystem{Kind: guest.FAT32, Serial: 0xCAFE0032, ClusterSize: 512, Label: "THIRTY TWO"}},
	{Hidden: true, FileSystem: guest.FileSystem{Kind: guest.ExFAT, Serial: 0xCAFE0064, Label: "Karte"}},
}}

var mixedGPT = guest.DiskSpec{Scheme: guest.GPT, GUID: diskGUID, Partitions: []guest.PartitionSpec{
	{Size: 34 * mib, Role: guest.RoleEFI, Name: "EFI system partition", FileSystem: guest.FileSystem{Kind: guest.FAT32, Serial: 1}},
	{Size: 1 * mib, Role: guest.RoleReserved},
	{Size: 4 * mib, Name: "Größe", FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: 2, Label: "Daten ☃"}},
	{Size: 1 * mib, Role: guest.RoleRecovery, FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: 3}},
	{Size: 9 * mib, NoDriveLetter: true, FileSystem: guest.FileSystem{Kind: guest.FAT16, Serial: 4}},
	{Size: 2 * mib, FileSystem: guest.FileSystem{Kind: guest.ReFS, Serial: 5}},
	{FileSystem: guest.FileSystem{Kind: guest.Ext4, UUID: fsUUID, Label: "linux"}},
}}

// TestSfdiskReadsFormat lets sfdisk print and verify the tables. It escapes
// bytes beyond ASCII in names.
func TestSfdiskReadsFormat(t *testing.T) {
	for _, c := range []struct {
		name string
		spec guest.DiskSpec
		want string
	}{
		{"mbr", mixedMBR, `
label: dos
label-id: 0x1a2b3c4d
unit: sectors
sector-size: 512

disk1 : start= 2048, size= 8192, type=7, bootable
disk2 : start= 10240, size= 6144, type=1
disk3 : start= 16384, size= 69632, type=c
disk4 : start= 86016, size= 45056, type=17
`},
		{"gpt", mixedGPT, `
label: gpt
label-id: 11111111-2222-3333-4444-555555555555
unit: sectors
first-lba: 34
last-lba: 131038
sector-size: 512

disk1 : start= 2048, size= 69632, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=11111111-2222-3333-4444-555555555556, name="EFI system partition"
disk2 : start= 71680, size= 2048, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE, uuid=11111111-2222-3333-4444-555555555557
disk3 : start= 73728, size= 8192, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, uuid=11111111-2222-3333-4444-555555555558, name="Gr\xc3\xb6\xc3\x9fe"
disk4 : start= 81920, size= 2048, type=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC, uuid=11111111-2222-3333-4444-555555555559
disk5 : start= 83968, size= 18432, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, uuid=11111111-2222-3333-4444-55555555555A, attrs="GUID:63"
disk6 : start= 102400, size= 4096, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, uuid=11111111-2222-3333-4444-55555555555B
disk7 : start= 106496, size= 22528, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=11111111-2222-3333-4444-55555555555C
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := made(t, 64*mib, c.spec)
			dump := run(t, "", "sfdisk", "--dump", name)
			dump = regexp.MustCompile(`(?m)^device: .*\n`).ReplaceAllString(dump, "")
			dump = regexp.MustCompile(` {2,}`).ReplaceAllString(strings.ReplaceAll(dump, name, "disk"), " ")
			if dump = regexp.MustCompile(`(?m)\s+$`).ReplaceAllString(dump, ""); squeeze(dump) != squeeze(c.want) {
				t.Errorf("sfdisk --dump says\n%s\nwant %s", dump, c.want)
			}
			if got := run(t, "", "sfdisk", "--verify", name); !strings.Contains(got, "No errors") {
				t.Errorf("sfdisk --verify says\n%s", got)
			}
		})
	}
}

// squeeze leaves one space between words.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// TestBlkidReadsFormat lets blkid look into each partition. It prints bytes
// beyond ASCII as cat -v does.
func TestBlkidReadsFormat(t *testing.T) {
	for _, c := range []struct {
		spec guest.DiskSpec
		want map[int]string
	}{
		{mixedMBR, map[int]string{
			1: `LABEL=System|UUID=0123456789ABCDEF|TYPE=ntfs`,
			2: `LABEL=TWELVE|UUID=CAFE-0012|VERSION=FAT12|TYPE=vfat`,
			3: `LABEL=THIRTY\ TWO|UUID=CAFE-0032|VERSION=FAT32|TYPE=vfat`,
			4: `LABEL=Karte|UUID=CAFE-0064|VERSION=1.0|TYPE=exfat`,
		}},
		{mixedGPT, map[int]string{
			1: `UUID=0000-0001|VERSION=FAT32|TYPE=vfat`,
			3: `LABEL=Daten\ M-bM-^XM-^C|UUID=0000000000000002|TYPE=ntfs`,
			5: `UUID=0000-0004|VERSION=FAT16|TYPE=vfat`,
			6: `TYPE=ReFS`,
			7: `LABEL=linux|UUID=aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee|VERSION=1.0|TYPE=ext4`,
		}},
	} {
		name := made(t, 64*mib, c.spec)
		l, err := readFile(t, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range l.Partitions {
			want, ok := c.want[p.Index]
			if !ok {
				continue
			}
			got := run(t, "", "blkid", "--probe", "--output", "export", "--offset", itoa(p.Off), "--size", itoa(p.Len), name)
			for field := range strings.SplitSeq(want, "|") {
				if !strings.Contains(got, field+"\n") {
					t.Errorf("%v partition %d: blkid says\n%s\nwant %s in it", l.Scheme, p.Index, got, field)
				}
			}
		}
	}
}

// TestFileReadsFormat lets file describe file systems that fill a disk.
func TestFileReadsFormat(t *testing.T) {
	for _, c := range []struct {
		fs   guest.FileSystem
		want []string
	}{
		{guest.FileSystem{Kind: guest.NTFS, Serial: 0x123456789ABCDEF0}, []string{"NTFS", "sectors 131071", "serial number 0123456789abcdef0"}},
		{guest.FileSystem{Kind: guest.FAT16, Serial: 0x1234ABCD, Label: "LABEL"}, []string{"FAT (16 bit)", "serial number 0x1234abcd", `label: "LABEL`}},
		{guest.FileSystem{Kind: guest.FAT32, Serial: 0x1234ABCD}, []string{"FAT (32 bit)", "serial number 0x1234abcd", "unlabeled"}},
		{guest.FileSystem{Kind: guest.Ext3, UUID: fsUUID}, []string{"ext3 filesystem data", "UUID=aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"}},
		{guest.FileSystem{Kind: guest.Ext2, UUID: fsUUID}, []string{"ext2 filesystem data"}},
	} {
		name := made(t, 64*mib, guest.DiskSpec{Scheme: guest.SuperFloppy, Partitions: []guest.PartitionSpec{{FileSystem: c.fs}}})
		got := run(t, "", "file", "--brief", name)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%v: file says %s, want %q in it", c.fs.Kind, got, want)
			}
		}
	}
}

// TestFsckReadsFormat has the FAT file systems checked, which are complete.
func TestFsckReadsFormat(t *testing.T) {
	for _, c := range []struct {
		fs   guest.FileSystem
		size int64
	}{
		{guest.FileSystem{Kind: guest.FAT12, Label: "TWELVE"}, 4 * mib},
		{guest.FileSystem{Kind: guest.FAT16, Serial: 1}, 64 * mib},
		{guest.FileSystem{Kind: guest.FAT32, Serial: 1, Label: "BIG ONE"}, 300 * mib},
	} {
		name := made(t, c.size, guest.DiskSpec{Scheme: guest.SuperFloppy, Partitions: []guest.PartitionSpec{{FileSystem: c.fs}}})
		if got := run(t, "", "fsck.fat", "-n", "-v", name); !strings.Contains(got, "1 files") && !strings.Contains(got, "0 files") {
			t.Errorf("%v: fsck.fat says\n%s", c.fs.Kind, got)
		}
	}
}

// TestSevenZipReadsFormat lets 7-Zip list the partitions as it does for a VHD.
func TestSevenZipReadsFormat(t *testing.T) {
	for _, c := range []struct {
		name string
		spec guest.DiskSpec
		want []string // type, then the partitions in the order of the disk
	}{
		{"disk.mbr", mixedMBR, []string{"Type = MBR", "Size = 4194304", "Size = 3145728", "Size = 35651584", "Size = 23068672"}},
		{"disk.gpt", mixedGPT, []string{"Type = GPT", "Size = 35651584", "Size = 1048576", "Size = 4194304", "Size = 1048576", "Size = 9437184", "Size = 2097152", "Size = 11534336"}},
	} {
		image := made(t, 64*mib, c.spec)
		name := filepath.Join(filepath.Dir(image), c.name)
		if err := os.Rename(image, name); err != nil {
			t.Fatal(err)
		}
		got := run(t, "", "7z", "l", "-slt", name)
		rest := got
		for _, want := range c.want {
			_, after, ok := strings.Cut(rest, want+"\n")
			if !ok {
				t.Fatalf("7-Zip says\n%s\nwant %s in this order", got, strings.Join(c.want, ", "))
			}
			rest = after
		}
	}
}
