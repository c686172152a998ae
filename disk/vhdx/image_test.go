package vhdx_test

import (
	"bytes"
	"io"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

const mib = 1 << 20

// shapes are the disks that the properties are tried on. Blocks are large, so
// the disks are as well; they are sparse, and so is the model.
var shapes = []vhdx.Options{
	{Size: 512, Type: vhdx.Fixed, BlockSize: mib},
	{Size: 3*mib + 512, Type: vhdx.Fixed, BlockSize: mib},
	{Size: 512},
	{Size: 5*mib + 512, BlockSize: mib},
	{Size: 5*mib + 4096, BlockSize: 2 * mib, SectorSize: 4096},
	{Size: 100*mib - 512, PhysicalSectorSize: 512},
	{Size: 300*mib + 512, BlockSize: 256 * mib},
	{Size: 9<<30 + 512, BlockSize: 64 * mib},                // three chunks
	{Size: 4<<30 + 3*mib, BlockSize: mib, Type: vhdx.Fixed}, // a bitmap's entry in the middle
	{Size: 40 << 40, BlockSize: mib},                        // a table read as it is used
}

// A machine writes an image and a plain store in the same way.
type machine struct {
	im    *vhdx.Image
	file  vhdx.File
	model *disk.Memory
	seed  byte
	below *vhdx.Image
}

// span draws a range of the disk, often short, often at a block's edge or where
// the disk ends.
func (m *machine) span(t *rapid.T) (off, n int64) {
	size := m.im.Size()
	hot := []int64{0, size, m.im.BlockSize(), 2 * m.im.BlockSize(), 4 << 30, size / 2}
	off = rapid.SampledFrom(hot).Draw(t, "near") + rapid.Int64Range(-70000, 70000).Draw(t, "by")
	if rapid.Bool().Draw(t, "aligned") {
		off &^= 4095
	}
	off = max(min(off, size), 0)
	most := min(size-off, 3*mib)
	if rapid.IntRange(0, 3).Draw(t, "long") > 0 {
		most = min(most, 9000)
	}
	n = rapid.Int64Range(0, most).Draw(t, "n")
	if block := m.im.BlockSize(); block <= 2*mib && rapid.IntRange(0, 5).Draw(t, "whole block") == 0 {
		off = off / block * block
		n = min(block, size-off)
	}
	return off, n
}

func (m *machine) write(t *rapid.T) {
	off, n := m.span(t)
	m.seed++
	p := pattern(m.seed, int(n))
	if k, err := m.im.WriteAt(p, off); k != len(p) || err != nil {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", n, off, k, err)
	}
	must(m.model.WriteAt(p, off))
}

func (m *machine) writeZeros(t *rapid.T) {
	off, n := m.span(t)
	if k, err := m.im.WriteAt(make([]byte, n), off); int64(k) != n || err != nil {
		t.Fatalf("WriteAt(%d zeros, %d) = %d, %v", n, off, k, err)
	}
	must(0, m.model.Discard(off, n))
}

func (m *machine) discard(t *rapid.T) {
	off, n := m.span(t)
	if size := m.im.Size(); size < 1<<30 && rapid.IntRange(0, 3).Draw(t, "all behind") == 0 {
		n = size - off
	}
	if err := m.im.Discard(off, n); err != nil {
		t.Fatalf("Discard(%d, %d): %v", off, n, err)
	}
	must(0, m.model.Discard(off, n))
}

func (m *machine) reopen(t *rapid.T) {
	if rapid.Bool().Draw(t, "close") {
		must(0, m.im.Close())
	} else {
		must(0, m.im.Sync())
	}
	im, err := vhdx.OpenFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	m.im = im
	m.join(im)
}

// join puts a child over its parent.
func (m *machine) join(im *vhdx.Image) {
	if m.below != nil {
		must(0, im.SetParent(m.below, vhdx.CheckID))
	}
}

// check compares the image, and the bytes of its file as a stranger opens
// them, with the model.
func (m *machine) check(t *rapid.T, written bool) {
	m.compare(t, "image", m.im)
	if !written {
		return
	}
	im, err := vhdx.Open(m.file, m.file.Size())
	if err != nil {
		t.Fatal(err)
	}
	m.join(im)
	m.compare(t, "file's bytes", im)
	if err := im.Check(); err != nil || im.Notes() != nil {
		t.Fatalf("Check: %v, notes %q", err, im.Notes())
	}
	if m.file.Size()%mib != 0 {
		t.Fatalf("the file has %d bytes", m.file.Size())
	}
}

// compare demands that a disk is the model, and that what it tells of itself is
// true.
func (m *machine) compare(t *rapid.T, what string, im *vhdx.Image) {
	if off, err := disk.FirstDifference(im, m.model); off >= 0 || err != nil {
		t.Fatalf("the %s differs from the model at %d; %v", what, off, err)
	}
	off, n := m.span(t)
	got, want := make([]byte, n), make([]byte, n)
	m.model.ReadAt(want, off)
	if _, err := im.ReadAt(got, off); err != nil && err != io.EOF || !bytes.Equal(got, want) {
		t.Fatalf("ReadAt(%d bytes, %d) of the %s differs from the model; %v", n, off, what, err)
	}
	cover(t, im, m.model, off, n)
	spans(t, im, m.below, m.model, off, n)
}

// spans verifies that spans have no gap, and what they say.
func spans(t *rapid.T, im, below *vhdx.Image, model *disk.Memory, off, n int64) {
	at, last := off, disk.Origin(99)
	for s := range im.Spans(off, n) {
		if s.Off != at || s.Len <= 0 || s.Origin == last {
			t.Fatalf("span %+v at %d behind one of origin %d", s, at, last)
		}
		at, last = s.End(), s.Origin
		want := disk.Store(disk.NewMemory(s.Len))
		switch {
		case s.Origin == disk.Own:
			continue
		case s.Origin == disk.Below && below == nil:
			t.Fatalf("span %+v without a parent", s)
		case s.Origin == disk.Below:
			own := disk.NewOverlay(below, im.Size())
			want = disk.Section(own, s.Off, s.Len)
		}
		if off, err := disk.FirstDifference(disk.Section(model, s.Off, s.Len), want); off >= 0 || err != nil {
			t.Fatalf("span %+v is not so at %d; %v", s, off, err)
		}
	}
	if at != off+n && n > 0 {
		t.Fatalf("spans end at %d, want %d", at, off+n)
	}
}

func (m *machine) run(t *rapid.T) {
	lazy := rapid.Bool().Draw(t, "write back")
	for range rapid.IntRange(1, 7).Draw(t, "steps") {
		m.im.SetWriteBack(lazy)
		rapid.SampledFrom([]func(*rapid.T){m.write, m.write, m.writeZeros, m.discard, m.reopen}).Draw(t, "step")(t)
		m.check(t, !lazy)
	}
	must(0, m.im.Sync())
	m.check(t, true)
}

func TestInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := rapid.SampledFrom(shapes).Draw(t, "shape")
		f := disk.NewMemory(0)
		m := &machine{file: f, model: disk.NewMemory(o.Size)}
		m.im = must(vhdx.Create(f, o))
		m.run(t)
	})
}

