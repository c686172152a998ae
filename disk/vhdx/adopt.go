package vhdx

import (
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// An itemValue is a metadata item with what it holds.
type itemValue struct {
	Item
	value []byte
}

// diskItems returns the metadata items that go with the disk along its chain,
// but for its size, which the layout of the file hangs on.
func (im *Image) diskItems() ([]itemValue, error) {
	var all []itemValue
	for _, it := range im.items {
		if !it.IsVirtualDisk || it.isSize() {
			continue
		}
		v := make([]byte, it.Length)
		if err := im.readMeta(v, im.metaAt.Offset+int64(it.Offset)); err != nil {
			return nil, err
		}
		all = append(all, itemValue{it, v})
	}
	return all, nil
}

func (it Item) isSize() bool { return it.ID == ItemDiskSize && !it.IsUser }

// isKnown reports whether the format knows what the item means.
func (it Item) isKnown() bool {
	return !it.IsUser && slices.ContainsFunc(knownItems, func(k knownItem) bool { return k.id == it.ID })
}

// AdoptDisk gives the disk of im the metadata of another one, whose data it has
// taken over: the identifier that the disk shows to its user, the size of its
// physical sectors, and what other items go with the disk. It is there for a
// parent into which a child was merged; [MS-VHDX] calls these items those of
// the virtual disk. A disk of another size is [ErrSize], one of other logical
// sectors [ErrSectorSize], and items that do not fit into the file [ErrLimit].
//
// All items change at once, through the log.
func (im *Image) AdoptDisk(from *Image) error {
	return during("AdoptDisk", im.adopt(from))
}

func (im *Image) adopt(from *Image) error {
	switch {
	case im.file == nil:
		return disk.ErrReadOnly
	case from.lay.size != im.lay.size:
		return bad(ErrSize, -1, "virtual disk size", "%d, the other disk has %d", im.lay.size, from.lay.size)
	case from.lay.sector != im.lay.sector:
		return bad(ErrSectorSize, -1, "logical sector size", "%d, the other disk has %d", im.lay.sector, from.lay.sector)
	}
	if err := im.writer.commit(); err != nil {
		return err
	}
	want, err := from.diskItems()
	if err != nil {
		return err
	}
	have, err := im.diskItems()
	if err != nil || slices.EqualFunc(have, want, itemValue.same) {
		return err
	}
	return im.writer.adopt(want, from.meta)
}

// same reports whether two items say the same, wherever they stand.
func (v itemValue) same(o itemValue) bool {
	v.Offset, o.Offset = 0, 0
	return v.Item == o.Item && slices.Equal(v.value, o.value)
}

// adopt replaces the metadata items that go with the disk.
func (w *writer) adopt(values []itemValue, from *metadata) error {
	im := w.im
	if err := w.begin(); err != nil { // who uses the disk sees the change
		return err
	}
	items := slices.DeleteFunc(slices.Clone(im.items), func(it Item) bool { return it.IsVirtualDisk && !it.isSize() })
	made, err := w.change(func() error {
		for _, v := range values {
			it := v.Item
			it.Offset, it.Length = 0, 0
			items = append(items, it)
			at, ok := roomFor(items, len(items)-1, int64(len(v.value)), im.metaAt.Length)
			if !ok {
				return bad(ErrLimit, im.metaAt.Offset, "metadata region", "no room for an item of %d bytes", len(v.value))
			}
			if it.Length = uint32(len(v.value)); it.Length > 0 {
				it.Offset = uint32(at)
			}
			items[len(items)-1] = it
			if err := w.patch(im.metaAt.Offset+at, v.value); err != nil {
				return err
			}
		}
		if len(items) > maxEntries {
			return bad(ErrLimit, im.metaAt.Offset, "metadata table", "%d entries are more than %d", len(items), maxEntries)
		}
		return w.patch(im.metaAt.Offset, metadataTable(items))
	})
	if made {
		m := *im.meta // that of snapshots stays
		m.diskID, m.physical = from.diskID, from.physical
		im.meta, im.items = &m, items
	}
	return err
}
