package vhd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

// fileBytes is an image under the knife.
type fileBytes []byte

// small is a dynamic image of 8 blocks of 4 KiB, of which 5, 0 and 7 have been
// written; large enough to have all parts, small enough to be broken everywhere.
func small() fileBytes {
	f := &flat{}
	im := must(vhd.Create(f, vhd.Options{Size: 8*4096 - 512, BlockSize: 4096, ID: [16]byte{7}}))
	for _, b := range []int64{5, 0, 7} {
		must(im.WriteAt(pattern(byte(b), 3584), b*4096))
	}
	return f.b
}

// smallChild is a differencing image like it, with two sectors of locators
// behind the table.
func smallChild() fileBytes {
	f := &flat{}
	im := must(vhd.Create(f, vhd.Options{BlockSize: 8192, ID: [16]byte{9}, Parent: vhd.Parent{Image: smallParent(), Path: `C:\p`, Child: `C:\c`}}))
	must(im.WriteAt(pattern(3, 3584), 3*4096))
	return f.b
}

// smallParent is the parent of smallChild.
func smallParent() *vhd.Image {
	im := must(vhd.Create(&flat{}, vhd.Options{Size: 8*4096 - 512, BlockSize: 4096, ID: [16]byte{8}}))
	must(im.WriteAt(pattern(70, 3*4096), 4096))
	return im
}

func smallFixed() fileBytes {
	f := &flat{}
	im := must(vhd.Create(f, vhd.Options{Size: 4096, Type: vhd.Fixed}))
	must(im.WriteAt(pattern(1, 4096), 0))
	return f.b
}

// footer edits the footer at the end and, if there is one, its copy.
func (b fileBytes) footer(edit func(p []byte)) fileBytes {
	b = b.lastFooter(edit)
	if string(b[:8]) == "conectix" {
		copy(b, b[len(b)-512:])
	}
	return b
}

func (b fileBytes) lastFooter(edit func(p []byte)) fileBytes {
	p := [512]byte(b[len(b)-512:])
	edit(p[:])
	p = sum(p, 64)
	copy(b[len(b)-512:], p[:])
	return b
}

// header edits the dynamic header, which Create puts at 512.
func (b fileBytes) header(edit func(p []byte)) fileBytes {
	p := [1024]byte(b[512:1536])
	edit(p[:])
	p = sumHeader(p)
	copy(b[512:], p[:])
	return b
}

// entry sets an entry of the table, which Create puts at 1536.
func (b fileBytes) entry(i int, sector uint32) fileBytes {
	binary.BigEndian.PutUint32(b[1536+4*i:], sector)
	return b
}

func (b fileBytes) getEntry(i int) uint32 { return binary.BigEndian.Uint32(b[1536+4*i:]) }

// spoil flips bits of the byte at i; negative i counts from the end.
func (b fileBytes) spoil(i int) fileBytes {
	if i < 0 {
		i += len(b)
	}
	b[i] ^= 0x55
	return b
}

func put32(at int, v uint32) func([]byte) {
	return func(p []byte) { binary.BigEndian.PutUint32(p[at:], v) }
}
func put64(at int, v uint64) func([]byte) {
	return func(p []byte) { binary.BigEndian.PutUint64(p[at:], v) }
}

