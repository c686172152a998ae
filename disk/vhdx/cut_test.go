package vhdx_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// A journal is a file that remembers, in order, every change made to it and
// where it was synced.
type journal struct {
	*disk.Memory
	ops []op
}

type op struct {
	kind string // "write", "resize", "discard" or "sync"
	off  int64  // or the new size
	n    int64
	data []byte
}

func newJournal(m *disk.Memory) *journal { return &journal{Memory: m.Fork()} }

func (j *journal) WriteAt(p []byte, off int64) (int, error) {
	j.ops = append(j.ops, op{"write", off, int64(len(p)), bytes.Clone(p)})
	return j.Memory.WriteAt(p, off)
}

func (j *journal) Resize(size int64) error {
	j.ops = append(j.ops, op{kind: "resize", off: size})
	return j.Memory.Resize(size)
}

func (j *journal) Discard(off, n int64) error {
	j.ops = append(j.ops, op{kind: "discard", off: off, n: n})
	return j.Memory.Discard(off, n)
}

func (j *journal) Sync() error {
	j.ops = append(j.ops, op{kind: "sync"})
	return nil
}

// sectors returns how many sectors of 512 bytes a change touches.
func (o op) sectors() int64 {
	if o.n == 0 {
		return 0
	}
	return (o.off+o.n-1)/512 - o.off/512 + 1
}

// apply makes the change to f, or only some of its sectors; a write behind the
// end makes the file longer.
func (o op) apply(f *disk.Memory, sector func(i int64) bool) {
	if o.kind == "resize" {
		must(0, f.Resize(o.off))
	}
	for i := range o.sectors() {
		if sector != nil && !sector(i) {
			continue
		}
		from := max(o.off, (o.off/512+i)*512)
		to := min(o.off+o.n, (o.off/512+i+1)*512)
		if sector == nil {
			from, to = o.off, o.off+o.n
		}
		if to > f.Size() {
			must(0, f.Resize(to))
		}
		if o.kind == "write" {
			must(f.WriteAt(o.data[from-o.off:to-o.off], from))
		} else {
			must(0, f.Discard(from, to-from))
		}
		if sector == nil {
			return
		}
	}
}

// A tape is a session on an image with everything that could be found after the
// power goes.
type tape struct {
	t     rapid.TB
	start *disk.Memory // the file before the session
	j     *journal
	im    *vhdx.Image
	below *vhdx.Image
	model *disk.Memory
	calls []call

	one []byte // to compare with
	buf [64 << 10]byte
}

// A call is a moment of the session between two calls.
type call struct {
	ops   int          // made to the file until then
	model *disk.Memory // what the disk was
	safe  bool         // the call was Sync
	link  vhdx.Link    // what the image said of its parent
}

func newTape(t rapid.TB, file *disk.Memory, below *vhdx.Image) *tape {
	p := &tape{t: t, start: file.Freeze(), j: newJournal(file), below: below}
	old := must(vhdx.Open(p.start, p.start.Size()))
	p.join(old)
	p.model = disk.NewMemory(old.Size())
	must(0, disk.Copy(p.model, old))
	p.im = old
	p.mark(true)
	im, err := vhdx.OpenFile(p.j)
	if err != nil {
		t.Fatal(err)
	}
	p.im = im
	p.join(im)
	return p
}

func (p *tape) join(im *vhdx.Image) {
	if im.Type() == vhdx.Differencing {
		must(0, im.SetParent(p.below, vhdx.CheckID))
	}
}

func (p *tape) mark(safe bool) {
	l, _ := p.im.Link()
	p.calls = append(p.calls, call{len(p.ops()), p.model.Freeze(), safe, l})
}

func (p *tape) ops() []op { return p.j.ops }

// The calls of a session.
func (p *tape) write(off int64, b []byte) {
	must(p.im.WriteAt(b, off))
	must(p.model.WriteAt(b, off))
	p.mark(false)
}

func (p *tape) discard(off, n int64) {
	must(0, p.im.Discard(off, n))
	must(0, p.model.Discard(off, n))
	p.mark(false)
}

func (p *tape) sync() {
	must(0, p.im.Sync())
	p.mark(true)
}

