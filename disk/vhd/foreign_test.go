package vhd_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/shadowsim/shadowsim/disk/vhd"
)

// foreign is a dynamic image as another tool might lay it out: the table
// before the header, room for more blocks than there are, gaps that hold
// something, blocks out of order with no heed to 4096, geometry 0/0/0, and
// reserved fields in use. Block 2 is absent, block 0 has sectors 0 to 2 only.
func foreign() (file fileBytes, disk []byte) {
	const block = 2048
	disk = make([]byte, 4*block-512)
	copy(disk, pattern(0, 3*512))
	copy(disk[block:], pattern(1, block))
	copy(disk[3*block:], pattern(3, block-512))

	footer := sampleFooter()
	footer.Type, footer.DataOffset, footer.CurrentSize = vhd.Dynamic, 4096, uint64(len(disk))
	footer.Creator, footer.Geometry = vhd.Tag{'t', 'o', 'o', 'l'}, vhd.Geometry{}
	footer.Reserved[400], footer.Features = 0xEE, 0x80000003
	header := vhd.DynamicHeader{TableOffset: 1024, Version: 0x10003, MaxTableEntries: 200, BlockSize: block, Reserved1: 5}
	header.Reserved2[255] = 0xDD

	file = bytes.Repeat([]byte{0xA5}, 20000/512*512)
	f, h := footer.Bytes(), header.Bytes()
	copy(file, f[:])
	copy(file[len(file)-512:], f[:])
	copy(file[4096:], h[:])
	table := file[1024:][:800]
	for i := range table {
		table[i] = 0xFF
	}
	put := func(b, sector int, bitmap byte) {
		binary.BigEndian.PutUint32(table[4*b:], uint32(sector))
		clear(file[sector*512:][:512+block])
		file[sector*512] = bitmap
		copy(file[sector*512+512:], disk[b*block:min((b+1)*block, len(disk))])
	}
	put(0, 25, 0b11100000)
	put(1, 17, 0b11110000)
	put(3, 11, 0b11100000) // the disk ends before the fourth sector
	binary.BigEndian.PutUint32(table[4*100:], 1)
	return file, disk
}

// What other tools wrote is read as it is meant, and kept as it is.
func TestForeign(t *testing.T) {
	b, want := foreign()
	f := &flat{bytes.Clone(b)}
	im := must(vhd.OpenFile(f))
	same(t, "disk", content(t, im), want)
	cover(t, im, want, 0, im.Size())
	cover(t, im, want, 700, 5000)
	cover(t, im, want, -700, 5000)
	cover(t, im, want, 700, 1<<40)
	part := must(vhd.Open(io.NewSectionReader(f, 0, 1<<40), f.Size())) // a Source that is longer
	same(t, "disk", content(t, part), want)
	if err := im.Check(); err != nil || im.Notes() != nil {
		t.Errorf("Check: %v, notes %q", err, im.Notes())
	}
	p := pattern(7, 5000)
	must(im.WriteAt(p, 1000))
	copy(want[1000:], p)
	same(t, "disk", reopen(t, f), want)

	// Only these may have changed: the bitmap and data of the blocks written,
	// the table's entry for block 2, and what was the footer's place.
	end := len(b) - 512
	same(t, "footer", f.b[len(f.b)-512:], b[end:])
	bitmap := im.Map(2*2048, 1).Off - 512
	same(t, "gap before the new block", f.b[end:bitmap], make([]byte, bitmap-int64(end)))
	got := bytes.Clone(f.b[:end])
	binary.BigEndian.PutUint32(got[1024+4*2:], 0xFFFFFFFF)
	for _, sector := range []int{11, 17, 25} {
		copy(got[sector*512:][:512+2048], b[sector*512:])
	}
	same(t, "all the rest", got, b[:end])
}

// A footer of 511 bytes, as before Virtual PC 2004, is read; the next one to
// be written has 512.
func TestOldFooter(t *testing.T) {
	for _, b := range []fileBytes{small(), smallFixed()} {
		want := reopen(t, &flat{b})
		f := &flat{bytes.Clone(b[:len(b)-1])}
		im := must(vhd.OpenFile(f))
		same(t, "disk", content(t, im), want)
		if im.Notes() != nil {
			t.Errorf("notes %q", im.Notes())
		}
		must(im.WriteAt(pattern(8, len(want)), 0))
		same(t, "disk", reopen(t, f), pattern(8, len(want)))
		if im.Type() == vhd.Dynamic {
			same(t, "footer", f.b[len(f.b)-512:], f.b[:512])
		}
	}
}

// The size of a disk changes whatever its footer was, and a footer of 511 bytes
// that is damaged has its copy as any other has.
func TestOldFooterIsReplaced(t *testing.T) {
	slack := append(append(bytes.Clone(smallFixed()[:4096]), make([]byte, 1024)...), smallFixed()[4096:]...)
	for name, b := range map[string]fileBytes{"dynamic": small(), "fixed": smallFixed(), "fixed with slack": slack} {
		want := reopen(t, &flat{b})
		for _, grown := range []int64{0, 512, 8 << 10} {
			f := &flat{bytes.Clone(b[:len(b)-1])}
			im := must(vhd.OpenFile(f))
			if err := im.Resize(int64(len(want)) + grown); err != nil {
				t.Fatalf("%s by %d: %v", name, grown, err)
			}
			same(t, name, reopen(t, f), append(bytes.Clone(want), make([]byte, grown)...))
		}
	}
	want := reopen(t, &flat{small()})
	b := small()[:len(small())-1].spoil(-400)
	im, err := vhd.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "by the copy", content(t, im), want)
	if len(im.Notes()) != 1 {
		t.Errorf("notes %q", im.Notes())
	}
}

// A fixed image may have more room before its footer than its disk needs.
func TestFixedWithSlack(t *testing.T) {
	b := smallFixed()
	footer := bytes.Clone(b[4096:])
	f := &flat{append(append(bytes.Clone(b[:4096]), pattern(9, 777)...), footer...)}
	im := must(vhd.OpenFile(f))
	same(t, "disk", content(t, im), pattern(1, 4096))
	if im.Size() != 4096 {
		t.Errorf("Size = %d", im.Size())
	}
}

// A block may end where no BAT entry reaches any more only if it begins
// within reach; the next one has no place.
func TestTableReach(t *testing.T) {
	b := small()
	f := &huge{flat: flat{b[:len(b)-512]}, footer: b[len(b)-512:], at: 1<<41 - 512 - 4096}
	im := must(vhd.OpenFile(f))
	must(im.WriteAt(pattern(1, 512), 4096))
	_, err := im.WriteAt(pattern(1, 512), 2*4096)
	wantCode(t, err, vhd.ErrAllocate)
	if f.at != 1<<41-512+4096 {
		t.Errorf("the footer is at %d", f.at)
	}
}

// A huge file has a beginning and, far away, some bytes at its end.
type huge struct {
	flat
	footer []byte
	at     int64
}

func (h *huge) Size() int64 { return h.at + 512 }

func (h *huge) ReadAt(p []byte, off int64) (int, error) {
	if off >= h.at {
		return copy(p, h.footer[off-h.at:]), nil
	}
	return h.flat.ReadAt(p, off)
}

func (h *huge) WriteAt(p []byte, off int64) (int, error) {
	if off < 4096 {
		return h.flat.WriteAt(p, off)
	}
	return len(p), nil
}

func (h *huge) Resize(size int64) error {
	h.at = size - 512
	return nil
}
