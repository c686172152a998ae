package image_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/image"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// A journal is a folder that remembers every change to its files, in order, and
// where one was synced.
type journal struct {
	files map[string]*disk.Memory
	ops   []op
	fails func(n int) bool // the n-th change from now on, counted from 1
	count int
}

type op struct {
	path string
	kind string // "write", "resize", "discard" or "sync"
	off  int64  // or the new size
	n    int64
	data []byte
}

func (j *journal) OpenImage(path string) (disk.Source, error) {
	if m, ok := j.files[strings.ToLower(path)]; ok {
		return &noted{m, j, strings.ToLower(path)}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

var errCable = errors.New("cable out")

func (j *journal) note(o op) error {
	if j.count++; j.fails != nil && j.fails(j.count) {
		return errCable
	}
	j.ops = append(j.ops, o)
	return nil
}

// fork returns the files of a folder as a journal of their own.
func fork(files map[string]*disk.Memory) *journal {
	j := &journal{files: map[string]*disk.Memory{}}
	for path, m := range files {
		j.files[path] = m.Fork()
	}
	return j
}

// apply makes a change to the files.
func (o op) apply(files map[string]*disk.Memory) {
	m := files[o.path]
	switch o.kind {
	case "write":
		if end := o.off + int64(len(o.data)); end > m.Size() {
			m.Resize(end)
		}
		m.WriteAt(o.data, o.off)
	case "resize":
		m.Resize(o.off)
	case "discard":
		m.Discard(o.off, min(o.n, max(m.Size()-o.off, 0)))
	}
}

// noted is a file of a journal.
type noted struct {
	*disk.Memory
	j    *journal
	path string
}

func (f *noted) WriteAt(p []byte, off int64) (int, error) {
	if err := f.j.note(op{f.path, "write", off, 0, bytes.Clone(p)}); err != nil {
		return 0, err
	}
	return f.Memory.WriteAt(p, off)
}

func (f *noted) Resize(size int64) error {
	if err := f.j.note(op{f.path, "resize", size, 0, nil}); err != nil {
		return err
	}
	return f.Memory.Resize(size)
}

func (f *noted) Discard(off, n int64) error {
	if err := f.j.note(op{f.path, "discard", off, n, nil}); err != nil {
		return err
	}
	return f.Memory.Discard(off, n)
}

func (f *noted) Sync() error { return f.j.note(op{f.path, "sync", 0, 0, nil}) }

// formats are those whose chains are merged.
var formats = []image.Format{image.VHD, image.VHDX}

// recorded is chain3 of a format under a journal.
func recorded(t rapid.TB, format image.Format) (*journal, []byte) {
	chains := map[image.Format]func(rapid.TB) (*folder, []byte){image.VHD: chain3, image.VHDX: chain3X}
	d, want := chains[format](t)
	files := map[string]*disk.Memory{}
	for path, f := range d.files {
		files[path] = f.(*disk.Memory)
	}
	return fork(files), want
}

func openJournal(t rapid.TB, j *journal) *image.Chain {
	t.Helper()
	c, err := image.OpenChain(leaf, j, image.ChainOptions{Write: true, Repair: true, Check: image.CheckStrictly})
	if err != nil {
		t.Fatalf("the chain does not open: %v", err)
	}
	return c
}

// finish takes steps to the end.
func finish(t rapid.TB, m *image.Merge, step int64) {
	t.Helper()
	for range 10000 {
		done, err := m.Step(step)
		if err != nil {
			t.Fatal(err)
		}
		if done {
			if !m.Done() {
				t.Fatal("the last step says that it is done, Done does not")
			}
			return
		}
	}
	t.Fatal("the merge comes to no end")
}

// Merged from any place, in steps of any size, the disk is the same, and so is
// the chain that opens afterwards, a link shorter.
func TestMerge(t *testing.T) {
	for i := range 2 * len(formats) {
		format, at := formats[i/2], i%2
		for _, step := range []int64{1, 512, 3000, 1 << 30} {
			t.Run(fmt.Sprintf("%v %d by %d", format, at, step), func(t *testing.T) {
				j, want := recorded(t, format)
				c := openJournal(t, j)
				m, err := image.NewMerge(c, at)
				if err != nil {
					t.Fatal(err)
				}
				finish(t, m, step)
				same(t, "merge", content(t, m), want)
				same(t, "chain", content(t, m.Chain()), want)
				if n := len(m.Chain().Links()); n != 2 {
					t.Errorf("%d links", n)
				}
				path := leaf
				if at == 0 {
					path = `C:\vm\snap\one.avhd`
				}
				delete(j.files, map[int]string{0: strings.ToLower(leaf), 1: `c:\vm\snap\one.avhd`}[at])
				again, err := image.OpenChain(path, j, image.ChainOptions{Check: image.CheckStrictly})
				if err != nil {
					t.Fatal(err)
				}
				same(t, "chain opened again", content(t, again), want)
				if n := len(again.Links()); n != 2 {
					t.Errorf("%d links on opening again", n)
				}
			})
		}
	}
}

// Merged one by one from the leaf, or from the base, what is left is the disk.
func TestMergeAll(t *testing.T) {
	for i := range 2 * len(formats) {
		format, from := formats[i/2], i%2
		j, want := recorded(t, format)
		c := openJournal(t, j)
		for len(c.Links()) > 1 {
			m := must(image.NewMerge(c, min(from, len(c.Links())-2)))
			finish(t, m, 4096)
			c = m.Chain()
		}
		same(t, "disk", content(t, c), want)
		base := must(image.OpenFile(j.files[`c:\vm\base.vhd`]))
		same(t, "base", content(t, base), want)
		if err := base.Check(); err != nil {
			t.Error(err)
		}
	}
}

// While a merge goes on the disk is read and written like an array of bytes,
// and what the files hold opens as that disk at any time.
func TestMergeLive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j, model := recorded(t, rapid.SampledFrom(formats).Draw(t, "format"))
		at := rapid.IntRange(0, 1).Draw(t, "at")
		m := must(image.NewMerge(openJournal(t, j), at))
		seed := byte(100)
		for !m.Done() {
			off := rapid.Int64Range(0, size-1).Draw(t, "off")
			n := rapid.Int64Range(0, min(size-off, 9000)).Draw(t, "n")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				seed++
				copy(model[off:], pattern(seed, int(n)))
				must(m.WriteAt(pattern(seed, int(n)), off))
			case 1:
				clear(model[off : off+n])
				if err := m.Discard(off, n); err != nil {
					t.Fatal(err)
				}
			default:
				if _, err := m.Step(rapid.Int64Range(1, 8192).Draw(t, "by")); err != nil {
					t.Fatal(err)
				}
			}
			same(t, "disk", content(t, m), model)
			if !m.Done() {
				same(t, "files", content(t, openJournal(t, fork(j.files))), model)
			}
		}
		c := m.Chain()
		must(c.WriteAt([]byte{1}, 7))
		model[7] = 1
		same(t, "chain", content(t, c), model)
		checkExtents(t, m, model)
	})
}

