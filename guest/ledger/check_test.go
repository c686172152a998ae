package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// story makes the instants of a life: boot, work, a backup, work, a power
// failure in the middle of it, boot, work, a second backup, work, a shutdown.
func story(t testing.TB, seed uint64) *rig {
	r := newRig(t, nil, sim.Seed(seed))
	m := r.boot()
	r.advance(time.Second)
	_, err := r.backup(m)
	r.must(err)
	r.advance(time.Second)
	m.PowerOff()
	m = r.boot()
	r.advance(500 * time.Millisecond)
	_, err = r.backup(m)
	r.must(err)
	r.advance(500 * time.Millisecond)
	r.must(m.Shutdown(t.Context()))
	return r
}

// expect is the verdict on the data of one instant with the log of another, as
// the model has it: the log must begin where the data's header ends at the
// latest, and must have all that is in the accounts beyond that header.
func expect(data, log model) (verdict ledger.Consistency, last uint64) {
	switch {
	case log.first == 0 || log.first-1 > data.applied || data.flushed > max(log.last, data.applied):
		return ledger.Torn, 0
	case log.closed && log.first-1 == data.applied:
		return ledger.Application, data.applied
	}
	return ledger.Crash, max(data.applied, log.last)
}

// The verdict on every image, and on every mixture of two images, of a life of
// the ledger is what the model says, and replaying gives just the balances that
// the ledger had after the last transaction.
func TestEveryMixtureOfInstants(t *testing.T) {
	r := story(t, 7)
	counts := make(map[ledger.Consistency]int)
	for i, d := range r.seen {
		for j, l := range r.seen {
			want, last := expect(d.model, l.model)
			got, report := ledger.Check(d.data, l.log)
			counts[got]++
			switch {
			case i < 4 || j < 4:
				continue // the ledger is being made; see below
			case got != want:
				t.Fatalf("data %d %+v, log %d %+v: %v, want %v: %v", i, d.model, j, l.model, got, want, report)
			case got != ledger.Torn && (report.Last != last || !slices.Equal(report.Balances, (*r.model.history)[last])):
				t.Fatalf("data %d, log %d: %v, want the balances after %d: %v", i, j, report, last, (*r.model.history)[last])
			case i == j && got == ledger.Torn:
				t.Fatalf("instant %d is torn: %v", i, report)
			}
		}
	}
	t.Logf("%d instants: %v", len(r.seen), counts)
	for _, c := range []ledger.Consistency{ledger.Application, ledger.Crash, ledger.Torn} {
		if counts[c] < 20 {
			t.Errorf("just %d images are %v", counts[c], c)
		}
	}
}

// The same for a few mixtures of any other life.
func TestMixturesOfAnyLife(t *testing.T) {
	lives := make(map[uint64]*rig)
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64Range(0, 9).Draw(rt, "seed")
		if lives[seed] == nil {
			lives[seed] = story(t, seed)
		}
		seen := lives[seed].seen
		d := seen[rapid.IntRange(4, len(seen)-1).Draw(rt, "data")]
		l := seen[rapid.IntRange(4, len(seen)-1).Draw(rt, "log")]
		want, last := expect(d.model, l.model)
		got, report := ledger.Check(d.data, l.log)
		if got != want || got != ledger.Torn && !slices.Equal(report.Balances, (*d.history)[last]) {
			rt.Fatalf("data %+v, log %+v: %v, want %v: %v", d.model, l.model, got, want, report)
		}
	})
}

// An image at the freeze is application-consistent, and the one at any other
// instant is crash-consistent.
func TestCutsInTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t, nil, sim.Seed(rapid.Uint64Range(0, 99).Draw(rt, "seed")))
		m := r.boot()
		r.advance(200 * time.Millisecond)
		for _, d := range rapid.SliceOfN(rapid.IntRange(1, int(time.Second)), 1, 5).Draw(rt, "cuts") {
			r.advance(time.Duration(d))
			if verdict, report := r.check(); verdict != ledger.Crash {
				rt.Fatalf("at %v: %v: %v", r.world.Now(), verdict, report)
			}
		}
		s, err := r.backup(m)
		r.must(err)
		at := len(*r.model.history) - 1
		r.advance(time.Duration(rapid.IntRange(0, int(time.Second)).Draw(rt, "later")))
		verdict, report := ledger.Check(r.copies(s))
		if verdict != ledger.Application || int(report.Last) != at || !report.Recovered || report.Total != accounts*opening {
			rt.Fatalf("the backup of %d transactions: %v: %v", at, verdict, report)
		}
	})
}

