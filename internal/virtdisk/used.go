package virtdisk

import (
	"iter"

	"github.com/shadowsim/shadowsim/disk"
)

// UsedBlocks yields, in order, the blocks of a disk that hold other than zeros.
// It reads a block little further than to its first byte that is not zero: at
// the beginning of what is allocated a page, which says enough of most blocks,
// then 16 pages at a time. An error of read ends it.
func UsedBlocks(src disk.Source, block int64, read func(p []byte, off int64) error) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		buf := make([]byte, min(block, 16*Page))
		next := int64(0) // the first block not yet decided on
		for e := range disk.Extents(src, 0, src.Size()) {
			look := int64(Page)
			for at := max(e.Off, next*block); at < e.End(); {
				b := at / block
				q := buf[:min(look, int64(len(buf)), e.End()-at, (b+1)*block-at)]
				if err := read(q, at); err != nil {
					yield(0, err)
					return
				}
				at, look = at+int64(len(q)), int64(len(buf))
				if AllZero(q) {
					continue
				}
				if !yield(b, nil) {
					return
				}
				next, look = b+1, Page
				at = max(at, next*block)
			}
		}
	}
}
