// Package simtest makes worlds for tests: it closes them, says what is needed to
// repeat a failure, watches for handlers that are stuck on something real, and
// lets a property-based test draw the order of events.
//
//	func TestBackup(t *testing.T) {
//		w := simtest.New(t, sim.Seed(7), sim.Plan("vss/freeze on=*/ledger hang"))
//		...
//	}
package simtest

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Patience is how long, in real time, a process may keep its turn before the
// watchdog takes it for stuck.
const Patience = 30 * time.Second

// New makes a world that is closed when the test ends. A fault that was planned
// and never struck fails the test, as does a process that is stuck on a real lock
// or channel for [Patience]. A test that fails prints the trace and the choices
// of its world.
func New(t testing.TB, opts ...sim.Option) *sim.World {
	t.Helper()
	w := sim.New(opts...)
	stop := Watch(w, Patience, func(process, stacks string) {
		panic(fmt.Sprintf("simtest: %s has had its turn for %v: is it stuck on a real lock or channel?\n%s", process, Patience, stacks))
	})
	t.Cleanup(func() {
		stop()
		for _, f := range w.Unreached() {
			t.Errorf("simtest: the fault %v was planned and never reached", f)
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

// Report is what is needed to understand and repeat a run: its trace, its plan,
// and the line that replays its choices.
func Report(w *sim.World) string {
	s := "trace:\n" + w.Trace().String()
	for _, f := range w.Plan() {
		s += fmt.Sprintf("planned: %v\n", f)
	}
	for _, p := range w.Panics() {
		s += fmt.Sprintf("panic: %v\n%s\n", p, p.Stack)
	}
	if r := w.Recording(); len(r) > 0 {
		s += replayLine(r)
	}
	return s
}

func replayLine(r sim.Recording) string {
	return fmt.Sprintf("replay with: simtest.Replay(t, %q)\n", r.String())
}

// Replay is the option that repeats a recorded run; the line is one that a failed
// test printed.
func Replay(t testing.TB, line string) sim.Option {
	t.Helper()
	r, err := sim.ParseRecording(line)
	if err != nil {
		t.Fatal(err)
	}
	return sim.Replay(r)
}

// Watch calls stuck, from a goroutine of its own, when one process has had its
// turn for as long as patience says, and then watches no longer. Stop ends the
// watch.
func Watch(w *sim.World, patience time.Duration, stuck func(process, stacks string)) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(patience / 4)
		defer tick.Stop()
		last, since := w.Steps(), time.Now()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				steps, running := w.Steps(), w.Running()
				if steps != last || running == "" {
					last, since = steps, now
					continue
				}
				if now.Sub(since) >= patience {
					stuck(running, stacks())
					return
				}
			}
		}
	}()
	var stopped bool
	return func() {
		if !stopped {
			stopped = true
			close(done)
		}
	}
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
