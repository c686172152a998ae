package requester

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/shadowsim/shadowsim/disk/volume"
)

// A directory of a tree finds names as the tree does.
func TestBelowFindsNames(t *testing.T) {
	v := volume.New(volume.Config{})
	if err := errors.Join(v.MkdirAll(`\files\D`), v.WriteFile(`\files\D\Disk.vhd`, nil)); err != nil {
		t.Fatal(err)
	}
	list, err := below{v.FS(), "files"}.ReadNamed("d", "disk.VHD")
	if err != nil || len(list) != 1 || list[0].Name() != "Disk.vhd" {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := (below{v.FS(), "files"}).ReadNamed("..", "files"); err == nil {
		t.Errorf("leads out: %v", list)
	}
	if _, err := (below{fstest.MapFS{}, "files"}).ReadNamed("d", "disk.VHD"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a tree that does not find names: %v", err)
	}
}
