package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A VM is a virtual machine that the cluster keeps highly available: a Virtual
// Machine resource, and the Virtual Machine Configuration resource that it depends
// on.
type VM struct {
	id      [16]byte
	name    string
	path    string // of the configuration file (VmStoreRootPath)
	cluster *Cluster
	machine *Resource
	config  *Resource
	action  OfflineAction
	next    *OfflineAction
	beat    bool

	migration Migration
	cancel    func() // ends the live migration that is under way, or nil
}

// A Migration is how the latest live migration of a machine stands (MigrationState and
// MigrationFailureReason of its resource).
type Migration struct {
	To       string // node, or "" if there was none
	UnderWay bool
	Err      error // why it failed, or nil
}

// Migration is how the latest live migration stands.
func (vm *VM) Migration() Migration { return vm.migration }

// CancelMigration ends a live migration that is under way
// (CLUSCTL_RESOURCE_VM_CANCEL_MIGRATION): the machine goes on where it is, and whoever
// moves it gets [ErrCancelled]. Without one it is [ErrInvalidState].
func (vm *VM) CancelMigration() error {
	if vm.cancel == nil {
		return &Error{Op: "CancelMigration", On: vm.name, Node: vm.Owner().name, Err: ErrInvalidState}
	}
	vm.cancel()
	return nil
}

// A VMConfig says which machine is to be highly available. Name, Node, ID and Path
// describe it as it is on its host now; [Describe] fills them in. The rest may be
// left zero.
type VMConfig struct {
	Name string
	Node string
	ID   [16]byte
	Path string // of the configuration file, on a shared volume

	Group           string      // an existing group on the node, or a new one; named after the machine if empty
	Disks           []*Resource // of the group, that the machine depends on
	OfflineAction   *OfflineAction
	CheckHeartbeat  bool
	Properties      *ResourceProperties // of both resources
	GroupProperties *GroupProperties    // of a new group
}

// Describe fills in what a host knows of one of its machines.
func Describe(vm *hyperv.VM) VMConfig {
	return VMConfig{Name: vm.Name(), Node: vm.Host().Name(), ID: vm.ID(), Path: vm.ConfigurationPath()}
}

// AddVM makes a machine highly available, as it is: its configuration resource is
// online, and its machine resource is if it runs.
func (c *Cluster) AddVM(ctx context.Context, v VMConfig) (*VM, error) {
	n, err := c.node("AddVM", v.Node)
	if err != nil {
		return nil, err
	}
	state, err := n.host.State(ctx, v.ID)
	if err != nil {
		return nil, &Error{Op: "AddVM", On: v.Name, Node: v.Node, Err: err}
	}
	g, err := c.groupFor(v)
	if err != nil {
		return nil, err
	}
	vm := &VM{cluster: c, id: v.ID, name: v.Name, path: v.Path, action: Save, beat: v.CheckHeartbeat}
	if v.OfflineAction != nil {
		vm.action = *v.OfflineAction
	}
	vm.config, err = g.AddResource(ResourceConfig{
		Name: "Virtual Machine Configuration " + v.Name, Type: configType{vm}, DependsOn: v.Disks, Properties: v.Properties,
	})
	if err != nil {
		return nil, err
	}
	vm.machine, err = g.AddResource(ResourceConfig{
		Name: "Virtual Machine " + v.Name, Type: machineType{vm}, DependsOn: []*Resource{vm.config}, Properties: v.Properties,
	})
	if err != nil {
		return nil, err
	}
	if VMResourceState(state) == ResourceOnline {
		return vm, vm.machine.Online(ctx)
	}
	return vm, vm.config.Online(ctx)
}

// groupFor finds the group for a machine, or makes it.
func (c *Cluster) groupFor(v VMConfig) (*Group, error) {
	name := v.Group
	if name == "" {
		name = v.Name
	}
	g := c.Group(name)
	if g == nil {
		return c.AddGroup(name, v.Node, v.GroupProperties)
	}
	if g.owner.name != v.Node {
		return nil, &Error{Op: "AddVM", On: v.Name, Node: v.Node, Err: ErrInvalidParameter}
	}
	return g, nil
}

