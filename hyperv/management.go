package hyperv

import (
	"context"
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/guest"
)

// Management is what stands between the Hyper-V writer and the machines: the
// virtual machine management of a host. A [Host] has one of its own; give
// another to [NewWriter] to try the writer on a management of yours.
//
// Every method waits until the work is done. Errors should wrap a [Code] or
// carry an HRESULT; the writer passes it on. A machine that is not registered is
// [ErrNotFound], one whose state does not allow the call [ErrInvalidState]. A call
// ends early, with the context's error, when its context ends; what it began may go
// on. Package hypervtest has a kit that tries all of this.
type Management interface {
	Inventory
	Control
	Registry
}

// Inventory tells which machines there are, and keeps operations apart.
type Inventory interface {
	// Machines lists the registered machines in the order they were created.
	Machines(ctx context.Context) ([]Machine, error)
	// Machine describes one machine.
	Machine(ctx context.Context, id [16]byte) (Machine, error)
	// Lock takes a machine for an operation; [ErrInUse] if another has it.
	Lock(ctx context.Context, id [16]byte, operation string) error
	// Unlock gives it back. Without a lock it does nothing.
	Unlock(ctx context.Context, id [16]byte) error
}

// Control changes what machines do.
type Control interface {
	// Save puts a running or paused machine into the saved state. On failure the
	// machine does what it did before.
	Save(ctx context.Context, id [16]byte) error
	// Restore brings a saved machine back to running or paused. One that is not
	// saved, when whatever it is at has ended, is [ErrInvalidState].
	Restore(ctx context.Context, id [16]byte, to State) error
	// TurnOff stops a machine without a word to its guest; a saved state is
	// discarded. Turning off a machine that is off is harmless.
	TurnOff(ctx context.Context, id [16]byte) error
	// Requestor is the backup service inside the guest; [guest.ErrNotRunning] if the
	// host does not offer it.
	Requestor(ctx context.Context, id [16]byte) (guest.Requestor, error)
	// DropSnapshots deletes snapshots that the guest took from the machine's live
	// disks. One that is gone already is no error. Without any it deletes what a
	// guest has left that died before it could tell; of a machine that executes
	// nothing.
	DropSnapshots(ctx context.Context, id [16]byte, copies []guest.Copy) error
}

// Registry adds and removes machines.
type Registry interface {
	// Delete removes the registration of a machine that is off, its
	// configuration file, its saved state and its ports. VHD files stay. One that
	// an operation holds is [ErrInUse].
	Delete(ctx context.Context, id [16]byte) error
	// Register adds the machine that a configuration file describes. It is saved
	// if there is a saved state beside the file, and off otherwise. A file that
	// is not in the default location gets a link there.
	Register(ctx context.Context, path string) (Machine, error)
	// Configure changes the configuration of a machine that does not execute.
	Configure(ctx context.Context, id [16]byte, c *Configuration) error
	// Connect makes a new port on a switch for a machine's adapter, and
	// configures it. A switch that does not exist is [ErrNotFound]; a zero one
	// disconnects the adapter.
	Connect(ctx context.Context, id [16]byte, adapter int, to [16]byte) error
}

// A Machine is a machine as management describes it.
type Machine struct {
	ID            [16]byte
	State         State
	Path          string // of the configuration file
	Configuration *Configuration
	Facts         Facts
	Parents       []string // files that its differencing VHDs stand on, and disks of its checkpoints, each once
	Checkpoints   []string // configuration files of its checkpoints
	Broken        error    // why the configuration file is no good any more, or nil
	LockedBy      string   // the operation that holds the machine, or ""
}

// Name is the name people know the machine by.
func (m Machine) Name() string { return m.Configuration.Name }

// files lists the disks of the machine, what they stand on, and the configuration
// files of its checkpoints last.
func (m Machine) files() []string {
	disks := m.Configuration.VHDPaths()
	return append(append(disks[:len(disks):len(disks)], m.Parents...), m.Checkpoints...)
}

// hostManagement is the management of a host in memory. Each call does its work
// in the machine's own process, one at a time: an operation goes on if the
// service that asked for it dies.
type hostManagement struct{ host *Host }

var _ Management = hostManagement{}

