package hyperv_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// Requests in which something dies or fails: afterwards the machine is in the
// state that tells what is left of it, holds what it has to hold and no more, and
// does what it is asked for next.
func TestRequestsThatFail(t *testing.T) {
	full := func(l *lab) {
		v := l.h.Volume("D")
		v.SetCapacity(v.Capacity() - v.Free())
	}
	hold := func(l *lab) {
		f, err := l.h.Volume("D").OpenFile(l.h.VM("vm").MemoryPath()[2:], volume.ReadWrite, volume.Exclusive)
		l.must(err)
		l.w.Actor("somebody").Go("holds the memory", func(ctx context.Context) error {
			err := sim.Sleep(ctx, time.Hour)
			return errors.Join(err, f.Close())
		})
	}
	for _, f := range []struct {
		name   string
		from   hyperv.State
		frozen bool // paused by way of the saved state: its memory is in RAM, and nothing runs
		plan   []string
		do     func(l *lab)
		ask    func(vm *hyperv.VM, ctx context.Context) error
		says   string
		ends   hyperv.State
	}{
		{name: "start fails", from: hyperv.StateOff, plan: []string{"hyperv/start err=0x8007000E"}, ask: (*hyperv.VM).Start, says: "0x8007000E", ends: hyperv.StateOff},
		{name: "guest does not boot", from: hyperv.StateOff, plan: []string{"guest/boot err=0x8007001F"}, ask: (*hyperv.VM).Start, says: "0x8007001F", ends: hyperv.StateOff},
		{name: "worker dies in the start", from: hyperv.StateOff, plan: []string{"hyperv/start kill=h1/vm"}, ask: (*hyperv.VM).Start, says: "killed", ends: hyperv.StateOff},
		{name: "worker dies in the boot", from: hyperv.StateOff, plan: []string{"guest/boot kill=h1/vm"}, ask: (*hyperv.VM).Start, says: "killed", ends: hyperv.StateOff},

		{name: "guest does not resume", from: hyperv.StateSaved, plan: []string{"guest/resume err=0x8007001F"}, ask: (*hyperv.VM).Start, says: "0x8007001F", ends: hyperv.StateSaved},
		{name: "worker dies in the resume", from: hyperv.StateSaved, plan: []string{"guest/resume kill=h1/vm"}, ask: (*hyperv.VM).Start, says: "killed", ends: hyperv.StateSaved},
		{name: "saved state cannot be removed", from: hyperv.StateSaved, do: hold, ask: (*hyperv.VM).Start, says: "ERROR_SHARING_VIOLATION", ends: hyperv.StateSaved},
		{name: "saved state cannot be discarded", from: hyperv.StateSaved, do: hold, ask: (*hyperv.VM).TurnOff, says: "ERROR_SHARING_VIOLATION", ends: hyperv.StateSaved},

		{name: "save fails", from: hyperv.StateRunning, plan: []string{"hyperv/save err=0x80070070"}, ask: (*hyperv.VM).Save, says: "0x80070070", ends: hyperv.StateRunning},
		{name: "guest refuses the save", from: hyperv.StateRunning, plan: []string{"guest/save err=0x8007001F"}, ask: (*hyperv.VM).Save, says: "0x8007001F", ends: hyperv.StateRunning},
		{name: "no room for the memory", from: hyperv.StateRunning, do: full, ask: (*hyperv.VM).Save, says: "ERROR_DISK_FULL", ends: hyperv.StateRunning},
		{name: "no room, and no way back", from: hyperv.StateRunning, do: full, plan: []string{"guest/resume err=0x8007001F"}, ask: (*hyperv.VM).Save, says: "0x8007001F", ends: hyperv.StateOff},
		{name: "guest dies before the save", from: hyperv.StateRunning, plan: []string{"hyperv/save kill=h1/vm/guest"}, ask: (*hyperv.VM).Save, says: "stopped meanwhile", ends: hyperv.StateOff},
		{name: "guest dies in a step that the save waits for", from: hyperv.StateRunning, plan: []string{"disk/write on=h1/vm/guest/C: nth=1 delay=1m"}, do: func(l *lab) {
			l.advance(time.Second) // the ledger is at its step
			l.w.Actor("somebody").Go("kills the guest", func(ctx context.Context) error {
				err := sim.Sleep(ctx, 20*time.Second)
				l.h.VM("vm").Guest()
				l.w.Find("h1/vm/guest").Kill()
				return err
			})
		}, ask: (*hyperv.VM).Save, says: "ended", ends: hyperv.StateOff},
		{name: "worker dies in the save", from: hyperv.StateRunning, plan: []string{"hyperv/save kill=h1/vm"}, ask: (*hyperv.VM).Save, says: "killed", ends: hyperv.StateOff},
		{name: "reset does not start", from: hyperv.StateRunning, plan: []string{"hyperv/start err=0x8007000E"}, ask: (*hyperv.VM).Reset, says: "0x8007000E", ends: hyperv.StateOff},
		{name: "reset does not boot", from: hyperv.StateRunning, plan: []string{"guest/boot err=0x8007001F"}, ask: (*hyperv.VM).Reset, says: "0x8007001F", ends: hyperv.StateOff},

		{name: "save of a paused one", from: hyperv.StatePaused, do: full, ask: (*hyperv.VM).Save, says: "ERROR_DISK_FULL", ends: hyperv.StatePaused},
		{name: "save of one in RAM", from: hyperv.StatePaused, frozen: true, do: full, ask: (*hyperv.VM).Save, says: "ERROR_DISK_FULL", ends: hyperv.StatePaused},
		{name: "resume of one in RAM", from: hyperv.StatePaused, frozen: true, plan: []string{"guest/resume err=0x8007001F"}, ask: (*hyperv.VM).Resume, says: "0x8007001F", ends: hyperv.StatePaused},
		{name: "worker of one in RAM dies in the save", from: hyperv.StatePaused, frozen: true, plan: []string{"hyperv/save kill=h1/vm"}, ask: (*hyperv.VM).Save, says: "killed", ends: hyperv.StateOff},
	} {
		t.Run(f.name, func(t *testing.T) {
			l := newLab(t)
			vm := l.machine("vm", withLedger("rest=100ms"))
			l.into(vm, f.from)
			if f.frozen {
				l.must(vm.Save(l.ctx()))
				l.must(l.h.Management().Restore(l.ctx(), vm.ID(), hyperv.StatePaused))
			}
			for _, p := range f.plan {
				fault, err := sim.ParseFault(p)
				l.must(err)
				l.w.Inject(fault)
			}
			if f.do != nil {
				f.do(l)
			}
			err := f.ask(vm, l.ctx())
			l.advance(time.Second)
			if err == nil || !strings.Contains(err.Error(), f.says) || len(l.w.Unreached()) > 0 {
				t.Errorf("%v, want %q; never struck: %v", err, f.says, l.w.Unreached())
			}
			if vm.State() != f.ends {
				t.Errorf("the machine is %v, want %v", vm.State(), f.ends)
			}
			if p := l.w.Panics(); len(p) > 0 {
				t.Fatalf("%v\n%s", p[0], p[0].Stack)
			}
			disk := l.bytes(`D:\VMs\vm\system.vhd`)
			l.advance(2 * time.Hour)
			if runs := !slices.Equal(disk, l.bytes(`D:\VMs\vm\system.vhd`)); runs != (vm.State() == hyperv.StateRunning || vm.State() == hyperv.StatePausedCritical) {
				t.Errorf("the machine is %v, and its ledger goes on: %v", vm.State(), runs)
			}
			l.h.Volume("D").SetCapacity(1 << 40)
			if vm.State() == hyperv.StatePausedCritical { // its disk could not grow either
				l.must(vm.Resume(l.ctx()))
			}
			l.works(vm)
			l.w.Heal()
			for _, next := range map[hyperv.State][]func(*hyperv.VM, context.Context) error{
				hyperv.StateOff:     {(*hyperv.VM).Start, (*hyperv.VM).Save, (*hyperv.VM).Start},
				hyperv.StateSaved:   {(*hyperv.VM).Start, (*hyperv.VM).Reset},
				hyperv.StateRunning: {(*hyperv.VM).Save, (*hyperv.VM).Start, (*hyperv.VM).TurnOff, (*hyperv.VM).Start},
				hyperv.StatePaused:  {(*hyperv.VM).Resume, (*hyperv.VM).Pause, (*hyperv.VM).Save, (*hyperv.VM).Start},
			}[vm.State()] {
				l.must(next(vm, l.ctx()))
				l.works(vm)
			}
			l.goesOn("vm")
		})
	}
}

