package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
)

const chunk = 1 << 18

// readFull fills p or fails.
func readFull(s Source, p []byte, off int64) error {
	n, err := s.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func writeZeros(s Store, off, n int64) error {
	buf := make([]byte, min(n, chunk))
	for n > 0 {
		k := min(n, int64(len(buf)))
		if _, err := s.WriteAt(buf[:k], off); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// Copy makes the first src.Size() bytes of dst equal to src. Only allocated
// ranges are read and written; what src does not have is discarded in dst. A
// dst that is shorter than src is [ErrSize].
func Copy(dst Store, src Source) error {
	size := src.Size()
	if dst.Size() < size {
		return fail("Copy", dst.Size(), ErrSize)
	}
	var buf []byte
	at := int64(0)
	for e := range Extents(src, 0, size) {
		if err := Discard(dst, at, e.Off-at); err != nil {
			return err
		}
		if buf == nil {
			buf = make([]byte, min(size, chunk))
		}
		for at = e.Off; at < e.End(); {
			p := buf[:min(e.End()-at, int64(len(buf)))]
			if err := readFull(src, p, at); err != nil {
				return fail("Copy", at, err)
			}
			if _, err := dst.WriteAt(p, at); err != nil {
				return err
			}
			at += int64(len(p))
		}
	}
	return Discard(dst, at, size-at)
}

// Equal reports whether a and b have the same size and the same bytes.
func Equal(a, b Source) (bool, error) {
	off, err := FirstDifference(a, b)
	return off < 0 && err == nil, err
}

// FirstDifference returns the offset of the first byte in which a and b differ,
// or -1. Where one ends before the other, that end is a difference.
func FirstDifference(a, b Source) (int64, error) {
	size := min(a.Size(), b.Size())
	p, q := make([]byte, min(size, chunk)), make([]byte, min(size, chunk))
	for e := range union(Extents(a, 0, size), Extents(b, 0, size)) {
		for at := e.Off; at < e.End(); {
			n := min(e.End()-at, int64(len(p)))
			if err := readFull(a, p[:n], at); err != nil {
				return -1, fail("Equal", at, err)
			}
			if err := readFull(b, q[:n], at); err != nil {
				return -1, fail("Equal", at, err)
			}
			if !bytes.Equal(p[:n], q[:n]) {
				for i := range n {
					if p[i] != q[i] {
						return at + i, nil
					}
				}
			}
			at += n
		}
	}
	if a.Size() != b.Size() {
		return size, nil
	}
	return -1, nil
}

// Digest returns a hash of the size and the content of s that does not depend
// on what is allocated: SHA-256 over the size and, for each page of 4 KiB that
// is not all zero, in ascending order, its offset and its bytes, the last page
// filled up with zeros. Numbers are 8 bytes, big-endian.
func Digest(s Source) ([32]byte, error) {
	h := sha256.New()
	size := s.Size()
	var num [8]byte
	binary.BigEndian.PutUint64(num[:], uint64(size))
	h.Write(num[:])
	var zero, page [pageSize]byte
	next := int64(0)
	for e := range Extents(s, 0, size) {
		for at := max(next, e.Off-e.Off%pageSize); at < e.End(); at += pageSize {
			n := min(pageSize, size-at)
			if err := readFull(s, page[:n], at); err != nil {
				return [32]byte{}, fail("Digest", at, err)
			}
			clear(page[n:])
			if page != zero {
				binary.BigEndian.PutUint64(num[:], uint64(at))
				h.Write(num[:])
				h.Write(page[:])
			}
			next = at + pageSize
		}
	}
	return [32]byte(h.Sum(nil)), nil
}
