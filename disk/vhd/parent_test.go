package vhd_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

// child returns a differencing image as bytes, and its parent.
func child(t testing.TB) (fileBytes, *vhd.Image) {
	p := base(vhd.Options{Size: 8 * 4096, BlockSize: 4096, Time: time.Unix(1e9, 0)})
	o := over(p)
	o.BlockSize = 4096
	f := &flat{}
	im := must(vhd.Create(f, o))
	must(im.WriteAt(pattern(50, 5000), 3*4096))
	return f.b, p
}

func wide(order binary.AppendByteOrder, s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return b
}

// The bytes of a new child: identifier, time stamp, name in one byte order and
// locators in the other, as Windows writes them.
func TestChildBytes(t *testing.T) {
	b, p := child(t)
	im := must(vhd.OpenFile(&flat{b}))
	h, _ := im.Header()
	if h.ParentID != p.ID() || h.ParentTimeStamp != p.Footer().TimeStamp || h.ParentTimeStamp == 0 {
		t.Errorf("parent %x, %d", h.ParentID, h.ParentTimeStamp)
	}
	const absolute, relative = `C:\vm\base.vhd`, `..\base.vhd`
	name := wide(binary.BigEndian, absolute)
	same(t, "name", h.ParentNameBytes[:len(name)+2], append(name, 0, 0))
	end := int64(1536 + 512) // behind the table
	for i, want := range []struct {
		platform vhd.Tag
		path     string
	}{{vhd.PlatformW2ku, absolute}, {vhd.PlatformW2ru, relative}} {
		l, data := h.Locators[i], wide(binary.LittleEndian, want.path)
		if l.Platform != want.platform || l.Space != 512 || int(l.Length) != len(data) || int64(l.Offset) != end {
			t.Fatalf("locator %d: %+v", i, l)
		}
		same(t, "locator", b[l.Offset:][:len(data)], data)
		end += int64(l.Space)
	}
	l, ok := im.Link()
	if got := strings.Join(l.Candidates(), " "); got != `..\base.vhd C:\vm\base.vhd .\base.vhd` || !ok || l.Name != absolute {
		t.Errorf("candidates %s, name %s", got, l.Name)
	}
	if im.Type() != vhd.Differencing || len(l.Locators) != 2 || im.Parent() != nil || im.Notes() != nil {
		t.Errorf("%v image with link %+v, notes %q", im.Type(), l, im.Notes())
	}
	l.Locators[0].Data[0] = 0
	if again, _ := im.Link(); again.Locators[0].Data[0] != 'C' {
		t.Error("a caller can change the image's link")
	}
	if _, ok := p.Link(); ok {
		t.Error("a dynamic image has a link")
	}
}

