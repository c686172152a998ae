package cluster

import (
	"context"
	"slices"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Votes counts the votes of the nodes that are up, with the witness, and all there
// are. More than half must be there for the cluster to run. Where the network is
// split it counts those of one side: the one that runs, or that of the oldest node
// that is up.
func (c *Cluster) Votes() (there, all int) { return c.votes(c.speaker()) }

// votes counts those that a node knows of.
func (c *Cluster) votes(by *Node) (there, all int) {
	there, all = c.nodeVotes(by)
	if c.config.Witness {
		all++
	}
	if c.anyUp() && c.witnessFor(by) {
		there++
	}
	return there, all
}

// nodeVotes counts without the witness.
func (c *Cluster) nodeVotes(by *Node) (there, all int) {
	for _, n := range c.nodes {
		if n.noVote {
			continue
		}
		all++
		if n.up() && c.hears(by, n) && (c.split == nil || n.lives()) {
			there++
		}
	}
	return there, all
}

func (c *Cluster) anyUp() bool {
	for _, n := range c.nodes {
		if n.up() {
			return true
		}
	}
	return false
}

// HasQuorum tells whether the cluster runs.
func (c *Cluster) HasQuorum() bool { return !c.lost }

// count looks whether the cluster still has quorum. From Windows Server 2012 on
// the votes of nodes that have left are then taken away, so that the next may
// leave too.
func (c *Cluster) count(by *Node) bool {
	there, all := c.votes(by)
	c.lost = 2*there <= all
	outcome := "kept"
	if c.lost {
		outcome = "lost"
	}
	by.actor.Emit("cluster/quorum", "", sim.N("votes", there), sim.N("of", all), sim.S("quorum", outcome))
	if !c.lost && c.config.Version >= W2012 {
		for _, n := range c.nodes {
			n.noVote = !n.up()
		}
	}
	return !c.lost
}

// collapse is what happens without quorum: the cluster service stops on every node
// that is left, and all groups go offline with it.
func (c *Cluster) collapse(ctx context.Context) error {
	var by *Node // whose process this is; it is the last to end
	for _, n := range c.nodes {
		if !n.up() {
			continue
		}
		n.stop()
		n.noteHosted()
		if n.host.Actor().Dead() {
			c.fence(n)
		}
		if n.actor == sim.Self(ctx) {
			by = n
			defer n.detach()
		} else {
			n.detach()
		}
	}
	for _, g := range c.groups {
		if err := g.lock(ctx); err != nil {
			return err
		}
		if g.owner == by { // it may have brought something online while this waited
			by.noteHosted()
		}
		g.nodeIsDown()
		g.turn.Unlock()
	}
	return nil
}

// lastEnded is what the end of a cluster service is if no other one runs that could
// miss it.
func (c *Cluster) lastEnded(ctx context.Context) error {
	if !c.anyUp() || slices.ContainsFunc(c.nodes, (*Node).lives) {
		return nil
	}
	c.lost = true
	return c.collapse(ctx)
}

// startGroups finds an owner for every group when a lost cluster has quorum again.
func (c *Cluster) startGroups(n *Node) {
	for _, g := range c.groups {
		if g.owner.up() {
			g.revive(g.owner)
		}
	}
	n.actor.Emit("cluster/start", "")
}
