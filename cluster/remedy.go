package cluster

import (
	"context"
	"errors"
	"slices"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// BeforeBackup is the remedy for backups in the saved state: the state of the
// machines is saved through the cluster, so that it is no failure (R64). Machines
// whose resource is not online are left alone. The returned function, which must
// be called when the backup is over, brings online what was taken offline.
func (c *Cluster) BeforeBackup(ctx context.Context, vms ...*VM) (after func(ctx context.Context) error, err error) {
	var taken []*Resource
	after = func(ctx context.Context) error { return bringBack(ctx, taken) }
	for _, vm := range vms {
		if vm.machine.state != ResourceOnline {
			continue
		}
		vm.SetNextOfflineAction(Save)
		vm.machine.emit("cluster/remedy", "R64", sim.S("vm", vm.name), sim.S("step", "save the machine through the cluster"))
		if err := vm.machine.Offline(ctx); err != nil {
			return after, errors.Join(err, after(ctx))
		}
		taken = append(taken, vm.machine)
	}
	return after, nil
}

// BeforeRestore is the remedy for restores: the machines' resources are taken
// offline first, the machine and then its configuration (R65). The returned
// function, which must be called when the restore is over, brings online what was
// taken offline.
func (c *Cluster) BeforeRestore(ctx context.Context, vms ...*VM) (after func(ctx context.Context) error, err error) {
	var taken []*Resource
	after = func(ctx context.Context) error { return bringBack(ctx, taken) }
	for _, vm := range vms {
		for _, r := range []*Resource{vm.machine, vm.config} {
			if r.state != ResourceOnline && r.state != ResourceFailed {
				continue
			}
			r.emit("cluster/remedy", "R65", sim.S("vm", vm.name), sim.S("step", "take "+r.name+" offline"))
			if err := r.Offline(ctx); err != nil {
				return after, errors.Join(err, after(ctx))
			}
			taken = append(taken, r)
		}
	}
	return after, nil
}

// bringBack brings resources online, the last one first.
func bringBack(ctx context.Context, taken []*Resource) error {
	var errs []error
	for _, r := range slices.Backward(taken) {
		errs = append(errs, r.Online(ctx))
	}
	return errors.Join(errs...)
}
