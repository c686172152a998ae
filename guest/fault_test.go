package guest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// life is what a machine goes through in the fault sweep, up to the backup.
func life(t testing.TB, opts ...sim.Option) (*rig, *guest.Machine) {
	b := newRig(t, opts...)
	m, err := guest.Boot(t.Context(), b.Config)
	if err != nil {
		return b, nil
	}
	b.advance(time.Second)
	return b, m
}

// Each single thing that can go wrong, once and from there on, ends with a
// backup or with an error; whichever it is, nothing is frozen, held or kept
// afterwards, the ledger goes on, and when the fault is gone the next backup is
// a good one.
func TestEverySingleFault(t *testing.T) {
	clean, m := life(t)
	clean.must(clean.requestor(m).Release(t.Context(), clean.snapshot(m)))
	points := guest.FaultPoints()
	faults := sim.SingleFaults(points, clean.world.Hits())
	asked := make(map[sim.Point]bool)
	for _, h := range clean.world.Hits() {
		asked[h.Point] = true
	}
	for _, p := range []sim.Point{guest.PointAnswer, guest.PointSnapshot, guest.PointBoot, guest.PointRead, guest.PointWrite, "vss/freeze", "provider/commit", "volume/hold"} {
		if !asked[p] {
			t.Errorf("a clean run does not come by %s", p)
		}
	}
	for _, f := range faults {
		always := f
		always.From = 1
		for _, f := range []sim.Fault{f, always} {
			t.Run(strings.ReplaceAll(f.String(), "/", "|"), func(t *testing.T) { oneFault(t, f) })
		}
	}
	t.Logf("%d faults", 2*len(faults))
}

func oneFault(t *testing.T, f sim.Fault) {
	b, m := life(t, sim.Faults(f))
	if m == nil {
		return // it does not boot
	}
	r := b.requestor(m)
	s, err := r.Snapshot(t.Context(), guest.SnapshotOptions{})
	if err == nil {
		missing := len(b.world.Trace().Select("guest/writer-missing")) > 0
		verdict, report := ledger.Check(b.copyOf(s, "D:"), b.copyOf(s, "E:"))
		if good := verdict == ledger.Application; alive(m) && good == missing {
			t.Errorf("a backup without an error, writer missing %v: %v: %v", missing, verdict, report)
		}
		if err := r.Release(t.Context(), s); err != nil {
			b.world.Heal()
			b.must(r.Release(t.Context(), s))
		}
	} else {
		var e *guest.Error
		if !errors.As(err, &e) {
			t.Errorf("%T: %v", err, err)
		}
	}
	events := len(vssEvents(b.world.Trace()))
	b.settled(m)
	b.world.Heal()
	_, before := ledger.Check(b.volume(1), b.volume(2))
	b.advance(time.Minute)
	if got := vssEvents(b.world.Trace()); len(got) != events {
		t.Errorf("events after the backup: %v", got[events:])
	}
	if left := b.world.Unreached(); len(left) > 0 {
		t.Errorf("never struck: %v", left)
	}
	if !alive(m) {
		b.snapshot(m)
		return
	}
	if _, after := ledger.Check(b.volume(1), b.volume(2)); after.Last <= before.Last {
		t.Errorf("the ledger is frozen at %d\n%s", after.Last, b.world.Trace())
	}
	s = b.snapshot(m)
	if verdict, report := ledger.Check(b.copyOf(s, "D:"), b.copyOf(s, "E:")); verdict != ledger.Application {
		t.Errorf("the next backup: %v: %v", verdict, report)
	}
	b.must(b.requestor(m).Release(t.Context(), s))
	b.settled(m)
}

// alive tells whether the ledger's writer is there.
func alive(m *guest.Machine) bool { return len(m.VSS().Writers()) > 0 }

// The orders in which the processes of a backup can run do not matter.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(50) {
		b := newRig(t, sim.Seed(seed))
		m := b.boot()
		b.advance(time.Duration(seed) * 77 * time.Millisecond)
		s := b.snapshot(m)
		if got := vssEvents(b.world.Trace()); !slices.Equal(got, completeSequence) {
			t.Errorf("seed %d: %v", seed, got)
		}
		if verdict, report := ledger.Check(b.copyOf(s, "D:"), b.copyOf(s, "E:")); verdict != ledger.Application {
			t.Errorf("seed %d: %v: %v", seed, verdict, report)
		}
		b.must(b.requestor(m).Release(t.Context(), s))
		b.settled(m)
		b.must(b.world.Close())
	}
}

// The same again with a fault, at any seed: the requestor's service dies at each
// turn of a backup.
func TestTheServiceDiesAtAnyMoment(t *testing.T) {
	for _, event := range []string{"vss/identify", "vss/prepare-backup", "vss/prepare-snapshot", "vss/freeze", "vss/thaw", "vss/post-snapshot",
		"vss/backup-complete", "vss/backup-shutdown", "provider/end-prepare", "provider/pre-commit", "provider/commit", "provider/post-commit",
		"provider/pre-final-commit", "provider/post-final-commit", "volume/flush", "volume/hold"} {
		for seed := range uint64(6) {
			b := newRig(t, sim.Seed(seed), sim.Plan(event+" kill=h1/sql01/guest/vmicvss"))
			m := b.boot()
			b.advance(time.Second)
			_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
			if err == nil {
				t.Errorf("%s, seed %d: no error", event, seed)
			}
			b.settled(m)
			b.snapshot(m)
			b.must(b.world.Close())
		}
	}
}

// It may even die while it undoes a backup that has failed.
func TestTheServiceDiesUndoing(t *testing.T) {
	for _, plan := range [][]string{
		{"vss/freeze err=0x800423F4", "vss/backup-shutdown kill=h1/sql01/guest/vmicvss"},
		{"provider/commit err=0x80042306", "vss/abort kill=h1/sql01/guest/vmicvss"},
	} {
		b := newRig(t, sim.Plan(plan...))
		m := b.boot()
		b.advance(time.Second)
		if _, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{}); err == nil {
			t.Errorf("%v: no error", plan)
		}
		b.settled(m)
		b.snapshot(m)
	}
}

// The machine's shadow copy service dies; writes are not held for good, and
// nothing is kept.
func TestTheShadowCopyServiceDies(t *testing.T) {
	for _, event := range []string{"vss/freeze", "volume/hold", "provider/commit", "vss/post-snapshot", "vss/backup-complete"} {
		b := newRig(t, sim.Plan(event+" kill=h1/sql01/guest/vss"))
		m := b.boot()
		b.advance(time.Second)
		_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{Timeout: time.Minute})
		if err == nil {
			t.Errorf("%s: no error", event)
		}
		b.must(m.WriteAt(t.Context(), "D:", 3<<20, []byte("x")))
		for i, d := range b.Disks {
			if ids := d.Disk.KeptIDs(); len(ids) > 0 {
				t.Errorf("%s: disk %d keeps %x", event, i, ids)
			}
		}
	}
}
