package guest_test

import (
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
)

// A disk is made, and read back from its bytes.
func ExampleReadLayout() {
	d := disk.NewMemory(64 << 20)
	err := guest.Format(d, guest.DiskSpec{
		Scheme: guest.MBR, Signature: 0x1A2B3C4D,
		Partitions: []guest.PartitionSpec{
			{Size: 16 << 20, Active: true, FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: 0xC0FFEE, Label: "System"}},
			{FileSystem: guest.FileSystem{Kind: guest.FAT32, Serial: 0xCAFE, Label: "TRANSFER"}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	layout, err := guest.ReadLayout(d, d.Size())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(layout)
	for _, fact := range guest.Judge(guest.Rules{}, layout) {
		fmt.Println(fact)
	}
	// Output:
	// MBR basic 67108864 bytes signature 1a2b3c4d
	// 1: 1048576+16777216 0x07 data active: NTFS serial 0000000000c0ffee
	// 2: 17825792+49283072 0x0c data: FAT32 serial 0000cafe label "TRANSFER"
	// disk 0 partition 2 (D:) holds FAT32, which cannot be snapshotted
}

// Identities are derived from the disk's where none are given.
func ExamplePartitionSpec() {
	d := disk.NewMemory(128 << 20)
	id := [16]byte{0x11, 0x22, 0x33, 0x44, 15: 0x10}
	_ = guest.Format(d, guest.DiskSpec{Scheme: guest.GPT, GUID: id, Partitions: []guest.PartitionSpec{
		{Size: 34 << 20, Role: guest.RoleEFI, Name: "EFI", FileSystem: guest.FileSystem{Kind: guest.FAT32}},
		{Size: 16 << 20, Role: guest.RoleReserved},
		{Name: "Windows", FileSystem: guest.FileSystem{Kind: guest.NTFS}},
	}})
	layout, _ := guest.ReadLayout(d, d.Size())
	for _, p := range layout.Partitions {
		fmt.Printf("%d %x %v %v\n", p.Index, p.ID[12:], p.Role, p.FileSystem.Kind)
	}
	// Output:
	// 1 00000011 EFI system FAT32
	// 2 00000012 Microsoft reserved unknown
	// 3 00000013 data NTFS
}

// Letters follow from the disks alone. C: is where the system was installed.
func ExampleVolumes() {
	ntfs := guest.FileSystem{Kind: guest.NTFS}
	var disks []*disk.Memory
	for i := range 2 {
		d := disk.NewMemory(8 << 20)
		_ = guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: uint32(i + 1),
			Partitions: []guest.PartitionSpec{{Size: 2 << 20, FileSystem: ntfs}, {FileSystem: ntfs}}})
		disks = append(disks, d)
	}
	layouts := func() (all []*guest.Layout) {
		for _, d := range disks {
			l, _ := guest.ReadLayout(d, d.Size())
			all = append(all, l)
		}
		return all
	}
	second := guest.Volumes(layouts()...)[1]
	_ = guest.WriteSystem(second.Store(disks[second.Disk]), &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC"})
	for _, v := range guest.Volumes(layouts()...) {
		data := v.Data()
		fmt.Println(v.Name(), "disk", v.Disk, "partition", v.Partition, "data", data.Off, data.Len)
	}
	// Output:
	// D: disk 0 partition 1 data 262144 1830912
	// C: disk 0 partition 2 data 262144 4976640
	// E: disk 1 partition 1 data 262144 1830912
	// F: disk 1 partition 2 data 262144 4976640
}

// Bytes that contradict themselves are an error with a place and a code. What
// the judge is told about such a disk is nil.
func ExampleLayoutError() {
	d := disk.NewMemory(8 << 20)
	_ = guest.Format(d, guest.DiskSpec{Scheme: guest.GPT, GUID: [16]byte{1}})
	_, _ = d.WriteAt([]byte("no"), 512+40)          // the header
	_, _ = d.WriteAt([]byte("no"), d.Size()-512+40) // and its copy
	layout, err := guest.ReadLayout(d, d.Size())
	var place *guest.LayoutError
	if errors.As(err, &place) && errors.Is(err, guest.ErrChecksum) {
		fmt.Println(place.What, "at", place.Off)
	}
	fmt.Println(guest.Judge(guest.Rules{}, layout)[0])
	// Output:
	// GPT header at 512
	// disk 0 has no readable layout
}

// What stands in the way depends on what the guest can snapshot. A volume that
// the table hides does not count.
func ExampleJudge() {
	d := disk.NewMemory(64 << 20)
	_ = guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: 1, Partitions: []guest.PartitionSpec{
		{Size: 8 << 20, FileSystem: guest.FileSystem{Kind: guest.ReFS}},
		{Size: 8 << 20, FileSystem: guest.FileSystem{Kind: guest.ExFAT}},
		{Size: 8 << 20, FileSystem: guest.FileSystem{Kind: guest.ExFAT}, Hidden: true},
	}})
	layout, _ := guest.ReadLayout(d, d.Size())
	for _, os := range []guest.OS{guest.WindowsServer2008, guest.WindowsServer2012} {
		for _, fact := range guest.Judge(guest.Rules{ReFS: os.ReFS()}, layout) {
			fmt.Println(os, fact, fact.Disqualifies())
		}
	}
	// Output:
	// Windows Server 2008 disk 0 partition 1 (C:) holds ReFS, which cannot be snapshotted true
	// Windows Server 2008 disk 0 partition 2 (D:) holds exFAT, which cannot be snapshotted true
	// Windows Server 2012 disk 0 partition 2 (D:) holds exFAT, which cannot be snapshotted true
}

// A volume is what its first sectors say.
func ExampleDetectFileSystem() {
	d := disk.NewMemory(8 << 20)
	_ = guest.Format(d, guest.DiskSpec{Scheme: guest.SuperFloppy,
		Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: 7}}}})
	fs, _ := guest.DetectFileSystem(d, d.Size())
	fmt.Println(fs, fs.SnapshotCapable())
	_, _ = d.WriteAt([]byte{0, 0}, 510) // the boot sector's signature
	fs, _ = guest.DetectFileSystem(d, d.Size())
	fmt.Println(fs, fs.SnapshotCapable())
	// Output:
	// NTFS serial 0000000000000007 true
	// unknown false
}
