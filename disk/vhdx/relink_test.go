package vhdx_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// family is a child over a parent, with blocks of its own and of the parent's,
// and the files of both.
func family(t testing.TB) (child, parent *vhdx.Image, childFile, parentFile *disk.Memory) {
	childFile, parentFile = disk.NewMemory(0), disk.NewMemory(0)
	parent = must(vhdx.Create(parentFile, vhdx.Options{Size: 5*mib + 1024, BlockSize: mib, ID: vhdx.GUID{1}}))
	must(parent.WriteAt(pattern(1, 9000), mib-3000))
	must(0, parent.Close())
	child = must(vhdx.Create(childFile, vhdx.Options{BlockSize: mib, DataWriteGUID: vhdx.GUID{2},
		Parent: vhdx.Parent{Image: parent, Path: `C:\vm\p.vhdx`, Child: `C:\vm\snap\c.avhdx`}}))
	must(child.WriteAt(pattern(2, 3000), mib+1000))
	must(0, child.Sync())
	return child, parent, childFile, parentFile
}

func reopened(f *disk.Memory) *vhdx.Image { return must(vhdx.Open(f, f.Size())) }

// A child names its new parent, and not the old one, also in the file. Its own
// identifier stays, for its children's sake; that of its file changes.
func TestRelink(t *testing.T) {
	child, parent, file, parentFile := family(t)
	want := content(t, child)
	other := must(vhdx.OpenFile(parentFile.Fork()))
	must(other.WriteAt(pattern(1, 512), mib-3000)) // the same disk with another identifier
	must(0, other.Close())
	for _, path := range []string{`C:\vm\` + strings.Repeat("long\\", 900) + "o.vhdx", `D:\o.vhdx`, `.\o.vhdx`} {
		im := must(vhdx.OpenFile(file))
		before := im.Header()
		must(0, im.SetParent(parentOf(im, parent, other), vhdx.CheckID))
		if err := im.Relink(vhdx.Parent{Image: other, Path: path}); err != nil {
			t.Fatal(err)
		}
		if im.Parent() != other {
			t.Error("Parent is the old one")
		}
		same(t, "disk", content(t, im), want)
		again := reopened(file)
		l, _ := again.Link()
		if mem, _ := im.Link(); !reflect.DeepEqual(l, mem) || l.Linkage != other.DataWriteGUID() || l.Linkage2 != (vhdx.GUID{}) {
			t.Errorf("link %+v, in memory %+v", l, mem)
		}
		if cs := l.Candidates(); len(cs) != 1 || !strings.HasSuffix(cs[0], path) {
			t.Errorf("paths %q", cs)
		}
		if !reflect.DeepEqual(again.Items(), im.Items()) {
			t.Errorf("items %v, in memory %v", again.Items(), im.Items())
		}
		if h := again.Header(); h.DataWriteGUID != before.DataWriteGUID || h.FileWriteGUID == before.FileWriteGUID {
			t.Errorf("identifiers were %v, are %v", before, h)
		}
		wantCode(t, again.SetParent(parent, vhdx.CheckID), vhdx.ErrParentID)
		must(0, again.SetParent(other, vhdx.CheckID))
		same(t, "disk opened again", content(t, again), want)
		if err := again.Check(); err != nil || again.Notes() != nil {
			t.Errorf("Check: %v, notes %q", err, again.Notes())
		}
	}
}

// parentOf returns which of two images a child names.
func parentOf(im, a, b *vhdx.Image) *vhdx.Image {
	if l, _ := im.Link(); l.Matches(a.DataWriteGUID()) {
		return a
	}
	return b
}

// What a locator holds beyond the known keys stays, and so does a snapshot's.
func TestSetLink(t *testing.T) {
	child, _, file, _ := family(t)
	was, _ := child.Link()
	snap := must(child.Snapshot()).(*vhdx.Image)
	l := was
	l.Linkage2, l.Relative, l.Others = vhdx.GUID{9}, `..\q.vhdx`, []vhdx.KeyValue{{Key: "mine", Value: "x"}}
	must(0, child.SetLink(l))
	if got, _ := reopened(file).Link(); !reflect.DeepEqual(got, l) {
		t.Errorf("link %+v, want %+v", got, l)
	}
	if got, _ := snap.Link(); !reflect.DeepEqual(got, was) {
		t.Errorf("the snapshot's link became %+v", got)
	}
	must(0, child.Relink(vhdx.Parent{Image: child.Parent(), Path: `.\p.vhdx`}))
	if got, _ := reopened(file).Link(); !reflect.DeepEqual(got.Others, l.Others) {
		t.Errorf("other keys %v, want %v", got.Others, l.Others)
	}
}

func TestRelinkRefuses(t *testing.T) {
	child, parent, file, parentFile := family(t)
	before := must(disk.Snapshot(file))
	l, _ := child.Link()
	wantCode(t, child.Relink(vhdx.Parent{Path: `.\p`}), vhdx.ErrParentNotFound)
	wantCode(t, child.Relink(vhdx.Parent{Image: parent}), vhdx.ErrParentNotFound)
	wantCode(t, child.Relink(vhdx.Parent{Image: child, Path: `.\p`}), vhdx.ErrChainCycle)
	wantCode(t, reopened(file).SetLink(l), disk.ErrReadOnly)
	wantCode(t, must(vhdx.OpenFile(parentFile)).SetLink(l), vhdx.ErrType)
	twice := l
	twice.Others = []vhdx.KeyValue{{Key: "relative_path", Value: "x"}}
	wantCode(t, child.SetLink(twice), vhdx.ErrMetadataRead)
	if off, err := disk.FirstDifference(before, file); off >= 0 || err != nil || child.Parent() != parent {
		t.Errorf("a refusal changed the file at %d, %v", off, err)
	}
	_, err := reopened(file).NextDataWriteGUID()
	wantCode(t, err, disk.ErrReadOnly)
	huge := l
	for i := range 60 {
		huge.Others = append(huge.Others, vhdx.KeyValue{Key: strings.Repeat("k", i+1), Value: strings.Repeat("v", 10000)})
	}
	wantCode(t, child.SetLink(huge), vhdx.ErrMetadataRead) // above 1 MiB
	huge.Others = huge.Others[:50]
	wantCode(t, child.SetLink(huge), vhdx.ErrLimit) // above what is left of the region
	must(child.WriteAt(pattern(5, 512), 0))
	if got, _ := reopened(file).Link(); !reflect.DeepEqual(got, l) {
		t.Errorf("link %+v after refusals, want %+v", got, l)
	}
}

// A parent takes on the identifier that it promised, once it is written, and no
// other way; a child that was told knows it before and after.
func TestNextDataWriteGUID(t *testing.T) {
	child, _, file, parentFile := family(t)
	parent := must(vhdx.OpenFile(parentFile))
	for round := range 3 { // each within one session of the parent's file
		now := parent.DataWriteGUID()
		next := must(parent.NextDataWriteGUID())
		if again := must(parent.NextDataWriteGUID()); again != next || next == now {
			t.Fatalf("promised %v and %v, is %v", next, again, now)
		}
		l, _ := child.Link()
		l.Linkage, l.Linkage2 = now, next
		must(0, child.SetLink(l))
		must(0, reopened(file).SetParent(reopened(parentFile), vhdx.CheckID))
		fork := must(parent.Clone()).(*vhdx.Image)
		must(fork.WriteAt(pattern(3, 512), 0))
		wantCode(t, reopened(file).SetParent(fork, vhdx.CheckID), vhdx.ErrParentID)
		must(parent.WriteAt(pattern(byte(10+round), 512), 4096))
		if got := reopened(parentFile).DataWriteGUID(); got != next {
			t.Fatalf("promised %v, became %v", next, got)
		}
		must(0, reopened(file).SetParent(reopened(parentFile), vhdx.CheckID))
	}
}

// The power goes anywhere while the link changes, between writes that wait or
// do not. What opens has the link of before or after, never a third, and the
// disk is as it is for writes alone.
func TestCutRelink(t *testing.T) {
	for _, lazy := range []bool{false, true} {
		child, parent, file, _ := family(t)
		p := newTape(t, file, parent)
		p.im.SetWriteBack(lazy)
		l, _ := child.Link()
		set := func(long int) {
			l.Linkage2 = vhdx.GUID{byte(long)}
			l.Relative = `.\` + strings.Repeat("x", long)
			must(0, p.im.SetLink(l))
			p.mark(true)
		}
		p.write(2*mib+700, pattern(3, 3000))
		set(20)
		p.write(3*mib-700, pattern(4, 1400))
		set(6000) // over several sectors
		p.discard(0, 2*mib)
		set(3)
		must(0, p.im.Relink(vhdx.Parent{Image: parent, Path: `C:\q.vhdx`}))
		p.mark(true)
		p.sync()
		if cuts := p.cutEverywhere(2); cuts < 200 && !testing.Short() {
			t.Errorf("only %d cuts", cuts)
		}
	}
}

// Each change of the file fails once. The link is the old one or the new one,
// in memory and in the file, and trying again makes it the new one.
func TestFaultyRelink(t *testing.T) {
	for k, fired := 1, true; fired; k++ {
		_, parent, file, _ := family(t)
		f := &faulty{Memory: file, fails: func(int) bool { return false }}
		im := must(vhdx.OpenFile(f))
		must(0, im.SetParent(parent, vhdx.CheckID))
		want := content(t, im)
		f.count, f.fails = 0, func(n int) bool { return n == k }
		l, _ := im.Link()
		l.Linkage2, l.Relative = vhdx.GUID{7}, `.\`+strings.Repeat("x", 5000)
		err := im.SetLink(l)
		if fired = f.count >= k; fired != (err != nil) {
			t.Fatalf("fault %d of %d: error %v", k, f.count, err)
		}
		f.fails = func(int) bool { return false }
		must(im.WriteAt(want[:512], 0)) // whatever is under way ends with it
		must(im.WriteAt(pattern(8, 512), 4*mib))
		copy(want[4*mib:], pattern(8, 512))
		in, _ := reopened(file).Link()
		mem, _ := im.Link()
		if !reflect.DeepEqual(in, mem) || mem.Linkage2 != l.Linkage2 && mem.Linkage2 != (vhdx.GUID{}) {
			t.Fatalf("fault %d: link %+v in the file, %+v in memory", k, in, mem)
		}
		must(0, im.SetLink(l))
		again := reopened(file)
		if now, _ := again.Link(); !reflect.DeepEqual(now, l) {
			t.Fatalf("fault %d: link %+v after trying again", k, now)
		}
		must(0, again.SetParent(parent, vhdx.CheckID))
		same(t, "disk", content(t, again), want)
	}
}