// Deaths that nobody asked for.
func TestDeathsOutsideOfRequests(t *testing.T) {
	for _, f := range []struct {
		from   hyperv.State
		frozen bool
		victim string
		ends   hyperv.State
	}{
		{hyperv.StateRunning, false, "h1/vm/guest", hyperv.StateOff},
		{hyperv.StateRunning, false, "h1/vm", hyperv.StateOff},
		{hyperv.StatePaused, false, "h1/vm/guest", hyperv.StateOff},
		{hyperv.StatePaused, false, "h1/vm", hyperv.StateOff},
		{hyperv.StatePaused, true, "h1/vm", hyperv.StateOff},
		{hyperv.StateSaved, false, "h1/vm", hyperv.StateSaved},
		{hyperv.StateOff, false, "h1/vm", hyperv.StateOff},
	} {
		l := newLab(t)
		vm := l.machine("vm", withLedger())
		l.into(vm, f.from)
		if f.frozen {
			l.must(vm.Save(l.ctx()))
			l.must(l.h.Management().Restore(l.ctx(), vm.ID(), hyperv.StatePaused))
		}
		l.w.Find(f.victim).Kill()
		l.advance(time.Second)
		if vm.State() != f.ends {
			t.Errorf("%v, %s dies: it is %v", f.from, f.victim, vm.State())
		}
		l.works(vm)
		l.must(vm.Start(l.ctx()))
		l.works(vm)
		l.mustBackup()
		l.settled()
	}
}

