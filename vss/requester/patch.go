package requester

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"

	"github.com/shadowsim/shadowsim/vss"
)

// readRanges reads a file of ranges.
func readRanges(fsys fs.FS, name string) ([]vss.Range, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	ranges, err := vss.ReadRangesFile(f)
	return ranges, errors.Join(err, f.Close())
}

// inOffsetOrder sorts ranges. Ranges that overlap, or lie beyond what a file can
// hold, are an error.
func inOffsetOrder(ranges []vss.Range) ([]vss.Range, error) {
	ranges = slices.Clone(ranges)
	slices.SortStableFunc(ranges, func(a, b vss.Range) int { return cmp.Compare(a.Offset, b.Offset) })
	for i, r := range ranges {
		if r.Offset > math.MaxInt64 || r.Length > math.MaxInt64-r.Offset {
			return nil, fmt.Errorf("%w: range %v is beyond any file", vss.ErrInvalidArg, r)
		}
		if i > 0 && r.Offset < ranges[i-1].Offset+ranges[i-1].Length {
			return nil, fmt.Errorf("%w: ranges %v and %v overlap", vss.ErrInvalidArg, ranges[i-1], r)
		}
	}
	return ranges, nil
}

// readSection copies n bytes of an open file, from an offset on, to w. A file
// that is shorter is an error.
func readSection(w io.Writer, f fs.File, off, n int64) error {
	var r io.Reader
	if at, ok := f.(io.ReaderAt); ok {
		r = io.NewSectionReader(at, off, n)
	} else if s, ok := f.(io.Seeker); ok {
		if _, err := s.Seek(off, io.SeekStart); err != nil {
			return err
		}
		r = io.LimitReader(f, n)
	} else {
		return fmt.Errorf("ranges of a file: %w", errors.ErrUnsupported)
	}
	done, err := io.Copy(w, r)
	if err == nil && done < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// putRanges copies ranges of a file, one behind the other.
func (t *tree) putRanges(to string, src fs.FS, name string, ranges []vss.Range) (n int64, err error) {
	ranges, err = inOffsetOrder(ranges)
	if err != nil {
		return 0, err
	}
	r, err := src.Open(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	info, err := r.Stat()
	if err != nil {
		return 0, err
	}
	return t.write(to, info, func(w io.Writer) (int64, error) {
		for _, p := range ranges {
			if err := readSection(w, r, int64(p.Offset), int64(p.Length)); err != nil {
				return n, fmt.Errorf("range %v: %w", p, err)
			}
			n += int64(p.Length)
		}
		return n, nil
	})
}

// write makes a file of what fill writes, with the metadata of another one.
func (t *tree) write(to string, like fs.FileInfo, fill func(io.Writer) (int64, error)) (int64, error) {
	to, err := t.name(to)
	if err != nil {
		return 0, err
	}
	w, err := t.Create(to)
	if t.count(err) != nil {
		return 0, err
	}
	n, err := fill(w)
	err = errors.Join(err, w.Close())
	if err == nil && like != nil {
		err = t.keep(to, like)
	}
	return n, err
}

// A piece is a part of a file that is put into another one.
type piece struct {
	from   fs.File
	at     int64 // in from
	n      int64
	offset int64 // in the file that is patched
}

// patch puts pieces, which are in the order of their offsets, into a file, and
// leaves the rest of it as it is; a file that is not there becomes one of the
// pieces alone, with zeros between. The new file takes the place of the old one
// when it is whole.
func (t *tree) patch(to string, like fs.FileInfo, pieces []piece) (n int64, err error) {
	to, err = t.name(to)
	if err != nil {
		return 0, err
	}
	old, err := t.Open(to)
	if errors.Is(err, fs.ErrNotExist) {
		return t.write(to, like, func(w io.Writer) (int64, error) { return overlay(w, nil, 0, pieces) })
	}
	if err != nil {
		return 0, err
	}
	info, err := old.Stat()
	if err == nil && t.security == "" {
		t.security = securityOf(info)
	}
	next := to + ".restored"
	if err == nil {
		n, err = t.write(next, like, func(w io.Writer) (int64, error) { return overlay(w, old, info.Size(), pieces) })
	}
	if err = errors.Join(err, old.Close()); err == nil {
		err = t.count(t.Remove(to))
	}
	if err != nil {
		_ = t.Remove(next)
		return 0, err
	}
	return n, t.count(t.Rename(next, to))
}

// overlay writes a file of a size with pieces over it, and returns the length of
// the pieces.
func overlay(w io.Writer, old fs.File, size int64, pieces []piece) (n int64, err error) {
	at := int64(0)
	fill := func(until int64) error {
		if kept := min(until, size) - at; kept > 0 {
			if err := readSection(w, old, at, kept); err != nil {
				return err
			}
			at += kept
		}
		zeros, err := io.CopyN(w, zeroReader{}, max(until-at, 0))
		at += zeros
		return err
	}
	for _, p := range pieces {
		if err := fill(p.offset); err != nil {
			return n, err
		}
		if err := readSection(w, p.from, p.at, p.n); err != nil {
			return n, err
		}
		at += p.n
		n += p.n
	}
	return n, fill(max(at, size))
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }
