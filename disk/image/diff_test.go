package image_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/image"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

// checkDiff demands that a disk is another one outside of what Diff yields, and
// returns how much that is.
func checkDiff(t *testing.T, what string, im image.Image, since disk.Store) (sum int64) {
	t.Helper()
	seq, err := im.Diff(since)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	got := content(t, im)
	was := append(content(t, since), make([]byte, len(got))...)[:len(got)]
	last := int64(-1)
	for e := range seq {
		if e.Off <= last || e.Len <= 0 || e.End() > im.Size() {
			t.Fatalf("%s: change %v of %d behind one that ends at %d", what, e, im.Size(), last)
		}
		copy(got[e.Off:e.End()], was[e.Off:])
		last, sum = e.End(), sum+e.Len
	}
	if !bytes.Equal(got, was) {
		t.Errorf("%s: bytes differ that are in no change", what)
	}
	return sum
}

// Images of a chain tell what differs between any two of them, and between
// forks of one, by what those hold that are not below both.
func TestDiffOfLinks(t *testing.T) {
	journals := map[string]*journal{}
	journals["VHD"], _ = recorded(t, image.VHD)
	journals["VHDX"], _ = recorded(t, image.VHDX)
	for _, sizes := range unevenSizes {
		journals[unit(sizes[1])], _ = uneven(t, sizes)
	}
	for name, j := range journals {
		c := openJournal(t, j)
		links := c.Links()
		for i, a := range links {
			for k, b := range links {
				sum := checkDiff(t, name, a.Image, b.Image)
				if i == k && sum > 0 || a.Image.Size() == size && sum > size/2 {
					t.Errorf("%s: %d bytes differ between links %d and %d", name, sum, i, k)
				}
			}
		}
		snap := must(disk.Snapshot(c.Image))
		fork := must(disk.Clone(c.Image)).(image.Image)
		must(c.WriteAt(pattern(99, 5000), 6000))
		must(fork.WriteAt(pattern(98, 5000), 3000))
		checkDiff(t, name+" and its snapshot", c, snap)
		checkDiff(t, name+" and its fork", c, fork)
		checkDiff(t, name+", a fork and the base", fork, links[len(links)-1].Image)
		if sum := checkDiff(t, name+", a fork and a snapshot", fork, snap); fork.Size() == size && sum > size/2 {
			t.Errorf("%s: %d bytes differ between forks of one image", name, sum)
		}
	}
	other := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: size}))
	must(other.WriteAt(pattern(1, 512), 512))
	checkDiff(t, "strangers", other, must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: 512})))
	_, err := other.Diff(disk.NewMemory(size))
	if !errors.Is(err, disk.ErrUnsupported) {
		t.Errorf("since a store of another kind: %v", err)
	}
}

// Zeros over something are a change, whether a child has written or discarded
// them, and seen from either side.
func TestDiffOfZeros(t *testing.T) {
	const block, size = 1 << 20, 1<<20 + 64<<10
	for _, format := range []image.Format{image.VHD, image.VHDX} {
		for name, erase := range map[string]func(s disk.Store) error{
			"written":   func(s disk.Store) error { _, err := s.WriteAt(make([]byte, size-block), block); return err },
			"discarded": func(s disk.Store) error { return disk.Discard(s, block, size-block) },
		} {
			d := newFolder()
			base := must(image.Create(d.create(`C:\b`), image.Options{Format: format, Size: size, BlockSize: block, ID: [16]byte{1}}))
			must(base.WriteAt(pattern(1, size-block), block))
			child := must(image.Create(d.create(`C:\c`), image.Options{Format: format, Parent: base, Place: image.Place{Parent: `C:\b`}, BlockSize: block, ID: [16]byte{2}}))
			if err := erase(child); err != nil {
				t.Fatal(err)
			}
			what := format.String() + ", zeros " + name
			for _, sum := range []int64{checkDiff(t, what, child, base), checkDiff(t, what+", from below", base, child)} {
				if sum != size-block {
					t.Errorf("%s: %d bytes differ, want %d", what, sum, size-block)
				}
			}
		}
	}
}

// What a large child holds is found by its tables alone.
func TestDiffOfLargeLinks(t *testing.T) {
	d := newFolder()
	for i, format := range []image.Format{image.VHD, image.VHDX} {
		base := must(image.Create(d.create(`C:\b`), image.Options{Format: format, Size: 1 << 40, ID: [16]byte{1}}))
		must(base.WriteAt(pattern(1, 4096), 1<<39))
		child := must(image.Create(d.create(`C:\c`), image.Options{Format: format, Parent: base, Place: image.Place{Parent: `C:\b`}, ID: [16]byte{2}}))
		must(child.WriteAt(pattern(2, 4096), 3<<38))
		n := 0
		for e := range must(child.Diff(base)) {
			if n++; e.Off != 3<<38 || e.Len != 4096 {
				t.Errorf("%d: change %v", i, e)
			}
		}
		if n != 1 {
			t.Errorf("%d changes", n)
		}
	}
}
