package ledger_test

import (
	"context"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// exampleDisk makes a disk with one NTFS volume.
func exampleDisk(signature uint32) (guest.Disk, disk.Store) {
	d := guest.NewDisk(disk.NewMemory(4 << 20))
	err := guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: signature, Partitions: []guest.PartitionSpec{
		{Active: signature == 1, FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: 1}},
	}})
	if err != nil {
		panic(err)
	}
	l, err := guest.ReadLayout(d, d.Size())
	if err != nil {
		panic(err)
	}
	return d, guest.Volumes(l)[0].Store(d)
}

// The ledger's data and log must be images of one instant, and even then the log
// has to be replayed, unless the ledger was asked to freeze.
func ExampleCheck() {
	ctx := context.Background()
	w := sim.New()
	defer func() { _ = w.Close() }()
	dataDisk, data := exampleDisk(1)
	logDisk, log := exampleDisk(2)
	err := guest.WriteSystem(data, &guest.System{
		OS: guest.WindowsServer2008, ComputerName: "SQL01",
		Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016"),
		Programs: []guest.Program{{Name: ledger.Name, Args: map[string]string{"data": "C:", "log": "D:"}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := guest.Boot(ctx, guest.Config{
		Parent: w.Actor("h1").Child("sql01"), Disks: guest.Disks(dataDisk, logDisk), Memory: 1 << 20,
		Catalog: guest.Catalog{ledger.Name: ledger.New},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = w.Advance(10 * time.Second)
	verdict, report := ledger.Check(data, log)
	fmt.Printf("%v: %v\n", verdict, report)

	old, err := disk.Snapshot(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := m.Shutdown(ctx); err != nil {
		fmt.Println(err)
		return
	}
	verdict, report = ledger.Check(data, log)
	fmt.Printf("%v: %v\n", verdict, report)

	verdict, report = ledger.Check(old, log) // the data of before, the log of now
	fmt.Printf("%v: %v\n", verdict, report)
	// Output:
	// crash-consistent: 64 accounts, total 64000, data up to transaction 0, 97 replayed up to 97
	// application-consistent: 64 accounts, total 64000, data up to transaction 97
	// torn: transaction 1 is missing between data and log
}

// Arguments make the writer misbehave, for those who want to see what happens.
func ExampleNew() {
	_, err := ledger.New(guest.Program{Name: ledger.Name, Args: map[string]string{"veto": "freeze", "hr": "0x800423F3"}})
	fmt.Println(err)
	_, err = ledger.New(guest.Program{Name: ledger.Name, Args: map[string]string{"veto": "everything"}})
	fmt.Println(err)
	// Output:
	// <nil>
	// ledger: veto=everything: not an event that can be refused
}
