package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"pgregory.net/rapid"
)

// tracked is a tracker beside what the disk was at every point.
type tracked struct {
	t      *disk.Tracker
	bytes  []byte
	points map[string][]byte
	snaps  map[string]disk.Store
	count  int
	lost   map[string]bool
}

func (m *tracked) pick(t *rapid.T) string {
	if len(m.points) == 0 {
		t.Skip("no point")
	}
	return rapid.SampledFrom(m.t.Points()).Draw(t, "point")
}

func (m *tracked) Write(t *rapid.T) {
	off, n := place(t, int64(len(m.bytes)))
	p := slices.Repeat([]byte{byte(rapid.IntRange(0, 255).Draw(t, "fill"))}, int(n))
	if _, err := m.t.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
	copy(m.bytes[off:], p)
}

func (m *tracked) Discard(t *rapid.T) {
	off, n := place(t, int64(len(m.bytes)))
	if err := m.t.Discard(off, n); err != nil {
		t.Fatal(err)
	}
	clear(m.bytes[off : off+n])
}

func (m *tracked) Resize(t *rapid.T) {
	by := rapid.SampledFrom([]int64{1, 5000, 70000, -1}).Draw(t, "by")
	size := max(0, int64(len(m.bytes))+by)
	if err := m.t.Resize(size); err != nil {
		t.Fatal(err)
	}
	if size < int64(len(m.bytes)) {
		m.points = map[string][]byte{}
	}
	m.bytes = resized(m.bytes, size)
}

func (m *tracked) Seal(t *rapid.T) {
	m.count++
	id := fmt.Sprint("point ", m.count)
	if err := m.t.Seal(id); err != nil {
		t.Fatal(err)
	}
	s, err := disk.Snapshot(m.t)
	if err != nil {
		t.Fatal(err)
	}
	m.points[id], m.snaps[id] = slices.Clone(m.bytes), s
}

func (m *tracked) Forget(t *rapid.T) {
	id := m.pick(t)
	if err := m.t.Forget(id); err != nil {
		t.Fatal(err)
	}
	delete(m.points, id)
}

func (m *tracked) Revert(t *rapid.T) {
	id := m.pick(t)
	if len(m.points[id]) != len(m.bytes) || m.lost[id] {
		return
	}
	c, err := disk.Clone(m.snaps[id])
	if err != nil {
		t.Fatal(err)
	}
	later := m.t.Points()
	later = later[slices.Index(later, id)+1:]
	if err := m.t.Revert(id, c); err != nil {
		t.Fatal(err)
	}
	for _, id := range later {
		delete(m.points, id)
	}
	m.bytes = slices.Clone(m.points[id])
}

func (m *tracked) Lose(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
		return
	}
	m.t.Lose()
	for id := range m.points {
		m.lost[id] = true
	}
}

// Restart lets the tracker be forgotten and loaded.
func (m *tracked) Restart(t *rapid.T) {
	saved, before := m.t.Save("now"), m.t.Points()
	again, err := disk.LoadTracker(m.t.Unwrap(), saved, "now")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.Points(), before) || again.Grain() != m.t.Grain() || !bytes.Equal(again.Save("now"), saved) {
		t.Fatalf("loaded it is another tracker, with points %q, had %q", again.Points(), before)
	}
	m.t = again
}

// Check demands that whatever differs from the disk at a point is in the answer,
// and that points that are gone have none.
func (m *tracked) Check(t *rapid.T) {
	checkBytes(t, &twin{store: m.t, bytes: m.bytes})
	for i := range m.count {
		id := fmt.Sprint("point ", i+1)
		old, kept := m.points[id]
		off, n := place(t, int64(len(m.bytes)))
		seq, err := m.t.Changed(id, off, n)
		switch {
		case !kept && !errors.Is(err, disk.ErrTrackingID), kept && m.lost[id] != errors.Is(err, disk.ErrTrackingLost):
			t.Fatalf("%s, kept %t, lost %t: %v", id, kept, m.lost[id], err)
		case err == nil:
			m.checkAnswer(t, old, seq, off, n)
		}
	}
}

