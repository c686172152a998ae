package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

const mib = 1 << 20

// A lab is a cluster for a test: nodes h1, h2..., and a volume that they share, as a
// Cluster Shared Volume or as a disk S: that one of them has at a time.
type lab struct {
	t      testing.TB
	w      *sim.World
	c      *cluster.Cluster
	hosts  []*hyperv.Host
	shared *hyperv.SharedVolume
	csv    *cluster.SharedVolume
	disk   *cluster.Resource
	oracle *hypervtest.Oracle // of h1
}

type labConfig struct {
	nodes  int // 2 if zero
	disk   bool
	config cluster.Config
	sim    []sim.Option
}

func newLab(t testing.TB, c labConfig) *lab {
	t.Helper()
	w := sim.New(c.sim...)
	t.Cleanup(func() {
		for _, p := range w.Panics() {
			t.Errorf("%v\n%s", p, p.Stack)
		}
		_ = w.Close()
	})
	l := &lab{t: t, w: w, oracle: hypervtest.NewOracle()}
	if c.nodes == 0 {
		c.nodes = 2
	}
	for i := range c.nodes {
		l.hosts = append(l.hosts, l.newHost(fmt.Sprintf("h%d", i+1)))
		c.config.Nodes = append(c.config.Nodes, cluster.NodeConfig{Name: l.hosts[i].Name(), Host: cluster.HyperV(l.hosts[i])})
	}
	var err error
	l.c, err = cluster.New(w, c.config)
	l.must(err)
	var letter string
	if c.disk {
		letter = "S:"
	}
	l.shared, err = hyperv.NewSharedVolume(w, hyperv.VolumeConfig{Letter: letter})
	l.must(err)
	if !c.disk {
		l.csv, err = l.c.AddSharedVolume(l.shared, "h1")
		l.must(err)
		return l
	}
	g, err := l.c.AddGroup("machines", "h1", nil)
	l.must(err)
	l.disk, err = g.AddDisk(l.shared, nil)
	l.must(err)
	l.must(l.disk.Online(l.ctx()))
	return l
}

func (l *lab) newHost(name string) *hyperv.Host {
	l.t.Helper()
	c := hyperv.HostConfig{Name: name, Catalog: guest.Catalog{ledger.Name: ledger.New}}
	c.Profile.Policy.InCreationOrder, c.Profile.Policy.InitialStore = true, true
	if name == "h1" {
		c.Manage = l.oracle.Watch
	}
	h, err := hyperv.NewHost(l.w, c)
	l.must(err)
	return h
}

func (l *lab) ctx() context.Context { return l.t.Context() }

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("%v\n%s", err, l.story(0))
	}
}

func (l *lab) advance(d time.Duration) {
	l.t.Helper()
	l.must(l.w.Advance(d))
}

// A machine's backup is taken inside it, or, without the backup service, in the
// saved state.
const (
	inside = true
	saved  = false
)

// volume1 is where the nodes have the Cluster Shared Volume.
const volume1 = `C:\ClusterStorage\Volume1`

// root is where the nodes have the shared volume.
func (l *lab) root() string {
	if l.disk != nil {
		return "S:"
	}
	return volume1
}

// vm makes a machine on the shared volume, starts it on h1 and makes it highly available.
func (l *lab) vm(name string, child bool, mods ...func(*cluster.VMConfig)) *cluster.VM {
	l.t.Helper()
	return l.available(l.running(name, child), mods...)
}

