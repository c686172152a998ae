package disk

import "iter"

// An Origin tells where the bytes of a range of an [Overlay] come from.
type Origin uint8

// The three answers of an overlay.
const (
	Below Origin = iota // the parent's bytes
	Zero                // zero, whatever the parent says
	Own                 // written to the overlay itself
)

// A Span is a range of an overlay with one origin.
type Span struct {
	Extent
	Origin Origin
}

// Spans yields the range from off to off+n, as far as the overlay goes, as
// spans in ascending order without a gap, neighbours of different origin. What
// was written as zero may be called [Zero] instead of [Own].
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
	for e := range o.data.Extents(at, end-at) {
		j.add(at, e.Off, Zero)
		j.add(e.Off, e.End(), Own)
		at = e.End()
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
