package pages

import (
	"bytes"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The model knows the tree at three windows only: at the start, across the
// border of two lowest nodes, and across one far up.
var windows = []int64{0, 4<<20 - 64<<10, 16<<30 - 64<<10}

const windowLen = 128 << 10

const reach = 16<<30 + 64<<10 // behind the last window

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
	for i, base := range windows {
		from, to := max(off, base), min(off+n, base+windowLen)
		if from < to {
			f(p.model[i][from-base:to-base], from)
		}
	}
}

type machine struct {
	pairs []*pair
	fill  byte
}

func newPair() *pair {
	p := &pair{}
	for i := range p.model {
		p.model[i] = make([]byte, windowLen)
	}
	return p
}

// place draws a range of a window; many begin and end on a border.
func place(t *rapid.T, window int) (off, n int64) {
	grain := rapid.SampledFrom([]int64{1, 512, PageSize, RunSize / 2, RunSize}).Draw(t, "grain")
	from := rapid.Int64Range(0, windowLen/grain-1).Draw(t, "from")
	count := rapid.Int64Range(1, min(20, windowLen/grain-from)).Draw(t, "count")
	return windows[window] + from*grain, count * grain
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
	copy(p.model[w][off-windows[w]:], data)
}

func (m *machine) Discard(t *rapid.T) {
	p := m.pick(t)
	off, n := place(t, rapid.IntRange(0, 2).Draw(t, "window"))
	if rapid.IntRange(0, 5).Draw(t, "far") == 0 {
		n += rapid.Int64Range(0, 17<<30).Draw(t, "more")
	}
	p.tree.Discard(off, n)
	p.each(off, n, func(b []byte, _ int64) { clear(b) })
}

func (m *machine) Fork(t *rapid.T) {
	p := m.pick(t).fork()
	if len(m.pairs) < 4 {
		m.pairs = append(m.pairs, p)
	} else {
		m.pairs[rapid.IntRange(0, 3).Draw(t, "drop")] = p
	}
}

func (m *machine) Share(t *rapid.T) {
	dst, src := m.pick(t), m.pick(t)
	v, w := rapid.IntRange(0, 2).Draw(t, "to"), rapid.IntRange(0, 2).Draw(t, "window")
	at, n := place(t, w)
	off, _ := place(t, v)
	if rapid.Bool().Draw(t, "alike") {
		off = windows[v] + at - windows[w]
	}
	n = min(n, windows[v]+windowLen-off)
	dst.tree.Share(off, &src.tree, at, n)
	copy(dst.model[v][off-windows[v]:], slices.Clone(src.model[w][at-windows[w]:][:n]))
}

// Check compares everything after each step.
func (m *machine) Check(t *rapid.T) {
	for _, p := range m.pairs {
		got := make([]byte, windowLen)
		for i, base := range windows {
			p.tree.Read(got, base)
			if !bytes.Equal(got, p.model[i]) {
				t.Fatalf("window %d differs", i)
			}
		}
		checkShape(t, &p.tree)
		checkExtents(t, p)
		checkDiff(t, p, m.pick(t))
	}
	checkAlone(t, m.pairs)
}

// checkExtents demands that everything outside the extents is zero.
func checkExtents(t *rapid.T, p *pair) {
	rest := (&pair{model: p.model}).fork()
	end := int64(0)
	p.tree.Extents(0, reach, func(off, n int64) bool {
		if off < end || off%PageSize != 0 || n%PageSize != 0 || n <= 0 {
			t.Fatalf("extent %d+%d after %d", off, n, end)
		}
		end = off + n
		rest.each(off, n, func(b []byte, _ int64) { clear(b) })
		return true
	})
	for i := range rest.model {
		if !allZero(rest.model[i]) {
			t.Fatalf("window %d has bytes outside the extents", i)
		}
	}
}

// checkDiff demands that everything outside the difference is equal.
func checkDiff(t *rapid.T, p, q *pair) {
	rest := (&pair{model: p.model}).fork()
	Diff(p.tree, q.tree, 0, reach, func(off, n int64) bool {
		q.each(off, n, func(b []byte, at int64) {
			rest.each(at, int64(len(b)), func(c []byte, _ int64) { copy(c, b) })
		})
		if p == q {
			t.Fatalf("a tree differs from itself at %d", off)
		}
		return true
	})
	for i := range rest.model {
		if !bytes.Equal(rest.model[i], q.model[i]) {
			t.Fatalf("window %d differs outside the difference", i)
		}
	}
}

// checkShape demands that nothing is stored that need not be.
func checkShape(t *rapid.T, tree *Tree) {
	var visit func(n *node, shift uint8)
	visit = func(n *node, shift uint8) {
		if n.mask == 0 || n.own&^n.mask != 0 || n.joined&^n.mask != 0 ||
			bits.OnesCount64(n.joined) != len(n.whole) ||
			bits.OnesCount64(n.mask) != len(n.kids)+len(n.whole)+len(n.parts) {
			t.Fatalf("node: mask %x own %x joined %x, %d kids, %d whole, %d parts",
				n.mask, n.own, n.joined, len(n.kids), len(n.whole), len(n.parts))
		}
		for _, kid := range n.kids {
			visit(kid, shift-fanShift)
		}
		if (shift == runShift) != (len(n.kids) == 0) {
			t.Fatalf("node with %d kids at shift %d", len(n.kids), shift)
		}
		for _, x := range n.parts {
			checkParts(t, x)
		}
	}
	if tree.root != nil {
		visit(tree.root, tree.shift)
	}
}

func checkParts(t *rapid.T, x *parts) {
	if x.mask == 0 || x.own&^x.mask != 0 || bits.OnesCount16(x.mask) != len(x.pages) {
		t.Fatalf("parts: mask %x own %x pages %d", x.mask, x.own, len(x.pages))
	}
	for _, page := range x.pages {
		if len(page) == 0 || len(page) > PageSize || cap(page) > 2*PageSize {
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
		mine := own && n.own>>i&1 != 0
		switch {
		case !n.has(i):
			continue
		case len(n.kids) > 0:
			visitNode(n.kid(i), mine, visit)
			continue
		}
		r := n.run(i)
		if r.parts != nil {
			visit(r.parts, mine)
		}
		for j := range runPages {
			if page := r.page(j); page != nil {
				visit(&page[0], mine && (r.whole != nil || r.parts.own>>j&1 != 0))
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
