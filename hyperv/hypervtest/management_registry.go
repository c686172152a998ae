package hypervtest

import (
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/hyperv"
)

// listed tells where in the list a machine stands, or -1.
func (k *try) listed(id [16]byte) (int, int, error) {
	list, err := k.Machines(k.ctx)
	if err != nil {
		return 0, 0, ok("Machines", err)
	}
	for i, m := range list {
		if m.ID == id {
			return i, len(list), nil
		}
	}
	return -1, len(list), nil
}

// counts checks the number of machines, and whether one is among them.
func (k *try) counts(n int, id [16]byte, there bool) func() error {
	return func() error {
		at, have, err := k.listed(id)
		if err != nil {
			return err
		}
		if have != n || (at >= 0) != there {
			return fmt.Errorf("of %d machines it is number %d, want %d machines, listed %v", have, at, n, there)
		}
		return nil
	}
}

func (k *try) delete(id [16]byte) func() error {
	return func() error { return ok("Delete", k.Delete(k.ctx, id)) }
}

// exists checks whether a file is there.
func (k *try) exists(path string, want bool) func() error {
	return func() error {
		if k.Exists != nil && k.Exists(path) != want {
			return fmt.Errorf("%s exists: %v, want %v", path, !want, want)
		}
		return nil
	}
}

// adapter is the first network adapter of the machine that is off.
func (k *try) adapter() (a hyperv.Adapter, err error) {
	m, err := k.Machine(k.ctx, k.Off)
	if err != nil {
		return a, ok("Machine", err)
	}
	if len(m.Configuration.Adapters) == 0 {
		return a, errors.New("the machine has no network adapter")
	}
	return m.Configuration.Adapters[0], nil
}

