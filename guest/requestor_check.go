package guest

import (
	"errors"
	"strconv"
	"strings"
)

// Requestor returns the machine's backup service if the host can talk to it (R2).
// It fails with [ErrUnsupported] if there is none for the operating system (R14),
// [ErrNotInstalled] (R11), [ErrNotRunning] (R12), [ErrProtocol] if the service is
// older than what the host speaks with, [ErrPaused] and [ErrEnded].
func (m *Machine) Requestor() (Requestor, error) {
	service := m.system.Service(BackupService)
	var reason Reason
	switch {
	case m.Ended():
		reason = ErrEnded
	case !m.system.OS.Supports(BackupService) || m.requestor == nil:
		reason = ErrUnsupported
	case !service.Installed:
		reason = ErrNotInstalled
	case !service.Running:
		reason = ErrNotRunning
	case older(service.Version, m.config.OldestService):
		reason = ErrProtocol
	case m.paused:
		reason = ErrPaused
	default:
		return m.requestor, nil
	}
	return nil, &Error{Op: "Requestor", On: m.path, Err: reason}
}

// BackupStatus is the state in which the host sees the machine's backup service
// ("Msvm_VssComponent"). One that is older than [Config.CurrentService] is
// [StatusDegraded], which does not keep it from backing up.
func (m *Machine) BackupStatus() OperationalStatus {
	_, err := m.Requestor()
	if err == nil && older(m.system.Service(BackupService).Version, m.config.CurrentService) {
		return StatusDegraded
	}
	return Status(err)
}

// HotBackup tells whether the machine's backup service, if the host can talk to it,
// can back the machine up while it runs. The first time that it cannot is event 22
// of a Windows guest's log ("Microsoft-Windows-Hyper-V-Guest-Drivers", IcSvc).
func (m *Machine) HotBackup() bool {
	r, err := m.Requestor()
	if err != nil || canHotBackup(r) {
		return true
	}
	if !m.toldCold && m.system.OS.VSS() {
		m.toldCold = true
		m.event(eventHotBackup, ErrNoHotBackup)
	}
	return false
}

func canHotBackup(r Requestor) bool {
	for r != nil {
		switch x := r.(type) {
		case HotBackuper:
			return x.HotBackup()
		case interface{ Unwrap() Requestor }:
			r = x.Unwrap()
		default:
			return true
		}
	}
	return true
}

// Status is the state in which the host sees a backup service for which
// [Machine.Requestor] returned err. Whether one that works is degraded it cannot
// tell; [Machine.BackupStatus] does.
func Status(err error) OperationalStatus {
	switch {
	case err == nil:
		return StatusOK
	case errors.Is(err, ErrUnsupported), errors.Is(err, ErrNotInstalled):
		return StatusNoContact
	case errors.Is(err, ErrProtocol):
		return StatusProtocolMismatch
	}
	return StatusLostCommunication
}

// older tells whether version a is older than b, comparing number by number; a
// part that is missing or no number counts as 0.
func older(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(x), len(y)) {
		if p, q := versionPart(x, i), versionPart(y, i); p != q {
			return p < q
		}
	}
	return false
}

func versionPart(parts []string, i int) uint64 {
	if i >= len(parts) {
		return 0
	}
	n, _ := strconv.ParseUint(parts[i], 10, 32)
	return n
}

// newRequestor makes the backup service that the configuration plugs in, or the
// one that belongs to the operating system.
func (m *Machine) newRequestor() Requestor {
	if m.config.NewRequestor != nil {
		return m.config.NewRequestor(m)
	}
	return DefaultRequestor(m)
}

// DefaultRequestor makes the backup service that belongs to a machine's operating
// system, or nil if there is none for it. A [Config.NewRequestor] may wrap it.
func DefaultRequestor(m *Machine) Requestor {
	if m.service != nil {
		return newWindowsRequestor(m)
	}
	return NewDaemon(m, DaemonOptions{})
}
