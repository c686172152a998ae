package guest_test

import (
	"fmt"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
)

// A system is installed by writing its record, and found by reading it.
func ExampleWriteSystem() {
	volume := disk.NewMemory(1 << 20)
	err := guest.WriteSystem(volume, &guest.System{
		OS: guest.WindowsServer2008, ComputerName: "SQL01",
		Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016"),
		Programs: []guest.Program{{Name: "ledger", Args: map[string]string{"data": "D:", "log": "E:"}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := guest.ReadSystem(volume)
	if err != nil {
		fmt.Println(err)
		return
	}
	backup := s.Service(guest.BackupService)
	fmt.Println(s.ComputerName, "runs", s.OS)
	fmt.Printf("%s: version %s, %s, running %v\n", backup.Name.DisplayName(), backup.Version, backup.Start, backup.Running)
	fmt.Println(s.Programs[0].Name, "keeps its log on", s.Programs[0].Args["log"])
	// Output:
	// SQL01 runs Windows Server 2008
	// Hyper-V Volume Shadow Copy Requestor: version 6.0.6001.18016, automatic, running true
	// ledger keeps its log on E:
}

// Names as a guest's list of services shows them.
func ExampleServiceName() {
	for _, n := range guest.ServiceNames()[:2] {
		fmt.Printf("%s %x %s\n", n, n.ClassID(), n.DisplayName())
	}
	// Output:
	// vmicvss 35fa2e29ea23423696ae3a6ebacba440 Hyper-V Volume Shadow Copy Requestor
	// vmicheartbeat 57164f3991154e78ab55382f3bd5422d Hyper-V Heartbeat Service
}

// There is no backup service for Windows 2000.
func ExampleOS_Supports() {
	for _, os := range []guest.OS{guest.Windows2000Server, guest.WindowsServer2003, guest.WindowsServer2008} {
		fmt.Println(os, os.Supports(guest.BackupService), os.VSS())
	}
	// Output:
	// Windows 2000 Server false false
	// Windows Server 2003 true true
	// Windows Server 2008 true true
}
