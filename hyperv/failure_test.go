package hyperv_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

const (
	atPrepareBackup   = vss.StateFailedAtPrepareBackup
	atPrepareSnapshot = vss.StateFailedAtPrepareSnapshot
	atPostSnapshot    = vss.StateFailedAtPostSnapshot

	inconsistent = vss.ErrWriterErrorInconsistentSnapshot
	timedOut     = vss.ErrWriterErrorTimeout
	retryable    = vss.ErrWriterErrorRetryable
	nonRetryable = vss.ErrWriterErrorNonRetryable
)

// crew makes machines of every kind, so that a failure finds something to undo:
// db and erp are backed up from inside, web and app in the saved state.
func crew(l *lab) {
	l.t.Helper()
	l.running("db", withLedger("rest=5s"))
	l.running("web", stopped, withLedger("rest=5s"))
	l.paused("app")
	l.machine("off")
	l.saved("mine")
	l.running("erp", withLedger("rest=5s"))
}

// Failures that a fault plan makes, where all machines end as they were. What the
// plan strikes once succeeds in the next backup.
func TestFailuresThatLeaveEverythingAsItWas(t *testing.T) {
	for _, f := range []struct {
		name  string // as the catalogue of failures numbers it
		plan  string
		state vss.WriterState
		code  vss.HRESULT
		says  []string // who failed, and why
		undo  string   // kind of an event that the undoing has
	}{
		{"F5 save of the first", "hyperv/save on=h1/web err=0x80070070", atPrepareSnapshot, nonRetryable, []string{"web: ", "0x80070070"}, "hyperv/undo"},
		{"F5 save of the second", "hyperv/save on=h1/app err=0x80070070", atPrepareSnapshot, nonRetryable, []string{"app: ", "0x80070070"}, "hyperv/undo"},
		{"F5 retryable", "hyperv/save on=h1/app err=0x800423F3", atPrepareSnapshot, retryable, []string{"app: "}, "hyperv/undo"},
		{"F5 in the guest", "guest/save on=h1/web err=0x8007001F", atPrepareSnapshot, nonRetryable, []string{"web: ", "0x8007001F"}, "hyperv/undo"},
		{"F7 no answer", "guest/answer on=h1/erp/* hang", atPrepareSnapshot, timedOut, []string{"erp: ", "did not answer in time"}, "guest/release"},
		{"F7 late answer", "guest/answer on=h1/erp/* delay=30m", atPrepareSnapshot, timedOut, []string{"erp: ", "did not answer in time"}, "guest/release"},
		{"F7 lost answer", "guest/snapshot on=h1/erp/* hang", atPrepareSnapshot, timedOut, []string{"erp: "}, "guest/shadow-dropped"},
		{"F7 service dies", "guest/answer on=h1/erp/* kill=.", atPrepareSnapshot, nonRetryable, []string{"erp: ", "is not running"}, "guest/release"},
		{"F7 service dies with its copies", "guest/snapshot on=h1/erp/* kill=.", atPrepareSnapshot, nonRetryable, []string{"erp: ", "is not running"}, "guest/shadow-dropped"},
		{"F8 identify", "vss/identify on=h1/erp/guest/ledger err=0x800423F4", 0, 0, nil, ""},
		{"F8 prepare backup", "vss/prepare-backup on=h1/erp/guest/ledger err=0x800423F4", atPrepareSnapshot, nonRetryable, []string{"erp: ", "Ledger Writer"}, "guest/release"},
		{"F8 prepare snapshot", "vss/prepare-snapshot on=h1/erp/guest/ledger err=0x800423F4", atPrepareSnapshot, nonRetryable, []string{"erp: ", "Ledger Writer"}, "guest/release"},
		{"F8 freeze", "vss/freeze on=h1/erp/guest/ledger err=0x800423F4", atPrepareSnapshot, nonRetryable, []string{"erp: ", "VSS_WS_FAILED_AT_FREEZE"}, "guest/release"},
		{"F8 freeze, retryable", "vss/freeze on=h1/erp/guest/ledger err=0x800423F3", atPrepareSnapshot, retryable, []string{"erp: ", "VSS_WS_FAILED_AT_FREEZE"}, "guest/release"},
		{"F8 freeze, no resources", "vss/freeze on=h1/erp/guest/ledger err=0x800423F1", atPrepareSnapshot, vss.ErrWriterErrorOutOfResources, []string{"erp: "}, "guest/release"},
		{"F8 freeze, too slow", "vss/freeze on=h1/erp/guest/ledger delay=61s", atPrepareSnapshot, timedOut, []string{"erp: "}, "guest/release"},
		{"F8 freeze, for ever", "vss/freeze on=h1/erp/guest/ledger hang", atPrepareSnapshot, timedOut, []string{"erp: "}, "guest/release"},
		{"F8 thaw", "vss/thaw on=h1/erp/guest/ledger err=0x800423F4", atPrepareSnapshot, nonRetryable, []string{"erp: ", "VSS_WS_FAILED_AT_THAW"}, "guest/release"},
		{"F8 post snapshot", "vss/post-snapshot on=h1/erp/guest/ledger err=0x800423F4", atPrepareSnapshot, nonRetryable, []string{"erp: ", "VSS_WS_FAILED_AT_POST_SNAPSHOT"}, "guest/release"},
		{"F8 writer dies", "vss/freeze on=h1/db/guest/ledger kill=.", atPrepareSnapshot, nonRetryable, []string{"db: ", "Ledger Writer"}, "hyperv/undo"},
		{"F9 provider", "provider/commit on=h1/erp/guest/vss/swprv err=0x80042306", atPrepareSnapshot, nonRetryable, []string{"erp: "}, "guest/release"},
		{"F9 no room", "provider/begin-prepare on=h1/erp/guest/vss/swprv err=0x8004231F", atPrepareSnapshot, nonRetryable, []string{"erp: "}, "guest/release"},
		{"F9 hold", "volume/hold on=h1/erp/guest/vss/C: delay=20s", atPrepareSnapshot, nonRetryable, []string{"erp: "}, "guest/release"},
		{"F11 own prepare", "vss/prepare-snapshot on=h1/vmms err=0x800423F3", atPrepareSnapshot, retryable, nil, ""},
		{"F11 freeze", "vss/freeze on=h1/vmms err=0x800423F4", vss.StateFailedAtFreeze, nonRetryable, nil, "guest/release"},
		{"F11 freeze too slow", "vss/freeze on=h1/vmms delay=61s", vss.StateFailedAtFreeze, timedOut, nil, "guest/release"},
		{"F11 thaw", "vss/thaw on=h1/vmms err=0x800423F4", vss.StateFailedAtThaw, nonRetryable, nil, "guest/release"},
		{"F15 mount", "hyperv/mount on=h1/db err=0x80070020", atPostSnapshot, retryable, []string{"db: ", "system.vhd"}, "guest/release"},
		{"F15 revert", "hyperv/revert on=h1/erp err=0x8007001F", atPostSnapshot, retryable, []string{"erp: ", "system.vhd"}, "guest/release"},
		{"F15 revert, for good", "hyperv/revert on=h1/erp err=0x800423F4", atPostSnapshot, nonRetryable, []string{"erp: "}, "guest/release"},
		{"PoS drop", "hyperv/drop-snapshot on=h1/db err=0x80070020", atPostSnapshot, nonRetryable, []string{"db: ", "snapshot in the guest"}, "guest/release"},
		{"PoS start", "hyperv/start on=h1/web nth=2 err=0x8007000E", atPostSnapshot, nonRetryable, []string{"web: ", "saved by the writer"}, "guest/release"},
	} {
		t.Run(f.name, func(t *testing.T) {
			l := newLab(t, sim.Plan(f.plan))
			crew(l)
			l.advance(time.Second)
			_, err := l.backup()
			if left := l.w.Unreached(); len(left) > 0 {
				t.Fatalf("never reached: %v\n%s", left, l.story())
			}
			if f.code == 0 {
				l.must(err)
			} else {
				l.failsWith(err, f.state, f.code, f.says...)
			}
			if f.undo != "" && len(l.w.Trace().Select(f.undo)) == 0 {
				t.Errorf("no %s", f.undo)
			}
			l.advance(time.Hour) // whoever was slow
			l.goesOn("web", "db", "erp")
			l.recovers()
		})
	}
}

