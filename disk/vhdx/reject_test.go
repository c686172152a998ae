package vhdx_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// A rejection is a malformed input, under the rule that it breaks and with what
// is to be said about it.
type rejection struct {
	rule string
	name string
	file knife
	want vhdx.Code
}

const end = 7 * mib // of the small images' files; a child's has a bitmap block and two payload blocks

func rejections() []rejection {
	return append(append(headerRejections(), metadataRejections()...), append(tableRejections(), locatorRejections()...)...)
}

func headerRejections() []rejection {
	unseal := func(at int64) knife { return small().spoil(at) }
	good := logItem{off: tablePlace + 8192, data: sector(1)}
	aimed := func(off, n int64) knife {
		return small().logged(9, 0, logEntry(9, 5, 0, end, end, logItem{off: off, n: n}))
	}
	return []rejection{
		{"X1", "empty", small().cut(0), vhdx.ErrFileSize},
		{"X1", "a byte short of a MiB", small().cut(mib - 1), vhdx.ErrFileSize},
		{"X2", "signature", small().edit(0, 8, func(p []byte) { copy(p, "vhdxFile") }), vhdx.ErrFormatUnknown},
		{"X2", "conectix", small().edit(0, 8, func(p []byte) { copy(p, "conectix") }), vhdx.ErrFormatUnknown},
		{"X3", "both sums", unseal(64<<10 + 9).spoil(128<<10 + 9), vhdx.ErrHeader},
		{"X3", "both sums, reserved bytes", unseal(64<<10 + 4095).spoil(128<<10 + 200), vhdx.ErrHeader},
		{"X3", "both signatures", small().headers(func(p []byte) { p[0] = 'H' }), vhdx.ErrHeader},
		{"X3", "equal numbers, different headers", small().header(0, put64(8, 7)).header(1, put64(8, 7)).header(1, put64(16, 3)), vhdx.ErrHeader},
		{"X4", "version 0", small().headers(put16(66, 0)), vhdx.ErrFormatVersion},
		{"X4", "version 2", small().headers(put16(66, 2)), vhdx.ErrFormatVersion},
		{"X5", "log version", small().logged(9, 0, logEntry(9, 5, 0, end, end, good)).headers(put16(64, 1)), vhdx.ErrFormatVersion},
		{"X6", "log misaligned", small().headers(put64(72, mib+4096)), vhdx.ErrHeader},
		{"X6", "log at 0", small().headers(put64(72, 0)), vhdx.ErrHeader},
		{"X6", "log beyond the file", small().headers(put64(72, end)), vhdx.ErrHeader},
		{"X6", "log far beyond the file", small().headers(put64(72, math.MaxUint64-mib+1)), vhdx.ErrHeader},
		{"X6", "log longer than the file", small().headers(put32(68, 1<<32-mib)), vhdx.ErrHeader},
		{"X6", "log length odd", small().headers(put32(68, mib+4096)), vhdx.ErrHeader},
		{"X6", "log of no length, with an identifier", small().logged(9, 0, logEntry(9, 5, 0, end, end, good)).headers(put32(68, 0)), vhdx.ErrHeader},
		{"X7", "empty log", small().headers(func(p []byte) { p[48] = 1 }), vhdx.ErrMetadataRead},
		{"X7", "entry of another log", small().logged(9, 0, logEntry(8, 5, 0, end, end, good)), vhdx.ErrMetadataRead},
		{"X7", "sequence number 0", small().logged(9, 0, logEntry(9, 0, 0, end, end, good)), vhdx.ErrMetadataRead},
		{"X7", "tail outside the run", small().logged(9, 0, logEntry(9, 5, 4096, end, end, good)), vhdx.ErrMetadataRead},
		{"X7", "sum of the entry", small().logged(9, 0, logEntry(9, 5, 0, end, end, good)).spoil(mib + 8000), vhdx.ErrMetadataRead},
		{"X7", "entry of no length", brokenEntry(put32(8, 0)), vhdx.ErrMetadataRead},
		{"X7", "entry longer than the log", brokenEntry(put32(8, 2*mib)), vhdx.ErrMetadataRead},
		{"X7", "entry longer than what it holds", brokenEntry(put32(8, 3*4096)), vhdx.ErrMetadataRead},
		{"X7", "more descriptors than sectors", brokenEntry(put32(24, 2)), vhdx.ErrMetadataRead},
		{"X7", "descriptors beyond counting", brokenEntry(put32(24, math.MaxUint32)), vhdx.ErrMetadataRead},
		{"X7", "descriptor of another number", brokenEntry(put64(64+24, 6)), vhdx.ErrMetadataRead},
		{"X7", "descriptor unknown", brokenEntry(func(p []byte) { p[64] = 'D' }), vhdx.ErrMetadataRead},
		{"X7", "descriptor misaligned", brokenEntry(put64(64+16, tablePlace+512)), vhdx.ErrMetadataRead},
		{"X7", "data sector of another number", brokenEntry(put32(4096+4092, 6)), vhdx.ErrMetadataRead},
		{"X7", "data sector of another high number", brokenEntry(put32(4096+4, 6)), vhdx.ErrMetadataRead},
		{"X7", "data sector unmarked", brokenEntry(func(p []byte) { p[4096] = 'D' }), vhdx.ErrMetadataRead},
		{"X8", "file cut off", small().logged(9, 0, logEntry(9, 5, 0, end+1, end+1, good)), vhdx.ErrFileSize},
		{"X9", "zeros over the identifier", aimed(0, 4096), vhdx.ErrMetadataRead},
		{"X9", "zeros over a header", aimed(128<<10, 4096), vhdx.ErrMetadataRead},
		{"X9", "zeros from before the log into it", aimed(320<<10, mib), vhdx.ErrMetadataRead},
		{"X9", "data over the log", small().logged(9, 0, logEntry(9, 5, 0, end, end, logItem{off: 2*mib - 4096, data: sector(1)})), vhdx.ErrMetadataRead},
		{"X27", "zeros beyond all files", aimed(mib*3, math.MaxInt64&^4095), vhdx.ErrMetadataRead},
		{"X27", "file beyond all files", small().logged(9, 0, logEntry(9, 5, 0, end, math.MaxInt64, good)), vhdx.ErrMetadataRead},
	}
}

