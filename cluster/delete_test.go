package cluster_test

import (
	"errors"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
)

// A machine whose resources were removed stays on its node, and the cluster does
// nothing for it: neither a backup in the saved state nor a restore is a failure, and
// it ends with its node. Made highly available again it goes on somewhere else.
func TestMachineWhoseGroupIsGone(t *testing.T) {
	for _, again := range []bool{false, true} {
		l := newLab(t, labConfig{config: cluster.Config{Detection: cluster.Notify, Witness: true}})
		vm := l.vm("db", saved)
		l.must(vm.Group().Offline(l.ctx()))
		l.must(vm.Group().Delete(l.ctx()))
		if l.c.VM("db") != nil || l.c.Group("db") != nil || l.c.Resource("Virtual Machine db") != nil {
			t.Fatal("the cluster still knows it")
		}
		machine, err := l.host("h1").Register(l.ctx(), vm.Path())
		l.must(err)
		l.must(machine.Start(l.ctx()))

		n := l.now()
		target, err := l.backup("h1")
		l.must(err)
		l.must(l.restore("h1", target))
		l.advance(10 * time.Minute)
		l.quiet(n)
		if s := l.state("h1", "db"); s != "saved" {
			t.Fatalf("after the restore it is %s", s)
		}
		l.must(l.host("h1").VM("db").Start(l.ctx()))
		if again {
			vm = l.available(l.host("h1").VM("db"))
		}
		l.host("h1").Actor().Kill()
		l.advance(10 * time.Minute)
		switch {
		case again:
			if s := l.state("h2", "db"); s != "running" || vm.Owner().Name() != "h2" {
				t.Errorf("it is %s on h2, and %s owns it\n%s", s, vm.Owner().Name(), l.story(n))
			}
		case l.host("h2").VM("db") != nil:
			t.Errorf("it goes on somewhere else\n%s", l.story(n))
		}
		l.clean("ClusterNodeDown")
	}
}

// Only what is offline or has failed can be deleted, and what others depend on only
// after them; nothing changes otherwise.
func TestDeleteIsRefused(t *testing.T) {
	l := newLab(t, labConfig{})
	vm := l.vm("db", inside)
	ctx := l.ctx()
	refused := func(err error, want cluster.Code) {
		t.Helper()
		var e *cluster.Error
		if !errors.Is(err, want) || !errors.As(err, &e) || e.On == "" {
			t.Errorf("%v, want %v", err, want)
		}
	}
	group := vm.Group()
	refused(vm.Resource().Delete(ctx), cluster.ErrResourceOnline)
	refused(vm.Configuration().Delete(ctx), cluster.ErrResourceOnline)
	refused(group.Delete(ctx), cluster.ErrResourceOnline)
	l.must(vm.Resource().Offline(ctx))
	refused(group.Delete(ctx), cluster.ErrResourceOnline)
	l.must(vm.Configuration().Offline(ctx))
	refused(vm.Configuration().Delete(ctx), cluster.ErrDependentResourceExists)
	l.must(vm.Resource().Online(ctx))
	l.wantAt(vm, "h1")

	l.must(group.Offline(ctx))
	l.must(vm.Resource().Delete(ctx))
	refused(vm.Resource().Delete(ctx), cluster.ErrResourceNotFound)
	l.must(vm.Configuration().Delete(ctx))
	l.must(group.Delete(ctx))
	refused(group.Delete(ctx), cluster.ErrGroupNotFound)
	l.clean()
}

// A retry that waits is over when its resource is deleted.
func TestDeletedWhileARetryWaits(t *testing.T) {
	l := newLab(t, labConfig{})
	g, err := l.c.AddGroup("web", "h1", nil)
	l.must(err)
	kind := &light{broken: map[string]bool{"h1": true, "h2": true, "h3": true}}
	r, err := g.AddResource(cluster.ResourceConfig{Name: "site", Type: kind})
	l.must(err)
	if err := r.Online(l.ctx()); err == nil {
		t.Fatal("it comes online")
	}
	l.advance(time.Minute)
	if r.State() != cluster.ResourceFailed {
		t.Fatalf("it is %v", r.State())
	}
	kind.broken = nil
	l.must(r.Delete(l.ctx()))
	l.advance(3 * time.Hour)
	if r.State() != cluster.ResourceFailed || l.count("cluster/retry") != 0 {
		t.Errorf("it is %v\n%s", r.State(), l.story(0))
	}
}

// What was deleted cannot be used any more.
func TestDeletedIsGone(t *testing.T) {
	l := newLab(t, labConfig{})
	g, err := l.c.AddGroup("web", "h1", nil)
	l.must(err)
	r, err := g.AddResource(cluster.ResourceConfig{Name: "site", Type: &light{}})
	l.must(err)
	l.must(r.Delete(l.ctx()))
	if err := r.Online(l.ctx()); !errors.Is(err, cluster.ErrResourceNotFound) || r.State() != cluster.ResourceOffline {
		t.Errorf("a resource comes online: %v, %v", err, r.State())
	}
	if _, err := g.AddResource(cluster.ResourceConfig{Name: "page", Type: &light{}, DependsOn: []*cluster.Resource{r}}); !errors.Is(err, cluster.ErrDependencyNotFound) {
		t.Errorf("one depends on it: %v", err)
	}
	l.must(g.Delete(l.ctx()))
	if _, err := g.AddResource(cluster.ResourceConfig{Name: "page", Type: &light{}}); !errors.Is(err, cluster.ErrGroupNotFound) {
		t.Errorf("a group gets a resource: %v", err)
	}
	for what, err := range map[string]error{"online": g.Online(l.ctx()), "offline": g.Offline(l.ctx()), "move": g.Move(l.ctx(), "h2", cluster.MoveSave)} {
		if !errors.Is(err, cluster.ErrGroupNotFound) || g.Owner().Name() != "h1" {
			t.Errorf("%s: %v, owned by %s", what, err, g.Owner().Name())
		}
	}
}
