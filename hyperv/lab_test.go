package hyperv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A lab is a small world for a test: a host h1 with the volumes C: and D:, a
// switch, and whatever machines the test makes. What the writer does with them is
// noted on the way.
type lab struct {
	t     testing.TB
	w     *sim.World
	h     *hyperv.Host
	lan   *hyperv.Switch
	spy   *spy
	after func(vm string, s *guest.Snapshot) // a guest has answered
	prior map[string]hyperv.State
	began int // index in the trace
}

func newLab(t testing.TB, opts ...sim.Option) *lab {
	t.Helper()
	return newLabOf(t, hyperv.HostConfig{}, opts...)
}

// inOrder is a profile with which machines come in the order of their creation, and
// the authorization store with them.
var inOrder = hyperv.Profile{Policy: hyperv.Policy{InCreationOrder: true, InitialStore: true}}

func newLabOf(t testing.TB, c hyperv.HostConfig, opts ...sim.Option) *lab {
	t.Helper()
	w := sim.New(opts...)
	t.Cleanup(func() { _ = w.Close() })
	l := &lab{t: t, w: w}
	if c.Name == "" {
		c.Name = "h1"
	}
	if c.Volumes == nil {
		c.Volumes = hyperv.Volumes("C:", "D:")
	}
	if c.Catalog == nil {
		c.Catalog = guest.Catalog{ledger.Name: ledger.New}
	}
	if c.Manage == nil {
		c.Manage = func(m hyperv.Management) hyperv.Management {
			l.spy = &spy{Management: m, lab: l, shadows: make(map[string]map[string][]byte), saved: make(map[string][]byte)}
			return l.spy
		}
	}
	h, err := hyperv.NewHost(w, c)
	l.must(err)
	l.h, l.lan = h, h.AddSwitch("LAN")
	return l
}

func (l *lab) ctx() context.Context { return l.t.Context() }

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("%v\n%s", err, l.story())
	}
}

func (l *lab) advance(d time.Duration) {
	l.t.Helper()
	l.must(l.w.Advance(d))
}

// integration are the services of a guest whose backup service runs.
func integration() []guest.IntegrationService {
	return guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016")
}

// layout divides a disk into volumes of these file systems.
func layout(kinds ...guest.FileSystemKind) *guest.DiskSpec {
	spec := &guest.DiskSpec{Scheme: guest.MBR}
	for i, k := range kinds {
		p := guest.PartitionSpec{FileSystem: guest.FileSystem{Kind: k}}
		if k == guest.FAT32 {
			p.Size = 40 * mib
		} else if i < len(kinds)-1 {
			p.Size = 2 * mib
		}
		spec.Partitions = append(spec.Partitions, p)
	}
	return spec
}

const (
	mib     = 1 << 20
	dataOff = guest.DataOffset
)

// vhdOf is a new VHD with one NTFS volume.
func vhdOf(path string) hyperv.DiskConfig {
	return hyperv.DiskConfig{Path: path, Size: 6 * mib, BlockSize: 512 << 10, Format: layout(guest.NTFS)}
}

// machine makes a machine with one disk, on D: with all that belongs to it, whose
// guest can be backed up by a snapshot inside; mods change that.
func (l *lab) machine(name string, mods ...func(*hyperv.VMConfig)) *hyperv.VM {
	l.t.Helper()
	vm, err := l.h.CreateVM(l.ctx(), l.config(name, mods...))
	l.must(err)
	return vm
}