// rejections are the malformed inputs, each under the rule that it breaks and
// with what is to be said about it.
var rejections = []struct {
	rule string
	name string
	file fileBytes
	want vhd.Code
}{
	{"V1", "empty", nil, vhd.ErrFooterMissing},
	{"V1", "510 bytes", small()[:510], vhd.ErrFooterMissing},
	{"V2", "no cookie", bytes.Repeat([]byte("x"), 5000), vhd.ErrFormatUnknown},
	{"V2", "no cookie in 511 bytes", bytes.Repeat([]byte("x"), 511), vhd.ErrFormatUnknown},
	{"V2", "fixed without its end", smallFixed()[:4096], vhd.ErrFormatUnknown},
	{"V2", "fixed without its end, guest wrote a footer", guestFooter()[:4096], vhd.ErrFooterMissing},
	{"V3", "both sums", small().spoil(100).spoil(-412), vhd.ErrFooterChecksum},
	{"V3", "end cut off, sum of the copy", small().spoil(100)[:4096], vhd.ErrFooterChecksum},
	{"V3", "sum of a fixed disk", smallFixed().spoil(-1), vhd.ErrFooterChecksum},
	{"V4", "version 0", small().footer(put32(12, 0x0000FFFF)), vhd.ErrFormatVersion},
	{"V4", "version 2", smallFixed().footer(put32(12, 0x00020000)), vhd.ErrFormatVersion},
	{"V5", "type 0", small().footer(put32(60, 0)), vhd.ErrType},
	{"V5", "type 1", small().footer(put32(60, 1)), vhd.ErrType},
	{"V5", "type 5", smallFixed().footer(put32(60, 5)), vhd.ErrType},
	{"V5", "type all ones", small().footer(put32(60, math.MaxUint32)), vhd.ErrType},
	{"V6", "size 0", small().footer(put64(48, 0)), vhd.ErrSize},
	{"V6", "size odd", small().footer(put64(48, 8191)), vhd.ErrSize},
	{"V6", "size above limit", small().footer(put64(48, uint64(vhd.MaxSize)+512)), vhd.ErrSize},
	{"V6", "size negative", smallFixed().footer(put64(48, 1<<63)), vhd.ErrSize},
	{"V6", "size all ones", smallFixed().footer(put64(48, math.MaxUint64-511)), vhd.ErrSize},
	{"V7", "fixed one sector short", smallFixed()[512:], vhd.ErrFileSize},
	{"V7", "fixed, footer of 511 bytes, a byte short", smallFixed()[1:4607], vhd.ErrFileSize},
	{"V7", "fixed huge", smallFixed().footer(put64(48, uint64(vhd.MaxSize))), vhd.ErrFileSize},
	{"V8", "header at 0", small().footer(put64(16, 0)), vhd.ErrFooterCorrupt},
	{"V8", "header misaligned", small().footer(put64(16, 513)), vhd.ErrFooterCorrupt},
	{"V8", "header in the footer", small().footer(put64(16, uint64(len(small())-1024))), vhd.ErrFooterCorrupt},
	{"V8", "header nowhere", small().footer(put64(16, math.MaxUint64)), vhd.ErrFooterCorrupt},
	{"V8", "header at the end of numbers", small().footer(put64(16, 1<<63-512)), vhd.ErrFooterCorrupt},
	{"V9", "header cookie", small().header(func(p []byte) { p[0] = 'C' }), vhd.ErrSparseCorrupt},
	{"V9", "header elsewhere", small().footer(put64(16, 1024)), vhd.ErrSparseCorrupt},
	{"V10", "header sum", small().spoil(512 + 800), vhd.ErrSparseChecksum},
	{"V11", "header version", small().header(put32(24, 0x00020000)), vhd.ErrSparseVersion},
	{"V12", "block size 0", small().header(put32(32, 0)), vhd.ErrBlockSize},
	{"V12", "block size 256", small().header(put32(32, 256)), vhd.ErrBlockSize},
	{"V12", "block size 3 sectors", small().header(put32(32, 1536)), vhd.ErrBlockSize},
	{"V12", "block size 512 MiB", small().header(put32(32, 512<<20)), vhd.ErrBlockSize},
	{"V12", "block size all ones", small().header(put32(32, math.MaxUint32)), vhd.ErrBlockSize},
	{"V13", "no table entries", small().header(put32(28, 0)), vhd.ErrSparseCorrupt},
	{"V13", "one table entry too few", small().header(put32(28, 7)), vhd.ErrSparseCorrupt},
	{"V13", "disk larger than table", small().footer(put64(48, 9*4096)), vhd.ErrSparseCorrupt},
	{"V14", "table as large as can be", small().header(put32(28, math.MaxUint32)), vhd.ErrSparseCorrupt},
	{"V14", "table behind the file", small().header(put64(16, 1<<40)), vhd.ErrSparseCorrupt},
	{"V14", "table at the end of numbers", small().header(put64(16, math.MaxUint64-511)), vhd.ErrSparseCorrupt},
	{"V14", "table misaligned", small().header(put64(16, 1537)), vhd.ErrSparseCorrupt},
	{"V15", "table in the copy", small().header(put64(16, 0)), vhd.ErrSparseCorrupt},
	{"V15", "table in the header", small().header(put64(16, 1024)), vhd.ErrSparseCorrupt},
	{"V15", "table in the footer", small().header(put64(16, uint64(len(small())-512))), vhd.ErrSparseCorrupt},
	{"V15", "table runs into the footer", small().header(put32(28, uint32(len(small())-512-1536)/4+1)), vhd.ErrSparseCorrupt},
	{"V16", "block behind the file", small().entry(1, math.MaxUint32-1), vhd.ErrBAT},
	{"V16", "block ends in the footer", small().entry(1, uint32(len(small())-512-4608)/512+1), vhd.ErrBAT},
	{"V17", "block over a locator", smallChild().entry(0, 4), vhd.ErrBAT},
	{"V17", "block at 0", small().entry(1, 0), vhd.ErrBAT},
	{"V17", "block in the header", small().entry(1, 2), vhd.ErrBAT},
	{"V17", "block in the table", small().entry(1, 3), vhd.ErrBAT},
	{"V18", "block twice", small().entry(1, small().getEntry(5)), vhd.ErrBAT},
	{"V18", "blocks share a sector", small().entry(1, small().getEntry(5)+8), vhd.ErrBAT},
	{"V19", "no parent identifier", smallChild().header(func(p []byte) { clear(p[40:56]) }), vhd.ErrSparseCorrupt},
	{"V19", "neither name nor locator", smallChild().header(func(p []byte) { clear(p[64:768]) }), vhd.ErrSparseCorrupt},
	{"V10", "header sum of a child", smallChild().spoil(512 + 800), vhd.ErrSparseChecksum},
}

