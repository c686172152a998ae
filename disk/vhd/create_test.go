package vhd

import (
	"reflect"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
)

// Create opens an image as OpenFile does what it has written.
func TestCreateOpens(t *testing.T) {
	parent, err := Create(disk.NewMemory(0), Options{Size: 3 << 20, ID: [16]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{
		{Size: SectorSize}, {Size: 5<<20 + SectorSize, Creator: Tag{'q', 'e', 'm', 'u'}, ID: [16]byte{7}}, {Size: 1 << 30, BlockSize: 512 << 10},
		{Size: 3 << 20, Type: Fixed}, {Parent: Parent{Image: parent, Path: `D:\parent.vhd`, Child: `D:\child.vhd`}},
	} {
		f := disk.NewMemory(0)
		made, err := Create(f, o)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := OpenFile(f)
		if err != nil {
			t.Fatal(err)
		}
		opened.parent = made.parent
		if !reflect.DeepEqual(made, opened) {
			t.Errorf("%+v: Create returns\n%+v, OpenFile\n%+v", o, made, opened)
		}
		b := []byte("bytes")
		if _, err := made.WriteAt(b, made.Size()-5); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
		if _, err := OpenFile(f); err != nil {
			t.Errorf("%+v, written: %v", o, err)
		}
	}
}
