package simtest

import (
	"testing"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// EveryFault runs a scenario once without faults, to see which points it reaches,
// and then once with every single fault that can strike there: each outcome of
// each point, for each object. Each run is a subtest with a world of its own, to
// which the options go.
func EveryFault(t *testing.T, points []sim.FaultPoint, scenario func(t *testing.T, w *sim.World), opts ...sim.Option) {
	t.Helper()
	var hits []sim.Hit
	t.Run("clean", func(t *testing.T) {
		w := New(t, opts...)
		scenario(t, w)
		hits = w.Hits()
	})
	for _, f := range sim.SingleFaults(points, hits) {
		t.Run(f.String(), func(t *testing.T) {
			scenario(t, New(t, append([]sim.Option{sim.Faults(f)}, opts...)...))
		})
	}
}
