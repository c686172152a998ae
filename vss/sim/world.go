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
type World struct {
	mu      sync.Mutex // held by the goroutine that drives
	running atomic.Pointer[Proc]
	steps   atomic.Uint64
	closed  atomic.Bool

	now    time.Duration
	until  time.Duration // no timer beyond it fires in this drive
	budget uint64        // of steps in this drive
	seq    uint64        // of timers
	timers timerHeap
	asleep []*timer // their actor is paused; at is what they have left
	runq   []*Proc
	held   []*Proc // runnable, but their actor is paused
	nproc  uint64
	idle   []*coro

	root    *Actor
	chooser Chooser
	sched   Scheduler // the chooser, if it is one
	seed    uint64
	choices []Choice
	print   *fingerprints // nil unless a search asked for it

	plan   []*plannedFault
	hits   map[hitKey]*Hit
	hitOrd []*Hit
	ids    map[string]uint64

	events   []Event
	attrs    []Attr
	traceIO  bool
	traceOff bool

	panics  []*PanicError
	rethrow []func(any) bool
	fatal   any // what must go on in the driver's goroutine

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
	w := &World{
		hits:         make(map[hitKey]*Hit),
		ids:          make(map[string]uint64),
		virtualLimit: DefaultVirtualLimit,
		eventLimit:   DefaultEventLimit,
	}
	w.root = &Actor{w: w, hash: hashString(offset64, "world")}
	w.setChooser(First)
	for _, o := range opts {
		o(w)
	}
	return w
}

func (w *World) setChooser(c Chooser) {
	w.chooser = c
	w.sched, _ = c.(Scheduler)
	if f, ok := c.(interface{ fingerprints() *fingerprints }); ok {
		if w.print = f.fingerprints(); w.print != nil {
			w.print.w = w
		}
	}
}

// Now is the virtual time since the world began. Call it between operations or
// inside a process.
func (w *World) Now() time.Duration { return w.now }

// Date is Now as a date; see [Epoch].
func (w *World) Date() time.Time { return Epoch.Add(w.now) }

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

// Panics lists the panics of processes and handlers so far.
func (w *World) Panics() []*PanicError { return w.panics }

// Actor adds an actor at the top of the tree.
func (w *World) Actor(name string) *Actor { return w.root.Child(name) }

// Do runs fn as a process of the world itself and returns its error. Called
// with an ordinary context it drives the world until the process ends.
func (w *World) Do(ctx context.Context, fn func(ctx context.Context) error) error {
	return w.root.Call(ctx, "do", fn)
}

// Advance lets d of virtual time pass, whatever the limits. Background work goes
// on. It is for ordinary code; a process calls [Sleep].
func (w *World) Advance(d time.Duration) error {
	if !w.lock() {
		return ErrContext
	}
	defer w.mu.Unlock()
	if w.closed.Load() {
		return ErrClosed
	}
	p := w.root.start(context.Background(), "advance", func(ctx context.Context) error { return Sleep(ctx, d) })
	return w.drive(context.Background(), p, max(d, w.virtualLimit))
}

// Close ends every process, in the order they were started, and frees what they
// held. A process runs its deferred functions. Calls on a closed world fail with
// [ErrClosed]; its trace stays readable. Closing twice is harmless.
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
	w.root.kill()
	for len(w.runq) > 0 {
		p := w.runq[0]
		w.runq = w.runq[1:]
		w.resume(p)
	}
	for _, c := range w.idle {
		c.stop()
	}
	w.idle, w.timers = nil, nil
}
