package vhd_test

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

// base returns an image with an identifier, of which every third page or so is
// written.
func base(o vhd.Options) *vhd.Image {
	o.ID = [16]byte{0xBA, 5: 0x5E}
	im := must(vhd.Create(disk.NewMemory(0), o))
	for off := int64(0); off < o.Size; off += 3 * 4096 {
		must(im.WriteAt(pattern(byte(off>>12), int(min(5000, o.Size-off))), off))
	}
	return im
}

// over returns options for a child of an image.
func over(p *vhd.Image) vhd.Options {
	return vhd.Options{
		ID:     [16]byte{0xC1, 1: 0x1D},
		Parent: vhd.Parent{Image: p, Path: `C:\vm\base.vhd`, Child: `C:\vm\snapshots\child.avhd`},
	}
}

var childShapes = []struct {
	parent, child vhd.Options
}{
	{vhd.Options{Size: 512, Type: vhd.Fixed}, vhd.Options{}},
	{vhd.Options{Size: 512}, vhd.Options{Grain: 1}},
	{vhd.Options{Size: 70000 / 512 * 512, Type: vhd.Fixed}, vhd.Options{BlockSize: 4096}},
	{vhd.Options{Size: 40 * 512, BlockSize: 4096}, vhd.Options{BlockSize: 512}},
	{vhd.Options{Size: 30*4096 - 512, BlockSize: 16384}, vhd.Options{BlockSize: 4096, Grain: 1}},
	{vhd.Options{Size: 30*4096 + 1024, BlockSize: 4096}, vhd.Options{BlockSize: 16384, Grain: 4}},
	{vhd.Options{Size: 30*4096 - 512}, vhd.Options{}},
}

func TestChildInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(childShapes).Draw(t, "shape")
		p := base(c.parent)
		if rapid.Bool().Draw(t, "a link between") {
			p = must(vhd.Create(disk.NewMemory(0), over(p)))
			must(p.WriteAt(pattern(200, 100), p.Size()/2))
		}
		o := over(p)
		o.BlockSize, o.Grain = c.child.BlockSize, c.child.Grain
		m := &machine{file: disk.NewMemory(0), model: content(t, p), over: p}
		if rapid.Bool().Draw(t, "flat file") {
			m.file = &flat{}
		}
		m.im = must(vhd.Create(m.file, o))
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			rapid.SampledFrom([]func(*rapid.T){m.write, m.write, m.writeZeros, m.discard, m.reopen}).Draw(t, "step")(t)
			m.check(t)
			off, n := m.span(t)
			cover(t, m.im, m.model, off, n)
			checkSpans(t, m, off, n)
			checkMap(t, m)
		}
		checkExport(t, m, o)
	})
}

// checkSpans verifies that what a child calls its own, zero or its parent's is
// that, without a gap.
func checkSpans(t *rapid.T, m *machine, off, n int64) {
	at, last := off, disk.Origin(99)
	for s := range m.im.Spans(off, n) {
		if s.Off != at || s.Len <= 0 || s.Origin == last {
			t.Fatalf("span %+v after %d and %d", s, at, last)
		}
		at, last = s.End(), s.Origin
		want := m.model[s.Off:s.End()]
		got := make([]byte, s.Len)
		switch s.Origin {
		case disk.Own:
			continue
		case disk.Below:
			must(m.over.ReadAt(got, s.Off))
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("span %+v is not what it says", s)
		}
	}
	if at != off+n {
		t.Fatalf("the spans end at %d, want %d", at, off+n)
	}
}

// checkMap follows what Map says and finds the disk's bytes.
func checkMap(t *rapid.T, m *machine) {
	for at := int64(0); at < m.im.Size(); {
		s := m.im.Map(at, m.im.Size()-at)
		if s.Len < 1 || s.Len > m.im.Size()-at {
			t.Fatalf("Map(%d) = %+v", at, s)
		}
		if s.Store != nil {
			got := make([]byte, s.Len)
			if n, err := s.Store.ReadAt(got, s.Off); n < len(got) || err != nil && err != io.EOF || !bytes.Equal(got, m.model[at:at+s.Len]) {
				t.Fatalf("Map(%d) = %+v, where other bytes are, %v", at, s, err)
			}
		}
		at += s.Len
	}
}

// checkExport writes the child to a new file, once telling what is its own and
// once leaving that to be found, and opens both.
func checkExport(t *rapid.T, m *machine, o vhd.Options) {
	for name, src := range map[string]disk.Source{"image": m.im, "bytes": &flat{m.model}} {
		var w bytes.Buffer
		plan := must(vhd.NewPlan(src, o))
		if n, err := plan.WriteTo(&w); n != plan.Size() || err != nil {
			t.Fatalf("WriteTo = %d, %v, want %d", n, err, plan.Size())
		}
		sparse := disk.NewMemory(plan.Size())
		if err := plan.WriteAtTo(sparse); err != nil {
			t.Fatal(err)
		}
		same(t, name+" written sparse", content(t, sparse), w.Bytes())
		c := &machine{file: &flat{w.Bytes()}, over: m.over}
		same(t, name+" exported", content(t, c.open(t)), m.model)
		if err := c.open(t).Check(); err != nil {
			t.Fatal(err)
		}
	}
}

