package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

var worlds = flag.Int("worlds", 6, "how many random worlds TestRandomWorlds tries")

// A chaos is a cluster to which things happen in random order.
type chaos struct {
	*lab
	r    *rand.Rand
	log  []string
	dead map[string]bool
	jobs []*sim.Proc // backups that run

	faults int // how many there may still be
}

// TestRandomWorlds lets backups, moves, crashes of nodes, services, guests and what
// runs in them, splits of the network, up to two faults and administrators happen to
// clusters of up to four nodes. Meanwhile every group has one owner; and when peace
// returns, every machine runs where it belongs, nothing
// is lost or left, and the next backup succeeds.
func TestRandomWorlds(t *testing.T) {
	kinds := make(map[string]int)
	for seed := range *worlds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := &chaos{r: rand.New(rand.NewPCG(uint64(seed), 7)), dead: make(map[string]bool), faults: 2}
			c.lab = newLab(t, labConfig{
				nodes: 2 + c.r.IntN(3), disk: c.r.IntN(3) == 0, sim: []sim.Option{sim.Seed(uint64(seed))},
				config: cluster.Config{Witness: true, Detection: cluster.Detection(c.r.IntN(3)), Version: cluster.Version(c.r.IntN(2))},
			})
			for i := range 1 + c.r.IntN(3) {
				c.vm(fmt.Sprintf("vm%d", i), c.r.IntN(2) == 0, threshold(uint32(c.r.IntN(3))))
			}
			c.advance(5 * time.Second)
			whole := c.safe(c.c.VMs()...)
			for range 12 {
				kinds[c.act()]++
				c.oneOwner()
			}
			c.peace()
			whole()
			c.clean()
			c.managedBackup(c.c.VMs())
			c.clean()
			if t.Failed() {
				t.Logf("what happened: %q", c.log)
			}
		})
	}
	if *worlds >= 6 && len(kinds) < 8 {
		t.Errorf("only this happened: %v", kinds)
	}
}

// deleteShadows does what is left to an administrator: shadow copies that could not
// be deleted.
func (c *chaos) deleteShadows(h *hyperv.Host) {
	c.t.Helper()
	for _, s := range h.VSS().Snapshots() {
		c.must(c.as("administrator", func(ctx context.Context) error {
			b, err := h.VSS().CreateBackupComponents(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = b.Release(ctx) }()
			if err := b.InitializeForBackup(ctx, nil); err != nil {
				return err
			}
			_, err = b.DeleteSnapshots(ctx, s.SnapshotID, vss.ObjectSnapshot, true)
			return err
		}))
	}
}

// act does one thing and names it.
func (c *chaos) act() string {
	vms := c.c.VMs()
	vm := vms[c.r.IntN(len(vms))]
	node := c.c.Nodes()[c.r.IntN(len(c.c.Nodes()))].Name()
	all := []struct {
		name string
		do   func() error
	}{
		{"backup", func() error { c.startBackup(node); return nil }},
		{"backup and wait", func() error { c.startBackup(node); return c.waitForAll() }},
		{"move", func() error { return vm.Group().Move(c.ctx(), node, cluster.MoveType(1+c.r.IntN(4))) }},
		{"offline", func() error { return vm.Resource().Offline(c.ctx()) }},
		{"online", func() error { return vm.Resource().Online(c.ctx()) }},
		{"kill", func() error { return c.kill(node) }},
		{"join", func() error { return c.rejoin(node) }},
		{"pause", func() error { return c.c.Pause(c.ctx(), node) }},
		{"resume", func() error { return c.c.Resume(c.ctx(), node) }},
		{"guest dies", func() error { return c.killGuest(vm) }},
		{"management dies", func() error { return c.restartManagement(node) }},
		{"death", func() error { return c.killSomeone(vm, node) }},
		{"fault", func() error { c.addFault(); return nil }},
		{"cluster service dies", func() error { c.c.Node(node).Actor().Kill(); return nil }},
		{"partition", c.partition},
		{"heal", func() error { return c.c.Heal(c.ctx()) }},
	}
	a := all[c.r.IntN(len(all))]
	err := a.do()
	c.log = append(c.log, fmt.Sprintf("%s %s %s: %v", a.name, vm.Name(), node, err))
	c.advance(time.Duration(c.r.IntN(8000)) * time.Millisecond)
	return a.name
}

func (c *chaos) startBackup(node string) {
	if c.dead[node] {
		return
	}
	c.jobs = append(c.jobs, c.w.Actor("backup").Go("backup", func(ctx context.Context) error {
		return c.runBackup(ctx, node, &requester.Memory{})
	}))
}

