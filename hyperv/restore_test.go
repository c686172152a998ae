package hyperv_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// What PreRestore does to a machine of the same identity, by what that is doing.
func TestPreRestoreByState(t *testing.T) {
	for _, state := range []hyperv.State{hyperv.StateOff, hyperv.StateRunning, hyperv.StatePaused, hyperv.StateSaved, hyperv.StateStarting, 0} {
		name := state.String()
		if state == 0 {
			name = "none"
		}
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			vm := l.machine("db", withLedger())
			id := vm.ID()
			target := l.mustBackup()
			var starting *sim.Proc
			switch state {
			case 0:
				l.remove(vm)
			case hyperv.StateStarting:
				starting = l.w.Actor("administrator").Go("start", vm.Start)
				l.advance(time.Second)
				if vm.State() != state {
					t.Fatalf("db is %v", vm.State())
				}
			default:
				l.into(vm, state)
			}
			l.mustRestore(target)
			if starting != nil {
				if err := starting.Wait(l.ctx()); err != nil {
					t.Logf("the start ended with %v", err)
				}
			}
			back := l.h.VMByID(id)
			if back == nil || back == vm || back.State() != hyperv.StateOff || len(l.h.VMs()) != 1 {
				t.Errorf("restored: %v; %s", back, l.describe())
			}
			for _, left := range hyperv.Audit(l.h) {
				t.Errorf("%v", left)
			}
			l.must(back.Start(l.ctx()))
		})
	}
}

// A machine of the same name with another identity is another machine.
func TestRestoreBesideANamesake(t *testing.T) {
	l := newLab(t)
	vm := l.running("db")
	target := l.mustBackup()
	l.remove(vm)
	other := l.running("db", func(c *hyperv.VMConfig) {
		c.Root, c.SnapshotRoot, c.Disks[0].Path = `C:\VMs\db`, "", `C:\VMs\db\system.vhd`
	})
	l.mustRestore(target)
	if other.State() != hyperv.StateRunning || l.h.VMByID(vm.ID()) == nil || len(l.h.VMs()) != 2 {
		t.Errorf("%s", l.describe())
	}
	l.must(l.h.VMByID(vm.ID()).Start(l.ctx()))
	if l.w.Find("h1/db#2") == nil {
		t.Error("the two have one worker process")
	}
}

// A machine that another operation holds keeps the restore from touching any.
func TestRestoreOfAMachineThatIsHeld(t *testing.T) {
	l := newLab(t)
	first, held := l.running("first"), l.running("held")
	target := l.mustBackup()
	l.must(held.Lock("export"))
	report, err := l.restore(target)
	st := report.Writers[0]
	if err == nil || st.State != vss.StateFailedAtPreRestore || st.Code != nonRetryable || !strings.Contains(st.Message, "export") {
		t.Errorf("%+v, %v", st, err)
	}
	if l.h.VM("first") != first || first.State() != hyperv.StateRunning || held.State() != hyperv.StateRunning || report.Files > 1 {
		t.Errorf("%s; %d files", l.describe(), report.Files)
	}
	held.Unlock()
	l.mustRestore(target)
}

// A machine that cannot be deleted: the ones before it are gone by then, no file
// is put back, and the same once more succeeds.
func TestRestoreFailsInPreRestore(t *testing.T) {
	l := newLab(t, sim.Plan("hyperv/delete on=h1/two err=0x80070005"))
	for _, name := range []string{"one", "two", "three"} {
		l.running(name)
	}
	target := l.mustBackup()
	report, err := l.restore(target)
	st := report.Writers[0]
	if err == nil || st.State != vss.StateFailedAtPreRestore || st.Code != nonRetryable || !strings.Contains(st.Message, "0x80070005") {
		t.Errorf("%+v, %v", st, err)
	}
	if l.h.VM("one") != nil || l.h.VM("two") == nil || l.h.VM("three") == nil || l.h.VM("three").State() != hyperv.StateRunning {
		t.Errorf("%s", l.describe())
	}
	for _, e := range l.w.Trace().Select("requester/restore") {
		if !strings.Contains(e.Get("file"), "InitialStore") {
			t.Errorf("%v", e)
		}
	}
	l.mustRestore(target)
	if len(l.h.VMs()) != 3 {
		t.Errorf("%s", l.describe())
	}
}