// What is damaged is torn, and the report says where.
func TestDamage(t *testing.T) {
	r := newRig(t, nil)
	r.boot()
	r.advance(2 * time.Second)
	other := newRig(t, nil, sim.Seed(5))
	other.boot()
	other.advance(time.Second)
	base := instant{image(r.vols[0]), image(r.vols[1]), r.model}
	if verdict, report := ledger.Check(base.data, base.log); verdict != ledger.Crash || report.Replayed < 10 {
		t.Fatalf("%v: %v", verdict, report)
	}
	for _, tt := range []struct {
		name   string
		kind   ledger.ProblemKind
		damage func(i *instant)
	}{
		{"data gone", ledger.NoData, func(i *instant) { edit(i.data, ledger.DataAt, zero) }},
		{"data of another version", ledger.NoData, func(i *instant) { edit(i.data, ledger.DataAt, put32(8, 9)) }},
		{"too many accounts", ledger.NoData, func(i *instant) { edit(i.data, ledger.DataAt, put32(12, 1<<31)) }},
		{"log gone", ledger.NoLog, func(i *instant) { edit(i.log, ledger.LogAt, zero) }},
		{"log without slots", ledger.NoLog, func(i *instant) { edit(i.log, ledger.LogAt, put32(12, 0)) }},
		{"other log", ledger.OtherLedger, func(i *instant) { i.log = image(other.vols[1]) }},
		{"account gone", ledger.BadAccount, func(i *instant) { editPart(i.data, account(3), 64, zero) }},
		{"account of another", ledger.BadAccount, func(i *instant) { editPart(i.data, account(3), 64, put32(8, 4)) }},
		{"money made", ledger.WrongTotal, func(i *instant) { editPart(i.data, account(3), 64, put32(16, opening+1)) }},
		{"debt", ledger.WrongTotal, func(i *instant) { editPart(i.data, account(3), 64, put32(20, 1<<31)) }},
		{"from the future", ledger.Unlogged, func(i *instant) { editPart(i.data, account(3), 64, put32(24, 1<<30)) }},
		{"flush lost", ledger.LostWrite, func(i *instant) { edit(i.data, ledger.DataAt, put32(32, 9)) }},
		{"gap", ledger.Gap, func(i *instant) { edit(i.log, ledger.LogAt, put32(32, 3)) }},
		{"hole", ledger.Hole, func(i *instant) { editPart(i.log, transaction(5), 64, zero) }},
		{"payer and payee are one", ledger.BadRecord, func(i *instant) {
			editPart(i.log, transaction(5), 64, func(b []byte) { copy(b[24:28], b[28:32]) })
		}},
		{"no such payee", ledger.BadRecord, func(i *instant) { editPart(i.log, transaction(5), 64, put32(28, accounts)) }},
		{"negative amount", ledger.BadRecord, func(i *instant) { editPart(i.log, transaction(5), 64, put32(36, 1<<31)) }},
		{"out of turn", ledger.BadRecord, func(i *instant) { editPart(i.log, transaction(5), 64, put32(16, 9)) }},
		{"closed but written", ledger.BadRecord, func(i *instant) { edit(i.log, ledger.LogAt, put32(40, 1)) }},
	} {
		i := instant{data: base.data.Fork(), log: base.log.Fork()}
		tt.damage(&i)
		verdict, report := ledger.Check(i.data, i.log)
		if verdict != ledger.Torn || len(report.Problems) != 1 || report.Problems[0].Kind != tt.kind || report.Balances != nil {
			t.Errorf("%s: %v: %v", tt.name, verdict, report)
		}
	}
	// The end of the log is no damage.
	i := instant{data: base.data, log: base.log.Fork()}
	editPart(i.log, transaction(int64(base.last)), 64, zero)
	if verdict, report := ledger.Check(i.data, i.log); verdict != ledger.Crash || report.Last != base.last-1 {
		t.Errorf("the last record torn off: %v: %v", verdict, report)
	}
	if verdict, report := ledger.Check(failing{}, failing{}); verdict != ledger.Torn || report.Problems[0].Kind != ledger.NoData {
		t.Errorf("unreadable: %v: %v", verdict, report)
	}
	if verdict, report := ledger.Check(base.data, failing{}); verdict != ledger.Torn || report.Problems[0].Kind != ledger.NoLog {
		t.Errorf("unreadable log: %v: %v", verdict, report)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("bad sector") }

func account(n int64) int64     { return ledger.DataAt + 512 + 64*n }
func transaction(n int64) int64 { return ledger.LogAt + 512 + 64*(n-1) }

func zero(b []byte) { clear(b) }

func put32(at int, v uint32) func([]byte) {
	return func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v) }
}

