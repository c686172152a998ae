package cluster

import (
	"context"
	"fmt"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// diskResource is a Physical Disk: a shared volume that one node has at a time.
type diskResource struct {
	cluster *Cluster
	volume  *hyperv.SharedVolume
}

// AddDisk adds a Physical Disk resource for a shared volume, which has a drive
// letter, to a group. It is offline, and no node has the volume.
func (g *Group) AddDisk(v *hyperv.SharedVolume, p *ResourceProperties) (*Resource, error) {
	name := "Cluster Disk " + v.Letter() + ":"
	if v.Letter() == "" {
		return nil, &Error{Op: "CreateResource", On: name, Err: ErrInvalidParameter}
	}
	for _, d := range g.cluster.disks {
		if d.volume == v {
			return nil, &Error{Op: "CreateResource", On: name, Err: ErrObjectAlreadyExists}
		}
	}
	d := &diskResource{g.cluster, v}
	r, err := g.AddResource(ResourceConfig{Name: name, Type: d, Properties: p})
	if err == nil {
		g.cluster.disks = append(g.cluster.disks, d)
	}
	return r, err
}

func (d *diskResource) TypeName() string { return "Physical Disk" }

// Online mounts the volume, unless another node still has it.
func (d *diskResource) Online(_ context.Context, n *Node) error {
	for _, o := range d.cluster.nodes {
		if o != n && o.host.Mounted(d.volume) {
			return fmt.Errorf("%s still has the volume: %w", o.name, ErrInvalidState)
		}
	}
	return n.host.Mount(hyperv.Mount{Volume: d.volume})
}

func (d *diskResource) Offline(_ context.Context, n *Node) error {
	d.cluster.unmount(n, d.volume, nil)
	return nil
}

func (d *diskResource) Terminate(_ context.Context, n *Node) { d.cluster.unmount(n, d.volume, nil) }

func (d *diskResource) LooksAlive(ctx context.Context, n *Node) error { return d.IsAlive(ctx, n) }

func (d *diskResource) IsAlive(_ context.Context, n *Node) error {
	if !n.host.Mounted(d.volume) {
		return fmt.Errorf("%s does not have the volume: %w", n.name, ErrResourceNotOnline)
	}
	return nil
}

// An orphan is a shadow copy on a shared volume whose node is gone.
type orphan struct {
	volume *hyperv.SharedVolume
	id     [16]byte
	node   string
}

// unmount takes a volume from a node. The shadow copies that the node has taken
// are lost with it, but on a Cluster Shared Volume from Windows Server 2012 on,
// where they leak.
func (c *Cluster) unmount(n *Node, v *hyperv.SharedVolume, csv *SharedVolume) {
	for _, id := range n.host.Unmount(v) {
		if csv != nil && c.config.Version >= W2012 {
			c.orphans = append(c.orphans, orphan{v, id, n.name})
			c.emit(nil, "cluster/shadow-leaked", "", sim.S("volume", c.nameOf(v)), sim.S("node", n.name), sim.S("shadow", guid.String(id)))
			continue
		}
		if v.DeleteShadow(id) == nil {
			c.emit(nil, "cluster/shadow-lost", "", sim.S("volume", c.nameOf(v)), sim.S("node", n.name), sim.S("shadow", guid.String(id)))
		}
	}
}

// RemoveOrphans deletes the shadow copies that nodes have left on shared volumes
// when they died, as an administrator does.
func (c *Cluster) RemoveOrphans() error {
	left := c.leaked()
	c.orphans = nil
	for _, o := range left {
		if err := o.volume.DeleteShadow(o.id); err != nil {
			c.orphans = append(c.orphans, o)
		}
	}
	if len(c.orphans) > 0 {
		return &Error{Op: "RemoveOrphans", On: c.nameOf(c.orphans[0].volume), Err: ErrInvalidState}
	}
	return nil
}

// nameOf is what the nodes call a volume.
func (c *Cluster) nameOf(v *hyperv.SharedVolume) string {
	for _, csv := range c.volumes {
		if csv.volume == v {
			return csv.name()
		}
	}
	return v.Letter() + ":"
}

// leaked lists the orphans that are still there.
func (c *Cluster) leaked() []orphan {
	var out []orphan
	for _, o := range c.orphans {
		for _, id := range o.volume.Shadows() {
			if id == o.id {
				out = append(out, o)
			}
		}
	}
	return out
}