// The status of every component is looked at; the machines whose files are all
// there are registered, and the writer fails for the sake of the others.
func TestPostRestoreByStatus(t *testing.T) {
	l := newLab(t)
	statuses := map[string]vss.FileRestoreStatus{
		"forgotten": vss.FilesUndefined, "none": vss.FilesNone, "good": vss.FilesAll, "failed": vss.FilesFailed, "also good": vss.FilesAll,
	}
	ids := make(map[string]vss.FileRestoreStatus)
	for _, name := range []string{"forgotten", "none", "good", "failed", "also good"} {
		ids[guid.Upper(l.machine(name).ID())] = statuses[name]
	}
	st := l.restoreBy(l.mustBackup(), ids)
	if st.State != vss.StateFailedAtPostRestore || st.Code != nonRetryable || strings.Count(st.Message, "were not all restored") != 3 {
		t.Errorf("%+v", st)
	}
	for name, status := range statuses {
		if registered := l.h.VM(name) != nil; registered != (status == vss.FilesAll) {
			t.Errorf("%s with %v is registered: %v", name, status, registered)
		}
	}
	if n := len(l.w.Trace().Select("hyperv/file-restore-status")); n != len(ids) {
		t.Errorf("%d statuses were asked for", n)
	}
}

// Failures of a restore, each of which the writer reports with the component of
// the machine, and after which the same restore succeeds.
func TestRestoreFailures(t *testing.T) {
	for _, f := range []struct {
		name, plan string
		damage     func(l *lab) // before PostRestore
		says       string
	}{
		{name: "no file", plan: "requester/restore nth=1 err=0x80070070", says: "VSS_RS_NONE"},
		{name: "some files", plan: "requester/restore nth=2 err=0x80070070", says: "VSS_RS_FAILED"},
		{name: "register", plan: "hyperv/register on=h1 nth=4 err=0x80070020", says: "0x80070020"},
		{name: "configuration is no XML", says: "configuration cannot be read", damage: func(l *lab) {
			l.must(l.h.Volume("D").WriteFile(l.configOf("two"), []byte("no XML")))
		}},
		{name: "configuration is missing", says: "file not found", damage: func(l *lab) {
			l.must(l.h.Volume("D").Remove(l.configOf("two")))
		}},
		{name: "configuration is another's", says: "describes another machine", damage: func(l *lab) {
			l.must(l.h.Volume("D").WriteFile(l.configOf("two"), l.bytes("D:"+l.configOf("one"))))
		}},
		{name: "link is a file", says: "ERROR_ALREADY_EXISTS", damage: func(l *lab) {
			l.must(l.h.Volume("C").WriteFile(l.linkPath("two"), []byte("x")))
		}},
		{name: "link is another's", says: "ERROR_ALREADY_EXISTS", damage: func(l *lab) {
			l.must(l.h.Volume("C").Symlink("D:"+l.configOf("one"), l.linkPath("two")))
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			var plans []string
			if f.plan != "" {
				plans = append(plans, f.plan)
			}
			l := newLabOf(t, hyperv.HostConfig{Profile: inOrder}, sim.Plan(plans...))
			one, two := l.machine("one"), l.machine("two")
			target := l.mustBackup()
			report, err := l.restore(spyDone{target, func() {
				if f.damage != nil {
					f.damage(l)
				}
			}})
			if err == nil || len(l.w.Unreached()) > 0 {
				t.Fatalf("%v, never reached: %v", err, l.w.Unreached())
			}
			st := report.Writers[0]
			if st.State != vss.StateFailedAtPostRestore || st.Code != nonRetryable || !strings.Contains(st.Message, f.says) {
				t.Errorf("%+v, want %q", st, f.says)
			}
			bad := two
			if strings.HasPrefix(f.plan, "requester/restore") {
				bad = one
			}
			if l.h.VMByID(bad.ID()) != nil || len(l.h.VMs()) != 1 || !strings.Contains(st.Message, guid.Upper(bad.ID())) {
				t.Errorf("%s; %s", l.describe(), st.Message)
			}
			for _, left := range hyperv.Audit(l.h) {
				t.Errorf("%v", left)
			}
			if strings.HasPrefix(f.name, "link") { // somebody else's stays
				if !l.exists("C:" + l.linkPath("two")) {
					t.Error("the other's file is gone")
				}
				l.must(l.h.Volume("C").Remove(l.linkPath("two")))
			}
			l.mustRestore(target)
			if len(l.h.VMs()) != 2 {
				t.Errorf("%s", l.describe())
			}
		})
	}
}

