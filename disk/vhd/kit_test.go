package vhd_test

import (
	"bytes"
	"errors"
	"io"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

// flat is a file in the plainest form: all its bytes.
type flat struct{ b []byte }

func (f *flat) Size() int64 { return int64(len(f.b)) }

func (f *flat) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.b)) {
		return 0, io.EOF
	}
	n := copy(p, f.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *flat) WriteAt(p []byte, off int64) (int, error) {
	if off > int64(len(f.b)) {
		return 0, disk.ErrRange
	}
	n := copy(f.b[off:], p)
	if n < len(p) {
		return n, disk.ErrRange
	}
	return n, nil
}

func (f *flat) Resize(size int64) error {
	if old := int64(len(f.b)); size > old {
		f.b = append(f.b, make([]byte, size-old)...)
	} else {
		f.b = f.b[:size:size]
	}
	return nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// content reads all of a small disk.
func content(t rapid.TB, s disk.Source) []byte {
	t.Helper()
	b := make([]byte, s.Size())
	if n, err := s.ReadAt(b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("reading %d bytes of disk: %d, %v", len(b), n, err)
	}
	return b
}

// reopen opens a copy of a file's bytes and reads the disk.
func reopen(t rapid.TB, f *flat) []byte {
	t.Helper()
	c := bytes.Clone(f.b)
	im, err := vhd.Open(bytes.NewReader(c), int64(len(c)))
	if err != nil {
		t.Fatalf("the bytes do not open: %v", err)
	}
	return content(t, adopt(im, nil))
}

// adopt puts a child of smallParent over its parent; others are left alone.
func adopt(im *vhd.Image, err error) *vhd.Image {
	if must(im, err).Type() == vhd.Differencing {
		if err := im.SetParent(smallParent(), vhd.CheckTime); err != nil {
			panic(err)
		}
	}
	return im
}

// pattern fills n bytes so that no sector of it is zero or like the next one.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed ^ byte(i) ^ byte(i>>9) | 1
	}
	return b
}

func same(t rapid.TB, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d bytes, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: byte %d is %#x, want %#x", what, i, got[i], want[i])
		}
	}
}

// wantCode demands an *vhd.Error with a code.
func wantCode(t rapid.TB, err error, code error) {
	t.Helper()
	var e *vhd.Error
	if !errors.Is(err, code) || !errors.As(err, &e) || e.Op == "" {
		t.Fatalf("error %v, want a *vhd.Error with an Op around %v", err, code)
	}
}

// cover verifies that extents are in order, apart, inside the window, and that
// nothing outside them differs from zero.
func cover(t rapid.TB, s disk.Extenter, model []byte, off, n int64) {
	t.Helper()
	at := max(off, 0)
	end := min(off+n, int64(len(model)))
	zero := func(to int64) {
		if at < to && !bytes.Equal(model[at:to], make([]byte, to-at)) {
			t.Fatalf("extents leave out %d to %d, where the disk is not zero", at, to)
		}
	}
	first := true
	for e := range s.Extents(off, n) {
		if e.Len <= 0 || e.Off < at || e.End() > end || e.Off == at && !first {
			t.Fatalf("extent %v after %d, window ends at %d", e, at, end)
		}
		zero(e.Off)
		at, first = e.End(), false
	}
	zero(end)
}
