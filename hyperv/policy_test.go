package hyperv_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// with is a lab whose host has a policy.
func with(t *testing.T, p hyperv.Policy, plan ...string) *lab {
	t.Helper()
	return newLabOf(t, hyperv.HostConfig{Profile: hyperv.Profile{Policy: p}}, sim.Plan(plan...))
}

// F05: a save that takes too long ends with a typed failure. Machines that were
// saved before come back at once. The late one does when it is saved in the end;
// until then the audit says what it is at.
func TestF05_SaveTakesTooLong(t *testing.T) {
	l := newLab(t, sim.Plan("hyperv/save on=h1/app delay=3h"))
	crew(l)
	_, err := l.backup()
	l.failsWith(err, atPrepareSnapshot, timedOut, "app: ", "timed out (32772) after 1h0m0s")
	if s := l.h.VM("app").State(); s != hyperv.StateSaving {
		t.Errorf("app is %v", s)
	}
	l.goesOn("web", "db", "erp")
	left := lines(hyperv.Audit(l.h))
	if len(left) != 2 || !strings.Contains(left[0], "app: saved by the writer: Undo: app: timed out") || !strings.Contains(left[1], "app: is saving") {
		t.Errorf("the audit finds %q", left)
	}
	l.advance(4 * time.Hour)
	l.recovers()
	if len(hyperv.Downtimes(l.w.Trace())) < 2 {
		t.Error("no downtimes")
	}
}

// F05: a save that never ends. The machine is stuck, which the audit says; the
// others do what they did before, also after a restart of the management service.
func TestF05_SaveHangs(t *testing.T) {
	l := with(t, hyperv.Policy{OperationLimit: 10 * time.Minute}, "hyperv/save on=h1/app hang")
	crew(l)
	began := l.w.Now()
	_, err := l.backup()
	l.failsWith(err, atPrepareSnapshot, timedOut, "app: ", "after 10m0s")
	if d := l.w.Now() - began; d > 10*time.Minute+30*time.Second {
		t.Errorf("it took %v", d)
	}
	check := func() {
		t.Helper()
		for name, want := range l.prior {
			if vm := l.h.VM(name); vm.State() != want && name != "app" || vm.LockedBy() != "" {
				t.Errorf("%s is %v, held by %q", name, vm.State(), vm.LockedBy())
			}
		}
		for _, left := range hyperv.Audit(l.h) {
			if left.On != "app" {
				t.Errorf("left over: %v", left)
			}
		}
	}
	check()
	l.must(l.h.StopManagement(l.ctx()))
	if err := l.h.StartManagement(l.ctx()); !errors.Is(err, hyperv.ErrTimeout) {
		t.Errorf("the restart says %v", err)
	}
	check()
	_, err = l.backup()
	l.failsWith(err, atPrepareSnapshot, retryable, "app: ", "the machine is saving")
	l.h.PowerOff() // what an administrator does in the end
	l.must(l.h.Boot(l.ctx()))
	l.startAll(t)
	l.note()
	l.recovers()
}

// F14: bringing a machine back hangs. The writer fails, the others are back and
// rolled back, and the audit names the machine.
func TestF14_BringingBackHangs(t *testing.T) {
	l := with(t, hyperv.Policy{OperationLimit: 5 * time.Minute}, "hyperv/start on=h1/web nth=2 hang")
	crew(l)
	_, err := l.backup()
	l.failsWith(err, atPostSnapshot, nonRetryable, "web: ", "timed out (32772) after 5m0s")
	if n := len(l.w.Trace().Select("hyperv/roll-back")); n != 2 || l.h.VM("app").State() != hyperv.StatePaused {
		t.Errorf("%d disks were rolled back, app is %v", n, l.h.VM("app").State())
	}
	left := lines(hyperv.Audit(l.h))
	if len(left) != 2 || !strings.HasPrefix(left[0], "web: saved by the writer: ") || left[1] != "web: is starting" {
		t.Errorf("the audit finds %q", left)
	}
	l.goesOn("db", "erp")
}