// goesOn checks that the ledgers in these machines make transactions.
func (l *lab) goesOn(names ...string) {
	l.t.Helper()
	count := func(name string) uint64 {
		for _, p := range l.h.VM(name).Guest().Drives() {
			return uint64(p.Traffic().Writes)
		}
		return 0
	}
	before := make([]uint64, len(names))
	for i, name := range names {
		if l.h.VM(name).Guest() == nil {
			l.t.Errorf("%s is %v", name, l.h.VM(name).State())
			return
		}
		before[i] = count(name)
	}
	l.advance(time.Minute)
	for i, name := range names {
		ledger := l.h.VM(name).Guest().VSS().Writers()
		if len(ledger) > 0 && count(name) == before[i] {
			l.t.Errorf("the ledger in %s stands still", name)
		}
	}
}

// F1: a machine whose configuration is no good is not in the metadata; the others
// are.
func TestF01_UnreadableConfiguration(t *testing.T) {
	for name, damage := range map[string]func(l *lab, path string){
		"gone":       func(l *lab, path string) { l.must(l.h.Volume("D").Remove(path[2:])) },
		"no XML":     func(l *lab, path string) { l.must(l.h.Volume("D").WriteFile(path[2:], []byte("<configuration>"))) },
		"no machine": func(l *lab, path string) { l.must(l.h.Volume("D").WriteFile(path[2:], []byte("<configuration/>"))) },
		"another's": func(l *lab, path string) {
			l.must(l.h.Volume("D").WriteFile(path[2:], l.bytes(l.h.VM("good").ConfigurationPath())))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.running("good")
			bad := l.running("bad")
			file := l.bytes(bad.ConfigurationPath())
			l.advance(time.Second)
			damage(l, bad.ConfigurationPath())
			target := l.mustBackup()
			if e := l.event("hyperv/left-out"); e.Get("vm") != "bad" || e.Get("because") == "" {
				t.Errorf("%v", e)
			}
			if len(l.w.Trace().Select("hyperv/decide")) != 1 {
				t.Error("the broken machine was touched")
			}
			l.settled()
			l.advance(time.Second)
			l.must(l.h.Volume("D").WriteFile(bad.ConfigurationPath()[2:], file))
			l.mustRestore(target)
			l.note()
			l.recovers()
		})
	}
}

