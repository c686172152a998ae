package image_test

import (
	"testing"

	"github.com/shadowsim/shadowsim/disk/image"
	"github.com/shadowsim/shadowsim/internal/guid"
)

func TestNames(t *testing.T) {
	const id = "0B6ADA7B-9D04-4EC7-8A61-1C8D3D8B2E01"
	g := guid.MustParse(id)
	for _, c := range []struct {
		path string
		want image.Name
		text string // "" where it is the last element of path
	}{
		{`C:\vm\db.vhd`, image.Name{Base: "db", Ext: ".vhd"}, ""},
		{`C:\vm\db.VHDX`, image.Name{Base: "db", Ext: ".vhdx"}, "db.vhdx"},
		{`C:\vm\db_` + id + `.avhd`, image.Name{Base: "db", Checkpoint: g, Ext: ".avhd"}, ""},
		{`db_0b6ada7b-9d04-4ec7-8a61-1c8d3d8b2e01.avhdx`, image.Name{Base: "db", Checkpoint: g, Ext: ".avhdx"}, "db_" + id + ".avhdx"},
		{`db-AutoRecovery.avhdx`, image.Name{Base: "db", AutoRecovery: true, Ext: ".avhdx"}, ""},
		{`db_` + id + `-AutoRecovery.avhdx`, image.Name{Base: "db", Checkpoint: g, AutoRecovery: true, Ext: ".avhdx"}, ""},
		{`db_` + id + `.vhd`, image.Name{Base: "db_" + id, Ext: ".vhd"}, ""},
		{`db_` + id[1:] + `.avhd`, image.Name{Base: "db_" + id[1:], Ext: ".avhd"}, ""},
		{`_` + id + `.avhd`, image.Name{Base: "_" + id, Ext: ".avhd"}, ""},
		{`db.vhdx.rct`, image.Name{Base: "db.vhdx", Ext: ".rct"}, ""},
		{`db`, image.Name{Base: "db"}, ""},
		{``, image.Name{}, ""},
	} {
		got := image.ParseName(c.path)
		if got != c.want {
			t.Errorf("ParseName(%q) = %+v, want %+v", c.path, got, c.want)
		}
		want := c.text
		if want == "" {
			want = lastElement(c.path)
		}
		if got.String() != want {
			t.Errorf("%q prints as %q, want %q", c.path, got, want)
		}
	}
	for path, want := range map[string]string{
		`C:\vm\db.vhd`:           "db_" + id + ".avhd",
		`db.vhdx`:                "db_" + id + ".avhdx",
		`db_` + id + `.avhdx`:    "db_" + id + ".avhdx",
		`db-AutoRecovery.avhdx`:  "db_" + id + ".avhdx",
		`D:\other.name\disk.vhd`: "disk_" + id + ".avhd",
	} {
		if got := image.CheckpointOf(path, g); got != want {
			t.Errorf("CheckpointOf(%q) = %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]image.Format{
		`a.vhd`: image.VHD, `a.AVHD`: image.VHD, `a.vhdx`: image.VHDX, `a.avhdx`: image.VHDX,
	} {
		if got, ok := image.FormatOfName(path); got != want || !ok {
			t.Errorf("FormatOfName(%q) = %v, %v", path, got, ok)
		}
	}
	if f, ok := image.FormatOfName(`a.img`); f != image.Raw || ok {
		t.Errorf("FormatOfName(a.img) = %v, %v", f, ok)
	}
}

func lastElement(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '\\' {
			return path[i+1:]
		}
	}
	return path
}