// PreRestore does not wait for ever for a machine that is stuck.
func TestPreRestoreOfAStuckMachine(t *testing.T) {
	l := with(t, hyperv.Policy{OperationLimit: 5 * time.Minute})
	l.running("db")
	source := l.mustBackup()
	l.w.Inject(sim.Fault{Point: hyperv.FaultSave, Outcome: sim.Outcome{Hang: true}})
	l.w.Actor("administrator").Go("save", l.h.VM("db").Save)
	l.advance(time.Second)
	_, err := l.restore(source)
	l.failsWith(err, vss.StateFailedAtPreRestore, nonRetryable, "timed out (32772) after 5m0s")
	if l.h.VM("db") == nil {
		t.Error("the machine is gone")
	}
}

// The order of the work in PrepareSnapshot and PostSnapshot, and how much of it is
// done at the same time, change how long machines are down, and nothing else.
func TestPolicyOfOrder(t *testing.T) {
	type outcome struct {
		web, app, whole time.Duration
		order           string
	}
	run := func(p hyperv.Policy) (o outcome) {
		l := with(t, p)
		crew(l)
		l.noting()
		began := l.w.Now()
		target := l.mustBackup()
		o.whole = l.w.Now() - began
		l.settled()
		for _, d := range hyperv.Downtimes(l.w.Trace()) {
			switch d.VM {
			case "web":
				o.web = d.Duration()
			case "app":
				o.app = d.Duration()
			}
		}
		var order []string
		for _, e := range l.w.Trace() {
			for _, kind := range []string{"save", "child-snapshot", "bring-back", "roll-back"} {
				if e.Kind == "hyperv/"+kind {
					order = append(order, kind+" "+e.Get("vm"))
				}
			}
		}
		o.order = strings.Join(order, ", ")
		for _, e := range l.events(inside("db")) {
			l.within(e, "vss/prepare-snapshot") // R27 holds under every policy
		}
		for _, e := range l.events(inside("erp")) {
			l.within(e, "vss/prepare-snapshot")
		}
		l.checkBytes(target)
		return o
	}
	plain, guestsFirst := run(hyperv.Policy{}), run(hyperv.Policy{GuestsFirst: true})
	rollBackFirst, parallel := run(hyperv.Policy{RollBackFirst: true}), run(hyperv.Policy{Parallel: 8})
	for name, row := range map[string][2]string{
		"plain":         {plain.order, "save web, save app, child-snapshot db, child-snapshot erp, bring-back web, bring-back app, roll-back db, roll-back erp"},
		"guestsFirst":   {guestsFirst.order, "child-snapshot db, child-snapshot erp, save web, save app, bring-back web, bring-back app, roll-back db, roll-back erp"},
		"rollBackFirst": {rollBackFirst.order, "save web, save app, child-snapshot db, child-snapshot erp, roll-back db, roll-back erp, bring-back web, bring-back app"},
		"parallel":      {parallel.order, plain.order},
	} {
		if row[0] != row[1] {
			t.Errorf("%s: %s", name, row[0])
		}
	}
	if plain.web == 0 || plain.app == 0 || guestsFirst.web >= plain.web || guestsFirst.app >= plain.app {
		t.Errorf("down %v, %v; with guests first %v, %v", plain.web, plain.app, guestsFirst.web, guestsFirst.app)
	}
	if parallel.whole >= plain.whole || parallel.web >= plain.web {
		t.Errorf("it took %v, in parallel %v; web was down for %v, %v", plain.whole, parallel.whole, plain.web, parallel.web)
	}
}

// Machines come in the order of their GUIDs, or in which they were created.
func TestPolicyOfTheOrderOfMachines(t *testing.T) {
	saves := func(p hyperv.Policy) (order, byGUID []string) {
		l := with(t, p)
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			l.running(name, stopped)
		}
		l.mustBackup()
		for _, e := range l.w.Trace().Select("hyperv/save") {
			order = append(order, e.Get("vm"))
		}
		list := l.h.VMs()
		slices.SortFunc(list, func(a, b *hyperv.VM) int { x, y := a.ID(), b.ID(); return bytes.Compare(x[:], y[:]) })
		for _, vm := range list {
			byGUID = append(byGUID, vm.Name())
		}
		return order, byGUID
	}
	got, want := saves(hyperv.Policy{})
	if !slices.Equal(got, want) || slices.IsSorted(want) || len(got) != 5 {
		t.Errorf("saved in the order %v, and the GUIDs have %v", got, want)
	}
	if got, _ := saves(hyperv.Policy{InCreationOrder: true}); !slices.IsSorted(got) || len(got) != 5 {
		t.Errorf("saved in the order %v", got)
	}
}

