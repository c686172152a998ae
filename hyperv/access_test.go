package hyperv_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// contents restores the contents of files alone.
func contents(r *requester.Restore) { r.WithoutSecurity = true }

// security is a file's own descriptor; of a link, the link's.
func (l *lab) security(path string) string {
	l.t.Helper()
	info, err := l.h.Volume(path[:1]).Lstat(path[2:])
	l.must(err)
	return info.Security()
}

// grant does what icacls /grant does.
func (l *lab) grant(vm *hyperv.VM, paths ...string) {
	l.t.Helper()
	for _, p := range paths {
		l.must(l.h.Grant(p, vm.ID()))
	}
}

// denied checks that an error names the file that a machine has no access to, and
// its account, and that it has the code of that.
func (l *lab) denied(err error, vm *hyperv.VM, path string) {
	l.t.Helper()
	var e *hyperv.AccessError
	switch {
	case !errors.As(err, &e):
		l.t.Errorf("no access to %s: %v", path, err)
	case !volume.Equal(e.Path, path) || e.Account != hyperv.Account(vm.ID()):
		l.t.Errorf("no access to %s: it says %s has none to %s", path, e.Account, e.Path)
	case vss.HRESULTOf(err) != 0x80070005 || !errors.Is(err, fs.ErrPermission) || !errors.Is(err, hyperv.ErrAccessDenied):
		l.t.Errorf("%v is %v", err, vss.HRESULTOf(err))
	case !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), hyperv.Account(vm.ID())) || !strings.Contains(err.Error(), "0x80070005"):
		l.t.Errorf("%v does not say it", err)
	}
}

func TestServiceSID(t *testing.T) {
	id := guid.MustParse("6B2E2F4A-0001-0203-0405-060708090A0B")
	if sid, name := hyperv.ServiceSID(id), hyperv.Account(id); sid != "S-1-5-83-1-1798188874-33751041-117835012-185207048" ||
		name != `NT VIRTUAL MACHINE\6B2E2F4A-0001-0203-0405-060708090A0B` {
		t.Errorf("%s, %s", sid, name)
	}
}

