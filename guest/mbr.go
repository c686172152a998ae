package guest

// Where the first sector holds what.
const (
	mbrSignature = 440
	mbrEntries   = 446
	mbrSlots     = 4
)

// maxLogical bounds the chain of logical partitions. Windows has letters for
// 24 volumes, and sfdisk stops at 60 or so.
const maxLogical = 255

// An mbrEntry is one of the four slots of a boot record, in sectors.
type mbrEntry struct {
	status byte // 0x80 marks the active partition
	kind   byte
	start  int64
	count  int64
}

func (e mbrEntry) extended() bool {
	r, _ := PartitionType{MBR: e.kind}.role()
	return r == RoleExtended
}

// An mbrTable is the four slots, and whether the sector is signed as a boot
// record at all.
type mbrTable struct {
	signed  bool
	entries [mbrSlots]mbrEntry
}

func readTable(b block) mbrTable {
	t := mbrTable{signed: b.signed()}
	for i := range t.entries {
		at := mbrEntries + 16*i
		t.entries[i] = mbrEntry{status: b[at], kind: b[at+4], start: int64(b.u32(at + 8)), count: int64(b.u32(at + 12))}
	}
	return t
}

// partitioned tells a master boot record that divides the disk from the boot
// sector of a file system, whose code lies where the slots would be. A slot
// that starts at sector 0 divides nothing: some formatters put one there to
// make a super-floppy look partitioned.
func (t mbrTable) partitioned() bool {
	divides := false
	for _, e := range t.entries {
		if e.status&0x7F != 0 {
			return false
		}
		divides = divides || e.kind != 0 && e.start > 0
	}
	return t.signed && divides
}

// protective tells whether the record guards a GPT: it has one partition, and
// that is of the type made for it.
func (t mbrTable) protective() bool {
	used, guard := 0, 0
	for _, e := range t.entries {
		if e.kind != 0 {
			used++
		}
		if e.kind == mbrProtective {
			guard++
		}
	}
	return t.partitioned() && used == 1 && guard == 1
}

// empty tells a record whose slots are all unused.
func (t mbrTable) empty() bool {
	for _, e := range t.entries {
		if e.status&0x7F != 0 || e.kind != 0 {
			return false
		}
	}
	return t.signed
}

// readMBR lists the primary partitions and follows the extended one.
func (d image) readMBR(l *Layout, t mbrTable) *LayoutError {
	l.Scheme = MBR
	var boxes, logical []Partition
	for i, e := range t.entries {
		if e.kind == 0 {
			continue
		}
		p := d.newPartition(i+1, e, 0)
		if e.kind == mbrProtective {
			p.damage(d, ErrField) // two tables claim the disk
		}
		if p.Role == RoleExtended {
			if len(boxes) > 0 {
				p.damage(d, ErrLimit) // Windows knows one a disk
			}
			chain, bad := d.readExtended(&p)
			if bad != nil {
				return bad
			}
			boxes, logical = append(boxes, p), append(logical, chain...)
		}
		l.Partitions = append(l.Partitions, p)
	}
	l.Partitions = append(l.Partitions, logical...)
	return d.inspect(l.Partitions)
}

// newPartition makes a partition of a slot whose start counts from base.
func (d image) newPartition(index int, e mbrEntry, base int64) Partition {
	p := Partition{
		Index: index, Active: e.status == 0x80, Type: PartitionType{MBR: e.kind},
		Off: (base + e.start) * d.sector, Len: e.count * d.sector,
	}
	p.Role, p.Hidden = p.Type.role()
	if e.start == 0 || e.count == 0 || p.end() > d.size {
		p.damage(d, ErrRange)
	}
	return p
}

// readExtended follows the chain of boot records inside an extended partition.
// Each names one logical partition, relative to itself, and the next record,
// relative to the container. A chain that breaks damages the container and
// keeps what was found before.
func (d image) readExtended(box *Partition) ([]Partition, *LayoutError) {
	var logical []Partition
	seen := map[int64]bool{}
	for at := box.Off / d.sector; box.Damage == nil; {
		t, bad := d.readLink(box, at, seen)
		if bad != nil && !bad.malformed() {
			return nil, bad
		}
		if bad != nil {
			box.Damage = bad
			break
		}
		if e := t.entries[0]; e.kind != 0 {
			p := d.newPartition(mbrSlots+1+len(logical), e, at)
			if p.end() > box.end() {
				p.damage(d, ErrRange)
			}
			logical = append(logical, p)
		}
		if t.entries[1].kind == 0 {
			break
		}
		at = box.Off/d.sector + t.entries[1].start
	}
	return logical, nil
}

// readLink reads one record of the chain and checks that it can be one.
func (d image) readLink(box *Partition, at int64, seen map[int64]bool) (t mbrTable, bad *LayoutError) {
	const what = "extended boot record"
	off := at * d.sector
	switch {
	case seen[at]:
		return t, d.fail(off, what, ErrLoop)
	case len(seen) == maxLogical:
		return t, d.fail(off, what, ErrLimit)
	case off >= box.end():
		return t, d.fail(off, what, ErrRange)
	}
	seen[at] = true
	b, bad := d.read(off, sectorSize, what)
	if bad != nil {
		return t, bad
	}
	t = readTable(b)
	switch {
	case !t.signed:
		return t, d.fail(off, what, ErrSignature)
	case t.entries[0].extended(), t.entries[1].kind != 0 && !t.entries[1].extended(),
		t.entries[2].kind != 0, t.entries[3].kind != 0:
		return t, d.fail(off, what, ErrField)
	}
	return t, nil
}
