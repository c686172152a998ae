package guest

import "github.com/shadowsim/shadowsim/vss/sim"

// The numbers of events that the backup service writes to the guest's log
// ("Microsoft-Windows-Hyper-V-Guest-Drivers", IcSvc).
const (
	eventInit           = 1  // the requester could not be initialized
	eventSetContext     = 2  // SetContext failed
	eventSetBackupState = 3  // SetBackupState failed
	eventHotBackup      = 22 // the operating system cannot be backed up while it runs
	eventWriter         = 23 // a writer failed
)

// event writes a failure to the guest's event log with its number there.
func (m *Machine) event(id int, err error) error {
	m.actor.Emit("guest/event", "", sim.N("id", id), sim.S("error", err.Error()))
	return err
}