// How the two paths are written depends on what is known of them.
func TestChildPaths(t *testing.T) {
	_, p := child(t)
	long := `C:\` + strings.Repeat(`directory\`, 40) + `base.vhd`
	for _, c := range []struct {
		parent, child        string
		w2ku, w2ru, nameText string
	}{
		{`C:\vm\base.vhd`, `C:\vm\a.avhd`, `C:\vm\base.vhd`, `.\base.vhd`, `C:\vm\base.vhd`},
		{`C:\vm\base.vhd`, ``, `C:\vm\base.vhd`, ``, `C:\vm\base.vhd`},
		{`C:\vm\base.vhd`, `D:\vm\a.avhd`, `C:\vm\base.vhd`, ``, `C:\vm\base.vhd`},
		{`.\base.vhd`, `C:\vm\a.avhd`, ``, `.\base.vhd`, `.\base.vhd`},
		{`C:\vm\größe 😀.vhd`, ``, `C:\vm\größe 😀.vhd`, ``, `C:\vm\größe 😀.vhd`},
		{long, ``, long, ``, long[:256]},
	} {
		o := vhd.Options{Parent: vhd.Parent{Image: p, Path: c.parent, Child: c.child}}
		l, _ := must(vhd.Create(&flat{}, o)).Link()
		if l.Path(vhd.PlatformW2ku) != c.w2ku || l.Path(vhd.PlatformW2ru) != c.w2ru || l.Name != c.nameText {
			t.Errorf("%q under %q: %q, %q, %q", c.child, c.parent, l.Path(vhd.PlatformW2ku), l.Path(vhd.PlatformW2ru), l.Name)
		}
	}
}

func TestChildCreateRefuses(t *testing.T) {
	_, p := child(t)
	anonymous := must(vhd.Create(&flat{}, vhd.Options{Size: p.Size()}))
	for name, c := range map[string]struct {
		o    vhd.Options
		want vhd.Code
	}{
		"no path":            {vhd.Options{Parent: vhd.Parent{Image: p}}, vhd.ErrParentNotFound},
		"zero in the path":   {vhd.Options{Parent: vhd.Parent{Image: p, Path: "a\x00b"}}, vhd.ErrParentNotFound},
		"child not absolute": {vhd.Options{Parent: vhd.Parent{Image: p, Path: `C:\p`, Child: `c`}}, vhd.ErrParentNotFound},
		"path too long":      {vhd.Options{Parent: vhd.Parent{Image: p, Path: `C:\` + strings.Repeat("x", 32<<10)}}, vhd.ErrSparseCorrupt},
		"no parent":          {vhd.Options{Type: vhd.Differencing, Parent: vhd.Parent{Path: `C:\p`}}, vhd.ErrParentNotFound},
		"parent of dynamic":  {vhd.Options{Type: vhd.Dynamic, Size: p.Size(), Parent: vhd.Parent{Image: p, Path: `C:\p`}}, vhd.ErrType},
		"path of dynamic":    {vhd.Options{Size: p.Size(), Parent: vhd.Parent{Path: `C:\p`}}, vhd.ErrType},
		"other size":         {vhd.Options{Size: p.Size() + 512, Parent: vhd.Parent{Image: p, Path: `C:\p`}}, vhd.ErrParentSize},
		"no identifier":      {vhd.Options{Parent: vhd.Parent{Image: anonymous, Path: `C:\p`}}, vhd.ErrParentID},
		"grain of 3":         {vhd.Options{Grain: 3, Parent: vhd.Parent{Image: p, Path: `C:\p`}}, vhd.ErrLimit},
		"block of 1000":      {vhd.Options{BlockSize: 1000, Parent: vhd.Parent{Image: p, Path: `C:\p`}}, vhd.ErrBlockSize},
	} {
		t.Run(name, func(t *testing.T) {
			f := disk.NewMemory(7)
			_, err := vhd.Create(f, c.o)
			if wantCode(t, err, c.want); f.Size() != 7 {
				t.Error("a refused Create touched the file")
			}
		})
	}
}

// V22, identity and size: each check in each strictness.
func TestSetParent(t *testing.T) {
	b, p := child(t)
	made := func(o vhd.Options) *vhd.Image { return must(vhd.Create(&flat{}, o)) }
	later := time.Unix(1e9+1, 0)
	right := vhd.Options{Size: p.Size(), ID: p.ID(), Time: time.Unix(1e9, 0)}
	wrongID, wrongTime, wrongSize := right, right, right
	wrongID.ID[15]++
	wrongTime.Time = later
	wrongSize.Size += 512
	for name, c := range map[string]struct {
		parent                *vhd.Image
		usual, strict, forced error
		notes                 int
	}{
		"right":      {made(right), nil, nil, nil, 0},
		"fixed":      {made(vhd.Options{Type: vhd.Fixed, Size: p.Size(), ID: p.ID(), Time: right.Time}), nil, nil, nil, 0},
		"other disk": {made(wrongID), vhd.ErrParentID, vhd.ErrParentID, nil, 0},
		"other time": {made(wrongTime), nil, vhd.ErrParentTime, nil, 1},
		"other size": {made(wrongSize), vhd.ErrParentSize, vhd.ErrParentSize, vhd.ErrParentSize, 0},
		"none":       {nil, vhd.ErrParentNotFound, vhd.ErrParentNotFound, vhd.ErrParentNotFound, 0},
	} {
		for check, want := range map[vhd.ParentCheck]error{vhd.CheckID: c.usual, vhd.CheckTime: c.strict, vhd.CheckSize: c.forced} {
			im := must(vhd.OpenFile(&flat{b}))
			err := im.SetParent(c.parent, check)
			switch {
			case want != nil:
				wantCode(t, err, want)
				if im.Parent() != nil {
					t.Errorf("%s: a refused parent was taken", name)
				}
			case err != nil || im.Parent() != c.parent:
				t.Errorf("%s, check %d: %v", name, check, err)
			case check == vhd.CheckID && len(im.Notes()) != c.notes:
				t.Errorf("%s: notes %q", name, im.Notes())
			}
		}
	}
	unstamped := bytes.Clone(b)
	im := must(vhd.OpenFile(&flat{fileBytes(unstamped).header(put32(56, 0))}))
	if err := im.SetParent(made(wrongTime), vhd.CheckTime); err != nil || im.Notes() != nil {
		t.Errorf("a stamp of zero was compared: %v, %q", err, im.Notes())
	}
	wantCode(t, p.SetParent(p, vhd.CheckSize), vhd.ErrType)
}

// V23: nobody is his own ancestor, and no chain goes on for ever.
func TestChainLimits(t *testing.T) {
	p := must(vhd.Create(&flat{}, vhd.Options{Size: 512, ID: [16]byte{1}}))
	must(p.WriteAt(pattern(3, 512), 0))
	first := must(vhd.Create(&flat{}, over(p)))
	im := first
	for range vhd.MaxChain - 2 {
		im = must(vhd.Create(&flat{}, over(im)))
	}
	_, err := vhd.Create(&flat{}, over(im))
	wantCode(t, err, vhd.ErrChainCycle)
	wantCode(t, first.SetParent(im, vhd.CheckID), vhd.ErrChainCycle)
	wantCode(t, first.SetParent(first, vhd.CheckSize), vhd.ErrChainCycle)
	same(t, "the leaf of a long chain", content(t, im), pattern(3, 512))
}

// Without its parent a child gives what it holds itself and refuses the rest.
func TestOrphan(t *testing.T) {
	b, _ := child(t)
	f := &flat{b}
	im := must(vhd.OpenFile(f))
	got := make([]byte, 5000)
	must(im.ReadAt(got, 3*4096))
	same(t, "own", got, pattern(50, 5000))
	for _, off := range []int64{0, 7 * 4096, 5 * 4096} {
		_, err := im.ReadAt(got, off)
		wantCode(t, err, vhd.ErrParentNotFound)
	}
	n, err := im.ReadAt(make([]byte, 8192), 2*4096)
	if wantCode(t, err, vhd.ErrParentNotFound); n != 0 {
		t.Errorf("%d bytes of nothing", n)
	}
	_, err = im.WriteAt([]byte{1}, 0)
	wantCode(t, err, vhd.ErrParentNotFound)
	wantCode(t, im.Discard(100, 100), vhd.ErrParentNotFound)
	must(im.WriteAt(pattern(51, 4096), 0)) // a whole grain needs nobody
	if s := im.Map(4096, 8192); s.Store != nil || s.Len != 8192 {
		t.Errorf("Map without a parent: %+v", s)
	}
	n2 := int64(0)
	for e := range im.Extents(0, im.Size()) {
		n2 += e.Len
	}
	if n2 != im.Size() {
		t.Errorf("%d bytes may hold something, want all", n2)
	}
}

// locator puts a locator with data of its own at the end of the file.
func (b fileBytes) locator(i int, platform string, data []byte) fileBytes {
	at := len(b) - 512
	room := make(fileBytes, (len(data)+511)/512*512)
	copy(room, data)
	b = append(append(bytes.Clone(b[:at]), room...), b[at:]...)
	return b.header(func(p []byte) {
		l := p[576+24*i:]
		copy(l, platform)
		binary.BigEndian.PutUint32(l[4:], uint32(len(room)/512)) // sectors, as the paper has it
		binary.BigEndian.PutUint32(l[8:], uint32(len(data)))
		binary.BigEndian.PutUint64(l[16:], uint64(at))
	})
}

// Every kind of locator is read, in either byte order, and what is none is
// skipped with a note: V20 and V21 of the malformed inputs.
func TestLocators(t *testing.T) {
	utf16le := func(s string) []byte { return wide(binary.LittleEndian, s) }
	for name, c := range map[string]struct {
		platform string
		data     []byte
		path     string
		skipped  string
	}{
		"absolute":          {"W2ku", utf16le(`D:\ä\x.vhd`), `D:\ä\x.vhd`, ""},
		"relative":          {"W2ru", utf16le(`.\x`), `.\x`, ""},
		"big-endian":        {"W2ku", wide(binary.BigEndian, `D:\ä\x.vhd`), `D:\ä\x.vhd`, ""},
		"no latin letter":   {"W2ku", utf16le(`東京`), `東京`, ""},
		"with a terminator": {"W2ku", utf16le("D:\\x\x00"), `D:\x`, ""},
		"retired":           {"Wi2k", []byte("D:\\\xE4.vhd"), `D:\ä.vhd`, ""},
		"retired, relative": {"Wi2r", []byte(`.\x.vhd`), `.\x.vhd`, ""},
		"alias":             {"Mac ", []byte{0, 1, 2, 0xFF, 0}, ``, ""},
		"url":               {"MacX", []byte("file:///x/y.vhd"), `file:///x/y.vhd`, ""},
		"unknown":           {"Zzzz", []byte{1, 2, 3}, ``, ""},
		"V20 odd":           {"W2ku", []byte{'C', 0, ':'}, ``, "odd"},
		"V20 empty":         {"W2ru", nil, ``, "empty"},
		"V20 only zeros":    {"W2ru", []byte{0, 0, 0, 0}, ``, "empty"},
		"V21 zero within":   {"W2ku", utf16le("D:\x00\\x"), ``, "zero"},
		"V21 zero in bytes": {"Wi2k", []byte("D:\x00\\x"), ``, "zero"},
		"V20 too long":      {"W2ku", bytes.Repeat([]byte{'x', 0}, 32<<10+1), ``, "65538 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			b, p := child(t)
			im := must(vhd.OpenFile(&flat{fileBytes(bytes.Clone(b)).locator(5, c.platform, c.data)}))
			l, _ := im.Link()
			if c.skipped != "" {
				if n := im.Notes(); len(l.Locators) != 2 || len(n) != 1 || !strings.Contains(n[0], c.skipped) || !strings.Contains(n[0], "parent locator 5") {
					t.Errorf("%d locators, notes %q, want one about %q", len(l.Locators), n, c.skipped)
				}
			} else if len(l.Locators) != 3 || l.Locators[2].Platform.String() != strings.TrimSpace(c.platform) || l.Locators[2].Path != c.path || !bytes.Equal(l.Locators[2].Data, c.data) {
				t.Errorf("locators %+v", l.Locators)
			}
			if err := im.SetParent(p, vhd.CheckTime); err != nil {
				t.Error(err)
			}
		})
	}
	for name, edit := range map[string]func(p []byte){
		"V20 behind the end":   put64(576+16, 1<<40),
		"V20 over the end":     put32(576+8, 60000),
		"V20 negative offset":  put64(576+16, 1<<63),
		"V20 length all ones":  put32(576+8, 1<<32-1),
		"V20 offset all ones":  put64(576+16, 1<<64-1),
		"V20 length too large": put32(576+8, 64<<10+2),
	} {
		b, _ := child(t)
		im := must(vhd.OpenFile(&flat{fileBytes(bytes.Clone(b)).header(edit)}))
		l, _ := im.Link()
		if n := im.Notes(); len(l.Locators) != 1 || len(n) != 1 {
			t.Errorf("%s: %d locators, notes %q", name, len(l.Locators), n)
		}
	}
}

