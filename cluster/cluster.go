package cluster

import (
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Config says what a cluster is made of. All but Nodes may be left zero.
type Config struct {
	Nodes   []NodeConfig // ids from 1 in this order
	Version Version
	// Witness is one vote more, that of a disk or file share which the nodes that
	// are up have.
	Witness   bool
	Detection Detection
	// HeartbeatTimeout is how long a node may be silent before the others take it
	// for dead; [DefaultHeartbeatTimeout] if zero.
	HeartbeatTimeout time.Duration
}

// DefaultHeartbeatTimeout is five missed heartbeats, one a second.
const DefaultHeartbeatTimeout = 5 * time.Second

// A NodeConfig is a node of a new cluster.
type NodeConfig struct {
	Name string
	Host Host
}

// A Cluster is a failover cluster. What is known of groups and resources is the
// cluster's common knowledge; every step is taken by a process of some node's
// cluster service, and ends with the node.
type Cluster struct {
	world   *sim.World
	config  Config
	nodes   []*Node
	groups  []*Group
	volumes []*SharedVolume
	disks   []*diskResource
	lost    bool
	orphans []orphan
	split   *split     // of the network, or nil
	wire    *sim.Actor // the network
}

// New forms a cluster of nodes that are up.
func New(w *sim.World, c Config) (*Cluster, error) {
	if len(c.Nodes) == 0 {
		return nil, &Error{Op: "New", Err: ErrInvalidParameter}
	}
	if c.HeartbeatTimeout <= 0 {
		c.HeartbeatTimeout = DefaultHeartbeatTimeout
	}
	cl := &Cluster{world: w, config: c}
	for i, nc := range c.Nodes {
		if nc.Host == nil || nc.Name == "" || cl.Node(nc.Name) != nil {
			return nil, &Error{Op: "New", On: nc.Name, Err: ErrInvalidParameter}
		}
		cl.nodes = append(cl.nodes, &Node{cluster: cl, id: i + 1, name: nc.Name, state: NodeDown})
	}
	for i, n := range cl.nodes {
		n.attach(c.Nodes[i].Host)
		n.state = NodeUp
	}
	for _, n := range cl.nodes {
		n.watchOthers()
	}
	return cl, nil
}

// World is the world the cluster lives in.
func (c *Cluster) World() *sim.World { return c.world }

// Nodes lists the nodes in the order of their ids.
func (c *Cluster) Nodes() []*Node { return slices.Clone(c.nodes) }

// Node finds a node by name, or returns nil.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

func (c *Cluster) node(op, name string) (*Node, error) {
	if n := c.Node(name); n != nil {
		return n, nil
	}
	return nil, &Error{Op: op, On: name, Err: ErrNodeNotFound}
}

// Groups lists the groups in the order they were made.
func (c *Cluster) Groups() []*Group { return slices.Clone(c.groups) }

// Group finds a group by name, or returns nil.
func (c *Cluster) Group(name string) *Group {
	for _, g := range c.groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

// Resource finds a resource by name, or returns nil.
func (c *Cluster) Resource(name string) *Resource {
	for _, g := range c.groups {
		for _, r := range g.resources {
			if r.name == name {
				return r
			}
		}
	}
	return nil
}

// An event number of the failover cluster in the system event log.
const (
	eventResourceFailed  = 1069
	eventNodeRemoved     = 1135
	eventServiceStopped  = 1177 // quorum was lost
	eventGroupFailed     = 1205
	eventFailoverLimit   = 1254
	eventVolumePaused    = 5120
	eventMigrationFailed = 21502
)

// leftover is something for the audit.
func leftover(on, what string, err error) hyperv.Leftover {
	return hyperv.Leftover{On: on, What: what, Err: err}
}