func (m *tracked) checkAnswer(t *rapid.T, old []byte, seq iter.Seq[disk.Extent], off, n int64) {
	rest, was := slices.Clone(m.bytes[off:off+n]), resized(old, int64(len(m.bytes)))[off:off+n]
	end := int64(-1)
	for e := range seq {
		if e.Off <= end || e.Off < off || e.Len <= 0 || e.End() > off+n {
			t.Fatalf("change %+v of %d+%d after one that ends at %d", e, off, n, end)
		}
		if g := m.t.Grain(); e.Off != off && e.Off%g != 0 || e.End() != off+n && e.End()%g != 0 {
			t.Fatalf("change %+v is not in units of %d", e, g)
		}
		copy(rest[e.Off-off:e.End()-off], was[e.Off-off:])
		end = e.End()
	}
	if !bytes.Equal(rest, was) {
		t.Fatal("bytes differ that did not count as changed")
	}
}

func TestTrackerMissesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 150000).Draw(t, "size")
		grain := rapid.SampledFrom([]int64{512, 4096, 65536, 1000}).Draw(t, "grain")
		m := &tracked{t: disk.Track(disk.NewMemory(size), grain), bytes: make([]byte, size),
			points: map[string][]byte{}, snaps: map[string]disk.Store{}, lost: map[string]bool{}}
		t.Repeat(rapid.StateMachineActions(m))
	})
}

func changes(t testing.TB, tr *disk.Tracker, id string) []disk.Extent {
	t.Helper()
	seq, err := tr.Changed(id, 0, tr.Size())
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(seq)
}

func TestTrackerIsPreciseToTheGrain(t *testing.T) {
	tr := disk.Track(disk.NewMemory(tib), 0)
	mustWrite(t, tr, 5<<30, "before")
	for _, id := range []string{"full", "monday"} {
		if err := tr.Seal(id); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, tr, 65536*int64(len(id)), id)
	}
	if got, want := changes(t, tr, "monday"), []disk.Extent{{Off: 6 * 65536, Len: 65536}}; !slices.Equal(got, want) {
		t.Errorf("since monday: %v", got)
	}
	if got, want := changes(t, tr, "full"), []disk.Extent{{Off: 4 * 65536, Len: 65536}, {Off: 6 * 65536, Len: 65536}}; !slices.Equal(got, want) {
		t.Errorf("since full: %v", got)
	}
	seq, err := tr.Changed("full", 4*65536+10, 20)
	if err != nil {
		t.Fatal(err)
	}
	for e := range seq {
		if e != (disk.Extent{Off: 4*65536 + 10, Len: 20}) {
			t.Errorf("within a unit: %v", e)
		}
		break
	}
	before := slices.Clone(changes(t, tr, "full"))
	if _, err := tr.ReadAt(make([]byte, 100), 0); err != nil || !slices.Equal(before, changes(t, tr, "full")) {
		t.Errorf("a read is a change, or failed: %v", err)
	}
	tr.Mark(7*65536, 1)
	if got := changes(t, tr, "monday"); len(got) != 1 || got[0].Len != 2*65536 {
		t.Errorf("after a mark: %v", got)
	}
}

// A disk that has gone back to a point has nothing changed since then, and what
// was changed between an older point and that one still counts.
func TestTrackerForgetsWhatRevertGaveUp(t *testing.T) {
	tr := disk.Track(disk.NewMemory(1<<20), 4096)
	var monday disk.Store
	for i, id := range []string{"full", "monday", "tuesday"} {
		if err := tr.Seal(id); err != nil {
			t.Fatal(err)
		}
		if id == "monday" {
			s, err := disk.Snapshot(tr)
			if err != nil {
				t.Fatal(err)
			}
			monday = s
		}
		mustWrite(t, tr, 8192*int64(i), id)
	}
	s, err := disk.Clone(monday)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Revert("monday", s); err != nil {
		t.Fatal(err)
	}
	if got := changes(t, tr, "monday"); len(got) > 0 {
		t.Errorf("since monday, to which it went back: %v", got)
	}
	if got := changes(t, tr, "full"); !slices.Equal(got, []disk.Extent{{Off: 0, Len: 4096}}) {
		t.Errorf("since full: %v", got)
	}
	mustWrite(t, tr, 40960, "after")
	if got := changes(t, tr, "monday"); !slices.Equal(got, []disk.Extent{{Off: 40960, Len: 4096}}) {
		t.Errorf("written after it went back: %v", got)
	}
}