func TestReject(t *testing.T) {
	for _, c := range rejections {
		t.Run(c.rule+" "+c.name, func(t *testing.T) {
			_, err := vhd.Open(bytes.NewReader(c.file), int64(len(c.file)))
			wantCode(t, err, c.want)
			before := bytes.Clone(c.file)
			_, err = vhd.OpenFile(&flat{c.file})
			wantCode(t, err, c.want)
			same(t, "file", c.file, before)
		})
	}
}

// V2, V3: with the end lost and a good copy the image opens for reading, with
// a note, and does not open for writing.
func TestRecoverFromCopy(t *testing.T) {
	want := reopen(t, &flat{small()})
	end := len(small()) - 512
	for name, c := range map[string]struct {
		file fileBytes
		lost vhd.Code
	}{
		"V2 end cut off":     {small()[:end], vhd.ErrFooterMissing},
		"V2 end overwritten": {append(small()[:end], make([]byte, 512)...), vhd.ErrFooterMissing},
		"V3 sum at the end":  {small().spoil(-1), vhd.ErrFooterChecksum},
	} {
		t.Run(name, func(t *testing.T) {
			im, err := vhd.Open(bytes.NewReader(c.file), int64(len(c.file)))
			if err != nil {
				t.Fatal(err)
			}
			same(t, "disk", content(t, im), want)
			if n := im.Notes(); len(n) != 1 || !strings.Contains(n[0], "copy") {
				t.Errorf("notes %q", n)
			}
			wantCode(t, im.Check(), c.lost)
			f := &flat{c.file}
			_, err = im.Over(f).WriteAt([]byte{1}, 0)
			wantCode(t, err, disk.ErrReadOnly)
			_, err = vhd.OpenFile(f)
			wantCode(t, err, c.lost)

			im, err = vhd.Repair(f)
			if err != nil {
				t.Fatal(err)
			}
			if im.Notes() != nil || im.Check() != nil {
				t.Errorf("after Repair: notes %q, %v", im.Notes(), im.Check())
			}
			same(t, "disk after Repair", reopen(t, f), want)
			must(im.WriteAt(pattern(4, len(want)), 0))
			same(t, "disk written after Repair", reopen(t, f), pattern(4, len(want)))
		})
	}
}

