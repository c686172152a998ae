package requester_test

import (
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/shadowsim/shadowsim/vss/requester"
)

// eachFiles runs a test on both kinds of trees.
func eachFiles(t *testing.T, test func(t *testing.T, f requester.Files)) {
	t.Run("memory", func(t *testing.T) { test(t, &requester.Memory{}) })
	t.Run("directory", func(t *testing.T) {
		d, err := requester.OpenDirectory(t.TempDir() + "/deep/er")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		test(t, d)
	})
}

func put(t *testing.T, f requester.Files, name, text string) {
	t.Helper()
	w, err := f.Create(name)
	if err == nil {
		_, err = io.WriteString(w, text)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	eachFiles(t, func(t *testing.T, f requester.Files) {
		for _, dir := range []string{"a", "a/b", "c"} {
			if err := f.Mkdir(dir); err != nil {
				t.Fatal(err)
			}
		}
		put(t, f, "a/b/x.txt", "first, and longer")
		put(t, f, "a/b/x.txt", "second")
		put(t, f, "c/gone", "")
		if err := f.Rename("a/b", "c/b"); err != nil {
			t.Fatal(err)
		}
		if err := f.Remove("c/gone"); err != nil {
			t.Fatal(err)
		}
		if data, err := fs.ReadFile(f, "c/b/x.txt"); err != nil || string(data) != "second" {
			t.Errorf("read %q, %v", data, err)
		}
		if err := fstest.TestFS(f, "a", "c/b/x.txt"); err != nil {
			t.Error(err)
		}
	})
}

func TestFilesRefuse(t *testing.T) {
	eachFiles(t, func(t *testing.T, f requester.Files) {
		if err := f.Mkdir("d"); err != nil {
			t.Fatal(err)
		}
		put(t, f, "d/x", "x")
		_, escape := f.Create("../x")
		_, orphan := f.Create("no/x")
		_, directory := f.Create("d")
		for what, err := range map[string]error{
			"Mkdir on a directory":         f.Mkdir("d"),
			"Remove of what is not there":  f.Remove("y"),
			"Remove of a full directory":   f.Remove("d"),
			"Rename of what is not there":  f.Rename("y", "z"),
			"Create outside":               escape,
			"Create in no directory":       orphan,
			"Create in place of directory": directory,
		} {
			if err == nil {
				t.Errorf("%s succeeded", what)
			}
		}
	})
}

func TestMemoryKeepsHoles(t *testing.T) {
	m := &requester.Memory{}
	w, err := m.Create("sparse")
	if err != nil {
		t.Fatal(err)
	}
	s := w.(interface {
		io.WriteSeeker
		Truncate(int64) error
	})
	const end = 1 << 40
	if _, err := s.Seek(end-4, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("tail")); err != nil {
		t.Fatal(err)
	}
	if err := s.Truncate(end - 2); err != nil {
		t.Fatal(err)
	}
	if err := s.Truncate(end); err != nil {
		t.Fatal(err)
	}
	f, err := m.Open("sparse")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	if n, err := f.(io.ReaderAt).ReadAt(b, end-6); n != 6 || err != nil || string(b) != "\x00\x00ta\x00\x00" {
		t.Errorf("the end reads %q, %d, %v", b, n, err)
	}
	if n, err := f.(io.ReaderAt).ReadAt(b, end-3); n != 3 || err != io.EOF {
		t.Errorf("reading over the end: %d, %v", n, err)
	}
}

func TestMemoryLinks(t *testing.T) {
	m := &requester.Memory{}
	if err := m.Symlink(`D:\VMs\x.xml`, "link"); err != nil {
		t.Fatal(err)
	}
	if target, err := m.ReadLink("link"); target != `D:\VMs\x.xml` || err != nil {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	if info, err := m.Lstat("link"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("Lstat: %v, %v", info, err)
	}
	if err := m.Symlink("x", "link"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second link: %v", err)
	}
}
