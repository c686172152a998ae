package guest

import (
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// A Disk is what a virtual controller offers to the machine: a block store that
// can keep snapshots of itself.
type Disk interface {
	disk.Store
	Keeper
}

// A Keeper keeps snapshots of a disk inside the disk itself, by GUID. A copy of
// the file that holds the disk, as a shadow copy of the host's volume takes it,
// has them too; a copy of its bytes has not.
//
// An id that is not kept is [ErrNoShadow], one that is kept already
// [ErrShadowExists].
type Keeper interface {
	// Keep takes a snapshot of the disk as it is now.
	Keep(id [16]byte) error
	// Kept returns a snapshot. It may be written until it is sealed.
	Kept(id [16]byte) (disk.Store, error)
	// Seal makes a snapshot read-only for good.
	Seal(id [16]byte) error
	// Drop removes a snapshot.
	Drop(id [16]byte) error
	// KeptIDs lists the snapshots in the order in which they were taken.
	KeptIDs() [][16]byte
}

// NewDisk returns a disk over plain memory: a pass-through LUN, the disk of an
// in-guest iSCSI initiator, or a disk for a test. Its snapshots are forks of m.
func NewDisk(m *disk.Memory) Disk { return &memoryDisk{Memory: m} }

type memoryDisk struct {
	*disk.Memory
	kept []kept
}

type kept struct {
	id    [16]byte
	store *disk.Memory
}

func (d *memoryDisk) find(id [16]byte) int {
	return slices.IndexFunc(d.kept, func(k kept) bool { return k.id == id })
}

func (d *memoryDisk) Keep(id [16]byte) error {
	if d.find(id) >= 0 {
		return shadowError("Keep", id, ErrShadowExists)
	}
	d.kept = append(d.kept, kept{id: id, store: d.Fork()})
	return nil
}

func (d *memoryDisk) Kept(id [16]byte) (disk.Store, error) {
	i := d.find(id)
	if i < 0 {
		return nil, shadowError("Kept", id, ErrNoShadow)
	}
	return d.kept[i].store, nil
}

func (d *memoryDisk) Seal(id [16]byte) error {
	i := d.find(id)
	if i < 0 {
		return shadowError("Seal", id, ErrNoShadow)
	}
	d.kept[i].store = d.kept[i].store.Freeze()
	return nil
}

func (d *memoryDisk) Drop(id [16]byte) error {
	i := d.find(id)
	if i < 0 {
		return shadowError("Drop", id, ErrNoShadow)
	}
	d.kept = slices.Delete(d.kept, i, i+1)
	return nil
}

func (d *memoryDisk) KeptIDs() [][16]byte {
	ids := make([][16]byte, len(d.kept))
	for i, k := range d.kept {
		ids[i] = k.id
	}
	return ids
}
