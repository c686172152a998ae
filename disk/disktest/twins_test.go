package disktest_test

import (
	"bytes"
	"io"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shadowsim/shadowsim/disk"
)

// Broken twins of a Memory: each keeps all promises but one.

// hooked is a store whose calls can be replaced one by one. Where it has no
// replacement it does what the Memory does; snapshots and clones are hooked
// alike.
type hooked struct {
	*disk.Memory
	read     func(h *hooked, p []byte, off int64) (int, error)
	write    func(h *hooked, p []byte, off int64) (int, error)
	snapshot func(h *hooked) disk.Store
	clone    func(h *hooked) disk.Store
	discard  func(h *hooked, off, n int64) error
	extents  func(h *hooked, off, n int64) iter.Seq[disk.Extent]
	diff     func(h *hooked, since *disk.Memory) iter.Seq[disk.Extent]
	resize   func(h *hooked, size int64) error
	mapped   func(h *hooked, off, n int64) disk.Segment

	frozen bool
	armed  bool // whatever the twin makes of it
	kept   []byte
	at     int64
	pos    atomic.Int64
	turn   atomic.Int64

	writing sync.Mutex // for those that read a memory beside its writer, see guarded
}

// over returns the same twin over another memory.
func (h *hooked) over(m *disk.Memory, frozen bool) *hooked {
	return &hooked{Memory: m, read: h.read, write: h.write, snapshot: h.snapshot, clone: h.clone, discard: h.discard,
		extents: h.extents, diff: h.diff, resize: h.resize, mapped: h.mapped, frozen: frozen}
}

func (h *hooked) ReadAt(p []byte, off int64) (int, error) {
	if h.read != nil {
		return h.read(h, p, off)
	}
	return h.Memory.ReadAt(p, off)
}

