package guest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// exampleDisk makes a small disk with Windows Server 2008 and a program on it.
func exampleDisk(p guest.Program) guest.Disk {
	d := guest.NewDisk(disk.NewMemory(8 << 20))
	err := guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: 1, Partitions: []guest.PartitionSpec{
		{Active: true, FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: 1}},
	}})
	if err != nil {
		panic(err)
	}
	l, err := guest.ReadLayout(d, d.Size())
	if err != nil {
		panic(err)
	}
	err = guest.WriteSystem(guest.Volumes(l)[0].Store(d), &guest.System{
		OS: guest.WindowsServer2008, ComputerName: "SQL01", Programs: []guest.Program{p},
		Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016"),
	})
	if err != nil {
		panic(err)
	}
	return d
}

// A machine is booted from its disks, works, and makes shadow copies inside
// itself when the host asks its backup service.
func ExampleBoot() {
	ctx := context.Background()
	w := sim.New()
	defer func() { _ = w.Close() }()
	d := exampleDisk(guest.Program{Name: ledger.Name})
	m, err := guest.Boot(ctx, guest.Config{
		Parent:  w.Actor("h1").Child("sql01"),
		Disks:   guest.Disks(d),
		Memory:  2 << 20,
		Catalog: guest.Catalog{ledger.Name: ledger.New},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.System().ComputerName, "runs", m.System().OS)
	_ = w.Advance(time.Minute)

	requestor, err := m.Requestor()
	if err != nil {
		fmt.Println(err, guest.Status(err))
		return
	}
	snapshot, err := requestor.Snapshot(ctx, guest.SnapshotOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range snapshot.Copies {
		kept, _ := d.Kept(c.ID)
		image := disk.Section(kept, c.Off, c.Len)
		verdict, _ := ledger.Check(image, image)
		fmt.Println("the copy of", c.Volume, "is", verdict)
	}
	fmt.Println("released:", requestor.Release(ctx, snapshot) == nil)
	// Output:
	// SQL01 runs Windows Server 2008
	// the copy of C: is application-consistent
	// released: true
}

// A counter is a program: it counts in its memory and writes the count to C:
// every ten steps.
type counter struct{}

func (counter) Step(ctx context.Context, e *guest.Env) (time.Duration, error) {
	b := make([]byte, 8)
	if _, err := e.Memory.ReadAt(b, 0); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(b) + 1
	binary.LittleEndian.PutUint64(b, n)
	if _, err := e.Memory.WriteAt(b, 0); err != nil {
		return 0, err
	}
	if n%10 == 0 {
		c, err := e.Open(ctx, "C:")
		if err != nil {
			return 0, err
		}
		if _, err := c.WriteAt(b, guest.DataOffset); err != nil {
			return 0, err
		}
	}
	return time.Second, nil
}

// A save falls between two steps of every program, and a resume goes on from the
// saved bytes with programs made anew.
func ExampleResume() {
	ctx := context.Background()
	w := sim.New()
	defer func() { _ = w.Close() }()
	config := guest.Config{
		Parent:  w.Actor("h1").Child("sql01"),
		Disks:   guest.Disks(exampleDisk(guest.Program{Name: "counter"})),
		Memory:  1 << 20,
		Catalog: guest.Catalog{"counter": func(guest.Program) (guest.Application, error) { return counter{}, nil }},
	}
	count := func(m *guest.Machine) uint64 {
		r, _ := m.Memory().Region("counter")
		b := make([]byte, 8)
		_, _ = r.ReadAt(b, 0)
		return binary.LittleEndian.Uint64(b)
	}

	m, err := guest.Boot(ctx, config)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = w.Advance(99500 * time.Millisecond)
	fmt.Println("counted to", count(m))
	memory, err := m.Save(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = w.Advance(time.Hour) // nothing runs
	m, err = guest.Resume(ctx, config, memory)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("resumed at", count(m))
	_ = w.Advance(time.Second)
	fmt.Println("counted to", count(m))
	// Output:
	// counted to 100
	// resumed at 100
	// counted to 101
}

// A disk keeps snapshots of itself under the ids it is given.
func ExampleKeeper() {
	d := guest.NewDisk(disk.NewMemory(1 << 20))
	id := [16]byte{1}
	_, _ = d.WriteAt([]byte("before"), 0)
	_ = d.Keep(id)
	_, _ = d.WriteAt([]byte("after!"), 0)
	kept, err := d.Kept(id)
	if err != nil {
		fmt.Println(err)
		return
	}
	b := make([]byte, 6)
	_, _ = kept.ReadAt(b, 0)
	fmt.Printf("%s\n", b)
	_ = d.Drop(id)
	_, err = d.Kept(id)
	fmt.Println(errors.Is(err, guest.ErrNoShadow))
	// Output:
	// before
	// true
}

// The host learns from the error why it cannot talk to a guest.
func ExampleStatus() {
	ctx := context.Background()
	w := sim.New()
	defer func() { _ = w.Close() }()
	m, err := guest.Boot(ctx, guest.Config{
		Parent: w.Actor("h1").Child("sql01"),
		Disks:  guest.Disks(exampleDisk(guest.Program{Name: "nothing"})),
		Memory: 1 << 20,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = m.Requestor()
	fmt.Println(guest.Status(err))
	if err := m.StopService(ctx, "Hyper-V Volume Shadow Copy Requestor"); err != nil {
		fmt.Println(err)
	}
	_, err = m.Requestor()
	fmt.Println(guest.Status(err))
	fmt.Println(errors.Is(err, guest.ErrNotRunning))
	// Output:
	// OK
	// Lost Communication
	// true
}

// Faults are planned for a drive by its path. A test writes to a volume as some
// program would.
func ExampleMachine_WriteAt() {
	ctx := context.Background()
	w := sim.New(sim.Plan("disk/write on=h1/sql01/guest/C: nth=2 err=0x80070070"))
	defer func() { _ = w.Close() }()
	m, err := guest.Boot(ctx, guest.Config{
		Parent: w.Actor("h1").Child("sql01"),
		Disks:  guest.Disks(exampleDisk(guest.Program{Name: "nothing"})),
		Memory: 1 << 20,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.WriteAt(ctx, "C:", 1<<20, []byte("one")))
	fmt.Println(m.WriteAt(ctx, "C:", 1<<20, []byte("two")))
	// Output:
	// <nil>
	// guest: WriteAt: h1/sql01/guest/C:: disk/write on h1/sql01/guest/C:: injected error 0x80070070
}
