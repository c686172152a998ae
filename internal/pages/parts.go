package pages

import (
	"bytes"
	"slices"
)

// parts is a run of which pages are missing, or shared, or short.
type parts struct {
	mask  uint16   // the pages that exist
	own   uint16   // the pages whose memory nothing else reaches
	pages [][]byte // 1 to PageSize bytes each; what is missing at the end is zero
}

func (x *parts) rank(i int) int { return rank(uint64(x.mask), uint(i)) }

func (x *parts) has(i int) bool { return x.mask>>(i&15)&1 != 0 }

// page returns the bytes of page i, or nil.
func (x *parts) page(i int) []byte {
	if !x.has(i) {
		return nil
	}
	return x.pages[x.rank(i)]
}

// clone returns a copy that owns none of its pages.
func (x *parts) clone() *parts {
	return &parts{mask: x.mask, pages: slices.Clone(x.pages)}
}

// splitRun returns a run in one piece as pages that point into it.
func splitRun(whole *[RunSize]byte, own bool) *parts {
	x := &parts{mask: 1<<runPages - 1, pages: make([][]byte, runPages)}
	if own {
		x.own = x.mask
	}
	for i := range x.pages {
		x.pages[i] = piece(whole, i)
	}
	return x
}

// piece returns page i of a run in one piece, without room to grow.
func piece(whole *[RunSize]byte, i int) []byte {
	return whole[i*PageSize : (i+1)*PageSize : (i+1)*PageSize]
}

func (x *parts) read(p []byte, in int) {
	for len(p) > 0 {
		at := in & (PageSize - 1)
		q := p[:min(len(p), PageSize-at)]
		n := 0
		if page := x.page(in >> pageShift); at < len(page) {
			n = copy(q, page[at:])
		}
		clear(q[n:])
		p, in = p[len(q):], in+len(q)
	}
}

func (x *parts) write(p []byte, in int) {
	for len(p) > 0 {
		at := in & (PageSize - 1)
		q := p[:min(len(p), PageSize-at)]
		x.writePage(in>>pageShift, q, at)
		p, in = p[len(q):], in+len(q)
	}
}

// writePage writes into one page. Zeros where nothing is stored store nothing.
func (x *parts) writePage(i int, p []byte, at int) {
	page, own := x.page(i), x.own>>i&1 != 0
	switch {
	case own && at+len(p) <= len(page):
		copy(page[at:], p)
	case at >= len(page) && allZero(p):
	case own:
		x.put(i, extend(page, p, at), true)
	default:
		x.put(i, patch(page, p, at), true)
	}
}

// put makes page the page i, or removes page i if it is empty.
func (x *parts) put(i int, page []byte, own bool) {
	j, bit := x.rank(i), uint16(1)<<i
	switch {
	case len(page) == 0 && x.has(i):
		x.pages = slices.Delete(x.pages, j, j+1)
		x.mask &^= bit
	case len(page) == 0:
	case x.has(i):
		x.pages[j] = page
	default:
		x.pages = slices.Insert(x.pages, j, page)
		x.mask |= bit
	}
	x.own &^= bit
	if own {
		x.own |= bit & x.mask
	}
}

// patch returns a new page: the old one with p written at the given place.
func patch(page, p []byte, at int) []byte {
	if at == 0 && len(p) >= len(page) {
		fresh := make([]byte, len(p)) // not cleared first: the copy fills it
		copy(fresh, p)
		return fresh
	}
	fresh := make([]byte, max(len(page), at+len(p)))
	copy(fresh, page)
	copy(fresh[at:], p)
	return fresh
}

// extend writes p behind the end of a page, or over it, in place while there is
// room. Room doubles, so that a page may be filled a little at a time.
func extend(page, p []byte, at int) []byte {
	end := at + len(p)
	if end > cap(page) {
		roomy := make([]byte, len(page), max(end, min(2*len(page), PageSize)))
		copy(roomy, page)
		page = roomy
	}
	old := len(page)
	page = page[:end]
	if at > old {
		clear(page[old:at])
	}
	copy(page[at:], p)
	return page
}

// join returns the run in one piece if each of its pages is full and nobody
// else's, and nil otherwise.
func (x *parts) join() *[RunSize]byte {
	if x.own != 1<<runPages-1 {
		return nil
	}
	for _, page := range x.pages {
		if len(page) < PageSize {
			return nil
		}
	}
	whole := new([RunSize]byte)
	for i, page := range x.pages {
		copy(piece(whole, i), page)
	}
	return whole
}

// without makes the bytes from one place to another zero. It returns x itself,
// or a copy if x was not the tree's own and something changed, or nil if no
// page is left.
func (x *parts) without(own bool, from, to int) *parts {
	for i := from >> pageShift; i <= (to-1)>>pageShift; i++ {
		base := i << pageShift
		page := x.page(i)
		lo, hi := max(from-base, 0), min(to-base, len(page))
		if lo >= hi {
			continue
		}
		if !own {
			x, own = x.clone(), true
		}
		mine := x.own>>i&1 != 0
		if hi < len(page) {
			if !mine {
				page, mine = slices.Clone(page), true
			}
			clear(page[lo:hi])
		} else {
			page = page[:lo]
		}
		x.put(i, page, mine)
	}
	if x.mask == 0 {
		return nil
	}
	return x
}

// unpin copies the pages that are the run's own, so that the piece they were
// cut from can go.
func (x *parts) unpin() {
	for j, page := range x.pages {
		x.pages[j] = slices.Clone(page)
	}
	x.own = x.mask
}

// hasZeros reports whether one of the pages in p is all zero.
func hasZeros(p []byte) bool {
	for ; len(p) > 0; p = p[PageSize:] {
		if allZero(p[:PageSize]) {
			return true
		}
	}
	return false
}

// allZero reports whether p holds no other byte. Data ends the comparison at
// once; 4 KiB of zeros take 50 ns.
func allZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}
