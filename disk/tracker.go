package disk

import (
	"iter"
	"slices"
)

// DefaultTrackingGrain is the unit in which a [Tracker] remembers changes,
// unless told otherwise.
const DefaultTrackingGrain = 64 << 10

// A Tracker is a store that remembers which of its ranges were changed since
// points that were sealed before: what a backup product asks for to copy only
// what is new, as resilient change tracking of Windows Server 2016 does.
//
//	t := disk.Track(m, 0)
//	t.Seal("full")                         // and copy everything
//	...
//	t.Seal("monday")                       // and copy what follows
//	changed, err := t.Changed("full", 0, t.Size())
//
// Points are named by whoever seals them; an answer holds every byte that was
// written, discarded or added by growth since the point was sealed, in units of
// the grain, rounded outward: more than differs, never less. It costs 1 bit a
// unit for each point, where something was changed, whatever the size.
//
// A Tracker sees what goes through it. It stands above a chain of overlays, so
// that checkpoints, taken and merged below, leave the points alone. Who writes
// past it has to say so with [Tracker.Mark] or, where nobody knows what was
// written, with [Tracker.Lose].
//
// What it remembers outlives a restart by [Tracker.Save] and [LoadTracker].
//
// Its snapshots and clones are those of the store inside and are not tracked.
// The rules for calls from several goroutines are those of the store inside;
// the calls about points count as writes, Changed as a read.
type Tracker struct {
	wrapper
	grain  int64
	off    bool
	points []point // in the order in which they were sealed
}

// A point is a sealed state. Its bitmap says what was changed from then until
// the next point was sealed, a bit a unit.
type point struct {
	id      string
	lost    bool
	changed bitmap
}

// Track returns s with change tracking, in units of grain bytes: at least a
// sector of 512, and 0 for [DefaultTrackingGrain].
func Track(s Store, grain int64) *Tracker {
	if grain <= 0 {
		grain = DefaultTrackingGrain
	}
	return &Tracker{wrapper: wrapper{s}, grain: max(grain, sectorSize)}
}

// Grain returns the unit of tracking in bytes.
func (t *Tracker) Grain() int64 { return t.grain }

// Seal names this state of the store. An id that a kept point has is
// [ErrExists].
func (t *Tracker) Seal(id string) error {
	switch {
	case t.off:
		return fail("Seal", 0, ErrTrackingOff)
	case t.index(id) >= 0:
		return fail("Seal", 0, ErrExists)
	}
	t.points = append(t.points, point{id: id, changed: newBitmap(t.whole().Len)})
	return nil
}

// Points lists the points that are kept, in the order in which they were sealed.
func (t *Tracker) Points() []string {
	ids := make([]string, len(t.points))
	for i, p := range t.points {
		ids[i] = p.id
	}
	return ids
}

// Changed yields the ranges between off and off+n that were changed since the
// point was sealed, in ascending order, no two touching. A point that was never
// sealed, was forgotten, lies in a future that [Tracker.Revert] has given up, or
// before the store was made smaller, is [ErrTrackingID]; [ErrTrackingOff] and
// [ErrTrackingLost] are as [Tracker.Stop] and [Tracker.Lose] say. The sequence is
// to be walked before the store is written again.
func (t *Tracker) Changed(id string, off, n int64) (iter.Seq[Extent], error) {
	i, err := t.find("Changed", id)
	if err != nil {
		return nil, err
	}
	win := clip(off, n, t.Size())
	bits := t.units(win)
	seq := t.points[i].changed.runs(bits.Off, bits.End())
	for _, p := range t.points[i+1:] {
		seq = union(seq, p.changed.runs(bits.Off, bits.End()))
	}
	return func(yield func(Extent) bool) {
		j := joiner{yield: yield}
		for e := range seq {
			from, to := max(e.Off/sectorSize*t.grain, win.Off), win.End()
			if e.End() < bits.End() {
				to = e.End() / sectorSize * t.grain
			}
			if !j.add(Extent{from, to - from}) {
				return
			}
		}
		j.flush()
	}, nil
}

