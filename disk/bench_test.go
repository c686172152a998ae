package disk_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
)

// flat is a store over one slice, the measure of all others.
type flat []byte

func (f flat) Size() int64 { return int64(len(f)) }

func (f flat) ReadAt(p []byte, off int64) (int, error) { return copy(p, f[off:]), nil }

func (f flat) WriteAt(p []byte, off int64) (int, error) { return copy(f[off:], p), nil }

// fillStore writes something other than zero everywhere.
func fillStore(b testing.TB, s disk.Store) {
	b.Helper()
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i>>8) | 1
	}
	for off := int64(0); off < s.Size(); off += int64(len(data)) {
		if _, err := s.WriteAt(data, off); err != nil {
			b.Fatal(err)
		}
	}
}

// scattered returns places for blocks of n bytes, in an order that looks random
// and is always the same.
func scattered(size, n int64) []int64 {
	list := make([]int64, 1<<16)
	x := uint64(1)
	for i := range list {
		x = x*6364136223846793005 + 1442695040888963407
		list[i] = int64(x>>33) % (size / n) * n
	}
	return list
}

// inOrder returns all places for blocks of n bytes, as often as 1<<16 allows.
func inOrder(size, n int64) []int64 {
	list := make([]int64, 1<<16)
	for i := range list {
		list[i] = int64(i) * n % size
	}
	return list
}

// A load is what the store and a flat slice are both put to.
type load struct {
	name   string
	block  int64
	write  bool
	places func(size, n int64) []int64
}

var loads = []load{
	{"random-read", 4096, false, scattered},
	{"random-write", 4096, true, scattered},
	{"sequential-read", 1 << 20, false, inOrder},
	{"sequential-write", 1 << 20, true, inOrder},
}

// do transfers one block. The rest of the call is the same for both stores.
func (l load) do(s disk.Store, p []byte, off int64) {
	if l.write {
		s.WriteAt(p, off)
	} else {
		s.ReadAt(p, off)
	}
}

// BenchmarkFilled compares a filled store with a flat slice of the same size:
// flat/... and store/... one after the other, and ratio/... in turns, which
// tells more on a busy machine. A ratio is the flat slice's time divided by the
// store's, both the median of the turns.
func BenchmarkFilled(b *testing.B) {
	for _, size := range []int64{256 << 20, 1 << 30} {
		both := [2]disk.Store{make(flat, size), disk.NewMemory(size)}
		fillStore(b, both[0])
		fillStore(b, both[1])
		for _, l := range loads {
			places, p := l.places(size, l.block), slices.Repeat([]byte{7}, int(l.block))
			name := fmt.Sprintf("%s/%dMiB", l.name, size>>20)
			for i, kind := range [2]string{"flat", "store"} {
				b.Run(kind+"/"+name, func(b *testing.B) {
					b.SetBytes(l.block)
					for n := 0; b.Loop(); n++ {
						l.do(both[i], p, places[n%len(places)])
					}
				})
			}
			b.Run("ratio/"+name, func(b *testing.B) { ratio(b, both, l, places, p) })
		}
	}
}

