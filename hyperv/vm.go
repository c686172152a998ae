package hyperv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A VM is a virtual machine that is registered on a host. What it is stands in
// its configuration file and on its disks; the VM is what the management
// service knows of it while it is registered.
type VM struct {
	host    *Host
	actor   *sim.Actor // of the machine's worker process
	config  *Configuration
	path    string // of the configuration file
	state   State
	lock    string // the operation that holds the machine, or ""
	moving  *Host  // where it is on its way to, or nil
	loss    *loss  // what its worker process is in the middle of, or nil
	busy    sim.Mutex
	disks   []attachedDisk // while it executes
	machine *guest.Machine // while it executes
	frozen  *disk.Memory   // memory of a machine that came back paused
	unwatch func()         // undoes the watch over frozen

	stall   *StorageError // what the machine waits for, or nil
	storage sim.Gate      // shut while it waits
	giveUp  func()        // ends the wait for the end of the guest's run, or nil

	backedUp   time.Duration // when a backup of it was complete last
	isBackedUp bool          // there was one

	mergeFailed error     // why a pending merge was not carried out
	read        fileStamp // of the configuration file, when it was read or written
}

// An attachedDisk is a disk of a machine that executes.
type attachedDisk struct {
	drive Drive
	kind  guest.DiskKind
	guest.Disk
	vhd *vhdDisk // nil for one that is no file
}

// ID is the machine's GUID.
func (vm *VM) ID() [16]byte { return vm.config.ID }

// Name is the name people know the machine by.
func (vm *VM) Name() string { return vm.config.Name }

// Host is where the machine is registered.
func (vm *VM) Host() *Host { return vm.host }

// State is what the machine is doing.
func (vm *VM) State() State { return vm.state }

// Configuration is a copy of the machine's configuration.
func (vm *VM) Configuration() *Configuration { return vm.config.clone() }

// ConfigurationPath is where the configuration file is.
func (vm *VM) ConfigurationPath() string { return vm.path }

// LockedBy names the operation that holds the machine, or is "".
func (vm *VM) LockedBy() string {
	if vm.lock == "" && vm.moving != nil {
		return "migration to " + vm.moving.name
	}
	return vm.lock
}

// Guest is the operating system inside while it runs, and nil otherwise.
func (vm *VM) Guest() *guest.Machine {
	if vm.state != StateRunning {
		return nil
	}
	return vm.machine
}

func (vm *VM) files() files { return filesOf(vm.path, vm.config.ID) }

// linked tells whether the machine's configuration is somewhere else than in
// the default location, so that a link leads to it (R52).
func (h *Host) linked(path string, id [16]byte) bool {
	return !volume.Equal(path, h.defaultConfig(id))
}

// LastSuccessfulBackupTime is when a requester last told, with BackupComplete, that
// it has all files of the machine safe: virtual time since the world began. There is
// none, until the next, for a machine that was registered anew or whose host ended
// since. A requester that works without components vouches for no machine.
func (vm *VM) LastSuccessfulBackupTime() (at time.Duration, ok bool) {
	return vm.backedUp, vm.isBackedUp
}

// Lock takes the machine for an operation such as an export, which other
// operations have to leave alone; [ErrInUse] if one has it.
func (vm *VM) Lock(operation string) error {
	if vm.lock != "" {
		return &Error{Op: "Lock", On: vm.Name(), State: vm.state, Err: vm.inUse()}
	}
	vm.lock = operation
	vm.emit("vm/lock", "", sim.S("by", operation))
	return nil
}

func (vm *VM) inUse() error { return fmt.Errorf("%w: %s", ErrInUse, vm.lock) }

// Unlock gives the machine back.
func (vm *VM) Unlock() {
	if vm.lock != "" {
		vm.emit("vm/unlock", "", sim.S("by", vm.lock))
		vm.lock = ""
		vm.mergeSoon()
	}
}

func (vm *VM) emit(kind, rule string, attrs ...sim.Attr) {
	vm.actor.Emit(kind, rule, append([]sim.Attr{sim.S("vm", vm.Name())}, attrs...)...)
}

func (vm *VM) setState(s State, rule string) {
	if s == vm.state {
		return
	}
	from := vm.state
	vm.state = s
	vm.emit("vm/state", rule, sim.S("from", from.String()), sim.S("to", s.String()))
	vm.markRunning(s)
	vm.notify(from, s)
	vm.mergeSoon()
}

// newVM makes the host's view of a machine; it is not registered yet.
func (h *Host) newVM(c *Configuration, path string) *VM {
	vm := &VM{host: h, config: c, path: path, state: StateOff}
	vm.actor = h.actor.Child(c.Name)
	vm.busy.Name = "the worker process of " + c.Name
	vm.storage = sim.Gate{Name: "the storage of " + c.Name, World: h.world}
	if h.isSaved(vm.files()) {
		vm.state = StateSaved
	}
	return vm
}

