package cluster

import (
	"context"
	"errors"
	"slices"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A split is a network that has fallen apart. Nodes of different sides do not hear
// each other; the storage they all reach.
type split struct {
	side    map[*Node]int
	witness int  // the side that has the witness, or noSide
	settled bool // every side knows
}

const noSide = -1

// Partition cuts the network between sides, given by the names of their nodes;
// nodes that are not named are a side of their own. A split that is there already
// is replaced by this one. Nothing happens until [Config.HeartbeatTimeout] has
// passed. Then each side counts its votes, and at most one has more than half of
// all:
//
//   - That side goes on. It removes the nodes that it does not hear (event 1135),
//     keeps them from the storage, and has their groups fail over to its own.
//   - On every other node the cluster service stops (event 1177), and what hosts
//     its resources ends them: machines are turned off and no longer registered,
//     as [ResourceType.Terminate] does.
//
// The witness is a vote for one side alone: that of the oldest node for whose side
// it makes a majority.
//
// A node without quorum gives its machines up at once, as Windows Server did
// before it knew isolated nodes; so no machine ever runs on two sides. A backup on
// such a node fails with them.
func (c *Cluster) Partition(sides ...[]string) error {
	const op = "Partition"
	s := &split{side: make(map[*Node]int), witness: noSide}
	for i, names := range sides {
		for _, name := range names {
			n, err := c.node(op, name)
			if err != nil {
				return err
			}
			if _, twice := s.side[n]; twice {
				return &Error{Op: op, On: name, Err: ErrInvalidParameter}
			}
			s.side[n] = i
		}
	}
	for _, n := range c.nodes {
		if _, named := s.side[n]; !named {
			s.side[n] = len(sides)
		}
		c.network().Emit("cluster/partition", "", sim.S("node", n.name), sim.N("side", s.side[n]+1))
	}
	c.split = s
	c.network().Background("silence", func(ctx context.Context) error {
		if err := sim.Sleep(ctx, c.config.HeartbeatTimeout); err != nil || c.split != s {
			return err
		}
		s.witness, s.settled = c.arbitrate(s), true
		return c.regroup(ctx, s)
	})
	return nil
}

// Partitioned tells whether the network is split.
func (c *Cluster) Partitioned() bool { return c.split != nil }

// network is where happens what no node does.
func (c *Cluster) network() *sim.Actor {
	if c.wire == nil {
		c.wire = c.world.Actor("network")
	}
	return c.wire
}

// hears tells whether the network leads from one node to another.
func (c *Cluster) hears(a, b *Node) bool {
	return c.split == nil || c.split.side[a] == c.split.side[b]
}

// lives tells whether the cluster service of a node that is up does run.
func (n *Node) lives() bool { return n.up() && !n.actor.Dead() }

// regroup is what the sides do when they have not heard of each other for too
// long. Those without quorum are told first: where all happens at one instant,
// nothing may come up on one side before it has ended on the other.
func (c *Cluster) regroup(ctx context.Context, s *split) error {
	winner := c.withQuorum(s)
	var by *Node
	var gone []*Node
	for _, n := range c.nodes {
		switch {
		case !n.up():
		case n.lives() && winner == s.side[n]:
			if by == nil {
				by = n
			}
		default:
			gone = append(gone, n)
		}
	}
	for _, n := range gone {
		n.cutOff = n.lives()
	}
	switch {
	case len(gone) == 0:
		return nil
	case by == nil:
		c.lost = true
		return c.collapse(ctx)
	}
	for _, n := range gone {
		if n.cutOff {
			n.stop()
			n.detach()
		}
	}
	by.actor.Go("regroup", func(ctx context.Context) error { return c.remove(ctx, by, gone...) })
	return nil
}

// withQuorum is the side with more than half of the votes, or noSide.
func (c *Cluster) withQuorum(s *split) int {
	for _, n := range c.nodes {
		if there, all := c.votes(n); n.lives() && 2*there > all {
			return s.side[n]
		}
	}
	return noSide
}

// witnessFor tells whether the side of a node has the witness.
func (c *Cluster) witnessFor(n *Node) bool {
	if !c.config.Witness || c.split == nil {
		return c.config.Witness
	}
	s := c.split
	held := slices.ContainsFunc(c.nodes, func(o *Node) bool { return o.lives() && s.side[o] == s.witness })
	if !held {
		s.witness = c.arbitrate(s)
	}
	return s.witness == s.side[n]
}

// arbitrate finds the side that gets the witness: the first, in the order of the
// nodes, for which it makes a majority.
func (c *Cluster) arbitrate(s *split) int {
	for _, n := range c.nodes {
		if there, all := c.nodeVotes(n); n.lives() && 2*(there+1) > all+1 {
			return s.side[n]
		}
	}
	return noSide
}

// Heal mends the network. If it does so before anybody has noticed, nothing has
// happened. On the nodes that were cut off the cluster service starts again, and
// they join; the error tells of those that could not.
func (c *Cluster) Heal(ctx context.Context) error {
	if c.split == nil {
		return nil
	}
	s := c.split
	c.split = nil
	c.network().Emit("cluster/heal", "")
	var errs []error
	for _, n := range c.nodes {
		switch {
		case n.cutOff && n.state == NodeDown && !n.host.Actor().Dead():
			errs = append(errs, c.Join(ctx, n.name, n.host))
		case n.up() && !n.lives() && !s.settled:
			c.missAgain(n)
		}
	}
	return errors.Join(errs...)
}

// dismiss stops the nodes that wait for quorum on another side than the one that
// has it now.
func (c *Cluster) dismiss(by *Node) {
	for _, n := range c.nodes {
		if n.up() && !c.hears(by, n) {
			n.cutOff = true
			n.stop()
			n.detach()
		}
	}
}

// missAgain has the others miss a node that died while nobody could tell whether
// it was dead or cut off.
func (c *Cluster) missAgain(o *Node) {
	for _, n := range c.nodes {
		if n.lives() {
			n.watch(o)
		}
	}
}