// brokenEntry is a log whose only entry is changed, with its sum put right.
func brokenEntry(change func(p []byte)) knife {
	e := logEntry(9, 5, 0, end, end, logItem{off: tablePlace + 8192, data: sector(1)})
	change(e)
	sum(e)
	return small().logged(9, 0, e)
}

func metadataRejections() []rejection {
	region := func(change func(p []byte)) knife { return small().regions(change) }
	item := func(id vhdx.GUID, change func(p []byte)) knife { return small().item(id, change) }
	users := func(n int) knife {
		return small().meta(func(p []byte) {
			for i := range n {
				e := p[32+32*(5+i):]
				le.PutUint16(e, uint16(i))
				e[24] = 1
			}
			le.PutUint16(p[10:], uint16(5+n))
		})
	}
	return []rejection{
		{"X10", "both region tables", small().spoil(192<<10 + 20).spoil(256<<10 + 20), vhdx.ErrMetadataRead},
		{"X10", "both signatures", region(func(p []byte) { p[0] = 0 }), vhdx.ErrMetadataRead},
		{"X10", "too many regions", region(put32(8, 2048)), vhdx.ErrMetadataRead},
		{"X10", "regions beyond counting", region(put32(8, math.MaxUint32)), vhdx.ErrMetadataRead},
		{"X10", "a region twice", region(func(p []byte) { copy(p[48:64], p[16:32]) }), vhdx.ErrMetadataRead},
		{"X11", "region misaligned", region(put64(32, 3*mib+4096)), vhdx.ErrMetadataRead},
		{"X11", "region at 0", region(put64(32, 0)), vhdx.ErrMetadataRead},
		{"X11", "region empty", region(put32(40, 0)), vhdx.ErrMetadataRead},
		{"X11", "region of an odd length", region(put32(40, 4096)), vhdx.ErrMetadataRead},
		{"X11", "region beyond the file", region(put64(32, end)), vhdx.ErrMetadataRead},
		{"X11", "region at the end of numbers", region(put64(32, math.MaxUint64-mib+1)), vhdx.ErrMetadataRead},
		{"X11", "region longer than the file", region(put32(40, 1<<32-mib)), vhdx.ErrMetadataRead},
		{"X11", "regions overlap", region(put64(32, metaPlace)), vhdx.ErrMetadataRead},
		{"X11", "region over the log", region(put64(32, logPlace)), vhdx.ErrMetadataRead},
		{"X12", "no table region", region(func(p []byte) { p[16] ^= 1; p[44] = 0 }), vhdx.ErrMetadataRead},
		{"X12", "no metadata region", region(func(p []byte) { p[48] ^= 1; p[76] = 0 }), vhdx.ErrMetadataRead},
		{"X12", "unknown required region", small().addRegion(1, 4*mib, mib, 1), vhdx.ErrMetadataRead},
		{"X13", "metadata signature", small().meta(func(p []byte) { p[0] = 'M' }), vhdx.ErrMetadataRead},
		{"X13", "too many items", small().meta(put16(10, 2048)), vhdx.ErrMetadataRead},
		{"X13", "item in the table", item(vhdx.ItemDiskSize, put32(16, 65528)), vhdx.ErrMetadataRead},
		{"X13", "item behind the region", item(vhdx.ItemDiskSize, put32(16, mib-4)), vhdx.ErrMetadataRead},
		{"X13", "item beyond counting", item(vhdx.ItemDiskSize, put32(16, math.MaxUint32)), vhdx.ErrMetadataRead},
		{"X13", "item of more than a MiB", item(vhdx.ItemDiskSize, put32(20, mib+1)), vhdx.ErrMetadataRead},
		{"X13", "empty item with a place", item(vhdx.ItemDiskSize, put32(20, 0)), vhdx.ErrMetadataRead},
		{"X13", "items overlap", item(vhdx.ItemDiskSize, put32(16, 65536)), vhdx.ErrMetadataRead},
		{"X13", "an item twice", small().meta(func(p []byte) { copy(p[32+32:], p[32:][:16]) }), vhdx.ErrMetadataRead},
		{"X13", "1025 user items", users(1025), vhdx.ErrMetadataRead},
		{"X14", "no file parameters", item(vhdx.ItemFileParameters, func(p []byte) { p[0] ^= 1; p[24] = 0 }), vhdx.ErrMetadataRead},
		{"X14", "no disk size", item(vhdx.ItemDiskSize, func(p []byte) { p[0] ^= 1; p[24] = 0 }), vhdx.ErrMetadataRead},
		{"X14", "no disk identifier", item(vhdx.ItemDiskID, func(p []byte) { p[0] ^= 1; p[24] = 0 }), vhdx.ErrMetadataRead},
		{"X14", "no logical sector size", item(vhdx.ItemLogicalSectorSize, func(p []byte) { p[0] ^= 1; p[24] = 0 }), vhdx.ErrMetadataRead},
		{"X14", "no physical sector size", item(vhdx.ItemPhysicalSectorSize, func(p []byte) { p[0] ^= 1; p[24] = 0 }), vhdx.ErrMetadataRead},
		{"X14", "a user's disk size is none", item(vhdx.ItemDiskSize, put32(24, 1)), vhdx.ErrMetadataRead},
		{"X14", "item of a wrong length", item(vhdx.ItemDiskSize, put32(20, 4)), vhdx.ErrMetadataRead},
		{"X14", "unknown required item", small().addItem(1, 70000, 8, 4), vhdx.ErrMetadataRead},
		{"X14", "unknown required item of the user", small().addItem(1, 70000, 8, 5), vhdx.ErrMetadataRead},
		{"X15", "block of 512 KiB", small().value(vhdx.ItemFileParameters, put32(0, mib/2)), vhdx.ErrBlockSize},
		{"X15", "block of 512 MiB", small().value(vhdx.ItemFileParameters, put32(0, 512*mib)), vhdx.ErrBlockSize},
		{"X15", "block of 3 MiB", small().value(vhdx.ItemFileParameters, put32(0, 3*mib)), vhdx.ErrBlockSize},
		{"X15", "block of 0", small().value(vhdx.ItemFileParameters, put32(0, 0)), vhdx.ErrBlockSize},
		{"X16", "logical sector of 1024", small().value(vhdx.ItemLogicalSectorSize, put32(0, 1024)), vhdx.ErrSectorSize},
		{"X16", "logical sector of 0", small().value(vhdx.ItemLogicalSectorSize, put32(0, 0)), vhdx.ErrSectorSize},
		{"X16", "physical sector of 8192", small().value(vhdx.ItemPhysicalSectorSize, put32(0, 8192)), vhdx.ErrSectorSize},
		{"X17", "size 0", small().value(vhdx.ItemDiskSize, put64(0, 0)), vhdx.ErrSize},
		{"X17", "size odd", small().value(vhdx.ItemDiskSize, put64(0, 5*mib+1)), vhdx.ErrSize},
		{"X17", "size above 64 TiB", small().value(vhdx.ItemDiskSize, put64(0, 64<<40+512)), vhdx.ErrSize},
		{"X17", "size all ones", small().value(vhdx.ItemDiskSize, put64(0, math.MaxUint64)), vhdx.ErrSize},
	}
}

