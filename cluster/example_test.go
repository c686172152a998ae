package cluster_test

import (
	"context"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// twoNodes is a cluster of two hosts without machines.
func twoNodes(w *sim.World) (*cluster.Cluster, error) {
	c := cluster.Config{Witness: true}
	for _, name := range []string{"h1", "h2"} {
		h, err := hyperv.NewHost(w, hyperv.HostConfig{Name: name})
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, cluster.NodeConfig{Name: name, Host: cluster.HyperV(h)})
	}
	return cluster.New(w, c)
}

// A lamp is a resource of one's own.
type lamp struct{ burnt bool }

func (*lamp) TypeName() string { return "Lamp" }

func (l *lamp) Online(context.Context, *cluster.Node) error { l.burnt = false; return nil }

func (l *lamp) Offline(context.Context, *cluster.Node) error { return nil }

func (l *lamp) Terminate(context.Context, *cluster.Node) {}

func (l *lamp) LooksAlive(ctx context.Context, n *cluster.Node) error { return l.IsAlive(ctx, n) }

func (l *lamp) IsAlive(context.Context, *cluster.Node) error {
	if l.burnt {
		return fmt.Errorf("the lamp is burnt")
	}
	return nil
}

// A resource of any type fails over if restarting it does not help.
func Example() {
	w := sim.New()
	defer func() { _ = w.Close() }()
	c, err := twoNodes(w)
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := c.AddGroup("light", "h1", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	p := cluster.DefaultResourceProperties()
	p.RestartThreshold = 1
	l := &lamp{}
	r, err := g.AddResource(cluster.ResourceConfig{Name: "lamp", Type: l, Properties: &p})
	if err == nil {
		err = r.Online(context.Background())
	}
	fmt.Println(g.Owner().Name(), g.State(), err)
	for range 2 {
		l.burnt = true
		err = w.Advance(10 * time.Second) // LooksAlive is asked every five seconds
		fmt.Println(g.Owner().Name(), r.State(), err)
	}
	fmt.Println(len(cluster.Audit(context.Background(), c)), "things left to do")
	// Output:
	// h1 ClusterGroupOnline <nil>
	// h1 ClusterResourceOnline <nil>
	// h2 ClusterResourceOnline <nil>
	// 0 things left to do
}

// A node that dies takes five heartbeats to be missed.
func ExampleNode() {
	w := sim.New()
	defer func() { _ = w.Close() }()
	c, err := twoNodes(w)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Node("h1").Host().Actor().Kill()
	for range 2 {
		if err := w.Advance(3 * time.Second); err != nil {
			fmt.Println(err)
		}
		there, all := c.Votes()
		fmt.Println(c.Node("h1").State(), "with", there, "of", all, "votes, quorum:", c.HasQuorum())
	}
	// Output:
	// ClusterNodeUp with 3 of 3 votes, quorum: true
	// ClusterNodeDown with 2 of 3 votes, quorum: true
}

// The tables can be walked, for a picture or for a test of one's own.
func ExampleResourceMoves() {
	fmt.Println(cluster.ResourceMoves()[cluster.ResourceOnline][cluster.EventFail])
	fmt.Println(cluster.GroupStateOf(cluster.ResourceOnline, cluster.ResourceOffline))
	fmt.Println(cluster.VMResourceState(hyperv.StateSaved))
	// Output:
	// ClusterResourceFailed
	// ClusterGroupPartialOnline
	// ClusterResourceOffline
}

// What the cluster does about a failure is a function of the numbers.
func ExampleResourceProperties_React() {
	p := cluster.DefaultResourceProperties()
	for restarts := range 5 {
		fmt.Println(restarts, p.React(restarts))
	}
	// Output:
	// 0 restart
	// 1 restart
	// 2 restart
	// 3 fail over
	// 4 fail over
}

// The next node is the one after the current in the list of preferred owners and
// then the others.
func ExamplePlacement() {
	p := cluster.Placement{
		Nodes:     []cluster.Candidate{{ID: 1, Able: true}, {ID: 2, Able: true}, {ID: 3}, {ID: 4, Able: true}},
		Preferred: []int{4, 2},
		Current:   4,
	}
	fmt.Println(p.Candidates())
	p.Best = true
	fmt.Println(p.Candidates())
	// Output:
	// [2 1]
	// [4 2 1]
}

// An error names the call, the object, and the code of winerror.h.
func ExampleError() {
	w := sim.New()
	defer func() { _ = w.Close() }()
	c, err := twoNodes(w)
	if err == nil {
		err = c.Pause(context.Background(), "h9")
	}
	fmt.Println(err)
	fmt.Printf("0x%08X\n", cluster.ErrBackupInProgress.HRESULT())
	// Output:
	// PauseNode: h9: ERROR_CLUSTER_NODE_NOT_FOUND (5042)
	// 0x8007173D
}

// Preparing a Cluster Shared Volume of Windows Server 2008 R2 for a backup.
func ExampleSharedVolume() {
	w := sim.New()
	defer func() { _ = w.Close() }()
	ctx := context.Background()
	c, err := twoNodes(w)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := hyperv.NewSharedVolume(w, hyperv.VolumeConfig{Letter: "S:"})
	if err != nil {
		fmt.Println(err)
		return
	}
	csv, err := c.AddSharedVolume(v, "h1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(csv.PrepareForBackup(ctx, "h2"), csv.Owner().Name(), csv.State("h1"))
	fmt.Println(csv.PrepareForBackup(ctx, "h1"))
	csv.ClearBackupState()
	fmt.Println(csv.State("h1"))
	// Output:
	// <nil> h2 SharedVolumeStateActiveRedirected
	// PrepareSharedVolumeForBackup: S: on h1: ERROR_CLUSTER_BACKUP_IN_PROGRESS (5949)
	// SharedVolumeStateActive
}
