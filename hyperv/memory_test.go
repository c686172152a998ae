package hyperv_test

import (
	"bytes"
	"context"
	"io/fs"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// hasMemory checks whether a backup has files of a saved state of a machine.
func (l *lab) hasMemory(target fs.FS, vm *hyperv.VM, want bool) {
	l.t.Helper()
	name, err := volume.Name(volume.Dir(vm.MemoryPath()))
	l.must(err)
	list, err := fs.ReadDir(target, requester.FilesName+"/"+name)
	if n := len(list); want != (n == 2) || !want && n != 0 || want && err != nil {
		l.t.Errorf("the backup has %v of a saved state, %v", list, err)
	}
}

// Memory is in the backup of a machine that is saved for it, and in no other, whatever
// the machine does with its file and whatever the metadata told.
func TestMemoryInTheBackup(t *testing.T) {
	roomy := actions(hyperv.StopSave, hyperv.StartNothing)
	turn := func(on bool) func(ctx context.Context, vm *hyperv.VM) error {
		return func(ctx context.Context, vm *hyperv.VM) error {
			if on {
				return vm.Guest().StartService(ctx, string(guest.BackupService))
			}
			return vm.Guest().StopService(ctx, string(guest.BackupService))
		}
	}
	for _, row := range []struct {
		name   string
		mods   []mod
		change func(ctx context.Context, vm *hyperv.VM) error // behind the metadata
		memory bool
	}{
		{"inside", []mod{roomy}, nil, false},
		{"saved", []mod{roomy, stopped}, nil, true},
		{"saved, and told otherwise", nil, turn(false), true},
		{"saved with room for it, and told otherwise", []mod{roomy}, turn(false), true},
		{"inside, and told otherwise", []mod{roomy, stopped}, turn(true), false},
		{"off, and told otherwise", []mod{roomy, stopped}, func(ctx context.Context, vm *hyperv.VM) error { return vm.TurnOff(ctx) }, false},
		{"saved already, and told otherwise", []mod{roomy}, func(ctx context.Context, vm *hyperv.VM) error { return vm.Save(ctx) }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLab(t)
			vm := l.running("db", row.mods...)
			var mods []func(*requester.Backup)
			if row.change != nil {
				mods = append(mods, l.afterIdentify(func(ctx context.Context) error {
					err := row.change(ctx, vm)
					l.note()
					return err
				}))
			}
			target := l.mustBackup(mods...)
			l.settled()
			l.hasMemory(target, vm, row.memory)
			if row.memory && bytes.Equal(l.bytesIn(target, vm.MemoryPath()), make([]byte, 4*mib)) {
				t.Error("the memory is empty")
			}
			l.remove(vm)
			l.mustRestore(target)
			back, want := l.h.VM("db"), map[bool]hyperv.State{true: hyperv.StateSaved, false: hyperv.StateOff}[row.memory]
			if back.State() != want {
				t.Errorf("the restored machine is %v", back.State())
			}
			l.must(back.Start(l.ctx()))
			l.settledNow()
		})
	}
}

// Somebody saves a machine whose guest has taken its snapshot: the disks in the backup
// are what that holds, and the memory, which is younger, is not there.
func TestSavedBehindTheSnapshotInside(t *testing.T) {
	l := newLab(t, sim.Plan("vss/freeze on=h1/vmms delay=30s"))
	vm := l.running("db")
	l.write(vm, `C:\`, dataOff, 'a')
	l.after = func(string, *guest.Snapshot) {
		l.w.Actor("admin").Background("saves", func(ctx context.Context) error {
			l.writeNow(vm, `C:\`, dataOff, 'b')
			if err := sim.Sleep(ctx, 2*time.Second); err != nil {
				return err
			}
			return vm.Save(ctx)
		})
	}
	target := l.mustBackup()
	commits := l.events(func(e sim.Event) bool { return e.Actor == "h1/vss/swprv" && e.Kind == "provider/commit" })
	if saved, commit := l.event("vm/state", "vm=db", "to=saved").Seq, commits[0].Seq; saved > commit {
		t.Fatalf("saved at %d, the shadow copy at %d", saved, commit)
	}
	l.settled("db")
	l.hasMemory(target, vm, false)
	if !l.exists(vm.MemoryPath()) {
		t.Error("the machine has lost its own memory")
	}
	l.remove(vm)
	l.mustRestore(target)
	back := l.h.VM("db")
	if back.State() != hyperv.StateOff {
		t.Errorf("the restored machine is %v", back.State())
	}
	l.must(back.Start(l.ctx()))
	if b := byteAt(t, volumeIn(t, back.Guest().Disks()[0].Disk, 0), dataOff); b != 'a' {
		t.Errorf("its disk has %q", b)
	}
	l.settledNow()
}
