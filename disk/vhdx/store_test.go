package vhdx_test

import (
	"io"
	"runtime"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// kinds makes an image of each kind, of some 5 MiB.
func kinds(t *testing.T) map[string]*vhdx.Image {
	all := map[string]*vhdx.Image{}
	for _, o := range []vhdx.Options{
		{Size: 5*mib + 1024, BlockSize: mib, Type: vhdx.Fixed},
		{Size: 5*mib + 1024, BlockSize: mib},
		{BlockSize: mib, Parent: vhdx.Parent{Image: smallParent(), Path: `.\p.vhdx`}},
	} {
		im := must(vhdx.Create(disk.NewMemory(0), o))
		must(im.WriteAt(pattern(1, 10000), mib-5000))
		all[im.Type().String()] = im
	}
	return all
}

// A store's promises about ranges that leave the disk.
func TestRanges(t *testing.T) {
	for name, im := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			size := im.Size()
			n, err := im.WriteAt(pattern(3, 1000), size-300)
			if wantCode(t, err, disk.ErrRange); n != 300 {
				t.Errorf("WriteAt over the end wrote %d bytes", n)
			}
			n, err = im.WriteAt([]byte{1}, size+5)
			if wantCode(t, err, disk.ErrRange); n != 0 {
				t.Errorf("WriteAt behind the end wrote %d bytes", n)
			}
			_, err = im.WriteAt([]byte{1}, -1)
			wantCode(t, err, disk.ErrRange)
			p := make([]byte, 1000)
			if n, err := im.ReadAt(p, size-300); n != 300 || err != io.EOF {
				t.Errorf("ReadAt over the end = %d, %v", n, err)
			}
			same(t, "what fitted", p[:300], pattern(3, 300))
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

// A snapshot stays what it was and cannot be written; forks do not see each
// other; a closed image is read-only. What waited for Sync is in all of them.
func TestSnapshotsAndForks(t *testing.T) {
	for name, im := range kinds(t) {
		for _, lazy := range []bool{false, true} {
			im.SetWriteBack(lazy)
			must(im.WriteAt(pattern(4, 3*mib), 700))
			must(0, im.Discard(mib, mib))
			want := content(t, im)
			snap, fork := must(im.Snapshot()).(*vhdx.Image), must(im.Clone()).(*vhdx.Image)
			copied := im.Unwrap().(*disk.Memory).Fork()
			over := im.Over(copied)
			must(im.WriteAt(pattern(2, 5*mib), 0))
			must(fork.WriteAt(pattern(3, 100), 3*mib))
			must(over.WriteAt(pattern(5, 4*mib), 1))
			must(0, over.Sync())
			same(t, name+": snapshot", content(t, snap), want)
			wantFork := append(append(append([]byte{}, want[:3*mib]...), pattern(3, 100)...), want[3*mib+100:]...)
			same(t, name+": fork", content(t, fork), wantFork)
			wantOver := append(append(append([]byte{}, want[:1]...), pattern(5, 4*mib)...), want[1+4*mib:]...)
			same(t, name+": over", content(t, over), wantOver)
			again := must(vhdx.OpenFile(copied))
			if again.Type() == vhdx.Differencing {
				must(0, again.SetParent(smallParent(), vhdx.CheckID))
			}
			same(t, name+": over, opened", content(t, again), wantOver)
			_, err := snap.WriteAt([]byte{1}, 0)
			wantCode(t, err, disk.ErrReadOnly)
			wantCode(t, disk.Discard(snap, 0, 1), disk.ErrReadOnly)
			_, err = snap.Clone()
			wantCode(t, err, disk.ErrUnsupported)
			if snap.Writable() || !im.Writable() || !fork.Writable() || !over.Writable() {
				t.Error(name + ": the snapshot is writable, or another one is not")
			}
		}
		must(0, im.Close())
		must(0, im.Close())
		_, err := im.WriteAt([]byte{1}, 0)
		wantCode(t, err, disk.ErrReadOnly)
		must(im.ReadAt(make([]byte, 10), 0))
	}
	_, err := must(vhdx.Open(io.NewSectionReader(small(), 0, end), end)).Snapshot()
	wantCode(t, err, disk.ErrUnsupported)
}

// Zeros written where nothing is add no block; a block that was filled with
// zeros or discarded leaves the file, and its place is used again.
func TestSparse(t *testing.T) {
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{Size: 1 << 40}))
	empty := f.Size()
	must(im.WriteAt(make([]byte, 80*mib), 1<<39))
	if f.Size() != empty {
		t.Errorf("zeros made the file %d bytes longer", f.Size()-empty)
	}
	must(im.WriteAt(pattern(1, mib), 1<<39))
	if want := empty + 32*mib; f.Size() != want {
		t.Errorf("the file has %d bytes with one block, want %d", f.Size(), want)
	}
	held := func() (n int64) {
		for e := range f.Extents(4*mib, f.Size()) {
			n += e.Len
		}
		return n
	}
	for name, empties := range map[string]func(){
		"Discard": func() { must(0, im.Discard(0, im.Size())) },
		"zeros written": func() {
			must(im.WriteAt(make([]byte, 32*mib), 1<<39))
			must(im.WriteAt(make([]byte, 32*mib), 3<<38))
		},
	} {
		empties()
		if n := held(); n > 0 {
			t.Errorf("%s left %d bytes", name, n)
		}
		for e := range im.Extents(0, im.Size()) {
			t.Errorf("extent %v after %s", e, name)
		}
		size := f.Size()
		must(im.WriteAt(pattern(1, mib), 3<<38))
		must(im.WriteAt(pattern(1, mib), 1<<39))
		if f.Size() > max(size, empty+64*mib) {
			t.Errorf("after %s the place was not used again: %d bytes", name, f.Size())
		}
	}
	// Closing and opening again finds the free places.
	must(0, im.Discard(0, im.Size()))
	must(0, im.Close())
	size := f.Size()
	im = must(vhdx.OpenFile(f))
	must(im.WriteAt(pattern(1, mib), 0))
	if f.Size() != size {
		t.Errorf("the next session made the file %d bytes longer", f.Size()-size)
	}
}

