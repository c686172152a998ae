package guest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// volumesOf lists the volumes that events of a kind name, in order.
func volumesOf(tr sim.Trace, kind string) []string {
	var list []string
	for _, e := range tr.Select(kind) {
		list = append(list, e.Get("volume"))
	}
	return list
}

// addVolume adds a disk with one volume of a kind that needs room.
func (b *rig) addVolume(signature uint32, kind guest.FileSystemKind) {
	b.t.Helper()
	d := guest.NewDisk(disk.NewMemory(320 << 20))
	fs := guest.FileSystem{Kind: kind}
	if kind >= guest.Ext2 {
		fs.UUID = guid.GUID{byte(signature)}
	} else if kind != guest.NoFileSystem {
		fs.Serial = uint64(signature)
	}
	b.must(guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: signature, Partitions: []guest.PartitionSpec{{FileSystem: fs}}}))
	b.Disks = append(b.Disks, guest.Attachment{Disk: d})
}

// overlay writes what makes a raw volume one of a kind that guest.Format does
// not make.
func (b *rig) overlay(kind guest.FileSystemKind) {
	b.t.Helper()
	v := b.volume(len(b.Disks) - 1)
	write := func(off int64, p string) {
		_, err := v.WriteAt([]byte(p), off)
		b.must(err)
	}
	switch kind {
	case guest.XFS:
		write(0, "XFSB\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x04\x00") // 1024 blocks of 4 KiB
	case guest.Btrfs:
		write(64<<10+64, "_BHRfS_M")
		write(64<<10+112, "\x00\x00\x40\x00\x00\x00\x00\x00") // 4 MiB
		write(64<<10+144, "\x00\x10\x00\x00")
	case guest.UFS:
		write(64<<10+48, "\x00\x80\x00\x00\x00\x10\x00\x00")   // blocks of 32 KiB, fragments of 4
		write(64<<10+1080, "\x00\x04\x00\x00\x00\x00\x00\x00") // 1024 fragments
		write(64<<10+1372, "\x19\x01\x54\x19")
	case guest.ISO9660:
		write(16*2048, "\x01CD001\x01")
		write(16*2048+80, "\x00\x01\x00\x00\x00\x00\x01\x00") // 256 blocks, in either order of bytes
		write(16*2048+128, "\x00\x08\x08\x00")
	case guest.UnknownFileSystem:
		write(0, "hsqs") // SquashFS
	case guest.LinuxSwap:
		write(4096-10, "SWAPSPACE2")
		write(1028, "\xFF\x03\x00\x00") // the last page is 1023
	}
}

// The daemon freezes what the kernel can freeze and passes over the rest, which
// is in the backup all the same.
func TestLinuxFileSystems(t *testing.T) {
	b := newEmptyRig(t)
	b.addVolume(1, guest.Ext4)
	kinds := []guest.FileSystemKind{guest.Ext2, guest.Ext3, guest.FAT32, guest.ReFS, guest.NoFileSystem}
	for i, k := range kinds {
		b.addVolume(uint32(i+2), k)
	}
	overlaid := []guest.FileSystemKind{guest.XFS, guest.Btrfs, guest.LinuxSwap, guest.ISO9660, guest.UnknownFileSystem}
	for i, k := range overlaid {
		b.addVolume(uint32(len(kinds)+i+2), guest.NoFileSystem)
		b.overlay(k)
	}
	kinds = append(kinds, overlaid...)
	b.install(&guest.System{OS: guest.Linux, ComputerName: "web01", Services: guest.IntegrationServices(guest.Linux, "3.1")})
	m := b.boot()
	for i, k := range kinds {
		if got := m.Drives()[i+1].Volume().FileSystem.Kind; got != k {
			t.Fatalf("disk %d holds %v, want %v", i+1, got, k)
		}
	}
	s := b.snapshot(m)
	if len(s.Copies) != 1+len(kinds) {
		t.Errorf("%d copies of %d volumes", len(s.Copies), 1+len(kinds))
	}
	name := func(disks ...int) (list []string) {
		for _, i := range disks {
			list = append(list, m.Drives()[i].Volume().Name())
		}
		return list
	}
	tr := b.world.Trace()
	if got := volumesOf(tr, "guest/fsfreeze"); !slices.Equal(got, name(1, 2, 6, 7, 0)) {
		t.Errorf("frozen: %q", got)
	}
	if got := volumesOf(tr, "guest/fsfreeze-skip"); !slices.Equal(got, name(3, 4, 5, 8, 9, 10)) {
		t.Errorf("skipped: %q", got)
	}
	if got := volumesOf(tr, "guest/fsthaw"); !slices.Equal(got, name(1, 2, 6, 7, 0)) {
		t.Errorf("thawed: %q", got)
	}
	wantReason(t, m.Drives()[3].Freeze(t.Context()), guest.ErrNotFreezable)
}

