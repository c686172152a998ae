package cluster_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// What the host and its writer do in a backup and a restore is the same, event by
// event, whether the machines belong to a cluster or there is none.
func TestR59_TheWriterDoesNotCareAboutClusters(t *testing.T) {
	alone := runOf(newLoneLab(t))
	l := newLab(t, labConfig{nodes: 1, config: cluster.Config{Detection: cluster.Off, Version: cluster.W2012}})
	member := runOf(l)
	if alone != member || len(alone) == 0 {
		t.Errorf("the runs differ:\n%s\n%s", alone, member)
	}
	if l.count("cluster/unaware") == 0 {
		t.Error("nothing happened to the cluster")
	}
}

// newLoneLab is a host of no cluster, with the same volume.
func newLoneLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, w: sim.New(), oracle: hypervtest.NewOracle()}
	t.Cleanup(func() { _ = l.w.Close() })
	l.hosts = []*hyperv.Host{l.newHost("h1")}
	var err error
	l.shared, err = hyperv.NewSharedVolume(l.w, hyperv.VolumeConfig{})
	l.must(err)
	l.must(l.hosts[0].Mount(hyperv.Mount{Volume: l.shared, Folder: volume1}))
	return l
}

// runOf backs up two machines and restores them, and returns all that happened but
// in the cluster.
func runOf(l *lab) string {
	for _, name := range []string{"db", "web"} {
		if vm := l.running(name, name == "db"); l.c != nil {
			l.available(vm)
		}
	}
	since := l.now()
	target, err := l.backup("h1")
	l.must(err)
	l.must(l.restore("h1", target))
	var b strings.Builder
	for _, e := range l.w.Trace()[since:] {
		if !strings.HasPrefix(e.Kind, "cluster/") {
			b.WriteString(e.String() + "\n")
		}
	}
	return b.String()
}

// A backup in the saved state saves the machine while its resource stays online:
// nobody asks the cluster.
func TestR60_SavedStateBackupGoesBehindTheClustersBack(t *testing.T) {
	l := newLab(t, labConfig{config: cluster.Config{Detection: cluster.Off}})
	vm := l.vm("db", saved)
	_, err := l.backup("h1")
	l.must(err)
	if l.count("vm/state", "vm=db", "to=saved") != 1 {
		t.Fatal("the machine was not saved")
	}
	list := l.events("cluster/unaware", "vm=db", "from=running", "to=saving")
	if len(list) != 1 || list[0].Rule != "R60" {
		t.Errorf("told %v", list)
	}
	if l.count("cluster/resource", "resource=Virtual Machine db", "from=ClusterResourceOnline") != 0 {
		t.Errorf("the resource has left its state\n%s", l.story(0))
	}
	l.wantAt(vm, "h1")
	l.advance(time.Minute)
	l.clean()
}

// A restore turns the machine off and deletes it while its resource stays online.
func TestR61_RestoreGoesBehindTheClustersBack(t *testing.T) {
	l := newLab(t, labConfig{config: cluster.Config{Detection: cluster.Off}})
	vm := l.vm("db", inside)
	target, err := l.backup("h1")
	l.must(err)
	l.must(l.restore("h1", target))
	list := l.events("cluster/unaware", "vm=db", "from=running", "to=stopping")
	if len(list) != 1 || list[0].Rule != "R61" || l.count("vm/delete", "vm=db") != 1 {
		t.Errorf("told %v\n%s", list, l.story(0))
	}
	if vm.Resource().State() != cluster.ResourceOnline {
		t.Errorf("the resource is %v", vm.Resource().State())
	}
}