// In a child zeros and discarded ranges hide the parent.
func TestZeroOverParent(t *testing.T) {
	for _, whole := range []bool{false, true} {
		im := kinds(t)["differencing"]
		off, n := int64(mib), int64(mib)
		if !whole {
			off, n = 2*mib-2000, 1000
		}
		before := content(t, im)
		must(0, im.Discard(off, n))
		clear(before[off:][:n])
		same(t, "disk", content(t, im), before)
		must(im.WriteAt(make([]byte, n), off+2*mib))
		clear(before[off+2*mib:][:n])
		same(t, "disk", content(t, im), before)
	}
}

// A fixed image keeps its blocks and its size.
func TestFixedKeeps(t *testing.T) {
	im := kinds(t)["fixed"]
	f := im.Unwrap().(*disk.Memory)
	size := f.Size()
	if want := int64(4+6) * mib; size != want {
		t.Errorf("the file has %d bytes, want %d", size, want)
	}
	must(im.WriteAt(pattern(1, 5*mib), 0))
	must(im.WriteAt(make([]byte, mib), mib))
	must(0, im.Discard(0, im.Size()))
	table := make([]byte, 48)
	must(f.ReadAt(table, tablePlace))
	for b := range int64(6) {
		if got, want := le.Uint64(table[8*b:]), uint64(4+b)<<20|6; got != want {
			t.Errorf("entry %d is %#x, want %#x", b, got, want)
		}
	}
	same(t, "disk", content(t, im), make([]byte, im.Size()))
	if f.Size() != size {
		t.Errorf("the file has %d bytes, had %d", f.Size(), size)
	}
}

// Reads and writes of what is there allocate no memory.
func TestNoAllocation(t *testing.T) {
	for name, im := range kinds(t) {
		p := pattern(1, 4096)
		must(im.WriteAt(p, mib))
		for call, do := range map[string]func(){
			"ReadAt":            func() { must(im.ReadAt(p, mib)) },
			"ReadAt of nothing": func() { must(im.ReadAt(p, 4*mib)) },
			"WriteAt":           func() { must(im.WriteAt(p, mib)) },
		} {
			if n := testing.AllocsPerRun(100, do); n != 0 && name != "differencing" {
				t.Errorf("%s %s: %v allocations", name, call, n)
			}
		}
	}
}

// Between memory stores the disk is passed on by reference.
func TestCopyByReference(t *testing.T) {
	const size = 32 * mib
	for _, typ := range []vhdx.Type{vhdx.Fixed, vhdx.Dynamic} {
		im := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: size, Type: typ, BlockSize: 2 * mib}))
		for off := int64(0); off < size; off += 4 * mib {
			must(im.WriteAt(pattern(1, 2*mib), off))
		}
		child := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Parent: vhdx.Parent{Image: im, Path: `.\p.vhdx`}}))
		must(child.WriteAt(pattern(5, 100000), 4096))
		for _, im := range []*vhdx.Image{im, child} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			dst := disk.NewMemory(size)
			err := disk.Copy(dst, im)
			runtime.ReadMemStats(&after)
			if equal, _ := disk.Equal(dst, im); !equal || err != nil {
				t.Errorf("%v: Equal = %v, Copy: %v", im.Type(), equal, err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > size/8 {
				t.Errorf("%v: Copy allocated %d bytes", im.Type(), n)
			}
		}
	}
}

// An image may be read from several goroutines, also while its table is not yet
// read.
func TestReadersTogether(t *testing.T) {
	for _, k := range []knife{small(), smallChild()} {
		im := must(vhdx.OpenFile(k))
		twin := must(vhdx.Open(k, k.Size()))
		if im.Type() == vhdx.Differencing {
			must(0, im.SetParent(smallParent(), vhdx.CheckID))
			must(0, twin.SetParent(smallParent(), vhdx.CheckID))
		}
		want := content(t, twin)
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
}

// Bits that an image has set for a block that is not there mean nothing when
// the block is added.
func TestStaleBits(t *testing.T) {
	for name, state := range map[string]uint64{"not there": 0, "zero": 2} {
		k := smallChild().entry(2, state, 0)
		at := k.getEntry(4096) // the bitmap block; block 2 has the bytes from 512 on
		k.edit(at+512, 256, func(p []byte) {
			for i := range p {
				p[i] = 0xFF
			}
		})
		im := must(vhdx.OpenFile(k))
		must(0, im.SetParent(smallParent(), vhdx.CheckID))
		want := content(t, im)
		must(im.WriteAt(pattern(9, 512), 2*mib+512))
		copy(want[2*mib+512:], pattern(9, 512))
		same(t, name, content(t, im), want)
	}
}
