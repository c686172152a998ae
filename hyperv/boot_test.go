package hyperv_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// cutOff are the machines that a backup has saved and the host's end left saved.
func cutOff(audit []hyperv.Leftover) []string {
	var names []string
	for _, left := range audit {
		if strings.Contains(left.What, "to be started by hand") {
			names = append(names, left.On)
		}
	}
	slices.Sort(names)
	return names
}

// expectCutOff tells from the trace which machines the writer had saved, and had
// not brought back, when the power failed.
func (l *lab) expectCutOff() []string {
	var names []string
	for _, e := range l.w.Trace()[l.began:] {
		if e.Kind != "vm/state" {
			continue
		}
		name := e.Get("vm")
		switch {
		case e.Get("from") == "saving" && e.Get("to") == "saved":
			names = append(names, name)
		case e.Get("from") == "starting" || e.Get("from") == "stopping":
			names = slices.DeleteFunc(names, func(n string) bool { return n == name })
		}
	}
	slices.Sort(names)
	return names
}

// F19: the power of the host fails at any step of a backup. After the boot what
// ran is off, what was saved is saved, no snapshot and no shadow copy is left, and
// the audit names the machines that the backup had saved, and nothing else. When
// they have been started everything is as it was, and the next backup succeeds.
func TestF19_HostReboot(t *testing.T) {
	hits := clean(t)
	reboots, left, dropped := 0, 0, 0
	for _, hit := range hits {
		l := newLab(t)
		crew(l)
		l.note()
		l.began = len(l.w.Trace())
		l.w.Inject(sim.Fault{Point: hit.Point, On: hit.On, Outcome: sim.Outcome{Kill: "h1"}})
		_, err := l.backup()
		if len(l.w.Unreached()) > 0 {
			t.Fatalf("%v was never reached", hit)
		}
		if err == nil || l.h.Running() || len(hyperv.Audit(l.h)) != 1 {
			t.Errorf("at %v: backup %v, host running %v, audit %v", hit, err, l.h.Running(), hyperv.Audit(l.h))
		}
		reboots++
		want := l.expectCutOff()
		l.must(l.h.Boot(l.ctx()))
		dropped += len(l.w.Trace().Select("vm/drop-snapshots"))
		audit := hyperv.Audit(l.h)
		if got := cutOff(audit); !slices.Equal(got, want) || len(audit) != len(want) {
			t.Errorf("at %v: the audit finds %v, want %q left saved", hit, audit, want)
		}
		left += len(want)
		for _, vm := range l.h.VMs() {
			expect := hyperv.StateOff
			if slices.Contains(want, vm.Name()) || vm.Name() == "mine" {
				expect = hyperv.StateSaved
			}
			if vm.State() != expect || vm.LockedBy() != "" {
				t.Errorf("at %v: %s is %v, held by %q; want %v", hit, vm.Name(), vm.State(), vm.LockedBy(), expect)
			}
		}
		l.startAll(t)
		l.note()
		l.recovers()
		if t.Failed() {
			t.Fatalf("power failed at %v", hit)
		}
		_ = l.w.Close()
	}
	if reboots < 80 || left < reboots/2 || dropped == 0 {
		t.Errorf("%d reboots left %d machines saved and dropped the snapshots of %d", reboots, left, dropped)
	}
}

// startAll does what the audit asks for, and starts what ran before.
func (l *lab) startAll(t *testing.T) {
	t.Helper()
	if len(l.h.VMs()) != len(l.prior) {
		t.Fatalf("%d machines of %d", len(l.h.VMs()), len(l.prior))
	}
	for _, vm := range l.h.VMs() {
		if s := l.prior[vm.Name()]; s == hyperv.StateRunning || s == hyperv.StatePaused {
			l.must(vm.Start(l.ctx()))
			if s == hyperv.StatePaused {
				l.must(vm.Pause(l.ctx()))
			}
		}
	}
	l.goesOn("web", "db", "erp")
}

