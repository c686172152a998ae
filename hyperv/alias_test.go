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

// twoNames is a lab whose volume E: is seen in a folder of C: as well.
func twoNames(t *testing.T) *lab {
	return newLabOf(t, hyperv.HostConfig{Volumes: []hyperv.VolumeConfig{{Letter: "C:"}, {Letter: "D:"}, {Letter: "E:", Folder: `c:/mnt\e`}}})
}

// below lays a machine below a root.
func below(root string) mod {
	return func(c *hyperv.VMConfig) {
		c.Root = root
		for i := range c.Disks {
			c.Disks[i].Path = root + c.Disks[i].Path[strings.LastIndexByte(c.Disks[i].Path, '\\'):]
		}
	}
}

// renamed restores everything below another name of its place.
func renamed(from, to string) func(*requester.Restore) {
	return func(r *requester.Restore) {
		r.NewTarget = func(_ *vss.WriterMetadata, c *vss.ComponentInfo, set vss.FileSet) (string, bool) {
			rest, ok := strings.CutPrefix(set.Path, from)
			return to + rest, ok
		}
	}
}

// One volume under two names: what is restored under the one is where the other
// says, so nothing is edited, and the machine is registered at the same place.
func TestRestoreUnderAnotherNameOfTheVolume(t *testing.T) {
	for _, root := range []string{`E:\VMs\db`, `C:\mnt\e\VMs\db`, `c:\MNT\E\VMs\db`} {
		for _, method := range []mod{stopped, func(*hyperv.VMConfig) {}} {
			l := twoNames(t)
			vm := l.running("db", method, also("data.vhd", guest.NTFS), below(root), withLedger("data=D:"))
			at := `E:\VMs\db\Virtual Machines\` + guid.Upper(vm.ID()) + ".xml"
			if vm.ConfigurationPath() != at || l.linkTo(linkOf(vm)) != at {
				t.Errorf("%s: it is at %s, the link leads to %s", root, vm.ConfigurationPath(), l.linkTo(linkOf(vm)))
			}
			how := vm.Decide()
			if how.Has(hyperv.ReasonSnapshotLocation) {
				t.Errorf("%s: %v", root, how)
			}
			target := l.mustBackup()
			l.settled()
			was := vm.Configuration()
			for _, to := range []string{`E:\VMs`, `C:\mnt\e\VMs`, `c:/mnt/E\vms\`} {
				l.mustRestore(target, renamed(`E:\VMs`, to))
				back := l.h.VM("db")
				if c := back.Configuration(); back.ConfigurationPath() != at || !slices.Equal(c.VHDPaths(), was.VHDPaths()) || c.SnapshotRoot != was.SnapshotRoot || l.linkTo(linkOf(back)) != at {
					t.Errorf("%s to %s: it is at %s with %q, snapshots in %s", root, to, back.ConfigurationPath(), c.VHDPaths(), c.SnapshotRoot)
				}
				if n := len(l.w.Trace().Select("hyperv/update-vhd")) + len(l.w.Trace().Select("vm/configure")); n != 0 {
					t.Errorf("%s to %s: the configuration was changed", root, to)
				}
				l.must(back.Start(l.ctx()))
				l.decides(back, how.Method, codesOf(how)...)
			}
			l.mustRestore(l.mustBackup())
			l.settledNow()
		}
	}
}

// A machine that moves to the volume by its other name is known by the letter.
func TestRestoreThroughAFolder(t *testing.T) {
	l := twoNames(t)
	vm := l.running("db", withLedger())
	target := l.mustBackup()
	l.mustRestore(target, moveTo(`C:\mnt\e\Moved`))
	back := l.h.VM("db")
	if want := `E:\Moved\Virtual Machines\` + guid.Upper(vm.ID()) + ".xml"; back.ConfigurationPath() != want || !slices.Equal(back.Configuration().VHDPaths(), []string{`E:\Moved\system.vhd`}) || back.Configuration().SnapshotRoot != `E:\Moved` {
		t.Errorf("it is at %s, %+v", back.ConfigurationPath(), back.Configuration())
	}
	l.must(back.Start(l.ctx()))
	l.decides(back, hyperv.MethodChildSnapshot)
	target = l.mustBackup()
	if !l.exists(`E:\Moved\system.vhd`) || len(l.bytesIn(target, `E:\Moved\system.vhd`)) == 0 {
		t.Error("the backup has the disk elsewhere")
	}
	l.settled()
}

// A chain whose files are named by both names of their volume is one chain: nothing
// is relinked, and a parent that was moved through the folder is found.
func TestChainUnderTwoNames(t *testing.T) {
	l := twoNames(t)
	base := l.base(`C:\mnt\e\Base\base.vhd`)
	vm := l.running("db", child(base))
	target := l.mustBackup()
	if !slices.Equal(l.bytesIn(target, `E:\Base\base.vhd`), l.bytes(base)) {
		t.Error("the parent is not in the backup")
	}
	l.must(vm.TurnOff(l.ctx()))
	l.mustRestore(target, renamed(`E:\Base`, `C:\mnt\e\Base`))
	if n := len(l.w.Trace().Select("hyperv/relink-vhd")); n != 0 {
		t.Error("the same parent is linked anew")
	}
	l.must(l.h.VM("db").Start(l.ctx()))
	l.must(l.h.VM("db").TurnOff(l.ctx()))
	l.must(l.h.Volume("E").Remove(`\Base\base.vhd`))
	l.mustRestore(target, renamed(`E:\Base`, `C:\mnt\e\Other`))
	if e := l.event("hyperv/relink-vhd"); e.Get("parent") != `E:\Other\base.vhd` {
		t.Errorf("%v", e)
	}
	l.must(l.h.VM("db").Start(l.ctx()))
	l.settledNow()
}

// A VHD that was restored through a link within its volume is where the link leads.
func TestRestoreThroughALink(t *testing.T) {
	l := newLab(t)
	l.machine("db")
	target := l.mustBackup()
	l.must(l.h.Volume("D").Symlink(`\VMs\db`, `\short`))
	l.mustRestore(target, renamed(`D:\VMs\db`, `D:\short`))
	if n := len(l.w.Trace().Select("hyperv/update-vhd")); n != 0 {
		t.Error("the configuration was changed")
	}
	l.must(l.h.VM("db").Start(l.ctx()))
	l.must(l.h.VM("db").TurnOff(l.ctx()))
	l.must(l.h.Volume("C").Mkdir(`\Far`))
	l.must(l.h.Volume("D").Symlink(`C:\Far`, `\far`)) // and one out of the volume
	l.mustRestore(target, func(r *requester.Restore) {
		r.NewTarget = func(_ *vss.WriterMetadata, _ *vss.ComponentInfo, set vss.FileSet) (string, bool) {
			return `D:\far`, set.Spec == "system.vhd"
		}
	})
	if paths := l.h.VM("db").Configuration().VHDPaths(); paths[0] != `C:\Far\system.vhd` {
		t.Errorf("%q", paths)
	}
	l.must(l.h.VM("db").Start(l.ctx()))
}

// Folders in which a volume cannot be seen, and the root of one that can, which is no
// VHD file.
func TestFoldersOfVolumes(t *testing.T) {
	for name, folder := range map[string]string{"its own root": `E:\`, "no volume": `X:\e`, "no path": `C:\a?`, "relative": `mnt`} {
		w := newLab(t).w
		_, err := hyperv.NewHost(w, hyperv.HostConfig{Name: "h2", Volumes: []hyperv.VolumeConfig{{Letter: "C:"}, {Letter: "E:", Folder: folder}}})
		var e *hyperv.Error
		if !errors.Is(err, hyperv.ErrParameter) || !errors.As(err, &e) || e.On != folder {
			t.Errorf("%s: %v", name, err)
		}
	}
	l := twoNames(t)
	vm := l.machine("db", below(`E:\VMs\db`))
	c := vm.Configuration()
	c.Drives[0].Path = `C:\mnt\e`
	l.must(vm.Configure(l.ctx(), c))
	m, err := l.h.Management().Machine(l.ctx(), vm.ID())
	l.must(err)
	if !errors.Is(m.Broken, hyperv.ErrConfiguration) || !strings.Contains(m.Broken.Error(), "mnt") {
		t.Errorf("%v", m.Broken)
	}
}

// A host whose configurations go below the folder by default has them on the volume
// itself, and needs no links.
func TestDefaultLocationInAFolder(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Root: `C:\mnt\e\Hyper-V`, Volumes: []hyperv.VolumeConfig{{Letter: "C:"}, {Letter: "E:", Folder: `C:\mnt\e`}}})
	vm, err := l.h.CreateVM(l.ctx(), hyperv.VMConfig{Name: "db"})
	l.must(err)
	if l.h.Root() != `E:\Hyper-V` || vm.ConfigurationPath() != `E:\Hyper-V\Virtual Machines\`+guid.Upper(vm.ID())+".xml" || len(l.w.Trace().Select("vm/link")) != 0 {
		t.Errorf("%s, %s", l.h.Root(), vm.ConfigurationPath())
	}
	l.mustRestore(l.mustBackup())
	l.settledNow()
}

// Short names are not known: a path with one is a path of its own, and what is
// restored there is found there.
func TestRestoreUnderAShortName(t *testing.T) {
	l := newLab(t)
	l.machine("database")
	target := l.mustBackup()
	l.mustRestore(target, renamed(`D:\VMs\database`, `D:\VMs\DATABA~1`))
	back := l.h.VM("database")
	if paths := back.Configuration().VHDPaths(); paths[0] != `D:\VMs\DATABA~1\system.vhd` || l.linkTo(linkOf(back)) != back.ConfigurationPath() || !strings.HasPrefix(back.ConfigurationPath(), `D:\VMs\DATABA~1\`) {
		t.Errorf("%q, %s", paths, back.ConfigurationPath())
	}
	l.must(back.Start(l.ctx()))
	l.settledNow()
}
