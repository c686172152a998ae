package hyperv_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// fresh is a place on the system volume of a lab's machine that no block of its VHD
// file holds yet, so that a write there makes the file grow.
const fresh = dataOff + 4*mib

// fill leaves no room on D:, and the returned function makes room again.
func (l *lab) fill() (free func()) {
	v := l.h.Volume("D")
	v.SetCapacity(v.Capacity() - v.Free())
	return func() { v.SetCapacity(1 << 40) }
}

// away takes D: away, and the returned function brings it back.
func (l *lab) away() (back func()) {
	l.must(l.h.TakeOffline("D:"))
	return func() { l.must(l.h.BringOnline("D:")) }
}

// writes has a program in the guest write a sector that makes the disk grow.
func (l *lab) writes(vm *hyperv.VM, b byte) *sim.Proc {
	g := vm.Guest()
	return l.w.Actor("a user of "+vm.Name()).Go("writes", func(ctx context.Context) error {
		return g.WriteAt(ctx, "C:", fresh, bytes.Repeat([]byte{b}, 512))
	})
}

// critical makes a machine that runs wait for its storage, and tells the write that it
// waits with.
func (l *lab) critical(vm *hyperv.VM, fail func() func()) (write *sim.Proc, mend func()) {
	l.t.Helper()
	mend = fail()
	write = l.writes(vm, 'w')
	l.advance(time.Second)
	if s := vm.State(); s != hyperv.StatePausedCritical || !s.Critical() {
		l.t.Fatalf("%s is %v\n%s", vm.Name(), s, l.story())
	}
	return write, mend
}

// A machine whose disk finds no room or is gone stands still until it is resumed, and
// its programs never hear of it: the write that it was at is written then.
func TestStorageOfAMachineFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(*lab) func()
		want error
	}{{"full", (*lab).fill, volume.ErrDiskFull}, {"gone", (*lab).away, volume.ErrNotReady}} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			vm := l.running("db", withLedger("rest=100ms"))
			l.advance(time.Second)
			write, mend := l.critical(vm, func() func() { return tt.fail(l) })
			var cause *hyperv.StorageError
			if err := vm.StorageFailure(); !errors.As(err, &cause) || cause.VHD != `D:\VMs\db\system.vhd` || !errors.Is(err, tt.want) {
				t.Errorf("the cause: %v", err)
			}
			if e := l.event("vm/storage-failed", "vm=db"); e.Get("vhd") != cause.VHD {
				t.Errorf("%v", e)
			}
			if vm.Guest() != nil {
				t.Error("the guest can be talked to")
			}
			l.settledNow()
			for ask, err := range map[string]error{"start": vm.Start(l.ctx()), "pause": vm.Pause(l.ctx()), "reset": vm.Reset(l.ctx()),
				"delete": vm.Delete(l.ctx()), "shutdown": vm.Shutdown(l.ctx())} {
				if !errors.Is(err, hyperv.ErrInvalidState) {
					t.Errorf("%s: %v", ask, err)
				}
			}
			if err := checkpointError(l, vm); !errors.Is(err, hyperv.ErrInvalidState) {
				t.Errorf("checkpoint: %v", err)
			}

			l.must(vm.Resume(l.ctx())) // too early
			l.advance(time.Second)
			if vm.State() != hyperv.StatePausedCritical || len(l.w.Trace().Select("vm/storage-failed")) != 2 {
				t.Errorf("resumed without storage it is %v", vm.State())
			}

			mend()
			l.advance(time.Hour)
			if vm.State() != hyperv.StatePausedCritical {
				t.Errorf("by itself it is %v", vm.State())
			}
			l.must(vm.Resume(l.ctx()))
			l.must(write.Wait(l.ctx()))
			if err := vm.StorageFailure(); err != nil || vm.State() != hyperv.StateRunning {
				t.Errorf("%v: %v", vm.State(), err)
			}
			c := volumeIn(t, vm.Guest().Disks()[0].Disk, 0)
			if got := byteAt(t, c, fresh); got != 'w' {
				t.Errorf("the write is lost: %q", got)
			}
			before := lastOf(c)
			l.advance(time.Minute)
			if after := lastOf(c); after <= before {
				t.Errorf("the ledger stands at %d", after)
			}
			l.goesOn("db")
			l.note()
			l.mustBackup()
			l.settled()
		})
	}
}

