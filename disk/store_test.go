package disk_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
)

// Every kind of store claims these.
var (
	_ interface {
		disk.Snapshotter
		disk.Cloner
		disk.Discarder
		disk.Extenter
		disk.Differ
		disk.Resizer
	} = (*disk.Memory)(nil)
	_ interface {
		disk.Snapshotter
		disk.Cloner
		disk.Discarder
		disk.Extenter
		disk.Differ
		disk.Resizer
		disk.Mapper
	} = (*disk.Overlay)(nil)
	_ disk.Source = (*io.SectionReader)(nil)
)

func mustWrite(t testing.TB, s disk.Store, off int64, text string) {
	t.Helper()
	if n, err := s.WriteAt([]byte(text), off); n != len(text) || err != nil {
		t.Fatalf("WriteAt: %d, %v", n, err)
	}
}

func readString(t testing.TB, s disk.Source, off int64, n int) string {
	t.Helper()
	p := make([]byte, n)
	k, err := s.ReadAt(p, off)
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(p[:k])
}

func extents(s disk.Source) []disk.Extent {
	return slices.Collect(disk.Extents(s, 0, s.Size()))
}

func TestErrorsNameCallPlaceAndReason(t *testing.T) {
	m := disk.NewMemory(100)
	_, write := m.WriteAt(make([]byte, 10), 95)
	_, before := m.ReadAt(make([]byte, 1), -1)
	for _, c := range []struct {
		err  error
		code disk.Code
		text string
	}{
		{write, disk.ErrRange, "disk: WriteAt at 95: range is outside the store"},
		{before, disk.ErrRange, "disk: ReadAt at -1: range is outside the store"},
		{m.Discard(99, 2), disk.ErrRange, "disk: Discard at 99: range is outside the store"},
		{m.Discard(1, -1), disk.ErrRange, "disk: Discard at 1: range is outside the store"},
		{m.Resize(-3), disk.ErrSize, "disk: Resize at -3: size does not fit"},
		{m.Freeze().Discard(0, 1), disk.ErrReadOnly, "disk: Discard at 0: store is read-only"},
		{disk.Copy(disk.NewMemory(99), m), disk.ErrSize, "disk: Copy at 99: size does not fit"},
		{disk.Resize(plain{m}, 7), disk.ErrUnsupported, "disk: Resize at 7: store cannot do this"},
		{&disk.Error{Op: "WriteAt", Off: 1, Err: disk.ErrNoSpace}, disk.ErrNoSpace, "disk: WriteAt at 1: no space left"},
	} {
		var e *disk.Error
		if !errors.Is(c.err, c.code) || !errors.As(c.err, &e) || c.err.Error() != c.text {
			t.Errorf("got %q, want %q", c.err, c.text)
		}
	}
	if got := disk.Code(200).Error(); got != "disk error 200" {
		t.Errorf("unknown code prints %q", got)
	}
	if !errors.Is(disk.ErrReadOnly, fs.ErrPermission) || !errors.Is(disk.ErrUnsupported, errors.ErrUnsupported) ||
		errors.Is(disk.ErrRange, fs.ErrPermission) {
		t.Error("the codes do not match the standard library's errors")
	}
}

func TestPlainStoreFallsBack(t *testing.T) {
	m := disk.NewMemory(10000)
	mustWrite(t, m, 9000, "data")
	s := plain{m}
	if _, err := disk.Snapshot(s); !errors.Is(err, disk.ErrUnsupported) {
		t.Errorf("Snapshot: %v", err)
	}
	if _, err := disk.Clone(s); !errors.Is(err, disk.ErrUnsupported) {
		t.Errorf("Clone: %v", err)
	}
	if got := extents(s); len(got) != 1 || got[0] != (disk.Extent{Off: 0, Len: 10000}) {
		t.Errorf("Extents: %v", got)
	}
	if err := disk.Discard(s, 8990, 12); err != nil || readString(t, s, 9000, 4) != "\x00\x00ta" {
		t.Errorf("Discard: %v, %q", err, readString(t, s, 9000, 4))
	}
	if err := disk.Discard(s, 8990, 2000); !errors.Is(err, disk.ErrRange) {
		t.Errorf("Discard over the end: %v", err)
	}
}

