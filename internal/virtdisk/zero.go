package virtdisk

import (
	"bytes"
	"iter"
)

// Page is the unit in which zeros are left out when a file is written: that of
// file systems and of the operating system's memory.
const Page = 4096

// AllZero reports whether p holds nothing but zeros.
func AllZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// NonzeroRuns yields the ranges of p that hold other than zeros, in pages.
func NonzeroRuns(p []byte) iter.Seq2[int, int] {
	zero := func(at int) bool { return AllZero(p[at:min(at+Page, len(p))]) }
	return func(yield func(int, int) bool) {
		for from := 0; from < len(p); from += Page {
			if zero(from) {
				continue
			}
			to := from + Page
			for to < len(p) && !zero(to) {
				to += Page
			}
			if !yield(from, min(to, len(p))) {
				return
			}
			from = to
		}
	}
}