// VMs lists the machines in the order of their groups and resources.
func (c *Cluster) VMs() []*VM {
	var out []*VM
	for _, g := range c.groups {
		for _, r := range g.resources {
			if t, ok := r.kind.(machineType); ok {
				out = append(out, t.vm)
			}
		}
	}
	return out
}

// VM finds a machine by name, or returns nil.
func (c *Cluster) VM(name string) *VM {
	for _, vm := range c.VMs() {
		if vm.name == name {
			return vm
		}
	}
	return nil
}

// ID is the machine's GUID.
func (vm *VM) ID() [16]byte { return vm.id }

// Name is the machine's name.
func (vm *VM) Name() string { return vm.name }

// Path is where the configuration resource expects the configuration file.
func (vm *VM) Path() string { return vm.path }

// SetPath tells the configuration resource that the file has moved.
func (vm *VM) SetPath(path string) { vm.path = path }

// Resource is the Virtual Machine resource.
func (vm *VM) Resource() *Resource { return vm.machine }

// Configuration is the Virtual Machine Configuration resource.
func (vm *VM) Configuration() *Resource { return vm.config }

// Group is the group of both.
func (vm *VM) Group() *Group { return vm.machine.group }

// Owner is the node that has the machine.
func (vm *VM) Owner() *Node { return vm.machine.group.owner }

// SetOfflineAction sets what every intended offline does to the machine.
func (vm *VM) SetOfflineAction(a OfflineAction) { vm.action = a }

// SetNextOfflineAction sets it for the next offline alone
// (CLUSCTL_RESOURCE_VM_SET_NEXT_OFFLINE_ACTION).
func (vm *VM) SetNextOfflineAction(a OfflineAction) { vm.next = &a }

func (vm *VM) takeAction() OfflineAction {
	if a := vm.next; a != nil {
		vm.next = nil
		return *a
	}
	return vm.action
}

// VMResourceState is the state of a Virtual Machine resource as the machine's own
// state makes it.
func VMResourceState(s hyperv.State) ResourceState {
	if r, ok := vmStates[s]; ok {
		return r
	}
	return ResourceFailed // paused-critical, among others
}

var vmStates = map[hyperv.State]ResourceState{
	hyperv.StateOff:          ResourceOffline,
	hyperv.StateSaved:        ResourceOffline,
	hyperv.StateStarting:     ResourceOnlinePending,
	hyperv.StateStopping:     ResourceOfflinePending,
	hyperv.StateSaving:       ResourceOfflinePending,
	hyperv.StateRunning:      ResourceOnline,
	hyperv.StatePaused:       ResourceOnline,
	hyperv.StatePausing:      ResourceOnline,
	hyperv.StateResuming:     ResourceOnline,
	hyperv.StateSnapshotting: ResourceOnline,
}

// configType works on Virtual Machine Configuration resources.
type configType struct{ vm *VM }

func (configType) TypeName() string { return "Virtual Machine Configuration" }

// Online registers the machine on the node.
func (t configType) Online(ctx context.Context, n *Node) error {
	id, err := n.host.Register(ctx, t.vm.path)
	if err == nil && id != t.vm.id {
		err = fmt.Errorf("%s describes another machine: %w", t.vm.path, ErrInvalidState)
	}
	return err
}

// Offline ends the registration and leaves the files.
func (t configType) Offline(ctx context.Context, n *Node) error {
	return n.host.Unregister(ctx, t.vm.id)
}

func (t configType) Terminate(ctx context.Context, n *Node) {
	if err := n.host.Unregister(ctx, t.vm.id); errors.Is(err, hyperv.ErrInvalidState) && !sim.Dead(ctx) {
		_ = n.host.Stop(ctx, t.vm.id, TurnOff)
		_ = n.host.Unregister(ctx, t.vm.id)
	}
}

