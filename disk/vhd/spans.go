package vhd

import (
	"iter"

	"github.com/shadowsim/shadowsim/disk"
)

// Spans yields the range from off to off+n, as far as the disk goes, in
// ascending order without a gap, neighbours of different origin: what the image
// holds itself is [disk.Own], or [disk.Zero] where the file has nothing
// allocated, and the rest is [disk.Below]. An image without a parent has zeros
// below. A block whose bitmap cannot be read counts as its own.
func (im *Image) Spans(off, n int64) iter.Seq[disk.Span] {
	if off < 0 {
		off, n = 0, n+off
	}
	end := off + min(n, im.size-off)
	return func(yield func(disk.Span) bool) {
		j := spanJoiner{yield: yield, at: off, below: disk.Zero}
		if im.link != nil {
			j.below = disk.Below
		}
		im.ownSpans(&j, off, end)
		j.skip(end)
		j.flush()
	}
}

// ownSpans gives j what the image holds itself.
func (im *Image) ownSpans(j *spanJoiner, off, end int64) {
	if im.dyn == nil {
		j.own(im.src, 0, off, end)
		return
	}
	for b, entry := range im.table.placed(off / im.dyn.block) {
		start := b * im.dyn.block
		from, to := max(off, start), min(end, start+im.used(b))
		if from >= to || j.done {
			return
		}
		shift := bitmapAt(entry) + im.dyn.bitmap - start
		bits, err := im.bitmap(b, entry)
		if err != nil {
			j.skip(from)
			j.add(to, disk.Own)
			continue
		}
		for first, last := range bits.set(from-start, to-start) {
			j.own(im.src, shift, start+first, start+last)
		}
	}
}

// A spanJoiner passes spans on and makes one of neighbours of the same origin.
type spanJoiner struct {
	yield func(disk.Span) bool
	last  disk.Span
	at    int64 // what lies before is in last or gone
	below disk.Origin
	done  bool
}

// own adds what is stored from from to to, at another place of a file.
func (j *spanJoiner) own(file disk.Source, shift, from, to int64) {
	j.skip(from)
	for e := range disk.Extents(file, from+shift, to-from) {
		j.add(e.Off-shift, disk.Zero)
		if j.add(e.End()-shift, disk.Own); j.done {
			return
		}
	}
	j.add(to, disk.Zero)
}

// skip adds what is not stored, up to an offset.
func (j *spanJoiner) skip(to int64) { j.add(to, j.below) }

// add adds what comes next, up to an offset.
func (j *spanJoiner) add(to int64, origin disk.Origin) {
	switch {
	case to <= j.at || j.done:
		return
	case j.last.Len > 0 && j.last.Origin == origin:
		j.last.Len += to - j.at
	default:
		j.flush()
		j.last = disk.Span{Extent: disk.Extent{Off: j.at, Len: to - j.at}, Origin: origin}
	}
	j.at = to
}

func (j *spanJoiner) flush() {
	if j.last.Len > 0 && !j.done {
		j.done = !j.yield(j.last)
	}
	j.last = disk.Span{}
}
