package hyperv_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// newTarget is a target in memory to which files go by reference.
func newTarget() requester.Files { return volume.New(volume.Config{}).FS() }

func restoreTo(ctx context.Context, h *hyperv.Host, target requester.Files) error {
	_, err := (&requester.Restore{Service: h.VSS(), Source: target, Destination: h.Files()}).Run(ctx)
	return err
}

func backUp(ctx context.Context, h *hyperv.Host, target requester.Files) error {
	_, err := (&requester.Backup{Service: h.VSS(), Target: target, MayBeMissing: hyperv.MayBeMissing}).Run(ctx)
	return err
}

// BenchmarkSmallScenario is a whole world: a host with a machine that is
// snapshotted and one that is saved, each with a disk and a ledger; a backup; the
// machines destroyed; a restore; the bytes compared.
func BenchmarkSmallScenario(b *testing.B) {
	ctx := b.Context()
	spec := worldSpec{seed: 1, vms: []vmSpec{
		{state: hyperv.StateRunning, os: guest.WindowsServer2008, offered: true, service: true, ledger: true, single: true},
		{state: hyperv.StateRunning, os: guest.WindowsServer2008, offered: true, ledger: true, single: true},
	}}
	b.ReportAllocs()
	for b.Loop() {
		w, err := spec.build(ctx, sim.Seed(spec.seed))
		check(b, err)
		target := newTarget()
		check(b, backUp(ctx, w.host, target))
		for _, vm := range w.host.VMs() {
			if vm.State() != hyperv.StateOff {
				check(b, vm.TurnOff(ctx))
			}
			check(b, vm.Delete(ctx))
		}
		check(b, w.host.Volume("D:").RemoveAll(`\VMs`))
		check(b, restoreTo(ctx, w.host, target))
		for _, f := range w.oracle.Check(w.host) {
			check(b, f.Err)
		}
		check(b, w.Close())
	}
}

// BenchmarkHost builds, backs up and restores hosts with many machines that are
// off. What one machine costs must not grow with their number: the time of the
// three together and of each, the bytes and the number of allocations, and the
// bytes that a machine holds when it is built.
func BenchmarkHost(b *testing.B) {
	for _, n := range []int{10, 1000, 10000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 10000 && testing.Short() {
				b.Skip("takes a minute")
			}
			var c costs
			for b.Loop() {
				runHost(b, n, &c)
			}
			c.report(b, n)
		})
	}
}

func runHost(b *testing.B, n int, c *costs) {
	ctx := b.Context()
	w := sim.New(sim.Limits(0, 1<<40))
	before := c.heap()
	c.begin()
	h := hostWith(ctx, b, w, n)
	c.end("build-us/vm")
	c.held += c.heap() - before
	target := newTarget()
	c.begin()
	check(b, backUp(ctx, h, target))
	c.end("backup-us/vm")
	c.begin()
	check(b, restoreTo(ctx, h, target))
	c.end("restore-us/vm")
	if len(h.VMs()) != n {
		b.Fatalf("%d machines", len(h.VMs()))
	}
	check(b, w.Close())
}

// costs add up what the parts of a benchmark take.
type costs struct {
	spent              map[string]time.Duration
	bytes, count, held uint64
	began              time.Time
	at                 runtime.MemStats
}

// heap is what the heap holds.
func (c *costs) heap() uint64 {
	runtime.GC()
	runtime.ReadMemStats(&c.at)
	return c.at.HeapAlloc
}

func (c *costs) begin() {
	runtime.ReadMemStats(&c.at)
	c.began = time.Now()
}

func (c *costs) end(part string) {
	took := time.Since(c.began)
	if c.spent == nil {
		c.spent = make(map[string]time.Duration)
	}
	c.spent[part] += took
	c.spent["us/vm"] += took
	bytes, count := c.at.TotalAlloc, c.at.Mallocs
	runtime.ReadMemStats(&c.at)
	c.bytes += c.at.TotalAlloc - bytes
	c.count += c.at.Mallocs - count
}

// report gives what one of n machines costs.
func (c *costs) report(b *testing.B, n int) {
	all := float64(b.N) * float64(n)
	for part, took := range c.spent {
		b.ReportMetric(float64(took.Nanoseconds())/1000/all, part)
	}
	b.ReportMetric(float64(c.bytes)/all, "B-allocated/vm")
	b.ReportMetric(float64(c.count)/all, "allocs/vm")
	b.ReportMetric(float64(c.held)/all, "B-held/vm")
}

func hostWith(ctx context.Context, b *testing.B, w *sim.World, n int) *hyperv.Host {
	b.Helper()
	h, err := hyperv.NewHost(w, hyperv.HostConfig{
		Name: "h1", Volumes: hyperv.Volumes("C:", "D:"), Catalog: guest.Catalog{ledger.Name: ledger.New},
	})
	check(b, err)
	for i := range n {
		name := fmt.Sprintf("vm%05d", i)
		_, err := h.CreateVM(ctx, hyperv.VMConfig{
			Name: name, Root: `D:\VMs\` + name,
			Disks: []hyperv.DiskConfig{{Path: `D:\VMs\` + name + `\disk.vhd`, Size: 32 << 20}},
		})
		check(b, err)
	}
	return h
}
