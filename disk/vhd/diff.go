package vhd

import (
	"iter"
	"slices"

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
	other, ok := since.(*Image)
	if !ok {
		return nil, during("Diff", disk.ErrUnsupported)
	}
	if changed, ok := virtdisk.Diff(im, other, (*Image).Parent); ok {
		return slices.Values(changed), nil
	}
	return virtdisk.DiffOfExtents(im, other)
}

var _ disk.Differ = (*Image)(nil)
