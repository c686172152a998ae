package guest

import (
	"fmt"
	"io"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A Scheme is the way in which a disk is divided.
type Scheme uint8

// The schemes.
const (
	Raw         Scheme = iota // neither a table nor a file system: not initialised
	MBR                       // a master boot record
	GPT                       // a GUID partition table behind a protective MBR
	SuperFloppy               // one file system over the whole disk, no table
)

var schemeNames = [...]string{"raw", "MBR", "GPT", "super-floppy"}

// String names the scheme.
func (s Scheme) String() string {
	if int(s) < len(schemeNames) {
		return schemeNames[s]
	}
	return fmt.Sprintf("Scheme(%d)", uint8(s))
}

// A Layout is what the bytes of one disk say about how it is divided.
type Layout struct {
	Scheme     Scheme
	Dynamic    bool  // the Logical Disk Manager owns it; a disk is basic otherwise
	Size       int64 // bytes
	SectorSize int64

	Signature uint32    // the disk signature of an MBR
	GUID      guid.GUID // the disk's identity in a GPT

	// Partitions come in the order of their index. Extended partitions are
	// listed beside the logical ones they contain. Entries that cannot be
	// trusted have their Damage set; no other error tells about them.
	Partitions []Partition

	// Damage lists what is wrong with the table where a second copy made up
	// for it: Windows uses the other copy and mounts the disk.
	Damage []*LayoutError
}

// ReadLayout reads the partition table of a disk of size bytes and the first
// sectors of each partition.
//
// A disk whose table cannot be believed as a whole is an error, a
// [*LayoutError] with a [Code] inside: an MBR that cannot be one, a GPT with
// both copies broken. A table with single entries that cannot be believed gives
// a Layout in which those are marked. Neither is fit for a snapshot, and [Judge]
// says so of both. Errors of r are returned as they are, wrapped.
//
// Windows mounts a disk as MBR where partitions stand in its first sector, and
// as GPT where a single protective entry does; so does ReadLayout, whatever
// else is found. A GPT whose protective MBR is gone is a raw disk, and one that
// shares its MBR with other partitions has a damaged protective entry.
func ReadLayout(r io.ReaderAt, size int64) (*Layout, error) {
	d := image{r: r, size: size, sector: sectorSize, op: "ReadLayout"}
	l := &Layout{Size: size, SectorSize: sectorSize}
	if bad := d.readLayout(l); bad != nil {
		return nil, bad
	}
	for _, p := range l.Partitions {
		l.Dynamic = l.Dynamic || p.Role == RoleDynamic
	}
	return l, nil
}

func (d image) readLayout(l *Layout) *LayoutError {
	if d.size < sectorSize {
		return d.fail(0, "disk", ErrTruncated)
	}
	boot, bad := d.read(0, sectorSize, "first sector")
	if bad != nil {
		return bad
	}
	switch t := readTable(boot); {
	case t.protective():
		return d.readGPT(l)
	case t.partitioned():
		l.Signature = boot.u32(mbrSignature)
		return d.readMBR(l, t)
	default:
		return d.readUndivided(l, boot, t)
	}
}

// readUndivided reads a disk whose first sector divides nothing: it is one
// file system, or an MBR that has no partition yet, or raw.
func (d image) readUndivided(l *Layout, boot block, t mbrTable) *LayoutError {
	whole := Partition{Len: d.size}
	if bad := d.look(&whole); bad != nil {
		return bad
	}
	if whole.FileSystem.known() || whole.Damage != nil {
		l.Scheme, l.Partitions = SuperFloppy, []Partition{whole}
		return nil
	}
	switch {
	case !t.signed:
		l.Scheme = Raw
	case t.empty():
		l.Scheme, l.Signature = MBR, boot.u32(mbrSignature)
	default:
		return d.fail(mbrEntries, "partition table", ErrField)
	}
	return nil
}

// String prints the disk in one line and each partition in another one.
func (l *Layout) String() string {
	var b strings.Builder
	kind := "basic"
	if l.Dynamic {
		kind = "dynamic"
	}
	fmt.Fprintf(&b, "%s %s %d bytes", l.Scheme, kind, l.Size)
	if l.Signature != 0 {
		fmt.Fprintf(&b, " signature %08x", l.Signature)
	}
	if l.GUID != (guid.GUID{}) {
		fmt.Fprintf(&b, " id %s", guid.String(l.GUID))
	}
	for _, e := range l.Damage {
		fmt.Fprintf(&b, "\nrepaired: %s", e.detail())
	}
	for i := range l.Partitions {
		fmt.Fprintf(&b, "\n%s", &l.Partitions[i])
	}
	return b.String()
}
