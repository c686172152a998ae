package disk_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"pgregory.net/rapid"
)

// plan makes a plan of faults as they are written.
func plan(t testing.TB, faults ...string) disk.FaultPlan {
	t.Helper()
	var p disk.FaultPlan
	for _, s := range faults {
		f, err := disk.ParseFault(s)
		if err != nil {
			t.Fatal(err)
		}
		if f.String() != s {
			t.Fatalf("%q prints as %q", s, f)
		}
		p.Faults = append(p.Faults, f)
	}
	return p
}

func TestFaultsStrikeWhenTheyAreDue(t *testing.T) {
	f := disk.WithFaults(disk.NewMemory(100), plan(t,
		"write nth=2 err=0x80070070", "read at=50+10 from=2 err=0x80070017", "write at=90 drop"))
	for i, c := range []struct {
		op   string
		off  int64
		fail bool
	}{
		{"w", 0, false}, {"w", 0, true}, {"w", 0, false}, // the second write
		{"r", 0, false}, {"r", 49, false}, {"r", 40, false}, // the first to touch 50 to 59 is this one but one
		{"r", 59, true}, {"r", 60, false}, {"r", 51, true},
	} {
		p, err := make([]byte, 10), error(nil)
		if c.op == "w" {
			_, err = f.WriteAt(p, c.off)
		} else {
			_, err = f.ReadAt(p, c.off)
		}
		if (err != nil) != c.fail {
			t.Errorf("call %d, %s at %d: %v", i, c.op, c.off, err)
		}
		var e *disk.FaultError
		if c.fail && !errors.As(err, &e) {
			t.Errorf("call %d fails with %v", i, err)
		}
	}
	if got := f.Unreached(); len(got) != 1 || got[0].String() != "write at=90 drop" {
		t.Errorf("unreached: %v", got)
	}
	if f.Hits(disk.OpWrite) != 3 || f.Hits(disk.OpRead) != 6 || f.Hits(disk.OpSync) != 0 {
		t.Errorf("%d writes, %d reads, %d syncs", f.Hits(disk.OpWrite), f.Hits(disk.OpRead), f.Hits(disk.OpSync))
	}
	f.Heal()
	f.Inject(plan(t, "write err=0x80070013").Faults...)
	_, err := f.WriteAt(make([]byte, 1), 5)
	if _, late := f.WriteAt(make([]byte, 20), 80); late != nil || !errors.Is(err, disk.ErrReadOnly) {
		t.Errorf("injected later: %v; healed: %v", err, late)
	}
	if want := "disk: WriteAt at 5: injected error 0x80070013 (write err=0x80070013)"; err.Error() != want {
		t.Errorf("prints %q, want %q", err, want)
	}
}

func TestTornAndDroppedOperations(t *testing.T) {
	for _, c := range []struct {
		fault string
		n     int // what the call returns
		code  uint32
		bytes string // of a store of eight x afterwards, or what was read
	}{
		{"write torn=2", 2, 0x8007001D, "aaxxxxxx"},
		{"write torn=9", 4, 0x8007001D, "aaaaxxxx"},
		{"write drop", 4, 0, "xxxxxxxx"},
		{"write drop=3", 4, 0, "aaaxxxxx"},
		{"write err=0x80070070", 0, 0x80070070, "xxxxxxxx"},
		{"read torn=2", 2, 0x8007001E, "xx"},
		{"read drop=3", 4, 0, "xxx0"},
		{"discard torn=3", 0, 0x8007001D, "000xxxxx"},
		{"discard drop=1", 0, 0, "0xxxxxxx"},
		{"discard drop", 0, 0, "xxxxxxxx"},
		{"discard err=0x80070005", 0, 0x80070005, "xxxxxxxx"},
	} {
		m := disk.NewMemory(8)
		mustWrite(t, m, 0, "xxxxxxxx")
		f := disk.WithFaults(m, plan(t, c.fault))
		p, n, err := []byte("aaaa"), 0, error(nil)
		switch c.fault[0] {
		case 'w':
			n, err = f.WriteAt(p, 0)
		case 'r':
			n, err = f.ReadAt(p, 0)
		default:
			err = f.Discard(0, 4)
		}
		got := readString(t, m, 0, 8)
		if c.fault[0] == 'r' {
			got = string(p[:n])
		}
		var e *disk.FaultError
		code := uint32(0)
		if errors.As(err, &e) {
			code = e.HRESULT()
		}
		if got = strings.ReplaceAll(got, "\x00", "0"); n != c.n || got != c.bytes || code != c.code || (err != nil) != (c.code != 0) {
			t.Errorf("%s: %d, %v, bytes %q, want %d, %#x, %q", c.fault, n, err, got, c.n, c.code, c.bytes)
		}
		if len(f.Unreached()) != 0 {
			t.Errorf("%s did not strike", c.fault)
		}
	}
}

