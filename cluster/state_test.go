package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
)

// The enumerations have the numbers and the names of the Windows headers.
func TestEnumerations(t *testing.T) {
	for value, want := range map[fmt.Stringer]string{
		cluster.ResourceState(-1):      "ClusterResourceStateUnknown",
		cluster.ResourceState(0):       "ClusterResourceInherited",
		cluster.ResourceState(1):       "ClusterResourceInitializing",
		cluster.ResourceState(2):       "ClusterResourceOnline",
		cluster.ResourceState(3):       "ClusterResourceOffline",
		cluster.ResourceState(4):       "ClusterResourceFailed",
		cluster.ResourceState(128):     "ClusterResourcePending",
		cluster.ResourceState(129):     "ClusterResourceOnlinePending",
		cluster.ResourceState(130):     "ClusterResourceOfflinePending",
		cluster.ResourceState(131):     "ClusterResourceState(131)",
		cluster.GroupState(-1):         "ClusterGroupStateUnknown",
		cluster.GroupState(0):          "ClusterGroupOnline",
		cluster.GroupState(1):          "ClusterGroupOffline",
		cluster.GroupState(2):          "ClusterGroupFailed",
		cluster.GroupState(3):          "ClusterGroupPartialOnline",
		cluster.GroupState(4):          "ClusterGroupPending",
		cluster.NodeState(-1):          "ClusterNodeStateUnknown",
		cluster.NodeState(0):           "ClusterNodeUp",
		cluster.NodeState(1):           "ClusterNodeDown",
		cluster.NodeState(2):           "ClusterNodePaused",
		cluster.NodeState(3):           "ClusterNodeJoining",
		cluster.RestartAction(0):       "ClusterResourceDontRestart",
		cluster.RestartAction(1):       "ClusterResourceRestartNoNotify",
		cluster.RestartAction(2):       "ClusterResourceRestartNotify",
		cluster.AutoFailbackType(0):    "ClusterGroupPreventFailback",
		cluster.AutoFailbackType(1):    "ClusterGroupAllowFailback",
		cluster.OfflineAction(0):       "VmOfflineActionTurnOff",
		cluster.OfflineAction(1):       "VmOfflineActionSave",
		cluster.OfflineAction(2):       "VmOfflineActionShutdown",
		cluster.OfflineAction(3):       "VmOfflineActionShutdownForce",
		cluster.MoveType(0):            "VmMigrationTypeTurnOff",
		cluster.MoveType(1):            "VmMigrationTypeQuick",
		cluster.MoveType(2):            "VmMigrationTypeShutdown",
		cluster.MoveType(3):            "VmMigrationTypeShutdownForce",
		cluster.MoveType(4):            "VmMigrationTypeLive",
		cluster.SharedVolumeState(0):   "SharedVolumeStateUnavailable",
		cluster.SharedVolumeState(1):   "SharedVolumeStatePaused",
		cluster.SharedVolumeState(2):   "SharedVolumeStateActive",
		cluster.SharedVolumeState(3):   "SharedVolumeStateActiveRedirected",
		cluster.SharedVolumeState(4):   "SharedVolumeStateActiveVolumeRedirected",
		cluster.W2012:                  "W2012",
		cluster.Notify:                 "notify",
		cluster.FailGroup:              "fail over",
		cluster.EventNodeIsDown:        "node is down",
		cluster.EventNodeResume:        "resume",
		cluster.ResourceState(1 << 20): "ClusterResourceState(1048576)",
	} {
		if got := value.String(); got != want {
			t.Errorf("%T prints as %s, want %s", value, got, want)
		}
	}
	if got := cluster.ErrBackupInProgress.HRESULT(); got != 0x8007173D {
		t.Errorf("a backup in progress is 0x%08X", got)
	}
	if s := cluster.ErrNoQuorum.Error(); s != "ERROR_CLUSTER_NO_QUORUM (5925)" {
		t.Errorf("no quorum is %s", s)
	}
	if s := cluster.Code(1).Error(); s != "Win32 error 1" {
		t.Errorf("an unknown code is %s", s)
	}
}

// The state of a group against the sentences of the page "Group States".
func TestGroupState(t *testing.T) {
	all := []cluster.ResourceState{
		cluster.ResourceOnline, cluster.ResourceOffline, cluster.ResourceFailed, cluster.ResourceOnlinePending,
		cluster.ResourceOfflinePending, cluster.ResourcePending, cluster.ResourceInitializing,
	}
	dumb := func(list []cluster.ResourceState) cluster.GroupState {
		has := func(is func(s cluster.ResourceState) bool) (n int) {
			for _, s := range list {
				if is(s) {
					n++
				}
			}
			return n
		}
		failed := has(func(s cluster.ResourceState) bool { return s == cluster.ResourceFailed })
		pending := has(func(s cluster.ResourceState) bool { return s == cluster.ResourceInitializing || s >= 128 && s <= 130 })
		online := has(func(s cluster.ResourceState) bool { return s == cluster.ResourceOnline })
		offline := has(func(s cluster.ResourceState) bool { return s == cluster.ResourceOffline })
		if failed > 0 {
			return cluster.GroupFailed
		}
		if pending > 0 {
			return cluster.GroupPending
		}
		if offline == len(list) {
			return cluster.GroupOffline
		}
		if online == len(list) {
			return cluster.GroupOnline
		}
		return cluster.GroupPartialOnline
	}
	r := rand.New(rand.NewPCG(1, 2))
	seen := make(map[cluster.GroupState]bool)
	for range 2000 {
		list := make([]cluster.ResourceState, r.IntN(4))
		for i := range list {
			list[i] = all[r.IntN(len(all))]
		}
		got, want := cluster.GroupStateOf(list...), dumb(list)
		if got != want {
			t.Errorf("%v make a group %v, want %v", list, got, want)
		}
		seen[got] = true
	}
	if len(seen) != 5 {
		t.Errorf("only %v were seen", seen)
	}
}

