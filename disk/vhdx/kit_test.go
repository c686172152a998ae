package vhdx_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

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

// wantCode demands an *vhdx.Error with a code.
func wantCode(t rapid.TB, err error, code error) {
	t.Helper()
	var e *vhdx.Error
	if !errors.Is(err, code) || !errors.As(err, &e) || e.Op == "" {
		t.Fatalf("error %v, want a *vhdx.Error with an Op around %v", err, code)
	}
}

// cover verifies that extents are in order, apart, inside the window, and that
// nothing outside them differs from zero.
func cover(t rapid.TB, s disk.Extenter, model *disk.Memory, off, n int64) {
	t.Helper()
	at := max(off, 0)
	end := min(off+n, model.Size())
	zero := func(to int64) {
		if at >= to {
			return
		}
		hole := disk.Section(model, at, to-at)
		if x, err := disk.FirstDifference(hole, disk.NewMemory(to-at)); x >= 0 || err != nil {
			t.Fatalf("extents leave out %d to %d, where the disk is not zero at %d, %v", at, to, at+x, err)
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

// few is rapid.Check with a bound on how many checks are made unless
// -rapid.checks asks for more: for properties that take long.
func few(t *testing.T, checks int, property func(t *rapid.T)) {
	t.Helper()
	if asked := flag.Lookup("rapid.checks"); asked != nil && asked.Value.String() != asked.DefValue {
		rapid.Check(t, property)
		return
	}
	rapid.Check(t, func(t *rapid.T) {
		if checks--; checks >= 0 {
			property(t)
		}
	})
}
