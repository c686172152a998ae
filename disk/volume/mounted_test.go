package volume_test

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/shadowsim/shadowsim/disk/volume"
)

const csv1 = `C:\ClusterStorage\Volume1`

// mounted is a host with C: and D: and a volume in a folder of C:.
func mounted(t testing.TB) (h *volume.Host, c, v *volume.Volume) {
	h, c, _ = twoDrives(t)
	v = volume.New(volume.Config{ID: [16]byte{0xCC}})
	must(t, v.MkdirAll(`\VMs\web`))
	must(t, v.WriteFile(`\VMs\web\config.xml`, []byte("<web/>")))
	must(t, h.MountFolder(csv1, v.FS()))
	return h, c, v
}

// A mounted folder is a link to the volume's GUID path, and what is below it is on
// that volume, for whoever reads and writes.
func TestMountFolder(t *testing.T) {
	h, c, v := mounted(t)
	const guidPath = `\\?\Volume{cc000000-0000-0000-0000-000000000000}\`
	if to, err := c.Readlink(`\ClusterStorage\Volume1`); err != nil || to != guidPath {
		t.Errorf("the link leads to %s, %v", to, err)
	}
	must(t, c.Symlink(csv1+`\VMs\web\config.xml`, `\link.xml`))
	for _, name := range []string{"C/ClusterStorage/Volume1/VMs/web/config.xml", "c/clusterstorage/VOLUME1/vms/web/CONFIG.xml", "C/link.xml"} {
		if data, err := fs.ReadFile(h, name); err != nil || string(data) != "<web/>" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	must(t, h.Mkdir("C/ClusterStorage/Volume1/new"))
	w, err := h.Create("C/ClusterStorage/Volume1/new/file")
	must(t, err)
	_, err = w.Write([]byte("here"))
	must(t, errors.Join(err, w.Close()))
	if data, err := v.ReadFile(`\new\file`); err != nil || string(data) != "here" {
		t.Errorf("on the volume: %q, %v", data, err)
	}
	must(t, h.Rename("C/ClusterStorage/Volume1/new/file", "C/ClusterStorage/Volume1/file"))
	for _, names := range [][2]string{{"C/ClusterStorage/Volume1/file", "C/file"}, {"C/link.xml", "C/ClusterStorage/Volume1/link.xml"}} {
		if err := h.Rename(names[0], names[1]); !errors.Is(err, volume.ErrNotSameDevice) {
			t.Errorf("from %s to %s: %v", names[0], names[1], err)
		}
	}
	for path, want := range map[string]string{
		csv1:                               csv1,
		csv1 + `\vms\WEB`:                  csv1 + `\VMs\web`,
		`C:\link.xml`:                      csv1 + `\VMs\web\config.xml`,
		`c:\clusterstorage\volume1\nobody`: csv1 + `\nobody`,
	} {
		if got, err := h.Resolve(path); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", path, got, err, want)
		}
	}
	must(t, fstest.TestFS(h, "C/ClusterStorage/Volume1", "C/link.xml", "D/round.xml"))
}

// Without the volume the folder leads nowhere, and nothing can be put there by
// mistake; it can come back, or another volume in its place.
func TestUnmountFolder(t *testing.T) {
	h, c, v := mounted(t)
	h.UnmountFolder(`c:\CLUSTERSTORAGE\volume1`)
	h.UnmountFolder(csv1)
	if _, err := h.Stat("C/ClusterStorage/Volume1/VMs"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not mounted: %v", err)
	}
	if err := h.Mkdir("C/ClusterStorage/Volume1"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a directory in its place: %v", err)
	}
	must(t, h.MountFolder(csv1, v.FS()))
	if _, err := h.Stat("C/ClusterStorage/Volume1/VMs"); err != nil {
		t.Error(err)
	}
	h.UnmountFolder(csv1)
	other := volume.New(volume.Config{ID: [16]byte{0xDD}})
	must(t, other.WriteFile(`\other`, nil))
	must(t, h.MountFolder(csv1, other.FS()))
	if _, err := h.Stat("C/ClusterStorage/Volume1/other"); err != nil {
		t.Error(err)
	}
	must(t, c.MkdirAll(`\taken`))
	must(t, c.Symlink(`D:\VMs`, `\away`))
	for path, want := range map[string]error{
		`C:\taken`:       volume.ErrAlreadyExists,
		`C:\away`:        volume.ErrAlreadyExists, // a link of somebody else
		`C:\`:            volume.ErrInvalidName,
		`\folder`:        volume.ErrInvalidName,
		`X:\folder`:      volume.ErrPathNotFound,
		`C:\again\there`: nil,
	} {
		if err := h.MountFolder(path, v.FS()); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		h.UnmountFolder(path)
	}
	must(t, h.MountFolder(`C:\here`, v.FS()))
	if err := h.MountFolder(`C:\there`, v.FS()); !errors.Is(err, volume.ErrAlreadyExists) {
		t.Errorf("a volume in two folders: %v", err)
	}
}
