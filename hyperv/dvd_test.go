package hyperv_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
)

const setup = `C:\images\setup.iso`

// iso puts an ISO file on a host.
func (l *lab) iso(path string) {
	l.t.Helper()
	v := l.h.Volume(path[:1])
	l.must(v.MkdirAll(volume.Dir(path[2:])))
	l.must(v.WriteFile(path[2:], []byte("CD001")))
}

func withDVD(paths ...string) mod {
	return func(c *hyperv.VMConfig) { c.DVDs = append(c.DVDs, paths...) }
}

// noMedium checks that an error names the drive and the file that is not there.
func (l *lab) noMedium(err error, at, path string) {
	l.t.Helper()
	var e *hyperv.MediaError
	switch {
	case !errors.As(err, &e) || e.Drive.String() != at || e.Path != path:
		l.t.Errorf("%s is not in %s: %v", path, at, err)
	case vss.HRESULTOf(err) != 0x80070002 && vss.HRESULTOf(err) != 0x80070003 || !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, hyperv.ErrFileNotFound):
		l.t.Errorf("%v is %v", err, vss.HRESULTOf(err))
	case !strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), fmt.Sprintf("%q", path)):
		l.t.Errorf("%v does not say it", err)
	}
}

// The DVD drives of a machine stand in its file, in free places, and are read from
// it again; disks come and go around them.
func TestDVDDrives(t *testing.T) {
	l := newLab(t)
	l.iso(setup)
	vm := l.machine("db", withDVD(setup, ""), also("data.vhd", guest.NTFS))
	want := []hyperv.DVD{{Slot: hyperv.Slot{Controller: 1}, Path: setup}, {Slot: hyperv.Slot{Controller: 1, Drive: 1}}}
	read := func() []hyperv.DVD {
		c, err := hyperv.ReadConfiguration(l.bytes(vm.ConfigurationPath()))
		l.must(err)
		if !c.Equal(vm.Configuration()) {
			t.Errorf("the file says %+v, the machine %+v", c, vm.Configuration())
		}
		return c.DVDs
	}
	if got := read(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	c := vm.Configuration()
	c.Drives = c.Drives[:1]
	c.DVDs[1].Slot = hyperv.Slot{Bus: hyperv.SCSI}
	slices.Reverse(c.DVDs)
	l.must(vm.Configure(l.ctx(), c))
	want[1].Slot = hyperv.Slot{Bus: hyperv.SCSI}
	if got := read(); !slices.Equal(got, want) || len(vm.Configuration().Drives) != 1 {
		t.Errorf("%v, %v", got, vm.Configuration().Drives)
	}
	c = vm.Configuration()
	c.DVDs = nil
	l.must(vm.Configure(l.ctx(), c))
	if got := read(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if text := string(l.bytes(vm.ConfigurationPath())); strings.Contains(text, "I\x00S\x00O\x00") {
		t.Error("the file still has a DVD drive")
	}
	l.must(vm.Start(l.ctx()))
	for name, dvds := range map[string][]string{"too many": make([]string, 4), "missing": {`C:\none.iso`}, "a folder": {`C:\images`}, "no name": {"\x00"}, "elsewhere": {`\\nas\iso\a.iso`}} {
		if _, err := l.h.CreateVM(l.ctx(), l.config("no", withDVD(dvds...))); err == nil || l.exists(`D:\VMs\no`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ISO files are no part of a backup.
func TestBackupLeavesISOFilesOut(t *testing.T) {
	l := newLab(t)
	l.iso(`D:\VMs\db\setup.iso`)
	vm := l.running("db", withDVD(`D:\VMs\db\setup.iso`))
	target := l.mustBackup()
	l.must(fs.WalkDir(target, ".", func(name string, _ fs.DirEntry, err error) error {
		if strings.Contains(strings.ToLower(name), ".iso") {
			t.Errorf("the backup has %s", name)
		}
		return err
	}))
	l.remove(vm)
	l.mustRestore(target)
	if got := l.h.VM("db").Configuration().DVDs; len(got) != 1 || got[0].Path != `D:\VMs\db\setup.iso` {
		t.Errorf("%v", got)
	}
	l.must(l.h.VM("db").Start(l.ctx()))
}

// A machine that was off does not start on a host without the ISO file in its drive,
// until the drive is empty or the file is there.
func TestMissingISO(t *testing.T) {
	for _, remedy := range []string{"eject", "insert", "path", "file"} {
		l := newLab(t)
		l.iso(setup)
		l.running("db", withDVD("", setup))
		target := l.mustBackup()
		l = newLabOf(t, hyperv.HostConfig{Name: "h2"})
		l.mustRestore(target)
		vm := l.h.VM("db")
		l.noMedium(vm.Start(l.ctx()), "IDE 1:1", setup)
		if vm.State() != hyperv.StateOff {
			t.Errorf("db is %v", vm.State())
		}
		l.settledNow()
		at := hyperv.Slot{Controller: 1, Drive: 1}
		switch remedy {
		case "eject":
			l.must(vm.Eject(l.ctx(), at))
			if e := l.event("dvd/eject"); e.Get("slot") != "IDE 1:1" {
				t.Errorf("%v", e)
			}
		case "insert":
			l.iso(`D:\other.iso`)
			l.must(vm.Insert(l.ctx(), at, `D:\other.iso`))
			if e := l.event("dvd/insert"); e.Get("slot") != "IDE 1:1" || e.Get("iso") != `D:\other.iso` {
				t.Errorf("%v", e)
			}
		case "path":
			l.iso(`D:\other.iso`)
			c := vm.Configuration()
			c.DVDs[1].Path = `D:\other.iso`
			l.must(vm.Configure(l.ctx(), c))
		case "file":
			l.iso(setup)
		}
		l.must(vm.Start(l.ctx()))
		l.mustBackup()
		l.settledNow()
	}
}

// A saved machine stays saved without the ISO file that was in its drive: it goes on
// when the file is there again or the configuration names another; or its saved
// state is discarded and the drive emptied.
func TestMissingISOOfASavedMachine(t *testing.T) {
	for _, remedy := range []string{"discard", "path", "file"} {
		l := newLab(t)
		l.iso(setup)
		l.running("db", stopped, withDVD(setup))
		l.write(l.h.VM("db"), "C:", 2*mib, 'x')
		target := l.mustBackup()
		l = newLabOf(t, hyperv.HostConfig{Name: "h2"})
		l.mustRestore(target)
		vm, at := l.h.VM("db"), hyperv.Slot{Controller: 1}
		l.noMedium(vm.Start(l.ctx()), "IDE 1:0", setup)
		if vm.State() != hyperv.StateSaved || !l.exists(vm.MemoryPath()) {
			t.Errorf("db is %v", vm.State())
		}
		l.iso(`D:\other.iso`)
		for _, err := range []error{vm.Eject(l.ctx(), at), vm.Insert(l.ctx(), at, `D:\other.iso`)} {
			if !errors.Is(err, hyperv.ErrInvalidState) {
				t.Errorf("the drive of a saved machine: %v", err)
			}
		}
		l.settledNow()
		switch remedy {
		case "discard":
			l.must(vm.TurnOff(l.ctx()))
			l.noMedium(vm.Start(l.ctx()), "IDE 1:0", setup)
			l.must(vm.Eject(l.ctx(), at))
		case "path":
			c := vm.Configuration()
			c.DVDs[0].Path = `D:\other.iso`
			l.must(vm.Configure(l.ctx(), c))
		case "file":
			l.iso(setup)
		}
		boots := len(l.w.Trace().Select("guest/boot"))
		l.must(vm.Start(l.ctx()))
		if b := l.reads(vm, 2*mib); b != 'x' {
			t.Errorf("the guest reads %q", b)
		}
		if booted := len(l.w.Trace().Select("guest/boot")) > boots; booted != (remedy == "discard") {
			t.Errorf("%s: it booted: %v", remedy, booted)
		}
		l.note()
		l.recovers()
	}
}

// A medium can be changed while the machine executes or is off, by nobody while a
// backup has it, and not in a drive that it has not.
func TestChangingMedia(t *testing.T) {
	l := newLab(t)
	l.iso(setup)
	vm, at := l.running("db", withDVD("")), hyperv.Slot{Controller: 1}
	l.must(vm.Insert(l.ctx(), at, setup))
	l.must(vm.Pause(l.ctx()))
	l.must(vm.Eject(l.ctx(), at))
	l.must(vm.Insert(l.ctx(), at, setup))
	vm.Configuration().DVDs[0].Path = "a copy"
	if got := vm.Configuration().DVDs[0].Path; got != setup {
		t.Errorf("in the drive is %q", got)
	}
	l.noMedium(vm.Insert(l.ctx(), at, `C:\images\none.iso`), "IDE 1:0", `C:\images\none.iso`)
	for path, code := range map[string]error{`C:\images`: volume.ErrAccessDenied, "C:\\\x01\n\u202e.iso": volume.ErrInvalidName, "C:": volume.ErrAccessDenied, "": hyperv.ErrParameter} {
		if err := vm.Insert(l.ctx(), at, path); !errors.Is(err, code) || strings.ContainsAny(err.Error(), "\x01\n\u202e") {
			t.Errorf("%q: %q", path, err)
		}
	}
	if err := vm.Eject(l.ctx(), hyperv.Slot{}); !errors.Is(err, hyperv.ErrNotFound) {
		t.Errorf("a drive that is a disk: %v", err)
	}
	l.must(vm.Lock("backup"))
	if err := vm.Eject(l.ctx(), at); !errors.Is(err, hyperv.ErrInUse) {
		t.Errorf("a machine that is held: %v", err)
	}
	vm.Unlock()
	if got := vm.Configuration().DVDs[0].Path; got != setup {
		t.Errorf("in the drive is %q", got)
	}
}

// A name that no file can have is in the error as it would be written in a program.
func TestHostileISOName(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db", withDVD(""))
	hostile := "C:\\a\n\u202e\u00a0<&\"]]>.iso"
	c := vm.Configuration()
	c.DVDs[0].Path = hostile
	l.must(vm.Configure(l.ctx(), c))
	read, err := hyperv.ReadConfiguration(l.bytes(vm.ConfigurationPath()))
	l.must(err)
	if got := read.DVDs[0].Path; got != hostile {
		t.Errorf("the file says %q", got)
	}
	err = vm.Start(l.ctx())
	var e *hyperv.MediaError
	if !errors.As(err, &e) || e.Path != hostile || !errors.Is(err, volume.ErrInvalidName) || strings.ContainsAny(err.Error(), "\n\u202e\u00a0") {
		t.Errorf("%q", err)
	}
	target := l.mustBackup()
	l.mustRestore(target)
	l.must(l.h.VM("db").Eject(l.ctx(), c.DVDs[0].Slot))
	l.must(l.h.VM("db").Start(l.ctx()))
}

// A running machine migrates only to a host that has what is in its drives.
func TestMigrationNeedsTheISO(t *testing.T) {
	p := newPair(t)
	p.iso(setup)
	vm := p.running("db", onShared, withDVD(setup))
	_, err := vm.MigrateTo(p.ctx(), p.h2)
	p.noMedium(err, "IDE 1:0", setup)
	if vm.State() != hyperv.StateRunning || len(p.h2.VMs()) != 0 {
		t.Errorf("db is %v", vm.State())
	}
	p.must(vm.Eject(p.ctx(), hyperv.Slot{Controller: 1}))
	_, err = vm.MigrateTo(p.ctx(), p.h2)
	p.must(err)
}

// A checkpoint has what was in the drives.
func TestCheckpointHasTheMedium(t *testing.T) {
	l := newLab(t)
	l.iso(setup)
	vm := l.machine("db", withDVD(setup))
	id := l.checkpoint(vm, "one")
	l.must(vm.Eject(l.ctx(), hyperv.Slot{Controller: 1}))
	l.must(vm.Apply(l.ctx(), id))
	if got := vm.Configuration().DVDs[0].Path; got != setup {
		t.Errorf("in the drive is %q", got)
	}
}
