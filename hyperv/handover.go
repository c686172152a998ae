package hyperv

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// Unregister ends the registration of a machine that does not execute and leaves
// all its files, the configuration and a saved state among them, for another host
// to register. A backup that holds the machine does not keep it from going: what
// the writer meant to do with it later will not find it.
func (vm *VM) Unregister(ctx context.Context) error {
	err := vm.call(ctx, "unregister", func(context.Context) error {
		if vm.state != StateOff && vm.state != StateSaved {
			return &Error{Op: "Unregister", On: vm.Name(), State: vm.state, Err: ErrInvalidState}
		}
		return vm.leave()
	})
	if err != nil {
		return err
	}
	return vm.actor.Close(context.WithoutCancel(ctx)) // as after Delete
}

// leave takes the machine out of the host's list.
func (vm *VM) leave() error {
	h := vm.host
	if err := h.unlink(vm.ID()); err != nil {
		return &Error{Op: "Unregister", On: vm.Name(), Err: err}
	}
	h.disconnect(vm.ID())
	h.dismiss(vm)
	vm.emit("vm/unregister", "", sim.S("path", vm.path))
	vm.notify(vm.state, 0)
	return nil
}

// TakeOver registers a machine from files that another host has left, and makes
// the ports that its configuration names, where the host has the switches.
func (h *Host) TakeOver(ctx context.Context, path string) (*VM, error) {
	vm, err := h.registerFor(ctx, path, enrolRules{})
	if err != nil {
		return nil, err
	}
	h.plugIn(vm)
	return vm, nil
}

// How long a machine runs on while its memory is copied to another host, and how
// long it then stands still, between the two bounds. The figures are the model's
// own.
const (
	minCopy, maxCopy         = 5 * time.Second, 10 * time.Second
	minBlackout, maxBlackout = 100 * time.Millisecond, 500 * time.Millisecond
)

// MigrateTo moves a running machine to another host that has the same volumes,
// while it runs but for a moment. It is [ErrInUse] while an operation, such as a
// backup, holds the machine. On failure the machine goes on where it is.
func (vm *VM) MigrateTo(ctx context.Context, to *Host) (moved *VM, err error) {
	err = vm.call(ctx, "migrate", func(ctx context.Context) error {
		if err := vm.checkMigration(to); err != nil {
			return err
		}
		vm.moving = to
		defer func() { vm.moving = nil }()
		if err := sim.Sleep(ctx, sim.Latency(ctx, "copy memory", minCopy, maxCopy)); err != nil {
			return err
		}
		if err := vm.checkMigration(to); err != nil {
			return err
		}
		moved, err = vm.moveTo(ctx, to)
		return err
	})
	if err != nil {
		return nil, err
	}
	return moved, vm.actor.Close(context.WithoutCancel(ctx))
}

// checkMigration tells why the machine cannot go to a host now.
func (vm *VM) checkMigration(to *Host) error {
	fails := func(err error) error { return &Error{Op: "Migrate", On: vm.Name(), State: vm.state, Err: err} }
	switch {
	case vm.state != StateRunning || vm.machine == nil:
		return fails(ErrInvalidState)
	case vm.lock != "":
		return fails(vm.inUse())
	case to.actor.Dead() || to.byID[vm.ID()] != nil:
		return fails(ErrNotAvailable)
	}
	if err := cmp.Or(vm.host.platform.goesOnAt(to.platform), to.room(vm)); err != nil {
		return fails(err)
	}
	for _, path := range append([]string{vm.path}, vm.config.VHDPaths()...) {
		here, _, err := vm.host.volumeOf(path)
		if err != nil {
			return fails(err)
		}
		if there, _, err := to.volumeOf(path); err != nil || there.Volume != here.Volume {
			return fails(fmt.Errorf("%w: %s does not reach %s", ErrNotSupported, to.name, path))
		}
	}
	err := vm.media(to)
	if err == nil {
		err = vm.mayGoOn()
	}
	if err != nil {
		return fails(err)
	}
	return nil
}

// moveTo is the moment in which the machine stands still.
func (vm *VM) moveTo(ctx context.Context, to *Host) (*VM, error) {
	memory, err := vm.takeMemory(ctx)
	if err != nil {
		return nil, &Error{Op: "Migrate", On: vm.Name(), State: vm.state, Err: err}
	}
	err = sim.Sleep(ctx, sim.Latency(ctx, "blackout", minBlackout, maxBlackout))
	vm.detachDisks()
	if err == nil {
		moved := to.newVM(vm.config, vm.path)
		moved.state, moved.read = StateRunning, vm.read
		if err = moved.runFrom(ctx, memory); err == nil {
			return moved, vm.settleAt(moved)
		}
	}
	if back := vm.runFrom(context.WithoutCancel(ctx), memory); back != nil {
		vm.die()
	}
	return nil, &Error{Op: "Migrate", On: vm.Name(), Err: err}
}

// runFrom attaches the disks and goes on from memory. On failure nothing is
// attached.
func (vm *VM) runFrom(ctx context.Context, memory *disk.Memory) (err error) {
	if err = vm.attachDisks(); err != nil {
		return err
	}
	if vm.machine, err = guest.Resume(ctx, vm.guestConfig(), memory); err != nil {
		vm.machine = nil
		vm.detachDisks()
		return err
	}
	vm.watch()
	vm.halt()
	return nil
}

// settleAt makes the registration follow the machine.
func (vm *VM) settleAt(moved *VM) error {
	err := vm.leave()
	to := moved.host
	to.adopt(moved)
	to.plugIn(moved)
	if to.linked(moved.path, moved.ID()) {
		if _, failed := to.link(moved.path, moved.ID()); err == nil {
			err = failed
		}
	}
	moved.emit("vm/migrated", "", sim.S("from", vm.host.name))
	moved.notify(0, moved.state)
	return err
}
