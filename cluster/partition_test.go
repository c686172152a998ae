package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// neverTwo reads from the trace whether a machine ever ran on two hosts at once,
// as long as no host died.
func (l *lab) neverTwo() {
	l.t.Helper()
	on := make(map[string][]string) // hosts by machine
	for _, e := range l.w.Trace() {
		vm := e.Get("vm")
		host, _, _ := strings.Cut(e.Actor, "/")
		leave := func(h string) { on[vm] = slices.DeleteFunc(on[vm], func(o string) bool { return o == h }) }
		switch {
		case e.Kind == "vm/migrated":
			leave(e.Get("from"))
			on[vm] = append(on[vm], host)
		case e.Kind == "vm/state" && e.Get("to") == "running":
			leave(host)
			on[vm] = append(on[vm], host)
		case e.Kind == "vm/state", e.Kind == "vm/unregister", e.Kind == "vm/delete":
			leave(host)
		}
		if len(on[vm]) > 1 {
			l.t.Errorf("%s runs on %v\n%s", vm, on[vm], l.story(0))
			return
		}
	}
}

// The losing side gives its machines up and the other takes them, wherever the
// volume is; when the network is whole nothing is left.
func TestPartition(t *testing.T) {
	for _, disk := range []bool{false, true} {
		for _, version := range []cluster.Version{cluster.W2008R2, cluster.W2012} {
			t.Run(fmt.Sprintf("disk=%v,%v", disk, version), func(t *testing.T) {
				l := newLab(t, labConfig{nodes: 3, disk: disk, config: cluster.Config{Version: version}})
				db := l.vm("db", inside)
				l.advance(3 * time.Second)
				whole := l.safe(db)
				machine := l.host("h1").VM("db")
				l.must(l.c.Partition([]string{"h1"}, []string{"h2", "h3"}))
				l.advance(4 * time.Second)
				l.wantAt(db, "h1") // nobody knows yet
				l.advance(2 * time.Second)
				if machine.State() != hyperv.StateOff || l.state("h1", "db") != "not registered" || l.host("h1").Mounted(l.shared) {
					t.Errorf("h1 keeps the machine %v, %s\n%s", machine.State(), l.state("h1", "db"), l.story(0))
				}
				if db.Owner().Name() == "h1" || l.c.Node("h1").State() != cluster.NodeDown || !l.c.HasQuorum() || !l.c.Partitioned() {
					t.Errorf("%s owns db", db.Owner().Name())
				}
				l.advance(10 * time.Second)
				l.wantAt(db, db.Owner().Name())
				if l.count("cluster/unaware") != 0 {
					t.Errorf("what the cluster does itself is news to it\n%s", l.story(0))
				}
				l.clean("h1", "a network that is split")
				l.must(l.c.Heal(l.ctx()))
				l.advance(10 * time.Second)
				l.clean()
				l.neverTwo()
				whole()
				l.nextBackup()
			})
		}
	}
}

// The network falls apart in the middle of backups on both sides: the one on the
// losing side fails, the other does not notice; the machines run once, and when the
// network is whole the next backup succeeds.
func TestStoryPartitionDuringBackup(t *testing.T) {
	l := newLab(t, labConfig{nodes: 3, config: cluster.Config{Version: cluster.W2012}})
	db, web := l.vm("db", saved), l.vm("web", saved)
	l.must(web.Group().Move(l.ctx(), "h2", cluster.MoveSave))
	l.advance(3 * time.Second)
	whole := l.safe(db, web)
	for _, vm := range []string{"h1/db", "h2/web"} {
		f, err := sim.ParseFault("hyperv/save on=" + vm + " delay=4s")
		l.must(err)
		l.w.Inject(f)
	}
	n := l.now()
	l.must(l.c.Partition([]string{"h1"}))
	var procs []*sim.Proc
	for _, node := range []string{"h1", "h2"} {
		procs = append(procs, l.w.Actor("backup of "+node).Go("backup", func(ctx context.Context) error {
			return l.runBackup(ctx, node, &requester.Memory{})
		}))
	}
	first, second := procs[0].Wait(l.ctx()), procs[1].Wait(l.ctx())
	if first == nil {
		t.Errorf("the backup of h1 does not fail\n%s", l.story(n))
	}
	l.must(second)
	l.advance(30 * time.Second)
	l.must(l.c.Heal(l.ctx()))
	l.advance(time.Second)
	golden(t, "partition", l.story(n)+"the backup of h1 "+outcome(first)+"\nthe backup of h2 "+outcome(second)+"\n")
	l.advance(time.Minute)
	l.wantAt(db, db.Owner().Name())
	l.wantAt(web, web.Owner().Name())
	l.neverTwo()
	whole()
	l.must(l.c.RemoveOrphans())
	l.clean()
	l.managedBackup(l.c.VMs())
}

