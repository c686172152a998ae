package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// How a machine comes along when its group is moved.
func TestMoves(t *testing.T) {
	for _, c := range []struct {
		how   cluster.MoveType
		disk  bool
		boots int // after the move
		saves int
	}{
		{cluster.LiveMigration, false, 0, 0},
		{cluster.MoveSave, false, 0, 1},
		{cluster.MoveSave, true, 0, 1},
		{cluster.MoveTurnOff, true, 1, 0},
		{cluster.MoveShutdown, false, 1, 0},
		{cluster.MoveShutdownForce, true, 1, 0},
	} {
		t.Run(c.how.String(), func(t *testing.T) {
			l := newLab(t, labConfig{disk: c.disk})
			vm := l.vm("db", inside)
			vm.SetOfflineAction(cluster.ShutdownForce) // the way of the move counts
			l.advance(3 * time.Second)
			whole := l.safe(vm)
			boots, saves, since := l.count("guest/boot"), l.count("vm/state", "to=saved"), l.now()
			l.must(vm.Group().Move(l.ctx(), "h2", c.how))
			l.wantAt(vm, "h2")
			if b, s := l.count("guest/boot")-boots, l.count("vm/state", "to=saved")-saves; b != c.boots || s != c.saves {
				t.Errorf("%d boots and %d saves, want %d and %d\n%s", b, s, c.boots, c.saves, l.story(since))
			}
			if shut := l.count("guest/shutdown") > 0; shut != (c.how == cluster.MoveShutdown || c.how == cluster.MoveShutdownForce) {
				t.Errorf("a shutdown in order: %v", shut)
			}
			l.advance(5 * time.Minute)
			for _, e := range l.w.Trace()[since:] {
				if e.Kind == "cluster/event" || e.Kind == "cluster/unaware" {
					t.Errorf("%v", e)
				}
			}
			whole()
			l.clean()
			l.nextBackup()
			l.must(vm.Group().Move(l.ctx(), "", c.how)) // the best possible is h1
			l.wantAt(vm, "h1")
			l.must(vm.Group().Move(l.ctx(), "h1", c.how))
			l.clean()
		})
	}
}

// What a live migration wants.
func TestLiveMigrationIsRefused(t *testing.T) {
	l := newLab(t, labConfig{disk: true})
	vm := l.vm("db", inside)
	if err := vm.Group().Move(l.ctx(), "h2", cluster.LiveMigration); !errors.Is(err, cluster.ErrNotSupported) {
		t.Errorf("with a disk of one node: %v", err)
	}
	l.wantAt(vm, "h1")
	l = newLab(t, labConfig{})
	vm = l.vm("db", inside)
	l.must(vm.Resource().Offline(l.ctx()))
	if err := vm.Group().Move(l.ctx(), "h2", cluster.LiveMigration); !errors.Is(err, cluster.ErrResourceNotOnline) {
		t.Errorf("of a machine that does not run: %v", err)
	}
	l.must(vm.Resource().Online(l.ctx()))
	l.must(l.host("h1").VM("db").Lock("export"))
	if err := vm.Group().Move(l.ctx(), "h2", cluster.LiveMigration); !errors.Is(err, hyperv.ErrInUse) {
		t.Errorf("of a machine that is held: %v", err)
	}
	l.host("h1").VM("db").Unlock()
	l.wantAt(vm, "h1")
	l.clean()
}

// A group moves in the middle of a backup of its machine from inside, which then
// fails, whatever becomes of the machine on the way; the next backup is good.
func TestMovesDuringABackup(t *testing.T) {
	for _, how := range []cluster.MoveType{cluster.MoveTurnOff, cluster.MoveShutdown, cluster.MoveShutdownForce} {
		l := newLab(t, labConfig{})
		db := l.vm("db", inside)
		l.advance(3 * time.Second)
		whole := l.safe(db)
		f, err := sim.ParseFault("guest/answer on=h1/db/* delay=20s")
		l.must(err)
		l.w.Inject(f)
		b := l.w.Actor("backup").Go("backup", func(ctx context.Context) error {
			return l.runBackup(ctx, "h1", &requester.Memory{})
		})
		l.advance(2 * time.Second)
		if l.host("h1").VM("db").LockedBy() == "" {
			t.Fatalf("%v: no backup holds the machine\n%s", how, l.story(0))
		}
		l.must(db.Group().Move(l.ctx(), "h2", how))
		l.wantAt(db, "h2")
		if err := b.Wait(l.ctx()); err == nil {
			t.Errorf("%v: the backup does not fail\n%s", how, l.story(0))
		}
		l.advance(time.Minute)
		l.wantAt(db, "h2")
		whole()
		l.clean()
		l.w.Heal()
		l.nextBackup()
		l.clean()
	}
}

