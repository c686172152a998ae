package pages

import (
	"bytes"
	"math"
	"testing"
)

// ones returns n bytes that are not zero.
func ones(n int) []byte { return bytes.Repeat([]byte{1}, n) }

// runAt returns the run that holds off, and whether it is the tree's alone.
func runAt(tree *Tree, off int64) (run, bool) {
	s, own := tree.find(off)
	i := int(off>>runShift) % blockRuns
	if s.sub != nil {
		own = own && s.sub.owns(uint(i))
	}
	return runOf(s, i), own
}

// changed lists the pages in which two trees differ.
func changed(a, b Tree) (list []int64) {
	Diff(a, b, 0, math.MaxInt64, func(off, n int64) bool {
		for i := range n / PageSize {
			list = append(list, off+i*PageSize)
		}
		return true
	})
	return list
}

func TestRunIsJoinedOnceItIsFull(t *testing.T) {
	var tree Tree
	for i := range int64(runPages) {
		if r, _ := runAt(&tree, 0); r.whole != nil {
			t.Fatalf("joined with %d pages", i)
		}
		tree.Write(ones(PageSize-1), i*PageSize)
	}
	if r, _ := runAt(&tree, 0); r.whole != nil {
		t.Fatal("joined while no page is full")
	}
	for i := range int64(runPages) {
		tree.Write(ones(1), (i+1)*PageSize-1)
	}
	if r, own := runAt(&tree, 0); r.whole == nil || !own {
		t.Fatal("not joined when full")
	}
}

func TestBlockIsJoinedOnceItIsFull(t *testing.T) {
	var tree Tree
	for off := int64(0); off < BlockSize; off += RunSize {
		if s, _ := tree.find(0); s.whole != nil {
			t.Fatalf("joined at %d", off)
		}
		tree.Write(ones(RunSize), off)
	}
	if s, own := tree.find(0); s.whole == nil || !own {
		t.Fatal("not joined when full")
	}
	before := tree.Fork()
	tree.Write(ones(RunSize), 5*RunSize)
	if got := changed(tree, before); len(got) != runPages || got[0] != 5*RunSize {
		t.Fatalf("changed pages at %d", got)
	}
	for off := int64(0); off < BlockSize; off += RunSize {
		tree.Write(ones(RunSize), off)
	}
	if s, own := tree.find(0); s.whole == nil || !own {
		t.Error("a block that was rewritten run by run is not joined again")
	}
	tree.Write(ones(BlockSize), 4*BlockSize)
	if s, _ := tree.find(4 * BlockSize); s.whole == nil {
		t.Error("a block written at once is not in one piece")
	}
	tree.Write(make([]byte, RunSize), 8*BlockSize)
	tree.Write(ones(RunSize), 8*BlockSize)
	tree.Write(make([]byte, RunSize), 8*BlockSize)
	fork := tree.Fork()
	fork.Write(make([]byte, RunSize), 8*BlockSize)
	if s, _ := fork.find(8 * BlockSize); s != (span{}) {
		t.Error("a run that became zero is still there")
	}
}

func TestWriteOfAWholeRun(t *testing.T) {
	var tree Tree
	tree.Write(ones(3*RunSize), PageSize)
	if r, _ := runAt(&tree, RunSize); r.whole == nil {
		t.Error("a run written at once is not in one piece")
	}
	data := ones(RunSize)
	clear(data[5*PageSize : 6*PageSize])
	tree.Write(data, RunSize)
	if r, _ := runAt(&tree, RunSize); r.whole == nil {
		t.Error("a run of one piece was not written in place")
	}
	tree.Write(data, 8*RunSize)
	if r, _ := runAt(&tree, 8*RunSize); r.sub == nil || r.sub.has(5) {
		t.Error("a page of zeros was allocated")
	}
	tree.Write(make([]byte, 1<<20), 1<<40)
	if tree.shift > blockShift+fanShift {
		t.Error("zeros made the tree higher")
	}
}

