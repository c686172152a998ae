package hyperv

import (
	"context"
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// start boots or resumes the machine. On failure nothing is attached.
func (vm *VM) start(ctx context.Context, from State) error {
	return vm.powerOn(ctx, func() (err error) {
		if from == StateOff {
			vm.machine, err = guest.Boot(ctx, vm.guestConfig())
		} else {
			err = vm.resumeSaved(ctx)
		}
		if err != nil {
			return err
		}
		vm.watch()
		if from == StateSaved {
			err = vm.host.removeSavedState(vm.files())
		}
		vm.reserve()
		return err
	})
}

// restorePaused takes a saved machine back to paused: its memory is in RAM again,
// and nothing runs.
func (vm *VM) restorePaused(ctx context.Context) error {
	return vm.powerOn(ctx, func() error {
		memory, err := vm.savedMemory()
		if err != nil {
			return err
		}
		vm.keep(memory)
		err = vm.host.removeSavedState(vm.files())
		vm.reserve()
		return err
	})
}

// powerOn does what every start begins with, and undoes it if the rest fails.
func (vm *VM) powerOn(ctx context.Context, rest func() error) error {
	if err := sim.At(ctx, FaultStart); err != nil {
		return err
	}
	if err := sim.Sleep(ctx, sim.Latency(ctx, "start", minStart, maxStart)); err != nil {
		return err
	}
	if err := vm.host.room(vm); err != nil {
		return err
	}
	if err := vm.roomToSave(); err != nil {
		return err
	}
	if err := vm.media(vm.host); err != nil {
		return err
	}
	if err := vm.attachDisks(); err != nil {
		return err
	}
	err := rest()
	if err != nil {
		vm.powerOff()
	}
	return err
}

// room tells whether the host has memory for one more machine.
func (h *Host) room(more *VM) error {
	if h.memory == 0 {
		return nil
	}
	free := h.memory
	for _, vm := range h.vms {
		if vm != more && len(vm.disks) > 0 { // it executes, or is about to
			free -= vm.config.MemoryMB
		}
	}
	if need := more.config.MemoryMB; need > free {
		return fmt.Errorf("%w: the machine needs %d MB, and the host has %d MB left", ErrOutOfMemory, need, max(free, 0))
	}
	return nil
}

// resumeSaved continues from the saved state.
func (vm *VM) resumeSaved(ctx context.Context) error {
	memory, err := vm.savedMemory()
	if err != nil {
		return err
	}
	vm.machine, err = guest.Resume(ctx, vm.guestConfig(), memory)
	return err
}

// savedMemory reads the saved state, if the host is like the one it was saved on,
// and the disks are the ones the machine was saved with.
func (vm *VM) savedMemory() (*disk.Memory, error) {
	s, memory, err := vm.host.readSavedState(vm.files())
	if err != nil {
		return nil, err
	}
	if err := s.Platform.goesOnAt(vm.host.platform); err != nil {
		return nil, err
	}
	now := vm.diskIdentities()
	same := len(now) == len(s.Disks)
	for i := 0; same && i < len(now); i++ {
		same = now[i] == s.Disks[i]
	}
	if !same {
		return nil, fmt.Errorf("%w: the machine was saved with other disks", ErrFailed)
	}
	for _, d := range vm.newerThan(s) {
		vm.emit("vm/newer-disk", "R39", sim.S("slot", d.Slot.String()), sim.S("disk", d.Path))
	}
	return memory.Fork(), nil
}

func (vm *VM) diskIdentities() []diskIdentity {
	var out []diskIdentity
	for _, d := range vm.disks {
		if d.vhd != nil {
			out = append(out, diskIdentity{Slot: d.drive.Slot, ID: d.vhd.ID()})
		}
	}
	return out
}

// resume lets a paused machine go on, from its memory if it came back paused.
func (vm *VM) resume(ctx context.Context) error {
	vm.tryStorage()
	if vm.machine != nil {
		vm.machine.Continue()
		return nil
	}
	m, err := guest.Resume(ctx, vm.guestConfig(), vm.frozen)
	if err != nil {
		vm.stalled(err)
		return err
	}
	vm.release()
	vm.machine = m
	vm.watch()
	return nil
}

// save writes the memory to the saved state and detaches the disks.
func (vm *VM) save(ctx context.Context, from State) error {
	if err := sim.At(ctx, FaultSave); err != nil {
		return err
	}
	if err := sim.Sleep(ctx, sim.Latency(ctx, "save", minSave, maxSave)); err != nil {
		return err
	}
	memory, err := vm.takeMemory(ctx)
	if err != nil {
		return err
	}
	s := &deviceState{Machine: vm.ID(), Memory: memory.Size(), Platform: vm.host.platform, Disks: vm.diskIdentities(), PassedThrough: vm.passedDisks()}
	if err := vm.host.writeSavedState(vm.files(), s, memory); err != nil {
		err = errors.Join(err, vm.goOn(ctx, from, memory))
		vm.reserve()
		return err
	}
	vm.release()
	vm.detachDisks()
	return nil
}

// takeMemory ends the run and returns its memory.
func (vm *VM) takeMemory(ctx context.Context) (*disk.Memory, error) {
	m := vm.machine
	switch {
	case vm.frozen != nil:
		return vm.frozen, nil
	case m == nil:
		return nil, errStopped
	}
	vm.tryStorage()
	var memory *disk.Memory
	err := vm.end(ctx, func(ctx context.Context) (err error) { memory, err = m.Save(ctx); return err })
	return memory, err
}

// shutdown has the guest stop by itself.
func (vm *VM) shutdown(ctx context.Context) error {
	m := vm.machine
	switch {
	case m == nil:
		return errStopped
	case !m.System().Service(guest.ShutdownService).Running:
		return ErrNotSupported
	}
	err := vm.end(ctx, m.Shutdown)
	if err == nil {
		vm.detachDisks()
		vm.unreserve()
	}
	return err
}

// end ends the run of the guest in a way that may fail: then the run goes on, unless
// it is the guest that has died, or waits for storage.
func (vm *VM) end(ctx context.Context, how func(ctx context.Context) error) error {
	m := vm.machine
	vm.machine = nil // its end is no death
	ctx, vm.giveUp = sim.WithCancel(ctx)
	defer vm.giveUp()
	err := how(ctx)
	vm.giveUp = nil
	switch {
	case err == nil:
	case m.Ended():
		vm.detachDisks()
	default:
		vm.machine = m
		if vm.stall != nil {
			err = fmt.Errorf("%w: %w", vm.stall, err)
			vm.halt()
		}
	}
	return err
}

// goOn takes up a machine whose memory was taken but could not be written. One that
// was paused stays so, with its memory in RAM, and so does one whose storage is gone.
func (vm *VM) goOn(ctx context.Context, from State, memory *disk.Memory) (err error) {
	if from == StatePaused || from == StatePausedCritical {
		if vm.frozen == nil {
			vm.keep(memory)
		}
		return nil
	}
	if vm.machine, err = guest.Resume(ctx, vm.guestConfig(), memory); err != nil {
		if vm.stalled(err) {
			vm.keep(memory)
			return err
		}
		vm.powerOff()
		return err
	}
	vm.watch()
	return nil
}

// powerOff ends whatever executes.
func (vm *VM) powerOff() {
	if m := vm.machine; m != nil {
		vm.machine = nil
		m.PowerOff()
	}
	vm.release()
	vm.detachDisks()
}

// watch notices when the guest dies by itself: the machine is off then.
func (vm *VM) watch() {
	m := vm.machine
	m.Actor().OnKill(vm.host.actor, "watch "+vm.Name(), func(context.Context) error {
		if vm.machine == m {
			vm.die()
		}
		return nil
	})
}

// keep holds the memory of a machine that came back paused. It is lost with the
// worker process.
func (vm *VM) keep(memory *disk.Memory) {
	vm.frozen = memory
	vm.unwatch = vm.worker().OnKill(vm.host.actor, "watch "+vm.Name(), func(context.Context) error {
		if vm.frozen == memory {
			vm.die()
		}
		return nil
	})
}

// release lets go of what keep holds.
func (vm *VM) release() {
	if vm.frozen != nil {
		vm.frozen = nil
		vm.unwatch()
	}
}

func (vm *VM) die() {
	vm.machine = nil
	vm.release()
	vm.detachDisks()
	vm.unreserve()
	vm.setState(StateOff, "")
}

func (vm *VM) guestConfig() guest.Config {
	c := guest.Config{
		Parent:       vm.worker(),
		Memory:       vm.config.MemoryMB << 20,
		Catalog:      vm.host.catalog,
		NewRequestor: vm.host.newRequestor,

		OldestService:  vm.host.profile.OldestService,
		CurrentService: vm.host.profile.CurrentService,
		BusyAfterBoot:  vm.host.profile.BusyAfterBoot,
		Detection:      vm.host.profile.Detection,
	}
	for _, d := range vm.disks {
		c.Disks = append(c.Disks, guest.Attachment{Disk: d.Disk, Kind: d.kind})
	}
	return c
}