func checkExtents(t rapid.TB, s disk.Extenter, model []byte) {
	rest := bytes.Clone(model)
	for e := range s.Extents(0, size) {
		clear(rest[e.Off:e.End()])
	}
	if !bytes.Equal(rest, make([]byte, len(rest))) {
		t.Fatalf("the extents leave something out")
	}
}

// The power goes at any point of a merge. Between two syncs of a file it may
// have any of the changes and have lost the others. The chain opens and is the
// same disk, and can be merged again.
func TestMergeCut(t *testing.T) {
	for i := range 2 * len(formats) {
		format, at := formats[i/2], i%2
		t.Run(fmt.Sprintf("%v %d", format, at), func(t *testing.T) {
			j, want := recorded(t, format)
			start := fork(j.files)
			m := must(image.NewMerge(openJournal(t, j), at))
			finish(t, m, 2048)
			t.Logf("%d changes", len(j.ops))
			states := 0
			cutEverywhere(start, j.ops, func(what string, files map[string]*disk.Memory) {
				states++
				c := openJournal(t, fork(files))
				same(t, "kept"+what, content(t, c), want)
				if len(c.Links()) == 2 || states%7 != 0 {
					return
				}
				again := must(image.NewMerge(c, at))
				finish(t, again, 1<<20)
				same(t, "merged again, kept"+what, content(t, again), want)
			})
			if states < len(j.ops) {
				t.Errorf("%d states for %d changes", states, len(j.ops))
			}
		})
	}
}