// Exported in order, a child is the same file as one written in place.
func TestChildExportIsInPlace(t *testing.T) {
	p := base(vhd.Options{Size: 300*4096 - 512, BlockSize: 4096})
	ov := disk.NewOverlay(p, p.Size())
	o := over(p)
	o.BlockSize = 32 << 10
	f := &flat{}
	im := must(vhd.Create(f, o))
	for i, off := range []int64{100, 4096 * 9, 4096*50 + 512, 4096*200 - 1, p.Size() - 700} {
		b := pattern(byte(i), 700)
		must(ov.WriteAt(b, off))
		must(im.WriteAt(b, off))
	}
	var w bytes.Buffer
	must(vhd.Write(&w, ov, o))
	same(t, "file", w.Bytes(), f.b)
}

// Forks and snapshots of a child keep to its parent and do not see each other.
func TestChildForks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(childShapes).Draw(t, "shape")
		p := base(c.parent)
		o := over(p)
		o.BlockSize, o.Grain = c.child.BlockSize, c.child.Grain
		f := disk.NewMemory(0)
		all := []*machine{{im: must(vhd.Create(f, o)), file: f, model: content(t, p), over: p}}
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
}

// The grain decides what a small write takes over, and no bitmap byte is half
// set with the usual one.
func TestGrain(t *testing.T) {
	for _, c := range []struct {
		sectors int
		bits    byte
	}{{1, 0b00010000}, {2, 0b00110000}, {4, 0b11110000}, {8, 0b11111111}} {
		p := base(vhd.Options{Size: 64 << 10})
		f := &flat{}
		im := must(vhd.Create(f, over(p)))
		if err := im.SetGrain(c.sectors); err != nil {
			t.Fatal(err)
		}
		must(im.WriteAt([]byte{1}, 8192+3*512+5))
		at := im.Map(8192+3*512, 1).Off - 8192 - 3*512 - 512
		if got := f.b[at+2]; got != c.bits {
			t.Errorf("grain %d: bitmap byte %08b, want %08b", c.sectors, got, c.bits)
		}
	}
	im := must(vhd.Create(&flat{}, vhd.Options{Size: 512}))
	for _, n := range []int{0, 3, 16, -1} {
		wantCode(t, im.SetGrain(n), vhd.ErrLimit)
	}
}

// Zeros over zeros of the parent take no room; zeros over data do.
func TestChildSparse(t *testing.T) {
	p := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: 1 << 40, ID: [16]byte{1}}))
	must(p.WriteAt(pattern(1, 8192), 1<<39))
	f := disk.NewMemory(0)
	im := must(vhd.Create(f, over(p)))
	empty := f.Size()
	if err := im.Discard(0, 1<<39); err != nil {
		t.Fatal(err)
	}
	must(im.WriteAt(make([]byte, 1<<20), 1<<38))
	if f.Size() != empty {
		t.Errorf("zeros over zeros made the file %d bytes longer", f.Size()-empty)
	}
	if err := im.Discard(1<<39, 4096); err != nil {
		t.Fatal(err)
	}
	want := append(make([]byte, 4096), pattern(1, 8192)[4096:]...)
	same(t, "disk", content(t, disk.Section(im, 1<<39, 8192)), want)
	held := int64(0)
	for e := range f.Extents(0, f.Size()) {
		held += e.Len
	}
	if most := empty + 16<<10; held > most {
		t.Errorf("a discarded page takes %d bytes, want at most %d", held, most)
	}
	var spans []disk.Span
	for s := range im.Spans(1<<39-512, 8192+1024) {
		spans = append(spans, s)
	}
	wantSpans := []disk.Span{
		{Extent: disk.Extent{Off: 1<<39 - 512, Len: 512}, Origin: disk.Below},
		{Extent: disk.Extent{Off: 1 << 39, Len: 4096}, Origin: disk.Zero},
		{Extent: disk.Extent{Off: 1<<39 + 4096, Len: 4096 + 512}, Origin: disk.Below},
	}
	if !slices.Equal(spans, wantSpans) {
		t.Errorf("spans %v, want %v", spans, wantSpans)
	}
}

// A bitmap of more than a sector is kept right in all of it.
func TestChildLargeBlock(t *testing.T) {
	p := base(vhd.Options{Size: 5<<20 - 512})
	o := over(p)
	o.BlockSize = 4 << 20
	m := &machine{file: &flat{}, model: content(t, p), over: p}
	m.im = must(vhd.Create(m.file, o))
	for i, off := range []int64{3 << 20, 2<<20 - 300, 4<<20 - 1, p.Size() - 3} {
		b := pattern(byte(i), int(min(600, p.Size()-off)))
		must(m.im.WriteAt(b, off))
		copy(m.model[off:], b)
	}
	if err := m.im.Discard(2<<20+4096, 1<<20); err != nil {
		t.Fatal(err)
	}
	clear(m.model[2<<20+4096:][:1<<20])
	same(t, "image", content(t, m.im), m.model)
	same(t, "file", content(t, m.open(t)), m.model)
}
