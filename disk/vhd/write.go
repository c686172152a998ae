package vhd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// WriteAt writes the disk, in place. Zeros written where no block is, nor
// anything in the parent, change nothing, anything else there adds a block
// behind the others, whole. A differencing image keeps what is written and
// takes over from its parent what that leaves of the grain around; see
// SetGrain. A write
// that an error of the file interrupts has written n bytes and perhaps some
// more of the block it was at, and nothing else: all that was written before
// can be read, now and from the file.
func (im *Image) WriteAt(p []byte, off int64) (int, error) {
	if im.file == nil {
		return 0, during("WriteAt", disk.ErrReadOnly)
	}
	if off < 0 {
		return 0, during("WriteAt", disk.ErrRange)
	}
	var short error
	if rest := max(im.size-off, 0); int64(len(p)) > rest {
		p, short = p[:rest], disk.ErrRange
	}
	n, err := im.write(p, off)
	if err == nil {
		err = short
	}
	return n, during("WriteAt", err)
}

// write stores p, which lies wholly inside the disk.
func (im *Image) write(p []byte, off int64) (int, error) {
	if im.dyn == nil {
		return im.writeFile(p, off, "data")
	}
	n := 0
	for n < len(p) {
		b, in := off/im.dyn.block, off%im.dyn.block
		seg := p[n:]
		if rest := im.dyn.block - in; int64(len(seg)) > rest {
			seg = seg[:rest]
		}
		if err := im.writeBlock(seg, b, in); err != nil {
			return n, err
		}
		n, off = n+len(seg), off+int64(len(seg))
	}
	return n, nil
}

// writeBlock stores p at the place in of block b.
func (im *Image) writeBlock(p []byte, b, in int64) error {
	if im.link != nil {
		return im.writeChild(p, b, in)
	}
	entry := im.table.entry(b)
	if entry == absent {
		if virtdisk.AllZero(p) {
			return nil
		}
		return im.allocate(b, in, int64(len(p)), p)
	}
	if !im.table.isFull(b) {
		if err := im.fill(b, entry); err != nil {
			return err
		}
	}
	_, err := im.writeFile(p, bitmapAt(entry)+im.dyn.bitmap+in, "block data")
	return err
}

// allocate adds block b, in which n bytes from its place in on are stored: p,
// or zeros if p is nil. The order of the writes keeps
// a good footer at the end of the file all the time, but for the instant
// between growth and the footer's own write, when its copy at the start stands
// in; and the block becomes part of the disk with the last write, complete. A
// failure on the way loses room in the file and nothing else.
func (im *Image) allocate(b, in, n int64, p []byte) error {
	at := im.dyn.place(im.end)
	data := at + im.dyn.bitmap
	end := im.dyn.place(data + im.dyn.block)
	if at/SectorSize >= int64(absent) {
		return bad(ErrAllocate, at, "block allocation table", "block %d would lie behind the reach of an entry", b)
	}
	if err := im.moveFooter(end); err != nil {
		return err
	}
	head := make([]byte, data-im.end) // the old footer, a gap, the bitmap
	bits := sectorBits(head[at-im.end:])
	if im.link != nil {
		bits.add(in/SectorSize, (in+n)/SectorSize)
	} else {
		bits.add(0, int64(len(bits))*8)
	}
	old := im.end
	im.end = end
	if _, err := im.writeFile(head, old, "block bitmap"); err != nil {
		return err
	}
	if len(p) > 0 {
		if _, err := im.writeFile(p, data+in, "block data"); err != nil {
			return err
		}
	}
	if err := im.sync(); err != nil {
		return err
	}
	var entry [4]byte
	binary.BigEndian.PutUint32(entry[:], uint32(at/SectorSize))
	if _, err := im.writeFile(entry[:], im.dyn.tableAt+b*4, "block allocation table"); err != nil {
		return err
	}
	im.table.set(b, uint32(at/SectorSize))
	im.noteFull(b, bits)
	return im.sync()
}

// place returns where the next bitmap, and until then the footer, goes in a
// file whose data ends at end: the first place from where the data of a block
// begins at a multiple of 4096, as Windows 8 and later have it.
func (l *layout) place(end int64) int64 {
	return roundUp(end+l.bitmap, blockAlign) - l.bitmap
}

