package disk

import "iter"

// clip returns the part of a range that lies inside size bytes.
func clip(off, n, size int64) Extent {
	if off < 0 {
		n += off
		off = 0
	}
	if off >= size || n <= 0 {
		return Extent{}
	}
	return Extent{Off: off, Len: min(n, size-off)}
}

// A joiner passes extents on and makes one of those that touch or overlap. They
// must come in ascending order of their offsets.
type joiner struct {
	yield func(Extent) bool
	win   Extent // what page clips to
	last  Extent
	done  bool
}

// page adds the part of a page that lies inside the window.
func (j *joiner) page(off, n int64) bool {
	from, to := max(off, j.win.Off), off+min(n, j.win.End()-off)
	return j.add(Extent{Off: from, Len: to - from})
}

func (j *joiner) add(e Extent) bool {
	switch {
	case e.Len <= 0 || j.done:
	case j.last.Len > 0 && e.Off <= j.last.End():
		j.last.Len = max(j.last.End(), e.End()) - j.last.Off
	default:
		j.flush()
		j.last = e
	}
	return !j.done
}

func (j *joiner) flush() {
	if j.last.Len > 0 && !j.done {
		j.done = !j.yield(j.last)
	}
	j.last = Extent{}
}

// union yields what lies in either of two ascending sequences.
func union(a, b iter.Seq[Extent]) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		next, stop := iter.Pull(b)
		defer stop()
		j := joiner{yield: yield}
		y, more := next()
		for x := range a {
			for more && y.Off < x.Off {
				if !j.add(y) {
					return
				}
				y, more = next()
			}
			if !j.add(x) {
				return
			}
		}
		for more && j.add(y) {
			y, more = next()
		}
		j.flush()
	}
}

// within yields the parts of an ascending sequence that lie in a window, their
// offsets counted from the window's start.
func within(seq iter.Seq[Extent], win Extent) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		for e := range seq {
			if e.Off >= win.End() {
				return
			}
			from, to := max(e.Off, win.Off), min(e.End(), win.End())
			if from < to && !yield(Extent{Off: from - win.Off, Len: to - from}) {
				return
			}
		}
	}
}

// one yields a single extent, unless it is empty.
func one(e Extent) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		if e.Len > 0 {
			yield(e)
		}
	}
}
