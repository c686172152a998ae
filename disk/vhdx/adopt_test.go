package vhdx_test

import (
	"reflect"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// labelled is a disk with two items of its user that go with it, one of them
// empty, and one that goes with the file.
func labelled() *disk.Memory {
	const user, ofDisk = 1, 2
	k := small().addItem(0xA1, 70<<10, 700, user|ofDisk).addItem(0xA2, 0, 0, user|ofDisk).addItem(0xA3, 72<<10, 100, user)
	return k.edit(metaPlace+70<<10, 700, func(p []byte) { copy(p, pattern(9, 700)) }).Memory
}

// item returns what a file has of a metadata item, and whether it is there.
func item(f *disk.Memory, first byte) ([]byte, bool) {
	for _, it := range reopened(f).Items() {
		if it.ID[3] == first || it.ID[0] == first { // as GUIDs have their bytes
			b := make([]byte, it.Length)
			must(f.ReadAt(b, metaPlace+int64(it.Offset)))
			return b, true
		}
	}
	return nil, false
}

// A child has what goes with the disk of its parent, and not what goes with the
// file.
func TestChildHasTheItemsOfTheDisk(t *testing.T) {
	f := disk.NewMemory(0)
	parent := reopened(labelled())
	im := must(vhdx.Create(f, vhdx.Options{BlockSize: mib, Parent: vhdx.Parent{Image: parent, Path: `.\p.vhdx`}}))
	got, ok := item(f, 0xA1)
	if !ok {
		t.Fatal("the item is missing")
	}
	same(t, "item", got, pattern(9, 700))
	if _, ok := item(f, 0xA2); !ok {
		t.Error("the empty item is missing")
	}
	if _, ok := item(f, 0xA3); ok {
		t.Error("an item of the parent's file is the child's")
	}
	if im.ID() != parent.ID() {
		t.Errorf("ID %v, the parent has %v", im.ID(), parent.ID())
	}
}

// What goes with a disk replaces what went with the one before; what goes with
// the file stays.
func TestAdoptDisk(t *testing.T) {
	from := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 5*mib + 1024, BlockSize: 2 * mib, ID: vhdx.GUID{77}, PhysicalSectorSize: 512}))
	f := labelled()
	im := must(vhdx.OpenFile(f))
	want, before := content(t, im), im.DataWriteGUID()
	snap := must(im.Snapshot()).(*vhdx.Image)
	must(0, im.AdoptDisk(from))
	again := sound(t, "disk", f, want)
	_, physical := again.SectorSize()
	if again.ID() != from.ID() || im.ID() != from.ID() || physical != 512 || again.DataWriteGUID() == before {
		t.Errorf("ID %v and %v, physical sectors of %d, DataWriteGUID %v, was %v", again.ID(), im.ID(), physical, again.DataWriteGUID(), before)
	}
	if snap.ID() == from.ID() {
		t.Error("the snapshot has another identifier")
	}
	if !reflect.DeepEqual(again.Items(), im.Items()) {
		t.Errorf("items %v, in memory %v", again.Items(), im.Items())
	}
	for first, want := range map[byte]bool{0xA1: false, 0xA2: false, 0xA3: true} {
		if _, ok := item(f, first); ok != want {
			t.Errorf("item %x is there: %v", first, ok)
		}
	}
	must(0, im.Close())
	quiet := f.Freeze()
	must(0, must(vhdx.OpenFile(f)).AdoptDisk(from))
	if off, err := disk.FirstDifference(quiet, f); off >= 0 || err != nil {
		t.Errorf("once more it changed the file at %d, %v", off, err)
	}
	must(0, must(vhdx.OpenFile(f)).AdoptDisk(reopened(labelled())))
	got, _ := item(f, 0xA1)
	same(t, "item", got, pattern(9, 700))
	sound(t, "disk with the items again", f, want)
}

func TestAdoptDiskRefuses(t *testing.T) {
	im := must(vhdx.OpenFile(small().Memory))
	other := func(o vhdx.Options) *vhdx.Image { return must(vhdx.Create(disk.NewMemory(0), o)) }
	wantCode(t, im.AdoptDisk(other(vhdx.Options{Size: mib})), vhdx.ErrSize)
	wantCode(t, reopened(small().Memory).AdoptDisk(im), disk.ErrReadOnly)
	wide := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 4096, SectorSize: 4096}))
	wantCode(t, wide.AdoptDisk(other(vhdx.Options{Size: 4096})), vhdx.ErrSectorSize)
	full := must(vhdx.OpenFile(small().addItem(0xA1, 70<<10, 900<<10, 1).Memory))
	large := reopened(small().addItem(0xA2, 70<<10, 200<<10, 3).Memory)
	wantCode(t, full.AdoptDisk(large), vhdx.ErrLimit)
	if full.ID() != (vhdx.GUID{7}) || len(full.Items()) != 6 {
		t.Errorf("after a refusal the disk is %v with %v", full.ID(), full.Items())
	}
}

// Each change of the file fails once. The disk has all of the old items or all
// of the new ones, and trying again gives it these.
func TestFaultyAdoptDisk(t *testing.T) {
	from := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 5*mib + 1024, ID: vhdx.GUID{77}, PhysicalSectorSize: 512}))
	for k, fired := 1, true; fired; k++ {
		f := &faulty{Memory: labelled(), fails: func(int) bool { return false }}
		im := must(vhdx.OpenFile(f))
		f.count, f.fails = 0, func(n int) bool { return n == k }
		err := im.AdoptDisk(from)
		if fired = f.count >= k; fired != (err != nil) {
			t.Fatalf("fault %d of %d: error %v", k, f.count, err)
		}
		left := reopened(f.Memory)
		_, physical := left.SectorSize()
		if _, there := item(f.Memory, 0xA1); there != (left.ID() == vhdx.GUID{7}) || there != (physical == 4096) {
			t.Fatalf("fault %d: some items are old and some new", k)
		}
		f.fails = func(int) bool { return false }
		must(0, im.AdoptDisk(from))
		if again := reopened(f.Memory); again.ID() != from.ID() || again.Check() != nil {
			t.Fatalf("fault %d: the identifier is %v, Check: %v", k, again.ID(), again.Check())
		}
	}
}