// snapshotOnly is a store that takes snapshots and makes no clones.
type snapshotOnly struct{ plain }

func (s snapshotOnly) Snapshot() (disk.Store, error) { return disk.Snapshot(s.Store) }

func TestCloneOfWhatTakesSnapshots(t *testing.T) {
	m := disk.NewMemory(10000)
	mustWrite(t, m, 0, "abc")
	c, err := disk.Clone(snapshotOnly{plain{m}})
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, c, 1, "X")
	mustWrite(t, m, 2, "Y")
	if got := readString(t, c, 0, 3) + readString(t, m, 0, 3); got != "aXcabY" {
		t.Errorf("clone and store: %q", got)
	}
}

func TestSectionIsCutToItsStore(t *testing.T) {
	m := disk.NewMemory(1000)
	for _, c := range []struct{ off, n, size int64 }{
		{0, 1000, 1000}, {10, 20, 20}, {990, 20, 10}, {1000, 1, 0}, {2000, 1, 0}, {-10, 20, 10}, {-10, 5, 0}, {10, -1, 0},
	} {
		if got := disk.Section(m, c.off, c.n).Size(); got != c.size {
			t.Errorf("Section(%d, %d) has %d bytes, want %d", c.off, c.n, got, c.size)
		}
	}
	s := disk.Section(m, 100, 50)
	if s.(disk.Unwrapper).Unwrap() != m {
		t.Error("Unwrap is not the store")
	}
	if err := m.Resize(120); err != nil {
		t.Fatal(err)
	}
	if n, err := s.ReadAt(make([]byte, 50), 0); n != 20 || err != io.EOF {
		t.Errorf("read of a section whose store shrank: %d, %v", n, err)
	}
	if err := disk.Copy(s, disk.NewMemory(50)); !errors.Is(err, disk.ErrRange) {
		t.Errorf("copy to a section whose store shrank: %v", err)
	}
	if err := disk.Discard(s, 45, 6); !errors.Is(err, disk.ErrRange) {
		t.Errorf("Discard: %v", err)
	}
	if _, err := s.ReadAt(nil, -1); !errors.Is(err, disk.ErrRange) {
		t.Errorf("ReadAt: %v", err)
	}
	if _, err := s.WriteAt(nil, -1); !errors.Is(err, disk.ErrRange) {
		t.Errorf("WriteAt: %v", err)
	}
	if n, err := s.ReadAt(make([]byte, 1), 50); n != 0 || err != io.EOF {
		t.Errorf("ReadAt at the end: %d, %v", n, err)
	}
}

// eager says io.EOF together with the last bytes, as a reader may.
type eager struct{ disk.Store }

func (e eager) ReadAt(p []byte, off int64) (int, error) {
	n, err := e.Store.ReadAt(p, off)
	if off+int64(n) == e.Size() {
		err = io.EOF
	}
	return n, err
}

func TestReadThatEndsEarlyIsNoError(t *testing.T) {
	m := disk.NewMemory(1000)
	mustWrite(t, m, 997, "end")
	p := make([]byte, 3)
	if n, err := disk.Section(eager{m}, 0, 1000).ReadAt(p, 997); n != 3 || err != nil || string(p) != "end" {
		t.Errorf("section: %d, %v", n, err)
	}
	if n, err := disk.NewOverlay(eager{m}, 1000).ReadAt(p, 997); n != 3 || err != nil {
		t.Errorf("overlay: %d, %v", n, err)
	}
	if err := disk.Copy(disk.NewMemory(1000), eager{m}); err != nil {
		t.Error(err)
	}
}