func TestTrackerRefuses(t *testing.T) {
	tr := disk.Track(disk.NewMemory(1000), 0)
	ask := func(id string) error {
		_, err := tr.Changed(id, 0, 1000)
		return err
	}
	if err := tr.Seal("a"); err != nil {
		t.Fatal(err)
	}
	if err := tr.Seal("a"); !errors.Is(err, disk.ErrExists) || !errors.Is(err, fs.ErrExist) {
		t.Errorf("sealed twice: %v", err)
	}
	if err := ask("b"); !errors.Is(err, disk.ErrTrackingID) {
		t.Errorf("a point that never was: %v", err)
	}
	for _, err := range []error{tr.Forget("b"), tr.Revert("b", disk.NewMemory(1000))} {
		if !errors.Is(err, disk.ErrTrackingID) {
			t.Errorf("a point that never was: %v", err)
		}
	}
	if err := tr.Revert("a", disk.NewMemory(999)); !errors.Is(err, disk.ErrSize) {
		t.Errorf("reverted to another size: %v", err)
	}
	if err := tr.Discard(999, 2); !errors.Is(err, disk.ErrRange) {
		t.Errorf("Discard: %v", err)
	}
	if err := tr.Resize(-1); !errors.Is(err, disk.ErrSize) || ask("a") != nil {
		t.Errorf("a resize that fails: %v, %v", err, ask("a"))
	}
	tr.Stop()
	for _, err := range []error{ask("a"), tr.Seal("c")} {
		if !errors.Is(err, disk.ErrTrackingOff) {
			t.Errorf("switched off: %v", err)
		}
	}
	mustWrite(t, tr, 0, "unseen")
	tr.Start()
	if err := ask("a"); !errors.Is(err, disk.ErrTrackingID) {
		t.Errorf("a point from before: %v", err)
	}
}

func TestTrackerOfTheLargestStore(t *testing.T) {
	const grain = 1 << 40 // a discard of everything takes time in what the bitmap has
	tr := disk.Track(disk.NewMemory(math.MaxInt64), grain)
	if err := tr.Seal("all"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tr, math.MaxInt64-3, "end")
	if got := changes(t, tr, "all"); len(got) != 1 || got[0] != (disk.Extent{Off: math.MaxInt64 &^ (grain - 1), Len: grain - 1}) {
		t.Errorf("changes %v", got)
	}
	if err := tr.Discard(0, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	if got := changes(t, tr, "all"); len(got) != 1 || got[0] != (disk.Extent{Off: 0, Len: math.MaxInt64}) {
		t.Errorf("changes %v", got)
	}
	if got := disk.Track(disk.NewMemory(1), 1).Grain(); got != 512 {
		t.Errorf("the grain is %d", got)
	}
}

// TestTrackerAboveACheckpoint takes a checkpoint below the tracker, writes on,
// and merges it: the points see one disk all the time.
func TestTrackerAboveACheckpoint(t *testing.T) {
	base := disk.NewMemory(1 << 20)
	tree := disk.NewSnapshotTree(base)
	tr := disk.Track(tree, 4096)
	if err := tr.Seal("full"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tr, 0, "before")
	if err := tree.Take("checkpoint"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tr, 8192, "above")
	if err := tree.Delete("checkpoint"); err != nil {
		t.Fatal(err)
	}
	if got := changes(t, tr, "full"); !slices.Equal(got, []disk.Extent{{Off: 0, Len: 4096}, {Off: 8192, Len: 4096}}) {
		t.Errorf("changes %v", got)
	}
}

func TestGrowthIsAChange(t *testing.T) {
	tr := disk.Track(disk.NewMemory(1000), 512)
	if err := tr.Seal("small"); err != nil {
		t.Fatal(err)
	}
	if err := tr.Resize(5000); err != nil {
		t.Fatal(err)
	}
	if got := changes(t, tr, "small"); !slices.Equal(got, []disk.Extent{{Off: 512, Len: 4488}}) {
		t.Errorf("changes %v", got)
	}
	if err := tr.Resize(4999); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Changed("small", 0, 4999); !errors.Is(err, disk.ErrTrackingID) {
		t.Errorf("after the store was made smaller: %v", err)
	}
}