// Either is a failure to the cluster, found by a poll or a notice: event 1069.
func TestR62_TheClusterSeesAFailure(t *testing.T) {
	for _, detection := range []cluster.Detection{cluster.Poll, cluster.Notify} {
		t.Run(detection.String(), func(t *testing.T) {
			l := newLab(t, labConfig{config: cluster.Config{Detection: detection}})
			l.vm("db", saved)
			l.slowSave("db")
			_, err := l.backup("h1")
			l.must(err)
			events := l.events("cluster/event", "id=1069", "resource=Virtual Machine db")
			if len(events) != 1 || events[0].Rule != "R62" || !strings.Contains(events[0].Get("because"), "the machine is sav") {
				t.Errorf("the backup gives %v\n%s", events, l.story(0))
			}
			began := l.events("cluster/unaware")[0].Time
			switch late := events[0].Time - began; {
			case detection == cluster.Notify && late != 0, late > 5*time.Second:
				t.Errorf("it was found %v later", late)
			}
			l.advance(time.Minute)
			target, err := l.backup("h1")
			l.must(err)
			n := l.now()
			_ = l.restore("h1", target) // it may fail with what the cluster does meanwhile
			l.advance(time.Minute)
			seen := slices.DeleteFunc(l.events("cluster/event", "id=1069"), func(e sim.Event) bool { return e.Seq <= uint64(n) })
			if len(seen) == 0 || seen[0].Rule != "R62" || seen[0].Get("resource") != "Virtual Machine db" || !strings.Contains(seen[0].Get("because"), "the machine is ") {
				t.Errorf("of the restore the cluster sees %v\n%s", seen, l.story(n))
			}
		})
	}
}

// slowSave makes every save of a machine take long enough for a poll to find it.
func (l *lab) slowSave(name string) {
	f, err := sim.ParseFault("hyperv/save on=h1/" + name + " from=1 delay=6s")
	l.must(err)
	l.w.Inject(f)
}

// The failure moves the group of the machine to another node, and with it every
// other machine on the same disk.
func TestR63_ApplicationsFailOver(t *testing.T) {
	l := newLab(t, labConfig{disk: true})
	db := l.vm("db", saved, threshold(0))
	web := l.vm("web", inside)
	l.slowSave("db")
	_, err := l.backup("h1", "db")
	if err == nil {
		t.Errorf("the backup does not notice that its volume has gone\n%s", l.story(0))
	}
	l.advance(time.Minute)
	l.wantAt(db, "h2")
	l.wantAt(web, "h2")
	list := l.events("cluster/failover", "group=machines", "to=h2")
	if len(list) != 1 || list[0].Rule != "R63" {
		t.Errorf("the failovers are %v", list)
	}
	l.clean()
}

// With the machine saved through the cluster first a backup in the saved state is
// no event, and the writer leaves the machine saved.
func TestR64_SavingThroughTheClusterIsQuiet(t *testing.T) {
	for _, detection := range []cluster.Detection{cluster.Poll, cluster.Notify} {
		l := newLab(t, labConfig{config: cluster.Config{Detection: detection}})
		vm := l.vm("db", saved, threshold(0))
		l.slowSave("db")
		vm.SetOfflineAction(cluster.TurnOff) // the remedy overrides it, once
		n := l.now()
		after, err := l.c.BeforeBackup(l.ctx(), vm)
		l.must(err)
		if s := l.state("h1", "db"); s != "saved" || vm.Configuration().State() != cluster.ResourceOnline {
			t.Errorf("db is %s, its configuration %v", s, vm.Configuration().State())
		}
		target, err := l.backup("h1")
		l.must(err)
		if s := l.state("h1", "db"); s != "saved" {
			t.Errorf("the writer made the machine %s", s)
		}
		l.advance(2 * time.Minute)
		l.must(after(l.ctx()))
		l.advance(2 * time.Minute)
		l.quiet(n)
		if len(l.events("cluster/remedy")) != 1 || l.events("cluster/remedy")[0].Rule != "R64" {
			t.Errorf("the remedy is %v", l.events("cluster/remedy"))
		}
		l.wantAt(vm, "h1")
		l.clean()
		l.findings(target)
	}
}

