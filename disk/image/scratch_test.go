package image_test

import (
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/image"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

func TestScratchMergeSpans(t *testing.T) {
	d, want := chain3X(t)
	c, err := image.OpenChain(leaf, d, image.ChainOptions{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = want
	// make faulty
	c.Close()
	f := disk.WithFaults(d.files[`c:\vm\snap\two.avhd`], disk.FaultPlan{})
	d.files[`c:\vm\snap\two.avhd`] = f
	c, err = image.OpenChain(leaf, d, image.ChainOptions{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	m, err := image.NewMerge(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	fault, err := disk.ParseFault("read at=3145728+1048576 err=0x80070017")
	if err != nil {
		t.Fatal(err)
	}
	f.Inject(fault)
	done, err := m.Step(1 << 30)
	t.Log(done, err, f.Unreached())
	same(t, "after", content(t, c), want)
}

func TestScratchBroken(t *testing.T) {
	d, _ := chain3X(t)
	f := d.files[`c:\vm\snap\one.avhd`]
	im, err := vhdx.Open(f, f.Size())
	if err != nil {
		t.Fatal(err)
	}
	var at int64
	for _, it := range im.Items() {
		if it.ID == vhdx.ItemParentLocator {
			at = 2<<20 + int64(it.Offset)
		}
	}
	b := make([]byte, 20)
	must(f.ReadAt(b, at))
	b[18] = 0 // no entries
	must(f.WriteAt(b, at))
	_, err = image.OpenChain(leaf, d, image.ChainOptions{})
	t.Log(err)
}
