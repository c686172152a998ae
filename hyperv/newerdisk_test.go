package hyperv_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/shadowsim/shadowsim/hyperv"
)

// scribble changes a byte of a disk that is no file.
func scribble(t *testing.T, d interface {
	WriteAt(p []byte, off int64) (int, error)
}, b byte) {
	t.Helper()
	if _, err := d.WriteAt(bytes.Repeat([]byte{b}, 512), 4*mib); err != nil {
		t.Fatal(err)
	}
}

// A machine that is restored in the saved state goes on from a memory that belongs to
// its pass-through disks as they were. Where one has changed since, the restore and the
// start say so and name it, and a machine with its disks unchanged goes on in silence.
func TestNewerPassThroughDisk(t *testing.T) {
	for _, changed := range []bool{false, true} {
		l := newLab(t)
		lun := l.lun("lun7", false)
		l.lun("lun8", false)
		vm := l.running("db", stopped, withDisk(hyperv.DiskConfig{PassThrough: "lun7"}), withDisk(hyperv.DiskConfig{PassThrough: "lun8"}))
		l.write(vm, "D:", dataOff, 'a')
		target := l.mustBackup() // brings it back in silence
		if changed {
			scribble(t, lun, 'b')
		}
		l.mustRestore(target)
		vm = l.h.VM("db")
		if vm.State() != hyperv.StateSaved {
			t.Fatalf("it is %v", vm.State())
		}
		newer, err := vm.NewerDisks()
		l.must(err)
		l.must(vm.Start(l.ctx()))
		if after, err := vm.NewerDisks(); err != nil || after != nil {
			t.Errorf("of a machine that runs: %v, %v", after, err)
		}
		at, on := l.w.Trace().Select("hyperv/newer-disk"), l.w.Trace().Select("vm/newer-disk")
		if !changed {
			if newer != nil || len(at)+len(on) > 0 {
				t.Errorf("nothing has changed, and yet %v, %v, %v", newer, at, on)
			}
			l.goesOn("db")
			continue
		}
		slot := vm.Configuration().Drives[1].Slot
		if len(newer) != 1 || newer[0].Path != "lun7" || newer[0].Slot != slot {
			t.Errorf("newer are %v", newer)
		}
		l.event("hyperv/newer-disk", "vm=db", "disk=lun7", "slot="+slot.String())
		l.event("vm/newer-disk", "vm=db", "disk=lun7", "slot="+slot.String())
		l.note()
		l.mustBackup()
		l.settled()
	}
}

// Discarding the saved state is what helps, and whoever changes the disk back has
// nothing to fear.
func TestNewerPassThroughDiskIsOnlyOfTheMemory(t *testing.T) {
	l := newLab(t)
	lun := l.lun("lun7", false)
	scribble(t, lun, 'a')
	vm := l.saved("db", withDisk(hyperv.DiskConfig{PassThrough: "lun7"}))
	newer := func() int {
		list, err := vm.NewerDisks()
		l.must(err)
		return len(list)
	}
	scribble(t, lun, 'b')
	if newer() != 1 {
		t.Error("a change passes unnoticed")
	}
	scribble(t, lun, 'a')
	if newer() != 0 {
		t.Error("bytes as they were count for a change")
	}
	scribble(t, lun, 'b')
	l.must(vm.TurnOff(l.ctx()))
	l.must(vm.Start(l.ctx()))
	if newer() != 0 || len(l.w.Trace().Select("vm/newer-disk")) != 0 {
		t.Error("a machine that boots has no memory")
	}
}

// A saved machine for whose memory the host has no room stays saved, with nothing
// attached, and goes on when there is room.
func TestNoMemoryForASavedMachine(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{MemoryMB: 6})
	vm := l.running("db", withLedger())
	l.must(vm.Save(l.ctx()))
	other := l.running("web")
	if err := vm.Start(l.ctx()); !errors.Is(err, hyperv.ErrOutOfMemory) || vm.State() != hyperv.StateSaved || !l.exists(vm.MemoryPath()) {
		t.Errorf("%v; it is %v", err, vm.State())
	}
	l.note()
	l.mustBackup()
	l.settled()
	l.must(other.TurnOff(l.ctx()))
	l.must(vm.Start(l.ctx()))
	l.event("guest/resume")
	l.note()
	l.mustBackup()
	l.settled()
}