func TestWriteAfterForkCopiesOnePage(t *testing.T) {
	var tree Tree
	tree.Write(ones(4*RunSize), 0)
	before := tree.Fork()
	for _, off := range []int64{RunSize + 3*PageSize, RunSize + 3*PageSize + 7, RunSize + 4*PageSize} {
		tree.Write([]byte{2}, off)
	}
	if got := changed(tree, before); len(got) != 2 || got[0] != RunSize+3*PageSize || got[1] != RunSize+4*PageSize {
		t.Fatalf("changed pages at %d", got)
	}
	for i := range int64(runPages) { // as if there were no snapshot
		tree.Write(ones(PageSize), RunSize+i*PageSize)
	}
	if r, own := runAt(&tree, RunSize); r.whole == nil || !own {
		t.Error("a run that was rewritten page by page is not joined again")
	}
}

func TestOwnPagesAreWrittenInPlace(t *testing.T) {
	var tree Tree
	tree.Write(ones(RunSize), 0)
	tree.Write(ones(PageSize), RunSize)
	if n := testing.AllocsPerRun(100, func() {
		tree.Write(ones(PageSize)[:PageSize-1], 1)
		tree.Write([]byte{3}, RunSize+9)
	}); n > 2 { // the two slices written
		t.Errorf("%v allocations", n)
	}
}

func TestShareOfBlocks(t *testing.T) {
	var src Tree
	for i := range byte(3) {
		src.Write(bytes.Repeat([]byte{i + 1}, BlockSize), int64(i)*BlockSize)
	}
	for _, at := range []int64{0, BlockSize, RunSize, PageSize, 1} {
		for _, off := range []int64{0, BlockSize, RunSize, PageSize, 1} {
			var dst Tree
			dst.Share(off, &src, at, 3*BlockSize-at)
			want, got := make([]byte, 3*BlockSize-at), make([]byte, 3*BlockSize-at)
			src.Read(want, at)
			dst.Read(got, off)
			if !bytes.Equal(got, want) {
				t.Errorf("from %d to %d: other bytes", at, off)
			}
			dst.Write(bytes.Repeat([]byte{9}, 4*BlockSize), 0)
			src.Read(got, at)
			if !bytes.Equal(got, want) {
				t.Errorf("from %d to %d: writing the copy changed the source", at, off)
			}
		}
	}
}

func TestSharedBlocksAreTheSame(t *testing.T) {
	var src Tree
	src.Write(ones(4*BlockSize), 0)
	var dst Tree
	dst.Share(BlockSize, &src, BlockSize, 2*BlockSize)
	if got := changed(dst, src); len(got) != 2*BlockSize/PageSize || got[0] != 0 {
		t.Errorf("%d pages differ", len(got))
	}
	dst.Share(0, &src, 0, RunSize-1)
	if got := changed(dst, src); got[0] != 0 {
		t.Error("a small range was not copied")
	}
}

func TestExtentsMeetTheirRange(t *testing.T) {
	var tree Tree
	tree.Write(ones(3*BlockSize), 0)
	tree.Discard(5*PageSize, PageSize)
	tree.Discard(BlockSize+5*PageSize, PageSize)
	for _, r := range []struct{ off, n int64 }{{0, 1}, {RunSize, 1}, {RunSize + 1, RunSize}, {BlockSize - 1, 2}, {2 * BlockSize, 1}, {1, 3 * BlockSize}} {
		tree.Extents(r.off, r.n, func(off, n int64) bool {
			if off+max(n, RunSize) <= r.off || off > r.off+r.n+RunSize {
				t.Errorf("%d+%d of %d+%d", off, n, r.off, r.n)
			}
			return true
		})
	}
}

