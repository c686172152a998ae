package hyperv

import (
	"fmt"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// A Leftover is something that a backup or restore should have cleaned away, or
// a task that is left to the administrator.
type Leftover struct {
	On   string // machine, volume or service
	What string
	Err  error // why it is still there, if it is known
}

func (l Leftover) String() string {
	s := l.On + ": " + l.What
	if l.Err != nil {
		s += ": " + l.Err.Error()
	}
	return s
}

// Audit lists what is left over on a host on which no backup and no restore is
// under way. An empty list is the promise of the invariants after a failure: no
// machine is saved that was running, no guest frozen, no guest snapshot left, no
// VHD mounted, no lock held.
func Audit(h *Host) []Leftover {
	var out []Leftover
	add := func(on, what string, err error) { out = append(out, Leftover{on, what, err}) }
	if !h.Running() {
		add(h.name, "is off", nil)
		return out
	}
	if !h.vmms.running() {
		add(ManagementService, "does not run", nil)
	}
	out = append(out, h.lost...)
	for _, e := range h.undo.entries {
		add(e.name, e.kind.String(), e.failed)
	}
	for _, v := range h.volumes {
		if v.gate.IsShut() {
			add(v.Name(), "writes are held", nil)
		}
	}
	for _, vm := range h.vms {
		vm.audit(add)
	}
	for _, what := range h.service.Leftovers() {
		add(h.service.Actor().Path(), what, nil)
	}
	return out
}

func (vm *VM) audit(add func(on, what string, err error)) {
	if !vm.state.Stable() && !vm.state.Critical() { // a machine waits for its storage whether there is a backup or not
		add(vm.Name(), "is "+vm.state.String(), nil)
	}
	if vm.lock != "" {
		add(vm.Name(), "is held by "+vm.lock, nil)
	}
	if vm.mergeFailed != nil {
		add(vm.Name(), "disks of deleted checkpoints are still to be merged", vm.mergeFailed)
	}
	for _, path := range vm.config.VHDPaths() {
		v, rest, err := vm.host.volumeOf(path)
		if err != nil {
			continue
		}
		for _, id := range keptIDs(v.Volume, rest) {
			add(vm.Name(), fmt.Sprintf("snapshot %s is kept in %s", guid.String(id), volume.Base(path)), nil)
		}
	}
	g := vm.Guest()
	if g == nil {
		return
	}
	for _, d := range g.Drives() {
		if d.Held() {
			add(vm.Name(), "in the guest: writes to "+d.Name()+" are held", nil)
		}
	}
	if g.VSS() != nil {
		for _, what := range g.VSS().Leftovers() {
			add(vm.Name(), "in the guest: "+what, nil)
		}
	}
}
