package vhd_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

// shapes are the disks that the properties are tried on.
var shapes = []vhd.Options{
	{Size: 512, Type: vhd.Fixed},
	{Size: 70000 / 512 * 512, Type: vhd.Fixed},
	{Size: 512},
	{Size: 2<<20 + 512},
	{Size: 4<<20 - 512},
	{Size: 512, BlockSize: 512 << 10},
	{Size: 3<<19 - 512, BlockSize: 512 << 10},
	{Size: 512<<10 + 512, BlockSize: 512 << 10},
	{Size: 40 * 512, BlockSize: 512},
	{Size: 300 * 4096, BlockSize: 4096},      // a table of more than a page
	{Size: 4<<20 + 1024, BlockSize: 4 << 20}, // a bitmap of two sectors
}

func shapeName(o vhd.Options) string {
	if o.Type == vhd.Fixed {
		return fmt.Sprintf("fixed %d", o.Size)
	}
	return fmt.Sprintf("dynamic %d by %d", o.Size, o.BlockSize)
}

// A machine writes an image and a plain array of bytes in the same way.
type machine struct {
	im    *vhd.Image
	file  vhd.File
	model []byte
	seed  byte
	over  *vhd.Image // the parent, if there is one
}

// open opens what is in the file as a stranger does.
func (m *machine) open(t rapid.TB) *vhd.Image {
	im, err := vhd.OpenFile(m.file)
	if err == nil && m.over != nil {
		err = im.SetParent(m.over, vhd.CheckTime)
	}
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// span draws a range of the disk, often short, often at a block's edge.
func (m *machine) span(t *rapid.T) (off, n int64) {
	size := m.im.Size()
	off = rapid.Int64Range(0, size).Draw(t, "off")
	if h, ok := m.im.Header(); ok && rapid.Bool().Draw(t, "edge") {
		block := int64(h.BlockSize)
		off = max(min(off/block*block+rapid.Int64Range(-600, 600).Draw(t, "by"), size), 0)
	}
	most := size - off
	if rapid.Bool().Draw(t, "short") {
		most = min(most, 5000)
	}
	return off, rapid.Int64Range(0, most).Draw(t, "n")
}

func (m *machine) write(t *rapid.T) {
	off, n := m.span(t)
	m.seed++
	p := pattern(m.seed, int(n))
	if k, err := m.im.WriteAt(p, off); k != len(p) || err != nil {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", n, off, k, err)
	}
	copy(m.model[off:], p)
}

func (m *machine) writeZeros(t *rapid.T) {
	off, n := m.span(t)
	if k, err := m.im.WriteAt(make([]byte, n), off); int64(k) != n || err != nil {
		t.Fatalf("WriteAt(%d zeros, %d) = %d, %v", n, off, k, err)
	}
	clear(m.model[off : off+n])
}

func (m *machine) discard(t *rapid.T) {
	off, n := m.span(t)
	if err := m.im.Discard(off, n); err != nil {
		t.Fatalf("Discard(%d, %d): %v", off, n, err)
	}
	clear(m.model[off : off+n])
}

func (m *machine) reopen(t *rapid.T) { m.im = m.open(t) }

// check compares the image, and the bytes of its file as a stranger opens
// them, with the model.
func (m *machine) check(t *rapid.T) {
	got := make([]byte, len(m.model))
	if _, err := m.im.ReadAt(got, 0); err != nil || !bytes.Equal(got, m.model) {
		t.Fatalf("the image differs from the model; %v", err)
	}
	im := m.open(t)
	clear(got)
	if _, err := im.ReadAt(got, 0); err != nil || !bytes.Equal(got, m.model) {
		t.Fatalf("the file's bytes differ from the model; %v", err)
	}
	if err := im.Check(); err != nil || im.Notes() != nil {
		t.Fatalf("Check: %v, notes %q", err, im.Notes())
	}
	off, n := m.span(t)
	if _, err := m.im.ReadAt(got[:n], off); err != nil && err != io.EOF || !bytes.Equal(got[:n], m.model[off:off+n]) {
		t.Fatalf("ReadAt(%d bytes, %d) differs from the model; %v", n, off, err)
	}
}

func TestInPlace(t *testing.T) {
	for _, o := range shapes {
		t.Run(shapeName(o), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := &machine{file: disk.NewMemory(0), model: make([]byte, o.Size)}
				if rapid.Bool().Draw(t, "flat file") {
					m.file = &flat{}
				}
				m.im = must(vhd.Create(m.file, o))
				for range rapid.IntRange(1, 6).Draw(t, "steps") {
					rapid.SampledFrom([]func(*rapid.T){m.write, m.write, m.writeZeros, m.discard, m.reopen}).Draw(t, "step")(t)
					m.check(t)
					off, n := m.span(t)
					cover(t, m.im, m.model, off, n)
				}
			})
		})
	}
}

