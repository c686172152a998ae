package vhd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

func (m *machine) resize(t *rapid.T) {
	size := rapid.Int64Range(1, 2*int64(len(m.model))/512+16).Draw(t, "sectors") * 512
	cuts := size < int64(len(m.model)) && !bytes.Equal(m.model[size:], make([]byte, int64(len(m.model))-size))
	if err := m.im.Resize(size); cuts {
		wantCode(t, err, vhd.ErrShrink)
		return
	} else if err != nil {
		t.Fatal(err)
	}
	m.model = append(m.model, make([]byte, max(size-int64(len(m.model)), 0))...)[:size]
}

func (m *machine) compact(t *rapid.T) {
	before := m.file.Size()
	err := m.im.Compact()
	if m.im.Type() == vhd.Fixed {
		wantCode(t, err, vhd.ErrType)
	} else if err != nil || m.file.Size() > before {
		t.Fatalf("Compact: %v, from %d to %d bytes", err, before, m.file.Size())
	}
}

// A disk that changes its size and is made compact between writes is the same
// as an array of bytes that does.
func TestResizeAndCompact(t *testing.T) {
	shapes := []vhd.Options{
		{Size: 30 * 512, Type: vhd.Fixed},
		{Size: 30 * 512, BlockSize: 512},
		{Size: 40*512 + 70*4096, BlockSize: 4096}, // near the end of a table's sector
		{Size: 600 << 10, BlockSize: 512 << 10},
	}
	rapid.Check(t, func(t *rapid.T) {
		o := rapid.SampledFrom(shapes).Draw(t, "shape")
		m := &machine{file: disk.NewMemory(0), model: make([]byte, o.Size)}
		if rapid.Bool().Draw(t, "flat file") {
			m.file = &flat{}
		}
		m.im = must(vhd.Create(m.file, o))
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			rapid.SampledFrom([]func(*rapid.T){m.write, m.writeZeros, m.discard, m.resize, m.resize, m.compact, m.reopen}).Draw(t, "step")(t)
			m.check(t)
		}
		if h, ok := m.im.Header(); ok && int64(h.MaxTableEntries) != (m.im.Size()+int64(h.BlockSize)-1)/int64(h.BlockSize) {
			t.Fatalf("%d table entries for %d bytes", h.MaxTableEntries, m.im.Size())
		}
	})
}

// What a block's bitmap was before compacting is nothing about the one that it
// gets when it is written again.
func TestBlockComesBackAfterCompact(t *testing.T) {
	const block = 64 << 10
	p := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: 4 * block, BlockSize: block, ID: [16]byte{1}}))
	o := over(p)
	o.BlockSize = block
	file := disk.NewMemory(0)
	c := must(vhd.Create(file, o))
	must(c.WriteAt(pattern(1, block), 0))
	must(c.WriteAt(make([]byte, block), 0))
	before := file.Size()
	if err := c.Compact(); err != nil || file.Size() >= before {
		t.Fatalf("Compact: %v, from %d to %d bytes", err, before, file.Size())
	}
	must(c.WriteAt(pattern(2, 4096), 0))
	must(c.WriteAt(pattern(3, 4096), 8192))
	again := must(vhd.OpenFile(file))
	must(0, again.SetParent(p, vhd.CheckID))
	same(t, "the file", content(t, again), content(t, c))
}

func TestResizeRefuses(t *testing.T) {
	_, p := child(t)
	c := must(vhd.Create(disk.NewMemory(0), over(p)))
	saved := func() *vhd.Image {
		return must(vhd.OpenFile(&flat{small().footer(func(p []byte) { p[84] = 1 })}))
	}
	readOnly := must(vhd.Open(bytes.NewReader(small()), int64(len(small()))))
	coarse := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: 1 << 30, BlockSize: 512}))
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"zero":             {p.Resize(0), vhd.ErrSize},
		"negative":         {p.Resize(-512), vhd.ErrSize},
		"no sector":        {p.Resize(1000), vhd.ErrSize},
		"above the limit":  {p.Resize(vhd.MaxSize + 512), vhd.ErrSize},
		"child":            {c.Resize(c.Size() * 2), vhd.ErrLimit},
		"saved state":      {saved().Resize(1 << 20), vhd.ErrState},
		"saved, compact":   {saved().Compact(), vhd.ErrState},
		"read-only":        {readOnly.Resize(1 << 20), disk.ErrReadOnly},
		"compact read":     {readOnly.Compact(), disk.ErrReadOnly},
		"over data":        {must(vhd.OpenFile(&flat{small()})).Resize(7*4096 + 512), vhd.ErrShrink},
		"table's reach":    {coarse.Resize(1 << 40), vhd.ErrBlockSize},
		"compact of fixed": {must(vhd.OpenFile(&flat{smallFixed()})).Compact(), vhd.ErrType},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, c.err, c.want) })
	}
}