// The offline action is what an intended offline does; the next one can be another.
func TestOfflineActions(t *testing.T) {
	for action, want := range map[cluster.OfflineAction]string{
		cluster.TurnOff: "off", cluster.Save: "saved", cluster.Shutdown: "off", cluster.ShutdownForce: "off",
	} {
		l := newLab(t, labConfig{})
		vm := l.vm("db", inside, func(c *cluster.VMConfig) { c.OfflineAction = &action })
		l.must(vm.Resource().Offline(l.ctx()))
		if s := l.state("h1", "db"); s != want {
			t.Errorf("%v makes it %s", action, s)
		}
		l.must(vm.Resource().Online(l.ctx()))
		vm.SetNextOfflineAction(cluster.Save)
		for i := range 2 {
			l.must(vm.Resource().Offline(l.ctx()))
			if s := l.state("h1", "db"); i == 0 && s != "saved" || i == 1 && s != want {
				t.Errorf("the offline number %d makes it %s", i, s)
			}
			l.must(vm.Resource().Online(l.ctx()))
		}
		l.wantAt(vm, "h1")
		l.clean()
	}
}

// The configuration going offline takes the machine with it.
func TestWrongOrderOffline(t *testing.T) {
	l := newLab(t, labConfig{})
	vm := l.vm("db", inside)
	l.must(vm.Configuration().Offline(l.ctx()))
	if vm.Resource().State() != cluster.ResourceOffline || l.count("vm/state", "to=saved") != 1 || l.state("h1", "db") != "not registered" {
		t.Errorf("the machine is %v\n%s", vm.Resource().State(), l.story(0))
	}
	l.must(vm.Resource().Online(l.ctx()))
	l.wantAt(vm, "h1")
}

// A guest that stands still is missed by the heartbeat, if it is watched.
func TestHeartbeat(t *testing.T) {
	for _, watched := range []bool{true, false} {
		l := newLab(t, labConfig{})
		vm := l.vm("db", inside, func(c *cluster.VMConfig) { c.CheckHeartbeat = watched })
		l.host("h1").VM("db").Guest().Pause() // the machine runs, its guest hangs
		hung := l.w.Now()
		l.advance(time.Minute)
		seen := l.events("cluster/event", "id=1069")
		if n := len(seen); (n == 1) != watched {
			t.Errorf("watched %v: %d failures\n%s", watched, n, l.story(0))
		}
		// Two beats at 2 s, one second late, and the poll after that.
		if watched && (seen[0].Time-hung < 5*time.Second || seen[0].Time-hung > 10*time.Second) {
			t.Errorf("it was found %v later", seen[0].Time-hung)
		}
		if l.count("cluster/unaware") != 0 {
			t.Errorf("what the cluster does itself is news to it\n%s", l.story(0))
		}
		if l.host("h1").VM("db").Guest().Paused() == watched {
			t.Errorf("watched %v: the guest hangs %v", watched, !watched)
		}
		l.advance(time.Minute)
		l.wantAt(vm, "h1")
	}
}

// A guest that hangs for less than a host allows is not missed, and nor is one whose
// machine an administrator has paused.
func TestHeartbeatThatIsNotMissed(t *testing.T) {
	l := newLab(t, labConfig{})
	vm := l.vm("db", inside, func(c *cluster.VMConfig) { c.CheckHeartbeat = true })
	n := l.now()
	for range 200 { // at every distance from the polls
		g := l.host("h1").VM("db").Guest()
		g.Pause()
		l.advance(4900 * time.Millisecond)
		g.Continue()
		l.advance(130 * time.Millisecond)
	}
	l.must(l.host("h1").VM("db").Pause(l.ctx()))
	l.advance(10 * time.Minute)
	for _, e := range l.w.Trace()[n:] {
		if e.Kind == "cluster/event" || e.Kind == "cluster/restart" {
			t.Errorf("%v", e)
		}
	}
	if s := vm.Resource().State(); s != cluster.ResourceOnline {
		t.Errorf("it is %v", s)
	}
}

