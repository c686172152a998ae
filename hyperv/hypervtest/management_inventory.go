package hypervtest

import (
	"fmt"
	"slices"

	"github.com/shadowsim/shadowsim/hyperv"
)

var inventoryCases = []managementCase{
	{"Machines lists the registered machines in the order they were created", func(k *try) error {
		list, err := k.Machines(k.ctx)
		if err != nil {
			return ok("Machines", err)
		}
		var ids [][16]byte
		for _, m := range list {
			ids = append(ids, m.ID)
		}
		if !slices.Equal(ids, [][16]byte{k.Off, k.Running, k.Paused, k.Saved}) {
			return fmt.Errorf("the list is %x", ids)
		}
		return nil
	}},
	{"Machine describes a machine as Machines does, with its state", func(k *try) error {
		list, err := k.Machines(k.ctx)
		if err != nil {
			return ok("Machines", err)
		}
		for _, m := range list {
			one, err := k.Machine(k.ctx, m.ID)
			if err != nil {
				return ok("Machine", err)
			}
			if one.ID != m.ID || one.State != m.State || one.Path != m.Path || one.LockedBy != m.LockedBy || !one.Configuration.Equal(m.Configuration) {
				return fmt.Errorf("it is %v, %v, %s; in the list it is %v, %v, %s", one.Name(), one.State, one.Path, m.Name(), m.State, m.Path)
			}
		}
		for _, s := range k.standings() {
			if err := k.is(s.id, s.in); err != nil {
				return err
			}
		}
		return nil
	}},
	{"a description is sound: not broken, not locked, with a configuration, a path, and facts that fit", func(k *try) error {
		list, err := k.Machines(k.ctx)
		if err != nil {
			return ok("Machines", err)
		}
		for _, m := range list {
			if m.Configuration == nil || m.Broken != nil || m.LockedBy != "" || m.Path == "" {
				return fmt.Errorf("%x: configuration %v, broken %v, locked by %q, path %q", m.ID, m.Configuration != nil, m.Broken, m.LockedBy, m.Path)
			}
			if m.Configuration.ID != m.ID || !slices.Equal(m.Facts.DiskPaths, m.Configuration.VHDPaths()) || m.Facts.SnapshotLocation != m.Configuration.SnapshotRoot {
				return fmt.Errorf("%s: the facts say %q, %q; the configuration says %q, %q", m.Name(), m.Facts.DiskPaths, m.Facts.SnapshotLocation, m.Configuration.VHDPaths(), m.Configuration.SnapshotRoot)
			}
		}
		return nil
	}},
	{"nobody answers for the guest of a machine that does not run", func(k *try) error {
		for _, id := range [][16]byte{k.Off, k.Paused, k.Saved} {
			m, err := k.Machine(k.ctx, id)
			if err != nil {
				return ok("Machine", err)
			}
			if m.Facts.Guest != nil {
				return fmt.Errorf("%s is %v, and its guest tells %+v", m.Name(), m.State, *m.Facts.Guest)
			}
		}
		return nil
	}},
	{"a description is the caller's own", func(k *try) error {
		m, err := k.Machine(k.ctx, k.Off)
		if err != nil {
			return ok("Machine", err)
		}
		name := m.Name()
		m.Configuration.Name = "changed"
		for i := range m.Configuration.Drives {
			m.Configuration.Drives[i].Path = `X:\changed.vhd`
		}
		again, err := k.Machine(k.ctx, k.Off)
		if err != nil {
			return ok("Machine", err)
		}
		if again.Name() != name || slices.Contains(again.Configuration.VHDPaths(), `X:\changed.vhd`) {
			return fmt.Errorf("after the caller changed it, it is %s, %q", again.Name(), again.Configuration.VHDPaths())
		}
		return nil
	}},
	{"a machine that is not registered is ErrNotFound", func(k *try) error {
		refused := func(call string, do func() error) func() error { return k.refused(call, hyperv.ErrNotFound, do) }
		return steps(
			refused("Machine", func() error { _, err := k.Machine(k.ctx, nobody); return err }),
			refused("Lock", func() error { return k.Lock(k.ctx, nobody, "kit") }),
			refused("Save", func() error { return k.Save(k.ctx, nobody) }),
			refused("Restore", func() error { return k.Restore(k.ctx, nobody, hyperv.StateRunning) }),
			refused("TurnOff", func() error { return k.TurnOff(k.ctx, nobody) }),
			refused("Requestor", func() error { _, err := k.Requestor(k.ctx, nobody); return err }),
			refused("DropSnapshots", func() error { return k.DropSnapshots(k.ctx, nobody, nil) }),
			refused("Delete", func() error { return k.Delete(k.ctx, nobody) }),
			refused("Configure", func() error {
				return k.Configure(k.ctx, nobody, &hyperv.Configuration{ID: nobody, Name: "nobody"})
			}),
			refused("Connect", func() error { return k.Connect(k.ctx, nobody, 0, k.Switch) }),
		)
	}},
	{"Lock takes a machine for one operation, and Unlock gives it back", func(k *try) error {
		holder := func(want string) func() error {
			return func() error {
				m, err := k.Machine(k.ctx, k.Running)
				if err != nil {
					return ok("Machine", err)
				}
				if m.LockedBy != want {
					return fmt.Errorf("the machine is locked by %q, want %q", m.LockedBy, want)
				}
				return nil
			}
		}
		unlock := func() error { return ok("Unlock", k.Unlock(k.ctx, k.Running)) }
		return steps(
			func() error { return ok("Lock", k.Lock(k.ctx, k.Running, "export")) },
			holder("export"),
			k.refused("a second Lock", hyperv.ErrInUse, func() error { return k.Lock(k.ctx, k.Running, "backup") }),
			holder("export"),
			k.stays(k.Running, hyperv.StateRunning),
			unlock, holder(""), unlock, // the second has nothing to do
			func() error { return ok("Lock after Unlock", k.Lock(k.ctx, k.Running, "backup")) },
			holder("backup"),
		)
	}},
	{"a lock of one machine concerns no other", func(k *try) error {
		return steps(
			func() error { return ok("Lock", k.Lock(k.ctx, k.Running, "export")) },
			func() error { return ok("Lock of another", k.Lock(k.ctx, k.Off, "export")) },
			func() error { return ok("Unlock", k.Unlock(k.ctx, k.Running)) },
			k.refused("Lock of the other", hyperv.ErrInUse, func() error { return k.Lock(k.ctx, k.Off, "backup") }),
		)
	}},
}
