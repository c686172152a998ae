package vss_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// cycle is a backup and a restore of it.
func (m *machine) cycle() error {
	return m.as(func(ctx context.Context) error { return restoreScript(ctx, m) })
}

// TestEverySingleFault fails each point of a clean backup and restore once, in
// each way that is documented for it. Whatever happens, the requester comes to an
// end, nothing is left over, and the next backup succeeds.
func TestEverySingleFault(t *testing.T) {
	clean := newMachine(t, vss.ServiceConfig{})
	clean.must(clean.cycle())
	faults := sim.SingleFaults(vss.FaultPoints(), clean.w.Hits())
	if len(faults) < 60 {
		t.Fatalf("only %d faults: %v", len(faults), faults)
	}
	for _, f := range faults {
		t.Run(f.String(), func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{}, sim.Faults(f))
			err := m.cycle()
			m.must(m.w.Advance(5 * time.Minute))
			if un := m.w.Unreached(); len(un) > 0 {
				t.Errorf("not reached: %v", un)
			}
			m.checkWindows()
			m.checkResult(f, err)
			if f.Point == vss.PointProviderDelete {
				m.deleteLeftovers()
			}
			m.settled()
			if t.Failed() {
				t.Logf("ended with %v\n%s", err, transcript(m.w.Trace()))
			}
		})
	}
}

// checkResult demands that the requester learns of a fault, unless it is one of
// those that nobody learns of: what only costs time within the limits, a writer
// that is missing from the start, and what happens when the requester is gone.
func (m *machine) checkResult(f sim.Fault, err error) {
	m.t.Helper()
	var stuck *sim.StuckError
	if errors.As(err, &stuck) {
		m.t.Fatalf("stuck: %v", err)
	}
	if f.Point == vss.PointBackupShutdown && f.Outcome.Kill != "" { // it dies before the restore
		if !errors.Is(err, vss.ErrObjectNotFound) {
			m.t.Errorf("the requester got %v", err)
		}
		return
	}
	harmless := f.Point == vss.PointBackupShutdown || f.Outcome.Delay > 0 &&
		f.Point != vss.PointFreeze && f.Point != vss.PointVolumeFlush && f.Point != vss.PointVolumeHold &&
		f.Point != vss.PointProviderPreCommit && f.Point != vss.PointProviderCommit && f.Point != vss.PointProviderPostCommit
	if harmless != (err == nil) && f.Point != vss.PointIdentify {
		m.t.Errorf("the requester got %v", err)
	}
}

// checkWindows demands that each hold is short and each freeze bounded.
func (m *machine) checkWindows() {
	m.t.Helper()
	held := make(map[string]time.Duration)
	for _, e := range m.w.Trace() {
		switch e.Kind {
		case "vss/hold":
			held[e.Get("volume")] = e.Time
		case "vss/release":
			if d := e.Time - held[e.Get("volume")]; d > vss.HoldTimeout {
				m.t.Errorf("%s was held for %v", e.Get("volume"), d)
			}
			delete(held, e.Get("volume"))
		}
	}
	if len(held) > 0 {
		m.t.Errorf("held for good: %v", held)
	}
}

func (m *machine) deleteLeftovers() {
	m.t.Helper()
	m.w.Heal()
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		err = errors.Join(b.InitializeForBackup(ctx, nil), b.SetContext(ctx, vss.ContextAll))
		list, e := b.Query(ctx)
		err = errors.Join(err, e)
		if len(list) != 1 {
			m.t.Errorf("%d copies are left", len(list))
		}
		for _, p := range list {
			_, e := b.DeleteSnapshots(ctx, p.SnapshotID, vss.ObjectSnapshot, true)
			err = errors.Join(err, e)
		}
		return errors.Join(err, b.Release(ctx))
	}))
}

// TestRequesterDiesAnywhere kills the requester at every step of its backup.
func TestRequesterDiesAnywhere(t *testing.T) {
	clean := newMachine(t, vss.ServiceConfig{})
	clean.must(clean.cycle())
	for _, h := range clean.w.Hits() {
		for _, o := range []sim.Outcome{{Kill: "h1/backup"}} {
			f := sim.Fault{Point: h.Point, On: h.On, Outcome: o}
			t.Run(f.String(), func(t *testing.T) {
				m := newMachine(t, vss.ServiceConfig{}, sim.Faults(f))
				err := m.cycle()
				m.must(m.w.Advance(5 * time.Minute))
				if !m.requester.Dead() {
					t.Errorf("the requester lives: %v", err)
				}
				m.checkWindows()
				m.settled()
				if t.Failed() {
					t.Logf("ended with %v\n%s", err, transcript(m.w.Trace()))
				}
			})
		}
	}
}
