package hyperv_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
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
			l.logsVolumeErrors(2)
		} else {
			l.failsWith(err, atPrepareSnapshot, retryable, "db: ", "VSS_VOLSNAP_ATTR_NO_AUTORECOVERY")
			if saves != 0 {
				t.Errorf("%d machines were saved", saves)
			}
		}
		l.recovers()
	}
}

// logsVolumeErrors counts the entries of the event log with which the service says
// that a volume failed it.
func (l *lab) logsVolumeErrors(want int) {
	l.t.Helper()
	n := 0
	for _, e := range vss.EventLog(l.w.Trace()) {
		if e.ID == 12289 && e.Source == "VSS" && e.Log == "Application" && e.Level == vss.LogError {
			n++
		}
	}
	if n != want {
		l.t.Errorf("%d entries 12289, want %d", n, want)
	}
}

// A rack is a software provider whose copies can be read, and not be written: it
// shows no volume, or seals it at once.
type rack struct {
	hides bool
	set   []vss.PrepareRequest
	made  []vss.PrepareRequest
}

func (*rack) IsVolumeSupported(context.Context, vss.Volume, vss.SnapshotContext) (bool, error) {
	return true, nil
}

func (r *rack) BeginPrepareSnapshot(_ context.Context, p vss.PrepareRequest) error {
	r.set = append(slices.DeleteFunc(r.set, func(o vss.PrepareRequest) bool { return o.Set != p.Set }), p)
	return nil
}

func (*rack) EndPrepareSnapshots(context.Context, guid.GUID) error { return nil }
func (*rack) PreCommitSnapshots(context.Context, guid.GUID) error  { return nil }

func (r *rack) CommitSnapshots(ctx context.Context, _ guid.GUID) error {
	var errs []error
	for _, p := range r.set {
		errs = append(errs, p.Volume.CreateShadow(ctx, p.Snapshot))
	}
	r.made, r.set = append(r.made, r.set...), nil
	return errors.Join(errs...)
}

func (r *rack) PostCommitSnapshots(ctx context.Context, _ guid.GUID) error {
	var errs []error
	for _, p := range r.made {
		if !r.hides {
			errs = append(errs, p.Volume.SealShadow(ctx, p.Snapshot))
		}
	}
	return errors.Join(errs...)
}

func (*rack) PreFinalCommitSnapshots(context.Context, guid.GUID) error  { return nil }
func (*rack) PostFinalCommitSnapshots(context.Context, guid.GUID) error { return nil }
func (*rack) AbortSnapshots(context.Context, guid.GUID) error           { return nil }

func (r *rack) find(id guid.GUID) (p vss.PrepareRequest, ok bool) {
	i := slices.IndexFunc(r.made, func(p vss.PrepareRequest) bool { return p.Snapshot == id })
	if i < 0 {
		return p, false
	}
	return r.made[i], true
}

func (r *rack) DeleteSnapshot(ctx context.Context, id guid.GUID) error {
	p, ok := r.find(id)
	if !ok {
		return vss.ErrObjectNotFound
	}
	r.made = slices.DeleteFunc(r.made, func(o vss.PrepareRequest) bool { return o.Snapshot == id })
	return p.Volume.DeleteShadow(ctx, id)
}

func (r *rack) OpenSnapshot(id guid.GUID) (fs.FS, error) {
	p, ok := r.find(id)
	if !ok {
		return nil, vss.ErrObjectNotFound
	}
	fsys, err := p.Volume.OpenShadow(id)
	if r.hides {
		return struct{ fs.FS }{fsys}, err
	}
	return fsys, err
}

// F16: the host's provider cannot expose its copies for writing. No machine with a
// snapshot inside can be backed up, which both logs say, and all others can.
func TestF16_CopiesCannotBeWritten(t *testing.T) {
	for _, hides := range []bool{true, false} {
		l := newLab(t)
		crew(l)
		id := guid.GUID{0x16}
		l.must(l.h.VSS().RegisterProvider(&rack{hides: hides}, vss.ProviderConfig{ID: id, Name: "rack"}))
		_, err := l.backup()
		l.failsWith(err, atPostSnapshot, retryable, "db: ", "erp: ", "(event 10111)")
		for _, vm := range []string{"db", "erp"} {
			l.event("hyperv/event", "vm="+vm, "id=10111")
			l.event("hyperv/event", "vm="+vm, "id=10104")
		}
		l.logsVolumeErrors(2)
		l.settled()
		target := l.mustBackup(only("web", "app", "off", "mine"))
		l.settled()
		l.logsVolumeErrors(2)
		l.mustRestore(target)
		l.must(l.h.VSS().UnregisterProvider(id))
		l.note()
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
