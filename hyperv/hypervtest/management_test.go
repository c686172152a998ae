package hypervtest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// hostFixture makes a host in memory for the kit; twin puts something in front of
// its management.
func hostFixture(twin func(hyperv.Management) hyperv.Management) hypervtest.NewFixture {
	return func() (*hypervtest.Fixture, error) {
		ctx := context.Background()
		w := sim.New()
		h, err := hyperv.NewHost(w, hyperv.HostConfig{Name: "h1", Volumes: hyperv.Volumes("C:", "D:")})
		if err != nil {
			return nil, err
		}
		f := &hypervtest.Fixture{World: w, Switch: h.AddSwitch("LAN").ID}
		f.Management = h.Management()
		if twin != nil {
			f.Management = twin(f.Management)
		}
		for _, m := range []struct {
			id    *[16]byte
			state hyperv.State
		}{{&f.Off, hyperv.StateOff}, {&f.Running, hyperv.StateRunning}, {&f.Paused, hyperv.StatePaused}, {&f.Saved, hyperv.StateSaved}} {
			vm, err := newVM(ctx, h, m.state)
			if err != nil {
				return nil, err
			}
			*m.id = vm.ID()
		}
		files := make(map[string][]byte)
		for _, vm := range h.VMs() {
			files[vm.ConfigurationPath()], err = h.Volume("D").ReadFile(vm.ConfigurationPath()[2:])
		}
		f.PutBack = func(path string) error { return h.Volume("D").WriteFile(path[2:], files[path]) }
		f.Exists = func(path string) bool {
			_, err := h.Volume(path[:1]).Stat(path[2:])
			return err == nil
		}
		f.Snapshots = func(id [16]byte) (n int) {
			for _, path := range h.VMByID(id).Configuration().VHDPaths() {
				streams, _ := h.Volume("D").Streams(path[2:])
				n += len(streams)
			}
			return n
		}
		f.FailSave = func([16]byte) {
			w.Inject(sim.Fault{Point: hyperv.FaultSave, Nth: 1, Outcome: sim.Outcome{Err: 0x80070070}})
		}
		return f, err
	}
}

