package disk_test

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
)

const (
	tib     = 1 << 40
	largest = 64 * tib
)

func TestLargestDisk(t *testing.T) {
	m := disk.NewMemory(largest)
	mustWrite(t, m, 0, "first")
	mustWrite(t, m, largest-4, "last")
	before := m.Freeze()
	if n, err := m.WriteAt([]byte("over"), largest-2); n != 2 || !errors.Is(err, disk.ErrRange) {
		t.Errorf("WriteAt over the end: %d, %v", n, err)
	}
	want := []disk.Extent{{Off: 0, Len: 4096}, {Off: largest - 4096, Len: 4096}}
	if got := extents(m); !slices.Equal(got, want) {
		t.Errorf("extents %v", got)
	}
	seq, err := m.Diff(before)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(seq); !slices.Equal(got, want[1:]) {
		t.Errorf("difference %v", got)
	}
	if got, err := disk.FirstDifference(m, before); got != largest-2 || err != nil {
		t.Errorf("FirstDifference: %d, %v", got, err)
	}
	if err := m.Discard(1<<20, largest-1<<20); err != nil {
		t.Fatal(err)
	}
	if got := extents(m); !slices.Equal(got, want[:1]) {
		t.Errorf("extents %v after a discard", got)
	}
	if got := readString(t, before, largest-4, 9); got != "last" {
		t.Errorf("the snapshot ends in %q", got)
	}
}

func TestSizeWithoutBound(t *testing.T) {
	m := disk.NewMemory(math.MaxInt64)
	mustWrite(t, m, math.MaxInt64-3, "end")
	want := []disk.Extent{{Off: math.MaxInt64 &^ 4095, Len: 4095}}
	if got := extents(m); !slices.Equal(got, want) {
		t.Errorf("extents %v", got)
	}
	if got := extents(disk.Section(m, 4096, math.MaxInt64)); len(got) != 1 || got[0].Off != want[0].Off-4096 {
		t.Errorf("extents of a section %v", got)
	}
	o := disk.NewOverlay(m, math.MaxInt64)
	mustWrite(t, o, math.MaxInt64-3, "E")
	if got := readString(t, o, math.MaxInt64-4, 9); got != "\x00End" {
		t.Errorf("overlay ends in %q", got)
	}
	if got := disk.NewMemory(-1).Size() + disk.NewOverlay(m, -1).Size(); got != 0 {
		t.Errorf("negative sizes give %d", got)
	}
}

