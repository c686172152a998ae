package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A ResourceType does for the cluster what a resource DLL does: it works on one
// resource, on the node that owns it. The errors of LooksAlive and IsAlive say
// what is wrong; nil is alive. Both must be quick, LooksAlive even more so.
type ResourceType interface {
	// TypeName is the name of the type: "Physical Disk".
	TypeName() string
	Online(ctx context.Context, n *Node) error
	Offline(ctx context.Context, n *Node) error
	// Terminate ends what is left of a resource that has failed, as well as it can.
	Terminate(ctx context.Context, n *Node)
	LooksAlive(ctx context.Context, n *Node) error
	IsAlive(ctx context.Context, n *Node) error
}

// A Poller is a [ResourceType] with intervals of its own for resources that are
// polled as their type says ([OfType]), both more than zero.
type Poller interface {
	PollIntervals() (looksAlive, isAlive time.Duration)
}

// A Resource is something that the cluster keeps online.
type Resource struct {
	group     *Group
	name      string
	kind      ResourceType
	props     ResourceProperties
	dependsOn []*Resource
	state     ResourceState
	want      bool // its persistent state: it is to be online
	restarts  []time.Duration
	run       int   // counts how often it came online
	behind    bool  // something was done to it that the cluster was not asked for
	err       error // why it failed last
	retrying  bool
}

// A ResourceConfig is a new resource. All but Name and Type may be left zero.
type ResourceConfig struct {
	Name       string
	Type       ResourceType
	DependsOn  []*Resource // of the same group
	Properties *ResourceProperties
}

// AddResource adds a resource to the group, offline.
func (g *Group) AddResource(c ResourceConfig) (*Resource, error) {
	fails := func(err error) (*Resource, error) {
		return nil, &Error{Op: "CreateResource", On: c.Name, Err: err}
	}
	if c.Name == "" || c.Type == nil {
		return fails(ErrInvalidParameter)
	}
	if !g.there() {
		return fails(ErrGroupNotFound)
	}
	if g.cluster.Resource(c.Name) != nil {
		return fails(ErrObjectAlreadyExists)
	}
	for _, d := range c.DependsOn {
		if d.group != g || !d.there() {
			return fails(ErrDependencyNotFound)
		}
	}
	r := &Resource{group: g, name: c.Name, kind: c.Type, state: ResourceOffline, props: DefaultResourceProperties(), dependsOn: slices.Clone(c.DependsOn)}
	if c.Properties != nil {
		if err := r.SetProperties(*c.Properties); err != nil {
			return nil, err
		}
	}
	g.resources = append(g.resources, r)
	return r, nil
}

// there tells whether the resource has not been deleted.
func (r *Resource) there() bool { return slices.Contains(r.group.resources, r) }

// Name is the resource's name.
func (r *Resource) Name() string { return r.name }

// Type is what works on the resource.
func (r *Resource) Type() ResourceType { return r.kind }

// Group is the group the resource belongs to.
func (r *Resource) Group() *Group { return r.group }

// State is how the resource stands.
func (r *Resource) State() ResourceState { return r.state }

// Err is why the resource failed, if it has.
func (r *Resource) Err() error {
	if r.state != ResourceFailed {
		return nil
	}
	return r.err
}

// DependsOn lists the resources that have to be online before this one.
func (r *Resource) DependsOn() []*Resource { return slices.Clone(r.dependsOn) }

// Properties are the resource's common properties.
func (r *Resource) Properties() ResourceProperties { return r.props }

// SetProperties replaces the resource's common properties.
func (r *Resource) SetProperties(p ResourceProperties) error {
	err := p.check()
	for _, name := range p.PossibleOwners {
		if r.group.cluster.Node(name) == nil {
			err = ErrNodeNotFound
		}
	}
	if err != nil {
		return &Error{Op: "SetResourceProperties", On: r.name, Err: err}
	}
	r.props = p
	return nil
}

func (r *Resource) emit(kind, rule string, attrs ...sim.Attr) {
	r.group.emit(kind, rule, append([]sim.Attr{sim.S("resource", r.name)}, attrs...)...)
}

// step moves the resource by its table, and tells whether there was a way.
func (r *Resource) step(e ResourceEvent) bool {
	to, ok := resourceMoves[r.state][e]
	if !ok {
		return false
	}
	if to != r.state {
		r.emit("cluster/resource", "", sim.S("from", r.state.String()), sim.S("to", to.String()))
		r.state = to
		r.group.tell()
	}
	if to != ResourceOnline {
		r.run++ // its monitor is out of date
	}
	return true
}

// dependents lists the resources that depend on r.
func (r *Resource) dependents() []*Resource {
	var out []*Resource
	for _, o := range r.group.resources {
		if slices.Contains(o.dependsOn, r) {
			out = append(out, o)
		}
	}
	return out
}

// above lists the resources that depend on r, also by way of others, bottom up.
func (r *Resource) above() []*Resource {
	var out []*Resource
	for _, o := range r.group.bottomUp() {
		for _, d := range o.dependsOn {
			if d == r || slices.Contains(out, d) {
				out = append(out, o)
				break
			}
		}
	}
	return out
}

// The points at which the cluster service asks for a fault; the object is the path
// of the owner's cluster service and the name of the resource:
// "h1/clussvc/Virtual%20Machine%20db".
const (
	PointOnline  sim.Point = "cluster/online"  // before a resource is brought online
	PointOffline sim.Point = "cluster/offline" // before one is taken offline
)