// cutEverywhere lets the power go before, between and within all changes of the
// session, and loses any of those that were not synced. random says how many
// choices of lost sectors are tried at each place. In short runs it is a quarter of the
// changes.
func (p *tape) cutEverywhere(random int) (cuts int) {
	r := rand.New(rand.NewPCG(1, 2))
	base := p.start.Fork() // what is safe
	var loose []op         // what is not
	for k, o := range p.ops() {
		if o.kind == "sync" {
			for _, l := range loose {
				l.apply(base, nil)
			}
			loose = nil
			continue
		}
		if testing.Short() && k%4 != 0 {
			loose = append(loose, o)
			continue
		}
		all := base.Fork()
		for _, l := range loose {
			l.apply(all, nil)
		}
		for n := range tornAt(o.sectors()) { // between any two sectors, in order
			f := all.Fork()
			o.apply(f, func(i int64) bool { return i < n })
			if n == 0 {
				p.judge(f, k, "between changes", true)
			} else {
				p.judge(f, k+1, fmt.Sprintf("only the first %d sectors of it", n), false)
			}
			cuts++
		}
		loose = append(loose, o)
		for range random {
			f, chance := base.Fork(), r.Float64()
			for _, l := range loose {
				if l.kind != "resize" || r.Float64() < chance {
					l.apply(f, func(int64) bool { return r.Float64() < chance })
				}
			}
			p.judge(f, k+1, "some sectors", false)
			cuts++
		}
		if k+1 < len(p.ops()) && p.ops()[k+1].kind != "sync" {
			continue
		}
		for lost := range loose { // one is lost, or it alone is not
			f, g := base.Fork(), base.Fork()
			for i, l := range loose {
				if i != lost {
					l.apply(f, nil)
				} else {
					l.apply(g, nil)
				}
			}
			p.judge(f, k+1, fmt.Sprintf("all but change %d", lost), false)
			p.judge(g, k+1, fmt.Sprintf("only change %d", lost), false)
			cuts += 2
		}
	}
	return cuts
}

// tornAt yields after how many sectors of n a change is torn: everywhere, but
// in those of more than 128 KiB.
func tornAt(n int64) func(yield func(int64) bool) {
	step := int64(1)
	if n > 256 {
		step = n / 16
	}
	return func(yield func(int64) bool) {
		for i := int64(0); i < max(n, 1); i += step {
			if !yield(i) {
				return
			}
		}
	}
}

// judge opens what the power left of a file. Each byte has to be what it was
// when the last Sync returned, or what it became later. If further is set the
// file is opened for writing too, and written.
func (p *tape) judge(f *disk.Memory, ops int, what string, further bool) {
	p.t.Helper()
	first, last := 0, len(p.calls)-1
	for i, c := range p.calls {
		if c.safe && c.ops <= ops {
			first = i
		}
	}
	for last > first && p.calls[last-1].ops >= ops {
		last--
	}
	where := fmt.Sprintf("cut at change %d of %d, %s", ops, len(p.ops()), what)
	im, err := vhdx.Open(f, f.Size())
	if err != nil {
		p.t.Fatalf("%s: %v", where, err)
	}
	p.join(im)
	p.oldOrNew(where, im, p.calls[first:last+1])
	if !further {
		return
	}
	im2, err := vhdx.OpenFile(f)
	if err != nil {
		p.t.Fatalf("%s: OpenFile: %v", where, err)
	}
	p.join(im2)
	p.oldOrNew(where+", for writing", im2, p.calls[first:last+1])
	want := disk.NewMemory(im2.Size())
	must(0, disk.Copy(want, im2))
	for _, off := range []int64{im2.Size() - 700, 0} {
		must(im2.WriteAt(pattern(222, 700), off))
		must(want.WriteAt(pattern(222, 700), off))
	}
	must(0, im2.Close())
	again := must(vhdx.Open(f, f.Size()))
	p.join(again)
	if off, err := disk.FirstDifference(again, want); off >= 0 || err != nil {
		p.t.Fatalf("%s, written further: differs at %d, %v", where, off, err)
	}
	if err := again.Check(); err != nil || again.Notes() != nil {
		p.t.Fatalf("%s, written further: Check: %v, notes %q", where, err, again.Notes())
	}
}

