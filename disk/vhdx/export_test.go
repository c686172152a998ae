package vhdx_test

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// Every way to write a disk out makes the same bytes: front to back and leaving
// out zeros. What is written is the disk.
func TestWaysToWrite(t *testing.T) {
	few(t, 40, func(t *rapid.T) {
		o := rapid.SampledFrom([]vhdx.Options{
			{Size: 5*mib + 1024, BlockSize: mib, Type: vhdx.Fixed},
			{Size: 5*mib + 1024, BlockSize: mib},
			{Size: 5*mib + 4096, BlockSize: 2 * mib, SectorSize: 4096},
			{Size: 4<<30 + 2*mib, BlockSize: mib},
			{Parent: vhdx.Parent{Image: smallParent(), Path: `.\p.vhdx`}, BlockSize: mib},
			{Parent: vhdx.Parent{Image: smallParent(), Path: `.\p.vhdx`}, Size: 9*mib + 512, BlockSize: 4 * mib},
		}).Draw(t, "options")
		src, below := source(t, &o)
		plan, err := vhdx.NewPlan(src, o)
		if err != nil {
			t.Fatal(err)
		}
		sparse := disk.NewMemory(0)
		must(0, plan.WriteAtTo(sparse))
		if sparse.Size() != plan.Size() {
			t.Fatalf("planned %d bytes, written %d", plan.Size(), sparse.Size())
		}
		if plan.Size() < 100*mib {
			var stream bytes.Buffer
			if n, err := plan.WriteTo(&stream); n != plan.Size() || err != nil {
				t.Fatalf("WriteTo = %d, %v", n, err)
			}
			same(t, "front to back", stream.Bytes(), content(t, sparse))
		}
		im, err := vhdx.OpenFile(sparse)
		if err != nil {
			t.Fatal(err)
		}
		m := &machine{im: im, file: sparse, model: disk.NewMemory(src.Size()), below: below}
		must(0, disk.Copy(m.model, src))
		m.join(im)
		m.check(t, true)
		m.write(t) // and goes on in place
		m.check(t, true)
	})
}

// source draws a disk to be written out: for a child an overlay, another child,
// or any disk that is compared with the parent.
func source(t *rapid.T, o *vhdx.Options) (src disk.Store, below *vhdx.Image) {
	below = o.Parent.Image
	size := o.Size
	if size == 0 {
		size = below.Size()
	}
	kind := 0
	if below != nil {
		kind = rapid.IntRange(1, 3).Draw(t, "kind")
	}
	switch kind {
	case 0:
		src = disk.NewMemory(size)
	case 1:
		src = disk.NewOverlay(below, size)
	case 2:
		child := *o
		child.BlockSize = 2 * mib
		im := must(vhdx.Create(disk.NewMemory(0), child))
		src = im
		if o.Size == 0 {
			o.Size = im.Size()
		}
	case 3:
		m := disk.NewMemory(size)
		must(0, disk.Copy(m, below))
		src = m
	}
	m := &machine{im: must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: size &^ 511, BlockSize: mib}))}
	for range rapid.IntRange(0, 4).Draw(t, "writes") {
		off, n := m.span(t)
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0:
			must(src.WriteAt(make([]byte, n), off))
		case 1:
			must(0, disk.Discard(src, off, n))
		default:
			must(src.WriteAt(pattern(byte(off)|1, int(n)), off))
		}
	}
	return src, below
}

