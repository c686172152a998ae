package cluster

import (
	"context"
	"slices"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Node is a computer of the cluster.
type Node struct {
	cluster *Cluster
	id      int
	name    string
	host    Host
	actor   *sim.Actor // of its cluster service
	state   NodeState
	noVote  bool // dynamic quorum has taken its vote
	cutOff  bool // its service has stopped because it heard of too few others
	forget  []func()
	rhs     *sim.Actor  // hosts the resources for its cluster service
	hosted  []*Resource // what that has left behind
	ended   *sim.Signal // nothing of it is there any more
}

// ID is the node's number, from 1.
func (n *Node) ID() int { return n.id }

// Name is the node's name.
func (n *Node) Name() string { return n.name }

// Host is the computer.
func (n *Node) Host() Host { return n.host }

// State is how the node stands in the cluster.
func (n *Node) State() NodeState { return n.state }

// Actor is the actor of the node's cluster service.
func (n *Node) Actor() *sim.Actor { return n.actor }

// attach makes the node's cluster service on a host, and beside it what hosts the
// resources and ends them when the cluster service does (Resource Hosting
// Subsystem).
func (n *Node) attach(h Host) {
	n.host, n.hosted, n.cutOff = h, nil, false
	n.actor, n.rhs = h.Actor().Child("clussvc"), h.Actor().Child("rhs")
	n.ended = &sim.Signal{Name: "the end of what " + n.name + " had online"}
	n.actor.OnKill(n.rhs, "end of the cluster service", n.endHosted)
	n.actor.OnKill(n.cluster.network(), "silence of all", n.cluster.lastEnded)
	if notifier, ok := h.(Notifier); ok {
		n.forget = append(n.forget, notifier.OnStateChange(func(s hyperv.StateChange) { n.cluster.noticed(n, s) }))
	}
}

// detach ends it.
func (n *Node) detach() {
	for _, f := range n.forget {
		f()
	}
	n.forget = nil
	n.noteHosted()
	n.actor.Kill()
}

// stop is what a node tells when it has no quorum: event 1177.
func (n *Node) stop() {
	if n.lives() {
		n.actor.Emit("cluster/event", "", sim.N("id", eventServiceStopped), sim.S("node", n.name))
	}
	n.step(EventNodeLost)
}

// noteHosted notes what the node has online, beside what was noted before: by now
// another node may own that.
func (n *Node) noteHosted() {
	before := n.hosted
	n.hosted = slices.DeleteFunc(slices.Clone(before), func(r *Resource) bool { return r.group.owner == n })
	for _, g := range n.cluster.groups {
		if g.owner != n {
			continue
		}
		for _, r := range g.topDown() {
			if r.state == ResourceOnline || r.state.Pending() || slices.Contains(before, r) {
				n.hosted = append(n.hosted, r)
			}
		}
	}
}

// endHosted ends what the cluster service has left behind.
func (n *Node) endHosted(ctx context.Context) error {
	defer n.ended.Set()
	n.noteHosted()
	for _, r := range n.hosted {
		r.kind.Terminate(ctx, n)
	}
	n.cluster.fence(n)
	return ctx.Err()
}

// awaitEnd waits until what an earlier cluster service had online on this host has
// ended.
func (n *Node) awaitEnd(ctx context.Context, h Host) error {
	if n.ended.IsSet() || h.Actor() != n.host.Actor() {
		return nil
	}
	return n.rhs.Call(ctx, "end of what is online", n.ended.Wait)
}

// up tells whether the node takes part in the cluster.
func (n *Node) up() bool { return n.state == NodeUp || n.state == NodePaused }

// step moves the node by its table.
func (n *Node) step(e NodeEvent) bool {
	to, ok := nodeMoves[n.state][e]
	if ok && to != n.state {
		n.cluster.emit(n, "cluster/node", "", sim.S("node", n.name), sim.S("from", n.state.String()), sim.S("to", to.String()))
		n.state = to
	}
	return ok
}

// call runs fn as a process of the node's cluster service and waits for it.
func (n *Node) call(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	if !n.up() {
		return &Error{Op: name, On: n.name, Err: ErrNodeDown}
	}
	return n.actor.Call(ctx, name, fn)
}

// emit adds an event to the trace: of the node's service, or of the cluster as a
// whole if there is none that lives.
func (c *Cluster) emit(n *Node, kind, rule string, attrs ...sim.Attr) {
	if n == nil || n.actor == nil {
		n = c.speaker()
	}
	n.actor.Emit(kind, rule, attrs...)
}

// speaker is the node that tells what concerns all of them: the oldest that is up.
func (c *Cluster) speaker() *Node {
	for _, n := range c.nodes {
		if n.up() {
			return n
		}
	}
	return c.nodes[0]
}

// watchOthers makes the node notice when another one dies.
func (n *Node) watchOthers() {
	for _, o := range n.cluster.nodes {
		if o != n && o.up() {
			n.watch(o)
		}
	}
}

// watch makes the node notice when another one dies, or its cluster service does,
// as it is now.
func (n *Node) watch(o *Node) {
	service := o.actor
	n.forget = append(n.forget, service.OnKill(n.actor, "heartbeat of "+o.name, func(ctx context.Context) error {
		return n.cluster.missed(ctx, n, o, service)
	}))
}

// missed waits until a node that is silent counts as dead, and then regroups, if
// no other node was faster. While the sides of a split network do not know of each
// other yet, they find out about the dead when they regroup.
func (c *Cluster) missed(ctx context.Context, by, o *Node, service *sim.Actor) error {
	if err := sim.Sleep(ctx, c.config.HeartbeatTimeout); err != nil {
		return err
	}
	if o.actor != service || !o.up() || !by.up() || c.split != nil && !c.split.settled {
		return nil
	}
	return c.remove(ctx, by, o)
}

// remove takes nodes out of the cluster, and sees to their groups.
func (c *Cluster) remove(ctx context.Context, by *Node, gone ...*Node) error {
	for _, o := range gone {
		by.actor.Emit("cluster/event", "", sim.N("id", eventNodeRemoved), sim.S("node", o.name))
		o.step(EventNodeLost)
		o.detach()
		c.fence(o)
	}
	if !c.count(by) {
		return c.collapse(ctx)
	}
	return c.adopt(ctx, by)
}

// fence keeps a node that left from the storage.
func (c *Cluster) fence(o *Node) {
	for _, v := range c.volumes {
		c.unmount(o, v.volume, v)
		v.lose(o)
	}
	for _, d := range c.disks {
		c.unmount(o, d.volume, nil)
	}
}

// adopt finds new owners for the groups whose owner is down.
func (c *Cluster) adopt(ctx context.Context, by *Node) error {
	for _, g := range c.groups {
		if g.owner.up() {
			continue
		}
		if err := g.lock(ctx); err != nil {
			return err
		}
		g.nodeIsDown()
		to := g.choose(ctx, Placement{Current: g.owner.id}, true)
		if to != nil {
			g.count(to, "")
			g.own(to, "", "the node is down")
		} else {
			g.emit("cluster/event", "", sim.N("id", eventGroupFailed))
		}
		g.turn.Unlock()
		if to != nil {
			g.revive(to)
		}
	}
	return ctx.Err()
}

// Pause keeps a node from getting groups; those it has stay.
func (c *Cluster) Pause(ctx context.Context, node string) error {
	return c.stepNode(ctx, "PauseNode", node, EventNodePause)
}

// Resume lets a paused node have groups again.
func (c *Cluster) Resume(ctx context.Context, node string) error {
	if err := c.stepNode(ctx, "ResumeNode", node, EventNodeResume); err != nil {
		return err
	}
	c.failbackTo(c.Node(node))
	return nil
}

func (c *Cluster) stepNode(_ context.Context, op, name string, e NodeEvent) error {
	n, err := c.node(op, name)
	if err != nil {
		return err
	}
	if !n.step(e) {
		return &Error{Op: op, On: name, Err: ErrInvalidState}
	}
	return nil
}

// bury notices nodes that died while there was no quorum, and so nobody to miss
// their heartbeat.
func (c *Cluster) bury() {
	for _, o := range c.nodes {
		if c.lost && o.up() && o.actor.Dead() {
			o.step(EventNodeLost)
			o.detach()
			c.fence(o)
		}
	}
}

// Join takes a node in again that was down, with the host that it is now.
func (c *Cluster) Join(ctx context.Context, name string, h Host) error {
	n, err := c.node("JoinNode", name)
	if err != nil {
		return err
	}
	c.bury()
	switch {
	case h.Actor().Dead() || n.state != NodeDown:
		return &Error{Op: "JoinNode", On: name, Err: ErrInvalidState}
	case !c.lost && !c.hears(n, c.speaker()):
		return &Error{Op: "JoinNode", On: name, Err: ErrNodeUnreachable}
	}
	if err := n.awaitEnd(ctx, h); err != nil {
		return &Error{Op: "JoinNode", On: name, Err: err}
	}
	if !n.step(EventNodeJoin) {
		return &Error{Op: "JoinNode", On: name, Err: ErrInvalidState}
	}
	n.attach(h)
	n.step(EventNodeJoined)
	n.noVote = false
	n.watchOthers()
	for _, o := range c.nodes {
		if o != n && o.up() {
			o.watch(n)
		}
	}
	for _, v := range c.volumes {
		if err := n.host.Mount(v.mount(n)); err != nil {
			return &Error{Op: "JoinNode", On: name, Err: err}
		}
	}
	wasLost := c.lost
	if c.count(n); c.lost {
		return nil // it waits for others
	}
	if wasLost {
		c.dismiss(n)
		c.startGroups(n)
	}
	err = n.call(ctx, "take up groups", func(ctx context.Context) error { return c.adopt(ctx, n) })
	c.failbackTo(n)
	return err
}