// children are differencing disks over a dynamic parent of 512 or 4096 byte
// sectors.
var children = []struct{ parent, child vhdx.Options }{
	{vhdx.Options{Size: 5*mib + 512, BlockSize: mib}, vhdx.Options{BlockSize: mib}},
	{vhdx.Options{Size: 5*mib + 512, BlockSize: 4 * mib}, vhdx.Options{}},
	{vhdx.Options{Size: 3 * mib, BlockSize: mib}, vhdx.Options{Size: 8*mib + 512, BlockSize: 4 * mib}},
	{vhdx.Options{Size: 30 * mib}, vhdx.Options{Size: 2*mib + 512, BlockSize: 8 * mib}},
	{vhdx.Options{Size: 9*mib + 4096, SectorSize: 4096}, vhdx.Options{}},
	{vhdx.Options{Size: 300 * mib}, vhdx.Options{BlockSize: 256 * mib}},
	{vhdx.Options{Size: 9<<30 + 512}, vhdx.Options{BlockSize: 64 * mib}},
}

func TestChildInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(children).Draw(t, "shapes")
		newChild(t, c.parent, c.child).run(t)
	})
}

// newChild makes a parent with something in it, and a child.
func newChild(t *rapid.T, po, co vhdx.Options) *machine {
	p := &machine{file: disk.NewMemory(0), model: disk.NewMemory(po.Size), seed: 100}
	p.im = must(vhdx.Create(p.file, po))
	for range rapid.IntRange(0, 3).Draw(t, "parent's writes") {
		p.write(t)
	}
	must(0, p.im.Close())
	co.Parent = vhdx.Parent{Image: p.im, Path: `.\base.vhdx`}
	m := &machine{file: disk.NewMemory(0), below: p.im}
	m.im = must(vhdx.Create(m.file, co))
	m.model = p.model.Fork()
	must(0, m.model.Resize(m.im.Size()))
	return m
}
