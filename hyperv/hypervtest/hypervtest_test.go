package hypervtest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/simtest"
)

// newHost makes a host with a machine that runs and one that is paused.
func newHost(t *testing.T, w *sim.World, oracle *hypervtest.Oracle) *hyperv.Host {
	t.Helper()
	h, err := hyperv.NewHost(w, hyperv.HostConfig{
		Name: "h1", Volumes: hyperv.Volumes("C:", "D:"), Manage: oracle.Watch,
		Catalog: guest.Catalog{ledger.Name: ledger.New},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"runs", "paused"} {
		vm, err := h.CreateVM(t.Context(), hyperv.VMConfig{
			Name: name, Root: `D:\VMs\` + name, MemoryMB: 16,
			Disks: []hyperv.DiskConfig{{Path: `D:\VMs\` + name + `\disk.vhd`, Size: 24 << 20, Format: &guest.DiskSpec{
				Scheme:     guest.MBR,
				Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: guest.NTFS}}},
			}}},
			Guest: &guest.System{
				OS: guest.WindowsServer2008, ComputerName: name,
				Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016"),
				Programs: []guest.Program{{Name: ledger.Name}},
			},
		})
		if err == nil {
			err = vm.Start(t.Context())
		}
		if err == nil && name == "paused" {
			err = vm.Pause(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// recorder is a testing.TB that collects errors.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper()      {}
func (r *recorder) Failed() bool { return len(r.errors) > 0 }
func (r *recorder) Errorf(s string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(s, args...))
}

func TestMustBeSettled(t *testing.T) {
	h := newHost(t, simtest.New(t), hypervtest.NewOracle())
	hypervtest.MustBeSettled(t, h)

	if err := h.VM("runs").Lock("export"); err != nil {
		t.Fatal(err)
	}
	r := &recorder{TB: t}
	hypervtest.MustBeSettled(r, h)
	if len(r.errors) != 1 || !strings.Contains(r.errors[0], "export") {
		t.Errorf("a held machine: %q", r.errors)
	}
	h.VM("runs").Unlock()
	hypervtest.MustBeSettled(t, h)
}

func TestMustBeSettledTriesTheNextBackup(t *testing.T) {
	w := simtest.New(t)
	h := newHost(t, w, hypervtest.NewOracle())
	w.Inject(sim.Fault{Point: hyperv.FaultSave, Outcome: sim.Outcome{Err: 0x80070070}})
	r := &recorder{TB: t}
	hypervtest.MustBeSettled(r, h)
	if len(r.errors) != 1 || !strings.Contains(r.errors[0], "next backup") {
		t.Errorf("a backup that fails: %q", r.errors)
	}
}

func TestOracleThatWasNotBegun(t *testing.T) {
	oracle := hypervtest.NewOracle()
	h := newHost(t, simtest.New(t), oracle)
	hypervtest.MustBeSettled(t, h)
	if list := oracle.Check(h); len(list) != 0 {
		t.Errorf("it knows %v", list)
	}
}

func TestOracle(t *testing.T) {
	oracle := hypervtest.NewOracle()
	h := newHost(t, simtest.New(t), oracle)
	if err := oracle.Begin(h); err != nil {
		t.Fatal(err)
	}
	target := &requester.Memory{}
	if _, err := (&requester.Backup{Service: h.VSS(), Target: target, MayBeMissing: hyperv.MayBeMissing}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !oracle.Snapshotted(h.VM("runs").ID()) || oracle.Snapshotted(h.VM("paused").ID()) {
		t.Error("the wrong machine was snapshotted")
	}
	restore := func() {
		t.Helper()
		if _, err := (&requester.Restore{Service: h.VSS(), Source: target, Destination: h.Files()}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	restore()
	for _, f := range oracle.Check(h) {
		if f.Err != nil {
			t.Errorf("after a restore: %v", f)
		}
	}
	for _, off := range []int64{3 << 19, 2 << 20} { // both lie in the first block of the image, in the guest's volume
		for _, name := range []string{"runs", "paused"} {
			restore()
			f, err := h.Volume("D").OpenFile(`\VMs\`+name+`\disk.vhd`, volume.ReadWrite, volume.Exclusive)
			if err == nil {
				err = flip(f, off)
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
			if !found(oracle.Check(h), name) {
				t.Errorf("a disk of %s that is spoilt at %d is not found", name, off)
			}
		}
	}
	if err := h.VM("paused").TurnOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !found(oracle.Check(h), "paused") {
		t.Error("a machine in another state is not found")
	}
}

// flip changes a byte of a file.
func flip(f *volume.File, off int64) error {
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		return err
	}
	b[0] ^= 0xFF
	_, err := f.WriteAt(b[:], off)
	return err
}

func found(list []hypervtest.Finding, vm string) bool {
	for _, f := range list {
		if f.VM == vm && f.Err != nil {
			return true
		}
	}
	return false
}