// Management is the host's virtual machine management.
func (h *Host) Management() Management { return hostManagement{h} }

func (m hostManagement) vm(op string, id [16]byte) (*VM, error) {
	if vm := m.host.byID[id]; vm != nil {
		return vm, nil
	}
	return nil, notRegistered(op, id)
}

func (vm *VM) describe() Machine {
	disks := vm.config.VHDPaths()
	parents := vm.parents(disks)
	return Machine{
		ID:            vm.ID(),
		State:         vm.state,
		Path:          vm.path,
		Configuration: vm.config.clone(),
		Facts:         vm.facts(disks, parents),
		Parents:       parents,
		Checkpoints:   vm.checkpointPaths(),
		Broken:        vm.broken(disks),
		LockedBy:      vm.LockedBy(),
	}
}

func (m hostManagement) Machines(context.Context) ([]Machine, error) {
	out := make([]Machine, len(m.host.vms))
	for i, vm := range m.host.vms {
		out[i] = vm.describe()
	}
	return out, nil
}

func (m hostManagement) Machine(_ context.Context, id [16]byte) (Machine, error) {
	vm, err := m.vm("Machine", id)
	if err != nil {
		return Machine{}, err
	}
	return vm.describe(), nil
}

func (m hostManagement) Lock(_ context.Context, id [16]byte, operation string) error {
	vm, err := m.vm("Lock", id)
	if err != nil {
		return err
	}
	return vm.Lock(operation)
}

func (m hostManagement) Unlock(_ context.Context, id [16]byte) error {
	if vm := m.host.byID[id]; vm != nil {
		vm.Unlock()
	}
	return nil
}

func (m hostManagement) Save(ctx context.Context, id [16]byte) error {
	vm, err := m.vm("Save", id)
	if err != nil {
		return err
	}
	return vm.Save(ctx)
}

func (m hostManagement) Restore(ctx context.Context, id [16]byte, to State) error {
	vm, err := m.vm("Restore", id)
	if err != nil {
		return err
	}
	return vm.restore(ctx, to)
}

func (m hostManagement) TurnOff(ctx context.Context, id [16]byte) error {
	vm, err := m.vm("TurnOff", id)
	if err != nil {
		return err
	}
	err = vm.TurnOff(ctx)
	if errors.Is(err, ErrInvalidState) && vm.state == StateOff {
		return nil
	}
	return err
}

func (m hostManagement) Requestor(_ context.Context, id [16]byte) (guest.Requestor, error) {
	vm, err := m.vm("Requestor", id)
	if err != nil {
		return nil, err
	}
	g := vm.Guest()
	if g == nil {
		return nil, &Error{Op: "Requestor", On: vm.Name(), State: vm.state, Err: ErrInvalidState}
	}
	if !vm.config.BackupOffered { // the guest cannot be reached
		err := fmt.Errorf("%w: it is not offered to the machine", guest.ErrNotRunning)
		return nil, &Error{Op: "Requestor", On: vm.Name(), State: vm.state, Err: err}
	}
	return g.Requestor()
}

func (m hostManagement) DropSnapshots(ctx context.Context, id [16]byte, copies []guest.Copy) error {
	vm, err := m.vm("DropSnapshots", id)
	if err != nil {
		return err
	}
	return vm.dropSnapshots(ctx, copies)
}

func (m hostManagement) Delete(ctx context.Context, id [16]byte) error {
	vm, err := m.vm("Delete", id)
	if err != nil {
		return err
	}
	return vm.deleteFor(ctx, "R45")
}

func (m hostManagement) Register(ctx context.Context, path string) (Machine, error) {
	vm, err := m.host.registerFor(ctx, path, ofRestore)
	if err != nil {
		return Machine{}, err
	}
	return vm.describe(), nil
}

func (m hostManagement) Configure(ctx context.Context, id [16]byte, c *Configuration) error {
	vm, err := m.vm("Configure", id)
	if err != nil {
		return err
	}
	return vm.Configure(ctx, c)
}

func (m hostManagement) Connect(ctx context.Context, id [16]byte, adapter int, to [16]byte) error {
	vm, err := m.vm("Connect", id)
	if err != nil {
		return err
	}
	return vm.Connect(ctx, adapter, to)
}