func checkpointError(l *lab, vm *hyperv.VM) error {
	_, err := vm.Checkpoint(l.ctx(), "c")
	return err
}

// lastOf is the number of a ledger's last transaction, from its bytes.
func lastOf(c interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Size() int64
}) uint64 {
	_, report := ledger.Check(c, c)
	return uint64(report.Last)
}

// A machine that waits for its storage can be turned off, and then holds nothing.
func TestTurnOffWithoutStorage(t *testing.T) {
	l := newLab(t)
	vm := l.running("db", withLedger())
	write, free := l.critical(vm, l.fill)
	l.must(vm.TurnOff(l.ctx()))
	if err := write.Wait(l.ctx()); !errors.Is(err, guest.ErrEnded) {
		t.Errorf("the write ends with %v", err)
	}
	if vm.StorageFailure() != nil || vm.State() != hyperv.StateOff {
		t.Errorf("%v, %v", vm.State(), vm.StorageFailure())
	}
	l.works(vm)
	free()
	l.must(vm.Start(l.ctx()))
	l.goesOn("db")
	l.note()
	l.recovers()
}

// The backup of a machine that waits for its storage fails for good, and what was done
// to others is not begun; where the policy has it saved, that works if the storage
// works again, and it comes back paused.
func TestBackupOfAMachineWithoutStorage(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		l := newLab(t)
		l.running("web", stopped)
		vm := l.running("db", withLedger())
		write, free := l.critical(vm, l.fill)
		_, err := l.backup()
		l.failsWith(err, atPrepareSnapshot, nonRetryable, "db: ", "the machine is paused-critical")
		if n := len(l.w.Trace().Select("hyperv/save")); n != 0 {
			t.Errorf("%d machines were saved", n)
		}
		l.settled()
		free()
		l.must(vm.Resume(l.ctx()))
		l.must(write.Wait(l.ctx()))
		l.note()
		l.recovers()
	})
	t.Run("saved", func(t *testing.T) {
		l := with(t, hyperv.Policy{SaveCritical: true})
		l.running("web", stopped)
		vm := l.running("db", withLedger("rest=100ms"))
		back := l.away()
		l.advance(time.Minute) // the ledger waits in the middle of a step
		if vm.State() != hyperv.StatePausedCritical {
			t.Fatalf("it is %v", vm.State())
		}
		back()
		free := l.fill()
		if err := vm.Save(l.ctx()); !errors.Is(err, volume.ErrDiskFull) || vm.State() != hyperv.StatePausedCritical {
			t.Errorf("without room for its memory: %v; it is %v", err, vm.State())
		}
		disk := l.bytes(`D:\VMs\db\system.vhd`)
		l.advance(time.Minute)
		if !bytes.Equal(disk, l.bytes(`D:\VMs\db\system.vhd`)) {
			t.Error("it goes on, although its storage failed")
		}
		_, err := l.backup() // there is no room for the memory of either
		l.failsWith(err, atPrepareSnapshot, nonRetryable, "ERROR_DISK_FULL")
		l.settled()
		free()
		target := l.mustBackup()
		if vm.State() != hyperv.StatePaused {
			t.Errorf("after the backup it is %v", vm.State())
		}
		l.settled("db")
		l.must(vm.Resume(l.ctx()))
		l.goesOn("db", "web")
		l.mustRestore(target)
		vm = l.h.VM("db")
		if vm.State() != hyperv.StateSaved {
			t.Errorf("restored it is %v", vm.State())
		}
		l.must(vm.Start(l.ctx()))
		l.goesOn("db")
	})
	t.Run("saved without storage", func(t *testing.T) {
		l := with(t, hyperv.Policy{SaveCritical: true})
		l.running("web", stopped)
		vm := l.running("db", withLedger("rest=100ms"), func(c *hyperv.VMConfig) {
			c.Root, c.SnapshotRoot = `C:\VMs\db`, `C:\VMs\db` // the configuration, and the memory
		})
		back := l.away()
		l.advance(time.Minute)
		if vm.State() != hyperv.StatePausedCritical {
			t.Fatalf("it is %v", vm.State())
		}
		err := vm.Save(l.ctx())
		var cause *hyperv.StorageError
		if !errors.As(err, &cause) || !errors.Is(err, volume.ErrNotReady) || vm.State() != hyperv.StatePausedCritical {
			t.Errorf("%v; it is %v", err, vm.State())
		}
		back()
		l.must(vm.Save(l.ctx()))
		l.must(vm.Start(l.ctx()))
		l.goesOn("db")
		l.note()
		l.mustBackup()
		l.settled()
	})
}