// cutEverywhere shows what the files may be when the power goes between any two
// changes. A change is safe once its file was synced; of the others, all of the
// first are there, or all but one.
func cutEverywhere(start *journal, ops []op, check func(what string, files map[string]*disk.Memory)) {
	for k := range len(ops) + 1 {
		loose := unsafe(ops[:k])
		for _, lost := range append([]int{-1}, loose...) {
			files := fork(start.files).files
			for i, o := range ops[:k] {
				if i != lost {
					o.apply(files)
				}
			}
			check(fmt.Sprintf(" the first %d without %d", k, lost), files)
		}
		files := fork(start.files).files // nothing that was not synced
		for i, o := range ops[:k] {
			if !contains(loose, i) {
				o.apply(files)
			}
		}
		check(fmt.Sprintf(" what was safe of the first %d", k), files)
	}
}

// unsafe returns which changes no sync has followed.
func unsafe(ops []op) (loose []int) {
	for i, o := range ops {
		if o.kind == "sync" {
			kept := loose[:0]
			for _, k := range loose {
				if ops[k].path != o.path {
					kept = append(kept, k)
				}
			}
			loose = kept
		} else {
			loose = append(loose, i)
		}
	}
	return loose
}

func contains(all []int, i int) bool {
	for _, k := range all {
		if k == i {
			return true
		}
	}
	return false
}

// Every change to a file fails once. The step reports it, the disk is the same,
// and when the cable is in again the merge comes to its end. A write that was
// refused has left the old bytes or the new ones, and they stay.
func TestMergeFaults(t *testing.T) {
	for i := range 2 * len(formats) {
		format, at := formats[i/2], i%2
		clean, _ := recorded(t, format)
		liveMerge(t, clean, at)
		total := clean.count
		for k := 1; k <= total; k++ {
			j, want := recorded(t, format)
			j.fails = func(n int) bool { return n == k }
			copy(want[20000:], pattern(66, 6000))
			got, after := liveMerge(t, j, at)
			what := fmt.Sprintf("merge of %v %d with fault %d", format, at, k)
			same(t, what+", before the write", after[:20000], want[:20000])
			same(t, what+", behind the write", after[26000:], want[26000:])
			same(t, what, got, after)
			same(t, what+", files", contentOfRest(t, j, at), after)
		}
	}
}

// liveMerge merges with a write in the middle, trying failed steps again. It
// returns the disk at the end and after the write.
func liveMerge(t *testing.T, j *journal, at int) (got, after []byte) {
	c := openJournal(t, j)
	m, err := image.NewMerge(c, at)
	if err != nil {
		wantCode(t, err, errCable)
		m = must(image.NewMerge(c, at))
	}
	for i := 0; !m.Done(); i++ {
		if _, err := m.Step(3000); err != nil {
			wantCode(t, err, errCable)
		}
		if i == 3 {
			if _, err := m.WriteAt(pattern(66, 6000), 20000); err != nil && !errors.Is(err, errCable) {
				t.Fatal(err)
			}
			after = content(t, m)
		}
		if i > 1000 {
			t.Fatal("the merge comes to no end")
		}
	}
	return content(t, m), after
}

