package guest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A rig is a world with one virtual machine for tests: what a host would do
// for it, the test does.
type rig struct {
	t     testing.TB
	world *sim.World
	vm    *sim.Actor
	size  int64 // of each disk
	guest.Config
}

// newRig makes a world with a Windows Server 2008 on C:, and a ledger with its
// data on D: and its log on E:, each on a disk of its own.
func newRig(t testing.TB, opts ...sim.Option) *rig {
	b := newEmptyRig(t, opts...)
	b.addDisk(1, guest.NTFS)
	b.addDisk(2, guest.NTFS)
	b.addDisk(3, guest.NTFS)
	b.install(&guest.System{
		OS: guest.WindowsServer2008, ComputerName: "SQL01",
		Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016"),
		Programs: []guest.Program{{Name: ledger.Name, Args: map[string]string{"data": "D:", "log": "E:"}}},
	})
	return b
}

func newEmptyRig(t testing.TB, opts ...sim.Option) *rig {
	w := sim.New(opts...)
	t.Cleanup(func() { _ = w.Close() })
	b := &rig{t: t, world: w, vm: w.Actor("h1").Child("sql01"), size: 16 << 20}
	b.Config = guest.Config{Parent: b.vm, Memory: 4 << 20, Catalog: guest.Catalog{ledger.Name: ledger.New}}
	return b
}

// addDisk adds a disk with one partition.
func (b *rig) addDisk(signature uint32, kind guest.FileSystemKind) guest.Disk {
	b.t.Helper()
	d := guest.NewDisk(disk.NewMemory(b.size))
	fs := guest.FileSystem{Kind: kind, Serial: uint64(signature)}
	if kind >= guest.Ext2 {
		fs.Serial, fs.UUID = 0, guid.GUID{byte(signature)}
	}
	b.must(guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: signature,
		Partitions: []guest.PartitionSpec{{Active: signature == 1, FileSystem: fs}}}))
	b.Disks = append(b.Disks, guest.Attachment{Disk: d})
	return d
}

// install writes a system record to the first volume of the first disk.
func (b *rig) install(s *guest.System) {
	b.t.Helper()
	b.must(guest.WriteSystem(b.volume(0), s))
}

// volume is the first volume of a disk, from its bytes.
func (b *rig) volume(i int) disk.Store {
	b.t.Helper()
	d := b.Disks[i].Disk
	l, err := guest.ReadLayout(d, d.Size())
	b.must(err)
	return guest.Volumes(l)[0].Store(d)
}

func (b *rig) boot() *guest.Machine {
	b.t.Helper()
	m, err := guest.Boot(b.t.Context(), b.Config)
	b.must(err)
	return m
}

func (b *rig) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.world.Trace())
	}
}

func (b *rig) advance(d time.Duration) {
	b.t.Helper()
	b.must(b.world.Advance(d))
}

func (b *rig) requestor(m *guest.Machine) guest.Requestor {
	b.t.Helper()
	r, err := m.Requestor()
	b.must(err)
	return r
}

func (b *rig) snapshot(m *guest.Machine) *guest.Snapshot {
	b.t.Helper()
	s, err := b.requestor(m).Snapshot(b.t.Context(), guest.SnapshotOptions{})
	b.must(err)
	return s
}

// copyOf is the image of a volume in a snapshot.
func (b *rig) copyOf(s *guest.Snapshot, volume string) disk.Store {
	b.t.Helper()
	for _, c := range s.Copies {
		if c.Volume == volume {
			kept, err := b.Disks[c.Disk].Disk.Kept(c.ID)
			b.must(err)
			return disk.Section(kept, c.Off, c.Len)
		}
	}
	b.t.Fatalf("no copy of %s in %v", volume, s)
	return nil
}

// settled fails the test unless nothing of any backup is left in the machine.
func (b *rig) settled(m *guest.Machine) {
	b.t.Helper()
	for i, d := range b.Disks {
		if ids := d.Disk.KeptIDs(); len(ids) > 0 {
			b.t.Errorf("disk %d keeps %x\n%s", i, ids, b.world.Trace())
		}
	}
	for _, d := range m.Drives() {
		if d.Held() {
			b.t.Errorf("writes to %v are held\n%s", d, b.world.Trace())
		}
	}
	if v := m.VSS(); v != nil {
		for _, what := range v.Leftovers() {
			b.t.Errorf("%s\n%s", what, b.world.Trace())
		}
	}
}

func wantReason(t testing.TB, err error, reason guest.Reason) {
	t.Helper()
	if !errors.Is(err, reason) {
		t.Errorf("error %v, want %v", err, reason)
	}
	var e *guest.Error
	if !errors.As(err, &e) {
		t.Errorf("%T is no *guest.Error", err)
	}
}
