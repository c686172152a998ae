// Package guest is the child of the virtualization host: a virtual machine as
// its own operating system sees it.
//
// What a guest is, its disks say. The partition tables, the boot sectors and
// the record of the installation on the system volume are read from the bytes
// of the virtual disks whenever a question about the guest comes up. Nothing
// about a guest is remembered beside them, so that a disk that was written by
// another program, restored from a backup or damaged on the way counts for what
// it is.
//
// # Disks
//
// [Format] divides a new disk, and [WriteSystem] installs an operating system
// on one of its volumes. [ReadLayout] tells what is on any disk: MBR with
// logical partitions, GPT with either copy broken, a file system without a
// table, a dynamic disk, nothing. [Volumes] lists what the guest would mount and
// under which letter, and [Judge] what stands in the way of a snapshot of its
// volumes.
//
//	d := disk.NewMemory(64 << 20)
//	err := guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: 0x1A2B3C4D,
//		Partitions: []guest.PartitionSpec{{Active: true, FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: 7}}}})
//	...
//	layout, err := guest.ReadLayout(d, d.Size())
//	c := guest.Volumes(layout)[0]                    // C:
//	err = guest.WriteSystem(c.Store(d), &guest.System{
//		OS: guest.WindowsServer2008, ComputerName: "SQL01",
//		Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016"),
//	})
//	for _, fact := range guest.Judge(guest.Rules{}, layout) {
//		fmt.Println(fact) // nothing to say: basic disk, NTFS
//	}
//
// There is no guest file system in the model. A file system is its boot sector
// or superblock; behind it, [SystemOffset] and [DataOffset] say which bytes of a
// volume are free to use, and for what.
//
// Bytes that contradict themselves never pass for sound ones. They give a
// [*LayoutError], or a [Partition] whose Damage is set, and Judge reports both.
package guest
