package vhdx_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

func TestHeaderChecksum(t *testing.T) {
	h := vhdx.Header{SequenceNumber: 1, Version: 1, LogLength: mib, LogOffset: mib}
	b := h.Bytes()
	if got := [4]byte(b[4:]); got != [4]byte{0x13, 0x47, 0xFD, 0xF1} {
		t.Errorf("checksum % X, want 13 47 FD F1", got)
	}
	h.FileWriteGUID, h.DataWriteGUID, h.LogGUID = vhdx.GUID{1, 2, 3, 4, 5, 6, 7, 8, 9}, vhdx.GUID{2}, vhdx.GUID{3}
	h.LogVersion = 7
	b = h.Bytes()
	if got := [9]byte(b[16:]); got != [9]byte{4, 3, 2, 1, 6, 5, 8, 7, 9} {
		t.Errorf("an identifier stands in the file as % x", got)
	}
	again, err := vhdx.ParseHeader(b[:])
	if diff := cmp.Diff(h, again); diff != "" || err != nil {
		t.Errorf("%v, header changed on its way (-want +got):\n%s", err, diff)
	}
	for _, p := range [][]byte{nil, b[:4095], append(b[:], 0)} {
		_, err = vhdx.ParseHeader(p)
		wantCode(t, err, vhdx.ErrHeader)
	}
}

// How large the table is, and where a block's entry is in it.
func TestTableLayout(t *testing.T) {
	for _, c := range []struct {
		o       vhdx.Options
		entries int64
	}{
		{vhdx.Options{Size: 5 << 30, BlockSize: mib}, 5121}, // as QEMU has it
		{vhdx.Options{Size: 4 << 30, BlockSize: mib}, 4096},
		{vhdx.Options{Size: 4<<30 + 512, BlockSize: mib}, 4098},
		{vhdx.Options{Size: 64 << 40, BlockSize: mib}, 67108864 + 16383},
		{vhdx.Options{Size: 33 << 30, BlockSize: mib, SectorSize: 4096}, 33*1024 + 1},
		{vhdx.Options{Size: 9 << 30, BlockSize: 256 * mib}, 38},
	} {
		f := disk.NewMemory(0)
		im := must(vhdx.Create(f, c.o))
		if want := 3*mib + (c.entries*8+mib-1)/mib*mib; f.Size() != want {
			t.Errorf("%+v: the empty file has %d bytes, want %d", c.o, f.Size(), want)
		}
		last := (c.o.Size - 1) / c.o.BlockSize
		must(im.WriteAt([]byte{1}, c.o.Size-1))
		if got := (knife{f}).getEntry(c.entries - 1); got != f.Size()-c.o.BlockSize {
			t.Errorf("%+v: the entry of block %d is not the last one, which has the place %d", c.o, last, got)
		}
	}
}

// What [MS-VHDX] demands of a writer, of all kinds of image and both ways to
// write them.
func TestWriterRules(t *testing.T) {
	src := disk.NewMemory(5*mib + 1024)
	must(src.WriteAt(pattern(1, 3*mib), mib+mib/2))
	for _, o := range []vhdx.Options{
		{Type: vhdx.Fixed, BlockSize: mib, ID: vhdx.GUID{1}},
		{BlockSize: mib, ID: vhdx.GUID{1}},
		{BlockSize: mib, Parent: vhdx.Parent{Image: smallParent(), Path: `.\p.vhdx`}},
	} {
		streamed := disk.NewMemory(0)
		must(0, must(vhdx.NewPlan(src, o)).WriteAtTo(streamed))
		made := disk.NewMemory(0)
		o.Size = src.Size()
		im := must(vhdx.Create(made, o))
		empty := made.Freeze()
		must(0, disk.Copy(im, src))
		must(0, im.Close())
		for name, f := range map[string]*disk.Memory{"streamed": streamed, "empty": empty, "written": made} {
			writerRules(t, fmt.Sprintf("%d %s", o.Type, name), knife{f.Fork()}, im.Type())
		}
	}
}

