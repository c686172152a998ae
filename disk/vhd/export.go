package vhd

import (
	"io"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// Write writes an image of the disk src to w, front to back, and returns how
// many bytes it wrote. It is the same image, byte for byte, as writing src in
// order to one from Create. See Plan for sparse files, for the size in advance,
// and for what a differencing image holds.
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
//
// A differencing image holds what src says is not its parent's: *[disk.Overlay]
// and *Image tell, which must be over a disk equal to the parent. Any other src
// is compared with the parent, sector by sector, where the two may differ.
type Plan struct {
	draft  *draft
	src    disk.Source
	blocks []uint32 // those that will be there, ascending
	bits   []byte   // of a differencing image, their bitmaps, one behind the other
}

// NewPlan looks through what src has allocated and plans an image of it. The
// size in o may be zero, for the size of src.
func NewPlan(src disk.Source, o Options) (*Plan, error) {
	if o.Size = orElse(o.Size, src.Size()); o.Size != src.Size() {
		return nil, during("NewPlan", bad(ErrSize, -1, "disk size", "%d asked for, the source has %d", o.Size, src.Size()))
	}
	d, err := newDraft(o)
	if err != nil {
		return nil, during("NewPlan", err)
	}
	p := &Plan{draft: d, src: src}
	switch d.footer.Type {
	case Dynamic:
		err = p.findBlocks()
	case Differencing:
		err = p.findOwn()
	}
	if err != nil {
		return nil, during("NewPlan", err)
	}
	return p, nil
}

// findBlocks fills p.blocks.
func (p *Plan) findBlocks() error {
	read := func(q []byte, at int64) error { return readFull(p.src, q, at, "source") }
	for b, err := range virtdisk.UsedBlocks(p.src, p.draft.layout.block, read) {
		if err != nil {
			return err
		}
		p.blocks = append(p.blocks, uint32(b))
	}
	return nil
}

// Size returns the length of the file.
func (p *Plan) Size() int64 { return p.draft.fileSize(int64(len(p.blocks))) }

// WriteTo writes the image to w, front to back.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	s := virtdisk.NewStream(w)
	err := p.write(s)
	return s.Written(), during("WriteTo", err)
}

// WriteAtTo writes the image to w, leaving out what is zero: w must read as
// zero there already, as a new file does. The last write is the footer's, so
// that a file which grows by being written has its length.
func (p *Plan) WriteAtTo(w io.WriterAt) error {
	return during("WriteAtTo", p.write(virtdisk.NewSparse(w)))
}

func (p *Plan) write(s virtdisk.Sink) error {
	d := p.draft
	if size := p.src.Size(); size != d.size {
		return bad(ErrSize, -1, "disk size", "%d when planned, now %d", d.size, size)
	}
	if d.footer.Type == Fixed {
		if err := s.CopyFrom(p.src, 0, d.size); err != nil {
			return err
		}
	} else if err := p.writeBlocks(s); err != nil {
		return err
	}
	if _, err := s.Write(d.rawFooter[:]); err != nil {
		return ioError(-1, "footer", err)
	}
	return nil
}

// writeBlocks writes all but the footer of an image that is not fixed.
func (p *Plan) writeBlocks(s virtdisk.Sink) error {
	d, l := p.draft, &p.draft.layout
	if err := d.writeFront(s, p.entries()); err != nil {
		return err
	}
	for i, b := range p.blocks {
		at := d.first + int64(i)*d.stride
		if err := s.SkipTo(at); err != nil {
			return err
		}
		bits := p.bitmap(i)
		if _, err := s.Write(bits); err != nil {
			return ioError(-1, "block bitmap", err)
		}
		start := int64(b) * l.block
		for from, to := range bits.set(0, min(l.block, d.size-start)) {
			if err := s.SkipTo(at + l.bitmap + from); err != nil {
				return err
			}
			if err := s.CopyFrom(p.src, start+from, to-from); err != nil {
				return err
			}
		}
	}
	return s.SkipTo(d.fileSize(int64(len(p.blocks))) - FooterSize)
}

// bitmap returns the bitmap of the i-th block there will be.
func (p *Plan) bitmap(i int) sectorBits {
	n := p.draft.layout.bitmap
	if p.bits != nil {
		return p.bits[int64(i)*n:][:n]
	}
	full := make(sectorBits, n)
	full.add(0, 8*n)
	return full
}

// entries returns a function that gives the table's entries in order.
func (p *Plan) entries() func(b int64) uint32 {
	n := 0
	return func(b int64) uint32 {
		if n == len(p.blocks) || int64(p.blocks[n]) != b {
			return absent
		}
		n++
		return uint32((p.draft.first + int64(n-1)*p.draft.stride) / SectorSize)
	}
}
