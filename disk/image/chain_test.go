package image_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/image"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

func TestOpenChain(t *testing.T) {
	d, want := chain3(t)
	c, err := image.OpenChain(leaf, d, image.ChainOptions{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "chain", content(t, c), want)
	var paths []string
	for i, l := range c.Links() {
		paths = append(paths, l.Path)
		if l.Image.Writable() != (i == 0) {
			t.Errorf("%s: Writable is %v", l.Path, l.Image.Writable())
		}
	}
	if got := strings.Join(paths, " "); got != leaf+` C:\vm\snap\one.avhd C:\vm\base.vhd` {
		t.Errorf("links %s", got)
	}
	must(c.WriteAt([]byte{9}, 5))
	want[5] = 9
	same(t, "chain", content(t, c), want)
	if err := c.Close(); err != nil || d.open != 0 {
		t.Errorf("Close: %v, %d files are open", err, d.open)
	}
	c = must(image.OpenChain(leaf, d, image.ChainOptions{}))
	same(t, "chain opened again", content(t, c), want)
	_, err = c.WriteAt([]byte{9}, 5)
	if !errors.Is(err, disk.ErrReadOnly) {
		t.Errorf("writing a chain opened for reading: %v", err)
	}
}

// A snapshot of a chain stays what it was.
func TestChainSnapshot(t *testing.T) {
	d, want := chain3(t)
	bare := image.ResolverFunc(func(path string) (disk.Source, error) {
		if f, ok := d.files[strings.ToLower(path)]; ok {
			return f, nil
		}
		return nil, fs.ErrNotExist
	})
	c := must(image.OpenChain(leaf, bare, image.ChainOptions{Write: true}))
	snap := must(c.Snapshot())
	must(c.WriteAt(pattern(9, 30000), 0))
	same(t, "snapshot", content(t, snap), want)
	same(t, "chain", content(t, c)[:30000], pattern(9, 30000))
}

// A folder that has moved as a whole is found by relative paths, a leaf alone
// by absolute ones, and by name in further folders.
func TestOpenChainMoved(t *testing.T) {
	d, want := chain3(t)
	for name, c := range map[string]struct {
		move map[string]string
		leaf string
		o    image.ChainOptions
	}{
		"all of it":     {map[string]string{leaf: `D:\x\snap\two.avhd`, `C:\vm\snap\one.avhd`: `D:\x\snap\one.avhd`, `C:\vm\base.vhd`: `D:\x\base.vhd`}, `D:\x\snap\two.avhd`, image.ChainOptions{}},
		"leaf":          {map[string]string{leaf: `E:\two.avhd`}, `E:\two.avhd`, image.ChainOptions{}},
		"into a folder": {map[string]string{`C:\vm\base.vhd`: `F:\bases\base.vhd`}, leaf, image.ChainOptions{Folders: []string{`G:\none`, `F:\bases`}}},
		"beside":        {map[string]string{`C:\vm\base.vhd`: `C:\vm\snap\base.vhd`}, leaf, image.ChainOptions{}},
		"no drive":      {map[string]string{leaf: `snap\two.avhd`, `C:\vm\snap\one.avhd`: `snap\one.avhd`, `C:\vm\base.vhd`: `base.vhd`}, `snap\two.avhd`, image.ChainOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			moved := newFolder()
			for path, f := range d.files {
				to := path
				for from, target := range c.move {
					if strings.EqualFold(from, path) {
						to = strings.ToLower(target)
					}
				}
				moved.files[to] = f
			}
			c, err := image.OpenChain(c.leaf, moved, c.o)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "chain", content(t, c), want)
			if len(c.Links()) != 3 {
				t.Errorf("%d links", len(c.Links()))
			}
		})
	}
}