// findings restores a backup on a host of another world and asks the oracle
// whether all machines are what they have to be, but for those named.
func (l *lab) findings(target *requester.Memory, but ...string) {
	l.t.Helper()
	w := sim.New()
	defer func() { _ = w.Close() }()
	h, err := hyperv.NewHost(w, hyperv.HostConfig{Name: "elsewhere", Volumes: hyperv.Volumes("C:", "S:")})
	l.must(err)
	err = w.Do(context.Background(), func(ctx context.Context) error {
		_, err := (&requester.Restore{Service: h.VSS(), Source: target, Destination: h.Files()}).Run(ctx)
		return err
	})
	l.must(err)
	bad := make(map[string]error)
	for _, f := range l.oracle.Check(h) {
		if f.Err != nil {
			bad[f.VM] = f.Err
		}
	}
	for _, name := range but {
		if bad[name] == nil {
			l.t.Errorf("%s is what the backup promised", name)
		}
		delete(bad, name)
	}
	if len(bad) > 0 {
		l.t.Errorf("the restored machines: %v", bad)
	}
}

// With the resources offline first a restore is no event, and the owner stays.
func TestR65_RestoreWithResourcesOfflineIsQuiet(t *testing.T) {
	for _, detection := range []cluster.Detection{cluster.Poll, cluster.Notify} {
		l := newLab(t, labConfig{config: cluster.Config{Detection: detection}})
		vm := l.vm("db", inside, threshold(0))
		target, err := l.backup("h1")
		l.must(err)
		n := l.now()
		after, err := l.c.BeforeRestore(l.ctx(), vm)
		l.must(err)
		if s := l.state("h1", "db"); s != "not registered" {
			t.Errorf("db is %s", s)
		}
		l.must(l.restore("h1", target))
		if l.count("vm/delete") != 0 {
			t.Error("the writer found something to delete")
		}
		l.advance(2 * time.Minute)
		l.must(after(l.ctx()))
		l.advance(2 * time.Minute)
		for _, e := range l.w.Trace()[n:] {
			if e.Kind == "cluster/event" || e.Kind == "cluster/owner" || e.Kind == "cluster/restart" {
				t.Errorf("the cluster was not quiet: %v", e)
			}
		}
		if list := l.events("cluster/remedy"); len(list) != 2 || list[0].Rule != "R65" || list[1].Rule != "R65" {
			t.Errorf("the remedy is %v", list)
		}
		l.wantAt(vm, "h1")
		l.clean()
	}
}

// A backup by a snapshot inside the child: nothing to see, even for a cluster that
// hears of everything and restarts nothing.
func TestR66_ChildSnapshotBackupNeedsNoRemedy(t *testing.T) {
	l := newLab(t, labConfig{config: cluster.Config{Detection: cluster.Notify}})
	vm := l.vm("db", inside, threshold(0), func(c *cluster.VMConfig) { c.CheckHeartbeat = true })
	n := l.now()
	target, err := l.backup("h1")
	l.must(err)
	l.advance(10 * time.Minute)
	l.quiet(n)
	if l.count("hyperv/child-snapshot", "vm=db") != 1 || l.count("hyperv/save") != 0 {
		t.Error("it was no backup from inside")
	}
	for _, e := range l.w.Trace()[n:] {
		if e.Kind == "vm/state" || e.Kind == "cluster/resource" {
			t.Errorf("a state changed: %v", e)
		}
	}
	l.wantAt(vm, "h1")
	l.clean()
	l.findings(target)
}

// polled counts its polls.
type polled struct {
	light
	looks, is int
}

func (p *polled) LooksAlive(context.Context, *cluster.Node) error { p.looks++; return nil }
func (p *polled) IsAlive(context.Context, *cluster.Node) error    { p.is++; return nil }

