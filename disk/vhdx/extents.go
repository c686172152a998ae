package vhdx

import (
	"iter"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// A source of a piece of the disk: nothing, a place in the file, or the parent.
type piece struct {
	disk.Extent             // of the disk
	origin      disk.Origin // Own, Zero or Below
	at          int64       // in the file, when Own
}

// pieces yields the range of the disk in order as pieces, none of them larger
// than a block unless it is empty. It ends with the first error.
func (im *Image) pieces(off, n int64) iter.Seq2[piece, error] {
	end, nothing := off+n, disk.Zero
	if im.lay.hasParent {
		nothing = disk.Below
	}
	return func(yield func(piece, error) bool) {
		for at := off; at < end; {
			b, in := at/im.lay.block, at%im.lay.block
			if next := im.emptyUntil(b); next > b {
				stop := min(end, next*im.lay.block)
				if !yield(piece{Extent: disk.Extent{Off: at, Len: stop - at}, origin: nothing}, nil) {
					return
				}
				at = stop
				continue
			}
			to := min(end-at+in, im.lay.block)
			if !im.blockPieces(b, in, to, yield) {
				return
			}
			at += to - in
		}
	}
}

// blockPieces yields the pieces of block b between two places.
func (im *Image) blockPieces(b, from, to int64, yield func(piece, error) bool) bool {
	start := b * im.lay.block
	whole := piece{Extent: disk.Extent{Off: start + from, Len: to - from}, origin: disk.Zero}
	e, err := im.payload(b)
	switch {
	case err != nil:
		yield(whole, err)
		return false
	case e.state() == FullyPresent:
		whole.origin, whole.at = disk.Own, e.offset()+from
	case e.state() == NotPresent && im.lay.hasParent:
		whole.origin = disk.Below
	case e.state() == PartiallyPresent:
		return im.partialPieces(b, from, to, e, yield)
	}
	return yield(whole, nil)
}

func (im *Image) partialPieces(b, from, to int64, e entry, yield func(piece, error) bool) bool {
	start := b * im.lay.block
	runs := im.runs(b, from, to)
	for runs.next() {
		p := piece{Extent: disk.Extent{Off: start + runs.from, Len: runs.to - runs.from}, origin: disk.Below}
		if runs.own {
			p.origin, p.at = disk.Own, e.offset()+runs.from
		}
		if !yield(p, nil) {
			return false
		}
	}
	if runs.err != nil {
		yield(piece{Extent: disk.Extent{Off: start + from, Len: to - from}}, runs.err)
	}
	return runs.err == nil
}

// Spans yields a range of the disk, as far as that goes, as spans in ascending
// order without a gap, neighbours of different origin: what the file has of its
// own, what it knows to be zero whatever a parent says, and what is the
// parent's. An image that is not differencing has nothing below. Spans end
// where the tables cannot be read.
func (im *Image) Spans(off, n int64) iter.Seq[disk.Span] {
	off, n = im.clip(off, n)
	return func(yield func(disk.Span) bool) {
		var last disk.Span
		for p, err := range im.pieces(off, n) {
			if err != nil {
				break
			}
			if last.Len > 0 && last.Origin == p.origin {
				last.Len += p.Len
				continue
			}
			if last.Len > 0 && !yield(last) {
				return
			}
			last = disk.Span{Extent: p.Extent, Origin: p.origin}
		}
		if last.Len > 0 {
			yield(last)
		}
	}
}

// clip returns the part of a range that lies inside the disk.
func (im *Image) clip(off, n int64) (int64, int64) {
	if off < 0 {
		off, n = 0, n+off
	}
	if off >= im.lay.size || n <= 0 {
		return 0, 0
	}
	return off, min(n, im.lay.size-off)
}

// Extents yields the ranges of the disk that may hold something other than
// zeros: of what is in the file what the file itself has allocated, and of what
// shows from below what the parent has. What cannot be told counts.
func (im *Image) Extents(off, n int64) iter.Seq[disk.Extent] {
	off, n = im.clip(off, n)
	return func(yield func(disk.Extent) bool) {
		j := virtdisk.Joiner{Yield: yield}
		for p, err := range im.pieces(off, n) {
			if err != nil {
				j.Add(disk.Extent{Off: p.Off, Len: off + n - p.Off}) // reading it will tell
				break
			}
			if !im.pieceExtents(&j, p) {
				return
			}
		}
		j.Flush()
	}
}

// pieceExtents gives j what may be other than zero in a piece.
func (im *Image) pieceExtents(j *virtdisk.Joiner, p piece) bool {
	src, at, n := im.src, p.at, p.Len
	switch {
	case p.origin == disk.Zero:
		return true
	case p.origin == disk.Below && im.parent == nil:
		return j.Add(p.Extent)
	case p.origin == disk.Below:
		src, at, n = im.parent, p.Off, min(p.Len, im.parent.lay.size-p.Off)
	}
	if n <= 0 {
		return true
	}
	for e := range disk.Extents(src, at, n) {
		if !j.Add(disk.Extent{Off: e.Off - at + p.Off, Len: e.Len}) {
			return false
		}
	}
	return true
}

// Map tells that the bytes of a block are bytes of the file, or of the parent,
// so that a copy can pass them on by reference.
func (im *Image) Map(off, n int64) disk.Segment {
	off, n = im.clip(off, n)
	for p, err := range im.pieces(off, n) {
		switch {
		case err != nil:
			return disk.Segment{Off: off, Len: p.Len}
		case p.origin == disk.Own:
			return disk.Segment{Store: im.src, Off: p.at, Len: p.Len}
		case p.origin == disk.Below && im.parent != nil && p.Off < im.parent.lay.size:
			return disk.Segment{Store: im.parent, Off: p.Off, Len: min(p.Len, im.parent.lay.size-p.Off)}
		}
		return disk.Segment{Off: off, Len: p.Len}
	}
	return disk.Segment{Off: off}
}