// A guest that crashes is restarted, and nobody was behind it.
func TestGuestCrash(t *testing.T) {
	l := newLab(t, labConfig{})
	vm := l.vm("db", inside)
	l.host("h1").VM("db").Guest().Actor().Kill()
	l.advance(time.Minute)
	l.wantAt(vm, "h1")
	if list := l.events("cluster/event", "id=1069"); len(list) != 1 || list[0].Rule != "" {
		t.Errorf("%v", list)
	}
	if l.count("cluster/restart") != 1 || l.count("cluster/unaware") != 0 {
		t.Error(l.story(0))
	}
	l.clean()
}

// What a cluster is asked for that cannot be.
func TestRefusals(t *testing.T) {
	l := newLab(t, labConfig{})
	vm := l.vm("db", inside)
	ctx := l.ctx()
	p := cluster.DefaultResourceProperties()
	p.RetryPeriodOnFailure = p.RestartPeriod - 1
	gp := cluster.DefaultGroupProperties()
	gp.PreferredOwners = []string{"h9"}
	hours := cluster.DefaultGroupProperties()
	hours.FailbackWindowEnd = 24
	other, err := l.c.AddGroup("other", "h2", nil)
	l.must(err)
	_, noNodes := cluster.New(l.w, cluster.Config{})
	_, twice := cluster.New(l.w, cluster.Config{Nodes: []cluster.NodeConfig{{Name: "a", Host: cluster.HyperV(l.hosts[0])}, {Name: "a", Host: cluster.HyperV(l.hosts[1])}}})
	_, sameGroup := l.c.AddGroup("db", "h1", nil)
	_, noNode := l.c.AddGroup("new", "h9", nil)
	_, sameVolume := l.c.AddSharedVolume(l.shared, "h1")
	_, sameResource := other.AddResource(cluster.ResourceConfig{Name: vm.Resource().Name(), Type: &light{}})
	_, foreign := other.AddResource(cluster.ResourceConfig{Name: "x", Type: &light{}, DependsOn: []*cluster.Resource{vm.Resource()}})
	_, noType := other.AddResource(cluster.ResourceConfig{Name: "x"})
	_, noVM := l.c.AddVM(ctx, cluster.VMConfig{Name: "x", Node: "h2", ID: vm.ID()})
	_, elsewhere := l.c.AddVM(ctx, cluster.VMConfig{Name: "x", Node: "h1", ID: vm.ID(), Group: "other"})
	for name, c := range map[string]struct {
		got  error
		want error
	}{
		"no nodes":              {noNodes, cluster.ErrInvalidParameter},
		"one name twice":        {twice, cluster.ErrInvalidParameter},
		"a group twice":         {sameGroup, cluster.ErrObjectAlreadyExists},
		"a group on no node":    {noNode, cluster.ErrNodeNotFound},
		"a volume twice":        {sameVolume, cluster.ErrObjectAlreadyExists},
		"a resource twice":      {sameResource, cluster.ErrObjectAlreadyExists},
		"a foreign dependency":  {foreign, cluster.ErrDependencyNotFound},
		"a resource of no type": {noType, cluster.ErrInvalidParameter},
		"a machine elsewhere":   {noVM, hyperv.ErrNotFound},
		"a group elsewhere":     {elsewhere, cluster.ErrInvalidParameter},
		"a retry too soon":      {vm.Resource().SetProperties(p), cluster.ErrInvalidParameter},
		"no preferred node":     {vm.Group().SetProperties(gp), cluster.ErrNodeNotFound},
		"hour 24":               {vm.Group().SetProperties(hours), cluster.ErrInvalidParameter},
		"pausing no node":       {l.c.Pause(ctx, "h9"), cluster.ErrNodeNotFound},
		"resuming one that is":  {l.c.Resume(ctx, "h1"), cluster.ErrInvalidState},
		"joining one that is":   {l.c.Join(ctx, "h1", cluster.HyperV(l.hosts[0])), cluster.ErrInvalidState},
		"preparing on no node":  {l.csv.PrepareForBackup(ctx, "h9"), cluster.ErrNodeNotFound},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
		if _, ok := errors.AsType[*cluster.Error](c.got); !ok {
			t.Errorf("%s: an error of type %T", name, c.got)
		}
	}
	l.wantAt(vm, "h1")
}

