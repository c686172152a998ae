package virtdisk

import (
	"cmp"
	"iter"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// A Layer is an image of a chain, which tells what it holds itself.
type Layer interface {
	comparable
	Size() int64
	Spans(off, n int64) iter.Seq[disk.Span]
}

// Diff yields what may differ between an image and another store, which has to be
// an image of its format: what those above the image that is below both hold
// themselves, or, if there is none, what either has. Any other store is
// disk.ErrUnsupported.
func Diff[I interface {
	Layer
	disk.Store
	disk.Extenter
}](im I, since disk.Store, parent func(I) I) (iter.Seq[disk.Extent], error) {
	other, ok := since.(I)
	if !ok {
		return nil, disk.ErrUnsupported
	}
	if changed, ok := diffOfLayers(im, other, parent); ok {
		return slices.Values(changed), nil
	}
	return disk.Diff(struct {
		disk.Store
		disk.Extenter
	}{im, im}, other)
}

// diffOfLayers returns what may differ between two images that are over one image, or of
// which one is over the other: what those above that hold themselves. The cost
// is that of looking at these. It reports whether there is such an image.
func diffOfLayers[I Layer](im, since I, parent func(I) I) (changed []disk.Extent, ok bool) {
	var none I
	below := map[I]bool{}
	for p := since; p != none; p = parent(p) {
		below[p] = true
	}
	common := im
	for common != none && !below[common] {
		common = parent(common)
	}
	if common == none {
		return nil, false
	}
	end := im.Size() // of what only the common image decides about
	for _, leaf := range []I{im, since} {
		for p := leaf; p != common; p = parent(p) {
			end = min(end, p.Size())
			changed = appendOwn(changed, p)
		}
	}
	changed = append(changed, disk.Extent{Off: end, Len: im.Size() - end})
	return join(changed, im.Size()), true
}

// appendOwn appends what an image does not leave to its parent. Where that
// cannot be told any more, the rest counts.
func appendOwn[I Layer](all []disk.Extent, im I) []disk.Extent {
	at, size := int64(0), im.Size()
	for s := range im.Spans(0, size) {
		if s.Origin != disk.Below {
			all = append(all, s.Extent)
		}
		at = s.End()
	}
	return append(all, disk.Extent{Off: at, Len: size - at})
}

// join puts extents in order, up to an end, and makes one of those that touch or
// overlap.
func join(all []disk.Extent, end int64) []disk.Extent {
	slices.SortFunc(all, func(a, b disk.Extent) int { return cmp.Compare(a.Off, b.Off) })
	joined := all[:0]
	for _, x := range all {
		x.Len = min(x.End(), end) - x.Off
		if x.Len <= 0 {
			continue
		}
		if n := len(joined); n > 0 && x.Off <= joined[n-1].End() {
			joined[n-1].Len = max(joined[n-1].End(), x.End()) - joined[n-1].Off
			continue
		}
		joined = append(joined, x)
	}
	return joined
}
