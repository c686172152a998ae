package guest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A Partition is one entry of a partition table, or the whole of a disk that
// has a file system and no table.
type Partition struct {
	// Index numbers the partition from 1 as its table does: the slot of a
	// primary one, 5 and up for logical ones in the order of their chain, the
	// entry in a GPT. It is 0 for the whole disk.
	Index int

	Off, Len int64 // bytes
	Type     PartitionType
	Role     Role

	Active        bool      // marked for booting in an MBR
	Hidden        bool      // a hidden MBR type, or the GPT attribute
	NoDriveLetter bool      // the GPT attribute: mounted only when asked for
	Attributes    uint64    // all attributes of a GPT entry
	ID            guid.GUID // the GPT entry's own identity
	Name          string    // the GPT entry's name

	// FileSystem is what the first sectors show. It is unknown where Damage is
	// set, and for containers and reserved space, which are not looked into.
	FileSystem FileSystem

	// System tells that the partition carries a system record, see [ReadSystem].
	System bool

	// Damage says why the entry cannot be trusted; nil for a sound one.
	Damage *LayoutError
}

// The attributes of a GPT entry that Windows defines for its data partitions.
const (
	gptHidden        = 1 << 62
	gptNoDriveLetter = 1 << 63
)

// Exempt tells that the table itself keeps the partition from being a volume
// with a drive letter: by its role, or by being hidden. What it holds then
// never stands in the way of a snapshot of the machine.
func (p *Partition) Exempt() bool {
	switch p.Role {
	case RoleEFI, RoleReserved, RoleRecovery, RoleOEM, RoleExtended:
		return true
	}
	return p.Hidden || p.NoDriveLetter
}

// String prints one line: number, range, type, role, what is inside.
func (p *Partition) String() string {
	s := fmt.Sprintf("%d: %d+%d %s %s", p.Index, p.Off, p.Len, p.Type, p.Role)
	for _, flag := range []struct {
		set  bool
		name string
	}{{p.Active, "active"}, {p.Hidden, "hidden"}, {p.NoDriveLetter, "no-letter"}, {p.System, "system"}} {
		if flag.set {
			s += " " + flag.name
		}
	}
	if p.Name != "" {
		s += fmt.Sprintf(" %q", p.Name)
	}
	if p.Damage != nil {
		return s + ": damaged: " + p.Damage.detail()
	}
	if p.Role == RoleExtended || p.Role == RoleReserved {
		return s
	}
	return s + ": " + p.FileSystem.String()
}

func (p *Partition) end() int64 { return p.Off + p.Len }

// damage marks the partition unless a cause is known already.
func (p *Partition) damage(d image, cause Code) { p.damageOf(d, p.name(), cause) }

func (p *Partition) damageOf(d image, what string, cause Code) {
	if p.Damage == nil {
		p.Damage = d.fail(p.Off, what, cause)
	}
}

func (p *Partition) name() string {
	if p.Index == 0 {
		return "whole disk"
	}
	return fmt.Sprintf("partition %d", p.Index)
}

// inspect fills in what the partitions hold, after checking that they do not
// claim each other's bytes.
func (d image) inspect(parts []Partition) *LayoutError {
	d.markOverlaps(parts, func(p *Partition) bool { return !p.logical() })
	d.markOverlaps(parts, func(p *Partition) bool { return p.Role != RoleExtended })
	for i := range parts {
		if bad := d.look(&parts[i]); bad != nil {
			return bad
		}
	}
	return nil
}

// byPlace lists partitions in the order in which they lie on the disk.
func byPlace(parts []Partition) []*Partition {
	list := make([]*Partition, len(parts))
	for i := range list {
		list[i] = &parts[i]
	}
	slices.SortStableFunc(list, func(a, b *Partition) int { return cmp.Compare(a.Off, b.Off) })
	return list
}

// logical tells the partitions inside an MBR's extended one from the rest:
// these lie within their container, and must not overlap anything else.
func (p *Partition) logical() bool { return p.Type.MBR != 0 && p.Index > mbrSlots }

// markOverlaps damages both of any two chosen partitions that share bytes.
func (d image) markOverlaps(parts []Partition, chosen func(*Partition) bool) {
	order := slices.DeleteFunc(byPlace(parts), func(p *Partition) bool { return p.Damage != nil || !chosen(p) })
	for i, far := 1, 0; i < len(order); i++ {
		if p := order[i]; p.Off < order[far].end() {
			p.damage(d, ErrOverlap)
			order[far].damage(d, ErrOverlap)
		}
		if order[i].end() > order[far].end() {
			far = i
		}
	}
}

// look reads the first sectors of a sound partition.
func (d image) look(p *Partition) *LayoutError {
	p.FileSystem = FileSystem{Kind: UnknownFileSystem}
	if p.Damage != nil || p.Role == RoleExtended || p.Role == RoleReserved {
		return nil
	}
	inside := d.part(p.Off, p.Len)
	fs, bad := inside.detect()
	if bad != nil {
		return bad
	}
	p.FileSystem = fs
	if !fs.fits(p.Len) {
		p.damageOf(d, fmt.Sprintf("%v of %s", fs.Kind, p.name()), ErrRange)
		p.FileSystem = FileSystem{Kind: UnknownFileSystem}
		return nil
	}
	p.System, bad = inside.hasSystem()
	return bad
}
