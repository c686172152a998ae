package simtest

import (
	"testing"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// EveryFault runs a scenario once without faults, to see which points it reaches,
// and then once with every single fault that can strike there: each outcome of
// each point, for each object. Each run is a subtest with a world of its own, to
// which the options go. A clean run that fails, or reaches none of the points,
// leaves nothing to try and fails the test.
func EveryFault(t *testing.T, points []sim.FaultPoint, scenario func(t *testing.T, w *sim.World), opts ...sim.Option) {
	t.Helper()
	var hits []sim.Hit
	clean := t.Run("clean", func(t *testing.T) {
		w := New(t, opts...)
		scenario(t, w)
		hits = w.Hits()
	})
	faults := sim.SingleFaults(points, hits)
	switch {
	case !clean:
		return
	case len(faults) == 0:
		t.Errorf("simtest: the clean run reached none of the %d points", len(points))
	}
	for _, f := range faults {
		t.Run(f.String(), func(t *testing.T) {
			scenario(t, New(t, append([]sim.Option{sim.Faults(f)}, opts...)...))
		})
	}
}
