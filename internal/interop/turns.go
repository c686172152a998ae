package interop

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A Way is one of those to do the same work that a benchmark compares.
type Way struct {
	Name   string
	Do     func()
	Before func() // makes ready, outside the time; may be nil
}

// Turns goes all ways in turns, in every round in another order, so that none
// always finds the machine as the same other one left it. It reports per of the
// median seconds of each way in unit, and how many times as fast the first way
// is as each other: the median of the rounds (x), and the best turn beside the
// best turn (best-x).
func Turns(b *testing.B, unit string, per func(seconds float64) float64, ways []Way) {
	r := rand.New(rand.NewPCG(1, 2))
	took := make([][]float64, len(ways))
	for b.Loop() {
		for _, i := range r.Perm(len(ways)) {
			if ways[i].Before != nil {
				ways[i].Before()
			}
			start := time.Now()
			ways[i].Do()
			took[i] = append(took[i], time.Since(start).Seconds())
		}
	}
	for i, w := range ways {
		b.ReportMetric(per(median(took[i])), w.Name+"-"+unit)
		if i > 0 {
			b.ReportMetric(median(ratios(took[i], took[0])), "x-"+w.Name)
			b.ReportMetric(slices.Min(took[i])/slices.Min(took[0]), "best-x-"+w.Name)
		}
	}
	b.ReportMetric(0, "ns/op")
}

func ratios(x, y []float64) []float64 {
	q := slices.Clone(x)
	for i := range q {
		q[i] /= y[i]
	}
	return q
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}