// V20 and V21: where no locator is left, and no name either, nothing leads to
// the parent, which is an error of the chain and not of the image.
func TestLocatorsAllSkipped(t *testing.T) {
	for name, edit := range map[string]func(p []byte){
		"V20 outside the file": put64(576+16, 1<<40),
		"V20 odd":              put32(576+8, 3),
		"V20 over 64 KiB":      put32(576+8, 64<<10+2),
		"V21 zero within":      put64(576+16, 0), // the cookie, which has none, and then the features
	} {
		b, _ := child(t)
		im, err := vhd.OpenFile(&flat{fileBytes(bytes.Clone(b)).header(func(p []byte) {
			clear(p[64:576])       // the name
			clear(p[576+24 : 768]) // all but one locator
			put32(576+8, 16)(p)
			edit(p)
		})})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		l, _ := im.Link()
		if len(l.Locators) != 0 || len(l.Candidates()) != 0 || len(im.Notes()) != 1 {
			t.Errorf("%s: link %+v, notes %q", name, l, im.Notes())
		}
		_, err = im.ReadAt(make([]byte, 512), 0)
		wantCode(t, err, vhd.ErrParentNotFound)
		wantCode(t, im.SetParent(nil, vhd.CheckID), vhd.ErrParentNotFound)
	}
}