func tableRejections() []rejection {
	k := func(i int64, state uint64, at int64) knife { return small().entry(i, state, at) }
	return []rejection{
		{"X18", "table too small", small().value(vhdx.ItemDiskSize, put64(0, 131042*mib)), vhdx.ErrBAT},
		{"X18", "table far too small", small().value(vhdx.ItemDiskSize, put64(0, 64<<40)), vhdx.ErrBAT},
		{"X19", "state 4", k(1, 4, 0), vhdx.ErrBAT},
		{"X19", "state 5", k(1, 5, 0), vhdx.ErrBAT},
		{"X19", "state 7 without a parent", k(0, 7, 5*mib), vhdx.ErrBAT},
		{"X19", "reserved bits", k(0, 6|1<<3, 5*mib), vhdx.ErrBAT},
		{"X19", "reserved bits of a block that is not there", k(1, 1<<19, 0), vhdx.ErrBAT},
		{"X20", "block at 0", k(1, 6, 0), vhdx.ErrBAT},
		{"X20", "block beyond the file", k(1, 6, end), vhdx.ErrBAT},
		{"X20", "block at the end of numbers", k(1, 6, -mib), vhdx.ErrBAT},
		{"X20", "last block beyond the file", k(5, 6, end), vhdx.ErrBAT},
		{"X20", "block over the log", k(1, 6, logPlace), vhdx.ErrBAT},
		{"X20", "block over the metadata", k(1, 6, metaPlace), vhdx.ErrBAT},
		{"X20", "block over the table", k(1, 6, tablePlace), vhdx.ErrBAT},
		{"X20", "block over an unknown region", small().addRegion(1, 4*mib, mib, 0), vhdx.ErrBAT},
		{"X20", "two entries for one block", k(1, 6, 5*mib), vhdx.ErrBAT},
		{"X20", "blocks overlap in part", bigBlocks(), vhdx.ErrBAT},
		{"X20", "bitmap block over a block", smallChild().entry(4096, 6, smallChild().getEntry(3)), vhdx.ErrBAT},
		{"X21", "no bitmap block", smallChild().entry(4096, 0, 0), vhdx.ErrBitmap},
		{"X22", "bitmap block in state 7", smallChild().entry(4096, 7, 4*mib), vhdx.ErrBAT},
		{"X22", "bitmap block in state 2", smallChild().entry(4096, 2, 0), vhdx.ErrBAT},
		{"X22", "bitmap block without a parent", chunked().entry(4096, 6, 7*mib), vhdx.ErrBAT},
	}
}

