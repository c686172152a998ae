package ledger_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A crash at any write leaves an image that the next boot brings up to date, and
// from which the ledger goes on.
func TestBootFromAnyInstant(t *testing.T) {
	r := story(t, 3)
	for i, at := range r.seen {
		if i < 4 {
			continue // not a ledger yet
		}
		n := newRig(t, nil)
		n.model = at.model
		for k, from := range []disk.Source{at.data, at.log} {
			n.must(disk.Copy(n.vols[k], from))
		}
		known := slices.Clone((*at.history)[:max(at.last, at.applied)+1])
		n.model.history = &known
		n.boot()
		verdict, report := n.check()
		want := (*at.history)[max(at.last, at.applied)]
		if verdict != ledger.Application || !slices.Equal(report.Balances, want) {
			t.Fatalf("boot at instant %d %+v: %v: %v", i, at.model, verdict, report)
		}
		n.advance(500 * time.Millisecond)
		if verdict, after := n.check(); verdict != ledger.Crash || after.Last <= report.Last || after.Total != accounts*opening {
			t.Fatalf("half a second after instant %d: %v: %v", i, verdict, after)
		}
		n.must(n.world.Close())
	}
}

// A torn ledger is not touched.
func TestTornLedgerDoesNotStart(t *testing.T) {
	r := newRig(t, nil)
	m := r.boot()
	r.advance(time.Second)
	m.PowerOff()
	edit(r.vols[1], ledger.LogAt, put32(32, 5)) // transactions 1 to 4 are gone
	before := [2]disk.Store{image(r.vols[0]), image(r.vols[1])}
	r.boot()
	r.advance(time.Second)
	last := r.world.Trace().Select("guest/program")
	if e := last[len(last)-1]; e.Get("state") != "crashed" || !strings.Contains(e.Get("error"), "transaction 1 is missing") {
		t.Errorf("%v", e)
	}
	for i, v := range r.vols {
		if same, err := disk.Equal(v, before[i]); err != nil || !same {
			t.Errorf("volume %d was changed: %v", i, err)
		}
	}
}

// A log that is full is flushed and begun anew.
func TestFullLog(t *testing.T) {
	r := newRig(t, map[string]string{"rest": "1ms"})
	r.boot()
	r.advance(time.Second)
	_, start := r.check()
	slots := int((4<<20 - 1<<20 - guest.TailSize - ledger.LogAt - 512) / 64)
	r.seen = nil
	steps := 0
	for report := start; report.Applied == 0; _, report = r.check() {
		if steps++; steps > 2*slots/1000 {
			t.Fatalf("%d transactions in a log of %d", report.Last, slots)
		}
		r.advance(time.Second)
		r.seen = nil
	}
	verdict, report := r.check()
	if verdict != ledger.Crash || report.Applied != uint64(slots) || report.Total != accounts*opening {
		t.Errorf("%v: %v; slots %d", verdict, report, slots)
	}
}

// One volume holds both parts as well as two.
func TestOneVolume(t *testing.T) {
	r := newRig(t, nil)
	d := r.Disks[0].Disk
	l, err := guest.ReadLayout(d, d.Size())
	r.must(err)
	c := guest.Volumes(l)[0].Store(d)
	s, err := guest.ReadSystem(c)
	r.must(err)
	s.Programs[0].Args = nil
	r.must(guest.WriteSystem(c, s))
	m := r.boot()
	r.advance(time.Second)
	if verdict, report := ledger.Check(c, c); verdict != ledger.Crash || report.Total != 64000 {
		t.Errorf("%v: %v", verdict, report)
	}
	snap, err := r.backup(m)
	r.must(err)
	kept, err := d.Kept(snap.Copies[0].ID)
	r.must(err)
	image := disk.Section(kept, snap.Copies[0].Off, snap.Copies[0].Len)
	if verdict, report := ledger.Check(image, image); verdict != ledger.Application || !report.Recovered {
		t.Errorf("%v: %v", verdict, report)
	}
}

// Writes that fail are done again; at no instant is the image torn.
func TestWriteErrors(t *testing.T) {
	for _, volume := range []string{"D:", "E:"} {
		for n := 1; n < 30; n++ {
			r := newRig(t, nil, sim.Plan(fmt.Sprintf("disk/write on=h1/sql01/guest/%s nth=%d err=0x8007001F", volume, n)))
			m := r.boot()
			if len(r.world.Unreached()) == 0 {
				continue // the ledger could not be made
			}
			r.advance(time.Second)
			if _, err := r.backup(m); err != nil && !errors.Is(err, guest.ErrWriter) {
				t.Errorf("%s write %d: %v", volume, n, err)
			}
			r.advance(time.Second)
			r.world.Heal()
			s, err := r.backup(m)
			r.must(err)
			if verdict, report := ledger.Check(r.copies(s)); verdict != ledger.Application {
				t.Errorf("%s write %d: the backup is %v: %v", volume, n, verdict, report)
			}
			for i, at := range r.seen {
				if verdict, report := ledger.Check(at.data, at.log); verdict == ledger.Torn && i >= 4 {
					t.Fatalf("%s write %d, instant %d: %v", volume, n, i, report)
				}
			}
			if verdict, report := r.check(); verdict == ledger.Torn || !slices.Equal(report.Balances, (*r.model.history)[report.Last]) {
				t.Errorf("%s write %d: %v: %v", volume, n, verdict, report)
			}
			r.must(r.world.Close())
		}
	}
}

