package hyperv_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// tree lists all files of the host with their sizes.
func (l *lab) tree() []string {
	l.t.Helper()
	var out []string
	l.must(fs.WalkDir(l.h.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out = append(out, name+" "+info.Mode().String())
		return nil
	}))
	return out
}

// A machine that cannot be made leaves nothing: no file, no folder, no port, no
// registration. Then the same, put right, succeeds.
func TestCreateVMLeavesNothing(t *testing.T) {
	full := func(l *lab, _ *hyperv.VMConfig) {
		v := l.h.Volume("D")
		v.SetCapacity(v.Capacity() - v.Free() + 64<<10)
	}
	for name, f := range map[string]struct {
		plan string
		do   func(l *lab, c *hyperv.VMConfig)
	}{
		"no name":                   {do: func(_ *lab, c *hyperv.VMConfig) { c.Name = "" }},
		"too much memory":           {do: func(_ *lab, c *hyperv.VMConfig) { c.MemoryMB = 1 << 40 }},
		"no such volume":            {do: func(_ *lab, c *hyperv.VMConfig) { c.Disks[1].Path = `E:\a.vhd` }},
		"a path without volume":     {do: func(_ *lab, c *hyperv.VMConfig) { c.Disks[1].Path = `a.vhd` }},
		"an impossible path":        {do: func(_ *lab, c *hyperv.VMConfig) { c.Disks[1].Path = `D:\a*.vhd` }},
		"a root without volume":     {do: func(_ *lab, c *hyperv.VMConfig) { c.Root = `E:\VMs` }},
		"a folder in place of disk": {do: func(l *lab, c *hyperv.VMConfig) { l.must(l.h.Volume("D").MkdirAll(c.Disks[1].Path[2:])) }},
		"a disk without size":       {do: func(_ *lab, c *hyperv.VMConfig) { c.Disks[1].Size = 0 }},
		"a negative size":           {do: func(_ *lab, c *hyperv.VMConfig) { c.Disks[1].Size = -512 }},
		"a crooked block size":      {do: func(_ *lab, c *hyperv.VMConfig) { c.Disks[1].BlockSize = 1000 }},
		"too many partitions": {do: func(_ *lab, c *hyperv.VMConfig) {
			c.Disks[1].Format = layout(slices.Repeat([]guest.FileSystemKind{guest.NTFS}, 5)...)
		}},
		"no volume to install on": {do: func(_ *lab, c *hyperv.VMConfig) { c.Disks[0].Format, c.Disks[1].Format = nil, nil }},
		"an impossible guest":     {do: func(_ *lab, c *hyperv.VMConfig) { c.Guest.ComputerName = "" }},
		"disk full":               {do: full},
		"register":                {plan: "hyperv/register on=h1 nth=2 err=0x80070020"},
		"a configuration there": {do: func(l *lab, c *hyperv.VMConfig) {
			c.ID = [16]byte{7}
			l.must(l.h.Volume("D").MkdirAll(`\VMs\new\Virtual Machines`))
			l.must(l.h.Volume("D").WriteFile(`\VMs\new\Virtual Machines\07000000-0000-0000-0000-000000000000.xml`, []byte("x")))
		}},
		"a file in place of link": {do: func(l *lab, c *hyperv.VMConfig) {
			c.ID = [16]byte{7}
			l.must(l.h.Volume("C").WriteFile(hyperv.DefaultRoot[2:]+`\Virtual Machines\07000000-0000-0000-0000-000000000000.xml`, []byte("x")))
		}},
		"a disk twice":       {do: func(_ *lab, c *hyperv.VMConfig) { c.Disks[1].Path = strings.ToUpper(c.Disks[0].Path) }},
		"no such LUN":        {do: func(_ *lab, c *hyperv.VMConfig) { c.Disks[1] = hyperv.DiskConfig{PassThrough: "lun0"} }},
		"no such target":     {do: func(_ *lab, c *hyperv.VMConfig) { c.Disks[1] = hyperv.DiskConfig{Initiator: "iqn"} }},
		"an identity in use": {do: func(l *lab, c *hyperv.VMConfig) { c.ID = l.h.VM("old").ID() }},
	} {
		t.Run(name, func(t *testing.T) {
			var plans []string
			if f.plan != "" {
				plans = append(plans, f.plan)
			}
			l := newLab(t, sim.Plan(plans...))
			l.machine("old")
			bad := l.config("new", also("data.vhd", guest.NTFS), onSwitch(l.lan))
			bad.Disks[0].Fixed = true
			good := l.config("new", also("data.vhd", guest.NTFS), onSwitch(l.lan))
			if f.do != nil {
				f.do(l, &bad)
			}
			before := l.tree()
			vm, err := l.h.CreateVM(l.ctx(), bad)
			if err == nil || vm != nil || len(l.w.Panics()) > 0 {
				t.Fatalf("%v, %v", vm, err)
			}
			if after := l.tree(); !slices.Equal(before, after) {
				t.Errorf("left over:\n%s", strings.Join(slices.DeleteFunc(after, func(s string) bool { return slices.Contains(before, s) }), "\n"))
			}
			if len(l.lan.Ports()) != 0 || len(l.h.VMs()) != 1 || l.w.Find("h1/new") != nil {
				t.Errorf("%d ports, %s", len(l.lan.Ports()), l.describe())
			}
			l.must(l.h.Volume("D").RemoveAll(`\VMs\new`))
			l.h.Volume("D").SetCapacity(1 << 40)
			vm, err = l.h.CreateVM(l.ctx(), good)
			l.must(err)
			l.must(vm.Start(l.ctx()))
			l.works(vm)
		})
	}
}

