package hyperv_test

import (
	"bytes"
	"context"
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
	"github.com/shadowsim/shadowsim/vss/sim"
)

// Nothing in a guest runs for it; one that could not even boot is restored as well
// as any.
func TestR42_RestoreIsTheHostsAlone(t *testing.T) {
	l := newLab(t)
	db, dead := l.running("db"), l.running("dead")
	if _, err := dead.Guest().Disks()[0].Disk.WriteAt(make([]byte, 64), mib+guest.SystemOffset); err != nil {
		t.Fatal(err)
	}
	target := l.mustBackup()
	l.remove(db, dead)
	began := len(l.w.Trace())
	l.mustRestore(target)
	for _, e := range l.w.Trace()[began:] {
		if strings.Contains(e.Actor, "/guest") || strings.HasPrefix(e.Kind, "guest/") {
			t.Errorf("%v", e)
		}
	}
	for _, name := range []string{"db", "dead"} {
		if s := l.h.VM(name).State(); s != hyperv.StateOff {
			t.Errorf("%s is %v", name, s)
		}
	}
	if err := l.h.VM("dead").Start(l.ctx()); err == nil {
		t.Error("the dead guest boots, so that nothing is shown")
	}
}

func TestR43_NoGuestWriterInARestore(t *testing.T) {
	l := newLab(t)
	l.running("db", withLedger())
	l.running("other", withLedger())
	target := l.mustBackup()
	began := len(l.w.Trace())
	l.mustRestore(target, onlyRestore("db"))
	for _, e := range l.w.Trace()[began:] {
		if inside("db")(e) || inside("other")(e) || e.Kind == "guest/shutdown" {
			t.Errorf("%v", e)
		}
	}
	l.must(l.h.VM("db").Start(l.ctx()))
}

// in are the events between the beginning and the end of an event of the writer.
func (l *lab) in(kind string) sim.Trace {
	l.t.Helper()
	from, to := l.span(kind)
	return l.events(func(e sim.Event) bool { return e.Seq > from && e.Seq < to })
}

func TestR44_PreRestoreTurnsOff(t *testing.T) {
	l := newLab(t)
	vms := []*hyperv.VM{l.running("run"), l.paused("pause"), l.saved("save"), l.machine("off")}
	target := l.mustBackup()
	l.mustRestore(target)
	for _, e := range l.in("vss/pre-restore") {
		if e.Kind == "guest/shutdown" {
			t.Errorf("%v", e)
		}
	}
	for _, vm := range vms {
		if vm.State() != hyperv.StateOff {
			t.Errorf("the old %s is %v", vm.Name(), vm.State())
		}
		l.within(l.event("hyperv/turn-off", "vm="+vm.Name()), "vss/pre-restore")
	}
	for _, vm := range vms[:3] {
		l.within(l.event("vm/state", "vm="+vm.Name(), "from=stopping", "to=off"), "vss/pre-restore")
	}
}

func TestR45_PreRestoreDeletes(t *testing.T) {
	l := newLab(t)
	vm := l.running("db", onSwitch(l.lan))
	target := l.mustBackup()
	files := 0
	source := spyFS{target, func(name string) {
		files++
		if l.h.VMByID(vm.ID()) != nil || len(l.lan.Ports()) != 0 {
			t.Errorf("before %s the machine is registered: %v, its ports: %v", name, l.h.VMByID(vm.ID()), l.lan.Ports())
		}
		if strings.Contains(name, "Virtual Machines") && (l.exists(vm.ConfigurationPath()) || l.exists(linkOf(vm))) {
			t.Error("the old configuration or its link is there")
		}
		if !l.exists(`D:\VMs\db\system.vhd`) {
			t.Error("the VHD was deleted with the machine")
		}
	}}
	l.mustRestore(source)
	l.within(l.event("vm/delete", "vm=db"), "vss/pre-restore")
	if files == 0 {
		t.Error("no file was restored")
	}
}

// A spyFS tells when a file of a backup is about to be opened.
type spyFS struct {
	fs.FS
	opening func(name string)
}

func (f spyFS) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".vhd") || strings.HasPrefix(name, requester.FilesName) && strings.HasSuffix(name, ".xml") {
		f.opening(name)
	}
	return f.FS.Open(name)
}

func TestR46_OthersAreLeftAlone(t *testing.T) {
	l := newLab(t)
	l.running("db")
	other := l.running("other", withLedger("rest=10ms"))
	run := other.Guest()
	target := l.mustBackup()
	began := len(l.w.Trace())
	l.mustRestore(target, onlyRestore("db"))
	if l.h.VM("other") != other || other.State() != hyperv.StateRunning || other.Guest() != run || run.Ended() {
		t.Errorf("other is %v", other.State())
	}
	for _, e := range l.w.Trace()[began:] {
		if e.Get("vm") == "other" {
			t.Errorf("%v", e)
		}
	}
}

