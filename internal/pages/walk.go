package pages

import "math/bits"

// Extents calls yield for each piece of the range that is allocated, in
// ascending order and in whole pages, until yield returns false. Pieces may
// touch, and begin before the range or end behind it. What lies outside of them
// is zero. The tree may be written between two calls of yield: pieces that were
// not reported yet may then be missed.
func (t *Tree) Extents(off, n int64, yield func(off, n int64) bool) {
	walk(*t, Tree{shift: t.shift}, off, n, yield)
}

// Diff calls yield for each piece of the range in which a and b may differ, as
// Extents does for the allocated ones. What the trees share is passed over at
// the height where they share it.
func Diff(a, b Tree, off, n int64, yield func(off, n int64) bool) {
	for b.root != nil && a.root != nil && a.shift != b.shift {
		if a.shift < b.shift {
			a.lift()
		} else {
			b.lift()
		}
	}
	walk(a, b, off, n, yield)
}

// walk compares two trees of the same height, of which one may be empty.
func walk(a, b Tree, off, n int64, yield func(off, n int64) bool) {
	t := a
	if t.root == nil {
		t = b
	}
	if n <= 0 || !t.covers(off) {
		return
	}
	w := walker{from: off, to: off + n, yield: yield}
	w.nodes(a.root, b.root, t.shift, 0)
}

// A walker visits the pages between from and to in which two trees differ.
type walker struct {
	from, to int64
	yield    func(off, n int64) bool
}

// nodes compares two nodes that begin at base; nil is one without children. It
// returns false once the walk is to end.
func (w *walker) nodes(a, b *node, shift uint8, base int64) bool {
	if a == b {
		return true
	}
	var none node
	if a == nil {
		a = &none
	}
	if b == nil {
		b = &none
	}
	for mask := a.mask | b.mask; mask != 0; mask &= mask - 1 {
		i := uint(bits.TrailingZeros64(mask))
		at := base + int64(i)<<shift
		if at <= w.from-1<<shift {
			continue
		}
		if at >= w.to {
			return false
		}
		if shift > blockShift && !w.nodes(a.kid(i), b.kid(i), shift-fanShift, at) {
			return false
		}
		if shift == blockShift && !w.spans(a.get(i), b.get(i), at) {
			return false
		}
	}
	return true
}

func (w *walker) spans(a, b span, base int64) bool {
	switch {
	case a == b:
		return true
	case a.whole != nil && b == (span{}), b.whole != nil && a == (span{}):
		return w.yield(base, BlockSize)
	}
	for mask := runsIn(a) | runsIn(b); mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		at := base + int64(i)<<runShift
		if at <= w.from-RunSize {
			continue
		}
		if at >= w.to || !w.runs(runOf(a, i), runOf(b, i), at) {
			return false
		}
	}
	return true
}

func (w *walker) runs(a, b run, base int64) bool {
	switch {
	case a == b:
		return true
	case a.whole != nil && b == (run{}), b.whole != nil && a == (run{}):
		return w.yield(base, RunSize)
	}
	for mask := pagesIn(a) | pagesIn(b); mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros16(mask)
		if !same(pageOf(a, i), pageOf(b, i)) && !w.yield(base+int64(i)<<pageShift, PageSize) {
			return false
		}
	}
	return true
}

// runsIn returns a bit for each run that a block has.
func runsIn(s span) uint64 {
	switch {
	case s.whole != nil:
		return 1<<blockRuns - 1
	case s.sub != nil:
		return s.sub.mask
	}
	return 0
}

// pagesIn returns a bit for each page that a run has.
func pagesIn(r run) uint16 {
	switch {
	case r.whole != nil:
		return 1<<runPages - 1
	case r.sub != nil:
		return r.sub.mask
	}
	return 0
}

// runOf returns run i of a block, or the zero run.
func runOf(s span, i int) run {
	switch {
	case s.whole != nil:
		return run{whole: slice(s.whole, i)}
	case s.sub != nil:
		return s.sub.get(uint(i))
	}
	return run{}
}

// pageOf returns page i of a run, or nil.
func pageOf(r run, i int) []byte {
	switch {
	case r.whole != nil:
		return piece(r.whole, i)
	case r.sub != nil:
		return r.sub.page(i)
	}
	return nil
}

// same reports whether two pages are the same memory.
func same(p, q []byte) bool {
	return len(p) == len(q) && (len(p) == 0 || &p[0] == &q[0])
}
