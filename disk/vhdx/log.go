package vhdx

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

const (
	entryMark    = "loge"
	zeroMark     = "zero"
	descMark     = "desc"
	dataMark     = "data"
	entryHead    = 64
	descSize     = 32
	headDescs    = (logSector - entryHead) / descSize // descriptors in the first sector of an entry
	sectorDescs  = logSector / descSize               // in each further one
	leadingBytes = 8                                  // of a data sector, displaced by its marks
	trailBytes   = 4
)

// maxFile bounds what a log may make of a file: the largest disk, its tables,
// and room for regions that others may add.
const maxFile int64 = 80 << 40

// logEntry is the head of an entry of the log.
type logEntry struct {
	at       int64 // its place in the log
	length   int64
	tail     int64
	sequence uint64
	count    uint32 // of descriptors
	flushed  uint64 // file size that was stable when it was written
	last     uint64 // file size that holds everything
}

// end returns where the next entry begins in a log of size bytes.
func (e logEntry) end(size int64) int64 { return (e.at + e.length) % size }

// descriptorSectors returns how many sectors n descriptors and the head take.
func descriptorSectors(n int64) int64 {
	return (entryHead + descSize*n + logSector - 1) / logSector
}

// A descriptor is an update that an entry holds: zeros, or one sector of data.
type descriptor struct {
	zero     bool
	off, len int64
	leading  [leadingBytes]byte
	trailing [trailBytes]byte
}

// A logReader reads the ring of entries.
type logReader struct {
	r    io.ReaderAt
	off  int64 // of the log in the file
	size int64
	guid GUID
}

func newLogReader(r io.ReaderAt, h Header) *logReader {
	return &logReader{r: r, off: int64(h.LogOffset), size: int64(h.LogLength), guid: h.LogGUID}
}

// read fills p, which does not cross a sector's end, from the place at of the
// ring.
func (l *logReader) read(p []byte, at int64) error {
	return readFull(l.r, p, l.off+at%l.size, "log")
}

// head reads the head of the entry at a place; ok is false when there is none
// that could be.
func (l *logReader) head(at int64) (e logEntry, ok bool, err error) {
	var b [entryHead]byte
	if err := l.read(b[:], at); err != nil {
		return e, false, err
	}
	le := binary.LittleEndian
	e = logEntry{
		at:       at,
		length:   int64(le.Uint32(b[8:])),
		tail:     int64(le.Uint32(b[12:])),
		sequence: le.Uint64(b[16:]),
		count:    le.Uint32(b[24:]),
		flushed:  le.Uint64(b[48:]),
		last:     le.Uint64(b[56:]),
	}
	ok = string(b[:4]) == entryMark && e.length > 0 && e.length%logSector == 0 && e.length <= l.size &&
		e.tail%logSector == 0 && e.tail < l.size && e.sequence > 0 && getGUID(b[32:]) == l.guid &&
		descriptorSectors(int64(e.count))*logSector <= e.length
	return e, ok, nil
}

// entry reads the entry at a place; ok is false when no valid one is there.
//
// What marks a sector as a descriptor's or a data sector is looked at before
// any checksum is computed: entries that could pass do not overlap then, and
// the work is bounded by the size of the log.
func (l *logReader) entry(at int64) (e logEntry, ok bool, err error) {
	e, ok, err = l.head(at)
	if err != nil || !ok {
		return e, false, err
	}
	data := int64(0)
	ok, err = l.descriptors(e, func(d descriptor) bool {
		if !d.zero {
			data++
		}
		return d.off >= 0 && d.len >= 0 && d.off%logSector == 0 && d.len%logSector == 0
	})
	first := descriptorSectors(int64(e.count))
	if err != nil || !ok || (first+data)*logSector != e.length {
		return e, false, err
	}
	var buf [logSector]byte
	for i := range data {
		if err := l.read(buf[:], e.at+(first+i)*logSector); err != nil {
			return e, false, err
		}
		if !isDataSector(&buf, e.sequence) {
			return e, false, nil
		}
	}
	return l.verify(e)
}

// isDataSector reports whether b bears the marks of a data sector.
func isDataSector(b *[logSector]byte, sequence uint64) bool {
	le := binary.LittleEndian
	return string(b[:4]) == dataMark && le.Uint32(b[4:]) == uint32(sequence>>32) &&
		le.Uint32(b[logSector-trailBytes:]) == uint32(sequence)
}

