package disk_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"pgregory.net/rapid"
)

func TestTrimFindsZeros(t *testing.T) {
	m := disk.NewMemory(6*4096 - 5)
	mustWrite(t, m, 0, strings.Repeat("x", 6*4096-5))
	mustWrite(t, m, 4096, strings.Repeat("\x00", 2*4096))
	mustWrite(t, m, 5*4096, strings.Repeat("\x00", 4096-5))
	s := disk.Section(m, 4096, 6*4096) // page 0 of it is page 1
	n, err := disk.Trim(s)
	if err != nil || n != 3*4096-5 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if got := extents(m); !slices.Equal(got, []disk.Extent{{Off: 0, Len: 4096}, {Off: 3 * 4096, Len: 2 * 4096}}) {
		t.Errorf("extents %v", got)
	}
	cause := errors.New("bad sector")
	if _, err := disk.Trim(broken{m, 0, cause}); !errors.Is(err, cause) {
		t.Errorf("a store that cannot be read: %v", err)
	}
	if _, err := disk.Trim(m.Freeze()); err != nil {
		t.Errorf("nothing is zero there: %v", err)
	}
	mustWrite(t, m, 0, strings.Repeat("\x00", 4096))
	if _, err := disk.Trim(m.Freeze()); !errors.Is(err, disk.ErrReadOnly) {
		t.Errorf("a snapshot: %v", err)
	}
}

func TestZerosTakeNoRoom(t *testing.T) {
	m := disk.NewMemory(1 << 20)
	s := disk.DetectZeros(m)
	mustWrite(t, s, 0, strings.Repeat("x", 64<<10))
	mustWrite(t, s, 4096, strings.Repeat("\x00", 8192)+strings.Repeat("y", 4096)+strings.Repeat("\x00", 5000))
	want := []disk.Extent{{Off: 0, Len: 4096}, {Off: 3 * 4096, Len: 4096}, {Off: 5 * 4096, Len: 11 * 4096}}
	if got := extents(m); !slices.Equal(got, want) {
		t.Errorf("extents %v, want %v", got, want)
	}
	if n, err := s.WriteAt(make([]byte, 10000), 1<<20-5000); n != 5000 || !errors.Is(err, disk.ErrRange) {
		t.Errorf("over the end: %d, %v", n, err)
	}
	f := disk.WithFaults(m, plan(t, "write nth=1 torn=10", "discard nth=1 err=0x80070005"))
	s = disk.DetectZeros(f)
	p := append(slices.Repeat([]byte{1}, 4096), make([]byte, 4096)...)
	if n, err := s.WriteAt(p, 0); n != 10 || err == nil {
		t.Errorf("torn: %d, %v", n, err)
	}
	if n, err := s.WriteAt(p, 0); n != 4096 || err == nil {
		t.Errorf("the discard fails: %d, %v", n, err)
	}
	if n, err := s.WriteAt(p, 0); n != 8192 || err != nil {
		t.Errorf("all is well: %d, %v", n, err)
	}
}

func init() {
	kinds["DetectZeros"] = func(t *rapid.T) *twin {
		x := memory(t)
		return &twin{store: disk.DetectZeros(x.store), bytes: x.bytes}
	}
}
