package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Group is what fails over: resources that are always on one node together.
type Group struct {
	cluster   *Cluster
	name      string
	owner     *Node
	resources []*Resource
	props     GroupProperties
	failovers []time.Duration // when it failed over
	turn      sim.Mutex
	moving    bool       // it migrates: what its host tells is no news
	state     GroupState // as it was last told
}

// AddGroup makes an empty group on a node. Nil properties are the default ones.
func (c *Cluster) AddGroup(name, node string, p *GroupProperties) (*Group, error) {
	n, err := c.node("CreateGroup", node)
	if err != nil {
		return nil, err
	}
	if name == "" || c.Group(name) != nil {
		return nil, &Error{Op: "CreateGroup", On: name, Err: ErrObjectAlreadyExists}
	}
	g := &Group{cluster: c, name: name, owner: n, props: DefaultGroupProperties(), state: GroupOffline}
	g.turn.Name = "group " + name
	if p != nil {
		if err := g.SetProperties(*p); err != nil {
			return nil, err
		}
	}
	c.groups = append(c.groups, g)
	return g, nil
}

// Name is the group's name.
func (g *Group) Name() string { return g.name }

// Owner is the node that has the group; always exactly one.
func (g *Group) Owner() *Node { return g.owner }

// Resources lists the resources in the order they were added.
func (g *Group) Resources() []*Resource { return slices.Clone(g.resources) }

// Properties are the group's properties.
func (g *Group) Properties() GroupProperties { return g.props }

// SetProperties replaces the group's properties. A preferred owner that is no node
// is [ErrNodeNotFound].
func (g *Group) SetProperties(p GroupProperties) error {
	err := p.check()
	for _, name := range p.PreferredOwners {
		if g.cluster.Node(name) == nil {
			err = ErrNodeNotFound
		}
	}
	if err != nil {
		return &Error{Op: "SetGroupProperties", On: g.name, Err: err}
	}
	g.props = p
	return nil
}

// State is derived from the states of the resources, see [GroupStateOf].
func (g *Group) State() GroupState {
	states := make([]ResourceState, len(g.resources))
	for i, r := range g.resources {
		states[i] = r.state
	}
	return GroupStateOf(states...)
}

func (g *Group) emit(kind, rule string, attrs ...sim.Attr) {
	g.cluster.emit(g.owner, kind, rule, append([]sim.Attr{sim.S("group", g.name)}, attrs...)...)
}

// lock keeps others from the group. Whoever dies with it unlocks it by a deferred
// call, or dies before he changes anything.
func (g *Group) lock(ctx context.Context) error { return g.turn.Lock(ctx) }

// with runs fn in a process of the owner's cluster service that has the group for
// itself, and again on the next owner if the group moved meanwhile.
func (g *Group) with(ctx context.Context, op string, fn func(ctx context.Context) error) error {
	for {
		owner, moved := g.owner, false
		err := owner.call(ctx, op, func(ctx context.Context) error {
			if err := g.lock(ctx); err != nil {
				return err
			}
			defer g.turn.Unlock()
			if moved = g.owner != owner; moved {
				return nil
			}
			if !g.there() {
				return &Error{Op: op, On: g.name, Node: owner.name, Err: ErrGroupNotFound}
			}
			return fn(ctx)
		})
		if !moved {
			return err
		}
	}
}

// there tells whether the group has not been deleted.
func (g *Group) there() bool { return slices.Contains(g.cluster.groups, g) }

// own makes a node the owner.
func (g *Group) own(n *Node, rule, why string) {
	from := g.owner
	g.owner = n
	for _, r := range g.resources {
		r.restarts = nil // they are counted on one node
	}
	g.emit("cluster/owner", rule, sim.S("from", from.name), sim.S("to", n.name), sim.S("because", why))
}

// count notes a failover.
func (g *Group) count(to *Node, rule string) {
	g.failovers = append(g.failovers, g.cluster.world.Now())
	g.emit("cluster/failover", rule, sim.S("to", to.name), sim.N("count", len(g.failovers)))
}

// mayFailOver tells whether the threshold leaves room for one more failover.
func (g *Group) mayFailOver() bool {
	limit := uint64(g.props.FailoverThreshold)
	if limit == NodesMinusOne {
		limit = uint64(len(g.cluster.nodes) - 1)
	}
	g.failovers = recent(g.failovers, g.cluster.world.Now(), g.props.FailoverPeriod)
	return uint64(len(g.failovers)) < limit
}