// Both polls go on for as long as the resource is online, each at its interval.
func TestPollsGoOn(t *testing.T) {
	l := newLab(t, labConfig{})
	p := &polled{}
	g, err := l.c.AddGroup("web", "h1", nil)
	l.must(err)
	r, err := g.AddResource(cluster.ResourceConfig{Name: "site", Type: p})
	l.must(err)
	l.must(g.Online(l.ctx()))
	l.advance(10*time.Minute + time.Second)
	props := cluster.DefaultResourceProperties()
	looks, is := int(10*time.Minute/props.LooksAlivePollInterval), int(10*time.Minute/props.IsAlivePollInterval)
	if p.looks != looks || p.is != is {
		t.Errorf("%d and %d polls, want %d and %d", p.looks, p.is, looks, is)
	}
	l.must(r.Offline(l.ctx()))
	l.advance(10 * time.Minute)
	if p.looks != looks || p.is != is {
		t.Errorf("offline it was polled on: %d and %d", p.looks, p.is)
	}
}

// ofType has intervals of its own.
type ofType struct{ polled }

func (*ofType) PollIntervals() (looks, is time.Duration) { return time.Second, 20 * time.Second }

// 0xFFFFFFFF stands for the interval of the resource's type.
func TestPollsAsTheTypeSays(t *testing.T) {
	l := newLab(t, labConfig{})
	g, err := l.c.AddGroup("web", "h1", nil)
	l.must(err)
	p := cluster.DefaultResourceProperties()
	p.LooksAlivePollInterval, p.IsAlivePollInterval = cluster.OfType, cluster.OfType
	plain, own := &polled{}, &ofType{}
	for name, kind := range map[string]cluster.ResourceType{"plain": plain, "own": own} {
		_, err := g.AddResource(cluster.ResourceConfig{Name: name, Type: kind, Properties: &p})
		l.must(err)
	}
	l.must(g.Online(l.ctx()))
	l.advance(10*time.Minute + 500*time.Millisecond)
	if plain.looks != 120 || plain.is != 10 || own.looks != 600 || own.is != 30 {
		t.Errorf("%d and %d polls, and %d and %d by the type's own intervals", plain.looks, plain.is, own.looks, own.is)
	}
}

// A save that is over before the next poll is not seen by a cluster that polls.
func TestSaveBetweenTwoPolls(t *testing.T) {
	l := newLab(t, labConfig{})
	vm := l.vm("db", saved, func(c *cluster.VMConfig) {
		p := cluster.DefaultResourceProperties()
		p.LooksAlivePollInterval, p.IsAlivePollInterval = time.Hour, time.Hour
		c.Properties = &p
	})
	n := l.now()
	_, err := l.backup("h1")
	l.must(err)
	if l.count("vm/state", "vm=db", "to=saved") != 1 || l.count("cluster/unaware", "vm=db") == 0 {
		t.Fatalf("it was not saved behind the cluster's back\n%s", l.story(n))
	}
	l.advance(3 * time.Hour)
	if seen := l.count("cluster/event") + l.count("cluster/restart") + l.count("cluster/failover"); seen != 0 {
		t.Errorf("the cluster has seen it\n%s", l.story(n))
	}
	l.wantAt(vm, "h1")
	l.clean()
}

// A machine that is found saved again and again is restarted as often as its
// threshold says, and only then fails over.
func TestRestartsComeBeforeTheFailover(t *testing.T) {
	l := newLab(t, labConfig{config: cluster.Config{Detection: cluster.Notify}})
	vm := l.vm("db", inside, threshold(3))
	for i := range 4 {
		if restarts, failovers := l.count("cluster/restart", "resource=Virtual Machine db"), l.count("cluster/failover"); restarts != i || failovers != 0 {
			t.Fatalf("after %d: %d restarts, %d failovers\n%s", i, restarts, failovers, l.story(0))
		}
		l.wantAt(vm, "h1")
		l.must(l.host("h1").VM("db").Save(l.ctx()))
		l.advance(time.Minute)
	}
	if restarts, failovers := l.count("cluster/restart"), l.count("cluster/failover", "to=h2"); restarts != 3 || failovers != 1 {
		t.Errorf("%d restarts, %d failovers\n%s", restarts, failovers, l.story(0))
	}
	l.wantAt(vm, "h2")
	l.clean()
}