func newVM(ctx context.Context, h *hyperv.Host, state hyperv.State) (*hyperv.VM, error) {
	root := `D:\VMs\` + state.String()
	vm, err := h.CreateVM(ctx, hyperv.VMConfig{
		Name: state.String(), Root: root, MemoryMB: 4, Adapters: []hyperv.AdapterConfig{{}},
		Disks: []hyperv.DiskConfig{{Path: volume.Join(root, "disk.vhd"), Size: 6 << 20, BlockSize: 512 << 10, Format: &guest.DiskSpec{
			Scheme: guest.MBR, Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: guest.NTFS}}}}}},
		Guest: &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC", Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016")},
	})
	if err != nil || state == hyperv.StateOff {
		return vm, err
	}
	if err := vm.Start(ctx); err != nil {
		return nil, err
	}
	switch state {
	case hyperv.StatePaused:
		err = vm.Pause(ctx)
	case hyperv.StateSaved:
		err = vm.Save(ctx)
	}
	return vm, err
}

func TestHostManagement(t *testing.T) { hypervtest.RunManagement(t, hostFixture(nil)) }

// broken is a management whose methods can be replaced one by one.
type broken struct {
	hyperv.Management
	machines  func([]hyperv.Machine) []hyperv.Machine
	machine   func(id [16]byte) (hyperv.Machine, error)
	lock      func(ctx context.Context, id [16]byte, operation string) error
	unlock    func(ctx context.Context, id [16]byte) error
	save      func(ctx context.Context, id [16]byte) error
	restore   func(ctx context.Context, id [16]byte, to hyperv.State) error
	turnOff   func(ctx context.Context, id [16]byte) error
	requestor func(ctx context.Context, id [16]byte) (guest.Requestor, error)
	drop      func(ctx context.Context, id [16]byte, copies []guest.Copy) error
	delete    func(ctx context.Context, id [16]byte) error
	register  func(ctx context.Context, path string) (hyperv.Machine, error)
	configure func(ctx context.Context, id [16]byte, c *hyperv.Configuration) error
	connect   func(ctx context.Context, id [16]byte, adapter int, to [16]byte) error
}

func (b *broken) Machines(ctx context.Context) ([]hyperv.Machine, error) {
	list, err := b.Management.Machines(ctx)
	if b.machines != nil {
		list = b.machines(list)
	}
	return list, err
}

func (b *broken) Machine(ctx context.Context, id [16]byte) (hyperv.Machine, error) {
	if b.machine != nil {
		return b.machine(id)
	}
	return b.Management.Machine(ctx, id)
}

func (b *broken) Lock(ctx context.Context, id [16]byte, operation string) error {
	if b.lock != nil {
		return b.lock(ctx, id, operation)
	}
	return b.Management.Lock(ctx, id, operation)
}

func (b *broken) Unlock(ctx context.Context, id [16]byte) error {
	if b.unlock != nil {
		return b.unlock(ctx, id)
	}
	return b.Management.Unlock(ctx, id)
}

func (b *broken) Save(ctx context.Context, id [16]byte) error {
	if b.save != nil {
		return b.save(ctx, id)
	}
	return b.Management.Save(ctx, id)
}

func (b *broken) Restore(ctx context.Context, id [16]byte, to hyperv.State) error {
	if b.restore != nil {
		return b.restore(ctx, id, to)
	}
	return b.Management.Restore(ctx, id, to)
}

func (b *broken) TurnOff(ctx context.Context, id [16]byte) error {
	if b.turnOff != nil {
		return b.turnOff(ctx, id)
	}
	return b.Management.TurnOff(ctx, id)
}

func (b *broken) Requestor(ctx context.Context, id [16]byte) (guest.Requestor, error) {
	if b.requestor != nil {
		return b.requestor(ctx, id)
	}
	return b.Management.Requestor(ctx, id)
}

func (b *broken) DropSnapshots(ctx context.Context, id [16]byte, copies []guest.Copy) error {
	if b.drop != nil {
		return b.drop(ctx, id, copies)
	}
	return b.Management.DropSnapshots(ctx, id, copies)
}

func (b *broken) Delete(ctx context.Context, id [16]byte) error {
	if b.delete != nil {
		return b.delete(ctx, id)
	}
	return b.Management.Delete(ctx, id)
}

func (b *broken) Register(ctx context.Context, path string) (hyperv.Machine, error) {
	if b.register != nil {
		return b.register(ctx, path)
	}
	return b.Management.Register(ctx, path)
}

func (b *broken) Configure(ctx context.Context, id [16]byte, c *hyperv.Configuration) error {
	if b.configure != nil {
		return b.configure(ctx, id, c)
	}
	return b.Management.Configure(ctx, id, c)
}

func (b *broken) Connect(ctx context.Context, id [16]byte, adapter int, to [16]byte) error {
	if b.connect != nil {
		return b.connect(ctx, id, adapter, to)
	}
	return b.Management.Connect(ctx, id, adapter, to)
}

// A twin is a management that breaks one promise, and the promise, or what it
// begins with.
type twin struct {
	name    string
	promise string
	spoil   func(m hyperv.Management, b *broken)
}

var twins = []twin{
	{"lists in another order", "Machines lists", func(_ hyperv.Management, b *broken) {
		b.machines = func(l []hyperv.Machine) []hyperv.Machine { slices.Reverse(l); return l }
	}},
	{"forgets a machine that is off", "Machines lists", func(_ hyperv.Management, b *broken) {
		b.machines = func(l []hyperv.Machine) []hyperv.Machine { return l[1:] }
	}},
	{"says another state in the list", "Machine describes", func(_ hyperv.Management, b *broken) {
		b.machines = func(l []hyperv.Machine) []hyperv.Machine { l[2].State = hyperv.StateRunning; return l }
	}},
	{"answers for a guest that is saved", "nobody answers", func(m hyperv.Management, b *broken) {
		b.machine = func(id [16]byte) (hyperv.Machine, error) {
			x, err := m.Machine(context.Background(), id)
			if x.State == hyperv.StateSaved {
				x.Facts.Guest = &hyperv.GuestFacts{Installed: true}
			}
			return x, err
		}
	}},
	{"has facts without disks", "a description is sound", func(_ hyperv.Management, b *broken) {
		b.machines = func(l []hyperv.Machine) []hyperv.Machine { l[0].Facts.DiskPaths = nil; return l }
	}},
	{"hands out what it works with", "a description is the caller's own", func(m hyperv.Management, b *broken) {
		shared := make(map[[16]byte]hyperv.Machine)
		b.machine = func(id [16]byte) (hyperv.Machine, error) {
			if x, ok := shared[id]; ok {
				return x, nil
			}
			x, err := m.Machine(context.Background(), id)
			shared[id] = x
			return x, err
		}
	}},
	{"knows no ErrNotFound", "a machine that is not registered", func(m hyperv.Management, b *broken) {
		b.turnOff = func(ctx context.Context, id [16]byte) error {
			if err := m.TurnOff(ctx, id); err != nil {
				return errors.New("no such machine")
			}
			return nil
		}
	}},
	{"gives one machine to two", "Lock takes a machine", func(m hyperv.Management, b *broken) {
		b.lock = func(ctx context.Context, id [16]byte, op string) error {
			if err := m.Lock(ctx, id, op); errors.Is(err, hyperv.ErrNotFound) {
				return err
			}
			return nil
		}
	}},
	{"lets the second have it", "Lock takes a machine", func(m hyperv.Management, b *broken) {
		b.lock = func(ctx context.Context, id [16]byte, op string) error {
			err := m.Lock(ctx, id, op)
			if errors.Is(err, hyperv.ErrInUse) {
				_ = m.Unlock(ctx, id)
				_ = m.Lock(ctx, id, op)
			}
			return err
		}
	}},
	{"minds an Unlock without a lock", "Lock takes a machine", func(m hyperv.Management, b *broken) {
		b.unlock = func(ctx context.Context, id [16]byte) error {
			if x, err := m.Machine(ctx, id); err != nil || x.LockedBy == "" {
				return hyperv.ErrInvalidState
			}
			return m.Unlock(ctx, id)
		}
	}},
	{"locks the whole host", "a lock of one machine", func(m hyperv.Management, b *broken) {
		held := false
		b.lock = func(ctx context.Context, id [16]byte, op string) error {
			err := m.Lock(ctx, id, op)
			if err == nil && held {
				_ = m.Unlock(ctx, id)
				return hyperv.ErrInUse
			}
			held = held || err == nil
			return err
		}
		b.unlock = func(ctx context.Context, id [16]byte) error { held = false; return m.Unlock(ctx, id) }
	}},
	{"returns before the machine is saved", "Save returns when a running machine is saved", func(m hyperv.Management, b *broken) {
		b.save = func(ctx context.Context, id [16]byte) error {
			sim.Go(ctx, "save", func(ctx context.Context) error { return m.Save(ctx, id) })
			return nil
		}
	}},
	{"cannot save what is paused", "Save returns when a paused machine", func(m hyperv.Management, b *broken) {
		b.save = func(ctx context.Context, id [16]byte) error {
			if x, _ := m.Machine(ctx, id); x.State == hyperv.StatePaused {
				return hyperv.ErrInvalidState
			}
			return m.Save(ctx, id)
		}
	}},
	{"finds nothing wrong with saving a saved machine", "Save refuses a machine", func(m hyperv.Management, b *broken) {
		b.save = func(ctx context.Context, id [16]byte) error {
			if x, _ := m.Machine(ctx, id); x.State == hyperv.StateSaved {
				return nil
			}
			return m.Save(ctx, id)
		}
	}},
	{"turns a machine off that cannot be saved", "after a Save that fails", func(m hyperv.Management, b *broken) {
		b.save = func(ctx context.Context, id [16]byte) error {
			err := m.Save(ctx, id)
			if x, e := m.Machine(ctx, id); err != nil && e == nil && x.State == hyperv.StateRunning {
				_ = m.TurnOff(ctx, id)
			}
			return err
		}
	}},
	{"restores to running always", "Restore brings a saved machine", func(m hyperv.Management, b *broken) {
		b.restore = func(ctx context.Context, id [16]byte, _ hyperv.State) error {
			return m.Restore(ctx, id, hyperv.StateRunning)
		}
	}},
	{"finds nothing wrong with restoring what runs", "Restore refuses a machine", func(m hyperv.Management, b *broken) {
		b.restore = func(ctx context.Context, id [16]byte, to hyperv.State) error {
			if err := m.Restore(ctx, id, to); !errors.Is(err, hyperv.ErrInvalidState) {
				return err
			}
			return nil
		}
	}},
	{"judges before the machine is at rest", "Restore waits", func(m hyperv.Management, b *broken) {
		b.restore = func(ctx context.Context, id [16]byte, to hyperv.State) error {
			if x, err := m.Machine(ctx, id); err == nil && x.State != hyperv.StateSaved {
				return hyperv.ErrInvalidState
			}
			return m.Restore(ctx, id, to)
		}
	}},
	{"is content with a machine that is saved already", "of two Saves", func(m hyperv.Management, b *broken) {
		b.save = func(ctx context.Context, id [16]byte) error {
			x, err := m.Machine(ctx, id)
			if err = errors.Join(err, m.Save(ctx, id)); errors.Is(err, hyperv.ErrInvalidState) && x.State == hyperv.StateRunning {
				return nil
			}
			return err
		}
	}},
	{"minds turning off what is off", "TurnOff stops a machine", func(m hyperv.Management, b *broken) {
		b.turnOff = func(ctx context.Context, id [16]byte) error {
			if x, err := m.Machine(ctx, id); err == nil && x.State == hyperv.StateOff {
				return hyperv.ErrInvalidState
			}
			return m.TurnOff(ctx, id)
		}
	}},
	{"keeps the saved state of what is turned off", "TurnOff discards", func(m hyperv.Management, b *broken) {
		b.turnOff = func(ctx context.Context, id [16]byte) error {
			if x, err := m.Machine(ctx, id); err == nil && x.State == hyperv.StateSaved {
				return nil
			}
			return m.TurnOff(ctx, id)
		}
	}},
	{"does not heed its context", "a call ends when its context does", func(m hyperv.Management, b *broken) {
		b.save = func(ctx context.Context, id [16]byte) error {
			if err := m.Save(context.WithoutCancel(ctx), id); err != nil {
				return err
			}
			return ctx.Err()
		}
	}},
	{"asks the guest of a paused machine", "Requestor is refused", func(m hyperv.Management, b *broken) {
		b.requestor = func(ctx context.Context, id [16]byte) (guest.Requestor, error) {
			if x, err := m.Machine(ctx, id); err == nil && x.State == hyperv.StatePaused {
				return nil, nil
			}
			return m.Requestor(ctx, id)
		}
	}},
	{"does not drop", "Requestor has the guest", func(_ hyperv.Management, b *broken) {
		b.drop = func(context.Context, [16]byte, []guest.Copy) error { return nil }
	}},
	{"loses the guest in a save", "Requestor works again", func(m hyperv.Management, b *broken) {
		saved := false
		b.save = func(ctx context.Context, id [16]byte) error { saved = true; return m.Save(ctx, id) }
		b.requestor = func(ctx context.Context, id [16]byte) (guest.Requestor, error) {
			if saved {
				return nil, hyperv.ErrFailed
			}
			return m.Requestor(ctx, id)
		}
	}},
	{"minds snapshots that are gone", "DropSnapshots does not mind", func(m hyperv.Management, b *broken) {
		gone := make(map[[16]byte]bool)
		b.drop = func(ctx context.Context, id [16]byte, copies []guest.Copy) error {
			for _, c := range copies {
				if gone[c.ID] {
					return guest.ErrNoShadow
				}
				gone[c.ID] = true
			}
			return m.DropSnapshots(ctx, id, copies)
		}
	}},
	{"drops nothing of a machine that is off", "DropSnapshots deletes what a guest left", func(m hyperv.Management, b *broken) {
		b.drop = func(ctx context.Context, id [16]byte, copies []guest.Copy) error {
			if x, err := m.Machine(ctx, id); err == nil && x.State == hyperv.StateOff {
				return nil
			}
			return m.DropSnapshots(ctx, id, copies)
		}
	}},
	{"turns off what it is to delete", "Delete refuses a machine that is not off", func(m hyperv.Management, b *broken) {
		b.delete = func(ctx context.Context, id [16]byte) error {
			_ = m.TurnOff(ctx, id)
			return m.Delete(ctx, id)
		}
	}},
	{"deletes what is held", "Delete refuses a machine that an operation", func(m hyperv.Management, b *broken) {
		b.delete = func(ctx context.Context, id [16]byte) error {
			if x, err := m.Machine(ctx, id); err == nil && x.State == hyperv.StateOff {
				_ = m.Unlock(ctx, id)
			}
			return m.Delete(ctx, id)
		}
	}},
	{"deletes but forgets not", "Delete takes", func(_ hyperv.Management, b *broken) {
		b.delete = func(context.Context, [16]byte) error { return nil }
	}},
	{"registers and says nothing of it", "Register adds", func(m hyperv.Management, b *broken) {
		b.register = func(ctx context.Context, path string) (hyperv.Machine, error) {
			_, err := m.Register(ctx, path)
			return hyperv.Machine{Configuration: &hyperv.Configuration{}}, err
		}
	}},
	{"registers twice", "Register refuses", func(m hyperv.Management, b *broken) {
		b.register = func(ctx context.Context, path string) (hyperv.Machine, error) {
			x, err := m.Register(ctx, path)
			if errors.Is(err, hyperv.ErrInUse) {
				return x, nil
			}
			return x, err
		}
	}},
	{"finds nothing wrong with a file that is not there", "Register of a file", func(m hyperv.Management, b *broken) {
		b.register = func(ctx context.Context, path string) (hyperv.Machine, error) {
			x, err := m.Register(ctx, path)
			if errors.Is(err, hyperv.ErrFileNotFound) {
				return x, nil
			}
			return x, err
		}
	}},
	{"configures nothing", "Configure changes", func(_ hyperv.Management, b *broken) {
		b.configure = func(context.Context, [16]byte, *hyperv.Configuration) error { return nil }
	}},
	{"takes another identity", "Configure refuses", func(m hyperv.Management, b *broken) {
		b.configure = func(ctx context.Context, id [16]byte, c *hyperv.Configuration) error {
			if err := m.Configure(ctx, id, c); !errors.Is(err, hyperv.ErrParameter) {
				return err
			}
			return nil
		}
	}},
	{"connects once", "Connect makes a new port", func(m hyperv.Management, b *broken) {
		done := false
		b.connect = func(ctx context.Context, id [16]byte, adapter int, to [16]byte) error {
			if done && to != [16]byte{} {
				return nil
			}
			err := m.Connect(ctx, id, adapter, to)
			done = err == nil
			return err
		}
	}},
	{"does not disconnect", "Connect to no switch", func(m hyperv.Management, b *broken) {
		b.connect = func(ctx context.Context, id [16]byte, adapter int, to [16]byte) error {
			if to == [16]byte{} {
				return nil
			}
			return m.Connect(ctx, id, adapter, to)
		}
	}},
	{"disconnects from a switch that is gone", "Connect to a switch", func(m hyperv.Management, b *broken) {
		b.connect = func(ctx context.Context, id [16]byte, adapter int, to [16]byte) error {
			err := m.Connect(ctx, id, adapter, to)
			if errors.Is(err, hyperv.ErrNotFound) && adapter == 0 {
				return m.Connect(ctx, id, adapter, [16]byte{})
			}
			return err
		}
	}},
	{"panics", "a machine that is not registered", func(m hyperv.Management, b *broken) {
		b.requestor = func(ctx context.Context, id [16]byte) (guest.Requestor, error) {
			r, err := m.Requestor(ctx, id)
			if errors.Is(err, hyperv.ErrNotFound) {
				panic("no machine")
			}
			return r, err
		}
	}},
	{"sleeps a day over a lock", "Lock takes a machine", func(m hyperv.Management, b *broken) {
		b.unlock = func(ctx context.Context, id [16]byte) error {
			if err := sim.Sleep(ctx, 49*time.Hour); err != nil {
				return err
			}
			return m.Unlock(ctx, id)
		}
	}},
}

// Every twin is caught over the promise that it breaks.
func TestManagementTwins(t *testing.T) {
	if len(twins) < 20 {
		t.Fatalf("%d twins", len(twins))
	}
	for _, tw := range twins {
		t.Run(tw.name, func(t *testing.T) {
			err := hypervtest.TestManagement(hostFixture(func(m hyperv.Management) hyperv.Management {
				b := &broken{Management: m}
				tw.spoil(m, b)
				return b
			}))
			if err == nil {
				t.Fatal("it survives")
			}
			var promises []string
			for line := range strings.SplitSeq(err.Error(), "\n") {
				promises = append(promises, line)
			}
			if !slices.ContainsFunc(promises, func(p string) bool { return strings.HasPrefix(p, tw.promise) }) {
				t.Errorf("caught over something else: %v", err)
			}
			if _, ok := errors.AsType[*hypervtest.Broken](err); !ok {
				t.Errorf("no *Broken: %v", err)
			}
		})
	}
}