// memoryUsed returns the bytes that f leaves allocated as long as what it
// returns is kept.
func memoryUsed(n int, f func(i int) any) float64 {
	kept := make([]any, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range kept {
		kept[i] = f(i)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return (float64(after.HeapAlloc) - float64(before.HeapAlloc)) / float64(n)
}

func TestSmallThingsStaySmall(t *testing.T) {
	base, zeros := disk.NewMemory(127<<30), string(make([]byte, 1<<20))
	for _, c := range []struct {
		what  string
		bytes float64
		make  func(i int) any
	}{
		{"an empty store of 1 TiB", 100, func(int) any { return disk.NewMemory(tib) }},
		{"a snapshot", 100, func(int) any { return base.Freeze() }},
		{"zeros written", 100, func(int) any {
			m := disk.NewMemory(tib)
			mustWrite(t, m, tib/2, zeros)
			return m
		}},
		{"a file of 100 bytes", 500, func(int) any {
			m := disk.NewMemory(100)
			mustWrite(t, m, 0, zeros[:99]+"x")
			return m
		}},
		{"a disk of 127 GiB with two sectors", 3000, func(int) any {
			m := disk.NewMemory(127 << 30)
			mustWrite(t, m, 0, zeros[:511]+"x")
			mustWrite(t, m, 1<<20, zeros[:511]+"x")
			return m
		}},
		{"a discarded overlay of 1 TiB", 1 << 20, func(int) any {
			o := disk.NewOverlay(base, tib)
			if err := o.Discard(1000, tib-1000); err != nil {
				t.Fatal(err)
			}
			return o
		}},
	} {
		n := 500
		if c.bytes > 1<<16 {
			n = 3
		}
		if got := memoryUsed(n, c.make); got > c.bytes {
			t.Errorf("%s takes %.0f bytes, at most %.0f are allowed", c.what, got, c.bytes)
		}
	}
}

func TestDiscardFreesMemory(t *testing.T) {
	got := memoryUsed(4, func(int) any {
		m := disk.NewMemory(8 << 20)
		fillStore(t, m)
		if err := m.Discard(4096, 8<<20-4096); err != nil {
			t.Fatal(err)
		}
		return m
	})
	if got > 10000 {
		t.Errorf("a page and what was discarded take %.0f bytes", got)
	}
}

func TestLargeOverlay(t *testing.T) {
	base := disk.NewMemory(tib)
	mustWrite(t, base, 300<<30, "below")
	o := disk.NewOverlay(base, tib)
	mustWrite(t, o, 100<<30+512, "own")
	mustWrite(t, o, tib-512, "own")
	if err := o.Discard(500<<30, 100<<30+512); err != nil {
		t.Fatal(err)
	}
	want := []disk.Span{
		{Extent: disk.Extent{Off: 0, Len: 100<<30 + 512}, Origin: disk.Below},
		{Extent: disk.Extent{Off: 100<<30 + 512, Len: 512}, Origin: disk.Own},
		{Extent: disk.Extent{Off: 100<<30 + 1024, Len: 400<<30 - 1024}, Origin: disk.Below},
		{Extent: disk.Extent{Off: 500 << 30, Len: 100<<30 + 512}, Origin: disk.Zero},
		{Extent: disk.Extent{Off: 600<<30 + 512, Len: 424<<30 - 1024}, Origin: disk.Below},
		{Extent: disk.Extent{Off: tib - 512, Len: 512}, Origin: disk.Own},
	}
	if got := slices.Collect(o.Spans(0, tib)); !slices.Equal(got, want) {
		t.Errorf("spans %v", got)
	}
	for i := range want {
		n := 0
		for range o.Spans(0, tib) {
			if n++; n > i {
				break
			}
		}
	}
	if o.Parent() != disk.Source(base) {
		t.Error("Parent is not the parent")
	}
	if got := extents(o); len(got) != 3 || got[1] != (disk.Extent{Off: 300 << 30, Len: 4096}) {
		t.Errorf("extents %v", got)
	}
	copied := disk.NewMemory(tib)
	if err := disk.Copy(copied, o); err != nil {
		t.Fatal(err)
	}
	if same, err := disk.Equal(copied, o); !same || err != nil {
		t.Errorf("a copy is equal: %t, %v", same, err)
	}
	s, err := o.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Discard(300<<30, 1); err != nil {
		t.Fatal(err)
	}
	seq, err := o.Diff(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(seq); len(got) != 1 || got[0] != (disk.Extent{Off: 300 << 30, Len: 4096}) {
		t.Errorf("difference %v", got)
	}
}

func TestOverlayIsMergedIntoItsParent(t *testing.T) {
	base := disk.NewMemory(3 << 20)
	fillStore(t, base)
	o := disk.NewOverlay(disk.ReadOnly(base), base.Size())
	mustWrite(t, o, 1000, "own")
	fillStore(t, disk.Section(o, 1<<20, 1<<20))
	if err := o.Discard(70000, 70000); err != nil {
		t.Fatal(err)
	}
	want, before := digest(t, o), base.Freeze()
	if err := disk.Copy(base, o); err != nil {
		t.Fatal(err)
	}
	if digest(t, base) != want {
		t.Error("the parent is not what its child was")
	}
	seq, err := base.Diff(before)
	if err != nil {
		t.Fatal(err)
	}
	for e := range seq {
		if e.Off >= 2<<20 {
			t.Errorf("%+v was copied though it was the parent's", e)
		}
	}
}

func TestOverlayDoesNotShowLostBytesAgain(t *testing.T) {
	base := disk.NewMemory(3 << 20)
	fillStore(t, base)
	o := disk.NewOverlay(base.Freeze(), 3<<20)
	for _, size := range []int64{1<<20 + 100, 3 << 20} {
		if err := o.Resize(size); err != nil {
			t.Fatal(err)
		}
	}
	want := make(flat, 3<<20)
	copy(want, readString(t, base, 0, 1<<20+100))
	copied := disk.NewMemory(3 << 20)
	if err := disk.Copy(copied, o); err != nil {
		t.Fatal(err)
	}
	for _, s := range []disk.Source{o, copied} {
		if off, err := disk.FirstDifference(s, want); off >= 0 || err != nil {
			t.Errorf("%T differs at %d: %v", s, off, err)
		}
	}
	if got := extents(o); len(got) != 1 || got[0] != (disk.Extent{Off: 0, Len: 1<<20 + 100}) {
		t.Errorf("extents %v", got)
	}
}

// TestSnapshotsAreReadWhileTheStoreIsWritten is for the race detector.
func TestSnapshotsAreReadWhileTheStoreIsWritten(t *testing.T) {
	base := disk.NewMemory(3 << 20)
	fillStore(t, base)
	for _, live := range []disk.Store{base, disk.NewOverlay(base.Freeze(), 3<<20)} {
		var readers sync.WaitGroup
		for round := range 8 {
			s, err := disk.Snapshot(live)
			if err != nil {
				t.Fatal(err)
			}
			want := digest(t, s)
			for range 3 {
				readers.Go(func() {
					if digest(t, s) != want {
						t.Error("a snapshot changed")
					}
					if _, err := disk.Clone(s); err != nil {
						t.Error(err)
					}
					if err := disk.Copy(disk.NewMemory(s.Size()), s); err != nil {
						t.Error(err)
					}
				})
			}
			for i := range 200 {
				mustWrite(t, live, int64((i*7919+round*4096)%(3<<20-10)), "changed")
			}
			if err := disk.Discard(live, int64(round)<<18, 100000); err != nil {
				t.Fatal(err)
			}
		}
		readers.Wait()
	}
}
