package vhd

import (
	"encoding/binary"
	"io"
	"iter"
	"slices"
	"sync/atomic"
)

// pageBlocks is how many blocks a page of a blockTable describes.
const pageBlocks = 256

// An owner marks the pages that one table may write; it has a size so that two
// of them never share an address.
type owner struct{ _ byte }

// tablePage holds the places of some blocks, and which of their bitmaps were
// seen to be full. That is a fact about the bytes of every image that shares
// the page, so readers may add to it at any time.
type tablePage struct {
	owner *owner
	entry [pageBlocks]uint32
	full  [pageBlocks / 32]atomic.Uint32
}

// blockTable is the block allocation table in memory. Pages without a block
// are nil, and a fork shares all pages until one side writes.
type blockTable struct {
	owner *owner
	mine  bool // pages, the slice, is not shared
	pages []*tablePage
}

// entry returns the sector where the bitmap of block b lies, or absent.
func (t *blockTable) entry(b int64) uint32 {
	p := t.pages[b/pageBlocks]
	if p == nil {
		return absent
	}
	return p.entry[b%pageBlocks]
}

// isFull reports whether the bitmap of b is known to have every bit set.
func (t *blockTable) isFull(b int64) bool {
	i := b % pageBlocks
	return t.pages[b/pageBlocks].full[i/32].Load()&(1<<(i%32)) != 0
}

// setFull records that the bitmap of b has every bit set.
func (t *blockTable) setFull(b int64) {
	i := b % pageBlocks
	t.pages[b/pageBlocks].full[i/32].Or(1 << (i % 32))
}

// set places block b. Nothing is known of its bitmap there.
func (t *blockTable) set(b int64, entry uint32) {
	p, i := t.writable(b), b%pageBlocks
	p.entry[i] = entry
	p.full[i/32].And(^(uint32(1) << (i % 32)))
}

// writable returns the page of b for writing, its own to t.
func (t *blockTable) writable(b int64) *tablePage {
	if !t.mine {
		t.pages, t.mine = slices.Clone(t.pages), true
	}
	p := t.pages[b/pageBlocks]
	if p != nil && p.owner == t.owner {
		return p
	}
	q := newPage(t.owner)
	if p != nil {
		q.entry = p.entry
		for i := range p.full {
			q.full[i].Store(p.full[i].Load())
		}
	}
	t.pages[b/pageBlocks] = q
	return q
}

// fork returns a second table with the same content. Neither sees what is
// written to the other from here on.
func (t *blockTable) fork() blockTable {
	t.owner, t.mine = new(owner), false
	return blockTable{owner: new(owner), pages: t.pages}
}

// placed yields every block from b on that has a place, in disk order, with its
// entry.
func (t *blockTable) placed(b int64) iter.Seq2[int64, uint32] {
	return func(yield func(int64, uint32) bool) {
		for i := b / pageBlocks; i < int64(len(t.pages)); i, b = i+1, (i+1)*pageBlocks {
			p := t.pages[i]
			if p == nil {
				continue
			}
			for j := b % pageBlocks; j < pageBlocks; j++ {
				if p.entry[j] != absent && !yield(i*pageBlocks+j, p.entry[j]) {
					return
				}
			}
		}
	}
}

// nextPlaced returns the first block from b on that has a place, or one behind
// all that the table holds.
func (t *blockTable) nextPlaced(b int64) int64 {
	for next := range t.placed(b) {
		return next
	}
	return int64(len(t.pages)) * pageBlocks
}

func newPage(o *owner) *tablePage {
	p := &tablePage{owner: o}
	for i := range p.entry {
		p.entry[i] = absent
	}
	return p
}

// readTable reads the first n entries of the table at off. Each entry that is
// not absent is shown to check; the first error ends the reading, so that what
// is held in memory never exceeds what the file really stores.
func readTable(r io.ReaderAt, off, n int64, check func(b int64, entry uint32) error) (blockTable, error) {
	t := blockTable{owner: new(owner), mine: true}
	buf := make([]byte, min(n, 16*pageBlocks)*4)
	for b := int64(0); b < n; {
		chunk := buf[:min(int64(len(buf)), (n-b)*4)]
		if err := readFull(r, chunk, off+b*4, "block allocation table"); err != nil {
			return t, err
		}
		for ; len(chunk) > 0; chunk, b = chunk[4:], b+1 {
			if b%pageBlocks == 0 {
				t.pages = append(t.pages, nil)
			}
			e := binary.BigEndian.Uint32(chunk)
			if e == absent {
				continue
			}
			if err := check(b, e); err != nil {
				return t, err
			}
			t.writable(b).entry[b%pageBlocks] = e
		}
	}
	return t, nil
}

// readFull reads len(p) bytes at off of a file that must have them.
func readFull(r io.ReaderAt, p []byte, off int64, field string) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return bad(ErrFileSize, off, field, "the file ended after %d of %d bytes", n, len(p))
	}
	return ioError(off, field, err)
}
