package vhdx_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// pad is a place in the padding behind the table of a small image, which
// nothing but a log changes.
const pad = tablePlace + 64<<10

// replayed opens a file in both ways and returns the bytes of the padding that
// came out of the log, which must be the same.
func replayed(t rapid.TB, k knife) []byte {
	t.Helper()
	got := make([]byte, 64<<10)
	before := k.Freeze()
	im, err := vhdx.Open(k, k.Size())
	if err != nil {
		t.Fatal(err)
	}
	if len(im.Notes()) != 1 {
		t.Errorf("notes %q", im.Notes())
	}
	if off, _ := disk.FirstDifference(k.Memory, before); off >= 0 {
		t.Fatalf("Open changed the file at %d", off)
	}
	must(im.Unwrap().ReadAt(got, pad))
	size := im.Unwrap().Size()
	w, err := vhdx.OpenFile(k)
	if err != nil {
		t.Fatal(err)
	}
	in := make([]byte, len(got))
	must(k.ReadAt(in, pad))
	same(t, "replayed in the file", in, got)
	if w.Header().LogGUID != (vhdx.GUID{}) || k.Size() != size {
		t.Errorf("after the replay, the log has the identifier %x and the file %d bytes, want %d", w.Header().LogGUID, k.Size(), size)
	}
	if im := must(vhdx.Open(k, k.Size())); im.Notes() != nil || im.Check() != nil {
		t.Errorf("after the replay: notes %q, Check: %v", im.Notes(), im.Check())
	}
	if off, err := disk.FirstDifference(im, w); off >= 0 || err != nil {
		t.Errorf("the disks differ at %d, %v", off, err)
	}
	return got
}

func put(place int, seed byte) logItem {
	return logItem{off: pad + int64(place)*4096, data: sector(seed)}
}

// wantPad returns the padding with sectors as they are to be.
func wantPad(sectors map[int]byte) []byte {
	b := make([]byte, 64<<10)
	for i, seed := range sectors {
		copy(b[i*4096:], sector(seed))
	}
	return b
}

func TestReplay(t *testing.T) {
	e := func(seq uint64, tail uint32, items ...logItem) []byte {
		return logEntry(9, seq, tail, end, end, items...)
	}
	many := make([]logItem, 0, 150) // more than a sector of descriptors
	for i := range 150 {
		many = append(many, put(i%16, byte(i)))
	}
	for name, c := range map[string]struct {
		file knife
		want map[int]byte
	}{
		"one entry":         {small().logged(9, 0, e(5, 0, put(0, 1), put(3, 2))), map[int]byte{0: 1, 3: 2}},
		"at the end":        {small().logged(9, mib-8192, e(5, mib-8192, put(0, 1))), map[int]byte{0: 1}},
		"over the end":      {small().logged(9, mib-4096, e(5, mib-4096, put(0, 1), put(1, 2))), map[int]byte{0: 1, 1: 2}},
		"two entries":       {small().logged(9, 0, e(5, 0, put(0, 1), put(1, 1)), e(6, 0, put(1, 2))), map[int]byte{0: 1, 1: 2}},
		"the first is done": {small().logged(9, 0, e(5, 0, put(0, 1)), e(6, 8192, put(1, 2))), map[int]byte{1: 2}},
		"a run over the end": {small().logged(9, mib-8192, e(5, mib-8192, put(0, 1)), e(6, mib-8192, put(1, 2)), e(7, mib-8192, put(2, 3))),
			map[int]byte{0: 1, 1: 2, 2: 3}},
		"a run over the end, its first done": {small().logged(9, mib-16384, e(5, 0, put(9, 9)), e(6, mib-8192, put(0, 1)), e(7, mib-8192, put(1, 2))),
			map[int]byte{0: 1, 1: 2}},
		"an older run behind": {small().logged(9, 0, e(50, 0, put(0, 1))).logged(9, 16384, e(40, 16384, put(0, 7)), e(41, 16384, put(2, 7))),
			map[int]byte{0: 1}},
		"an older run before": {small().logged(9, 0, e(40, 0, put(0, 7))).logged(9, 16384, e(50, 16384, put(0, 1))), map[int]byte{0: 1}},
		"a newer run that is not complete": {small().logged(9, 0, e(40, 0, put(0, 1))).logged(9, 16384, e(50, 65536, put(0, 7))),
			map[int]byte{0: 1}},
		"a gap in the numbers":           {small().logged(9, 0, e(5, 0, put(0, 1)), e(7, 0, put(0, 7))), map[int]byte{0: 1}},
		"a torn entry behind":            {small().logged(9, 0, e(5, 0, put(0, 1)), e(6, 0, put(0, 7))).spoil(mib + 4*4096 - 8), map[int]byte{0: 1}},
		"numbers beyond 32 bits":         {small().logged(9, 0, e(7<<32|5, 0, put(0, 1))), map[int]byte{0: 1}},
		"no descriptors":                 {small().logged(9, 0, e(5, 0)), nil},
		"a last one without descriptors": {small().logged(9, 0, e(5, 0, put(0, 1)), e(6, 0)), map[int]byte{0: 1}},
		"zeros":                          {small().logged(9, 0, e(5, 0, put(0, 1), put(1, 2), put(2, 3), logItem{off: pad + 4096, n: 4096})), map[int]byte{0: 1, 2: 3}},
		"zeros of no length":             {small().logged(9, 0, e(5, 0, put(0, 1), logItem{off: pad})), map[int]byte{0: 1}},
		"zeros, then data":               {small().logged(9, 0, e(5, 0, put(0, 1), logItem{off: pad, n: 65536}, put(0, 4))), map[int]byte{0: 4}},
		"flushed of 0":                   {small().logged(9, 0, logEntry(9, 5, 0, 0, 0, put(0, 1))), map[int]byte{0: 1}},
		"a region table":                 {small().logged(9, 0, e(5, 0, put(0, 1), logItem{off: 256<<10 + 60<<10, n: 4096})), map[int]byte{0: 1}},
		"many": {small().logged(9, 40960, e(5, 40960, many...)), map[int]byte{
			0: 144, 1: 145, 2: 146, 3: 147, 4: 148, 5: 149, 6: 134, 7: 135, 8: 136, 9: 137, 10: 138, 11: 139, 12: 140, 13: 141, 14: 142, 15: 143}},
	} {
		t.Run(name, func(t *testing.T) {
			same(t, "padding", replayed(t, c.file), wantPad(c.want))
		})
	}
}