func (c *chaos) waitForAll() error {
	for _, p := range c.jobs {
		_ = p.Wait(c.ctx()) // it may have failed, with good reason
	}
	c.jobs = nil
	return nil
}

// kill ends a node, unless it is the last: the cluster may lose its quorum.
func (c *chaos) kill(node string) error {
	if c.dead[node] || len(c.dead) == len(c.hosts)-1 {
		return nil
	}
	c.dead[node] = true
	c.host(node).Actor().Kill()
	return nil
}

// rejoin has a node join again that is down: repaired, or as it is if only its
// cluster service had stopped.
func (c *chaos) rejoin(node string) error {
	if c.c.Node(node).State() != cluster.NodeDown {
		return nil
	}
	h := c.host(node)
	if c.dead[node] {
		h = c.newHost(node)
	}
	for i := range c.hosts {
		if c.hosts[i].Name() == node {
			c.hosts[i] = h
		}
	}
	delete(c.dead, node)
	return c.c.Join(c.ctx(), node, cluster.HyperV(h))
}

func (c *chaos) killGuest(vm *cluster.VM) error {
	if m := c.host(vm.Owner().Name()).VMByID(vm.ID()); m != nil && m.Guest() != nil {
		m.Guest().Actor().Kill()
	}
	return nil
}

// killSomeone ends a program: of the host, or in a guest.
func (c *chaos) killSomeone(vm *cluster.VM, node string) error {
	owner := vm.Owner().Name()
	all := []string{
		node + "/vmms", "backup",
		owner + "/" + vm.Name(), owner + "/" + vm.Name() + "/guest/vmicvss", owner + "/" + vm.Name() + "/guest/ledger",
	}
	victim := all[c.r.IntN(len(all))]
	c.log = append(c.log, "kill "+victim)
	if a := c.w.Find(victim); a != nil {
		a.Kill()
	}
	return nil
}

// addFault has something go wrong soon, at a point that was reached before.
func (c *chaos) addFault() {
	points := slices.Concat(cluster.FaultPoints(), hyperv.FaultPoints(), requester.FaultPoints())
	faults := sim.SingleFaults(points, c.w.Hits())
	if c.faults == 0 || len(faults) == 0 {
		return
	}
	c.faults--
	f := faults[c.r.IntN(len(faults))]
	c.log = append(c.log, f.String())
	c.w.Inject(f)
}

func (c *chaos) restartManagement(node string) error {
	if c.dead[node] {
		return nil
	}
	if err := c.host(node).StopManagement(c.ctx()); err != nil {
		return err
	}
	return c.host(node).StartManagement(c.ctx())
}

// partition cuts the network into two sides; one may be empty.
func (c *chaos) partition() error {
	var sides [2][]string
	for _, n := range c.c.Nodes() {
		i := c.r.IntN(2)
		sides[i] = append(sides[i], n.Name())
	}
	return c.c.Partition(sides[:]...)
}

// oneOwner checks what has to be true at any time.
func (c *chaos) oneOwner() {
	c.t.Helper()
	for _, vm := range c.c.VMs() {
		running := 0
		for _, h := range c.hosts {
			if m := h.VMByID(vm.ID()); m != nil && !c.dead[h.Name()] && m.Guest() != nil {
				running++
			}
		}
		if running > 1 {
			c.t.Errorf("%s runs on %d nodes at once: %q\n%s", vm.Name(), running, c.log, c.story(0))
		}
	}
}

// peace is what an administrator does in the end.
func (c *chaos) peace() {
	c.t.Helper()
	c.must(c.waitForAll())
	c.w.Heal()
	c.must(c.c.Heal(c.ctx()))
	c.advance(time.Minute)
	if c.faults < 2 { // what was delayed
		c.advance(time.Hour)
	}
	for range 2 { // who died while nobody could miss him is found when the first joins
		for _, n := range c.c.Nodes() {
			c.must(c.rejoin(n.Name()))
			if n.State() == cluster.NodePaused {
				c.must(c.c.Resume(c.ctx(), n.Name()))
			}
		}
	}
	for _, h := range c.hosts {
		c.must(h.StartManagement(c.ctx()))
		c.deleteShadows(h)
	}
	c.must(c.c.RemoveOrphans())
	if c.csv != nil {
		c.csv.ClearBackupState()
	}
	c.advance(time.Minute)
	for _, vm := range c.c.VMs() {
		c.must(vm.Resource().Offline(c.ctx())) // where nobody watches, a resource may be what its machine is not
		c.must(vm.Resource().Online(c.ctx()))
	}
	c.advance(time.Minute)
	for _, vm := range c.c.VMs() {
		c.wantAt(vm, vm.Owner().Name())
	}
}