// verify computes the checksum of an entry.
func (l *logReader) verify(e logEntry) (logEntry, bool, error) {
	var buf [logSector]byte
	var want, sum uint32
	for at := int64(0); at < e.length; at += logSector {
		if err := l.read(buf[:], e.at+at); err != nil {
			return e, false, err
		}
		if at == 0 {
			want = binary.LittleEndian.Uint32(buf[sumAt:])
			clear(buf[sumAt : sumAt+4])
		}
		sum = crc32.Update(sum, castagnoli, buf[:])
	}
	return e, sum == want, nil
}

// descriptors calls do for each descriptor of an entry until it says no. It
// reports whether all of them bear their marks and do agreed to all.
func (l *logReader) descriptors(e logEntry, do func(d descriptor) bool) (ok bool, err error) {
	var buf [logSector]byte
	at, p := e.at, []byte(nil)
	for i := range e.count {
		if len(p) == 0 {
			if err := l.read(buf[:], at); err != nil {
				return false, err
			}
			p, at = buf[:], at+logSector
			if i == 0 {
				p = p[entryHead:]
			}
		}
		d, ok := parseDescriptor(p, e.sequence)
		if !ok || !do(d) {
			return false, nil
		}
		p = p[descSize:]
	}
	return true, nil
}

// parseDescriptor reads one descriptor of an entry. Places beyond what an
// int64 counts come out negative.
func parseDescriptor(p []byte, sequence uint64) (d descriptor, ok bool) {
	le := binary.LittleEndian
	d.off = int64(le.Uint64(p[16:]))
	d.len = logSector
	switch string(p[:4]) {
	case zeroMark:
		d.zero, d.len = true, int64(le.Uint64(p[8:]))
	case descMark:
		d.trailing = [trailBytes]byte(p[4:])
		d.leading = [leadingBytes]byte(p[8:])
	default:
		return d, false
	}
	return d, le.Uint64(p[24:]) == sequence
}

// active finds the active sequence: the run of entries, one behind the other,
// whose last one has the largest sequence number of all complete runs. A run is
// complete when the last entry's tail lies in it; from there on, the entries
// are to be replayed. None at all is an error, as the header says that there is
// something to replay.
func (l *logReader) active() (replay []logEntry, err error) {
	for at := int64(0); at < l.size; {
		run, err := l.run(at)
		if err != nil {
			return nil, err
		}
		if len(run) == 0 {
			at += logSector
			continue
		}
		last, total := run[len(run)-1], int64(0)
		for _, e := range run {
			total += e.length
		}
		if tail := indexOf(run, last.tail); tail >= 0 && (replay == nil || last.sequence > replay[len(replay)-1].sequence) {
			replay = run[tail:]
		}
		at += total // behind the ring's end if the run wrapped: all was looked at
	}
	if replay == nil {
		return nil, bad(ErrMetadataRead, l.off, "log", "the header says it is to be replayed, and no complete sequence is in it")
	}
	return replay, nil
}

// run returns the valid entries one behind the other from a place on, with
// sequence numbers that count up.
func (l *logReader) run(at int64) (run []logEntry, err error) {
	for total := int64(0); ; {
		e, ok, err := l.entry(at)
		if err != nil {
			return nil, err
		}
		if total += e.length; !ok || total > l.size {
			return run, nil
		}
		if n := len(run); n > 0 && e.sequence != run[n-1].sequence+1 {
			return run, nil
		}
		run = append(run, e)
		at = e.end(l.size)
	}
}

func indexOf(run []logEntry, at int64) int {
	for i, e := range run {
		if e.at == at {
			return i
		}
	}
	return -1
}

// replayTo brings what the entries hold to its places in f.
func (l *logReader) replayTo(f File, entries []logEntry) error {
	last := entries[len(entries)-1]
	if last.flushed > uint64(f.Size()) {
		return bad(ErrFileSize, l.off+last.at+48, "log", "the file had %d bytes and now has %d", last.flushed, f.Size())
	}
	if last.last > uint64(maxFile) {
		return bad(ErrMetadataRead, l.off+last.at+56, "log", "a file of %d bytes cannot be", last.last)
	}
	for _, e := range entries {
		if err := l.replayEntry(f, e); err != nil {
			return err
		}
	}
	return grow(f, roundUp(int64(last.last), mib))
}

