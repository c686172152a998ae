package sim_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// toyBackup is a small backup with all that chance and faults can touch.
func toyBackup(opts ...sim.Option) *sim.World {
	w := sim.New(opts...)
	defer w.Close()
	host := w.Actor("h1")
	var lock sim.Mutex
	gate := &sim.Gate{Name: "D:"}
	for i := range 4 {
		vm := host.Child(fmt.Sprintf("vm %d", i))
		vm.Background("workload", func(ctx context.Context) error {
			for n := 0; ; n++ {
				if err := errors.Join(gate.Pass(ctx), sim.Sleep(ctx, sim.Latency(ctx, "write", time.Millisecond, time.Second))); err != nil {
					return err
				}
				sim.Emit(ctx, "disk/write", "", sim.N("block", sim.Choose(ctx, vm.Path()+"/block", 1000)))
			}
		})
	}
	_ = host.Call(context.Background(), "backup", func(ctx context.Context) error {
		var frozen []*sim.Proc
		for i := range 3 {
			writer := host.Child("writer")
			frozen = append(frozen, writer.Go("freeze", func(ctx context.Context) error {
				if err := lock.Lock(ctx); err != nil {
					return err
				}
				defer lock.Unlock()
				c, cancel := sim.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				err := errors.Join(sim.At(c, "vss/freeze"), sim.Sleep(c, time.Duration(i)*time.Second))
				id := writer.NewID("set")
				sim.Emit(ctx, "vss/freeze", "R29", sim.S("set", hex.EncodeToString(id[:])), sim.S("result", fmt.Sprint(err)))
				return err
			}))
		}
		err := sim.Join(ctx, frozen...)
		gate.Shut()
		_ = sim.Sleep(ctx, 3*time.Second)
		gate.Open()
		host.Child("vm 0").Pause()
		sim.Emit(ctx, "vss/end", "R30", sim.S("result", fmt.Sprint(err)))
		return sim.Sleep(ctx, 2*time.Second)
	})
	return w
}

// The digests are constants: every run on every system comes to them.
func TestDigestsAreTheSameEverywhere(t *testing.T) {
	plan := sim.Plan("vss/freeze on=h1/writer#2 delay=1500ms", "vss/freeze on=h1/writer#3 kill")
	for _, c := range []struct {
		name string
		opts []sim.Option
		want string
	}{
		{"first in, first out", nil, "358be7edb026e6ef"},
		{"seed 1", []sim.Option{sim.Seed(1)}, "5ca7579b75bdfc7d"},
		{"seed 2 with faults", []sim.Option{sim.Seed(2), plan}, "927905d3b7d4ef9f"},
	} {
		var lines []string
		for range 2 {
			w := toyBackup(c.opts...)
			digest := w.Trace().Digest()
			if got := hex.EncodeToString(digest[:8]); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
			if len(w.Trace()) < 20 || len(w.Unreached()) > 0 {
				t.Errorf("%s: %d events, unreached %v", c.name, len(w.Trace()), w.Unreached())
			}
			lines = append(lines, w.Recording().String())
		}
		if lines[0] != lines[1] {
			t.Errorf("%s: %s\n%s", c.name, lines[0], lines[1])
		}
	}
}