// spyDone tells when the last file of a backup has been opened for the second
// time: it is that of the authorization store, and the files are all put back.
type spyDone struct {
	*requester.Memory
	done func()
}

func (s spyDone) Open(name string) (f fsFile, err error) {
	f, err = s.Memory.Open(name)
	if err == nil && strings.HasSuffix(name, "InitialStore.xml") {
		s.done()
	}
	return f, err
}

// configOf is the configuration of a machine on D:, wherever it is registered.
func (l *lab) configOf(name string) string {
	l.t.Helper()
	entries, err := l.h.Volume("D").ReadDir(`\VMs\` + name + `\Virtual Machines`)
	l.must(err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".xml") {
			return `\VMs\` + name + `\Virtual Machines\` + e.Name()
		}
	}
	l.t.Fatalf("%s has no configuration", name)
	return ""
}

// linkPath is where the link of a machine on D: belongs, on C:.
func (l *lab) linkPath(name string) string {
	return hyperv.DefaultRoot[2:] + `\Virtual Machines\` + volume.Base(l.configOf(name))
}

// moveTo restores every file of a machine below another root: the configuration
// and the saved state keep their place to each other.
func moveTo(root string) func(*requester.Restore) {
	return func(r *requester.Restore) {
		r.NewTarget = func(_ *vss.WriterMetadata, c *vss.ComponentInfo, set vss.FileSet) (string, bool) {
			switch {
			case c.Name == "InitialStore":
				return "", false
			case set.Spec == "*":
				return root + `\Virtual Machines\` + c.Name, true
			case strings.HasSuffix(set.Spec, ".xml"):
				return root + `\Virtual Machines`, true
			}
			return root, true
		}
	}
}

// A machine restored below another root is that machine in every respect: its
// configuration, its saved state, its disks, its snapshot location, its link.
func TestRestoreToAnotherRoot(t *testing.T) {
	for _, method := range []mod{stopped, func(*hyperv.VMConfig) {}} {
		l := newLab(t)
		vm := l.running("db", method, also("data.vhd", guest.NTFS), withLedger("data=D:"))
		method := vm.Decide().Method
		target := l.mustBackup()
		l.mustRestore(target, moveTo(`C:\Moved`))
		back := l.h.VM("db")
		if want := `C:\Moved\Virtual Machines\` + guid.Upper(vm.ID()) + ".xml"; back.ConfigurationPath() != want || l.linkTo(linkOf(back)) != want {
			t.Errorf("it is at %s, the link leads to %s", back.ConfigurationPath(), l.linkTo(linkOf(back)))
		}
		c, err := hyperv.ReadConfiguration(l.bytes(back.ConfigurationPath()))
		l.must(err)
		if paths := c.VHDPaths(); !slices.Equal(paths, []string{`C:\Moved\system.vhd`, `C:\Moved\data.vhd`}) || c.SnapshotRoot != `C:\Moved` {
			t.Errorf("%q, snapshots in %s", paths, c.SnapshotRoot)
		}
		saved := method == hyperv.MethodSavedState
		if (back.State() == hyperv.StateSaved) != saved || l.exists(back.MemoryPath()) != saved {
			t.Errorf("%v: it is %v, with memory: %v", method, back.State(), l.exists(back.MemoryPath()))
		}
		if len(l.w.Trace().Select("hyperv/no-saved-state")) != 0 {
			t.Error("the saved state is missed")
		}
		l.must(back.Start(l.ctx()))
		l.decides(back, method, slices.Repeat([]hyperv.ReasonCode{hyperv.ReasonICNotRunning}, map[bool]int{true: 1}[saved])...)
		l.mustBackup()
		l.settledNow()
	}
}

// A machine that was deleted since, with all its files, comes back at another place.
// So does one that this host never had.
func TestRestoreElsewhereOfAMachineThatIsGone(t *testing.T) {
	for _, method := range []mod{stopped, func(*hyperv.VMConfig) {}} {
		l := newLab(t)
		vm := l.running("db", method, also("data.vhd", guest.NTFS), withLedger("data=D:"))
		how := vm.Decide()
		target := l.mustBackup()
		l.remove(vm)
		other := newLab(t)
		for _, l := range []*lab{l, other} {
			l.mustRestore(target, moveTo(`C:\Moved`))
			back := l.h.VM("db")
			if paths := back.Configuration().VHDPaths(); back.ID() != vm.ID() || !slices.Equal(paths, []string{`C:\Moved\system.vhd`, `C:\Moved\data.vhd`}) {
				t.Errorf("%v with %q", back, paths)
			}
			l.must(back.Start(l.ctx()))
			l.decides(back, how.Method, codesOf(how)...)
			l.settledNow()
		}
	}
}

// settledNow is settled for machines that were restored meanwhile.
func (l *lab) settledNow() {
	l.t.Helper()
	for _, left := range hyperv.Audit(l.h) {
		l.t.Errorf("left over: %v", left)
	}
}

// Only the configuration is moved, and not the saved state: the machine comes back
// off, and the trace says what is missing.
func TestRestoreLeavesTheSavedStateBehind(t *testing.T) {
	l := newLab(t)
	l.running("db", stopped)
	target := l.mustBackup()
	l.mustRestore(target, func(r *requester.Restore) {
		r.NewTarget = func(_ *vss.WriterMetadata, _ *vss.ComponentInfo, set vss.FileSet) (string, bool) {
			return `C:\Moved`, strings.HasSuffix(set.Spec, ".xml") && set.Spec != "InitialStore.xml"
		}
	})
	if s := l.h.VM("db").State(); s != hyperv.StateOff {
		t.Errorf("db is %v", s)
	}
	if e := l.event("hyperv/no-saved-state"); e.Get("expected") != `C:\Moved\`+guid.Upper(l.h.VM("db").ID()) {
		t.Errorf("%v", e)
	}
}

// The same place in other letters is the same place.
func TestRestoreInOtherLetters(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	target := l.mustBackup()
	l.mustRestore(target, func(r *requester.Restore) {
		r.NewTarget = func(_ *vss.WriterMetadata, c *vss.ComponentInfo, set vss.FileSet) (string, bool) {
			return strings.ToUpper(set.Path), c.Name != "InitialStore"
		}
	})
	if n := len(l.w.Trace().Select("hyperv/update-vhd")) + len(l.w.Trace().Select("vm/configure")); n != 0 {
		t.Error("the configuration was changed")
	}
	back := l.h.VM("db")
	if back.ConfigurationPath() != vm.ConfigurationPath() || l.linkTo(linkOf(vm)) != vm.ConfigurationPath() {
		t.Errorf("it is at %s", back.ConfigurationPath())
	}
	l.must(back.Start(l.ctx()))
}

// A link that an earlier machine has left behind, to nowhere or to what is
// restored now, is replaced; in the default location itself none is left.
func TestRestoreOverAStaleLink(t *testing.T) {
	for name, to := range map[string]func(vm *hyperv.VM) string{
		"to nowhere":      func(*hyperv.VM) string { return `D:\gone.xml` },
		"to no volume":    func(*hyperv.VM) string { return `E:\gone.xml` },
		"to the same one": func(vm *hyperv.VM) string { return vm.ConfigurationPath() },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			there, here := l.machine("there"), l.machine("here", func(c *hyperv.VMConfig) { c.Root = "" })
			target := l.mustBackup()
			l.remove(there, here)
			for _, vm := range []*hyperv.VM{there, here} {
				if path := to(vm); path != linkOf(vm) {
					l.must(l.h.Volume("C").Symlink(path, linkOf(vm)[2:]))
				}
			}
			l.mustRestore(target)
			if got := l.linkTo(linkOf(there)); got != l.h.VM("there").ConfigurationPath() {
				t.Errorf("the link leads to %q", got)
			}
			if got := l.linkTo(linkOf(here)); got != "" || l.h.VM("here").ConfigurationPath() != linkOf(here) {
				t.Errorf("in the default location is a link to %q", got)
			}
		})
	}
}

// A saved state that stands where a machine without one is restored is not taken
// for its own.
func TestRestoreOverAStaleSavedState(t *testing.T) {
	l := newLab(t)
	vm := l.running("db")
	online := l.mustBackup()
	l.must(vm.Guest().StopService(l.ctx(), string(guest.BackupService)))
	offline := l.mustBackup()
	bin := l.bytesIn(offline, vm.MemoryPath())
	vsv := l.bytesIn(offline, strings.TrimSuffix(vm.MemoryPath(), ".bin")+".vsv")
	l.remove(vm)
	dir := volume.Dir(vm.MemoryPath())[2:]
	l.must(l.h.Volume("D").MkdirAll(dir))
	l.must(l.h.Volume("D").WriteFile(vm.MemoryPath()[2:], bin))
	l.must(l.h.Volume("D").WriteFile(strings.TrimSuffix(vm.MemoryPath()[2:], ".bin")+".vsv", vsv))
	l.mustRestore(online)
	if back := l.h.VM("db"); back.State() != hyperv.StateOff || l.exists(back.MemoryPath()) {
		t.Errorf("db is %v", back.State())
	}
	l.mustRestore(offline)
	if back := l.h.VM("db"); back.State() != hyperv.StateSaved {
		t.Errorf("db is %v", back.State())
	}
}

// The requester says that all files are there, and one is not: the machine is
// registered, and does not start.
func TestRestoreByALiar(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db", also("data.vhd", guest.NTFS))
	target := l.mustBackup()
	l.must(target.Remove(requester.FilesName + "/D/VMs/db/data.vhd"))
	if st := l.restoreBy(target, map[string]vss.FileRestoreStatus{guid.Upper(vm.ID()): vss.FilesAll}); st.Code != vss.SOK {
		t.Errorf("%+v", st)
	}
	back := l.h.VM("db")
	l.grant(back, back.ConfigurationPath(), `D:\VMs\db\system.vhd`)
	err := back.Start(l.ctx())
	var e *hyperv.Error
	if !errors.Is(err, volume.ErrFileNotFound) || vss.HRESULTOf(err) != 0x80070002 || !errors.As(err, &e) || !strings.Contains(err.Error(), `D:\VMs\db\data.vhd`) || back.State() != hyperv.StateOff {
		t.Errorf("%v, db is %v", err, back.State())
	}
	l.works(back)
}

// Somebody has the VHD open: the requester cannot write it, and says so.
func TestRestoreOfAVHDThatIsInUse(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	target := l.mustBackup()
	f, err := l.h.Volume("D").OpenFile(`\VMs\db\system.vhd`, volume.ReadWrite, volume.Exclusive)
	l.must(err)
	_, err = l.restore(target)
	if err == nil || l.h.VMByID(vm.ID()) != nil || !errors.Is(err, volume.ErrSharingViolation) {
		t.Errorf("%v; %s", err, l.describe())
	}
	l.must(f.Close())
	l.mustRestore(target)
}

// Documents that do not say what the writer needs.
func TestRestoreWithoutTheWritersNotes(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	other := l.machine("other")
	target := l.mustBackup()
	for name, edit := range map[string]func(c, o *vss.ComponentRecord){
		"are missing":   func(c, _ *vss.ComponentRecord) { c.BackupMetadata = nil },
		"are no XML":    func(c, _ *vss.ComponentRecord) { c.BackupMetadata = []byte("x") },
		"are another's": func(c, o *vss.ComponentRecord) { c.BackupMetadata = o.BackupMetadata },
		"are incomplete": func(c, _ *vss.ComponentRecord) {
			c.BackupMetadata = []byte(`<virtual_machine version="1" id="` + c.Name + `"/>`)
		},
		"are a stranger": func(c, _ *vss.ComponentRecord) { c.BackupMetadata = []byte(`<machine/>`) },
	} {
		bad := l.edited(target, func(w *vss.WriterRecord) {
			edit(w.Component(vss.ComponentKey{Name: guid.Upper(vm.ID())}), w.Component(vss.ComponentKey{Name: guid.Upper(other.ID())}))
		})
		report, err := l.restore(bad, onlyRestore("db"))
		if st := report.Writers[0]; err == nil || st.State != vss.StateFailedAtPostRestore || st.Code != nonRetryable || !strings.Contains(st.Message, "metadata") {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
		if l.h.VM("db") != nil {
			t.Errorf("%s: the machine is registered", name)
		}
		l.mustRestore(target, onlyRestore("db"))
	}
}

// edited is a backup with another Backup Components Document.
func (l *lab) edited(target *requester.Memory, edit func(w *vss.WriterRecord)) *requester.Memory {
	l.t.Helper()
	out := &requester.Memory{}
	l.must(copyAll(out, target))
	l.must(rewriteDocument(out, edit))
	return out
}

// Switches are known by their identity, whatever they are called.
func TestRestoreFindsSwitchesByIdentity(t *testing.T) {
	l := newLab(t)
	renamed, removed, replaced := l.h.AddSwitch("old name"), l.h.AddSwitch("gone"), l.h.AddSwitch("same name")
	const static = "00155DAABBCC"
	vm := l.machine("db", onSwitch(l.lan), onSwitch(renamed), onSwitch(removed), onSwitch(replaced), func(c *hyperv.VMConfig) {
		c.Adapters = append(c.Adapters, hyperv.AdapterConfig{}, hyperv.AdapterConfig{Switch: l.lan, MAC: static})
	})
	was := vm.Configuration().Adapters
	target := l.mustBackup()
	renamed.Name = "new name"
	l.h.RemoveSwitch(removed.ID)
	l.h.RemoveSwitch(replaced.ID)
	again := l.h.AddSwitch("same name")
	l.mustRestore(target)
	now := l.h.VM("db").Configuration().Adapters
	for i, want := range []*hyperv.Switch{l.lan, renamed, nil, nil, nil, l.lan} {
		if (want != nil) != now[i].Connected() || want != nil && now[i].Switch != want.ID {
			t.Errorf("adapter %d: %+v", i, now[i])
		}
		if now[i].MAC != was[i].MAC || now[i].StaticMAC != was[i].StaticMAC || now[i].Name != was[i].Name {
			t.Errorf("adapter %d was %+v and is %+v", i, was[i], now[i])
		}
	}
	if len(l.lan.Ports()) != 2 || len(renamed.Ports()) != 1 || len(again.Ports()) != 0 || now[5].MAC != static {
		t.Errorf("ports %d, %d, %d", len(l.lan.Ports()), len(renamed.Ports()), len(again.Ports()))
	}
}

// On another host, which knows nothing but the files, a switch of the same identity
// counts, and one of the same name does not.
func TestRestoreOnAnotherHost(t *testing.T) {
	l := newLab(t)
	dmz := l.h.AddSwitch("DMZ")
	l.running("db", onSwitch(l.lan), onSwitch(dmz), withLedger())
	l.running("web", stopped, withLedger())
	target := l.mustBackup()

	o := newLabOf(t, hyperv.HostConfig{Name: "h2"})
	same := o.h.AddSwitchID("called otherwise", dmz.ID)
	o.mustRestore(target)
	db := o.h.VM("db").Configuration().Adapters
	if db[0].Connected() || db[1].Switch != same.ID || len(same.Ports()) != 1 || len(o.lan.Ports()) != 0 {
		t.Errorf("%+v", db)
	}
	for name, want := range map[string]hyperv.State{"db": hyperv.StateOff, "web": hyperv.StateSaved} {
		vm := o.h.VM(name)
		if vm.State() != want || o.linkTo(linkOf(vm)) != vm.ConfigurationPath() {
			t.Errorf("%s is %v", name, vm.State())
		}
		o.must(vm.Start(o.ctx()))
		o.works(vm)
	}
	o.mustBackup()
	o.settled()
}

// A saved machine goes on only on a processor and under a Windows like those it was
// saved on. It stays saved elsewhere; without its saved state it boots.
func TestSavedStateBelongsToItsPlatform(t *testing.T) {
	const intel, amd = "GenuineIntel 6", "AuthenticAMD 15"
	l := newLabOf(t, hyperv.HostConfig{Processor: intel, Profile: hyperv.Profile{Windows: "6.0"}})
	l.running("web", stopped, withLedger())
	l.running("db", withLedger())
	l.paused("app")
	target := l.mustBackup()
	for _, row := range []struct{ processor, windows, says string }{
		{amd, "6.0", "the processor"}, {intel, "6.1", "the version of Windows"}, {amd, "6.1", "the processor"}, {intel, "6.0", ""},
	} {
		o := newLabOf(t, hyperv.HostConfig{Name: "h2", Processor: row.processor, Profile: hyperv.Profile{Windows: row.windows}})
		o.mustRestore(target)
		for _, name := range []string{"web", "app"} {
			vm := o.h.VM(name)
			err := vm.Start(o.ctx())
			var e *hyperv.PlatformError
			if row.says == "" {
				o.must(err)
				continue
			}
			if !errors.As(err, &e) || !errors.Is(err, hyperv.ErrFailed) || !strings.Contains(err.Error(), row.says) || vm.State() != hyperv.StateSaved {
				t.Errorf("%v: %s is %v, %v", row, name, vm.State(), err)
			}
			o.must(vm.TurnOff(o.ctx()))
			o.must(vm.Start(o.ctx()))
		}
		o.must(o.h.VM("db").Start(o.ctx())) // it has no memory to go on from
		o.works(o.h.VM("web"))
		o.mustBackup()
		o.settledNow()
	}
}

// A host has so much memory. A machine that does not fit in stays as it is, and a
// backup that cannot bring one back says so, and brings back the others.
func TestMemoryOfTheHost(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{MemoryMB: 3 * 64, Profile: inOrder}, sim.Plan("provider/commit on=h1/vss/swprv delay=9s"))
	ofSize := func(mb int64) mod { return func(c *hyperv.VMConfig) { c.MemoryMB = mb } }
	web, app := l.running("web", stopped, withLedger(), ofSize(64)), l.running("app", stopped, ofSize(64))
	greedy := l.machine("greedy", ofSize(128))
	if err := greedy.Start(l.ctx()); !errors.Is(err, hyperv.ErrOutOfMemory) || greedy.State() != hyperv.StateOff {
		t.Errorf("%v, greedy is %v", err, greedy.State())
	}
	l.atCommit(greedy.Start) // web and app are saved, and have given back theirs
	_, err := l.backup()
	l.failsWith(err, atPostSnapshot, nonRetryable, "app: ", "out of memory")
	if web.State() != hyperv.StateRunning || app.State() != hyperv.StateSaved || greedy.State() != hyperv.StateRunning {
		t.Errorf("%s", l.describe())
	}
	l.must(greedy.TurnOff(l.ctx()))
	l.must(app.Start(l.ctx()))
	l.mustBackup()
	l.settledNow()
}

// A saved machine starts only with the disks it was saved with, and its memory.
func TestSavedStateBelongsToItsDisks(t *testing.T) {
	replace := func(l *lab, vm *hyperv.VM) {
		l.must(l.h.Volume("D").Remove(`\VMs\db\system.vhd`))
		f, err := l.h.Volume("D").Create(`\VMs\db\system.vhd`)
		l.must(err)
		_, err = vhd.Create(f, vhd.Options{Size: 6 * mib, Type: vhd.Dynamic, ID: [16]byte{1}})
		l.must(errors.Join(err, f.Close()))
	}
	swap := func(l *lab, vm *hyperv.VM) {
		c := vm.Configuration()
		c.Drives[0].Path, c.Drives[1].Path = c.Drives[1].Path, c.Drives[0].Path
		l.must(vm.Configure(l.ctx(), c))
	}
	vsv := func(vm *hyperv.VM) string { return strings.TrimSuffix(vm.MemoryPath()[2:], ".bin") + ".vsv" }
	for name, damage := range map[string]func(l *lab, vm *hyperv.VM){
		"another disk":  replace,
		"disks swapped": swap,
		"disk taken out": func(l *lab, vm *hyperv.VM) {
			c := vm.Configuration()
			c.Drives = c.Drives[:1]
			l.must(vm.Configure(l.ctx(), c))
		},
		"no disk":        func(l *lab, _ *hyperv.VM) { l.must(l.h.Volume("D").Remove(`\VMs\db\system.vhd`)) },
		"malformed disk": func(l *lab, _ *hyperv.VM) { l.must(l.h.Volume("D").WriteFile(`\VMs\db\system.vhd`, []byte("no VHD"))) },
		"no memory":      func(l *lab, vm *hyperv.VM) { l.must(l.h.Volume("D").Remove(vm.MemoryPath()[2:])) },
		"cut memory": func(l *lab, vm *hyperv.VM) {
			l.must(l.h.Volume("D").WriteFile(vm.MemoryPath()[2:], l.bytes(vm.MemoryPath())[:4096]))
		},
		"zero memory": func(l *lab, vm *hyperv.VM) {
			l.must(l.h.Volume("D").WriteFile(vm.MemoryPath()[2:], make([]byte, 4*mib)))
		},
		"no XML": func(l *lab, vm *hyperv.VM) { l.must(l.h.Volume("D").WriteFile(vsv(vm), []byte("x"))) },
		"another's": func(l *lab, vm *hyperv.VM) {
			l.must(l.h.Volume("D").WriteFile(vsv(vm), l.bytes("D:"+vsv(l.saved("other")))))
		},
	} {
		for _, to := range []hyperv.State{hyperv.StateRunning, hyperv.StatePaused} {
			l := newLab(t)
			vm := l.saved("db", also("data.vhd", guest.NTFS))
			damage(l, vm)
			err := l.h.Management().Restore(l.ctx(), vm.ID(), to)
			var e *hyperv.Error
			resumable := to == hyperv.StatePaused && name == "zero memory" // what is in it is seen when it runs
			if resumable {
				l.must(err)
				err = vm.Resume(l.ctx())
			}
			want := hyperv.StateSaved
			if resumable {
				want = hyperv.StatePaused
			}
			if !errors.As(err, &e) || vm.State() != want {
				t.Errorf("%s: %v, db is %v", name, err, vm.State())
			}
			if p := l.w.Panics(); len(p) > 0 {
				t.Fatalf("%s: %v\n%s", name, p[0], p[0].Stack)
			}
			l.must(vm.TurnOff(l.ctx())) // the way out: the saved state is discarded
			if name == "another's" || name == "no memory" || name == "cut memory" || name == "zero memory" || name == "no XML" || name == "disk taken out" {
				l.must(vm.Start(l.ctx()))
				l.works(vm)
			}
		}
	}
}

// The requester dies in a restore; what is half there is not taken for whole, and
// the next restore succeeds.
func TestRequesterDiesInARestore(t *testing.T) {
	for _, plan := range []string{
		"vss/pre-restore on=h1/vmms kill=restore", "hyperv/delete on=h1/db kill=restore", "requester/restore nth=1 kill=.",
		"requester/restore nth=3 kill=.", "vss/post-restore on=h1/vmms kill=restore", "hyperv/register on=h1 nth=3 kill=restore",
		"hyperv/register on=h1 nth=4 kill=restore",
		"vss/pre-restore on=h1/vmms kill=h1/vmms", "hyperv/delete on=h1/db kill=h1/vmms", "requester/restore nth=3 kill=h1/vmms",
		"vss/post-restore on=h1/vmms kill=h1/vmms", "hyperv/register on=h1 nth=4 kill=h1/vmms",
	} {
		t.Run(plan, func(t *testing.T) {
			l := newLab(t, sim.Plan(plan))
			l.running("db")
			l.running("web", stopped)
			target := l.mustBackup()
			if _, err := l.restore(target); err == nil || len(l.w.Unreached()) > 0 {
				t.Errorf("%v, %v", err, l.w.Unreached())
			}
			l.advance(time.Hour)
			l.must(l.h.StartManagement(l.ctx()))
			l.settledNow()
			l.mustRestore(target)
			for name, want := range map[string]hyperv.State{"db": hyperv.StateOff, "web": hyperv.StateSaved} {
				if s := l.h.VM(name).State(); s != want {
					t.Errorf("%s is %v", name, s)
				}
				l.must(l.h.VM(name).Start(l.ctx()))
			}
			l.mustBackup()
			l.settled()
		})
	}
}

// A restore does not wait for a machine that is starting to have started: it waits
// for its turn, and turns it off.
func TestRestoreTakesItsTurn(t *testing.T) {
	l := newLab(t, sim.Plan("hyperv/start on=h1/db delay=20m"))
	vm := l.machine("db")
	target := l.mustBackup()
	started := l.w.Actor("administrator").Go("start", func(ctx context.Context) error { return vm.Start(ctx) })
	l.advance(time.Minute)
	l.mustRestore(target)
	l.must(started.Wait(l.ctx()))
	if l.w.Now() < 20*time.Minute || l.h.VM("db").State() != hyperv.StateOff {
		t.Errorf("at %v db is %v", l.w.Now(), l.h.VM("db").State())
	}
}