// The authorization store is a component of its own if the policy says so: it is
// backed up and restored like a machine, and belongs to none.
func TestPolicyOfTheInitialStore(t *testing.T) {
	const path = `C:\ProgramData\Microsoft\Windows\Hyper-V\InitialStore.xml`
	for _, listed := range []bool{false, true} {
		l := with(t, hyperv.Policy{InitialStore: listed})
		l.machine("off")
		var names []string
		for _, c := range l.identified().Components {
			names = append(names, c.Name+" "+c.Caption)
		}
		if i := slices.Index(names, "InitialStore Initial Store"); (i == 1) != listed || len(names) > 1 != listed {
			t.Errorf("listed %v: %q", listed, names)
		}
		before := l.bytes(path)
		target := l.mustBackup()
		l.must(l.h.Volume("C").WriteFile(path[2:], []byte("spoilt")))
		l.mustRestore(target)
		if back := bytes.Equal(before, l.bytes(path)); back != listed {
			t.Errorf("listed %v, restored %v", listed, back)
		}
	}
}

// A requester that dies when machines are about to be saved at the same time leaves
// none of them saved, in whatever order all of it happens.
func TestParallelSavesAreCalledOff(t *testing.T) {
	for seed := range uint64(150) {
		l := newLabOf(t, hyperv.HostConfig{Profile: hyperv.Profile{Policy: hyperv.Policy{Parallel: 3}}}, sim.Seed(seed),
			sim.Plan("provider/end-prepare on=h1/vss/swprv kill=backup"))
		l.running("a", stopped)
		l.running("b", stopped)
		if _, err := l.backup(); err == nil {
			t.Errorf("seed %d: the backup succeeds", seed)
		}
		l.advance(time.Minute)
		l.settled()
		_ = l.w.Close()
	}
}

