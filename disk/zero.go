package disk

import (
	"bytes"
	"iter"

	"github.com/shadowsim/shadowsim/internal/pages"
)

// Trim discards whatever s has allocated and is zero all the same, in pages of
// 4 KiB, and returns how many bytes these were. The bytes of s do not change.
func Trim(s Store) (int64, error) {
	size, done := s.Size(), int64(0)
	buf := make([]byte, min(size, chunk))
	for e := range Extents(s, 0, size) {
		for at := e.Off; at < e.End(); {
			p := buf[:min(e.End()-at, int64(len(buf))-at%pageSize)]
			if err := readFull(s, p, at); err != nil {
				return done, fail("Trim", at, err)
			}
			for r := range zeroRuns(p, at) {
				if err := Discard(s, r.Off, r.Len); err != nil {
					return done, err
				}
				done += r.Len
			}
			at += int64(len(p))
		}
	}
	return done, nil
}

// zeroRuns yields the pages of p, which lies at off, that are zero, joined. What
// p has of a page at its two ends counts for the page.
func zeroRuns(p []byte, off int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		j := joiner{yield: yield}
		for len(p) > 0 && !j.done {
			n := min(int64(len(p)), pageSize-off%pageSize)
			if isZero(p[:n]) {
				j.add(Extent{off, n})
			}
			p, off = p[n:], off+n
		}
		j.flush()
	}
}

func isZero(p []byte) bool { return p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1]) }

// detector is a store that discards where it is given zeros.
type detector struct{ wrapper }

// DetectZeros returns s as a store in which zeros take no room: pages of 4 KiB,
// and parts of one at the two ends of a write, that are written as zeros are
// discarded instead. A [Memory] allocates nothing for zeros written to a hole
// without help, but keeps the page where something was. It has every optional
// interface, as far as s has.
func DetectZeros(s Store) Store { return &detector{wrapper{s}} }

// WriteAt writes what is not zero and discards the rest.
func (d *detector) WriteAt(p []byte, off int64) (int, error) {
	n, ok := fit(len(p), off, d.s.Size())
	if !ok || n == 0 || len(p) < pages.PageSize && !isZero(p) {
		return d.s.WriteAt(p, off) // which finds the words for what is wrong
	}
	at := off
	for r := range zeroRuns(p, off) {
		if k, err := d.data(p, off, at, r.Off); err != nil {
			return k, err
		}
		if err := Discard(d.s, r.Off, r.Len); err != nil {
			return int(r.Off - off), err
		}
		at = r.End()
	}
	return d.data(p, off, at, off+int64(n))
}

// data writes the part of p, which lies at off, between two places, and returns
// how much of p is written then.
func (d *detector) data(p []byte, off, from, to int64) (int, error) {
	if from == to {
		return int(to - off), nil
	}
	k, err := d.s.WriteAt(p[from-off:to-off], from)
	return int(from-off) + k, err
}