// A machine waits for its storage in the middle of a save, a shutdown, a start or a
// backup of its guest: what was asked for fails, or is done, and the machine is
// paused-critical; with storage it goes on.
func TestStorageFailsOnTheWay(t *testing.T) {
	const slow = "disk/write on=h1/db/guest/C: nth=20 delay=1m"
	for name, ask := range map[string]func(*hyperv.VM, context.Context) error{"save": (*hyperv.VM).Save, "shutdown": (*hyperv.VM).Shutdown,
		"checkpoint": func(vm *hyperv.VM, ctx context.Context) error { _, err := vm.Checkpoint(ctx, "c"); return err }} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, sim.Plan(slow))
			vm := l.running("db", withLedger("rest=100ms"))
			l.advance(20 * time.Second) // the ledger is in the middle of its step
			asked := l.w.Actor("administrator").Go(name, func(ctx context.Context) error { return ask(vm, ctx) })
			l.advance(10 * time.Second)
			if vm.State().Stable() {
				t.Fatalf("it is %v already", vm.State())
			}
			back := l.away()
			err := asked.Wait(l.ctx())
			var cause *hyperv.StorageError
			if !errors.As(err, &cause) || vm.State() != hyperv.StatePausedCritical {
				t.Errorf("%v; it is %v", err, vm.State())
			}
			l.settledNow()
			back()
			l.must(vm.Resume(l.ctx()))
			l.goesOn("db")
			l.note()
			l.recovers()
		})
	}
	t.Run("start", func(t *testing.T) {
		l := newLab(t)
		vm := l.machine("db", withLedger("rest=100ms")) // it makes its ledger when it first starts
		free := l.fill()
		l.must(vm.Start(l.ctx()))
		if vm.State() != hyperv.StatePausedCritical {
			t.Fatalf("it is %v", vm.State())
		}
		free()
		l.must(vm.Resume(l.ctx()))
		l.goesOn("db")
		l.note()
		l.recovers()
	})
	t.Run("backup", func(t *testing.T) {
		l := with(t, hyperv.Policy{AnswerLimit: 5 * time.Minute}, "vss/freeze on=h1/db/guest/ledger delay=10s")
		l.running("web", stopped)
		vm := l.running("db", withLedger("rest=100ms"))
		l.note()
		gone := l.w.Actor("the storage").Go("fails", func(ctx context.Context) error {
			for len(l.events(func(e sim.Event) bool { return e.Kind == "vss/freeze" && e.Actor == "h1/db/guest/ledger" })) == 0 {
				if err := sim.Sleep(ctx, time.Second); err != nil {
					return err
				}
			}
			l.fill()
			return nil
		})
		write := l.w.Actor("a user of db").Go("writes", func(ctx context.Context) error {
			if err := gone.Wait(ctx); err != nil {
				return err
			}
			return vm.Guest().WriteAt(ctx, "C:", fresh, make([]byte, 512))
		})
		_, err := l.backup()
		l.failsWith(err, atPrepareSnapshot, timedOut, "db: ")
		if vm.State() != hyperv.StatePausedCritical {
			t.Errorf("it is %v", vm.State())
		}
		l.settled("db")
		l.h.Volume("D").SetCapacity(1 << 40)
		l.must(vm.Resume(l.ctx()))
		l.must(write.Wait(l.ctx()))
		l.goesOn("db", "web")
		l.recovers()
	})
}

