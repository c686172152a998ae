package image_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/image"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// targets are all that an image can be made of.
var targets = []image.Options{
	{Format: image.Raw},
	{Format: image.VHD, Kind: image.Fixed},
	{Format: image.VHD, Kind: image.Dynamic},
	{Format: image.VHD, BlockSize: 512 << 10},
	{Format: image.VHDX, Kind: image.Fixed, BlockSize: 1 << 20},
	{Format: image.VHDX},
	{Format: image.VHDX, BlockSize: 1 << 20},
}

func targetName(o image.Options) string {
	if o.Format == image.Raw {
		return "raw"
	}
	kind := o.Kind
	if kind == 0 {
		kind = image.Dynamic
	}
	return fmt.Sprintf("%v %v %d", kind, o.Format, o.BlockSize)
}

// with gives an image an identifier.
func with(o image.Options, id byte) image.Options {
	o.ID = [16]byte{id}
	return o
}

// asDisk opens what Convert made.
func asDisk(t testing.TB, f *disk.Memory, o image.Options) disk.Source {
	if o.Format == image.Raw {
		return f
	}
	im, err := image.OpenFile(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Check(); err != nil || im.Notes() != nil {
		t.Errorf("%s: Check: %v, notes %q", targetName(o), err, im.Notes())
	}
	return im
}

// Any format becomes any other, and is the same disk; the stream and the sparse
// file are the same bytes.
func TestConvertAll(t *testing.T) {
	const size = 3<<20 + 512
	want := disk.NewMemory(size)
	must(want.WriteAt(pattern(1, 70000), 100))
	must(want.WriteAt(pattern(2, 5000), 2<<20-1000))
	must(want.WriteAt(pattern(3, 512), size-512))
	for _, from := range targets {
		first := disk.NewMemory(7)
		if err := image.Convert(first, want, with(from, 1)); err != nil {
			t.Fatal(err)
		}
		src := asDisk(t, first, from)
		for _, to := range targets {
			t.Run(targetName(from)+" to "+targetName(to), func(t *testing.T) {
				out := disk.NewMemory(0)
				if err := image.Convert(out, src, with(to, 2)); err != nil {
					t.Fatal(err)
				}
				if off, err := disk.FirstDifference(asDisk(t, out, to), want); off >= 0 || err != nil {
					t.Errorf("they differ at %d, %v", off, err)
				}
				var w bytes.Buffer
				plan := must(image.NewPlan(src, with(to, 2)))
				if n, err := plan.WriteTo(&w); err != nil || n != plan.Size() || n != out.Size() {
					t.Errorf("WriteTo = %d, %v, want %d", n, err, out.Size())
				}
				same(t, "stream", w.Bytes(), content(t, out))
			})
		}
	}
}

// A chain collapses into one image of any format, and what differs from its
// base into a child of that.
func TestCollapse(t *testing.T) {
	d, want := chain3(t)
	c := must(image.OpenChain(leaf, d, image.ChainOptions{}))
	for _, o := range targets {
		out := disk.NewMemory(0)
		if err := image.Convert(out, c, image.Options{Format: o.Format, Kind: o.Kind, BlockSize: o.BlockSize, ID: [16]byte{9}}); err != nil {
			t.Fatal(err)
		}
		same(t, targetName(o), content(t, asDisk(t, out, o)), want)
	}
	base := c.Links()[2]
	err := image.Convert(d.create(`C:\vm\all.avhd`), bare{c}, image.Options{
		Format: image.VHD, ID: [16]byte{10}, BlockSize: 4096, Parent: base.Image, Place: image.Place{Parent: base.Path, Child: `C:\vm\all.avhd`},
	})
	if err != nil {
		t.Fatal(err)
	}
	all := must(image.OpenChain(`C:\vm\all.avhd`, d, image.ChainOptions{}))
	same(t, "one child for two", content(t, all), want)
	if len(all.Links()) != 2 {
		t.Errorf("%d links", len(all.Links()))
	}
}

// bare hides what a chain knows of itself.
type bare struct{ disk.Source }

// A chain of VHDX opens like one of VHD.
func TestChainVHDX(t *testing.T) {
	d := newFolder()
	base := must(image.Create(d.create(`C:\vm\base.vhdx`), image.Options{Format: image.VHDX, Size: 8 << 20, BlockSize: 1 << 20, ID: [16]byte{1}}))
	must(base.WriteAt(pattern(1, 3<<20), 1000))
	if err := base.Close(); err != nil {
		t.Fatal(err)
	}
	leaf := must(image.Create(d.create(`C:\vm\s\leaf.avhdx`), image.Options{
		Format: image.VHDX, ID: [16]byte{2}, Parent: base, Place: image.Place{Parent: `C:\vm\base.vhdx`, Child: `C:\vm\s\leaf.avhdx`},
	}))
	must(leaf.WriteAt(pattern(2, 5000), 1<<20))
	if err := leaf.Sync(); err != nil {
		t.Fatal(err)
	}
	c, err := image.OpenChain(`C:\vm\s\leaf.avhdx`, d, image.ChainOptions{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "chain", content(t, c), content(t, leaf))
	if f, k := image.FormatOf(c.Links()[0].Image); f != image.VHDX || k != image.Differencing {
		t.Errorf("the leaf is a %v %v", k, f)
	}
	again := must(image.OpenFile(d.files[`c:\vm\base.vhdx`]))
	must(again.WriteAt([]byte{1}, 0))
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = image.OpenChain(`C:\vm\s\leaf.avhdx`, d, image.ChainOptions{})
	wantCode(t, err, image.ErrParentID)

	must(vhd.Create(d.create(`C:\vm\base.vhdx`), vhd.Options{Size: 8 << 20, ID: [16]byte{1}}))
	_, err = image.OpenChain(`C:\vm\s\leaf.avhdx`, d, image.ChainOptions{Check: image.CheckNothing})
	wantCode(t, err, image.ErrType)
}

func isCode(err, code error) bool {
	var e *image.Error
	return errors.Is(err, code) && errors.As(err, &e)
}

func TestCreateRefuses(t *testing.T) {
	v := must(image.Create(disk.NewMemory(0), image.Options{Format: image.VHD, Size: 1 << 20, ID: [16]byte{1}}))
	x := must(image.Create(disk.NewMemory(0), image.Options{Format: image.VHDX, Size: 1 << 20, ID: [16]byte{1}}))
	place := image.Place{Parent: `C:\p`}
	for name, c := range map[string]struct {
		o    image.Options
		want error
	}{
		"raw":              {image.Options{Size: 512}, image.ErrFormatUnknown},
		"kind":             {image.Options{Format: image.VHD, Kind: 9, Size: 512}, image.ErrType},
		"kind of vhdx":     {image.Options{Format: image.VHDX, Kind: 9, Size: 512}, image.ErrType},
		"vhd over vhdx":    {image.Options{Format: image.VHD, Parent: x, Place: place}, image.ErrType},
		"vhdx over vhd":    {image.Options{Format: image.VHDX, Parent: v, Place: place}, image.ErrType},
		"vhd of 4096":      {image.Options{Format: image.VHD, Size: 1 << 20, SectorSize: 4096}, image.ErrSectorSize},
		"vhd too large":    {image.Options{Format: image.VHD, Size: 4 << 40}, vhd.ErrSize},
		"vhdx, odd sector": {image.Options{Format: image.VHDX, Size: 1 << 20, SectorSize: 520}, vhdx.ErrSectorSize},
	} {
		_, err := image.Create(disk.NewMemory(0), c.o)
		if !isCode(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	_, err := image.NewPlan(v, image.Options{Parent: v})
	wantCode(t, err, image.ErrType)
	_, err = image.NewPlan(v, image.Options{Format: 9})
	wantCode(t, err, image.ErrFormatUnknown)
}

// Resize and Compact are those of the format.
func TestResizeAndCompact(t *testing.T) {
	for _, format := range []image.Format{image.VHD, image.VHDX} {
		f := disk.NewMemory(0)
		im := must(image.Create(f, image.Options{Format: format, Size: 8 << 20}))
		must(im.WriteAt(pattern(1, 1000), 7<<20))
		wantCode(t, image.Resize(im, 4<<20), image.ErrShrink)
		if err := image.Resize(im, 16<<20); err != nil || im.Size() != 16<<20 {
			t.Errorf("%v, Resize: %v, %d bytes", format, err, im.Size())
		}
		full := f.Size()
		if err := im.Discard(0, im.Size()); err != nil {
			t.Fatal(err)
		}
		if err := image.Compact(im); err != nil || f.Size() >= full {
			t.Errorf("%v, Compact: %v, %d bytes, there were %d", format, err, f.Size(), full)
		}
		fixed := must(image.Create(disk.NewMemory(0), image.Options{Format: format, Kind: image.Fixed, Size: 512}))
		wantCode(t, image.Compact(fixed), image.ErrType)
	}
}

// A chain is its leaf for whatever is done to an image.
func TestChainIsItsLeaf(t *testing.T) {
	for format, make := range map[image.Format]func(rapid.TB) (*folder, []byte){image.VHD: chain3, image.VHDX: chain3X} {
		d, want := make(t)
		c := must(image.OpenChain(leaf, d, image.ChainOptions{Write: true}))
		if f, k := image.FormatOf(c); f != format || k != image.Differencing {
			t.Errorf("a %v %v, want a differencing %v", k, f, format)
		}
		o := image.Options{Format: format, Parent: c, Place: image.Place{Parent: leaf}, ID: [16]byte{9}}
		same(t, "child", content(t, must(image.Create(disk.NewMemory(0), o))), want)
	}
	d, _ := chain3(t)
	base := must(image.OpenChain(`C:\vm\base.vhd`, d, image.ChainOptions{Write: true}))
	if err := image.Resize(base, 2*size); err != nil || base.Size() != 2*size {
		t.Errorf("Resize: %v, %d bytes", err, base.Size())
	}
	if err := image.Compact(base); err != nil {
		t.Error(err)
	}
}

// An image keeps a history like any store.
func TestSnapshotTreeOfAnImage(t *testing.T) {
	for _, format := range []image.Format{image.VHD, image.VHDX} {
		im := must(image.Create(disk.NewMemory(0), image.Options{Format: format, Size: 1 << 20}))
		tree := disk.NewSnapshotTree(im)
		must(tree.WriteAt(pattern(1, 5000), 100))
		want := content(t, tree)
		must(0, tree.Take("first"))
		must(tree.WriteAt(pattern(2, 5000), 3000))
		if err := tree.Revert("first"); err != nil {
			t.Fatal(err)
		}
		same(t, "reverted", content(t, tree), want)
		must(tree.WriteAt(pattern(3, 5000), 0))
		fork := must(tree.Fork("first"))
		must(fork.WriteAt(pattern(4, 100), 0))
		same(t, "snapshot", content(t, must(tree.Open("first"))), want)
	}
}
