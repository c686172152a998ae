package volume

import (
	"io/fs"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// CreateShadow takes a shadow copy of the volume as it stands, under an id that
// no shadow copy of the volume has. It takes the same time for any number of
// files and bytes; files that are open stay open, and what is written to them
// from now on is not in the shadow copy. Until [Volume.SealShadow] the shadow
// copy can be written, which is how writers bring it in order.
func (v *Volume) CreateShadow(id [16]byte) error {
	return v.shadowCall("CreateShadow", func() error {
		if v.origin != nil {
			return ErrNotSupported
		}
		if v.shadowIndex(id) >= 0 {
			return ErrAlreadyExists
		}
		s := &Volume{
			family: v.family, id: id, label: v.label, fileSystem: v.fileSystem, clock: v.clock,
			origin: v, capacity: v.capacity, epoch: v.newEpoch(), files: v.files, used: v.used, quotas: v.quotas,
		}
		v.epoch = v.newEpoch()
		v.shadows = append(v.shadows, s)
		return nil
	})
}

// Shadows lists the shadow copies of the volume in order of creation.
func (v *Volume) Shadows() [][16]byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	ids := make([][16]byte, len(v.shadows))
	for i, s := range v.shadows {
		ids[i] = s.id
	}
	return ids
}

// ShadowVolume returns a shadow copy as a volume of its own. When the shadow
// copy is deleted, whatever is done with it is [ErrNoSuchDevice]; files that
// were opened for reading can still be read.
func (v *Volume) ShadowVolume(id [16]byte) (s *Volume, err error) {
	err = v.shadowCall("ShadowVolume", func() error {
		i := v.shadowIndex(id)
		if i < 0 {
			return ErrNoSuchDevice
		}
		s = v.shadows[i]
		return nil
	})
	return s, err
}

// OpenShadow returns the view of a shadow copy through io/fs: [Volume.FS] of its
// [Volume.ShadowVolume].
func (v *Volume) OpenShadow(id [16]byte) (fs.FS, error) {
	s, err := v.ShadowVolume(id)
	if err != nil {
		return nil, fail("OpenShadow", `\`, bare(err))
	}
	return s.FS(), nil
}

// SealShadow makes a shadow copy read-only for good: writing it is
// [ErrWriteProtect], also through files that are open. Sealing it again changes
// nothing.
func (v *Volume) SealShadow(id [16]byte) error {
	return v.shadowCall("SealShadow", func() error {
		i := v.shadowIndex(id)
		if i < 0 {
			return ErrNoSuchDevice
		}
		v.shadows[i].sealed = true
		return nil
	})
}

// DeleteShadow deletes a shadow copy. Neither the volume nor other shadow copies
// change.
func (v *Volume) DeleteShadow(id [16]byte) error {
	return v.shadowCall("DeleteShadow", func() error {
		i := v.shadowIndex(id)
		if i < 0 {
			return ErrNoSuchDevice
		}
		s := v.shadows[i]
		s.deleted, s.files = true, table{}
		v.shadows = slices.Delete(v.shadows, i, i+1)
		return nil
	})
}

// ShadowUsage counts what a diff area would hold for a shadow copy: the clusters
// of its files that the next newer shadow copy, or the volume if it is the
// newest, has written, discarded or removed, and those written in the shadow
// copy itself. It takes time in what has changed since. A real diff area keeps
// the clusters of removed files only once they are used again, so it may hold
// less. An id that is no shadow copy's has 0.
func (v *Volume) ShadowUsage(id [16]byte) int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := v.shadowIndex(id)
	if i < 0 {
		return 0
	}
	next := v
	if i+1 < len(v.shadows) {
		next = v.shadows[i+1]
	}
	var sum int64
	changes(v.shadows[i].files, next.files, func(was, is *inode) {
		if was != nil && was.kind == isFile {
			sum += changedBytes(was, is)
		}
	})
	return sum
}

// changedBytes counts the clusters of a shadow copy's file that differ in the
// newer state, or all when the file is gone there.
func changedBytes(was, is *inode) (sum int64) {
	if is == nil {
		return was.allocated
	}
	if is.data == was.data {
		return 0
	}
	ranges, err := disk.Diff(was.data, is.data)
	if err != nil {
		return was.allocated
	}
	var from int64
	for e := range ranges {
		to := roundUp(e.End())
		sum += to - max(roundDown(e.Off), from)
		from = to
	}
	return sum
}

// shadowCall runs a call on the shadow copies under the lock.
func (v *Volume) shadowCall(op string, call func() error) error {
	return fail(op, `\`, v.locked(false, call))
}

// shadowIndex is the place of a shadow copy in the list, or -1.
func (v *Volume) shadowIndex(id [16]byte) int {
	return slices.IndexFunc(v.shadows, func(s *Volume) bool { return s.id == id })
}
