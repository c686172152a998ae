package cluster

import (
	"context"
	"strings"

	"github.com/shadowsim/shadowsim/hyperv"
)

// Audit lists what is left over in a cluster in which no backup and no restore is
// under way: what the audit of each host that is up finds, and what an
// administrator has to see to because no cluster does it by itself.
func Audit(ctx context.Context, c *Cluster) []hyperv.Leftover {
	var out []hyperv.Leftover
	add := func(on, what string, err error) { out = append(out, leftover(on, what, err)) }
	if c.lost {
		add("cluster", "has no quorum", ErrNoQuorum)
	}
	if c.split != nil {
		add("cluster", "has a network that is split", nil)
	}
	for _, n := range c.nodes {
		if !n.up() {
			add(n.name, "is "+n.state.String(), nil)
			continue
		}
		if a, ok := n.host.(Auditor); ok {
			out = append(out, a.Audit()...)
		}
	}
	for _, g := range c.groups {
		for _, r := range g.resources {
			switch {
			case r.state == ResourceFailed:
				add(g.name, r.name+" has failed on "+g.owner.name+" and has to be brought online by hand", r.err)
			case r.state.Pending():
				add(g.name, r.name+" is "+r.state.String(), nil)
			case r.want && r.state != ResourceOnline:
				add(g.name, r.name+" is not online", nil)
			}
		}
	}
	for _, vm := range c.VMs() {
		vm.audit(ctx, add)
	}
	for _, v := range c.volumes {
		if node, yes := v.BackupInProgress(); yes {
			add(v.name(), "is prepared for a backup of "+node, nil)
		}
	}
	for _, o := range c.leaked() {
		add(c.nameOf(o.volume), "has a shadow copy that "+o.node+" has left; RemoveOrphans deletes it", nil)
	}
	return out
}

// audit compares where the machine is registered with where it should be.
func (vm *VM) audit(ctx context.Context, add func(on, what string, err error)) {
	var on []string
	for _, n := range vm.cluster.nodes {
		if !n.up() {
			continue
		}
		s, err := n.host.State(ctx, vm.id)
		if err != nil {
			continue
		}
		on = append(on, n.name)
		if n == vm.Owner() && vm.machine.state == ResourceOffline && VMResourceState(s) != ResourceOffline {
			add(vm.name, "is "+s.String()+" while its resource is offline", nil)
		}
	}
	switch {
	case len(on) > 1:
		add(vm.name, "is registered on "+strings.Join(on, " and ")+"; only "+vm.Owner().name+" owns it", nil)
	case len(on) == 1 && on[0] != vm.Owner().name:
		add(vm.name, "is registered on "+on[0]+", but "+vm.Owner().name+" owns it", nil)
	case len(on) == 0 && vm.config.state == ResourceOnline:
		add(vm.name, "is not registered on "+vm.Owner().name, nil)
	}
}
