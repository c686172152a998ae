package disk_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"pgregory.net/rapid"
)

// A twin is a store beside the flat bytes that it must equal.
type twin struct {
	store  disk.Store
	bytes  []byte
	frozen bool
}

// twins is a state machine over a store and what descends from it. All calls go
// through the package's functions, so that it runs on every kind of store.
type twins struct {
	all  []*twin
	fill byte
}

const maxTwins = 4

func (m *twins) pick(t *rapid.T, what string) *twin {
	return m.all[rapid.IntRange(0, len(m.all)-1).Draw(t, what)]
}

func (m *twins) add(t *rapid.T, x *twin) {
	if len(m.all) < maxTwins {
		m.all = append(m.all, x)
		return
	}
	m.all[rapid.IntRange(0, maxTwins-1).Draw(t, "drop")] = x
}

// place draws a range inside size bytes; many begin and end on a border.
func place(t *rapid.T, size int64) (off, n int64) {
	grain := rapid.SampledFrom([]int64{1, 100, 512, 4096, 65536}).Draw(t, "grain")
	off = min(rapid.Int64Range(0, size/grain).Draw(t, "off")*grain, size)
	return off, min(rapid.Int64Range(0, 20).Draw(t, "count")*grain, size-off)
}

func (m *twins) data(t *rapid.T, n int64) []byte {
	p := make([]byte, n)
	if rapid.IntRange(0, 4).Draw(t, "zeros") > 0 {
		m.fill++
		for i := range p {
			p[i] = byte(i>>9) ^ m.fill
		}
	}
	return p
}

func (m *twins) Write(t *rapid.T) {
	x := m.pick(t, "write")
	off, n := place(t, int64(len(x.bytes)))
	p := m.data(t, n)
	k, err := x.store.WriteAt(p, off)
	if x.frozen {
		if k != 0 || !errors.Is(err, disk.ErrReadOnly) {
			t.Fatalf("a snapshot was written: %d, %v", k, err)
		}
		return
	}
	if k != len(p) || err != nil {
		t.Fatalf("WriteAt: %d of %d, %v", k, len(p), err)
	}
	copy(x.bytes[off:], p)
}

func (m *twins) WriteOverTheEnd(t *rapid.T) {
	x := m.pick(t, "write")
	if x.frozen {
		return
	}
	size := int64(len(x.bytes))
	off := rapid.Int64Range(max(0, size-9000), size+10).Draw(t, "off")
	fit := max(size-off, 0)
	p := m.data(t, fit+rapid.Int64Range(1, 5000).Draw(t, "over"))
	k, err := x.store.WriteAt(p, off)
	if int64(k) != fit || !errors.Is(err, disk.ErrRange) {
		t.Fatalf("WriteAt over the end: %d of %d that fit, %v", k, fit, err)
	}
	if fit > 0 {
		copy(x.bytes[off:], p)
	}
}

func (m *twins) Read(t *rapid.T) {
	x := m.pick(t, "read")
	size := int64(len(x.bytes))
	off, n := place(t, size)
	n += rapid.SampledFrom([]int64{0, 0, 1, 70000}).Draw(t, "over")
	p := bytes.Repeat([]byte{0xcc}, int(n))
	k, err := x.store.ReadAt(p, off)
	want := x.bytes[off:min(off+n, size)]
	if !bytes.Equal(p[:k], want) || (err == io.EOF) != (k < len(p)) || err != nil && err != io.EOF {
		t.Fatalf("ReadAt(%d bytes, %d) = %d, %v; or other bytes than the %d of the model", n, off, k, err, len(want))
	}
}

func (m *twins) Snapshot(t *rapid.T) {
	x := m.pick(t, "snapshot")
	s, err := disk.Snapshot(x.store)
	if errors.Is(err, disk.ErrUnsupported) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.add(t, &twin{store: s, bytes: slices.Clone(x.bytes), frozen: true})
}

func (m *twins) Clone(t *rapid.T) {
	x := m.pick(t, "clone")
	s, err := disk.Clone(x.store)
	if errors.Is(err, disk.ErrUnsupported) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.add(t, &twin{store: s, bytes: slices.Clone(x.bytes)})
}