// FaultPoints lists the fault points of this package.
func FaultPoints() []sim.FaultPoint {
	failed := sim.Outcome{Err: ErrResourceFailed.HRESULT()}
	slow := sim.Outcome{Delay: 20 * time.Minute}
	dies := sim.Outcome{Kill: "."} // the cluster service
	return []sim.FaultPoint{
		{Point: PointOnline, Doc: "a resource is about to be brought online", Outcomes: []sim.Outcome{failed, slow, dies}},
		{Point: PointOffline, Doc: "a resource is about to be taken offline", Outcomes: []sim.Outcome{failed, slow, dies}},
	}
}

// bringOnline brings r online, after what it depends on. If that fails it says
// which of them has failed. The caller has the group locked.
func (r *Resource) bringOnline(ctx context.Context) (failed *Resource, err error) {
	if r.state == ResourceOnline {
		return nil, nil
	}
	for _, d := range r.dependsOn {
		if failed, err := d.bringOnline(ctx); err != nil {
			return failed, err
		}
	}
	if !r.step(EventOnline) {
		return r, &Error{Op: "Online", On: r.name, Node: r.group.owner.name, Err: ErrInvalidState}
	}
	err = r.work(ctx, "Online", PointOnline, r.kind.Online)
	switch {
	case sim.Dead(ctx):
		return r, sim.ErrDead
	case err != nil:
		r.fail(ctx, err)
		return r, err
	}
	r.behind, r.err = false, nil
	r.step(EventDone)
	r.watch()
	return nil, nil
}

// takeOffline takes r offline, after what depends on it. One that does not go is
// terminated. The caller has the group locked.
func (r *Resource) takeOffline(ctx context.Context) error {
	for _, d := range r.dependents() {
		if err := d.takeOffline(ctx); err != nil {
			return err
		}
	}
	if r.state == ResourceOffline {
		return nil
	}
	if !r.step(EventOffline) {
		return &Error{Op: "Offline", On: r.name, Node: r.group.owner.name, Err: ErrInvalidState}
	}
	err := r.work(ctx, "Offline", PointOffline, r.kind.Offline)
	if sim.Dead(ctx) {
		return sim.ErrDead
	}
	if err != nil {
		r.emit("cluster/terminate", "", sim.S("because", err.Error()))
		r.kind.Terminate(ctx, r.group.owner)
		if sim.Dead(ctx) {
			return sim.ErrDead
		}
	}
	r.step(EventDone)
	return nil
}

// work runs a step of the resource's type under the pending time-out.
func (r *Resource) work(ctx context.Context, op string, point sim.Point, fn func(context.Context, *Node) error) error {
	n := r.group.owner
	limited, cancel := sim.WithTimeout(ctx, r.props.PendingTimeout)
	defer cancel()
	err := sim.AtOn(limited, point, n.actor.Path()+"/"+r.name)
	if err == nil {
		err = fn(limited, n)
	}
	if limited.Err() != nil && ctx.Err() == nil {
		err = ErrTimeout
	}
	if err != nil {
		return &Error{Op: op, On: r.name, Node: n.name, Err: err}
	}
	return nil
}

// fail makes r a failed resource: event 1069. A change behind the cluster's back
// is seen as a failure too (R62).
func (r *Resource) fail(ctx context.Context, cause error) {
	rule := ""
	if r.behind {
		rule = "R62"
	}
	r.err = cause
	r.emit("cluster/event", rule, sim.N("id", eventResourceFailed), sim.S("because", cause.Error()))
	r.step(EventFail) // first: what Terminate does is no news
	r.kind.Terminate(ctx, r.group.owner)
}

// Online brings the resource online, with what it depends on, and has the cluster
// keep it so. A resource that fails on the way is treated as any failure; the
// error is the first one.
func (r *Resource) Online(ctx context.Context) error {
	return r.group.with(ctx, "Online", func(ctx context.Context) error {
		if !r.there() {
			return &Error{Op: "Online", On: r.name, Node: r.group.owner.name, Err: ErrResourceNotFound}
		}
		r.wish()
		failed, err := r.bringOnline(ctx)
		if err != nil && !sim.Dead(ctx) && failed.state == ResourceFailed {
			_ = failed.react(ctx, err)
		}
		return err
	})
}

// wish makes the resource, and what it depends on, one that is to be online.
func (r *Resource) wish() {
	r.want = true
	for _, d := range r.dependsOn {
		d.wish()
	}
}

// Offline takes the resource offline, with what depends on it, and has the cluster
// leave it so.
func (r *Resource) Offline(ctx context.Context) error {
	return r.group.with(ctx, "Offline", func(ctx context.Context) error {
		r.renounce()
		return r.takeOffline(ctx)
	})
}

func (r *Resource) renounce() {
	r.want = false
	for _, d := range r.dependents() {
		d.renounce()
	}
}

// Online brings every resource of the group online.
func (g *Group) Online(ctx context.Context) error {
	return g.with(ctx, "Online", func(ctx context.Context) error {
		for _, r := range g.resources {
			r.want = true
		}
		return g.bringUp(ctx)
	})
}

// Offline takes every resource of the group offline.
func (g *Group) Offline(ctx context.Context) error {
	return g.with(ctx, "Offline", func(ctx context.Context) error {
		for _, r := range g.resources {
			r.want = false
		}
		return g.takeDown(ctx)
	})
}