// otherWriter is another writer of the host. It takes an hour to prepare for a
// restore, and tells when the shadow copies are there.
type otherWriter struct{ posted func() }

func (otherWriter) Identify(_ context.Context, ev *vss.IdentifyEvent) error {
	err := ev.Metadata.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreAlways})
	if err != nil {
		return err
	}
	return ev.Metadata.AddComponent(vss.ComponentInfo{ComponentKey: vss.ComponentKey{Name: "other"}, Type: vss.ComponentFileGroup, Selectable: true,
		Files: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\other`, Spec: "*"}}}})
}
func (otherWriter) PrepareSnapshot(context.Context, *vss.PrepareSnapshotEvent) error { return nil }
func (otherWriter) Freeze(context.Context, *vss.FreezeEvent) error                   { return nil }
func (otherWriter) Thaw(context.Context, *vss.ThawEvent) error                       { return nil }
func (otherWriter) Abort(context.Context, *vss.AbortEvent) error                     { return nil }
func (w otherWriter) PostSnapshot(context.Context, *vss.PostSnapshotEvent) error {
	if w.posted != nil {
		w.posted()
	}
	return nil
}
func (otherWriter) PreRestore(ctx context.Context, _ *vss.PreRestoreEvent) error {
	return sim.Sleep(ctx, time.Hour)
}

// addWriter subscribes another writer, which calls posted in PostSnapshot.
func (l *lab) addWriter(posted func()) {
	l.t.Helper()
	c := vss.WriterConfig{Actor: l.w.Actor("other"), ClassID: guid.GUID{1}, Name: "Other Writer"}
	_, err := l.h.VSS().Subscribe(&otherWriter{posted}, c)
	l.must(err)
}

func TestR47_FilesAfterAllWritersHandledPreRestore(t *testing.T) {
	l := newLab(t)
	l.addWriter(nil)
	l.machine("db")
	target := l.mustBackup()
	l.mustRestore(target)
	ends := l.events(func(e sim.Event) bool { return e.Kind == "vss/pre-restore.end" })
	files := l.w.Trace().Select("requester/restore")
	if len(ends) != 2 || len(files) < 2 || files[0].Seq < ends[1].Seq || files[0].Time < time.Hour {
		t.Errorf("%v\n%v", ends, files)
	}
}

func TestR48_PostRestoreAsksForTheStatus(t *testing.T) {
	l := newLab(t)
	one, two := guid.Upper(l.machine("one").ID()), guid.Upper(l.machine("two").ID())
	l.restoreBy(l.mustBackup(), map[string]vss.FileRestoreStatus{one: vss.FilesFailed, two: vss.FilesAll})
	for id, want := range map[string]string{one: "VSS_RS_FAILED", two: "VSS_RS_ALL"} {
		e := l.event("hyperv/file-restore-status", "component="+id)
		if e.Get("status") != want {
			t.Errorf("%v, want %s", e, want)
		}
		l.within(e, "vss/post-restore")
	}
	if l.h.VM("one") != nil || l.h.VM("two") == nil {
		t.Errorf("registered are %s", l.describe())
	}
}

// restoreBy restores by hand, with a status for each machine that the requester
// claims. It returns the writer's status.
func (l *lab) restoreBy(target *requester.Memory, status map[string]vss.FileRestoreStatus) vss.WriterStatus {
	l.t.Helper()
	var st vss.WriterStatus
	document, err := fs.ReadFile(target, requester.DocumentName)
	l.must(err)
	l.must(l.as("restore", func(ctx context.Context) error {
		b, err := l.h.VSS().CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = b.Release(ctx) }()
		if err := b.InitializeForRestore(ctx, bytes.NewReader(document)); err != nil {
			return err
		}
		if err := b.GatherWriterMetadata(ctx); err != nil {
			return err
		}
		m, err := b.GetWriterComponents(0)
		if err != nil {
			return err
		}
		choose := func(do func(c vss.ComponentChoice, s vss.FileRestoreStatus) error) error {
			for _, c := range m.Components {
				choice := vss.ComponentChoice{WriterID: m.WriterID, InstanceID: m.InstanceID, Type: c.Type, ComponentKey: c.ComponentKey}
				if s, ok := status[c.Name]; ok {
					if err := do(choice, s); err != nil {
						return err
					}
				}
			}
			return nil
		}
		err = choose(func(c vss.ComponentChoice, _ vss.FileRestoreStatus) error {
			return b.SetSelectedForRestore(ctx, c, true)
		})
		if err != nil {
			return err
		}
		if err := b.PreRestore(ctx); err != nil {
			return err
		}
		files, err := fs.Sub(target, requester.FilesName+"/D")
		if err != nil {
			return err
		}
		if err := l.h.Volume("D:").RemoveAll(`\VMs`); err != nil {
			return err
		}
		if err := volume.CopyFS(l.h.Volume("D:").FS(), ".", files); err != nil {
			return err
		}
		err = choose(func(c vss.ComponentChoice, s vss.FileRestoreStatus) error {
			if s == vss.FilesUndefined {
				return nil // the requester forgets
			}
			return b.SetFileRestoreStatus(ctx, c, s)
		})
		if err != nil {
			return err
		}
		if err := b.PostRestore(ctx); err != nil {
			return err
		}
		if err := b.GatherWriterStatus(ctx); err != nil {
			return err
		}
		st, err = b.GetWriterStatus(0)
		return err
	}))
	return st
}

var badStatuses = []vss.FileRestoreStatus{vss.FilesUndefined, vss.FilesNone, vss.FilesFailed}

func TestR49_ABadStatusSetsTheWritersFailure(t *testing.T) {
	for _, status := range badStatuses {
		l := newLab(t)
		vm := l.machine("db")
		target := l.mustBackup()
		id := guid.Upper(vm.ID())
		st := l.restoreBy(target, map[string]vss.FileRestoreStatus{id: status})
		if st.State != vss.StateFailedAtPostRestore || st.Code != vss.ErrWriterErrorNonRetryable {
			t.Errorf("%v: the writer is %v, %v", status, st.State, st.Code)
		}
		// The text is that of SetWriterFailure, not of the handler's error.
		if want := id + ": the files were not all restored: " + status.String(); st.Message != want {
			t.Errorf("%v: the message is %q", status, st.Message)
		}
	}
}

func TestR50_ABadStatusMakesPostRestoreReturnFalse(t *testing.T) {
	for _, status := range badStatuses {
		l := newLab(t)
		vm := l.machine("db")
		target := l.mustBackup()
		l.restoreBy(target, map[string]vss.FileRestoreStatus{guid.Upper(vm.ID()): status})
		if e := l.event("vss/post-restore.end"); e.Get("outcome") != "false" {
			t.Errorf("%v: %v", status, e)
		}
		if l.h.VM("db") != nil {
			t.Errorf("%v: the machine is registered", status)
		}
	}
}

func TestR51_RestoredMachinesAreRegistered(t *testing.T) {
	l := newLab(t)
	var ids [][16]byte
	vms := []*hyperv.VM{l.running("run"), l.running("web", stopped), l.machine("off")}
	for _, vm := range vms {
		ids = append(ids, vm.ID())
	}
	target := l.mustBackup()
	l.remove(vms...)
	l.mustRestore(target)
	for i, id := range ids {
		vm := l.h.VMByID(id)
		if vm == nil || vm == vms[i] || vm.Name() != vms[i].Name() {
			t.Fatalf("machine %d is %v", i, vm)
		}
		l.within(l.events(func(e sim.Event) bool { return e.Kind == "vm/register" && e.Get("vm") == vm.Name() })[1], "vss/post-restore")
		l.must(vm.Start(l.ctx()))
	}
}

// linkOf is where the link of a machine has to be.
func linkOf(vm *hyperv.VM) string {
	return hyperv.DefaultRoot + `\Virtual Machines\` + guid.Upper(vm.ID()) + ".xml"
}

// linkTo is what a link of the host leads to, or "".
func (l *lab) linkTo(path string) string {
	l.t.Helper()
	target, err := l.h.Volume(path[:1]).Readlink(path[2:])
	if err != nil {
		return ""
	}
	return target
}

func TestR52_ANondefaultLocationGetsALink(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	target := l.mustBackup()
	l.remove(vm)
	if l.exists(linkOf(vm)) {
		t.Fatal("the link is left behind")
	}
	l.mustRestore(target)
	if to := l.linkTo(linkOf(vm)); to != vm.ConfigurationPath() || to == linkOf(vm) {
		t.Errorf("the link leads to %q", to)
	}
}

func TestR53_TheDefaultLocationGetsNoLink(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db", func(c *hyperv.VMConfig) { c.Root = "" })
	target := l.mustBackup()
	l.remove(vm)
	l.mustRestore(target)
	info, err := l.h.Volume("C:").Lstat(linkOf(vm)[2:])
	l.must(err)
	if info.Mode()&fs.ModeSymlink != 0 || len(l.w.Trace().Select("vm/link")) != 0 {
		t.Errorf("there is a link: %v", info)
	}
}

func TestR54_EveryVHDsLocationIsCompared(t *testing.T) {
	l := newLab(t)
	l.machine("db", also("data.vhd", guest.NTFS), also("log.vhd", guest.NTFS))
	l.mustRestore(l.mustBackup(), func(r *requester.Restore) {
		r.NewTarget = func(_ *vss.WriterMetadata, _ *vss.ComponentInfo, set vss.FileSet) (string, bool) {
			return `C:\Disks`, set.Spec == "data.vhd"
		}
	})
	for file, actual := range map[string]string{"system": `D:\VMs\db\system.vhd`, "data": `C:\Disks\data.vhd`, "log": `D:\VMs\db\log.vhd`} {
		e := l.event("hyperv/compare-vhd", "vm=db", `recorded=D:\VMs\db\`+file+".vhd")
		if e.Get("actual") != actual {
			t.Errorf("%v", e)
		}
		l.within(e, "vss/post-restore")
	}
	if n := len(l.w.Trace().Select("hyperv/compare-vhd")); n != 3 {
		t.Errorf("%d comparisons", n)
	}
}

func TestR55_AMovedVHDIsUpdatedInTheConfiguration(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db", also("data.vhd", guest.NTFS))
	target := l.mustBackup()
	l.mustRestore(target, func(r *requester.Restore) {
		r.NewTarget = func(_ *vss.WriterMetadata, _ *vss.ComponentInfo, set vss.FileSet) (string, bool) {
			return `C:\Disks`, set.Spec == "data.vhd"
		}
	})
	want := []string{`D:\VMs\db\system.vhd`, `C:\Disks\data.vhd`}
	file, err := hyperv.ReadConfiguration(l.bytes(vm.ConfigurationPath()))
	l.must(err)
	if got := l.h.VM("db").Configuration().VHDPaths(); !slices.Equal(got, want) || !slices.Equal(file.VHDPaths(), want) {
		t.Errorf("the configuration names %q, its file %q", got, file.VHDPaths())
	}
	l.event("hyperv/update-vhd")
	l.must(l.h.VM("db").Start(l.ctx()))
}

func TestR56_TheNetworkConfigurationIsUpdated(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db", onSwitch(l.lan))
	target := l.mustBackup()
	was := vm.Configuration().Adapters[0]
	l.mustRestore(target)
	file, err := hyperv.ReadConfiguration(l.bytes(vm.ConfigurationPath()))
	l.must(err)
	now := l.h.VM("db").Configuration().Adapters[0]
	if now.Port == was.Port || now.Port == [16]byte{} || file.Adapters[0] != now || now.MAC != was.MAC || now.Switch != was.Switch {
		t.Errorf("was %+v, is %+v, in the file %+v", was, now, file.Adapters[0])
	}
}

func TestR57_ANewPortOnEachSwitchThatExists(t *testing.T) {
	l := newLab(t)
	dmz := l.h.AddSwitch("DMZ")
	vm := l.machine("db", onSwitch(l.lan), onSwitch(dmz))
	target := l.mustBackup()
	var old []hyperv.Port
	old = append(append(old, l.lan.Ports()...), dmz.Ports()...)
	l.mustRestore(target)
	for i, s := range []*hyperv.Switch{l.lan, dmz} {
		ports := s.Ports()
		if len(ports) != 1 || ports[0].VM != vm.ID() || ports[0].Adapter != i || ports[0].ID == old[i].ID || ports[0].ID != l.h.VM("db").Configuration().Adapters[i].Port {
			t.Errorf("%s had %v and has %v", s.Name, old[i], ports)
		}
		l.within(l.event("vm/connect", "switch="+guid.Upper(s.ID)), "vss/post-restore")
	}
}

func TestR58_AMissingSwitchLeavesTheAdapterUnconnected(t *testing.T) {
	l := newLab(t)
	dmz := l.h.AddSwitch("DMZ")
	l.machine("db", onSwitch(dmz), onSwitch(l.lan))
	target := l.mustBackup()
	l.h.RemoveSwitch(dmz.ID)
	l.mustRestore(target)
	a := l.h.VM("db").Configuration().Adapters
	if a[0].Connected() || a[0].Port != [16]byte{} || a[0].MAC == "" || !a[1].Connected() || len(l.lan.Ports()) != 1 {
		t.Errorf("%+v, ports %v", a, l.lan.Ports())
	}
	warning := l.event("vm/disconnect", "vm=db", "adapter=0")
	if warning.Rule != "R58" || len(l.w.Trace().Select("vm/disconnect")) != 1 {
		t.Errorf("%v", warning)
	}
	l.within(warning, "vss/post-restore")
	l.must(l.h.VM("db").Start(l.ctx()))
}

func TestR67_WriterName(t *testing.T) {
	l := newLab(t)
	if name := l.identified().Identity.FriendlyName; name != "Microsoft Hyper-V VSS Writer" {
		t.Errorf("%q", name)
	}
}

func TestR68_WriterClass(t *testing.T) {
	l := newLab(t)
	id := l.identified().Identity.WriterID
	if guid.String(id) != "66841cd4-6ded-4f4b-8f17-fd23f8ddc3de" || id != hyperv.WriterID {
		t.Errorf("%s", guid.String(id))
	}
}
