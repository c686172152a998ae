package hyperv

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A StorageError is why a machine is [StatePausedCritical]: one of its VHD files could
// not be read or written any more.
type StorageError struct {
	VHD string // path of the file
	Err error  // volume.ErrDiskFull or volume.ErrNotReady, with what says so
}

// Error names the file and the cause.
func (e *StorageError) Error() string {
	return fmt.Sprintf("the storage of %s failed: %v", e.VHD, e.Err)
}

// Unwrap is the cause.
func (e *StorageError) Unwrap() error { return e.Err }

// StorageFailure is a [*StorageError] if the machine waits for its storage, and nil
// otherwise.
func (vm *VM) StorageFailure() error {
	if vm.stall == nil {
		return nil
	}
	return vm.stall
}

// awaitStorage stops a machine whose guest found no room on the host's volume, or the
// volume gone, and returns when the guest is to try again: the guest itself never
// hears of it. It is false if err is another, or its finder no process of the guest.
func (vm *VM) awaitStorage(path string, err error) (again bool) {
	if !isStorageFailure(err) {
		return false
	}
	ctx := vm.host.world.Current()
	if ctx == nil || !below(sim.Self(ctx), vm.actor) {
		return false
	}
	if vm.stall == nil {
		vm.stallOn(&StorageError{VHD: path, Err: err})
	}
	vm.storage.Shut()
	vm.halt()
	return vm.storage.Pass(ctx) == nil
}

func isStorageFailure(err error) bool {
	return errors.Is(err, volume.ErrDiskFull) || errors.Is(err, volume.ErrNotReady)
}

// stalled notes that a machine could not go on from its memory because its storage
// failed; it is false if that is not the cause. The machine is stopped then, and keeps
// its memory until it is resumed.
func (vm *VM) stalled(err error) bool {
	failure := &StorageError{Err: err}
	for _, d := range vm.disks { // a guest does not say why it found nothing on a disk
		if d.vhd == nil {
			continue
		}
		if _, err := d.ReadAt(make([]byte, 1), 0); isStorageFailure(err) {
			failure = &StorageError{VHD: d.drive.Path, Err: err}
			break
		}
	}
	if !isStorageFailure(failure) {
		return false
	}
	vm.stallOn(failure)
	return true
}

// stallOn notes what the machine waits for.
func (vm *VM) stallOn(e *StorageError) {
	vm.stall = e
	vm.emit("vm/storage-failed", "", sim.S("vhd", e.VHD), sim.S("error", e.Err.Error()))
}

// below tells whether an actor is under another.
func below(a, top *sim.Actor) bool {
	for a != nil && a != top {
		if a = a.Parent(); a == top {
			return true
		}
	}
	return false
}

// halt stops the machine where it stands. One that is on its way to another state
// gives that up, if it waits for the guest, or is stopped when it is there.
func (vm *VM) halt() {
	switch {
	case vm.machine != nil && vm.state == StateRunning:
		vm.setState(vm.landing(StateRunning), "")
	case vm.machine == nil && vm.giveUp != nil:
		vm.giveUp()
	}
}

// landing is the state in which a machine ends up that was to be in another and
// executes: it is stopped if its storage failed.
func (vm *VM) landing(to State) State {
	switch {
	case vm.stall == nil || vm.machine == nil && vm.frozen == nil:
		return to
	case vm.machine != nil:
		vm.machine.Pause()
	}
	return StatePausedCritical
}

// tryStorage lets what waits for storage try again, when the machine goes on.
func (vm *VM) tryStorage() {
	if vm.stall != nil {
		vm.stall = nil
		vm.storage.Open()
	}
}

// TakeOffline takes a volume away from the host, as when its storage fails. Files on it
// cannot be reached, and shadow copies of it that were not to survive a restart are
// lost. Machines that have VHD files there become [StatePausedCritical] when they next
// read or write one. Volumes that hosts share are taken away with [Host.Unmount].
func (h *Host) TakeOffline(letter string) error {
	v, err := h.ownVolume("TakeOffline", letter)
	if err != nil || v.offline {
		return err
	}
	v.offline, v.kept = true, persistent(h.service)
	h.hide(v)
	_ = h.service.RemoveVolume(v.Name()) // it is there: only this removes it
	v.Release()
	h.lastRead = parsedFile{}
	h.actor.Emit("volume/offline", "", sim.S("volume", v.Name()))
	return nil
}

// BringOnline gives the host a volume back that was taken away. Machines that wait for
// it go on when they are resumed.
func (h *Host) BringOnline(letter string) error {
	v, err := h.ownVolume("BringOnline", letter)
	if err != nil || !v.offline {
		return err
	}
	err = h.show(v)
	if err == nil {
		err = h.mountVolume(v, v.kept)
	}
	if err != nil { // such as that of a folder whose own volume is away: it can be tried again
		h.hide(v)
		return &Error{Op: "BringOnline", On: v.Name(), Err: err}
	}
	v.offline, v.kept = false, nil
	h.actor.Emit("volume/online", "", sim.S("volume", v.Name()))
	return nil
}

// ownVolume is the volume with a drive letter that no other host can have.
func (h *Host) ownVolume(op, name string) (*hostVolume, error) {
	letter, err := driveLetter(strings.TrimSuffix(name, ":") + ":")
	if err != nil {
		return nil, &Error{Op: op, On: name, Err: err}
	}
	i := slices.IndexFunc(h.volumes, func(v *hostVolume) bool { return v.letter == letter })
	switch {
	case i < 0:
		return nil, &Error{Op: op, On: name, Err: ErrNotFound}
	case h.volumes[i].shared != nil:
		return nil, &Error{Op: op, On: name, Err: ErrNotSupported}
	}
	return h.volumes[i], nil
}
