// Package hyperv is a host that runs Hyper-V: its virtual machines, the service
// that manages them, virtual switches, and the Hyper-V VSS writer through which
// all of it is backed up and restored.
//
//	host, err := hyperv.NewHost(w, hyperv.HostConfig{Name: "h1", Volumes: hyperv.Volumes("C:", "D:")})
//	vm, err := host.CreateVM(ctx, hyperv.VMConfig{
//		Name:  "sql01",
//		Root:  `D:\VMs\sql01`,
//		Disks: []hyperv.DiskConfig{{Path: `D:\VMs\sql01\system.vhd`, Size: 64 << 20, Format: &format}},
//		Guest: &guest.System{OS: guest.WindowsServer2008, Services: services},
//	})
//	err = vm.Start(ctx)
//	err = mybackup.Run(ctx, host.VSS()) // the code under test
//	left := hyperv.Audit(host)          // nothing
//
// The rules come from the page "Backing Up and Restoring Virtual Machines"; they
// stand as data in [Requirements], and the trace cites them by number;
// REQUIREMENTS.md beside the source lists the tests that hold each. A machine
// is backed up in one of two ways, which [Profile.Decide] chooses: by a snapshot
// inside the child ([MethodChildSnapshot]), during which it keeps running, or in
// the saved state ([MethodSavedState]), for which it is stopped.
//
// What a machine is, is what its files say. A configuration file is read from
// the volume, a VHD from its bytes, a saved state from the files beside the
// configuration; a restored machine has nothing in common with the one that was
// backed up but those bytes.
//
// A machine has an account of its own, which needs access to its files
// ([ServiceSID]): the host gives it, a restore has to put it back, and the writer,
// which registers what was restored, does not make up for it; only a VHD file that it
// finds elsewhere it attaches anew, with access. A machine whose files
// were restored as contents alone is registered, and its start is an [AccessError]
// until somebody grants access ([Host.Grant]). ISO files in its DVD drives are no part
// of a backup; where one is not there its start is a [MediaError].
//
// The writer undoes what it did. Every step goes on a stack that belongs to the
// host and outlives the management service; a failure, an abort, the end of a
// session and a restart of the service work it off. [Audit] tells what is left.
//
// The host knows nothing of failover clusters (R59).
package hyperv