// Repair leaves a good image alone and a hopeless file as well.
func TestRepairLeavesAlone(t *testing.T) {
	for _, b := range []fileBytes{small(), smallFixed(), small().spoil(512), smallFixed().spoil(-1), nil} {
		f := &flat{bytes.Clone(b)}
		_, want := vhd.OpenFile(f)
		if _, err := vhd.Repair(f); !errors.Is(err, errors.Unwrap(errors.Unwrap(want))) {
			t.Errorf("Repair: %v, want as OpenFile: %v", err, want)
		}
		same(t, "file", f.b, b)
	}
}

// The copy at the start may be damaged or tell something else; the footer at
// the end counts.
func TestCopyDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(b fileBytes)
		want vhd.Code
	}{
		"copy lost":     {func(b fileBytes) { clear(b[:512]) }, vhd.ErrFooterMissing},
		"sum of copy":   {func(b fileBytes) { b[200] = 1 }, vhd.ErrFooterChecksum},
		"other disk":    {func(b fileBytes) { f := sampleFooter().Bytes(); copy(b, f[:]) }, vhd.ErrFooterCorrupt},
		"other creator": {func(b fileBytes) { b.lastFooter(func(p []byte) { copy(p[28:], "vpc ") }) }, vhd.ErrFooterCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			b := small()
			want := reopen(t, &flat{b})
			c.edit(b)
			im := must(vhd.OpenFile(&flat{b}))
			same(t, "disk", content(t, im), want)
			if n := im.Notes(); len(n) != 1 || !strings.Contains(n[0], "footer copy") {
				t.Errorf("notes %q", n)
			}
			wantCode(t, im.Check(), c.want)
		})
	}
	if n := must(vhd.OpenFile(&flat{small()})).Notes(); n != nil {
		t.Errorf("notes %q on a good image", n)
	}
}

// V24: bytes under a clear bit read as zero, Check finds them, and the first
// write to the block makes them zero.
func TestBitmapDenies(t *testing.T) {
	b := small()
	at := int(b.getEntry(5)) * 512
	b[at] = 0b10110111 // sectors 1 and 4 of block 5
	want := reopen(t, &flat{small()})
	clear(want[5*4096+512 : 5*4096+1024])
	clear(want[5*4096+4*512 : 5*4096+5*512])
	f := &flat{b}
	same(t, "disk", reopen(t, f), want)
	im := must(vhd.OpenFile(f))
	wantCode(t, im.Check(), vhd.ErrBitmap)
	cover(t, im, want, 0, int64(len(want)))
	n := 0
	for range im.Extents(5*4096, 4096) {
		n++
	}
	if n != 3 {
		t.Errorf("block 5 has %d extents, want 3", n)
	}
	if s := im.Map(5*4096, 4096); s.Store != nil || s.Len != 4096 {
		t.Errorf("Map of a block with holes is %+v", s)
	}
	must(im.WriteAt([]byte{9}, 5*4096+600))
	want[5*4096+600] = 9
	same(t, "disk after a write", reopen(t, f), want)
	if err := im.Check(); err != nil {
		t.Error(err)
	}
	if b[at] != 0xFF || !bytes.Equal(b[at+512+4*512:at+512+5*512], make([]byte, 512)) {
		t.Error("the block did not become full, with zeros where it was denied")
	}
}