// What an administrator has frozen does not fail the backup, and the daemon's
// thaw ends it.
func TestLinuxFrozenByTheAdministrator(t *testing.T) {
	b := linuxRig(t)
	m := b.boot()
	d := m.Drives()[1]
	wantReason(t, d.Thaw(), guest.ErrNotFrozen)
	b.must(d.Freeze(t.Context()))
	wantReason(t, d.Freeze(t.Context()), guest.ErrFrozen)
	b.advance(time.Hour) // nothing ends it by itself
	if !d.Held() {
		t.Fatal("the freeze has ended by itself")
	}
	s := b.snapshot(m)
	tr := b.world.Trace()
	if got := volumesOf(tr, "guest/fsfreeze-busy"); !slices.Equal(got, []string{d.Volume().Name()}) {
		t.Errorf("busy: %q", got)
	}
	if got := volumesOf(tr, "guest/fsfreeze"); len(got) != 2 || len(s.Copies) != 3 {
		t.Errorf("frozen: %q; %d copies", got, len(s.Copies))
	}
	if !slices.Equal(s.Frozen, []string{d.Volume().Name()}) {
		t.Errorf("the host is told of %q", s.Frozen)
	}
	b.must(b.requestor(m).Release(t.Context(), s))
	b.settled(m) // nothing is held
	if s := b.snapshot(m); s.Frozen != nil {
		t.Errorf("of a backup after the thaw the host is told of %q", s.Frozen)
	}
}

// Somebody thaws a file system before the daemon does: EINVAL is no failure.
func TestLinuxThawedByTheAdministrator(t *testing.T) {
	b := linuxRig(t, sim.Plan("guest/fsfreeze on=*disk0.1 delay=10s"))
	m := b.boot()
	r := b.requestor(m)
	host := b.vm.Go("host", func(ctx context.Context) error {
		_, err := r.Snapshot(ctx, guest.SnapshotOptions{})
		return err
	})
	b.advance(5 * time.Second)
	b.must(m.Drives()[1].Thaw())
	b.must(b.world.Do(t.Context(), host.Wait))
	if got := volumesOf(b.world.Trace(), "guest/fsthaw"); len(got) != 2 {
		t.Errorf("thawed by the daemon: %q", got)
	}
}

// Whatever ends a backup, everything that was frozen is thawed, and what was not
// reached is never frozen. A freeze may take a quarter of an hour.
func TestLinuxThawsOnEveryWayOut(t *testing.T) {
	for _, plan := range []string{"guest/fsfreeze on=*disk2.1 err=0x8007001F", "guest/fsfreeze on=*disk2.1 hang",
		"guest/fsfreeze on=*disk2.1 kill=."} {
		b := linuxRig(t, sim.Plan(plan))
		m := b.boot()
		start := b.world.Now()
		_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
		if err == nil {
			t.Errorf("%s: no error", plan)
		}
		if took := b.world.Now() - start; plan == "guest/fsfreeze on=*disk2.1 hang" {
			wantReason(t, err, guest.ErrTimeout)
			if took != 15*time.Minute {
				t.Errorf("the freeze was given up after %v", took)
			}
		}
		tr := b.world.Trace()
		frozen, thawed := volumesOf(tr, "guest/fsfreeze"), volumesOf(tr, "guest/fsthaw")
		if want := []string{"disk 1 partition 1"}; !slices.Equal(frozen, want) || !slices.Equal(thawed, want) {
			t.Errorf("%s: frozen %q, thawed %q", plan, frozen, thawed)
		}
		b.settled(m)
	}
}

// The driver of a Linux waits a quarter of an hour for a freeze and half a minute for
// a thaw, that of an old one ten seconds for either; then the backup has failed, and
// everything is thawed.
func TestLinuxRequestsAreAnsweredInTime(t *testing.T) {
	const freeze, thaw = "guest/fsfreeze on=*disk1.1", "guest/fsthaw on=*guest"
	for _, tt := range []struct {
		os        guest.OS
		plan      string
		in, limit time.Duration
	}{
		{"Linux 4.18", freeze, 14 * time.Minute, 15 * time.Minute},
		{guest.Linux, thaw, 29 * time.Second, 30 * time.Second},
		{"Linux 4.10", thaw, 29 * time.Second, 30 * time.Second},
		{"Linux 4.9.3", freeze, 9 * time.Second, 10 * time.Second},
		{"Linux 2.6.32", thaw, 9 * time.Second, 10 * time.Second},
	} {
		for plan, fails := range map[string]bool{tt.plan + " delay=" + tt.in.String(): false, tt.plan + " hang": true} {
			b := linuxRigOf(t, tt.os, sim.Plan(plan))
			m := b.boot()
			start := b.world.Now()
			_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{Timeout: time.Hour})
			took := b.world.Now() - start
			if !fails {
				b.must(err)
				continue
			}
			wantReason(t, err, guest.ErrTimeout)
			if took != tt.limit {
				t.Errorf("%s: %s: given up after %v, want %v", tt.os, plan, took, tt.limit)
			}
			b.settled(m)
		}
	}
}

