package hyperv_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// What a backup does to machines happens in handlers of the writer, which the
// service calls; without the service there is no backup.
func TestR1_EverythingRunsThroughVSS(t *testing.T) {
	l := newLab(t)
	l.running("db")
	l.running("web", stopped)
	began := len(l.w.Trace())
	target := l.mustBackup()
	l.mustRestore(target)
	handlers := 0
	for _, e := range l.w.Trace()[began:] {
		if e.Actor == "h1/vmms" && strings.HasPrefix(e.Kind, "vss/") {
			if strings.HasSuffix(e.Kind, ".end") {
				handlers--
			} else {
				handlers++
			}
		}
		if (strings.HasPrefix(e.Kind, "hyperv/") || strings.HasPrefix(e.Kind, "vm/")) && handlers == 0 {
			t.Errorf("outside of a handler: %v", e)
		}
	}
	l.w.Find("h1/vss").Kill()
	_, err := l.backup()
	if _, e := l.restore(target); err == nil || e == nil {
		t.Errorf("without the service: backup %v, restore %v", err, e)
	}
}

func TestR2_GuestWritersTakePartThroughTheService(t *testing.T) {
	l := newLab(t)
	l.running("db", withLedger())
	l.mustBackup()
	if n := len(l.events(func(e sim.Event) bool { return inside("db")(e) && e.Kind == "vss/freeze" })); n != 1 {
		t.Errorf("the ledger was frozen %d times", n)
	}
}

func TestR3_WithoutTheServiceGuestWritersSeeNothing(t *testing.T) {
	l := newLab(t)
	l.running("db", withLedger(), noService)
	l.mustBackup()
	for _, e := range l.events(inside("db")) {
		t.Errorf("%v", e)
	}
}

func TestR4_OneMethodForEachMachine(t *testing.T) {
	l := newLab(t)
	l.running("db")
	l.running("web", stopped)
	l.mustBackup()
	for vm, want := range map[string][3]int{"db": {1, 1, 0}, "web": {1, 0, 1}} {
		for i, kind := range []string{"hyperv/decide", "hyperv/child-snapshot", "hyperv/save"} {
			n := len(l.events(func(e sim.Event) bool { return e.Kind == kind && e.Get("vm") == vm }))
			if n != want[i] {
				t.Errorf("%s: %d times %s, want %d", vm, n, kind, want[i])
			}
		}
	}
}

// conditions are ways in which a running machine can fail one condition for the
// child VM snapshot method.
func conditions(l *lab) map[hyperv.ReasonCode]mod {
	return map[hyperv.ReasonCode]mod{
		hyperv.ReasonOSUnsupported:    system(guest.Windows2000Server),
		hyperv.ReasonICDisabled:       func(c *hyperv.VMConfig) { c.BackupNotOffered = true },
		hyperv.ReasonICNotInstalled:   noService,
		hyperv.ReasonICNotRunning:     stopped,
		hyperv.ReasonICProtocol:       func(c *hyperv.VMConfig) { c.Guest.Services = guest.IntegrationServices(c.Guest.OS, "5.9") },
		hyperv.ReasonHotBackup:        func(c *hyperv.VMConfig) { c.Guest.ComputerName = "COLD" },
		hyperv.ReasonPaused:           func(*hyperv.VMConfig) {}, // when it runs
		hyperv.ReasonSnapshotLocation: snapshotsIn(`C:\Snapshots`),
		hyperv.ReasonDynamicDisk:      func(c *hyperv.VMConfig) { withDisk(l.dynamic(c.Root + `\dynamic.vhd`))(c) },
		hyperv.ReasonFileSystem:       also("fat.vhd", guest.FAT16),
		hyperv.ReasonShadowStorage: func(c *hyperv.VMConfig) {
			also("data.vhd", guest.NTFS)(c)
			c.Guest.ShadowStorage = []guest.ShadowStorage{{Volume: "C:", On: "D:"}}
		},
	}
}

func TestR5_SavedStateIsTheDefault(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: hyperv.Profile{OldestService: "6.0"}, NewRequestor: func(m *guest.Machine) guest.Requestor {
		if m.System().ComputerName == "COLD" {
			return coldRequestor{guest.DefaultRequestor(m)}
		}
		return guest.DefaultRequestor(m)
	}})
	all := conditions(l)
	for code, mod := range all {
		if vm := l.running(string(code), mod); code == hyperv.ReasonPaused {
			l.must(vm.Pause(l.ctx()))
		}
	}
	l.mustBackup()
	for code := range all {
		if e := l.event("hyperv/decide", "vm="+string(code)); e.Get("method") != "saved state" {
			t.Errorf("%v", e)
		}
		if e := l.event("hyperv/reason", "vm="+string(code)); e.Get("code") != string(code) || e.Rule != code.Rule() {
			t.Errorf("%v", e)
		}
		l.event("hyperv/save", "vm="+string(code))
	}
	l.settled()
}