// Sync reaches the store inside, whatever is around it.
func TestSyncReachesTheStore(t *testing.T) {
	for name, wrap := range map[string]func(s disk.Store) disk.Store{
		"section":   func(s disk.Store) disk.Store { return disk.Section(s, 100, 50) },
		"read-only": func(s disk.Store) disk.Store { return disk.ReadOnly(s) },
		"tracker":   func(s disk.Store) disk.Store { return disk.Track(s, 0) },
		"tree":      func(s disk.Store) disk.Store { return disk.NewSnapshotTree(s) },
		"zeros":     func(s disk.Store) disk.Store { return disk.DetectZeros(s) },
	} {
		s := &synced{Memory: disk.NewMemory(1000)}
		if err := disk.Sync(wrap(s)); err != nil || s.count != 1 {
			t.Errorf("%s: %v, %d times", name, err, s.count)
		}
	}
}

func TestSectionOfAStoreThatCannot(t *testing.T) {
	s := disk.Section(plain{disk.NewMemory(1000)}, 100, 50)
	_, snapshot := disk.Snapshot(s)
	_, clone := disk.Clone(s)
	for _, err := range []error{snapshot, clone, disk.Resize(s, 3)} {
		if !errors.Is(err, disk.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
	}
}

func TestReadOnlyRefusesWrites(t *testing.T) {
	m := disk.NewMemory(10000)
	mustWrite(t, m, 5000, "abc")
	r := disk.ReadOnly(m)
	if n, err := r.WriteAt([]byte{1}, 0); n != 0 || !errors.Is(err, disk.ErrReadOnly) {
		t.Errorf("WriteAt: %d, %v", n, err)
	}
	for _, err := range []error{disk.Discard(r, 0, 1), disk.Copy(r, m), disk.Copy(disk.Section(r, 0, 10000), m), disk.Copy(m.Freeze(), m)} {
		if !errors.Is(err, disk.ErrReadOnly) {
			t.Errorf("got %v", err)
		}
	}
	if got := extents(r); len(got) != 1 || got[0] != (disk.Extent{Off: 4096, Len: 4096}) {
		t.Errorf("Extents: %v", got)
	}
	if r.(disk.Unwrapper).Unwrap() != m {
		t.Error("Unwrap is not the store")
	}
	s, err := disk.Snapshot(r)
	if err != nil {
		t.Fatal(err)
	}
	c, err := disk.Clone(r)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, m, 5000, "xyz")
	mustWrite(t, c, 5001, "--")
	if got := readString(t, r, 5000, 3) + readString(t, s, 5000, 3) + readString(t, c, 5000, 3); got != "xyzabca--" {
		t.Errorf("live, snapshot, clone: %q", got)
	}
	seq, err := r.(disk.Differ).Diff(disk.ReadOnly(disk.ReadOnly(s)))
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(seq); len(got) != 1 || got[0] != (disk.Extent{Off: 4096, Len: 4096}) {
		t.Errorf("Diff: %v", got)
	}
}

func TestReadOnlyOverAReader(t *testing.T) {
	r := disk.ReadOnly(io.NewSectionReader(strings.NewReader("hello, world"), 7, 5))
	if got := readString(t, r, 0, 9); got != "world" {
		t.Errorf("read %q", got)
	}
	if r.(disk.Unwrapper).Unwrap() != nil {
		t.Error("there is no store to unwrap")
	}
	_, snapshot := disk.Snapshot(r)
	_, clone := disk.Clone(r)
	_, diff := r.(disk.Differ).Diff(r)
	for _, err := range []error{snapshot, clone, diff} {
		if !errors.Is(err, disk.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
	}
	o := disk.NewOverlay(r, 8)
	mustWrite(t, o, 0, "W")
	if got := readString(t, o, 0, 9); got != "World\x00\x00\x00" {
		t.Errorf("overlay: %q", got)
	}
}

func TestStrangersHaveNoDiff(t *testing.T) {
	m, n := disk.NewMemory(5000), disk.NewMemory(5000)
	o, p := disk.NewOverlay(m, 5000), disk.NewOverlay(m, 5000)
	for _, c := range []struct {
		s     disk.Differ
		since disk.Store
	}{
		{m, o}, {o, m}, {o, p},
		{disk.Section(m, 0, 10).(disk.Differ), disk.Section(m, 1, 10)},
		{disk.Section(m, 0, 10).(disk.Differ), n},
	} {
		if _, err := c.s.Diff(c.since); !errors.Is(err, disk.ErrUnsupported) {
			t.Errorf("%T since %T: %v", c.s, c.since, err)
		}
	}
}

func TestSectionsOfOneStoreAreCompared(t *testing.T) {
	m := disk.NewMemory(30000)
	mustWrite(t, m, 4096+700, "first")
	mustWrite(t, m, 8192+700, "firXt")
	for _, c := range []struct{ off, want int64 }{{4096, -1}, {8192, 703}, {0, 700}} {
		got, err := disk.FirstDifference(disk.Section(m, 4096, 4096), disk.Section(m, c.off, 4096))
		if got != c.want || err != nil {
			t.Errorf("page at %d: first difference at %d, want %d; %v", c.off, got, c.want, err)
		}
	}
}

func TestFrozenStoreIsItsOwnSnapshot(t *testing.T) {
	s := disk.NewMemory(5000).Freeze()
	if s.Freeze() != s {
		t.Error("a snapshot was copied")
	}
	mustWrite(t, s.Fork(), 0, "a fork of a snapshot is writable")
}

// broken fails to read from some place on.
type broken struct {
	disk.Store
	from int64
	err  error
}

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= b.from {
		return b.Store.ReadAt(p, off)
	}
	return 0, b.err
}

