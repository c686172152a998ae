package cluster

import (
	"context"
	"slices"
)

// Delete takes a resource that is offline or has failed out of the cluster
// (DeleteClusterResource). What it stood for stays as it is: a machine that is
// registered remains on its node, and the cluster no longer looks after it. One that
// is online or on its way is [ErrResourceOnline], one that others depend on
// [ErrDependentResourceExists].
func (r *Resource) Delete(ctx context.Context) error {
	return r.group.with(ctx, "DeleteResource", func(context.Context) error {
		if err := r.mayGo(); err != nil {
			return &Error{Op: "DeleteResource", On: r.name, Node: r.group.owner.name, Err: err}
		}
		r.remove()
		return nil
	})
}

func (r *Resource) mayGo() error {
	switch {
	case !r.there():
		return ErrResourceNotFound
	case r.state != ResourceOffline && r.state != ResourceFailed:
		return ErrResourceOnline
	case len(r.dependents()) > 0:
		return ErrDependentResourceExists
	}
	return nil
}

func (r *Resource) remove() {
	r.emit("cluster/delete", "")
	r.run++ // a retry that waits is out of date
	r.want = false
	g := r.group
	g.resources = slices.DeleteFunc(slices.Clone(g.resources), func(o *Resource) bool { return o == r })
	g.tell()
}

// Delete takes a group out of the cluster, with its resources
// (DestroyClusterGroup). If one of them is online or on its way nothing is deleted.
func (g *Group) Delete(ctx context.Context) error {
	return g.with(ctx, "DestroyGroup", func(context.Context) error {
		fails := func(err error) error { return &Error{Op: "DestroyGroup", On: g.name, Node: g.owner.name, Err: err} }
		for _, r := range g.resources {
			if r.state != ResourceOffline && r.state != ResourceFailed {
				return fails(&Error{Op: "DeleteResource", On: r.name, Err: ErrResourceOnline})
			}
		}
		for _, r := range g.topDown() {
			r.remove()
		}
		g.cluster.groups = slices.DeleteFunc(slices.Clone(g.cluster.groups), func(o *Group) bool { return o == g })
		return nil
	})
}
