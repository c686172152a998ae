package vhdx

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// A writer is what an image that may be written has beyond one that is read.
//
// Whatever is no payload goes through the log: changed pages of the block
// allocation table and of sector bitmaps gather in memory, and commit brings
// them to the file in steps, each of which is safe before the next begins.
//
//  1. An entry with all changes is written to the log, which is empty, and
//     synced, and with it the payload and the growth of the file.
//  2. A header that names this entry is written. From here on, the changes
//     are made: who opens the file replays the log.
//  3. The changes are written to their places.
//  4. Headers without a log are written.
//
// A commit that fails goes on where it failed when it is called again.
type writer struct {
	im   *Image
	lazy bool   // changes wait for Sync
	salt []byte // makes the identifiers of forks differ

	began    bool                       // this session has its identifiers
	coming   GUID                       // was promised to be the next session's DataWriteGUID, if not zero
	unsynced bool                       // a header was written and not synced
	pages    map[int64]bool             // pages of the table that were changed
	bits     map[int64]*[logSector]byte // changed sectors of bitmap blocks and metadata, by their place

	stage    stage // of a commit under way
	logGUID  GUID
	inflight []update

	free   []disk.Extent // places that nothing takes; they may hold old bytes
	freed  []disk.Extent // places that will be free after the next commit
	frozen []disk.Extent // places that will be free after the commit under way
}

// A stage is the step of a commit that comes next.
type stage uint8

const (
	idle stage = iota
	activate
	apply
	retire
)

// opSectors bounds how many sectors one change of a block makes dirty: pages of
// the table for the block and for its bitmap, and 64 KiB of bits.
const opSectors = 3 + 16

func newWriter(im *Image) *writer {
	return &writer{im: im, pages: map[int64]bool{}, bits: map[int64]*[logSector]byte{}}
}

// fork returns a writer for c, a fork of the image. Both images give new
// identifiers when they are written again, and not the same.
func (w *writer) fork(c *Image) *writer {
	f := *w
	f.im = c
	f.pages, f.bits = maps.Clone(w.pages), map[int64]*[logSector]byte{}
	for off, b := range w.bits {
		own := *b
		f.bits[off] = &own
	}
	f.free, f.freed, f.frozen = slices.Clone(w.free), slices.Clone(w.freed), slices.Clone(w.frozen)
	f.salt = digest(w.salt, []byte("fork"))
	w.salt = digest(w.salt, []byte("stay"))
	w.began, f.began = false, false
	f.coming = GUID{} // the promise is this image's
	return &f
}

func digest(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(p))))
		h.Write(p)
	}
	return h.Sum(nil)
}

// toGUID makes a GUID of version 4 out of a digest.
func toGUID(sum []byte) GUID {
	g := GUID(sum[:16])
	g[6] = g[6]&0x0F | 0x40
	g[8] = g[8]&0x3F | 0x80
	return g
}

// newGUID derives an identifier from those of the file, what it is for, and
// the header's sequence number, which never comes again.
func (w *writer) newGUID(what string) GUID {
	h := &w.im.header
	seq := binary.LittleEndian.AppendUint64(nil, h.SequenceNumber)
	return toGUID(digest([]byte(what), h.FileWriteGUID[:], h.DataWriteGUID[:], seq, w.salt))
}

// begin gives the file and the disk their new identifiers, before anything else
// of a session is written.
func (w *writer) begin() error {
	if w.began {
		return nil
	}
	if err := w.finish(); err != nil {
		return err
	}
	h := w.im.header
	h.FileWriteGUID, h.DataWriteGUID = w.newGUID("file"), w.nextData()
	if err := w.putHeaders(h); err != nil {
		return err
	}
	w.began, w.coming = true, GUID{}
	return nil
}

// recover replays the log, after it was seen that the image opens with it.
func (w *writer) recover() error {
	if _, err := openReading(w.im.src); err != nil {
		return err
	}
	h := w.im.header
	h.FileWriteGUID = w.newGUID("file")
	if err := w.putHeaders(h); err != nil {
		return err
	}
	if err := w.im.replay(w.im.file); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	h.LogGUID = GUID{}
	return w.putHeaders(h)
}

// putHeader makes h the current header: it writes it over the other one, with
// the next sequence number, and leaves the syncing to the caller.
func (w *writer) putHeader(h Header) error {
	if w.unsynced {
		if err := w.sync(); err != nil {
			return err
		}
	}
	im := w.im
	if im.header.SequenceNumber == math.MaxUint64 {
		return bad(ErrHeader, headerAt(im.slot)+8, "header sequence number", "there is none after %d", im.header.SequenceNumber)
	}
	h.SequenceNumber = im.header.SequenceNumber + 1
	b := h.Bytes()
	w.unsynced = true
	if err := writeFull(im.file, b[:], headerAt(1-im.slot), "header"); err != nil {
		return err
	}
	im.header, im.slot = h, 1-im.slot
	return nil
}

// putHeaders brings h to both places. The first of them is safe when it
// returns, so that what the header announces may follow.
func (w *writer) putHeaders(h Header) error {
	old, slot := w.im.header, w.im.slot
	err := w.putHeader(h)
	if err == nil {
		err = w.sync()
	}
	if err != nil {
		w.im.header, w.im.slot = old, slot // which is sound in any case
		return err
	}
	return w.putHeader(h)
}

// commit brings all changes to the file.
func (w *writer) commit() error {
	if err := w.finish(); err != nil || w.pending() == 0 {
		return err
	}
	im := w.im
	ups := w.updates()
	guid := w.newGUID("log")
	log := encodeEntry(guid, im.header.SequenceNumber+1, im.file.Size(), ups)
	if err := writeFull(im.file, log, int64(im.header.LogOffset), "log"); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	w.stage, w.logGUID, w.inflight = activate, guid, ups
	w.frozen, w.freed = w.freed, nil
	clear(w.pages)
	clear(w.bits)
	return w.finish()
}

