// Package simtest makes worlds for tests: it closes them, says what is needed to
// repeat a failure, watches for handlers that are stuck on something real, and
// lets a property-based test draw the order of events.
//
//	func TestBackup(t *testing.T) {
//		w := simtest.New(t, sim.Seed(7), sim.Plan("vss/freeze on=*/ledger hang"))
//		...
//	}
//
//	func TestBackupInAnyOrder(t *testing.T) {
//		simtest.Check(t, func(t *rapid.T, w *sim.World) {
//			...
//		})
//	}
package simtest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/trace"
)

// A Config says how strict a test is with its worlds. The zero Config is what
// [New] and [Check] take.
type Config struct {
	// AllowUnreached accepts planned faults that never struck.
	AllowUnreached bool

	// Patience is how long, in real time, a process may keep its turn before the
	// watchdog takes it for stuck: [Patience] if zero, for ever if negative.
	Patience time.Duration
}

// New makes a world that is closed when the test ends. A fault that was planned
// and never struck fails the test, as does a process that keeps its turn for
// [Patience]; that one is named on standard error at once, with its stack, because
// the test may never end. A test that fails prints the [Report] of its world.
func New(t testing.TB, opts ...sim.Option) *sim.World {
	t.Helper()
	return Config{}.New(t, opts...)
}

// New is [New] with the configuration.
func (c Config) New(t testing.TB, opts ...sim.Option) *sim.World {
	t.Helper()
	w := sim.New(opts...)
	stop := c.watch(t, w)
	t.Cleanup(func() {
		t.Helper()
		stop()
		if err := c.unreached(w); err != nil {
			t.Errorf("%v", err)
		}
		if t.Failed() {
			t.Logf("%s", Report(w))
		}
		if err := w.Close(); err != nil {
			t.Errorf("simtest: closing the world: %v", err)
		}
	})
	return w
}

func (c Config) unreached(w *sim.World) error {
	var list []string
	for _, f := range w.Unreached() {
		list = append(list, f.String())
	}
	if len(list) == 0 || c.AllowUnreached {
		return nil
	}
	return fmt.Errorf("simtest: planned and never reached: %s", strings.Join(list, "; "))
}

// longest is how many events of a trace a report shows, half of them from the
// beginning.
const longest = 400

// Report is what is needed to understand and repeat a run: its trace, its panics,
// its seed, its plan, and the line that replays its choices.
func Report(w *sim.World) string {
	var b strings.Builder
	b.WriteString("trace:\n")
	events := w.Trace()
	if n := len(events) - longest; n > 0 {
		_ = trace.Text(&b, events[:longest/2])
		fmt.Fprintf(&b, "... %d events ...\n", n)
		events = events[longest/2+n:]
	}
	_ = trace.Text(&b, events)
	for _, p := range w.Panics() {
		fmt.Fprintf(&b, "panic: %v\n%s\n", p, p.Stack)
	}
	if seed := w.Seed(); seed != 0 {
		fmt.Fprintf(&b, "seed: %d\n", seed)
	}
	for _, f := range w.Plan() {
		fmt.Fprintf(&b, "fault: %v\n", f)
	}
	if r := w.Recording(); len(r) > 0 {
		fmt.Fprintf(&b, "replay with: simtest.Replay(t, %q)\n", r.Trim().String())
	}
	return b.String()
}

// Replay is the option that repeats a recorded run; the line is one that a failed
// test printed. It comes behind the options that the run had. A run that ends
// before the line does fails the test: it is another one.
func Replay(t testing.TB, line string) sim.Option {
	t.Helper()
	r, err := sim.ParseRecording(line)
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	var worlds []*sim.World
	t.Cleanup(func() {
		t.Helper()
		for _, w := range worlds {
			most = max(most, w.Recording().Len())
		}
		if len(worlds) > 0 && most < r.Len() {
			t.Errorf("simtest: drift: the run ended at choice %d of %d", most, r.Len())
		}
	})
	return sim.Options(sim.Replay(r), func(w *sim.World) { worlds = append(worlds, w) })
}