type store interface {
	io.ReaderAt
	io.WriterAt
}

// edit changes a sector and makes its checksum right again.
func edit(s store, off int64, change func([]byte)) { editPart(s, off, 512, change) }

func editPart(s store, off int64, n int, change func([]byte)) {
	b := make([]byte, n)
	if _, err := s.ReadAt(b, off); err != nil {
		panic(err)
	}
	change(b)
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	if _, err := s.WriteAt(b, off); err != nil {
		panic(err)
	}
}

// FuzzCheck edits an image and makes the checksums right again: whatever comes
// out, Check returns, and an image that is not torn has its money.
func FuzzCheck(f *testing.F) {
	r := newRig(f, nil)
	r.boot()
	r.advance(2 * time.Second)
	base := instant{image(r.vols[0]), image(r.vols[1]), r.model}
	f.Add([]byte{0, 32, 9})
	f.Add([]byte{1, 40, 1, 2, 16, 101, 40, 24, 3})
	f.Add([]byte{1, 12, 255, 1, 34, 4})
	f.Fuzz(func(t *testing.T, edits []byte) {
		data, log := base.data.Fork(), base.log.Fork()
		for e := range slices.Chunk(edits, 3) {
			if len(e) < 3 {
				break
			}
			change := func(b []byte) { b[8+int(e[1])%(len(b)-8)] = e[2] }
			switch what := int64(e[0]); {
			case what == 0:
				edit(data, ledger.DataAt, change)
			case what == 1:
				edit(log, ledger.LogAt, change)
			case what < 2+accounts:
				editPart(data, account(what-2), 64, change)
			default:
				editPart(log, transaction(what-1-accounts), 64, change)
			}
		}
		verdict, report := ledger.Check(data, log)
		if (verdict == ledger.Torn) != (len(report.Problems) > 0) || report.String() == "" {
			t.Fatalf("%v: %+v", verdict, report)
		}
		if verdict == ledger.Torn {
			return
		}
		var sum int64
		for _, b := range report.Balances {
			if b < 0 {
				t.Fatalf("a balance of %d: %v", b, report)
			}
			sum += b
		}
		if sum != report.Total || len(report.Balances) != report.Accounts {
			t.Fatalf("%v: %+v", verdict, report)
		}
	})
}

// FuzzCheckBytes gives Check bytes that nobody made.
func FuzzCheckBytes(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, data, log []byte) {
		at := func(b []byte, off int64) io.ReaderAt {
			return bytes.NewReader(append(make([]byte, off), b...))
		}
		verdict, report := ledger.Check(at(data, ledger.DataAt), at(log, ledger.LogAt))
		if verdict == 0 || (verdict == ledger.Torn) != (len(report.Problems) > 0) {
			t.Fatalf("%v: %+v", verdict, report)
		}
	})
}

func TestStringsOfVerdicts(t *testing.T) {
	for got, want := range map[string]string{
		ledger.Application.String():                                 "application-consistent",
		ledger.Crash.String():                                       "crash-consistent",
		ledger.Torn.String():                                        "torn",
		ledger.Consistency(0).String():                              "not checked",
		ledger.Problem{Kind: ledger.NoLog}.String():                 "no readable log",
		ledger.Problem{Kind: ledger.WrongTotal, Number: 3}.String(): "the total is off by 3",
		ledger.Problem{Kind: ledger.Gap, Number: 17}.String():       "transaction 17 is missing between data and log",
		ledger.Problem{}.String():                                   "problem 0",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
