package hyperv

import (
	"context"
	"errors"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// How long the worker process takes, between the two bounds. The figures are the
// model's own: nothing is published.
const (
	minStart, maxStart = 2 * time.Second, 4 * time.Second
	minSave, maxSave   = 1 * time.Second, 3 * time.Second
)

// Start boots a machine that is off, or takes up the memory of a saved one.
func (vm *VM) Start(ctx context.Context) error { return vm.request(ctx, RequestStart) }

// TurnOff stops the machine at once; a saved state is discarded.
func (vm *VM) TurnOff(ctx context.Context) error { return vm.request(ctx, RequestTurnOff) }

// Save writes the machine's memory beside its configuration and stops it. On
// failure it does what it did before.
func (vm *VM) Save(ctx context.Context) error { return vm.request(ctx, RequestSave) }

// Pause stops the machine where it stands.
func (vm *VM) Pause(ctx context.Context) error { return vm.request(ctx, RequestPause) }

// Resume lets a paused machine go on.
func (vm *VM) Resume(ctx context.Context) error { return vm.request(ctx, RequestResume) }

// Reset turns the machine off and boots it.
func (vm *VM) Reset(ctx context.Context) error { return vm.request(ctx, RequestReset) }

// request carries out a state change as [Moves] has it. If the work fails the
// machine is back in the state it came from, or off if it died.
func (vm *VM) request(ctx context.Context, r Request) error {
	return vm.call(ctx, r.String(), func(ctx context.Context) error {
		from := vm.state
		move, ok := moves[from][r]
		if !ok {
			return &Error{Op: r.String(), On: vm.Name(), State: from, Err: ErrInvalidState}
		}
		vm.setState(move.Via, "")
		err := vm.carryOut(ctx, r, from)
		if err == nil && vm.state != move.Via {
			err = errors.New("the machine stopped meanwhile")
		}
		if err != nil {
			if vm.state == move.Via {
				vm.setState(from, "")
			}
			return &Error{Op: r.String(), On: vm.Name(), State: from, Err: err}
		}
		vm.setState(move.To, "")
		return nil
	})
}

func (vm *VM) carryOut(ctx context.Context, r Request, from State) error {
	switch r {
	case RequestStart:
		return vm.start(ctx, from)
	case RequestRestorePaused:
		return vm.restorePaused(ctx)
	case RequestSave:
		return vm.save(ctx)
	case RequestPause:
		vm.machine.Pause()
		return nil
	case RequestResume:
		return vm.resume(ctx)
	case RequestReset:
		vm.powerOff()
		return vm.start(ctx, StateOff)
	default: // RequestTurnOff
		vm.powerOff()
		return vm.host.removeSavedState(vm.files())
	}
}

// start boots or resumes the machine. On failure nothing is attached.
func (vm *VM) start(ctx context.Context, from State) (err error) {
	if err := sim.At(ctx, FaultStart); err != nil {
		return err
	}
	if err := sim.Sleep(ctx, sim.Latency(ctx, "start", minStart, maxStart)); err != nil {
		return err
	}
	if err := vm.attachDisks(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			vm.powerOff()
		}
	}()
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
		return vm.host.removeSavedState(vm.files())
	}
	return nil
}

// resumeSaved continues from the saved state, if the disks are the ones the
// machine was saved with.
func (vm *VM) resumeSaved(ctx context.Context) error {
	s, memory, err := vm.host.readSavedState(vm.files())
	if err != nil {
		return err
	}
	if err := vm.sameDisks(s); err != nil {
		return err
	}
	vm.machine, err = guest.Resume(ctx, vm.guestConfig(), memory.Fork())
	return err
}

// sameDisks refuses a saved state that belongs to other disks.
func (vm *VM) sameDisks(s *deviceState) error {
	now := vm.diskIdentities()
	if len(now) != len(s.Disks) {
		return errOtherDisks
	}
	for i := range now {
		if now[i] != s.Disks[i] {
			return errOtherDisks
		}
	}
	return nil
}

var errOtherDisks = errors.New("the machine was saved with other disks")

func (vm *VM) diskIdentities() []diskIdentity {
	var out []diskIdentity
	for _, d := range vm.disks {
		if d.vhd != nil {
			out = append(out, diskIdentity{Slot: d.drive.Slot, ID: d.vhd.ID()})
		}
	}
	return out
}

// restorePaused takes a saved machine back to paused: its memory is in RAM again,
// and nothing runs.
func (vm *VM) restorePaused(ctx context.Context) (err error) {
	if err := sim.At(ctx, FaultStart); err != nil {
		return err
	}
	if err := sim.Sleep(ctx, sim.Latency(ctx, "start", minStart, maxStart)); err != nil {
		return err
	}
	if err := vm.attachDisks(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			vm.powerOff()
		}
	}()
	s, memory, err := vm.host.readSavedState(vm.files())
	if err != nil {
		return err
	}
	if err := vm.sameDisks(s); err != nil {
		return err
	}
	vm.frozen = memory.Fork()
	return vm.host.removeSavedState(vm.files())
}