// A writer that one broken configuration loses is not in the backup; and no machine
// with it.
func TestF01_BrokenConfigurationLosesTheWriter(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: hyperv.Profile{Policy: hyperv.Policy{BrokenLosesWriter: true}}})
	l.running("good")
	bad := l.running("bad")
	l.offered(true)
	l.advance(time.Second)
	l.must(l.h.Volume("D").Remove(bad.ConfigurationPath()[2:]))
	l.offered(false)
	l.event("hyperv/left-out", "vm=bad")
}

// The writer is not in the backup if its metadata are longer than they may be, with
// an entry in the event log, and is there again with a machine less.
func TestMetadataLimit(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: hyperv.Profile{Policy: hyperv.Policy{MetadataLimit: 3000}}})
	l.machine("a")
	l.offered(true)
	for _, name := range []string{"b", "c", "d", "e"} {
		l.machine(name)
	}
	l.offered(false)
	var found []vss.LogEntry
	for _, e := range vss.EventLog(l.w.Trace()) {
		if e.ID == vss.LogUnexpectedCall {
			found = append(found, e)
		}
	}
	if len(found) != 1 || !strings.Contains(found[0].Text, "0x80070018") || !strings.Contains(found[0].Text, hyperv.WriterName) {
		t.Errorf("the event log has %v", found)
	}
	l.remove(l.h.VM("b"), l.h.VM("c"), l.h.VM("d"), l.h.VM("e"))
	l.offered(true)
}

// offered checks whether a requester gets the writer's metadata.
func (l *lab) offered(want bool) {
	l.t.Helper()
	n := 0
	err := l.as("identify", l.components(func(*vss.ComponentInfo) { n++ }))
	if (n > 0) != want || !want && !errors.Is(err, vss.ErrObjectNotFound) {
		l.t.Errorf("%d components are offered: %v", n, err)
	}
}

// A configuration with a path that no component can name leaves its machine out,
// and a path to a volume that is not there is for the requester to find.
func TestF01_ConfigurationThatCannotBeDescribed(t *testing.T) {
	l := newLab(t)
	good := l.machine("good")
	for i, path := range []string{`x`, `D:\a*.vhd`, `\\server\share\a.vhd`, `E:\a.vhd`, `D:`} {
		c := good.Configuration()
		c.ID[15], c.Name, c.Drives[0].Path = byte(i), path, path
		text, err := c.Encode()
		l.must(err)
		file := `\odd` + string(rune('0'+i)) + `\Virtual Machines\odd.xml`
		l.must(l.h.Volume("D").MkdirAll(file[:strings.LastIndexByte(file, '\\')]))
		l.must(l.h.Volume("D").WriteFile(file, text))
		if _, err := l.h.Register(l.ctx(), "D:"+file); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := l.h.VM(path).Start(l.ctx()); err == nil {
			t.Errorf("%s starts", path)
		}
		_, err = l.backup()
		refused := errors.Is(err, vss.ErrObjectNotFound) // by the service: there is no such volume
		left := l.events(func(e sim.Event) bool { return e.Kind == "hyperv/left-out" && e.Get("vm") == path })
		if leftOut := len(left) > 0; leftOut == refused || refused != (path == `E:\a.vhd`) {
			t.Errorf("%s: left out %v, backup: %v", path, leftOut, err)
		}
		if p := l.w.Panics(); len(p) > 0 {
			t.Fatalf("%s: %v\n%s", path, p[0], p[0].Stack)
		}
		l.must(l.h.VM(path).Delete(l.ctx()))
		l.settled()
	}
	l.recovers()
}

// F2: another operation has a machine.
func TestF02_MachineIsHeld(t *testing.T) {
	l := newLab(t)
	crew(l)
	l.must(l.h.VM("off").Lock("export"))
	_, err := l.backup()
	l.failsWith(err, atPrepareBackup, retryable, "off: ", "in use by another operation")
	for _, vm := range l.h.VMs() {
		if want := map[string]string{"off": "export"}[vm.Name()]; vm.LockedBy() != want {
			t.Errorf("%s is held by %q", vm.Name(), vm.LockedBy())
		}
	}
	l.h.VM("off").Unlock()
	l.recovers()
}

