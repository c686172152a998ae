package volume_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
)

// furnished returns a volume with one of everything.
func furnished(t testing.TB) *volume.Volume {
	t.Helper()
	v := volume.New(volume.Config{})
	must(t, v.MkdirAll(`\VMs\sql01`))
	must(t, v.MkdirAll(`\Empty`))
	must(t, v.WriteFile(`\VMs\sql01\Config.xml`, []byte("<configuration/>")))
	f, err := v.Create(`\VMs\sql01\disk.vhd`)
	must(t, err)
	must(t, f.Resize(9_000))
	_, err = f.WriteAt([]byte("conectix"), 8_000)
	must(t, err)
	must(t, f.Close())
	must(t, v.Symlink(`sql01\Config.xml`, `\VMs\current`))
	must(t, v.Symlink(`\VMs`, `\machines`))
	must(t, v.Symlink(`D:\elsewhere`, `\other`))
	must(t, v.SetAttributes(`\VMs\sql01\Config.xml`, volume.ReadOnly|volume.Hidden))
	for i, p := range []string{`\VMs\sql01\Config.xml`, `\VMs`} {
		must(t, v.Chtimes(p, volume.Times{
			Created:  time.Date(2007, 5, 6, 7, 8, 9+i, 123456700, time.UTC),
			Modified: time.Date(2008, 5, 6, 7, 8, 9+i, 765432100, time.UTC),
		}))
	}
	return v
}

