package hyperv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestR20_OrdinarySequenceOfEvents(t *testing.T) {
	l := newLab(t)
	l.running("db")
	l.running("web", stopped)
	l.mustBackup()
	var got []string
	for _, e := range l.w.Trace() {
		if e.Actor == "h1/vmms" && strings.HasPrefix(e.Kind, "vss/") && !strings.HasSuffix(e.Kind, ".end") {
			got = append(got, strings.TrimPrefix(e.Kind, "vss/"))
		}
	}
	want := []string{"identify", "prepare-backup", "prepare-snapshot", "freeze", "thaw", "post-snapshot", "backup-complete", "backup-shutdown"}
	if !slices.Equal(got, want) {
		t.Errorf("the writer got %v", got)
	}
}

func TestR21_TheWorkIsDoneInPrepareForSnapshot(t *testing.T) {
	l := newLab(t)
	l.running("db")
	l.running("web", stopped)
	l.mustBackup()
	for _, kind := range []string{"hyperv/save", "hyperv/child-snapshot", "hyperv/child-snapshot.end", "guest/backup", "guest/save"} {
		l.within(l.event(kind), "vss/prepare-snapshot")
	}
}

func TestR22_TheWriterBelongsToTheManagementService(t *testing.T) {
	l := newLab(t)
	l.running("db")
	if hyperv.ManagementService != "Hyper-V Virtual Machine Management" || !l.h.ManagementRunning() || l.h.Writer() == nil {
		t.Errorf("%q runs: %v", hyperv.ManagementService, l.h.ManagementRunning())
	}
	before := l.h.VSS().Writers()
	l.must(l.h.StopManagement(l.ctx()))
	if n := len(l.h.VSS().Writers()); n != 0 || l.h.ManagementRunning() || l.h.Writer() != nil {
		t.Errorf("%d writers without the service", n)
	}
	if _, err := l.backup(); !errors.Is(err, requester.ErrNothing) {
		t.Errorf("a backup without the service: %v", err)
	}
	l.must(l.h.StartManagement(l.ctx()))
	after := l.h.VSS().Writers()
	if len(after) != 1 || after[0].ClassID() != hyperv.WriterID || after[0].InstanceID() == before[0].InstanceID() {
		t.Errorf("the new run has the writers %v", after)
	}
	l.mustBackup()
	l.settled()
}

// The child goes on writing; what it reads is never what the host rolls back.
func TestR23_TheRollbackIsNotVisibleToTheChild(t *testing.T) {
	l := newLab(t)
	vm := l.running("db", withLedger("rest=10ms"))
	l.advance(time.Second)
	l.write(vm, "C:", blockX, 'a')
	l.after = func(string, *guest.Snapshot) { l.writeNow(vm, "C:", blockX, 'b') }
	target := l.mustBackup()
	if l.event("hyperv/roll-back").Get("vm") != "db" {
		t.Error("nothing was rolled back")
	}
	if got := byteAt(t, volumeIn(t, vm.Guest().Disks()[0].Disk, 0), blockX); got != 'b' {
		t.Errorf("the child reads %c", got)
	}
	if got := byteAt(t, volumeIn(t, l.diskIn(target, `D:\VMs\db\system.vhd`), 0), blockX); got != 'a' {
		t.Errorf("the backup holds %c", got)
	}
	from, to := l.span("vss/post-snapshot")
	for _, e := range l.events(func(e sim.Event) bool {
		return e.Seq > from && e.Seq < to && (e.Kind == "vm/state" || e.Kind == "guest/program")
	}) {
		t.Errorf("the child sees %v", e)
	}
	if c, report := ledger.Check(volumeIn(t, vm.Guest().Disks()[0].Disk, 0), volumeIn(t, vm.Guest().Disks()[0].Disk, 0)); c == ledger.Torn {
		t.Errorf("the live ledger is %v: %v", c, report)
	}
}

// writeNow writes from within the world, as a program of the guest would.
func (l *lab) writeNow(vm *hyperv.VM, volume string, off int64, b byte) {
	l.t.Helper()
	ctx := l.w.Current()
	d, err := vm.Guest().Drive(volume)
	if err == nil {
		_, err = d.Open(ctx).WriteAt(slices.Repeat([]byte{b}, 512), off)
	}
	if err != nil {
		l.t.Error(err)
	}
}

