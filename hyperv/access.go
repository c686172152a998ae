package hyperv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/sddl"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// Every machine has an account of its own, under which its worker process opens its
// files. The host gives the account access to what it makes or attaches: the
// configuration, the link to it, VHD files. A restore has to put that back; a file
// without it keeps the machine from starting ("Hyper-V virtual machine may not start,
// and you receive a 'General access denied error' error message").

// Account is the name of a machine's account.
func Account(machine [16]byte) string { return `NT VIRTUAL MACHINE\` + guid.Upper(machine) }

// ServiceSID is the security identifier of a machine's account. It follows from the
// machine's GUID, and is the same on every host.
func ServiceSID(machine [16]byte) string {
	g := guid.Windows(machine)
	sid := append(make([]byte, 0, 64), "S-1-5-83-1"...)
	for i := 0; i < len(g); i += 4 {
		sid = strconv.AppendUint(append(sid, '-'), uint64(binary.LittleEndian.Uint32(g[i:])), 10)
	}
	return string(sid)
}

// MachinesSID is the group of the accounts of all machines, NT VIRTUAL
// MACHINE\Virtual Machines. The host lets it read what differencing VHDs stand on;
// a real one adds an entry for each machine.
const MachinesSID = "S-1-5-83-0"

// An AccessError is why a machine does not start, or its disks are not merged: its
// account has no access to a file.
type AccessError struct {
	Path    string
	Account string
}

// Error names both.
func (e *AccessError) Error() string {
	return fmt.Sprintf("%s: the account %s has no access: general access denied error (0x%X)", e.Path, e.Account, e.HRESULT())
}

// Unwrap is what this package and others say for that.
func (e *AccessError) Unwrap() []error { return []error{ErrAccessDenied, volume.ErrAccessDenied} }

// HRESULT is E_ACCESSDENIED.
func (e *AccessError) HRESULT() uint32 { return volume.ErrAccessDenied.HRESULT() }

// Grant gives a machine's account full access to a file, as icacls /grant does; of a
// link to the link itself, as with /L. The machine need not be registered.
func (h *Host) Grant(path string, machine [16]byte) error {
	if err := h.allowOwn(path, machine, nil); err != nil {
		return &Error{Op: "Grant", On: path, Err: err}
	}
	return nil
}

// allowOwn gives a machine's own account full access to a file, or to a link itself.
func (h *Host) allowOwn(path string, machine [16]byte, keep *granted) error {
	return h.allow(path, "FA", ServiceSID(machine), keep)
}

// allow adds an entry to the descriptor of a file, or of a link itself, unless the
// account has the rights already. keep, if any, hears what the descriptor was.
func (h *Host) allow(path, rights, account string, keep *granted) error {
	v, rest, err := h.volumeOf(path)
	if err != nil {
		return err
	}
	info, err := v.Lstat(rest)
	if err != nil {
		return err
	}
	want := sddl.All
	if rights == "FR" {
		want = sddl.Read
	}
	was := info.Security()
	if was != "" {
		if q := sddl.Ask(want, account).Put(was); q.Allowed() {
			return nil
		}
	}
	is, err := sddl.Grant(was, rights, account)
	if err != nil {
		return errors.Join(volume.ErrInvalidSecurity, err)
	}
	if is == h.granted { // as of all new files of a machine: they share one
		is = h.granted
	}
	h.granted = is
	if err := v.SetLinkSecurity(rest, is); err != nil {
		return err
	}
	if keep != nil {
		*keep = append(*keep, security{v.Volume, rest, was})
	}
	return nil
}

// A granted says what the descriptors of files were before the host changed them.
type granted []security

type security struct {
	on   *volume.Volume
	rest string
	was  string
}

func (g granted) takeBack() {
	for _, s := range slices.Backward(g) {
		_ = s.on.SetLinkSecurity(s.rest, s.was) // it may be gone
	}
}

// allowDisk gives a machine's account access to a VHD file that is attached to it, and
// to what that stands on. What is no file is left to whoever starts the machine; a
// descriptor that nothing can be added to is an error.
func (h *Host) allowDisk(path string, machine [16]byte, keep *granted) error {
	at, err := h.resolve(path)
	if err == nil {
		err = h.allowOwn(at, machine, keep)
	}
	for _, parent := range parentsOf(h.live, path) {
		if err != nil || h.mayOpen(parent, sddl.Read, machine) == nil {
			continue
		}
		if at, err = h.resolve(parent); err == nil {
			err = h.allow(at, "FR", MachinesSID, keep)
		}
	}
	if errors.Is(err, volume.ErrInvalidSecurity) {
		return err
	}
	return nil
}

// allowNew gives a machine access to the disks that a configuration has and an
// earlier one had not.
func (vm *VM) allowNew(c *Configuration) (granted, error) {
	var keep granted
	had := vm.config.VHDPaths()
	for _, path := range c.VHDPaths() {
		if slices.ContainsFunc(had, func(p string) bool { return volume.Equal(p, path) }) {
			continue
		}
		if err := vm.host.allowDisk(path, vm.ID(), &keep); err != nil {
			keep.takeBack()
			return nil, &Error{Op: "Attach", On: path, Err: err}
		}
	}
	return keep, nil
}

// allowAll gives a machine that was imported access to its files. What it cannot be
// given shows when it starts.
func (vm *VM) allowAll() {
	_ = vm.host.allowOwn(vm.path, vm.ID(), nil)
	for _, path := range vm.config.VHDPaths() {
		_ = vm.host.allowDisk(path, vm.ID(), nil)
	}
}

// mayOpen tells whether a machine's account has rights to a file. What is not there
// is somebody else's business.
func (h *Host) mayOpen(path string, want sddl.Mask, machine [16]byte) error {
	return h.asked(path, want, machine, (*volume.Volume).Stat)
}

// mayOpenLink is mayOpen for a link itself.
func (h *Host) mayOpenLink(path string, machine [16]byte) error {
	return h.asked(path, sddl.Read, machine, (*volume.Volume).Lstat)
}

func (h *Host) asked(path string, want sddl.Mask, machine [16]byte, stat func(*volume.Volume, string) (*volume.Info, error)) error {
	if h.profile.Policy.IgnoreSecurity {
		return nil
	}
	v, rest, err := h.volumeOf(path)
	if err != nil {
		return nil
	}
	info, err := stat(v.Volume, rest)
	if err != nil {
		return nil
	}
	const everyone, users = "WD", "AU"
	q := sddl.Ask(want, ServiceSID(machine), MachinesSID, everyone, users)
	q.Put(info.Security())
	for dir := volume.Dir(rest); !q.Settled(); dir = volume.Dir(dir) {
		info, err := v.Describe(dir)
		if err != nil {
			break
		}
		q.Put(info.Security())
		if dir == `\` {
			break
		}
	}
	if q.Allowed() {
		return nil
	}
	return &AccessError{Path: path, Account: Account(machine)}
}

// mayStart tells whether the machine's account has access to the configuration and
// to the link that leads to it.
func (vm *VM) mayStart() error {
	err := vm.host.mayOpen(vm.path, sddl.Read, vm.ID())
	if err == nil && vm.host.linked(vm.path, vm.ID()) {
		err = vm.host.mayOpenLink(vm.host.defaultConfig(vm.ID()), vm.ID())
	}
	return vm.denied(err)
}

// mayAttach tells the same of a VHD file and of what it stands on.
func (vm *VM) mayAttach(path string, parents []string) error {
	err := vm.host.mayOpen(path, sddl.Read|sddl.Write, vm.ID())
	for _, p := range parents {
		if err == nil {
			err = vm.host.mayOpen(p, sddl.Read, vm.ID())
		}
	}
	return vm.denied(err)
}

// mayGoOn tells whether the account of a machine that executes could open its files
// again, as it has to on the host that a machine migrates to.
func (vm *VM) mayGoOn() error {
	err := vm.mayStart()
	for _, d := range vm.disks {
		if err == nil && d.vhd != nil {
			err = vm.mayAttach(d.drive.Path, d.vhd.paths)
		}
	}
	return err
}

func (vm *VM) denied(err error) error {
	if e, ok := errors.AsType[*AccessError](err); ok {
		vm.emit("vm/access-denied", "", sim.S("path", e.Path), sim.S("account", e.Account))
	}
	return err
}
