package volume_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
)

// shadowID is the id of a test's only shadow copy.
var shadowID = [16]byte{1}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantCode checks the code inside an error.
func wantCode(t testing.TB, err error, want volume.Code) {
	t.Helper()
	if got, _ := errors.AsType[volume.Code](err); got != want {
		t.Errorf("error is %v, want %v", err, want)
	}
}

// sample returns a volume with some of everything.
func sample(t testing.TB) *volume.Volume {
	v := volume.New(volume.Config{ID: [16]byte{0xC}, Label: "system"})
	must(t, v.MkdirAll(`\ProgramData\Virtual Machines`))
	must(t, v.MkdirAll(`\VMs\sql01\Empty`))
	must(t, v.WriteFile(`\VMs\sql01\Disk.vhd`, bytes.Repeat([]byte("0123456789abcdef"), 3000)))
	must(t, v.WriteFile(`\VMs\sql01\config.xml`, []byte("<configuration/>")))
	must(t, v.WriteFile(`\VMs\nothing`, nil))
	must(t, v.WriteFile(`\VMs\äöü.txt`, []byte("text")))
	must(t, v.SetAttributes(`\VMs\nothing`, volume.ReadOnly|volume.Hidden))
	must(t, v.Symlink(`..\VMs\sql01`, `\ProgramData\machine`))
	must(t, v.Symlink(`\VMs\sql01\config.xml`, `\ProgramData\Virtual Machines\config.xml`))
	return v
}

// sampleNames are the names of files and links that sample makes.
var sampleNames = []string{
	"ProgramData/Virtual Machines/config.xml", "ProgramData/machine",
	"VMs/nothing", "VMs/sql01/Disk.vhd", "VMs/sql01/Empty", "VMs/sql01/config.xml", "VMs/äöü.txt",
}

func TestViewsPassTestFS(t *testing.T) {
	v := sample(t)
	must(t, v.CreateShadow(shadowID))
	shadow, err := v.OpenShadow(shadowID)
	must(t, err)
	must(t, v.RemoveAll(`\VMs\sql01`))
	must(t, v.RemoveAll(`\ProgramData`))
	t.Run("live", func(t *testing.T) {
		must(t, fstest.TestFS(v.FS(), "VMs/nothing", "VMs/äöü.txt"))
	})
	t.Run("unsealed shadow copy", func(t *testing.T) { must(t, fstest.TestFS(shadow, sampleNames...)) })
	must(t, v.SealShadow(shadowID))
	t.Run("sealed shadow copy", func(t *testing.T) { must(t, fstest.TestFS(shadow, sampleNames...)) })
	t.Run("empty", func(t *testing.T) { must(t, fstest.TestFS(volume.New(volume.Config{}).FS())) })
}

func TestOSCopyFSReadsAShadowCopy(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "js" {
		t.Skip("links need rights there")
	}
	v := sample(t)
	must(t, v.CreateShadow(shadowID))
	must(t, v.WriteFile(`\VMs\sql01\config.xml`, []byte("newer")))
	shadow, err := v.OpenShadow(shadowID)
	must(t, err)
	to := t.TempDir()
	must(t, os.CopyFS(to, shadow))
	must(t, fstest.TestFS(os.DirFS(filepath.Join(to, "VMs")), "sql01/Disk.vhd", "sql01/Empty", "nothing"))
	for _, name := range []string{"VMs/sql01/config.xml", "ProgramData/machine/config.xml"} {
		data, err := os.ReadFile(filepath.Join(to, filepath.FromSlash(name)))
		must(t, err)
		if string(data) != "<configuration/>" {
			t.Errorf("%s is %q in the copy", name, data)
		}
	}
}

func TestTarReadsAShadowCopy(t *testing.T) {
	v := sample(t)
	when := time.Date(2009, time.March, 4, 5, 6, 7, 800, time.UTC)
	must(t, v.Chtimes(`\VMs\sql01\config.xml`, volume.Times{Modified: when}))
	must(t, v.CreateShadow(shadowID))
	must(t, v.RemoveAll(`\VMs\sql01`))
	shadow, err := v.OpenShadow(shadowID)
	must(t, err)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	must(t, w.AddFS(shadow))
	must(t, w.Close())

	found := map[string]*tar.Header{}
	for r := tar.NewReader(&archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		if h.Typeflag == tar.TypeReg {
			want, err := fs.ReadFile(shadow, h.Name)
			must(t, err)
			if !bytes.Equal(data, want) {
				t.Errorf("%s has other bytes in the archive", h.Name)
			}
		}
		found[h.Name] = h
	}
	if h := found["VMs/sql01/config.xml"]; h == nil || !h.ModTime.Equal(when.Truncate(time.Second)) {
		t.Errorf("config.xml in the archive: %+v", h)
	}
	if h := found["ProgramData/machine"]; h == nil || h.Typeflag != tar.TypeSymlink || h.Linkname != "../VMs/sql01" {
		t.Errorf("the link in the archive: %+v", h)
	}
	if h := found["VMs/nothing"]; h == nil || h.Mode != 0o444 {
		t.Errorf("the read-only file in the archive: %+v", h)
	}
}

