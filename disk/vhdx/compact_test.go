package vhdx_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// written returns how long a file would be that holds a disk and nothing else.
func written(im *vhdx.Image) int64 {
	o := vhdx.Options{BlockSize: im.BlockSize()}
	o.SectorSize, o.PhysicalSectorSize = im.SectorSize()
	return must(vhdx.NewPlan(im, o)).Size()
}

// A compact image is as short as one written anew, wherever its blocks and its
// table had come to lie, and the same disk for its children. Made compact once
// more its file is not touched.
func TestCompact(t *testing.T) {
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{Size: 11 * mib, BlockSize: mib}))
	for b := int64(10); b >= 0; b -= 2 {
		must(im.WriteAt(pattern(byte(b), 5000), b*mib+700))
	}
	must(0, im.Resize(12*mib+512)) // the table lies behind the blocks now
	must(im.WriteAt(pattern(99, 512), 12*mib))
	must(0, im.Discard(0, 5*mib))
	must(im.WriteAt(make([]byte, 5000), 8*mib+700)) // a block of zeros
	want, data, file, long := content(t, im), im.DataWriteGUID(), im.Header().FileWriteGUID, f.Size()
	snap := must(im.Snapshot()).(*vhdx.Image)
	must(0, im.Compact())
	if f.Size() != written(im) || f.Size() >= long {
		t.Errorf("the file has %d bytes, had %d, and %d when it is written anew", f.Size(), long, written(im))
	}
	again := sound(t, "compact disk", f, want)
	same(t, "image in use", content(t, im), want)
	same(t, "snapshot", content(t, snap), want)
	if h := again.Header(); h.DataWriteGUID != data || h.FileWriteGUID == file {
		t.Errorf("identifiers of the disk and the file are %v and %v, were %v and %v", h.DataWriteGUID, h.FileWriteGUID, data, file)
	}
	before := f.Freeze()
	must(0, must(vhdx.OpenFile(f)).Compact())
	if off, err := disk.FirstDifference(before, f); off >= 0 || err != nil {
		t.Errorf("once more it changed the file at %d, %v", off, err)
	}
	must(im.WriteAt(pattern(3, int(3*mib)), 0)) // in the end of a file that was longer
	copy(want, pattern(3, int(3*mib)))
	sound(t, "disk written on", f, want)
}

// A child keeps what hides its parent and nothing else, and a sector bitmap as
// long as a block needs it.
func TestCompactChild(t *testing.T) {
	parent := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 6 * mib, BlockSize: mib}))
	must(parent.WriteAt(pattern(1, 9000), 2*mib-3000))
	must(0, parent.Close())
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{BlockSize: mib, Parent: vhdx.Parent{Image: parent, Path: `.\p.vhdx`}}))
	empty := f.Size()
	must(im.WriteAt(pattern(2, 4096), 0))
	must(im.WriteAt(make([]byte, 4096), 0))          // zeros over zeros
	must(im.WriteAt(make([]byte, 4096), 2*mib-4096)) // zeros that hide something
	must(im.WriteAt(pattern(4, 4096), 4*mib+512))    // data
	must(im.WriteAt(pattern(5, mib), 3*mib))         // a block
	must(im.WriteAt(make([]byte, mib-512), 3*mib))   // most of it zero
	must(im.WriteAt(make([]byte, 512), 4*mib-512))   // and all
	must(im.WriteAt(pattern(6, mib), 5*mib))         // another
	check := func(blocks int64, child *vhdx.Image, want []byte) {
		t.Helper()
		must(0, child.Compact())
		if got := f.Size(); got != empty+blocks*mib {
			t.Errorf("the file has %d MiB beyond its tables, want %d", (got-empty)/mib, blocks)
		}
		again := reopened(f)
		must(0, again.SetParent(parent, vhdx.CheckID))
		same(t, "child", content(t, again), want)
		must(0, again.Check())
	}
	want := content(t, im)
	blind := must(vhdx.OpenFile(f)) // without its parent nothing is known to be zero below
	must(0, blind.Compact())
	if got := f.Size(); got != empty+5*mib {
		t.Errorf("without its parent it has %d MiB beyond its tables, want 5", (got-empty)/mib)
	}
	im = must(vhdx.OpenFile(f))
	must(0, im.SetParent(parent, vhdx.CheckID))
	check(4, im, want) // two in part, their bitmap, one whole
	must(0, im.Discard(mib, mib))
	must(0, im.Discard(4*mib, mib))
	clear(want[mib : 2*mib])
	clear(want[4*mib : 5*mib])
	check(1, im, want)
	must(im.WriteAt(pattern(7, 512), 9000)) // needs a bitmap again
	copy(want[9000:], pattern(7, 512))
	check(3, im, want)
}

