package hyperv_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

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
	_, err := (&requester.Backup{Service: h.VSS(), Target: target}).Run(ctx)
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

// BenchmarkHost backs up and restores hosts with many machines that are off; the
// time and the memory of a machine must not grow with their number.
func BenchmarkHost(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ctx := b.Context()
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				w := sim.New()
				h := hostWith(ctx, b, w, n)
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/vm")
				target := newTarget()
				check(b, backUp(ctx, h, target))
				check(b, restoreTo(ctx, h, target))
				if len(h.VMs()) != n {
					b.Fatalf("%d machines", len(h.VMs()))
				}
				check(b, w.Close())
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "us/vm")
		})
	}
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
