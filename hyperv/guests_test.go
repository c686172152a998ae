package hyperv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// secondDisk adds a VHD divided in this way.
func secondDisk(size int64, spec guest.DiskSpec) mod {
	return func(c *hyperv.VMConfig) {
		d := vhdOf(c.Root + `\second.vhd`)
		d.Size, d.Format = size, &spec
		c.Disks = append(c.Disks, d)
	}
}

// What the disks of a guest hold decides the method, whatever the guest would say
// of itself.
func TestDisksOfAGuestDecide(t *testing.T) {
	of := func(kind guest.FileSystemKind) guest.PartitionSpec {
		return guest.PartitionSpec{FileSystem: guest.FileSystem{Kind: kind}}
	}
	efi := of(guest.FAT32)
	efi.Role, efi.Size = guest.RoleEFI, 40*mib
	for name, tt := range map[string]struct {
		os       guest.OS
		ntfsOnly bool
		spec     guest.DiskSpec
		why      []hyperv.ReasonCode
	}{
		"EFI system partition": {spec: guest.DiskSpec{Scheme: guest.GPT, Partitions: []guest.PartitionSpec{efi, of(guest.NTFS)}}},
		"MBR of the Logical Disk Manager": {spec: guest.DiskSpec{Scheme: guest.MBR, Partitions: []guest.PartitionSpec{{Role: guest.RoleDynamic}}},
			why: []hyperv.ReasonCode{hyperv.ReasonDynamicDisk}},
		"GPT of the Logical Disk Manager": {spec: guest.DiskSpec{Scheme: guest.GPT, Partitions: []guest.PartitionSpec{{Role: guest.RoleDynamic}}},
			why: []hyperv.ReasonCode{hyperv.ReasonDynamicDisk}},
		"exFAT": {spec: guest.DiskSpec{Scheme: guest.GPT, Partitions: []guest.PartitionSpec{of(guest.ExFAT)}},
			why: []hyperv.ReasonCode{hyperv.ReasonFileSystem}},
		"not formatted": {spec: guest.DiskSpec{Scheme: guest.MBR, Partitions: []guest.PartitionSpec{of(guest.NoFileSystem)}},
			why: []hyperv.ReasonCode{hyperv.ReasonFileSystem}},
		"ext4": {spec: guest.DiskSpec{Scheme: guest.MBR, Partitions: []guest.PartitionSpec{of(guest.Ext4)}},
			why: []hyperv.ReasonCode{hyperv.ReasonFileSystem}},
		"ReFS in a system that does not know it": {os: guest.WindowsServer2008R2,
			spec: guest.DiskSpec{Scheme: guest.GPT, Partitions: []guest.PartitionSpec{of(guest.ReFS)}},
			why:  []hyperv.ReasonCode{hyperv.ReasonFileSystem}},
		"ReFS in a system that mounts it": {os: guest.WindowsServer2012,
			spec: guest.DiskSpec{Scheme: guest.GPT, Partitions: []guest.PartitionSpec{of(guest.ReFS)}}},
		"ReFS where NTFS alone counts": {os: guest.WindowsServer2012, ntfsOnly: true,
			spec: guest.DiskSpec{Scheme: guest.GPT, Partitions: []guest.PartitionSpec{of(guest.ReFS)}},
			why:  []hyperv.ReasonCode{hyperv.ReasonFileSystem}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLabOf(t, hyperv.HostConfig{Profile: hyperv.Profile{Policy: hyperv.Policy{NTFSOnly: tt.ntfsOnly}}})
			mods := []func(*hyperv.VMConfig){secondDisk(64*mib, tt.spec)}
			if tt.os != "" {
				mods = append(mods, system(tt.os))
			}
			method := hyperv.MethodChildSnapshot
			if tt.why != nil {
				method = hyperv.MethodSavedState
			}
			l.decides(l.running("db", mods...), method, tt.why...)
			l.mustBackup()
			l.settled()
		})
	}
}

// Two machines of one host are judged by their own systems, and what the guest
// wrote to ReFS at the time of its snapshot is what the backup has.
func TestReFSIsJudgedByTheGuest(t *testing.T) {
	l := newLab(t)
	old := l.running("old", also("data.vhd", guest.ReFS))
	l.decides(old, hyperv.MethodSavedState, hyperv.ReasonFileSystem)
	vm := l.running("new", system(guest.WindowsServer2012), also("data.vhd", guest.ReFS))
	l.decides(vm, hyperv.MethodChildSnapshot)
	l.write(vm, "D:", dataOff, 'b')
	l.after = func(string, *guest.Snapshot) { l.writeNow(vm, "D:", dataOff, 'a') }
	target := l.mustBackup()
	if got := byteAt(t, volumeIn(t, l.diskIn(target, `D:\VMs\new\data.vhd`), 0), dataOff); got != 'b' {
		t.Errorf("the backup has %q", got)
	}
	l.after = nil
	l.settled()
}