// contentOfRest opens the chain that a merge leaves.
func contentOfRest(t *testing.T, j *journal, at int) []byte {
	path := leaf
	if at == 0 {
		path = `C:\vm\snap\one.avhd`
	}
	c, err := image.OpenChain(path, fork(j.files), image.ChainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return content(t, c)
}

func TestMergeRefuses(t *testing.T) {
	j, _ := recorded(t, image.VHD)
	c := openJournal(t, j)
	for _, at := range []int{-1, 2, 3} {
		_, err := image.NewMerge(c, at)
		wantCode(t, err, image.ErrType)
	}
	r := image.ResolverFunc(func(path string) (disk.Source, error) {
		src, err := j.OpenImage(path)
		if err != nil {
			return nil, err
		}
		return disk.ReadOnly(src), nil
	})
	_, err := image.NewMerge(must(image.OpenChain(leaf, r, image.ChainOptions{})), 0)
	wantCode(t, err, disk.ErrReadOnly)
}

// Ranges that a child does not hold take no steps.
func TestMergeIsSparse(t *testing.T) {
	d := newFolder()
	p := must(vhd.Create(d.create(`C:\p.vhd`), vhd.Options{Size: 1 << 40, ID: [16]byte{1}}))
	c := must(vhd.Create(d.create(`C:\c.vhd`), vhd.Options{ID: [16]byte{2}, Parent: vhd.Parent{Image: p, Path: `C:\p.vhd`}}))
	for off := int64(0); off < 1<<40; off += 1 << 37 {
		must(c.WriteAt(pattern(1, 4096), off))
	}
	m := must(image.NewMerge(must(image.OpenChain(`C:\c.vhd`, d, image.ChainOptions{})), 0))
	steps := 1
	for done := false; !done; steps++ {
		done = must(m.Step(4096))
	}
	if steps > 12 {
		t.Errorf("%d steps for 8 pages", steps)
	}
	if done, total := m.Progress(); done != total || total != 1<<40 {
		t.Errorf("Progress = %d, %d", done, total)
	}
}

// Blocks that a VHDX knows to be zero hide the parent's, and so they do when
// they are merged. A child that was merged knows its parent until that is
// written, and no longer.
func TestMergeVHDXBlocks(t *testing.T) {
	const size = 5<<20 + 512
	d := newFolder()
	base := must(vhdx.Create(d.create(`C:\b.vhdx`), vhdx.Options{Size: size, BlockSize: 1 << 20, ID: [16]byte{1}}))
	must(base.WriteAt(pattern(1, size-1<<20), 1<<20))
	must(0, base.Close())
	child := linkX(d, base, `C:\b.vhdx`, `C:\c.avhdx`, 2)
	must(0, child.Discard(2<<20, 2<<20+5000))
	must(child.WriteAt(pattern(3, 3000), 0))
	must(0, child.Close())
	want := content(t, child)
	m := must(image.NewMerge(must(image.OpenChain(`C:\c.avhdx`, d, image.ChainOptions{})), 0))
	finish(t, m, 70000)
	c := m.Chain()
	same(t, "chain", content(t, c), want)
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	same(t, "the child", content(t, must(image.OpenChain(`C:\c.avhdx`, d, image.ChainOptions{}))), want)
	must(c.WriteAt([]byte{1}, 0))
	_, err := image.OpenChain(`C:\c.avhdx`, d, image.ChainOptions{})
	wantCode(t, err, image.ErrParentID)
}

// A VHDX that is larger than its parent makes that as large as itself.
func TestMergeLargerVHDX(t *testing.T) {
	d := newFolder()
	base := must(vhdx.Create(d.create(`C:\b.vhdx`), vhdx.Options{Size: 2<<20 + 512, BlockSize: 1 << 20, ID: [16]byte{1}}))
	must(base.WriteAt(pattern(1, 1<<20), 1<<20))
	must(0, base.Close())
	child := linkX(d, base, `C:\b.vhdx`, `C:\c.avhdx`, 2)
	must(0, child.Resize(5<<20))
	must(child.WriteAt(pattern(3, 3000), 4<<20))
	must(0, child.Close())
	want := content(t, child)
	m := must(image.NewMerge(must(image.OpenChain(`C:\c.avhdx`, d, image.ChainOptions{})), 0))
	same(t, "the child", content(t, must(image.OpenChain(`C:\c.avhdx`, d, image.ChainOptions{}))), want)
	finish(t, m, 70000)
	same(t, "chain", content(t, m.Chain()), want)
	must(0, image.Resize(m.Chain().Links()[0].Image, 6<<20))
	same(t, "base", content(t, must(image.OpenFile(d.files[`c:\b.vhdx`]))), append(want, make([]byte, 1<<20)...))
}

// A merge whose child cannot be read goes no further, and on when it can.
func TestMergeOfAnUnreadableChild(t *testing.T) {
	d, want := chain3X(t)
	f := disk.WithFaults(d.files[strings.ToLower(leaf)], disk.FaultPlan{})
	d.files[strings.ToLower(leaf)] = f
	m := must(image.NewMerge(must(image.OpenChain(leaf, d, image.ChainOptions{Write: true})), 0))
	f.Inject(must(disk.ParseFault("read at=3145728+1048576 from=1 err=0x80070017")))
	done, err := m.Step(1 << 30)
	var fault *disk.FaultError
	if done || !errors.As(err, &fault) {
		t.Fatalf("done is %v, %v", done, err)
	}
	f.Heal()
	finish(t, m, 4096)
	same(t, "the parent", content(t, must(image.OpenChain(`C:\vm\snap\one.avhd`, d, image.ChainOptions{}))), want)
}

// uneven is a chain of three VHDX of the given sizes, from the base up, each
// full of other bytes, and the disk that its leaf is.
func uneven(t testing.TB, sizes [3]int64) (*journal, []byte) {
	d := newFolder()
	paths := [3]string{`C:\vm\base.vhd`, `C:\vm\snap\one.avhd`, leaf}
	var below *vhdx.Image
	var want []byte
	for i, path := range paths {
		o := vhdx.Options{Size: sizes[i], BlockSize: 1 << 20, ID: [16]byte{byte(i + 1)}, PhysicalSectorSize: 4096}
		if i > 0 {
			o.Parent = vhdx.Parent{Image: below, Path: paths[i-1], Child: path}
			o.PhysicalSectorSize = 512
		}
		im := must(vhdx.Create(d.create(path), o))
		if i == 0 {
			must(im.WriteAt(pattern(1, int(sizes[0])), 0))
		}
		must(im.WriteAt(pattern(byte(i+2), 4096), min(mib-2048, sizes[i]/2)))
		must(im.WriteAt(pattern(byte(i+2), 3000), sizes[i]-3000))
		want = content(t, im)
		must(0, im.Close())
		below = im
	}
	files := map[string]*disk.Memory{}
	for path, f := range d.files {
		files[path] = f.(*disk.Memory)
	}
	return fork(files), want
}

const mib = 1 << 20

var unevenSizes = [][3]int64{
	{5*mib + 512, 2*mib + 1024, 6 * mib}, // the parent grows, and hides the base
	{2*mib + 512, 4 * mib, 3*mib + 512},
	{5 * mib, 4*mib + 512, 2 * mib}, // each smaller than the one below
}

// Images smaller or larger than their parents are merged into disks of their
// own size, at any place of the chain, and hand on what goes with the disk.
func TestMergeOfUnevenVHDX(t *testing.T) {
	for _, sizes := range unevenSizes {
		for at := range 2 {
			j, want := uneven(t, sizes)
			m := must(image.NewMerge(openJournal(t, j), at))
			for step := 0; !m.Done(); step++ {
				must(m.Step(700_000))
				if off := int64(step) * 400_000; off+700 < m.Size() {
					must(m.WriteAt(pattern(byte(step), 700), off))
					copy(want[off:], pattern(byte(step), 700))
				}
				same(t, "merge", content(t, m), want)
			}
			what := fmt.Sprintf("%d merged at %d", sizes, at)
			same(t, what, content(t, m.Chain()), want)
			same(t, what+", files", contentOfRest(t, j, at), want)
			into := must(image.OpenFile(j.files[[]string{`c:\vm\snap\one.avhd`, `c:\vm\base.vhd`}[at]])).(*vhdx.Image)
			_, physical := into.SectorSize()
			if into.Size() != sizes[2-at] || into.ID() != [16]byte{byte(3 - at)} || physical != 512 {
				t.Errorf("%s: the parent has %d bytes, identifier %v, sectors of %d", what, into.Size(), into.ID(), physical)
			}
			must(0, into.Check())
		}
	}
}

// The power goes at any point of such a merge.
func TestMergeCutOfUnevenVHDX(t *testing.T) {
	for at, sizes := range [][3]int64{{mib + 512, 700 << 10, 400 << 10}, {mib + 512, 300 << 10, mib + 1024}} {
		j, want := uneven(t, sizes)
		start := fork(j.files)
		finish(t, must(image.NewMerge(openJournal(t, j), at)), 4*mib)
		cutEverywhere(start, j.ops, func(what string, files map[string]*disk.Memory) {
			same(t, "kept"+what, content(t, openJournal(t, fork(files))), want)
		})
	}
}