// A block keeps its place for one byte, though zeros that are stored and a hole
// of the file lie before it; so it does where it is the child's in part.
func TestCompactSeesDataBehindHoles(t *testing.T) {
	const size = mib + 64<<10
	parent := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: size, BlockSize: mib}))
	for name, o := range map[string]vhdx.Options{
		"dynamic": {Size: size, BlockSize: mib},
		"child":   {BlockSize: mib, Parent: vhdx.Parent{Image: parent, Path: `.\p.vhdx`}},
	} {
		f := disk.NewMemory(0)
		im := must(vhdx.Create(f, o))
		must(im.WriteAt(pattern(1, 8192), mib))
		must(im.WriteAt([]byte{1}, size-1))
		must(im.WriteAt(make([]byte, 8192), mib))
		want := content(t, im)
		at := im.Map(mib, 1).Off
		var stored []disk.Extent
		for e := range f.Extents(at, size-mib) {
			stored = append(stored, e)
		}
		if len(stored) < 2 || stored[0].Off != at {
			t.Fatalf("%s: the block at %d is stored in %v, want zeros, a hole and data", name, at, stored)
		}
		must(0, im.Compact())
		same(t, name, content(t, im), want)
		again := reopened(f)
		if o.Parent.Image != nil {
			must(0, again.SetParent(parent, vhdx.CheckID))
		}
		same(t, name+" opened again", content(t, again), want)
	}
}

// A block of zeros that a child holds whole gives up its place and hides its
// parent as before.
func TestCompactHidesTheParent(t *testing.T) {
	const size = mib + 64<<10
	parent := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: size, BlockSize: mib}))
	must(parent.WriteAt(pattern(1, size-mib), mib))
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{BlockSize: mib, Parent: vhdx.Parent{Image: parent, Path: `.\p.vhdx`}}))
	empty := f.Size()
	must(im.WriteAt(pattern(2, size-mib), mib))
	must(im.WriteAt(make([]byte, size-mib-512), mib)) // in two, so that they are stored
	must(im.WriteAt(make([]byte, 512), size-512))
	want := content(t, im)
	if f.Size() == empty {
		t.Fatal("the zeros have no place that they could give up")
	}
	must(0, im.Compact())
	if f.Size() != empty {
		t.Errorf("the file has %d bytes, want %d", f.Size(), empty)
	}
	same(t, "child", content(t, im), want)
	again := reopened(f)
	must(0, again.SetParent(parent, vhdx.CheckID))
	same(t, "child opened again", content(t, again), want)
}

// Entries of trimmed blocks that name a place let it go: something else lies
// there soon.
func TestCompactForgetsOldPlaces(t *testing.T) {
	k := small()
	at := k.getEntry(0)
	im := must(vhdx.OpenFile(k.entry(1, 3, at).entry(2, 1, at+mib).Memory))
	must(0, im.Compact())
	for i := range int64(2) {
		if got := k.getEntry(i + 1); got != 0 {
			t.Errorf("the entry of block %d names %d", i+1, got)
		}
	}
}

func TestCompactRefuses(t *testing.T) {
	wantCode(t, must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: mib, Type: vhdx.Fixed})).Compact(), vhdx.ErrType)
	wantCode(t, reopened(small().Memory).Compact(), disk.ErrReadOnly)
}