func (h *hooked) WriteAt(p []byte, off int64) (int, error) {
	if h.write != nil && !h.frozen {
		return h.write(h, p, off)
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	return h.Memory.WriteAt(p, off)
}

// A guarded memory is read beside its writer without a data race: what is wrong
// with the twin is what it reads, not how.
type guarded struct {
	*disk.Memory
	writing *sync.Mutex
}

func (g guarded) ReadAt(p []byte, off int64) (int, error) {
	g.writing.Lock()
	defer g.writing.Unlock()
	return g.Memory.ReadAt(p, off)
}

func (h *hooked) guarded() guarded { return guarded{h.Memory, &h.writing} }

func (h *hooked) Snapshot() (disk.Store, error) {
	if h.snapshot != nil {
		return h.snapshot(h), nil
	}
	return h.over(h.Freeze(), true), nil
}

func (h *hooked) Clone() (disk.Store, error) {
	if h.clone != nil {
		return h.clone(h), nil
	}
	return h.over(h.Fork(), false), nil
}

func (h *hooked) Discard(off, n int64) error {
	if h.discard != nil && !h.frozen {
		return h.discard(h, off, n)
	}
	return h.Memory.Discard(off, n)
}

func (h *hooked) Extents(off, n int64) iter.Seq[disk.Extent] {
	if h.extents != nil {
		return h.extents(h, off, n)
	}
	return h.Memory.Extents(off, n)
}

func (h *hooked) Diff(since disk.Store) (iter.Seq[disk.Extent], error) {
	old, ok := since.(interface{ memory() *disk.Memory })
	if !ok {
		return nil, &disk.Error{Op: "Diff", Err: disk.ErrUnsupported}
	}
	if h.diff != nil {
		return h.diff(h, old.memory()), nil
	}
	return h.Memory.Diff(old.memory())
}

func (h *hooked) Resize(size int64) error {
	if h.resize != nil && !h.frozen {
		return h.resize(h, size)
	}
	return h.Memory.Resize(size)
}

func (h *hooked) Map(off, n int64) disk.Segment {
	if h.mapped != nil {
		return h.mapped(h, off, n)
	}
	return disk.Segment{Store: h.Memory, Off: off, Len: n}
}

// sharing is a store whose snapshots are itself.
type sharing struct{ hooked }

func (s *sharing) Snapshot() (disk.Store, error) { return disk.ReadOnly(plain{s.guarded()}), nil }

func (h *hooked) memory() *disk.Memory { return h.Memory }

// inside tells whether a range lies in the store.
func (h *hooked) inside(off, n int64) bool {
	return off >= 0 && n >= 0 && off <= h.Size() && n <= h.Size()-off
}

// seq returns what the Memory says, for changing.
func (h *hooked) seq(off, n int64) []disk.Extent { return slices.Collect(h.Memory.Extents(off, n)) }

// changed returns what the Memory says, for changing.
func (h *hooked) changed(since *disk.Memory) []disk.Extent {
	seq, err := h.Memory.Diff(since)
	if err != nil {
		panic(err)
	}
	return slices.Collect(seq)
}

// zero writes zeros over a range, which leaves it allocated.
func (h *hooked) zero(off, n int64) error {
	_, err := h.Memory.WriteAt(make([]byte, n), off)
	return err
}

// A mistake makes a sound hooked store a broken one. The sentences are what the
// kit has to say, one of them.
type mistake struct {
	make     func(h *hooked)
	promises []string
}

const (
	readsAll     = "a read inside the store reads everything"
	readsEnd     = "a read that leaves the store reads the part that fits and returns io.EOF"
	readsNeg     = "a read at a negative offset reads nothing and is disk.ErrRange"
	readsBytes   = "a read returns the bytes that are there"
	writesAll    = "a write inside the store writes everything"
	writesEnd    = "a write that leaves the store writes the part that fits and is disk.ErrRange"
	writesNeg    = "a write at a negative offset writes nothing and is disk.ErrRange"
	writesRead   = "what was written can be read"
	writesOnly   = "a write changes no other bytes"
	writesSlice  = "a write leaves the slice as it is"
	readOnly     = "a snapshot and a read-only store answer a write with disk.ErrReadOnly"
	discardRO    = "a snapshot and a read-only store answer a discard with disk.ErrReadOnly"
	resizeRO     = "a snapshot and a read-only store keep their size"
	snapshotKept = "a snapshot stays as it is"
	clonesApart  = "a store and its clones do not see what is written to the others"
	onlyResize   = "the size changes by Resize alone"
	onlyWrites   = "only writes, discards and resizes change bytes"
	discards     = "what is discarded reads as zero"
	discardsOnly = "a discard changes no other bytes"
	discardRange = "a discard that leaves the store is disk.ErrRange"
	discardWorks = "a discard inside the store succeeds"
	discardFrees = "what is discarded is not allocated any more"
	extentsData  = "what lies outside the extents is zero"
	extentsOrder = "extents are in ascending order and do not touch"
	extentsIn    = "extents are not empty and lie within the range that was asked for"
	extentsStop  = "a sequence of extents ends when it is told to"
	diffAll      = "whatever differs is in the difference"
	diffKnows    = "Diff understands every snapshot and clone of the store"
	resizeZero   = "what a resize adds is zero"
	resizeKeeps  = "a resize keeps what lies inside the smaller size"
	resizeNeg    = "a negative size is refused"
	mapLen       = "Map speaks of at least one byte, and of no more than it was asked for"
	mapBytes     = "the place that Map names has the same bytes"
	begins       = "a snapshot and a clone begin with the bytes of their store"
	several      = "a store can be read from several goroutines at once"
	noPanic      = "no call panics"
)

var mistakes = map[string]mistake{
	// reads
	"read drops the byte before an edge": {func(h *hooked) {
		h.read = func(h *hooked, p []byte, off int64) (int, error) {
			n, err := h.Memory.ReadAt(p, off)
			if edge := int64(4096); off < edge-1 && off+int64(n) > edge && off >= 0 {
				p[edge-1-off] = 0
			}
			return n, err
		}
	}, []string{readsBytes, writesRead}},
	"short read without an error": {func(h *hooked) {
		h.read = func(h *hooked, p []byte, off int64) (int, error) {
			n, err := h.Memory.ReadAt(p, off)
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
	}, []string{readsEnd}},
	"end of the store is an unexpected one": {func(h *hooked) {
		h.read = func(h *hooked, p []byte, off int64) (int, error) {
			n, err := h.Memory.ReadAt(p, off)
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}, []string{readsEnd}},
	"io.EOF in the middle": {func(h *hooked) {
		h.read = func(h *hooked, p []byte, off int64) (int, error) {
			n, err := h.Memory.ReadAt(p, off)
			if err == nil && n > 0 && (off+int64(n))%4096 == 0 {
				err = io.EOF
			}
			return n, err
		}
	}, []string{readsAll}},
	"a read over the end reads nothing": {func(h *hooked) {
		h.read = func(h *hooked, p []byte, off int64) (int, error) {
			if off >= 0 && off+int64(len(p)) > h.Size() {
				return 0, io.EOF
			}
			return h.Memory.ReadAt(p, off)
		}
	}, []string{readsEnd}},
	"a negative offset is the start": {func(h *hooked) {
		h.read = func(h *hooked, p []byte, off int64) (int, error) { return h.Memory.ReadAt(p, max(off, 0)) }
	}, []string{readsNeg}},
	"a read stops at a block": {func(h *hooked) {
		h.read = func(h *hooked, p []byte, off int64) (int, error) {
			if rest := 8192 - off&8191; off >= 0 && int64(len(p)) > rest {
				p = p[:rest]
			}
			return h.Memory.ReadAt(p, off)
		}
	}, []string{readsAll, readsEnd}},
	"readers share a position": {func(h *hooked) {
		h.read = func(h *hooked, p []byte, off int64) (int, error) {
			h.pos.Store(off)
			if h.turn.Add(1)%8 == 0 {
				runtime.Gosched()
			}
			return h.Memory.ReadAt(p, h.pos.Load())
		}
	}, []string{several, "a snapshot can be read while its store is written"}},

	// writes
	"the last byte of a write over an edge is lost": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			if n := int64(len(p)); off >= 0 && n > 1 && off/512 != (off+n-1)/512 && h.inside(off, n) {
				_, err := h.Memory.WriteAt(p[:n-1], off)
				return int(n), err
			}
			return h.Memory.WriteAt(p, off)
		}
	}, []string{writesRead}},
	"the last byte of the store is never written": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			if n := int64(len(p)); n > 0 && off >= 0 && off+n == h.Size() {
				_, err := h.Memory.WriteAt(p[:n-1], off)
				return int(n), err
			}
			return h.Memory.WriteAt(p, off)
		}
	}, []string{writesRead}},
	"a write rounds to sectors": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			if n := int64(len(p)); n > 0 && h.inside(off&^511, n+off&511) {
				_, err := h.Memory.WriteAt(append(make([]byte, off&511), p...), off&^511)
				return int(n), err
			}
			return h.Memory.WriteAt(p, off)
		}
	}, []string{writesOnly}},
	"write past the end accepted": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			if _, err := h.Memory.WriteAt(p, off); off < 0 {
				return 0, err
			}
			return len(p), nil
		}
	}, []string{writesEnd}},
	"write past the end writes nothing": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			if !h.inside(off, int64(len(p))) {
				return 0, &disk.Error{Op: "WriteAt", Off: off, Err: disk.ErrRange}
			}
			return h.Memory.WriteAt(p, off)
		}
	}, []string{writesEnd}},
	"write past the end grows the store": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			if n := int64(len(p)); off >= 0 && off+n > h.Size() {
				_ = h.Memory.Resize(off + n)
			}
			return h.Memory.WriteAt(p, off)
		}
	}, []string{writesEnd, onlyResize}},
	"write past the end says another error": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			n, err := h.Memory.WriteAt(p, off)
			if err != nil && off >= 0 {
				err = io.ErrShortWrite
			}
			return n, err
		}
	}, []string{writesEnd}},
	"write before the start is cut": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			if off < 0 {
				p = p[min(int64(len(p)), -off):]
				off = 0
			}
			return h.Memory.WriteAt(p, off)
		}
	}, []string{writesNeg}},
	"a write counts one too few": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			n, err := h.Memory.WriteAt(p, off)
			return max(n-1, 0), err
		}
	}, []string{writesAll}},
	"a write keeps the slice": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			_, _ = h.Memory.WriteAt(h.kept, h.at)
			h.kept, h.at = p, off
			return h.Memory.WriteAt(p, off)
		}
	}, []string{writesOnly}},
	"a write changes the slice": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			n, err := h.Memory.WriteAt(p, off)
			for i := range p {
				p[i] ^= 0x5a
			}
			return n, err
		}
	}, []string{writesSlice}},
	"zeros over data are taken for a hole": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			if len(bytes.Trim(p, "\x00")) == 0 && h.inside(off, int64(len(p))) {
				return len(p), nil
			}
			return h.Memory.WriteAt(p, off)
		}
	}, []string{writesRead}},
	"a large write panics": {func(h *hooked) {
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			var block [7000]byte
			_ = block[max(len(p)-1, 0)]
			return h.Memory.WriteAt(p, off)
		}
	}, []string{noPanic}},

	// snapshots
	"a snapshot that changes": {func(h *hooked) {
		h.snapshot = func(h *hooked) disk.Store { return disk.ReadOnly(plain{h.guarded()}) }
	}, []string{snapshotKept}},
	"a snapshot that is written": {func(h *hooked) {
		h.snapshot = func(h *hooked) disk.Store { return h.over(h.Fork(), true) }
	}, []string{readOnly}},
	"a snapshot that lets its bytes be discarded": {func(h *hooked) {
		h.snapshot = func(h *hooked) disk.Store { return loose{h.over(h.Fork(), true)} }
	}, []string{discardRO}},
	"a snapshot that swallows writes": {func(h *hooked) {
		h.snapshot = func(h *hooked) disk.Store { return swallowing{h.over(h.Freeze(), true)} }
	}, []string{readOnly}},
	"a snapshot that follows the size": {func(h *hooked) {
		h.snapshot = func(h *hooked) disk.Store { return following{h.over(h.Freeze(), true), h.Memory} }
	}, []string{onlyResize, readsAll}},
	"a snapshot without the last page": {func(h *hooked) {
		h.snapshot = func(h *hooked) disk.Store {
			m := h.Fork()
			from := (m.Size() - 1) &^ 4095
			_ = m.Discard(from, m.Size()-from)
			return h.over(m.Freeze(), true)
		}
	}, []string{begins}},
	"the first write after a snapshot is lost": {func(h *hooked) {
		h.snapshot = func(h *hooked) disk.Store {
			h.armed = true
			return h.over(h.Freeze(), true)
		}
		h.write = func(h *hooked, p []byte, off int64) (int, error) {
			if h.armed && len(p) > 0 && h.inside(off, int64(len(p))) {
				h.armed = false
				return len(p), nil
			}
			return h.Memory.WriteAt(p, off)
		}
	}, []string{writesRead}},
	"a page that is shared is written in place": {func(h *hooked) {
		h.snapshot = func(h *hooked) disk.Store { return lazy{h.over(h.Freeze(), true), h.guarded()} }
	}, []string{snapshotKept}},
	"taking a snapshot empties the first sector": {func(h *hooked) {
		h.snapshot = func(h *hooked) disk.Store {
			s := h.over(h.Freeze(), true)
			_ = h.Memory.Discard(0, min(512, h.Size()))
			return s
		}
	}, []string{onlyWrites, clonesApart}},

	// clones
	"a clone that shares": {func(h *hooked) {
		h.clone = func(h *hooked) disk.Store { return h.over(h.Memory, false) }
	}, []string{clonesApart}},
	"a clone that cannot be written": {func(h *hooked) {
		h.clone = func(h *hooked) disk.Store { return h.over(h.Freeze(), false) }
	}, []string{writesAll, writesEnd}},
	"a clone that is empty": {func(h *hooked) {
		h.clone = func(h *hooked) disk.Store { return h.over(disk.NewMemory(h.Size()), false) }
	}, []string{begins}},
	"a clone that sees later writes to its store": {func(h *hooked) {
		h.clone = func(h *hooked) disk.Store { return disk.NewOverlay(plain{h.Memory}, h.Size()) }
	}, []string{clonesApart}},

	// discards
	"a discard keeps the ends": {func(h *hooked) {
		h.discard = func(h *hooked, off, n int64) error {
			if from, to := (off+4095)&^4095, (off+n)&^4095; h.inside(off, n) {
				return h.Memory.Discard(from, max(to-from, 0))
			}
			return h.Memory.Discard(off, n)
		}
	}, []string{discards, discardWorks}},
	"a discard takes whole pages": {func(h *hooked) {
		h.discard = func(h *hooked, off, n int64) error {
			if from, to := off&^4095, min((off+n+4095)&^4095, h.Size()); n > 0 && h.inside(off, n) {
				return h.Memory.Discard(from, to-from)
			}
			return h.Memory.Discard(off, n)
		}
	}, []string{discardsOnly}},
	"a discard leaks": {func(h *hooked) {
		h.discard = func(h *hooked, off, n int64) error {
			if !h.inside(off, n) {
				return h.Memory.Discard(off, n)
			}
			return h.zero(off, n)
		}
	}, []string{discardFrees}},
	"torn zeroing": {func(h *hooked) {
		h.discard = func(h *hooked, off, n int64) error {
			if n > 4096 && h.inside(off, n) {
				n = n &^ 511
			}
			return h.Memory.Discard(off, n)
		}
	}, []string{discards}},
	"a discard over the end is cut": {func(h *hooked) {
		h.discard = func(h *hooked, off, n int64) error {
			off = max(off, 0)
			return h.Memory.Discard(min(off, h.Size()), max(0, min(n, h.Size()-off)))
		}
	}, []string{discardRange}},
	"a discard over the end discards what fits": {func(h *hooked) {
		h.discard = func(h *hooked, off, n int64) error {
			if off >= 0 && off < h.Size() && n > h.Size()-off {
				_ = h.Memory.Discard(off, h.Size()-off)
			}
			return h.Memory.Discard(off, n)
		}
	}, []string{discardsOnly, discards}},
	"a discard does nothing": {func(h *hooked) {
		h.discard = func(h *hooked, off, n int64) error {
			if h.inside(off, n) {
				return nil
			}
			return h.Memory.Discard(off, n)
		}
	}, []string{discards}},

	// extents
	"extents miss the last page": {func(h *hooked) {
		h.extents = func(h *hooked, off, n int64) iter.Seq[disk.Extent] {
			list := h.seq(off, n)
			if i := len(list) - 1; i >= 0 && list[i].Len > 4096 {
				list[i].Len -= 4096
			}
			return slices.Values(list)
		}
	}, []string{extentsData}},
	"extents miss what is shorter than a page": {func(h *hooked) {
		h.extents = func(h *hooked, off, n int64) iter.Seq[disk.Extent] {
			return slices.Values(slices.DeleteFunc(h.seq(off, n), func(e disk.Extent) bool { return e.Len < 4096 }))
		}
	}, []string{extentsData}},
	"extents are not cut to the range": {func(h *hooked) {
		h.extents = func(h *hooked, off, n int64) iter.Seq[disk.Extent] {
			list := h.seq(off, n)
			for i, e := range list {
				list[i] = disk.Extent{Off: e.Off &^ 4095, Len: (e.End()+4095)&^4095 - e.Off&^4095}
			}
			return slices.Values(list)
		}
	}, []string{extentsIn}},
	"extents touch": {func(h *hooked) {
		h.extents = func(h *hooked, off, n int64) iter.Seq[disk.Extent] {
			var list []disk.Extent
			for _, e := range h.seq(off, n) {
				if e.Len > 4096 {
					list = append(list, disk.Extent{Off: e.Off, Len: 4096})
					e.Off, e.Len = e.Off+4096, e.Len-4096
				}
				list = append(list, e)
			}
			return slices.Values(list)
		}
	}, []string{extentsOrder}},
	"extents run backwards": {func(h *hooked) {
		h.extents = func(h *hooked, off, n int64) iter.Seq[disk.Extent] {
			list := h.seq(off, n)
			slices.Reverse(list)
			return slices.Values(list)
		}
	}, []string{extentsOrder}},
	"extents are empty": {func(h *hooked) {
		h.extents = func(h *hooked, off, n int64) iter.Seq[disk.Extent] {
			return slices.Values(append(h.seq(off, n), disk.Extent{}))
		}
	}, []string{extentsIn}},
	"extents do not stop": {func(h *hooked) {
		h.extents = func(h *hooked, off, n int64) iter.Seq[disk.Extent] {
			return func(yield func(disk.Extent) bool) {
				for _, e := range h.seq(off, n) {
					yield(e)
				}
			}
		}
	}, []string{extentsStop}},

	// differences
	"a difference misses a block": {func(h *hooked) {
		h.diff = func(h *hooked, since *disk.Memory) iter.Seq[disk.Extent] {
			list := h.changed(since)
			if len(list) > 1 {
				list = list[:len(list)-1]
			}
			return slices.Values(list)
		}
	}, []string{diffAll}},
	"a difference forgets discards": {func(h *hooked) {
		h.diff = func(h *hooked, since *disk.Memory) iter.Seq[disk.Extent] {
			return slices.Values(slices.DeleteFunc(h.changed(since), func(e disk.Extent) bool {
				return len(h.seq(e.Off, e.Len)) == 0
			}))
		}
	}, []string{diffAll}},
	"a difference forgets the last byte": {func(h *hooked) {
		h.diff = func(h *hooked, since *disk.Memory) iter.Seq[disk.Extent] {
			list := h.changed(since)
			for i := range list {
				list[i].Len = max(1, list[i].Len-1)
			}
			return slices.Values(list)
		}
	}, []string{diffAll}},
	"a difference is longer than the store": {func(h *hooked) {
		h.diff = func(h *hooked, since *disk.Memory) iter.Seq[disk.Extent] {
			list := h.changed(since)
			for i := range list {
				list[i].Len = (list[i].Len + 4095) &^ 4095
			}
			return slices.Values(list)
		}
	}, []string{extentsIn}},
	"a difference is always empty": {func(h *hooked) {
		h.diff = func(*hooked, *disk.Memory) iter.Seq[disk.Extent] { return slices.Values[[]disk.Extent](nil) }
	}, []string{diffAll}},

	// sizes
	"a resize keeps old bytes": {func(h *hooked) {
		h.resize = func(h *hooked, size int64) error {
			if size >= 0 && size < h.Size() {
				h.kept, h.at = make([]byte, h.Size()-size), size
				_, _ = h.Memory.ReadAt(h.kept, size)
			}
			err := h.Memory.Resize(size)
			if err == nil && h.kept != nil && size > h.at {
				_, _ = h.Memory.WriteAt(h.kept[:min(int64(len(h.kept)), size-h.at)], h.at)
			}
			return err
		}
	}, []string{resizeZero}},
	"a resize rounds down to a page": {func(h *hooked) {
		h.resize = func(h *hooked, size int64) error { return h.Memory.Resize(max(size&^4095, size>>63)) }
	}, []string{onlyResize}},
	"a resize drops the page at the end": {func(h *hooked) {
		h.resize = func(h *hooked, size int64) error {
			if old := h.Size(); size > old && old%4096 != 0 {
				_ = h.Memory.Discard(old&^4095, old%4096)
			}
			return h.Memory.Resize(size)
		}
	}, []string{resizeKeeps}},
	"a negative size is zero": {func(h *hooked) {
		h.resize = func(h *hooked, size int64) error { return h.Memory.Resize(max(size, 0)) }
	}, []string{resizeNeg}},

	// places
	"Map ends nowhere": {func(h *hooked) {
		h.mapped = func(h *hooked, off, n int64) disk.Segment { return disk.Segment{Store: h.Memory, Off: off, Len: n + 1} }
	}, []string{mapLen}},
	"Map speaks of nothing": {func(h *hooked) {
		h.mapped = func(h *hooked, off, n int64) disk.Segment { return disk.Segment{Store: h.Memory, Off: off} }
	}, []string{mapLen}},
	"Map names a snapshot of before": {func(h *hooked) {
		old := h.Freeze()
		h.mapped = func(_ *hooked, off, n int64) disk.Segment { return disk.Segment{Store: old, Off: off, Len: n} }
	}, []string{mapBytes, "a copy of a store has its bytes", "a store can be copied", "the place that Map names can be read"}},
	"Map is off by a sector": {func(h *hooked) {
		h.mapped = func(h *hooked, off, n int64) disk.Segment {
			return disk.Segment{Store: disk.Section(h.Memory, 0, 1<<62), Off: max(off-512, 0), Len: n}
		}
	}, []string{mapBytes}},
}

// loose is a snapshot that refuses writes and lets its bytes be discarded.
type loose struct{ *hooked }

func (s loose) WriteAt([]byte, int64) (int, error) { return 0, disk.ErrReadOnly }
func (s loose) Resize(int64) error                 { return disk.ErrReadOnly }

// swallowing says that it was written, and was not.
type swallowing struct{ *hooked }

func (s swallowing) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// following has the size of its store.
type following struct {
	*hooked
	live *disk.Memory
}

func (s following) Size() int64 { return s.live.Size() }

// lazy is a snapshot whose second half is the store's own.
type lazy struct {
	*hooked
	live guarded
}

func (s lazy) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.hooked.ReadAt(p, off)
	if half := s.Size() / 2; n > 0 && off+int64(n) > half {
		from := max(off, half)
		_, _ = s.live.ReadAt(p[from-off:n], from)
	}
	return n, err
}