// A backup service that is older than the host's works, and the trace says that it
// is degraded.
func TestDegradedService(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: hyperv.Profile{CurrentService: "6.0.6001.18017"}})
	l.decides(l.running("old"), hyperv.MethodChildSnapshot)
	l.decides(l.running("new", func(c *hyperv.VMConfig) {
		c.Guest.Services = guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18017")
	}), hyperv.MethodChildSnapshot)
	l.mustBackup()
	if e := l.event("hyperv/note"); e.Get("vm") != "old" || e.Get("code") != "IC_DEGRADED" || e.Rule != "R12" {
		t.Errorf("%v", e)
	}
	l.settled()
}

// For some minutes after a boot the guest is not ready for a backup, which can be
// tried again; after a save it is ready at once.
func TestGuestIsBusyAfterItsBoot(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: hyperv.Profile{BusyAfterBoot: 5 * time.Minute}})
	vm := l.running("db", withLedger())
	_, err := l.backup()
	l.failsWith(err, atPrepareSnapshot, retryable, "db: ", "busy")
	l.settled()
	l.advance(5 * time.Minute)
	l.mustBackup()
	l.must(vm.Save(l.ctx()))
	l.must(vm.Start(l.ctx()))
	l.mustBackup()
	l.must(vm.Reset(l.ctx()))
	if _, err := l.backup(); err == nil {
		t.Error("ready at once after a reset")
	}
	l.settled()
}

// A coldRequestor says that its system cannot be backed up while it runs.
type coldRequestor struct{ guest.Requestor }

func (coldRequestor) HotBackup() bool { return false }

// A wrappedRequestor hides what the one inside can do besides.
type wrappedRequestor struct{ guest.Requestor }

func (w wrappedRequestor) Unwrap() guest.Requestor { return w.Requestor }

// A guest that cannot be backed up while it runs is saved, and nothing in it is
// asked to prepare. Its log has event 22, once in each run.
func TestHotBackupUnsupported(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{NewRequestor: func(m *guest.Machine) guest.Requestor {
		if m.System().ComputerName == "COLD" {
			return wrappedRequestor{coldRequestor{guest.DefaultRequestor(m)}}
		}
		return wrappedRequestor{guest.DefaultRequestor(m)}
	}})
	l.decides(l.running("warm"), hyperv.MethodChildSnapshot)
	vm := l.running("cold", withLedger(), func(c *hyperv.VMConfig) { c.Guest.ComputerName = "COLD" })
	l.decides(vm, hyperv.MethodSavedState, hyperv.ReasonHotBackup)
	l.mustBackup()
	l.event("hyperv/save", "vm=cold")
	if list := l.events(inside("cold")); len(list) != 0 {
		t.Errorf("writers inside are asked: %v", list)
	}
	var runs []string
	for _, e := range l.w.Trace().Select("guest/event") {
		if e.Get("id") == "22" {
			runs = append(runs, e.Actor)
		}
	}
	if !slices.Equal(runs, []string{"h1/cold/guest", "h1/cold/guest#2"}) {
		t.Errorf("events 22 in %q", runs)
	}
	l.settled()
}

