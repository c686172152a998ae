package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrDead is what a killed process gets from its first call after the kill,
	// and from every call in its deferred functions. Any other call ends it.
	ErrDead = errors.New("sim: the process was killed")

	// ErrContext is a call with a context that does not belong to the running
	// process: an ordinary one inside a process, another process's, or an
	// ordinary one where no world can be told from it.
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

func (e *PanicError) Error() string { return fmt.Sprintf("sim: %s panicked: %v", e.Process, e.Value) }

// Unwrap gives the panic's value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
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