func TestErrorsOfTheStoreBelow(t *testing.T) {
	cause := errors.New("bad sector")
	b := broken{disk.NewMemory(10000), 4096, cause}
	o := disk.NewOverlay(b, 10000)
	_, read := o.ReadAt(make([]byte, 10), 5000)
	_, write := o.WriteAt(make([]byte, 10), 5000)
	_, digest := disk.Digest(b)
	_, first := disk.FirstDifference(b, disk.NewMemory(10000))
	_, second := disk.FirstDifference(disk.NewMemory(10000), b)
	for i, err := range []error{read, write, digest, first, second, o.Discard(5000, 10), disk.Copy(plain{disk.NewMemory(10000)}, b)} {
		var e *disk.Error
		if !errors.Is(err, cause) || !errors.As(err, &e) {
			t.Errorf("%d: got %v", i, err)
		}
	}
	if got := slices.Collect(o.Spans(0, 10000)); len(got) != 1 || got[0].Origin != disk.Below {
		t.Errorf("a failed write left %v", got)
	}
	short := broken{disk.NewMemory(10000), 0, nil}
	if err := disk.Copy(disk.NewMemory(10000), short); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a read that stops without a word: %v", err)
	}
	full := refusing{disk.NewMemory(10000)}
	if err := disk.Discard(full, 0, 10); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("Discard: %v", err)
	}
	src := disk.NewMemory(10000)
	mustWrite(t, src, 9000, "x")
	for range 2 {
		if err := disk.Copy(full, src); !errors.Is(err, disk.ErrNoSpace) {
			t.Errorf("Copy: %v", err)
		}
		mustWrite(t, src, 0, "x") // now the write fails, not the discard
	}
}

// refusing takes no writes.
type refusing struct{ disk.Source }

func (r refusing) WriteAt(p []byte, off int64) (int, error) {
	return 0, &disk.Error{Op: "WriteAt", Off: off, Err: disk.ErrNoSpace}
}

func TestDigestIsAsDocumented(t *testing.T) {
	m := disk.NewMemory(4096*3 + 5)
	mustWrite(t, m, 4096, "page one")
	mustWrite(t, m, 4096*3, "tail!")
	if _, err := m.WriteAt(make([]byte, 4096), 8192); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.Write([]byte{0, 0, 0, 0, 0, 0, 0x30, 5})
	b.Write([]byte{0, 0, 0, 0, 0, 0, 0x10, 0})
	b.Write(append([]byte("page one"), make([]byte, 4088)...))
	b.Write([]byte{0, 0, 0, 0, 0, 0, 0x30, 0})
	b.Write(append([]byte("tail!"), make([]byte, 4091)...))
	if digest(t, m) != sha256.Sum256(b.Bytes()) {
		t.Error("the digest is another one")
	}
	if digest(t, disk.NewMemory(1)) == digest(t, disk.NewMemory(2)) {
		t.Error("stores of different size have one digest")
	}
}
