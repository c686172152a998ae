package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// failbackTo starts to bring home the groups that prefer a node which has just
// come up.
func (c *Cluster) failbackTo(n *Node) {
	for _, g := range c.groups {
		if !g.prefers(n) {
			continue
		}
		n.actor.Background("failback of "+g.name, func(ctx context.Context) error {
			if err := sim.Sleep(ctx, g.untilWindow(c.world.Date())); err != nil {
				return err
			}
			if !g.prefers(n) || n.state != NodeUp {
				return nil
			}
			g.emit("cluster/failback", "", sim.S("to", n.name))
			return g.Move(ctx, n.name, MoveSave)
		})
	}
}

// prefers tells whether the group may fail back and would rather be on n than where
// it is.
func (g *Group) prefers(n *Node) bool {
	list := g.props.PreferredOwners
	rank := slices.Index(list, n.name)
	now := slices.Index(list, g.owner.name)
	return g.there() && g.props.AutoFailbackType == AllowFailback && rank >= 0 && (now < 0 || rank < now) && g.possible(n)
}

// untilWindow is how long it takes until groups may fail back.
func (g *Group) untilWindow(now time.Time) time.Duration {
	start, end := g.props.FailbackWindowStart, g.props.FailbackWindowEnd
	if start < 0 || end < 0 || start == end {
		return 0
	}
	hour := now.Hour()
	open := start < end && hour >= start && hour < end || start > end && (hour >= start || hour < end)
	if open {
		return 0
	}
	next := time.Date(now.Year(), now.Month(), now.Day(), start, 0, 0, 0, now.Location())
	if !next.After(now) {
		next = next.AddDate(0, 0, 1)
	}
	return next.Sub(now)
}
