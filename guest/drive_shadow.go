package guest

import (
	"context"
	"io/fs"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// MaxShadows is how many shadow copies a volume can have ("Usage Conventions" of
// the Volume Shadow Copy Service).
const MaxShadows = 512

// A shadowList is the shadow copies of a drive, oldest first.
type shadowList struct {
	list  []shadow
	limit int64 // bytes of the diff area; 0 is no limit
	dirty int64 // written since the use of the diff area was last measured
	used  int64 // as measured
}

type shadow struct {
	id     [16]byte
	sealed bool
}

// find returns where a shadow copy is in the list, or -1.
func (d *Drive) find(id [16]byte) int {
	d.forget()
	return slices.IndexFunc(d.shadows.list, func(x shadow) bool { return x.id == id })
}

// forget takes copies off the list that the disk does not keep any more: what is
// in the disk counts, whoever removed it.
func (d *Drive) forget() {
	if len(d.shadows.list) == 0 {
		return
	}
	kept := make(map[[16]byte]bool)
	for _, id := range d.disk.KeptIDs() {
		kept[id] = true
	}
	d.shadows.list = slices.DeleteFunc(d.shadows.list, func(x shadow) bool { return !kept[x.id] })
}

// CreateShadow keeps the drive's disk under id. The whole disk is kept; of its
// volumes only this one is shown. A file system that cannot be snapshotted is
// [vss.ErrVolumeNotSupported].
func (d *Drive) CreateShadow(_ context.Context, id [16]byte) error {
	if !d.rules.capable(d.volume.FileSystem) {
		return d.fail("CreateShadow", vss.ErrVolumeNotSupported)
	}
	return d.keep(id)
}

func (d *Drive) keep(id [16]byte) error {
	if d.forget(); len(d.shadows.list) >= MaxShadows {
		return d.fail("CreateShadow", vss.ErrMaximumNumberOfSnapshotsReached)
	}
	if d.shadows.limit > 0 {
		if used, limit := d.DiffArea(); used >= limit {
			return d.fail("CreateShadow", vss.ErrInsufficientStorage)
		}
	}
	if err := d.disk.Keep(id); err != nil {
		return d.fail("CreateShadow", err)
	}
	d.shadows.list = append(d.shadows.list, shadow{id: id})
	return nil
}

// SealShadow makes a shadow copy read-only.
func (d *Drive) SealShadow(_ context.Context, id [16]byte) error {
	i := d.find(id)
	if i < 0 {
		return d.fail("SealShadow", shadowError("Seal", id, ErrNoShadow))
	}
	if err := d.disk.Seal(id); err != nil {
		return d.fail("SealShadow", err)
	}
	d.shadows.list[i].sealed = true
	return nil
}

// DeleteShadow removes a shadow copy.
func (d *Drive) DeleteShadow(_ context.Context, id [16]byte) error {
	i := d.find(id)
	if i < 0 {
		return d.fail("DeleteShadow", shadowError("Drop", id, ErrNoShadow))
	}
	if err := d.disk.Drop(id); err != nil {
		return d.fail("DeleteShadow", err)
	}
	d.shadows.list = slices.Delete(d.shadows.list, i, i+1)
	return nil
}

// OpenShadow shows a shadow copy as a file system with one file,
// [ShadowFileName], that holds the volume.
func (d *Drive) OpenShadow(id [16]byte) (fs.FS, error) {
	store, err := d.ShadowStore(id)
	if err != nil {
		return nil, err
	}
	return shadowFS{store: store}, nil
}

// ShadowStore is the volume as a shadow copy shows it.
func (d *Drive) ShadowStore(id [16]byte) (disk.Store, error) {
	if d.find(id) < 0 {
		return nil, d.fail("OpenShadow", shadowError("Kept", id, ErrNoShadow))
	}
	kept, err := d.disk.Kept(id)
	if err != nil {
		return nil, d.fail("OpenShadow", err)
	}
	return d.volume.Store(kept), nil
}

// Shadows lists the ids of the shadow copies, oldest first.
func (d *Drive) Shadows() [][16]byte {
	d.forget()
	ids := make([][16]byte, len(d.shadows.list))
	for i, s := range d.shadows.list {
		ids[i] = s.id
	}
	return ids
}

// SetDiffArea limits the bytes that may change on the volume while it has shadow
// copies; 0 is no limit. Where more change, the oldest copies are lost, as when
// a diff area is full ("volsnap" events 25 and 36).
func (d *Drive) SetDiffArea(limit int64) {
	d.shadows.limit = max(limit, 0)
	d.trim()
}

// DiffArea returns how many bytes differ between each shadow copy and the next,
// and between the youngest and the volume, in all, and how many may; 0 is no
// limit.
func (d *Drive) DiffArea() (used, limit int64) {
	d.forget()
	next := d.store
	for _, s := range slices.Backward(d.shadows.list) {
		kept, err := d.disk.Kept(s.id)
		if err != nil {
			continue
		}
		then := d.volume.Store(kept)
		if changed, err := disk.Diff(next, then); err == nil {
			for e := range changed {
				used += e.Len
			}
		}
		next = then
	}
	return used, d.shadows.limit
}

// makeRoom takes note of n written bytes. What was written since the last
// measurement bounds the use of the diff area from above, so most writes measure
// nothing.
func (d *Drive) makeRoom(n int64) {
	s := &d.shadows
	if s.limit == 0 || len(s.list) == 0 {
		return
	}
	if s.dirty += n; s.used+s.dirty > s.limit {
		d.trim()
	}
}

// trim measures the diff area and drops the oldest shadow copies while it is too
// full.
func (d *Drive) trim() {
	s := &d.shadows
	for {
		used, limit := d.DiffArea()
		s.used, s.dirty = used, 0
		if limit == 0 || used <= limit || len(s.list) == 0 {
			return
		}
		lost := s.list[0].id
		s.list = s.list[1:]
		_ = d.disk.Drop(lost)
		d.actor.Emit("guest/shadow-lost", "", sim.S("volume", d.volume.Name()), sim.S("shadow", guid.String(lost)), sim.N("used", used), sim.N("limit", limit))
	}
}
