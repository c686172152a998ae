package hypervtest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A fleet is a management of one's own: machines without guests, which take two
// seconds for everything.
type fleet struct {
	machines []*appliance
	lan      [16]byte
	disk     map[string]*hyperv.Configuration // configuration files by path
	ports    byte
	log      []string
}

type appliance struct {
	hyperv.Machine
	busy sim.Mutex
}

var _ hyperv.Management = (*fleet)(nil)

func (f *fleet) add(name string, s hyperv.State) [16]byte {
	c := &hyperv.Configuration{ID: [16]byte{byte(len(name)), name[0]}, Name: name, SnapshotRoot: `D:\` + name,
		Drives: []hyperv.Drive{{Kind: hyperv.DriveVHD, Path: `D:\` + name + `\disk.vhd`}}, Adapters: []hyperv.Adapter{{Name: "one"}}}
	f.enroll(`D:\`+name+`\machine.xml`, c, s)
	return c.ID
}

func (f *fleet) enroll(path string, c *hyperv.Configuration, s hyperv.State) {
	f.disk[path] = c
	f.machines = append(f.machines, &appliance{Machine: hyperv.Machine{ID: c.ID, Path: path, Configuration: c, State: s}})
}

func (f *fleet) find(id [16]byte) (*appliance, error) {
	for _, a := range f.machines {
		if a.ID == id {
			return a, nil
		}
	}
	return nil, hyperv.ErrNotFound
}

// describe copies what a caller may change.
func (a *appliance) describe() hyperv.Machine {
	m := a.Machine
	c := *m.Configuration
	c.Drives, c.Adapters = slices.Clone(c.Drives), slices.Clone(c.Adapters)
	m.Configuration = &c
	m.Facts = hyperv.Facts{State: m.State, SnapshotLocation: c.SnapshotRoot, DiskPaths: c.VHDPaths()}
	return m
}

func (f *fleet) Machines(context.Context) ([]hyperv.Machine, error) {
	var list []hyperv.Machine
	for _, a := range f.machines {
		list = append(list, a.describe())
	}
	return list, nil
}

func (f *fleet) Machine(_ context.Context, id [16]byte) (hyperv.Machine, error) {
	a, err := f.find(id)
	if err != nil {
		return hyperv.Machine{}, err
	}
	return a.describe(), nil
}

func (f *fleet) Lock(_ context.Context, id [16]byte, operation string) error {
	a, err := f.find(id)
	if err == nil && a.LockedBy != "" {
		return hyperv.ErrInUse
	}
	if err == nil {
		a.LockedBy = operation
	}
	return err
}

func (f *fleet) Unlock(_ context.Context, id [16]byte) error {
	if a, err := f.find(id); err == nil {
		a.LockedBy = ""
	}
	return nil
}

// change takes a machine from one of some states to another.
func (f *fleet) change(ctx context.Context, id [16]byte, via, to hyperv.State, from ...hyperv.State) error {
	a, err := f.find(id)
	if err != nil {
		return err
	}
	if err := a.busy.Lock(ctx); err != nil {
		return err
	}
	defer a.busy.Unlock()
	was := a.State
	if !slices.Contains(from, was) {
		return hyperv.ErrInvalidState
	}
	a.State = via
	if err := sim.Sleep(ctx, 2*time.Second); err != nil {
		a.State = was
		return err
	}
	a.State = to
	f.log = append(f.log, fmt.Sprintf("%v %s: %v -> %v", sim.Now(ctx), a.Configuration.Name, was, to))
	return nil
}

func (f *fleet) Save(ctx context.Context, id [16]byte) error {
	return f.change(ctx, id, hyperv.StateSaving, hyperv.StateSaved, hyperv.StateRunning, hyperv.StatePaused)
}

func (f *fleet) Restore(ctx context.Context, id [16]byte, to hyperv.State) error {
	return f.change(ctx, id, hyperv.StateStarting, to, hyperv.StateSaved)
}

func (f *fleet) TurnOff(ctx context.Context, id [16]byte) error {
	return f.change(ctx, id, hyperv.StateStopping, hyperv.StateOff, hyperv.StateRunning, hyperv.StatePaused, hyperv.StateSaved, hyperv.StateOff)
}

func (f *fleet) Requestor(_ context.Context, id [16]byte) (guest.Requestor, error) {
	if _, err := f.find(id); err != nil {
		return nil, err
	}
	return nil, hyperv.ErrInvalidState // there is nobody inside
}

func (f *fleet) DropSnapshots(_ context.Context, id [16]byte, _ []guest.Copy) error {
	_, err := f.find(id)
	return err
}

func (f *fleet) Delete(_ context.Context, id [16]byte) error {
	a, err := f.find(id)
	switch {
	case err != nil:
		return err
	case a.State != hyperv.StateOff:
		return hyperv.ErrInvalidState
	case a.LockedBy != "":
		return hyperv.ErrInUse
	}
	delete(f.disk, a.Path)
	f.machines = slices.DeleteFunc(f.machines, func(b *appliance) bool { return b == a })
	return nil
}

func (f *fleet) Register(_ context.Context, path string) (hyperv.Machine, error) {
	c := f.disk[path]
	if c == nil {
		return hyperv.Machine{}, hyperv.ErrFileNotFound
	}
	if _, err := f.find(c.ID); err == nil {
		return hyperv.Machine{}, hyperv.ErrInUse
	}
	f.enroll(path, c, hyperv.StateOff)
	return f.machines[len(f.machines)-1].describe(), nil
}

func (f *fleet) Configure(_ context.Context, id [16]byte, c *hyperv.Configuration) error {
	a, err := f.find(id)
	switch {
	case err != nil:
		return err
	case a.State != hyperv.StateOff && a.State != hyperv.StateSaved:
		return hyperv.ErrInvalidState
	case c.ID != id:
		return hyperv.ErrParameter
	}
	a.Configuration = c
	a.Configuration = a.describe().Configuration
	f.disk[a.Path] = a.Configuration
	return nil
}

func (f *fleet) Connect(_ context.Context, id [16]byte, adapter int, to [16]byte) error {
	a, err := f.find(id)
	if err != nil {
		return err
	}
	if adapter < 0 || adapter >= len(a.Configuration.Adapters) || to != f.lan && to != [16]byte{} {
		return hyperv.ErrNotFound
	}
	n := &a.Configuration.Adapters[adapter]
	n.Switch, n.Port = to, [16]byte{}
	if to == f.lan {
		f.ports++
		n.Port = [16]byte{f.ports}
	}
	return nil
}

func fleetFixture() (*hypervtest.Fixture, error) {
	f := &fleet{lan: [16]byte{1}, disk: make(map[string]*hyperv.Configuration)}
	x := &hypervtest.Fixture{World: sim.New(), Management: f, Switch: f.lan}
	x.Off, x.Running = f.add("off", hyperv.StateOff), f.add("running", hyperv.StateRunning)
	x.Paused, x.Saved = f.add("paused", hyperv.StatePaused), f.add("saved", hyperv.StateSaved)
	files := make(map[string]*hyperv.Configuration)
	for path, c := range f.disk {
		files[path] = c
	}
	x.PutBack = func(path string) error { f.disk[path] = files[path]; return nil }
	return x, nil
}

func TestFleet(t *testing.T) { hypervtest.RunManagement(t, fleetFixture) }

// A management of one's own is tried with the kit, and then put behind a host's
// writer in place of the host's.
func ExampleTestManagement() {
	fmt.Println("broken promises:", hypervtest.TestManagement(fleetFixture))

	w := sim.New()
	defer func() { _ = w.Close() }()
	f := &fleet{disk: make(map[string]*hyperv.Configuration)}
	host, err := hyperv.NewHost(w, hyperv.HostConfig{Name: "h1", Volumes: hyperv.Volumes("C:", "D:"),
		Manage: func(hyperv.Management) hyperv.Management { return f }})
	if err != nil {
		fmt.Println(err)
		return
	}
	f.add("router", hyperv.StateRunning)
	f.add("spare", hyperv.StateOff)
	for _, name := range []string{"router", "spare"} {
		for _, file := range []string{`\machine.xml`, `\disk.vhd`} {
			_ = host.Volume("D").MkdirAll(`\` + name)
			_ = host.Volume("D").WriteFile(`\`+name+file, []byte("the bytes of "+name))
		}
	}
	_, err = (&requester.Backup{Service: host.VSS(), Target: &requester.Memory{}, MayBeMissing: hyperv.MayBeMissing}).Run(context.Background())
	fmt.Println("backup:", err)
	for _, line := range f.log {
		fmt.Println(line)
	}
	for _, d := range hyperv.Downtimes(w.Trace()) {
		fmt.Printf("%s was down for %v\n", d.VM, d.Duration())
	}
	// Output:
	// broken promises: <nil>
	// backup: <nil>
	// 2s router: running -> saved
	// 4s router: saved -> running
	// router was down for 4s
}