func (l *lab) config(name string, mods ...func(*hyperv.VMConfig)) hyperv.VMConfig {
	root := `D:\VMs\` + name
	c := hyperv.VMConfig{
		Name: name, Root: root, MemoryMB: 4,
		Disks: []hyperv.DiskConfig{vhdOf(root + `\system.vhd`)},
		Guest: &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC", Services: integration()},
	}
	for _, mod := range mods {
		mod(&c)
	}
	return c
}

// running makes a machine and starts it.
func (l *lab) running(name string, mods ...func(*hyperv.VMConfig)) *hyperv.VM {
	l.t.Helper()
	vm := l.machine(name, mods...)
	l.must(vm.Start(l.ctx()))
	return vm
}

func (l *lab) paused(name string, mods ...func(*hyperv.VMConfig)) *hyperv.VM {
	l.t.Helper()
	vm := l.running(name, mods...)
	l.must(vm.Pause(l.ctx()))
	return vm
}

func (l *lab) saved(name string, mods ...func(*hyperv.VMConfig)) *hyperv.VM {
	l.t.Helper()
	vm := l.running(name, mods...)
	l.must(vm.Save(l.ctx()))
	return vm
}

// Changes to a machine.
type mod = func(*hyperv.VMConfig)

// noService: the backup service was never installed.
func noService(c *hyperv.VMConfig) { c.Guest.Services = nil }

// stopped: the backup service is installed and does not run.
func stopped(c *hyperv.VMConfig) {
	for i, s := range c.Guest.Services {
		if s.Name == guest.BackupService {
			c.Guest.Services[i].Running, c.Guest.Services[i].Start = false, guest.StartDisabled
		}
	}
}

func system(os guest.OS) mod {
	return func(c *hyperv.VMConfig) {
		c.Guest.OS, c.Guest.Services = os, guest.IntegrationServices(os, "5.2")
	}
}

func withDisk(d hyperv.DiskConfig) mod {
	return func(c *hyperv.VMConfig) { c.Disks = append(c.Disks, d) }
}

// also adds a VHD of this layout, beside the first.
func also(file string, kinds ...guest.FileSystemKind) mod {
	return func(c *hyperv.VMConfig) {
		d := vhdOf(c.Root + `\` + file)
		if d.Format = layout(kinds...); slices.Contains(kinds, guest.FAT32) {
			d.Size = 64 * mib
		}
		c.Disks = append(c.Disks, d)
	}
}

func onSwitch(s *hyperv.Switch) mod {
	return func(c *hyperv.VMConfig) {
		c.Adapters = append(c.Adapters, hyperv.AdapterConfig{Switch: s})
	}
}

func snapshotsIn(root string) mod { return func(c *hyperv.VMConfig) { c.SnapshotRoot = root } }

func program(name string, args ...string) mod {
	return func(c *hyperv.VMConfig) {
		p := guest.Program{Name: name, Args: make(map[string]string)}
		for _, a := range args {
			key, value, _ := strings.Cut(a, "=")
			p.Args[key] = value
		}
		c.Guest.Programs = append(c.Guest.Programs, p)
	}
}

// withLedger has a ledger on the system volume.
func withLedger(args ...string) mod { return program(ledger.Name, args...) }

// dynamic is the path of a VHD whose partition table says that the Logical Disk
// Manager owns the disk.
func (l *lab) dynamic(path string) hyperv.DiskConfig {
	l.t.Helper()
	d := vhdOf(path)
	d.Format = &guest.DiskSpec{Scheme: guest.MBR, Partitions: []guest.PartitionSpec{{Role: guest.RoleDynamic, Type: guest.PartitionType{MBR: 0x42}}}}
	return d
}

// backup runs the reference requester, as a program of its own.
func (l *lab) backup(mods ...func(*requester.Backup)) (*requester.Memory, error) {
	l.t.Helper()
	l.note()
	target := &requester.Memory{}
	r := &requester.Backup{Service: l.h.VSS(), Target: target, MayBeMissing: hyperv.MayBeMissing}
	for _, mod := range mods {
		mod(r)
	}
	return target, l.as("backup", func(ctx context.Context) error {
		_, err := r.Run(ctx)
		return err
	})
}

// as runs fn as a program that can die.
func (l *lab) as(name string, fn func(ctx context.Context) error) error {
	a := l.w.Actor(name)
	err := a.Call(l.ctx(), name, fn)
	l.must(a.Close(l.ctx()))
	return err
}

// only chooses machines by name.
func only(names ...string) func(*requester.Backup) {
	return func(r *requester.Backup) {
		r.Select = func(_ *vss.WriterMetadata, c *vss.ComponentInfo) bool {
			return slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(c.Caption, `\`+n) })
		}
	}
}

// mustBackup is a backup that has to succeed.
func (l *lab) mustBackup(mods ...func(*requester.Backup)) *requester.Memory {
	l.t.Helper()
	target, err := l.backup(mods...)
	l.must(err)
	return target
}

func (l *lab) restore(source fs.FS, mods ...func(*requester.Restore)) (*requester.Report, error) {
	l.t.Helper()
	r := &requester.Restore{Service: l.h.VSS(), Source: source, Destination: l.h.Files()}
	for _, mod := range mods {
		mod(r)
	}
	var report *requester.Report
	err := l.as("restore", func(ctx context.Context) (err error) {
		report, err = r.Run(ctx)
		return err
	})
	return report, err
}

func (l *lab) mustRestore(source fs.FS, mods ...func(*requester.Restore)) {
	l.t.Helper()
	_, err := l.restore(source, mods...)
	l.must(err)
}

// onlyRestore chooses machines by name.
func onlyRestore(names ...string) func(*requester.Restore) {
	return func(r *requester.Restore) {
		b := &requester.Backup{}
		only(names...)(b)
		r.Select = b.Select
	}
}

// remove turns machines off and deletes them with all their files.
func (l *lab) remove(vms ...*hyperv.VM) {
	l.t.Helper()
	for _, vm := range vms {
		if vm.State() != hyperv.StateOff {
			l.must(vm.TurnOff(l.ctx()))
		}
		l.must(vm.Delete(l.ctx()))
		for _, path := range vm.Configuration().VHDPaths() {
			l.must(l.h.Volume(path[:1]).Remove(path[2:]))
		}
	}
}

// note remembers what the machines are doing.
func (l *lab) note() {
	l.prior = make(map[string]hyperv.State)
	for _, vm := range l.h.VMs() {
		l.prior[vm.Name()] = vm.State()
	}
}

// settled checks the invariants after a backup, whatever became of it: every
// machine does what it did before but for those named, and nothing is left.
func (l *lab) settled(but ...string) {
	l.t.Helper()
	for _, vm := range l.h.VMs() {
		if want := l.prior[vm.Name()]; vm.State() != want && !slices.Contains(but, vm.Name()) {
			l.t.Errorf("%s is %v and was %v", vm.Name(), vm.State(), want)
		}
	}
	for _, left := range hyperv.Audit(l.h) {
		l.t.Errorf("left over: %v", left)
	}
	if l.t.Failed() {
		l.t.Logf("\n%s", l.story())
	}
}

// recovers checks the invariants after a failed backup, and that the next one
// succeeds and brings machines back that run.
func (l *lab) recovers(but ...string) {
	l.t.Helper()
	l.settled(but...)
	l.w.Heal()
	target, err := l.backup()
	if err != nil {
		l.t.Errorf("the next backup: %v\n%s", err, l.story())
		return
	}
	l.settled()
	if _, err := l.restore(target); err != nil {
		l.t.Errorf("the restore from it: %v", err)
	}
}

// noting makes the spy note what machines hold.
func (l *lab) noting() *lab {
	l.spy.notes = true
	return l
}

// spy is a management that notes what machines hold when it matters.
type spy struct {
	hyperv.Management
	lab     *lab
	notes   bool
	shadows map[string]map[string][]byte // by machine: the guest's copies of its volumes
	saved   map[string][]byte            // by file: VHDs and memory at the end of a save
}

func (s *spy) Save(ctx context.Context, id [16]byte) error {
	if err := s.Management.Save(ctx, id); err != nil || !s.notes {
		return err
	}
	vm := s.lab.h.VMByID(id)
	for _, path := range append(vm.Configuration().VHDPaths(), vm.MemoryPath()) {
		s.saved[path] = s.lab.bytes(path)
	}
	return nil
}

func (s *spy) Requestor(ctx context.Context, id [16]byte) (guest.Requestor, error) {
	r, err := s.Management.Requestor(ctx, id)
	if err != nil {
		return nil, err
	}
	return &spyRequestor{r, s, s.lab.h.VMByID(id)}, nil
}

type spyRequestor struct {
	guest.Requestor
	spy *spy
	vm  *hyperv.VM
}

func (r *spyRequestor) Snapshot(ctx context.Context, o guest.SnapshotOptions) (*guest.Snapshot, error) {
	s, err := r.Requestor.Snapshot(ctx, o)
	if err != nil {
		return nil, err
	}
	volumes := make(map[string][]byte)
	for _, c := range s.Copies {
		if !r.spy.notes {
			break
		}
		kept, err := r.vm.Guest().Disks()[c.Disk].Disk.Kept(c.ID)
		if err != nil {
			return nil, err
		}
		volumes[c.Volume] = read(r.spy.lab.t, disk.Section(kept, c.Off, c.Len))
	}
	r.spy.shadows[r.vm.Name()] = volumes
	if r.spy.lab.after != nil {
		r.spy.lab.after(r.vm.Name(), s)
	}
	return s, nil
}

func read(t testing.TB, s disk.Store) []byte {
	t.Helper()
	b := make([]byte, s.Size())
	if _, err := s.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// bytes reads a file of the host.
func (l *lab) bytes(path string) []byte {
	l.t.Helper()
	name, err := volume.Name(path)
	l.must(err)
	b, err := fs.ReadFile(l.h.Files(), name)
	l.must(err)
	return b
}

// exists tells whether a file of the host is there.
func (l *lab) exists(path string) bool {
	name, err := volume.Name(path)
	l.must(err)
	_, err = l.h.Files().Lstat(name)
	return err == nil
}

// bytesIn reads a file of a backup.
func (l *lab) bytesIn(target fs.FS, path string) []byte {
	l.t.Helper()
	name, err := volume.Name(path)
	l.must(err)
	b, err := fs.ReadFile(target, requester.FilesName+"/"+name)
	l.must(err)
	return b
}

// diskIn opens a VHD from a backup's bytes.
func (l *lab) diskIn(target fs.FS, path string) *vhd.Image {
	l.t.Helper()
	b := l.bytesIn(target, path)
	image, err := vhd.Open(bytes.NewReader(b), int64(len(b)))
	l.must(err)
	return image
}

// volumeIn is the nth volume on a disk.
func volumeIn(t testing.TB, d disk.Store, n int) disk.Store {
	t.Helper()
	layout, err := guest.ReadLayout(d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	return guest.Volumes(layout)[n].Store(d)
}

// write puts a byte into a sector of a guest's volume.
func (l *lab) write(vm *hyperv.VM, volume string, off int64, b byte) {
	l.t.Helper()
	l.must(vm.Guest().WriteAt(l.ctx(), volume, off, bytes.Repeat([]byte{b}, 512)))
}

// byteAt reads a byte of a store.
func byteAt(t testing.TB, s disk.Store, off int64) byte {
	t.Helper()
	var b [1]byte
	if _, err := s.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

// events selects from the trace.
func (l *lab) events(is func(e sim.Event) bool) sim.Trace {
	var out sim.Trace
	for _, e := range l.w.Trace() {
		if is(e) {
			out = append(out, e)
		}
	}
	return out
}

// event is the only event of a kind with these attributes ("vm=db").
func (l *lab) event(kind string, attrs ...string) sim.Event {
	l.t.Helper()
	list := l.events(func(e sim.Event) bool { return e.Kind == kind && has(e, attrs) })
	if len(list) != 1 {
		l.t.Fatalf("%d events %s %v\n%s", len(list), kind, attrs, l.story())
	}
	return list[0]
}

func has(e sim.Event, attrs []string) bool {
	for _, a := range attrs {
		key, value, _ := strings.Cut(a, "=")
		if e.Get(key) != value {
			return false
		}
	}
	return true
}

// inside are the events of writers within a guest.
func inside(vm string) func(e sim.Event) bool {
	return func(e sim.Event) bool {
		return strings.HasPrefix(e.Actor, "h1/"+vm+"/guest/") && strings.HasPrefix(e.Kind, "vss/") && e.Get("session") != ""
	}
}

// span is from where to where, in the trace, the host's writer handled an event.
func (l *lab) span(kind string) (from, to uint64) {
	l.t.Helper()
	for _, e := range l.w.Trace() {
		if e.Actor == "h1/vmms" && e.Kind == kind {
			from = e.Seq
		}
		if e.Actor == "h1/vmms" && e.Kind == kind+".end" {
			to = e.Seq
		}
	}
	if from == 0 || to < from {
		l.t.Fatalf("the writer had no %s\n%s", kind, l.story())
	}
	return from, to
}

// within checks that an event happened while the host's writer handled another.
func (l *lab) within(e sim.Event, kind string) {
	l.t.Helper()
	if from, to := l.span(kind); e.Seq <= from || e.Seq >= to {
		l.t.Errorf("outside of %s: %v", kind, e)
	}
}

// writers are the statuses in a failed backup or restore.
func writers(err error) []vss.WriterStatus {
	if e, ok := errors.AsType[*requester.Error](err); ok {
		return e.Writers
	}
	return nil
}

// failsWith checks where and how the Hyper-V writer failed, and that the message
// says all of words.
func (l *lab) failsWith(err error, state vss.WriterState, code vss.HRESULT, words ...string) {
	l.t.Helper()
	list := writers(err)
	if len(list) != 1 || list[0].WriterID != hyperv.WriterID {
		l.t.Fatalf("error %v, want a failure of the Hyper-V writer\n%s", err, l.story())
	}
	st := list[0]
	if st.State != state || st.Code != code {
		l.t.Errorf("the writer is %v, %v; want %v, %v\n%s", st.State, st.Code, state, code, st.Message)
	}
	for _, word := range words {
		if !strings.Contains(st.Message, word) {
			l.t.Errorf("the message does not say %q: %s", word, st.Message)
		}
	}
}

// describe lists the machines, for messages.
func (l *lab) describe() string {
	var b strings.Builder
	for _, vm := range l.h.VMs() {
		fmt.Fprintf(&b, "%s %v; ", vm.Name(), vm.State())
	}
	return b.String()
}

// lun offers a disk that is no file, with a system on it or not.
func (l *lab) lun(name string, bootable bool) guest.Disk {
	l.t.Helper()
	d := guest.NewDisk(disk.NewMemory(6 * mib))
	spec := layout(guest.NTFS)
	spec.Signature = 0x10203040
	l.must(guest.Format(d, *spec))
	if bootable {
		l.must(guest.WriteSystem(volumeIn(l.t, d, 0), &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC", Services: integration()}))
	}
	l.h.AddDisk(name, d)
	return d
}

// story is the end of the timeline, for messages.
func (l *lab) story() string {
	const most = 60
	lines := strings.SplitAfter(timeline(l.w.Trace()), "\n")
	return strings.Join(lines[max(len(lines)-most, 0):], "")
}

type fsFile = fs.File

// copyAll copies a backup.
func copyAll(dst, src *requester.Memory) error {
	return fs.WalkDir(src, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if d.IsDir() {
			return dst.Mkdir(name)
		}
		data, err := fs.ReadFile(src, name)
		if err != nil {
			return err
		}
		return put(dst, name, data)
	})
}

func put(dst requester.Files, name string, data []byte) error {
	w, err := dst.Create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return errors.Join(err, w.Close())
}

// rewriteDocument changes what a Backup Components Document says about the
// Hyper-V writer.
func rewriteDocument(target *requester.Memory, edit func(w *vss.WriterRecord)) error {
	data, err := fs.ReadFile(target, requester.DocumentName)
	if err != nil {
		return err
	}
	doc, err := vss.ReadBackupComponents(bytes.NewReader(data))
	if err != nil {
		return err
	}
	for _, w := range doc.Writers {
		if w.WriterID == hyperv.WriterID {
			edit(w)
		}
	}
	var b bytes.Buffer
	if err := doc.WriteXML(&b); err != nil {
		return err
	}
	return put(target, requester.DocumentName, b.Bytes())
}
