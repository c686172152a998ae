package hyperv_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A machine whose volume goes while it is being saved cannot be written and cannot go
// on: it stands still with its memory in RAM, and goes on from it when the volume is
// there again. A backup that was saving it fails, and undoes the rest.
func TestStorageGoesInTheSave(t *testing.T) {
	for _, inBackup := range []bool{false, true} {
		l := newLab(t)
		vm := l.running("db", stopped, withLedger("rest=1h")) // nobody finds out before
		l.advance(time.Second)
		l.w.Inject(sim.Fault{Point: hyperv.FaultSave, On: "h1/db", Outcome: sim.Outcome{Delay: 10 * time.Second}})
		l.w.Actor("cable").Go("is pulled", func(ctx context.Context) error {
			if err := sim.Sleep(ctx, 5*time.Second); err != nil {
				return err
			}
			return l.h.TakeOffline("D:")
		})
		if inBackup {
			_, err := l.backup()
			l.failsWith(err, atPrepareSnapshot, nonRetryable, "db: ", "ERROR_NOT_READY")
		} else if err := vm.Save(l.ctx()); err == nil {
			t.Error("the save succeeds")
		}
		l.advance(time.Minute)
		var cause *hyperv.StorageError
		if err := vm.StorageFailure(); vm.State() != hyperv.StatePausedCritical || !errors.As(err, &cause) || cause.VHD != `D:\VMs\db\system.vhd` {
			t.Fatalf("it is %v: %v\n%s", vm.State(), err, l.story())
		}
		l.settledNow()
		if err := vm.Resume(l.ctx()); err == nil || vm.State() != hyperv.StatePausedCritical || vm.StorageFailure() == nil {
			t.Errorf("resumed too early: %v, it is %v", err, vm.State())
		}
		l.must(l.h.BringOnline("D:"))
		l.must(vm.Resume(l.ctx()))
		if boots, resumed := len(l.w.Trace().Select("guest/boot")), len(l.w.Trace().Select("guest/resume")); boots != 1 || resumed != 1 {
			t.Errorf("%d boots, taken up %d times", boots, resumed)
		}
		l.w.Heal()
		l.note()
		l.recovers()
	}
}

// A writer that cannot look for the snapshots of a guest because the volume has gone
// does not take them for deleted: the audit names them, and they go when the service
// starts again with the volume there.
func TestStorageGoesBeforeGuestSnapshotsAreDeleted(t *testing.T) {
	l := newLab(t, sim.Plan("provider/commit on=h1/vss/swprv delay=9s"))
	vm := l.running("db")
	l.note()
	l.atCommit(func(ctx context.Context) error {
		l.w.Actor("somebody").Background("writes", func(ctx context.Context) error { // and the machine finds out
			return vm.Guest().WriteAt(ctx, "C:", fresh, make([]byte, 512))
		})
		return l.h.TakeOffline("D:")
	})
	_, err := l.backup()
	if err == nil {
		t.Error("the backup succeeds")
	}
	l.advance(time.Minute)
	l.must(l.h.BringOnline("D:"))
	if vm.State().Critical() {
		l.must(vm.Resume(l.ctx()))
	}
	left := hyperv.Audit(l.h)
	if len(left) == 0 || !strings.Contains(left[0].String(), "db") {
		t.Errorf("the audit finds %v\n%s", left, l.story())
	}
	l.must(l.h.StopManagement(l.ctx()))
	l.must(l.h.StartManagement(l.ctx()))
	l.recovers()
}

// A volume that is taken away is gone under all of its names.
func TestVolumeWithAFolderIsTakenAway(t *testing.T) {
	l := twoNames(t)
	vm := l.machine("db", below(`E:\VMs\db`))
	l.must(l.h.TakeOffline("E"))
	for _, root := range []string{"E", "C/mnt/e"} {
		if _, err := l.h.Files().Stat(root + "/VMs"); err == nil {
			t.Errorf("%s is there", root)
		}
	}
	l.must(l.h.BringOnline("E"))
	for _, root := range []string{"E", "C/mnt/e"} {
		if _, err := l.h.Files().Stat(root + "/VMs"); err != nil {
			t.Errorf("%s: %v", root, err)
		}
	}
	l.must(vm.Start(l.ctx()))
	l.note()
	if _, err := l.backup(); err != nil {
		t.Error(err)
	}
}

// A machine whose volume goes while a checkpoint takes it back from its saved state is
// saved, and goes on from its memory when the volume is there again.
func TestStorageGoesInACheckpoint(t *testing.T) {
	l := newLab(t)
	vm := l.running("db", withLedger("rest=1h"))
	l.w.Inject(sim.Fault{Point: hyperv.FaultStart, On: "h1/db", Outcome: sim.Outcome{Delay: 10 * time.Second}})
	l.w.Actor("cable").Go("is pulled", func(ctx context.Context) error {
		for len(l.w.Trace().Select("vm/checkpoint")) == 0 {
			if err := sim.Sleep(ctx, time.Second); err != nil {
				return err
			}
		}
		return l.h.TakeOffline("D:")
	})
	if _, err := vm.Checkpoint(l.ctx(), "one"); err == nil {
		t.Error("the checkpoint is made, and the machine goes on")
	}
	if vm.State() != hyperv.StateSaved {
		t.Fatalf("it is %v\n%s", vm.State(), l.story())
	}
	l.must(l.h.BringOnline("D:"))
	l.w.Heal()
	l.must(vm.Start(l.ctx()))
	if boots, resumed := len(l.w.Trace().Select("guest/boot")), len(l.w.Trace().Select("guest/resume")); boots != 1 || resumed != 1 {
		t.Errorf("%d boots, taken up %d times", boots, resumed)
	}
	l.note()
	l.recovers()
}

// A volume that is seen in a folder is away under that name too for whoever starts a
// machine there, and can be brought online when the volume of the folder is.
func TestVolumeAwayUnderBothNames(t *testing.T) {
	l := twoNames(t)
	l.machine("db", below(`E:\VMs\db`))
	l.must(l.h.TakeOffline("C"))
	l.must(l.h.TakeOffline("E"))
	if err := l.h.Grant(`C:\mnt\e\VMs\db\system.vhd`, [16]byte{1}); err == nil {
		t.Error("access is granted to a file that is away")
	}
	if err := l.h.BringOnline("E"); err == nil {
		t.Error("the volume is in a folder of one that is away")
	}
	l.must(l.h.BringOnline("C"))
	l.must(l.h.BringOnline("E"))
	l.must(l.h.VM("db").Start(l.ctx()))
}