// A log makes the file longer: by what it writes, and by what it says.
func TestReplayGrows(t *testing.T) {
	k := small().cut(6*mib).logged(9, 0, logEntry(9, 5, 0, 6*mib, 9*mib-5, put(0, 1), logItem{off: 6*mib + 8192, data: sector(5)}))
	k.entry(5, 6, 6*mib) // the block is in what the log makes
	same(t, "padding", replayed(t, k), wantPad(map[int]byte{0: 1}))
	if k.Size() != 9*mib {
		t.Errorf("the file has %d bytes, want %d", k.Size(), 9*mib)
	}
}

// A log of random runs is replayed as a walk over all entries says.
func TestReplayRandom(t *testing.T) {
	few(t, 40, func(t *rapid.T) {
		k := small()
		type run struct {
			last uint64
			pad  []byte
		}
		best := run{pad: make([]byte, 64<<10)}
		at := rapid.Int64Range(0, 255).Draw(t, "at") * 4096
		room := int64(mib)
		for range rapid.IntRange(1, 4).Draw(t, "runs") {
			seq := rapid.Uint64Range(1, 1<<40).Draw(t, "sequence")
			n := rapid.IntRange(1, 5).Draw(t, "entries")
			tail := rapid.IntRange(0, n-1).Draw(t, "tail")
			r := run{last: seq + uint64(n) - 1, pad: make([]byte, 64<<10)}
			var places []uint32
			for i := range n {
				var items []logItem
				for range rapid.IntRange(0, 6).Draw(t, "items") {
					place, seed := rapid.IntRange(0, 15).Draw(t, "place"), rapid.Byte().Draw(t, "seed")
					it := put(place, seed)
					if seed < 50 {
						it = logItem{off: it.off, n: 4096}
					}
					items = append(items, it)
					if i < tail {
						continue
					}
					clear(r.pad[place*4096:][:4096])
					copy(r.pad[place*4096:], it.data)
				}
				size := int64(len(logEntry(9, 1, 0, 0, 0, items...)))
				if room -= size; room < 0 {
					t.Skip("the ring is full")
				}
				places = append(places, uint32(at))
				k.logged(9, at, logEntry(9, seq+uint64(i), places[min(tail, i)], end, end, items...))
				at = (at + size) % mib
			}
			at = (at + 4096) % mib // runs do not touch
			room -= 4096
			if r.last == best.last {
				t.Skip("two runs alike")
			}
			if r.last > best.last {
				best = r
			}
		}
		same(t, "padding", replayed(t, k), best.pad)
	})
}

// The codec's own entries are what its reader and [MS-VHDX] take for such: a
// file whose last commit was cut off between the header and the places of the
// changes, replayed, has them.
func TestOwnLog(t *testing.T) {
	for name, c := range cutFiles(t) {
		if name == "fixed" {
			continue
		}
		p := newTape(t, c.file, c.below)
		p.im.SetWriteBack(true)
		for i := range int64(5) { // blocks enough for several descriptors
			p.write(i*mib+5000, pattern(byte(i), 6000))
		}
		p.sync()
		logs := 0
		for k, o := range p.ops() {
			if o.kind != "write" || o.off != logPlace {
				continue
			}
			logs++
			want := logOf(o.data)
			same(t, name+": entry", o.data, want)
			if next := p.ops()[k+1]; next.kind != "sync" {
				t.Errorf("%s: the log is not synced", name)
			}
		}
		if logs != 1 {
			t.Errorf("%s: %d entries were written, want 1", name, logs)
		}
	}
}

// logOf builds an entry again from what an entry says, in the test's own way.
func logOf(b []byte) []byte {
	n := int(le.Uint32(b[24:]))
	first := (64 + 32*n + 4095) / 4096 * 4096
	var items []logItem
	for i := range n {
		d, s := b[64+32*i:], make([]byte, 4096)
		copy(s, b[first+4096*i:])
		copy(s, d[8:16])
		copy(s[4092:], d[4:8])
		items = append(items, logItem{off: int64(le.Uint64(d[16:])), data: s})
	}
	e := logEntry(0, le.Uint64(b[16:]), 0, le.Uint64(b[48:]), le.Uint64(b[56:]), items...)
	copy(e[32:48], b[32:48])
	sum(e)
	return e
}

// Zeros that a log wants far behind the end of the file cost nothing, however
// often it wants them.
func TestReplayOfEndlessZeros(t *testing.T) {
	items := []logItem{put(0, 1)}
	for range 2000 { // more than an hour for whoever does what they say
		items = append(items, logItem{off: end, n: 80<<40 - end})
	}
	k := small().logged(9, 0, logEntry(9, 5, 0, end, end, items...))
	same(t, "padding", replayed(t, k), wantPad(map[int]byte{0: 1}))
}