// The node that makes the backup is cut off in every phase of it.
func TestPartitionAtEveryPointOfABackup(t *testing.T) {
	points := []sim.Point{
		vss.PointPrepareBackup, vss.PointPrepareSnapshot, hyperv.FaultSave, vss.PointProviderBeginPrepare,
		vss.PointProviderCommit, vss.PointPostSnapshot, hyperv.FaultMount, hyperv.FaultRevert, hyperv.FaultStart,
		vss.PointBackupComplete, vss.PointProviderDelete,
	}
	for i, point := range points {
		version := cluster.Version(i % 2)
		l := newLab(t, labConfig{nodes: 3, disk: i%3 == 0, config: cluster.Config{Version: version, Detection: cluster.Off}})
		db, web := l.vm("db", inside), l.vm("web", saved)
		l.advance(3 * time.Second)
		whole := l.safe(db, web)
		f, err := sim.ParseFault(string(point) + " on=h1/* delay=8s")
		l.must(err)
		l.w.Inject(f)
		l.w.Actor("late").Background("cut", func(ctx context.Context) error { // in the middle of the delay
			for l.count("fault") == 0 {
				if err := sim.Sleep(ctx, 50*time.Millisecond); err != nil {
					return err
				}
			}
			return l.c.Partition([]string{"h1"})
		})
		_, err = l.backup("h1")
		if left := l.w.Unreached(); len(left) > 0 {
			t.Fatalf("%v was not reached\n%s", left, l.story(0))
		}
		l.advance(30 * time.Second)
		if db.Owner().Name() == "h1" || web.Owner().Name() == "h1" {
			t.Errorf("%s: the machines are on h1 (%v)\n%s", point, err, l.story(0))
		}
		l.wantAt(db, db.Owner().Name())
		l.wantAt(web, web.Owner().Name())
		l.must(l.c.Heal(l.ctx()))
		l.must(l.c.RemoveOrphans())
		l.advance(time.Minute)
		l.neverTwo()
		whole()
		l.clean()
		if n := len(l.shared.Shadows()); n > 0 {
			t.Errorf("%s: %d shadow copies are left", point, n)
		}
		l.nextBackup()
		l.clean()
	}
}

// What a split refuses, and what is no split.
func TestPartitionRefusals(t *testing.T) {
	l := newLab(t, labConfig{nodes: 3})
	db := l.vm("db", inside)
	if err := l.c.Partition([]string{"h1", "h9"}); !errors.Is(err, cluster.ErrNodeNotFound) {
		t.Errorf("a side of nobody: %v", err)
	}
	if err := l.c.Partition([]string{"h1"}, []string{"h2", "h1"}); !errors.Is(err, cluster.ErrInvalidParameter) || l.c.Partitioned() {
		t.Errorf("a node on two sides: %v", err)
	}
	l.must(l.c.Heal(l.ctx())) // of nothing
	l.must(l.c.Partition([]string{"h1"}))
	for _, how := range []cluster.MoveType{cluster.MoveSave, cluster.LiveMigration} {
		if err := db.Group().Move(l.ctx(), "h2", how); !errors.Is(err, cluster.ErrNodeUnreachable) {
			t.Errorf("%v: %v", how, err)
		}
	}
	l.must(l.c.Heal(l.ctx()))
	l.wantAt(db, "h1")
	l.clean()
}

// The cluster service of a node ends while the computer goes on: its machines end
// with it, and run elsewhere; the volume is not mounted there any more.
func TestClusterServiceEnds(t *testing.T) {
	l := newLab(t, labConfig{nodes: 3})
	db := l.vm("db", inside)
	l.advance(3 * time.Second)
	whole := l.safe(db)
	l.c.Node("h1").Actor().Kill()
	l.advance(time.Second)
	if s := l.state("h1", "db"); s != "not registered" || l.host("h1").Mounted(l.shared) {
		t.Errorf("db is %s on h1\n%s", s, l.story(0))
	}
	l.advance(20 * time.Second)
	l.wantAt(db, db.Owner().Name())
	if db.Owner().Name() == "h1" {
		t.Error("h1 owns db")
	}
	l.must(l.c.Join(l.ctx(), "h1", cluster.HyperV(l.host("h1"))))
	l.neverTwo()
	whole()
	l.clean()
	l.nextBackup()
}

// It ends while it brings a machine online: what is under way ends too.
func TestClusterServiceEndsOnTheWay(t *testing.T) {
	l := newLab(t, labConfig{nodes: 3})
	db := l.vm("db", inside)
	l.advance(3 * time.Second)
	whole := l.safe(db)
	l.must(db.Resource().Offline(l.ctx()))
	online := l.w.Actor("admin").Go("online", db.Resource().Online)
	l.advance(500 * time.Millisecond) // it is starting
	l.c.Node("h1").Actor().Kill()
	if err := online.Wait(l.ctx()); err == nil {
		t.Error("the call survives the service")
	}
	l.advance(30 * time.Second)
	l.wantAt(db, db.Owner().Name())
	if s := l.state("h1", "db"); db.Owner().Name() == "h1" || s != "not registered" {
		t.Errorf("%s owns db, which is %s on h1", db.Owner().Name(), s)
	}
	l.must(l.c.Join(l.ctx(), "h1", cluster.HyperV(l.host("h1"))))
	l.neverTwo()
	whole()
	l.clean()
}

