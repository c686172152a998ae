package pages

// Share makes n bytes from off on equal to those of src from at on, by
// reference as far as the two places lie alike within a page, and gives up
// src's ownership of its pages as Fork does. Source and target may be one tree
// and may overlap.
func (t *Tree) Share(off int64, src *Tree, at, n int64) {
	from := src.Fork() // t may be src: what follows does not change from
	if (off-at)%PageSize != 0 {
		t.copyBytes(off, &from, at, n)
		return
	}
	head := min(-off&(PageSize-1), n)
	body := (n - head) &^ (PageSize - 1)
	t.copyBytes(off, &from, at, head)
	t.sharePages(off+head, &from, at+head, body)
	t.copyBytes(off+head+body, &from, at+head+body, n-head-body)
}

// copyBytes copies a page at a time, and only what is allocated.
func (t *Tree) copyBytes(off int64, src *Tree, at, n int64) {
	var buf [PageSize]byte
	t.Discard(off, n)
	src.Extents(at, n, func(x, k int64) bool {
		end := min(x+k, at+n)
		for x = max(x, at); x < end; x += PageSize {
			p := buf[:min(PageSize, end-x)]
			src.Read(p, x)
			t.Write(p, off+x-at)
		}
		return true
	})
}

// sharePages takes whole pages over, and whole runs where both places lie alike
// within a run.
func (t *Tree) sharePages(off int64, src *Tree, at, n int64) {
	t.Discard(off, n)
	alike := (off-at)%RunSize == 0
	done := int64(0) // the source has been taken over up to here
	src.Extents(at, n, func(x, k int64) bool {
		if x < done {
			return true
		}
		r, _ := src.find(x)
		base := x &^ (RunSize - 1)
		if alike && base >= at && base+RunSize <= at+n {
			t.putRun(off+base-at, r, false)
			done = base + RunSize
			return true
		}
		for end := min(x+k, at+n); x < end; x += PageSize {
			if x >= at {
				t.putPage(off+x-at, r.page(int(x-base)>>pageShift))
			}
		}
		return true
	})
}

// putPage makes a page of another tree the page at off.
func (t *Tree) putPage(off int64, page []byte) {
	t.openRun(off).put(int(off&(RunSize-1))>>pageShift, page, false)
}