// identified are the components that the writer lists now.
func (l *lab) identified() *vss.WriterMetadata {
	l.t.Helper()
	var m *vss.WriterMetadata
	l.must(l.as("identify", func(ctx context.Context) error {
		b, err := l.h.VSS().CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = b.Release(ctx) }()
		if err := errors.Join(b.InitializeForBackup(ctx, nil), b.GatherWriterMetadata(ctx)); err != nil {
			return err
		}
		m, err = b.GetWriterMetadata(0)
		return err
	}))
	return m
}

func TestR24_TheUnitIsTheMachineInTheMetadata(t *testing.T) {
	l := newLab(t)
	vms := []*hyperv.VM{l.running("db"), l.machine("off"), l.running("web", stopped)}
	list := l.identified().Components
	for i, vm := range vms {
		c := list[i]
		method := vm.Decide().Method
		if c.Name != guid.Upper(vm.ID()) || c.LogicalPath != "" || c.Type != vss.ComponentFileGroup || !c.Selectable || c.NotifyOnBackupComplete || c.Caption != method.Caption(vm.Name()) {
			t.Errorf("%+v", c)
		}
		var files []string
		for _, f := range c.Files {
			files = append(files, f.Path+`\`+f.Spec)
		}
		root := `D:\VMs\` + vm.Name()
		want := []string{
			root + `\Virtual Machines\` + guid.Upper(vm.ID()) + ".xml",
			root + `\Virtual Machines\` + guid.Upper(vm.ID()) + `\*`,
			root + `\system.vhd`,
		}
		if !slices.Equal(files, want) {
			t.Errorf("%s has %q", vm.Name(), files)
		}
	}
	if len(list) != len(vms) {
		t.Errorf("%d components", len(list))
	}
	l.mustBackup(only("web"))
	if n := len(l.w.Trace().Select("hyperv/decide")); n != 1 {
		t.Errorf("%d machines were touched by a backup of one", n)
	}
}

func TestR25_EverySavedStateMachineIsSaved(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"one", "two", "three"} {
		l.running(name, stopped)
	}
	l.mustBackup()
	for _, name := range []string{"one", "two", "three"} {
		l.within(l.event("vm/state", "vm="+name, "to=saved"), "vss/prepare-snapshot")
	}
}

func TestR26_ACompleteSequenceInEachChild(t *testing.T) {
	l := newLab(t)
	l.running("db", withLedger())
	l.running("erp", withLedger())
	l.mustBackup()
	want := []string{"identify", "prepare-backup", "prepare-snapshot", "freeze", "thaw", "post-snapshot", "backup-complete", "backup-shutdown"}
	for _, name := range []string{"db", "erp"} {
		var got []string
		for _, e := range l.events(inside(name)) {
			if kind, end := strings.CutSuffix(e.Kind, ".end"); !end {
				got = append(got, strings.TrimPrefix(kind, "vss/"))
			} else if e.Get("outcome") != "true" {
				t.Errorf("%v", e)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in %s: %v", name, got)
		}
	}
}

func TestR27_GuestEventsInsidePrepareForSnapshot(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"db", "erp"} {
		l.running(name, withLedger())
	}
	l.mustBackup()
	for _, name := range []string{"db", "erp"} {
		list := l.events(inside(name))
		if len(list) != 16 {
			t.Errorf("%d events in %s", len(list), name)
		}
		for _, e := range list {
			l.within(e, "vss/prepare-snapshot")
		}
	}
}

func TestR28_PrepareForSnapshotEndsAfterTheLastMachine(t *testing.T) {
	l := newLab(t, sim.Plan("hyperv/save on=h1/web delay=5m", "guest/answer on=h1/db/* delay=5m"))
	l.running("db", withLedger())
	l.running("web", stopped)
	l.mustBackup()
	_, end := l.span("vss/prepare-snapshot")
	for _, e := range []sim.Event{l.event("hyperv/child-snapshot.end", "vm=db", "copies=1"), l.event("vm/state", "vm=web", "to=saved"), l.event("guest/backup.end")} {
		if e.Seq > end {
			t.Errorf("after the end: %v", e)
		}
	}
	if left := l.w.Unreached(); len(left) > 0 {
		t.Errorf("nobody was slow: %v", left)
	}
}

// idle checks that the writer did nothing while it handled an event.
func (l *lab) idle(kind string) {
	l.t.Helper()
	from, to := l.span(kind)
	var began time.Duration
	for _, e := range l.w.Trace() {
		switch {
		case e.Seq == from:
			began = e.Time
		case e.Seq == to && e.Time != began:
			l.t.Errorf("%s took %v", kind, e.Time-began)
		case e.Seq > from && e.Seq < to && e.Get("work") != "none":
			l.t.Errorf("in %s: %v", kind, e)
		}
	}
	l.within(l.event(strings.Replace(kind, "vss", "hyperv", 1)), kind)
}

// newCounted is a lab whose management notes at which event of the trace it is called.
func newCounted(t *testing.T) (*lab, *counted) {
	c := &counted{}
	l := newLabOf(t, hyperv.HostConfig{Manage: func(m hyperv.Management) hyperv.Management {
		c.m = m
		return c
	}})
	c.now = func() uint64 { return l.w.Trace()[len(l.w.Trace())-1].Seq }
	l.running("db")
	l.running("web", stopped)
	l.mustBackup()
	return l, c
}

// A counted management notes every call.
type counted struct {
	m     hyperv.Management
	now   func() uint64
	calls []uint64 // the last event of the trace at each
}

func (c *counted) call() hyperv.Management {
	if c.now != nil {
		c.calls = append(c.calls, c.now())
	}
	return c.m
}

func (c *counted) Machines(ctx context.Context) ([]hyperv.Machine, error) {
	return c.call().Machines(ctx)
}

func (c *counted) Machine(ctx context.Context, id [16]byte) (hyperv.Machine, error) {
	return c.call().Machine(ctx, id)
}

func (c *counted) Lock(ctx context.Context, id [16]byte, op string) error {
	return c.call().Lock(ctx, id, op)
}

func (c *counted) Unlock(ctx context.Context, id [16]byte) error { return c.call().Unlock(ctx, id) }
func (c *counted) Save(ctx context.Context, id [16]byte) error   { return c.call().Save(ctx, id) }

func (c *counted) Restore(ctx context.Context, id [16]byte, to hyperv.State) error {
	return c.call().Restore(ctx, id, to)
}

func (c *counted) TurnOff(ctx context.Context, id [16]byte) error { return c.call().TurnOff(ctx, id) }

func (c *counted) Requestor(ctx context.Context, id [16]byte) (guest.Requestor, error) {
	return c.call().Requestor(ctx, id)
}

func (c *counted) DropSnapshots(ctx context.Context, id [16]byte, copies []guest.Copy) error {
	return c.call().DropSnapshots(ctx, id, copies)
}

func (c *counted) Delete(ctx context.Context, id [16]byte) error { return c.call().Delete(ctx, id) }

func (c *counted) Register(ctx context.Context, path string) (hyperv.Machine, error) {
	return c.call().Register(ctx, path)
}

func (c *counted) Configure(ctx context.Context, id [16]byte, conf *hyperv.Configuration) error {
	return c.call().Configure(ctx, id, conf)
}

func (c *counted) Connect(ctx context.Context, id [16]byte, adapter int, to [16]byte) error {
	return c.call().Connect(ctx, id, adapter, to)
}

// notCalled checks that the writer called its management during a backup, but not
// while it handled an event.
func (c *counted) notCalled(l *lab, kind string) {
	l.t.Helper()
	from, to := l.span(kind)
	before, behind := 0, 0
	for _, at := range c.calls {
		switch {
		case at < from:
			before++
		case at >= to:
			behind++
		default:
			l.t.Errorf("the management is called in %s, behind event %d", kind, at)
		}
	}
	if before == 0 || behind == 0 {
		l.t.Errorf("%d calls before %s and %d behind it", before, kind, behind)
	}
}

func TestR29_NothingInFreeze(t *testing.T) {
	l, c := newCounted(t)
	l.idle("vss/freeze")
	c.notCalled(l, "vss/freeze")
}

func TestR30_NothingInThaw(t *testing.T) {
	l, c := newCounted(t)
	l.idle("vss/thaw")
	c.notCalled(l, "vss/thaw")
}

func TestR31_OnlyWhatTheWriterSavedComesBack(t *testing.T) {
	l := newLab(t)
	web := l.running("web", stopped)
	mine := l.saved("mine")
	l.mustBackup()
	if web.State() != hyperv.StateRunning || mine.State() != hyperv.StateSaved {
		t.Errorf("web is %v, mine is %v", web.State(), mine.State())
	}
	l.within(l.event("hyperv/bring-back", "vm=web"), "vss/post-snapshot")
	l.settled()
}

func TestR32_BackToTheStateBefore(t *testing.T) {
	l := newLab(t)
	web := l.running("web", stopped)
	pause := l.paused("pause")
	l.mustBackup()
	if web.State() != hyperv.StateRunning || pause.State() != hyperv.StatePaused {
		t.Errorf("web is %v, pause is %v", web.State(), pause.State())
	}
	l.within(l.event("vm/state", "vm=pause", "from=starting", "to=paused"), "vss/post-snapshot")
	l.must(pause.Resume(l.ctx()))
	if pause.Guest() == nil || pause.Guest().Ended() {
		t.Error("the paused machine does not go on")
	}
}

func TestR33_TheShadowCopyIsRolledBackToTheGuestsSnapshot(t *testing.T) {
	l := newLab(t).noting()
	vm := l.running("db", also("data.vhd", guest.NTFS, guest.NTFS), withLedger("data=D:", "log=E:", "rest=10ms"))
	l.advance(time.Second)
	target := l.mustBackup()
	live := vm.Guest().Disks()
	for i, at := range []struct {
		vhd string
		n   int
	}{{"system", 0}, {"data", 0}, {"data", 1}} {
		name := string(rune('C'+i)) + ":"
		got := read(t, volumeIn(t, l.diskIn(target, `D:\VMs\db\`+at.vhd+`.vhd`), at.n))
		if want := l.spy.shadows["db"][name]; want == nil || !slices.Equal(got, want) {
			t.Errorf("%s in the backup is not the guest's own copy", name)
		}
		if i > 0 && slices.Equal(got, read(t, volumeIn(t, live[1].Disk, at.n))) {
			t.Errorf("%s has not changed since, so that nothing is shown", name)
		}
	}
	for _, e := range l.w.Trace().Select("hyperv/roll-back") {
		l.within(e, "vss/post-snapshot")
	}
}

// A VHD with nothing on it but an EFI system partition takes no part in the
// guest's snapshot, and so stays as the host's shadow copy has it.
func TestR34_OnlyVHDsWithSnapshotsAreRolledBack(t *testing.T) {
	l := newLab(t)
	efi := vhdOf(`D:\VMs\db\efi.vhd`)
	efi.Format = &guest.DiskSpec{Scheme: guest.GPT, Partitions: []guest.PartitionSpec{{Role: guest.RoleEFI, FileSystem: guest.FileSystem{Kind: guest.FAT16}}}}
	vm := l.running("db", withDisk(efi))
	l.running("web", stopped)
	l.decides(vm, hyperv.MethodChildSnapshot)
	l.after = func(string, *guest.Snapshot) {
		for _, d := range vm.Guest().Disks() {
			if _, err := d.Disk.WriteAt([]byte("b"), blockX); err != nil {
				t.Error(err)
			}
		}
	}
	target := l.mustBackup()
	if e := l.event("hyperv/roll-back"); e.Get("vhd") != `D:\VMs\db\system.vhd` {
		t.Errorf("%v", e)
	}
	for path, want := range map[string]byte{`D:\VMs\db\system.vhd`: 0, `D:\VMs\db\efi.vhd`: 'b'} {
		if got := byteAt(t, l.diskIn(target, path), blockX); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
}

func TestR35_NoGuestWriterInPostSnapshot(t *testing.T) {
	l := newLab(t)
	l.running("db", withLedger("rest=10ms"))
	l.mustBackup()
	l.within(l.event("hyperv/roll-back"), "vss/post-snapshot")
	from, to := l.span("vss/post-snapshot")
	for _, e := range l.events(inside("db")) {
		if e.Seq > from && e.Seq < to {
			t.Errorf("%v", e)
		}
	}
}

func TestR36_SnapshotsAreAutoRecoverable(t *testing.T) {
	l := newLab(t)
	l.running("db", withLedger())
	l.running("web", stopped)
	without := func(r *requester.Backup) {
		r.Context = vss.ContextAppRollback | vss.SnapshotContext(vss.AttrNoAutoRecovery)
	}
	_, err := l.backup(without)
	l.failsWith(err, vss.StateFailedAtPrepareSnapshot, vss.ErrWriterErrorRetryable, "db", "VSS_VOLSNAP_ATTR_NO_AUTORECOVERY")
	if len(l.w.Trace().Select("guest/backup")) != 0 {
		t.Error("the guest was asked all the same")
	}
	l.settled()
	_, err = l.backup(without, only("web")) // nothing is rolled back here
	l.must(err)
	l.mustBackup()
	e := l.events(func(e sim.Event) bool { return e.Kind == "requester/SetContext" && e.Actor == "h1/db/guest/vmicvss" })
	if len(e) == 0 || e[0].Get("context") != "VSS_CTX_APP_ROLLBACK" {
		t.Errorf("the guest's context: %v", e)
	}
}

func TestR37_NoPartialBackups(t *testing.T) {
	l := newLab(t)
	l.running("good")
	l.running("bad", withLedger("veto=freeze"))
	_, err := l.backup()
	l.failsWith(err, vss.StateFailedAtPrepareSnapshot, vss.ErrWriterErrorNonRetryable, "bad")
	for _, kind := range []string{"requester/copy", "requester/SetBackupSucceeded", "requester/BackupComplete"} {
		for _, e := range l.events(func(e sim.Event) bool { return e.Kind == kind && e.Actor == "backup" }) {
			t.Errorf("%v", e)
		}
	}
	l.settled()
	// A requester that vouches for the files all the same is not believed: for the
	// writer no machine has been backed up, and it has noted none for a restore.
	l.must(l.as("backup", func(ctx context.Context) error {
		st, err := l.byHand(ctx, []string{`C:\`, `D:\`}, func(next string, b *vss.BackupComponents) error {
			if next != "GetWriterStatus" {
				return nil
			}
			w, err := b.GetWriterComponents(0)
			for _, c := range w.Components {
				if c.BackupMetadata != nil {
					t.Errorf("the writer has noted %s", l.machineOf(c.Name))
				}
				choice := vss.ComponentChoice{WriterID: w.WriterID, InstanceID: w.InstanceID, Type: c.Type, ComponentKey: c.ComponentKey}
				err = errors.Join(err, b.SetBackupSucceeded(ctx, choice, true))
			}
			return errors.Join(err, b.BackupComplete(ctx), b.GatherWriterStatus(ctx))
		})
		if st.State != vss.StateFailedAtPrepareSnapshot {
			t.Errorf("the writer is %v", st.State)
		}
		return err
	}))
	for _, vm := range l.h.VMs() {
		if at, ok := vm.LastSuccessfulBackupTime(); ok {
			t.Errorf("%s was backed up at %v", vm.Name(), at)
		}
	}
	l.settled()
}

func TestR38_OneFailureAndNoMachineIsBackedUp(t *testing.T) {
	l := newLab(t)
	l.running("first")
	l.running("web", stopped)
	l.paused("pause")
	l.running("bad", withLedger("veto=prepare-snapshot"))
	l.running("last")
	_, err := l.backup()
	l.failsWith(err, vss.StateFailedAtPrepareSnapshot, vss.ErrWriterErrorNonRetryable, "bad")
	undo := l.event("hyperv/undo")
	l.within(undo, "vss/prepare-snapshot")
	for name, to := range map[string]string{"web": "running", "pause": "paused"} {
		l.within(l.event("vm/state", "vm="+name, "from=saved", "to=starting"), "vss/prepare-snapshot")
		list := l.events(func(e sim.Event) bool { return e.Kind == "vm/state" && e.Get("vm") == name })
		if back := list[len(list)-1]; back.Get("to") != to || back.Seq < undo.Seq {
			t.Errorf("%v", back)
		}
	}
	if n := len(l.events(func(e sim.Event) bool { return e.Kind == "hyperv/child-snapshot" && e.Get("vm") == "last" })); n != 0 {
		t.Error("the last machine was asked after the failure")
	}
	l.settled()
}

// excluded tells that a disk is in no part of a backup.
func (l *lab) excluded(target *requester.Memory, name string, marker byte) {
	l.t.Helper()
	for _, c := range l.identified().Components {
		for _, f := range c.Files {
			if strings.Contains(f.Path+f.Spec, name) {
				l.t.Errorf("%s is listed: %v", name, f)
			}
		}
	}
	for path := range l.vhdsIn(target) {
		if b := l.bytesIn(target, path); slices.Contains(b, marker) {
			l.t.Errorf("%s holds bytes of %s", path, name)
		}
	}
}

func (l *lab) vhdsIn(target *requester.Memory) map[string]*vhd.Image {
	out := make(map[string]*vhd.Image)
	for _, vm := range l.h.VMs() {
		for _, path := range vm.Configuration().VHDPaths() {
			out[path] = l.diskIn(target, path)
		}
	}
	return out
}

func TestR39_PassThroughDisksAreNotInTheBackup(t *testing.T) {
	l := newLab(t).noting()
	lun := l.lun("lun0", false)
	vm := l.running("db", withDisk(hyperv.DiskConfig{PassThrough: "lun0"}))
	l.decides(vm, hyperv.MethodChildSnapshot)
	l.write(vm, "D:", blockX, 0xA7)
	target := l.mustBackup()
	if e := l.event("hyperv/excluded-disk"); e.Get("disk") != "lun0" || e.Rule != "R39" {
		t.Errorf("%v", e)
	}
	l.excluded(target, "lun0", 0xA7)
	if len(l.spy.shadows["db"]) != 1 || len(lun.KeptIDs()) != 0 {
		t.Errorf("the guest snapshotted %d volumes", len(l.spy.shadows["db"]))
	}
}

func TestR40_ISCSIDisksAreNotInTheBackup(t *testing.T) {
	l := newLab(t).noting()
	l.lun("iqn.2008-06.test:data", false)
	vm := l.running("db", withDisk(hyperv.DiskConfig{Initiator: "iqn.2008-06.test:data"}))
	l.decides(vm, hyperv.MethodChildSnapshot)
	l.write(vm, "D:", blockX, 0xA7)
	target := l.mustBackup()
	if e := l.event("hyperv/excluded-disk"); e.Get("disk") != "iqn.2008-06.test:data" || e.Rule != "R40" {
		t.Errorf("%v", e)
	}
	l.excluded(target, "iqn", 0xA7)
	if len(l.spy.shadows["db"]) != 1 {
		t.Errorf("the guest snapshotted %d volumes", len(l.spy.shadows["db"]))
	}
}

// A backup program inside the machine reaches the disks that the host does not.
func TestR41_SuchVolumesAreBackedUpFromInside(t *testing.T) {
	l := newLab(t)
	l.lun("lun0", false)
	l.lun("iqn.test", false)
	vm := l.running("db", withDisk(hyperv.DiskConfig{PassThrough: "lun0"}), withDisk(hyperv.DiskConfig{Initiator: "iqn.test"}))
	marks := map[string]byte{`D:\`: 'p', `E:\`: 'i'}
	copies := make(map[string][16]byte)
	for volume, mark := range marks {
		l.write(vm, volume, dataOff, mark)
	}
	l.must(vm.Guest().Actor().Call(l.ctx(), "backup program", func(ctx context.Context) error {
		b, err := vm.Guest().VSS().CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = b.Release(ctx) }()
		if err := errors.Join(b.InitializeForBackup(ctx, nil), b.SetContext(ctx, vss.ContextAppRollback), b.SetBackupState(ctx, vss.BackupState{Type: vss.BackupFull}), b.GatherWriterMetadata(ctx)); err != nil {
			return err
		}
		if _, err := b.StartSnapshotSet(ctx); err != nil {
			return err
		}
		for _, volume := range []string{`D:\`, `E:\`} {
			id, err := b.AddToSnapshotSet(ctx, volume, [16]byte{})
			if err != nil {
				return fmt.Errorf("%s: %w", volume, err)
			}
			copies[volume] = id
		}
		return errors.Join(b.PrepareForBackup(ctx), b.DoSnapshotSet(ctx), b.BackupComplete(ctx))
	}))
	for volume, mark := range marks {
		l.write(vm, volume, dataOff, 'x')
		d, err := vm.Guest().Drive(volume)
		l.must(err)
		kept, err := d.ShadowStore(copies[volume])
		l.must(err)
		if b := byteAt(t, kept, dataOff); b != mark {
			t.Errorf("the copy of %s has %q", volume, b)
		}
	}
}

// A machine knows when a requester last had all its files safe: not when it was
// chosen only, nor when the requester says nothing or that it has them not.
func TestLastSuccessfulBackupTime(t *testing.T) {
	l := newLab(t)
	db, web := l.running("db"), l.machine("web")
	has := func(vm *hyperv.VM, want time.Duration, wantOK bool) {
		t.Helper()
		if at, ok := vm.LastSuccessfulBackupTime(); at != want || ok != wantOK {
			t.Errorf("%s: %v, %v; want %v, %v", vm.Name(), at, ok, want, wantOK)
		}
	}
	l.mustBackup(func(b *requester.Backup) { b.SnapshotOnly = true })
	l.mustBackup(func(b *requester.Backup) { b.LeaveIncomplete = true })
	has(db, 0, false)
	l.mustBackup(only("db"))
	calls := l.events(func(e sim.Event) bool { return e.Kind == "vss/backup-complete" && e.Actor == "h1/vmms" })
	if len(calls) == 0 {
		t.Fatal("the writer is not told")
	}
	has(db, calls[len(calls)-1].Time, true)
	has(web, 0, false)
	l.settled()
}
