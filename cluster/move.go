package cluster

import (
	"context"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Move moves the group to a node, or to the best possible one if to is "", and has
// its machines come along in the way the type says. What was offline stays so. A
// node that is paused or down, or that is no possible owner, is refused.
//
// A live migration needs the files of the machine on Cluster Shared Volumes. It is
// refused with [hyperv.ErrInUse] while an operation, such as a backup, holds the
// machine; the other ways do not ask.
func (g *Group) Move(ctx context.Context, to string, how MoveType) error {
	const op = "MoveGroup"
	var target *Node
	var first error
	err := g.with(ctx, op, func(ctx context.Context) error {
		var err error
		if target, err = g.target(ctx, to); err != nil || target == g.owner {
			return err
		}
		g.emit("cluster/move", "", sim.S("to", target.name), sim.S("how", how.String()))
		if how == LiveMigration {
			return g.migrate(ctx, target)
		}
		for _, vm := range g.vms() {
			if vm.machine.state == ResourceOnline {
				vm.SetNextOfflineAction(OfflineAction(how))
			}
		}
		if err := g.takeDown(ctx); err != nil {
			return err
		}
		g.own(target, "", "it is moved")
		return nil
	})
	if err != nil || how == LiveMigration {
		return err
	}
	err = g.with(ctx, op, func(ctx context.Context) error {
		if g.owner == target {
			first = g.bringUp(ctx)
		}
		return nil
	})
	if err == nil {
		err = first
	}
	return err
}

// target finds the node to move to.
func (g *Group) target(ctx context.Context, name string) (*Node, error) {
	fails := func(err error) (*Node, error) { return nil, &Error{Op: "MoveGroup", On: g.name, Node: name, Err: err} }
	if name == "" {
		if n := g.choose(ctx, Placement{Current: g.owner.id, Best: true}, false); n != nil {
			return n, nil
		}
		return fails(ErrHostNodeNotAvailable)
	}
	n := g.cluster.Node(name)
	switch {
	case n == nil:
		return fails(ErrNodeNotFound)
	case n.state == NodePaused:
		return fails(ErrNodePaused)
	case n.state != NodeUp:
		return fails(ErrNodeDown)
	case !g.reaches(n):
		return fails(ErrNodeUnreachable)
	case !g.possible(n):
		return fails(ErrHostNodeNotAvailable)
	}
	return n, nil
}

func (g *Group) vms() []*VM {
	var out []*VM
	for _, r := range g.resources {
		if t, ok := r.kind.(machineType); ok {
			out = append(out, t.vm)
		}
	}
	return out
}

// migrate moves the group with its one machine running.
func (g *Group) migrate(ctx context.Context, to *Node) error {
	fails := func(err error) error {
		g.emit("cluster/event", "", sim.N("id", eventMigrationFailed), sim.S("because", err.Error()))
		return &Error{Op: "LiveMigration", On: g.name, Node: to.name, Err: err}
	}
	vms := g.vms()
	m, ok := g.owner.host.(Migrator)
	if len(vms) != 1 || len(g.resources) != 2 || !ok {
		return fails(ErrNotSupported)
	}
	if vms[0].machine.state != ResourceOnline {
		return fails(ErrResourceNotOnline)
	}
	g.moving = true
	defer func() { g.moving = false }()
	err := vms[0].migrate(ctx, m, to)
	switch {
	case sim.Dead(ctx):
		return sim.ErrDead
	case err != nil:
		return fails(err)
	}
	g.own(to, "", "it has migrated")
	for _, r := range g.resources {
		r.watch()
	}
	return nil
}

// migrate moves the machine, unless somebody cancels it.
func (vm *VM) migrate(ctx context.Context, m Migrator, to *Node) error {
	within, cancel := sim.WithCancel(ctx)
	vm.cancel = cancel
	vm.migration = Migration{To: to.name, UnderWay: true}
	err := m.Migrate(within, vm.id, to.host)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = ErrCancelled
	}
	cancel()
	vm.cancel, vm.migration = nil, Migration{To: to.name, Err: err}
	return err
}
