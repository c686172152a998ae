package vhdx

import (
	"bytes"
	"cmp"
	"io"
	"iter"
	"sort"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// Write writes an image of the disk src to w, front to back, and returns how
// many bytes it wrote. See Plan for sparse files and for the size in advance.
func Write(w io.Writer, src disk.Source, o Options) (int64, error) {
	p, err := NewPlan(src, o)
	if err != nil {
		return 0, err
	}
	return p.WriteTo(w)
}

// A Plan is an image of a disk that is yet to be written: it knows which
// blocks there will be, and so how long the file becomes. The disk must not
// change while there is a plan for it; take a snapshot.
type Plan struct {
	draft  *draft
	src    disk.Source
	blocks []planned // all but those that were never written, ascending
	chunks []int64   // that get a sector bitmap block, ascending

	// suspects are the whole sectors in which a source that does not know what is
	// its own may differ from the parent, ascending.
	suspects []disk.Extent
}

// planned is a block of a plan.
type planned struct {
	b     uint32
	state State
}

// NewPlan looks through what src has allocated and plans an image of it. The
// size in o may be zero, for the size of src.
//
// A differencing image gets what src has of its own where src can tell, as a
// [disk.Overlay] and an Image over the same parent can, and otherwise the
// sectors in which src differs from the parent. Only those are read of which
// [disk.Diff] does not know that they are the same.
func NewPlan(src disk.Source, o Options) (*Plan, error) {
	p, err := newPlan(src, o)
	if err != nil {
		return nil, during("NewPlan", err)
	}
	return p, nil
}

func newPlan(src disk.Source, o Options) (*Plan, error) {
	if o.Size = orElse(o.Size, src.Size()); o.Size != src.Size() {
		return nil, bad(ErrSize, -1, "virtual disk size", "%d asked for, the source has %d", o.Size, src.Size())
	}
	d, err := newDraft(o)
	if err != nil {
		return nil, err
	}
	p := &Plan{draft: d, src: src}
	switch d.o.Type {
	case Fixed:
		for b := range d.lay.blocks() {
			p.blocks = append(p.blocks, planned{uint32(b), FullyPresent})
		}
	case Dynamic:
		err = p.findBlocks()
	case Differencing:
		err = p.findOwnBlocks()
	}
	return p, err
}

// findBlocks plans the blocks that hold other than zeros.
func (p *Plan) findBlocks() error {
	read := func(q []byte, at int64) error { return readFull(p.src, q, at, "source") }
	for b, err := range virtdisk.UsedBlocks(p.src, p.draft.lay.block, read) {
		if err != nil {
			return err
		}
		p.blocks = append(p.blocks, planned{uint32(b), FullyPresent})
	}
	return nil
}

// findOwnBlocks plans the blocks of a differencing image.
func (p *Plan) findOwnBlocks() error {
	if err := p.findSuspects(); err != nil {
		return err
	}
	lay := p.draft.lay
	cur, own, zero := int64(-1), int64(0), int64(0)
	flush := func() {
		if cur >= 0 {
			p.plan(cur, own, zero)
		}
		own, zero = 0, 0
	}
	for s, err := range p.spans(0, lay.size) {
		if err != nil {
			return err
		}
		for at := s.Off; at < s.End(); {
			b := at / lay.block
			if b != cur {
				flush()
				cur = b
			}
			to := min(s.End(), (b+1)*lay.block)
			if s.Origin == disk.Zero {
				zero += to - at
			} else {
				own += to - at
			}
			at = to
		}
	}
	flush()
	return nil
}

// plan adds block b, of which so many bytes are its own or known to be zero.
func (p *Plan) plan(b, own, zero int64) {
	lay := p.draft.lay
	state := PartiallyPresent
	switch used := lay.used(b); {
	case zero == used:
		state = Zero
	case own+zero == used:
		state = FullyPresent
	default:
		if c := lay.chunk(b); len(p.chunks) == 0 || p.chunks[len(p.chunks)-1] != c {
			p.chunks = append(p.chunks, c)
		}
	}
	p.blocks = append(p.blocks, planned{uint32(b), state})
}

// A spanner knows what it has of its own; *disk.Overlay and *Image are such.
type spanner interface {
	Spans(off, n int64) iter.Seq[disk.Span]
}

// spans yields the ranges that a differencing image has of its own, or as
// zeros, in whole sectors.
func (p *Plan) spans(off, n int64) iter.Seq2[disk.Span, error] {
	if s, ok := p.src.(spanner); ok {
		return p.ownSpans(s, off, n)
	}
	return p.differences(off, n)
}

// ownSpans takes the source's word. What it has only a part of a sector of
// becomes the whole of it.
func (p *Plan) ownSpans(src spanner, off, n int64) iter.Seq2[disk.Span, error] {
	sector := p.draft.lay.sector
	return func(yield func(disk.Span, error) bool) {
		end, told := off, off
		for s := range src.Spans(off, n) {
			if told = s.End(); s.Origin == disk.Below {
				continue
			}
			from, to := max(s.Off&^(sector-1), end), roundUp(s.End(), sector)
			if from >= to {
				continue
			}
			origin := s.Origin
			if from != s.Off || to != s.End() {
				origin = disk.Own
			}
			if !yield(disk.Span{Extent: disk.Extent{Off: from, Len: to - from}, Origin: origin}, nil) {
				return
			}
			end = to
		}
		if told < off+n { // what it is after that cannot be read
			err := readFull(p.src, make([]byte, 1), told, "source")
			yield(disk.Span{}, cmp.Or(err, ioErrorOrNil(told, "source", io.ErrUnexpectedEOF)))
		}
	}
}

// findSuspects asks where a source that does not know what is its own may
// differ from the parent.
func (p *Plan) findSuspects() error {
	if _, ok := p.src.(spanner); ok {
		return nil
	}
	src, ok := p.src.(disk.Store)
	if !ok {
		src = disk.ReadOnly(p.src)
	}
	changed, err := disk.Diff(src, p.draft.o.Parent.Image)
	if err != nil {
		return ioError(-1, "source", err)
	}
	lay, end := p.draft.lay, int64(0)
	for x := range changed {
		from, to := max(x.Off&^(lay.sector-1), end), min(roundUp(x.End(), lay.sector), lay.size)
		if from < to {
			p.suspects = append(p.suspects, disk.Extent{Off: from, Len: to - from})
			end = to
		}
	}
	return nil
}

// differences compares the source with the parent where they may differ.
func (p *Plan) differences(off, n int64) iter.Seq2[disk.Span, error] {
	first := sort.Search(len(p.suspects), func(i int) bool { return p.suspects[i].End() > off })
	return func(yield func(disk.Span, error) bool) {
		for _, x := range p.suspects[first:] {
			if x.Off >= off+n {
				return
			}
			from, to := max(x.Off, off), min(x.End(), off+n)
			for s, err := range p.compare(from, to-from) {
				if !yield(s, err) || err != nil {
					return
				}
			}
		}
	}
}

// compare yields the sectors in which the source is not its parent.
func (p *Plan) compare(off, n int64) iter.Seq2[disk.Span, error] {
	sector := p.draft.lay.sector
	size := min(n, 64<<10)
	a, b := make([]byte, size), make([]byte, size)
	below := &Image{meta: &metadata{hasParent: true}, lay: p.draft.lay, parent: p.draft.o.Parent.Image}
	return func(yield func(disk.Span, error) bool) {
		for at := off; at < off+n; {
			k := min(size, off+n-at)
			err := readFull(p.src, a[:k], at, "source")
			if err == nil {
				err = below.readParent(b[:k], at)
			}
			if err != nil {
				yield(disk.Span{}, err)
				return
			}
			for i := int64(0); i < k; i += sector {
				x := disk.Span{Extent: disk.Extent{Off: at + i, Len: sector}, Origin: disk.Own}
				if !bytes.Equal(a[i:i+sector], b[i:i+sector]) && !yield(x, nil) {
					return
				}
			}
			at += k
		}
	}
}

// Size returns the length of the file.
func (p *Plan) Size() int64 {
	size := p.draft.first() + int64(len(p.chunks))*mib
	for _, b := range p.blocks {
		if b.state != Zero {
			size += p.draft.lay.block
		}
	}
	return size
}

// WriteTo writes the image to w, front to back.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	s := virtdisk.NewStream(w)
	err := p.write(s)
	return s.Written(), during("WriteTo", err)
}

