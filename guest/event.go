package guest

import "github.com/shadowsim/shadowsim/vss/sim"

// The numbers of events that the backup service writes to the guest's log
// ("Microsoft-Windows-Hyper-V-Guest-Drivers", IcSvc).
const (
	eventInit           = 1  // the requester could not be initialized
	eventSetContext     = 2  // SetContext failed
	eventSetBackupState = 3  // SetBackupState failed
	eventDetection      = 4  // which disks the host does not see could not be told
	eventNoOriginal     = 5  // a shadow copy is of no volume that the guest knows
	eventNoneArrived    = 6  // none of the shadow copies is there
	eventSomeArrived    = 7  // not all of the shadow copies are there
	eventHotBackup      = 22 // the operating system cannot be backed up while it runs
	eventWriter         = 23 // a writer failed
	eventDiskNumber     = 24 // the number of a volume's disk could not be told
)

// event writes a failure to the guest's event log with its number there.
func (m *Machine) event(id int, err error) error {
	m.actor.Emit("guest/event", "", sim.N("id", id), sim.S("error", err.Error()))
	return err
}
