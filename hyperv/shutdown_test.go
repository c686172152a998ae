package hyperv_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// actions sets what becomes of a machine when its host ends and boots.
func actions(stop hyperv.StopAction, start hyperv.StartAction) mod {
	return func(c *hyperv.VMConfig) { c.StopAction, c.StartAction = stop, start }
}

// Every stop action in every state. What ran is started again if the start action
// says so, whatever the stop action; a machine that was saved goes on where it stood.
func TestShutdownByStopAction(t *testing.T) {
	l := newLab(t)
	for _, a := range []hyperv.StopAction{hyperv.StopTurnOff, hyperv.StopSave, hyperv.StopShutDown} {
		for name, make := range map[string]func(string, ...mod) *hyperv.VM{"ran": l.running, "paused": l.paused, "off": l.machine, "saved": l.saved} {
			make(name+", "+a.String(), actions(a, hyperv.StartNothing))
		}
		l.running("again, "+a.String(), actions(a, hyperv.StartIfRunning), withLedger())
	}
	if err := l.h.Shutdown(l.ctx()); !errors.Is(err, hyperv.ErrInvalidState) || !strings.Contains(err.Error(), "paused, shut down") {
		t.Errorf("the shutdown says %v", err)
	}
	if err := l.h.Shutdown(l.ctx()); !errors.Is(err, hyperv.ErrInvalidState) || l.h.Running() {
		t.Errorf("a second time: %v", err)
	}
	l.must(l.h.Boot(l.ctx()))
	want := map[string]string{
		"ran, turn off": "off", "ran, save": "saved", "ran, shut down": "off",
		"paused, turn off": "off", "paused, save": "saved", "paused, shut down": "off",
		"off, turn off": "off", "off, save": "off", "off, shut down": "off",
		"saved, turn off": "saved", "saved, save": "saved", "saved, shut down": "saved",
		"again, turn off": "running", "again, save": "running", "again, shut down": "running",
	}
	for _, vm := range l.h.VMs() {
		if got := vm.State().String(); got != want[vm.Name()] {
			t.Errorf("%s is %s, want %s", vm.Name(), got, want[vm.Name()])
		}
	}
	if left := hyperv.Audit(l.h); len(l.h.VMs()) != len(want) || len(left) > 0 {
		t.Errorf("%d machines, left over %v", len(l.h.VMs()), left)
	}
	for kind, names := range map[string][]string{
		"guest/shutdown": {"h1/again, shut down/guest", "h1/ran, shut down/guest"},
		"guest/save":     {"h1/again, save/guest", "h1/paused, save/guest", "h1/ran, save/guest"},
		"vm/stop-failed": {"h1/paused, shut down"}, // nobody answers in there
	} {
		var got []string
		for _, e := range l.w.Trace().Select(kind) {
			if e.Seq > l.event("host/shutdown").Seq {
				got = append(got, strings.ReplaceAll(e.Actor, "%20", " "))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, names) {
			t.Errorf("%s of %q, want %q", kind, got, names)
		}
	}
	l.goesOn("again, turn off", "again, save", "again, shut down")
	l.note()
	l.recovers()
}

// A guest that is shut down has its programs write everything; one without the
// service for it cannot be told, and is turned off with the host.
func TestShutdownOfTheGuest(t *testing.T) {
	l := newLab(t)
	vm := l.running("db", withLedger("rest=10ms"), actions(hyperv.StopShutDown, hyperv.StartNothing))
	consistency := func() ledger.Consistency {
		l.t.Helper()
		image, err := l.h.OpenVHD(`D:\VMs\db\system.vhd`)
		l.must(err)
		v := volumeIn(t, image, 0)
		c, _ := ledger.Check(v, v)
		return c
	}
	l.advance(10 * time.Second)
	l.must(vm.Shutdown(l.ctx()))
	if c := consistency(); vm.State() != hyperv.StateOff || c != ledger.Application {
		t.Errorf("it is %v, %v", vm.State(), c)
	}
	l.must(vm.Start(l.ctx()))
	l.must(vm.Guest().StopService(l.ctx(), string(guest.ShutdownService)))
	if err := vm.Shutdown(l.ctx()); !errors.Is(err, hyperv.ErrNotSupported) || vm.State() != hyperv.StateRunning {
		t.Errorf("without the service: %v, it is %v", err, vm.State())
	}
	l.goesOn("db")
	if err := l.h.Shutdown(l.ctx()); !errors.Is(err, hyperv.ErrNotSupported) {
		t.Errorf("the shutdown of the host says %v", err)
	}
	l.must(l.h.Boot(l.ctx()))
	if c := consistency(); l.h.VM("db").State() != hyperv.StateOff || c == ledger.Application {
		t.Errorf("it is %v, %v", l.h.VM("db").State(), c)
	}
	l.settledNow()
}

// A machine whose memory cannot be saved, and a guest that takes too long, are
// turned off: the host ends in any case.
func TestShutdownOfWhatCannotBeStopped(t *testing.T) {
	catalog := guest.Catalog{"sleeper": func(guest.Program) (guest.Application, error) { return sleeper{}, nil }}
	l := newLabOf(t, hyperv.HostConfig{Catalog: catalog}, sim.Plan("hyperv/save on=h1/full err=0x80070070"))
	l.running("full", actions(hyperv.StopSave, hyperv.StartIfRunning))
	l.running("slow", program("sleeper"), actions(hyperv.StopShutDown, hyperv.StartIfRunning))
	l.running("other", actions(hyperv.StopSave, hyperv.StartNothing))
	err := l.h.Shutdown(l.ctx())
	if err == nil || !strings.Contains(err.Error(), "0x80070070") || !errors.Is(err, context.DeadlineExceeded) || l.h.Running() {
		t.Errorf("%v", err)
	}
	failed := l.w.Trace().Select("vm/stop-failed")
	if took := failed[len(failed)-1].Time - l.event("host/shutdown").Time; len(failed) != 2 || took != 5*time.Minute {
		t.Errorf("after %v: %v", took, failed)
	}
	l.must(l.h.Boot(l.ctx()))
	for name, want := range map[string]hyperv.State{"full": hyperv.StateRunning, "slow": hyperv.StateRunning, "other": hyperv.StateSaved} {
		if got := l.h.VM(name).State(); got != want {
			t.Errorf("%s is %v", name, got)
		}
	}
	l.settledNow()
}

// A sleeper is a program that does not stop.
type sleeper struct{}

func (sleeper) Step(context.Context, *guest.Env) (time.Duration, error) { return time.Minute, nil }

func (sleeper) Stop(ctx context.Context, _ *guest.Env) error { return sim.Sleep(ctx, time.Hour) }

// The host is shut down at any step of a backup. Whatever the backup had done is
// undone before: after the boot every machine that ran does so again, what was saved
// and what was paused is as its stop action left it, nothing is left over, and the
// next backup succeeds.
func TestShutdownInABackup(t *testing.T) {
	steps := 0
	for _, kind := range []string{"vss/prepare-backup", "hyperv/save", "vm/state", "hyperv/child-snapshot", "vss/freeze", "guest/backup.end",
		"hyperv/freeze", "provider/commit", "hyperv/thaw", "hyperv/bring-back", "hyperv/roll-back", "guest/release", "vm/unlock"} {
		l := newLab(t, sim.Plan("hyperv/mount on=h1/db delay=1s", "hyperv/revert on=h1/db delay=1s", "hyperv/drop-snapshot on=h1/erp delay=1s"))
		saves := actions(hyperv.StopSave, hyperv.StartIfRunning)
		shuts := actions(hyperv.StopShutDown, hyperv.StartIfRunning)
		l.running("db", withLedger("rest=5s"), shuts)
		l.running("web", stopped, withLedger("rest=5s"), saves)
		l.running("erp", withLedger("rest=5s"), saves)
		l.paused("app", saves)
		l.machine("off", saves)
		l.saved("mine", shuts)
		began := len(l.w.Trace())
		var ended error
		var done *sim.Proc
		l.must(l.w.Do(l.ctx(), func(context.Context) error {
			done = l.w.Actor("administrator").Go("waits for "+kind, func(ctx context.Context) error {
				for range 10_000 {
					for _, e := range l.w.Trace()[began:] {
						if e.Kind == kind {
							steps++
							ended = l.h.Shutdown(ctx)
							return nil
						}
					}
					if err := sim.Sleep(ctx, 50*time.Millisecond); err != nil {
						return err
					}
				}
				return errors.New("that never happened")
			})
			return nil
		}))
		_, err := l.backup()
		if waited := l.w.Do(l.ctx(), done.Wait); waited != nil || ended != nil || err == nil && kind != "vm/unlock" {
			t.Fatalf("at %s: the backup says %v, the shutdown %v, %v", kind, err, ended, waited)
		}
		l.must(l.h.Boot(l.ctx()))
		want := map[string]hyperv.State{"db": hyperv.StateRunning, "web": hyperv.StateRunning, "erp": hyperv.StateRunning,
			"app": hyperv.StateSaved, "off": hyperv.StateOff, "mine": hyperv.StateSaved}
		for _, vm := range l.h.VMs() {
			if vm.State() != want[vm.Name()] {
				t.Errorf("at %s: %s is %v, want %v", kind, vm.Name(), vm.State(), want[vm.Name()])
			}
		}
		l.goesOn("db", "web", "erp")
		l.note()
		l.recovers()
		if t.Failed() {
			t.Fatalf("shut down at %s", kind)
		}
		_ = l.w.Close()
	}
	if steps < 10 {
		t.Errorf("the host was shut down at %d steps", steps)
	}
}

// While a machine executes that is to be saved when the host ends, the file for its
// memory is there, of the memory's size, and says nothing: neither to a host that
// boots nor to one that restores a copy of it.
func TestRoomForTheMemory(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db", actions(hyperv.StopSave, hyperv.StartNothing))
	empty := make([]byte, 4*mib)
	check := func(what string, there bool) {
		t.Helper()
		if l.exists(vm.MemoryPath()) != there || there && !bytes.Equal(l.bytes(vm.MemoryPath()), empty) {
			t.Errorf("%s: the file is there: %v", what, l.exists(vm.MemoryPath()))
		}
	}
	check("new", false)
	for _, step := range []struct {
		name  string
		do    func(*hyperv.VM, context.Context) error
		there bool
	}{
		{"started", (*hyperv.VM).Start, true},
		{"reset", (*hyperv.VM).Reset, true},
		{"paused", (*hyperv.VM).Pause, true},
		{"resumed", (*hyperv.VM).Resume, true},
		{"shut down", (*hyperv.VM).Shutdown, false},
		{"started again", (*hyperv.VM).Start, true},
		{"turned off", (*hyperv.VM).TurnOff, false},
		{"started a third time", (*hyperv.VM).Start, true},
	} {
		l.must(step.do(vm, l.ctx()))
		check(step.name, step.there)
	}
	l.must(vm.Save(l.ctx()))
	if bytes.Equal(l.bytes(vm.MemoryPath()), empty) {
		t.Error("saved: the memory is not in the file")
	}
	l.must(vm.Start(l.ctx()))
	check("taken up", true)
	_, err := vm.Checkpoint(l.ctx(), "one")
	l.must(err)
	check("behind a checkpoint", true)
	vm.Guest().PowerOff()
	l.advance(time.Second)
	check("dead", false)
	l.must(vm.Start(l.ctx()))
	l.h.PowerOff()
	l.must(l.h.Boot(l.ctx()))
	vm = l.h.VM("db")
	check("behind a power failure", false)

	l.must(vm.Start(l.ctx()))
	target := l.mustBackup()
	l.hasMemory(target, vm, false)
	check("behind a backup", true)
	l.mustRestore(target)
	back := l.h.VM("db")
	if back.State() != hyperv.StateOff {
		t.Errorf("restored it is %v", back.State())
	}
	l.must(back.Start(l.ctx()))
	l.settledNow()
}

// Where there is no room for the memory the machine does not start, unless nobody
// wants to save it.
func TestNoRoomForTheMemory(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db", actions(hyperv.StopSave, hyperv.StartNothing), func(c *hyperv.VMConfig) { c.MemoryMB = 64 })
	other := l.machine("other", func(c *hyperv.VMConfig) { c.MemoryMB = 64 })
	d := l.h.Volume("D:")
	used := d.Capacity() - d.Free()
	d.SetCapacity(used + 40*mib)
	if err := vm.Start(l.ctx()); !errors.Is(err, volume.ErrDiskFull) || vm.State() != hyperv.StateOff {
		t.Errorf("%v, it is %v", err, vm.State())
	}
	l.must(other.Start(l.ctx()))
	d.SetCapacity(used + 80*mib)
	l.must(vm.Start(l.ctx()))
	l.must(d.SetQuota(`\VMs\db`, 20*mib))
	if err := vm.Reset(l.ctx()); !errors.Is(err, volume.ErrDiskFull) || vm.State() != hyperv.StateOff {
		t.Errorf("below a quota: %v, it is %v", err, vm.State())
	}
	l.settledNow()
}
