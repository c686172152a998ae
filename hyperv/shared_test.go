package hyperv_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// pair is a lab with a second host h2, and a volume S: that both have mounted.
type pair struct {
	*lab
	h2     *hyperv.Host
	shared *hyperv.SharedVolume
}

func newPair(t *testing.T, opts ...sim.Option) *pair {
	t.Helper()
	p := &pair{lab: newLabOf(t, hyperv.HostConfig{Profile: inOrder}, opts...)}
	var err error
	p.h2, err = hyperv.NewHost(p.w, hyperv.HostConfig{Name: "h2", Catalog: guest.Catalog{ledger.Name: ledger.New}, Profile: inOrder})
	p.must(err)
	p.h2.AddSwitchID("LAN", p.lan.ID)
	p.shared, err = hyperv.NewSharedVolume(p.w, hyperv.VolumeConfig{Letter: "S:"})
	p.must(err)
	for _, h := range []*hyperv.Host{p.h, p.h2} {
		p.must(h.Mount(hyperv.Mount{Volume: p.shared}))
	}
	return p
}

// onShared puts a machine with all that belongs to it on S:.
func onShared(c *hyperv.VMConfig) {
	c.Root = `S:\VMs\` + c.Name
	c.Disks = []hyperv.DiskConfig{vhdOf(c.Root + `\system.vhd`)}
}

func (p *pair) backupOn(h *hyperv.Host) error {
	return p.as("backup", func(ctx context.Context) error {
		_, err := (&requester.Backup{Service: h.VSS(), Target: &requester.Memory{}, MayBeMissing: hyperv.MayBeMissing}).Run(ctx)
		return err
	})
}

// A machine that one host lets go is what the next finds in its files.
func TestHandOver(t *testing.T) {
	p := newPair(t)
	vm := p.running("db", onShared, onSwitch(p.lan))
	path := vm.ConfigurationPath()
	if err := vm.Unregister(t.Context()); !errors.Is(err, hyperv.ErrInvalidState) {
		t.Errorf("a running machine is let go: %v", err)
	}
	p.write(vm, "C:", 2*dataOff, 'x')
	p.must(vm.Save(t.Context()))
	var seen []hyperv.StateChange
	cancel := p.h2.OnStateChange(func(c hyperv.StateChange) { seen = append(seen, c) })
	p.must(vm.Unregister(t.Context()))
	if err := vm.Start(t.Context()); !errors.Is(err, hyperv.ErrNotFound) || len(p.h.VMs()) != 0 || len(p.lan.Ports()) != 0 {
		t.Errorf("it is still here: %v", err)
	}
	if p.exists(hyperv.DefaultRoot + `\Virtual Machines\` + path[len(path)-40:]) {
		t.Error("the link is still here")
	}
	moved, err := p.h2.TakeOver(t.Context(), path)
	p.must(err)
	if moved.State() != hyperv.StateSaved || len(p.h2.Switch(p.lan.ID).Ports()) != 1 {
		t.Errorf("it is %v, with %d ports", moved.State(), len(p.h2.Switch(p.lan.ID).Ports()))
	}
	p.must(moved.Start(t.Context()))
	var b [1]byte
	p.must(moved.Guest().ReadAt(t.Context(), "C:", 2*dataOff, b[:]))
	if b[0] != 'x' {
		t.Errorf("the disk has %q", b)
	}
	cancel()
	p.must(moved.TurnOff(t.Context()))
	want := []hyperv.StateChange{
		{To: hyperv.StateSaved}, {From: hyperv.StateSaved, To: hyperv.StateStarting}, {From: hyperv.StateStarting, To: hyperv.StateRunning},
	}
	for i := range want {
		want[i].ID, want[i].Name = moved.ID(), "db"
	}
	if len(seen) != len(want) || seen[0] != want[0] || seen[1] != want[1] || seen[2] != want[2] {
		t.Errorf("told %v, want %v", seen, want)
	}
}

// A machine that migrates runs on with its memory; one that a backup holds stays.
func TestMigrate(t *testing.T) {
	p := newPair(t)
	vm := p.running("db", onShared, withLedger(), onSwitch(p.lan))
	p.advance(3 * time.Second)
	p.must(vm.Lock("backup"))
	if _, err := vm.MigrateTo(t.Context(), p.h2); !errors.Is(err, hyperv.ErrInUse) {
		t.Errorf("a machine that is held migrates: %v", err)
	}
	vm.Unlock()
	boots := len(p.w.Trace().Select("guest/boot"))
	moved, err := vm.MigrateTo(t.Context(), p.h2)
	p.must(err)
	if moved.State() != hyperv.StateRunning || len(p.h.VMs()) != 0 || p.h2.VM("db") != moved {
		t.Errorf("h1 has %v, h2 has %v", p.h.VMs(), p.h2.VMs())
	}
	if n := len(p.w.Trace().Select("guest/boot")); n != boots {
		t.Error("it was booted again")
	}
	if len(p.lan.Ports()) != 0 || len(p.h2.Switch(p.lan.ID).Ports()) != 1 {
		t.Error("the port has not moved")
	}
	p.advance(3 * time.Second)
	p.must(p.backupOn(p.h2))
	for _, h := range []*hyperv.Host{p.h, p.h2} {
		for _, left := range hyperv.Audit(h) {
			t.Errorf("%s: %v", h.Name(), left)
		}
	}
	alone := p.running("alone")
	if _, err := alone.MigrateTo(t.Context(), p.h2); err == nil || alone.State() != hyperv.StateRunning {
		t.Errorf("a machine on the host's own volume migrates: %v, %v", err, alone.State())
	}
}

// A machine does not move to a host where it could not go on.
func TestMigrationNeedsALikeHost(t *testing.T) {
	for name, row := range map[string]struct {
		host hyperv.HostConfig
		want error
	}{
		"another processor": {hyperv.HostConfig{Processor: "AuthenticAMD 15"}, hyperv.ErrFailed},
		"another Windows":   {hyperv.HostConfig{Profile: hyperv.Profile{Windows: "6.1"}}, hyperv.ErrFailed},
		"no memory":         {hyperv.HostConfig{MemoryMB: 3}, hyperv.ErrOutOfMemory},
	} {
		p := newPair(t)
		vm := p.running("db", onShared)
		row.host.Name = "h3"
		h3, err := hyperv.NewHost(p.w, row.host)
		p.must(err)
		p.must(h3.Mount(hyperv.Mount{Volume: p.shared}))
		if _, err := vm.MigrateTo(t.Context(), h3); !errors.Is(err, row.want) || vm.State() != hyperv.StateRunning || len(h3.VMs()) != 0 {
			t.Errorf("%s: %v, db is %v", name, err, vm.State())
		}
		p.write(vm, "C:", 2*dataOff, 'y')
	}
}

// A restore over a machine that is on its way to another host fails, and leaves all
// machines alone.
func TestRestoreOfAMachineThatMigrates(t *testing.T) {
	p := newPair(t)
	p.running("first", onShared)
	vm := p.running("db", onShared)
	target := p.mustBackup()
	call := p.w.Actor("admin").Go("migrate", func(ctx context.Context) error {
		_, err := vm.MigrateTo(ctx, p.h2)
		return err
	})
	p.advance(time.Second)
	_, err := p.restore(target)
	p.failsWith(err, vss.StateFailedAtPreRestore, nonRetryable, "migration to h2")
	p.must(call.Wait(t.Context()))
	first := p.h.VM("first")
	if moved := p.h2.VM("db"); moved == nil || moved.State() != hyperv.StateRunning || first == nil || first.State() != hyperv.StateRunning {
		t.Errorf("h1 has %v, h2 has %v", p.h.VMs(), p.h2.VMs())
	}
	p.write(p.h2.VM("db"), "C:", 2*dataOff, 'y')
	p.must(p.backupOn(p.h2))
}

// A migration that fails at the other end leaves the machine where it was.
func TestMigrationFails(t *testing.T) {
	p := newPair(t)
	vm := p.running("db", onShared)
	a := p.w.Actor("admin")
	call := a.Go("migrate", func(ctx context.Context) error {
		_, err := vm.MigrateTo(ctx, p.h2)
		return err
	})
	p.advance(time.Second)
	p.h2.Unmount(p.shared)
	if err := call.Wait(t.Context()); err == nil {
		t.Error("it went where its disk is not")
	}
	if vm.State() != hyperv.StateRunning || vm.Guest() == nil || len(p.h2.VMs()) != 0 {
		t.Errorf("it is %v; h2 has %v", vm.State(), p.h2.VMs())
	}
	p.write(vm, "C:", 2*dataOff, 'y')
}

// A host that boots deletes the shadow copies that it has taken of a shared volume,
// and not those of another host.
func TestBootOnASharedVolume(t *testing.T) {
	p := newPair(t)
	for i, h := range []*hyperv.Host{p.h, p.h2} {
		for _, v := range h.VSS().Volumes() {
			if v.ID() == p.shared.ID() {
				p.must(v.CreateShadow(t.Context(), [16]byte{byte(i + 1)}))
			}
		}
	}
	p.h.PowerOff()
	p.must(p.h.Boot(t.Context()))
	if got := p.shared.Shadows(); len(got) != 1 || got[0] != [16]byte{2} {
		t.Errorf("the volume has %v", got)
	}
}

// A host from which the volume is taken has nothing of it any more, and who takes
// it learns of the shadow copies that are left.
func TestUnmount(t *testing.T) {
	p := newPair(t)
	vm := p.running("db", onShared)
	id := [16]byte{1}
	for _, v := range p.h.VSS().Volumes() {
		if v.ID() == p.shared.ID() {
			p.must(v.CreateShadow(t.Context(), id))
		}
	}
	if left := p.h2.Unmount(p.shared); len(left) != 0 {
		t.Errorf("h2 leaves %v", left)
	}
	if left := p.h.Unmount(p.shared); len(left) != 1 || left[0] != id {
		t.Errorf("h1 leaves %v", left)
	}
	if p.h.Mounted(p.shared) || p.h.Volume("S:") != nil || len(p.h.VSS().Volumes()) != 2 {
		t.Error("h1 still has the volume")
	}
	if _, err := p.h.Files().Stat("S/VMs"); err == nil {
		t.Error("its files can still be seen")
	}
	if err := vm.Guest().WriteAt(t.Context(), "C:", 2*dataOff, bytes.Repeat([]byte{1}, 512)); !errors.Is(err, volume.ErrInvalidHandle) {
		t.Errorf("a machine still writes: %v", err)
	}
	p.must(p.h2.Mount(hyperv.Mount{Volume: p.shared}))
	if _, err := p.h2.TakeOver(t.Context(), vm.ConfigurationPath()); err != nil {
		t.Errorf("its disk is still held: %v", err)
	}
	p.must(p.h2.VM("db").Start(t.Context()))
}

// Two hosts take shadow copies of one volume side by side, unless it is forbidden.
func TestShadowCopiesOfASharedVolume(t *testing.T) {
	p := newPair(t)
	p.running("db", onShared)
	p.must(p.backupOn(p.h))
	p.must(p.backupOn(p.h2))
	p.h2.Unmount(p.shared)
	p.must(p.h2.Mount(hyperv.Mount{Volume: p.shared, AllowShadow: func() error { return hyperv.ErrAccessDenied }}))
	if _, err := p.h2.CreateVM(t.Context(), hyperv.VMConfig{Name: "other", Root: `S:\other`}); err != nil {
		t.Fatal(err)
	}
	if err := p.backupOn(p.h2); vss.HRESULTOf(err) == 0 {
		t.Errorf("the shadow copy was taken: %v", err)
	}
	p.must(p.backupOn(p.h))
}

// Writes of any host wait until the last host that holds them lets go.
func TestSharedHold(t *testing.T) {
	p := newPair(t)
	vm := p.running("db", onShared)
	var volumes []vss.Volume
	for _, h := range []*hyperv.Host{p.h, p.h2} {
		for _, v := range h.VSS().Volumes() {
			if v.ID() == p.shared.ID() {
				p.must(v.FlushAndHold(t.Context()))
				volumes = append(volumes, v)
			}
		}
	}
	write := p.w.Actor("program").Go("write", func(ctx context.Context) error {
		return vm.Guest().WriteAt(ctx, "C:", 2*dataOff, make([]byte, 512))
	})
	p.advance(time.Second)
	volumes[1].Release()
	p.advance(time.Second)
	if len(volumes) != 2 || write.Ended() {
		t.Fatal("a write goes through while the volume is held")
	}
	p.shared.HoldWrites()
	p.h.Unmount(p.shared) // as it dies: nobody else would let go
	p.advance(time.Second)
	if write.Ended() {
		t.Fatal("a write goes through while the storage does not answer")
	}
	p.shared.ReleaseWrites()
	p.advance(time.Second)
	if !write.Ended() {
		t.Error("the write still waits")
	}
}

// A machine that has gone to another host is not brought back, and the backup
// that saved it fails.
func TestPostSnapshotMissesAMachineThatLeft(t *testing.T) {
	p := newPair(t)
	vm := p.running("db", onShared, stopped)
	p.running("web", stopped)
	p.h.OnStateChange(func(c hyperv.StateChange) {
		if c.Name == "web" && c.To == hyperv.StateSaving {
			p.w.Actor("admin").Go("unregister", vm.Unregister)
		}
	})
	_, err := p.backup()
	p.failsWith(err, vss.StateFailedAtPostSnapshot, vss.ErrWriterErrorNonRetryable, "db", "not found")
	p.settled()
}

// A volume without a letter is mounted in a folder: a machine there is found by its
// whole path on every host, is saved and taken up there, and lies on that volume
// alone as far as R16 is concerned; its backup and restore go by the folder.
func TestMountInAFolder(t *testing.T) {
	const folder = `C:\ClusterStorage\Volume1`
	p := newPair(t)
	shared, err := hyperv.NewSharedVolume(p.w, hyperv.VolumeConfig{})
	p.must(err)
	if err := p.h.Mount(hyperv.Mount{Volume: shared}); !errors.Is(err, hyperv.ErrParameter) {
		t.Errorf("nowhere: %v", err)
	}
	for _, h := range []*hyperv.Host{p.h, p.h2} {
		p.must(h.Mount(hyperv.Mount{Volume: shared, Folder: folder}))
	}
	other, err := hyperv.NewSharedVolume(p.w, hyperv.VolumeConfig{})
	p.must(err)
	for path, want := range map[string]error{`C:\Users`: hyperv.ErrInUse, `X:\x`: hyperv.ErrInUse, `C:\a?`: hyperv.ErrParameter} {
		p.must(p.h.Files().Mkdir("C/Users")) // something stands there
		if err := p.h.Mount(hyperv.Mount{Volume: other, Folder: path}); !errors.Is(err, want) || p.h.Mounted(other) {
			t.Errorf("in %s: %v", path, err)
		}
		p.must(p.h.Files().Remove("C/Users"))
	}
	on := func(root string) func(c *hyperv.VMConfig) {
		return func(c *hyperv.VMConfig) {
			c.Root = root
			c.Disks = []hyperv.DiskConfig{vhdOf(folder + `\VMs\` + c.Name + `\system.vhd`)}
		}
	}
	vm := p.running("db", on(folder+`\VMs\db`))
	if d := vm.Decide(); d.Method != hyperv.MethodChildSnapshot || len(d.Reasons) != 0 || !vm.StandsOn(shared) || vm.StandsOn(p.shared) {
		t.Errorf("db is to be backed up by %v because %v", d.Method, d.Reasons)
	}
	if d := p.running("web", on(`C:\VMs\web`)).Decide(); len(d.Reasons) != 1 || d.Reasons[0].Code != hyperv.ReasonSnapshotLocation {
		t.Errorf("web, with its snapshots on C:, is to be backed up by %v because %v", d.Method, d.Reasons)
	}
	if _, err := shared.Stat(`\VMs\db\system.vhd`); err != nil {
		t.Error(err)
	}
	p.must(vm.Save(t.Context()))
	p.must(vm.Unregister(t.Context()))
	moved, err := p.h2.TakeOver(t.Context(), vm.ConfigurationPath())
	p.must(err)
	p.must(moved.Start(t.Context()))
	back, err := moved.MigrateTo(t.Context(), p.h)
	p.must(err)
	p.must(p.backupOn(p.h))
	p.h.Unmount(shared)
	if err := back.Guest().WriteAt(t.Context(), "C:", 2*dataOff, bytes.Repeat([]byte{1}, 512)); !errors.Is(err, volume.ErrInvalidHandle) {
		t.Errorf("a machine still writes: %v", err)
	}
	if _, err := p.h2.TakeOver(t.Context(), vm.ConfigurationPath()); err != nil {
		t.Error(err)
	}
}