func (m *twins) Discard(t *rapid.T) {
	x := m.pick(t, "discard")
	off, n := place(t, int64(len(x.bytes)))
	err := disk.Discard(x.store, off, n)
	if x.frozen {
		if !errors.Is(err, disk.ErrReadOnly) {
			t.Fatalf("a snapshot was discarded: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	clear(x.bytes[off : off+n])
}

func (m *twins) Resize(t *rapid.T) {
	x := m.pick(t, "resize")
	size := max(0, int64(len(x.bytes))+rapid.Int64Range(-70000, 70000).Draw(t, "by"))
	err := disk.Resize(x.store, size)
	switch {
	case errors.Is(err, disk.ErrUnsupported):
	case x.frozen:
		if !errors.Is(err, disk.ErrReadOnly) {
			t.Fatalf("a snapshot was resized: %v", err)
		}
	case err != nil:
		t.Fatal(err)
	default:
		x.bytes = resized(x.bytes, size)
	}
}

func resized(p []byte, size int64) []byte {
	q := make([]byte, size)
	copy(q, p)
	return q
}

func (m *twins) Copy(t *rapid.T) {
	dst, src := m.pick(t, "dst"), m.pick(t, "src")
	if dst.frozen {
		return
	}
	at, n := place(t, int64(len(src.bytes)))
	off, k := place(t, int64(len(dst.bytes)))
	if rapid.Bool().Draw(t, "alike") {
		off = min(at, int64(len(dst.bytes)))
		k = int64(len(dst.bytes)) - off
	}
	n = min(n, k)
	if dst == src && at < off+n && off < at+n {
		return // only a Memory may be copied over itself
	}
	if err := disk.Copy(disk.Section(dst.store, off, n), disk.Section(src.store, at, n)); err != nil {
		t.Fatal(err)
	}
	copy(dst.bytes[off:off+n], src.bytes[at:])
}

// CopyOut copies a store into a fresh Memory, and part of it into another, which
// then grows.
func (m *twins) CopyOut(t *rapid.T) {
	x := m.pick(t, "src")
	size := int64(len(x.bytes))
	whole := disk.NewMemory(size)
	if err := disk.Copy(whole, x.store); err != nil {
		t.Fatal(err)
	}
	checkBytes(t, &twin{store: whole, bytes: x.bytes})
	off, n := place(t, size)
	part := disk.NewMemory(n)
	if err := disk.Copy(part, disk.Section(x.store, off, n)); err != nil {
		t.Fatal(err)
	}
	if err := part.Resize(n + 9000); err != nil {
		t.Fatal(err)
	}
	checkBytes(t, &twin{store: part, bytes: resized(x.bytes[off:off+n], n+9000)})
}

// Check holds all bytes against the model after each step, since a write may
// show where it must not, and what is said about one of the stores.
func (m *twins) Check(t *rapid.T) {
	for _, x := range m.all {
		checkBytes(t, x)
	}
	x, y := m.pick(t, "now"), m.pick(t, "since")
	checkExtents(t, x)
	checkSpans(t, x)
	checkDiff(t, x, y)
	if rapid.IntRange(0, 2).Draw(t, "compare") == 0 { // hashing takes most of the time
		checkComparison(t, x, y)
	}
}

// scratch is what checkBytes reads into; clearing fresh memory takes longer.
var scratch [1 << 18]byte

func checkBytes(t *rapid.T, x *twin) {
	if x.store.Size() != int64(len(x.bytes)) {
		t.Fatalf("size %d, want %d", x.store.Size(), len(x.bytes))
	}
	p := scratch[:]
	if len(x.bytes) > len(p) {
		p = make([]byte, len(x.bytes))
	}
	p = p[:len(x.bytes)]
	if n, err := x.store.ReadAt(p, 0); n != len(p) || err != nil && err != io.EOF {
		t.Fatalf("ReadAt: %d of %d, %v", n, len(p), err)
	}
	if !bytes.Equal(p, x.bytes) {
		t.Fatal("the bytes differ from the model's")
	}
}

// checkExtents demands order, and zeros everywhere else.
func checkExtents(t *rapid.T, x *twin) {
	off, n := place(t, int64(len(x.bytes)))
	rest := slices.Clone(x.bytes[off : off+n])
	end := int64(-1)
	for e := range disk.Extents(x.store, off, n) {
		if e.Off <= end || e.Off < off || e.Len <= 0 || e.End() > off+n {
			t.Fatalf("extent %+v of %d+%d after one that ends at %d", e, off, n, end)
		}
		clear(rest[e.Off-off : e.End()-off])
		end = e.End()
	}
	if i := slices.IndexFunc(rest, func(b byte) bool { return b != 0 }); i >= 0 {
		t.Fatalf("byte %d is not zero, but in no extent", off+int64(i))
	}
}

// checkSpans demands that the spans of an overlay leave no gap, and that their
// bytes are what their origin says.
func checkSpans(t *rapid.T, x *twin) {
	o, ok := x.store.(*disk.Overlay)
	if !ok {
		return
	}
	off, n := place(t, o.Size())
	at, last := off, disk.Origin(255)
	for s := range o.Spans(off, n) {
		if s.Off != at || s.Len <= 0 || s.Origin == last {
			t.Fatalf("span %+v at %d after origin %d", s, at, last)
		}
		at, last = s.End(), s.Origin
		p := x.bytes[s.Off:s.End()]
		switch zero := len(bytes.Trim(p, "\x00")) == 0; s.Origin {
		case disk.Own:
			if zero {
				t.Fatalf("own span %+v is zero", s)
			}
		case disk.Zero:
			if !zero {
				t.Fatalf("zero span %+v is not", s)
			}
		case disk.Below:
			below := make([]byte, s.Len)
			if _, err := o.Parent().ReadAt(below, s.Off); err != nil || !bytes.Equal(p, below) {
				t.Fatalf("span %+v differs from the parent: %v", s, err)
			}
		}
	}
	if at != off+n {
		t.Fatalf("spans of %d+%d end at %d", off, n, at)
	}
}

// checkDiff demands order, and equality everywhere else.
func checkDiff(t *rapid.T, x, y *twin) {
	seq, err := disk.Diff(x.store, y.store)
	if err != nil {
		t.Fatal(err)
	}
	rest, old := slices.Clone(x.bytes), resized(y.bytes, int64(len(x.bytes)))
	end := int64(-1)
	for e := range seq {
		if e.Off <= end || e.Off < 0 || e.Len <= 0 || e.End() > x.store.Size() {
			t.Fatalf("difference %+v of %d bytes after one that ends at %d", e, x.store.Size(), end)
		}
		copy(rest[e.Off:e.End()], old[e.Off:])
		end = e.End()
	}
	if !bytes.Equal(rest, old) {
		t.Fatal("the stores differ outside the difference")
	}
}

func checkComparison(t *rapid.T, x, y *twin) {
	got, err := disk.FirstDifference(x.store, y.store)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(-1)
	short := min(len(x.bytes), len(y.bytes))
	for i := range short {
		if x.bytes[i] != y.bytes[i] {
			want = int64(i)
			break
		}
	}
	if want < 0 && len(x.bytes) != len(y.bytes) {
		want = int64(short)
	}
	if got != want {
		t.Fatalf("FirstDifference = %d, want %d", got, want)
	}
	if equal, err := disk.Equal(x.store, y.store); equal != (want < 0) || err != nil {
		t.Fatalf("Equal = %t, %v; the first difference is at %d", equal, err, want)
	}
	if digest(t, x.store) != digest(t, flat(x.bytes)) {
		t.Fatal("the digest depends on more than the bytes")
	}
}

func digest(t interface{ Fatal(...any) }, s disk.Source) [32]byte {
	d, err := disk.Digest(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// plain has the three methods of a store and no other.
type plain struct{ disk.Store }

// kinds makes a store of each kind, with bytes in it.
var kinds = map[string]func(t *rapid.T) *twin{
	"Memory": memory,
	"Section": func(t *rapid.T) *twin {
		x := parent(t)
		off, n := place(t, int64(len(x.bytes)))
		return &twin{store: disk.Section(x.store, off, n), bytes: slices.Clone(x.bytes[off : off+n])}
	},
	"Overlay": func(t *rapid.T) *twin { return over(t, parent(t)) },
	"Overlay on a section": func(t *rapid.T) *twin {
		x := parent(t)
		off, n := place(t, int64(len(x.bytes)))
		return over(t, &twin{store: disk.Section(x.store, off, n), bytes: x.bytes[off : off+n]})
	},
	"Section of a chain": func(t *rapid.T) *twin {
		x := over(t, over(t, parent(t)))
		if off, n := place(t, int64(len(x.bytes))); n > 0 {
			return &twin{store: disk.Section(x.store, off, n), bytes: slices.Clone(x.bytes[off : off+n])}
		}
		return x
	},
	"Overlay on a plain store": func(t *rapid.T) *twin {
		x := parent(t)
		return over(t, &twin{store: plain{x.store}, bytes: x.bytes})
	},
	"plain store": func(t *rapid.T) *twin {
		x := parent(t)
		return &twin{store: plain{x.store}, bytes: x.bytes}
	},
}

func memory(t *rapid.T) *twin {
	size := rapid.Int64Range(0, 200000).Draw(t, "size")
	return &twin{store: disk.NewMemory(size), bytes: make([]byte, size)}
}

// parent makes a Memory with something in it.
func parent(t *rapid.T) *twin {
	m := &twins{all: []*twin{memory(t)}}
	for range rapid.IntRange(0, 4).Draw(t, "writes") {
		m.Write(t)
	}
	return m.all[0]
}

// over makes an overlay that may be longer or shorter than its parent.
func over(t *rapid.T, x *twin) *twin {
	size := max(0, int64(len(x.bytes))+rapid.SampledFrom([]int64{0, 0, -5000, 5000}).Draw(t, "longer"))
	return &twin{store: disk.NewOverlay(disk.ReadOnly(x.store), size), bytes: resized(x.bytes, size)}
}

func TestStoresEqualFlatMemory(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := &twins{all: []*twin{kinds[name](t)}}
				t.Repeat(rapid.StateMachineActions(m))
			})
		})
	}
}