// ratio lets both stores take turns of 32 MiB.
func ratio(b *testing.B, both [2]disk.Store, l load, places []int64, p []byte) {
	var took [2][]time.Duration
	turn := int(32 << 20 / l.block)
	for n := 0; b.Loop(); n++ {
		for i, s := range both {
			start := time.Now()
			for k := range turn {
				l.do(s, p, places[(n*turn+k)%len(places)])
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	mid := len(took[0]) / 2
	b.ReportMetric(float64(took[0][mid])/float64(took[1][mid]), "ratio")
	b.ReportMetric(float64(took[0][0])/float64(took[1][0]), "best-ratio")
	b.ReportMetric(float64(took[0][0])/float64(turn), "flat-ns/op")
	b.ReportMetric(float64(took[1][0])/float64(turn), "store-ns/op")
	b.ReportMetric(0, "ns/op")
}

// sparse returns a store with a thousand blocks spread over it.
func sparse(b *testing.B, size int64) *disk.Memory {
	m := disk.NewMemory(size)
	touch(b, m, 1)
	return m
}

// touch writes a thousand blocks.
func touch(b *testing.B, m *disk.Memory, fill byte) {
	p := slices.Repeat([]byte{fill}, 4096)
	for i := range int64(1000) {
		if _, err := m.WriteAt(p, i*(m.Size()/1000)&^4095); err != nil {
			b.Fatal(err)
		}
	}
}

// kept makes what is assigned to it escape.
var kept disk.Store

func BenchmarkSnapshotAndDrop(b *testing.B) {
	for _, size := range []int64{1 << 20, tib} {
		b.Run(fmt.Sprintf("%dMiB", size>>20), func(b *testing.B) {
			m := sparse(b, size)
			b.ReportAllocs()
			for b.Loop() {
				kept = m.Freeze()
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		kept = disk.NewMemory(127 << 30)
	}
}

// BenchmarkWriteAfterSnapshot shows what the first write to a page costs.
func BenchmarkWriteAfterSnapshot(b *testing.B) {
	m := disk.NewMemory(64 << 20)
	fillStore(b, m)
	p, places := slices.Repeat([]byte{2}, 4096), scattered(m.Size(), 4096)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		m.Freeze()
		if _, err := m.WriteAt(p, places[n%len(places)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDiffOf1000Blocks(b *testing.B) {
	for _, size := range []int64{1 << 30, tib} {
		b.Run(fmt.Sprintf("%dMiB", size>>20), func(b *testing.B) {
			m := sparse(b, size)
			since := m.Freeze()
			touch(b, m, 2)
			for b.Loop() {
				n := 0
				seq, err := m.Diff(since)
				for range seq {
					n++
				}
				if err != nil || n != 1000 {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// BenchmarkChangedOf1000Blocks asks a tracker instead of the store.
func BenchmarkChangedOf1000Blocks(b *testing.B) {
	t := disk.Track(disk.NewMemory(tib), 0)
	if err := t.Seal("full"); err != nil {
		b.Fatal(err)
	}
	p := slices.Repeat([]byte{2}, 4096)
	for i := range int64(1000) {
		if _, err := t.WriteAt(p, i*(t.Size()/1000)&^4095); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		n := 0
		seq, err := t.Changed("full", 0, t.Size())
		for range seq {
			n++
		}
		if err != nil || n != 1000 {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkTrackedWrite shows what tracking adds to a write of 4 KiB: plain and
// tracked in the same run.
func BenchmarkTrackedWrite(b *testing.B) {
	m := disk.NewMemory(64 << 20)
	fillStore(b, m)
	t := disk.Track(m, 0)
	if err := t.Seal("full"); err != nil {
		b.Fatal(err)
	}
	p, places := slices.Repeat([]byte{2}, 4096), scattered(m.Size(), 4096)
	for _, c := range []struct {
		name string
		s    disk.Store
	}{{"plain", m}, {"tracked", t}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(4096)
			for n := 0; b.Loop(); n++ {
				if _, err := c.s.WriteAt(p, places[n%len(places)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSnapshotTree takes and deletes a snapshot beside a thousand others,
// and reverts to one.
func BenchmarkSnapshotTree(b *testing.B) {
	for _, size := range []int64{1 << 20, tib} {
		t := disk.NewSnapshotTree(sparse(b, size))
		for i := range 1000 {
			if err := t.Take(fmt.Sprint(i)); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("take-delete/%dMiB", size>>20), func(b *testing.B) {
			for b.Loop() {
				if err := t.Take("new"); err != nil {
					b.Fatal(err)
				}
				if err := t.Delete("new"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("revert/%dMiB", size>>20), func(b *testing.B) {
			for b.Loop() {
				if err := t.Revert("500"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFill writes a fresh store in blocks of different size.
func BenchmarkFill(b *testing.B) {
	for _, block := range []int64{4096, 65536, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", block>>10), func(b *testing.B) {
			p := slices.Repeat([]byte{7}, int(block))
			b.SetBytes(64 << 20)
			for b.Loop() {
				m := disk.NewMemory(64 << 20)
				for off := int64(0); off < m.Size(); off += block {
					m.WriteAt(p, off)
				}
			}
		})
	}
}

// BenchmarkCopyByReference copies a disk and a partition of it.
func BenchmarkCopyByReference(b *testing.B) {
	src := disk.NewMemory(256 << 20)
	fillStore(b, src)
	for _, c := range []struct {
		name string
		src  disk.Store
	}{{"disk", src.Freeze()}, {"partition", disk.Section(src.Freeze(), 1<<20, 254<<20)}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := disk.Copy(disk.NewMemory(c.src.Size()), c.src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOverlayRandom4KiB(b *testing.B) {
	base := disk.NewMemory(64 << 20)
	fillStore(b, base)
	o := disk.NewOverlay(base.Freeze(), base.Size())
	places, p := scattered(o.Size(), 4096), slices.Repeat([]byte{7}, 4096)
	for n, off := range places[:4000] {
		if n%2 == 0 {
			o.WriteAt(p, off)
		}
	}
	for _, l := range loads[:2] {
		b.Run(l.name, func(b *testing.B) {
			b.SetBytes(l.block)
			for n := 0; b.Loop(); n++ {
				l.do(o, p, places[n%len(places)])
			}
		})
	}
}

// A pageLoad writes many pages of 4 KiB to a store of 1 TiB.
type pageLoad struct {
	unit  string
	pages int
	place func(i int) int64
}

var pageLoads = []pageLoad{
	{"B/page-in-a-filled-range", 16384, func(i int) int64 { return int64(i) * 4096 }},
	{"B/page-one-in-64KiB", 4096, func(i int) int64 { return int64(i) << 16 }},
	{"B/page-one-in-1MiB", 4096, func(i int) int64 { return int64(i) << 20 }},
	{"B/page-one-in-256MiB", 4096, func(i int) int64 { return int64(i) << 28 }},
}

// perPage returns what a store takes for each of so many pages.
func perPage(pages int, place func(i int) int64) float64 {
	page := slices.Repeat([]byte{7}, 4096)
	return memoryUsed(1, func(int) any {
		m := disk.NewMemory(tib)
		for i := range pages {
			m.WriteAt(page, place(i))
		}
		return m
	}) / float64(pages)
}

// BenchmarkBytes reports memory, not time.
func BenchmarkBytes(b *testing.B) {
	base := sparse(b, tib)
	page := slices.Repeat([]byte{7}, 4096)
	for b.Loop() {
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(memoryUsed(1000, func(int) any { return disk.NewMemory(tib) }), "B/empty-1TiB")
	b.ReportMetric(memoryUsed(1000, func(int) any { return base.Freeze() }), "B/snapshot")
	b.ReportMetric(memoryUsed(1000, func(i int) any {
		m := disk.NewMemory(tib)
		m.WriteAt(page, int64(i)<<29)
		return m
	}), "B/1TiB-with-4KiB")
	for _, c := range pageLoads {
		b.ReportMetric(perPage(c.pages, c.place), c.unit)
	}
	b.ReportMetric(memoryUsed(1000, func(int) any {
		t := disk.Track(base, 0)
		if err := t.Seal("full"); err != nil {
			b.Fatal(err)
		}
		return t
	}), "B/tracking-point")
	b.ReportMetric(memoryUsed(1000, func(i int) any {
		m := disk.NewMemory(300)
		m.WriteAt(page[:300], 0)
		return m
	}), "B/300-byte-file")
}