// recent keeps the instants within a period that ends now.
func recent(list []time.Duration, now, period time.Duration) []time.Duration {
	return slices.DeleteFunc(list, func(t time.Duration) bool { return t < now-period })
}

// choose finds the node for the group, or returns nil. After the death of a node
// without a list of preferred owners it is any that can have it; see
// [Placement.Candidates].
func (g *Group) choose(ctx context.Context, p Placement, crashed bool) *Node {
	c := g.cluster
	for _, n := range c.nodes {
		p.Nodes = append(p.Nodes, Candidate{ID: n.id, Able: n.state == NodeUp && g.reaches(n) && g.possible(n), Crowded: g.crowds(n)})
	}
	for _, name := range g.props.PreferredOwners {
		p.Preferred = append(p.Preferred, c.Node(name).id)
	}
	list := p.Candidates()
	switch {
	case len(list) == 0:
		return nil
	case crashed && len(p.Preferred) == 0 && len(list) > 1:
		return c.nodes[list[sim.Choose(ctx, "cluster/owner of "+g.name, len(list))]-1]
	}
	return c.nodes[list[0]-1]
}

// possible tells whether a node may own every resource.
func (g *Group) possible(n *Node) bool {
	for _, r := range g.resources {
		if len(r.props.PossibleOwners) > 0 && !slices.Contains(r.props.PossibleOwners, n.name) {
			return false
		}
	}
	return true
}

// reaches tells whether the owner can hand the group over to a node.
func (g *Group) reaches(n *Node) bool { return !g.owner.up() || g.cluster.hears(g.owner, n) }

// crowds tells whether a node has a group that this one keeps apart from.
func (g *Group) crowds(n *Node) bool {
	for _, o := range g.cluster.groups {
		if o == g || o.owner != n {
			continue
		}
		for _, class := range g.props.AntiAffinityClassNames {
			if slices.Contains(o.props.AntiAffinityClassNames, class) {
				return true
			}
		}
	}
	return false
}

// topDown lists the resources so that dependents come before what they depend on;
// bottomUp is the reverse.
func (g *Group) topDown() []*Resource {
	list := g.bottomUp()
	slices.Reverse(list)
	return list
}

func (g *Group) bottomUp() []*Resource {
	var out []*Resource
	var add func(r *Resource)
	add = func(r *Resource) {
		if slices.Contains(out, r) {
			return
		}
		for _, d := range r.dependsOn {
			add(d)
		}
		out = append(out, r)
	}
	for _, r := range g.resources {
		add(r)
	}
	return out
}

// tell emits the state of the group when it has changed.
func (g *Group) tell() {
	if s := g.State(); s != g.state {
		g.emit("cluster/group", "", sim.S("from", g.state.String()), sim.S("to", s.String()))
		g.state = s
	}
}

// nodeIsDown is what becomes of the resources when the owner has died.
func (g *Group) nodeIsDown() {
	for _, r := range g.topDown() {
		r.step(EventNodeIsDown)
	}
}

// revive brings a group up on its owner, in a process of that node's own.
func (g *Group) revive(n *Node) {
	n.actor.Go("bring up "+g.name, func(ctx context.Context) error {
		if err := g.lock(ctx); err != nil {
			return err
		}
		defer g.turn.Unlock()
		if g.owner != n {
			return nil
		}
		return g.bringUp(ctx)
	})
}

// bringUp brings online whatever is to be online. What fails is treated as any
// failure. The caller has the group locked.
func (g *Group) bringUp(ctx context.Context) error {
	return g.bringUpThose(ctx, func(r *Resource) bool { return r.want })
}

// bringUpRest brings online what is to be online and waits for nothing that is not:
// what has failed has a retry of its own, or none.
func (g *Group) bringUpRest(ctx context.Context) error {
	return g.bringUpThose(ctx, func(r *Resource) bool {
		waits := slices.ContainsFunc(r.dependsOn, func(d *Resource) bool { return d.state != ResourceOnline })
		return r.want && !waits && r.state != ResourceFailed
	})
}

func (g *Group) bringUpThose(ctx context.Context, which func(r *Resource) bool) error {
	for _, r := range g.bottomUp() {
		if !which(r) {
			continue
		}
		if failed, err := r.bringOnline(ctx); err != nil {
			return failed.react(ctx, err)
		}
	}
	return nil
}

// takeDown takes everything offline, dependents first. The caller has the group
// locked.
func (g *Group) takeDown(ctx context.Context) error {
	for _, r := range g.topDown() {
		if err := r.takeOffline(ctx); err != nil {
			return err
		}
	}
	return nil
}