// bigBlocks has two blocks of 2 MiB, one of which begins in the other.
func bigBlocks() knife {
	f := knife{disk.NewMemory(0)}
	im := must(vhdx.Create(f, vhdx.Options{Size: 8 * mib, BlockSize: 2 * mib}))
	must(im.WriteAt(pattern(1, int(im.Size())), 0))
	return f.entry(1, 6, f.getEntry(0)+mib)
}

// chunked is a dynamic disk of more than a chunk.
func chunked() knife {
	f := knife{disk.NewMemory(0)}
	im := must(vhdx.Create(f, vhdx.Options{Size: 4<<30 + mib, BlockSize: mib}))
	must(im.WriteAt(pattern(1, 5*mib), 0))
	return f
}

func locatorRejections() []rejection {
	loc := func(change func(p []byte)) knife { return smallChild().value(vhdx.ItemParentLocator, change) }
	item := func(change func(p []byte)) knife { return smallChild().item(vhdx.ItemParentLocator, change) }
	value := func(i int, change func(s []byte)) knife { // the i-th value of a locator
		return loc(func(p []byte) {
			e := p[20+12*i:]
			change(p[le.Uint32(e[4:]):][:le.Uint16(e[10:])])
		})
	}
	return []rejection{
		{"X23", "no locator", item(func(p []byte) { p[0] ^= 1; p[24] = 0 }), vhdx.ErrParentNotFound},
		{"X23", "empty locator", item(func(p []byte) { le.PutUint64(p[16:], 0) }), vhdx.ErrParentNotFound},
		{"X23", "type", loc(func(p []byte) { p[0] ^= 1 }), vhdx.ErrLimit},
		{"X23", "no linkage", value(0, func([]byte) {}).value(vhdx.ItemParentLocator, func(p []byte) { p[le.Uint32(p[20:])] = 'P' }), vhdx.ErrParentNotFound},
		{"X23", "malformed linkage", value(0, func(s []byte) { s[2] = 'x' }), vhdx.ErrParentNotFound},
		{"X23", "no path", loc(put16(18, 1)), vhdx.ErrParentNotFound},
		{"X24", "too short", item(put32(20, 19)), vhdx.ErrMetadataRead},
		{"X24", "more entries than fit", loc(put16(18, math.MaxUint16)), vhdx.ErrMetadataRead},
		{"X24", "key outside", loc(put32(20, math.MaxUint32)), vhdx.ErrMetadataRead},
		{"X24", "key in the head", loc(put32(20, 4)), vhdx.ErrMetadataRead},
		{"X24", "value outside", loc(put32(24, 4000)), vhdx.ErrMetadataRead},
		{"X24", "key of no length", loc(put16(28, 0)), vhdx.ErrMetadataRead},
		{"X24", "value of no length", loc(put16(30, 0)), vhdx.ErrMetadataRead},
		{"X24", "value of an odd length", loc(put16(30, 75)), vhdx.ErrMetadataRead},
		{"X24", "key twice", loc(func(p []byte) { copy(p[32:44], p[20:32]) }), vhdx.ErrMetadataRead},
		{"X24", "zero in a value", value(1, func(s []byte) { s[2], s[3] = 0, 0 }), vhdx.ErrMetadataRead},
	}
}

