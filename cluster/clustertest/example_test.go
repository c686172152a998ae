package clustertest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/cluster/clustertest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A toy is a host of one's own: machines that are nothing but a state, with a file
// that holds the identity and another one while the machine is saved.
type toy struct {
	actor   *sim.Actor
	volumes map[string]*hyperv.SharedVolume // by letter
	vms     map[[16]byte]*toyVM
}

type toyVM struct {
	path  string
	state hyperv.State
}

func newToy(w *sim.World, name string) *toy {
	return &toy{actor: w.Actor(name), volumes: make(map[string]*hyperv.SharedVolume), vms: make(map[[16]byte]*toyVM)}
}

func (t *toy) Actor() *sim.Actor { return t.actor }

func (t *toy) State(_ context.Context, id [16]byte) (hyperv.State, error) {
	if vm := t.vms[id]; vm != nil {
		return vm.state, nil
	}
	return 0, hyperv.ErrNotFound
}

// volume finds the volume of a path: `S:\db`.
func (t *toy) volume(path string) (*hyperv.SharedVolume, error) {
	if v := t.volumes[path[:1]]; v != nil {
		return v, nil
	}
	return nil, fs.ErrNotExist
}

func (t *toy) Register(_ context.Context, path string) (id [16]byte, err error) {
	v, err := t.volume(path)
	if err != nil {
		return id, err
	}
	file, err := v.ReadFile(path[2:])
	if err != nil || copy(id[:], file) < len(id) {
		return id, errors.Join(fs.ErrNotExist, err)
	}
	if t.vms[id] == nil {
		t.vms[id] = &toyVM{path: path, state: hyperv.StateOff}
		if _, err := v.Stat(path[2:] + ".saved"); err == nil {
			t.vms[id].state = hyperv.StateSaved
		}
	}
	return id, nil
}

func (t *toy) Unregister(_ context.Context, id [16]byte) error {
	if vm := t.vms[id]; vm != nil && vm.state == hyperv.StateRunning {
		return hyperv.ErrInvalidState
	}
	delete(t.vms, id)
	return nil
}

func (t *toy) Start(_ context.Context, id [16]byte) error {
	vm := t.vms[id]
	if vm == nil {
		return hyperv.ErrNotFound
	}
	v, err := t.volume(vm.path)
	if err == nil && vm.state == hyperv.StateSaved {
		err = v.Remove(vm.path[2:] + ".saved")
	}
	if err == nil {
		vm.state = hyperv.StateRunning
	}
	return err
}

func (t *toy) Stop(_ context.Context, id [16]byte, action cluster.OfflineAction) error {
	vm := t.vms[id]
	switch {
	case vm == nil:
		return hyperv.ErrNotFound
	case vm.state != hyperv.StateRunning:
		return nil
	case action != cluster.Save:
		vm.state = hyperv.StateOff
		return nil
	}
	v, err := t.volume(vm.path)
	if err == nil {
		err = v.WriteFile(vm.path[2:]+".saved", nil)
	}
	if err == nil {
		vm.state = hyperv.StateSaved
	}
	return err
}

func (t *toy) Mount(m hyperv.Mount) error {
	t.volumes[m.Volume.Letter()] = m.Volume
	return nil
}

func (t *toy) Unmount(v *hyperv.SharedVolume) [][16]byte {
	for _, vm := range t.vms {
		if on, _ := t.volume(vm.path); on == v && vm.state == hyperv.StateRunning {
			vm.state = hyperv.StateOff
		}
	}
	delete(t.volumes, v.Letter())
	return nil
}

func (t *toy) Mounted(v *hyperv.SharedVolume) bool { return t.volumes[v.Letter()] == v }

// create makes a machine on a volume that the host has.
func (t *toy) create(ctx context.Context, path string) (id [16]byte, _ string, err error) {
	id = t.actor.NewID("machine")
	v, err := t.volume(path)
	if err == nil {
		err = v.WriteFile(path[2:], id[:])
	}
	if err == nil {
		_, err = t.Register(ctx, path)
	}
	return id, path, err
}

// newToyBench is all that the kit wants to know of a toy.
func newToyBench() (*clustertest.Bench, error) {
	w := sim.New()
	v, err := hyperv.NewSharedVolume(w, hyperv.VolumeConfig{Letter: "S:"})
	h1, h2 := newToy(w, "h1"), newToy(w, "h2")
	return &clustertest.Bench{
		World: w, Host: h1, Other: h2, Volume: v,
		Machine: func(ctx context.Context, name string) ([16]byte, string, error) { return h1.create(ctx, `S:\`+name) },
	}, err
}

// A host of one's own is checked by the kit, and then it can be part of a cluster.
func Example() {
	fmt.Println("broken promises:", clustertest.TestHost(newToyBench))

	b, err := newToyBench()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = b.World.Close() }()
	ctx := context.Background()
	c, err := cluster.New(b.World, cluster.Config{
		Nodes:   []cluster.NodeConfig{{Name: "h1", Host: b.Host}, {Name: "h2", Host: b.Other}},
		Witness: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err = c.AddSharedVolume(b.Volume, "h1"); err != nil {
		fmt.Println(err)
		return
	}
	id, path, err := b.Machine(ctx, "db")
	if err != nil {
		fmt.Println(err)
		return
	}
	vm, err := c.AddVM(ctx, cluster.VMConfig{Name: "db", Node: "h1", ID: id, Path: path})
	if err == nil {
		err = vm.Resource().Online(ctx)
	}
	fmt.Println(vm.Owner().Name(), vm.Resource().State(), err)

	b.Host.Actor().Kill() // the computer dies
	err = b.World.Advance(time.Minute)
	fmt.Println(vm.Owner().Name(), vm.Resource().State(), err)
	// Output:
	// broken promises: <nil>
	// h1 ClusterResourceOnline <nil>
	// h2 ClusterResourceOnline <nil>
}

// A promise that is not kept comes with its case and the call.
func ExampleTestHost() {
	err := clustertest.TestHost(func() (*clustertest.Bench, error) {
		b, err := newToyBench()
		b.Host = forgetful{b.Host}
		return b, err
	})
	var broken *clustertest.Broken
	if errors.As(err, &broken) {
		fmt.Println(broken)
	}
	// Output:
	// unregister: Unregister: a machine that runs is refused for its state: the error is none
}

// forgetful lets running machines go.
type forgetful struct{ cluster.Host }

func (f forgetful) Unregister(ctx context.Context, id [16]byte) error {
	if err := f.Host.Unregister(ctx, id); !errors.Is(err, hyperv.ErrInvalidState) {
		return err
	}
	return nil
}
