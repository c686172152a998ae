package vhd_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/shadowsim/shadowsim/disk/vhd"
)

// A journal is a file that remembers, in order, every change made to it and
// where it was synced.
type journal struct {
	flat
	ops []op
}

type op struct {
	kind string // "write", "resize" or "sync"
	off  int64  // or the new size
	data []byte
}

func (j *journal) WriteAt(p []byte, off int64) (int, error) {
	j.ops = append(j.ops, op{"write", off, bytes.Clone(p)})
	return j.flat.WriteAt(p, off)
}

func (j *journal) Resize(size int64) error {
	j.ops = append(j.ops, op{"resize", size, nil})
	return j.flat.Resize(size)
}

func (j *journal) Sync() error {
	j.ops = append(j.ops, op{kind: "sync"})
	return nil
}

// apply makes the change to f; a write behind its end makes it longer.
func (o op) apply(f *flat) {
	switch o.kind {
	case "write":
		if end := o.off + int64(len(o.data)); end > f.Size() {
			f.Resize(end)
		}
		copy(f.b[o.off:], o.data)
	case "resize":
		f.Resize(o.off)
	}
}

// A cutScenario is an image on which one allocating write is to be interrupted.
type cutScenario struct {
	name string
	file fileBytes
	off  int64
	p    []byte
}

func cutScenarios() []cutScenario {
	foreign := small()
	foreign = append(foreign[:len(foreign)-512:len(foreign)-512], append(make([]byte, 1024), foreign[len(foreign)-512:]...)...)
	return []cutScenario{
		{"one block", small(), 2*4096 + 700, pattern(9, 3000)},
		{"over two new blocks", small(), 2*4096 - 700, pattern(9, 3000)},
		{"over new and old blocks", small(), 4*4096 + 512, pattern(9, 3*4096)},
		{"footer not where ours would be", foreign, 2 * 4096, pattern(9, 4096)},
		{"footer of 511 bytes", small()[:len(small())-1], 2 * 4096, pattern(9, 4096)},
		{"bitmap with holes", small().spoil(int(small().getEntry(5)) * 512), 5*4096 + 100, pattern(9, 8000)},
		{"new block of a child", smallChild(), 5*4096 + 100, pattern(9, 3000)},
		{"block of a child", smallChild(), 2*4096 + 700, pattern(9, 3000)},
		{"blocks of a child, new and old", smallChild(), 4096 + 700, pattern(9, 15000)},
		{"child, its own sectors", smallChild(), 3*4096 + 512, pattern(9, 3000)},
	}
}

// The power goes at any point of a write that adds blocks. Between two syncs
// the file may have taken any of the changes and lost the others. What opens
// afterwards has all that was there before, and of what was being written, in
// each sector, the old bytes or the new ones.
func TestCut(t *testing.T) {
	for _, c := range cutScenarios() {
		t.Run(c.name, func(t *testing.T) {
			before := reopen(t, &flat{c.file})
			after := bytes.Clone(before)
			copy(after[c.off:], c.p)
			j := &journal{flat: flat{bytes.Clone(c.file)}}
			im := adopt(vhd.OpenFile(j))
			must(im.WriteAt(c.p, c.off))
			same(t, "disk without a cut", reopen(t, &j.flat), after)
			if len(j.ops) < 1 {
				t.Fatalf("the journal has %d entries; nothing to cut", len(j.ops))
			}
			for i, o := range j.ops {
				if o.kind == "write" && o.off < 4096 && (i+1 == len(j.ops) || j.ops[i+1].kind != "sync") {
					t.Errorf("the table's entry at %d is not synced", o.off)
				}
			}
			base := &flat{bytes.Clone(c.file)}
			for len(j.ops) > 0 {
				n := 0
				for n < len(j.ops) && j.ops[n].kind != "sync" {
					n++
				}
				cutEpoch(t, base, j.ops[:n], before, after)
				for _, o := range j.ops[:n] {
					o.apply(base)
				}
				j.ops = j.ops[min(n+1, len(j.ops)):]
			}
		})
	}
}

