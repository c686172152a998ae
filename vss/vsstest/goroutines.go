package vsstest

import (
	"maps"
	"runtime"
	"slices"
	"strings"
)

// allStacks are the stacks of all goroutines.
func allStacks() string {
	for size := 1 << 18; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return string(buf[:n])
		}
	}
}

// startedGoroutines lists who started the goroutines that the running one has
// started and that have not ended, but for those of the simulation itself.
func startedGoroutines() map[string]string {
	var head [64]byte
	me := strings.Fields(string(head[:runtime.Stack(head[:], false)]))[1] // "goroutine 7 [running]: …"
	out := make(map[string]string)
	for g := range strings.SplitSeq(allStacks(), "\n\n") {
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
		after := startedGoroutines()
		for _, id := range slices.Sorted(maps.Keys(after)) {
			if before[id] == "" {
				return "a goroutine in " + after[id]
			}
		}
		return ""
	}
}
