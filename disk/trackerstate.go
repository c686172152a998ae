package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// What a [Tracker] saves begins with trackerMark, which names the version, and
// ends with a checksum of all before. Between them stand numbers as
// encoding/binary's unsigned varints, and texts, a length and bytes each:
//
//	text     the stamp
//	number   size of the store
//	number   grain
//	number   1 if tracking is switched off, else 0
//	number   points, in the order in which they were sealed, and for each:
//	  text     its id
//	  number   1 if it is lost, else 0
//	  number   runs of changed units, in ascending order, no two touching:
//	    number   units from the end of the last run to this one
//	    number   units in it
const trackerMark = "shadowsim tracker 1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Save returns what the tracker remembers, to be given to [LoadTracker] after a
// restart. The stamp names the state of the disk, for instance by the
// DataWriteGUID of its image: bytes that are found beside another disk, or
// beside this one after it was changed elsewhere, are not believed.
//
// What is written later is not in it. Where power may fail, throw what was saved
// away as soon as it is loaded, or keep a list of regions that are going to be
// written beside it and [Tracker.Mark] those.
func (t *Tracker) Save(stamp string) []byte {
	b := appendText([]byte(trackerMark), stamp)
	b = binary.AppendUvarint(b, uint64(t.Size()))
	b = binary.AppendUvarint(b, uint64(t.grain))
	b = appendBool(b, t.off)
	b = binary.AppendUvarint(b, uint64(len(t.points)))
	for _, p := range t.points {
		b = appendBool(appendText(b, p.id), p.lost)
		b = p.appendRuns(b, t.whole().End())
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, yes bool) []byte {
	if yes {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendRuns appends what was changed until the next point, up to an end.
func (p point) appendRuns(b []byte, end int64) []byte {
	var runs []byte
	count, last := uint64(0), int64(0)
	for e := range p.changed.runs(0, end) {
		runs = binary.AppendUvarint(runs, uint64(e.Off-last)/sectorSize)
		runs = binary.AppendUvarint(runs, uint64(e.Len)/sectorSize)
		count, last = count+1, e.End()
	}
	return append(binary.AppendUvarint(b, count), runs...)
}

// LoadTracker returns s with the change tracking that [Tracker.Save] saved. Bytes
// that are damaged, cut off, from another version, or were saved with another
// stamp or of a store of another size are an [Error] around [ErrTrackingLost],
// with the place in them: nobody knows then what was changed, and a new Tracker
// has to begin.
func LoadTracker(s Store, saved []byte, stamp string) (*Tracker, error) {
	r := trackerReader{whole: saved, seen: map[string]bool{}}
	t, err := r.tracker(s, stamp)
	if err != nil {
		return nil, fail("LoadTracker", int64(r.at), err)
	}
	return t, nil
}

// A trackerReader reads what a tracker saved. The first error stays.
type trackerReader struct {
	whole []byte
	body  []byte          // without the checksum
	seen  map[string]bool // ids
	at    int
	err   error
}

// lost notes what is wrong.
func (r *trackerReader) lost(format string, args ...any) error {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrTrackingLost)
	}
	return r.err
}

func (r *trackerReader) tracker(s Store, stamp string) (*Tracker, error) {
	if end := len(r.whole) - 4; end < len(trackerMark) || string(r.whole[:len(trackerMark)]) != trackerMark {
		return nil, r.lost("%d bytes that do not begin with %q", len(r.whole), trackerMark)
	} else if r.body = r.whole[:end]; crc32.Checksum(r.body, castagnoli) != binary.LittleEndian.Uint32(r.whole[end:]) {
		return nil, r.lost("the checksum of %d bytes is wrong", len(r.whole))
	}
	r.at = len(trackerMark)
	if was := r.text(); r.err == nil && was != stamp {
		return nil, r.lost("saved of the disk %q, not of %q", was, stamp)
	}
	if size := r.number(math.MaxInt64); r.err == nil && size != s.Size() {
		return nil, r.lost("saved of a store of %d bytes, not of %d", size, s.Size())
	}
	grain := r.number(math.MaxInt64)
	if r.err == nil && grain < sectorSize {
		return nil, r.lost("a grain of %d bytes", grain)
	}
	t := &Tracker{wrapper: wrapper{s}, grain: grain, off: r.flag()}
	count := r.number(int64(len(r.body)))
	if t.off && count > 0 {
		return nil, r.lost("%d points without tracking", count)
	}
	for ; count > 0 && r.err == nil; count-- {
		r.point(t)
	}
	if r.err == nil && r.at < len(r.body) {
		return nil, r.lost("%d bytes too many", len(r.body)-r.at)
	}
	return t, r.err
}

// point reads a point of t.
func (r *trackerReader) point(t *Tracker) {
	p := point{id: r.text(), lost: r.flag()}
	if r.err == nil && r.seen[p.id] {
		r.lost("the point %q twice", p.id)
	}
	r.seen[p.id] = true
	runs := r.number(int64(len(r.body)))
	if r.err != nil {
		return
	}
	p.changed = newBitmap(t.whole().Len)
	units := t.whole().Len / sectorSize
	for last, i := int64(0), int64(0); i < runs; i++ {
		gap := r.number(units - last)
		n := r.number(units - last - gap)
		if r.err == nil && (n == 0 || gap == 0 && i > 0) {
			r.lost("a run of %d units, %d behind another", n, gap)
		}
		if r.err != nil {
			return
		}
		last += gap + n
		p.changed.set((last-n)*sectorSize, last*sectorSize)
	}
	t.points = append(t.points, p)
}

// number reads a number up to most.
func (r *trackerReader) number(most int64) int64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.body[r.at:])
	if n <= 0 || v > uint64(max(most, 0)) {
		r.lost("no number up to %d", most)
		return 0
	}
	r.at += n
	return int64(v)
}

func (r *trackerReader) flag() bool { return r.number(1) == 1 }

func (r *trackerReader) text() string {
	n := int(r.number(int64(len(r.body) - r.at)))
	if n > len(r.body)-r.at {
		r.lost("a text of %d bytes", n)
	}
	if r.err != nil {
		return ""
	}
	s := string(r.body[r.at : r.at+n])
	r.at += n
	return s
}
