package simtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Bounds of what [Check] draws.
const (
	maxDeviations = 8    // from the default order, in one run
	maxDistance   = 2000 // choices between two of them
)

// Check runs a property in many worlds whose choices rapid draws. The options go
// to each world; property gets it, open, and [Check] closes it.
//
// Only deviations from the default are drawn: after how many choices the first
// way is not taken, and which other way is. So a failing run shrinks to one with
// few of them. When the property fails, the line that replays the shrunk run is
// printed.
func Check(t *testing.T, property func(t *rapid.T, w *sim.World), opts ...sim.Option) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		w := sim.New(append(slices.Clone(opts), Choices(t))...)
		defer func() { _ = w.Close() }()
		ended := false
		defer func() {
			if !ended || t.Failed() {
				t.Logf("%s", replayLine(w.Recording()))
			}
		}()
		property(t, w)
		ended = true
	})
}

// Choices lets rapid decide a world's branches, as [Check] does. Rapid's own
// panics go through the world to rapid.
func Choices(t *rapid.T) sim.Option {
	c := &deviations{left: drawDeviations(t)}
	return func(w *sim.World) {
		sim.WithChooser(c)(w)
		sim.Rethrow(isRapids)(w)
	}
}

// isRapids knows the values with which rapid ends a test by panic; their types
// are not exported.
func isRapids(v any) bool { return strings.Contains(fmt.Sprintf("%T", v), "rapid.") }

// A deviation is a choice that is not the default.
type deviation struct {
	after int // choices since the last deviation
	way   int // counted from the second one, modulo what there is
}

func drawDeviations(t *rapid.T) []deviation {
	one := rapid.Custom(func(t *rapid.T) deviation {
		return deviation{
			after: rapid.IntRange(0, maxDistance).Draw(t, "after"),
			way:   rapid.IntRange(0, 7).Draw(t, "way"),
		}
	})
	return rapid.SliceOfN(one, 0, maxDeviations).Draw(t, "deviations")
}

// deviations is the Chooser that takes the first way everywhere else.
type deviations struct {
	left []deviation
	seen int
}

func (d *deviations) Choose(_ string, n int) int {
	if len(d.left) == 0 || d.seen < d.left[0].after {
		d.seen++
		return 0
	}
	way := d.left[0].way
	d.left, d.seen = d.left[1:], 0
	return 1 + way%(n-1)
}