// Written, resized and made compact at random, also in a file whose last block
// is short, an image is the disk that an array of bytes is, and as short as can
// be.
func TestCompactRandom(t *testing.T) {
	few(t, 12, func(t *rapid.T) {
		f := disk.NewMemory(0)
		block := rapid.SampledFrom([]int64{mib, 2 * mib}).Draw(t, "block")
		im := must(vhdx.Create(f, vhdx.Options{Size: 7*mib + 1024, BlockSize: block}))
		model := make([]byte, im.Size())
		for range rapid.IntRange(1, 12).Draw(t, "calls") {
			size := im.Size()
			off := rapid.Int64Range(0, size-1).Draw(t, "off")
			switch rapid.IntRange(0, 5).Draw(t, "call") {
			case 0:
				more := off / 512 * 512
				must(0, im.Resize(size+more))
				model = resized(model, size+more)
			case 1:
				must(0, im.Discard(off, size-off))
				clear(model[off:])
			case 2:
				must(0, im.Close())
				if p := f.Size() - block + im.Size()%block; rapid.Bool().Draw(t, "short") && lastIsLast(f, im) {
					must(0, f.Resize(p))
				}
				im = must(vhdx.OpenFile(f))
			case 3:
				must(0, im.Compact())
				if got, most := f.Size(), written(im); got > most+block { // the table may have left a small gap
					t.Fatalf("the file has %d bytes, written anew %d", got, most)
				}
			default:
				p := pattern(byte(off), int(min(size-off, 9000)))
				must(im.WriteAt(p, off))
				copy(model[off:], p)
			}
			same(t, "disk", content(t, im), model)
			sound(t, "disk opened again", f, model)
		}
	})
}

// lastIsLast reports whether the last block of a disk, which it fills in part,
// is the last of its file.
func lastIsLast(f *disk.Memory, im *vhdx.Image) bool {
	last := im.Size() / im.BlockSize() * im.BlockSize()
	if last == im.Size() {
		return false
	}
	seg := reopened(f).Map(last, 1)
	return seg.Store != nil && seg.Off == f.Size()-im.BlockSize()
}

// The power goes anywhere in a compaction, and in what is written afterwards to
// the places that it freed.
func TestCutCompact(t *testing.T) {
	for name, c := range cutFiles(t) {
		if name != "dynamic" && name != "child" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			im := must(vhdx.OpenFile(c.file))
			if c.below != nil {
				must(0, im.SetParent(c.below, vhdx.CheckID))
			}
			for b := int64(4); b >= 0; b-- {
				must(im.WriteAt(pattern(byte(20+b), 3000), b*mib+5000))
			}
			must(0, im.Resize(7*mib))
			must(im.WriteAt(pattern(30, 9000), 6*mib))
			must(0, im.Close())
			p := newTape(t, c.file, c.below)
			p.discard(4*mib, mib)
			p.discard(2*mib, mib)
			must(0, p.im.Compact())
			p.mark(true)
			p.write(4*mib+100, pattern(40, 3000))
			p.write(2*mib+100, pattern(41, 3000))
			must(0, p.im.Compact())
			p.mark(true)
			if cuts := p.cutEverywhere(1); cuts < 100 && !testing.Short() {
				t.Errorf("only %d cuts", cuts)
			}
		})
	}
}

// Each change of the file fails once during a compaction. The disk stays what
// it is, and trying again makes it compact.
func TestFaultyCompact(t *testing.T) {
	reported := 0
	for k, fired := 1, true; fired; k++ {
		f := &faulty{Memory: disk.NewMemory(0), fails: func(int) bool { return false }}
		im := must(vhdx.Create(f, vhdx.Options{Size: 2*mib + 512, BlockSize: mib}))
		for b := int64(1); b >= 0; b-- {
			must(im.WriteAt(pattern(byte(b), 5000), b*mib))
		}
		must(0, im.Resize(3*mib))
		must(0, im.Discard(mib, mib))
		want := content(t, im)
		f.count, f.fails = 0, func(n int) bool { return n == k }
		err := im.Compact()
		if fired = f.count >= k; err != nil {
			reported++
			wantCode(t, err, errCable)
		}
		f.fails = func(int) bool { return false }
		same(t, "after the fault", content(t, im), want)
		must(0, im.Compact())
		if f.Size() != written(im) {
			t.Fatalf("fault %d: the file has %d bytes, written anew %d", k, f.Size(), written(im))
		}
		must(im.WriteAt(pattern(7, 700), 2*mib))
		copy(want[2*mib:], pattern(7, 700))
		sound(t, "tried again", f.Memory, want)
	}
	if reported < 10 {
		t.Errorf("%d faults were reported", reported)
	}
}
