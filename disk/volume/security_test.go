package volume_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
)

const (
	machines = "D:(A;;FA;;;S-1-5-83-0)"
	admins   = "D:(A;;FA;;;BA)"
)

// security asks for a descriptor of what a path leads to.
func security(t *testing.T, v *volume.Volume, path string) string {
	t.Helper()
	info, err := v.Stat(path)
	must(t, err)
	return info.Security()
}

// A file keeps its descriptor whatever is written into it and wherever it is
// renamed to; a new file, and a copy by hand, have none.
func TestSecurityBelongsToTheFile(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.MkdirAll(`\VMs`))
	must(t, v.WriteFile(`\VMs\a.vhd`, []byte("1")))
	if got := security(t, v, `\VMs\a.vhd`); got != "" {
		t.Errorf("a new file has %q", got)
	}
	must(t, v.SetSecurity(`\VMs\a.vhd`, machines))
	must(t, v.SetSecurity(`\VMs`, admins))
	must(t, v.WriteFile(`\VMs\a.vhd`, []byte("2")))
	f, err := v.Create(`\VMs\a.vhd`)
	must(t, err)
	must(t, f.Close())
	must(t, v.Rename(`\VMs\a.vhd`, `\b.vhd`))
	if got := security(t, v, `\b.vhd`); got != machines {
		t.Errorf("it has %q after it was written, emptied and renamed", got)
	}
	to := volume.New(volume.Config{})
	must(t, volume.CopyFS(to.FS(), ".", v.FS()))
	if file, dir := security(t, to, `\b.vhd`), security(t, to, `\VMs`); file+dir != "" {
		t.Errorf("a copy by hand has %q, %q", file, dir)
	}
	must(t, v.SetSecurity(`\b.vhd`, ""))
	if file, dir := security(t, v, `\b.vhd`), security(t, v, `\VMs`); file != "" || dir != admins {
		t.Errorf("it has %q after it was taken away, the folder %q", file, dir)
	}
}

// A link and what it leads to have one each.
func TestSecurityOfALink(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.WriteFile(`\a`, nil))
	must(t, v.Symlink(`\a`, `\link`))
	must(t, v.SetSecurity(`\link`, machines))
	must(t, v.SetLinkSecurity(`\link`, admins))
	info, err := v.Lstat(`\link`)
	must(t, err)
	if file, link := security(t, v, `\a`), info.Security(); file != machines || link != admins {
		t.Errorf("the file has %q, the link %q", file, link)
	}
}

// A shadow copy has the descriptors of its instant, and its files can be asked for
// them by whoever reads them.
func TestShadowCopiesCarrySecurity(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.WriteFile(`\a`, nil))
	must(t, v.WriteFile(`\b`, nil))
	must(t, v.SetSecurity(`\a`, machines))
	must(t, v.CreateShadow(shadowID))
	must(t, v.SetSecurity(`\a`, ""))
	must(t, v.SetSecurity(`\b`, machines))
	must(t, v.SealShadow(shadowID))
	shadow, err := v.OpenShadow(shadowID)
	must(t, err)
	for name, want := range map[string]string{"a": machines, "b": ""} {
		f, err := shadow.Open(name)
		must(t, err)
		info, err := f.Stat()
		must(t, err)
		if got := info.(interface{ Security() string }).Security(); got != want {
			t.Errorf("%s has %q in the shadow copy, not %q", name, got, want)
		}
	}
	if a, b := security(t, v, `\a`), security(t, v, `\b`); a != "" || b != machines {
		t.Errorf("the volume has %q, %q", a, b)
	}
	s, err := v.ShadowVolume(shadowID)
	must(t, err)
	if err := s.SetSecurity(`\a`, admins); !errors.Is(err, volume.ErrWriteProtect) {
		t.Errorf("of a sealed shadow copy: %v", err)
	}
}

// What is no text, or one beyond all bounds, is refused, and nothing changes.
func TestSecurityThatCannotBe(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.WriteFile(`\a`, nil))
	must(t, v.SetSecurity(`\a`, admins))
	for _, bad := range []string{"D:\n", "D:\x00", "D:ä", strings.Repeat("D", 1<<20)} {
		if err := v.SetSecurity(`\a`, bad); !errors.Is(err, volume.ErrInvalidSecurity) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
	if err := v.SetSecurity(`\none`, admins); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
	if got := security(t, v, `\a`); got != admins {
		t.Errorf("it has %q", got)
	}
}

// A tar archive keeps descriptors under the name that the layers of Windows
// containers have for them.
func TestTarKeepsSecurity(t *testing.T) {
	from, to := furnished(t), volume.New(volume.Config{})
	must(t, from.SetSecurity(`\VMs\sql01\Config.xml`, machines))
	must(t, from.SetSecurity(`\Empty`, admins))
	var archive bytes.Buffer
	must(t, volume.WriteTar(&archive, from.FS()))
	h, err := volume.NewHost(map[string]fs.FS{"D": to.FS()})
	must(t, err)
	must(t, volume.ReadTar(h, "D", &archive))
	if file, dir, other := security(t, to, `\VMs\sql01\Config.xml`), security(t, to, `\Empty`), security(t, to, `\VMs\sql01\disk.vhd`); file != machines || dir != admins || other != "" {
		t.Errorf("they have %q, %q, %q", file, dir, other)
	}

	w := tar.NewWriter(&archive)
	must(t, w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{"MSWINDOWS.sd": "D:\r\n"}}))
	must(t, w.Close())
	if err := volume.ReadTar(to.FS(), ".", &archive); !errors.Is(err, volume.ErrInvalidSecurity) {
		t.Errorf("a malformed one: %v", err)
	}
}

// A link in a tar archive keeps its own descriptor.
func TestTarKeepsSecurityOfLinks(t *testing.T) {
	from, to := volume.New(volume.Config{}), volume.New(volume.Config{})
	must(t, from.WriteFile(`\a`, nil))
	must(t, from.Symlink(`\a`, `\link`))
	must(t, from.SetLinkSecurity(`\link`, admins))
	var archive bytes.Buffer
	must(t, volume.WriteTar(&archive, from.FS()))
	h, err := volume.NewHost(map[string]fs.FS{"D": to.FS()})
	must(t, err)
	must(t, volume.ReadTar(h, "D", &archive))
	info, err := to.Lstat(`\link`)
	must(t, err)
	if link, file := info.Security(), security(t, to, `\a`); link != admins || file != "" {
		t.Errorf("the link has %q, the file %q", link, file)
	}
}
