package hyperv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// reads is a byte of the guest's volume.
func (l *lab) reads(vm *hyperv.VM, off int64) byte {
	l.t.Helper()
	var b [1]byte
	l.must(vm.Guest().ReadAt(l.ctx(), "C:", off, b[:]))
	return b[0]
}

// checkpoint makes one and returns its identity.
func (l *lab) checkpoint(vm *hyperv.VM, name string) [16]byte {
	l.t.Helper()
	id, err := vm.Checkpoint(l.ctx(), name)
	l.must(err)
	return id
}

// A checkpoint of a machine in each state: the machine goes on as it was, and can be
// brought back, with its memory if it was executing.
func TestCheckpointByState(t *testing.T) {
	for _, state := range []hyperv.State{hyperv.StateOff, hyperv.StateRunning, hyperv.StatePaused, hyperv.StateSaved} {
		t.Run(state.String(), func(t *testing.T) {
			l := newLab(t)
			vm := l.running("db", withLedger("rest=5s"))
			l.write(vm, "C:", 2*mib, '1')
			l.intoFrom(vm, state)
			id := l.checkpoint(vm, "first")
			if vm.State() != state {
				t.Fatalf("db is %v", vm.State())
			}
			list, err := vm.Checkpoints()
			l.must(err)
			if len(list) != 1 || list[0].ID != id || list[0].Name != "first" || list[0].Saved != (state != hyperv.StateOff) ||
				!slices.Equal(list[0].Disks, []string{`D:\VMs\db\system.vhd`}) {
				t.Errorf("%+v", list)
			}
			if p := vm.Configuration().VHDPaths()[0]; !strings.HasPrefix(p, `D:\VMs\db\Snapshots\system_{`) || !strings.HasSuffix(p, ".avhd") {
				t.Errorf("the disk is %s", p)
			}
			l.intoFrom(vm, hyperv.StateRunning)
			if b := l.reads(vm, 2*mib); b != '1' {
				t.Errorf("the guest reads %q", b)
			}
			l.write(vm, "C:", 2*mib, '2')
			if err := vm.Apply(l.ctx(), id); !errors.Is(err, hyperv.ErrInvalidState) {
				t.Errorf("applied to a machine that runs: %v", err)
			}
			l.must(vm.TurnOff(l.ctx()))
			l.must(vm.Apply(l.ctx(), id))
			if want := map[bool]hyperv.State{true: hyperv.StateOff, false: hyperv.StateSaved}[state == hyperv.StateOff]; vm.State() != want {
				t.Errorf("db is %v, want %v", vm.State(), want)
			}
			l.must(vm.Start(l.ctx()))
			if b := l.reads(vm, 2*mib); b != '1' {
				t.Errorf("brought back, the guest reads %q", b)
			}
			l.note()
			l.recovers()
		})
	}
}

// intoFrom takes a machine to a state, from any.
func (l *lab) intoFrom(vm *hyperv.VM, s hyperv.State) {
	l.t.Helper()
	switch vm.State() {
	case hyperv.StatePaused:
		l.must(vm.Resume(l.ctx()))
	case hyperv.StateOff, hyperv.StateSaved:
		l.must(vm.Start(l.ctx()))
	}
	switch s {
	case hyperv.StateOff:
		l.must(vm.TurnOff(l.ctx()))
	case hyperv.StatePaused:
		l.must(vm.Pause(l.ctx()))
	case hyperv.StateSaved:
		l.must(vm.Save(l.ctx()))
	}
}