// worker is the actor of the machine's worker process; a new one if the last
// died.
func (vm *VM) worker() *sim.Actor {
	if vm.actor.Dead() {
		vm.actor = vm.host.actor.Child(vm.Name())
	}
	return vm.actor
}

// facts gathers what the decision about the machine's backup rests on.
func (vm *VM) facts(disks, parents []string) Facts {
	f := Facts{
		State:            vm.state,
		BackupOffered:    vm.config.BackupOffered,
		SnapshotLocation: vm.host.ownPath(vm.config.SnapshotRoot),
		DiskPaths:        vm.host.ownPaths(append(disks[:len(disks):len(disks)], parents...)),
		Initiators:       vm.config.Initiators,
		Folders:          vm.host.folders(),
	}
	for _, d := range vm.config.Drives {
		if d.Kind == DrivePassThrough {
			f.PassThrough = append(f.PassThrough, d.Path)
		}
	}
	if vm.host.offlineGroup != nil {
		f.OfflineGroup = vm.host.offlineGroup(vm.ID())
	}
	if m := vm.Guest(); m != nil {
		f.Guest = vm.guestFacts(m)
	}
	return f
}

// parents lists the files that the machine's differencing VHDs stand on, and the
// disks of its checkpoints with theirs, each once.
func (vm *VM) parents(disks []string) []string {
	var out []string
	add := func(paths []string) {
		for _, p := range paths {
			if !slices.ContainsFunc(out, func(q string) bool { return volume.Equal(p, q) }) {
				out = append(out, p)
			}
		}
	}
	if len(vm.disks) > 0 { // it executes
		for _, d := range vm.disks {
			if d.vhd != nil {
				add(d.vhd.paths)
			}
		}
	} else {
		for _, path := range disks {
			add(parentsOf(vm.host.live, path))
		}
	}
	list, _ := vm.Checkpoints()
	for _, c := range list {
		for _, path := range c.Disks {
			add(append([]string{path}, parentsOf(vm.host.live, path)...))
		}
	}
	return out
}

// guestFacts asks the integration services, and reads the disks' own bytes for
// what is on them.
func (vm *VM) guestFacts(m *guest.Machine) *GuestFacts {
	service := m.System().Service(guest.BackupService)
	g := &GuestFacts{
		System:      string(m.System().OS),
		Supported:   m.System().OS.Supports(guest.BackupService),
		Installed:   service.Installed,
		Running:     service.Running,
		Protocol:    true,
		Degraded:    m.BackupStatus() == guest.StatusDegraded,
		NoHotBackup: !m.HotBackup(),
		Redirected:  m.RedirectedStorage(),
	}
	if _, err := m.Requestor(); errors.Is(err, guest.ErrProtocol) {
		g.Protocol = false
	}
	var layouts []*guest.Layout
	var at []int // the place of each among the machine's disks
	for i, d := range vm.disks {
		if d.vhd == nil && !vm.host.profile.Policy.JudgeAllDisks { // not in the backup, and not for the host to see
			continue
		}
		layout, err := guest.ReadLayout(d, d.Size())
		if err != nil {
			layout = nil
		}
		layouts, at = append(layouts, layout), append(at, i)
	}
	rules := guest.Rules{ReFS: m.System().OS.ReFS() && !vm.host.profile.Policy.NTFSOnly}
	g.Disks = guest.Judge(rules, layouts...)
	for i := range g.Disks {
		g.Disks[i].Disk = at[g.Disks[i].Disk]
	}
	return g
}

// Decide tells how the writer would back the machine up as things stand, and
// why not by a snapshot inside the child (R4, R10).
func (vm *VM) Decide() Decision {
	disks := vm.config.VHDPaths()
	return vm.host.profile.Decide(vm.facts(disks, vm.parents(disks)))
}

// call runs fn in the machine's worker process, one operation at a time. A
// machine that was deleted is [ErrNotFound].
func (vm *VM) call(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	if err := vm.registered(name); err != nil {
		return err
	}
	return vm.worker().Call(ctx, name, func(ctx context.Context) error {
		if err := vm.busy.Lock(ctx); err != nil {
			return err
		}
		defer vm.busy.Unlock()
		if err := vm.registered(name); err != nil {
			return err
		}
		vm.settleDeaths()
		return fn(ctx)
	})
}

func (vm *VM) registered(op string) error {
	if vm.host.byID[vm.ID()] != vm {
		return &Error{Op: op, On: vm.Name(), Err: ErrNotFound}
	}
	return nil
}

// String names the machine with its GUID.
func (vm *VM) String() string { return vm.Name() + " {" + guid.Upper(vm.config.ID) + "}" }

// MemoryPath is where the memory of the machine is while it is saved.
func (vm *VM) MemoryPath() string { return vm.files().memory() }
