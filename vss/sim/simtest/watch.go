package simtest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Patience is how long, in real time, a process may keep its turn before the
// watchdog takes it for stuck.
const Patience = 30 * time.Second

// A named is a test of any kind.
type named interface {
	Name() string
	Errorf(format string, args ...any)
}

func (c Config) watch(t named, w *sim.World) (stop func()) {
	patience := c.Patience
	switch {
	case patience < 0:
		return func() {}
	case patience == 0:
		patience = Patience
	}
	return Watch(w, patience, func(process, stacks string) {
		why := fmt.Sprintf("simtest: %s: %s has had its turn for %v: is it stuck on a real lock or channel?", t.Name(), process, patience)
		t.Errorf("%s", why)
		fmt.Fprintf(os.Stderr, "%s\n%s\n", why, stacks)
	})
}

// Watch calls stuck, from a goroutine of its own, when one process has had its
// turn for as long as patience says, and then watches no longer. Stacks are those
// of the goroutines that run processes and of no interest while they wait for
// their turn. Stop ends the watch, and waits for a call of stuck that is under
// way.
func Watch(w *sim.World, patience time.Duration, stuck func(process, stacks string)) (stop func()) {
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(max(patience/4, 1))
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
				} else if now.Sub(since) >= patience {
					stuck(running, stacks())
					return
				}
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
	})
}

// stacks are the stacks of the goroutines that run a process now.
func stacks() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var out []string
	for _, g := range strings.Split(string(buf), "\n\n") {
		head, _, _ := strings.Cut(g, "\n")
		if strings.Contains(g, "/vss/sim.(*coro).loop") && !strings.Contains(head, "[coroutine") {
			out = append(out, g)
		}
	}
	return strings.Join(out, "\n\n")
}
