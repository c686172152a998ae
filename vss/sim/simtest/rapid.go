package simtest

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Bounds of what [Choices] draws.
const (
	maxDeviations = 8    // from the default order, in one run
	maxDistance   = 2000 // choices between two of them
	maxWay        = 7    // ways beyond the second are numbered so far, then around
)

// Check runs a property in many worlds whose choices rapid draws. The options go
// to each world; property gets it, open, and Check closes it. A fault that was
// planned and never struck fails the property.
//
// Only deviations from the default are drawn: after how many choices the first
// way is not taken, and which other way is. So a failing run shrinks to one with
// few of them. When the property fails, the [Report] of the shrunk run is printed,
// which ends with the line that replays it.
func Check(t rapid.TB, property func(t *rapid.T, w *sim.World), opts ...sim.Option) {
	t.Helper()
	Config{}.Check(t, property, opts...)
}

// Check is [Check] with the configuration.
func (c Config) Check(t rapid.TB, property func(t *rapid.T, w *sim.World), opts ...sim.Option) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		w := sim.New(append(slices.Clone(opts), Choices(t))...)
		defer c.watch(t, w)()
		defer func() { _ = w.Close() }()
		held := false
		defer func() {
			if !held || t.Failed() {
				t.Logf("%v", report{w})
			}
		}()
		property(t, w)
		if err := c.unreached(w); err != nil {
			t.Fatal(err)
		}
		held = true
	})
}

// A report is only made if somebody reads it: rapid shows the last run alone.
type report struct{ w *sim.World }

func (r report) String() string { return Report(r.w) }

// Choices lets rapid decide a world's branches, as [Check] does. Rapid's own
// panics go through the world to rapid. Worlds that are made one after another
// with one such option share what was drawn.
func Choices(t *rapid.T) sim.Option {
	c := &deviations{left: drawDeviations(t)}
	return sim.Options(sim.WithChooser(c), sim.Rethrow(isRapids))
}

// isRapids knows the values with which rapid ends a test by panic; their types
// are not exported.
func isRapids(v any) bool {
	return strings.HasPrefix(strings.TrimPrefix(fmt.Sprintf("%T", v), "*"), "rapid.")
}

// A deviation is a choice that is not the default.
type deviation struct {
	after int // choices since the last deviation
	way   int // counted from the second one, modulo what there is
}

func drawDeviations(t *rapid.T) []deviation {
	one := rapid.Custom(func(t *rapid.T) deviation {
		return deviation{
			after: rapid.IntRange(0, maxDistance).Draw(t, "after"),
			way:   rapid.IntRange(0, maxWay).Draw(t, "way"),
		}
	})
	return rapid.SliceOfN(one, 0, maxDeviations).Draw(t, "deviations")
}

// deviations is the Chooser that takes the first way everywhere else.
type deviations struct {
	left []deviation
	seen int // choices since the last one
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