// A tree of checkpoints: "one" with a branch that has "left", and one that has
// "right" and the machine. Deleting them in any order merges what one disk stands
// on, and changes nothing that is left.
func TestDeleteCheckpoints(t *testing.T) {
	for i, order := range [][]string{{"one", "left", "right"}, {"left", "one", "right"}, {"right", "one", "left"}, {"right", "left", "one"}, {"left", "right", "one"}, {"one", "right", "left"}} {
		l := newLab(t)
		vm := l.running("db")
		ids := make(map[string][16]byte)
		mark := func(b byte) {
			l.intoFrom(vm, hyperv.StateRunning)
			l.write(vm, "C:", 2*mib, b)
			l.write(vm, "C:", 2*mib+int64(b)*512, b)
			l.must(vm.TurnOff(l.ctx()))
		}
		mark('1')
		ids["one"] = l.checkpoint(vm, "one")
		mark('l')
		ids["left"] = l.checkpoint(vm, "left")
		mark('x') // lost
		l.must(vm.Apply(l.ctx(), ids["one"]))
		mark('r')
		ids["right"] = l.checkpoint(vm, "right")
		mark('n')
		for k, name := range order {
			l.must(vm.DeleteCheckpoint(l.ctx(), ids[name]))
			list, err := vm.Checkpoints()
			l.must(err)
			if len(list) != 2-k {
				t.Fatalf("%v: %+v", order, list)
			}
			there := func(names ...string) [16]byte { // the first of them that is left, or none
				for _, n := range names {
					if !slices.Contains(order[:k+1], n) {
						return ids[n]
					}
				}
				return [16]byte{}
			}
			for _, c := range list {
				if c.Name != "one" && c.Parent != there("one") {
					t.Errorf("%v, without %s: %s stands on %x", order, name, c.Name, c.Parent)
				}
			}
			if c := vm.Configuration(); c.ParentCheckpoint != there("right", "one") {
				t.Errorf("%v, without %s the machine stands on %x", order, name, c.ParentCheckpoint)
			}
			l.must(vm.Start(l.ctx()))
			for off, want := range map[int64]byte{0: 'n', '1' * 512: '1', 'r' * 512: 'r', 'l' * 512: 0, 'x' * 512: 0} {
				if b := l.reads(vm, 2*mib+off); b != want {
					t.Errorf("%v, without %s the guest reads %q at %d, want %q", order, name, b, off, want)
				}
			}
			l.must(vm.TurnOff(l.ctx()))
			for _, c := range list {
				if !l.contains(c.Disks[0], c.Name[0]) {
					t.Errorf("%v, without %s the disk of %s is spoilt", order, name, c.Name)
				}
			}
		}
		if paths := vm.Configuration().VHDPaths(); !slices.Equal(paths, []string{`D:\VMs\db\system.vhd`}) {
			t.Errorf("%v: the disks are %q", order, paths)
		}
		left, err := l.h.Volume("D").ReadDir(`\VMs\db\Snapshots`)
		l.must(err)
		for _, f := range left {
			t.Errorf("%v: %s is left", order, f.Name())
		}
		if n := len(l.w.Trace().Select("vm/merge")); n < 2 {
			t.Errorf("%v: %d merges", order, n)
		}
		if i == 0 {
			l.note()
			l.recovers()
		}
	}
}

// A checkpoint that is deleted while the machine executes goes from the tree at once.
// Its disks are merged when the machine stops, and not before the backup that holds
// it has ended; a branch that nobody stands on goes at once.
func TestDeleteCheckpointWhileItExecutes(t *testing.T) {
	for _, stop := range []func(*hyperv.VM, context.Context) error{(*hyperv.VM).TurnOff, (*hyperv.VM).Save, (*hyperv.VM).Shutdown} {
		for _, state := range []hyperv.State{hyperv.StateRunning, hyperv.StatePaused} {
			l := newLab(t)
			vm := l.running("db")
			l.write(vm, "C:", 2*mib, '1')
			one := l.checkpoint(vm, "one")
			l.write(vm, "C:", 2*mib+512, '2')
			two := l.checkpoint(vm, "two")
			l.must(vm.TurnOff(l.ctx()))
			l.must(vm.Apply(l.ctx(), one))
			l.must(vm.Start(l.ctx()))
			l.write(vm, "C:", 2*mib+1024, '3')
			l.intoFrom(vm, hyperv.StateRunning)
			if state == hyperv.StatePaused {
				l.must(vm.Pause(l.ctx()))
			}
			files := func() int {
				l.t.Helper()
				list, err := l.h.Volume("D").ReadDir(`\VMs\db\Snapshots`)
				l.must(err)
				n := 0
				for _, f := range list {
					if strings.HasSuffix(f.Name(), ".avhd") {
						n++
					}
				}
				return n
			}
			before := files()
			l.must(vm.DeleteCheckpoint(l.ctx(), two)) // of the other branch
			l.must(vm.DeleteCheckpoint(l.ctx(), one))
			if list, err := vm.Checkpoints(); err != nil || len(list) != 0 || vm.State() != state || !vm.Configuration().MergePending {
				t.Errorf("%v: it is %v, with %v, pending: %v", err, vm.State(), list, vm.Configuration().MergePending)
			}
			if before != 2 || files() != 1 || len(l.w.Trace().Select("vm/merge")) != 0 {
				t.Errorf("%d disks of checkpoints, were %d", files(), before)
			}
			c, err := hyperv.ReadConfiguration(l.bytes(vm.ConfigurationPath()))
			l.must(err)
			if !c.MergePending {
				t.Error("the file does not say that a merge is pending")
			}
			l.mustBackup()
			l.must(vm.Lock("export"))
			if state == hyperv.StatePaused {
				l.must(vm.Resume(l.ctx()))
			}
			l.must(stop(vm, l.ctx()))
			l.advance(time.Second)
			if len(l.w.Trace().Select("vm/merge")) != 0 {
				t.Error("merged while the machine is held")
			}
			vm.Unlock()
			l.advance(time.Second)
			if files() != 0 || vm.Configuration().MergePending || !slices.Equal(vm.Configuration().VHDPaths(), []string{`D:\VMs\db\system.vhd`}) {
				t.Errorf("%d disks of checkpoints, the machine's are %q", files(), vm.Configuration().VHDPaths())
			}
			l.settledNow()
			l.must(vm.Start(l.ctx()))
			for off, want := range map[int64]byte{0: '1', 512: 0, 1024: '3'} {
				if b := l.reads(vm, 2*mib+off); b != want {
					t.Errorf("the guest reads %q at %d, want %q", b, off, want)
				}
			}
			l.note()
			l.recovers()
		}
	}
}