// Each malformed image is refused by both ways to open it, which leave it as it
// is.
func TestReject(t *testing.T) {
	for _, c := range rejections() {
		t.Run(c.rule+" "+c.name, func(t *testing.T) {
			before := c.file.Freeze()
			_, err := vhdx.Open(c.file, c.file.Size())
			wantCode(t, err, c.want)
			_, err = vhdx.OpenFile(c.file)
			wantCode(t, err, c.want)
			if off, _ := disk.FirstDifference(c.file.Memory, before); off >= 0 {
				t.Errorf("opening changed the file at %d", off)
			}
		})
	}
}

// What the rejections were made from opens.
func TestSmallOpens(t *testing.T) {
	for name, k := range map[string]knife{"dynamic": small(), "child": smallChild(), "chunked": chunked()} {
		im, err := vhdx.Open(k, k.Size())
		if err != nil {
			t.Fatal(name, err)
		}
		if err := im.Check(); err != nil || im.Notes() != nil {
			t.Errorf("%s: Check: %v, notes %q", name, err, im.Notes())
		}
	}
}

// A table of more than 131,072 entries is verified where it is used, by
// OpenFile, and by Check.
func TestRejectLate(t *testing.T) {
	f := knife{disk.NewMemory(0)}
	im := must(vhdx.Create(f, vhdx.Options{Size: 1 << 40, BlockSize: mib}))
	must(im.WriteAt([]byte{1}, 0))
	must(0, im.Close())
	f.entry(1000, 4, 0).entry(999999, 6, mib)
	im, err := vhdx.Open(f, f.Size())
	if err != nil {
		t.Fatal(err)
	}
	must(im.ReadAt(make([]byte, mib), 0))
	_, err = im.ReadAt(make([]byte, 1), 1000*mib)
	wantCode(t, err, vhdx.ErrBAT)
	wantCode(t, im.Check(), vhdx.ErrBAT)
	_, err = vhdx.OpenFile(f)
	wantCode(t, err, vhdx.ErrBAT)
}

// Check goes on behind where the table first cannot be, whatever that was.
func TestCheckFindsAll(t *testing.T) {
	f := knife{disk.NewMemory(0)}
	parent := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 1 << 40, BlockSize: mib}))
	im := must(vhdx.Create(f, vhdx.Options{BlockSize: mib, Parent: vhdx.Parent{Image: parent, Path: `.\p.vhdx`}}))
	must(im.WriteAt(pattern(1, 512), 0))
	must(0, im.Close())
	bitmap := f.getEntry(4096)
	f.entry(4500, 6, f.getEntry(0)).entry(4096, 0, 0).entry(5000, 4, 0).entry(6000, 5, 0) // no bitmap, and states that there are not
	err := must(vhdx.Open(f, f.Size())).Check()
	wantCode(t, err, vhdx.ErrBitmap)
	if got := strings.Count(err.Error(), "in state"); got != 2 {
		t.Errorf("Check found %d entries in a wrong state: %v", got, err)
	}
	f.entry(4096, 6, bitmap)
	if err := must(vhdx.Open(f, f.Size())).Check(); strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two entries are wrong, Check: %v", err)
	}
}