// A failure that is over by the time the group is free is none.
func TestFailureThatIsOver(t *testing.T) {
	l := newLab(t, labConfig{})
	g, err := l.c.AddGroup("web", "h1", nil)
	l.must(err)
	well, slow := &light{}, &light{slow: 30 * time.Second}
	site, err := g.AddResource(cluster.ResourceConfig{Name: "site", Type: well})
	l.must(err)
	_, err = g.AddResource(cluster.ResourceConfig{Name: "slow", Type: slow})
	l.must(err)
	l.must(site.Online(l.ctx()))
	busy := l.w.Actor("admin").Go("online", g.Online) // the group is not free for a while
	l.advance(time.Second)
	well.sick = true
	l.advance(10 * time.Second)
	well.sick = false
	l.must(busy.Wait(l.ctx()))
	l.advance(time.Minute)
	if n := l.count("cluster/event", "id=1069"); n != 0 || site.State() != cluster.ResourceOnline {
		t.Errorf("%d failures, the site is %v\n%s", n, site.State(), l.story(0))
	}
	well.sick = true // and the monitor goes on
	l.advance(6 * time.Second)
	if n := l.count("cluster/event", "id=1069"); n != 1 {
		t.Errorf("%d failures\n%s", n, l.story(0))
	}
}

// Without quorum the machines of the last node are stopped too, and come back when
// enough nodes have joined.
func TestMachinesNeedQuorum(t *testing.T) {
	l := newLab(t, labConfig{nodes: 3})
	vm := l.vm("db", inside)
	l.must(vm.Group().Move(l.ctx(), "h3", cluster.MoveSave))
	l.advance(3 * time.Second)
	whole := l.safe(vm)
	machine := l.host("h3").VM("db")
	l.host("h1").Actor().Kill()
	l.host("h2").Actor().Kill()
	l.advance(20 * time.Second)
	if l.c.HasQuorum() || machine.State() != hyperv.StateOff || l.host("h3").Mounted(l.shared) {
		t.Errorf("quorum %v, the machine is %v\n%s", l.c.HasQuorum(), machine.State(), l.story(0))
	}
	l.clean("quorum", "is ClusterNodeDown", "is not online", "not registered")
	if l.count("cluster/unaware") != 0 {
		t.Errorf("what the cluster does itself is news to it\n%s", l.story(0))
	}
	if err := vm.Resource().Online(l.ctx()); !errors.Is(err, cluster.ErrNodeDown) {
		t.Errorf("a resource comes online without a node: %v", err)
	}
	l.must(l.c.Join(l.ctx(), "h3", cluster.HyperV(l.host("h3"))))
	h2 := l.newHost("h2")
	l.must(l.c.Join(l.ctx(), "h2", cluster.HyperV(h2)))
	l.hosts[1] = h2
	l.advance(time.Minute)
	l.wantAt(vm, vm.Owner().Name())
	whole()
	l.clean("h1")
	l.nextBackup()
}

// A live migration that is cancelled leaves the machine where it is, running; the next
// one is carried out, and is not to be cancelled any more.
func TestCancelMigration(t *testing.T) {
	l := newLab(t, labConfig{})
	vm := l.vm("db", inside)
	if err := vm.CancelMigration(); !errors.Is(err, cluster.ErrInvalidState) || vm.Migration() != (cluster.Migration{}) {
		t.Errorf("without a migration: %v, %+v", err, vm.Migration())
	}
	moves := func() *sim.Proc {
		return l.w.Actor("administrator").Go("moves", func(ctx context.Context) error { return vm.Group().Move(ctx, "h2", cluster.LiveMigration) })
	}
	p := moves()
	l.advance(2 * time.Second)
	if m := vm.Migration(); m != (cluster.Migration{To: "h2", UnderWay: true}) {
		t.Errorf("%+v", m)
	}
	l.must(vm.CancelMigration())
	if err := p.Wait(l.ctx()); !errors.Is(err, cluster.ErrCancelled) || vm.Migration().UnderWay || !errors.Is(vm.Migration().Err, cluster.ErrCancelled) {
		t.Errorf("%v, %+v", err, vm.Migration())
	}
	l.wantAt(vm, "h1")
	l.clean()
	_, err := l.backup("h1")
	l.must(err) // nothing holds it

	l.must(moves().Wait(l.ctx()))
	l.wantAt(vm, "h2")
	if err := vm.CancelMigration(); !errors.Is(err, cluster.ErrInvalidState) || vm.Migration() != (cluster.Migration{To: "h2"}) {
		t.Errorf("after a migration: %v, %+v", err, vm.Migration())
	}
	l.advance(time.Minute)
	l.wantAt(vm, "h2")
	l.clean()
}