// replayEntry brings what one entry holds to its places.
func (l *logReader) replayEntry(f File, e logEntry) error {
	var buf [logSector]byte
	var failure error
	at := e.at + descriptorSectors(int64(e.count))*logSector
	_, err := l.descriptors(e, func(d descriptor) bool {
		if failure = l.checkTarget(d, e); failure != nil {
			return false
		}
		old := f.Size()
		if failure = grow(f, d.off+d.len); failure != nil {
			return false
		}
		if d.zero {
			failure = eraseAllocated(f, d.off, min(d.len, old-d.off)) // what growth adds is zero
			return failure == nil
		}
		if failure = l.read(buf[:], at); failure != nil {
			return false
		}
		at += logSector
		copy(buf[:], d.leading[:])
		copy(buf[logSector-trailBytes:], d.trailing[:])
		failure = writeFull(f, buf[:], d.off, "replay of the log")
		return failure == nil
	})
	if failure != nil {
		return failure
	}
	return err
}

// eraseAllocated makes a range of f zero. It takes as long as f has something
// there, however far a log reaches.
func eraseAllocated(f File, off, n int64) error {
	if n <= 0 {
		return nil
	}
	for _, x := range slices.Collect(disk.Extents(f, off, n)) {
		if err := erase(f, x.Off, x.Len); err != nil {
			return err
		}
	}
	return nil
}

// checkTarget refuses updates of what the log does not carry: the file type
// identifier, the headers, and the log itself.
func (l *logReader) checkTarget(d descriptor, e logEntry) error {
	x := disk.Extent{Off: d.off, Len: d.len}
	if d.len > math.MaxInt64-d.off || x.End() > maxFile {
		return bad(ErrMetadataRead, l.off+e.at, "log", "an update of %d bytes at %d is beyond all files", d.len, d.off)
	}
	for _, p := range []disk.Extent{{Off: 0, Len: regionsAt1}, {Off: l.off, Len: l.size}} {
		if overlap(x, p) {
			return bad(ErrMetadataRead, l.off+e.at, "log", "an update of %d bytes at %d is aimed at the headers or at the log", d.len, d.off)
		}
	}
	return nil
}

func overlap(a, b disk.Extent) bool {
	return a.Len > 0 && b.Len > 0 && a.Off < b.End() && b.Off < a.End()
}

// grow makes f at least size bytes long.
func grow(f File, size int64) error {
	if f.Size() >= size {
		return nil
	}
	if err := f.Resize(size); err != nil {
		return ioError(size, "file size", err)
	}
	return nil
}

// An update is one sector of the file that is to be changed through the log.
type update struct {
	off  int64
	data *[logSector]byte
}

// maxUpdates returns how many updates one entry of a log of size bytes holds.
func maxUpdates(size int64) int {
	n := size/logSector - 1
	for descriptorSectors(n)+n > size/logSector {
		n--
	}
	return int(n)
}

// encodeEntry returns an entry that begins a log and is a sequence by itself.
func encodeEntry(guid GUID, sequence uint64, fileSize int64, ups []update) []byte {
	first := descriptorSectors(int64(len(ups)))
	b := make([]byte, (first+int64(len(ups)))*logSector)
	le := binary.LittleEndian
	copy(b, entryMark)
	le.PutUint32(b[8:], uint32(len(b)))
	le.PutUint64(b[16:], sequence)
	le.PutUint32(b[24:], uint32(len(ups)))
	putGUID(b[32:], guid)
	le.PutUint64(b[48:], uint64(fileSize))
	le.PutUint64(b[56:], uint64(fileSize))
	for i, u := range ups {
		d := b[entryHead+descSize*i:]
		copy(d, descMark)
		copy(d[4:], u.data[logSector-trailBytes:])
		copy(d[8:], u.data[:leadingBytes])
		le.PutUint64(d[16:], uint64(u.off))
		le.PutUint64(d[24:], sequence)
		s := b[(first+int64(i))*logSector:][:logSector]
		copy(s, u.data[:])
		copy(s, dataMark)
		le.PutUint32(s[4:], uint32(sequence>>32))
		le.PutUint32(s[logSector-trailBytes:], uint32(sequence))
	}
	seal(b)
	return b
}