// X25, X26, and what else a parent can be wrong with.
func TestRejectParent(t *testing.T) {
	child := func() *vhdx.Image { k := smallChild(); return must(vhdx.Open(k, k.Size())) }
	wantCode(t, child().SetParent(must(vhdx.Open(small(), small().Size())), vhdx.CheckID), vhdx.ErrParentID)
	must(0, child().SetParent(must(vhdx.Open(small(), small().Size())), vhdx.CheckNone))
	must(0, child().SetParent(smallParent(), vhdx.CheckID))
	wantCode(t, child().SetParent(nil, vhdx.CheckID), vhdx.ErrParentNotFound)
	wantCode(t, smallParent().SetParent(smallParent(), vhdx.CheckNone), vhdx.ErrType)
	big := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 8 * mib, SectorSize: 4096}))
	wantCode(t, child().SetParent(big, vhdx.CheckNone), vhdx.ErrSectorSize)
	self := child()
	wantCode(t, self.SetParent(self, vhdx.CheckNone), vhdx.ErrChainCycle)
	a, b := child(), child()
	must(0, a.SetParent(b, vhdx.CheckNone))
	wantCode(t, b.SetParent(a, vhdx.CheckNone), vhdx.ErrChainCycle)

	// A second linkage is as good as the first.
	k := smallChild().value(vhdx.ItemParentLocator, func(p []byte) {
		l := must(vhdx.ParseParentLocator(p[:1000]))
		if l.Linkage != smallParent().DataWriteGUID() || l.Absolute != `\\?\C:\d\p.vhdx` || l.Relative != `..\p.vhdx` {
			t.Errorf("the child says %+v", l)
		}
	})
	im := must(vhdx.Open(k, k.Size()))
	if l, ok := im.Link(); !ok || !l.Matches(smallParent().DataWriteGUID()) || (vhdx.Link{Linkage2: vhdx.GUID{1}}).Matches(vhdx.GUID{2}) ||
		!(vhdx.Link{Linkage2: vhdx.GUID{1}}).Matches(vhdx.GUID{1}) || (vhdx.Link{Linkage: vhdx.GUID{1}}).Matches(vhdx.GUID{}) {
		t.Errorf("linkages match as they should not: %+v", l)
	}
	// A parent that was written is another one.
	f := smallParent().Unwrap().(*disk.Memory).Fork()
	parent := must(vhdx.OpenFile(f))
	must(parent.WriteAt([]byte{1}, 0))
	wantCode(t, child().SetParent(parent, vhdx.CheckID), vhdx.ErrParentID)

	// Without its parent a child reads what is its own.
	orphan, p := child(), make([]byte, 512)
	must(orphan.ReadAt(p, 2*mib-1024))
	same(t, "own sector", p, pattern(1, 512))
	_, err := orphan.ReadAt(p, 2*mib-512)
	wantCode(t, err, vhdx.ErrParentNotFound)
}

// X26: no chain goes on for ever.
func TestChainLimits(t *testing.T) {
	k := smallChild()
	first, im := (*vhdx.Image)(nil), smallParent()
	open := must(vhdx.Open(k, k.Size()))
	for range vhdx.MaxChain - 1 {
		child := open.Over(k)
		must(0, child.SetParent(im, vhdx.CheckNone))
		if im = child; first == nil {
			first = im
		}
	}
	_, err := vhdx.Create(disk.NewMemory(0), vhdx.Options{BlockSize: mib, Parent: vhdx.Parent{Image: im, Path: `.\p.vhdx`}})
	wantCode(t, err, vhdx.ErrChainCycle)
	wantCode(t, open.SetParent(im, vhdx.CheckNone), vhdx.ErrChainCycle)
	wantCode(t, first.SetParent(im, vhdx.CheckNone), vhdx.ErrChainCycle)
	p := make([]byte, 512)
	must(im.ReadAt(p, 2*mib-1536)) // of the base
	same(t, "the leaf of a long chain", p, pattern(77, 5000)[964:1476])
}