func TestR6_SavedInPrepareForSnapshot(t *testing.T) {
	l := newLab(t)
	l.running("web", stopped)
	l.mustBackup()
	l.within(l.event("vm/state", "vm=web", "to=saving"), "vss/prepare-snapshot")
	l.within(l.event("vm/state", "vm=web", "to=saved"), "vss/prepare-snapshot")
}

func TestR7_VolumesAreSnapshottedWhileSaved(t *testing.T) {
	l := newLab(t).noting()
	vm := l.running("web", stopped)
	target := l.mustBackup()
	commit := l.event("provider/commit").Seq
	if saved := l.event("vm/state", "vm=web", "to=saved").Seq; saved > commit {
		t.Errorf("saved at %d, the shadow copy at %d", saved, commit)
	}
	if back := l.event("vm/state", "vm=web", "from=saved").Seq; back < commit {
		t.Errorf("back at %d, the shadow copy at %d", back, commit)
	}
	disk := `D:\VMs\web\system.vhd`
	if got := l.bytesIn(target, disk); !slices.Equal(got, l.spy.saved[disk]) {
		t.Error("the disk in the backup is not the disk at the end of the save")
	}
	if got := l.bytesIn(target, vm.MemoryPath()); !slices.Equal(got, l.spy.saved[vm.MemoryPath()]) {
		t.Error("the memory in the backup is not the memory at the end of the save")
	}
}

func TestR8_BackInPostSnapshot(t *testing.T) {
	l := newLab(t)
	vm := l.running("web", stopped)
	l.mustBackup()
	l.within(l.event("vm/state", "vm=web", "from=saved", "to=starting"), "vss/post-snapshot")
	if vm.State() != hyperv.StateRunning {
		t.Errorf("web is %v", vm.State())
	}
}

func TestR9_ChildSnapshotUsesVSSInside(t *testing.T) {
	l := newLab(t).noting()
	vm := l.running("db")
	l.mustBackup()
	inside := l.events(func(e sim.Event) bool {
		return e.Actor == "h1/db/guest/vmicvss" && e.Kind == "requester/DoSnapshotSet.end" && e.Get("result") == "S_OK"
	})
	if len(inside) != 1 || len(l.spy.shadows["db"]) != 1 {
		t.Errorf("%v, copies of %d volumes", inside, len(l.spy.shadows["db"]))
	}
	if left := vm.Guest().Disks()[0].Disk.KeptIDs(); len(left) != 0 {
		t.Errorf("%d copies are left", len(left))
	}
}

// Facts of a machine for which every condition holds.
func eligible() hyperv.Facts {
	return hyperv.Facts{
		State: hyperv.StateRunning, BackupOffered: true, SnapshotLocation: `D:\VMs`, DiskPaths: []string{`D:\VMs\a.vhd`, `D:\b.vhd`},
		Guest: &hyperv.GuestFacts{System: "Windows Server 2008", Supported: true, Installed: true, Running: true, Protocol: true},
	}
}

func TestR10_AllConditionsHoldTogether(t *testing.T) {
	if d := hyperv.W2008.Decide(eligible()); d.Method != hyperv.MethodChildSnapshot || len(d.Reasons) != 0 {
		t.Errorf("all hold: %v", d)
	}
	for _, b := range breaches {
		f := eligible()
		b.do(&f)
		if d := hyperv.W2008.Decide(f); d.Method == hyperv.MethodChildSnapshot || !d.Has(b.code) || len(d.Reasons) != 1 {
			t.Errorf("%s: %v", b.code, d)
		}
	}
}

// decides checks the method and the only reason for a machine.
func (l *lab) decides(vm *hyperv.VM, method hyperv.Method, codes ...hyperv.ReasonCode) {
	l.t.Helper()
	d := vm.Decide()
	var got []hyperv.ReasonCode
	for _, r := range d.Reasons {
		got = append(got, r.Code)
	}
	if d.Method != method || !slices.Equal(got, codes) {
		l.t.Errorf("%s: %v, want %v %v", vm.Name(), d, method, codes)
	}
}

func TestR11_TheServiceIsInstalled(t *testing.T) {
	l := newLab(t)
	l.decides(l.running("without", noService), hyperv.MethodSavedState, hyperv.ReasonICNotInstalled)
	hidden := l.running("hidden", func(c *hyperv.VMConfig) { c.BackupNotOffered = true })
	l.decides(hidden, hyperv.MethodSavedState, hyperv.ReasonICDisabled)
	l.decides(l.running("with"), hyperv.MethodChildSnapshot)
}