func writerRules(t *testing.T, name string, k knife, typ vhdx.Type) {
	bad := func(format string, args ...any) { t.Errorf(name+": "+format, args...) }
	b := make([]byte, 4*mib)
	must(k.ReadAt(b, 0))
	if k.Size()%mib != 0 { // rules 1 and 7
		bad("the file has %d bytes", k.Size())
	}
	h1, err1 := vhdx.ParseHeader(b[64<<10:][:4096])
	h2, err2 := vhdx.ParseHeader(b[128<<10:][:4096])
	if err1 != nil || err2 != nil || h1.SequenceNumber-h2.SequenceNumber != 1 && h2.SequenceNumber-h1.SequenceNumber != 1 { // rule 2
		bad("headers %d and %d, %v, %v", h1.SequenceNumber, h2.SequenceNumber, err1, err2)
	}
	h1.SequenceNumber = h2.SequenceNumber
	if h1 != h2 || h1.LogGUID != (vhdx.GUID{}) || h1.FileWriteGUID == (vhdx.GUID{}) || h1.DataWriteGUID == (vhdx.GUID{}) { // rules 4 and 6
		bad("headers %+v and %+v", h1, h2)
	}
	rs, err := vhdx.ParseRegionTable(b[192<<10:][:64<<10])
	same(t, name+": second region table", b[256<<10:][:64<<10], b[192<<10:][:64<<10])
	if err != nil || len(rs) != 2 || !rs[0].Required || !rs[1].Required { // rule 3
		bad("regions %+v, %v", rs, err)
	}
	items, err := vhdx.ParseMetadataTable(b[metaPlace:][:64<<10], mib)
	flags := map[vhdx.GUID]bool{vhdx.ItemFileParameters: false, vhdx.ItemDiskSize: true, vhdx.ItemDiskID: true, vhdx.ItemLogicalSectorSize: true, vhdx.ItemPhysicalSectorSize: true}
	if typ == vhdx.Differencing {
		flags[vhdx.ItemParentLocator] = false
	}
	for _, it := range items {
		if ofDisk, known := flags[it.ID]; !known || it.IsVirtualDisk != ofDisk || !it.IsRequired || it.IsUser {
			bad("item %+v", it)
		}
	}
	if err != nil || len(items) != len(flags) {
		bad("%d items, want %d, %v", len(items), len(flags), err)
	}
	if name := strings.Fields(name); name[1] != "written" { // rule 6
		same(t, "log", b[mib:2*mib], make([]byte, mib))
	}
	im := must(vhdx.Open(k, k.Size()))
	if im.Type() != typ || im.Check() != nil || im.Notes() != nil {
		bad("a %v image, notes %q, Check: %v", im.Type(), im.Notes(), im.Check())
	}
	if id := im.ID(); typ == vhdx.Differencing && id != smallParent().ID() || typ != vhdx.Differencing && id != (vhdx.GUID{1}) { // rule 5
		bad("the disk has the identifier %x", id)
	}
}

