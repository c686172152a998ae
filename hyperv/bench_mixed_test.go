package hyperv_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// BenchmarkMixedHost backs up and restores hosts with machines of all kinds, and
// compares the bytes: of ten machines two are snapshotted inside, of which one has
// a differencing disk, two run without the service and one is paused, so that they
// are saved, two are saved already, and three are off. The time and the trace of a
// machine must not grow with their number.
func BenchmarkMixedHost(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		for _, parallel := range []int{1, 16} {
			b.Run(fmt.Sprintf("machines=%d/parallel=%d", n, parallel), func(b *testing.B) { runMixed(b, n, parallel) })
		}
	}
}

func runMixed(b *testing.B, n, parallel int) {
	ctx := b.Context()
	var down, whole float64
	var c costs
	for b.Loop() {
		b.StopTimer()
		oracle := hypervtest.NewOracle()
		w := sim.New(sim.Limits(0, 1<<40))
		h := mixedHost(ctx, b, w, n, hyperv.HostConfig{Manage: oracle.Watch, Profile: hyperv.Profile{Policy: hyperv.Policy{Parallel: parallel}}})
		check(b, oracle.Begin(h))
		target := newTarget()
		began := w.Now()
		b.StartTimer()
		c.begin()
		check(b, backUp(ctx, h, target))
		c.end("backup-us/vm")
		c.begin()
		check(b, restoreTo(ctx, h, target))
		c.end("restore-us/vm")
		b.StopTimer()
		whole = (w.Now() - began).Seconds()
		for _, f := range oracle.Check(h) {
			check(b, f.Err)
		}
		if len(h.VMs()) != n || len(hyperv.Audit(h)) > 0 {
			b.Fatalf("%d machines, %v", len(h.VMs()), hyperv.Audit(h))
		}
		list := hyperv.Downtimes(w.Trace())
		down = 0
		for _, d := range list {
			down += d.Duration().Seconds() / float64(len(list))
		}
		check(b, w.Close())
		b.StartTimer()
	}
	c.report(b, n)
	b.ReportMetric(down, "virtual-s-down/vm")
	b.ReportMetric(whole, "virtual-s")
}

func mixedHost(ctx context.Context, b *testing.B, w *sim.World, n int, c hyperv.HostConfig) *hyperv.Host {
	b.Helper()
	c.Name, c.Volumes, c.Catalog = "h1", hyperv.Volumes("C:", "D:"), guest.Catalog{ledger.Name: ledger.New}
	h, err := hyperv.NewHost(w, c)
	check(b, err)
	base := hyperv.DiskConfig{Path: `D:\Base\base.vhd`, Size: 6 * mib, BlockSize: 512 << 10, Format: layout(guest.NTFS)}
	check(b, h.CreateDisk(ctx, base))
	for i := range n {
		name := fmt.Sprintf("vm%05d", i)
		root := `D:\VMs\` + name
		c := hyperv.VMConfig{Name: name, Root: root, MemoryMB: 4, Disks: []hyperv.DiskConfig{vhdOf(root + `\system.vhd`)},
			Guest: &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC", Services: integration()}}
		kind := i % 10
		switch kind {
		case 0:
			child(base.Path)(&c)
		case 2, 3:
			stopped(&c)
		}
		vm, err := h.CreateVM(ctx, c)
		check(b, err)
		if kind < 7 {
			check(b, vm.Start(ctx))
		}
		switch kind {
		case 4:
			check(b, vm.Pause(ctx))
		case 5, 6:
			check(b, vm.Save(ctx))
		}
	}
	return h
}
