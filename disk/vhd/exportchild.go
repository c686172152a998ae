package vhd

import (
	"bytes"
	"io"
	"iter"

	"github.com/shadowsim/shadowsim/disk"
)

// A spanner knows what of a disk is its own and what its parent's.
type spanner interface {
	Spans(off, n int64) iter.Seq[disk.Span]
}

// findOwn fills the blocks and bitmaps of a differencing image.
func (p *Plan) findOwn() error {
	if s, ok := p.src.(spanner); ok {
		told := int64(0)
		for span := range s.Spans(0, p.draft.size) {
			if told = span.End(); span.Origin != disk.Below {
				p.addOwn(span)
			}
		}
		if told == p.draft.size {
			return nil
		}
		if err := readFull(p.src, make([]byte, 1), told, "source"); err != nil {
			return err
		}
		return ioError(told, "source", io.ErrUnexpectedEOF) // it does not tell what it holds there
	}
	suspects, err := p.suspects()
	if err != nil {
		return err
	}
	for e := range suspects {
		if err := p.compare(e); err != nil {
			return err
		}
	}
	return nil
}

// suspects yields the ranges in which the source may differ from the parent.
func (p *Plan) suspects() (iter.Seq[disk.Extent], error) {
	src, ok := p.src.(disk.Store)
	if !ok {
		src = disk.ReadOnly(p.src)
	}
	seq, err := disk.Diff(src, p.draft.parent)
	if err != nil {
		return nil, ioError(0, "source", err)
	}
	return seq, nil
}

// compare adds the sectors of a range in which the source is not its parent.
func (p *Plan) compare(e disk.Extent) error {
	var bufs [2][64 << 10]byte
	at, end := e.Off&^(SectorSize-1), min(roundUp(e.End(), SectorSize), p.draft.size)
	for at < end {
		n := min(end-at, int64(len(bufs[0])))
		mine, old := bufs[0][:n], bufs[1][:n]
		if err := readFull(p.src, mine, at, "source"); err != nil {
			return err
		}
		if err := readFull(p.draft.parent, old, at, "parent"); err != nil {
			return err
		}
		for i := int64(0); i < n; i += SectorSize {
			if !bytes.Equal(mine[i:i+SectorSize], old[i:i+SectorSize]) {
				p.addOwn(disk.Span{Extent: disk.Extent{Off: at + i, Len: SectorSize}, Origin: disk.Own})
			}
		}
		at += n
	}
	return nil
}

// addOwn makes the grains of a range the image's own, but for zeros over zeros.
func (p *Plan) addOwn(s disk.Span) {
	l, grain := &p.draft.layout, p.draft.grain
	for at := s.Off; at < s.End(); {
		b := at / l.block
		next := min(s.End(), (b+1)*l.block)
		if s.Origin != disk.Zero || !zeroIn(p.draft.parent, at, next-at) {
			used := min(l.block, p.draft.size-b*l.block)
			first, last := (at-b*l.block)&^(grain-1), min(roundUp(next-b*l.block, grain), used)
			p.bitsOf(b).add(first/SectorSize, last/SectorSize)
		}
		at = next
	}
}

// bitsOf returns the bitmap of block b, which is the last one or comes next.
func (p *Plan) bitsOf(b int64) sectorBits {
	n := len(p.blocks)
	if n == 0 || int64(p.blocks[n-1]) != b {
		p.blocks = append(p.blocks, uint32(b))
		p.bits = append(p.bits, make([]byte, p.draft.layout.bitmap)...)
	}
	return p.bits[int64(len(p.bits))-p.draft.layout.bitmap:]
}