// A merge that is pending is carried out after the guest has died, at the boot after
// a power failure, and in a machine that was restored with one; a merge that fails is
// reported and tried again.
func TestPendingMerge(t *testing.T) {
	for _, how := range []string{"guest dies", "power fails", "restored", "no access"} {
		l := newLab(t)
		vm := l.running("db")
		l.write(vm, "C:", 2*mib, '1')
		id := l.checkpoint(vm, "one")
		l.write(vm, "C:", 2*mib+512, '2')
		l.must(vm.DeleteCheckpoint(l.ctx(), id))
		switch how {
		case "guest dies":
			vm.Guest().PowerOff()
		case "power fails":
			l.h.PowerOff()
			l.must(l.h.Boot(l.ctx()))
		case "restored":
			target := l.mustBackup()
			l.mustRestore(target)
			l.must(l.h.VM("db").Start(l.ctx()))
			l.must(l.h.VM("db").TurnOff(l.ctx()))
		case "no access":
			base, err := l.h.Volume("D:").OpenFile(`\VMs\db\system.vhd`, volume.ReadWrite, volume.ShareWrite)
			l.must(err)
			l.must(vm.TurnOff(l.ctx()))
			l.advance(time.Second)
			if e := l.event("vm/merge-failed"); e.Get("id") != "19100" || len(hyperv.Audit(l.h)) != 1 {
				t.Errorf("%v, audit %v", e, hyperv.Audit(l.h))
			}
			l.must(base.Close())
			l.must(vm.Start(l.ctx()))
			l.must(vm.TurnOff(l.ctx()))
		}
		l.advance(time.Second)
		vm = l.h.VM("db")
		if got := vm.Configuration(); got.MergePending || !slices.Equal(got.VHDPaths(), []string{`D:\VMs\db\system.vhd`}) {
			t.Errorf("%s: pending: %v, disks %q", how, got.MergePending, got.VHDPaths())
		}
		l.settledNow()
		l.must(vm.Start(l.ctx()))
		if a, b := l.reads(vm, 2*mib), l.reads(vm, 2*mib+512); a != '1' || b != '2' {
			t.Errorf("%s: the guest reads %q, %q", how, a, b)
		}
		l.must(vm.TurnOff(l.ctx()))
	}
}

// Only disks of checkpoints are merged and deleted: not the differencing disk that an
// administrator has made of another, nor a disk that no machine has any more.
func TestDeleteCheckpointLeavesOtherDisksAlone(t *testing.T) {
	l := newLab(t)
	base := l.machine("template").Configuration().VHDPaths()[0]
	l.must(l.h.VM("template").Unregister(l.ctx()))
	const own = `D:\VMs\own.vhd`
	before := l.bytes(base)
	vm := l.running("db", withDisk(hyperv.DiskConfig{Path: own, Parent: base}), also("data.vhd", guest.NTFS))
	one := l.checkpoint(vm, "one")
	l.must(vm.TurnOff(l.ctx()))
	c := vm.Configuration()
	c.Drives = slices.DeleteFunc(c.Drives, func(d hyperv.Drive) bool { return strings.Contains(d.Path, "data") })
	l.must(vm.Configure(l.ctx(), c))
	l.must(vm.DeleteCheckpoint(l.ctx(), one))
	l.advance(time.Minute)
	if !slices.Contains(vm.Configuration().VHDPaths(), own) || !slices.Equal(before, l.bytes(base)) {
		t.Errorf("the disks are %q; the template is as it was: %v", vm.Configuration().VHDPaths(), slices.Equal(before, l.bytes(base)))
	}
	if !l.exists(`D:\VMs\db\data.vhd`) {
		t.Error("a disk that is no checkpoint's is deleted")
	}
	l.must(vm.Start(l.ctx()))
}

