// Package cluster is a failover cluster of computers that run virtual machines:
// nodes and quorum, groups of resources with their dependencies, health checks,
// restarts, failovers, failback and moves, and Cluster Shared Volumes.
//
//	c, err := cluster.New(w, cluster.Config{Nodes: []cluster.NodeConfig{
//		{Name: "h1", Host: cluster.HyperV(h1)},
//		{Name: "h2", Host: cluster.HyperV(h2)},
//	}})
//	csv, err := c.AddSharedVolume(shared, "h1")         // C:\ClusterStorage\Volume1 on both
//	vm, err := c.AddVM(ctx, cluster.Describe(machine))  // highly available, as it is
//	err = csv.PrepareForBackup(ctx, "h1")               // Windows Server 2008 R2 wants it
//	err = mybackup.Run(ctx, h1.VSS())                   // the code under test
//	err = w.Advance(time.Hour)                          // the cluster does what it does
//	left := cluster.Audit(ctx, c)                       // nothing, or what to do by hand
//
// # Behind its back
//
// The Hyper-V writer of a host never takes into account that a machine belongs to
// a cluster (R59). A backup in the saved state saves a machine (R60), and a restore
// turns it off and deletes it (R61), without a word to the cluster, which polls the
// machine, finds a resource that should be online and is not, and takes that for a
// failure (R62): it restarts the machine in the middle of the backup, and in the
// end has its group fail over (R63). The remedies are [Cluster.BeforeBackup] (R64)
// and [Cluster.BeforeRestore] (R65). A backup by a snapshot inside the child needs
// none (R66).
//
// # What is modelled
//
// The rules are those of the Failover Cluster section of the Win32 documentation,
// with its numbers: the states of resources, groups and nodes stand as tables
// ([ResourceMoves], [GroupStateOf], [NodeMoves], [VMResourceState]), and so does
// what the cluster does about a failure ([ResourceProperties.React],
// [Placement.Candidates]). Time is virtual, and every step is taken by a process of
// some node's cluster service, which dies with its node. All of it is in the
// world's trace: "cluster/resource", "cluster/event" with the number of the event
// log, "cluster/failover" and so on.
//
// # Nodes that do not hear each other
//
// [Cluster.Partition] cuts the network. After five seconds each side counts its
// votes; at most one has more than half of all, and goes on with every group. On
// the other nodes the cluster service stops, and their machines end before they
// run anywhere else: a group has one owner, and a machine never runs twice. A
// backup there fails. [Cluster.Heal] brings the nodes back. The same happens to the
// machines of a node whose cluster service dies alone.
//
// A [Host] is what the cluster needs of a computer; [HyperV] makes one of a
// simulated host, and package clustertest checks others. A [ResourceType] is what a
// resource DLL is: bring your own for anything else that should fail over.
//
// Not modelled are the cluster's own database and quorum disk, nodes that are
// isolated for a while before they are given up (Windows Server 2016), the writer
// for Cluster Shared Volumes of Windows Server 2012, the cost and the reasons of
// redirected input and output, and moves of a type that a machine has by default.
package cluster