// cutEpoch tries every choice of lost changes between two syncs.
func cutEpoch(t *testing.T, base *flat, ops []op, before, after []byte) {
	for kept := range 1 << len(ops) {
		f := &flat{bytes.Clone(base.b)}
		what := ""
		for i, o := range ops {
			if kept&(1<<i) != 0 {
				o.apply(f)
				what += fmt.Sprintf(" %s %d+%d", o.kind, o.off, len(o.data))
			}
		}
		got := reopen(t, f)
		for i := range got {
			if got[i] != before[i] && got[i] != after[i] {
				t.Fatalf("kept%s: byte %d is %#x, was %#x, becoming %#x", what, i, got[i], before[i], after[i])
			}
		}
	}
}

// Growth without the footer that follows is the one instant at which the copy
// must stand in; after every other change the image opens without a note. At
// all of them it can be repaired and the write done again.
func TestCutInOrder(t *testing.T) {
	for _, c := range cutScenarios() {
		t.Run(c.name, func(t *testing.T) {
			j := &journal{flat: flat{bytes.Clone(c.file)}}
			must(adopt(vhd.OpenFile(j)).WriteAt(c.p, c.off))
			after := reopen(t, &j.flat)
			f := &flat{bytes.Clone(c.file)}
			for _, o := range j.ops {
				o.apply(f)
				im, err := vhd.Open(f, f.Size())
				if err != nil {
					t.Fatal(err)
				}
				if o.kind != "resize" && im.Notes() != nil {
					t.Errorf("after %s at %d: notes %q", o.kind, o.off, im.Notes())
				}
				im, err = vhd.Repair(&flat{bytes.Clone(f.b)})
				if err != nil {
					t.Fatal(err)
				}
				adopt(im, nil)
				must(im.WriteAt(c.p, c.off))
				same(t, "image", content(t, im), after)
			}
		})
	}
}

// A faulty file fails some of its changes, writing about half of the sectors
// asked for, none of them in part.
type faulty struct {
	flat
	count int
	fails func(n int) bool
}

var errCable = errors.New("cable out")

func (f *faulty) fail() bool {
	f.count++
	return f.fails(f.count)
}

func (f *faulty) WriteAt(p []byte, off int64) (int, error) {
	if f.fail() {
		half := (off+int64(len(p)/2))/512*512 - off
		n, _ := f.flat.WriteAt(p[:max(half, 0)], off)
		return n, errCable
	}
	return f.flat.WriteAt(p, off)
}

func (f *faulty) Resize(size int64) error {
	if f.fail() {
		return errCable
	}
	return f.flat.Resize(size)
}

func (f *faulty) Sync() error {
	if f.fail() {
		return errCable
	}
	return nil
}

// Every change to the file fails once, or it and all that follow. The write
// reports it, nothing else is lost, and when the file is well again the same
// write succeeds.
func TestFaults(t *testing.T) {
	for _, c := range cutScenarios() {
		clean := &faulty{flat: flat{bytes.Clone(c.file)}, fails: func(int) bool { return false }}
		must(adopt(vhd.OpenFile(clean)).WriteAt(c.p, c.off))
		for k := 1; k <= clean.count; k++ {
			for name, fails := range map[string]func(n int) bool{
				"once":    func(n int) bool { return n == k },
				"forever": func(n int) bool { return n >= k },
			} {
				t.Run(fmt.Sprintf("%s %s from %d", c.name, name, k), func(t *testing.T) {
					faultyWrite(t, c, fails)
				})
			}
		}
	}
}