// checkBytes compares what is in a backup with what the spy noted.
func (l *lab) checkBytes(target *requester.Memory) {
	l.t.Helper()
	for path, want := range l.spy.saved {
		if !slices.Equal(l.bytesIn(target, path), want) {
			l.t.Errorf("%s is not what was saved", path)
		}
	}
	for name, volumes := range l.spy.shadows {
		image := l.diskIn(target, `D:\VMs\`+name+`\system.vhd`)
		if got := read(l.t, volumeIn(l.t, image, 0)); !slices.Equal(got, volumes["C:"]) {
			l.t.Errorf("the disk of %s is not what its guest's copy holds", name)
		}
	}
	if len(l.spy.saved) == 0 || len(l.spy.shadows) == 0 {
		l.t.Error("nothing was noted")
	}
}

// In parallel, too, a failure undoes everything and begins nothing new.
func TestParallelFailures(t *testing.T) {
	for _, plan := range []string{
		"hyperv/save on=h1/web err=0x80070070",
		"hyperv/save on=h1/app delay=20m",
		"guest/answer on=h1/erp/* hang",
		"vss/freeze on=h1/erp/guest/ledger err=0x800423F4",
		"guest/snapshot on=h1/db/* kill=h1/db/guest",
		"hyperv/save on=h1/app kill=h1/vmms",
		"guest/answer on=h1/erp/* kill=backup",
	} {
		l := with(t, hyperv.Policy{Parallel: 4}, plan)
		crew(l)
		_, err := l.backup()
		if (err == nil) != strings.Contains(plan, "delay") || len(l.w.Unreached()) > 0 {
			t.Errorf("%s: %v", plan, err)
		}
		l.advance(30 * time.Minute)
		l.must(l.h.StartManagement(l.ctx()))
		l.recovers(l.casualties()...)
		if t.Failed() {
			t.Fatal(plan)
		}
	}
}

// A machine changes between the metadata and the shadow copy.
func TestPolicyOfAChangedMethod(t *testing.T) {
	stop := func(ctx context.Context, l *lab) error {
		return l.h.VM("db").Guest().StopService(ctx, "vmicvss")
	}
	off := func(ctx context.Context, l *lab) error { return l.h.VM("db").TurnOff(ctx) }
	start := func(ctx context.Context, l *lab) error { return l.h.VM("cold").Start(ctx) }
	for _, row := range []struct {
		name   string
		p      hyperv.Redecide
		change func(ctx context.Context, l *lab) error
		method string // of the machine, in the end; or
		code   vss.HRESULT
		says   string
	}{
		{"saved instead", hyperv.RedecideAlways, stop, "saved state", 0, ""},
		{"offline instead", hyperv.RedecideAlways, off, "offline", 0, ""},
		{"inside instead", hyperv.RedecideAlways, start, "child VM snapshot", 0, ""},
		{"refused", hyperv.RedecideRefuse, stop, "", retryable, "db: the method is now saved state, and the caption told child VM snapshot"},
		{"refused off", hyperv.RedecideRefuse, off, "", retryable, "db: the method is now offline"},
		{"as told", hyperv.RedecideNever, stop, "", nonRetryable, "db: "},
		{"as told, off", hyperv.RedecideNever, off, "", nonRetryable, "db: "},
		{"as told, but it runs", hyperv.RedecideNever, start, "", retryable, "cold: the method is now child VM snapshot, and the caption told offline"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := with(t, hyperv.Policy{Redecide: row.p})
			l.running("db")
			l.machine("cold")
			l.note()
			var st vss.WriterStatus
			l.must(l.as("backup", func(ctx context.Context) (err error) {
				st, err = l.byHand(ctx, []string{`C:\`, `D:\`}, func(next string, _ *vss.BackupComponents) error {
					if next != "DoSnapshotSet" {
						return nil
					}
					err := row.change(ctx, l)
					l.note()
					return err
				})
				return err
			}))
			if st.Code != row.code || !strings.Contains(st.Message, row.says) {
				t.Errorf("%v, %s", st.Code, st.Message)
			}
			changed := l.event("hyperv/method-changed")
			if row.method != "" && changed.Get("now") != row.method {
				t.Errorf("%v", changed)
			}
			l.recovers()
		})
	}
}

// A machine that is starting is refused, or waited for.
func TestPolicyOfTransitions(t *testing.T) {
	for _, limit := range []time.Duration{0, time.Second, time.Minute} {
		l := with(t, hyperv.Policy{TransitionLimit: limit}, "hyperv/start on=h1/db delay=20s")
		vm := l.machine("db")
		l.w.Actor("administrator").Go("start", vm.Start)
		l.advance(time.Second)
		_, err := l.backup()
		if limit < time.Minute {
			l.failsWith(err, atPrepareSnapshot, retryable, "db: the machine is starting")
			continue
		}
		l.must(err)
		if e := l.event("hyperv/decide"); e.Get("method") != "child VM snapshot" {
			t.Errorf("%v", e)
		}
	}
}

func TestPolicyOfCriticalMachines(t *testing.T) {
	f := hyperv.Facts{State: 32785, BackupOffered: true}
	if d := hyperv.W2008.Decide(f); d.Method != hyperv.MethodNone {
		t.Errorf("%v", d)
	}
	if d := (hyperv.Profile{Policy: hyperv.Policy{SaveCritical: true}}).Decide(f); d.Method != hyperv.MethodSavedState || !d.Has(hyperv.ReasonCritical) {
		t.Errorf("%v", d)
	}
}

// One of several machines was not restored whole: both readings.
func TestPolicyOfAnIncompleteRestore(t *testing.T) {
	for _, strict := range []bool{false, true} {
		l := with(t, hyperv.Policy{AllOrNothing: strict})
		var ids []string
		for _, name := range []string{"one", "two", "three"} {
			ids = append(ids, guid.Upper(l.machine(name).ID()))
		}
		target := l.mustBackup()
		l.restoreBy(target, map[string]vss.FileRestoreStatus{ids[0]: vss.FilesAll, ids[1]: vss.FilesNone, ids[2]: vss.FilesAll})
		var names []string
		for _, vm := range l.h.VMs() {
			names = append(names, vm.Name())
		}
		want := []string{"one", "three"}
		if strict {
			want = nil
		}
		if !slices.Equal(names, want) {
			t.Errorf("all or nothing %v: %q", strict, names)
		}
		l.mustRestore(target)
		l.note()
		l.recovers()
	}
}

// Only a machine that was saved and came back has a downtime.
func TestDowntimes(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: inOrder})
	cast(l)
	l.mustBackup()
	list := hyperv.Downtimes(l.w.Trace())
	if len(list) != 3 {
		t.Fatalf("%v", list)
	}
	for i, name := range []string{"B", "E", "G"} {
		d := list[i]
		if d.Host != "h1" || d.VM != name || d.Duration() <= 0 {
			t.Errorf("%+v", d)
		}
		save, back := l.event("hyperv/save", "vm="+name), l.event("hyperv/back", "vm="+name)
		if d.From != save.Time || d.To != back.Time {
			t.Errorf("%s was down from %v to %v, was told at %v and back at %v", name, d.From, d.To, save.Time, back.Time)
		}
	}
}

// What the writer says of itself can be set, and a restore goes by it.
func TestPolicyOfTheWriterItself(t *testing.T) {
	for _, row := range []struct {
		p, want hyperv.Policy
	}{
		{hyperv.Policy{}, hyperv.Policy{Usage: vss.UsageUserData, Source: vss.SourceOther, RestoreMethod: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreAlways}},
		{hyperv.Policy{Usage: vss.UsageOther, Source: vss.SourceNonTransactedDB, RestoreMethod: vss.MethodRestoreIfNotThere, WriterRestore: vss.WriterRestoreIfReplaceFails},
			hyperv.Policy{Usage: vss.UsageOther, Source: vss.SourceNonTransactedDB, RestoreMethod: vss.MethodRestoreIfNotThere, WriterRestore: vss.WriterRestoreIfReplaceFails}},
	} {
		l := with(t, row.p)
		l.machine("db")
		m := l.identified()
		got := hyperv.Policy{Usage: m.Identity.Usage, Source: m.Identity.Source, RestoreMethod: m.Restore.Method, WriterRestore: m.Restore.WriterRestore}
		if got != row.want {
			t.Errorf("%+v, want %+v", got, row.want)
		}
		target := l.mustBackup()
		_, err := l.restore(target, onlyRestore("db"))
		if refused := errors.Is(err, fs.ErrExist); refused != (row.want.RestoreMethod == vss.MethodRestoreIfNotThere) {
			t.Errorf("a restore over what is there: %v", err)
		}
	}
}

// Disks that the backup does not have count for the conditions if the policy says so.
func TestPolicyOfDisksOutsideTheBackup(t *testing.T) {
	for _, all := range []bool{false, true} {
		for _, kind := range []guest.FileSystemKind{guest.NTFS, guest.NoFileSystem} {
			for _, how := range []string{"pass-through", "iSCSI"} {
				l := with(t, hyperv.Policy{JudgeAllDisks: all})
				d := guest.NewDisk(disk.NewMemory(6 * mib))
				spec := partition(kind)
				spec.Signature = 0x10203040
				l.must(guest.Format(d, *spec))
				l.h.AddDisk("lun7", d)
				c := hyperv.DiskConfig{PassThrough: "lun7"}
				if how == "iSCSI" {
					c = hyperv.DiskConfig{Initiator: "lun7"}
				}
				vm := l.running("db", withDisk(c))
				want := hyperv.MethodChildSnapshot
				if all && kind == guest.NoFileSystem {
					want = hyperv.MethodSavedState
				}
				if got := vm.Decide(); got.Method != want || (len(got.Reasons) == 1 && got.Reasons[0].Code == hyperv.ReasonFileSystem) != (want == hyperv.MethodSavedState) {
					t.Errorf("%s, %v, all %v: %v, %v", how, kind, all, got.Method, got.Reasons)
				}
				l.note()
				l.mustBackup()
				l.settled()
			}
		}
	}
}