// What another tool left behind the end of the disk in its last block does not
// come to light when the disk grows there.
func TestGrowOverLeftovers(t *testing.T) {
	b := small()
	at := int(b.getEntry(7)) * 512
	copy(b[at+512+3584:], pattern(1, 512))
	b[at] = 0b11111110
	want := append(reopen(t, &flat{bytes.Clone(b)}), make([]byte, 512)...)
	f := &flat{b}
	im := must(vhd.OpenFile(f))
	if err := im.Resize(8 * 4096); err != nil {
		t.Fatal(err)
	}
	same(t, "disk", content(t, im), want)
	same(t, "file", reopen(t, f), want)
	if f.b[at] != 0xFF {
		t.Errorf("bitmap %08b", f.b[at])
	}
}

// A compact image is as short as one written anew, and a child lets go of
// blocks that hold nothing.
func TestCompactIsShortest(t *testing.T) {
	f := disk.NewMemory(0)
	im := must(vhd.Create(f, vhd.Options{Size: 400 * 4096, BlockSize: 4096}))
	for b := int64(399); b >= 0; b -= 3 {
		must(im.WriteAt(pattern(byte(b), 4096), b*4096))
	}
	if err := im.Discard(0, 200*4096); err != nil {
		t.Fatal(err)
	}
	want := content(t, im)
	if err := im.Compact(); err != nil {
		t.Fatal(err)
	}
	if size := must(vhd.NewPlan(im, vhd.Options{BlockSize: 4096})).Size(); f.Size() != size {
		t.Errorf("%d bytes, written anew it has %d", f.Size(), size)
	}
	same(t, "disk", content(t, im), want)

	_, p := child(t)
	f = disk.NewMemory(0)
	o := over(p)
	o.BlockSize = 4096
	im = must(vhd.Create(f, o))
	empty := f.Size()
	must(im.WriteAt(pattern(1, 4096), 8192)) // over zeros of the parent
	must(im.WriteAt(pattern(1, 4096), 0))    // over data
	if err := im.Discard(0, 12288); err != nil {
		t.Fatal(err)
	}
	want = content(t, im)
	if err := im.Compact(); err != nil {
		t.Fatal(err)
	}
	same(t, "child", content(t, im), want)
	if got, want := f.Size(), empty+2*8192; got != want { // two blocks hide what the parent has
		t.Errorf("the child has %d bytes, want %d", got, want)
	}
}