// What is unknown and not required is kept, and nothing is put over it.
func TestUnknownKept(t *testing.T) {
	k := small()
	must(0, k.Resize(8*mib))
	must(k.WriteAt(pattern(9, mib), 7*mib))
	k.addRegion(1, 7*mib, mib, 0).addItem(1, 70000, 8, 0).addItem(2, 70008, 8, 1).addItem(2, 70016, 8, 0)
	im := must(vhdx.OpenFile(k))
	if len(im.Regions()) != 3 || len(im.Items()) != 8 || im.Notes() != nil {
		t.Errorf("%d regions, %d items, notes %q", len(im.Regions()), len(im.Items()), im.Notes())
	}
	must(im.WriteAt(pattern(1, int(im.Size())), 0))
	got := make([]byte, mib)
	must(k.ReadAt(got, 7*mib))
	same(t, "unknown region", got, pattern(9, mib))
	if err := im.Check(); err != nil {
		t.Error(err)
	}
}

// What a reader forgives, with a note.
func TestNotes(t *testing.T) {
	want := make([]byte, 5*mib+1024)
	must(must(vhdx.Open(small(), small().Size())).ReadAt(want, 0))
	equal := func(p []byte) { le.PutUint64(p[8:], 9) }
	for name, c := range map[string]struct {
		file  knife
		notes int
	}{
		"header 1 damaged":            {small().header(1, put64(8, 99)).spoil(64 << 10), 1},
		"header 2 damaged":            {small().header(0, put64(8, 99)).spoil(128<<10 + 900), 1},
		"equal headers":               {small().headers(equal), 0},
		"region table 1":              {small().spoil(192<<10 + 60000), 1},
		"region table 2":              {small().spoil(256<<10 + 60000), 1},
		"region tables differ":        {small().resum(256<<10, 64<<10, put32(44, 0)), 1},
		"regions not required":        {small().regions(func(p []byte) { p[44], p[76] = 0, 0 }), 0},
		"log version, nothing logged": {small().headers(put16(64, 9)), 0},
		"locator without a parent":    {small().item(vhdx.ItemDiskID, func([]byte) {}).addLocator(), 1},
		"zero block with a place":     {small().entry(1, 2, 3*mib), 0},
		"unmapped block with a place": {small().entry(1, 3, 9999*mib), 0},
		"undefined block":             {small().entry(1, 1, 5*mib), 0},
		"padding of the table":        {small().entry(6, 0xFFFFFFFF, 0), 0},
		"last block short":            {small().cut(6*mib + 1024), 0},
	} {
		t.Run(name, func(t *testing.T) {
			im, err := vhdx.Open(c.file, c.file.Size())
			if err != nil {
				t.Fatal(err)
			}
			if n := len(im.Notes()); n != c.notes {
				t.Errorf("notes %q, want %d", im.Notes(), c.notes)
			}
			same(t, "disk", content(t, im), want)
			w := must(vhdx.OpenFile(c.file))
			must(w.WriteAt(pattern(8, 3*mib), mib))
			must(0, w.Close())
			again := must(vhdx.OpenFile(c.file))
			copy(want[mib:], pattern(8, 3*mib))
			same(t, "disk after writing", content(t, again), want)
			must(must(vhdx.Open(small(), small().Size())).ReadAt(want, 0))
		})
	}
	im := must(vhdx.Open(small().entry(1, 2, 3*mib), end))
	wantCode(t, im.Check(), vhdx.ErrBAT)
}

// addLocator adds a parent locator that nobody asked for.
func (k knife) addLocator() knife {
	return k.addItem(0, 70000, 100, 4).meta(func(p []byte) {
		id := guid.Windows(vhdx.ItemParentLocator)
		copy(p[32+32*5:], id[:])
	})
}

// Bytes that cannot be read are an error of the reading, not of the image.
func TestOpenBroken(t *testing.T) {
	b := make([]byte, small().Size())
	must(small().ReadAt(b, 0))
	for _, from := range []int64{0, 64 << 10, 130 << 10, 192 << 10, 300 << 10, metaPlace, metaPlace + 65536, tablePlace} {
		_, err := vhdx.Open(&deaf{bytes.NewReader(b), from}, int64(len(b)))
		wantCode(t, err, errCable)
	}
}