func TestOpenIsASnapshot(t *testing.T) {
	v := sample(t)
	f, err := v.FS().Open("VMs/sql01/config.xml")
	must(t, err)
	must(t, v.WriteFile(`\VMs\sql01\config.xml`, []byte("longer than it was before")))
	must(t, v.RemoveAll(`\VMs\sql01`))
	info, err := f.Stat()
	must(t, err)
	data, err := io.ReadAll(f)
	must(t, err)
	if string(data) != "<configuration/>" || info.Size() != int64(len(data)) {
		t.Errorf("read %q, Stat says %d bytes", data, info.Size())
	}
	must(t, f.Close())
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
}

func TestViewErrors(t *testing.T) {
	v := sample(t)
	must(t, v.Symlink(`E:\data`, `\away`))
	view := v.FS()
	for _, c := range []struct {
		name string
		want volume.Code
	}{
		{"VMs/missing", volume.ErrFileNotFound},
		{"missing/x", volume.ErrPathNotFound},
		{"VMs/nothing/x", volume.ErrPathNotFound},
		{"VMs/a:b", volume.ErrInvalidName},
		{"VMs/nul.txt", volume.ErrInvalidName},
		{"away/x", volume.ErrPathNotFound},
	} {
		_, err := view.Open(c.name)
		wantCode(t, err, c.want)
		if e, ok := errors.AsType[*fs.PathError](err); !ok || e.Path != c.name {
			t.Errorf("%s: error is %#v, not a PathError with the name", c.name, err)
		}
	}
	_, err := view.Stat("away/x/y")
	if e, ok := errors.AsType[*volume.Elsewhere](err); !ok || e.Path != `E:\data\x\y` {
		t.Errorf("through a link to another drive: %v", err)
	}
	_, err = view.ReadLink("VMs")
	wantCode(t, err, volume.ErrNotReparsePoint)
	_, err = view.ReadDir("VMs/nothing")
	wantCode(t, err, volume.ErrDirectory)
}

func TestDirectoryInPieces(t *testing.T) {
	v := sample(t)
	d, err := v.FS().Open("VMs")
	must(t, err)
	must(t, v.Remove(`\VMs\äöü.txt`))
	list := d.(fs.ReadDirFile)
	var names []string
	for {
		part, err := list.ReadDir(1)
		if err == io.EOF {
			break
		}
		must(t, err)
		names = append(names, part[0].Name())
	}
	if len(names) != 2 || names[0] != "nothing" || names[1] != "sql01" {
		t.Errorf("listed %q", names)
	}
	if _, err := d.Read(nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Read of a directory: %v", err)
	}
	must(t, d.Close())
	if err := d.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if _, err := list.ReadDir(-1); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("ReadDir after Close: %v", err)
	}
	gone, err := v.FS().Open("VMs/sql01/Empty")
	must(t, err)
	must(t, v.Remove(`\VMs\sql01\Empty`))
	_, err = gone.(fs.ReadDirFile).ReadDir(-1)
	wantCode(t, err, volume.ErrPathNotFound)
}

