package image_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/image"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// pattern fills n bytes so that no sector of it is zero or like the next one.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed ^ byte(i) ^ byte(i>>9) | 1
	}
	return b
}

func content(t rapid.TB, s disk.Source) []byte {
	t.Helper()
	b := make([]byte, s.Size())
	if n, err := s.ReadAt(b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("reading %d bytes of disk: %d, %v", len(b), n, err)
	}
	return b
}

func same(t rapid.TB, what string, got, want []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d bytes, want %d", what, len(got), len(want))
	}
	if !bytes.Equal(got, want) {
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: byte %d is %#x, want %#x", what, i, got[i], want[i])
			}
		}
	}
}

// wantCode demands an *image.Error around a code.
func wantCode(t rapid.TB, err error, code error) {
	t.Helper()
	var e *image.Error
	if !errors.Is(err, code) || !errors.As(err, &e) || e.Op == "" {
		t.Fatalf("error %v, want a *image.Error around %v", err, code)
	}
}

// A folder holds files by their Windows paths, whatever the case, and counts
// those that are open.
type folder struct {
	files map[string]image.File
	open  int
	asked []string
}

func newFolder() *folder { return &folder{files: map[string]image.File{}} }

func (d *folder) OpenImage(path string) (disk.Source, error) {
	d.asked = append(d.asked, path)
	f, ok := d.files[strings.ToLower(path)]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	d.open++
	return &opened{File: f, dir: d}, nil
}

// create makes an empty file.
func (d *folder) create(path string) image.File {
	f := disk.NewMemory(0)
	d.files[strings.ToLower(path)] = f
	return f
}

type opened struct {
	image.File
	dir *folder
}

func (o *opened) Close() error {
	if o.dir == nil {
		return errors.New("closed twice")
	}
	o.dir.open--
	o.dir = nil
	return nil
}

const size = 40*4096 - 512

// chain3 is base.vhd, one.avhd over it and two.avhd over that, all of small
// blocks, in C:\vm and its folder "snap", and the disk they are.
func chain3(t rapid.TB) (*folder, []byte) {
	d := newFolder()
	base := must(vhd.Create(d.create(`C:\vm\base.vhd`), vhd.Options{Size: size, BlockSize: 4096, ID: [16]byte{1}}))
	must(base.WriteAt(pattern(1, 12000), 4096))
	must(base.WriteAt(pattern(2, 700), 100000))
	one := link(d, base, `C:\vm\base.vhd`, `C:\vm\snap\one.avhd`, 2)
	must(one.WriteAt(pattern(3, 9000), 9000))
	if err := one.Discard(4096, 3000); err != nil {
		t.Fatal(err)
	}
	must(one.WriteAt(pattern(6, 512), 100000)) // where the base has a block, and behind all the rest
	two := link(d, one, `C:\vm\snap\one.avhd`, `C:\vm\snap\two.avhd`, 3)
	must(two.WriteAt(pattern(4, 5000), 14000))
	must(two.WriteAt(pattern(7, 9000), 120000))
	must(two.WriteAt(pattern(5, 512), size-512))
	return d, content(t, two)
}

// link makes a child of an image.
func link(d *folder, p *vhd.Image, parent, child string, id byte) *vhd.Image {
	return must(vhd.Create(d.create(child), vhd.Options{
		BlockSize: 8192, ID: [16]byte{id}, Parent: vhd.Parent{Image: p, Path: parent, Child: child},
	}))
}

const leaf = `C:\vm\snap\two.avhd`

// chain3X is chain3 of VHDX, with the same names and the same disk.
func chain3X(t rapid.TB) (*folder, []byte) {
	d := newFolder()
	base := must(vhdx.Create(d.create(`C:\vm\base.vhd`), vhdx.Options{Size: size, BlockSize: 1 << 20, ID: [16]byte{1}}))
	must(base.WriteAt(pattern(1, 12000), 4096))
	must(base.WriteAt(pattern(2, 700), 100000))
	must(0, base.Close())
	one := linkX(d, base, `C:\vm\base.vhd`, `C:\vm\snap\one.avhd`, 2)
	must(one.WriteAt(pattern(3, 9000), 9000))
	must(0, one.Discard(4096, 3000))
	must(one.WriteAt(pattern(6, 512), 100000))
	must(0, one.Close())
	two := linkX(d, one, `C:\vm\snap\one.avhd`, leaf, 3)
	must(two.WriteAt(pattern(4, 5000), 14000))
	must(two.WriteAt(pattern(7, 9000), 120000))
	must(two.WriteAt(pattern(5, 512), size-512))
	must(0, two.Close())
	return d, content(t, two)
}

// linkX makes a child of a VHDX.
func linkX(d *folder, p *vhdx.Image, parent, child string, id byte) *vhdx.Image {
	return must(vhdx.Create(d.create(child), vhdx.Options{
		BlockSize: 1 << 20, DataWriteGUID: [16]byte{id}, Parent: vhdx.Parent{Image: p, Path: parent, Child: child},
	}))
}
