package hyperv_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/simtest"
)

// A worldSpec is a random world: machines, what their guests write, the order of
// events, and at most two faults.
type worldSpec struct {
	vms    []vmSpec
	seed   uint64
	policy hyperv.Policy

	deviate bool // the order deviates from the default here and there, and follows no seed
}

// A vmSpec is one machine of it.
type vmSpec struct {
	state   hyperv.State
	os      guest.OS
	offered bool // the host offers the backup service
	service bool // it runs in the guest
	extra   guest.FileSystemKind
	dynamic bool // a further disk is a dynamic disk
	away    bool // the snapshot location is on another volume than the disks
	ledger  bool
	single  bool // there is no further disk
	chain   int  // how many parents the first disk has
	points  int  // how many checkpoints it has
	writes  []writeSpec
}

// A writeSpec is a write by some program of the guest, at a time.
type writeSpec struct {
	after time.Duration
	block int64
	value byte
}

func drawWorld(t *rapid.T) worldSpec {
	return worldSpec{
		vms:  rapid.SliceOfN(rapid.Custom(drawVM), 1, 6).Draw(t, "machines"),
		seed: rapid.Uint64().Draw(t, "seed"),

		deviate: rapid.Bool().Draw(t, "deviate"),

		policy: hyperv.Policy{
			Parallel:      rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "parallel"),
			GuestsFirst:   rapid.Bool().Draw(t, "guests first"),
			RollBackFirst: rapid.Bool().Draw(t, "roll back first"),

			InCreationOrder: rapid.Bool().Draw(t, "in creation order"),
			InitialStore:    rapid.Bool().Draw(t, "initial store"),
		},
	}
}

// order is what decides the order of events in one run of the world.
func (s worldSpec) order(t *rapid.T) sim.Option {
	if s.deviate {
		return simtest.Choices(t)
	}
	return sim.Seed(s.seed)
}

func drawVM(t *rapid.T) vmSpec {
	mostly := func(name string) bool { return rapid.IntRange(0, 5).Draw(t, name) < 5 }
	v := vmSpec{
		state:   rapid.SampledFrom([]hyperv.State{hyperv.StateRunning, hyperv.StateRunning, hyperv.StateOff, hyperv.StateSaved, hyperv.StatePaused}).Draw(t, "state"),
		os:      guest.WindowsServer2008,
		offered: mostly("offered"),
		service: mostly("service"),
		dynamic: !mostly("basic"),
		away:    !mostly("near"),
		ledger:  rapid.Bool().Draw(t, "ledger"),
		chain:   rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3}).Draw(t, "parents"),
		points:  rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2}).Draw(t, "checkpoints"),
	}
	if !mostly("2008") {
		v.os = guest.Windows2000Server
	}
	if rapid.Bool().Draw(t, "data disk") {
		v.extra = rapid.SampledFrom([]guest.FileSystemKind{guest.NTFS, guest.NTFS, guest.FAT32, guest.NoFileSystem}).Draw(t, "file system")
	} else {
		v.extra = guest.NTFS
	}
	v.writes = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) writeSpec {
		return writeSpec{
			after: time.Duration(rapid.IntRange(0, 12_000).Draw(t, "after")) * time.Millisecond,
			block: int64(rapid.IntRange(0, 255).Draw(t, "block")),
			value: rapid.Byte().Draw(t, "value"),
		}
	}), 0, 6).Draw(t, "writes")
	return v
}

// A world is a worldSpec that was built.
type world struct {
	*sim.World
	host   *hyperv.Host
	oracle *hypervtest.Oracle
	target *requester.Memory
	prior  map[string]hyperv.State

	leftOut map[string]bool // machines that the latest backup did not find in the metadata
}

func (s worldSpec) build(ctx context.Context, order sim.Option) (*world, error) {
	w := &world{
		World:  sim.New(order),
		oracle: hypervtest.NewOracle(),
		target: &requester.Memory{},
		prior:  make(map[string]hyperv.State),
	}
	var err error
	w.host, err = hyperv.NewHost(w.World, hyperv.HostConfig{
		Name: "h1", Volumes: hyperv.Volumes("C:", "D:"), Manage: w.oracle.Watch, Profile: hyperv.Profile{Policy: s.policy},
		Catalog: guest.Catalog{ledger.Name: ledger.New},
	})
	for i := 0; i < len(s.vms) && err == nil; i++ {
		err = s.vms[i].build(ctx, w, fmt.Sprintf("vm%d", i))
	}
	for _, vm := range w.host.VMs() {
		w.prior[vm.Name()] = vm.State()
	}
	return w, errors.Join(err, w.oracle.Begin(w.host))
}