const blockAlign = 4096

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// moveFooter makes the file longer and writes the footer at end.
func (im *Image) moveFooter(end int64) error { return im.putFooter(im.rawFooter, end) }

// putFooter makes the file end behind a footer at end, which it writes; one of
// 511 bytes that was there needs another byte for that. If it fails the file
// gets its old length back, if possible, and with it the old footer.
func (im *Image) putFooter(raw [FooterSize]byte, end int64) error {
	old := im.file.Size()
	if err := im.file.Resize(end + FooterSize); err != nil {
		return ioError(end, "file size", fmt.Errorf("%w: %w", ErrAllocate, err))
	}
	if _, err := im.writeFile(raw[:], end, "footer"); err != nil {
		if undo := im.file.Resize(old); undo != nil {
			err = errors.Join(err, ioError(old, "file size", undo))
		}
		return err
	}
	return nil
}

// fill sets every bit in the bitmap of b. Bytes that the bitmap denied until
// now must be zero; those of a careless writer are made so first.
func (im *Image) fill(b int64, entry uint32) error {
	bits, err := im.bitmap(b, entry)
	if err != nil || im.table.isFull(b) {
		return err
	}
	data := bitmapAt(entry) + im.dyn.bitmap
	for from, to := range bits.clear(0, im.dyn.block) {
		if err := im.eraseNonzero(data+from, to-from); err != nil {
			return err
		}
	}
	if err := im.sync(); err != nil {
		return err
	}
	for i := range bits {
		bits[i] = 0xFF
	}
	im.table.writable(b) // from here on the bitmap is not that of other forks
	if _, err := im.writeFile(bits, bitmapAt(entry), "block bitmap"); err != nil {
		return err
	}
	im.table.setFull(b)
	return im.sync()
}

// eraseNonzero makes a range of the file zero and leaves alone what is so.
func (im *Image) eraseNonzero(off, n int64) error {
	buf := make([]byte, min(n, 64<<10))
	for n > 0 {
		p := buf[:min(int64(len(buf)), n)]
		if err := readFull(im.src, p, off, "block data"); err != nil {
			return err
		}
		if !virtdisk.AllZero(p) {
			if err := im.erase(off, int64(len(p))); err != nil {
				return err
			}
		}
		off, n = off+int64(len(p)), n-int64(len(p))
	}
	return nil
}

// erase makes a range of the file zero.
func (im *Image) erase(off, n int64) error {
	if err := disk.Discard(im.file, off, n); err != nil {
		return ioError(off, "data", err)
	}
	return nil
}

// Discard makes a range of the disk read as zero. Blocks keep their place in
// the file, and their bytes there become zero, so that a file that can be
// sparse gets smaller in effect. A differencing image says of what its parent
// holds there that it is zero, and may need further blocks for that.
func (im *Image) Discard(off, n int64) error {
	if im.file == nil {
		return during("Discard", disk.ErrReadOnly)
	}
	if off < 0 || n < 0 || off > im.size || n > im.size-off {
		return during("Discard", disk.ErrRange)
	}
	switch {
	case im.dyn == nil:
		return during("Discard", im.erase(off, n))
	case im.link != nil:
		return during("Discard", im.discardChild(off, n))
	}
	for b, entry := range im.table.placed(off / im.dyn.block) {
		start := b * im.dyn.block
		from, to := max(off, start), min(off+n, start+im.used(b))
		if from >= to {
			break
		}
		if err := im.erase(bitmapAt(entry)+im.dyn.bitmap+from-start, to-from); err != nil {
			return during("Discard", err)
		}
	}
	return nil
}

// writeFile writes p at off of the file.
func (im *Image) writeFile(p []byte, off int64, field string) (int, error) {
	n, err := im.file.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return n, ioError(off, field, err)
	}
	return n, nil
}

// sync waits until what was written is safe, where the file knows of that.
func (im *Image) sync() error {
	if s, ok := im.file.(interface{ Sync() error }); ok {
		if err := s.Sync(); err != nil {
			return ioError(-1, "file", err)
		}
	}
	return nil
}