// Disks that cannot be attached: the machine does not start, says which disk it
// was, is off, and holds none of the others.
func TestStartWithoutADisk(t *testing.T) {
	const path = `\VMs\vm\data.vhd`
	for name, f := range map[string]struct {
		do func(l *lab)
		is error
	}{
		"missing":   {func(l *lab) { l.must(l.h.Volume("D").Remove(path)) }, volume.ErrFileNotFound},
		"empty":     {func(l *lab) { l.must(l.h.Volume("D").WriteFile(path, nil)) }, nil},
		"no VHD":    {func(l *lab) { l.must(l.h.Volume("D").WriteFile(path, make([]byte, 4096))) }, nil},
		"cut":       {func(l *lab) { l.must(l.h.Volume("D").WriteFile(path, l.bytes("D:" + path)[:1024])) }, nil},
		"in use":    {func(l *lab) { l.open(path) }, volume.ErrSharingViolation},
		"read-only": {func(l *lab) { l.must(l.h.Volume("D").SetAttributes(path, volume.ReadOnly)) }, volume.ErrAccessDenied},
	} {
		l := newLab(t)
		vm := l.machine("vm", also("data.vhd", guest.NTFS))
		f.do(l)
		err := vm.Start(l.ctx())
		var e *hyperv.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), path) || f.is != nil && !errors.Is(err, f.is) {
			t.Errorf("%s: %v", name, err)
		}
		if vm.State() != hyperv.StateOff || len(l.w.Panics()) > 0 {
			t.Errorf("%s: the machine is %v", name, vm.State())
		}
		l.works(vm)
		if _, err := l.backup(); err != nil && name != "missing" {
			t.Errorf("%s: the backup of a machine that is off: %v", name, err)
		}
		l.settled()
	}
}

// open opens a file of D: for writing, until the test is over.
func (l *lab) open(path string) {
	l.t.Helper()
	f, err := l.h.Volume("D").OpenFile(path, volume.ReadWrite, volume.Exclusive)
	l.must(err)
	l.t.Cleanup(func() { _ = f.Close() })
}

// A VHD that exists is attached as it is; two machines may have it, and the one
// that runs holds it.
func TestSharedVHD(t *testing.T) {
	l := newLab(t)
	one := l.machine("one")
	two := l.machine("two", func(c *hyperv.VMConfig) { c.Disks, c.Guest = []hyperv.DiskConfig{{Path: `D:\VMs\one\system.vhd`}}, nil })
	l.must(one.Start(l.ctx()))
	if err := two.Start(l.ctx()); !errors.Is(err, volume.ErrSharingViolation) || two.State() != hyperv.StateOff {
		t.Errorf("%v, two is %v", err, two.State())
	}
	l.must(one.TurnOff(l.ctx()))
	l.must(two.Start(l.ctx()))
	l.mustBackup()
	l.settled()
}

