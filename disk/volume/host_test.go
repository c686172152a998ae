package volume_test

import (
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/shadowsim/shadowsim/disk/volume"
)

// twoDrives returns a host whose C: has links to D: and back.
func twoDrives(t testing.TB) (h *volume.Host, c, d *volume.Volume) {
	c, d = sample(t), volume.New(volume.Config{ID: [16]byte{0xD}})
	must(t, d.MkdirAll(`\VMs\web`))
	must(t, d.WriteFile(`\VMs\web\config.xml`, []byte("<web/>")))
	must(t, c.Symlink(`D:\VMs\web\config.xml`, `\ProgramData\Virtual Machines\web.xml`))
	must(t, c.SymlinkDir(`d:\VMs`, `\Machines`))
	must(t, d.Symlink(`C:\Machines\web\config.xml`, `\round.xml`))
	must(t, c.SymlinkDir(`D:\`, `\Drive`))
	h, err := volume.NewHost(map[string]fs.FS{"c:": c.FS(), "D": d.FS()})
	must(t, err)
	return h, c, d
}

func TestHostPassesTestFS(t *testing.T) {
	h, c, d := twoDrives(t)
	names := []string{"C/ProgramData/Virtual Machines/web.xml", "C/Machines", "D/VMs/web/config.xml", "D/round.xml"}
	must(t, fstest.TestFS(h, names...))

	drives := map[string]fs.FS{"E": fstest.MapFS{"file": {Data: []byte("foreign")}, "dir/file": {}}}
	for letter, v := range map[string]*volume.Volume{"C": c, "D": d} {
		must(t, v.CreateShadow(shadowID))
		must(t, v.SealShadow(shadowID))
		shadow, err := v.OpenShadow(shadowID)
		must(t, err)
		drives[letter] = shadow
		must(t, v.Rename(`\VMs`, `\elsewhere`))
	}
	h, err := volume.NewHost(drives)
	must(t, err)
	must(t, fstest.TestFS(h, append(names, "E/dir/file")...))
	empty, err := volume.NewHost(nil)
	must(t, err)
	must(t, fstest.TestFS(empty))
}

func TestHostFollowsLinks(t *testing.T) {
	h, c, d := twoDrives(t)
	for _, name := range []string{
		"D/VMs/web/config.xml", "d/vms/WEB/config.xml", "C/Machines/web/config.xml",
		"C/ProgramData/Virtual Machines/web.xml", "D/round.xml", "C/Drive/VMs/web/config.xml",
	} {
		data, err := fs.ReadFile(h, name)
		if err != nil || string(data) != "<web/>" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	for _, x := range []struct{ path, want string }{
		{`c:/machines/WEB/Config.xml`, `D:\VMs\web\config.xml`},
		{`D:\round.xml`, `D:\VMs\web\config.xml`},
		{`C:\Drive`, `D:\`},
		{`C:\Machines\new`, `D:\VMs\new`},
		{`C:\ProgramData\machine\DISK.VHD`, `C:\VMs\sql01\Disk.vhd`},
	} {
		if got, err := h.Resolve(x.path); got != x.want || err != nil {
			t.Errorf("Resolve(%s) = %s, %v, want %s", x.path, got, err, x.want)
		}
	}
	_, err := h.Resolve(`C:\Machines\missing\x`)
	wantCode(t, err, volume.ErrPathNotFound)

	must(t, c.Symlink(`D:\circle`, `\circle`))
	must(t, d.Symlink(`C:\circle`, `\circle`))
	_, err = h.Open("C/circle")
	wantCode(t, err, volume.ErrCantResolveName)
	must(t, c.Symlink(`X:\gone`, `\gone`))
	_, err = h.Stat("C/gone")
	wantCode(t, err, volume.ErrPathNotFound)
	must(t, c.Symlink(`\\server\share`, `\net`))
	_, err = h.Stat("C/net/file")
	wantCode(t, err, volume.ErrPathNotFound)
}

func TestHostWrites(t *testing.T) {
	h, c, d := twoDrives(t)
	w, err := h.Create("C/Machines/web/new.txt")
	must(t, err)
	_, err = io.WriteString(w, "new")
	must(t, err)
	must(t, w.Close())
	if data, err := d.ReadFile(`\VMs\web\new.txt`); string(data) != "new" {
		t.Errorf("the file behind the link is %q, %v", data, err)
	}
	must(t, h.Mkdir("C/Machines/db"))
	must(t, h.Rename("C/Machines/web/new.txt", "D/VMs/db/old.txt"))
	must(t, h.Remove("C/Drive/VMs/db/old.txt"))
	must(t, h.Symlink(`D:\VMs\db`, "C/db"))
	info, err := c.Lstat(`\db`)
	must(t, err)
	if want := volume.Directory | volume.ReparsePoint; info.Attributes() != want {
		t.Errorf("a link to a directory of another drive is %v, want %v", info.Attributes(), want)
	}
	must(t, h.Remove("C/db"))
	if _, err := d.Stat(`\VMs\db`); err != nil {
		t.Errorf("removing the link: %v", err)
	}
	wantCode(t, h.Rename("C/VMs/sql01", "D/sql01"), volume.ErrNotSameDevice)
	wantCode(t, h.Rename("C/VMs/missing", "C/x"), volume.ErrFileNotFound)
	wantCode(t, h.Mkdir("E/x"), volume.ErrPathNotFound)
	wantCode(t, h.Mkdir("C"), volume.ErrAlreadyExists)
	wantCode(t, h.Remove("C"), volume.ErrAccessDenied)
	wantCode(t, h.Remove("."), volume.ErrAccessDenied)
	wantCode(t, h.Rename("C", "D"), volume.ErrNotSameDevice)

	must(t, d.CreateShadow(shadowID))
	must(t, d.SealShadow(shadowID))
	shadow, err := d.OpenShadow(shadowID)
	must(t, err)
	frozen, err := volume.NewHost(map[string]fs.FS{"D": shadow, "M": fstest.MapFS{}})
	must(t, err)
	wantCode(t, frozen.Mkdir("D/x"), volume.ErrWriteProtect)
	wantCode(t, frozen.Mkdir("M/x"), volume.ErrWriteProtect)
}

func TestNewHostRefuses(t *testing.T) {
	view := volume.New(volume.Config{}).FS()
	for _, drives := range []map[string]fs.FS{
		{"CD": view}, {"": view}, {"1": view}, {"C": nil}, {"C": view, "c:": view},
	} {
		if _, err := volume.NewHost(drives); !errors.Is(err, volume.ErrInvalidName) {
			t.Errorf("NewHost(%v): %v", drives, err)
		}
	}
}

// A drive that is unmounted is gone for whoever holds the host, and can come back.
func TestHostMount(t *testing.T) {
	v := volume.New(volume.Config{})
	if err := v.WriteFile(`\file`, []byte("x")); err != nil {
		t.Fatal(err)
	}
	h, err := volume.NewHost(map[string]fs.FS{"C:": volume.New(volume.Config{}).FS()})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Mount("S:", v.FS()); err != nil {
			t.Fatal(err)
		}
		if err := h.Mount("s", v.FS()); !errors.Is(err, volume.ErrInvalidName) {
			t.Errorf("a letter is given twice: %v", err)
		}
		if b, err := h.ReadFile("S/file"); string(b) != "x" || err != nil {
			t.Errorf("the drive has %q, %v", b, err)
		}
		h.Unmount("S:")
		h.Unmount("")
		if _, err := h.ReadFile("S/file"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a drive that is gone: %v", err)
		}
		if list, err := h.ReadDir("."); len(list) != 1 || err != nil {
			t.Errorf("the drives are %v, %v", list, err)
		}
	}
	for _, name := range []string{"", "S:\\", "1:", "ST"} {
		if err := h.Mount(name, v.FS()); !errors.Is(err, volume.ErrInvalidName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
