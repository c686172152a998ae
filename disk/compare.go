package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"iter"
	"sync"

	"github.com/shadowsim/shadowsim/internal/pages"
)

// Equal reports whether a and b have the same size and the same bytes. It reads
// only what [FirstDifference] has to.
func Equal(a, b Source) (bool, error) {
	if a.Size() != b.Size() {
		return false, nil
	}
	off, err := FirstDifference(a, b)
	return off < 0 && err == nil, err
}

// FirstDifference returns the offset of the first byte in which a and b differ,
// or -1. Where one ends before the other, that end is a difference. Holes that
// both have are not read, nor are pages that both share where a and b are
// in memory.
func FirstDifference(a, b Source) (int64, error) {
	size := min(a.Size(), b.Size())
	var p, q []byte
	for e := range suspects(a, b, size) {
		if p == nil {
			p, q = make([]byte, min(size, chunk)), make([]byte, min(size, chunk))
		}
		for at := e.Off; at < e.End(); {
			n := min(e.End()-at, int64(len(p)))
			if err := readFull(a, p[:n], at); err != nil {
				return -1, fail("FirstDifference", at, err)
			}
			if err := readFull(b, q[:n], at); err != nil {
				return -1, fail("FirstDifference", at, err)
			}
			if i := mismatch(p[:n], q[:n]); i >= 0 {
				return at + int64(i), nil
			}
			at += n
		}
	}
	if a.Size() != b.Size() {
		return size, nil
	}
	return -1, nil
}

// suspects yields the ranges in which a and b may differ.
func suspects(a, b Source, size int64) iter.Seq[Extent] {
	m, x, n := origin(a, 0, size)
	o, y, k := origin(b, 0, size)
	if m == nil || o == nil || x != y || n < size || k < size {
		return union(Extents(a, 0, size), Extents(b, 0, size))
	}
	win := Extent{Off: x, Len: size}
	return within(func(yield func(Extent) bool) {
		j := joiner{yield: yield, win: win}
		pages.Diff(m.tree, o.tree, win.Off, win.Len, j.page)
		j.flush()
	}, win)
}

// mismatch returns the first index at which p and q, equally long, differ.
func mismatch(p, q []byte) int {
	if bytes.Equal(p, q) {
		return -1
	}
	for i := range p {
		if p[i] != q[i] {
			return i
		}
	}
	return -1
}

// Digest returns a hash of the size and the content of s that does not depend
// on what is allocated: SHA-256 over the size and, for each page of 4 KiB that
// is not all zero, in ascending order, its offset and its bytes, the last page
// filled up with zeros. Numbers are 8 bytes, big-endian. The time it takes
// grows with what s has allocated.
func Digest(s Source) ([32]byte, error) {
	d := digesters.Get().(*digester)
	defer d.release()
	d.src, d.size, d.done = s, s.Size(), 0
	d.hash.Reset()
	d.number(d.size)
	for e := range Extents(s, 0, d.size) {
		for d.done = max(d.done, e.Off&^(pageSize-1)); d.done < e.End(); {
			if err := d.pages(e.End()); err != nil {
				return [32]byte{}, fail("Digest", d.done, err)
			}
		}
	}
	return [32]byte(d.hash.Sum(d.word[:0])), nil
}

// digesters are at rest: a digest of a small disk costs less than its buffer.
var digesters = sync.Pool{New: func() any { return &digester{hash: sha256.New()} }}

type digester struct {
	src  Source
	size int64
	done int64 // the pages before are hashed; a multiple of the page size
	hash hash.Hash
	word [sha256.Size]byte
	buf  [4 * pageSize]byte
}

func (d *digester) release() {
	d.src = nil
	digesters.Put(d)
}

func (d *digester) number(n int64) {
	d.hash.Write(binary.BigEndian.AppendUint64(d.word[:0], uint64(n)))
}

// pages hashes the next pages, as far as they touch what lies before end.
func (d *digester) pages(end int64) error {
	n := min(int64(len(d.buf)), end-d.done)
	n = min((n+pageSize-1)&^(pageSize-1), d.size-d.done)
	if err := readFull(d.src, d.buf[:n], d.done); err != nil {
		return err
	}
	padded := (n + pageSize - 1) &^ (pageSize - 1)
	clear(d.buf[n:padded])
	for i := int64(0); i < padded; i += pageSize {
		page := d.buf[i : i+pageSize]
		if page[0] != 0 || !bytes.Equal(page[1:], page[:pageSize-1]) {
			d.number(d.done + i)
			d.hash.Write(page)
		}
	}
	d.done += padded
	return nil
}