// The start action decides what becomes of machines when the host boots. A second
// power failure forgets nothing of the first.
func TestF19_StartActions(t *testing.T) {
	l := newLab(t, sim.Plan("provider/commit on=h1/vss/swprv kill=h1"))
	actions := []hyperv.StartAction{hyperv.StartNothing, hyperv.StartIfRunning, hyperv.StartAlways}
	for _, a := range actions {
		with := func(c *hyperv.VMConfig) { c.StartAction = a }
		l.running("inside "+a.String(), with)
		l.running("saved "+a.String(), with, stopped, withLedger())
		l.paused("paused "+a.String(), with)
		l.machine("off "+a.String(), with)
		l.saved("kept "+a.String(), with)
	}
	if _, err := l.backup(); err == nil {
		t.Fatal("the backup succeeds")
	}
	l.must(l.h.Boot(l.ctx()))
	want := map[string]string{
		"inside nothing": "off", "saved nothing": "saved", "paused nothing": "saved", "off nothing": "off", "kept nothing": "saved",
		"inside start if it was running": "running", "saved start if it was running": "running", "paused start if it was running": "saved",
		"off start if it was running": "off", "kept start if it was running": "saved",
		"inside always start": "running", "saved always start": "running", "paused always start": "running",
		"off always start": "running", "kept always start": "running",
	}
	check := func() {
		t.Helper()
		for _, vm := range l.h.VMs() {
			if vm.State().String() != want[vm.Name()] {
				t.Errorf("%s is %v, want %s", vm.Name(), vm.State(), want[vm.Name()])
			}
		}
		left := []string{"paused nothing", "paused start if it was running", "saved nothing"}
		if got := hyperv.Audit(l.h); !slices.Equal(cutOff(got), left) || len(got) != len(left) {
			t.Errorf("the audit finds %v", got)
		}
	}
	check()
	l.h.PowerOff()
	l.must(l.h.Boot(l.ctx()))
	want["saved start if it was running"] = "running"
	check()
	l.must(l.h.VM("saved nothing").Start(l.ctx()))
	l.must(l.h.VM("paused nothing").TurnOff(l.ctx()))
	l.remove(l.h.VM("paused start if it was running"))
	l.note()
	l.recovers()
}

// A boot finds machines wherever they are, in the order they were created, with
// their ports; what it cannot register it names. Shadow copies survive as their
// context says.
func TestBoot(t *testing.T) {
	l := newLab(t)
	if err := l.h.Boot(l.ctx()); !errors.Is(err, hyperv.ErrInvalidState) {
		t.Errorf("a host that runs boots: %v", err)
	}
	l.machine("zebra", onSwitch(l.lan), func(c *hyperv.VMConfig) { c.Root = "" })
	l.advance(time.Second)
	l.running("db", onSwitch(l.lan), withLedger())
	l.machine("gone")
	bad := l.machine("bad")
	l.must(l.h.Volume("D").WriteFile(bad.ConfigurationPath()[2:], []byte("<configuration/>")))
	l.must(l.h.Volume("D").Remove(l.h.VM("gone").ConfigurationPath()[2:]))
	was := l.h.VM("db").Configuration()
	persistent := l.shadow(t, vss.ContextAppRollback)
	l.shadow(t, vss.ContextBackup)
	l.must(l.h.Volume("D").CreateShadow([16]byte{7})) // one in the making

	l.h.PowerOff()
	if err := l.h.VM("zebra").Start(l.ctx()); !errors.Is(err, sim.ErrDead) {
		t.Errorf("a machine starts on a host without power: %v", err)
	}
	err := l.h.Boot(l.ctx())
	if !errors.Is(err, hyperv.ErrConfiguration) || !errors.Is(err, hyperv.ErrFileNotFound) {
		t.Errorf("the boot says %v", err)
	}
	if vms := l.h.VMs(); len(vms) != 2 || vms[0].Name() != "zebra" || vms[1].Name() != "db" || vms[1].State() != hyperv.StateOff {
		t.Errorf("the machines are %s", l.describe())
	}
	if ports := l.lan.Ports(); len(ports) != 2 || ports[1].ID != was.Adapters[0].Port {
		t.Errorf("the ports are %v", ports)
	}
	if left := hyperv.Audit(l.h); len(left) != 2 {
		t.Errorf("the audit finds %v", left)
	}
	if list := l.h.VSS().Snapshots(); len(list) != 1 || list[0].SnapshotID != persistent || len(l.h.Volume("D").Shadows()) != 1 {
		t.Errorf("shadow copies %v", list)
	}
	if vm := l.machine("new", onSwitch(l.lan)); vm.Configuration().Adapters[0].MAC == was.Adapters[0].MAC {
		t.Error("an address is given out twice")
	}
	l.must(l.h.VM("db").Start(l.ctx()))
	l.goesOn("db")
}