// Identifiers change when they have to, and derive from what was there.
func TestIdentifiers(t *testing.T) {
	make2 := func(id byte) (*disk.Memory, *vhdx.Image) {
		f := disk.NewMemory(0)
		return f, must(vhdx.Create(f, vhdx.Options{Size: 3 * mib, ID: vhdx.GUID{id}}))
	}
	f, im := make2(1)
	g, twin := make2(1)
	_, other := make2(2)
	first := im.Header()
	if first != twin.Header() || first.DataWriteGUID == other.Header().DataWriteGUID {
		t.Error("equal disks are made differently, or others alike")
	}
	must(im.WriteAt([]byte{1}, 5))
	second := im.Header()
	if second.FileWriteGUID == first.FileWriteGUID || second.DataWriteGUID == first.DataWriteGUID || second.DataWriteGUID == second.FileWriteGUID {
		t.Errorf("the first write left an identifier: %+v, then %+v", first, second)
	}
	must(im.WriteAt([]byte{1}, 5))
	must(0, im.Close())
	if im.DataWriteGUID() != second.DataWriteGUID || im.Header().FileWriteGUID != second.FileWriteGUID {
		t.Error("the second write changed an identifier")
	}
	must(twin.WriteAt([]byte{1}, 5))
	must(twin.WriteAt([]byte{1}, 5))
	must(0, twin.Close())
	if off, _ := disk.FirstDifference(f, g); off >= 0 {
		t.Errorf("equal calls made files that differ at %d", off)
	}
	before := f.Freeze()
	im = must(vhdx.OpenFile(f))
	must(im.ReadAt(make([]byte, mib), 0))
	must(0, im.Close())
	if off, _ := disk.FirstDifference(f, before); off >= 0 {
		t.Errorf("a session without a write changed the file at %d", off)
	}
	im = must(vhdx.OpenFile(f))
	must(im.WriteAt([]byte{2}, 5))
	if im.DataWriteGUID() == second.DataWriteGUID {
		t.Error("the second session left the identifier")
	}
	a, b := must(vhdx.OpenFile(f.Fork())), must(vhdx.OpenFile(f.Fork()))
	b.SetSession(vhdx.GUID{1})
	c, d := must(a.Clone()).(*vhdx.Image), must(a.Clone()).(*vhdx.Image)
	seen := map[vhdx.GUID]bool{im.DataWriteGUID(): true}
	for _, x := range []*vhdx.Image{a, b, c, d} {
		must(x.WriteAt([]byte{3}, 5))
		if seen[x.DataWriteGUID()] {
			t.Error("two images that were written apart have the same identifier")
		}
		seen[x.DataWriteGUID()] = true
	}
	// What a snapshot has, its origin must not have once it is written again.
	snap := must(a.Snapshot()).(*vhdx.Image)
	must(a.WriteAt([]byte{4}, 5))
	if a.DataWriteGUID() == snap.DataWriteGUID() {
		t.Error("an image was written after a snapshot and kept its identifier")
	}
}

func TestCreateRefuses(t *testing.T) {
	parent := vhdx.Parent{Image: smallParent(), Path: `.\p.vhdx`}
	for name, c := range map[string]struct {
		o    vhdx.Options
		want error
	}{
		"no size":                  {vhdx.Options{}, vhdx.ErrSize},
		"negative size":            {vhdx.Options{Size: -512}, vhdx.ErrSize},
		"odd size":                 {vhdx.Options{Size: 513}, vhdx.ErrSize},
		"size of half a sector":    {vhdx.Options{Size: 4096 + 512, SectorSize: 4096}, vhdx.ErrSize},
		"too large":                {vhdx.Options{Size: vhdx.MaxSize + 512}, vhdx.ErrSize},
		"type 5":                   {vhdx.Options{Size: 512, Type: 5}, vhdx.ErrType},
		"child without a parent":   {vhdx.Options{Size: 512, Type: vhdx.Differencing}, vhdx.ErrParentNotFound},
		"dynamic with a parent":    {vhdx.Options{Size: 512, Type: vhdx.Dynamic, Parent: parent}, vhdx.ErrType},
		"path without a parent":    {vhdx.Options{Size: 512, Parent: vhdx.Parent{Path: `.\p.vhdx`}}, vhdx.ErrType},
		"parent without a path":    {vhdx.Options{Parent: vhdx.Parent{Image: smallParent()}}, vhdx.ErrParentNotFound},
		"path with a zero":         {vhdx.Options{Parent: vhdx.Parent{Image: smallParent(), Path: "a\x00b"}}, vhdx.ErrParentNotFound},
		"path beyond all":          {vhdx.Options{Parent: vhdx.Parent{Image: smallParent(), Path: strings.Repeat("x", 1<<15)}}, vhdx.ErrMetadataRead},
		"child somewhere":          {vhdx.Options{Parent: vhdx.Parent{Image: smallParent(), Path: `C:\p.vhdx`, Child: `x.vhdx`}}, vhdx.ErrParentNotFound},
		"sectors not the parent's": {vhdx.Options{Parent: parent, SectorSize: 4096, Size: 8 * mib}, vhdx.ErrSectorSize},
		"sector of 1024":           {vhdx.Options{Size: 4096, SectorSize: 1024}, vhdx.ErrSectorSize},
		"physical sector of 1024":  {vhdx.Options{Size: 4096, PhysicalSectorSize: 1024}, vhdx.ErrSectorSize},
		"physical below logical":   {vhdx.Options{Size: 4096, SectorSize: 4096, PhysicalSectorSize: 512}, vhdx.ErrSectorSize},
		"block of 3 MiB":           {vhdx.Options{Size: 512, BlockSize: 3 * mib}, vhdx.ErrBlockSize},
		"block below a MiB":        {vhdx.Options{Size: 512, BlockSize: mib / 2}, vhdx.ErrBlockSize},
		"block above 256 MiB":      {vhdx.Options{Size: 512, BlockSize: 512 * mib}, vhdx.ErrBlockSize},
		"negative block":           {vhdx.Options{Size: 512, BlockSize: -1 << 63}, vhdx.ErrBlockSize},
	} {
		t.Run(name, func(t *testing.T) {
			f := disk.NewMemory(7)
			_, err := vhdx.Create(f, c.o)
			wantCode(t, err, c.want)
			if f.Size() != 7 {
				t.Error("a refused Create touched the file")
			}
		})
	}
}