// WriteAtTo writes the image to w, leaving out what is zero: w must read as
// zero there already, as a new file does. It begins with the last byte, or with
// the size of a w that can be resized, so that the file has its length.
func (p *Plan) WriteAtTo(w io.WriterAt) error {
	return during("WriteAtTo", p.writeSparse(w))
}

func (p *Plan) writeSparse(w io.WriterAt) error {
	size := p.Size()
	if f, ok := w.(File); ok {
		if f.Size() != size {
			if err := f.Resize(size); err != nil {
				return ioError(size, "file size", err)
			}
		}
	} else if _, err := w.WriteAt([]byte{0}, size-1); err != nil {
		return ioError(size-1, "file", err)
	}
	return p.write(virtdisk.NewSparse(w))
}

// write writes the image to s.
func (p *Plan) write(s virtdisk.Sink) error {
	d := p.draft
	if size := p.src.Size(); size != d.lay.size {
		return bad(ErrSize, -1, "virtual disk size", "%d when planned, now %d", d.lay.size, size)
	}
	parts := d.front()
	for _, q := range []part{parts[3], parts[4], parts[5], parts[1], parts[2], parts[0]} { // in the order of the file
		if err := s.SkipTo(q.off); err != nil {
			return ioError(q.off, q.field, err)
		}
		if _, err := s.Write(q.b); err != nil {
			return ioError(q.off, q.field, err)
		}
	}
	if err := s.SkipTo(tableAt); err != nil {
		return ioError(tableAt, "block allocation table", err)
	}
	if err := writeTable(s, p.entries); err != nil {
		return err
	}
	return p.writeBlocks(s)
}