func TestNTFSOrder(t *testing.T) {
	v := volume.New(volume.Config{})
	for _, name := range []string{"b", "_", "A", "a1", "Z"} {
		must(t, v.WriteFile(name, nil))
	}
	list, err := v.ReadDir(`\`)
	must(t, err)
	var got string
	for _, info := range list {
		got += info.Name() + " "
	}
	if want := "A a1 b Z _ "; got != want {
		t.Errorf("Volume.ReadDir lists %s, want %s", got, want)
	}
	sorted, err := v.FS().ReadDir(".")
	must(t, err)
	got = ""
	for _, d := range sorted {
		got += d.Name() + " "
	}
	if want := "A Z _ a1 b "; got != want {
		t.Errorf("FS.ReadDir lists %s, want %s", got, want)
	}
}

func TestLinkTextsAndLimits(t *testing.T) {
	v := sample(t)
	f, err := v.Open(`\VMs\sql01\config.xml`)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
	if err := f.Sync(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Sync after Close: %v", err)
	}
	h, err := volume.NewHost(map[string]fs.FS{"C": v.FS()})
	must(t, err)
	for name, want := range map[string]string{
		"C/ProgramData/machine":                     "../VMs/sql01",
		"C/ProgramData/Virtual Machines/config.xml": `\VMs\sql01\config.xml`,
	} {
		if got, err := fs.ReadLink(h, name); got != want || err != nil {
			t.Errorf("ReadLink(%s) = %s, %v, want %s", name, got, err, want)
		}
	}
	huge, err := v.Create(`\huge`)
	must(t, err)
	must(t, huge.Resize(1<<31))
	_, err = v.ReadFile(`\huge`)
	wantCode(t, err, volume.ErrFileTooLarge)
	e := &volume.Elsewhere{Path: `D:\x`}
	if got := e.Error(); got != `leads to D:\x on another volume` || !errors.Is(e, fs.ErrNotExist) {
		t.Errorf("an Elsewhere prints %s", got)
	}
}

// What does without an open file or without a new Info says the same.
func TestShortcutsSayTheSame(t *testing.T) {
	v := sample(t)
	h, err := volume.NewHost(map[string]fs.FS{"C": v.FS(), "E": os.DirFS(t.TempDir())})
	must(t, err)
	for _, path := range []string{`\`, `\VMs`, `\VMs\NOTHING`, `\VMs\sql01\disk.vhd`, `\ProgramData\machine\config.xml`, `\none`, `\none\none`, `\a?`, `D:\a`} {
		want, errStat := v.Stat(path)
		info, err := v.Describe(path)
		if (err == nil) != (errStat == nil) || err == nil && info != *want || err != nil && err.Error() != errStat.Error() {
			t.Errorf("Describe(%q) = %+v, %v; Stat %+v, %v", path, info, err, want, errStat)
		}
		data, errRead := v.ReadFile(path)
		b := make([]byte, 100)
		n, err := v.ReadFileAt(path, b, 3)
		if err == io.EOF {
			err = nil
		}
		if (err == nil) != (errRead == nil) || string(b[:n]) != string(data[min(3, len(data)):min(103, len(data))]) {
			t.Errorf("ReadFileAt(%q) = %q, %v; ReadFile %q, %v", path, b[:n], err, data, errRead)
		}
		name, errName := volume.Name("C:" + path)
		if errName != nil {
			continue
		}
		want2, errRead := h.ReadFile(name)
		got, err := h.AppendFile([]byte("before"), name)
		if string(got) != "before"+string(want2) || (err == nil) != (errRead == nil) || err != nil && err.Error() != errRead.Error() {
			t.Errorf("AppendFile(%q) = %q, %v; ReadFile %v", name, got, err, errRead)
		}
	}
	if _, err := v.ReadFileAt(`\VMs\nothing`, make([]byte, 1), -1); err == nil {
		t.Error("reads before the beginning")
	}
	if _, err := h.AppendFile(nil, "E/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a drive that is no volume: %v", err)
	}
}

// An entry that is asked for by name is the one that a list of the directory has.
func TestReadNamed(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.MkdirAll(`\VMs\folder`))
	must(t, v.WriteFile(`\VMs\Disk.vhd`, []byte("bytes")))
	must(t, v.Symlink(`\VMs\none`, `\VMs\Link`))
	must(t, v.Symlink(`E:\`, `\away`))
	away := volume.New(volume.Config{})
	must(t, away.WriteFile(`\disk.VHD`, nil))
	h, err := volume.NewHost(map[string]fs.FS{"D": v.FS(), "E": away.FS(), "F": fstest.MapFS{"disk.vhd": {}}})
	must(t, err)
	for _, dir := range []string{"D", "D/vms", "D/VMs/folder", "D/away", "D/VMs/Disk.vhd", "D/VMs/link", "D/none", "G", ".."} {
		all, errAll := h.ReadDir(dir)
		for _, name := range []string{"DISK.vhd", "link", "Folder", "vms", "none", "", ".", "..", "disk.vhd.", `VMs\Disk.vhd`, "*"} {
			var want []string
			for _, e := range all {
				if strings.EqualFold(e.Name(), name) {
					want = append(want, fmt.Sprint(e))
				}
			}
			var got []string
			list, err := h.ReadNamed(dir, name)
			for _, e := range list {
				got = append(got, fmt.Sprint(e))
			}
			if !slices.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(errAll) {
				t.Errorf("%s, %s: %q, %v; want %q, %v", dir, name, got, err, want, errAll)
			}
		}
	}
	for _, dir := range []string{".", "F"} {
		if _, err := h.ReadNamed(dir, "disk.vhd"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