// oldOrNew demands of each byte that one of the models has it.
func (p *tape) oldOrNew(where string, im *vhdx.Image, calls []call) {
	p.t.Helper()
	if l, _ := im.Link(); !slices.ContainsFunc(calls, func(c call) bool { return reflect.DeepEqual(c.link, l) }) {
		p.t.Fatalf("%s: the parent is named %+v, which it never was since the last Sync", where, l)
	}
	var models []*disk.Memory
	for _, c := range calls {
		if c.model.Size() == im.Size() {
			models = append(models, c.model)
		}
	}
	if len(models) == 0 {
		p.t.Fatalf("%s: the disk has %d bytes, which it never had since the last Sync", where, im.Size())
	}
	if off, err := disk.FirstDifference(im, models[0]); off < 0 && err == nil {
		return
	}
	diff, _ := disk.Diff(im, models[len(models)-1])
	for e := range diff {
		for at := e.Off &^ 511; at < e.End(); at += int64(len(p.buf)) {
			g := p.buf[:min(int64(len(p.buf)), im.Size()-at)]
			must(im.ReadAt(g, at))
			if i := p.strange(g, at, models); i >= 0 {
				p.t.Fatalf("%s: byte %d is %#x, which it never was since the last Sync", where, at+i, g[i])
			}
		}
	}
}

// strange returns the first byte of g, the disk at at, that no model has, or -1.
func (p *tape) strange(g []byte, at int64, models []*disk.Memory) int64 {
	var sectors [][]byte
	for i := 0; i < len(g); i += 512 {
		s := g[i:min(i+512, len(g))]
		sectors = sectors[:0]
		known := false
		for k := len(models) - 1; k >= 0 && !known; k-- {
			p.one = slices.Grow(p.one[:0], len(models)*512)[:len(models)*512]
			m := p.one[k*512:][:len(s)]
			must(models[k].ReadAt(m, at+int64(i)))
			sectors = append(sectors, m)
			known = bytes.Equal(m, s)
		}
		for j := range s {
			if known {
				break
			}
			if !slices.ContainsFunc(sectors, func(m []byte) bool { return m[j] == s[j] }) {
				return int64(i + j)
			}
		}
	}
	return -1
}

// cutSession is what is done in the tests with a script, on five blocks.
func cutSession(p *tape, block int64) {
	p.write(block+700, pattern(1, 3000))         // a new block
	p.im.SetSession(vhdx.GUID{1})                // a session on the heels of another
	p.write(block+9000, pattern(2, 1000))        // in place
	p.sync()                                     //
	p.write(3*block-700, pattern(3, 1400))       // two new blocks
	p.write(block+700, pattern(4, 2000))         // over what is safe
	p.discard(2*block, block)                    // a block goes
	p.write(4*block+5, pattern(5, 600))          // its place is free, and taken
	p.sync()                                     //
	p.discard(block, 4096)                       // a part of a block
	p.write(block, make([]byte, block))          // zeros fill a block
	p.write(2*block, pattern(6, 512))            // the freed one again
	p.write(5*block, pattern(7, 512))            // the last, short block
	p.write(3*block+512, pattern(8, int(block))) // over the end of one
}

// fillEdges writes a parent where its children are going to be written.
func fillEdges(im *vhdx.Image) {
	for off := int64(mib); off < im.Size(); off += mib {
		must(im.WriteAt(pattern(byte(200+off/mib), int(min(7000, im.Size()-off+6000))), off-6000))
		if off+20000 <= im.Size() {
			must(im.WriteAt(pattern(byte(100+off/mib), 12000), off+8000))
		}
	}
	must(0, im.Close())
}

func cutFiles(t rapid.TB) map[string]struct {
	file  *disk.Memory
	below *vhdx.Image
	block int64
} {
	type c = struct {
		file  *disk.Memory
		below *vhdx.Image
		block int64
	}
	file := func(o vhdx.Options) *disk.Memory {
		f := disk.NewMemory(0)
		must(vhdx.Create(f, o))
		return f
	}
	base := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 5*mib + 1024, BlockSize: mib}))
	fillEdges(base)
	base4k := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 5*mib + 8192, SectorSize: 4096}))
	fillEdges(base4k)
	return map[string]c{
		"dynamic": {file(vhdx.Options{Size: 5*mib + 1024, BlockSize: mib}), nil, mib},
		"fixed":   {file(vhdx.Options{Size: 5*mib + 1024, BlockSize: mib, Type: vhdx.Fixed}), nil, mib},
		"child": {file(vhdx.Options{BlockSize: mib, Parent: vhdx.Parent{Image: base, Path: `.\b.vhdx`}}),
			base, mib},
		"child with sectors of 4096": {file(vhdx.Options{BlockSize: mib, Parent: vhdx.Parent{Image: base4k, Path: `.\b.vhdx`}}),
			base4k, mib},
	}
}