func TestR12_TheServiceRuns(t *testing.T) {
	l := newLab(t)
	vm := l.running("db")
	l.must(vm.Guest().StopService(l.ctx(), string(guest.BackupService)))
	l.decides(vm, hyperv.MethodSavedState, hyperv.ReasonICNotRunning)
	l.must(vm.Guest().StartService(l.ctx(), string(guest.BackupService)))
	l.decides(vm, hyperv.MethodChildSnapshot)
}

func TestR13_DisplayNameOfTheService(t *testing.T) {
	l := newLab(t)
	vm := l.running("db")
	l.must(vm.Guest().StopService(l.ctx(), "Hyper-V Volume Shadow Copy Requestor"))
	l.decides(vm, hyperv.MethodSavedState, hyperv.ReasonICNotRunning)
}

func TestR14_Windows2000NeverQualifies(t *testing.T) {
	l := newLab(t)
	vm := l.running("old", system(guest.Windows2000Server))
	l.decides(vm, hyperv.MethodSavedState, hyperv.ReasonOSUnsupported)
	forced := l.running("forced", system(guest.Windows2000Server), func(c *hyperv.VMConfig) { c.Guest.Services = integration() })
	l.decides(forced, hyperv.MethodSavedState, hyperv.ReasonOSUnsupported)
	l.mustBackup()
	l.event("hyperv/save", "vm=forced")
}

func TestR15_OnlyRunningMachinesQualify(t *testing.T) {
	l := newLab(t)
	l.decides(l.running("running"), hyperv.MethodChildSnapshot)
	l.decides(l.paused("paused"), hyperv.MethodSavedState, hyperv.ReasonPaused)
	l.decides(l.saved("saved"), hyperv.MethodOffline, hyperv.ReasonSaved)
	l.decides(l.machine("off"), hyperv.MethodOffline, hyperv.ReasonOff)
	l.must(l.w.Do(l.ctx(), func(ctx context.Context) error {
		vm := l.h.VM("off")
		start := sim.Go(ctx, "start", vm.Start)
		if err := sim.Sleep(ctx, time.Second); err != nil {
			return err
		}
		l.decides(vm, hyperv.MethodNone, hyperv.ReasonTransition)
		return start.Wait(ctx)
	}))
}

func TestR16_SnapshotLocationOnTheVolumeOfTheDisks(t *testing.T) {
	l := newLab(t)
	l.decides(l.running("same", snapshotsIn(`d:\elsewhere`)), hyperv.MethodChildSnapshot)
	l.decides(l.running("other", snapshotsIn(`C:\Snapshots`)), hyperv.MethodSavedState, hyperv.ReasonSnapshotLocation)
	split := l.running("split", withDisk(vhdOf(`C:\split.vhd`)))
	l.decides(split, hyperv.MethodSavedState, hyperv.ReasonSnapshotLocation)
}

func TestR17_VolumesAreOnBasicDisks(t *testing.T) {
	l := newLab(t)
	vm := l.running("db", func(c *hyperv.VMConfig) { withDisk(l.dynamic(c.Root + `\data.vhd`))(c) })
	l.decides(vm, hyperv.MethodSavedState, hyperv.ReasonDynamicDisk)
	l.decides(l.running("basic", also("data.vhd", guest.NTFS, guest.NTFS)), hyperv.MethodChildSnapshot)
}

// A disk that has no more than the database of the Logical Disk Manager counts,
// and so does one that was made dynamic while the guest ran.
func TestR18_NoDynamicDiskAtAll(t *testing.T) {
	l := newLab(t)
	unused := vhdOf(`D:\unused.vhd`)
	unused.Format = &guest.DiskSpec{Scheme: guest.GPT, Partitions: []guest.PartitionSpec{{Role: guest.RoleDynamic, Size: mib}}}
	vm := l.running("db", withDisk(unused))
	l.decides(vm, hyperv.MethodSavedState, hyperv.ReasonDynamicDisk)

	later := l.running("later", also("data.vhd", guest.NTFS))
	l.decides(later, hyperv.MethodChildSnapshot)
	const typeOfFirst = 446 + 4
	if _, err := later.Guest().Disks()[1].Disk.WriteAt([]byte{0x42}, typeOfFirst); err != nil {
		t.Fatal(err)
	}
	l.decides(later, hyperv.MethodSavedState, hyperv.ReasonDynamicDisk)
}

func TestR19_FileSystemsCanBeSnapshotted(t *testing.T) {
	l := newLab(t)
	for _, kind := range []guest.FileSystemKind{guest.FAT16, guest.FAT32, guest.ExFAT, guest.ReFS, guest.NoFileSystem} {
		vm := l.running("with "+kind.String(), also("data.vhd", kind))
		l.decides(vm, hyperv.MethodSavedState, hyperv.ReasonFileSystem)
	}
	two := l.running("two", also("data.vhd", guest.NTFS, guest.FAT16))
	l.decides(two, hyperv.MethodSavedState, hyperv.ReasonFileSystem)
}
