package pages

// leastShared is the size from which on sharing is worth what it may keep in
// memory: the pieces that the ends of the range are cut from.
const leastShared = RunSize

// Share makes n bytes from off on equal to those of src from at on, by
// reference where they are many and the two places lie alike within a page, and
// gives up src's ownership of its pages as Fork does. Source and target may be
// one tree and may overlap.
func (t *Tree) Share(off int64, src *Tree, at, n int64) {
	from := src.Fork() // t may be src: what follows does not change from
	t.Discard(off, n)
	if (off-at)%PageSize != 0 || n < leastShared {
		t.copyBytes(off, &from, at, n)
		return
	}
	head := -off & (PageSize - 1)
	body := (n - head) &^ (PageSize - 1)
	t.copyBytes(off, &from, at, head)
	t.sharePages(off+head, &from, at+head, body)
	t.copyBytes(off+head+body, &from, at+head+body, n-head-body)
}

// copyBytes copies a page at a time, and only what is allocated.
func (t *Tree) copyBytes(off int64, src *Tree, at, n int64) {
	var buf [PageSize]byte
	src.Extents(at, n, func(x, k int64) bool {
		end := x + min(k, at+n-x)
		for x = max(x, at); x < end; x += PageSize {
			p := buf[:min(PageSize, end-x)]
			src.Read(p, x)
			t.Write(p, off+x-at)
		}
		return true
	})
}

// sharePages takes whole pages over, and whole blocks and runs where both
// places lie alike within them.
func (t *Tree) sharePages(off int64, src *Tree, at, n int64) {
	end := at + n
	x := at // the source has been taken over up to here
	src.Extents(at, n, func(from, k int64) bool {
		for x = max(x, from); x < end && x < from+k; {
			x += t.shareOne(off+x-at, src, x, end-x)
		}
		return true
	})
}

// shareOne takes the largest piece over that begins in both places and is no
// longer than n, and returns its size.
func (t *Tree) shareOne(off int64, src *Tree, at, n int64) int64 {
	s, _ := src.find(at)
	if (off|at)%BlockSize == 0 && n >= BlockSize {
		t.put(off, s, false)
		return BlockSize
	}
	r := runOf(s, int(at>>runShift)%blockRuns)
	x, i := t.openBlock(off), uint(off>>runShift)%blockRuns
	if (off|at)%RunSize == 0 && n >= RunSize {
		x.set(i, r, false)
		return RunSize
	}
	x.open(i).put(int(off>>pageShift)%runPages, pageOf(r, int(at>>pageShift)%runPages), false)
	return PageSize
}