// pending returns how many sectors wait for a commit.
func (w *writer) pending() int { return len(w.pages) + len(w.bits) }

// waiting returns the sector of a bitmap block at off as it was changed, or nil
// if the file has it: it waits for a commit, or for one that failed to go on.
func (w *writer) waiting(off int64) *[logSector]byte {
	if b := w.bits[off]; b != nil {
		return b
	}
	for _, u := range w.inflight {
		if u.off == off {
			return u.data
		}
	}
	return nil
}

// updates returns what waits for a commit, in the order of the file.
func (w *writer) updates() []update {
	im := w.im
	ups := make([]update, 0, w.pending())
	for n := range w.pages {
		ups = append(ups, update{im.lay.tableAt + n*logSector, im.table.pages[n].Load().bytes()})
	}
	for off, b := range w.bits {
		ups = append(ups, update{off, b})
	}
	slices.SortFunc(ups, func(a, b update) int { return cmp.Compare(a.off, b.off) })
	return ups
}

// finish goes through the steps of a commit that are left.
func (w *writer) finish() error {
	im := w.im
	h := im.header
	if w.stage == activate {
		h.LogGUID = w.logGUID
		old, slot := im.header, im.slot
		err := w.putHeader(h)
		if err == nil {
			err = w.sync()
		}
		if err != nil {
			im.header, im.slot = old, slot
			return err
		}
		w.stage = apply
	}
	if w.stage == apply {
		for _, u := range w.inflight {
			if err := writeFull(im.file, u.data[:], u.off, "block allocation table"); err != nil {
				return err
			}
		}
		if err := w.sync(); err != nil {
			return err
		}
		w.stage = retire
	}
	if w.stage == retire {
		h.LogGUID = GUID{}
		if err := w.putHeaders(h); err != nil {
			return err
		}
		w.stage, w.inflight = idle, nil
		w.release()
	}
	return nil
}

// release makes the places free that the commit has given up, and their bytes
// zero where that costs nothing.
func (w *writer) release() {
	for _, x := range w.frozen {
		if d, ok := w.im.file.(disk.Discarder); ok {
			_ = d.Discard(x.Off, x.Len) // they are zeroed again when they are taken
		}
		w.free = append(w.free, x)
	}
	w.frozen = nil
}

// findFree reads the whole table and finds what nothing takes in the file. It
// returns where the file could end. No changes may wait for a commit.
func (w *writer) findFree() (end int64, err error) {
	taken, err := w.im.scan()
	if err != nil {
		return 0, err
	}
	w.free = gaps(taken, w.im.file.Size()&^(mib-1))
	return taken[len(taken)-1].End(), nil
}

// reserve makes sure that the changes of one more block fit in the log together
// with what waits already.
func (w *writer) reserve() error {
	if w.pending()+opSectors <= maxUpdates(int64(w.im.header.LogLength)) {
		return nil
	}
	return w.commit()
}

// take finds a place for n bytes in the file: the smallest gap that holds them,
// or the end. They are zero.
func (w *writer) take(n int64) (int64, error) {
	best := -1
	for i, x := range w.free {
		if x.Len >= n && (best < 0 || x.Len < w.free[best].Len) {
			best = i
		}
	}
	if best >= 0 {
		x := &w.free[best]
		off := x.Off
		if err := w.extend(off + n); err != nil { // a block that was stored short was here
			return 0, err
		}
		if err := erase(w.im.file, off, n); err != nil {
			return 0, err
		}
		x.Off, x.Len = x.Off+n, x.Len-n
		if x.Len == 0 {
			w.free = slices.Delete(w.free, best, best+1)
		}
		return off, nil
	}
	off := roundUp(w.im.file.Size(), mib)
	if off > maxFile-n {
		return 0, bad(ErrAllocate, off, "file", "no room for %d bytes", n)
	}
	if err := w.extend(off + n); err != nil {
		return 0, err
	}
	return off, nil
}

// extend makes the file at least size bytes long.
func (w *writer) extend(size int64) error {
	if w.im.file.Size() >= size {
		return nil
	}
	if err := w.im.file.Resize(size); err != nil {
		return ioError(size, "file size", allocateError{err})
	}
	return nil
}

// allocateError is what a file answered to growth, as ErrAllocate.
type allocateError struct{ err error }

func (e allocateError) Error() string   { return ErrAllocate.Error() + ": " + e.err.Error() }
func (e allocateError) Unwrap() []error { return []error{ErrAllocate, e.err} }

// set changes the i-th entry of the table, whose page has been read.
func (w *writer) set(i int64, e entry) {
	w.im.table.writable(i).entry[i%pageEntries] = e
	w.pages[i/pageEntries] = true
}

// sync waits until what was written is safe, where the file knows of that.
func (w *writer) sync() error {
	if s, ok := w.im.file.(interface{ Sync() error }); ok {
		if err := s.Sync(); err != nil {
			return ioError(-1, "file", err)
		}
	}
	w.unsynced = false
	return nil
}

// writeFull writes p at off of f.
func writeFull(f disk.Store, p []byte, off int64, field string) error {
	n, err := f.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return ioError(off, field, err)
	}
	return nil
}

// erase makes a range of f zero.
func erase(f disk.Store, off, n int64) error {
	if err := disk.Discard(f, off, n); err != nil {
		return ioError(off, "data", err)
	}
	return nil
}
