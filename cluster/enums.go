package cluster

import "time"

// A RestartAction is a CLUSTER_RESOURCE_RESTART_ACTION: what the cluster does when
// a resource fails.
type RestartAction uint32

const (
	DontRestart     RestartAction = 0
	RestartNoNotify RestartAction = 1 // restart, and leave the group where it is
	RestartNotify   RestartAction = 2 // restart, and fail the group over if that does not help
)

func (a RestartAction) String() string {
	return nameOf(a, "ClusterResourceRestartAction", map[RestartAction]string{
		DontRestart: "ClusterResourceDontRestart", RestartNoNotify: "ClusterResourceRestartNoNotify", RestartNotify: "ClusterResourceRestartNotify",
	})
}

// An AutoFailbackType is a CLUSTER_GROUP_AUTOFAILBACK_TYPE.
type AutoFailbackType uint32

const (
	PreventFailback AutoFailbackType = 0
	AllowFailback   AutoFailbackType = 1
)

func (t AutoFailbackType) String() string {
	return nameOf(t, "ClusterGroupAutoFailbackType", map[AutoFailbackType]string{
		PreventFailback: "ClusterGroupPreventFailback", AllowFailback: "ClusterGroupAllowFailback",
	})
}

// An OfflineAction is what an intended offline does to a virtual machine: the
// private property OfflineAction of a Virtual Machine resource.
type OfflineAction uint32

const (
	TurnOff       OfflineAction = 0
	Save          OfflineAction = 1 // the default
	Shutdown      OfflineAction = 2
	ShutdownForce OfflineAction = 3
)

func (a OfflineAction) String() string {
	return nameOf(a, "VmOfflineAction", map[OfflineAction]string{
		TurnOff: "VmOfflineActionTurnOff", Save: "VmOfflineActionSave",
		Shutdown: "VmOfflineActionShutdown", ShutdownForce: "VmOfflineActionShutdownForce",
	})
}

// A MoveType is how a group with a virtual machine is moved: the VmContext of
// MoveClusterGroupEx.
type MoveType uint32

const (
	MoveTurnOff       MoveType = 0
	MoveSave          MoveType = 1 // a quick migration
	MoveShutdown      MoveType = 2
	MoveShutdownForce MoveType = 3
	LiveMigration     MoveType = 4
)

func (t MoveType) String() string {
	return nameOf(t, "VmMigrationType", map[MoveType]string{
		MoveTurnOff: "VmMigrationTypeTurnOff", MoveSave: "VmMigrationTypeQuick", MoveShutdown: "VmMigrationTypeShutdown",
		MoveShutdownForce: "VmMigrationTypeShutdownForce", LiveMigration: "VmMigrationTypeLive",
	})
}

// A SharedVolumeState is a CLUSTER_SHARED_VOLUME_STATE: how a node reaches a
// Cluster Shared Volume.
type SharedVolumeState uint32

const (
	SharedVolumeUnavailable            SharedVolumeState = 0
	SharedVolumePaused                 SharedVolumeState = 1
	SharedVolumeActive                 SharedVolumeState = 2 // direct input and output
	SharedVolumeActiveRedirected       SharedVolumeState = 3 // over the network, by way of the coordinator
	SharedVolumeActiveVolumeRedirected SharedVolumeState = 4
)

func (s SharedVolumeState) String() string {
	return nameOf(s, "SharedVolumeState", map[SharedVolumeState]string{
		SharedVolumeUnavailable: "SharedVolumeStateUnavailable", SharedVolumePaused: "SharedVolumeStatePaused",
		SharedVolumeActive: "SharedVolumeStateActive", SharedVolumeActiveRedirected: "SharedVolumeStateActiveRedirected",
		SharedVolumeActiveVolumeRedirected: "SharedVolumeStateActiveVolumeRedirected",
	})
}

// A Version is a version of the failover cluster of Windows Server.
type Version uint8

const (
	W2008R2 Version = iota // the default
	W2012
)

