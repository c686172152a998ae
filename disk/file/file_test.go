package file_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/disktest"
	"github.com/shadowsim/shadowsim/disk/file"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

var _ vhd.File = (*file.Store)(nil)

func create(t testing.TB, size int64) *file.Store {
	t.Helper()
	s, err := file.Create(filepath.Join(t.TempDir(), "disk.img"), size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStorePassesTheKit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.img")
	for _, size := range []int64{17_007, 3<<30 + 1} {
		disktest.RunStore(t, func(t *testing.T) disk.Store {
			s, err := file.Create(name, size)
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	}
}

func TestReadOnlyStorePassesTheKit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, bytes.Repeat([]byte("data"), 3000), 0o600); err != nil {
		t.Fatal(err)
	}
	disktest.RunStore(t, func(t *testing.T) disk.Store {
		s, err := file.OpenReadOnly(name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestImageInAFilePassesTheKit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.vhd")
	disktest.RunStore(t, func(t *testing.T) disk.Store {
		f, err := file.Create(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		im, err := vhd.Create(unsynced{f}, vhd.Options{Size: 17_408, BlockSize: 4096})
		if err != nil {
			t.Fatal(err)
		}
		return im
	})
}

// unsynced is a file that is not waited for: a crash is no part of the test.
type unsynced struct{ *file.Store }

func (unsynced) Sync() error { return nil }

func TestHoles(t *testing.T) {
	s := create(t, 1<<30)
	defer s.Close()
	data := bytes.Repeat([]byte{7}, 1<<20)
	for _, off := range []int64{0, 1 << 29} {
		if _, err := s.WriteAt(data, off); err != nil {
			t.Fatal(err)
		}
	}
	want := []disk.Extent{{Off: 0, Len: 1 << 20}, {Off: 1 << 29, Len: 1 << 20}}
	got := slices.Collect(s.Extents(0, s.Size()))
	if !slices.Equal(got, want) {
		if runtime.GOOS == "linux" && len(got) > 1 {
			t.Errorf("extents %v, want %v", got, want)
		}
		t.Skipf("the file system here tells no holes: %v", got)
	}
	if err := s.Discard(1<<29, 1<<20); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(s.Extents(0, s.Size())); !slices.Equal(got, want[:1]) {
		t.Errorf("extents %v after a discard", got)
	}
	m := disk.NewMemory(s.Size())
	if err := disk.Copy(m, s); err != nil {
		t.Fatal(err)
	}
	if same, err := disk.Equal(m, s); !same || err != nil {
		t.Errorf("a copy is equal: %t, %v", same, err)
	}
}

func TestContentStaysInTheFile(t *testing.T) {
	s := create(t, 5000)
	if _, err := s.WriteAt([]byte("kept"), 4000); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Sync(), s.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := file.Open(s.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	p := make([]byte, 4)
	if _, err := again.ReadAt(p, 4000); err != nil || string(p) != "kept" || again.Size() != 5000 {
		t.Errorf("%q, %v, %d bytes", p, err, again.Size())
	}
	if err := s.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	var e *disk.Error
	if _, err := file.Create(filepath.Join(t.TempDir(), "x"), -1); !errors.Is(err, disk.ErrSize) {
		t.Errorf("a negative size: %v", err)
	}
	if _, err := file.Open(filepath.Join(t.TempDir(), "x")); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &e) {
		t.Errorf("no file: %v", err)
	}
	if _, err := file.OpenReadOnly(t.TempDir()); err == nil {
		t.Error("a directory was opened")
	}
	s := create(t, 5000)
	defer s.Close()
	if err := os.Truncate(s.Name(), 100); err != nil {
		t.Fatal(err)
	}
	if n, err := s.ReadAt(make([]byte, 200), 0); n != 100 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("somebody cut the file: %d, %v", n, err)
	}
	for _, err := range []error{
		&disk.Error{Op: "WriteAt", Err: file.Fail(&fs.PathError{Op: "write", Err: file.NoSpace})},
	} {
		if !errors.Is(err, disk.ErrNoSpace) {
			t.Errorf("a full disk: %v", err)
		}
	}
}

func TestOverlayTakesSnapshots(t *testing.T) {
	s := create(t, 10_000)
	defer s.Close()
	o := disk.NewOverlay(s, s.Size())
	snap, err := o.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.WriteAt([]byte("late"), 0); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4)
	if _, err := snap.ReadAt(p, 0); err != nil || string(p) != "\x00\x00\x00\x00" {
		t.Errorf("the snapshot has %q, %v", p, err)
	}
}

// short is a file that gets no longer by Truncate, and only to room by writing.
type short struct {
	file.CutFile
	room int64
}

func (f *short) Truncate(size int64) error {
	if size > 1000 {
		return file.NoSpace
	}
	return f.CutFile.Truncate(size)
}

func (f *short) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.CutFile.WriteAt(p[:min(int64(len(p)), f.room-off)], off)
	if n < len(p) {
		err = file.NoSpace
	}
	return n, err
}

// Where a discard cuts the file and cannot make it as long again, it writes
// zeros; and if there is no room for these either, the store says how long it
// is.
func TestDiscardThatCuts(t *testing.T) {
	const size = 600_000
	for _, room := range []int64{size, 1000, 300_000} {
		s := create(t, size)
		defer s.Close()
		if _, err := s.WriteAt(bytes.Repeat([]byte{1}, size), 0); err != nil {
			t.Fatal(err)
		}
		err := s.Cut(func(f file.CutFile) file.CutFile { return &short{f, room} }, 1000)
		if room < size != errors.Is(err, disk.ErrNoSpace) {
			t.Errorf("room for %d: %v", room, err)
		}
		got := make([]byte, s.Size())
		if n, err := s.ReadAt(got, 0); n != len(got) || err != nil {
			t.Fatalf("room for %d: reading the %d bytes there are: %d, %v", room, len(got), n, err)
		}
		if want := append(bytes.Repeat([]byte{1}, 1000), make([]byte, room-1000)...); !bytes.Equal(got, want) {
			t.Errorf("room for %d: %d bytes, not as they are to be", room, len(got))
		}
	}
}
