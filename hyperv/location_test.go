package hyperv_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
)

// The volume that a link leads to is missing later: the machine is listed no more when
// the host boots, which says so; it is back with the volume, and can be restored over
// the link that led nowhere.
func TestLinkToAMissingVolume(t *testing.T) {
	l := newLab(t)
	shared, err := hyperv.NewSharedVolume(l.w, hyperv.VolumeConfig{Letter: "S:"})
	l.must(err)
	l.must(l.h.Mount(hyperv.Mount{Volume: shared}))
	vm := l.machine("db", below(`S:\VMs\db`))
	stays := l.machine("stays")
	target := l.mustBackup(only("db"))
	boot := func() error {
		l.h.PowerOff()
		return l.h.Boot(l.ctx())
	}
	l.h.Unmount(shared)
	if err := vm.Start(l.ctx()); !errors.Is(err, fs.ErrNotExist) || vm.State() != hyperv.StateOff {
		t.Errorf("it starts: %v", err)
	}
	if err := boot(); err == nil || l.h.VM("db") != nil || l.h.VM("stays") == nil {
		t.Errorf("%v; %s", err, l.describe())
	}
	left := hyperv.Audit(l.h)
	if len(left) != 1 || left[0].On != volume.Base(linkOf(vm)) || !errors.Is(left[0].Err, fs.ErrNotExist) {
		t.Errorf("the audit says %v", left)
	}
	l.mustBackup() // of those that are there
	l.must(l.h.Mount(hyperv.Mount{Volume: shared}))
	l.must(boot())
	if back := l.h.VM("db"); back == nil || back.ConfigurationPath() != vm.ConfigurationPath() {
		t.Fatalf("%s", l.describe())
	}
	l.must(l.h.VM("db").Start(l.ctx()))
	l.settledNow()

	l.h.Unmount(shared)
	if err := boot(); err == nil || l.h.VM("db") != nil {
		t.Errorf("%v; %s", err, l.describe())
	}
	l.mustRestore(target, moveTo(`D:\Moved`))
	back := l.h.VM("db")
	if l.linkTo(linkOf(back)) != back.ConfigurationPath() || back.ID() != vm.ID() || l.h.VM("stays").ID() != stays.ID() {
		t.Errorf("the link leads to %s", l.linkTo(linkOf(back)))
	}
	l.must(back.Start(l.ctx()))
}

// A VHD file that another machine has open keeps the restore from writing it: 0x80070020,
// with the path; the other machine runs on.
func TestRestoreOfAVHDOfAnotherMachine(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	target := l.mustBackup()
	l.must(vm.Delete(l.ctx())) // its disk stays
	thief := l.machine("thief", func(c *hyperv.VMConfig) {
		c.Disks, c.Guest = []hyperv.DiskConfig{{Path: `D:\VMs\db\system.vhd`}}, nil
	})
	l.must(thief.Start(l.ctx()))
	report, err := l.restore(target, onlyRestore("db"))
	if !errors.Is(err, volume.ErrSharingViolation) || report.Components[0].Status == vss.FilesAll || vss.HRESULTOf(report.Components[0].Err) != 0x80070020 {
		t.Errorf("%v; %+v", err, report.Components)
	}
	if l.h.VM("db") != nil || thief.State() != hyperv.StateRunning {
		t.Errorf("%s", l.describe())
	}
	l.settledNow()
	l.must(thief.TurnOff(l.ctx()))
	l.mustRestore(target, onlyRestore("db"))
	l.must(l.h.VM("db").Start(l.ctx()))
	if err := thief.Start(l.ctx()); !errors.Is(err, volume.ErrSharingViolation) || vss.HRESULTOf(err) != 0x80070020 {
		t.Errorf("both run: %v", err)
	}
}

// In the default location, where a machine's own file goes, stands a link of its name to
// another machine's configuration: the file takes the place of the link, and is not
// written over what that leads to.
func TestRestoreOverTheLinkOfAnother(t *testing.T) {
	l := newLab(t)
	one, two := l.machine("one"), l.machine("two", func(c *hyperv.VMConfig) { c.Root = "" })
	target := l.mustBackup()
	l.remove(two)
	was := string(l.bytes(one.ConfigurationPath()))
	l.must(l.h.Volume("C").Symlink(one.ConfigurationPath(), linkOf(two)[2:]))
	l.mustRestore(target, onlyRestore("two"))
	if string(l.bytes(one.ConfigurationPath())) != was || l.linkTo(linkOf(two)) != "" || l.h.VM("two").ConfigurationPath() != linkOf(two) {
		t.Errorf("the link leads to %q, %s", l.linkTo(linkOf(two)), l.describe())
	}
	l.must(l.h.VM("one").Start(l.ctx()))
	l.must(l.h.VM("two").Start(l.ctx()))
	l.settledNow()
}