// A machine that waits for its storage is restored over. Where its configuration cannot
// be reached it cannot be deleted either, and the restore fails before it; when the
// volume is back it succeeds.
func TestRestoreOverAMachineWithoutStorage(t *testing.T) {
	l := newLab(t)
	vm := l.running("db", withLedger("rest=100ms"))
	l.running("web", stopped)
	target := l.mustBackup()
	_, free := l.critical(vm, l.fill)
	free() // the files have to fit
	l.mustRestore(target)
	vm = l.h.VM("db")
	if vm.State() != hyperv.StateOff || vm.StorageFailure() != nil {
		t.Errorf("restored it is %v: %v", vm.State(), vm.StorageFailure())
	}
	l.must(vm.Start(l.ctx()))
	l.must(l.h.VM("web").Start(l.ctx()))
	l.goesOn("db", "web")
	l.note()
	l.mustBackup()

	_, back := l.critical(vm, l.away)
	_, err := l.restore(target)
	l.failsWith(err, vss.StateFailedAtPreRestore, nonRetryable, "ERROR_NOT_READY")
	if l.h.VM("db") == nil {
		t.Error("the machine is gone")
	}
	l.settledNow()
	back()
	l.mustRestore(target)
	l.must(l.h.VM("db").Start(l.ctx()))
	l.note()
	l.recovers()
}

// Without the volume of its configuration a machine is not in the metadata, and the
// others are backed up.
func TestVolumeOfTheHostIsGone(t *testing.T) {
	l := newLab(t)
	l.running("db")
	l.running("web", func(c *hyperv.VMConfig) {
		c.Root, c.SnapshotRoot = `C:\VMs\web`, ""
		c.Disks[0] = vhdOf(`C:\VMs\web\system.vhd`)
	})
	l.mustBackup()
	back := l.away()
	if err := l.h.TakeOffline("d:"); err != nil {
		t.Errorf("once more: %v", err)
	}
	if _, err := l.h.Files().Lstat("D/VMs"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its files: %v", err)
	}
	if l.h.Volume("D") != nil || len(l.h.VSS().Volumes()) != 1 {
		t.Errorf("the host has %v", l.h.VSS().Volumes())
	}
	l.mustBackup()
	if e := l.w.Trace().Select("hyperv/left-out"); len(e) != 1 || e[0].Get("vm") != "db" {
		t.Errorf("left out: %v", e)
	}
	l.settled()
	back()
	l.must(l.h.BringOnline("D:"))
	l.mustBackup()
	l.settled()
	for letter, want := range map[string]error{"X:": hyperv.ErrNotFound, "": hyperv.ErrParameter, `C:\x`: hyperv.ErrParameter} {
		if err := l.h.TakeOffline(letter); !errors.Is(err, want) {
			t.Errorf("take %q: %v", letter, err)
		}
		if err := l.h.BringOnline(letter); !errors.Is(err, want) {
			t.Errorf("bring %q: %v", letter, err)
		}
	}
}

// A host that boots without a volume has the machines of the others, and those of the
// volume can be registered when it is back.
func TestBootWithoutAVolume(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	path := vm.ConfigurationPath()
	l.must(l.h.Shutdown(l.ctx()))
	back := l.away()
	if err := l.h.Boot(l.ctx()); err == nil || l.h.VM("db") != nil {
		t.Errorf("it boots with %v", err)
	}
	back()
	_, err := l.h.Register(l.ctx(), path)
	l.must(err)
	l.must(l.h.VM("db").Start(l.ctx()))
	l.mustBackup()
}
