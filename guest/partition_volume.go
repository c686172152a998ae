package guest

import (
	"fmt"

	"github.com/shadowsim/shadowsim/disk"
)

// A Volume is a range of a guest's disk that the guest could mount.
type Volume struct {
	Disk      int // which of the guest's disks, from 0
	Partition int // the partition's index; 0 for a whole disk

	Off, Len   int64 // the range of the disk, in bytes
	Letter     byte  // 'C' for C:, or 0
	Role       Role
	Exempt     bool // the table keeps it from having a letter
	FileSystem FileSystem
	System     bool // carries a system record
}

// Name returns "C:", or for a volume without a letter its place: "disk 0
// partition 2".
func (v Volume) Name() string {
	if v.Letter != 0 {
		return string(rune(v.Letter)) + ":"
	}
	return place(v.Disk, v.Partition)
}

// String prints name, place and contents.
func (v Volume) String() string {
	s := fmt.Sprintf("%d+%d %s: %v", v.Off, v.Len, v.Role, v.FileSystem)
	if v.Letter != 0 {
		s = place(v.Disk, v.Partition) + " " + s
	}
	return v.Name() + " " + s
}

func place(disk, partition int) string {
	if partition == 0 {
		return fmt.Sprintf("disk %d", disk)
	}
	return fmt.Sprintf("disk %d partition %d", disk, partition)
}

// Store returns the volume as a store, given the disk it lies on.
func (v Volume) Store(on disk.Store) disk.Store { return disk.Section(on, v.Off, v.Len) }

// Data returns the range of the volume that is free for programs, counted from
// the start of the volume. It is empty on a volume too small to have one.
func (v Volume) Data() disk.Extent {
	return disk.Extent{Off: DataOffset, Len: max(v.Len-DataOffset-TailSize, 0)}
}

// Volumes lists what the guest with these disks could mount, in the order of
// disks and then of places on the disk. A nil layout is a disk that could not
// be read. No volume comes from damaged partitions, from reserved space and
// containers, from storage pools, and from dynamic disks, whose volumes stand
// in the database of the Logical Disk Manager, which is not read.
//
// Drive letters go to volumes of the types that Windows mounts by itself,
// formatted or not, unless the table hides them. C: is the first one with a
// system record; without any, the first active one; without any, the first.
// The others get D:, E: and so on in the order of the list. Whatever comes
// after Z: has no letter. In Windows, letters once given are kept in the
// registry; here they follow from the disks alone.
func Volumes(disks ...*Layout) []Volume {
	var list []Volume
	boot, rank := -1, 0
	for i, l := range disks {
		if l == nil || l.Dynamic {
			continue
		}
		for _, p := range byPlace(l.Partitions) {
			if !p.mountable() {
				continue
			}
			if r := p.bootRank(); r > rank {
				boot, rank = len(list), r
			}
			list = append(list, Volume{Disk: i, Partition: p.Index, Off: p.Off, Len: p.Len, Role: p.Role,
				Exempt: p.Exempt(), FileSystem: p.FileSystem, System: p.System})
		}
	}
	giveLetters(list, boot)
	return list
}

// mountable tells whether a partition is a volume at all.
func (p *Partition) mountable() bool {
	switch p.Role {
	case RoleReserved, RoleExtended, RoleDynamic, RoleStorageSpace:
		return false
	}
	return p.Damage == nil
}

// lettered tells whether Windows gives the partition a letter by itself.
func (p *Partition) lettered() bool { return p.Role == RoleData && !p.Exempt() }

// bootRank says how good a claim to C: the partition has.
func (p *Partition) bootRank() int {
	switch {
	case !p.lettered():
		return 0
	case p.System:
		return 3
	case p.Active:
		return 2
	}
	return 1
}

func giveLetters(list []Volume, boot int) {
	next := byte('D')
	for i := range list {
		v := &list[i]
		switch {
		case i == boot:
			v.Letter = 'C'
		case v.Role == RoleData && !v.Exempt && next <= 'Z':
			v.Letter = next
			next++
		}
	}
}
