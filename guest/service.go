package guest

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Services lists the integration services as they are set up and whether they
// run.
func (m *Machine) Services() []IntegrationService { return slices.Clone(m.system.Services) }

// StopService stops an integration service, named by its short or its display
// name, and keeps it from starting with the system. A backup that the backup
// service is at is aborted. The change is in the system record, so a restart
// finds it.
func (m *Machine) StopService(ctx context.Context, name string) error {
	return m.setService(ctx, "StopService", name, false, StartManual)
}

// StartService starts an integration service and lets it start with the system.
func (m *Machine) StartService(ctx context.Context, name string) error {
	return m.setService(ctx, "StartService", name, true, StartAutomatic)
}

func (m *Machine) setService(ctx context.Context, op, name string, running bool, start StartMode) error {
	i := slices.IndexFunc(m.system.Services, func(s IntegrationService) bool {
		return strings.EqualFold(string(s.Name), name) || strings.EqualFold(s.Name.DisplayName(), name)
	})
	switch {
	case i < 0:
		return &Error{Op: op, On: name, Err: ErrNoService}
	case !m.system.Services[i].Installed:
		return &Error{Op: op, On: name, Err: ErrNotInstalled}
	}
	return m.call(ctx, op, func(ctx context.Context) error {
		if !running && m.system.Services[i].Name == BackupService && m.requestor != nil {
			if err := m.requestor.Abort(ctx); err != nil {
				return err
			}
		}
		s := m.system.clone()
		s.Services[i].Running, s.Services[i].Start = running, start
		return m.register(ctx, s)
	})
}

// autostart does what the start modes say when the system boots. A record that
// cannot be written is an event; the services run all the same.
func (m *Machine) autostart(ctx context.Context) {
	s := m.system.clone()
	for i := range s.Services {
		s.Services[i].Running = s.Services[i].Installed && s.Services[i].Start == StartAutomatic
	}
	if slices.Equal(s.Services, m.system.Services) {
		return
	}
	if err := m.register(ctx, s); err != nil {
		m.actor.Emit("guest/record", "", sim.S("error", err.Error()))
		m.system = s
	}
}

// register writes the system record and makes it the one in force.
func (m *Machine) register(ctx context.Context, s *System) error {
	if err := WriteSystem(m.boot.Open(ctx), s); err != nil {
		return err
	}
	for i, v := range s.Services {
		if v.Running != m.system.Services[i].Running {
			m.actor.Emit("guest/service", "", sim.S("service", string(v.Name)), sim.S("running", strconv.FormatBool(v.Running)))
		}
	}
	m.system = s
	return nil
}

// clone copies what register may change.
func (s *System) clone() *System {
	c := *s
	c.Services = slices.Clone(s.Services)
	c.ShadowStorage = slices.Clone(s.ShadowStorage)
	return &c
}

// An OperationalStatus is how the host's object for an integration service
// stands ("Msvm_VssComponent").
type OperationalStatus int

// The states of the backup service that a host tells apart.
const (
	StatusOK                OperationalStatus = 2
	StatusDegraded          OperationalStatus = 3  // an older protocol, which still works
	StatusProtocolMismatch  OperationalStatus = 7  // a non-recoverable error
	StatusNoContact         OperationalStatus = 12 // never heard of it: not installed
	StatusLostCommunication OperationalStatus = 13 // it does not run any more
)

// String names the status.
func (s OperationalStatus) String() string {
	switch s {
	case StatusOK:
		return "OK"
	case StatusDegraded:
		return "Degraded"
	case StatusProtocolMismatch:
		return "Protocol Mismatch"
	case StatusNoContact:
		return "No Contact"
	case StatusLostCommunication:
		return "Lost Communication"
	}
	return strconv.Itoa(int(s))
}
