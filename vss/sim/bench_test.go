package sim_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func BenchmarkSwitch(b *testing.B) {
	w := sim.New(sim.Limits(0, 1<<62))
	defer w.Close()
	_ = w.Do(b.Context(), func(ctx context.Context) error {
		sim.Go(ctx, "other", func(ctx context.Context) error {
			for sim.Yield(ctx) == nil {
			}
			return nil
		})
		for b.Loop() {
			_ = sim.Yield(ctx)
		}
		return nil
	})
}

func BenchmarkSleepAlone(b *testing.B) {
	w := sim.New(sim.Limits(1<<62, 1<<62))
	defer w.Close()
	_ = w.Do(b.Context(), func(ctx context.Context) error {
		for b.Loop() {
			_ = sim.Sleep(ctx, time.Nanosecond)
		}
		return nil
	})
}

// Worlds have some thousand events; one that only grows would measure the garbage
// collector.
func BenchmarkEmit(b *testing.B) {
	for _, size := range []int{100, 5_000, 1_000_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			var w *sim.World
			var a *sim.Actor
			for n := 0; b.Loop(); n++ {
				if n%size == 0 {
					w = sim.New()
					a = w.Actor("h1")
				}
				a.Emit("vm/state", "R25", sim.S("vm", "sql01"), sim.S("state", "saved"))
			}
		})
	}
}

func BenchmarkCall(b *testing.B) {
	w := sim.New(sim.Limits(0, 1<<62))
	defer w.Close()
	a := w.Actor("h1")
	_ = w.Do(b.Context(), func(ctx context.Context) error {
		for b.Loop() {
			_ = a.Call(ctx, "call", func(context.Context) error { return nil })
		}
		return nil
	})
}

func BenchmarkWorld(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		w := sim.New()
		_ = w.Do(b.Context(), func(ctx context.Context) error { return sim.Sleep(ctx, time.Second) })
		_ = w.Close()
	}
}

// A whole small scenario: host, four machines, three writers, a fault plan, a
// trace.
func BenchmarkToyBackup(b *testing.B) {
	b.ReportAllocs()
	plan := sim.Plan("vss/freeze on=h1/writer#2 delay=1500ms", "vss/freeze on=h1/writer#3 kill")
	for b.Loop() {
		toyBackup(sim.Seed(2), plan)
	}
}

// The same steps under a pruned search.
func BenchmarkSearch(b *testing.B) {
	for b.Loop() {
		_, _ = sim.Search{Prune: true}.Run(func(opt sim.Option) error {
			w := sim.New(opt)
			defer w.Close()
			walk(w, 4, 4)
			return nil
		})
	}
}

// What one actor costs does not grow with the number of its siblings.
func BenchmarkSiblings(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				w := sim.New()
				host := w.Actor("h1")
				var vms []*sim.Actor
				for i := range n {
					vm := host.Child("vm" + strconv.Itoa(i))
					vm.Go("timer", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) })
					vms = append(vms, vm)
				}
				_ = w.Advance(time.Minute)
				for _, vm := range vms {
					vm.Pause()
					vm.Resume()
				}
				for _, vm := range vms {
					_ = vm.Close(b.Context())
				}
				_ = w.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/actor")
		})
	}
}
