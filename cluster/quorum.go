package cluster

import (
	"context"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Votes counts the votes of the nodes that are up, with the witness, and all there
// are. More than half must be there for the cluster to run.
func (c *Cluster) Votes() (there, all int) {
	if c.config.Witness {
		there, all = 1, 1
	}
	for _, n := range c.nodes {
		if n.noVote {
			continue
		}
		all++
		if n.up() {
			there++
		}
	}
	if !c.anyUp() {
		there = 0
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
	there, all := c.Votes()
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
	for _, g := range c.groups {
		if err := g.lock(ctx); err != nil {
			return err
		}
		for _, r := range g.topDown() {
			was := r.state
			r.step(EventNodeIsDown)
			if g.owner.up() && was != ResourceOffline {
				r.kind.Terminate(ctx, g.owner)
			}
		}
		g.turn.Unlock()
	}
	for _, n := range c.nodes {
		if n.up() {
			n.actor.Emit("cluster/event", "", sim.N("id", eventServiceStopped), sim.S("node", n.name))
			n.step(EventNodeLost)
			c.fence(n)
			defer n.detach() // the running process may be its own
		}
	}
	return nil
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