// Relink names another parent and is over it, now and when opened again.
func TestRelink(t *testing.T) {
	b, p := child(t)
	f := &flat{b}
	im := must(vhd.OpenFile(f))
	if err := im.SetGrain(1); err != nil {
		t.Fatal(err)
	}
	if err := im.SetParent(p, vhd.CheckID); err != nil {
		t.Fatal(err)
	}
	want := content(t, im)
	other := must(p.Clone()).(*vhd.Image)
	renamed := vhd.Options{Size: p.Size(), ID: [16]byte{0xFE}, Type: vhd.Fixed}
	q := must(vhd.Create(&flat{}, renamed))
	if err := disk.Copy(q, other); err != nil {
		t.Fatal(err)
	}
	fork := im.Over(&flat{bytes.Clone(f.b)})
	if err := im.Relink(vhd.Parent{Image: q, Path: `C:\elsewhere\q.vhd`, Child: `C:\vm\a.avhd`}); err != nil {
		t.Fatal(err)
	}
	again := must(vhd.OpenFile(f))
	if err := again.SetParent(q, vhd.CheckTime); err != nil {
		t.Fatal(err)
	}
	must(im.WriteAt([]byte{9}, 8192+700))
	want[8192+700] = 9
	for name, im := range map[string]*vhd.Image{"image": im, "opened": again} {
		l, _ := im.Link()
		if got := strings.Join(l.Candidates(), " "); got != `..\elsewhere\q.vhd C:\elsewhere\q.vhd .\q.vhd` || im.Notes() != nil {
			t.Errorf("%s: %s, notes %q", name, got, im.Notes())
		}
		if name == "image" {
			same(t, name, content(t, im), want)
		}
	}
	if l, _ := fork.Link(); l.ID != p.ID() {
		t.Error("a fork was linked anew too")
	}
	wantCode(t, p.Relink(vhd.Parent{Image: q, Path: `C:\q`}), vhd.ErrType)
	wantCode(t, im.Relink(vhd.Parent{Image: im, Path: `C:\q`}), vhd.ErrChainCycle)
	wantCode(t, im.Relink(vhd.Parent{Image: must(vhd.Create(&flat{}, vhd.Options{Size: 512, ID: [16]byte{1}})), Path: `C:\q`}), vhd.ErrParentSize)
	wantCode(t, im.Relink(vhd.Parent{Path: `C:\q`}), vhd.ErrParentNotFound)
	wantCode(t, must(vhd.Open(f, f.Size())).Relink(vhd.Parent{Image: q, Path: `C:\q`}), disk.ErrReadOnly)
}
