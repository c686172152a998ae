package volume_test

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/volume"
)

func TestCopyFSBetweenVolumes(t *testing.T) {
	from, to := sample(t), volume.New(volume.Config{ID: [16]byte{9}})
	past := volume.Times{
		Created:  time.Date(2007, 1, 2, 3, 4, 5, 600, time.UTC),
		Modified: time.Date(2007, 2, 3, 4, 5, 6, 700, time.UTC),
	}
	for _, path := range []string{`\VMs\sql01\config.xml`, `\VMs\sql01`, `\VMs\nothing`} {
		must(t, from.Chtimes(path, past))
	}
	must(t, volume.CopyFS(to.FS(), "backup/of/C", from.FS()))
	for _, name := range append(sampleNames, "VMs", "VMs/sql01") {
		want, err := from.Lstat(name)
		must(t, err)
		got, err := to.Lstat("backup/of/C/" + name)
		must(t, err)
		if got.Name() != want.Name() || got.Size() != want.Size() || got.Times() != want.Times() && want.Mode().Type() != fs.ModeSymlink ||
			got.Attributes() != want.Attributes() || got.Allocated() != want.Allocated() {
			t.Errorf("%s became %v %v %v, was %v %v %v", name, got, got.Times(), got.Attributes(), want, want.Times(), want.Attributes())
		}
	}
	data, err := to.ReadFile(`\backup\of\C\ProgramData\machine\config.xml`)
	if string(data) != "<configuration/>" {
		t.Errorf("through the copied link: %q, %v", data, err)
	}
	err = volume.CopyFS(to.FS(), "backup/of/C", from.FS())
	wantCode(t, err, volume.ErrAlreadyExists) // the first that is no directory is a link
	err = volume.CopyFS(to.FS(), ".", fstest.MapFS{"a": {}, "A": {}})
	wantCode(t, err, volume.ErrFileExists)
	err = volume.CopyFS(to.FS(), ".", fstest.MapFS{"b?": {}})
	wantCode(t, err, volume.ErrInvalidName)
	err = volume.CopyFS(to.FS(), "a/x", fstest.MapFS{})
	wantCode(t, err, volume.ErrAlreadyExists)
}

func TestCopyFSFromForeign(t *testing.T) {
	when := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)
	src := fstest.MapFS{
		"dir/file":  {Data: []byte("data"), ModTime: when, Mode: 0o644},
		"dir/fixed": {Data: []byte("fixed"), Mode: 0o400},
		"dir/link":  {Data: []byte("../dir"), Mode: fs.ModeSymlink},
	}
	v := volume.New(volume.Config{})
	h, err := volume.NewHost(map[string]fs.FS{"C": v.FS()})
	must(t, err)
	must(t, volume.CopyFS(h, "C/in", src))
	info, err := v.Stat(`\in\dir\link\FILE`)
	must(t, err)
	if !info.ModTime().Equal(when) || info.Size() != 4 {
		t.Errorf("the file is %v", info)
	}
	info, err = v.Lstat(`\in\dir\link`)
	must(t, err)
	if want := volume.Directory | volume.ReparsePoint; info.Attributes() != want {
		t.Errorf("the link is %v, want %v", info.Attributes(), want)
	}
	info, err = v.Stat(`\in\dir\fixed`)
	must(t, err)
	if want := volume.ReadOnly | volume.Archive; info.Attributes() != want {
		t.Errorf("the read-only file is %v, want %v", info.Attributes(), want)
	}
}

// huge makes a file of 1 TiB with two bytes in it.
func huge(t *testing.T, v *volume.Volume) {
	f, err := v.Create(`\huge.vhd`)
	must(t, err)
	must(t, f.Resize(1<<40))
	for _, off := range []int64{5, 1<<40 - 5} {
		_, err := f.WriteAt([]byte{7}, off)
		must(t, err)
	}
	must(t, f.Close())
}