// A guest that keeps the shadow copies of a volume on another one is saved, also
// after a restart, until it keeps them at home again. Of a volume that the backup
// does not comprise it is of no account.
func TestRedirectedShadowStorage(t *testing.T) {
	l := newLab(t)
	l.lun("lun0", false)
	vm := l.running("db", also("data.vhd", guest.NTFS), withDisk(hyperv.DiskConfig{PassThrough: "lun0"}))
	l.must(vm.Guest().SetShadowStorage(l.ctx(), "E:", "D:"))
	l.decides(vm, hyperv.MethodChildSnapshot)
	l.must(vm.Guest().SetShadowStorage(l.ctx(), "C:", `d:\`))
	l.decides(vm, hyperv.MethodSavedState, hyperv.ReasonShadowStorage)
	if d := vm.Decide().Reasons[0].Detail; d != "C: on D:" {
		t.Errorf("the reason says %q", d)
	}
	l.must(vm.Reset(l.ctx()))
	l.decides(vm, hyperv.MethodSavedState, hyperv.ReasonShadowStorage)
	l.mustBackup()
	l.must(vm.Guest().SetShadowStorage(l.ctx(), "C:", "C:"))
	l.decides(vm, hyperv.MethodChildSnapshot)
	l.mustBackup()
	l.settled()
}

// A disk that has nothing but the guest's page file is in the backup as any other,
// and so is the page file in the saved state: the machine goes on with it.
func TestPageFileDisk(t *testing.T) {
	for _, method := range []mod{stopped, func(*hyperv.VMConfig) {}} {
		l := newLab(t)
		vm := l.running("db", method, also("pagefile.vhd", guest.NTFS), withLedger())
		l.write(vm, "D:", dataOff, 'p')
		l.after = func(string, *guest.Snapshot) { l.writeNow(vm, "D:", dataOff, 'q') }
		target := l.mustBackup()
		l.after = nil
		if got := byteAt(t, volumeIn(t, l.diskIn(target, `D:\VMs\db\pagefile.vhd`), 0), dataOff); got != 'p' {
			t.Errorf("the page file in the backup has %q", got)
		}
		l.remove(vm)
		l.mustRestore(target)
		back := l.h.VM("db")
		l.must(back.Start(l.ctx()))
		var page [1]byte
		l.must(back.Guest().ReadAt(l.ctx(), "D:", dataOff, page[:]))
		if page[0] != 'p' {
			t.Errorf("restored, the guest reads %q", page[0])
		}
		l.goesOn("db")
	}
}

// A Linux on ext4 is saved: its root cannot be snapshotted, and its daemon is
// not asked.
func TestLinuxGuestIsSaved(t *testing.T) {
	l := newLab(t)
	vm := l.running("web", system("Linux 2.6.32"), func(c *hyperv.VMConfig) { c.Disks[0].Format = layout(guest.Ext4) })
	l.decides(vm, hyperv.MethodSavedState, hyperv.ReasonFileSystem)
	l.mustBackup()
	if vm.State() != hyperv.StateRunning {
		t.Errorf("it is %v after the backup", vm.State())
	}
	if n := len(l.events(func(e sim.Event) bool { return e.Kind == "guest/fsfreeze" })); n != 0 {
		t.Errorf("%d file systems were frozen", n)
	}
	if n := len(l.events(func(e sim.Event) bool { return e.Kind == "guest/resume" })); n != 1 {
		t.Errorf("it was resumed %d times", n)
	}
	l.settled()
}

// A guest that had a file system frozen before it was asked is backed up, with a
// warning of the host.
func TestFrozenBeforeTheBackup(t *testing.T) {
	l := newLab(t)
	l.running("db")
	l.after = func(_ string, s *guest.Snapshot) { s.Frozen = []string{"D:"} }
	l.mustBackup()
	l.event("hyperv/event", "vm=db", "id=10150", "volume=D:")
	l.after = nil
	l.settled()
}

// All volumes of a guest that has more than there are letters are of one instant,
// that of the snapshot inside.
func TestGuestOfManyVolumes(t *testing.T) {
	const n = 40
	spec := guest.DiskSpec{Scheme: guest.GPT}
	for range n {
		spec.Partitions = append(spec.Partitions, guest.PartitionSpec{Size: mib, FileSystem: guest.FileSystem{Kind: guest.NTFS}})
	}
	l := newLab(t)
	vm := l.running("db", secondDisk((n+4)*mib, spec))
	l.decides(vm, hyperv.MethodChildSnapshot)
	names := []string{"D:", "Z:", fmt.Sprintf("disk 1 partition %d", n)}
	for _, v := range names {
		l.write(vm, v, dataOff, 'b')
	}
	l.after = func(string, *guest.Snapshot) { // the guest goes on before the host's snapshot
		for _, v := range names {
			l.writeNow(vm, v, dataOff, 'a')
		}
	}
	target := l.mustBackup()
	second := l.diskIn(target, `D:\VMs\db\second.vhd`)
	for _, v := range []int{0, 22, n - 1} {
		if got := byteAt(t, volumeIn(t, second, v), dataOff); got != 'b' {
			t.Errorf("volume %d of the backup has %q", v, got)
		}
	}
	l.after = nil
	l.settled()
}

// A machine does not migrate while a backup is at it, and does afterwards.
func TestMigrationInABackup(t *testing.T) {
	p := newPair(t, sim.Plan("vss/freeze on=h1/db/guest/ledger delay=20s"))
	vm := p.running("db", onShared, withLedger(), onSwitch(p.lan))
	p.advance(3 * time.Second)
	var refused error
	var done *sim.Proc
	p.must(p.w.Do(t.Context(), func(context.Context) error {
		done = p.w.Actor("administrator").Go("waits for the freeze", func(ctx context.Context) error {
			for len(p.events(func(e sim.Event) bool { return e.Kind == "vss/freeze" && strings.HasPrefix(e.Actor, "h1/db/") })) == 0 {
				if err := sim.Sleep(ctx, time.Second); err != nil {
					return err
				}
			}
			_, refused = vm.MigrateTo(ctx, p.h2)
			return nil
		})
		return nil
	}))
	p.must(p.backupOn(p.h))
	p.must(done.Wait(t.Context()))
	if !errors.Is(refused, hyperv.ErrInUse) {
		t.Errorf("the migration in the backup: %v", refused)
	}
	moved, err := vm.MigrateTo(t.Context(), p.h2)
	p.must(err)
	p.advance(3 * time.Second)
	p.must(p.backupOn(p.h2))
	if moved.State() != hyperv.StateRunning {
		t.Errorf("it is %v on h2", moved.State())
	}
}
