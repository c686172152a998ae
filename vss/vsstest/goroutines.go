package vsstest

import (
	"runtime"
	"strings"
)

// stackSize is room for the stacks of all goroutines of a test.
const stackSize = 1 << 20

// startedGoroutines lists who started the goroutines that the running one has
// started and that have not ended, but for those of the simulation itself.
func startedGoroutines() map[string]string {
	buf := make([]byte, stackSize)
	me := string(buf[:runtime.Stack(buf[:64], false)])
	me = strings.Fields(me)[1] // "goroutine 7 [running]: …"
	all := string(buf[:runtime.Stack(buf, true)])
	out := make(map[string]string)
	for _, g := range strings.Split(all, "\n\n") {
		head, _, _ := strings.Cut(g, "\n")
		_, by, found := strings.Cut(g, "\ncreated by ")
		by, _, _ = strings.Cut(by, "\n")
		who, parent, of := strings.Cut(by, " in goroutine ")
		if found && of && parent == me && !strings.Contains(who, "/vss/sim.") && !strings.HasPrefix(who, "iter.") {
			out[strings.Fields(head)[1]] = who
		}
	}
	return out
}

// goroutines returns a function that names the goroutines started since.
func (r *writerRun) goroutines() func() string { return watchGoroutines(r.watching) }

func watchGoroutines(on bool) func() string {
	if !on {
		return func() string { return "" }
	}
	before := startedGoroutines()
	return func() string {
		for id, who := range startedGoroutines() {
			if before[id] == "" {
				return "a goroutine in " + who
			}
		}
		return ""
	}
}
