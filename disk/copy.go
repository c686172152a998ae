package disk

import "io"

// chunk is how much is read at a time where bytes have to be copied.
const chunk = 1 << 18

// Copy makes the first src.Size() bytes of dst equal to src. A dst that is
// shorter than src is [ErrSize].
//
// Only allocated ranges are read and written; what src does not have is
// discarded in dst. Where dst is a [Memory] or a [Section] of one, whatever src
// has in a Memory is taken over by reference, also through sections, read-only
// wrappers, overlays and every other [Mapper]. Both places have to lie alike
// within a page, and ranges of less than 64 KiB are copied after all, since they
// would keep more in memory than they save. The Memory of src gives up its
// pages as if it had been frozen: nobody may write or freeze it meanwhile.
func Copy(dst Store, src Source) error {
	size := src.Size()
	if dst.Size() < size {
		return fail("Copy", dst.Size(), ErrSize)
	}
	to, shift := memoryOf(dst)
	if to == nil || to.frozen || shift+size > to.size {
		return copyBytes(dst, src, Extent{Len: size})
	}
	for at := int64(0); at < size; {
		from, off, n := origin(src, at, size-at)
		if from != nil {
			to.share(shift+at, from, off, n)
		} else if err := copyBytes(dst, src, Extent{at, n}); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// memoryOf returns the Memory that a store writes to, and where it begins there.
func memoryOf(s Store) (*Memory, int64) {
	for shift := int64(0); ; {
		switch x := s.(type) {
		case *Memory:
			return x, shift
		case *section:
			s, shift = x.s, shift+x.win.Off
		default:
			return nil, 0
		}
	}
}

// origin returns the Memory in which the bytes from off on are found, the place
// there, and how far this holds. Without a Memory, n bytes are to be copied.
func origin(s Source, off, n int64) (*Memory, int64, int64) {
	for {
		switch x := s.(type) {
		case *Memory:
			if k := clip(off, n, x.size).Len; k > 0 {
				return x, off, k
			}
			return nil, 0, n
		case Mapper:
			seg := x.Map(off, n)
			if seg.Len < 1 || seg.Len > n {
				return nil, 0, n
			}
			s, off, n = seg.Store, seg.Off, seg.Len
		default:
			return nil, 0, n
		}
	}
}

// share takes bytes of another Memory over. All of it is taken in one step.
func (m *Memory) share(off int64, from *Memory, at, n int64) {
	switch {
	case m == from && off == at: // an overlay is merged into its parent
	case n == m.size && n == from.size:
		m.tree = from.tree.Fork()
	default:
		m.tree.Share(off, &from.tree, at, n)
	}
}

// copyBytes makes a range of dst equal to that of src through a buffer.
func copyBytes(dst Store, src Source, r Extent) error {
	var buf []byte
	at := r.Off
	for e := range Extents(src, r.Off, r.Len) {
		if err := discardHole(dst, at, e.Off); err != nil {
			return err
		}
		if n := min(e.Len, chunk); n > int64(len(buf)) {
			buf = make([]byte, n)
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
	return discardHole(dst, at, r.End())
}

func discardHole(dst Store, from, to int64) error {
	if from >= to {
		return nil
	}
	return Discard(dst, from, to-from)
}

// readFull fills p or fails.
func readFull(s Source, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	switch n, err := s.ReadAt(p, off); {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}

// writeZeros is how a store that cannot discard is made zero.
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
