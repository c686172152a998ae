package vhd_test

import (
	"bytes"
	"io"
	"iter"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

// Every way to write a disk out makes the same bytes: front to back, leaving
// out zeros, and block by block in place.
func TestWaysToWrite(t *testing.T) {
	for _, o := range shapes {
		t.Run(shapeName(o), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				src := disk.NewMemory(o.Size)
				for range rapid.IntRange(0, 4).Draw(t, "writes") {
					m := machine{im: must(vhd.Create(&flat{}, o))}
					off, n := m.span(t)
					p := pattern(byte(off), int(n))
					if rapid.Bool().Draw(t, "zeros") {
						clear(p)
					}
					must(src.WriteAt(p, off))
				}
				want := content(t, src)

				inPlace := &flat{}
				must(must(vhd.Create(inPlace, o)).WriteAt(want, 0))
				same(t, "disk", reopen(t, inPlace), want)

				plan := must(vhd.NewPlan(src, o))
				if plan.Size() != inPlace.Size() {
					t.Fatalf("planned %d bytes, in place they are %d", plan.Size(), inPlace.Size())
				}
				var stream bytes.Buffer
				if n, err := plan.WriteTo(&stream); n != plan.Size() || err != nil {
					t.Fatalf("WriteTo = %d, %v", n, err)
				}
				same(t, "front to back", stream.Bytes(), inPlace.b)
				sparse := disk.NewMemory(plan.Size())
				if err := plan.WriteAtTo(sparse); err != nil {
					t.Fatal(err)
				}
				same(t, "without zeros", content(t, sparse), inPlace.b)
			})
		})
	}
}

// A sparse disk makes a sparse file, in time that does not depend on its size.
func TestExportSparse(t *testing.T) {
	for _, typ := range []vhd.Type{vhd.Fixed, vhd.Dynamic} {
		src := disk.NewMemory(1 << 40)
		must(src.WriteAt(pattern(1, 8192), 1<<39+100))
		plan := must(vhd.NewPlan(src, vhd.Options{Type: typ}))
		out := disk.NewMemory(plan.Size())
		if err := plan.WriteAtTo(out); err != nil {
			t.Fatal(err)
		}
		im := must(vhd.OpenFile(out))
		if equal, err := disk.Equal(im, src); !equal || err != nil {
			t.Errorf("%v: Equal = %v, %v", typ, equal, err)
		}
		held := int64(0)
		for e := range im.Extents(0, im.Size()) {
			held += e.Len
		}
		if held > 1<<20 {
			t.Errorf("%v: the image holds %d bytes of data", typ, held)
		}
		before := plan.Size()
		if typ == vhd.Fixed && before != 1<<40+512 || typ == vhd.Dynamic && before > 8<<20 {
			t.Errorf("%v: the file has %d bytes", typ, before)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		size int64
		o    vhd.Options
		want vhd.Code
	}{
		"size of its own": {4096, vhd.Options{Size: 8192}, vhd.ErrSize},
		"half a sector":   {4096 + 256, vhd.Options{}, vhd.ErrSize},
		"nothing":         {0, vhd.Options{}, vhd.ErrSize},
		"child":           {4096, vhd.Options{Type: vhd.Differencing}, vhd.ErrParentNotFound},
		"block of 1000":   {4096, vhd.Options{BlockSize: 1000}, vhd.ErrBlockSize},
	} {
		t.Run(name, func(t *testing.T) {
			var w bytes.Buffer
			n, err := vhd.Write(&w, disk.NewMemory(c.size), c.o)
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
	src := must(vhd.OpenFile(&flat{small()}))
	for _, o := range []vhd.Options{{BlockSize: 4096}, {Type: vhd.Fixed}} {
		plan := must(vhd.NewPlan(src, o))
		for n := 0; n < int(plan.Size()); n += 256 {
			got, err := plan.WriteTo(&limited{n})
			if wantCode(t, err, errCable); got != int64(n) {
				t.Errorf("WriteTo = %d, want %d", got, n)
			}
		}
		for n := 0; n < 2048; n += 256 {
			wantCode(t, plan.WriteAtTo(&limited{n}), errCable)
		}
		_, err := plan.WriteTo(lazy{})
		wantCode(t, err, io.ErrShortWrite)
	}
}

// A source that cannot be read ends the planning or the writing.
func TestSourceBreaks(t *testing.T) {
	d := &deaf{flat: flat{pattern(1, 8192)}, from: 1 << 62}
	plan := must(vhd.NewPlan(d, vhd.Options{BlockSize: 4096}))
	fixed := must(vhd.NewPlan(d, vhd.Options{Type: vhd.Fixed}))
	d.from = 4096
	_, err := vhd.NewPlan(d, vhd.Options{BlockSize: 4096})
	wantCode(t, err, errCable)
	for _, p := range []*vhd.Plan{plan, fixed} {
		_, err = p.WriteTo(io.Discard)
		wantCode(t, err, errCable)
		wantCode(t, p.WriteAtTo(disk.NewMemory(p.Size())), errCable)
	}
	d.from, d.b = 1<<62, d.b[:4096]
	_, err = fixed.WriteTo(io.Discard)
	wantCode(t, err, vhd.ErrSize)
}

// An image is a Source too: one kind becomes the other.
func TestConvert(t *testing.T) {
	want := reopen(t, &flat{small()})
	src := disk.Source(must(vhd.OpenFile(&flat{small()})))
	for _, o := range []vhd.Options{{Type: vhd.Fixed}, {BlockSize: 512}, {}, {BlockSize: 4096}} {
		var w bytes.Buffer
		must(vhd.Write(&w, src, o))
		im := must(vhd.Open(bytes.NewReader(w.Bytes()), int64(w.Len())))
		same(t, "disk", content(t, im), want)
		src = im
	}
}

// silent is a source that tells only what it holds at its front.
type silent struct{ flat }

func (s *silent) Spans(off, n int64) iter.Seq[disk.Span] {
	return func(yield func(disk.Span) bool) {
		yield(disk.Span{Extent: disk.Extent{Off: off, Len: 512}, Origin: disk.Own})
	}
}

// What a source does not tell of is not taken for its parent's.
func TestSourceThatDoesNotTell(t *testing.T) {
	_, p := child(t)
	_, err := vhd.NewPlan(&silent{flat{make([]byte, p.Size())}}, over(p))
	wantCode(t, err, io.ErrUnexpectedEOF)
}

// undecided is a disk that fails to say what of it differs.
type undecided struct{ disk.Store }

func (undecided) Diff(disk.Store) (iter.Seq[disk.Extent], error) { return nil, errCable }

// A source that holds nothing where its parent does is not taken for equal when
// it cannot say what differs.
func TestSourceThatCannotCompare(t *testing.T) {
	_, p := child(t)
	_, err := vhd.NewPlan(undecided{disk.NewMemory(p.Size())}, over(p))
	wantCode(t, err, errCable)
}