// A program goes on after a save where it stood, and after a pause too.
func TestProgramsGoOn(t *testing.T) {
	l := newLab(t)
	vm := l.running("vm", withLedger("rest=10ms"))
	l.goesOn("vm")
	for _, steps := range [][]func(*hyperv.VM, context.Context) error{
		{(*hyperv.VM).Pause, (*hyperv.VM).Resume},
		{(*hyperv.VM).Save, (*hyperv.VM).Start},
		{(*hyperv.VM).Pause, (*hyperv.VM).Save, (*hyperv.VM).Start},
		{(*hyperv.VM).Reset},
		{(*hyperv.VM).TurnOff, (*hyperv.VM).Start},
	} {
		for _, step := range steps {
			l.must(step(vm, l.ctx()))
		}
		l.goesOn("vm")
	}
}

// The copies of a guest go even if its worker process dies just when they are being
// made, and whatever runs first then.
func TestWorkerDiesInTheGuestsSnapshot(t *testing.T) {
	for seed := range uint64(20) {
		l := newLab(t, sim.Seed(seed))
		l.running("db", withLedger())
		l.w.Inject(sim.Fault{Point: "vss/transaction-thaw", On: "h1/db/guest/vss", Outcome: sim.Outcome{Kill: "h1/db"}})
		if _, err := l.backup(); err == nil {
			t.Errorf("seed %d: the backup succeeds", seed)
		}
		l.advance(time.Hour)
		l.settled("db")
	}
}

// They go, too, if it dies when they are being deleted, because the backup has
// failed.
func TestWorkerDiesInTheUndoing(t *testing.T) {
	for seed := range uint64(20) {
		l := newLab(t, sim.Seed(seed))
		l.running("db", withLedger())
		l.w.Inject(
			sim.Fault{Point: "provider/delete", On: "h1/db/guest/vss/swprv", Outcome: sim.Outcome{Kill: "h1/db"}},
			sim.Fault{Point: "vss/post-snapshot", On: "h1/vmms", Outcome: sim.Outcome{Err: uint32(retryable)}},
		)
		if _, err := l.backup(); err == nil {
			t.Errorf("seed %d: the backup succeeds", seed)
		}
		l.advance(time.Hour)
		l.settled("db")
	}
}

// A copy that an earlier run of a guest has left behind goes when the next begins,
// and with the machine.
func TestCopiesOfAnEarlierRun(t *testing.T) {
	l := newLab(t)
	vm := l.running("vm")
	snapshot := func() {
		r, err := vm.Guest().Requestor()
		l.must(err)
		_, err = r.Snapshot(l.ctx(), guest.SnapshotOptions{})
		l.must(err)
	}
	kept := func() int {
		n := 0
		for _, left := range hyperv.Audit(l.h) {
			if strings.Contains(left.What, "is kept in system.vhd") {
				n++
			}
		}
		return n
	}
	snapshot()
	if kept() != 1 {
		t.Errorf("the audit finds %d copies", kept())
	}
	l.must(vm.Reset(l.ctx()))
	if kept() != 0 {
		t.Errorf("after a reset there are %d copies", kept())
	}
	snapshot()
	l.must(vm.TurnOff(l.ctx()))
	l.must(vm.Delete(l.ctx()))
	if names, err := l.h.Volume("D").Streams(`\VMs\vm\system.vhd`); err != nil || len(names) != 0 {
		t.Errorf("the VHD of the deleted machine has %v, %v", names, err)
	}
}

// Whoever asks for a machine just when its worker process or its guest has died,
// before the host has had the time to notice, sees what is left: a node of a
// cluster can let go of it at once.
func TestAskedJustAfterADeath(t *testing.T) {
	for _, f := range []struct {
		point  sim.Point
		victim string
	}{
		{"hyperv/save", "h1/vm"},
		{"hyperv/save", "h1/vm/guest"},
		{"guest/save", "h1/vm"},
	} {
		for seed := range uint64(20) {
			l := newLab(t, sim.Seed(seed))
			vm := l.running("vm", withLedger())
			l.w.Inject(sim.Fault{Point: f.point, Outcome: sim.Outcome{Kill: f.victim}})
			err := l.as("node", func(ctx context.Context) error {
				if err := vm.Save(ctx); err == nil {
					t.Errorf("%+v, seed %d: the save succeeds", f, seed)
				}
				return vm.Unregister(ctx)
			})
			if err != nil {
				t.Errorf("%+v, seed %d: %v", f, seed, err)
			}
			l.advance(time.Minute)
			l.settled("vm")
		}
	}
}
