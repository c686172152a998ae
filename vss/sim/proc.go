package sim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// A Proc is a process: code that runs in turns with the other processes of its
// world.
type Proc struct {
	w     *World
	actor *Actor
	name  string
	nth   uint64 // process of this name of the actor, from 0
	hash  uint64
	order uint64 // in which the processes were started
	step  uint64

	fn  func(ctx context.Context) error
	ctx simCtx
	co  *coro

	waitFor    string // "" while it is runnable or running
	waitOn     fmt.Stringer
	waitCtx    *simCtx
	alarm      timer // of its sleep
	wake       error
	dead       bool
	told       bool // it got ErrDead once
	unwinding  bool
	ended      bool
	background bool

	err     error
	history uint64 // of the actor when the process ended
	waiters []*Proc
}

// String is the actor's path, a colon and the process's name; the second process
// of one name has "#2" behind it.
func (p *Proc) String() string {
	s := p.actor.path + ":" + p.name
	if p.nth > 0 {
		s += "#" + strconv.FormatUint(p.nth+1, 10)
	}
	return s
}

// Ended tells whether the process is over.
func (p *Proc) Ended() bool { return p.ended }

// Wait gives way until p has ended and returns its error. A process that was
// killed ended with [ErrDead], one that panicked with a [*PanicError].
func (p *Proc) Wait(ctx context.Context) error {
	me, err := caller(ctx)
	if err != nil {
		return err
	}
	for !p.ended {
		p.waiters = append(p.waiters, me)
		if err := me.park(ctx, "the end of", p); err != nil {
			return err
		}
	}
	me.learn(p.history)
	return p.err
}

// Go starts fn as a process of the running process's actor.
func Go(ctx context.Context, name string, fn func(ctx context.Context) error) *Proc {
	me, err := caller(ctx)
	if err != nil {
		return &Proc{name: name, actor: &Actor{}, ended: true, err: err}
	}
	return me.actor.start(ctx, name, fn)
}

// Join waits for all processes and returns their errors joined in the order
// given.
func Join(ctx context.Context, procs ...*Proc) error {
	errs := make([]error, len(procs))
	for i, p := range procs {
		errs[i] = p.Wait(ctx)
	}
	return errors.Join(errs...)
}

// start makes a process of a; parent supplies context values, not cancellation.
func (a *Actor) start(parent context.Context, name string, fn func(ctx context.Context) error) *Proc {
	w := a.w
	if a.counts == nil {
		a.counts = make(map[string]uint64)
	}
	n := a.counts[name]
	a.counts[name]++
	w.nproc++
	p := &Proc{w: w, actor: a, name: name, nth: n, fn: fn, order: w.nproc, hash: mix(hashString(a.hash, name), n)}
	p.ctx = simCtx{p: p, values: parent}
	if a.dead || w.closed.Load() {
		p.ended, p.err = true, ErrDead
		return p
	}
	a.procs = append(a.procs, p)
	w.ready(p)
	return p
}

// caller finds the process ctx belongs to and checks that it may go on.
func caller(ctx context.Context) (*Proc, error) {
	p := procOf(ctx)
	if p == nil {
		return nil, ErrContext
	}
	return p, p.enter(ctx)
}

// enter is the door of every call a process makes.
func (p *Proc) enter(ctx context.Context) error {
	if p.w.running.Load() != p {
		return ErrContext
	}
	if p.dead {
		return p.dying()
	}
	return ctx.Err()
}

// killed is the panic that ends a dead process.
type killed struct{}

func (p *Proc) dying() error {
	if p.told && !p.unwinding {
		p.unwinding = true
		panic(killed{})
	}
	p.told = true
	return ErrDead
}

// die makes a process see that it was killed.
func (p *Proc) die() {
	if p.dead || p.ended {
		return
	}
	p.dead = true
	p.ctx.cancel(ErrDead)
	if p.w.running.Load() != p {
		p.wakeUp(ErrDead)
	}
}