func TestCopyByReference(t *testing.T) {
	a, b := volume.New(volume.Config{}), volume.New(volume.Config{Capacity: 3 << 12})
	huge(t, a)
	src, err := a.FS().Open("huge.vhd")
	must(t, err)
	dst, err := b.FS().Create("copy.vhd")
	must(t, err)
	n, err := io.Copy(dst, src)
	if n != 1<<40 || err != nil {
		t.Fatalf("copied %d, %v", n, err)
	}
	must(t, dst.Close())
	info, err := b.Stat(`\copy.vhd`)
	must(t, err)
	if info.Size() != 1<<40 || info.Allocated() != 2<<12 {
		t.Errorf("the copy is %v, %d allocated", info, info.Allocated())
	}
	w, err := b.OpenFile(`\copy.vhd`, volume.ReadWrite, volume.Exclusive)
	must(t, err)
	_, err = w.WriteAt([]byte{8}, 5)
	must(t, err)
	var one [1]byte
	if _, err := src.(io.ReaderAt).ReadAt(one[:], 5); err != nil || one[0] != 7 {
		t.Errorf("writing the copy changed the original: %d, %v", one[0], err)
	}
	r, err := a.Open(`\huge.vhd`)
	must(t, err)
	_, err = w.Seek(0, io.SeekEnd)
	must(t, err)
	must(t, w.Resize(0))
	small, err := b.Create(`\other`)
	must(t, err)
	must(t, b.WriteFile(`\fill`, []byte("x")))
	must(t, b.WriteFile(`\fill2`, []byte("x")))
	_, err = io.Copy(small, r)
	wantCode(t, err, volume.ErrDiskFull)
}

func TestCopyToWriters(t *testing.T) {
	v := volume.New(volume.Config{})
	f, err := v.Create(`\sparse`)
	must(t, err)
	want := make([]byte, 3<<20)
	copy(want[1<<20:], "middle")
	_, err = f.WriteAt([]byte("middle"), 1<<20)
	must(t, err)
	must(t, f.Resize(int64(len(want))))

	_, err = f.Seek(10, io.SeekStart)
	must(t, err)
	var buf bytes.Buffer
	n, err := io.Copy(&buf, f)
	if int(n) != len(want)-10 || err != nil || !bytes.Equal(buf.Bytes(), want[10:]) {
		t.Errorf("to a buffer: %d bytes, %v", n, err)
	}
	if n, err := f.WriteTo(&buf); n != 0 || err != nil {
		t.Errorf("at the end: %d, %v", n, err)
	}

	part, err := v.Create(`\part`)
	must(t, err)
	_, err = f.Seek(1<<20, io.SeekStart)
	must(t, err)
	_, err = part.ReadFrom(f)
	must(t, err)
	_, err = part.ReadFrom(bytes.NewReader([]byte("end")))
	must(t, err)
	must(t, part.Close())
	data, err := v.ReadFile(`\part`)
	if string(data) != string(want[1<<20:])+"end" {
		t.Errorf("the end of a file: %d bytes, %v", len(data), err)
	}

	g, err := v.Create(`\prefixed`)
	must(t, err)
	_, err = io.WriteString(g, "before")
	must(t, err)
	_, err = f.Seek(0, io.SeekStart)
	must(t, err)
	_, err = io.Copy(g, f)
	must(t, err)
	must(t, g.Close())
	data, err = v.ReadFile(`\prefixed`)
	if string(data) != "before"+string(want) {
		t.Errorf("behind other bytes: %d bytes, %v", len(data), err)
	}

	_, err = f.Seek(0, io.SeekStart)
	must(t, err)
	if n, err := f.WriteTo(shortWriter{}); n != 1 || err != io.ErrShortWrite {
		t.Errorf("to a writer that writes less: %d, %v", n, err)
	}
}

// A shortWriter writes one byte and says so without an error.
type shortWriter struct{}