// What is said of a freeze holds for it: from Freeze to Thaw there is no write,
// and with every backup the data is complete.
func TestNoWriteWhileFrozen(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		delay := rapid.SampledFrom([]string{"provider/pre-commit", "provider/post-commit", "vss/thaw"}).Draw(rt, "slow")
		r := newRig(t, nil, sim.Seed(rapid.Uint64Range(0, 9).Draw(rt, "seed")), sim.Plan(delay+" delay=20s"))
		m := r.boot()
		r.advance(time.Second)
		_, err := r.backup(m)
		r.must(err)
		tr := r.world.Trace()
		freeze, thaw := tr.Select("vss/freeze.end")[0].Time, tr.Select("vss/thaw.end")[0].Time
		if thaw-freeze != 20*time.Second {
			rt.Fatalf("frozen for %v", thaw-freeze)
		}
		// The mean rest is a tenth of a second: two hundred transactions are missing.
		if n := len(*r.model.history); n > 20 {
			rt.Fatalf("%d transactions in a second", n)
		}
	})
}

// A freeze that takes longer than the window fails, and the ledger goes on.
func TestSlowFreeze(t *testing.T) {
	for window, slow := range map[string]string{"": "61s", "20s": "21s"} {
		args := map[string]string{"slow": slow}
		if window != "" {
			args["window"] = window
		}
		r := newRig(t, args)
		m := r.boot()
		r.advance(time.Second)
		_, err := r.backup(m)
		var w *guest.WriterError
		if !errors.As(err, &w) || w.Failure.Code != vss.ErrWriterErrorTimeout || w.State != vss.StateFailedAtFreeze {
			t.Errorf("slow %s: %v", slow, err)
		}
		_, before := r.check()
		r.advance(time.Second)
		if _, after := r.check(); after.Last <= before.Last {
			t.Errorf("slow %s: the ledger is frozen", slow)
		}
	}
}

func TestLevels(t *testing.T) {
	for word, level := range map[string]vss.ApplicationLevel{
		"front-end": vss.LevelFrontEnd, "back-end": vss.LevelBackEnd, "system": vss.LevelSystem,
	} {
		r := newRig(t, map[string]string{"level": word})
		writers := r.boot().VSS().Writers()
		if len(writers) != 1 || writers[0].Level() != level || writers[0].Name() != ledger.WriterName || writers[0].ClassID() != ledger.ClassID {
			t.Errorf("%s: %+v", word, writers)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range []map[string]string{
		{"colour": "red"}, {"accounts": "1"}, {"accounts": "4089"}, {"accounts": "x"}, {"opening": "0"}, {"opening": "2000000000"},
		{"rest": "0s"}, {"rest": "soon"}, {"level": "top"}, {"veto": "restore"}, {"hr": "what"}, {"slow": "-1s"}, {"window": "0"},
	} {
		_, err := ledger.New(guest.Program{Name: ledger.Name, Args: args})
		var bad *ledger.ArgError
		if !errors.As(err, &bad) || args[bad.Name] != bad.Value || err.Error() == "" {
			t.Errorf("%v: %v", args, err)
		}
	}
	if _, err := ledger.New(guest.Program{Args: map[string]string{
		"data": "D:", "log": "E:", "accounts": "4088", "opening": "5", "rest": "1s", "level": "system", "window": "5s",
		"veto": "thaw", "hr": "0x800423F3", "slow": "3s",
	}}); err != nil {
		t.Errorf("all arguments: %v", err)
	}
}

// A volume without room for the ledger is no place for it.
func TestNoRoom(t *testing.T) {
	for i, volume := range []string{"D:", "E:"} {
		r := newRig(t, nil)
		d := guest.NewDisk(disk.NewMemory(4 << 20))
		r.must(guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: 9,
			Partitions: []guest.PartitionSpec{{Size: 400 << 10}}}))
		r.Disks[1+i].Disk = d
		r.boot()
		events := r.world.Trace().Select("guest/program")
		if len(events) != 1 || events[0].Get("state") != "crashed" || !strings.Contains(events[0].Get("error"), "too small") {
			t.Errorf("%s: %v", volume, events)
		}
	}
}
