package disktest

import (
	"bytes"
	"errors"
	"io"
	"iter"

	"github.com/shadowsim/shadowsim/disk"
)

// most is how many extents a store of the kit's size can have.
const most = 1 << 20

// walk goes through a sequence of extents, which have to be in order, apart and
// within a range, and calls gap for what lies between them.
func (r *run) walk(seq iter.Seq[disk.Extent], win disk.Extent, gap func(off, n int64)) {
	var list []disk.Extent
	seq(func(e disk.Extent) bool {
		last := len(list) - 1
		switch {
		case e.Len <= 0 || e.Off < win.Off || e.Len > win.End()-e.Off:
			r.broken("extents are not empty and lie within the range that was asked for", "%v, asked for %v", e, win)
		case last >= 0 && e.Off <= list[last].End():
			r.broken("extents are in ascending order and do not touch", "%v after %v", e, list[last])
		case last > most:
			r.broken("a sequence of extents has an end", "%d and more", last)
		}
		list = append(list, e)
		return r.bad == nil
	})
	if r.bad != nil {
		return
	}
	at := win.Off
	for _, e := range list {
		gap(at, e.Off-at)
		at = e.End()
	}
	gap(at, win.End()-at)
	r.stop(seq)
}

// stop ends a sequence at its first extent.
func (r *run) stop(seq iter.Seq[disk.Extent]) {
	n := 0
	seq(func(disk.Extent) bool {
		n++
		return false
	})
	if n > 1 {
		r.broken("a sequence of extents ends when it is told to", "%d extents instead of one", n)
	}
}

func (r *run) extents(t *twin, off, n int64) {
	x, ok := t.s.(disk.Extenter)
	if !ok {
		return
	}
	r.call("%s.Extents(%d, %d)", t.name, off, n)
	win := clip(off, n, t.m.size)
	r.walk(x.Extents(off, n), win, func(off, n int64) {
		at := t.m.firstByte(off, n, func(_ int64, b []byte) int { return nonzero(b) })
		if at >= 0 {
			r.broken("what lies outside the extents is zero", "byte %d is %#02x and in no extent", at, t.m.at(at))
		}
	})
}

// clip returns the part of a range that lies in a store.
func clip(off, n, size int64) disk.Extent {
	from := max(off, 0)
	if n <= 0 || from >= size {
		return disk.Extent{}
	}
	if off < 0 {
		n += off
	}
	return disk.Extent{Off: from, Len: max(0, min(n, size-from))}
}

func (r *run) diff(t, since *twin) {
	x, ok := t.s.(disk.Differ)
	if !ok || t == since {
		return
	}
	r.call("%s.Diff(%s)", t.name, since.name)
	seq, err := x.Diff(since.s)
	if err != nil {
		r.broken("Diff understands every snapshot and clone of the store", "%v", err)
		return
	}
	r.checkDiff(seq, t, since.m)
}

// checkDiff demands that whatever is not in the sequence is equal.
func (r *run) checkDiff(seq iter.Seq[disk.Extent], t *twin, since *model) {
	r.walk(seq, disk.Extent{Len: t.m.size}, func(off, n int64) {
		at := t.m.firstByte(off, n, func(off int64, b []byte) int {
			old := make([]byte, len(b))
			since.each(off, int64(len(b)), func(at int64, was []byte) { copy(old[at-off:], was) })
			return mismatch(b, old)
		})
		if at >= 0 {
			r.broken("whatever differs is in the difference", "byte %d was %#02x, is %#02x, and in no extent", at, since.at(at), t.m.at(at))
		}
	})
}

// stranger asks for the difference from a store that is no relative.
func (r *run) stranger(t *twin) {
	x, ok := t.s.(disk.Differ)
	if !ok || t.m.size > small {
		return
	}
	m := newModel(t.m.size)
	m.each(0, m.size, func(_ int64, b []byte) { b[len(b)/2] = 0xab })
	r.call("%s.Diff(a store of another kind)", t.name)
	seq, err := x.Diff(flat{bytes.NewReader(m.windows[0].b[:m.size])})
	switch {
	case errors.Is(err, disk.ErrUnsupported):
	case err != nil:
		r.broken("Diff since a store that is no relative is disk.ErrUnsupported, or right", "%v", err)
	default:
		r.checkDiff(seq, t, m)
	}
}

func (r *run) mapped(t *twin, off, n int64) {
	x, ok := t.s.(disk.Mapper)
	e := clip(off, n, t.m.size)
	if !ok || e.Len == 0 || e.Off != off {
		return
	}
	r.call("%s.Map(%d, %d)", t.name, e.Off, e.Len)
	seg := x.Map(e.Off, e.Len)
	if seg.Len < 1 || seg.Len > e.Len {
		r.broken("Map speaks of at least one byte, and of no more than it was asked for", "%d of %d", seg.Len, e.Len)
		return
	}
	if seg.Store == nil {
		return
	}
	t.m.each(off, seg.Len, func(at int64, want []byte) {
		got := r.room(len(want))
		if k, err := seg.Store.ReadAt(got, seg.Off+at-off); k != len(got) || err != nil && err != io.EOF {
			r.broken("the place that Map names can be read", "%d of %s, %v", k, count(int64(len(got))), err)
		} else if i := mismatch(got, want); i >= 0 {
			r.broken("the place that Map names has the same bytes", "for byte %d it has %#02x, want %#02x", at+int64(i), got[i], want[i])
		}
	})
}

// copyOut copies the store, which asks it for its extents and places.
func (r *run) copyOut(t *twin) {
	if t.m.size > small {
		return
	}
	r.call("disk.Copy(memory, %s)", t.name)
	m := disk.NewMemory(t.m.size)
	if err := disk.Copy(m, t.s); err != nil {
		r.broken("a store can be copied", "%v", err)
		return
	}
	t.m.each(0, t.m.size, func(off int64, want []byte) {
		got := r.room(len(want))
		if k, err := m.ReadAt(got, off); k != len(got) || err != nil {
			r.broken("a store can be copied", "%d bytes, %v", k, err)
		} else if i := mismatch(got, want); i >= 0 {
			r.broken("a copy of a store has its bytes", "byte %d is %#02x, want %#02x", off+int64(i), got[i], want[i])
		}
	})
}