// faultyWrite does the write of c while the file fails, and again when it does
// not.
func faultyWrite(t *testing.T, c cutScenario, fails func(n int) bool) {
	want := reopen(t, &flat{c.file})
	f := &faulty{flat: flat{bytes.Clone(c.file)}, fails: fails}
	im := adopt(vhd.OpenFile(f))
	n, err := im.WriteAt(c.p, c.off)
	wantCode(t, err, errCable)
	copy(want[c.off:], c.p[:n])
	outside := func(what string, got []byte) {
		end := int(c.off) + len(c.p)
		same(t, what+", before the write", got[:int(c.off)+n], want[:int(c.off)+n])
		same(t, what+", behind the write", got[end:], want[end:])
	}
	outside("image after the fault", content(t, im))
	outside("bytes after the fault", reopen(t, &f.flat))
	f.count = 1 << 30 // "once" is over, "forever" is not
	if im := must(vhd.Open(f, f.Size())); im.Notes() != nil && !f.fail() {
		t.Errorf("after one fault: notes %q", im.Notes())
	}

	f.fails = func(int) bool { return false }
	must(im.WriteAt(c.p, c.off))
	copy(want[c.off:], c.p)
	same(t, "image", content(t, im), want)
	same(t, "bytes", reopen(t, &f.flat), want)
	again := must(vhd.OpenFile(f))
	if err := again.Check(); err != nil || again.Notes() != nil {
		t.Errorf("Check: %v, notes %q", err, again.Notes())
	}
}

// Create passes on whatever the file refuses.
func TestCreateFaults(t *testing.T) {
	for _, typ := range []vhd.Type{vhd.Fixed, vhd.Dynamic} {
		o := vhd.Options{Size: 16 << 20, Type: typ, BlockSize: 512} // a table of two buffers
		clean := &faulty{fails: func(int) bool { return false }}
		must(vhd.Create(clean, o))
		for k := 1; k <= clean.count; k++ {
			_, err := vhd.Create(&faulty{fails: func(n int) bool { return n == k }}, o)
			wantCode(t, err, errCable)
		}
	}
}

// A reading fault is passed on, with what was read before it.
func TestReadFault(t *testing.T) {
	b := small().spoil(int(small().getEntry(5)) * 512)
	want := reopen(t, &flat{b})
	for from := range int64(len(b)) {
		if from%128 != 0 {
			continue
		}
		f := &deaf{flat: flat{bytes.Clone(b)}, from: from}
		_, err := vhd.OpenFile(f)
		wantCode(t, err, errCable)
		_, err = vhd.Detect(f, f.Size())
		wantCode(t, err, errCable)

		f.from = 1 << 62
		im := must(vhd.OpenFile(f))
		f.from = from
		got := make([]byte, im.Size())
		n, err := im.ReadAt(got, 0)
		if n < len(got) {
			wantCode(t, err, errCable)
		}
		same(t, "what was read", got[:n], want[:n])
		cover(t, im, want, 0, im.Size())
		if err := im.Check(); !errors.Is(err, errCable) && !errors.Is(err, vhd.ErrBitmap) {
			t.Errorf("Check: %v", err)
		}
		if s := im.Map(5*4096, 100); s.Store != nil {
			t.Errorf("Map vouches for a block whose bitmap cannot be read: %+v", s)
		}
		if n, err = im.WriteAt(pattern(6, int(im.Size())), 0); n < int(im.Size()) {
			wantCode(t, err, errCable)
		}
		f.from = 1 << 62
		same(t, "what was written", content(t, im)[:n], pattern(6, int(im.Size()))[:n])
	}
}

// A deaf file cannot be read from some offset on.
type deaf struct {
	flat
	from int64
}

func (d *deaf) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > d.from {
		return 0, errCable
	}
	return d.flat.ReadAt(p, off)
}

// A file that shrinks under an open image is an error, not a panic.
func TestFileShrinks(t *testing.T) {
	f := &flat{small()}
	im := must(vhd.OpenFile(f))
	f.b = f.b[:5000]
	_, err := im.ReadAt(make([]byte, im.Size()), 0)
	wantCode(t, err, vhd.ErrFileSize)
}