// A node that has lost the volume takes nothing for it: a restore there fails, and
// puts nothing on C:.
func TestRestoreWithoutTheVolume(t *testing.T) {
	l := newLab(t, labConfig{nodes: 3, config: cluster.Config{Detection: cluster.Off}})
	db := l.vm("db", inside)
	target, err := l.backup("h1")
	l.must(err)
	l.must(l.c.Partition([]string{"h3"}))
	l.advance(10 * time.Second)
	if err := l.restore("h3", target); !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the restore: %v", err)
	}
	if s := l.state("h3", "db"); s != "not registered" {
		t.Errorf("db is %s on h3", s)
	}
	l.must(l.c.Heal(l.ctx()))
	l.advance(10 * time.Second)
	l.wantAt(db, "h1")
	l.clean()
}

// Quorum goes while the last node brings a group online that it took over: nothing of
// it runs there or is registered afterwards, whenever it happens.
func TestQuorumLostWhileAGroupComesOnline(t *testing.T) {
	for after := 5 * time.Second; after < 20*time.Second; after += 700 * time.Millisecond {
		l := newLab(t, labConfig{nodes: 3, disk: true})
		for _, name := range []string{"a", "b", "c"} {
			l.vm(name, inside)
		}
		l.host("h1").Actor().Kill()
		l.advance(after)
		l.host("h3").Actor().Kill()
		l.advance(time.Minute)
		if vms := l.host("h2").VMs(); l.c.Node("h2").State() != cluster.NodeDown || len(vms) > 0 {
			t.Errorf("after %v: h2 is %v and has %d machines\n%s", after, l.c.Node("h2").State(), len(vms), l.story(0))
		}
	}
}

// Who gets the witness is settled when the sides count, whatever was counted before.
func TestWitnessGoesToWhoIsThereInTheEnd(t *testing.T) {
	l := newLab(t, labConfig{nodes: 4, config: cluster.Config{Witness: true}})
	l.must(l.c.Partition([]string{"h1", "h2"}, []string{"h3", "h4"}))
	if there, all := l.c.Votes(); there != 3 || all != 5 {
		t.Errorf("h1 and h2 have %d of %d votes", there, all)
	}
	l.host("h2").Actor().Kill()
	l.advance(10 * time.Second)
	if there, all := l.c.Votes(); there != 3 || all != 5 || l.c.Node("h1").State() != cluster.NodeDown || l.c.Node("h3").State() != cluster.NodeUp {
		t.Errorf("h3 and h4 have %d of %d votes\n%s", there, all, l.story(0))
	}
}

// lingering is a resource that takes long to end.
type lingering struct {
	light
	w     *sim.World
	ended time.Duration
}

func (r *lingering) Terminate(ctx context.Context, _ *cluster.Node) {
	_ = sim.Sleep(ctx, time.Minute)
	r.ended = r.w.Now()
}

// A node does not join again before all has ended that its cluster service had
// online when it stopped.
func TestJoinWaitsForTheEnd(t *testing.T) {
	l := newLab(t, labConfig{nodes: 3})
	slow := &lingering{w: l.w}
	g, err := l.c.AddGroup("web", "h1", nil)
	l.must(err)
	_, err = g.AddResource(cluster.ResourceConfig{Name: "site", Type: slow})
	l.must(err)
	l.must(g.Online(l.ctx()))
	l.must(l.c.Partition([]string{"h1"}))
	l.advance(10 * time.Second)
	l.must(l.c.Heal(l.ctx()))
	if slow.ended == 0 || l.c.Node("h1").State() != cluster.NodeUp {
		t.Errorf("it has ended at %v, and h1 is %v\n%s", slow.ended, l.c.Node("h1").State(), l.story(0))
	}
}

// A split that takes the place of another one counts from its own beginning.
func TestSplitAfterASplit(t *testing.T) {
	l := newLab(t, labConfig{nodes: 3})
	l.must(l.c.Partition([]string{"h1"}))
	l.advance(3 * time.Second)
	l.must(l.c.Partition([]string{"h2"}))
	l.advance(4 * time.Second)
	for _, n := range l.c.Nodes() {
		if n.State() != cluster.NodeUp {
			t.Errorf("%s is %v before anybody could miss it", n.Name(), n.State())
		}
	}
	l.advance(2 * time.Second)
	if h1, h2 := l.c.Node("h1").State(), l.c.Node("h2").State(); h1 != cluster.NodeUp || h2 != cluster.NodeDown {
		t.Errorf("h1 is %v, h2 is %v", h1, h2)
	}
}