// The power goes at any point of a change of size and of a compaction: the disk
// is the old one or the new one.
func TestCutLayout(t *testing.T) {
	spread := func() fileBytes {
		b := small()
		f := &flat{b}
		im := must(vhd.OpenFile(f))
		for _, n := range []int64{1, 3, 6} {
			must(im.WriteAt(pattern(byte(n), 4096), n*4096))
		}
		if err := im.Discard(5*4096, 4096); err != nil {
			t.Fatal(err)
		}
		if err := im.Discard(4096, 3*4096); err != nil {
			t.Fatal(err)
		}
		return f.b
	}
	for name, c := range map[string]struct {
		file fileBytes
		do   func(im *vhd.Image) error
	}{
		"grow":                 {small(), func(im *vhd.Image) error { return im.Resize(20 * 4096) }},
		"grow, table moves":    {small(), func(im *vhd.Image) error { return im.Resize(2000 * 4096) }},
		"grow within a block":  {small(), func(im *vhd.Image) error { return im.Resize(8 * 4096) }},
		"shrink":               {smallChopped(), func(im *vhd.Image) error { return im.Resize(6 * 4096) }},
		"compact":              {spread(), (*vhd.Image).Compact},
		"compact a child":      {smallChild(), (*vhd.Image).Compact},
		"relink":               {smallChild(), func(im *vhd.Image) error { return im.Relink(vhd.Parent{Image: im.Parent(), Path: `C:\q`}) }},
		"shrink a fixed image": {smallFixedChopped(), func(im *vhd.Image) error { return im.Resize(2048) }},
	} {
		t.Run(name, func(t *testing.T) {
			before := reopen(t, &flat{c.file})
			j := &journal{flat: flat{bytes.Clone(c.file)}}
			im := adopt(vhd.OpenFile(j))
			if err := c.do(im); err != nil {
				t.Fatal(err)
			}
			after := reopen(t, &j.flat)
			cutEverywhere(t, c.file, j.ops, func(what string, f *flat) {
				got := reopen(t, f)
				if l, ok := must(vhd.Open(f, f.Size())).Link(); ok {
					if got := strings.Join(l.Candidates(), " "); got != `.\p C:\p .\p` && got != `C:\q .\q` {
						t.Fatalf("kept%s: the parent is at %s", what, got)
					}
				}
				if name == "shrink a fixed image" && len(got) == len(before) {
					clear(got[len(after):][:512]) // the new footer may be there
				}
				if !bytes.Equal(got, before) && !bytes.Equal(got, after) {
					t.Fatalf("kept%s: neither the old disk nor the new one", what)
				}
			})
		})
	}
}

// smallChopped is small without its last blocks' data.
func smallChopped() fileBytes {
	f := &flat{small()}
	im := must(vhd.OpenFile(f))
	if err := im.Discard(6*4096, im.Size()-6*4096); err != nil {
		panic(err)
	}
	return f.b
}

func smallFixedChopped() fileBytes {
	b := smallFixed()
	clear(b[2048:4096])
	return b
}

// cutEverywhere shows what may be in a file when the power goes between any two
// changes: all up to a sync, and of those behind it any choice, or where they
// are many, all of the first or all but one.
func cutEverywhere(t *testing.T, start []byte, ops []op, check func(what string, f *flat)) {
	base := &flat{bytes.Clone(start)}
	for len(ops) > 0 {
		n := 0
		for n < len(ops) && ops[n].kind != "sync" {
			n++
		}
		for _, kept := range choices(n) {
			f, what := &flat{bytes.Clone(base.b)}, ""
			for i, o := range ops[:n] {
				if kept(i) {
					o.apply(f)
					what += fmt.Sprintf(" %s %d+%d", o.kind, o.off, len(o.data))
				}
			}
			check(what, f)
		}
		for _, o := range ops[:n] {
			o.apply(base)
		}
		ops = ops[min(n+1, len(ops)):]
	}
}

func choices(n int) (all []func(i int) bool) {
	if n <= 8 {
		for kept := range 1 << n {
			all = append(all, func(i int) bool { return kept&(1<<i) != 0 })
		}
		return all
	}
	for k := range n + 1 {
		all = append(all, func(i int) bool { return i < k }, func(i int) bool { return i != k })
	}
	return all
}

// A smaller disk needs less of a bitmap for a full block. A snapshot from before
// still needs all of it.
func TestSnapshotOfALargerDisk(t *testing.T) {
	const block = 64 << 10
	file := disk.NewMemory(0)
	im := must(vhd.Create(file, vhd.Options{Size: block, BlockSize: block}))
	must(im.WriteAt(pattern(1, 1000), 0))
	h, _ := im.Header()
	entry := make([]byte, 4)
	must(file.ReadAt(entry, int64(h.TableOffset)))
	bitmap := int64(binary.BigEndian.Uint32(entry)) * 512
	must(file.WriteAt(make([]byte, 8), bitmap+8)) // denies the second half
	must(file.WriteAt(pattern(9, 512), bitmap+512+block-512))

	im = must(vhd.OpenFile(file))
	snap := must(im.Snapshot())
	want := content(t, snap)
	if err := im.Resize(block / 2); err != nil {
		t.Fatal(err)
	}
	same(t, "smaller disk", content(t, im), want[:block/2])
	same(t, "snapshot", content(t, snap), want)
}