// shadow makes a shadow copy of D: that no writer takes part in.
func (l *lab) shadow(t *testing.T, c vss.SnapshotContext) (id [16]byte) {
	t.Helper()
	a := l.w.Actor("administrator")
	l.must(a.Call(l.ctx(), "shadow", func(ctx context.Context) error {
		b, err := l.h.VSS().CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		if err := errors.Join(b.InitializeForBackup(ctx, nil), b.SetContext(ctx, c), b.SetBackupState(ctx, vss.BackupState{Type: vss.BackupFull}), b.GatherWriterMetadata(ctx)); err != nil {
			return err
		}
		if _, err := b.StartSnapshotSet(ctx); err != nil {
			return err
		}
		if id, err = b.AddToSnapshotSet(ctx, `D:\`, [16]byte{}); err != nil {
			return err
		}
		return errors.Join(b.PrepareForBackup(ctx), b.DoSnapshotSet(ctx))
	}))
	return id
}

// What a machine that was saved by the backup holds is not lost: it goes on from
// its memory after the boot, with the bytes it was saved with.
func TestF19_NothingIsLost(t *testing.T) {
	l := newLab(t, sim.Plan("provider/commit on=h1/vss/swprv kill=h1"))
	web := l.running("web", stopped)
	l.write(web, "C:", dataOff, 7)
	if _, err := l.backup(); err == nil {
		t.Fatal("the backup succeeds")
	}
	disk0 := l.bytes(`D:\VMs\web\system.vhd`)
	l.must(l.h.Boot(l.ctx()))
	if !slices.Equal(disk0, l.bytes(`D:\VMs\web\system.vhd`)) {
		t.Error("the boot changed a disk")
	}
	web = l.h.VM("web")
	l.must(web.Start(l.ctx()))
	var b [1]byte
	l.must(web.Guest().ReadAt(l.ctx(), "C:", dataOff, b[:]))
	if b[0] != 7 {
		t.Errorf("the guest reads %d", b[0])
	}
	l.note()
	l.recovers()
}

// A restore that the power cuts off at any step leaves each machine registered
// whole, or not at all; restored again, it is there.
func TestF19_RebootInARestore(t *testing.T) {
	probe := newLab(t)
	crew(probe)
	source := probe.mustBackup()
	before := len(probe.w.Hits())
	probe.mustRestore(source)
	for i, hit := range probe.w.Hits()[before:] {
		if i%3 != 0 {
			continue
		}
		l := newLab(t)
		crew(l)
		source := l.mustBackup()
		l.w.Inject(sim.Fault{Point: hit.Point, On: hit.On, Outcome: sim.Outcome{Kill: "h1"}})
		if _, err := l.restore(source); err == nil || l.h.Running() {
			t.Errorf("at %v: %v", hit, err)
			continue
		}
		err := l.h.Boot(l.ctx())
		for _, left := range hyperv.Audit(l.h) {
			if !strings.Contains(left.What, "is not registered") || err == nil {
				t.Errorf("at %v: %v, boot: %v", hit, left, err)
			}
		}
		l.mustRestore(source)
		if len(l.h.VMs()) != 6 || len(hyperv.Audit(l.h)) != 0 {
			t.Errorf("at %v: %s, %v", hit, l.describe(), hyperv.Audit(l.h))
		}
		_ = l.w.Close()
	}
}