// F3: a machine was deleted since the requester learned of it.
func TestF03_MachineIsGone(t *testing.T) {
	l := newLab(t)
	crew(l)
	_, err := l.backup(func(r *requester.Backup) {
		r.Select = func(_ *vss.WriterMetadata, c *vss.ComponentInfo) bool {
			if strings.HasSuffix(c.Caption, `\off`) {
				l.must(l.h.VM("off").Delete(l.w.Current()))
			}
			return true
		}
	})
	l.failsWith(err, atPrepareBackup, nonRetryable, "not found")
	l.recovers()
}

// F4: the set lacks a volume that has a file of a machine, whichever.
func TestF04_VolumeIsNotInTheSet(t *testing.T) {
	for name, split := range map[string]func(l *lab){
		"disk": func(l *lab) { l.machine("split", withDisk(vhdOf(`C:\split.vhd`))) },
		"configuration": func(l *lab) {
			l.machine("split", func(c *hyperv.VMConfig) { c.Root = `C:\VMs\split` })
		},
		"checkpoint": func(l *lab) { // of a machine without a VHD, whose new disk would be there too
			l.lun("lun", true)
			l.checkpoint(l.machine("split", snapshotsIn(`C:\Snapshots`), func(c *hyperv.VMConfig) {
				c.Disks, c.Guest = []hyperv.DiskConfig{{PassThrough: "lun"}}, nil
			}), "first")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			crew(l)
			split(l)
			l.note()
			var st vss.WriterStatus
			l.must(l.as("backup", l.by(&st, `D:\`)))
			if st.State != atPrepareSnapshot || st.Code != inconsistent || !strings.Contains(st.Message, "split: ") || !strings.Contains(st.Message, "lacks C:") {
				t.Errorf("%+v", st)
			}
			l.recovers()
		})
	}
}

// failedStorage is a management that tells of one machine that its storage failed.
type failedStorage struct {
	hyperv.Management
	vm string
}

const critical = hyperv.State(32785)

func (m *failedStorage) Machine(ctx context.Context, id [16]byte) (hyperv.Machine, error) {
	x, err := m.Management.Machine(ctx, id)
	if err == nil && x.Name() == m.vm {
		x.State, x.Facts.State, x.Facts.Guest = critical, critical, nil
	}
	return x, err
}

func (m *failedStorage) TurnOff(ctx context.Context, id [16]byte) error {
	if x, err := m.Machine(ctx, id); err != nil || x.State == critical {
		return errors.Join(err, &hyperv.Error{Op: "TurnOff", On: m.vm, State: critical, Err: hyperv.ErrInvalidState})
	}
	return m.Management.TurnOff(ctx, id)
}

// A machine whose storage failed fails the backup of all, for good, and can be
// neither turned off nor restored over.
func TestMachineWhoseStorageFailed(t *testing.T) {
	m := &failedStorage{}
	l := newLabOf(t, hyperv.HostConfig{Manage: func(inner hyperv.Management) hyperv.Management { m.Management = inner; return m }})
	l.running("db")
	l.running("web", stopped)
	target := l.mustBackup()
	saves := len(l.w.Trace().Select("hyperv/save"))
	m.vm = "db"
	_, err := l.backup()
	l.failsWith(err, atPrepareSnapshot, nonRetryable, "db: ", "critical (32785)")
	if n := len(l.w.Trace().Select("hyperv/save")); n != saves {
		t.Error("a machine was saved")
	}
	_, err = l.restore(target)
	l.failsWith(err, vss.StateFailedAtPreRestore, nonRetryable, "critical (32785)")
	if l.h.VM("db") == nil {
		t.Error("it is gone")
	}
	m.vm = ""
	l.mustRestore(target)
	l.mustBackup()
	l.settledNow()
}

// byHand makes a backup of all machines without the reference requester: it asks
// for volumes, and calls between at what is not yet begun ("DoSnapshotSet"). It
// returns the writer's status at the end, before the object is released.
func (l *lab) byHand(ctx context.Context, volumes []string, between func(next string, b *vss.BackupComponents) error) (st vss.WriterStatus, err error) {
	b, err := l.h.VSS().CreateBackupComponents(ctx)
	if err != nil {
		return st, err
	}
	defer func() { err = errors.Join(err, b.Release(ctx)) }()
	step := func(name string, do func() error) {
		if err == nil && between != nil {
			err = between(name, b)
		}
		if err == nil {
			err = do()
		}
	}
	step("Initialize", func() error {
		return errors.Join(b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}), b.GatherWriterMetadata(ctx))
	})
	step("AddComponent", func() error {
		m, err := b.GetWriterMetadata(0)
		if err != nil {
			return err
		}
		for _, c := range m.Components {
			err = errors.Join(err, b.AddComponent(ctx, vss.ComponentChoice{WriterID: m.Identity.WriterID, InstanceID: m.Identity.InstanceID, Type: c.Type, ComponentKey: c.ComponentKey}))
		}
		return err
	})
	step("StartSnapshotSet", func() error {
		_, err := b.StartSnapshotSet(ctx)
		for _, v := range volumes {
			if err == nil {
				_, err = b.AddToSnapshotSet(ctx, v, [16]byte{})
			}
		}
		return err
	})
	step("PrepareForBackup", func() error { return b.PrepareForBackup(ctx) })
	step("DoSnapshotSet", func() error { return b.DoSnapshotSet(ctx) })
	step("GatherWriterStatus", func() error { return b.GatherWriterStatus(ctx) })
	step("GetWriterStatus", func() error {
		st, err = b.GetWriterStatus(0)
		return err
	})
	if err == nil && st.Code == vss.SOK {
		step("BackupComplete", func() error { return b.BackupComplete(ctx) })
		step("Release", func() error { return nil })
	}
	return st, err
}

// F5: the volume of the machines has no room for the memory.
func TestF05_NoRoomForTheMemory(t *testing.T) {
	l := newLab(t)
	crew(l)
	l.running("big", stopped, withLedger(), func(c *hyperv.VMConfig) { c.Root, c.SnapshotRoot = `C:\VMs\big`, "" })
	c := l.h.Volume("C")
	c.SetCapacity(c.Capacity() - c.Free() + 8<<10)
	_, err := l.backup()
	l.failsWith(err, atPrepareSnapshot, nonRetryable, "big: ", "ERROR_DISK_FULL")
	l.goesOn("big", "web", "db", "erp")
	if l.exists(l.h.VM("big").MemoryPath()) {
		t.Error("a part of the memory is left")
	}
	l.settled()
	c.SetCapacity(1 << 40)
	l.recovers()
}

// F6: the guest dies while it is saved.
func TestF06_MachineDiesInTheSave(t *testing.T) {
	l := newLab(t, sim.Plan("hyperv/save on=h1/web kill=h1/web/guest"))
	crew(l)
	_, err := l.backup()
	l.failsWith(err, atPrepareSnapshot, nonRetryable, "web: ", "stopped meanwhile")
	if s := l.h.VM("web").State(); s != hyperv.StateOff {
		t.Errorf("web is %v", s)
	}
	l.works(l.h.VM("web"))
	l.recovers("web")
}

// F8: a veto by the program's own arguments is there in every backup; without the
// program the next one succeeds.
func TestF08_GuestWriterAlwaysRefuses(t *testing.T) {
	for _, event := range []string{"prepare-backup", "prepare-snapshot", "freeze", "thaw", "post-snapshot", "backup-complete"} {
		l := newLab(t)
		crew(l)
		bad := l.running("bad", withLedger("veto="+event, "hr=0x800423F3"))
		for range 2 {
			_, err := l.backup()
			l.failsWith(err, atPrepareSnapshot, retryable, "bad: ", "Ledger Writer")
			l.goesOn("bad", "db")
			l.settled()
		}
		l.must(bad.Guest().StopService(l.ctx(), string(guest.BackupService)))
		l.recovers()
	}
}

// F9: the guest's shadow copy is lost for want of room before the host's is made.
// The backup must not hold what nobody brought in order.
func TestF09_GuestLosesItsCopy(t *testing.T) {
	l := newLab(t)
	crew(l)
	db := l.h.VM("db")
	l.after = func(name string, s *guest.Snapshot) {
		if name == "db" {
			l.must(db.Guest().Disks()[0].Disk.Drop(s.Copies[0].ID))
		}
	}
	_, err := l.backup()
	l.failsWith(err, atPostSnapshot, retryable, "db: ", "system.vhd", "no such shadow copy")
	l.after = nil
	l.recovers()
}

func TestF09_TooManyCopies(t *testing.T) {
	l := newLab(t)
	crew(l)
	d := l.h.VM("db").Guest().Drives()[0]
	for i := range guest.MaxShadows {
		l.must(d.CreateShadow(l.ctx(), [16]byte{1, byte(i), byte(i >> 8)}))
	}
	_, err := l.backup()
	l.failsWith(err, atPrepareSnapshot, nonRetryable, "db: ")
	for _, id := range d.Shadows() {
		l.must(d.DeleteShadow(l.ctx(), id))
	}
	l.recovers()
}

// A machine that runs is backed up as often as one likes: no copy, and no memory
// of one, stays in the guest.
func TestBackupsLeaveNothingInTheGuest(t *testing.T) {
	l := newLab(t)
	db := l.running("db", withLedger())
	for range 20 {
		l.mustBackup()
	}
	g := db.Guest()
	if n, m := len(g.Drives()[0].Shadows()), len(g.VSS().Snapshots()); n != 0 || m != 0 {
		t.Errorf("%d copies, of which the service knows %d", n, m)
	}
	if n := len(l.h.Volume("D").Shadows()); n != 0 {
		t.Errorf("the host has %d copies", n)
	}
	l.settled()
}

// F10: somebody else changes a machine while the writer is at it.
func TestF10_MachineLeavesTheRunningState(t *testing.T) {
	for _, f := range []struct {
		name  string
		do    func(ctx context.Context, vm *hyperv.VM) error
		state hyperv.State
		code  vss.HRESULT
	}{
		{"power off", func(ctx context.Context, vm *hyperv.VM) error { return vm.TurnOff(ctx) }, hyperv.StateOff, nonRetryable},
		{"reset", func(ctx context.Context, vm *hyperv.VM) error { return vm.Reset(ctx) }, hyperv.StateRunning, nonRetryable},
		{"shutdown", func(ctx context.Context, vm *hyperv.VM) error { return vm.Guest().Shutdown(ctx) }, hyperv.StateOff, nonRetryable},
		{"death", func(_ context.Context, vm *hyperv.VM) error { vm.Guest().Actor().Kill(); return nil }, hyperv.StateOff, nonRetryable},
		{"pause", func(ctx context.Context, vm *hyperv.VM) error { return vm.Pause(ctx) }, hyperv.StatePaused, timedOut},
		{"save", func(ctx context.Context, vm *hyperv.VM) error { return vm.Save(ctx) }, hyperv.StateSaved, nonRetryable},
		{"service stops", func(ctx context.Context, vm *hyperv.VM) error {
			return vm.Guest().StopService(ctx, string(guest.BackupService))
		}, hyperv.StateRunning, nonRetryable},
	} {
		t.Run(f.name, func(t *testing.T) {
			l := newLab(t, sim.Plan("vss/freeze on=h1/erp/guest/ledger delay=20s"))
			crew(l)
			erp := l.h.VM("erp")
			var done *sim.Proc
			l.must(l.w.Do(l.ctx(), func(ctx context.Context) error {
				done = l.w.Actor("administrator").Go("waits for the freeze", func(ctx context.Context) error {
					for len(l.events(func(e sim.Event) bool { return e.Kind == "vss/freeze" && strings.HasPrefix(e.Actor, "h1/erp/") })) == 0 {
						if err := sim.Sleep(ctx, time.Second); err != nil {
							return err
						}
					}
					return f.do(ctx, erp)
				})
				return nil
			}))
			_, err := l.backup()
			l.must(done.Wait(l.ctx()))
			l.failsWith(err, atPrepareSnapshot, f.code, "erp: ")
			if erp.State() != f.state {
				t.Errorf("erp is %v, want %v", erp.State(), f.state)
			}
			l.advance(time.Hour)
			switch f.state {
			case hyperv.StatePaused: // what was begun inside is undone when it goes on
				l.must(erp.Resume(l.ctx()))
				l.advance(time.Hour)
			case hyperv.StateOff: // and nothing stays when it is not
				if ids := erp.Guest(); ids != nil {
					t.Error("erp executes")
				}
			}
			if f.state != hyperv.StateSaved && f.state != hyperv.StateOff {
				l.goesOn("erp")
			}
			l.recovers("erp")
		})
	}
}

// F11: another writer of the host fails, and the requester gives up.
func TestF11_AnotherWriterFails(t *testing.T) {
	for _, at := range []string{"prepare-backup", "prepare-snapshot", "freeze", "thaw", "post-snapshot"} {
		l := newLab(t, sim.Plan("vss/"+at+" on=other err=0x800423F4"))
		crew(l)
		l.addWriter(nil)
		if _, err := l.backup(); len(writers(err)) != 1 || writers(err)[0].Name != "Other Writer" {
			t.Errorf("%s: %v", at, err)
		}
		l.recovers()
	}
}

// F12: the shadow copy of the host fails.
func TestF12_ProviderFails(t *testing.T) {
	for _, plan := range []string{
		"provider/end-prepare on=h1/vss/swprv err=0x80042306",
		"provider/pre-commit on=h1/vss/swprv err=0x80042306",
		"provider/commit on=h1/vss/swprv err=0x80042306",
		"provider/commit on=h1/vss/swprv delay=11s",
		"volume/flush on=h1/vss/D: err=0x80042313",
		"volume/hold on=h1/vss/D: err=0x80042314",
		"provider/post-commit on=h1/vss/swprv err=0x80042306",
		"provider/pre-final-commit on=h1/vss/swprv err=0x80042306",
		"provider/post-final-commit on=h1/vss/swprv err=0x80042306",
	} {
		l := newLab(t, sim.Plan(plan))
		crew(l)
		_, err := l.backup()
		var e *requester.Error
		if !errors.As(err, &e) || e.Phase != "DoSnapshotSet" || vss.HRESULTOf(e.Err) == vss.ErrUnexpected {
			t.Errorf("%s: %v", plan, err)
		}
		if len(l.w.Unreached()) > 0 {
			t.Errorf("%s was never reached", plan)
		}
		l.recovers()
	}
}

// F13: whoever asked for the backup dies in the middle. The service notices, and
// the writer undoes what it did.
func TestF13_RequesterDies(t *testing.T) {
	for _, plan := range []string{
		"vss/prepare-backup on=h1/vmms kill=backup",
		"hyperv/save on=h1/web kill=backup",
		"hyperv/save on=h1/app kill=backup",
		"guest/answer on=h1/db/* kill=backup",
		"guest/snapshot on=h1/erp/* kill=backup",
		"vss/freeze on=h1/vmms kill=backup",
		"provider/commit on=h1/vss/swprv kill=backup",
		"vss/thaw on=h1/vmms kill=backup",
		"vss/post-snapshot on=h1/vmms kill=backup",
		"hyperv/mount on=h1/db kill=backup",
		"provider/post-final-commit on=h1/vss/swprv kill=backup",
		"requester/copy kill=backup", // F17: between PostSnapshot and BackupComplete
		"vss/backup-complete on=h1/vmms kill=backup",
		"vss/backup-shutdown on=h1/vmms kill=backup",
	} {
		t.Run(plan, func(t *testing.T) {
			l := newLab(t, sim.Plan(plan))
			crew(l)
			_, err := l.backup()
			if !errors.Is(err, sim.ErrDead) || len(l.w.Unreached()) > 0 {
				t.Errorf("%v, %v", err, l.w.Unreached())
			}
			l.advance(time.Minute)
			l.recovers()
		})
	}
}

// F13: the service dies. Nobody tells the writer; what it did is undone when the
// management service is started anew.
func TestF13_ServiceDies(t *testing.T) {
	l := newLab(t, sim.Plan("provider/commit on=h1/vss/swprv kill=h1/vss"))
	crew(l)
	if _, err := l.backup(); err == nil {
		t.Fatal("the backup succeeds")
	}
	l.advance(time.Minute)
	if s := l.h.VM("web").State(); s != hyperv.StateSaved {
		t.Errorf("web is %v before anybody notices", s)
	}
	l.must(l.h.StopManagement(l.ctx()))
	_ = l.h.StartManagement(l.ctx())
	for name, want := range l.prior {
		if s := l.h.VM(name).State(); s != want {
			t.Errorf("%s is %v and was %v", name, s, want)
		}
		if by := l.h.VM(name).LockedBy(); by != "" {
			t.Errorf("%s is held by %s", name, by)
		}
	}
	l.goesOn("db", "erp", "web")
}

// F14: a machine cannot be brought back. All others are, and it stays saved,
// which the audit says, until somebody starts it.
func TestF14_MachineCannotBeBroughtBack(t *testing.T) {
	l := newLab(t, sim.Plan("hyperv/start on=h1/web from=2 err=0x8007000E"))
	crew(l)
	_, err := l.backup()
	l.failsWith(err, atPostSnapshot, nonRetryable, "web: ", "0x8007000E")
	if web, app := l.h.VM("web").State(), l.h.VM("app").State(); web != hyperv.StateSaved || app != hyperv.StatePaused {
		t.Errorf("web is %v, app is %v", web, app)
	}
	left := hyperv.Audit(l.h)
	if len(left) != 1 || left[0].On != "web" || !strings.Contains(left[0].String(), "saved by the writer") || left[0].Err == nil {
		t.Errorf("the audit finds %v", left)
	}
	l.w.Heal()
	l.mustBackup() // of web as it stands
	l.must(l.h.VM("web").Start(l.ctx()))
	l.goesOn("web", "db", "erp")
	l.note()
	l.recovers()
}

// F15: one machine's disk cannot be rolled back. The others' are, in the backup
// that is worthless all the same.
func TestF15_OneRollbackFails(t *testing.T) {
	l := newLab(t, sim.Plan("hyperv/revert on=h1/db err=0x8007001F"))
	crew(l)
	_, err := l.backup()
	l.failsWith(err, atPostSnapshot, retryable, "db: ")
	if e := l.event("hyperv/roll-back"); e.Get("vm") != "erp" {
		t.Errorf("%v", e)
	}
	if n := len(l.w.Trace().Select("hyperv/bring-back")); n != 2 {
		t.Errorf("%d machines were brought back", n)
	}
	if n := len(l.w.Trace().Select("requester/copy")); n != 0 {
		t.Errorf("%d files were copied", n)
	}
	l.recovers()
}

// A failure can be read with the component of its machine.
func TestFailuresAreNotedWithTheComponent(t *testing.T) {
	for plan, read := range map[string]func(r *vss.ComponentRecord) string{
		"hyperv/revert on=h1/db err=0x8007001F":        func(r *vss.ComponentRecord) string { return r.PostSnapshotFailure },
		"hyperv/start on=h1/web nth=2 err=0x8007000E":  func(r *vss.ComponentRecord) string { return r.PostSnapshotFailure },
		"hyperv/drop-snapshot on=h1/db err=0x80070020": func(r *vss.ComponentRecord) string { return r.PostSnapshotFailure },
		"": func(r *vss.ComponentRecord) string { return r.PrepareForBackupFailure },
	} {
		l := newLab(t, sim.Plan(slices.DeleteFunc([]string{plan}, func(s string) bool { return s == "" })...))
		crew(l)
		bad := map[bool]string{true: "web", false: "db"}[strings.Contains(plan, "web")]
		if plan == "" {
			l.must(l.h.VM(bad).Lock("export"))
		}
		found := 0
		l.note()
		l.must(l.as("backup", func(ctx context.Context) error {
			_, err := l.byHand(ctx, []string{`C:\`, `D:\`}, func(next string, b *vss.BackupComponents) error {
				if next != "GetWriterStatus" {
					return nil
				}
				w, err := b.GetWriterComponents(0)
				for _, c := range w.Components {
					text := read(c)
					if vm := l.machineOf(c.Name); (vm == bad) != (text != "") || text != "" && !strings.HasPrefix(text, bad+": ") {
						t.Errorf("%q: %s has %q", plan, vm, text)
					}
					found++
				}
				return err
			})
			return err
		}))
		if found == 0 {
			t.Error("no component")
		}
		l.h.VM(bad).Unlock()
		l.recovers()
	}
}

// A failure in PrepareForSnapshot, where a writer has no components, can be read in
// the writer's status: it begins with the machine, and names no other.
func TestFailureInPrepareForSnapshotNamesTheMachine(t *testing.T) {
	for bad, plan := range map[string]string{
		"web": "hyperv/save on=h1/web err=0x80070070",
		"app": "hyperv/save on=h1/app err=0x80070070",
		"db":  "guest/snapshot on=h1/db/* err=0x8007001F",
		"erp": "vss/freeze on=h1/erp/guest/ledger err=0x800423F4",
	} {
		l := newLab(t, sim.Plan(plan))
		crew(l)
		l.note()
		var st vss.WriterStatus
		l.must(l.as("backup", func(ctx context.Context) (err error) {
			st, err = l.byHand(ctx, []string{`C:\`, `D:\`}, func(next string, b *vss.BackupComponents) error {
				if next != "GetWriterStatus" {
					return nil
				}
				w, err := b.GetWriterComponents(0)
				for _, c := range w.Components {
					if c.PrepareForBackupFailure+c.PostSnapshotFailure != "" || c.Failure != nil || c.BackupMetadata != nil {
						t.Errorf("%q: the component of %s says %+v", plan, l.machineOf(c.Name), c)
					}
				}
				return err
			})
			return err
		}))
		if st.State != atPrepareSnapshot || !strings.HasPrefix(st.Message, bad+": ") {
			t.Errorf("%q: %v, %s", plan, st.State, st.Message)
		}
		for _, vm := range l.h.VMs() {
			if vm.Name() != bad && strings.Contains(st.Message, vm.Name()+": ") {
				t.Errorf("%q: the status names %s: %s", plan, vm.Name(), st.Message)
			}
		}
		l.recovers()
	}
}

// machineOf is the name of the machine that a component stands for.
func (l *lab) machineOf(component string) string {
	for _, vm := range l.h.VMs() {
		if strings.Contains(vm.String(), component) {
			return vm.Name()
		}
	}
	return ""
}

// F19: every process of the machines dies, and the management service. Saved machines are saved still, the others are off; what a
// guest had left in its disks is dropped when it boots.
func TestF19_AllProcessesDie(t *testing.T) {
	l := newLab(t, sim.Plan("provider/commit on=h1/vss/swprv kill=h1/vmms"))
	crew(l)
	l.after = nil
	_, err := l.backup()
	if err == nil {
		t.Fatal("the backup succeeds without its writer")
	}
	for _, vm := range l.h.VMs() {
		if a := l.w.Find("h1/" + vm.Name()); a != nil {
			a.Kill()
		}
	}
	l.advance(time.Minute)
	for name, want := range map[string]hyperv.State{"db": hyperv.StateOff, "erp": hyperv.StateOff, "off": hyperv.StateOff,
		"web": hyperv.StateSaved, "app": hyperv.StateSaved, "mine": hyperv.StateSaved} {
		if s := l.h.VM(name).State(); s != want {
			t.Errorf("%s is %v, want %v", name, s, want)
		}
	}
	if left := hyperv.Audit(l.h); !slices.ContainsFunc(left, func(x hyperv.Leftover) bool { return x.On == "db" && strings.Contains(x.What, "is kept in system.vhd") }) {
		t.Errorf("the audit finds %v", left)
	}
	l.must(l.h.VM("erp").Start(l.ctx()))
	l.must(l.h.StartManagement(l.ctx()))
	l.recovers("db")
	if errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
