package vhdx_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// sound demands that a file opens as a disk, with nothing to be said of it.
func sound(t rapid.TB, what string, f *disk.Memory, want []byte) *vhdx.Image {
	t.Helper()
	im := reopened(f)
	same(t, what, content(t, im), want)
	if err := im.Check(); err != nil || im.Notes() != nil {
		t.Fatalf("%s: Check: %v, notes %q", what, err, im.Notes())
	}
	return im
}

// resized returns a model of another size.
func resized(model []byte, size int64) []byte {
	return append(model[:min(size, int64(len(model)))], make([]byte, max(0, size-int64(len(model))))...)
}

// Grown and shrunk at random, and written between, an image is the disk that an
// array of bytes is, also when it is opened again.
func TestResizeRandom(t *testing.T) {
	few(t, 30, func(t *rapid.T) {
		kind := rapid.SampledFrom([]vhdx.Type{vhdx.Fixed, vhdx.Dynamic}).Draw(t, "type")
		f := disk.NewMemory(0)
		im := must(vhdx.Create(f, vhdx.Options{Size: 2*mib + 1024, BlockSize: mib, Type: kind}))
		model := make([]byte, im.Size())
		for range rapid.IntRange(1, 12).Draw(t, "calls") {
			size := im.Size()
			off := rapid.Int64Range(0, size-1).Draw(t, "off")
			switch rapid.IntRange(0, 4).Draw(t, "call") {
			case 0, 1:
				to := rapid.Int64Range(1, 6*2048).Draw(t, "sectors") * 512
				lost := to < size && !isZero(model[min(to, size):])
				err := im.Resize(to)
				if lost {
					wantCode(t, err, vhdx.ErrShrink)
					continue
				}
				must(0, err)
				model = resized(model, to)
			case 2:
				must(0, im.Discard(off, size-off))
				clear(model[off:])
			case 3:
				must(0, im.Close())
				im = must(vhdx.OpenFile(f))
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

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// What is gained is zero, whatever the file had behind the disk's end, and the
// disk is another one for its children.
func TestResizeClearsTheEnd(t *testing.T) {
	for _, kind := range []vhdx.Type{vhdx.Fixed, vhdx.Dynamic} {
		f := disk.NewMemory(0)
		im := must(vhdx.Create(f, vhdx.Options{Size: mib / 2, BlockSize: mib, Type: kind}))
		must(im.WriteAt(pattern(1, mib/2), 0))
		must(0, im.Close())
		must(f.WriteAt(pattern(9, mib/2), f.Size()-mib/2))
		im = must(vhdx.OpenFile(f))
		before, parts := im.DataWriteGUID(), im.Regions()
		must(0, im.Resize(3*mib))
		again := sound(t, "disk", f, resized(pattern(1, mib/2), 3*mib))
		if again.DataWriteGUID() == before {
			t.Error("the identifier of the disk stayed")
		}
		if a := again.Regions(); a[0] == parts[0] || a[1] != parts[1] || a[0] != im.Regions()[0] {
			t.Errorf("regions %v, were %v", a, parts)
		}
		if again.Type() != kind {
			t.Errorf("type %v", again.Type())
		}
	}
}

// A table that outgrows its region, in a disk of several chunks.
func TestResizeLarge(t *testing.T) {
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{Size: 3 * mib, BlockSize: mib}))
	must(im.WriteAt(pattern(1, 3000), 2*mib-100))
	const size = 300 << 30
	must(0, im.Resize(size))
	must(im.WriteAt(pattern(2, 3000), size-3000))
	must(im.WriteAt(pattern(3, 3000), size-2*mib)) // at the end of the file
	must(0, im.Close())
	again := reopened(f)
	p := make([]byte, 3000)
	must(again.ReadAt(p, 2*mib-100))
	same(t, "the beginning", p, pattern(1, 3000))
	must(again.ReadAt(p, size-3000))
	same(t, "the end", p, pattern(2, 3000))
	if err := again.Check(); err != nil || again.Size() != size {
		t.Errorf("size %d, Check: %v", again.Size(), err)
	}
	im = must(vhdx.OpenFile(f))
	wantCode(t, im.Resize(size/2), vhdx.ErrShrink)
	must(0, im.Discard(size/2, size/2))
	long := f.Size()
	must(0, im.Resize(3*mib))
	if f.Size() >= long {
		t.Errorf("the file has %d bytes, had %d", f.Size(), long)
	}
	if err := reopened(f).Check(); err != nil {
		t.Error(err)
	}
}

// A child may outgrow its parent, with zeros and not what is below.
func TestResizeChild(t *testing.T) {
	child, parent, file, _ := family(t)
	want := content(t, child)
	must(0, child.Resize(9*mib))
	want = resized(want, 9*mib)
	same(t, "child", content(t, child), want)
	must(child.WriteAt(pattern(4, 600), 9*mib-600))
	copy(want[9*mib-600:], pattern(4, 600))
	again := reopened(file)
	must(0, again.SetParent(parent, vhdx.CheckID))
	same(t, "child opened again", content(t, again), want)
	must(0, again.Check())
	must(0, child.Discard(2*mib, 7*mib))
	must(0, child.Resize(2*mib))
	again = reopened(file)
	must(0, again.SetParent(parent, vhdx.CheckID))
	same(t, "smaller child", content(t, again), want[:2*mib])
	wantCode(t, child.Resize(mib), vhdx.ErrShrink)
}

// What a child gains is zero also where its parent is larger and has something,
// whatever the state of the block in which the child ended, and also when the
// parent is not known yet.
func TestResizeHidesTheParent(t *testing.T) {
	parent := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 6 * mib, BlockSize: mib}))
	must(parent.WriteAt(pattern(1, 6*mib), 0))
	must(0, parent.Close())
	for name, before := range map[string]func(im *vhdx.Image){
		"not there": func(*vhdx.Image) {},
		"in part":   func(im *vhdx.Image) { must(im.WriteAt(pattern(2, 512), 2*mib+512)) },
		"whole":     func(im *vhdx.Image) { must(im.WriteAt(pattern(3, 4096), 2*mib)) },
		"zero":      func(im *vhdx.Image) { must(0, im.Discard(2*mib, 4096)) },
	} {
		for _, known := range []bool{true, false} {
			f := disk.NewMemory(0)
			im := must(vhdx.Create(f, vhdx.Options{Size: 2*mib + 4096, BlockSize: mib, Parent: vhdx.Parent{Image: parent, Path: `.\p.vhdx`}}))
			before(im)
			want := resized(content(t, im), 5*mib)
			if !known {
				must(0, im.Close())
				im = must(vhdx.OpenFile(f))
			}
			must(0, im.Resize(5*mib))
			must(0, im.SetParent(parent, vhdx.CheckID))
			same(t, name, content(t, im), want)
			must(im.WriteAt(pattern(4, 512), 3*mib-512))
			copy(want[3*mib-512:], pattern(4, 512))
			again := reopened(f)
			must(0, again.SetParent(parent, vhdx.CheckID))
			same(t, name+", opened again", content(t, again), want)
			must(0, again.Check())
		}
	}
}