// A leaf of VHDX that is opened for writing learns where its parent lies, and
// one that is read stays as it is.
func TestOpenChainCorrectsPaths(t *testing.T) {
	const volume = `\\?\Volume{11111111-2222-3333-4444-555555555555}\vm\snap\one.avhd`
	abs := func(path string) string { return `\\?\` + path }
	moved := func(to string) map[string]string { return map[string]string{`c:\vm\snap\one.avhd`: to} }
	for name, c := range map[string]struct {
		move         map[string]string
		leaf         string
		o            image.ChainOptions
		before, want []string // relative, volume, absolute
	}{
		"nothing moved":     {nil, leaf, image.ChainOptions{}, []string{`.\one.avhd`, volume, abs(`C:\vm\snap\one.avhd`)}, nil},
		"whole folder":      {map[string]string{`c:\vm\snap\one.avhd`: `D:\x\one.avhd`, strings.ToLower(leaf): `D:\x\two.avhd`}, `D:\x\two.avhd`, image.ChainOptions{}, []string{`.\one.avhd`, volume, abs(`C:\vm\snap\one.avhd`)}, []string{`.\one.avhd`, volume, abs(`D:\x\one.avhd`)}},
		"leaf alone":        {map[string]string{strings.ToLower(leaf): `C:\two.avhd`}, `C:\two.avhd`, image.ChainOptions{}, []string{`.\one.avhd`, volume, abs(`C:\vm\snap\one.avhd`)}, []string{`.\vm\snap\one.avhd`, "", abs(`C:\vm\snap\one.avhd`)}},
		"to another drive":  {moved(`F:\one.avhd`), leaf, image.ChainOptions{Folders: []string{`F:\`}}, []string{`.\one.avhd`, volume, abs(`C:\vm\snap\one.avhd`)}, []string{"", "", abs(`F:\one.avhd`)}},
		"relative alone":    {moved(`F:\one.avhd`), leaf, image.ChainOptions{Folders: []string{`F:\`}}, []string{`.\one.avhd`, "", ""}, []string{"", "", abs(`F:\one.avhd`)}},
		"to a share":        {moved(`\\s\v\one.avhd`), leaf, image.ChainOptions{Folders: []string{`\\s\v`}}, []string{`.\one.avhd`, "", ""}, []string{"", "", `\\s\v\one.avhd`}},
		"by the volume":     {moved(volume), leaf, image.ChainOptions{}, []string{`.\one.avhd`, volume, abs(`C:\vm\snap\one.avhd`)}, []string{"", volume, ""}},
		"by force":          {moved(`F:\one.avhd`), leaf, image.ChainOptions{Folders: []string{`F:\`}, Check: image.CheckNothing}, []string{`.\one.avhd`, "", ""}, nil},
		"absolute is right": {nil, leaf, image.ChainOptions{}, []string{`.\none.avhd`, "", abs(`C:\vm\snap\one.avhd`)}, []string{`.\one.avhd`, "", abs(`C:\vm\snap\one.avhd`)}},
	} {
		t.Run(name, func(t *testing.T) {
			d, want := chain3X(t)
			paths := func(f image.File) []string {
				l, _ := must(vhdx.Open(f, f.Size())).Link()
				return []string{l.Relative, l.Volume, l.Absolute}
			}
			im := must(vhdx.OpenFile(d.files[strings.ToLower(leaf)]))
			l, _ := im.Link()
			l.Relative, l.Volume, l.Absolute = c.before[0], c.before[1], c.before[2]
			must(0, im.SetLink(l))
			must(0, im.Close())
			for from, to := range c.move {
				f := d.files[from]
				delete(d.files, from)
				d.files[strings.ToLower(to)] = f
			}
			drives := image.ResolverFunc(func(path string) (disk.Source, error) {
				if p, ok := strings.CutPrefix(path, `\\?\`); ok && p[1] == ':' {
					path = p
				}
				return d.OpenImage(path)
			})
			file := d.files[strings.ToLower(c.leaf)]
			must(0, must(image.OpenChain(c.leaf, drives, c.o)).Close())
			if got := paths(file); !slices.Equal(got, c.before) {
				t.Fatalf("reading made the paths %q", got)
			}
			c.o.Write = true
			chain, err := image.OpenChain(c.leaf, drives, c.o)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "chain", content(t, chain), want)
			id := chain.Image.(*vhdx.Image).DataWriteGUID()
			must(0, chain.Close())
			if c.want == nil {
				c.want = c.before
			}
			if got := paths(file); !slices.Equal(got, c.want) {
				t.Errorf("the paths are %q, want %q", got, c.want)
			}
			again := must(vhdx.Open(file, file.Size()))
			if now, _ := again.Link(); now.Linkage != l.Linkage || again.DataWriteGUID() != id || again.Check() != nil {
				t.Errorf("the link is %+v, Check: %v", now, again.Check())
			}
			c.o.Write, c.o.Folders = false, nil
			if c.o.Check == image.CheckUsually {
				must(0, must(image.OpenChain(c.leaf, drives, c.o)).Close()) // and needs no further folders any more
			}
		})
	}
}

// Relative comes before absolute, and a candidate that is another disk does
// not end the search.
func TestOpenChainOrder(t *testing.T) {
	d, want := chain3(t)
	must(image.OpenChain(leaf, d, image.ChainOptions{}))
	if want := []string{leaf, `C:\vm\snap\one.avhd`, `C:\vm\base.vhd`}; !slices.Equal(d.asked, want) {
		t.Errorf("asked for %q, want %q", d.asked, want)
	}
	wrong := newFolder()
	for path, f := range d.files {
		wrong.files[path] = f
	}
	wrong.files[`e:\vm\two.avhd`] = d.files[strings.ToLower(leaf)]
	must(vhd.Create(wrong.create(`E:\vm\one.avhd`), vhd.Options{Size: size, ID: [16]byte{77}}))
	c, err := image.OpenChain(`E:\vm\two.avhd`, wrong, image.ChainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "chain", content(t, c), want)
	if got := wrong.asked[1:3]; !slices.Equal(got, []string{`E:\vm\one.avhd`, `C:\vm\snap\one.avhd`}) {
		t.Errorf("asked for %q", got)
	}
}

// Every fault of a chain has its code, and nothing stays open.
func TestChainFaults(t *testing.T) {
	base := func(o vhd.Options) func(d *folder) {
		o.BlockSize = 4096
		return func(d *folder) { must(vhd.Create(d.create(`C:\vm\base.vhd`), o)) }
	}
	denied := &fs.PathError{Op: "open", Path: "base", Err: fs.ErrPermission}
	for name, c := range map[string]struct {
		edit func(d *folder)
		leaf string
		o    image.ChainOptions
		want []error
		not  error
	}{
		"leaf missing":   {func(d *folder) {}, `C:\vm\three.avhd`, image.ChainOptions{}, []error{fs.ErrNotExist}, image.ErrParentNotFound},
		"leaf unknown":   {func(d *folder) { d.create(`C:\raw`) }, `C:\raw`, image.ChainOptions{}, []error{image.ErrFormatUnknown}, image.ErrParentBroken},
		"parent missing": {func(d *folder) { delete(d.files, `c:\vm\base.vhd`) }, `C:\vm\snap\one.avhd`, image.ChainOptions{}, []error{image.ErrParentNotFound, fs.ErrNotExist}, image.ErrParentBroken},
		"further down":   {func(d *folder) { delete(d.files, `c:\vm\base.vhd`) }, leaf, image.ChainOptions{}, []error{image.ErrParentBroken, image.ErrParentNotFound}, nil},
		"another disk":   {base(vhd.Options{Size: size, ID: [16]byte{99}}), `C:\vm\snap\one.avhd`, image.ChainOptions{}, []error{image.ErrParentID}, image.ErrParentBroken},
		"other size":     {base(vhd.Options{Size: size + 512, ID: [16]byte{1}}), `C:\vm\snap\one.avhd`, image.ChainOptions{}, []error{image.ErrParentSize}, nil},
		"by force, size": {base(vhd.Options{Size: size + 512, ID: [16]byte{99}}), `C:\vm\snap\one.avhd`, image.ChainOptions{Check: image.CheckNothing}, []error{image.ErrParentSize}, nil},
		"broken parent":  {func(d *folder) { must(d.files[`c:\vm\base.vhd`].WriteAt([]byte{1}, 512+40)) }, `C:\vm\snap\one.avhd`, image.ChainOptions{}, []error{image.ErrParentBroken, vhd.ErrSparseChecksum}, nil},
		"raw parent":     {func(d *folder) { d.create(`C:\vm\base.vhd`) }, `C:\vm\snap\one.avhd`, image.ChainOptions{}, []error{image.ErrParentBroken, image.ErrFormatUnknown}, nil},
		"its own parent": {func(d *folder) { d.files[`c:\vm\snap\one.avhd`] = d.files[strings.ToLower(leaf)] }, leaf, image.ChainOptions{}, []error{image.ErrParentID}, nil},
		"no permission":  {func(d *folder) { d.files[`c:\vm\base.vhd`] = failing{denied} }, `C:\vm\snap\one.avhd`, image.ChainOptions{}, []error{image.ErrParentAccess, fs.ErrPermission}, nil},
		"written, leaf":  {func(d *folder) { d.files[strings.ToLower(leaf)] = nil }, leaf, image.ChainOptions{Write: true}, []error{disk.ErrReadOnly}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := chain3(t)
			readOnly := d.files[strings.ToLower(leaf)]
			c.edit(d)
			r := image.ResolverFunc(func(path string) (disk.Source, error) {
				f, ok := d.files[strings.ToLower(path)]
				if bad, is := f.(failing); is {
					return nil, bad.err
				}
				if ok && f == nil {
					return disk.ReadOnly(readOnly), nil
				}
				return d.OpenImage(path)
			})
			chain, err := image.OpenChain(c.leaf, r, c.o)
			if chain != nil || err == nil {
				t.Fatalf("it opened: %v", err)
			}
			for _, want := range c.want {
				wantCode(t, err, want)
			}
			if c.not != nil && errors.Is(err, c.not) {
				t.Errorf("error %v is %v too", err, c.not)
			}
			if d.open != 0 {
				t.Errorf("%d files stay open", d.open)
			}
		})
	}
}

// A parent that is there and does not say what it is over is broken, and not
// missing.
func TestParentWithoutItsLocator(t *testing.T) {
	d, _ := chain3X(t)
	one := d.files[`c:\vm\snap\one.avhd`]
	raw := content(t, one)
	locator := []byte{0xB7, 0xEF, 0x4A, 0xB0, 0x9E, 0xD1, 0x81, 0x4A} // its type
	must(one.WriteAt([]byte{0}, int64(bytes.Index(raw, locator)+18))) // no entries
	_, err := image.OpenChain(leaf, d, image.ChainOptions{})
	wantCode(t, err, image.ErrParentBroken)
	if d.open != 0 {
		t.Errorf("%d files stay open", d.open)
	}
}

// failing is a file that does not open.
type failing struct{ err error }

func (failing) Size() int64                       { return 0 }
func (failing) ReadAt([]byte, int64) (int, error) { return 0, nil }
func (failing) WriteAt(p []byte, off int64) (int, error) {
	return 0, nil
}
func (failing) Resize(int64) error { return nil }

// V23 and X26: a chain that leads back to itself is told from one that is broken.
func TestChainCycle(t *testing.T) {
	d := newFolder()
	a := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: 512, ID: [16]byte{1}}))
	link(d, a, `C:\b.vhd`, `C:\a.vhd`, 2)
	b := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: 512, ID: [16]byte{2}}))
	link(d, b, `C:\a.vhd`, `C:\b.vhd`, 1)
	for _, leaf := range []string{`C:\a.vhd`, `c:\B.vhd`, `C:\x\..\a.vhd`} {
		d.files[strings.ToLower(leaf)] = d.files[`c:\`+strings.ToLower(leaf[len(leaf)-5:])]
		_, err := image.OpenChain(leaf, d, image.ChainOptions{})
		wantCode(t, err, image.ErrChainCycle)
	}
	link(d, a, `.\self.vhd`, `C:\self.vhd`, 1)
	_, err := image.OpenChain(`C:\self.vhd`, d, image.ChainOptions{})
	wantCode(t, err, image.ErrChainCycle)
	if d.open != 0 {
		t.Errorf("%d files stay open", d.open)
	}
}

// V23 and X26: a chain of as many images as there may be opens, and one more is
// too many.
func TestChainTooLong(t *testing.T) {
	d := newFolder()
	name := func(i int) string { return fmt.Sprintf(`C:\%d.avhd`, i) }
	must(vhd.Create(d.create(name(0)), vhd.Options{Size: 512, ID: [16]byte{1}}))
	for i := range image.MaxChain {
		f := d.files[strings.ToLower(name(i))]
		p := must(vhd.Open(f, f.Size())) // which knows no parent, and so no limit
		must(vhd.Create(d.create(name(i+1)), vhd.Options{ID: [16]byte{1, byte(i), byte(i >> 8)},
			Parent: vhd.Parent{Image: p, Path: name(i), Child: name(i + 1)}}))
	}
	must(0, must(image.OpenChain(name(image.MaxChain-1), d, image.ChainOptions{})).Close())
	_, err := image.OpenChain(name(image.MaxChain), d, image.ChainOptions{})
	wantCode(t, err, image.ErrChainCycle)
	if d.open != 0 {
		t.Errorf("%d files stay open", d.open)
	}
}

// Time stamps count in a strict check alone, identifiers not by force.
func TestChainChecks(t *testing.T) {
	later := newFolder()
	p := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: size, ID: [16]byte{1}, Time: time.Unix(1e9, 0)}))
	link(later, p, `C:\p.vhd`, `C:\c.vhd`, 2)
	must(vhd.Create(later.create(`C:\p.vhd`), vhd.Options{Size: size, ID: [16]byte{1}, Time: time.Unix(2e9, 0)}))
	if c, err := image.OpenChain(`C:\c.vhd`, later, image.ChainOptions{}); err != nil || len(c.Notes()) != 1 {
		t.Errorf("a later parent: %v", err)
	}
	_, err := image.OpenChain(`C:\c.vhd`, later, image.ChainOptions{Check: image.CheckStrictly})
	wantCode(t, err, image.ErrParentTime)
	must(vhd.Create(later.create(`C:\p.vhd`), vhd.Options{Size: size, ID: [16]byte{3}}))
	if _, err := image.OpenChain(`C:\c.vhd`, later, image.ChainOptions{Check: image.CheckNothing}); err != nil {
		t.Errorf("by force: %v", err)
	}
}

// The files of an io/fs are found whatever the case, under their drive.
func TestFS(t *testing.T) {
	d, want := chain3(t)
	bytesOf := func(path string) *fstest.MapFile { return &fstest.MapFile{Data: content(t, d.files[path])} }
	host := fstest.MapFS{
		"C/VM/base.vhd":      bytesOf(`c:\vm\base.vhd`),
		"C/VM/Snap/ONE.avhd": bytesOf(`c:\vm\snap\one.avhd`),
		"C/VM/Snap/two.avhd": bytesOf(`c:\vm\snap\two.avhd`),
		"C/VM/dir/x":         {},
	}
	for _, path := range []string{`C:\VM\Snap\two.avhd`, `c:\vm\snap\TWO.avhd`, `\\?\C:\VM\Snap\two.avhd`, `C/VM/Snap/two.avhd`, `C:/VM/Snap/two.avhd`} {
		c, err := image.OpenChain(path, image.FS(host), image.ChainOptions{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		same(t, path, content(t, c), want)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for path, want := range map[string]error{
		`D:\two.avhd`: fs.ErrNotExist, `\\server\share\two.avhd`: fs.ErrNotExist, `\\?\Volume{1}\x`: fs.ErrNotExist,
		`C:\VM\..\..\x`: fs.ErrNotExist, `C:\VM\dir`: errors.ErrUnsupported, `C:\VM\none\x`: fs.ErrNotExist, ``: fs.ErrNotExist,
	} {
		_, err := image.OpenChain(path, image.FS(host), image.ChainOptions{})
		wantCode(t, err, want)
	}
}

// V21: locators that lead out of what the resolver knows lead nowhere.
func TestChainEscape(t *testing.T) {
	d := newFolder()
	p := must(vhd.Create(d.create(`secret`), vhd.Options{Size: 512, ID: [16]byte{1}}))
	link(d, p, `..\..\..\..\secret`, `C:\vm\c.vhd`, 2)
	_, err := image.OpenChain(`C:\vm\c.vhd`, d, image.ChainOptions{})
	wantCode(t, err, image.ErrParentNotFound)
	for _, path := range d.asked {
		if strings.Contains(path, "..") || path == "secret" {
			t.Errorf("asked for %q", path)
		}
	}
}

// Formats are told by content, whatever the name.
func TestDetect(t *testing.T) {
	d, _ := chain3(t)
	fixed := disk.NewMemory(0)
	must(vhd.Create(fixed, vhd.Options{Size: 512, Type: vhd.Fixed}))
	dynamicX, fixedX, childX := disk.NewMemory(0), disk.NewMemory(0), disk.NewMemory(0)
	parent := must(image.Create(dynamicX, image.Options{Format: image.VHDX, Size: 1 << 20, ID: [16]byte{1}}))
	must(image.Create(fixedX, image.Options{Format: image.VHDX, Kind: image.Fixed, Size: 1 << 20, ID: [16]byte{2}}))
	must(image.Create(childX, image.Options{Format: image.VHDX, Parent: parent, ID: [16]byte{3}, Place: image.Place{Parent: `C:\p.vhdx`}}))
	for name, c := range map[string]struct {
		src    disk.Source
		format image.Format
		kind   image.Kind
	}{
		"fixed":        {fixed, image.VHD, image.Fixed},
		"dynamic":      {d.files[`c:\vm\base.vhd`], image.VHD, image.Dynamic},
		"differencing": {d.files[`c:\vm\snap\one.avhd`], image.VHD, image.Differencing},
		"broken vhdx":  {bytes.NewReader(append([]byte("vhdxfile"), make([]byte, 4096)...)), image.VHDX, 0},
		"vhdx":         {dynamicX, image.VHDX, image.Dynamic},
		"fixed vhdx":   {fixedX, image.VHDX, image.Fixed},
		"vhdx's child": {childX, image.VHDX, image.Differencing},
		"raw":          {disk.NewMemory(4096), image.Raw, 0},
	} {
		f, err := image.Detect(c.src, c.src.Size())
		if f != c.format || err != nil {
			t.Errorf("%s: Detect = %v, %v", name, f, err)
		}
		im, err := image.Open(c.src, c.src.Size())
		if c.kind == 0 {
			if err == nil {
				t.Errorf("%s opened", name)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if f, k := image.FormatOf(im); f != c.format || k != c.kind {
			t.Errorf("%s: FormatOf = %v, %v", name, f, k)
		}
	}
	_, err := image.Open(disk.NewMemory(100), 100)
	wantCode(t, err, image.ErrFormatUnknown)
	_, err = image.OpenFile(disk.NewMemory(100))
	wantCode(t, err, image.ErrFormatUnknown)
}
