package vhdx_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

var errCable = errors.New("cable out")

// A deaf file cannot be read from some offset on.
type deaf struct {
	*bytes.Reader
	from int64
}

func (d *deaf) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > d.from {
		return 0, errCable
	}
	return d.Reader.ReadAt(p, off)
}

// A faulty file fails some of its changes, writing about half of the sectors
// asked for, none of them in part.
type faulty struct {
	*disk.Memory
	count int
	fails func(n int) bool
}

func (f *faulty) fail() bool {
	f.count++
	return f.fails(f.count)
}

func (f *faulty) WriteAt(p []byte, off int64) (int, error) {
	if f.fail() {
		half := (off+int64(len(p)/2))/512*512 - off
		n, _ := f.Memory.WriteAt(p[:max(half, 0)], off)
		return n, errCable
	}
	return f.Memory.WriteAt(p, off)
}

func (f *faulty) Resize(size int64) error {
	if f.fail() {
		return errCable
	}
	return f.Memory.Resize(size)
}

func (f *faulty) Discard(off, n int64) error {
	if f.fail() {
		return errCable
	}
	return f.Memory.Discard(off, n)
}

func (f *faulty) Sync() error {
	if f.fail() {
		return errCable
	}
	return nil
}

// faultCalls are the calls during which the file fails, on what cutFiles has.
var faultCalls = []struct {
	name string
	off  int64
	p    []byte // nil to discard a block
}{
	{"a new block", mib + 700, pattern(9, 3000)},
	{"two new blocks", 3*mib - 700, pattern(9, 1400)},
	{"a block filled", 2 * mib, pattern(9, mib)},
	{"a block discarded", 4 * mib, nil},
	{"in place", 4*mib + 1000, pattern(9, 512)},
	{"more of a block", 4*mib + 90000, pattern(9, 7000)},
}

// Every change to the file fails once, or it and all that follow. The call
// reports it, nothing else is lost, and when the file is well again the same
// call succeeds, and what is in the file is an image at every moment.
func TestFaults(t *testing.T) {
	for name, c := range cutFiles(t) {
		for _, call := range faultCalls {
			start := must(vhdx.OpenFile(c.file.Fork()))
			p := &tape{below: c.below}
			p.join(start)
			must(start.WriteAt(pattern(5, 5000), 4*mib))
			must(0, start.Close())
			file := start.Unwrap().(*disk.Memory)
			clean := &faulty{Memory: file.Fork(), fails: func(int) bool { return false }}
			must(0, faultCall(p, clean, call.off, call.p))
			for k := 1; k <= clean.count; k++ {
				for times, fails := range map[string]func(n int) bool{
					"once":    func(n int) bool { return n == k },
					"forever": func(n int) bool { return n >= k },
				} {
					where := fmt.Sprintf("%s, %s, %s from %d", name, call.name, times, k)
					tryFault(t, where, p, &faulty{Memory: file.Fork(), fails: fails}, call.off, call.p)
				}
			}
		}
	}
}

// faultCall opens the file and makes a call.
func faultCall(p *tape, f vhdx.File, off int64, b []byte) error {
	im, err := vhdx.OpenFile(f)
	if err != nil {
		return err
	}
	p.im = im
	p.join(im)
	if b == nil {
		err = im.Discard(off, mib)
	} else {
		_, err = im.WriteAt(b, off)
	}
	return errors.Join(err, im.Sync())
}

func tryFault(t *testing.T, where string, p *tape, f *faulty, off int64, b []byte) {
	t.Helper()
	n := int64(len(b))
	if b == nil {
		n = mib
	}
	want := disk.NewMemory(5*mib + 8192)
	old := must(vhdx.Open(f.Memory, f.Size()))
	p.join(old)
	must(0, want.Resize(old.Size()))
	must(0, disk.Copy(want, old))
	err := faultCall(p, f, off, b)
	if err != nil && !errors.Is(err, errCable) { // a place that could not be zeroed is no failure
		t.Fatalf("%s: %v", where, err)
	}
	outside := func(what string, im *vhdx.Image) {
		for _, x := range []disk.Extent{{Off: 0, Len: off}, {Off: off + n, Len: want.Size() - off - n}} {
			if d, err := disk.FirstDifference(disk.Section(im, x.Off, x.Len), disk.Section(want, x.Off, x.Len)); d >= 0 || err != nil {
				t.Fatalf("%s: %s differs at %d outside the call, %v", where, what, x.Off+d, err)
			}
		}
	}
	outside("the image", p.im)
	left := must(vhdx.Open(f.Memory, f.Size()))
	p.join(left)
	outside("the file", left)

	f.fails = func(int) bool { return false }
	if b == nil {
		err = p.im.Discard(off, mib)
		must(0, want.Discard(off, mib))
	} else {
		_, err = p.im.WriteAt(b, off)
		must(want.WriteAt(b, off))
	}
	if err != nil {
		t.Fatalf("%s: again: %v", where, err)
	}
	must(0, p.im.Close())
	again := must(vhdx.OpenFile(f))
	p.join(again)
	for what, im := range map[string]*vhdx.Image{"the image": p.im, "the file": again} {
		if d, err := disk.FirstDifference(im, want); d >= 0 || err != nil {
			t.Fatalf("%s: %s differs at %d afterwards, %v", where, what, d, err)
		}
	}
	if err := again.Check(); err != nil || again.Notes() != nil {
		t.Errorf("%s: Check: %v, notes %q", where, err, again.Notes())
	}
}

// Create passes on whatever the file refuses.
func TestCreateFaults(t *testing.T) {
	for _, o := range []vhdx.Options{
		{Size: 3 * mib, BlockSize: mib, Type: vhdx.Fixed},
		{Size: 3 * mib},
		{Parent: vhdx.Parent{Image: smallParent(), Path: `.\p.vhdx`}},
	} {
		clean := &faulty{Memory: disk.NewMemory(0), fails: func(int) bool { return false }}
		must(vhdx.Create(clean, o))
		for k := 1; k <= clean.count; k++ {
			_, err := vhdx.Create(&faulty{Memory: disk.NewMemory(0), fails: func(n int) bool { return n == k }}, o)
			wantCode(t, err, errCable)
		}
	}
}

// Sectors that a child took over before Sync failed are there while the failed
// step waits, and when others follow them into the same bitmap.
func TestFaultyCommitOfBits(t *testing.T) {
	for k, fired := 1, true; fired; k++ {
		_, parent, file, _ := family(t)
		f := &faulty{Memory: file, fails: func(int) bool { return false }}
		im := must(vhdx.OpenFile(f))
		must(0, im.SetParent(parent, vhdx.CheckID))
		im.SetWriteBack(true)
		want := content(t, im)
		write := func(seed byte, off int64) {
			must(im.WriteAt(pattern(seed, 1024), off))
			copy(want[off:], pattern(seed, 1024))
		}
		write(3, mib+40960)
		f.count, f.fails = 0, func(n int) bool { return n == k }
		err := im.Sync()
		if fired = f.count >= k; fired != (err != nil) {
			t.Fatalf("fault %d of %d: error %v", k, f.count, err)
		}
		f.fails = func(int) bool { return false }
		same(t, "disk after the fault", content(t, im), want)
		write(4, mib+81920)
		same(t, "disk written further", content(t, im), want)
		must(0, im.Sync())
		again := reopened(file)
		must(0, again.SetParent(parent, vhdx.CheckID))
		same(t, "disk opened again", content(t, again), want)
	}
}
