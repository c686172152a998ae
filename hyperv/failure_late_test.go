package hyperv_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// F07: a guest does not answer. It is told to give up, and thaws; what was saved
// comes back; the requester learns which machine it was.
func TestF07_GuestDoesNotAnswer(t *testing.T) {
	for _, plan := range []string{
		"guest/answer on=h1/erp/* hang",
		"vss/freeze on=h1/erp/guest/ledger hang",
		"guest/snapshot on=h1/erp/* hang",
	} {
		l := with(t, hyperv.Policy{AnswerLimit: 5 * time.Minute}, plan)
		crew(l)
		began := l.w.Now()
		_, err := l.backup()
		l.failsWith(err, atPrepareSnapshot, timedOut, "erp: ")
		if took := l.w.Now() - began; took > 20*time.Minute {
			t.Errorf("%s: it took %v", plan, took)
		}
		for _, d := range l.h.VM("erp").Guest().Drives() {
			if d.Held() {
				t.Errorf("%s: writes to %s are held", plan, d.Name())
			}
		}
		if len(hyperv.Downtimes(l.w.Trace())) != 2 {
			t.Errorf("%s: %v", plan, hyperv.Downtimes(l.w.Trace()))
		}
		l.goesOn("web", "db", "erp")
		l.recovers()
	}
}

// F16: the context forbids auto-recovery. It is refused before anything was
// changed, or, if it is noticed late, every machine with a snapshot inside fails to
// be mounted; nothing stays mounted, machines that were saved are back, and the
// live machines have nothing left in them.
func TestF16_ShadowCopyCannotBeWritten(t *testing.T) {
	without := func(r *requester.Backup) {
		r.Context = vss.ContextAppRollback | vss.SnapshotContext(vss.AttrNoAutoRecovery)
	}
	for _, late := range []bool{false, true} {
		l := with(t, hyperv.Policy{LateAutoRecovery: late})
		crew(l)
		_, err := l.backup(without)
		saves := len(l.w.Trace().Select("hyperv/save"))
		if late {
			l.failsWith(err, atPostSnapshot, retryable, "db: ", "erp: ", "(event 10111)")
			if n := len(l.events(func(e sim.Event) bool { return e.Kind == "hyperv/event" && e.Get("id") == "10111" })); n != 2 || saves != 2 {
				t.Errorf("%d mounts failed after %d saves", n, saves)
			}
		} else {
			l.failsWith(err, atPrepareSnapshot, retryable, "db: ", "VSS_VOLSNAP_ATTR_NO_AUTORECOVERY")
			if saves != 0 {
				t.Errorf("%d machines were saved", saves)
			}
		}
		l.recovers()
	}
}

// F17: the requester crashes when the shadow copy is made, or in the middle of
// copying: locks are dropped, machines go on all along.
func TestF17_RequesterCrashesAfterPostSnapshot(t *testing.T) {
	for _, plan := range []string{
		"requester/copy kill=backup",
		"requester/copy nth=4 kill=backup",
		"vss/backup-complete on=h1/vmms kill=backup",
	} {
		l := newLab(t, sim.Plan(plan))
		crew(l)
		if _, err := l.backup(); !errors.Is(err, sim.ErrDead) {
			t.Errorf("%s: %v", plan, err)
		}
		if n := len(hyperv.Downtimes(l.w.Trace())); n != 2 {
			t.Errorf("%s: %d machines came back", plan, n)
		}
		l.advance(time.Minute)
		for _, vm := range l.h.VMs() {
			if vm.LockedBy() != "" {
				t.Errorf("%s: %s is held by %s", plan, vm.Name(), vm.LockedBy())
			}
		}
		l.goesOn("web", "db", "erp")
		l.recovers()
	}
}

// stuckLock is a management that cannot give machines back, until it can.
type stuckLock struct {
	hyperv.Management
	stuck bool
}

func (m *stuckLock) Unlock(ctx context.Context, id [16]byte) error {
	if m.stuck {
		return hyperv.ErrFailed
	}
	return m.Management.Unlock(ctx, id)
}

// F18: BackupComplete cannot finish its work. The backup is good, the writer says
// that it failed, the audit names what is left, and the management service cleans
// it up when it starts again.
func TestF18_BackupCompleteFails(t *testing.T) {
	m := &stuckLock{stuck: true}
	l := newLabOf(t, hyperv.HostConfig{Manage: func(inner hyperv.Management) hyperv.Management { m.Management = inner; return m }})
	l.running("db")
	_, err := l.backup()
	l.failsWith(err, vss.StateFailedAtBackupComplete, nonRetryable, "db: backup lock: failed (32768)")
	left := lines(hyperv.Audit(l.h))
	if len(left) != 2 || !strings.HasPrefix(left[0], "db: backup lock") || !strings.HasPrefix(left[1], "db: is held by backup ") {
		t.Errorf("the audit finds %q", left)
	}
	m.stuck = false
	l.must(l.h.StopManagement(l.ctx()))
	l.must(l.h.StartManagement(l.ctx()))
	l.recovers()
}
