package vhd

import (
	"iter"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// Extents yields the ranges of the disk that may hold something other than
// zeros: of the blocks that exist, the sectors that their bitmaps confirm, of
// these what the file itself has allocated, and of the others what the parent
// says.
func (im *Image) Extents(off, n int64) iter.Seq[disk.Extent] {
	if off < 0 {
		off, n = 0, n+off
	}
	n = min(n, im.size-off)
	if im.dyn == nil {
		return disk.Extents(im.src, off, n)
	}
	return func(yield func(disk.Extent) bool) {
		if n <= 0 {
			return
		}
		j := virtdisk.Joiner{Yield: yield}
		at := off // what lies before is done
		for b, entry := range im.table.placed(off / im.dyn.block) {
			start := b * im.dyn.block
			from, to := max(off, start), min(off+n, start+im.used(b))
			if from >= to || !im.extentsBelow(&j, at, from) || !im.blockExtents(&j, b, entry, from-start, to-start) {
				break
			}
			at = to
		}
		if !j.Done {
			im.extentsBelow(&j, at, off+n)
		}
		j.Flush()
	}
}

// extentsBelow gives j what the parent has where no sector is stored.
func (im *Image) extentsBelow(j *virtdisk.Joiner, from, to int64) bool {
	switch {
	case im.link == nil || from >= to:
		return true
	case im.parent == nil: // reading it will tell
		return j.Add(disk.Extent{Off: from, Len: to - from})
	}
	for e := range im.parent.Extents(from, to-from) {
		if !j.Add(e) {
			return false
		}
	}
	return true
}

// blockExtents gives j what block b holds from from to to.
func (im *Image) blockExtents(j *virtdisk.Joiner, b int64, entry uint32, from, to int64) bool {
	if im.table.isFull(b) {
		return im.dataExtents(j, b, entry, from, to)
	}
	start := b * im.dyn.block
	bits, err := im.bitmap(b, entry)
	if err != nil { // the range may hold anything; reading it will tell
		return j.Add(disk.Extent{Off: start + from, Len: to - from})
	}
	at := from
	for first, last := range bits.set(from, to) {
		if !im.extentsBelow(j, start+at, start+first) || !im.dataExtents(j, b, entry, first, last) {
			return false
		}
		at = last
	}
	return im.extentsBelow(j, start+at, start+to)
}

// dataExtents gives j what the file has allocated in a range of block b.
func (im *Image) dataExtents(j *virtdisk.Joiner, b int64, entry uint32, from, to int64) bool {
	data := bitmapAt(entry) + im.dyn.bitmap
	start := b * im.dyn.block
	for e := range disk.Extents(im.src, data+from, to-from) {
		if !j.Add(disk.Extent{Off: e.Off - data + start, Len: e.Len}) {
			return false
		}
	}
	return true
}
