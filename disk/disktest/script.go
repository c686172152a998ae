package disktest

import (
	"slices"

	"pgregory.net/rapid"
)

// maxGrowth is how much longer than a fresh one a resized store gets at most.
const maxGrowth = 40_000

// A kind is a call.
type kind uint8

const (
	read kind = iota
	write
	snapshot
	clone
	discard
	discardAll
	resize
	extents
	diff
	stranger // a diff since a store of another kind
	mapped
	copyOut
)

// A step is one call of a script. Its numbers are what is passed, fit or not;
// which stores it means is counted round those that exist.
type step struct {
	kind    kind
	on, and int
	off, n  int64
	fill    byte // what is written; 0 are zeros
}

// A script is what happens to a fresh store.
type script []step

// scripts returns the generator of scripts with calls of some kinds.
func scripts(size int64, kinds []kind) *rapid.Generator[script] {
	m := newModel(size)
	return rapid.Custom(func(t *rapid.T) script {
		list := make(script, rapid.IntRange(1, 25).Draw(t, "steps"))
		for i := range list {
			x := step{
				kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
				on:   rapid.IntRange(0, 4).Draw(t, "on"),
				and:  rapid.IntRange(0, 4).Draw(t, "and"),
				fill: byte(i%7*36 + i + 1),
			}
			if rapid.IntRange(0, 4).Draw(t, "zeros") == 0 {
				x.fill = 0
			}
			x.off, x.n = place(t, m)
			if x.kind == resize {
				x.n = max(0, size+rapid.Int64Range(-min(size, 70_000), maxGrowth).Draw(t, "size"))
				if rapid.IntRange(0, 9).Draw(t, "negative") == 0 {
					x.n = -x.n - 1
				}
			}
			list[i] = x
		}
		return list
	})
}

// place draws a range that begins in a window, mostly at or beside a border. It
// may leave the store, or have begun before it.
func place(t *rapid.T, m *model) (off, n int64) {
	w := rapid.SampledFrom(m.windows).Draw(t, "window")
	grain := rapid.SampledFrom([]int64{1, 512, 4096, 65536, 1000}).Draw(t, "grain")
	have := min(w.end(), m.size) - w.off
	off = w.off + rapid.Int64Range(0, have/grain).Draw(t, "off")*grain + rapid.SampledFrom([]int64{0, 0, 0, -1, 1}).Draw(t, "beside")
	n = rapid.Int64Range(0, 12).Draw(t, "count")*grain + rapid.SampledFrom([]int64{0, 0, 0, -1, 1}).Draw(t, "more")
	n = min(max(n, 0), m.size+maxGrowth, 150_000)
	switch rapid.IntRange(0, 19).Draw(t, "odd") {
	case 0:
		return m.size - rapid.Int64Range(-10, min(m.size, 9000)).Draw(t, "fromEnd"), n
	case 1:
		return -rapid.Int64Range(1, 5000).Draw(t, "negative"), n
	}
	if w.end() < m.size { // what lies between windows is not known
		n = min(n, max(w.end()-off, 0))
	}
	return max(off, 0), n
}

// borders are the places where blocks of any store may begin and end.
func borders(size int64) []int64 {
	list := []int64{1, 511, 512, 513, 4095, 4096, 8192, 65536, 131072, 1 << 20, 2 << 20, size / 2, 2 << 30, 4 << 30, size - 4096, size - 512, size - 1}
	list = slices.DeleteFunc(list, func(x int64) bool { return x < 1 || x >= size })
	slices.Sort(list)
	return slices.Compact(list)
}

// borderScripts are the calls at all borders, a script for each.
func borderScripts(size int64, kinds []kind) []script {
	list := []script{endScript(size)}
	for _, b := range borders(size) {
		s := script{
			{kind: write, off: b - 1, n: 2, fill: 1}, {kind: write, off: b, n: 1, fill: 2}, {kind: read, off: b - 1, n: 1},
			{kind: read, off: b - 1, n: 2}, {kind: write, off: max(0, b-5000), n: min(10000, size-max(0, b-5000)), fill: 3},
			{kind: write, off: b - 1, n: 1, fill: 4}, {kind: write, off: b, n: min(512, size-b)}, {kind: read, off: b, n: 1},
		}
		for _, k := range kinds {
			switch k {
			case discard:
				s = append(s, step{kind: k, off: b - 1, n: 1}, step{kind: write, off: max(0, b-5000), n: 5000, fill: 5},
					step{kind: k, off: b, n: min(4096, size-b)}, step{kind: k, off: b, n: 0})
			case extents, mapped:
				s = append(s, step{kind: k, off: b, n: 1}, step{kind: k, off: b - 1, n: 2}, step{kind: k, off: 0, n: b}, step{kind: k, off: b, n: size - b})
			}
		}
		list = append(list, s)
	}
	return list
}

// endScript makes calls around the two ends of a store.
func endScript(size int64) script {
	var s script
	for _, x := range []step{{off: size - 1, n: 1}, {off: size - 1, n: 2}, {off: size, n: 1}, {off: size, n: 0}, {off: size + 1, n: 1},
		{off: size + 5000, n: 5000}, {off: 0, n: 0}, {off: -1, n: 1}, {off: -1, n: 0}, {off: -5000, n: 6000}, {off: 0, n: 1},
		{off: size - min(size, 5000), n: 9000}} {
		for _, k := range []kind{write, read} {
			x.kind, x.fill = k, byte(len(s)+1)
			s = append(s, x)
		}
	}
	return s
}

// endCalls are refusals and limits of the optional interfaces.
func endCalls(size int64, kinds []kind) (s script) {
	for _, k := range kinds {
		switch k {
		case discard:
			s = append(s, step{kind: write, off: size - 1, n: 1, fill: 1})
			for _, r := range [][2]int64{{size, 1}, {size - 1, 2}, {-1, 1}, {-1, 2}, {0, -1}, {size + 1, 0}, {size, 0}, {0, size + 1}, {1, 1<<63 - 1}, {size - 1, 1}} {
				s = append(s, step{kind: k, off: r[0], n: r[1]})
			}
		case extents:
			for _, r := range [][2]int64{{-10, 20}, {-10, 5}, {size - 1, 10}, {size, 10}, {size + 10, 10}, {0, 0}, {0, -1}, {5, 1<<63 - 1}} {
				s = append(s, step{kind: k, off: r[0], n: r[1]})
			}
		case resize:
			for _, n := range []int64{-1, size + 1, size, size - 1, size + 5000, 0, size} {
				s = append(s, step{kind: k, n: n}, step{kind: write, off: max(0, n-1), n: 1, fill: 9})
			}
		}
	}
	return s
}
