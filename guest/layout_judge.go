package guest

import "fmt"

// Rules are what differs from one version of the host's backup to another in
// the judgement about a guest's disks. The zero value is Windows Server 2008.
type Rules struct {
	ReFS bool // ReFS volumes can be snapshotted: guests from Windows Server 2012 on
}

// capable tells whether the guest can snapshot a volume of that kind.
func (r Rules) capable(f FileSystem) bool { return f.SnapshotCapable() || r.ReFS && f.Kind == ReFS }

// A FactKind is something about a guest's disks that bears on whether the guest
// can be backed up by a snapshot of its volumes.
type FactKind uint8

// The facts. All but RepairedTable rule the snapshot out.
const (
	DynamicDisk       FactKind = iota + 1 // the Logical Disk Manager owns the disk
	UnreadableDisk                        // the disk has no layout that could be believed
	UnformattedDisk                       // the disk holds no file system at all
	UnformattedVolume                     // the volume is raw: nothing on it, or nothing known
	IncapableVolume                       // the volume's file system cannot be snapshotted
	PooledVolume                          // the partition is a member of a storage pool
	DamagedPartition                      // the partition table contradicts itself here
	RepairedTable                         // one copy of the table is bad, the other is in use
)

// A Fact is one such thing, and where it was found.
type Fact struct {
	Kind       FactKind
	Disk       int          // from 0
	Partition  int          // 0: the disk as a whole
	Letter     byte         // the volume's, or 0
	FileSystem FileSystem   // what was found on the volume
	Damage     *LayoutError // what is damaged and how; nil for other kinds
}

// Disqualifies tells whether the fact rules out a snapshot of the guest.
func (f Fact) Disqualifies() bool { return f.Kind != RepairedTable }

// String prints the fact as a sentence: "disk 1 partition 1 (E:) holds FAT32,
// which cannot be snapshotted".
func (f Fact) String() string {
	s := place(f.Disk, f.Partition)
	if f.Letter != 0 {
		s += fmt.Sprintf(" (%c:)", f.Letter)
	}
	switch f.Kind {
	case DynamicDisk:
		return s + " is a dynamic disk"
	case UnreadableDisk:
		return s + " has no readable layout"
	case UnformattedDisk:
		return s + " holds no file system"
	case UnformattedVolume:
		return s + " is not formatted with a known file system"
	case PooledVolume:
		return s + " is a member of a storage pool"
	case IncapableVolume:
		return fmt.Sprintf("%s holds %v, which cannot be snapshotted", s, f.FileSystem.Kind)
	case DamagedPartition:
		return fmt.Sprintf("%s is damaged: %s", s, f.Damage.detail())
	case RepairedTable:
		return fmt.Sprintf("%s is used by the other copy of its table: %s", s, f.Damage.detail())
	}
	return fmt.Sprintf("%s: fact %d", s, f.Kind)
}

// Judge lists everything about a guest's disks that bears on a snapshot inside
// the guest, in the order of disks and partitions. The conditions are those of
// "Backing Up and Restoring Virtual Machines": all volumes on basic disks, no
// dynamic disk at all, a file system that supports snapshots on every disk.
//
// The guest qualifies if no fact of the list disqualifies. A nil layout stands
// for a disk whose [ReadLayout] failed; it disqualifies like a raw one.
// Partitions that are [Partition.Exempt] are passed over whatever they hold,
// the EFI system partition above all; a mount point on one of them is not to be
// seen from the disk. Partitions of foreign types are not passed over: they may
// be mounted by a system that knows them.
func Judge(r Rules, disks ...*Layout) []Fact {
	letters := map[[2]int]byte{}
	for _, v := range Volumes(disks...) {
		letters[[2]int{v.Disk, v.Partition}] = v.Letter
	}
	var facts []Fact
	for i, l := range disks {
		for _, f := range r.judge(l) {
			f.Disk, f.Letter = i, letters[[2]int{i, f.Partition}]
			facts = append(facts, f)
		}
	}
	return facts
}

// judge lists the facts about one disk.
func (r Rules) judge(l *Layout) []Fact {
	if l == nil {
		return []Fact{{Kind: UnreadableDisk}}
	}
	var facts []Fact
	for _, e := range l.Damage {
		facts = append(facts, Fact{Kind: RepairedTable, Damage: e})
	}
	if l.Dynamic {
		facts = append(facts, Fact{Kind: DynamicDisk})
	}
	empty := !l.Dynamic
	for i := range l.Partitions {
		p := &l.Partitions[i]
		f := r.judgePartition(p)
		empty = empty && f.Kind == 0 && !p.FileSystem.known()
		if f.Kind == DamagedPartition || f.Kind != 0 && !l.Dynamic {
			facts = append(facts, f)
		}
	}
	if empty {
		facts = append(facts, Fact{Kind: UnformattedDisk})
	}
	return facts
}

// judgePartition returns the fact about one partition, or none.
func (r Rules) judgePartition(p *Partition) Fact {
	f := Fact{Partition: p.Index, FileSystem: p.FileSystem}
	switch {
	case p.Damage != nil:
		f.Kind, f.Damage = DamagedPartition, p.Damage
	case p.Exempt():
		return Fact{}
	case p.Role == RoleStorageSpace:
		f.Kind = PooledVolume
	case !p.FileSystem.known():
		f.Kind = UnformattedVolume
	case r.capable(p.FileSystem):
		return Fact{}
	default:
		f.Kind = IncapableVolume
	}
	return f
}