// Forget gives a point up. Older ones still answer for what was changed since
// the point, too.
func (t *Tracker) Forget(id string) error {
	i := t.index(id)
	if i < 0 {
		return fail("Forget", 0, ErrTrackingID)
	}
	if i > 0 {
		for e := range t.points[i].changed.runs(0, t.whole().End()) {
			t.points[i-1].changed.set(e.Off, e.End())
		}
	}
	t.points = slices.Delete(t.points, i, i+1)
	return nil
}

// Revert puts s in the place of the store inside: it has the bytes that the
// store had when the point was sealed, as a clone of a snapshot taken then.
// Nothing is changed since that point any more, and later ones are given up.
func (t *Tracker) Revert(id string, s Store) error {
	i, err := t.find("Revert", id)
	if err != nil {
		return err
	}
	if s.Size() != t.Size() {
		return fail("Revert", s.Size(), ErrSize)
	}
	t.s = s
	t.points = t.points[:i+1]
	t.points[i].changed = newBitmap(t.whole().Len)
	return nil
}

// Stop switches tracking off: points are given up, and until [Tracker.Start]
// every question is [ErrTrackingOff].
func (t *Tracker) Stop() { t.points, t.off = nil, true }

// Start switches tracking on again, without any point.
func (t *Tracker) Start() { t.off = false }

// Lose says that the store may have been changed unseen: tracking files that are
// gone, a disk that was mounted elsewhere. The points that there are answer
// [ErrTrackingLost] from now on.
func (t *Tracker) Lose() {
	for i := range t.points {
		t.points[i].lost = true
	}
}

// Mark notes a range as changed, as if it had been written: what was written
// past the tracker, or may have been before the power went away.
func (t *Tracker) Mark(off, n int64) {
	e := clip(off, n, t.Size())
	if e.Len == 0 || len(t.points) == 0 {
		return
	}
	last := t.points[len(t.points)-1].changed
	bits := t.units(e)
	if set, upto := last.same(bits.Off, bits.End()); set && upto == bits.End() {
		return
	}
	last.set(bits.Off, bits.End())
}

// WriteAt writes as [Store] demands. What is to be written counts as changed
// even if the write fails.
func (t *Tracker) WriteAt(p []byte, off int64) (int, error) {
	t.Mark(off, int64(len(p)))
	return t.s.WriteAt(p, off)
}

// Discard makes a range zero, which is a change.
func (t *Tracker) Discard(off, n int64) error {
	if err := checkRange("Discard", off, n, t.Size()); err != nil {
		return err
	}
	t.Mark(off, n)
	return Discard(t.s, off, n)
}

// Resize changes the size. What is gained counts as changed; a smaller store
// gives its points up.
func (t *Tracker) Resize(size int64) error {
	old := t.Size()
	if err := t.wrapper.Resize(size); err != nil {
		return err
	}
	if size < old {
		t.points = nil
		return nil
	}
	for _, p := range t.points {
		if err := p.changed.bits.Resize(bitmapSize(t.units(Extent{Len: size}).Len)); err != nil {
			return err
		}
	}
	t.Mark(old, size-old)
	return nil
}

// units turns a range into that of the bitmap, rounded outward to whole units. A
// bitmap counts sectors, which stand for units here.
func (t *Tracker) units(e Extent) Extent {
	from, end := e.Off/t.grain, e.End()/t.grain+min(e.End()%t.grain, 1)
	return Extent{from * sectorSize, (end - from) * sectorSize}
}

// whole is the range of all units.
func (t *Tracker) whole() Extent { return t.units(Extent{Len: t.Size()}) }

func (t *Tracker) index(id string) int {
	return slices.IndexFunc(t.points, func(p point) bool { return p.id == id })
}

// find returns the place of a point that can answer.
func (t *Tracker) find(op, id string) (int, error) {
	i := t.index(id)
	switch {
	case t.off:
		return 0, fail(op, 0, ErrTrackingOff)
	case i < 0:
		return 0, fail(op, 0, ErrTrackingID)
	case t.points[i].lost:
		return 0, fail(op, 0, ErrTrackingLost)
	}
	return i, nil
}
