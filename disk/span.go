package disk

import (
	"bytes"
	"iter"
)

// An Origin tells where the bytes of a range of an [Overlay] come from.
type Origin uint8

// The three answers of an overlay.
const (
	Below Origin = iota // the parent's bytes
	Zero                // zero, whatever the parent says: discarded, written as zeros, or behind the parent's end
	Own                 // sectors written to the overlay itself, with something in them
)

// A Span is a range of an overlay with one origin.
type Span struct {
	Extent
	Origin Origin
}

// Spans yields the range from off to off+n, as far as the overlay goes, as
// spans in ascending order without a gap, neighbours of different origin. To
// tell zeros, it looks at the overlay's own bytes.
func (o *Overlay) Spans(off, n int64) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		e := clip(off, n, o.Size())
		j := spanJoiner{yield: yield}
		for at := e.Off; at < e.End() && !j.done; {
			own, end := o.own.same(at, e.End())
			if own {
				o.ownSpans(&j, at, end)
			} else {
				limit := min(max(o.below, at), end)
				j.add(at, limit, Below)
				j.add(limit, end, Zero)
			}
			at = end
		}
		j.flush()
	}
}

// ownSpans adds a range of the overlay's own sectors.
func (o *Overlay) ownSpans(j *spanJoiner, at, end int64) {
	var sector, zeros [sectorSize]byte
	for e := range o.data.Extents(at, end-at) {
		j.add(at, e.Off, Zero)
		for at = e.Off; at < e.End() && !j.done; {
			n := min(sectorSize-at%sectorSize, e.End()-at)
			o.data.tree.Read(sector[:n], at)
			if bytes.Equal(sector[:n], zeros[:n]) {
				j.add(at, at+n, Zero)
			} else {
				j.add(at, at+n, Own)
			}
			at += n
		}
	}
	j.add(at, end, Zero)
}

// A spanJoiner passes spans on and makes one of neighbours of the same origin.
type spanJoiner struct {
	yield func(Span) bool
	last  Span
	done  bool
}

func (j *spanJoiner) add(from, to int64, origin Origin) {
	switch {
	case from >= to:
	case j.last.Len > 0 && j.last.Origin == origin:
		j.last.Len += to - from
	default:
		j.flush()
		j.last = Span{Extent{from, to - from}, origin}
	}
}

func (j *spanJoiner) flush() {
	if j.last.Len > 0 && !j.done {
		j.done = !j.yield(j.last)
	}
}
