package requester_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// TestMemoryAgainstBytes writes, cuts and copies a file beside a flat slice that
// is obviously right.
func TestMemoryAgainstBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m requester.Memory
		w, err := m.Create("f")
		if err != nil {
			t.Fatal(err)
		}
		s := w.(interface {
			io.WriteSeeker
			Truncate(int64) error
		})
		var want []byte
		near := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(1<<16-50, 1<<16+50), rapid.IntRange(0, 3<<16))
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			at := near.Draw(t, "at")
			if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
				if err := s.Truncate(int64(at)); err != nil {
					t.Fatal(err)
				}
				want = append(want, make([]byte, max(0, at-len(want)))...)[:at]
				continue
			}
			p := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, near.Draw(t, "length"))
			if _, err := s.Seek(int64(at), io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write(p); err != nil {
				t.Fatal(err)
			}
			if n := at + len(p); n > len(want) && len(p) > 0 {
				want = append(want, make([]byte, n-len(want))...)
			}
			copy(want[min(at, len(want)):], p)
		}
		got, err := fs.ReadFile(&m, "f")
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, want %d, %v; first difference at %d", len(got), len(want), err, difference(got, want))
		}
		skip := rapid.IntRange(0, len(want)).Draw(t, "skip")
		to, err := m.Create("copy")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write(want[:skip]); err != nil {
			t.Fatal(err)
		}
		from, err := m.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := from.(io.Seeker).Seek(int64(skip), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(to, from)
		got, _ = fs.ReadFile(&m, "copy")
		if err != nil || n != int64(len(want)-skip) || !bytes.Equal(got, want) {
			t.Fatalf("copied %d bytes, %v; first difference at %d", n, err, difference(got, want))
		}
	})
}

func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestMemoryRefuses(t *testing.T) {
	m := &requester.Memory{}
	put(t, m, "f", "x")
	w, err := m.Create("g")
	if err != nil {
		t.Fatal(err)
	}
	_, seek := w.(io.Seeker).Seek(-1, io.SeekEnd)
	_, link := m.ReadLink("f")
	_, list := m.ReadDir("f")
	_, missing := m.ReadDir("no")
	_, stat := m.Stat("no")
	_, open := m.Open("a//b")
	for what, err := range map[string]error{
		"a seek before the beginning": seek,
		"a size below zero":           w.(interface{ Truncate(int64) error }).Truncate(-1),
		"ReadLink of a file":          link,
		"ReadDir of a file":           list,
		"ReadDir of nothing":          missing,
		"Stat of nothing":             stat,
		"Open of no name":             open,
		"Rename over a file":          m.Rename("f", "g"),
		"Rename below itself":         m.Rename("f", "f/f"),
		"Rename of all":               m.Rename(".", "x"),
		"Rename to no name":           m.Rename("f", "/"),
	} {
		if err == nil {
			t.Errorf("%s succeeded", what)
		}
	}
}

func TestOpenDirectoryFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := requester.OpenDirectory(file); err == nil {
		t.Error("a file was opened as a directory")
	}
}

// A frail target fails to create or rename what has a name.
type frail struct {
	*requester.Memory
	name string
}

var errFrail = errors.New("the disk is broken")

func (f frail) Create(name string) (io.WriteCloser, error) {
	if name == f.name {
		return nil, errFrail
	}
	return f.Memory.Create(name)
}

func (f frail) Remove(name string) error {
	if name == f.name {
		return errFrail
	}
	return f.Memory.Remove(name)
}

// TestFrailTarget: a target that fails anywhere makes a backup that is not taken
// for a whole one.
func TestFrailTarget(t *testing.T) {
	for _, name := range []string{"BackupComponents.xml.new", "files/D/db/data.mdf", "Writers"} {
		l, _, _ := standard(t)
		if name == "Writers" { // it has something to remove
			l.mustBackup()
		} else {
			l.must(l.target.Mkdir("Writers"))
		}
		_, err := l.backup(func(b *requester.Backup) { b.Target = frail{l.target, name} })
		e, ok := errors.AsType[*requester.Error](err)
		if !ok || e.Phase != "save" && e.Phase != "copy" || !errors.Is(err, errFrail) {
			t.Errorf("%s: %v", name, err)
		}
		l.noDocument()
		l.settled()
		l.mustBackup()
	}
}

// TestCancelled: a restore that is given up half-way tells the writers that their
// files are not what they should be.
func TestCancelled(t *testing.T) {
	l, db, _ := lost(t)
	var report *requester.Report
	err := l.w.Actor("admin").Call(t.Context(), "restore", func(ctx context.Context) (err error) {
		ctx, cancel := context.WithCancel(ctx)
		db.does(vss.EventPreRestore, func(context.Context, any) error { cancel(); return nil })
		report, err = (&requester.Restore{Service: l.s, Source: l.target, Destination: l.files}).Run(ctx)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the restore ends with %v", err)
	}
	if len(report.Components) != 4 || slices.ContainsFunc(report.Components, func(c requester.RestoredComponent) bool { return c.Status == all && c.Files > 0 }) {
		t.Errorf("the report is %+v", report)
	}
	l.settled()
	l.mustRestore()
}