func TestResizeRefuses(t *testing.T) {
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{Size: 3 * mib, BlockSize: mib}))
	for _, size := range []int64{-512, 0, 513, vhdx.MaxSize + 512} {
		wantCode(t, im.Resize(size), vhdx.ErrSize)
	}
	must(im.WriteAt([]byte{1}, 2*mib))
	wantCode(t, im.Resize(2*mib), vhdx.ErrShrink)
	must(0, im.Resize(2*mib+512))
	wantCode(t, reopened(f).Resize(mib), disk.ErrReadOnly)
}

// The power goes anywhere while the size changes.
func TestCutResize(t *testing.T) {
	for name, c := range cutFiles(t) {
		t.Run(name, func(t *testing.T) {
			p := newTape(t, c.file, c.below)
			resize := func(size int64) {
				must(0, p.im.Resize(size))
				must(0, p.model.Resize(size))
				p.mark(true)
			}
			p.write(c.block+700, pattern(3, 3000))
			resize(7*mib + 8192)
			p.write(6*mib-700, pattern(4, 1400))
			p.discard(4*mib, p.model.Size()-4*mib)
			resize(4*mib + 4096)
			resize(5 * mib)
			p.write(3*mib, pattern(5, 700))
			if cuts := p.cutEverywhere(1); cuts < 100 && !testing.Short() {
				t.Errorf("only %d cuts", cuts)
			}
		})
	}
}

// Each change of the file fails once. The disk has the old size or the new one
// and all its bytes, and trying again gives it the new one. In short runs it is every
// fourth change.
func TestFaultyResize(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 4
	}
	for _, to := range []int64{2 * mib, 8 * mib} {
		for _, kind := range []vhdx.Type{vhdx.Fixed, vhdx.Dynamic} {
			reported, longest, clean := 0, int64(0), int64(0)
			for k, fired := 1, true; fired; k += step {
				f := &faulty{Memory: disk.NewMemory(0), fails: func(int) bool { return false }}
				im := must(vhdx.Create(f, vhdx.Options{Size: 5*mib + 512, BlockSize: mib, Type: kind}))
				want := make([]byte, im.Size())
				for b := range int64(2) {
					must(im.WriteAt(pattern(byte(b), 5000), b*mib))
					copy(want[b*mib:], pattern(byte(b), 5000))
				}
				f.count, f.fails = 0, func(n int) bool { return n == k }
				err := im.Resize(to)
				if fired = f.count >= k; err != nil {
					reported++
				}
				f.fails = func(int) bool { return false }
				same(t, "after the fault", content(t, im), resized(want, im.Size()))
				must(0, im.Resize(to))
				must(im.WriteAt(pattern(7, 700), to-700))
				want = resized(want, to)
				copy(want[to-700:], pattern(7, 700))
				sound(t, "tried again", f.Memory, want)
				longest, clean = max(longest, f.Size()), f.Size()
			}
			if to > 5*mib+512 && longest > clean {
				t.Errorf("a file has %d bytes after a fault, %d without", longest, clean)
			}
			if reported*step < 10 {
				t.Errorf("%d faults were reported", reported)
			}
		}
	}
}

// The last block of a file may be stored short, as old tools do. Its place can
// be used again nevertheless, whole.
func TestPlaceOfAShortBlock(t *testing.T) {
	for _, tail := range []int64{1024, mib / 2, mib - 512} {
		file := disk.NewMemory(0)
		im := must(vhdx.Create(file, vhdx.Options{Size: mib + tail, BlockSize: mib}))
		must(im.WriteAt(pattern(3, 512), mib))
		must(0, im.Close())
		must(0, file.Resize(file.Size()-mib+tail))

		im = must(vhdx.OpenFile(file))
		must(0, im.Discard(mib, tail))
		want := disk.NewMemory(mib + tail)
		must(want.WriteAt(pattern(4, 1024), mib))
		if _, err := im.WriteAt(pattern(4, 1024), mib); err != nil {
			t.Fatalf("%d bytes: %v", tail, err)
		}
		for _, s := range []disk.Source{im, must(vhdx.OpenFile(file))} {
			if off, err := disk.FirstDifference(s, want); off >= 0 || err != nil {
				t.Errorf("%d bytes: the disk differs at %d, %v", tail, off, err)
			}
		}
	}
}