// Fixed and dynamic VHDs, MBR and GPT, with identities of their own.
func TestDisksOfANewMachine(t *testing.T) {
	l := newLab(t)
	fixed, gpt := vhdOf(`D:\VMs\vm\fixed.vhd`), vhdOf(`D:\VMs\vm\gpt.vhd`)
	fixed.Fixed = true
	gpt.Format = &guest.DiskSpec{Scheme: guest.GPT, Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: guest.NTFS}}}}
	vm := l.running("vm", withDisk(fixed), withDisk(gpt))
	seen := make(map[[16]byte]bool)
	for i, path := range vm.Configuration().VHDPaths() {
		f, err := l.h.Volume("D").Open(path[2:])
		l.must(err)
		image, err := vhd.Open(f, f.Size())
		l.must(err)
		if want := map[bool]vhd.Type{true: vhd.Fixed, false: vhd.Dynamic}[i == 1]; image.Type() != want || image.Size() != 6*mib || seen[image.ID()] {
			t.Errorf("%s: %v, %d bytes", path, image.Type(), image.Size())
		}
		seen[image.ID()] = true
	}
	if n := len(vm.Guest().Volumes()); n != 3 {
		t.Errorf("the guest has %d volumes", n)
	}
	l.decides(vm, hyperv.MethodChildSnapshot)
	l.mustBackup()
	l.settled()
}

// The host's pool gives no address twice; one that comes with a restored machine is
// left out, and two of a kind are told.
func TestAddressesOfAdapters(t *testing.T) {
	l := newLab(t)
	l.machine("db", onSwitch(l.lan), onSwitch(l.lan))
	target := l.mustBackup()

	o := newLabOf(t, hyperv.HostConfig{Name: "h2"})
	first := o.machine("first", onSwitch(o.lan))
	o.mustRestore(target)
	if e := o.event("vm/mac-collision", "vm=db"); e.Get("mac") != first.Configuration().Adapters[0].MAC {
		t.Errorf("%v", e)
	}
	later := o.machine("later", onSwitch(o.lan)).Configuration().Adapters[0].MAC
	for _, a := range o.h.VM("db").Configuration().Adapters {
		if a.MAC == later {
			t.Errorf("%s is given out twice", later)
		}
	}
	o.remove(o.h.VM("db"))
	o.mustRestore(target)
	o.mustRestore(target)
	if n := len(o.w.Trace().Select("vm/mac-collision")); n == 0 {
		t.Error("no collision is told")
	}
}

// An adapter without an address has none to give back, and two such collide in
// nothing.
func TestAdaptersWithoutAnAddress(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	c := vm.Configuration()
	c.Adapters = []hyperv.Adapter{{Name: "one"}, {Name: "two"}}
	l.must(vm.Configure(l.ctx(), c))
	target := l.mustBackup()
	l.mustRestore(target)
	l.must(l.h.VM("db").Delete(l.ctx()))
	if n := len(l.w.Trace().Select("vm/mac-collision")); n != 0 {
		t.Errorf("%d collisions are told", n)
	}
}

// What a host refuses to be.
func TestNewHostRefuses(t *testing.T) {
	w := sim.New()
	defer func() { _ = w.Close() }()
	for name, c := range map[string]hyperv.HostConfig{
		"no letter":       {Volumes: hyperv.Volumes("")},
		"two letters":     {Volumes: hyperv.Volumes("CD:")},
		"a path":          {Volumes: hyperv.Volumes(`C:\x`)},
		"the same twice":  {Volumes: hyperv.Volumes("C:", "c:")},
		"root elsewhere":  {Volumes: hyperv.Volumes("C:"), Root: `E:\x`},
		"root of no form": {Root: `x`},
	} {
		c.Name = "h1"
		if h, err := hyperv.NewHost(w, c); err == nil {
			t.Errorf("%s: %v", name, h.Name())
		}
	}
	h, err := hyperv.NewHost(w, hyperv.HostConfig{Name: "h2", Volumes: hyperv.Volumes("c:", "D:"), Root: `D:\Hyper-V`})
	if err != nil {
		t.Fatal(err)
	}
	if h.Name() != "h2" || h.Root() != `D:\Hyper-V` || h.World() != w || h.Actor().Path() != "h2" || len(h.Switches()) != 0 {
		t.Errorf("%s, %s", h.Name(), h.Root())
	}
	for _, letter := range []string{"", "E", "C:\\"} {
		if v := h.Volume(letter); (v != nil) != (letter == "C:\\") {
			t.Errorf("volume %q: %v", letter, v)
		}
	}
}

