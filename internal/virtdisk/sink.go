package virtdisk

import (
	"io"

	"github.com/shadowsim/shadowsim/disk"
)

// A Sink takes the bytes of an image file in ascending order. What no call
// covers is zero.
type Sink interface {
	io.Writer                                     // the next bytes
	SkipTo(off int64) error                       // zeros up to off
	CopyFrom(src disk.Source, off, n int64) error // n bytes of a disk
}

// sinkBuffer is how much a sink reads and writes at a time.
const sinkBuffer = 1 << 20

// A Stream is a sink that writes every byte, zeros too.
type Stream struct {
	w   io.Writer
	at  int64
	buf []byte
}

// NewStream returns a sink that writes to w, front to back.
func NewStream(w io.Writer) *Stream { return &Stream{w: w, buf: make([]byte, sinkBuffer)} }

// Written returns how many bytes were written.
func (s *Stream) Written() int64 { return s.at }

func (s *Stream) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.at += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// SkipTo writes zeros.
func (s *Stream) SkipTo(off int64) error {
	n := off - s.at
	b := s.buf[:max(min(n, int64(len(s.buf))), 0)]
	clear(b)
	for ; n > 0; n -= int64(len(b)) {
		b = b[:min(n, int64(len(b)))]
		if _, err := s.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// CopyFrom reads a piece of a disk and writes it.
func (s *Stream) CopyFrom(src disk.Source, off, n int64) error {
	for n > 0 {
		b := s.buf[:min(n, int64(len(s.buf)))]
		if err := readAll(src, b, off); err != nil {
			return err
		}
		if _, err := s.Write(b); err != nil {
			return err
		}
		off, n = off+int64(len(b)), n-int64(len(b))
	}
	return nil
}

// A Sparse is a sink that writes what is not zero.
type Sparse struct {
	w   io.WriterAt
	at  int64
	buf []byte
}

// NewSparse returns a sink that writes to w, which reads as zero already.
func NewSparse(w io.WriterAt) *Sparse { return &Sparse{w: w, buf: make([]byte, sinkBuffer)} }

func (s *Sparse) Write(b []byte) (int, error) {
	n, err := s.w.WriteAt(b, s.at)
	s.at += int64(n)
	return n, err
}

// SkipTo leaves a hole.
func (s *Sparse) SkipTo(off int64) error {
	s.at = off
	return nil
}

// CopyFrom reads what a piece of a disk has allocated, and writes what of it is
// not zero.
func (s *Sparse) CopyFrom(src disk.Source, off, n int64) error {
	for e := range disk.Extents(src, off, n) {
		for at := e.Off; at < e.End(); {
			b := s.buf[:min(e.End()-at, int64(len(s.buf)))]
			if err := readAll(src, b, at); err != nil {
				return err
			}
			for from, to := range NonzeroRuns(b) {
				if _, err := s.w.WriteAt(b[from:to], s.at+at-off+int64(from)); err != nil {
					return err
				}
			}
			at += int64(len(b))
		}
	}
	s.at += n
	return nil
}

// readAll fills p from a disk that must have it.
func readAll(src disk.Source, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}
