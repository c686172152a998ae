package cluster

import (
	"context"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Host is the cluster's view of a computer that runs virtual machines: what the
// cluster service asks of it, and nothing more. [HyperV] makes one of a
// [hyperv.Host]; package clustertest checks others.
//
// A host that can do more satisfies [Notifier], [Heart], [Migrator] or [Auditor]
// too.
type Host interface {
	// Actor is where the host's processes run. Its death is the host's.
	Actor() *sim.Actor
	Machines
	Storage
}

// Machines are the virtual machines of a host. Every method waits until the work
// is done. A machine that is not registered is [hyperv.ErrNotFound] unless it says
// otherwise, and one whose state does not allow the call [hyperv.ErrInvalidState].
type Machines interface {
	// State tells what a machine is doing. It does not give way: the cluster polls
	// with it.
	State(ctx context.Context, id [16]byte) (hyperv.State, error)
	// Register registers the machine that a configuration file describes and
	// returns its identity. It is saved if there is a saved state with the file,
	// and off otherwise. A machine that is registered from this file already stays
	// as it is. A path without a file is an error.
	Register(ctx context.Context, path string) (id [16]byte, err error)
	// Unregister ends the registration of a machine that does not execute, and
	// leaves its files for another host. One that is not registered is no error.
	Unregister(ctx context.Context, id [16]byte) error
	// Start boots a machine that is off and takes up the memory of a saved one.
	// One that runs or is paused stays as it is.
	Start(ctx context.Context, id [16]byte) error
	// Stop stops a machine that runs or is paused in the way the action says. One
	// that is off or saved stays as it is: a saved state is never discarded.
	Stop(ctx context.Context, id [16]byte, action OfflineAction) error
}

// Storage are the shared volumes of a host. The methods do not give way, and
// Unmount works on a host that is dead.
type Storage interface {
	// Mount gives the host a volume, under its drive letter or in the folder that the
	// mount names. One that it has already is no error.
	Mount(m hyperv.Mount) error
	// Unmount takes a volume away, with whatever the host has open on it, and
	// returns the shadow copies that the host has taken and that are still there.
	// Machines that run from the volume end at once, so that they can run elsewhere.
	// Without the volume it does nothing.
	Unmount(v *hyperv.SharedVolume) (left [][16]byte)
	// Mounted tells whether the host has a volume.
	Mounted(v *hyperv.SharedVolume) bool
}

// A Notifier tells the cluster of every change of the state of a machine, as it
// happens. The function must not be called from a process that is dead.
type Notifier interface {
	OnStateChange(fn func(hyperv.StateChange)) (cancel func())
}

// A Heart knows whether the operating system inside a machine answers.
type Heart interface {
	// Heartbeat tells whether the guest's heartbeat arrives, or has been missing for
	// less time than a host allows. A guest without the
	// heartbeat service has none, and counts as healthy.
	Heartbeat(ctx context.Context, id [16]byte) bool
}

// A Migrator can move a running machine to another host of its own kind. On
// failure the machine runs on where it is.
type Migrator interface {
	Migrate(ctx context.Context, id [16]byte, to Host) error
}

// An Auditor lists what is left over on a host from backups and restores.
type Auditor interface {
	Audit() []hyperv.Leftover
}