// What one fork learns of a bitmap by writing it holds for no other fork.
func TestBitmapOfForks(t *testing.T) {
	b := small()
	b[int(b.getEntry(5))*512] = 0b10110111
	want := reopen(t, &flat{b})
	f := disk.NewMemory(int64(len(b)))
	must(f.WriteAt(b, 0))
	one := must(vhd.OpenFile(f))
	two := one.Over(f.Fork())
	broken := &faulty{flat: flat{bytes.Clone(b)}, fails: func(n int) bool { return n == 5 }} // the sync after the bitmap
	_, err := one.Over(broken).WriteAt([]byte{9}, 5*4096)
	wantCode(t, err, errCable)
	must(one.WriteAt([]byte{9}, 5*4096))
	for name, im := range map[string]*vhd.Image{"fork": two, "reopened": must(vhd.OpenFile(&flat{b}))} {
		same(t, name, content(t, im), want)
		wantCode(t, im.Check(), vhd.ErrBitmap)
	}
}

// V25: a saved state out of range does not hinder reading.
func TestSavedState(t *testing.T) {
	b := small().footer(func(p []byte) { p[84] = 2 })
	im := must(vhd.OpenFile(&flat{b}))
	wantCode(t, im.Check(), vhd.ErrFooterCorrupt)
	b = small().footer(func(p []byte) { p[84] = 1 })
	if err := must(vhd.OpenFile(&flat{b})).Check(); err != nil {
		t.Error(err)
	}
}

// guestFooter is a fixed image whose guest keeps a VHD footer in its first
// sector.
func guestFooter() fileBytes {
	b := smallFixed()
	f := sampleFooter().Bytes()
	copy(b, f[:])
	return b
}

func TestDetect(t *testing.T) {
	mark := func(b fileBytes, s string) fileBytes { copy(b, s); return b }
	end := len(small()) - 512
	for name, c := range map[string]struct {
		file fileBytes
		want vhd.Format
	}{
		"empty":                             {nil, vhd.FormatUnknown},
		"7 bytes":                           {[]byte("conecti"), vhd.FormatUnknown},
		"raw":                               {make([]byte, 4096), vhd.FormatUnknown},
		"vhdx":                              {mark(make([]byte, 4096), "vhdxfile"), vhd.FormatVHDX},
		"vhdx, short":                       {[]byte("vhdxfile"), vhd.FormatVHDX},
		"dynamic":                           {small(), vhd.FormatSparse},
		"dynamic, copy only":                {small()[:end], vhd.FormatSparse},
		"dynamic, end only":                 {mark(small(), "xxxxxxxx"), vhd.FormatSparse},
		"fixed":                             {smallFixed(), vhd.FormatFixed},
		"fixed, 511":                        {smallFixed()[:4607], vhd.FormatFixed},
		"fixed, bad sum":                    {smallFixed().spoil(-1), vhd.FormatFixed},
		"fixed, guest wrote conectix":       {mark(smallFixed(), "conectix"), vhd.FormatFixed},
		"fixed, guest wrote vhdxfile":       {mark(smallFixed(), "vhdxfile"), vhd.FormatFixed},
		"fixed, guest wrote a footer":       {guestFooter(), vhd.FormatFixed},
		"ends like a fixed one, but longer": {mark(append(make(fileBytes, 512), smallFixed()...), "vhdxfile"), vhd.FormatVHDX},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := vhd.Detect(bytes.NewReader(c.file), int64(len(c.file)))
			if got != c.want || err != nil {
				t.Errorf("Detect = %v, %v; want %v", got, err, c.want)
			}
		})
	}
	im := must(vhd.OpenFile(&flat{guestFooter()}))
	if im.Type() != vhd.Fixed || im.Notes() != nil || im.Size() != 4096 {
		t.Errorf("opened as %v of %d bytes with notes %q", im.Type(), im.Size(), im.Notes())
	}
}
