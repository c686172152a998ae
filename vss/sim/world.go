package sim

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Epoch is the date at which every world begins.
var Epoch = time.Date(2008, time.June, 27, 0, 0, 0, 0, time.UTC)

// Default limits of a call that waits; see [Limits].
const (
	DefaultVirtualLimit = 48 * time.Hour
	DefaultEventLimit   = 10_000_000
)

// A World is one simulation. Create it with [New]; end it with [World.Close].
//
// Operations may be called from several goroutines; they take turns. What only
// reads the world (Now, Trace, Hits) or acts on it without a context (Kill,
// Pause, Emit) is for processes, and for ordinary code between operations.
type World struct {
	mu      sync.Mutex // held by the goroutine that drives
	running atomic.Pointer[Proc]
	steps   atomic.Uint64
	closed  atomic.Bool

	now     time.Duration
	until   time.Duration // no timer beyond it fires in this drive
	budget  uint64        // of steps in this drive
	seq     uint64        // of timers
	timers  timerHeap
	runq    []*Proc
	room    []*Proc // the beginning of runq's memory
	held    []*Proc // runnable, but their actor is paused
	dying   []*Proc // killed, to unwind before anything else runs
	foreign []*Proc // they wait under a context that others can end; see watch
	nproc   uint64
	spare   []*coro
	polls   int // in a row that found nothing to move

	// For processes that give turns in the driver's place; see giveWay.
	outer   context.Context // that the world is driven under; nil if each turn is the driver's
	goal    *Proc           // whose end ends the drive, or nil
	calm    bool            // the chooser is one of ours, which cannot panic
	below   *Proc           // to go on: it stands below who picked it
	leaving *Proc           // its goroutine exits, which belongs to the driver

	root    *Actor
	chooser Chooser
	sched   Scheduler          // the chooser, if it is one
	turnKey func(i int) uint64 // what it may ask of process i of runq
	seed    uint64
	choices Recording
	print   *fingerprints // nil unless a search asked for it
	graves  []*Actor      // dead actors, for a search

	plan   []*plannedFault
	struck bool                   // a planned fault did
	places map[string]*faultPlace // by object
	hits   hitList
	ids    map[string]uint64

	events   eventLog
	traceIO  bool
	traceOff bool

	panics  []*PanicError
	rethrow []func(any) bool
	fatal   *fatal // what must go on in the driver's goroutine

	virtualLimit time.Duration
	eventLimit   uint64
}

// An Option configures a new world.
type Option func(*World)

// Seed makes the world draw its choices, its order of processes and its
// latencies from seed.
func Seed(seed uint64) Option {
	return func(w *World) {
		w.seed = seed
		w.setChooser(&seeded{seed: seed})
	}
}

// WithChooser makes c decide every branch.
func WithChooser(c Chooser) Option { return func(w *World) { w.setChooser(c) } }

// Capture stores the new world in *to, for who hands options to a scenario that
// makes its own world.
func Capture(to **World) Option { return func(w *World) { *to = w } }

// Options makes one option of several, which apply in order.
func Options(opts ...Option) Option {
	return func(w *World) {
		for _, o := range opts {
			o(w)
		}
	}
}

// TraceIO records single reads and writes in the trace.
func TraceIO() Option { return func(w *World) { w.traceIO = true } }

// NoTrace records no events; for measurements.
func NoTrace() Option { return func(w *World) { w.traceOff = true } }

// Limits sets how far the world may run while a call waits: by default
// [DefaultVirtualLimit] and [DefaultEventLimit]. Zero keeps the default.
func Limits(virtual time.Duration, events uint64) Option {
	return func(w *World) {
		if virtual > 0 {
			w.virtualLimit = virtual
		}
		if events > 0 {
			w.eventLimit = events
		}
	}
}

// Rethrow names panic values that are not failures of a process but belong to
// the goroutine that drives the world, such as a test framework's own.
func Rethrow(is func(v any) bool) Option {
	return func(w *World) { w.rethrow = append(w.rethrow, is) }
}

// New makes a world. Without [Seed] or [WithChooser] it takes the first way at
// every branch and runs processes first in, first out.
func New(opts ...Option) *World {
	w := &World{virtualLimit: DefaultVirtualLimit, eventLimit: DefaultEventLimit}
	w.root = &Actor{w: w, hash: hashString(offset64, "world")}
	w.turnKey = func(i int) uint64 { return w.runq[i].turnHash() }
	w.setChooser(First)
	for _, o := range opts {
		o(w)
	}
	return w
}

func (w *World) setChooser(c Chooser) {
	w.chooser = c
	w.sched, _ = c.(Scheduler)
	_, drawn := c.(*seeded)
	w.calm = drawn || c == First
	w.print = nil
	if f, ok := c.(interface{ fingerprints() *fingerprints }); ok {
		if w.print = f.fingerprints(); w.print != nil {
			w.print.enter(w)
		}
	}
}

// Now is the virtual time since the world began. Call it between operations or
// inside a process.
func (w *World) Now() time.Duration {
	w.observe(uint64(w.now))
	return w.now
}

// Date is Now as a date; see [Epoch].
func (w *World) Date() time.Time { return Epoch.Add(w.Now()) }

// Steps is the number of times a process was given its turn. It may be read at
// any time, from any goroutine.
func (w *World) Steps() uint64 { return w.steps.Load() }

// Running names the process whose turn it is, or "". It may be read at any time,
// from any goroutine.
func (w *World) Running() string {
	if p := w.running.Load(); p != nil {
		return p.String()
	}
	return ""
}

// Seed is what [Seed] was given, or zero.
func (w *World) Seed() uint64 { return w.seed }

// Panics lists the panics of processes and handlers so far.
func (w *World) Panics() []*PanicError { return w.panics }

// Actor adds an actor at the top of the tree.
func (w *World) Actor(name string) *Actor { return w.root.Child(name) }

// Close ends every process, in the order of their actors' paths and their names,
// and frees what they held. A process runs its deferred functions. Calls on a
// closed world fail with [ErrClosed]; its trace stays readable. Closing twice is
// harmless. If a process's deferred function exits the goroutine, or panics with
// what belongs to the driver, that goes on in the caller when all have ended.
func (w *World) Close() error {
	if !w.lock() {
		return ErrContext
	}
	defer w.mu.Unlock()
	w.close()
	return nil
}

func (w *World) close() {
	if w.closed.Swap(true) {
		return
	}
	w.running.Store(nil)
	w.root.kill()
	defer func() {
		for _, c := range w.spare {
			c.stop()
		}
		w.spare, w.runq, w.room, w.held, w.timers = nil, nil, nil, nil, nil
	}()
	w.unwind()
}
