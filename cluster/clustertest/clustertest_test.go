package clustertest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/cluster/clustertest"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// newBench is a bench of two simulated Hyper-V hosts, which wrap changes.
func newBench(wrap func(cluster.Host) cluster.Host) func() (*clustertest.Bench, error) {
	return func() (*clustertest.Bench, error) {
		w := sim.New()
		b := &clustertest.Bench{World: w}
		var hosts [2]*hyperv.Host
		for i, name := range []string{"h1", "h2"} {
			h, err := hyperv.NewHost(w, hyperv.HostConfig{Name: name})
			if err != nil {
				return nil, err
			}
			hosts[i] = h
		}
		b.Host, b.Other = wrap(cluster.HyperV(hosts[0])), wrap(cluster.HyperV(hosts[1]))
		var err error
		b.Volume, err = hyperv.NewSharedVolume(w, hyperv.VolumeConfig{Letter: "S:"})
		b.Machine = func(ctx context.Context, name string) ([16]byte, string, error) {
			return machine(ctx, hosts[0], "S:", name)
		}
		b.MachineIn = func(ctx context.Context, folder, name string) ([16]byte, string, error) {
			return machine(ctx, hosts[0], folder, name)
		}
		b.Shadow = func(ctx context.Context) ([16]byte, error) { return shadow(ctx, hosts[0], b.Volume) }
		return b, err
	}
}

func machine(ctx context.Context, h *hyperv.Host, at, name string) ([16]byte, string, error) {
	root := at + `\` + name
	vm, err := h.CreateVM(ctx, hyperv.VMConfig{
		Name: name, Root: root, MemoryMB: 4,
		Disks: []hyperv.DiskConfig{{Path: root + `\system.vhd`, Size: 6 << 20, BlockSize: 512 << 10, Format: &guest.DiskSpec{
			Scheme: guest.MBR, Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: guest.NTFS}}},
		}}},
		Guest: &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC", Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016")},
	})
	if err != nil {
		return [16]byte{}, "", err
	}
	return vm.ID(), vm.ConfigurationPath(), nil
}

func shadow(ctx context.Context, h *hyperv.Host, s *hyperv.SharedVolume) ([16]byte, error) {
	id := h.Actor().NewID("shadow")
	for _, v := range h.VSS().Volumes() {
		if v.ID() == s.ID() {
			return id, v.CreateShadow(ctx, id)
		}
	}
	return id, errors.New("the volume is not mounted")
}

func same(h cluster.Host) cluster.Host { return h }

func TestHyperV(t *testing.T) { clustertest.RunHost(t, newBench(same)) }

// bare is a host without anything that is optional.
type bare struct{ cluster.Host }

func TestBareHost(t *testing.T) {
	if err := clustertest.TestHost(newBench(func(h cluster.Host) cluster.Host { return bare{h} })); err != nil {
		t.Error(err)
	}
}

// full is all that a host can offer.
type full interface {
	cluster.Host
	cluster.Notifier
	cluster.Heart
	cluster.Migrator
	Unwrap() *hyperv.Host
}

// A twin is a host in which one thing is broken: the functions that are not nil
// stand in for the methods of the same names.
type twin struct {
	full
	actor      func(h full) *sim.Actor
	state      func(ctx context.Context, h full, id [16]byte) (hyperv.State, error)
	register   func(ctx context.Context, h full, path string) ([16]byte, error)
	unregister func(ctx context.Context, h full, id [16]byte) error
	start      func(ctx context.Context, h full, id [16]byte) error
	stop       func(ctx context.Context, h full, id [16]byte, a cluster.OfflineAction) error
	mount      func(h full, m hyperv.Mount) error
	unmount    func(h full, v *hyperv.SharedVolume) [][16]byte
	mounted    func(h full, v *hyperv.SharedVolume) bool
	notices    func(h full, fn func(hyperv.StateChange)) func()
	beat       func(h full, id [16]byte) bool
	migrate    func(ctx context.Context, h full, id [16]byte, to cluster.Host) error
}

func (t *twin) Actor() *sim.Actor {
	if t.actor != nil {
		return t.actor(t.full)
	}
	return t.full.Actor()
}

func (t *twin) State(ctx context.Context, id [16]byte) (hyperv.State, error) {
	if t.state != nil {
		return t.state(ctx, t.full, id)
	}
	return t.full.State(ctx, id)
}

func (t *twin) Register(ctx context.Context, path string) ([16]byte, error) {
	if t.register != nil {
		return t.register(ctx, t.full, path)
	}
	return t.full.Register(ctx, path)
}

func (t *twin) Unregister(ctx context.Context, id [16]byte) error {
	if t.unregister != nil {
		return t.unregister(ctx, t.full, id)
	}
	return t.full.Unregister(ctx, id)
}

func (t *twin) Start(ctx context.Context, id [16]byte) error {
	if t.start != nil {
		return t.start(ctx, t.full, id)
	}
	return t.full.Start(ctx, id)
}

func (t *twin) Stop(ctx context.Context, id [16]byte, a cluster.OfflineAction) error {
	if t.stop != nil {
		return t.stop(ctx, t.full, id, a)
	}
	return t.full.Stop(ctx, id, a)
}

func (t *twin) Mount(m hyperv.Mount) error {
	if t.mount != nil {
		return t.mount(t.full, m)
	}
	return t.full.Mount(m)
}

func (t *twin) Unmount(v *hyperv.SharedVolume) [][16]byte {
	if t.unmount != nil {
		return t.unmount(t.full, v)
	}
	return t.full.Unmount(v)
}

func (t *twin) Mounted(v *hyperv.SharedVolume) bool {
	if t.mounted != nil {
		return t.mounted(t.full, v)
	}
	return t.full.Mounted(v)
}

func (t *twin) OnStateChange(fn func(hyperv.StateChange)) func() {
	if t.notices != nil {
		return t.notices(t.full, fn)
	}
	return t.full.OnStateChange(fn)
}

func (t *twin) Heartbeat(ctx context.Context, id [16]byte) bool {
	if t.beat != nil {
		return t.beat(t.full, id)
	}
	return t.full.Heartbeat(ctx, id)
}

func (t *twin) Migrate(ctx context.Context, id [16]byte, to cluster.Host) error {
	if t.migrate != nil {
		return t.migrate(ctx, t.full, id, to)
	}
	return t.full.Migrate(ctx, id, to)
}

// TestBrokenTwins: the kit finds what is wrong with each, and names the call.
func TestBrokenTwins(t *testing.T) {
	if len(twins) < 20 {
		t.Fatalf("%d twins", len(twins))
	}
	for name, c := range twins {
		t.Run(name, func(t *testing.T) {
			err := clustertest.TestHost(newBench(func(h cluster.Host) cluster.Host {
				broken := c.twin
				broken.full = h.(full)
				return &broken
			}))
			if err == nil {
				t.Fatal("nothing was found")
			}
			if b, ok := errors.AsType[*clustertest.Broken](err); !ok || b.Promise == "" {
				t.Errorf("an error of type %T", err)
			}
			if !strings.Contains(err.Error(), c.finds) {
				t.Errorf("it does not say %q: %v", c.finds, err)
			}
		})
	}
}