// wholeVolumes makes a backup without components, as programs do that copy volumes
// whole, and returns the writer's status when the set is there.
func (l *lab) wholeVolumes(volumes ...string) (st vss.WriterStatus) {
	l.t.Helper()
	l.note()
	l.must(l.as("backup", func(ctx context.Context) error {
		b, err := l.h.VSS().CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = b.Release(ctx) }()
		err = errors.Join(b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{Type: vss.BackupCopy}), b.GatherWriterMetadata(ctx))
		if err == nil {
			_, err = b.StartSnapshotSet(ctx)
		}
		for _, v := range volumes {
			if err == nil {
				_, err = b.AddToSnapshotSet(ctx, v, [16]byte{})
			}
		}
		if err = errors.Join(err, b.PrepareForBackup(ctx), b.DoSnapshotSet(ctx), b.GatherWriterStatus(ctx)); err != nil {
			return err
		}
		if st, err = b.GetWriterStatus(0); err != nil || st.Code != vss.SOK {
			return err
		}
		return b.BackupComplete(ctx)
	}))
	return st
}

// Without components all machines are in the backup, those with a broken
// configuration left out.
func TestBackupWithoutComponents(t *testing.T) {
	l := newLab(t)
	crew(l)
	broken := l.machine("broken")
	l.advance(time.Second)
	l.must(l.h.Volume("D").WriteFile(broken.ConfigurationPath()[2:], []byte("x")))
	if st := l.wholeVolumes(`C:\`, `D:\`); st.Code != vss.SOK {
		t.Errorf("%+v", st)
	}
	if n, m := len(l.w.Trace().Select("hyperv/decide")), len(l.w.Trace().Select("hyperv/roll-back")); n != 6 || m != 2 {
		t.Errorf("%d machines, %d rolled back", n, m)
	}
	l.settled()
	l.must(l.h.VM("mine").Lock("export"))
	if st := l.wholeVolumes(`C:\`, `D:\`); st.State != atPrepareBackup || st.Code != retryable || !strings.Contains(st.Message, "mine: ") {
		t.Errorf("%+v", st)
	}
	l.h.VM("mine").Unlock()
	l.settled()
}

// The volume that machines lie on is not among those of the set, or is taken away.
func TestVolumeIsTakenAway(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: inOrder})
	crew(l)
	for range 2 {
		if st := l.wholeVolumes(`C:\`); st.State != atPrepareSnapshot || st.Code != inconsistent || !strings.Contains(st.Message, "db: ") || !strings.Contains(st.Message, "lacks D:") {
			t.Errorf("%+v", st)
		}
		l.settled()
		if err := l.h.VSS().RemoveVolume(`D:\`); err != nil {
			t.Logf("the second time: %v", err)
		}
	}
}

// Hosts give out the addresses of their own range, each while nobody has it, and a
// range that is used up makes no machine.
func TestRangeOfAddresses(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{MACs: hyperv.MACRange{Min: "00155d0a00fe", Max: "00155D0A0100"}})
	nics := func(n int) mod {
		return func(c *hyperv.VMConfig) { c.Adapters = make([]hyperv.AdapterConfig, n) }
	}
	addresses := func(vm *hyperv.VM) (out []string) {
		for _, a := range vm.Configuration().Adapters {
			out = append(out, a.MAC)
		}
		return out
	}
	one := l.machine("one", nics(2))
	if got := addresses(one); !slices.Equal(got, []string{"00155D0A00FE", "00155D0A00FF"}) {
		t.Errorf("%q", got)
	}
	if got := addresses(l.machine("two", nics(1))); !slices.Equal(got, []string{"00155D0A0100"}) {
		t.Errorf("%q", got)
	}
	for _, n := range []int{1, 4} {
		_, err := l.h.CreateVM(l.ctx(), l.config("three", nics(n)))
		if e, ok := errors.AsType[*hyperv.Error](err); !ok || e.On != "three" || !strings.Contains(err.Error(), "every MAC address") || l.h.VM("three") != nil {
			t.Errorf("%d of a range that is used up: %v", n, err)
		}
	}
	l.must(one.Delete(l.ctx()))
	if _, err := l.h.CreateVM(l.ctx(), l.config("three", nics(3))); err == nil {
		t.Error("three addresses where two are free")
	}
	if got := addresses(l.machine("four", nics(2))); !slices.Contains(got, "00155D0A00FE") || !slices.Contains(got, "00155D0A00FF") {
		t.Errorf("%q", got)
	}
	for _, bad := range []hyperv.MACRange{{Min: "00155D000001"}, {"00155D000002", "00155D000001"}, {"00155D00000G", "00155D0000FF"}, {"1", "2"}, {"0000155D000001", "0000155D000002"}} {
		if _, err := hyperv.NewHost(l.w, hyperv.HostConfig{Name: "bad", MACs: bad}); !errors.Is(err, hyperv.ErrParameter) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
