package hyperv

import (
	"context"
	"errors"
	"io/fs"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

func notRegistered(op string, id [16]byte) error {
	return &Error{Op: op, On: guid.Upper(id), Err: ErrNotFound}
}

// Register adds the machine that a configuration file describes, as it stands:
// nothing is read but the file, and the saved state beside it. A file that is
// not in the default location gets a link there (R51, R52).
func (h *Host) Register(ctx context.Context, path string) (vm *VM, err error) {
	err = h.call(ctx, "register", func(ctx context.Context) error {
		vm, err = h.register(ctx, path)
		return err
	})
	if err != nil {
		return nil, err
	}
	return vm, nil
}

func (h *Host) register(ctx context.Context, path string) (*VM, error) {
	if err := sim.At(ctx, FaultRegister); err != nil {
		return nil, &Error{Op: "Register", On: path, Err: err}
	}
	path, err := volume.Clean(path)
	if err != nil {
		return nil, err
	}
	text, err := h.readFile(path)
	if err != nil {
		return nil, &Error{Op: "Register", On: path, Err: errors.Join(ErrFileNotFound, err)}
	}
	c, err := ReadConfiguration(text)
	if err != nil {
		return nil, &Error{Op: "Register", On: path, Err: err}
	}
	if h.byID[c.ID] != nil {
		return nil, &Error{Op: "Register", On: c.Name, Err: ErrInUse}
	}
	linked := h.linked(path, c.ID)
	if linked {
		if err := h.link(path, c.ID); err != nil {
			return nil, &Error{Op: "Register", On: path, Err: err}
		}
	}
	vm := h.newVM(c, path)
	h.adopt(vm)
	vm.emit("vm/register", "R51", sim.S("path", path), sim.S("state", vm.state.String()))
	if linked {
		vm.emit("vm/link", "R52", sim.S("at", files{root: h.root, id: c.ID}.config()), sim.S("to", path))
	}
	return vm, nil
}

// link puts a symbolic link into the default location. A stale one, whose target
// is gone or is the same machine's, is replaced.
func (h *Host) link(path string, id [16]byte) error {
	at := files{root: h.root, id: id}.config()
	v, rest, err := h.volumeOf(at)
	if err != nil {
		return err
	}
	if err := v.MkdirAll(volume.Dir(rest)); err != nil {
		return err
	}
	if info, err := v.Lstat(rest); err == nil {
		if info.Mode()&fs.ModeSymlink == 0 {
			return &Error{Op: "Link", On: at, Err: volume.ErrAlreadyExists}
		}
		if text, err := h.readFile(at); err == nil && !describes(text, id) {
			return &Error{Op: "Link", On: at, Err: volume.ErrAlreadyExists}
		}
		if err := v.Remove(rest); err != nil {
			return err
		}
	}
	return v.Symlink(path, rest)
}

func describes(file []byte, id [16]byte) bool {
	c, err := ReadConfiguration(file)
	return err == nil && c.ID == id
}

// unlink removes the link in the default location, if there is one.
func (h *Host) unlink(id [16]byte) error {
	v, rest, err := h.volumeOf(files{root: h.root, id: id}.config())
	if err != nil {
		return err
	}
	info, err := v.Lstat(rest)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	return v.Remove(rest)
}

// Delete removes a machine that is off: its registration, configuration, saved
// state, ports and link. VHD files stay (R45).
func (vm *VM) Delete(ctx context.Context) error {
	return vm.call(ctx, "delete", func(ctx context.Context) error {
		if err := sim.At(ctx, FaultDelete); err != nil {
			return &Error{Op: "Delete", On: vm.Name(), State: vm.state, Err: err}
		}
		if vm.state != StateOff {
			return &Error{Op: "Delete", On: vm.Name(), State: vm.state, Err: ErrInvalidState}
		}
		h := vm.host
		err := errors.Join(h.unlink(vm.ID()), h.removeSavedState(vm.files()), h.removeFile(vm.path))
		if err != nil {
			return &Error{Op: "Delete", On: vm.Name(), Err: err}
		}
		h.disconnect(vm.ID())
		h.forget(vm)
		vm.emit("vm/delete", "R45", sim.S("path", vm.path))
		return nil
	})
}

// Configure replaces the configuration of a machine that does not execute. The
// identity cannot change.
func (vm *VM) Configure(ctx context.Context, c *Configuration) error {
	return vm.call(ctx, "configure", func(ctx context.Context) error {
		if vm.state != StateOff && vm.state != StateSaved {
			return &Error{Op: "Configure", On: vm.Name(), State: vm.state, Err: ErrInvalidState}
		}
		if c.ID != vm.ID() {
			return &Error{Op: "Configure", On: vm.Name(), Err: ErrParameter}
		}
		if err := vm.host.writeConfiguration(c, vm.path); err != nil {
			return err
		}
		vm.config = c.clone()
		vm.emit("vm/configure", "")
		return nil
	})
}

// Connect makes a new port on a switch for an adapter, in place of an earlier
// one; a zero switch disconnects the adapter (R57, R58).
func (vm *VM) Connect(ctx context.Context, adapter int, to [16]byte) error {
	return vm.call(ctx, "connect", func(ctx context.Context) error {
		if adapter < 0 || adapter >= len(vm.config.Adapters) {
			return &Error{Op: "Connect", On: vm.Name(), Err: ErrNotFound}
		}
		c := vm.config.clone()
		a := &c.Adapters[adapter]
		var port *Port
		if to == [16]byte{} {
			a.Switch, a.Port = to, to
		} else {
			s := vm.host.Switch(to)
			if s == nil {
				return &Error{Op: "Connect", On: guid.Upper(to), Err: ErrNotFound}
			}
			vm.host.dropPort(vm.ID(), adapter)
			port = vm.host.connect(s, vm.ID(), adapter)
			a.Switch, a.Port = s.ID, port.ID
		}
		if err := vm.host.writeConfiguration(c, vm.path); err != nil {
			vm.host.dropPort(vm.ID(), adapter)
			return err
		}
		vm.config = c
		if port == nil {
			vm.emit("vm/disconnect", "R58", sim.N("adapter", adapter))
		} else {
			vm.emit("vm/connect", "R57", sim.N("adapter", adapter), sim.S("switch", guid.Upper(to)), sim.S("port", guid.Upper(port.ID)))
		}
		return nil
	})
}