func (t configType) LooksAlive(ctx context.Context, n *Node) error { return t.IsAlive(ctx, n) }

func (t configType) IsAlive(ctx context.Context, n *Node) error {
	_, err := n.host.State(ctx, t.vm.id)
	return err
}

// machineType works on Virtual Machine resources.
type machineType struct{ vm *VM }

func (machineType) TypeName() string { return "Virtual Machine" }

func (t machineType) Online(ctx context.Context, n *Node) error {
	return n.host.Start(ctx, t.vm.id)
}

func (t machineType) Offline(ctx context.Context, n *Node) error {
	a := t.vm.takeAction()
	n.actor.Emit("cluster/offline-action", "", sim.S("vm", t.vm.name), sim.S("action", a.String()))
	err := n.host.Stop(ctx, t.vm.id, a)
	if errors.Is(err, hyperv.ErrNotFound) {
		return nil
	}
	return err
}

// Terminate turns off a machine that still executes. A saved one keeps its state.
func (t machineType) Terminate(ctx context.Context, n *Node) {
	s, err := n.host.State(ctx, t.vm.id)
	if err == nil && (s == hyperv.StateRunning || s == hyperv.StatePaused || s.Critical()) {
		_ = n.host.Stop(ctx, t.vm.id, TurnOff)
	}
}

func (t machineType) LooksAlive(ctx context.Context, n *Node) error { return t.IsAlive(ctx, n) }

func (t machineType) IsAlive(ctx context.Context, n *Node) error {
	if err := t.state(ctx, n); err != nil {
		return err
	}
	if heart, ok := n.host.(Heart); ok && t.vm.beat && !heart.Heartbeat(ctx, t.vm.id) {
		return errNoHeartbeat
	}
	return nil
}

var errNoHeartbeat = errors.New("the guest's heartbeat is missing")

// state compares the machine with its resource, which is online.
func (t machineType) state(ctx context.Context, n *Node) error {
	s, err := n.host.State(ctx, t.vm.id)
	if err != nil {
		return err
	}
	if r := VMResourceState(s); r != ResourceOnline && r != ResourceOnlinePending {
		return fmt.Errorf("the machine is %v: %w", s, ErrResourceNotOnline)
	}
	return nil
}

// noticed is what a host tells about one of its machines. What the cluster was not
// asked for goes to the trace (R60, R61); whether the cluster finds out is another
// matter.
func (c *Cluster) noticed(n *Node, s hyperv.StateChange) {
	for _, vm := range c.VMs() {
		g := vm.Group()
		if vm.id != s.ID || g.owner != n || g.moving {
			continue
		}
		rule := ""
		switch s.To {
		case hyperv.StateSaving:
			rule = "R60"
		case hyperv.StateStopping, 0:
			rule = "R61"
		}
		if s.To == 0 && vm.config.state == ResourceOnline {
			vm.config.behind = true
		}
		if vm.machine.state != ResourceOnline {
			continue
		}
		if rule != "" && !vm.machine.behind {
			vm.machine.behind = true
			n.actor.Emit("cluster/unaware", rule, sim.S("vm", vm.name), sim.S("from", s.From.String()), sim.S("to", stateName(s.To)))
		}
		if c.config.Detection == Notify && n.up() {
			vm.machine.look(n)
		}
	}
}

func stateName(s hyperv.State) string {
	if s == 0 {
		return "not registered"
	}
	return s.String()
}

// look checks a resource out of turn.
func (r *Resource) look(n *Node) {
	run := r.run
	n.actor.Go("notice about "+r.name, func(ctx context.Context) error {
		if r.run != run {
			return nil
		}
		if err := r.kind.IsAlive(ctx, n); err != nil && !sim.Dead(ctx) {
			r.report(run, err)
		}
		return nil
	})
}