// Forks of an image, by any of the ways there are, do not see each other.
func TestForks(t *testing.T) {
	for _, o := range shapes {
		t.Run(shapeName(o), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				f := disk.NewMemory(0)
				all := []*machine{{im: must(vhd.Create(f, o)), file: f, model: make([]byte, o.Size)}}
				for range rapid.IntRange(1, 5).Draw(t, "steps") {
					m := rapid.SampledFrom(all).Draw(t, "image")
					if rapid.Bool().Draw(t, "fork") {
						all = append(all, m.fork(t))
					} else {
						rapid.SampledFrom([]func(*rapid.T){m.write, m.discard}).Draw(t, "step")(t)
					}
				}
				for _, m := range all {
					m.check(t)
				}
			})
		})
	}
}

func (m *machine) fork(t *rapid.T) *machine {
	c := &machine{model: bytes.Clone(m.model), seed: m.seed + 64, over: m.over}
	if rapid.Bool().Draw(t, "over") {
		f := m.file.(*disk.Memory).Fork()
		c.im, c.file = m.im.Over(f), f
		return c
	}
	c.im = must(m.im.Clone()).(*vhd.Image)
	c.file = c.im.Unwrap().(vhd.File)
	return c
}

// A snapshot stays what it was and cannot be written.
func TestSnapshot(t *testing.T) {
	for _, o := range []vhd.Options{{Size: 8 * 4096, BlockSize: 4096}, {Size: 8 * 4096, Type: vhd.Fixed}} {
		im := must(vhd.Create(disk.NewMemory(0), o))
		must(im.WriteAt(pattern(1, 3*4096), 4096))
		want := content(t, im)
		snap := must(im.Snapshot())
		must(im.WriteAt(pattern(2, 8*4096), 0))
		same(t, "snapshot", content(t, snap), want)
		_, err := snap.WriteAt([]byte{1}, 0)
		wantCode(t, err, disk.ErrReadOnly)
		wantCode(t, disk.Discard(snap, 0, 1), disk.ErrReadOnly)
		_, err = snap.(*vhd.Image).Clone()
		wantCode(t, err, disk.ErrUnsupported)
		if snap.(*vhd.Image).Writable() || !im.Writable() {
			t.Error("the snapshot is writable, or its origin is not")
		}
	}
	im := must(vhd.Create(&flat{}, vhd.Options{Size: 512}))
	_, err := im.Snapshot()
	wantCode(t, err, disk.ErrUnsupported)
	_, err = im.Clone()
	wantCode(t, err, disk.ErrUnsupported)
	_, err = must(vhd.Open(bytes.NewReader(smallFixed()), 4608)).Snapshot()
	wantCode(t, err, disk.ErrUnsupported)
}

