package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrDead is what a killed process gets from its first call after the kill,
	// and from every call in its deferred functions; none of them does anything.
	// Any other call ends the process. What takes no context (Signal.Set,
	// Gate.Open, Mutex.Unlock, Actor.Kill) works in a deferred function as ever,
	// so that others learn that the process is gone.
	ErrDead = errors.New("sim: the process was killed")

	// ErrContext is a call with a context that does not belong to the running
	// process: an ordinary one inside a process, another process's, one that was
	// carried to another goroutine, or an ordinary one where no world can be told
	// from it.
	ErrContext = errors.New("sim: the context does not belong to the running process")

	// ErrClosed is a call on a world that was closed.
	ErrClosed = errors.New("sim: the world is closed")
)

// A Waiting names a process that cannot go on and what it waits for.
type Waiting struct {
	Process string // actor path and process name
	For     string
}

// A StuckError ends a call that can never end: nothing is runnable and no timer
// is set (a deadlock), or the world ran past a limit while the call waited.
type StuckError struct {
	Reason  string // "deadlock", "48h0m0s of virtual time", "10000000 events"
	At      time.Duration
	Waiting []Waiting // in the order the processes were started
}

func (e *StuckError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sim: stuck at %v: %s", e.At, e.Reason)
	for _, w := range e.Waiting {
		fmt.Fprintf(&b, "\n\t%s waits for %s", w.Process, w.For)
	}
	return b.String()
}

// Deadlock tells whether nothing could move any more.
func (e *StuckError) Deadlock() bool { return e.Reason == deadlock }

const deadlock = "deadlock"

// A PanicError is what became of a process, or of a call under [Protect], that
// panicked.
type PanicError struct {
	Process string
	Value   any
	Stack   string
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("sim: %s panicked: %s", e.Process, panicText(e.Value))
}

// Unwrap gives the panic's value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// panicText prints a panic's value the same way in every run: what has no text
// of its own prints as its type, because it could hold addresses.
func panicText(v any) string {
	switch v.(type) {
	case error, fmt.Stringer, string, bool, rune, byte, int, int64, uint, uint32, uint64, float64:
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("a value of type %T", v)
}

// A DriftError is a replayed run that asked for another choice than the one
// recorded.
type DriftError struct {
	Index    int
	Was, Now string // "freeze/4": the name and the number of ways
}

func (e *DriftError) Error() string {
	return fmt.Sprintf("sim: drift at choice %d: was %s, now %s", e.Index, e.Was, e.Now)
}