// Zeros that the guest wrote behind a checkpoint hide what was there before it, also
// when the disks are merged.
func TestMergeKeepsZeros(t *testing.T) {
	l := newLab(t)
	vm := l.running("db")
	l.write(vm, "C:", 2*mib, '1')
	id := l.checkpoint(vm, "one")
	l.write(vm, "C:", 2*mib, 0)
	l.must(vm.TurnOff(l.ctx()))
	l.must(vm.DeleteCheckpoint(l.ctx(), id))
	l.must(vm.Start(l.ctx()))
	if b := l.reads(vm, 2*mib); b != 0 {
		t.Errorf("the guest reads %q", b)
	}
}

// contains tells whether a checkpoint's disk shows what was written before it.
func (l *lab) contains(path string, b byte) bool {
	l.t.Helper()
	if b == 'o' {
		b = '1'
	}
	image, err := l.h.OpenVHD(path)
	l.must(err)
	return byteAt(l.t, volumeIn(l.t, image, 0), 2*mib) == b
}

// A machine with checkpoints is backed up with all of them, and each can be applied
// after a restore, to where it was or elsewhere.
func TestBackupOfCheckpoints(t *testing.T) {
	for name, how := range map[string]mod{"inside": func(*hyperv.VMConfig) {}, "saved": stopped} {
		for _, moved := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " moved ", moved), func(t *testing.T) {
				oracle := hypervtest.NewOracle()
				l := newLabOf(t, hyperv.HostConfig{Manage: oracle.Watch})
				vm := l.running("db", how)
				l.write(vm, "C:", 2*mib, '1')
				one := l.checkpoint(vm, "one")
				l.write(vm, "C:", 2*mib, '2')
				two := l.checkpoint(vm, "two")
				l.write(vm, "C:", 2*mib, '3')
				var files []string
				l.must(l.as("look", l.components(func(c *vss.ComponentInfo) {
					for _, f := range c.Files {
						files = append(files, volume.Join(f.Path, f.Spec))
					}
				})))
				for _, id := range [][16]byte{one, two} {
					base := `D:\VMs\db\Snapshots\` + guid.Upper(id)
					if !slices.Contains(files, base+".xml") || !slices.Contains(files, base+`\*`) {
						t.Errorf("the files of a checkpoint are missing: %q", files)
					}
				}
				l.must(oracle.Begin(l.h))
				target := l.mustBackup()
				l.settled()
				var mods []func(*requester.Restore)
				if moved {
					mods = append(mods, func(r *requester.Restore) {
						r.NewTarget = func(_ *vss.WriterMetadata, c *vss.ComponentInfo, set vss.FileSet) (string, bool) {
							to, ok := strings.CutPrefix(set.Path, `D:\VMs\db`)
							return `C:\Moved` + to, ok
						}
					})
				} else {
					l.must(vm.TurnOff(l.ctx()))
					l.must(vm.Delete(l.ctx()))
					l.must(l.h.Volume("D").RemoveAll(`\VMs`))
				}
				l.mustRestore(target, mods...)
				for _, f := range oracle.Check(l.h) {
					if f.Err != nil {
						t.Error(f)
					}
				}
				if moved {
					l.must(l.h.Volume("D").RemoveAll(`\VMs`)) // nothing is needed of it
				}
				back := l.h.VM("db")
				want := map[[16]byte]byte{one: '1', two: '2'}
				l.must(back.Start(l.ctx()))
				if b := l.reads(back, 2*mib); b != '3' {
					t.Errorf("restored, the guest reads %q", b)
				}
				for _, id := range [][16]byte{one, two, one} {
					l.must(back.TurnOff(l.ctx()))
					l.must(back.Apply(l.ctx(), id))
					l.must(back.Start(l.ctx()))
					if b := l.reads(back, 2*mib); b != want[id] {
						t.Errorf("brought back, the guest reads %q, want %q", b, want[id])
					}
				}
				l.mustBackup()
				l.settledNow()
			})
		}
	}
}

// What cannot be done with checkpoints, and leaves everything as it is.
func TestCheckpointRefusals(t *testing.T) {
	l := newLab(t)
	vm := l.running("db", also("data.vhd", guest.NTFS))
	id := l.checkpoint(vm, "first")
	for name, err := range map[string]error{
		"apply while it runs": vm.Apply(l.ctx(), id),
	} {
		if !errors.Is(err, hyperv.ErrInvalidState) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := vm.Apply(l.ctx(), [16]byte{1}); !errors.Is(err, hyperv.ErrNotFound) {
		t.Errorf("%v", err)
	}
	l.must(vm.Lock("backup"))
	if _, err := vm.Checkpoint(l.ctx(), "second"); !errors.Is(err, hyperv.ErrInUse) {
		t.Errorf("a checkpoint of a machine that is held: %v", err)
	}
	if err := vm.DeleteCheckpoint(l.ctx(), id); !errors.Is(err, hyperv.ErrInUse) {
		t.Errorf("deleted from a machine that is held: %v", err)
	}
	vm.Unlock()
	// No room, in the middle of it; and a save that fails.
	d := l.h.Volume("D")
	before := vm.Configuration()
	capacity := d.Capacity()
	d.SetCapacity(capacity - d.Free() + 8<<10)
	if _, err := vm.Checkpoint(l.ctx(), "second"); !errors.Is(err, volume.ErrDiskFull) {
		t.Errorf("a checkpoint without room: %v", err)
	}
	d.SetCapacity(capacity)
	l.w.Inject(sim.Fault{Point: hyperv.FaultSave, Outcome: sim.Outcome{Err: 0x80070070}})
	if _, err := vm.Checkpoint(l.ctx(), "second"); err == nil {
		t.Error("a checkpoint without a save")
	}
	if !vm.Configuration().Equal(before) || vm.State() != hyperv.StateRunning {
		t.Errorf("db is %v, its disks are %q", vm.State(), vm.Configuration().VHDPaths())
	}
	l.note()
	l.recovers()
}

// The list of checkpoints is read from the file, and a list that cannot be is
// refused.
func TestMalformedCheckpointLists(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	id := l.checkpoint(vm, "first")
	text := fromUTF16(t, l.bytes(vm.ConfigurationPath()))
	if c, err := hyperv.ReadConfiguration([]byte(text)); err != nil || !slices.Equal(c.Checkpoints, [][16]byte{id}) || c.ParentCheckpoint != id {
		t.Errorf("%v, %v", c, err)
	}
	for _, bad := range []string{"", "x", guid.Upper([16]byte{})} {
		damaged := strings.Replace(text, "<id type=\"string\">"+guid.Upper(id), "<id type=\"string\">"+bad, 1)
		if _, err := hyperv.ReadConfiguration([]byte(damaged)); damaged == text || !errors.Is(err, hyperv.ErrConfiguration) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The worker process dies, or the power fails, in the middle of a checkpoint: the
// machine is off or saved then, with one checkpoint or none, and starts.
func TestDeathInACheckpoint(t *testing.T) {
	for _, plan := range []string{"hyperv/save on=h1/db kill=h1/db", "hyperv/start on=h1/db nth=2 kill=h1/db", "hyperv/save on=h1/db kill=h1", "hyperv/start on=h1/db nth=2 kill=h1"} {
		l := newLab(t, sim.Plan(plan))
		vm := l.running("db")
		l.write(vm, "C:", 2*mib, '1')
		if _, err := vm.Checkpoint(l.ctx(), "first"); !errors.Is(err, sim.ErrDead) {
			t.Errorf("%s: %v", plan, err)
		}
		l.advance(1)
		if !l.h.Running() {
			l.must(l.h.Boot(l.ctx()))
		}
		vm = l.h.VM("db")
		list, err := vm.Checkpoints()
		l.must(err)
		if n := strings.Count(plan, "nth=2"); len(list) != n || (vm.State() == hyperv.StateSaved) != (n == 1) || !vm.State().Stable() {
			t.Errorf("%s: db is %v, with %d checkpoints", plan, vm.State(), len(list))
		}
		l.must(vm.Start(l.ctx()))
		if b := l.reads(vm, 2*mib); b != '1' {
			t.Errorf("%s: the guest reads %q", plan, b)
		}
		l.note()
		l.recovers()
	}
}
