package pages

import (
	"bytes"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The model knows the tree at three windows only: a block and the start of the
// next, across the border of two lowest nodes, and across one far up.
var windows = [3]struct{ base, size int64 }{
	{0, BlockSize + 2*RunSize},
	{64<<20 - RunSize, 2 * RunSize},
	{256<<30 - RunSize, 2 * RunSize},
}

const reach = 257 << 30 // behind the last window

type pair struct {
	tree  Tree
	model [3][]byte
}

func (p *pair) fork() *pair {
	q := &pair{tree: p.tree.Fork()}
	for i := range q.model {
		q.model[i] = slices.Clone(p.model[i])
	}
	return q
}

// each calls f for every window that meets the range, with the part of the
// window's bytes that does.
func (p *pair) each(off, n int64, f func(b []byte, at int64)) {
	for i, w := range windows {
		from, to := max(off, w.base), min(off+n, w.base+w.size)
		if from < to {
			f(p.model[i][from-w.base:to-w.base], from)
		}
	}
}

// gaps calls f for the parts of the windows that no reported piece covers: it
// returns the function to report pieces to, in ascending order, and the one to
// call behind the last.
func gaps(f func(off, n int64)) (piece func(off, n int64), end func()) {
	at := int64(0)
	piece = func(off, n int64) {
		if at < off {
			f(at, off-at)
		}
		at = max(at, off+n)
	}
	return piece, func() { piece(reach, 0) }
}

type machine struct {
	pairs []*pair
	fill  byte
	buf   [3*RunSize - 1000]byte // what was read last, and never cleared
}

func newPair() *pair {
	p := &pair{}
	for i := range p.model {
		p.model[i] = make([]byte, windows[i].size)
	}
	return p
}

// place draws a range of a window; many begin and end on a border.
func place(t *rapid.T, window int) (off, n int64) {
	w := windows[window]
	grain := rapid.SampledFrom([]int64{1, 512, PageSize, RunSize / 2, RunSize}).Draw(t, "grain")
	from := rapid.Int64Range(0, w.size/grain-1).Draw(t, "from")
	count := rapid.Int64Range(1, min(18, w.size/grain-from)).Draw(t, "count")
	if window == 0 && rapid.IntRange(0, 4).Draw(t, "block") == 0 {
		return 0, BlockSize
	}
	return w.base + from*grain, count * grain
}

func (m *machine) pick(t *rapid.T) *pair {
	return m.pairs[rapid.IntRange(0, len(m.pairs)-1).Draw(t, "tree")]
}

func (m *machine) Write(t *rapid.T) {
	p, w := m.pick(t), rapid.IntRange(0, 2).Draw(t, "window")
	off, n := place(t, w)
	data := make([]byte, n)
	if rapid.IntRange(0, 4).Draw(t, "zeros") > 0 {
		m.fill++
		for i := range data {
			data[i] = byte(i>>8) ^ m.fill
		}
	}
	p.tree.Write(data, off)
	copy(p.model[w][off-windows[w].base:], data)
}

func (m *machine) Discard(t *rapid.T) {
	p := m.pick(t)
	off, n := place(t, rapid.IntRange(0, 2).Draw(t, "window"))
	if rapid.IntRange(0, 5).Draw(t, "far") == 0 {
		n += rapid.Int64Range(0, 257<<30).Draw(t, "more")
	}
	p.tree.Discard(off, n)
	p.each(off, n, func(b []byte, _ int64) { clear(b) })
}

func (m *machine) Fork(t *rapid.T) {
	p := m.pick(t).fork()
	if len(m.pairs) < 3 {
		m.pairs = append(m.pairs, p)
	} else {
		m.pairs[rapid.IntRange(0, 2).Draw(t, "drop")] = p
	}
}

func (m *machine) Share(t *rapid.T) {
	dst, src := m.pick(t), m.pick(t)
	v, w := rapid.IntRange(0, 2).Draw(t, "to"), rapid.IntRange(0, 2).Draw(t, "window")
	at, n := place(t, w)
	off, _ := place(t, v)
	if rapid.Bool().Draw(t, "alike") {
		off = windows[v].base + min(at-windows[w].base, windows[v].size)
	}
	n = min(n, windows[v].base+windows[v].size-off)
	dst.tree.Share(off, &src.tree, at, n)
	copy(dst.model[v][off-windows[v].base:], slices.Clone(src.model[w][at-windows[w].base:][:n]))
}

// checkBytes reads every byte of the windows, in pieces that stay in the
// processor's cache and lie across the borders of pages, runs and blocks.
func (m *machine) checkBytes(t *rapid.T, p *pair) {
	for i, w := range windows {
		for at := int64(0); at < w.size; at += int64(len(m.buf)) {
			got := m.buf[:min(int64(len(m.buf)), w.size-at)]
			p.tree.Read(got, w.base+at)
			if !bytes.Equal(got, p.model[i][at:at+int64(len(got))]) {
				t.Fatalf("window %d differs within %d bytes from %d on", i, len(got), at)
			}
		}
	}
}

// Check compares everything after each step.
func (m *machine) Check(t *rapid.T) {
	for _, p := range m.pairs {
		m.checkBytes(t, p)
		checkShape(t, &p.tree)
	}
	checkAlone(t, m.pairs)
	checkExtents(t, m.pick(t))
	checkDiff(t, m.pick(t), m.pick(t))
}

// checkExtents demands that everything outside the extents is zero.
func checkExtents(t *rapid.T, p *pair) {
	piece, rest := gaps(func(off, n int64) {
		p.each(off, n, func(b []byte, at int64) {
			if !allZero(b) {
				t.Fatalf("bytes outside the extents, between %d and %d", at, at+int64(len(b)))
			}
		})
	})
	end := int64(0)
	p.tree.Extents(0, reach, func(off, n int64) bool {
		if off < end || off%PageSize != 0 || n%PageSize != 0 || n <= 0 {
			t.Fatalf("extent %d+%d after %d", off, n, end)
		}
		end = off + n
		piece(off, n)
		return true
	})
	rest()
}

// checkDiff demands that everything outside the difference is equal.
func checkDiff(t *rapid.T, p, q *pair) {
	piece, rest := gaps(func(off, n int64) {
		for i, w := range windows {
			from, to := max(off, w.base)-w.base, min(off+n, w.base+w.size)-w.base
			if from < to && !bytes.Equal(p.model[i][from:to], q.model[i][from:to]) {
				t.Fatalf("window %d differs outside the difference, between %d and %d", i, from, to)
			}
		}
	})
	Diff(p.tree, q.tree, 0, reach, func(off, n int64) bool {
		if p == q {
			t.Fatalf("a tree differs from itself at %d", off)
		}
		piece(off, n)
		return true
	})
	rest()
}

// checkShape demands that nothing is stored that need not be.
func checkShape(t *rapid.T, tree *Tree) {
	var visit func(n *node, shift uint8)
	visit = func(n *node, shift uint8) {
		checkGroup(t, &n.group, len(n.kids))
		for _, kid := range n.kids {
			visit(kid, shift-fanShift)
		}
		if (shift == blockShift) != (len(n.kids) == 0) {
			t.Fatalf("node with %d kids at shift %d", len(n.kids), shift)
		}
		for _, x := range n.subs {
			checkGroup(t, &x.group, 0)
			for _, y := range x.subs {
				checkParts(t, y)
			}
		}
	}
	if tree.root != nil {
		visit(tree.root, tree.shift)
	}
}

func checkGroup[P, S any](t *rapid.T, g *group[P, S], kids int) {
	if g.mask == 0 || g.own&^g.mask != 0 || g.joined&^g.mask != 0 ||
		bits.OnesCount64(g.joined) != len(g.whole) ||
		bits.OnesCount64(g.mask) != kids+len(g.whole)+len(g.subs) {
		t.Fatalf("%T: mask %x own %x joined %x, %d kids, %d whole, %d others",
			g, g.mask, g.own, g.joined, kids, len(g.whole), len(g.subs))
	}
}

func checkParts(t *rapid.T, x *parts) {
	if x.mask == 0 || x.own&^x.mask != 0 || bits.OnesCount16(x.mask) != len(x.pages) {
		t.Fatalf("parts: mask %x own %x pages %d", x.mask, x.own, len(x.pages))
	}
	for _, page := range x.pages {
		if len(page) == 0 || len(page) > PageSize || cap(page) > PageSize {
			t.Fatalf("page of %d bytes in room for %d", len(page), cap(page))
		}
	}
}

// checkAlone demands that what a tree may change in place is reached on no
// second way, neither by another tree nor by itself.
func checkAlone(t *rapid.T, pairs []*pair) {
	owned := map[any]bool{}
	for _, p := range pairs {
		if p.tree.root == nil {
			continue
		}
		visitNode(p.tree.root, p.tree.own, func(x any, own bool) {
			before, met := owned[x]
			if met && (own || before) {
				t.Fatalf("a %T that may be changed in place is reached twice", x)
			}
			owned[x] = own
		})
	}
}

// visitNode reports everything below a node, each page by its first byte.
func visitNode(n *node, own bool, visit func(x any, own bool)) {
	visit(n, own)
	for i := range uint(fan) {
		mine := own && n.owns(i)
		switch {
		case !n.has(i):
		case len(n.kids) > 0:
			visitNode(n.kid(i), mine, visit)
		default:
			visitSpan(n.get(i), mine, visit)
		}
	}
}

func visitSpan(s span, own bool, visit func(x any, own bool)) {
	if s.sub != nil {
		visit(s.sub, own)
	}
	for i := range blockRuns {
		r, mine := runOf(s, i), own
		if s.sub != nil {
			mine = own && s.sub.owns(uint(i))
		}
		if r.sub != nil {
			visit(r.sub, mine)
		}
		for j := range runPages {
			if page := pageOf(r, j); page != nil {
				visit(&page[0], mine && (r.whole != nil || r.sub.own>>j&1 != 0))
			}
		}
	}
}

func TestTreeEqualsFlatMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{pairs: []*pair{newPair()}}
		t.Repeat(rapid.StateMachineActions(m))
	})
}
