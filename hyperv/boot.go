package hyperv

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// PowerOff cuts the host's power: everything that executes on it ends at once,
// the machines, the management service, the Volume Shadow Copy Service. A fault
// that kills the host's actor does the same. What stands on the volumes stays.
func (h *Host) PowerOff() { h.actor.Kill() }

// Running tells whether the host has power.
func (h *Host) Running() bool { return !h.actor.Dead() }

// Boot starts a host whose power was cut, or that was shut down, from what stands on
// its volumes. Shadow copies that were not to survive are gone. The machines are
// those whose configuration files, or links to them, are in the default location; a
// machine is saved if its saved state is there, and off otherwise. Snapshots that guests
// had in the disks of machines that are off now are deleted. A machine that a
// backup had saved stays saved, and [Audit] says so, unless its start action has
// it started.
//
// Virtual switches, other disks and the numbers of addresses belong to the
// computer and stay; programs that ran on the host, writers among them, have to be
// started again. The host runs even if there is an error, which tells the machines
// that could not be registered or started; so does [Audit] of the former.
func (h *Host) Boot(ctx context.Context) error {
	if h.Running() {
		return &Error{Op: "Boot", On: h.name, Err: ErrInvalidState}
	}
	if err := h.actor.Close(ctx); err != nil { // what ran has its last turns before
		return err
	}
	kept := persistent(h.service)
	for _, vm := range h.vms {
		vm.dropHandles()
	}
	h.actor = h.world.Actor(h.name)
	h.actor.Emit("host/boot", "", sim.S("host", h.name))
	h.service = vss.NewService(h.actor.Child("vss"), vss.ServiceConfig{Machine: h.name})
	for _, v := range h.volumes {
		if v.offline {
			continue
		}
		if err := h.mountVolume(v, kept); err != nil {
			return err
		}
	}
	h.vms, h.byID, h.wrapped, h.lost, h.lastRead = nil, make(map[[16]byte]*VM), nil, nil, parsedFile{}
	h.undo.entries = nil
	h.macs.reset()
	for _, s := range h.switches {
		s.ports = nil
	}
	h.vmms = &managementService{host: h}
	return h.call(ctx, "boot", func(ctx context.Context) error {
		return errors.Join(h.vmms.start(), h.findMachines(ctx), h.takeUpMachines(ctx))
	})
}

// persistent lists the shadow copies that survive a restart.
func persistent(s *vss.Service) map[[16]byte]bool {
	kept := make(map[[16]byte]bool)
	for _, c := range s.Snapshots() {
		if vss.SnapshotContext(c.Attributes).Persistent() {
			kept[c.SnapshotID] = true
		}
	}
	return kept
}

// dropHandles lets go of the files that the worker process held when it ended.
func (vm *VM) dropHandles() {
	for _, d := range vm.disks {
		if d.vhd != nil {
			d.vhd.detach()
		}
	}
	vm.disks = nil
}

// mountVolume makes a volume known to the new run of the host.
func (h *Host) mountVolume(v *hostVolume, kept map[[16]byte]bool) error {
	v.gate.release(v) // held by the run that ended
	for _, id := range v.Shadows() {
		if !kept[id] && (v.shared == nil || slices.Contains(v.shared.made, id)) {
			if err := v.Volume.DeleteShadow(id); err != nil {
				return err
			}
		}
	}
	return h.service.AddVolume(v)
}

// findMachines registers what stands in the default location, in the order it was
// put there.
func (h *Host) findMachines(ctx context.Context) error {
	folder := volume.Join(h.root, machinesFolder)
	v, rest, err := h.volumeOf(folder)
	if err != nil {
		return err
	}
	list, err := v.ReadDir(rest)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	list = slices.DeleteFunc(list, func(i *volume.Info) bool {
		base, ok := strings.CutSuffix(strings.ToLower(i.Name()), ".xml")
		_, err := guid.Parse(base)
		return i.IsDir() || !ok || err != nil
	})
	slices.SortStableFunc(list, func(a, b *volume.Info) int {
		return cmp.Or(a.Created().Compare(b.Created()), cmp.Compare(a.FileID(), b.FileID()))
	})
	var errs []error
	for _, i := range list {
		if err := h.findMachine(ctx, volume.Join(folder, i.Name())); err != nil {
			errs = append(errs, err)
			h.lost = append(h.lost, Leftover{On: i.Name(), What: "its machine is not registered", Err: err})
		}
	}
	return errors.Join(errs...)
}

// findMachine registers a machine anew, with the ports that its configuration
// names.
func (h *Host) findMachine(ctx context.Context, path string) error {
	vm, err := h.register(ctx, path, enrolRules{})
	if err == nil {
		h.plugIn(vm)
	}
	return err
}

// takeUpMachines finds what the end of the host has left in machines, and starts
// those that are to be started.
func (h *Host) takeUpMachines(ctx context.Context) error {
	var errs []error
	for _, vm := range slices.Clone(h.vms) {
		errs = append(errs, vm.mergePending(ctx))
		belongs, ran := vm.belongs(), slices.Contains(vm.marks(), markRunning)
		switch {
		case vm.state == StateOff:
			vm.unreserve()
			errs = append(errs, vm.dropOfDead())
			h.unmark(vm.ID(), belongsMarks[belongs])
		case belongs != 0:
			h.undo.push(undoEntry{kind: undoCutOff, vm: vm.ID(), name: vm.Name(), to: belongs})
		}
		h.unmark(vm.ID(), markRunning)
		switch a := vm.config.StartAction; {
		case a == StartAlways, a == StartIfRunning && (ran || belongs == StateRunning):
			errs = append(errs, vm.Start(ctx))
		}
	}
	return errors.Join(errs...)
}

// dropOfDead deletes the snapshots that a guest had in the disks of its machine.
func (vm *VM) dropOfDead() error {
	n := 0
	for _, path := range vm.config.VHDPaths() {
		if v, rest, err := vm.host.volumeOf(path); err == nil {
			n += len(keptIDs(v.Volume, rest))
		}
	}
	if n == 0 {
		return nil
	}
	vm.emit("vm/drop-snapshots", "", sim.N("copies", n))
	return vm.dropAllSnapshots()
}
