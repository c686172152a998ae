package vhd

import (
	"iter"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// Diff yields the ranges of the disk that may differ from another image, in
// ascending order, no two touching. From its parent, or from whatever image is
// below both, an image differs in what it and those between hold themselves, and
// finding that costs no more than looking at their tables. From another image,
// such as a snapshot of one that has no parent, it may differ wherever either
// has something. Any other store is disk.ErrUnsupported.
func (im *Image) Diff(since disk.Store) (iter.Seq[disk.Extent], error) {
	changed, err := virtdisk.Diff(im, since, (*Image).Parent)
	return changed, during("Diff", err)
}

var _ disk.Differ = (*Image)(nil)
