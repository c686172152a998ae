package hyperv

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// attachDisks opens every disk of the configuration, or none, if the machine's
// account may open all of its files.
func (vm *VM) attachDisks() (err error) {
	defer func() {
		if err != nil {
			vm.detachDisks()
		}
	}()
	if err := vm.mayStart(); err != nil {
		return err
	}
	for _, d := range vm.config.Drives {
		a := attachedDisk{drive: d}
		if d.Kind == DriveVHD {
			if a.vhd, err = vm.host.attach(d.Path, vm); err != nil {
				return &Error{Op: "Attach", On: d.Path, Err: err}
			}
			if err := vm.mayAttach(d.Path, a.vhd.paths); err != nil {
				a.vhd.detach()
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
		vm.emit("disk/attach", "", sim.S("slot", d.Slot.String()), sim.S("disk", d.Path))
	}
	for _, name := range vm.config.Initiators {
		if d := vm.host.luns[name]; d != nil { // the guest starts without a target that does not answer
			vm.disks = append(vm.disks, attachedDisk{Disk: d, kind: guest.InGuestISCSI})
			vm.emit("disk/attach", "", sim.S("slot", "iSCSI"), sim.S("disk", name))
		}
	}
	return nil
}

func (vm *VM) detachDisks() {
	for _, d := range vm.disks {
		if d.vhd != nil {
			d.vhd.detach()
			vm.emit("disk/detach", "", sim.S("disk", d.drive.Path))
		}
	}
	vm.disks = nil
	vm.tryStorage() // nobody waits for it any more
}

// releaseLimit is how long a guest may take to delete its snapshots before the
// host does it without the guest.
const releaseLimit = time.Minute

// dropSnapshots deletes snapshots of the guest from the live disks, whether the
// machine executes or not. A guest that runs deletes them itself, as far as it
// can; none of its writers hears of it (R35).
func (vm *VM) dropSnapshots(ctx context.Context, copies []guest.Copy) error {
	return vm.call(ctx, "drop snapshots", func(ctx context.Context) error {
		if len(copies) == 0 && vm.machine == nil && vm.frozen == nil {
			return vm.dropAllSnapshots()
		}
		var errs []error
		var due []guest.Copy
		for _, c := range copies {
			if err := sim.AtOn(ctx, FaultDropSnapshot, vm.actor.Path()); err != nil {
				errs = append(errs, &Error{Op: "DropSnapshot", On: vm.Name(), Err: err})
				continue
			}
			due = append(due, c)
		}
		vm.askToRelease(ctx, due)
		for _, c := range due {
			if err := vm.dropSnapshot(ctx, c.ID); err != nil {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
}

func (vm *VM) askToRelease(ctx context.Context, copies []guest.Copy) {
	m := vm.Guest()
	if m == nil || len(copies) == 0 {
		return
	}
	if r, err := m.Requestor(); err == nil {
		ctx, cancel := sim.WithTimeout(ctx, releaseLimit)
		defer cancel()
		_ = r.Release(ctx, &guest.Snapshot{Copies: copies})
	}
}

// dropSnapshot deletes what is left of a snapshot. One that is gone is no error, but
// one that may be where nobody can look is.
func (vm *VM) dropSnapshot(ctx context.Context, id [16]byte) (missing error) {
	if m := vm.Guest(); m != nil {
		for _, d := range m.Drives() {
			if slices.Contains(d.Shadows(), id) {
				return d.DeleteShadow(ctx, id)
			}
		}
	}
	for _, path := range vm.config.VHDPaths() {
		v, rest, err := vm.host.volumeOf(path)
		if err != nil {
			missing = &Error{Op: "DropSnapshot", On: path, Err: err}
			continue
		}
		if slices.Contains(keptIDs(v.Volume, rest), id) {
			return dropKept(v.Volume, rest, id)
		}
	}
	return missing
}

// dropAllSnapshots deletes every snapshot that is kept in the machine's VHD files.
func (vm *VM) dropAllSnapshots() error {
	var errs []error
	for _, path := range vm.config.VHDPaths() {
		v, rest, err := vm.host.volumeOf(path)
		if err != nil {
			continue
		}
		for _, id := range keptIDs(v.Volume, rest) {
			errs = append(errs, dropKept(v.Volume, rest, id))
		}
	}
	return errors.Join(errs...)
}