const blockSize = 512

func partition(kind guest.FileSystemKind) *guest.DiskSpec {
	p := guest.PartitionSpec{FileSystem: guest.FileSystem{Kind: kind}}
	if kind == guest.NoFileSystem {
		p.Type.MBR = 7
	}
	return &guest.DiskSpec{Scheme: guest.MBR, Partitions: []guest.PartitionSpec{p}}
}

func (v vmSpec) build(ctx context.Context, w *world, name string) error {
	services := guest.IntegrationServices(v.os, "6.0.6001.18016")
	for i, s := range services {
		if s.Name == guest.BackupService && !v.service {
			services[i].Running, services[i].Start = false, guest.StartDisabled
		}
	}
	c := hyperv.VMConfig{
		Name: name, Root: `D:\VMs\` + name, MemoryMB: 16, BackupNotOffered: !v.offered,
		Disks: []hyperv.DiskConfig{
			{Path: `D:\VMs\` + name + `\a.vhd`, Size: 24 << 20, Format: partition(guest.NTFS)},
			{Path: `D:\VMs\` + name + `\b.vhd`, Size: 40 << 20, BlockSize: 512 << 10, Format: partition(v.extra)},
		},
		Guest: &guest.System{OS: v.os, ComputerName: name, Services: services},
	}
	if v.single {
		c.Disks = c.Disks[:1]
	}
	if v.dynamic {
		d := partition(guest.NoFileSystem)
		d.Partitions[0].Type.MBR = 0x42
		c.Disks[1].Format = d
	}
	if v.away {
		c.SnapshotRoot = `C:\Snapshots`
	}
	if v.ledger {
		args := map[string]string{"data": "C:"}
		if !v.single { // it goes on for an hour after a fault
			args["rest"] = "300ms"
		}
		c.Guest.Programs = []guest.Program{{Name: ledger.Name, Args: args}}
	}
	if err := v.chainDisk(ctx, w, &c.Disks[0]); err != nil {
		return err
	}
	vm, err := w.host.CreateVM(ctx, c)
	if err != nil || v.state == hyperv.StateOff {
		return errors.Join(err, v.checkpoint(ctx, vm))
	}
	if err := vm.Start(ctx); err != nil {
		return err
	}
	v.startWrites(w, vm)
	if err := w.Advance(300 * time.Millisecond); err != nil {
		return err
	}
	if err := v.checkpoint(ctx, vm); err != nil {
		return err
	}
	switch v.state {
	case hyperv.StatePaused:
		return vm.Pause(ctx)
	case hyperv.StateSaved:
		return vm.Save(ctx)
	}
	return nil
}

// checkpoint makes the checkpoints of a machine, as it is now.
func (v vmSpec) checkpoint(ctx context.Context, vm *hyperv.VM) error {
	for i := range v.points {
		if _, err := vm.Checkpoint(ctx, fmt.Sprintf("checkpoint %d", i)); err != nil {
			return err
		}
	}
	return nil
}

// chainDisk makes the parents of a disk, and the disk a child of the last.
func (v vmSpec) chainDisk(ctx context.Context, w *world, d *hyperv.DiskConfig) error {
	for i := range v.chain {
		parent := *d
		parent.Path = fmt.Sprintf("%s-%d.vhd", strings.TrimSuffix(d.Path, ".vhd"), i)
		if err := w.host.CreateDisk(ctx, parent); err != nil {
			return err
		}
		*d = hyperv.DiskConfig{Path: d.Path, Parent: parent.Path}
	}
	return nil
}

// startWrites has some program of the guest write at random times, from now on.
// What the ledger does not use lies behind it on the volume.
func (v vmSpec) startWrites(w *world, vm *hyperv.VM) {
	for i, x := range v.writes {
		w.Actor("hand").Background(fmt.Sprintf("write %d", i), func(ctx context.Context) error {
			if err := sim.Sleep(ctx, x.after); err != nil {
				return err
			}
			m := vm.Guest()
			if m == nil {
				return nil // it does not execute just now
			}
			p := make([]byte, blockSize)
			for j := range p {
				p[j] = x.value
			}
			binary.BigEndian.PutUint64(p, uint64(x.block))
			return m.WriteAt(ctx, "C:", m.Volumes()[0].Len/2+x.block*blockSize, p)
		})
	}
}

// backup runs the requester as a program that can die or hang, and is killed if
// it does.
func (w *world) backup(ctx context.Context) error {
	before := len(w.Trace())
	err := w.as(ctx, "backup", func(ctx context.Context) error {
		_, err := (&requester.Backup{Service: w.host.VSS(), Target: w.target, MayBeMissing: hyperv.MayBeMissing}).Run(ctx)
		return err
	})
	w.leftOut = make(map[string]bool)
	for _, e := range w.Trace()[before:] {
		if e.Kind == "hyperv/left-out" {
			w.leftOut[e.Get("vm")] = true
		}
	}
	return err
}

func (w *world) as(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	a := w.Actor(name)
	err := a.Call(ctx, name, fn)
	if _, stuck := errors.AsType[*sim.StuckError](err); stuck {
		a.Kill()
	}
	return err
}

// TestRandomWorlds: whatever the machines, the writes, the order of events and
// the faults, and whoever dies when, a backup ends with something that restores to
// the bytes the document promises, or with a typed failure and a clean host; and
// the next one succeeds. So does a restore in which something goes wrong, when it
// is done again.
func TestRandomWorlds(t *testing.T) {
	ctx := t.Context()
	points := append(hyperv.FaultPoints(), requester.FaultPoints()...)
	rapid.Check(t, func(t *rapid.T) {
		spec := drawWorld(t)
		clean := spec.run(ctx, t, trouble{})
		switch rapid.IntRange(0, 7).Draw(t, "trouble") {
		case 0:
		case 1:
			spec.run(ctx, t, trouble{acts: rapid.SliceOfN(drawAct(len(spec.vms)), 1, 2).Draw(t, "acts")})
		case 2:
			spec.run(ctx, t, trouble{restore: drawFaults(t, points, clean.restore, []string{"restore", "h2", "h2/vss", "h2/vmms"})})
		default:
			spec.run(ctx, t, trouble{backup: drawFaults(t, points, clean.backup, spec.mortals())})
		}
	})
}

// Trouble is the faults of a backup, those of the restore of a good one, and what else
// happens to the host in the backup.
type trouble struct {
	backup, restore []sim.Fault
	acts            []act
}

// drawFaults draws one fault or two of those that can happen at what was reached:
// that it goes wrong, or that somebody dies there.
func drawFaults(t *rapid.T, points []sim.FaultPoint, hits []sim.Hit, mortals []string) []sim.Fault {
	wrong := sim.SingleFaults(points, hits)
	fault := rapid.Custom(func(t *rapid.T) sim.Fault {
		if rapid.IntRange(0, 2).Draw(t, "death") > 0 {
			return rapid.SampledFrom(wrong).Draw(t, "fault")
		}
		hit := rapid.SampledFrom(hits).Draw(t, "at")
		return sim.Fault{Point: hit.Point, On: hit.On, Outcome: sim.Outcome{Kill: rapid.SampledFrom(mortals).Draw(t, "who")}}
	})
	return rapid.SliceOfN(fault, 1, 2).Draw(t, "faults")
}

// mortals lists who can die in a backup: its program, the host, its services, each
// machine's worker process, its guest and what runs in that.
func (s worldSpec) mortals() []string {
	out := []string{"backup", "h1", "h1/vmms", "h1/vss"}
	for i := range s.vms {
		vm := fmt.Sprintf("h1/vm%d", i)
		out = append(out, vm, vm+"/guest", vm+"/guest/vmicvss", vm+"/guest/ledger", vm+"/guest/vss")
	}
	return out
}

// What a run has reached: fault points of the backup, and of its restore.
type reached struct {
	backup, restore []sim.Hit
}

// run makes one backup in the world and judges it.
func (s worldSpec) run(ctx context.Context, t *rapid.T, bad trouble) reached {
	w, err := s.build(ctx, s.order(t))
	if err != nil {
		t.Fatalf("building: %v", err)
	}
	defer func() { _ = w.Close() }()
	var hits reached
	defer func() {
		if t.Failed() {
			t.Logf("trouble %v, backup: %v\n%s", bad, err, simtest.Report(w.World))
		}
	}()
	for _, a := range bad.acts {
		a.begin(w)
	}
	hits.backup, err = w.suffer(bad.backup, func() error { return w.backup(ctx) })
	if err != nil && len(bad.backup)+len(bad.acts) == 0 {
		t.Fatalf("a backup without faults fails: %v", err)
	}
	mustBeTyped(t, err)
	if len(bad.acts) > 0 {
		if err := w.Advance(time.Hour); err != nil {
			t.Fatalf("going on: %v", err)
		}
		w.takeBack(ctx, t, s, bad.acts)
	}
	w.tidy(ctx, t, bad.backup)
	w.mustBeAsBefore(t, bad.backup)
	if err == nil {
		hits.restore = w.mustRestore(ctx, t, bad.restore)
	}
	w.mustBackUpAgain(ctx, t)
	return hits
}

// suffer does something while the faults are in force, and tells what it reached.
func (w *world) suffer(faults []sim.Fault, do func() error) ([]sim.Hit, error) {
	before := len(w.Hits())
	w.Inject(faults...)
	err := do()
	hits := w.Hits()
	w.Heal()
	return hits[min(before, len(hits)):], err
}

func mustBeTyped(t *rapid.T, err error) {
	if err == nil {
		return
	}
	if _, ok := errors.AsType[*requester.Error](err); ok {
		return
	}
	if _, ok := errors.AsType[*sim.StuckError](err); ok || errors.Is(err, sim.ErrDead) {
		return // nobody is left to say what failed
	}
	t.Errorf("an error without a type: %v", err)
}

// tidy does what a fault may leave to an administrator: start the management
// service, delete a shadow copy that could not be deleted.
func (w *world) tidy(ctx context.Context, t *rapid.T, faults []sim.Fault) {
	wait := time.Minute
	if len(faults) > 0 {
		wait = time.Hour // whatever was delayed
	}
	if err := w.Advance(wait); err != nil {
		t.Fatalf("going on: %v", err)
	}
	if w.host.VSS().Actor().Dead() { // only a restart brings it back
		w.host.PowerOff()
	}
	if !w.host.Running() {
		w.reboot(ctx, t)
	}
	unfinished := slices.ContainsFunc(w.Trace().Select("vss/backup-shutdown.end"), func(e sim.Event) bool {
		return strings.HasSuffix(e.Actor, "/vmms") && e.Get("outcome") == "false"
	})
	if unfinished || slices.ContainsFunc(faults, func(f sim.Fault) bool { return f.Point == vss.PointBackupShutdown }) {
		// What the writer did not end then, it ends when its service starts again.
		if err := w.host.StopManagement(ctx); err != nil {
			t.Errorf("stopping the management service: %v", err)
		}
	}
	if !w.host.ManagementRunning() {
		if err := w.host.StartManagement(ctx); err != nil {
			t.Errorf("starting the management service: %v", err)
		}
	}
	for _, vm := range w.host.VMs() { // a guest needs a restart, too
		if m := vm.Guest(); m != nil && m.VSS() != nil && m.VSS().Actor().Dead() {
			if err := vm.Reset(ctx); err != nil {
				t.Errorf("restarting %s: %v", vm.Name(), err)
			}
		}
	}
	for _, c := range w.host.VSS().Snapshots() {
		if c.Attributes&vss.AttrNoAutoRelease == 0 {
			if err := w.deleteShadow(ctx, c.SnapshotID); err != nil {
				t.Errorf("deleting a shadow copy: %v", err)
			}
		}
	}
}

// reboot starts the host again whose power failed, and its machines, as an
// administrator does.
func (w *world) reboot(ctx context.Context, t *rapid.T) {
	if err := w.host.Boot(ctx); err != nil {
		t.Errorf("booting: %v", err)
	}
	for _, vm := range w.host.VMs() {
		want := w.prior[vm.Name()]
		if want != hyperv.StateRunning && want != hyperv.StatePaused {
			continue
		}
		err := vm.Start(ctx)
		if err == nil && want == hyperv.StatePaused {
			err = vm.Pause(ctx)
		}
		if err != nil {
			t.Errorf("starting %s after the boot: %v", vm.Name(), err)
		}
	}
}

func (w *world) deleteShadow(ctx context.Context, id [16]byte) error {
	return w.as(ctx, "administrator", func(ctx context.Context) error {
		bc, err := w.host.VSS().CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = bc.Release(ctx) }()
		if err := bc.InitializeForBackup(ctx, nil); err != nil {
			return err
		}
		_, err = bc.DeleteSnapshots(ctx, id, vss.ObjectSnapshot, true)
		return err
	})
}

// mustBeAsBefore checks that every machine does what it did before, except one
// that the fault killed, and that nothing is left over.
func (w *world) mustBeAsBefore(t *rapid.T, faults []sim.Fault) {
	kills := slices.ContainsFunc(faults, func(f sim.Fault) bool { return f.Outcome.Kill != "" })
	for _, vm := range w.host.VMs() {
		want := w.prior[vm.Name()]
		died := false
		for _, e := range w.Trace() {
			if e.Kind == "host/boot" { // it was started after that
				died = false
			}
			died = died || e.Kind == "vm/state" && e.Get("vm") == vm.Name() && e.Get("from") != "stopping" && e.Get("to") == "off"
		}
		if died && kills {
			want = hyperv.StateOff
		}
		if vm.State() != want {
			t.Errorf("%s is %v, and was %v", vm.Name(), vm.State(), want)
		}
	}
	for _, l := range hyperv.Audit(w.host) {
		t.Errorf("left over: %v", l)
	}
}

// mustRestore restores the backup's files on another host, in a world that gets
// nothing else. If the faults of that world make it fail, it succeeds without them.
func (w *world) mustRestore(ctx context.Context, t *rapid.T, faults []sim.Fault) []sim.Hit {
	other := &world{World: sim.New()}
	defer func() { _ = other.Close() }()
	var err error
	other.host, err = hyperv.NewHost(other.World, hyperv.HostConfig{
		Name: "h2", Volumes: hyperv.Volumes("C:", "D:"), Catalog: guest.Catalog{ledger.Name: ledger.New},
	})
	if err != nil {
		t.Fatal(err)
	}
	hits, err := other.suffer(faults, func() error { return other.restore(ctx, w.target) })
	if len(faults) > 0 {
		mustBeTyped(t, err)
		other.tidy(ctx, t, faults)
		if err != nil {
			err = other.restore(ctx, w.target)
		}
	}
	if err != nil {
		t.Errorf("restoring: %v", err)
	}
	for _, f := range w.oracle.Check(other.host) {
		if f.Err != nil && !w.leftOut[f.VM] {
			t.Errorf("restored: %v", f)
		}
	}
	for _, vm := range other.host.VMs() {
		if err := vm.Start(ctx); err != nil {
			t.Errorf("restored: %s does not start: %v", vm.Name(), err)
		}
	}
	for _, l := range hyperv.Audit(other.host) {
		t.Errorf("left over on the other host: %v", l)
	}
	return hits
}

// restore runs the requester as a program, as backup does.
func (w *world) restore(ctx context.Context, source *requester.Memory) error {
	return w.as(ctx, "restore", func(ctx context.Context) error {
		report, err := (&requester.Restore{Service: w.host.VSS(), Source: source, Destination: w.host.Files()}).Run(ctx)
		if err == nil && slices.ContainsFunc(report.Components, func(c requester.RestoredComponent) bool { return c.AsFiles }) {
			err = &requester.Error{Phase: "restore", Err: errNoWriter}
		}
		return err
	})
}

var errNoWriter = errors.New("restored as plain files: the machines are not registered")

func (w *world) mustBackUpAgain(ctx context.Context, t *rapid.T) {
	if err := w.oracle.Begin(w.host); err != nil {
		t.Fatal(err)
	}
	w.target = &requester.Memory{}
	if err := w.backup(ctx); err != nil {
		t.Errorf("the next backup fails: %v", err)
		return
	}
	if len(w.leftOut) > 0 {
		t.Errorf("the next backup is without %v", w.leftOut)
	}
	for _, l := range hyperv.Audit(w.host) {
		t.Errorf("left over after the next backup: %v", l)
	}
	w.mustRestore(ctx, t, nil)
}