// running is a machine that no cluster knows yet.
func (l *lab) running(name string, child bool, more ...hyperv.DiskConfig) *hyperv.VM {
	l.t.Helper()
	services := guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016")
	for i, s := range services {
		if s.Name == guest.BackupService && !child {
			services[i].Running, services[i].Start = false, guest.StartDisabled
		}
	}
	root := l.root() + `\VMs\` + name
	vm, err := l.hosts[0].CreateVM(l.ctx(), hyperv.VMConfig{
		Name: name, Root: root, MemoryMB: 4,
		Disks: append([]hyperv.DiskConfig{{Path: root + `\system.vhd`, Size: 6 * mib, BlockSize: 512 << 10, Format: &guest.DiskSpec{
			Scheme: guest.MBR, Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: guest.NTFS}}},
		}}}, more...),
		Guest: &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC", Services: services, Programs: []guest.Program{{Name: ledger.Name, Args: map[string]string{"rest": "1s"}}}},
	})
	l.must(err)
	l.must(vm.Start(l.ctx()))
	return vm
}

func (l *lab) available(vm *hyperv.VM, mods ...func(*cluster.VMConfig)) *cluster.VM {
	l.t.Helper()
	c := cluster.Describe(vm)
	if l.disk != nil {
		c.Group, c.Disks = "machines", []*cluster.Resource{l.disk}
	}
	for _, mod := range mods {
		mod(&c)
	}
	ha, err := l.c.AddVM(l.ctx(), c)
	l.must(err)
	return ha
}

// threshold sets how often a machine's resources are restarted on one node.
func threshold(n uint32) func(*cluster.VMConfig) {
	return func(c *cluster.VMConfig) {
		p := cluster.DefaultResourceProperties()
		p.RestartThreshold = n
		c.Properties = &p
	}
}

// backup runs the reference requester on a node, with the call that a Cluster
// Shared Volume of Windows Server 2008 R2 wants.
func (l *lab) backup(node string, names ...string) (*requester.Memory, error) {
	l.t.Helper()
	target := &requester.Memory{}
	return target, l.as("backup", func(ctx context.Context) error { return l.runBackup(ctx, node, target, names...) })
}

func (l *lab) runBackup(ctx context.Context, node string, target requester.Files, names ...string) error {
	h := l.host(node)
	if node == "h1" {
		if err := l.oracle.Begin(h); err != nil {
			return err
		}
	}
	if l.csv != nil {
		if err := l.csv.PrepareForBackup(ctx, node); err != nil {
			return err
		}
	}
	b := &requester.Backup{Service: h.VSS(), Target: target, MayBeMissing: hyperv.MayBeMissing}
	if len(names) > 0 {
		b.Select = func(_ *vss.WriterMetadata, c *vss.ComponentInfo) bool {
			return slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(c.Caption, `\`+n) })
		}
	}
	_, err := b.Run(ctx)
	return err
}

func (l *lab) restore(node string, source *requester.Memory) error {
	l.t.Helper()
	h := l.host(node)
	return l.as("restore", func(ctx context.Context) error {
		_, err := (&requester.Restore{Service: h.VSS(), Source: source, Destination: h.Files()}).Run(ctx)
		return err
	})
}

// as runs fn as a program that can die.
func (l *lab) as(name string, fn func(ctx context.Context) error) error {
	l.t.Helper()
	a := l.w.Actor(name)
	err := a.Call(l.ctx(), name, fn)
	l.must(a.Close(l.ctx()))
	return err
}

func (l *lab) host(name string) *hyperv.Host {
	for _, h := range l.hosts {
		if h.Name() == name {
			return h
		}
	}
	l.t.Fatalf("no host %s", name)
	return nil
}

// state is what a machine does on a node.
func (l *lab) state(node, name string) string {
	if vm := l.host(node).VM(name); vm != nil {
		return vm.State().String()
	}
	return "not registered"
}

// wantAt checks where a machine is and that it runs there.
func (l *lab) wantAt(vm *cluster.VM, node string) {
	l.t.Helper()
	if s := l.state(node, vm.Name()); vm.Owner().Name() != node || s != "running" || vm.Resource().State() != cluster.ResourceOnline {
		l.t.Errorf("%s is owned by %s and %s on %s, its resource %v\n%s", vm.Name(), vm.Owner().Name(), s, node, vm.Resource().State(), l.story(0))
	}
}

// clean checks that nothing is left, but for what contains one of the words.
func (l *lab) clean(but ...string) {
	l.t.Helper()
	for _, left := range cluster.Audit(l.ctx(), l.c) {
		if !slices.ContainsFunc(but, func(word string) bool { return strings.Contains(left.String(), word) }) {
			l.t.Errorf("left over: %v\n%s", left, l.story(0))
		}
	}
}

// left lists what the audit finds.
func (l *lab) left() string {
	var b strings.Builder
	for _, x := range cluster.Audit(l.ctx(), l.c) {
		fmt.Fprintln(&b, "  "+strings.ReplaceAll(x.String(), "\n", "; "))
	}
	return b.String()
}

// count counts events of a kind with these attributes ("id=1069").
func (l *lab) count(kind string, attrs ...string) int { return len(l.events(kind, attrs...)) }

func (l *lab) events(kind string, attrs ...string) sim.Trace {
	var out sim.Trace
	for _, e := range l.w.Trace().Select(kind) {
		if !slices.ContainsFunc(attrs, func(a string) bool {
			key, value, _ := strings.Cut(a, "=")
			return e.Get(key) != value
		}) {
			out = append(out, e)
		}
	}
	return out
}

// quiet checks that the cluster has seen nothing since an event of the trace.
func (l *lab) quiet(since int) {
	l.t.Helper()
	for _, e := range l.w.Trace()[since:] {
		switch e.Kind {
		case "cluster/event", "cluster/restart", "cluster/failover", "cluster/owner", "cluster/unaware":
			l.t.Errorf("the cluster was not quiet: %v", e)
		}
	}
}

func (l *lab) now() int { return len(l.w.Trace()) }

var rewrite = flag.Bool("rewrite", false, "rewrite the transcripts in testdata")

// golden compares a text with what stands below the dashes in testdata/NAME.txt;
// what stands above tells a newcomer what is going on.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	b, err := os.ReadFile(path)
	if err != nil && !*rewrite {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(string(b), "\r\n", "\n")
	prose, _, _ := strings.Cut(want, "----\n")
	all := prose + "----\n" + got
	if *rewrite {
		if err := os.WriteFile(path, []byte(all), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != all {
		t.Errorf("%s differs (-rewrite writes it anew); got\n%s", path, got)
	}
}

// story renders what the cluster, its hosts and the writer did since an event.
func (l *lab) story(since int) string {
	var b strings.Builder
	trace := l.w.Trace()[since:]
	for _, e := range trace {
		what := strings.ReplaceAll(sentence(e), "\n", "; ")
		if what == "" || e.Kind == "cluster/group" {
			continue
		}
		who, _, _ := strings.Cut(e.Actor, "/")
		fmt.Fprintf(&b, "%8.1fs  %-8s %s", (e.Time - trace[0].Time).Seconds(), who, what)
		if e.Rule != "" {
			fmt.Fprintf(&b, "  [%s]", e.Rule)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// sentence is what an event means, or "" for one that the story leaves out.
func sentence(e sim.Event) string {
	get := e.Get
	short := func(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
	switch e.Kind {
	case "vm/state":
		return get("vm") + ": " + get("from") + " -> " + get("to")
	case "vm/register":
		return get("vm") + ": registered, " + get("state")
	case "vm/unregister":
		return get("vm") + ": no longer registered"
	case "vm/delete":
		return get("vm") + ": deleted"
	case "vm/migrated":
		return get("vm") + ": has come from " + get("from") + ", running"
	case "hyperv/save":
		return "the writer saves " + get("vm")
	case "hyperv/bring-back":
		return "the writer brings " + get("vm") + " back to " + get("to")
	case "hyperv/turn-off":
		return "the writer turns " + get("vm") + " off"
	case "hyperv/decide":
		return get("vm") + " is to be backed up by " + get("method")
	case "hyperv/undo":
		return "the writer undoes everything"
	case "provider/commit":
		if host, guest, ok := strings.Cut(e.Actor, "/guest/"); ok && guest != "" {
			return "the guest of " + short(host) + " takes shadow copies of itself"
		}
		return "the shadow copies are taken"
	case "volume/mount":
		return "has the volume " + get("volume")
	case "volume/unmount":
		return "no longer has the volume " + get("volume")
	case "cluster/resource":
		return get("resource") + ": " + strings.TrimPrefix(get("from"), "ClusterResource") + " -> " + strings.TrimPrefix(get("to"), "ClusterResource")
	case "cluster/group":
		return "group " + get("group") + ": " + strings.TrimPrefix(get("from"), "ClusterGroup") + " -> " + strings.TrimPrefix(get("to"), "ClusterGroup")
	case "cluster/node":
		return "node " + get("node") + ": " + strings.TrimPrefix(get("from"), "ClusterNode") + " -> " + strings.TrimPrefix(get("to"), "ClusterNode")
	case "cluster/unaware":
		return "behind the cluster's back, " + get("vm") + " goes from " + get("from") + " to " + get("to")
	case "cluster/event":
		s := "event " + get("id")
		for _, key := range []string{"resource", "node", "failovers", "because"} {
			if get(key) != "" {
				s += ", " + key + " " + get(key)
			}
		}
		return s
	case "cluster/restart":
		return get("resource") + " is restarted, " + get("count") + " of " + get("threshold")
	case "cluster/failover":
		return "group " + get("group") + " fails over to " + get("to") + ", the " + get("count") + ". time"
	case "cluster/owner":
		return get("to") + " owns group " + get("group") + ", because " + get("because")
	case "cluster/remedy":
		return "remedy: " + get("step")
	case "cluster/quorum":
		return "quorum " + get("quorum") + ": " + get("votes") + " of " + get("of") + " votes"
	}
	if rest, ok := strings.CutPrefix(e.Kind, "cluster/"); ok {
		s := rest
		for _, a := range e.Attrs {
			if a.Key != "shadow" {
				s += " " + a.Key + "=" + a.Value()
			}
		}
		return s
	}
	if e.Kind == "vss/post-snapshot" || e.Kind == "vss/prepare-snapshot" || e.Kind == "vss/pre-restore" || e.Kind == "vss/post-restore" {
		if get("writer") == hyperv.WriterName {
			return "WRITER " + short(e.Kind)
		}
	}
	return ""
}
