package requester_test

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// cycle is a backup, the loss of all files, and a restore.
func (l *lab) cycle() (backup, restore error) {
	_, backup = l.backup()
	if backup == nil {
		l.remove(`D:\db`, `E:\logs`, `D:\mail`, `C:\mail`)
		_, restore = l.restore()
	}
	return backup, restore
}

// TestEverySingleFault fails each point of a clean backup and restore once, in
// each way that is documented for it. Whatever happens, the requester comes to an
// end that says what happened, nothing is left over, and the next backup succeeds.
func TestEverySingleFault(t *testing.T) {
	faults := sim.SingleFaults(append(vss.FaultPoints(), requester.FaultPoints()...), cleanHits(t))
	if len(faults) < 80 {
		t.Fatalf("only %d faults: %v", len(faults), faults)
	}
	for _, f := range faults {
		t.Run(f.String(), func(t *testing.T) {
			l, _, _ := standard(t, sim.Faults(f))
			backup, restore := l.cycle()
			l.checkOutcome(backup, restore)
			if un := l.w.Unreached(); len(un) > 0 {
				t.Errorf("not reached: %v", un)
			}
			l.recover(f.Point == vss.PointProviderDelete)
			if t.Failed() {
				t.Logf("ended with %v, %v\n%s", backup, restore, l.w.Trace())
			}
		})
	}
}

// TestRequesterDiesAnywhere kills the requester at every step of backup and
// restore.
func TestRequesterDiesAnywhere(t *testing.T) {
	for _, h := range cleanHits(t) {
		for nth := 1; nth <= min(h.Count, 4); nth++ {
			f := sim.Fault{Point: h.Point, On: h.On, Nth: nth, Outcome: sim.Outcome{Kill: "requester"}}
			t.Run(f.String(), func(t *testing.T) {
				l, _, _ := standard(t, sim.Faults(f))
				backup, restore := l.cycle()
				if err := errors.Join(backup, restore); h.Point != vss.PointBackupShutdown && !errors.Is(err, sim.ErrDead) {
					t.Errorf("the requester lives: %v", err)
				}
				if backup != nil && h.Point != vss.PointBackupShutdown && h.Point != vss.PointProviderDelete {
					l.noDocument()
				}
				l.recover(false)
				if t.Failed() {
					t.Logf("ended with %v, %v\n%s", backup, restore, l.w.Trace())
				}
			})
		}
	}
}

// cleanHits are the fault points of a backup and a restore in which nothing fails.
func cleanHits(t *testing.T) []sim.Hit {
	l, _, _ := standard(t)
	backup, restore := l.cycle()
	l.must(errors.Join(backup, restore))
	return l.w.Hits()
}

// checkOutcome demands that failures have a type, and that a backup is either
// whole, with everything restored, or not to be taken for one.
func (l *lab) checkOutcome(backup, restore error) {
	l.t.Helper()
	for _, err := range []error{backup, restore} {
		e, ok := errors.AsType[*requester.Error](err)
		if err != nil && !errors.Is(err, sim.ErrDead) && (!ok || e.Phase == "") {
			l.t.Errorf("an error without a type: %v", err)
		}
	}
	e, _ := errors.AsType[*requester.Error](backup)
	_, err := fs.Stat(l.target, requester.DocumentName)
	if whole := backup == nil || e != nil && e.Phase == "Release" || errors.Is(backup, sim.ErrDead) && err == nil; whole != (err == nil) {
		l.t.Errorf("the backup ends with %v, its document with %v", backup, err)
	}
	if backup == nil && restore == nil && !slices.Contains(listing(l.t, l.target, "files"), "files/D/db/data.mdf") {
		return // a writer that failed to describe itself is not in the backup
	}
	if backup == nil && restore == nil {
		l.has(`D:\db\data.mdf`, "rows", `E:\logs\2.log`, "two")
	}
}

// recover ends all faults and demands that the machine is as good as new.
func (l *lab) recover(copyStays bool) {
	l.t.Helper()
	l.w.Heal()
	l.must(l.w.Advance(0))
	if copyStays {
		ctx := l.t.Context()
		for _, c := range l.s.Snapshots() {
			b, err := l.s.CreateBackupComponents(ctx)
			l.must(err)
			l.must(b.InitializeForBackup(ctx, nil))
			_, err = b.DeleteSnapshots(ctx, c.SnapshotID, vss.ObjectSnapshot, true)
			l.must(errors.Join(err, b.Release(ctx)))
		}
	}
	l.settled()
	l.write(`D:\db\data.mdf`, "rows", `C:\mail\base.cfg`, "config", `E:\logs\1.log`, "one")
	l.mustBackup()
}