// A store's promises about ranges that leave the disk.
func TestRanges(t *testing.T) {
	for _, typ := range []vhd.Type{vhd.Fixed, vhd.Dynamic} {
		t.Run(typ.String(), func(t *testing.T) {
			const size = 3 * 512
			im := must(vhd.Create(&flat{}, vhd.Options{Size: size, Type: typ}))
			if n, err := im.WriteAt(pattern(3, 1000), 1000); n != size-1000 {
				t.Errorf("WriteAt over the end wrote %d bytes", n)
			} else {
				wantCode(t, err, disk.ErrRange)
			}
			n, err := im.WriteAt([]byte{1}, size+5)
			if wantCode(t, err, disk.ErrRange); n != 0 {
				t.Errorf("WriteAt behind the end wrote %d bytes", n)
			}
			_, err = im.WriteAt([]byte{1}, -1)
			wantCode(t, err, disk.ErrRange)
			p := make([]byte, 1000)
			if n, err := im.ReadAt(p, 1000); n != size-1000 || err != io.EOF {
				t.Errorf("ReadAt over the end = %d, %v", n, err)
			}
			same(t, "what fitted", p[:size-1000], pattern(3, size-1000))
			if n, err := im.ReadAt(p, size); n != 0 || err != io.EOF {
				t.Errorf("ReadAt at the end = %d, %v", n, err)
			}
			if n, err := im.ReadAt(nil, size+1); n != 0 || err != nil {
				t.Errorf("ReadAt of nothing = %d, %v", n, err)
			}
			_, err = im.ReadAt(p, -1)
			wantCode(t, err, disk.ErrRange)
			wantCode(t, im.Discard(-1, 1), disk.ErrRange)
			wantCode(t, im.Discard(0, size+1), disk.ErrRange)
			wantCode(t, im.Discard(size, 1), disk.ErrRange)
			for range im.Extents(size, 10) {
				t.Error("there is an extent behind the end")
			}
			if s := im.Map(size, 1); s.Len > 0 || s.Store != nil {
				t.Errorf("Map behind the end is %+v", s)
			}
		})
	}
}

// Zeros written where nothing is add no block; a discarded block keeps its
// place, and its bytes are given back.
func TestSparse(t *testing.T) {
	f := disk.NewMemory(0)
	im := must(vhd.Create(f, vhd.Options{Size: 1 << 40}))
	empty := f.Size()
	must(im.WriteAt(make([]byte, 8<<20), 1<<39))
	if f.Size() != empty {
		t.Errorf("zeros made the file %d bytes longer", f.Size()-empty)
	}
	must(im.WriteAt(pattern(1, 1<<20), 1<<39))
	if want := empty + 2<<20 + 4096; f.Size() != want {
		t.Errorf("the file has %d bytes with one block, want %d", f.Size(), want)
	}
	held := func() (n int64) {
		for e := range f.Extents(0, f.Size()) {
			n += e.Len
		}
		return n
	}
	before := held()
	if err := im.Discard(0, im.Size()); err != nil {
		t.Fatal(err)
	}
	if freed := before - held(); freed != 1<<20 {
		t.Errorf("Discard freed %d bytes, want 1 MiB", freed)
	}
	for e := range im.Extents(0, im.Size()) {
		t.Errorf("extent %v after Discard", e)
	}
	size := f.Size()
	must(im.WriteAt(pattern(1, 1<<20), 1<<39))
	if f.Size() != size {
		t.Error("a discarded block lost its place")
	}
}

// An empty image is as long as Windows' own: 8192 bytes for 40 MiB as Windows
// 8.1 makes it, 266240 for 127 GiB as Hyper-V of 2012 R2 does.
func TestEmptyAsWindows(t *testing.T) {
	for size, want := range map[int64]int64{40 << 20: 8192, 127 << 30: 266240} {
		f := disk.NewMemory(0)
		must(vhd.Create(f, vhd.Options{Size: size}))
		if f.Size() != want {
			t.Errorf("a disk of %d bytes makes a file of %d, want %d", size, f.Size(), want)
		}
	}
}

