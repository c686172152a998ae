package disktest

import (
	"bytes"

	"github.com/shadowsim/shadowsim/disk"
)

// small is the size up to which a store is compared as a whole.
const small = 1 << 20

// A window is a range of a store that the model knows.
type window struct {
	off int64
	b   []byte
}

func (w window) end() int64 { return w.off + int64(len(w.b)) }

// A model is what a store ought to hold, in windows that are in ascending order
// and apart. Behind the size, the bytes of a window are zero.
type model struct {
	size    int64
	windows []window
}

// newModel returns a model of zeros for a store that was size bytes long when it
// was fresh. A small one has room to grow.
func newModel(size int64) *model {
	m := &model{size: size}
	if size <= small {
		m.windows = []window{{0, make([]byte, size+maxGrowth)}}
		return m
	}
	for _, at := range []int64{64 << 10, 2 << 20, size / 2, 2 << 30, 4 << 30, size} {
		from, to := max(0, at-(64<<10)), min(at+(32<<10), size)
		if last := len(m.windows) - 1; last >= 0 && m.windows[last].end() >= from {
			from = m.windows[last].end()
		}
		if from < to {
			m.windows = append(m.windows, window{from, make([]byte, to-from)})
		}
	}
	return m
}

func (m *model) clone() *model {
	c := &model{size: m.size, windows: make([]window, len(m.windows))}
	for i, w := range m.windows {
		c.windows[i] = window{w.off, bytes.Clone(w.b)}
	}
	return c
}

// each calls f for the parts of a range that the model knows and the store has.
func (m *model) each(off, n int64, f func(off int64, b []byte)) {
	end := min(off+min(n, m.size), m.size)
	for _, w := range m.windows {
		if from, to := max(off, w.off), min(end, w.end()); from < to {
			f(from, w.b[from-w.off:to-w.off])
		}
	}
}

func (m *model) write(off int64, p []byte) {
	m.each(off, int64(len(p)), func(at int64, b []byte) { copy(b, p[at-off:]) })
}

func (m *model) discard(off, n int64) {
	m.each(off, n, func(_ int64, b []byte) { clear(b) })
}

func (m *model) resize(size int64) {
	if size < m.size {
		m.discard(size, m.size-size)
	}
	m.size = size
}

// firstByte returns the first place of a range, as far as the model knows it, at
// which wrong says so, or -1.
func (m *model) firstByte(off, n int64, wrong func(off int64, b []byte) int) int64 {
	found := int64(-1)
	m.each(off, n, func(at int64, b []byte) {
		if found < 0 {
			if i := wrong(at, b); i >= 0 {
				found = at + int64(i)
			}
		}
	})
	return found
}

// nonzero returns the index of the first byte that is not zero, or -1.
func nonzero(b []byte) int {
	return mismatch(b, make([]byte, len(b)))
}

// mismatch returns the first index at which a and b, equally long, differ, or -1.
func mismatch(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// at returns one byte, zero behind the end.
func (m *model) at(off int64) (x byte) {
	m.each(off, 1, func(_ int64, b []byte) { x = b[0] })
	return x
}

// flat is a store of the kit's own: no relative of any other.
type flat struct{ *bytes.Reader }

func (f flat) WriteAt([]byte, int64) (int, error) { return 0, disk.ErrReadOnly }
