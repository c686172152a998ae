package cluster

import "strconv"

// A ResourceState is a CLUSTER_RESOURCE_STATE, with the numbers of clusapi.h.
type ResourceState int32

const (
	ResourceStateUnknown   ResourceState = -1
	ResourceInherited      ResourceState = 0
	ResourceInitializing   ResourceState = 1
	ResourceOnline         ResourceState = 2
	ResourceOffline        ResourceState = 3
	ResourceFailed         ResourceState = 4
	ResourcePending        ResourceState = 128
	ResourceOnlinePending  ResourceState = 129
	ResourceOfflinePending ResourceState = 130
)

func (s ResourceState) String() string {
	return nameOf(s, "ClusterResourceState", map[ResourceState]string{
		ResourceStateUnknown: "ClusterResourceStateUnknown", ResourceInherited: "ClusterResourceInherited",
		ResourceInitializing: "ClusterResourceInitializing", ResourceOnline: "ClusterResourceOnline",
		ResourceOffline: "ClusterResourceOffline", ResourceFailed: "ClusterResourceFailed",
		ResourcePending: "ClusterResourcePending", ResourceOnlinePending: "ClusterResourceOnlinePending",
		ResourceOfflinePending: "ClusterResourceOfflinePending",
	})
}

// Pending tells whether the resource is on its way from one state to another.
func (s ResourceState) Pending() bool { return s >= ResourcePending && s <= ResourceOfflinePending }

// A GroupState is a CLUSTER_GROUP_STATE, with the numbers of clusapi.h.
type GroupState int32

const (
	GroupStateUnknown  GroupState = -1
	GroupOnline        GroupState = 0
	GroupOffline       GroupState = 1
	GroupFailed        GroupState = 2
	GroupPartialOnline GroupState = 3
	GroupPending       GroupState = 4
)

func (s GroupState) String() string {
	return nameOf(s, "ClusterGroupState", map[GroupState]string{
		GroupStateUnknown: "ClusterGroupStateUnknown", GroupOnline: "ClusterGroupOnline", GroupOffline: "ClusterGroupOffline",
		GroupFailed: "ClusterGroupFailed", GroupPartialOnline: "ClusterGroupPartialOnline", GroupPending: "ClusterGroupPending",
	})
}

// GroupStateOf is the state of a group whose resources are in these states: Failed
// if any has failed, else Pending if any is pending, Offline if none is online,
// Online if all are, and PartialOnline otherwise.
func GroupStateOf(resources ...ResourceState) GroupState {
	online, pending := 0, false
	for _, s := range resources {
		switch {
		case s == ResourceFailed:
			return GroupFailed
		case s.Pending(), s == ResourceInitializing:
			pending = true
		case s == ResourceOnline:
			online++
		}
	}
	switch {
	case pending:
		return GroupPending
	case online == 0:
		return GroupOffline
	case online == len(resources):
		return GroupOnline
	}
	return GroupPartialOnline
}

// A NodeState is a CLUSTER_NODE_STATE, with the numbers of clusapi.h.
type NodeState int32

const (
	NodeStateUnknown NodeState = -1
	NodeUp           NodeState = 0
	NodeDown         NodeState = 1
	NodePaused       NodeState = 2
	NodeJoining      NodeState = 3
)

func (s NodeState) String() string {
	return nameOf(s, "ClusterNodeState", map[NodeState]string{
		NodeStateUnknown: "ClusterNodeStateUnknown", NodeUp: "ClusterNodeUp", NodeDown: "ClusterNodeDown",
		NodePaused: "ClusterNodePaused", NodeJoining: "ClusterNodeJoining",
	})
}

// nameOf finds the name of a value; one without a name prints as its type and
// number.
func nameOf[T ~int32 | ~uint32](v T, kind string, names map[T]string) string {
	if name, ok := names[v]; ok {
		return name
	}
	return kind + "(" + strconv.FormatInt(int64(v), 10) + ")"
}

// A ResourceEvent is what happens to a resource.
type ResourceEvent uint8

const (
	EventOnline     ResourceEvent = iota + 1 // somebody brings it online
	EventOffline                             // somebody takes it offline
	EventDone                                // what was under way has worked
	EventFail                                // it failed, or what was under way did
	EventNodeIsDown                          // its node has left the cluster
)

func (e ResourceEvent) String() string {
	return [...]string{"", "online", "offline", "done", "fail", "node is down"}[e]
}

// ResourceMoves is the state machine of a resource: what an event does in a state.
// A pair that is not listed cannot happen, or is refused with [ErrInvalidState].
func ResourceMoves() map[ResourceState]map[ResourceEvent]ResourceState {
	return cloneTable(resourceMoves)
}

var resourceMoves = map[ResourceState]map[ResourceEvent]ResourceState{
	ResourceOffline: {
		EventOnline: ResourceOnlinePending, EventNodeIsDown: ResourceOffline,
	},
	ResourceOnlinePending: {
		EventDone: ResourceOnline, EventFail: ResourceFailed, EventNodeIsDown: ResourceOffline,
	},
	ResourceOnline: {
		EventOffline: ResourceOfflinePending, EventFail: ResourceFailed, EventNodeIsDown: ResourceOffline,
	},
	ResourceOfflinePending: {
		EventDone: ResourceOffline, EventFail: ResourceFailed, EventNodeIsDown: ResourceOffline,
	},
	ResourceFailed: {
		EventOnline: ResourceOnlinePending, EventOffline: ResourceOfflinePending, EventNodeIsDown: ResourceOffline,
	},
}

// A NodeEvent is what happens to a node.
type NodeEvent uint8

const (
	EventNodeLost   NodeEvent = iota + 1 // it is not heard of any more, or its service stops
	EventNodeJoin                        // its service starts
	EventNodeJoined                      // the others have taken it in
	EventNodePause                       // an administrator pauses it: it gets no more groups
	EventNodeResume
)

func (e NodeEvent) String() string {
	return [...]string{"", "lost", "join", "joined", "pause", "resume"}[e]
}

// NodeMoves is the state machine of a node.
func NodeMoves() map[NodeState]map[NodeEvent]NodeState { return cloneTable(nodeMoves) }

var nodeMoves = map[NodeState]map[NodeEvent]NodeState{
	NodeUp:      {EventNodeLost: NodeDown, EventNodePause: NodePaused},
	NodePaused:  {EventNodeLost: NodeDown, EventNodeResume: NodeUp},
	NodeDown:    {EventNodeJoin: NodeJoining},
	NodeJoining: {EventNodeLost: NodeDown, EventNodeJoined: NodeUp},
}

func cloneTable[S, E comparable](t map[S]map[E]S) map[S]map[E]S {
	out := make(map[S]map[E]S, len(t))
	for from, row := range t {
		out[from] = make(map[E]S, len(row))
		for e, to := range row {
			out[from][e] = to
		}
	}
	return out
}