func TestTarThereAndBack(t *testing.T) {
	from, to := furnished(t), volume.New(volume.Config{})
	must(t, from.CreateShadow(shadowID))
	must(t, from.WriteFile(`\later`, []byte("not in the shadow copy")))
	shadow, err := from.OpenShadow(shadowID)
	must(t, err)
	var archive bytes.Buffer
	must(t, volume.WriteTar(&archive, shadow))
	must(t, volume.ReadTar(to.FS(), "restored", &archive))
	names := 0
	must(t, fs.WalkDir(shadow, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		names++
		was, err := fs.Lstat(shadow, name)
		must(t, err)
		is, err := fs.Lstat(to.FS(), "restored/"+name)
		must(t, err)
		a, b := was.(*volume.Info), is.(*volume.Info)
		if a.Size() != b.Size() || a.Attributes() != b.Attributes() || d.Type() == 0 && a.Times() != b.Times() || d.IsDir() && a.Times() != b.Times() {
			t.Errorf("%s was %v %v %v, is %v %v %v", name, a, a.Attributes(), a.Times(), b, b.Attributes(), b.Times())
		}
		if d.Type() == fs.ModeSymlink {
			x, err := fs.ReadLink(shadow, name)
			must(t, err)
			if y, err := fs.ReadLink(to.FS(), "restored/"+name); x != y || err != nil {
				t.Errorf("%s led to %s, leads to %s, %v", name, x, y, err)
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		x, err := fs.ReadFile(shadow, name)
		must(t, err)
		if y, err := fs.ReadFile(to.FS(), "restored/"+name); !bytes.Equal(x, y) || err != nil {
			t.Errorf("%s has other bytes, %v", name, err)
		}
		return nil
	}))
	if names != 8 {
		t.Errorf("%d names", names)
	}
}

func TestTarOfOthers(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeReg, Name: "./a/b/file", Mode: 0o444, Size: 4, ModTime: time.Unix(1e9, 0)},
		{Typeflag: tar.TypeLink, Name: "a/hard", Linkname: "a/b/file", Mode: 0o644},
		{Typeflag: tar.TypeDir, Name: "a/"},
		{Typeflag: tar.TypeDir, Name: "./"},
	} {
		must(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write([]byte("data"))
			must(t, err)
		}
	}
	must(t, w.Close())
	v := volume.New(volume.Config{})
	must(t, volume.ReadTar(v.FS(), ".", &b))
	for _, name := range []string{`\a\b\file`, `\a\hard`} {
		if data, err := v.ReadFile(name); string(data) != "data" || err != nil {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	info, err := v.Stat(`\a\b\file`)
	must(t, err)
	if info.Attributes() != volume.ReadOnly|volume.Archive || info.ModTime().Unix() != 1e9 {
		t.Errorf("%v, %v", info, info.Attributes())
	}
}

func TestTarRefuses(t *testing.T) {
	for _, c := range []struct {
		h    tar.Header
		want error
	}{
		{tar.Header{Typeflag: tar.TypeReg, Name: "../out"}, volume.ErrInvalidName},
		{tar.Header{Typeflag: tar.TypeReg, Name: "/out"}, volume.ErrInvalidName},
		{tar.Header{Typeflag: tar.TypeReg, Name: "a/../../out"}, volume.ErrInvalidName},
		{tar.Header{Typeflag: tar.TypeReg, Name: "nul.txt"}, volume.ErrInvalidName},
		{tar.Header{Typeflag: tar.TypeReg, Name: "a:b"}, volume.ErrInvalidName},
		{tar.Header{Typeflag: tar.TypeReg, Name: "There"}, fs.ErrExist},
		{tar.Header{Typeflag: tar.TypeDir, Name: "there/"}, fs.ErrExist},
		{tar.Header{Typeflag: tar.TypeLink, Name: "x", Linkname: "missing"}, fs.ErrNotExist},
		{tar.Header{Typeflag: tar.TypeLink, Name: "x", Linkname: "../out"}, volume.ErrInvalidName},
		{tar.Header{Typeflag: tar.TypeChar, Name: "tty"}, errors.ErrUnsupported},
		{tar.Header{Typeflag: tar.TypeReg, Name: "big", Size: 5 << 40}, nil},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		must(t, w.WriteHeader(&c.h))
		v := volume.New(volume.Config{})
		must(t, v.WriteFile(`\there`, nil))
		err := volume.ReadTar(v.FS(), ".", &b)
		var p *fs.PathError
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !errors.As(err, &p) {
			t.Errorf("%s: %v, want %v", c.h.Name, err, c.want)
		}
	}
	full := volume.New(volume.Config{Capacity: 4096})
	var b bytes.Buffer
	must(t, volume.WriteTar(&b, furnished(t).FS()))
	if err := volume.ReadTar(full.FS(), ".", &b); !errors.Is(err, volume.ErrDiskFull) {
		t.Errorf("a full volume: %v", err)
	}
}

func FuzzReadTar(f *testing.F) {
	var b bytes.Buffer
	must(f, volume.WriteTar(&b, furnished(f).FS()))
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:1500])
	f.Add([]byte(strings.Repeat("\x00", 1024)))
	f.Fuzz(func(t *testing.T, data []byte) {
		v := volume.New(volume.Config{Capacity: 1 << 20})
		if err := volume.ReadTar(v.FS(), "in", bytes.NewReader(data)); err != nil {
			return
		}
		var out bytes.Buffer
		must(t, volume.WriteTar(&out, v.FS()))
		must(t, volume.ReadTar(volume.New(volume.Config{}).FS(), "again", &out))
	})
}

// An archive that makes a link and goes on through it is refused: the link may lead out
// of the directory.
func TestTarThroughItsOwnLink(t *testing.T) {
	for _, entry := range []*tar.Header{
		{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o755, Format: tar.FormatPAX, PAXRecords: map[string]string{"MSWINDOWS.sd": "D:(A;;FA;;;WD)"}},
		{Name: "A/evil", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "a/below/evil", Typeflag: tar.TypeReg, Mode: 0o644},
	} {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		must(t, w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "../out"}))
		must(t, w.WriteHeader(entry))
		must(t, w.Close())
		v := volume.New(volume.Config{})
		must(t, v.MkdirAll(`\out`))
		must(t, v.MkdirAll(`\in`))
		if err := volume.ReadTar(v.FS(), "in", &archive); !errors.Is(err, volume.ErrInvalidName) {
			t.Errorf("%s: %v", entry.Name, err)
		}
		list, err := v.ReadDir(`\out`)
		must(t, err)
		if got := security(t, v, `\out`); got != "" || len(list) != 0 {
			t.Errorf("%s: outside are %v, with %q", entry.Name, list, got)
		}
	}
}