func (v Version) String() string { return [...]string{"W2008R2", "W2012"}[v] }

// A Detection is how the cluster finds out that a virtual machine is not what its
// resource should be. Which one real clusters use is not published.
type Detection uint8

const (
	Poll   Detection = iota // by LooksAlive and IsAlive alone; the default
	Notify                  // also by notices of the host, at once
	Off                     // not at all
)

func (d Detection) String() string { return [...]string{"poll", "notify", "off"}[d] }

// Never is the value 0xFFFFFFFF, in milliseconds, of RetryPeriodOnFailure: there is no
// retry.
const Never = 0xFFFFFFFF * time.Millisecond

// OfType is the same value of a poll interval: that of the resource's type.
const OfType = 0xFFFFFFFF * time.Millisecond

// The poll intervals of a type that is no [Poller].
const (
	defaultLooksAlive = 5 * time.Second
	defaultIsAlive    = 60 * time.Second
)

// NodesMinusOne is the value 0xFFFFFFFF of FailoverThreshold: as many failovers as
// there are other nodes.
const NodesMinusOne = 0xFFFFFFFF

// ResourceProperties are the common properties of a resource that its health
// depends on.
type ResourceProperties struct {
	LooksAlivePollInterval time.Duration // of the cheap check, or [OfType]
	IsAlivePollInterval    time.Duration // of the thorough check, or [OfType]
	PendingTimeout         time.Duration // limit for coming online and going offline
	RestartAction          RestartAction
	RestartThreshold       uint32        // restarts on one node within RestartPeriod
	RestartPeriod          time.Duration //
	RetryPeriodOnFailure   time.Duration // when all has failed; at least RestartPeriod, or [Never]
	PossibleOwners         []string      // nodes; all of them if empty
}

// DefaultResourceProperties are the values a new resource has.
func DefaultResourceProperties() ResourceProperties {
	return ResourceProperties{
		LooksAlivePollInterval: defaultLooksAlive,
		IsAlivePollInterval:    defaultIsAlive,
		PendingTimeout:         180 * time.Second,
		RestartAction:          RestartNotify,
		RestartThreshold:       3,
		RestartPeriod:          900 * time.Second,
		RetryPeriodOnFailure:   3600 * time.Second,
	}
}

// check refuses values that make no sense together.
func (p ResourceProperties) check() error {
	positive := p.LooksAlivePollInterval > 0 && p.IsAlivePollInterval > 0 && p.PendingTimeout > 0 && p.RestartPeriod > 0
	if !positive || p.RetryPeriodOnFailure < p.RestartPeriod || p.RestartAction > RestartNotify {
		return ErrInvalidParameter
	}
	return nil
}

// GroupProperties are the common properties of a group.
type GroupProperties struct {
	FailoverThreshold uint32        // failovers within FailoverPeriod, or [NodesMinusOne]
	FailoverPeriod    time.Duration // whole hours
	AutoFailbackType  AutoFailbackType
	// FailbackWindowStart and FailbackWindowEnd are hours of the day between which
	// a group goes back to its preferred owner; -1: at once.
	FailbackWindowStart, FailbackWindowEnd int
	PreferredOwners                        []string // nodes, the best first
	AntiAffinityClassNames                 []string // groups of one class keep apart if they can
}

// DefaultGroupProperties are the values a new group has.
func DefaultGroupProperties() GroupProperties {
	return GroupProperties{
		FailoverThreshold: NodesMinusOne, FailoverPeriod: 6 * time.Hour,
		FailbackWindowStart: -1, FailbackWindowEnd: -1,
	}
}

func (p GroupProperties) check() error {
	hour := func(h int) bool { return h >= -1 && h <= 23 }
	if p.FailoverPeriod <= 0 || p.AutoFailbackType > AllowFailback || !hour(p.FailbackWindowStart) || !hour(p.FailbackWindowEnd) {
		return ErrInvalidParameter
	}
	return nil
}