// Data of a block begins at a multiple of 4096, and the footer waits where the
// next bitmap goes.
func TestPlaces(t *testing.T) {
	for _, block := range []int64{512, 4096, 512 << 10, 2 << 20, 4 << 20, 64 << 20} {
		f := disk.NewMemory(0)
		im := must(vhd.Create(f, vhd.Options{Size: 5 * block, BlockSize: block}))
		footer := f.Size() - 512
		bitmap := max(block/4096, 512)
		for _, b := range []int64{3, 0, 4} {
			must(im.WriteAt([]byte{1}, b*block))
			m := im.Map(b*block, block)
			if m.Off != footer+bitmap || m.Off%4096 != 0 || m.Len != block || m.Store != disk.Source(f) {
				t.Errorf("block size %d: data of block %d at %d for %d, footer was at %d", block, b, m.Off, m.Len, footer)
			}
			footer = f.Size() - 512
		}
	}
}

// Opening holds no more than the file proves: a table of absent blocks costs
// nothing but its pages' pointers.
func TestOpenIsLazy(t *testing.T) {
	f := disk.NewMemory(0)
	im := must(vhd.Create(f, vhd.Options{Size: vhd.MaxSize}))
	must(im.WriteAt([]byte{1}, vhd.MaxSize-1))
	size := f.Size()
	bytesRead := &counter{Source: f}
	must(vhd.Open(bytesRead, size))
	if most := int64(vhd.MaxSize/vhd.DefaultBlockSize*4 + 4096); bytesRead.n > most {
		t.Errorf("Open read %d bytes, want at most %d", bytesRead.n, most)
	}
	got := testing.AllocsPerRun(1, func() { must(vhd.Open(f, size)) })
	if got > 60 {
		t.Errorf("Open made %v allocations", got)
	}
}

// counter counts the bytes that are read.
type counter struct {
	disk.Source
	n int64
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	c.n += int64(len(p))
	return c.Source.ReadAt(p, off)
}

// Reads and writes of what is there allocate no memory.
func TestNoAllocation(t *testing.T) {
	for _, typ := range []vhd.Type{vhd.Fixed, vhd.Dynamic} {
		f := &flat{}
		im := must(vhd.Create(f, vhd.Options{Size: 4 << 20, Type: typ}))
		p := pattern(1, 4096)
		must(im.WriteAt(p, 1<<20))
		for name, do := range map[string]func(){
			"ReadAt":            func() { must(im.ReadAt(p, 1<<20)) },
			"ReadAt of nothing": func() { must(im.ReadAt(p, 3<<20)) },
			"WriteAt":           func() { must(im.WriteAt(p, 1<<20)) },
		} {
			if n := testing.AllocsPerRun(100, do); n != 0 {
				t.Errorf("%v %s: %v allocations", typ, name, n)
			}
		}
	}
}

// Between memory stores the disk is passed on by reference.
func TestCopyByReference(t *testing.T) {
	for _, typ := range []vhd.Type{vhd.Fixed, vhd.Dynamic} {
		const size = 32 << 20
		im := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: size, Type: typ}))
		for off := int64(0); off < size; off += 4 << 20 {
			must(im.WriteAt(pattern(1, 2<<20), off))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		dst := disk.NewMemory(size)
		err := disk.Copy(dst, im)
		runtime.ReadMemStats(&after)
		if equal, _ := disk.Equal(dst, im); !equal || err != nil {
			t.Errorf("%v: Equal = %v, Copy: %v", typ, equal, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > size/8 {
			t.Errorf("%v: Copy allocated %d bytes", typ, n)
		}
	}
}

// An image may be read from several goroutines, also while its bitmaps are not
// yet known.
func TestReadersTogether(t *testing.T) {
	b := small()
	want := reopen(t, &flat{b})
	im := must(vhd.OpenFile(&flat{b}))
	done := make(chan []byte)
	for range 4 {
		go func() {
			p := make([]byte, im.Size())
			im.ReadAt(p, 0)
			done <- p
		}()
	}
	for range 4 {
		same(t, "disk", <-done, want)
	}
}