func (shortWriter) Write([]byte) (int, error) { return 1, nil }

func TestCopyToFilesOfTheSystem(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.WriteFile(`\tail`, append([]byte("x"), make([]byte, 10000)...)))
	want, err := v.ReadFile(`\tail`)
	must(t, err)
	dir := t.TempDir()
	for _, c := range []struct {
		name    string
		flags   int
		content string
		at      int64
		want    string
	}{
		{"new", os.O_CREATE | os.O_RDWR, "", 0, string(want)},
		{"append", os.O_CREATE | os.O_RDWR | os.O_APPEND, "before", 6, "before" + string(want)},
		{"over", os.O_CREATE | os.O_RDWR, string(bytes.Repeat([]byte("o"), 20000)), 1,
			"o" + string(want) + string(bytes.Repeat([]byte("o"), 20000-1-len(want)))},
	} {
		path := filepath.Join(dir, c.name)
		must(t, os.WriteFile(path, []byte(c.content), 0o666))
		w, err := os.OpenFile(path, c.flags, 0o666)
		must(t, err)
		_, err = w.Seek(c.at, io.SeekStart)
		must(t, err)
		src, err := v.Open(`\tail`)
		must(t, err)
		_, err = io.Copy(w, src)
		must(t, err)
		must(t, w.Close())
		got, err := os.ReadFile(path)
		if string(got) != c.want {
			t.Errorf("%s: %d bytes, want %d, %v", c.name, len(got), len(c.want), err)
		}
	}
}

// TestHolesAreNotWritten copies 1 TiB to a file of the system, which only ends
// when holes are skipped.
func TestHolesAreNotWritten(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("not every file system has sparse files of that size")
	}
	v := volume.New(volume.Config{})
	huge(t, v)
	dir := t.TempDir()
	must(t, os.CopyFS(dir, v.FS()))
	f, err := os.Open(filepath.Join(dir, "huge.vhd"))
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], 1<<40-5)
	if info.Size() != 1<<40 || b[0] != 7 || err != nil {
		t.Errorf("%d bytes, near the end %d, %v", info.Size(), b[0], err)
	}
}

func TestSnapshotsOfFiles(t *testing.T) {
	v := sample(t)
	f, err := v.OpenFile(`\VMs\sql01\Disk.vhd`, volume.ReadWrite, volume.Exclusive)
	must(t, err)
	before, err := disk.Snapshot(f)
	must(t, err)
	r, err := v.Open(`\VMs\sql01\Disk.vhd`)
	must(t, err)
	_, err = f.WriteAt([]byte("new"), 8192)
	must(t, err)
	for what, since := range map[string]disk.Store{"a snapshot": before, "a file open for reading": r} {
		changed, err := disk.Diff(f, since)
		must(t, err)
		for e := range changed {
			if e.Off != 8192 || e.Len != 4096 {
				t.Errorf("since %s changed %v", what, e)
			}
		}
	}
	again, err := v.Open(`\VMs\sql01\Disk.vhd`)
	must(t, err)
	changed, err := disk.Diff(again, r)
	must(t, err)
	n := 0
	for range changed {
		n++
	}
	if n != 1 {
		t.Errorf("%d ranges changed between two openings, want 1", n)
	}
	c, err := disk.Clone(f)
	must(t, err)
	_, err = c.WriteAt([]byte("clone"), 8192)
	must(t, err)
	must(t, v.Adopt(`\clone.vhd`, c.(*disk.Memory)))
	_, err = c.WriteAt([]byte("x"), 8192)
	must(t, err)
	data, err := v.ReadFile(`\clone.vhd`)
	if string(data[8192:8197]) != "clone" {
		t.Errorf("the adopted file has %q, %v", data[8192:8197], err)
	}
	if equal, err := disk.Equal(before, r); !equal {
		t.Errorf("a snapshot and a file opened with it differ, %v", err)
	}
}