// The limits themselves are good.
func TestCreateLimits(t *testing.T) {
	for _, o := range []vhdx.Options{
		{Size: vhdx.MaxSize, BlockSize: mib},
		{Size: vhdx.MaxSize, BlockSize: 256 * mib, SectorSize: 4096, Type: vhdx.Fixed},
		{Size: 512, BlockSize: 256 * mib},
		{Size: 4096, BlockSize: mib, SectorSize: 4096},
	} {
		f := disk.NewMemory(0)
		im := must(vhdx.Create(f, o))
		must(im.WriteAt([]byte{9}, o.Size-1))
		must(0, im.Close())
		im = must(vhdx.Open(f, f.Size()))
		var p [1]byte
		if must(im.ReadAt(p[:], o.Size-1)); p[0] != 9 || im.Size() != o.Size {
			t.Errorf("%+v: read %d from a disk of %d", o, p[0], im.Size())
		}
	}
}

// Opening the largest disk reads and holds little of its table of 513 MiB.
func TestOpenIsLazy(t *testing.T) {
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{Size: vhdx.MaxSize, BlockSize: mib}))
	must(im.WriteAt([]byte{1}, vhdx.MaxSize/2))
	must(0, im.Close())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	im = must(vhdx.Open(io.NewSectionReader(f, 0, f.Size()), f.Size()))
	must(im.ReadAt(make([]byte, 10), vhdx.MaxSize/2))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 2*mib {
		t.Errorf("opening took %d bytes of memory", n)
	}
}

func TestErrorText(t *testing.T) {
	_, err := vhdx.Open(strings.NewReader("short"), 5)
	const want = "vhdx: Open: file at 0: 5 bytes are too few for a VHDX: ERROR_VHD_INVALID_FILE_SIZE (0xC03A0013)"
	if err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	e := &vhdx.Error{Op: "WriteAt", Off: -1, Err: errCable}
	if e.Error() != "vhdx: WriteAt: cable out" {
		t.Errorf("error %q", e)
	}
	for _, c := range []struct{ got, want string }{
		{vhdx.Fixed.String(), "fixed"}, {vhdx.Dynamic.String(), "dynamic"},
		{vhdx.Differencing.String(), "differencing"}, {vhdx.Type(5).String(), "type 5"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// The creator may fill its room to the last unit, and is cut when it does not
// fit.
func TestCreator(t *testing.T) {
	long := strings.Repeat("é", 300)
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{Size: 512, Creator: long}))
	if got := im.Creator(); got != strings.Repeat("é", 255) {
		t.Errorf("creator %q", got)
	}
	knife{f}.edit(8, 512, func(p []byte) {
		for i := range p {
			p[i] = 0x21
		}
	})
	if got := must(vhdx.Open(f, f.Size())).Creator(); len([]rune(got)) != 256 {
		t.Errorf("creator %q", got)
	}
}