// synced counts the calls of Sync.
type synced struct {
	*disk.Memory
	count int
}

func (s *synced) Sync() error {
	s.count++
	return nil
}

func TestFaultsOfWholeOperations(t *testing.T) {
	s := &synced{Memory: disk.NewMemory(100)}
	f := disk.WithFaults(s, plan(t, "resize nth=1 drop", "resize nth=2 err=0x80070070", "sync drop",
		"snapshot err=0x80070008", "clone nth=2 err=0x80070008"))
	for i, want := range []struct {
		size int64
		err  error
	}{{100, nil}, {100, disk.ErrNoSpace}, {50, nil}} {
		if err := f.Resize(50); !errors.Is(err, want.err) || f.Size() != want.size {
			t.Errorf("resize %d: %v, %d bytes", i, err, f.Size())
		}
	}
	for want := range 2 {
		if err := f.Sync(); err != nil || s.count != want {
			t.Errorf("sync: %v, %d times", err, s.count)
		}
	}
	if _, err := disk.Snapshot(f); err == nil {
		t.Error("the snapshot did not fail")
	}
	snap, err := disk.Snapshot(f)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, 0, "late")
	if got := readString(t, snap, 0, 4); got != "\x00\x00\x00\x00" {
		t.Errorf("the snapshot has %q", got)
	}
	if _, err := disk.Clone(f); err != nil {
		t.Error(err)
	}
	if _, err := disk.Clone(f); err == nil {
		t.Error("the second clone did not fail")
	}
}

func TestDelaysComeBeforeTheRest(t *testing.T) {
	p := plan(t, "write nth=1 delay=5s", "write nth=1 torn=1", "write nth=2 delay=1m0s", "write nth=1 err=0x80070005")
	var waited time.Duration
	cause := errors.New("the world ended")
	p.Delay = func(f disk.Fault) error {
		if waited += f.Outcome.Delay; waited > time.Minute {
			return cause
		}
		return nil
	}
	f := disk.WithFaults(disk.NewMemory(10), p)
	if n, err := f.WriteAt([]byte("ab"), 0); n != 1 || err == nil || waited != 5*time.Second {
		t.Errorf("%d, %v after %v", n, err, waited)
	}
	if n, err := f.WriteAt([]byte("ab"), 0); n != 0 || !errors.Is(err, cause) {
		t.Errorf("%d, %v after %v", n, err, waited)
	}
	if got := f.Unreached(); len(got) != 1 || got[0].Outcome.Err != 0x80070005 {
		t.Errorf("unreached: %v", got)
	}
	quiet := disk.WithFaults(disk.NewMemory(10), plan(t, "read delay=1h0m0s"))
	if _, err := quiet.ReadAt(make([]byte, 1), 0); err != nil || len(quiet.Unreached()) != 0 {
		t.Errorf("a delay that nobody waits for: %v", err)
	}
}

func TestMalformedFaults(t *testing.T) {
	for _, s := range []string{
		"", "write", "drop", "format err=0x1", "write err=5", "write err=0x0", "write err=0x1FFFFFFFF", "write nth=0 drop",
		"write nth=1 from=2 drop", "write drop drop", "write drop torn=5", "write torn=0", "write torn", "write drop=0",
		"write drop=x", "write delay=-5s", "write delay=0s", "write delay", "write at=-1 drop", "write at=1+0 drop",
		"write at=x drop", "write on=C: drop", "snapshot drop", "clone drop", "resize torn=5", "sync drop=5", "sync at=5 drop",
		"write nth=1", "write nth=99999999999 drop", "write at=5 at=6 drop", "write at=9223372036854775807+5 drop",
	} {
		if f, err := disk.ParseFault(s); err == nil {
			t.Errorf("%q is taken for %v", s, f)
		}
	}
	for _, f := range []disk.Fault{{}, {Op: disk.OpSync}, {Op: disk.OpWrite, Nth: -1, Outcome: disk.FaultOutcome{Drop: true}},
		{Op: disk.OpWrite, Outcome: disk.FaultOutcome{Err: 5, Drop: true}}, {Op: disk.OpWrite, Outcome: disk.FaultOutcome{Err: 5, Keep: 1}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was planned", f)
				}
			}()
			disk.WithFaults(disk.NewMemory(1), disk.FaultPlan{Faults: []disk.Fault{f}})
		}()
	}
}

func TestEveryFaultReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := disk.Fault{Op: rapid.SampledFrom([]disk.Op{disk.OpRead, disk.OpWrite, disk.OpDiscard}).Draw(t, "op")}
		if rapid.Bool().Draw(t, "ranged") {
			f.At = disk.Extent{Off: rapid.Int64Range(0, 1<<50).Draw(t, "off"), Len: rapid.Int64Range(1, 1<<50).Draw(t, "len")}
		}
		switch n := rapid.IntRange(1, 1<<30).Draw(t, "n"); rapid.IntRange(0, 2).Draw(t, "count") {
		case 0:
			f.Nth = n
		case 1:
			f.From = n
		}
		switch n := rapid.Int64Range(1, 1<<50).Draw(t, "much"); rapid.IntRange(0, 4).Draw(t, "outcome") {
		case 0:
			f.Outcome.Err = uint32(n) | 1
		case 1:
			f.Outcome.Delay = time.Duration(n)
		case 2:
			f.Outcome.Torn = n
		case 3:
			f.Outcome.Drop, f.Outcome.Keep = true, n
		case 4:
			f.Outcome.Drop = true
		}
		if got, err := disk.ParseFault(f.String()); got != f || err != nil {
			t.Fatalf("%q reads back as %+v, %v", f, got, err)
		}
	})
}

func FuzzParseFault(f *testing.F) {
	for _, s := range []string{"write nth=3 err=0x80070070", "read at=1048576+4096 from=1 torn=5", "sync drop", "discard drop=7", "clone delay=3m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		x, err := disk.ParseFault(s)
		if err != nil {
			return
		}
		if y, err := disk.ParseFault(x.String()); y != x || err != nil {
			t.Errorf("%q prints as %q, which reads as %+v, %v", s, x, y, err)
		}
		disk.WithFaults(disk.NewMemory(1), disk.FaultPlan{Faults: []disk.Fault{x}})
	})
}

// TestEveryFaultOfACopyIsNoticed fails each read and each write of a copy once.
func TestEveryFaultOfACopyIsNoticed(t *testing.T) {
	src := disk.NewMemory(1 << 20)
	for i := range int64(8) {
		mustWrite(t, src, i<<17, "something")
	}
	copyOver := func(from, to disk.FaultPlan) (reads, writes int, err error) {
		s, d := disk.WithFaults(src, from), disk.WithFaults(disk.NewMemory(1<<20), to)
		err = disk.Copy(d, s)
		if err == nil {
			if same, e := disk.Equal(d.Unwrap(), src); !same || e != nil {
				t.Errorf("a copy with %v and %v is another: %v", from.Faults, to.Faults, e)
			}
		}
		return s.Hits(disk.OpRead), d.Hits(disk.OpWrite), err
	}
	reads, writes, err := copyOver(disk.FaultPlan{}, disk.FaultPlan{})
	if err != nil || reads < 8 || writes < 8 {
		t.Fatal(reads, writes, err)
	}
	for n := range reads {
		bad := disk.Fault{Op: disk.OpRead, Nth: n + 1, Outcome: disk.FaultOutcome{Torn: 5}}
		if _, _, err := copyOver(disk.FaultPlan{Faults: []disk.Fault{bad}}, disk.FaultPlan{}); err == nil {
			t.Errorf("read %d failed and nobody noticed", n+1)
		}
	}
	for n := range writes {
		bad := disk.Fault{Op: disk.OpWrite, Nth: n + 1, Outcome: disk.FaultOutcome{Err: 0x80070070}}
		if _, _, err := copyOver(disk.FaultPlan{}, disk.FaultPlan{Faults: []disk.Fault{bad}}); !errors.Is(err, disk.ErrNoSpace) {
			t.Errorf("write %d failed: %v", n+1, err)
		}
	}
}