// resume lets a paused machine go on, from its memory if it came back paused.
func (vm *VM) resume(ctx context.Context) error {
	if vm.machine != nil {
		vm.machine.Continue()
		return nil
	}
	m, err := guest.Resume(ctx, vm.guestConfig(), vm.frozen)
	if err != nil {
		return err
	}
	vm.machine, vm.frozen = m, nil
	vm.watch()
	return nil
}

// save writes the memory to the saved state and detaches the disks.
func (vm *VM) save(ctx context.Context) error {
	if err := sim.At(ctx, FaultSave); err != nil {
		return err
	}
	if err := sim.Sleep(ctx, sim.Latency(ctx, "save", minSave, maxSave)); err != nil {
		return err
	}
	memory := vm.frozen
	if m := vm.machine; m != nil {
		vm.machine = nil // its end is no death
		saved, err := m.Save(ctx)
		if err != nil {
			vm.machine = m
			return err
		}
		memory = saved
	}
	s := &deviceState{Machine: vm.ID(), Memory: memory.Size(), Disks: vm.diskIdentities()}
	if err := vm.host.writeSavedState(vm.files(), s, memory); err != nil {
		return errors.Join(err, vm.goOn(ctx, memory))
	}
	vm.frozen = nil
	vm.detachDisks()
	return nil
}

// goOn takes up a machine whose memory was taken but could not be written.
func (vm *VM) goOn(ctx context.Context, memory *disk.Memory) (err error) {
	if vm.frozen != nil { // it was paused, with its memory in RAM
		return nil
	}
	vm.machine, err = guest.Resume(ctx, vm.guestConfig(), memory)
	if err != nil {
		vm.powerOff()
		vm.setState(StateOff, "")
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
	vm.frozen = nil
	vm.detachDisks()
}

// watch notices when the guest dies by itself: the machine is off then.
func (vm *VM) watch() {
	m := vm.machine
	m.Actor().OnKill(vm.host.actor, "watch "+vm.Name(), func(context.Context) error {
		if vm.machine == m {
			vm.machine = nil
			vm.detachDisks()
			vm.setState(StateOff, "")
		}
		return nil
	})
}

func (vm *VM) guestConfig() guest.Config {
	c := guest.Config{
		Parent:  vm.worker(),
		Memory:  vm.config.MemoryMB << 20,
		Catalog: vm.host.catalog,
	}
	for _, d := range vm.disks {
		c.Disks = append(c.Disks, guest.Attachment{Disk: d.Disk, Kind: d.kind})
	}
	return c
}

// attachDisks opens every disk of the configuration, or none.
func (vm *VM) attachDisks() (err error) {
	defer func() {
		if err != nil {
			vm.detachDisks()
		}
	}()
	for _, d := range vm.config.Drives {
		a := attachedDisk{drive: d}
		if d.Kind == DriveVHD {
			if a.vhd, err = vm.host.attach(d.Path); err != nil {
				return err
			}
			a.Disk = a.vhd
		} else {
			a.kind, a.Disk = guest.PassThrough, vm.host.luns[d.Path]
		}
		if a.Disk == nil {
			return &Error{Op: "Attach", On: d.Path, Err: ErrNotFound}
		}
		vm.disks = append(vm.disks, a)
	}
	for _, name := range vm.config.Initiators {
		if d := vm.host.luns[name]; d != nil { // the guest starts without a target that does not answer
			vm.disks = append(vm.disks, attachedDisk{Disk: d, kind: guest.InGuestISCSI})
		}
	}
	return nil
}

func (vm *VM) detachDisks() {
	for _, d := range vm.disks {
		if d.vhd != nil {
			d.vhd.detach()
		}
	}
	vm.disks = nil
}

// dropSnapshots deletes snapshots of the guest from the live disks, whether the
// machine executes or not.
func (vm *VM) dropSnapshots(ctx context.Context, copies []guest.Copy) error {
	var errs []error
	for _, c := range copies {
		if err := sim.AtOn(ctx, FaultDropSnapshot, vm.actor.Path()); err != nil {
			errs = append(errs, &Error{Op: "DropSnapshot", On: vm.Name(), Err: err})
			continue
		}
		if err := vm.dropSnapshot(c); err != nil && !errors.Is(err, guest.ErrNoShadow) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (vm *VM) dropSnapshot(c guest.Copy) error {
	if c.Disk < len(vm.disks) {
		return vm.disks[c.Disk].Drop(c.ID)
	}
	if c.Disk >= len(vm.config.Drives) || vm.config.Drives[c.Disk].Kind != DriveVHD {
		return guest.ErrNoShadow
	}
	v, rest, err := vm.host.volumeOf(vm.config.Drives[c.Disk].Path)
	if err != nil {
		return err
	}
	return dropKept(v.Volume, rest, c.ID)
}