func TestDiscardDoesNotKeepTheRun(t *testing.T) {
	var tree Tree
	tree.Write(ones(RunSize), 0)
	r, _ := runAt(&tree, 0)
	tree.Discard(PageSize, RunSize-PageSize)
	left, _ := runAt(&tree, 0)
	if left.sub == nil || same(pageOf(left, 0), piece(r.whole, 0)) {
		t.Fatal("what is left still lies in the 64 KiB")
	}
	tree.Discard(0, PageSize)
	if !tree.Empty() {
		t.Fatal("something is left of nothing")
	}
	tree.Write(ones(BlockSize), 0)
	r, _ = runAt(&tree, 3*RunSize)
	tree.Discard(0, RunSize)
	if left, own := runAt(&tree, 3*RunSize); left.whole == r.whole || !own {
		t.Fatal("what is left still lies in the megabyte")
	}
}

func TestDiscardOfHolesCopiesNothing(t *testing.T) {
	var tree Tree
	tree.Write(ones(1), 0)
	tree.Write(ones(1), 1<<40)
	fork := tree.Fork()
	fork.Discard(1<<20, 1<<39)
	fork.Discard(1, PageSize)
	fork.Discard(1<<40+1, math.MaxInt64-1<<40-1)
	if fork.root != tree.root {
		t.Error("the root was copied")
	}
}

func TestShortPagesStayShort(t *testing.T) {
	var tree Tree
	tree.Write(ones(100), 0)
	r, _ := runAt(&tree, 0)
	if n := cap(pageOf(r, 0)); n > 128 {
		t.Errorf("100 bytes take %d", n)
	}
	for range 40 {
		tree.Write(ones(100), int64(len(pageOf(r, 0))))
	}
	if n := cap(pageOf(r, 0)); n > PageSize {
		t.Errorf("a page takes %d bytes", n)
	}
	tree.Write(make([]byte, 50), 4050)
	tree.Discard(200, PageSize)
	if n := len(pageOf(r, 0)); n != 200 {
		t.Errorf("a page of 200 bytes has %d", n)
	}
	tree.Write(ones(1), 300)
	got := make([]byte, 400)
	tree.Read(got, 0)
	if want := append(append(ones(200), make([]byte, 100)...), 1); !bytes.Equal(got[:301], want) || !allZero(got[301:]) {
		t.Error("discarded bytes came back")
	}
}

func TestLastByteOfAll(t *testing.T) {
	var tree Tree
	last := int64(math.MaxInt64 - 1)
	tree.Write(ones(1), 5)
	tree.Write(ones(1), last)
	var got [2]byte
	tree.Read(got[:1], last)
	if got[0] != 1 {
		t.Error("the last byte is lost")
	}
	fork := tree.Fork()
	fork.Write(ones(1), last-1)
	if list := changed(fork, tree); len(list) != 1 || list[0] != last&^(PageSize-1) {
		t.Errorf("changed pages at %d", list)
	}
	fork.Discard(0, math.MaxInt64)
	if !fork.Empty() {
		t.Error("something is left of nothing")
	}
	if list := changed(fork, tree); len(list) != 2 || list[0] != 0 {
		t.Errorf("changed pages at %d", list)
	}
}

func TestDiffOfTreesOfDifferentHeight(t *testing.T) {
	var low Tree
	low.Write(ones(RunSize), 0)
	high := low.Fork()
	high.Write(ones(1), 1<<45)
	for _, list := range [][]int64{changed(low, high), changed(high, low)} {
		if len(list) != 1 || list[0] != 1<<45 {
			t.Errorf("changed pages at %d", list)
		}
	}
}

func TestWalkStopsWhenTold(t *testing.T) {
	var tree Tree
	tree.Write(ones(RunSize), 0)
	tree.Write(ones(2*PageSize), 1<<30)
	for stop := range 3 {
		n := 0
		tree.Extents(0, 1<<31, func(off, k int64) bool {
			n++
			return n <= stop
		})
		if n != stop+1 {
			t.Errorf("%d calls after the end", n-stop-1)
		}
	}
}