// A sparse disk makes a sparse file, in time that does not depend on its size.
func TestExportSparse(t *testing.T) {
	src := disk.NewMemory(1 << 40)
	must(src.WriteAt(pattern(1, 8192), 1<<39+100))
	for _, typ := range []vhdx.Type{vhdx.Fixed, vhdx.Dynamic} {
		out := disk.NewMemory(0)
		must(0, must(vhdx.NewPlan(src, vhdx.Options{Type: typ})).WriteAtTo(out))
		im := must(vhdx.OpenFile(out))
		if equal, err := disk.Equal(im, src); !equal || err != nil {
			t.Errorf("%v: Equal = %v, %v", typ, equal, err)
		}
		held := int64(0)
		for e := range im.Extents(0, im.Size()) {
			held += e.Len
		}
		if held > mib {
			t.Errorf("%v: the image holds %d bytes of data", typ, held)
		}
		if typ == vhdx.Dynamic && out.Size() > 36*mib {
			t.Errorf("the file has %d bytes", out.Size())
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		size int64
		o    vhdx.Options
		want vhdx.Code
	}{
		"size of its own": {4096, vhdx.Options{Size: 8192}, vhdx.ErrSize},
		"half a sector":   {4096 + 256, vhdx.Options{}, vhdx.ErrSize},
		"nothing":         {0, vhdx.Options{}, vhdx.ErrSize},
		"child":           {4096, vhdx.Options{Type: vhdx.Differencing}, vhdx.ErrParentNotFound},
		"block of 1000":   {4096, vhdx.Options{BlockSize: 1000}, vhdx.ErrBlockSize},
	} {
		t.Run(name, func(t *testing.T) {
			var w bytes.Buffer
			n, err := vhdx.Write(&w, disk.NewMemory(c.size), c.o)
			wantCode(t, err, c.want)
			if n != 0 || w.Len() != 0 {
				t.Errorf("Write = %d, and %d bytes came out", n, w.Len())
			}
		})
	}
}

// A limited takes some bytes and no more.
type limited struct{ rest int }

func (l *limited) Write(p []byte) (int, error) {
	if n := l.rest; len(p) > n {
		l.rest = 0
		return n, errCable
	}
	l.rest -= len(p)
	return len(p), nil
}

func (l *limited) WriteAt(p []byte, off int64) (int, error) { return l.Write(p) }

// lazy takes half of what it is given and says nothing.
type lazy struct{}

func (lazy) Write(p []byte) (int, error) { return len(p) / 2, nil }

// Wherever the writing breaks off, its error comes out.
func TestWriteBreaksOff(t *testing.T) {
	src := disk.NewMemory(3 * mib)
	must(src.WriteAt(pattern(1, 10000), mib))
	overlay := disk.NewOverlay(smallParent(), smallParent().Size())
	must(overlay.WriteAt(pattern(1, 10000), mib))
	for _, c := range []struct {
		src disk.Source
		o   vhdx.Options
	}{{src, vhdx.Options{BlockSize: mib}}, {src, vhdx.Options{BlockSize: mib, Type: vhdx.Fixed}},
		{overlay, vhdx.Options{BlockSize: mib, Parent: vhdx.Parent{Image: smallParent(), Path: `.\p.vhdx`}}}} {
		plan := must(vhdx.NewPlan(c.src, c.o))
		for n := 0; n < int(plan.Size()); n += 100000 {
			got, err := plan.WriteTo(&limited{n})
			if wantCode(t, err, errCable); got != int64(n) {
				t.Errorf("WriteTo = %d, want %d", got, n)
			}
		}
		for n := range 9 {
			wantCode(t, plan.WriteAtTo(&limited{n * 4096}), errCable)
		}
		_, err := plan.WriteTo(lazy{})
		wantCode(t, err, io.ErrShortWrite)
		broken := &deaf{bytes.NewReader(make([]byte, c.src.Size())), 0}
		_, err = vhdx.NewPlan(broken, vhdx.Options{})
		wantCode(t, err, errCable)
	}
}

// A source of which some table cannot be read does not make an image that lacks
// what it speaks of.
func TestSourceThatDoesNotTell(t *testing.T) {
	f := disk.WithFaults(smallChild(), disk.FaultPlan{})
	src := must(vhdx.Open(f, f.Size()))
	must(0, src.SetParent(smallParent(), vhdx.CheckID))
	f.Inject(must(disk.ParseFault("read at=3145728+8192 from=1 err=0x80070017")))
	p := vhdx.Parent{Image: smallParent(), Path: `.\p.vhdx`}
	_, err := vhdx.NewPlan(src, vhdx.Options{Parent: p})
	var e *disk.FaultError
	if !errors.As(err, &e) {
		t.Errorf("error %v, want the file's", err)
	}
}

// A source that does not tell what is its own, and counts how much of it is
// read.
type reticent struct {
	disk.Store
	disk.Extenter
	read int64
	diff error
}

func (r *reticent) ReadAt(p []byte, off int64) (int, error) {
	if r.read += int64(len(p)); r.read > 16*mib {
		return 0, errCable
	}
	return r.Store.ReadAt(p, off)
}

func (r *reticent) Diff(disk.Store) (iter.Seq[disk.Extent], error) { return nil, r.diff }

// Where neither a disk nor the parent has anything, nothing is compared. A
// source that cannot say where that is ends the plan.
func TestExportOfDifferences(t *testing.T) {
	const size = 2 << 40
	parent := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: size, BlockSize: mib, ID: vhdx.GUID{1}}))
	must(parent.WriteAt(pattern(1, 3*4096), size-mib-4096))
	must(parent.WriteAt(pattern(2, 4096), 5*mib))
	m := disk.NewMemory(size + 512)
	must(m.WriteAt(pattern(1, 2*4096), size-mib-4096)) // as in the parent, and zero behind
	must(m.WriteAt(pattern(3, 1000), size/2+300))      // of its own
	must(m.WriteAt(pattern(4, 512), size))             // behind the parent's end
	src := &reticent{Store: m, Extenter: m, diff: disk.ErrUnsupported}
	o := vhdx.Options{BlockSize: mib, Size: size + 512, Parent: vhdx.Parent{Image: parent, Path: `.\p.vhdx`}}
	out := disk.NewMemory(0)
	must(0, must(vhdx.NewPlan(src, o)).WriteAtTo(out))
	im := must(vhdx.OpenFile(out))
	must(0, im.SetParent(parent, vhdx.CheckID))
	if off, err := disk.FirstDifference(im, m); off >= 0 || err != nil {
		t.Errorf("the disk differs at %d, %v", off, err)
	}
	own := int64(0)
	for s := range im.Spans(0, im.Size()) {
		if s.Origin == disk.Own {
			own += s.Len
		}
	}
	if want := int64(4096 + 4096 + 3*512 + 512); own != want {
		t.Errorf("%d bytes are the image's own, want %d", own, want)
	}
	src.diff = errCable
	_, err := vhdx.NewPlan(src, o)
	wantCode(t, err, errCable)
}