// entries yields the block allocation table. In the file, the bitmap block of a
// chunk comes before its payload blocks.
func (p *Plan) entries(yield func(entry) bool) {
	lay := p.draft.lay
	blocks, chunks, at, bitmap := p.blocks, p.chunks, p.draft.first(), entry(0)
	for i := range lay.entries {
		n, isBitmap := lay.whatIs(i)
		if !isBitmap && n&(1<<lay.ratioShift-1) == 0 && len(chunks) > 0 && chunks[0] == lay.chunk(n) {
			bitmap, at, chunks = makeEntry(at, FullyPresent), at+mib, chunks[1:]
		}
		e := entry(0)
		switch {
		case isBitmap:
			e, bitmap = bitmap, 0
		case len(blocks) > 0 && int64(blocks[0].b) == n:
			if e = makeEntry(0, blocks[0].state); e.inFile() {
				e, at = makeEntry(at, e.state()), at+lay.block
			}
			blocks = blocks[1:]
		}
		if !yield(e) {
			return
		}
	}
}

// writeBlocks writes bitmap blocks and payload blocks.
func (p *Plan) writeBlocks(s virtdisk.Sink) error {
	lay := p.draft.lay
	at, chunks := p.draft.first(), p.chunks
	for _, b := range p.blocks {
		if c := lay.chunk(int64(b.b)); len(chunks) > 0 && chunks[0] == c {
			if err := p.writeBitmap(s, at, c); err != nil {
				return err
			}
			at, chunks = at+mib, chunks[1:]
		}
		if b.state == Zero {
			continue
		}
		if err := p.writeBlock(s, at, b); err != nil {
			return err
		}
		at += lay.block
	}
	return ioErrorOrNil(at, "file", s.SkipTo(at))
}

// writeBitmap writes the sector bitmap block of a chunk at at.
func (p *Plan) writeBitmap(s virtdisk.Sink, at, chunk int64) error {
	lay := p.draft.lay
	bits := make([]byte, mib)
	start := chunk << lay.ratioShift * lay.block
	for x, err := range p.spans(start, min(lay.block<<lay.ratioShift, lay.size-start)) {
		if err != nil {
			return err
		}
		for i := (x.Off - start) / lay.sector; i < (x.End()-start)/lay.sector; i++ {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	if err := s.SkipTo(at); err != nil {
		return ioError(at, "sector bitmap block", err)
	}
	_, err := s.Write(bits)
	return ioErrorOrNil(at, "sector bitmap block", err)
}

// writeBlock writes a payload block at at: all of it, or its own sectors.
func (p *Plan) writeBlock(s virtdisk.Sink, at int64, b planned) error {
	lay := p.draft.lay
	start := int64(b.b) * lay.block
	copyRange := func(off, n int64) error {
		if err := s.SkipTo(at + off - start); err != nil {
			return ioError(at, "block data", err)
		}
		return ioErrorOrNil(at+off-start, "block data", s.CopyFrom(p.src, off, n))
	}
	if b.state == FullyPresent {
		return copyRange(start, lay.used(int64(b.b)))
	}
	for x, err := range p.spans(start, lay.used(int64(b.b))) {
		if err == nil {
			err = copyRange(x.Off, x.Len)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ioErrorOrNil is ioError for an error that may be nil.
func ioErrorOrNil(off int64, field string, err error) error {
	if err == nil {
		return nil
	}
	return ioError(off, field, err)
}