// park gives way until something wakes p, and returns what woke it.
func (p *Proc) park(ctx context.Context, what string, on fmt.Stringer) error {
	c := nearest(ctx)
	p.waitFor, p.waitOn, p.waitCtx = what, on, c
	c.count(1)
	p.co.yield(struct{}{})
	c.count(-1)
	p.waitFor, p.waitOn, p.waitCtx = "", nil, nil
	err := p.wake
	p.wake = nil
	if p.dead {
		return p.dying()
	}
	return err
}

// wakeUp makes a waiting process runnable.
func (p *Proc) wakeUp(err error) {
	if p.waitFor == "" || p.ended {
		return
	}
	if p.w.print != nil {
		if by := p.w.running.Load(); by != nil {
			p.learn(by.actor.history)
		}
	}
	p.waitFor = ""
	p.wake = err
	p.w.ready(p)
}

// A coro is a coroutine that runs one process after another.
type coro struct {
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	p     *Proc
}

func newCoro() *coro {
	c := &coro{}
	c.next, c.stop = iter.Pull(c.loop)
	return c
}

// loop is the frame by which a goroutine knows that it runs a process.
func (c *coro) loop(yield func(struct{}) bool) {
	c.yield = yield
	for {
		c.p.run()
		c.p = nil
		if !yield(struct{}{}) {
			return
		}
	}
}

func (p *Proc) run() {
	defer func() {
		r := recover()
		if r != nil {
			p.err = p.w.caught(p, r)
		}
		p.end()
	}()
	if p.dead {
		p.err = ErrDead
		return
	}
	p.err = ErrDead // stands if the goroutine exits
	p.err = p.fn(&p.ctx)
}

func (p *Proc) end() {
	p.ended = true
	p.history = p.actor.history
	p.fn = nil
	if i := slices.Index(p.actor.procs, p); i >= 0 {
		p.actor.procs = slices.Delete(p.actor.procs, i, i+1)
	}
	for _, q := range p.waiters {
		if q.waitOn == fmt.Stringer(p) {
			q.wakeUp(nil)
		}
	}
	p.waiters = nil
	p.ctx.cancel(context.Canceled)
}

// caught says what a recovered panic means for the process.
func (w *World) caught(p *Proc, r any) error {
	if _, ok := r.(killed); ok {
		return ErrDead
	}
	if w.belongsToDriver(r) {
		w.fatal = r
		return ErrDead
	}
	e := &PanicError{Process: p.String(), Value: r, Stack: string(debug.Stack())}
	w.panics = append(w.panics, e)
	w.emit(p.actor, "panic", "", []Attr{S("process", p.name), S("value", fmt.Sprint(r))})
	return e
}

func (w *World) belongsToDriver(r any) bool {
	switch r.(type) {
	case *DriftError, chooserPanic:
		return true
	}
	for _, is := range w.rethrow {
		if is(r) {
			return true
		}
	}
	return false
}

// Protect calls fn, a piece of somebody else's code, and turns its panic into a
// [*PanicError], which the trace shows and [World.Panics] keeps. The death of
// the process and panics that belong to the driver go on.
func Protect(ctx context.Context, fn func() error) (err error) {
	p := procOf(ctx)
	if p == nil {
		return ErrContext
	}
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if _, ok := r.(killed); ok || p.w.belongsToDriver(r) {
			panic(r)
		}
		err = p.w.caught(p, r)
	}()
	return fn()
}

// lock takes the world for a call from ordinary code. It fails inside a process:
// there the world is taken by the goroutine that waits for the process.
func (w *World) lock() bool {
	if w.mu.TryLock() {
		return true
	}
	if insideProcess() {
		return false
	}
	w.mu.Lock()
	return true
}

// insideProcess tells whether the calling goroutine is a coroutine of a world.
func insideProcess() bool {
	pcs := make([]uintptr, 64)
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs)
		frames := runtime.CallersFrames(pcs[:n])
		for n > 0 {
			f, more := frames.Next()
			if strings.HasSuffix(f.Function, "/vss/sim.(*coro).loop") {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}
