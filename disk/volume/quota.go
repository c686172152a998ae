package volume

import (
	"math"
	"slices"
)

// A Quota is what may be allocated below a directory, and what is, in bytes.
type Quota struct {
	Limit int64 // 0 is no quota
	Used  int64
}

// SetQuota limits what the files below a directory may take, those of
// directories below it among them, as a hard quota of File Server Resource
// Manager does: what would take more fails with [ErrDiskFull], whoever writes.
// Less than what is used is allowed, nothing is lost then. A limit of 0 or less
// takes the quota away.
//
// Quotas may stand one below the other; all of them count. A shadow copy has
// those of its volume. Setting one takes time in the number of files below the
// directory, writing below one a step for each directory above the file, and a
// rename of a directory from below one quota to another the number of files that
// move.
func (v *Volume) SetQuota(path string, limit int64) error {
	return v.do("SetQuota", path, true, func(elems []string) error {
		p, err := v.find(elems, true)
		if err != nil {
			return err
		}
		if v.files.get(p.id).kind != isDir {
			return ErrDirectory
		}
		n := v.own(p.id)
		had := n.quota > 0
		n.quota, n.below = max(limit, 0), 0
		switch has := n.quota > 0; {
		case has:
			n.below = v.weight(p.id)
			if !had {
				v.quotas++
			}
		case had:
			v.quotas--
		}
		return nil
	})
}

// QuotaOf returns the quota of a directory, and the zero Quota if it has none of
// its own.
func (v *Volume) QuotaOf(path string) (q Quota, err error) {
	err = v.do("QuotaOf", path, false, func(elems []string) error {
		p, err := v.find(elems, true)
		if err != nil {
			return err
		}
		if n := v.files.get(p.id); n.kind != isDir {
			err = ErrDirectory
		} else if n.quota > 0 {
			q = Quota{Limit: n.quota, Used: n.below}
		}
		return err
	})
	return q, err
}

// FreeBelow is the room left for files in a directory: what is free on the
// volume, or what its quota and those above leave, whichever is less.
func (v *Volume) FreeBelow(path string) (free int64, err error) {
	err = v.do("FreeBelow", path, false, func(elems []string) error {
		p, err := v.find(elems, true)
		if err == nil {
			free = max(min(v.capacity-v.used, v.allowance(p.id)), 0)
		}
		return err
	})
	return free, err
}

// quotaRoots lists the directories with a quota that an inode stands in or is.
func (v *Volume) quotaRoots(id inodeID) (roots []inodeID) {
	if v.quotas == 0 {
		return nil
	}
	for {
		n := v.files.get(id)
		if n == nil {
			return roots
		}
		if n.quota > 0 {
			roots = append(roots, id)
		}
		if id == rootID {
			return roots
		}
		id = n.parent
	}
}

// allowance is what the quotas leave for files in a directory.
func (v *Volume) allowance(dir inodeID) int64 {
	left := int64(math.MaxInt64)
	for _, id := range v.quotaRoots(dir) {
		n := v.files.get(id)
		left = min(left, n.quota-n.below)
	}
	return left
}

// bill books bytes that a file in a directory has taken or given back.
func (v *Volume) bill(dir inodeID, bytes int64) {
	if bytes == 0 {
		return
	}
	for _, id := range v.quotaRoots(dir) {
		v.own(id).below += bytes
	}
}

// weight is what an inode and all below it have allocated.
func (v *Volume) weight(id inodeID) int64 {
	n := v.files.get(id)
	sum := n.allocated
	for _, s := range n.streams {
		sum += v.files.get(s.id).allocated
	}
	n.dir.all(func(x entry) bool {
		sum += v.weight(x.id)
		return true
	})
	return sum
}

// moveQuota tells whether the quotas let an inode move, and returns what books
// the move.
func (v *Volume) moveQuota(from, to place) (rebill func(), err error) {
	leaves, joins := v.quotaRoots(from.dir), v.quotaRoots(to.dir)
	if slices.Equal(leaves, joins) {
		return func() {}, nil
	}
	weight, freed := v.weight(from.id), int64(0)
	if to.id != 0 && to.id != from.id {
		freed = v.weight(to.id)
	}
	for _, id := range joins {
		n := v.files.get(id)
		if more := weight - freed; more > 0 && !slices.Contains(leaves, id) && more > n.quota-n.below {
			return nil, ErrDiskFull
		}
	}
	return func() {
		v.bill(from.dir, -weight)
		v.bill(to.dir, weight)
	}, nil
}