// A machine's account gets access to its configuration, to the link that leads to
// it, and to its VHD files, however it comes by them. What differencing VHDs of
// several machines stand on the accounts of all machines can read.
func TestTheHostGivesAMachinesAccountAccess(t *testing.T) {
	l := newLab(t)
	base := l.base(`D:\Base\base.vhd`)
	l.must(l.h.CreateDisk(l.ctx(), vhdOf(`D:\VMs\more.vhd`)))
	if got := l.security(`D:\VMs\more.vhd`); got != "" {
		t.Errorf("a disk of nobody has %s", got)
	}
	l.must(l.h.Volume("D:").SetSecurity(base[2:], "")) // as one that was copied there
	vm := l.machine("db", child(base), also("data.vhd", guest.NTFS))
	c := vm.Configuration()
	c.Drives = append(c.Drives, hyperv.Drive{Slot: hyperv.Slot{Bus: hyperv.SCSI}, Kind: hyperv.DriveVHD, Path: `D:\VMs\more.vhd`})
	l.must(vm.Configure(l.ctx(), c))
	id := l.checkpoint(vm, "one")
	list := append(vm.Configuration().VHDPaths(), vm.ConfigurationPath(), linkOf(vm), `D:\VMs\db\Snapshots\`+guid.Upper(id)+".xml")
	list = append(list, c.VHDPaths()...)
	if len(list) != 9 {
		t.Fatalf("%q", list)
	}
	for _, path := range list {
		if got, want := l.security(path), "D:(A;;FA;;;"+hyperv.ServiceSID(vm.ID())+")"; got != want {
			t.Errorf("%s has %q, not %q", path, got, want)
		}
	}
	if got, want := l.security(base), "D:(A;;FR;;;"+hyperv.MachinesSID+")"; got != want {
		t.Errorf("%s has %q, not %q", base, got, want)
	}
	l.must(vm.Start(l.ctx()))
	other := l.machine("other", child(base))
	if got, want := l.security(base), "D:(A;;FR;;;"+hyperv.MachinesSID+")"; got != want {
		t.Errorf("under a second machine %s has %q, not %q", base, got, want)
	}
	l.must(other.Start(l.ctx()))
}

// A machine that cannot be made, or whose configuration cannot be changed, leaves
// the descriptors of other files as they were.
func TestAccessIsTakenBack(t *testing.T) {
	l := newLab(t)
	d := l.h.Volume("D:")
	l.must(l.h.CreateDisk(l.ctx(), vhdOf(`D:\a.vhd`)))
	l.must(l.h.CreateDisk(l.ctx(), vhdOf(`D:\b.vhd`)))
	l.must(d.SetSecurity(`\b.vhd`, "who knows"))
	disk := func(path string) mod { return withDisk(hyperv.DiskConfig{Path: path}) }
	if _, err := l.h.CreateVM(l.ctx(), l.config("db", disk(`D:\a.vhd`), disk(`D:\b.vhd`))); !errors.Is(err, volume.ErrInvalidSecurity) {
		t.Errorf("a malformed descriptor: %v", err)
	}
	if got := l.security(`D:\a.vhd`); got != "" || l.exists(`D:\VMs`) {
		t.Errorf("it has %q, and D:\\VMs is there: %v", got, l.exists(`D:\VMs`))
	}
	vm := l.machine("db")
	c := vm.Configuration()
	for i, path := range []string{`D:\a.vhd`, `D:\b.vhd`} {
		c.Drives = append(c.Drives, hyperv.Drive{Slot: hyperv.Slot{Bus: hyperv.SCSI, Drive: i}, Kind: hyperv.DriveVHD, Path: path})
	}
	if err := vm.Configure(l.ctx(), c); !errors.Is(err, volume.ErrInvalidSecurity) {
		t.Errorf("a malformed descriptor: %v", err)
	}
	if got := l.security(`D:\a.vhd`); got != "" || len(vm.Configuration().Drives) != 1 {
		t.Errorf("it has %q; %v", got, vm.Configuration().Drives)
	}
	if err := l.h.Grant(`D:\b.vhd`, vm.ID()); !errors.Is(err, volume.ErrInvalidSecurity) {
		t.Errorf("a malformed descriptor: %v", err)
	}
	for _, path := range []string{`D:\none`, `Q:\none`, ``} {
		if err := l.h.Grant(path, vm.ID()); err == nil {
			t.Errorf("access to %q is given", path)
		}
	}
	l.settledNow()
}

// The account is the machine's, on whichever host: a restore puts its access back,
// in place, at another place, and on another host, by each method.
func TestRestorePutsAccessBack(t *testing.T) {
	for name, how := range map[string]mod{"inside": func(*hyperv.VMConfig) {}, "saved": stopped} {
		for _, where := range []string{"in place", "moved", "another host"} {
			t.Run(name+" "+where, func(t *testing.T) {
				l := newLab(t)
				vm := l.running("db", how, child(l.base(`D:\Base\base.vhd`)))
				l.checkpoint(vm, "one")
				l.write(vm, "C:", 2*mib, 'x')
				target := l.mustBackup()
				var to []func(*requester.Restore)
				switch where {
				case "in place":
					l.remove(vm)
				case "moved":
					l.remove(vm)
					to = append(to, func(r *requester.Restore) {
						r.NewTarget = func(_ *vss.WriterMetadata, _ *vss.ComponentInfo, set vss.FileSet) (string, bool) {
							dir, ok := strings.CutPrefix(set.Path, `D:\VMs\db`)
							return `D:\Elsewhere` + dir, ok
						}
					})
				case "another host":
					l = newLabOf(t, hyperv.HostConfig{Name: "h2"})
				}
				l.mustRestore(target, to...)
				back := l.h.VMByID(vm.ID())
				for _, path := range []string{back.ConfigurationPath(), back.Configuration().VHDPaths()[0], linkOf(vm)} {
					if got := l.security(path); !strings.Contains(got, hyperv.ServiceSID(vm.ID())) {
						t.Errorf("%s has %q", path, got)
					}
				}
				l.must(back.Start(l.ctx()))
				if b := l.reads(back, 2*mib); b != 'x' {
					t.Errorf("the guest reads %q", b)
				}
				l.note()
				l.recovers()
			})
		}
	}
}

// A shadow copy of the host's volume carries the descriptors, so that a backup has
// them whatever becomes of the files, and any target keeps them.
func TestTheShadowCopyCarriesAccess(t *testing.T) {
	l := newLab(t)
	vm := l.running("db")
	var inShadow string
	l.after = func(string, *guest.Snapshot) { // before the shadow copy is made
		l.must(l.h.Volume("D:").SetSecurity(`\VMs\db\system.vhd`, "D:(A;;FA;;;BA)(A;;FA;;;"+hyperv.ServiceSID(vm.ID())+")"))
	}
	dir, err := requester.OpenDirectory(t.TempDir())
	l.must(err)
	defer dir.Close()
	l.mustBackup(func(r *requester.Backup) { r.Target = dir })
	inShadow = l.security(`D:\VMs\db\system.vhd`)
	l.remove(vm)
	l.mustRestore(dir)
	if got := l.security(`D:\VMs\db\system.vhd`); got != inShadow || !strings.HasPrefix(got, "D:(A;;FA;;;BA)") {
		t.Errorf("it has %q; it had %q", got, inShadow)
	}
	l.must(l.h.VM("db").Start(l.ctx()))
}

// A restore of the contents alone registers the machine, which does not start until
// its account has access again to every file: the start says which it misses, the
// machine is as it was, and backups go on. A saved machine stays saved and then goes
// on from where it was.
func TestRestoreOfContentsAlone(t *testing.T) {
	for name, how := range map[string]mod{"inside": func(*hyperv.VMConfig) {}, "saved": stopped} {
		for _, other := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				l := newLab(t)
				base := l.base(`D:\Base\base.vhd`)
				vm := l.running("db", how, child(base), also("data.vhd", guest.NTFS))
				l.checkpoint(vm, "one")
				l.write(vm, "C:", 2*mib, 'x')
				target := l.mustBackup()
				if other {
					l = newLabOf(t, hyperv.HostConfig{Name: "h2"})
				} else {
					l.remove(vm)
					l.must(l.h.Volume("D:").RemoveAll(`\VMs`))
					l.must(l.h.Volume("D:").RemoveAll(`\Base`))
				}
				l.mustRestore(target, contents)
				back := l.h.VMByID(vm.ID())
				state := back.State()
				disks := back.Configuration().VHDPaths()
				// The account needs them in the order in which they are opened: each disk
				// of the machine, and the one of the checkpoint that it stands on.
				missing := []string{back.ConfigurationPath(), disks[0], `D:\VMs\db\system.vhd`, base, disks[1], `D:\VMs\db\data.vhd`}
				for _, path := range missing {
					l.denied(back.Start(l.ctx()), back, path)
					if e := l.event("vm/access-denied", "path="+path); e.Get("account") != hyperv.Account(vm.ID()) {
						t.Errorf("the trace has %v", e)
					}
					if back.State() != state || back.Guest() != nil {
						t.Errorf("it is %v and was %v", back.State(), state)
					}
					l.note()
					l.settled()
					l.grant(back, path)
				}
				l.must(back.Start(l.ctx()))
				if b := l.reads(back, 2*mib); b != 'x' {
					t.Errorf("the guest reads %q", b)
				}
				l.note()
				l.recovers()
			})
		}
	}
}

// Files that are still there keep their descriptors when they are overwritten, so
// that only the configuration, which was deleted, is without; the link is the
// host's, which makes it anew.
func TestContentsOverFilesThatAreThere(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	target := l.mustBackup()
	l.mustRestore(target, contents)
	back := l.h.VM("db")
	l.denied(back.Start(l.ctx()), back, vm.ConfigurationPath())
	l.grant(back, vm.ConfigurationPath())
	l.must(back.Start(l.ctx()))
}

// A link that somebody made by hand has no entry of the machine.
func TestALinkWithoutAccess(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	at := linkOf(vm)
	l.must(l.h.Volume("C:").Remove(at[2:]))
	l.must(l.h.Volume("C:").Symlink(vm.ConfigurationPath(), at[2:]))
	l.denied(vm.Start(l.ctx()), vm, at)
	l.grant(vm, at)
	l.must(vm.Start(l.ctx()))
	if got := l.security(vm.ConfigurationPath()); strings.Count(got, "(") != 1 {
		t.Errorf("the configuration has %q", got)
	}
}

// A machine whose files were copied by hand does not start when the host finds it at
// its boot; an import gives its account access. What a folder has for the files in it
// counts for each that has nothing of its own.
func TestFilesCopiedByHand(t *testing.T) {
	for _, how := range []string{"found", "imported", "inherits", "ignored"} {
		l := newLab(t)
		from := l.machine("db")
		var c hyperv.HostConfig
		c.Name, c.Profile.Policy.IgnoreSecurity = "h2", how == "ignored"
		to := newLabOf(t, c)
		l.must(volume.CopyFS(to.h.Volume("D:").FS(), ".", l.h.Volume("D:").FS()))
		if how == "imported" {
			vm, err := to.h.Register(to.ctx(), from.ConfigurationPath())
			to.must(err)
			to.must(vm.Start(to.ctx()))
			continue
		}
		at := linkOf(from)[2:]
		to.must(to.h.Volume("C:").MkdirAll(volume.Dir(at)))
		to.must(to.h.Volume("C:").Symlink(from.ConfigurationPath(), at))
		to.h.PowerOff()
		to.must(to.h.Boot(to.ctx()))
		vm := to.h.VM("db")
		if how != "ignored" {
			to.denied(vm.Start(to.ctx()), vm, from.ConfigurationPath())
		}
		if how == "inherits" {
			to.must(to.h.Volume("D:").SetSecurity(`\VMs`, "D:(A;OICI;FA;;;"+hyperv.MachinesSID+")"))
			to.must(to.h.Volume("C:").SetSecurity(`\`, "D:(A;OICI;FA;;;"+hyperv.MachinesSID+")"))
		}
		if how == "found" {
			to.grant(vm, from.ConfigurationPath(), linkOf(from), `D:\VMs\db\system.vhd`)
		}
		to.must(vm.Start(to.ctx()))
		to.settledNow()
	}
}

// Whoever takes the access away from a machine that executes finds that it does not
// come back from a backup in the saved state: the audit says so, until it has access
// and is started.
func TestAccessLostDuringABackup(t *testing.T) {
	l := newLab(t)
	vm := l.running("db", stopped)
	l.write(vm, "C:", 2*mib, 'x')
	l.must(l.h.Volume("D:").SetSecurity(`\VMs\db\system.vhd`, "D:P(A;;FR;;;WD)"))
	_, err := l.backup()
	l.failsWith(err, vss.StateFailedAtPostSnapshot, vss.ErrWriterErrorNonRetryable,
		`D:\VMs\db\system.vhd`, hyperv.Account(vm.ID()), "0x80070005")
	if left := hyperv.Audit(l.h); len(left) != 1 || left[0].On != "db" || vm.State() != hyperv.StateSaved {
		t.Errorf("db is %v; left over: %v", vm.State(), left)
	}
	l.grant(vm, `D:\VMs\db\system.vhd`)
	l.must(vm.Start(l.ctx()))
	if b := l.reads(vm, 2*mib); b != 'x' {
		t.Errorf("the guest reads %q", b)
	}
	l.note()
	l.recovers()
}

// A merge fails without access to either disk, with the code in the entry that
// reports it; the chain stays, and it is tried again when the machine next stops.
func TestMergeWithoutAccess(t *testing.T) {
	for _, off := range []bool{false, true} {
		for i := range 2 {
			l := newLab(t)
			vm := l.running("db")
			l.write(vm, "C:", 2*mib, '1')
			id := l.checkpoint(vm, "one")
			l.write(vm, "C:", 2*mib, '2')
			paths := []string{`D:\VMs\db\system.vhd`, vm.Configuration().VHDPaths()[0]}
			if off {
				l.must(vm.TurnOff(l.ctx()))
			}
			l.must(l.h.Volume("D:").SetSecurity(paths[i][2:], ""))
			err := vm.DeleteCheckpoint(l.ctx(), id)
			if off {
				l.denied(err, vm, paths[i])
			} else {
				l.must(err)
				l.must(vm.TurnOff(l.ctx()))
			}
			l.advance(time.Second)
			e := l.event("vm/merge-failed")
			if e.Get("id") != "19100" || !strings.Contains(e.Get("because"), "0x80070005") || !strings.Contains(e.Get("because"), paths[i]) {
				t.Errorf("%v", e)
			}
			if got := vm.Configuration(); !got.MergePending || got.VHDPaths()[0] != paths[1] || len(hyperv.Audit(l.h)) != 1 {
				t.Errorf("pending: %v, disks %q, audit %v", got.MergePending, got.VHDPaths(), hyperv.Audit(l.h))
			}
			l.grant(vm, paths[i])
			l.must(vm.Start(l.ctx()))
			l.must(vm.TurnOff(l.ctx()))
			l.advance(time.Second)
			if got := vm.Configuration(); got.MergePending || !slices.Equal(got.VHDPaths(), paths[:1]) {
				t.Errorf("pending: %v, disks %q", got.MergePending, got.VHDPaths())
			}
			l.must(vm.Start(l.ctx()))
			if b := l.reads(vm, 2*mib); b != '2' {
				t.Errorf("the guest reads %q", b)
			}
			l.settledNow()
		}
	}
}

// A machine whose account has lost its access does not migrate, and runs on where it
// is, with what it has open.
func TestMigrationWithoutAccess(t *testing.T) {
	p := newPair(t)
	vm := p.running("db", onShared)
	disk := vm.Configuration().VHDPaths()[0]
	p.must(p.shared.SetSecurity(disk[2:], "D:P"))
	_, err := vm.MigrateTo(p.ctx(), p.h2)
	p.denied(err, vm, disk)
	if vm.State() != hyperv.StateRunning || len(p.h2.VMs()) != 0 {
		t.Errorf("db is %v, %d machines are on h2", vm.State(), len(p.h2.VMs()))
	}
	p.grant(vm, disk)
	moved, err := vm.MigrateTo(p.ctx(), p.h2)
	p.must(err)
	if got := moved.State(); got != hyperv.StateRunning {
		t.Errorf("db is %v", got)
	}
}
