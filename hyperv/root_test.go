package hyperv_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// atRoot lays a machine into the root of a volume: its disks are there, and its
// configuration and snapshots in folders right below.
func atRoot(c *hyperv.VMConfig) {
	c.Root = `D:\`
	for i := range c.Disks {
		c.Disks[i].Path = `D:\` + c.Name + []string{"", "-data"}[i] + `.vhd`
	}
}

// A machine in the root of a volume runs, is backed up as any other, and comes back
// there.
func TestMachineInTheRootOfAVolume(t *testing.T) {
	for _, method := range []mod{stopped, func(*hyperv.VMConfig) {}} {
		l := newLab(t)
		vm := l.running("db", also("data.vhd", guest.NTFS), atRoot, method, withLedger("data=D:"))
		how := vm.Decide()
		if want := `D:\Virtual Machines\` + guid.Upper(vm.ID()) + ".xml"; vm.ConfigurationPath() != want || l.linkTo(linkOf(vm)) != want {
			t.Errorf("it is at %s, the link leads to %s", vm.ConfigurationPath(), l.linkTo(linkOf(vm)))
		}
		id, err := vm.Checkpoint(l.ctx(), "before")
		l.must(err)
		if !l.exists(`D:\Snapshots\` + guid.Upper(id) + ".xml") {
			t.Error("the checkpoint is somewhere else")
		}
		_, err = l.backup(func(b *requester.Backup) { b.RefuseRoots = true }) // as Windows Server Backup
		if e, ok := errors.AsType[*requester.Error](err); !ok || !errors.Is(err, requester.ErrAtRoot) || e.On != guid.Upper(vm.ID()) || !strings.Contains(err.Error(), `D:\db`) {
			t.Errorf("%v", err)
		}
		l.settled()
		target := l.mustBackup()
		l.settled()
		was := vm.Configuration().VHDPaths()
		for range 2 {
			l.mustRestore(target)
			back := l.h.VM("db")
			if !slices.Equal(back.Configuration().VHDPaths(), was) || back.Configuration().SnapshotRoot != `D:\` || back.ConfigurationPath() != vm.ConfigurationPath() {
				t.Errorf("%q, snapshots in %s", back.Configuration().VHDPaths(), back.Configuration().SnapshotRoot)
			}
			l.must(back.Start(l.ctx()))
			l.decides(back, how.Method, codesOf(how)...)
			l.must(back.TurnOff(l.ctx()))
			l.must(back.Delete(l.ctx()))
		}
		l.mustRestore(target, func(r *requester.Restore) { // away from the root
			r.NewTarget = func(_ *vss.WriterMetadata, c *vss.ComponentInfo, set vss.FileSet) (string, bool) {
				return `C:\Moved` + strings.TrimRight(set.Path[2:], `\`), c.Name != "InitialStore"
			}
		})
		back := l.h.VM("db")
		if back.ConfigurationPath()[:9] != `C:\Moved\` || back.Configuration().SnapshotRoot != `C:\Moved` {
			t.Errorf("it is at %s, snapshots in %s", back.ConfigurationPath(), back.Configuration().SnapshotRoot)
		}
		l.must(back.Start(l.ctx()))
		l.settledNow()
	}
}

// A machine that is restored to the root of a volume is that machine in every
// respect, wherever its configuration goes: below, or into the root as well.
func TestRestoreToTheRootOfAVolume(t *testing.T) {
	flat := func(r *requester.Restore) {
		r.NewTarget = func(_ *vss.WriterMetadata, c *vss.ComponentInfo, set vss.FileSet) (string, bool) {
			if set.Spec == "*" {
				return `C:\` + c.Name, true
			}
			return `c:/`, c.Name != "InitialStore"
		}
	}
	for name, row := range map[string]struct {
		move   func(*requester.Restore)
		config string
	}{"below": {moveTo(`C:\`), `C:\Virtual Machines\`}, "flat": {flat, `C:\`}} {
		for _, method := range []mod{stopped, func(*hyperv.VMConfig) {}} {
			t.Run(name, func(t *testing.T) {
				l := newLab(t)
				vm := l.running("db", method, also("data.vhd", guest.NTFS), withLedger("data=D:"))
				how := vm.Decide()
				target := l.mustBackup()
				l.remove(vm)
				l.mustRestore(target, row.move)
				back := l.h.VM("db")
				if want := row.config + guid.Upper(vm.ID()) + ".xml"; back.ConfigurationPath() != want || l.linkTo(linkOf(back)) != want {
					t.Errorf("it is at %s, the link leads to %s", back.ConfigurationPath(), l.linkTo(linkOf(back)))
				}
				if paths := back.Configuration().VHDPaths(); !slices.Equal(paths, []string{`C:\system.vhd`, `C:\data.vhd`}) || back.Configuration().SnapshotRoot != `C:\` {
					t.Errorf("%q, snapshots in %s", paths, back.Configuration().SnapshotRoot)
				}
				l.must(back.Start(l.ctx()))
				l.decides(back, how.Method, codesOf(how)...)
				again := l.mustBackup()
				l.mustRestore(again)
				l.must(l.h.VM("db").Start(l.ctx()))
				l.settledNow()
			})
		}
	}
}
