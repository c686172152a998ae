package hyperv

import (
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A Switch is a virtual switch of a host. Machines know it by its ID; the name
// is for people.
type Switch struct {
	ID    [16]byte
	Name  string
	ports []*Port
}

// A Port is a place on a switch where one adapter is connected.
type Port struct {
	ID      [16]byte
	VM      [16]byte
	Adapter int // of the machine, from 0
}

// Ports lists the ports in the order they were made.
func (s *Switch) Ports() []Port {
	out := make([]Port, len(s.ports))
	for i, p := range s.ports {
		out[i] = *p
	}
	return out
}

// AddSwitch makes a virtual switch with an ID of its own.
func (h *Host) AddSwitch(name string) *Switch { return h.AddSwitchID(name, h.actor.NewID("switch")) }

// AddSwitchID makes a virtual switch that is to have a certain ID, such as one
// that a backed-up machine was connected to on another host.
func (h *Host) AddSwitchID(name string, id [16]byte) *Switch {
	s := &Switch{ID: id, Name: name}
	h.switches = append(h.switches, s)
	return s
}

// RemoveSwitch takes a switch and its ports away. Adapters that were connected
// stay as they are configured, with nothing at the other end.
func (h *Host) RemoveSwitch(id [16]byte) {
	h.switches = slices.DeleteFunc(h.switches, func(s *Switch) bool { return s.ID == id })
}

// Switches lists the virtual switches in the order they were made.
func (h *Host) Switches() []*Switch { return slices.Clone(h.switches) }

// Switch finds a switch by ID, or returns nil.
func (h *Host) Switch(id [16]byte) *Switch {
	for _, s := range h.switches {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// newPortID is the identity of a new port for a machine.
func (h *Host) newPortID(vm [16]byte) [16]byte { return h.actor.NewID("port " + guid.String(vm)) }

// disconnect removes all ports of a machine.
func (h *Host) disconnect(vm [16]byte) {
	for _, s := range h.switches {
		s.ports = slices.DeleteFunc(s.ports, func(p *Port) bool { return p.VM == vm })
	}
}

// dropPort removes the port of one adapter.
func (h *Host) dropPort(vm [16]byte, adapter int) {
	for _, s := range h.switches {
		s.ports = slices.DeleteFunc(s.ports, func(p *Port) bool { return p.VM == vm && p.Adapter == adapter })
	}
}