// The power goes anywhere in a session. Every change of the file is torn between
// any two of its sectors; of those that were not synced any are lost, whole or
// in part. What opens afterwards has all that was there when Sync returned, and
// of what was written later, in each byte, the old value or a new one.
func TestCut(t *testing.T) {
	for name, c := range cutFiles(t) {
		for _, lazy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, write back %v", name, lazy), func(t *testing.T) {
				p := newTape(t, c.file, c.below)
				p.im.SetWriteBack(lazy)
				cutSession(p, c.block)
				p.sync()
				p.mark(true)
				if cuts := p.cutEverywhere(1); cuts < 120 && !testing.Short() {
					t.Errorf("only %d cuts", cuts)
				}
			})
		}
	}
}

// The power goes again and again while a log is replayed.
func TestCutReplay(t *testing.T) {
	for name, c := range cutFiles(t) {
		if name == "fixed" {
			continue // has nothing to log
		}
		t.Run(name, func(t *testing.T) {
			p := newTape(t, c.file, c.below)
			cutSession(p, c.block)
			dirty := 0
			f := p.start.Fork()
			for _, o := range p.ops() {
				o.apply(f, nil)
				if o.kind != "write" || must(vhdx.Open(f, f.Size())).Notes() == nil {
					continue
				}
				if dirty++; dirty%3 != 1 {
					continue
				}
				q := newTape(t, f, c.below)
				if must(vhdx.Open(q.j, q.j.Size())).Notes() != nil || len(q.ops()) == 0 {
					t.Fatal("OpenFile left the log")
				}
				q.mark(true)
				q.cutEverywhere(2)
			}
			if dirty < 5 {
				t.Errorf("%d states of the file had a log to replay", dirty)
			}
		})
	}
}

// Random sessions, cut at random.
func TestCutRandom(t *testing.T) {
	files := cutFiles(t)
	few(t, 50, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"dynamic", "fixed", "child", "child with sectors of 4096"}).Draw(t, "file")
		c := files[name]
		p := newTape(t, c.file, c.below)
		p.im.SetWriteBack(rapid.Bool().Draw(t, "write back"))
		for range rapid.IntRange(1, 8).Draw(t, "calls") {
			off := rapid.Int64Range(0, 5).Draw(t, "block")*mib + rapid.Int64Range(-5000, 5000).Draw(t, "by")
			off = max(off, 0)
			n := min(rapid.Int64Range(1, 9000).Draw(t, "n"), p.model.Size()-off)
			if rapid.IntRange(0, 3).Draw(t, "whole") == 0 {
				off = off / mib * mib
				n = min(mib, p.model.Size()-off)
			}
			if n <= 0 {
				continue
			}
			switch rapid.IntRange(0, 4).Draw(t, "call") {
			case 0:
				p.discard(off, n)
			case 1:
				p.sync()
			case 2:
				p.write(off, make([]byte, n))
			default:
				p.write(off, pattern(byte(rapid.IntRange(1, 100).Draw(t, "seed")), int(n)))
			}
		}
		p.mark(false)
		p.cutSome(t)
	})
}

// cutSome tries some of the cuts.
func (p *tape) cutSome(t *rapid.T) {
	if len(p.ops()) == 0 {
		return
	}
	for range 10 {
		k := rapid.IntRange(0, len(p.ops())-1).Draw(t, "cut")
		safe := k
		for safe > 0 && p.ops()[safe-1].kind != "sync" {
			safe--
		}
		f := p.start.Fork()
		for _, o := range p.ops()[:safe] {
			o.apply(f, nil)
		}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "lost"), 1))
		chance := r.Float64()
		for _, o := range p.ops()[safe:k] {
			o.apply(f, func(int64) bool { return r.Float64() < chance })
		}
		p.judge(f, k, "some sectors", true)
	}
}
