package sim

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// An Actor is a part of the world that runs, stops and dies as one: a host, a
// virtual machine, a service. Actors form a tree; what is done to one reaches
// everything below it.
type Actor struct {
	w        *World
	parent   *Actor
	path     string
	names    map[string]int
	counts   map[string]uint64 // processes started, by name
	children []*Actor
	procs    []*Proc
	pauses   int // its own and its ancestors'
	paused   bool
	dead     bool
	onKill   []func()
	hash     uint64 // of the path
	history  uint64 // of what it took part in, for a search
}

// Child adds an actor below a. Its path is a's path, a slash and the name, with
// slashes, blanks, '#', '=', '*' and '%' in the name escaped as in a URL. A
// second child of one name gets "#2" behind it, a third "#3". A child of a dead
// actor is dead.
func (a *Actor) Child(name string) *Actor {
	name = escape(name)
	if a.names == nil {
		a.names = make(map[string]int)
	}
	a.names[name]++
	if n := a.names[name]; n > 1 {
		name += "#" + strconv.Itoa(n)
	}
	path := name
	if a.path != "" {
		path = a.path + "/" + name
	}
	c := &Actor{w: a.w, parent: a, path: path, pauses: a.pauses, dead: a.dead, hash: hashString(offset64, path)}
	a.children = append(a.children, c)
	return c
}

const escaped = "/ #=*%\t\n\r"

func escape(name string) string {
	if !strings.ContainsAny(name, escaped) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; strings.IndexByte(escaped, c) >= 0 {
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Path is the actor's place in the tree: "h1/sql01/guest".
func (a *Actor) Path() string { return a.path }

// World is the world the actor belongs to.
func (a *Actor) World() *World { return a.w }

// Parent is the actor above, or nil at the top.
func (a *Actor) Parent() *Actor {
	if a.parent == a.w.root {
		return nil
	}
	return a.parent
}

// Dead tells whether the actor, or one above it, was killed.
func (a *Actor) Dead() bool { return a.dead }

// Pause stops the actor's processes and timers, and those of every actor below
// it, where they are. Pausing twice is pausing once.
func (a *Actor) Pause() {
	if a.paused || a.dead {
		return
	}
	a.paused = true
	a.each(func(b *Actor) { b.pauses++ })
	a.w.holdTimers()
}

// Resume lets a paused actor go on. A timer that had d left still has d left.
func (a *Actor) Resume() {
	if !a.paused {
		return
	}
	a.paused = false
	a.each(func(b *Actor) { b.pauses-- })
	a.w.releaseHeld()
}

// Kill ends the actor and everything below it. A process that waits gets
// [ErrDead] from the call it waits in; see there for what follows. The running
// process may kill its own actor.
func (a *Actor) Kill() {
	if a.parent != nil {
		a.parent.children = slices.DeleteFunc(a.parent.children, func(b *Actor) bool { return b == a })
	}
	a.kill()
}

func (a *Actor) kill() {
	if a.dead {
		return
	}
	var hooks []func()
	a.each(func(b *Actor) {
		b.dead, b.pauses, b.paused = true, 0, false
		for _, p := range b.procs {
			p.die()
		}
		hooks = append(hooks, b.onKill...)
		b.onKill = nil
	})
	a.w.releaseHeld()
	for _, h := range hooks {
		h()
	}
}

// OnKill starts fn as a process of owner when a is killed, as a supervisor
// learns of a death. Nothing happens if owner is dead by then. The returned
// function takes the order back.
func (a *Actor) OnKill(owner *Actor, name string, fn func(ctx context.Context) error) (cancel func()) {
	live := true
	a.onKill = append(a.onKill, func() {
		if live && !owner.dead {
			owner.Go(name, fn)
		}
	})
	return func() { live = false }
}

func (a *Actor) each(fn func(*Actor)) {
	fn(a)
	for _, c := range a.children {
		c.each(fn)
	}
}

// Go starts fn as a process of the actor; it runs when the running process gives
// way. The world waits for no process by itself: see [Proc.Wait].
func (a *Actor) Go(name string, fn func(ctx context.Context) error) *Proc {
	return a.start(context.Background(), name, fn)
}

// Background is Go for a process that a deadlock report marks as such: a
// workload, a poll, a watch.
func (a *Actor) Background(name string, fn func(ctx context.Context) error) *Proc {
	p := a.Go(name, fn)
	p.background = true
	return p
}

// Call runs fn as a process of the actor and waits for its result: the way into
// a service from whoever calls it. If the caller dies, fn goes on. Called with
// an ordinary context it drives the world until the process ends.
func (a *Actor) Call(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	if p := procOf(ctx); p != nil && p.w == a.w {
		if err := p.enter(ctx); err != nil {
			return err
		}
		return a.start(ctx, name, fn).Wait(ctx)
	}
	if !a.w.lock() {
		return ErrContext
	}
	defer a.w.mu.Unlock()
	if a.w.closed.Load() {
		return ErrClosed
	}
	return a.w.drive(ctx, a.start(ctx, name, fn), a.w.virtualLimit)
}

// Poll is Call for a question that somebody may ask in a loop. From ordinary
// code it lets the world take one more step when fn has its answer, so that the
// loop ends.
func (a *Actor) Poll(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	err := a.Call(ctx, name, fn)
	if procOf(ctx) == nil && a.w.lock() {
		defer a.w.mu.Unlock()
		a.w.nudge()
	}
	return err
}

// Emit adds an event of the actor to the trace. Rule is the requirement that
// makes the event happen ("R33"), or "".
func (a *Actor) Emit(kind, rule string, attrs ...Attr) { a.w.emit(a, kind, rule, attrs) }
