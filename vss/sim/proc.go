package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
)

// A Proc is a process: code that runs in turns with the other processes of its
// world.
type Proc struct {
	w     *World
	actor *Actor
	name  string
	nth   uint32 // process of this name of the actor, from 0
	place int32  // among the actor's processes
	hash  uint64
	order uint64 // in which the processes were started
	step  uint64

	fn  func(ctx context.Context) error
	ctx simCtx
	co  *coro // from its first turn to its end

	parked     bool // it gave way
	queued     bool // it is to get a turn
	dead       bool
	told       bool // it got ErrDead once
	unwinding  bool
	ended      bool
	background bool

	err     error
	waiters line
	history uint64 // of who started it, and of its actor when it ended
}

// A wait is what a process waits for. It lies in the coroutine, because most
// processes are over and wait for nothing.
type wait struct {
	what   string
	on     fmt.Stringer
	ctx    *simCtx
	any    context.Context // one that others can end; see watch
	alarm  timer           // of its sleep
	wake   error           // what ended the wait
	behind *Proc           // next in the line
}

// A line is processes that wait for one thing.
type line struct{ first, last *Proc }

func (l *line) add(p *Proc) {
	if l.first == nil {
		l.first = p
	} else {
		l.last.co.wait.behind = p
	}
	l.last = p
}

// next takes the first process out, or returns nil.
func (l *line) next() *Proc {
	p := l.first
	if p != nil {
		l.first, p.co.wait.behind = p.co.wait.behind, nil
	}
	return p
}

// remove takes p out, if it is there.
func (l *line) remove(p *Proc) {
	var before *Proc
	for q := l.first; q != nil; before, q = q, q.co.wait.behind {
		switch {
		case q != p:
			continue
		case before == nil:
			l.first = p.co.wait.behind
		default:
			before.co.wait.behind = p.co.wait.behind
		}
		if l.last == p {
			l.last = before
		}
		p.co.wait.behind = nil
		return
	}
}

// wake lets all go on that wait for the thing.
func (l *line) wake(thing fmt.Stringer) {
	for p := l.next(); p != nil; p = l.next() {
		if p.waitsOn(thing) {
			p.wakeUp(nil)
		}
	}
}

// String is the actor's path, a colon and the process's name; the second process
// of one name has "#2" behind it.
func (p *Proc) String() string {
	s := p.actor.path + ":" + p.name
	if p.nth > 0 {
		s += "#" + strconv.FormatUint(uint64(p.nth)+1, 10)
	}
	return s
}

func compareProcs(a, b *Proc) int {
	if a.actor != b.actor {
		if c := cmp.Compare(a.actor.path, b.actor.path); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.nth, b.nth), cmp.Compare(a.order, b.order))
}

// Ended tells whether the process is over.
func (p *Proc) Ended() bool {
	if p.w != nil {
		p.w.observe(p.heard())
	}
	return p.ended
}

// Cancel ends the process's context, as if the call that it runs for had been
// given up: it goes on, and gets [context.Canceled] from what it waits in. What is
// shielded by [context.WithoutCancel] goes on undisturbed. A process that has
// ended is none the wiser.
func (p *Proc) Cancel() {
	if !p.ended {
		p.ctx.cancel(context.Canceled)
	}
}

// Wait gives way until p has ended and returns its error. A process that was
// killed ended with [ErrDead], one that panicked with a [*PanicError]. Called
// with an ordinary context it drives the world until p has ended.
func (p *Proc) Wait(ctx context.Context) error {
	if me := procOf(ctx); p.w != nil && (me == nil || me.w != p.w) {
		return p.waitOutside(ctx)
	}
	me, err := caller(ctx)
	if err != nil {
		return err
	}
	for !p.ended {
		me.line(&p.waiters, false)
		if err := me.park(ctx, "the end of", p); err != nil {
			p.waiters.remove(me)
			return err
		}
	}
	me.learn(p.history)
	return p.err
}

func (p *Proc) waitOutside(ctx context.Context) error {
	if !p.w.lock() {
		return ErrContext
	}
	ended := p.ended
	p.w.mu.Unlock()
	if ended {
		return p.err
	}
	return p.w.root.Call(ctx, "wait", p.Wait)
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
	n := a.counts.add(name)
	w.nproc++
	p := &Proc{w: w, actor: a, name: name, nth: uint32(n), fn: fn, order: w.nproc, hash: mix(hashString(a.hash, name), n)}
	p.ctx.p, p.ctx.up = p, parent
	switch {
	case w.closed.Load():
		p.ended, p.err = true, ErrClosed
	case a.dead:
		p.ended, p.err = true, ErrDead
	default:
		if w.print != nil {
			p.history = w.here()
		}
		p.place = int32(len(a.procs))
		a.procs = append(a.procs, p)
		w.ready(p)
	}
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
	if p.w.running.Load() != p || !p.co.own() {
		return ErrContext
	}
	if p.w.fatal != nil {
		panic(doomed{})
	}
	if p.dead {
		return p.dying()
	}
	return ctx.Err()
}

// killed is the panic that ends a dead process.
type killed struct{}

// doomed is the panic that ends a process while something goes on in the
// driver; see World.fatal.
type doomed struct{}

func (p *Proc) dying() error {
	if p.told && !p.unwinding {
		p.unwinding = true
		panic(killed{})
	}
	p.told = true
	return ErrDead
}

// park gives way until something wakes p, and returns what woke it.
func (p *Proc) park(ctx context.Context, what string, on fmt.Stringer) error {
	wait := &p.co.wait
	p.parked, wait.what, wait.on = true, what, on
	p.waitUnder(ctx)
	p.giveWay()
	p.co.seen(here())
	p.waitNoMore()
	p.parked, wait.what, wait.on = false, "", nil
	err := wait.wake
	wait.wake = nil
	if p.dead {
		return p.dying()
	}
	return err
}

// wakeUp makes a waiting process runnable.
func (p *Proc) wakeUp(err error) {
	if p.parked && !p.queued {
		p.co.wait.wake = err
		p.w.ready(p)
	}
}

// waitsOn tells whether p waits for the thing and was not woken yet.
func (p *Proc) waitsOn(thing fmt.Stringer) bool {
	return p.parked && !p.queued && p.co.wait.on == thing
}

// run is the whole life of a process.
func (p *Proc) run() {
	exits := true
	defer func() {
		if r := recover(); r != nil {
			p.err = p.w.caught(p, r)
			exits = false
		}
		p.end()
		if exits && p.co.lent { // the driver is to exit, not who lent us its turn
			p.w.leaving = p
			p.co.yield(struct{}{})
		}
	}()
	p.err = ErrDead // stands if the goroutine exits
	p.err = p.fn(&p.ctx)
	exits = false
}

// leave takes p out of its actor's processes.
func (p *Proc) leave() {
	list := p.actor.procs
	last := list[len(list)-1]
	list[p.place], last.place = last, p.place
	list[len(list)-1] = nil
	p.actor.procs = list[:len(list)-1]
}

func (p *Proc) end() {
	if p.dead {
		p.err = ErrDead // whatever it returned, nobody was there to say it
	}
	p.ended = true
	p.history = p.actor.history
	p.fn = nil
	p.leave()
	p.waiters.wake(p)
	p.ctx.cancel(context.Canceled)
}