var registryCases = []managementCase{
	{"Delete takes a machine's registration and configuration away, and leaves its VHD files", func(k *try) error {
		m, err := k.Machine(k.ctx, k.Off)
		if err != nil {
			return ok("Machine", err)
		}
		list := []func() error{
			k.exists(m.Path, true),
			k.delete(k.Off),
			k.counts(3, k.Off, false),
			k.refused("Machine after Delete", hyperv.ErrNotFound, func() error { _, err := k.Machine(k.ctx, k.Off); return err }),
			k.refused("a second Delete", hyperv.ErrNotFound, func() error { return k.Delete(k.ctx, k.Off) }),
			k.exists(m.Path, false),
		}
		for _, path := range m.Configuration.VHDPaths() {
			list = append(list, k.exists(path, true))
		}
		return steps(list...)
	}},
	{"Delete refuses a machine that is not off", func(k *try) error {
		var list []func() error
		for _, s := range k.standings(hyperv.StateOff, hyperv.StateSaved) {
			list = append(list, k.refused("Delete", hyperv.ErrInvalidState, func() error { return k.Delete(k.ctx, s.id) }), k.stays(s.id, s.in), k.counts(4, s.id, true))
		}
		return steps(list...)
	}},
	{"Delete refuses a machine that an operation holds", func(k *try) error {
		return steps(
			func() error { return ok("Lock", k.Lock(k.ctx, k.Off, "export")) },
			k.refused("Delete", hyperv.ErrInUse, func() error { return k.Delete(k.ctx, k.Off) }),
			k.counts(4, k.Off, true),
			func() error { return ok("Unlock", k.Unlock(k.ctx, k.Off)) },
			k.delete(k.Off),
		)
	}},
	{"Register adds the machine that a configuration file describes, as the last", func(k *try) error {
		m, err := k.Machine(k.ctx, k.Off)
		if err != nil {
			return ok("Machine", err)
		}
		var back hyperv.Machine
		return steps(k.delete(k.Off), func() error { return k.PutBack(m.Path) }, func() (err error) {
			back, err = k.Register(k.ctx, m.Path)
			return ok("Register", err)
		}, func() error {
			if back.ID != m.ID || back.Name() != m.Name() || back.State != hyperv.StateOff || back.LockedBy != "" || back.Path != m.Path {
				return fmt.Errorf("it is %s, %v, %s; it was %s, %s", back.Name(), back.State, back.Path, m.Name(), m.Path)
			}
			at, n, err := k.listed(k.Off)
			if err != nil || at != 3 || n != 4 {
				return fmt.Errorf("it is number %d of %d machines: %w", at, n, orNil(err))
			}
			return nil
		}, k.stays(k.Off, hyperv.StateOff))
	}},
	{"Register refuses a machine that is registered", func(k *try) error {
		m, err := k.Machine(k.ctx, k.Running)
		if err != nil {
			return ok("Machine", err)
		}
		return steps(
			k.refused("Register", hyperv.ErrInUse, func() error { _, err := k.Register(k.ctx, m.Path); return err }),
			k.counts(4, k.Running, true), k.stays(k.Running, hyperv.StateRunning),
		)
	}},
	{"Register of a file that is not there registers nothing", func(k *try) error {
		return steps(func() error {
			if _, err := k.Register(k.ctx, `C:\nowhere\nothing.xml`); err == nil {
				return errors.New("the call returned nil")
			}
			return nil
		}, k.counts(4, nobody, false))
	}},
	{"Configure changes a machine that does not execute", func(k *try) error {
		for _, id := range [][16]byte{k.Off, k.Saved} {
			m, err := k.Machine(k.ctx, id)
			if err != nil {
				return ok("Machine", err)
			}
			c := m.Configuration
			c.Notes = "configured"
			if err := k.Configure(k.ctx, id, c); err != nil {
				return ok("Configure", err)
			}
			c.Notes = "the caller's own"
			if m, err = k.Machine(k.ctx, id); err != nil || m.Configuration.Notes != "configured" {
				return fmt.Errorf("the notes are %q: %w", m.Configuration.Notes, orNil(err))
			}
		}
		return nil
	}},
	{"Configure refuses a machine that executes, and another identity", func(k *try) error {
		for _, s := range k.standings(hyperv.StateSaved) {
			id, want := s.id, error(hyperv.ErrInvalidState)
			m, err := k.Machine(k.ctx, id)
			if err != nil {
				return ok("Machine", err)
			}
			was := m.Configuration.Notes
			m.Configuration.Notes = "configured"
			if id == k.Off {
				m.Configuration.ID, want = nobody, hyperv.ErrParameter
			}
			if err := failsWith("Configure", k.Configure(k.ctx, id, m.Configuration), want); err != nil {
				return err
			}
			if m, err = k.Machine(k.ctx, id); err != nil || m.Configuration.Notes != was {
				return fmt.Errorf("the notes are %q: %w", m.Configuration.Notes, orNil(err))
			}
		}
		return nil
	}},
	{"Connect makes a new port every time, and configures it", func(k *try) error {
		var ports [][16]byte
		for range 2 {
			if err := k.Connect(k.ctx, k.Off, 0, k.Switch); err != nil {
				return ok("Connect", err)
			}
			a, err := k.adapter()
			if err != nil {
				return err
			}
			if a.Switch != k.Switch || a.Port == [16]byte{} {
				return fmt.Errorf("the adapter is on switch %x, port %x", a.Switch, a.Port)
			}
			ports = append(ports, a.Port)
		}
		if ports[0] == ports[1] {
			return fmt.Errorf("both ports are %x", ports[0])
		}
		return nil
	}},
	{"Connect to no switch disconnects", func(k *try) error {
		return steps(
			func() error { return ok("Connect", k.Connect(k.ctx, k.Off, 0, k.Switch)) },
			func() error { return ok("Connect to none", k.Connect(k.ctx, k.Off, 0, [16]byte{})) },
			func() error {
				if a, err := k.adapter(); err != nil || a.Connected() || a.Port != [16]byte{} {
					return fmt.Errorf("the adapter is on switch %x, port %x: %w", a.Switch, a.Port, orNil(err))
				}
				return nil
			})
	}},
	{"Connect to a switch or of an adapter that does not exist is ErrNotFound and changes nothing", func(k *try) error {
		before, err := k.adapter()
		if err != nil {
			return err
		}
		return steps(
			k.refused("Connect to no such switch", hyperv.ErrNotFound, func() error { return k.Connect(k.ctx, k.Off, 0, nobody) }),
			k.refused("Connect of no such adapter", hyperv.ErrNotFound, func() error { return k.Connect(k.ctx, k.Off, 99, k.Switch) }),
			k.refused("Connect of no such adapter", hyperv.ErrNotFound, func() error { return k.Connect(k.ctx, k.Off, -1, k.Switch) }),
			func() error {
				if a, err := k.adapter(); err != nil || a != before {
					return fmt.Errorf("the adapter was %+v and is %+v: %w", before, a, orNil(err))
				}
				return nil
			})
	}},
}
