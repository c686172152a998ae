package main

import (
	"context"
	"fmt"
	"io"
	"strings"
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

// A stage is where a story is told: two nodes, a Cluster Shared Volume that both
// have below C:\ClusterStorage, and machines on it.
type stage struct {
	ctx     context.Context
	w       *sim.World
	out     io.Writer
	remedy  bool
	witness bool // the cluster has one
	hosts   map[string]*hyperv.Host
	c       *cluster.Cluster
	csv     *cluster.SharedVolume
	oracle  *hypervtest.Oracle // of what backups of h1 must hold
	last    map[string]uint64  // the last transaction of each machine's ledger
	titles  int                // chapters
	told    int                // events of the trace that were printed
	failed  int                // checks that did not hold
}

// The machines: three whose backup service does not run, so that a backup has to
// save them, and one that is backed up from inside.
var machines = []struct {
	name   string
	inside bool
}{
	{"db", false}, {"web", false}, {"mail", false}, {"files", true},
}

// build makes the cluster of every story.
func (s *stage) build() error {
	s.chapter("A cluster of two nodes with four virtual machines")
	s.oracle = hypervtest.NewOracle()
	s.hosts = make(map[string]*hyperv.Host)
	var nodes []cluster.NodeConfig
	for _, name := range []string{"h1", "h2"} {
		h, err := s.newHost(name)
		if err != nil {
			return err
		}
		nodes = append(nodes, cluster.NodeConfig{Name: name, Host: cluster.HyperV(h)})
	}
	var err error
	if s.c, err = cluster.New(s.w, cluster.Config{Nodes: nodes, Witness: s.witness}); err != nil {
		return err
	}
	shared, err := hyperv.NewSharedVolume(s.w, hyperv.VolumeConfig{})
	if err != nil {
		return err
	}
	if s.csv, err = s.c.AddSharedVolume(shared, "h1"); err != nil {
		return err
	}
	for _, m := range machines {
		if err := s.addMachine(m.name, m.inside); err != nil {
			return err
		}
	}
	s.narrate()
	return s.advance(3 * time.Second)
}

// newHost makes the host of a node. What its backups must hold is noted on h1.
func (s *stage) newHost(name string) (*hyperv.Host, error) {
	c := hyperv.HostConfig{Name: name, Catalog: guest.Catalog{ledger.Name: ledger.New}}
	c.Profile.Policy.InCreationOrder = true // so that every story tells of them in one order
	if name == "h1" {
		c.Manage = s.oracle.Watch
	}
	h, err := hyperv.NewHost(s.w, c)
	s.hosts[name] = h
	return h, err
}

const mebibyte = 1 << 20

// addMachine makes a machine on h1 with all its files on the shared volume, starts it
// and makes it highly available. One restart in fifteen minutes; then its group fails over.
func (s *stage) addMachine(name string, inside bool) error {
	services := guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016")
	for i, v := range services {
		if v.Name == guest.BackupService && !inside {
			services[i].Running, services[i].Start = false, guest.StartDisabled
		}
	}
	root := s.csv.Path() + `VMs\` + name
	format := guest.DiskSpec{Scheme: guest.MBR, Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: guest.NTFS}}}}
	vm, err := s.hosts["h1"].CreateVM(s.ctx, hyperv.VMConfig{
		Name: name, Root: root, MemoryMB: 16,
		Disks: []hyperv.DiskConfig{{Path: root + `\system.vhd`, Size: 16 * mebibyte, Format: &format}},
		Guest: &guest.System{OS: guest.WindowsServer2008, ComputerName: name, Services: services, Programs: []guest.Program{{Name: ledger.Name, Args: map[string]string{"rest": "1s"}}}},
	})
	if err != nil {
		return err
	}
	if err := vm.Start(s.ctx); err != nil {
		return err
	}
	c := cluster.Describe(vm)
	properties := cluster.DefaultResourceProperties()
	properties.RestartThreshold = 1
	c.Properties = &properties
	_, err = s.c.AddVM(s.ctx, c)
	return err
}

func (s *stage) advance(d time.Duration) error { return s.w.Advance(d) }

// as runs fn as a program of its own, which ends with it.
func (s *stage) as(name string, fn func(ctx context.Context) error) error {
	a := s.w.Actor(name)
	err := a.Call(s.ctx, name, fn)
	if closed := a.Close(s.ctx); err == nil {
		err = closed
	}
	return err
}

// backup is what a product does on a node: it prepares the shared volume, as
// Windows Server 2008 R2 wants it, and runs.
func (s *stage) backup(node string, target *requester.Memory) error {
	return s.as("backup of "+node, func(ctx context.Context) error { return s.runBackup(ctx, node, target) })
}

func (s *stage) runBackup(ctx context.Context, node string, target *requester.Memory) error {
	if node == "h1" {
		if err := s.oracle.Begin(s.hosts[node]); err != nil {
			return err
		}
	}
	if err := s.csv.PrepareForBackup(ctx, node); err != nil {
		return err
	}
	_, err := (&requester.Backup{Service: s.hosts[node].VSS(), Target: target, MayBeMissing: hyperv.MayBeMissing}).Run(ctx)
	return err
}

// restore puts one machine back on a node.
func (s *stage) restore(node, name string, source *requester.Memory) error {
	h := s.hosts[node]
	r := &requester.Restore{Service: h.VSS(), Source: source, Destination: h.Files()}
	r.Select = func(_ *vss.WriterMetadata, c *vss.ComponentInfo) bool {
		return c.Caption == `Backup Using Child Partition Snapshot\`+name || c.Caption == `Backup Using Saved State\`+name
	}
	return s.as("restore", func(ctx context.Context) error {
		_, err := r.Run(ctx)
		return err
	})
}

// where describes where every machine is.
func (s *stage) where() {
	for _, vm := range s.c.VMs() {
		owner := vm.Owner().Name()
		state := "not registered"
		if m := s.hosts[owner].VMByID(vm.ID()); m != nil {
			state = m.State().String()
		}
		s.say("%-6s belongs to %s and is %s there", vm.Name(), owner, state)
	}
}

func (s *stage) chapter(title string) {
	s.titles++
	title = fmt.Sprintf("%d. %s", s.titles, title)
	fmt.Fprintf(s.out, "\n%s\n%s\n", title, strings.Repeat("-", len(title)))
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, "  "+format+"\n", args...) }