// Before anything is frozen the driver of a Linux asks its daemon whether the guest can
// be backed up while it runs, and waits for it as for all but a freeze. A driver before
// 4.9 answers by itself, whatever the daemon is at.
func TestLinuxAsksForAHotBackup(t *testing.T) {
	for _, tt := range []struct {
		os    guest.OS
		limit time.Duration // 0: the daemon is not asked
	}{
		{"Linux 4.18", 30 * time.Second},
		{guest.Linux, 30 * time.Second},
		{"Linux 4.10", 30 * time.Second},
		{"Linux 4.9.3", 10 * time.Second},
		{"Linux 4.8", 0},
		{"Linux 2.6.32", 0},
	} {
		for _, plan := range []string{"hang", "err=0x8007001F", "delay=9s", "delay=11s"} {
			b := linuxRigOf(t, tt.os, sim.Plan("guest/hot-backup on=*guest "+plan))
			m := b.boot()
			start := b.world.Now()
			_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{Timeout: time.Hour})
			took := b.world.Now() - start
			switch {
			case tt.limit == 0, plan == "delay=9s", plan == "delay=11s" && tt.limit > 11*time.Second:
				b.must(err)
				continue
			case plan == "err=0x8007001F":
				if err == nil {
					t.Errorf("%s: %s: no error", tt.os, plan)
				}
			default:
				wantReason(t, err, guest.ErrTimeout)
				if took != tt.limit {
					t.Errorf("%s: %s: given up after %v, want %v", tt.os, plan, took, tt.limit)
				}
			}
			if frozen := volumesOf(b.world.Trace(), "guest/fsfreeze"); frozen != nil {
				t.Errorf("%s: %s: frozen: %q", tt.os, plan, frozen)
			}
			b.settled(m)
			b.world.Heal()
			b.snapshot(m)
		}
	}
}

// A daemon that logs to a file system that it has frozen waits for itself until the
// freeze takes too long. Then everything is thawed, and a
// daemon that does not log makes the next backup.
func TestLinuxDaemonThatLogsWhileFrozen(t *testing.T) {
	for os, limit := range map[guest.OS]time.Duration{"Linux 4.18": 15 * time.Minute, "Linux 2.6.32": 10 * time.Second} {
		b := linuxRigOf(t, os)
		logs := true
		b.NewRequestor = func(m *guest.Machine) guest.Requestor { return guest.NewDaemon(m, guest.DaemonOptions{Logs: logs}) }
		m := b.boot()
		start := b.world.Now()
		_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{Timeout: time.Hour})
		wantReason(t, err, guest.ErrTimeout)
		if took := b.world.Now() - start; took != limit {
			t.Errorf("%s: given up after %v, want %v", os, took, limit)
		}
		if thawed := volumesOf(b.world.Trace(), "guest/fsthaw"); len(thawed) != 3 {
			t.Errorf("%s: thawed: %q", os, thawed)
		}
		b.settled(m)
		m.PowerOff()
		logs = false
		b.snapshot(b.boot())
	}
}

// Where the root is nothing that can be frozen a daemon may log.
func TestLinuxDaemonThatLogsElsewhere(t *testing.T) {
	b := newEmptyRig(t)
	b.addDisk(1, guest.NTFS)
	b.addDisk(2, guest.Ext4)
	b.install(&guest.System{OS: "Linux 4.18", ComputerName: "web01", Services: guest.IntegrationServices(guest.Linux, "3.1")})
	b.NewRequestor = func(m *guest.Machine) guest.Requestor { return guest.NewDaemon(m, guest.DaemonOptions{Logs: true}) }
	m := b.boot()
	s := b.snapshot(m)
	if len(s.Copies) != 2 {
		t.Errorf("%d copies", len(s.Copies))
	}
	b.must(b.requestor(m).Release(t.Context(), s))
	b.settled(m)
}

// A daemon that does not run, or dies while it is at work, is a failure.
func TestLinuxWithoutItsDaemon(t *testing.T) {
	b := linuxRig(t)
	m := b.boot()
	b.must(m.StopService(t.Context(), string(guest.BackupService)))
	_, err := m.Requestor()
	wantReason(t, err, guest.ErrNotRunning)

	b = linuxRig(t, sim.Plan("guest/hot-backup on=*guest kill=."))
	m = b.boot()
	_, err = b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
	wantReason(t, err, guest.ErrNotRunning)
	b.settled(m)
	b.world.Heal()
	b.snapshot(m)
}