// What the cluster makes of the state of a machine ("Virtual Machine").
func TestMachineStates(t *testing.T) {
	for state, want := range map[hyperv.State]cluster.ResourceState{
		3: cluster.ResourceOffline, 32769: cluster.ResourceOffline,
		32770: cluster.ResourceOnlinePending,
		32774: cluster.ResourceOfflinePending, 32773: cluster.ResourceOfflinePending,
		2: cluster.ResourceOnline, 32768: cluster.ResourceOnline, 32776: cluster.ResourceOnline, 32777: cluster.ResourceOnline, 32771: cluster.ResourceOnline,
		32781: cluster.ResourceFailed, 0: cluster.ResourceFailed,
	} {
		if got := cluster.VMResourceState(state); got != want {
			t.Errorf("%v is %v, want %v", state, got, want)
		}
	}
}

// In every table each state that can be reached has a way out, and nothing leads
// out of the table.
func TestTables(t *testing.T) {
	for from, row := range cluster.ResourceMoves() {
		if _, ok := row[cluster.EventNodeIsDown]; !ok {
			t.Errorf("%v survives its node", from)
		}
		for e, to := range row {
			if len(cluster.ResourceMoves()[to]) == 0 {
				t.Errorf("%v, %v leads to %v, from where nothing leads", from, e, to)
			}
		}
		if online := row[cluster.EventOnline]; online != 0 && online != cluster.ResourceOnlinePending {
			t.Errorf("%v comes online as %v", from, online)
		}
	}
	for from, row := range cluster.NodeMoves() {
		for e, to := range row {
			if len(cluster.NodeMoves()[to]) == 0 {
				t.Errorf("%v, %v leads to %v, from where nothing leads", from, e, to)
			}
		}
	}
	m := cluster.ResourceMoves()
	delete(m[cluster.ResourceOnline], cluster.EventFail)
	if cluster.ResourceMoves()[cluster.ResourceOnline][cluster.EventFail] != cluster.ResourceFailed {
		t.Error("the table is shared")
	}
}

// What to do about a failure, by action and number of restarts.
func TestReact(t *testing.T) {
	for _, c := range []struct {
		action    cluster.RestartAction
		threshold uint32
		restarts  int
		want      cluster.Reaction
	}{
		{cluster.DontRestart, 3, 0, cluster.StayFailed},
		{cluster.RestartNoNotify, 3, 2, cluster.RestartHere},
		{cluster.RestartNoNotify, 3, 3, cluster.StayFailed},
		{cluster.RestartNotify, 3, 2, cluster.RestartHere},
		{cluster.RestartNotify, 3, 3, cluster.FailGroup},
		{cluster.RestartNotify, 0, 0, cluster.FailGroup},
		{cluster.RestartNotify, 0xFFFFFFFF, 1000, cluster.RestartHere},
	} {
		p := cluster.DefaultResourceProperties()
		p.RestartAction, p.RestartThreshold = c.action, c.threshold
		if got := p.React(c.restarts); got != c.want {
			t.Errorf("%v after %d of %d restarts: %v, want %v", c.action, c.restarts, c.threshold, got, c.want)
		}
	}
}

// Where a group goes.
func TestPlacement(t *testing.T) {
	nodes := func(text string) (list []cluster.Candidate) { // "+" able, "-" not, "!" crowded
		for i, c := range text {
			list = append(list, cluster.Candidate{ID: i + 1, Able: c != '-', Crowded: c == '!'})
		}
		return list
	}
	for _, c := range []struct {
		nodes     string
		preferred []int
		current   int
		best      bool
		want      string
	}{
		{"+++", nil, 1, false, "2 3"},
		{"+++", nil, 3, false, "1 2"},
		{"+-+", nil, 1, false, "3"},
		{"++++", []int{3, 1}, 3, false, "1 2 4"}, // the list is 3 1 2 4
		{"++++", []int{3, 1}, 2, false, "4 3 1"},
		{"++++", []int{3, 1}, 2, true, "3 1 2 4"},
		{"++-+", []int{3, 1}, 2, true, "1 2 4"},
		{"!+++", nil, 2, false, "3 4 1"},
		{"+!!", nil, 1, false, "2 3"}, // a wish, no condition
		{"+--", nil, 1, false, ""},
		{"+", nil, 1, false, ""},
		{"+", nil, 1, true, "1"},
		{"+++", []int{2, 2, 9}, 1, true, "2 1 3"},
	} {
		got := cluster.Placement{Nodes: nodes(c.nodes), Preferred: c.preferred, Current: c.current, Best: c.best}.Candidates()
		if s := strings.Trim(fmt.Sprint(got), "[]"); s != c.want {
			t.Errorf("%s, preferred %v, from %d, best %v: %s, want %s", c.nodes, c.preferred, c.current, c.best, s, c.want)
		}
	}
}
