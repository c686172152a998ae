package sim

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An Actor is a part of the world that runs, stops and dies as one: a host, a
// virtual machine, a service. Actors form a tree; what is done to one reaches
// everything below it.
type Actor struct {
	w        *World
	parent   *Actor
	path     string
	base     string      // the last part of the path as it was asked for
	names    tally       // of children, by base
	counts   tally       // of processes started, by name
	faults   *faultPlace // where it asks for faults; nil before it did
	children []*Actor    // nil where one has died
	holes    int         // among children
	place    int         // among the parent's children
	procs    []*Proc     // in no order
	pauses   int         // its own and its ancestors'
	paused   bool
	dead     bool
	closed   bool
	onKill   []*killHook
	hash     uint64 // of the path
	history  uint64 // of what it took part in, for a search
}

// Child adds an actor below a. Its path is a's path, a slash and the name, with
// slashes, '#', '=', '*', '%', blanks and what cannot be printed escaped as in a
// URL. A second child of one name gets "#2" behind it, a third "#3". A child of a
// dead actor is dead.
func (a *Actor) Child(name string) *Actor {
	base := escape(name)
	path := base
	if n := a.names.add(base); n > 0 {
		path += "#" + strconv.FormatUint(n+1, 10)
	}
	if a.path != "" {
		path = a.path + "/" + path
	}
	c := &Actor{w: a.w, parent: a, path: path, base: base, pauses: a.pauses, dead: a.dead, hash: hashString(offset64, path)}
	c.place = len(a.children)
	a.children = append(a.children, c)
	if a.w.print != nil {
		a.w.observe(c.hash)
		c.history = a.w.here()
	}
	return c
}

// escape makes a name a part of a path: what has a meaning in a path, in a fault
// or in a recording, and what is not visible, becomes %XX.
func escape(name string) string {
	if name == "." { // it means the asking actor
		return "%2E"
	}
	if !strings.ContainsFunc(name, mustEscape) {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		if mustEscape(r) {
			for _, c := range []byte(name[:size]) {
				b.WriteByte('%')
				b.WriteByte("0123456789ABCDEF"[c>>4])
				b.WriteByte("0123456789ABCDEF"[c&15])
			}
		} else {
			b.WriteString(name[:size])
		}
		name = name[size:]
	}
	return b.String()
}

func mustEscape(r rune) bool {
	switch r {
	case '/', '#', '=', '*', '%', ' ', utf8.RuneError:
		return true
	}
	return r > unicode.MaxASCII && unicode.IsSpace(r) || !unicode.IsGraphic(r)
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

// Self is the actor of the process ctx belongs to, or nil.
func Self(ctx context.Context) *Actor {
	if p := procOf(ctx); p != nil {
		return p.actor
	}
	return nil
}

// Dead tells whether the process of ctx was killed. It runs on to its next call;
// what it finds out by then, such as that nobody answers it, means nothing.
func Dead(ctx context.Context) bool {
	a := Self(ctx)
	return a != nil && a.Dead()
}

// Find returns the living actor with the path, or nil.
func (w *World) Find(path string) *Actor {
	a := w.root
	for a != nil && a.path != path {
		a = a.towards(path)
	}
	if a == w.root {
		a = nil
	}
	if a == nil {
		w.observe(0)
	} else {
		w.observe(1)
	}
	return a
}

// towards is the child that has the path, or has it below.
func (a *Actor) towards(path string) *Actor {
	for _, c := range a.children {
		if c == nil {
			continue
		}
		if rest, ok := strings.CutPrefix(path, c.path); ok && (rest == "" || rest[0] == '/') {
			return c
		}
	}
	return nil
}

// Dead tells whether the actor, or one above it, was killed.
func (a *Actor) Dead() bool {
	if a.dead {
		a.w.observe(a.history)
	} else {
		a.w.observe(0)
	}
	return a.dead
}

// Pause stops the actor's processes and timers, and those of every actor below
// it, where they are. Pausing twice is pausing once. A process that pauses itself
// stops where it next gives way.
func (a *Actor) Pause() {
	if a.paused || a.dead {
		return
	}
	a.paused = true
	a.each(func(b *Actor) { b.pauses++ })
	a.w.hold(a)
}

// Resume lets a paused actor go on. A timer that had d left still has d left.
func (a *Actor) Resume() {
	if !a.paused {
		return
	}
	a.paused = false
	a.each(func(b *Actor) { b.pauses-- })
	a.w.release(a)
}

// Kill ends the actor and everything below it. A process that waits gets
// [ErrDead] from the call it waits in; see there for what follows. The processes
// unwind before anything else gets a turn. The running process may kill its own
// actor.
func (a *Actor) Kill() {
	if a.dead {
		return
	}
	if a.parent != nil {
		a.parent.remove(a)
	}
	if w := a.w; w.print != nil {
		killer := w.here()
		a.each(func(b *Actor) {
			b.history = mix(b.history, killer)
			w.graves = append(w.graves, b)
		})
	}
	a.kill()
}

// remove takes a dead child out of the tree.
func (a *Actor) remove(c *Actor) {
	a.children[c.place] = nil
	if a.holes++; a.holes <= len(a.children)/2 {
		return
	}
	a.children = slices.DeleteFunc(a.children, func(c *Actor) bool { return c == nil })
	a.holes = 0
	for i, c := range a.children {
		c.place = i
	}
}

func (a *Actor) kill() {
	var hooks []*killHook
	var procs []*Proc
	a.each(func(b *Actor) {
		b.dead, b.pauses, b.paused = true, 0, false
		procs = append(procs, b.procs...)
		hooks = append(hooks, b.onKill...)
		b.onKill = nil
	})
	a.w.bury(procs)
	for _, h := range hooks {
		h.start()
	}
}

// Close kills the actor, waits until everything below it has unwound, and
// forgets it: a new child may have its name and path, unless there was more than
// one of that name. Who asked by [Actor.OnKill] hears of it. A process that
// closes its own actor gets [ErrDead]. Called with an ordinary context, it lets
// the processes unwind at once.
func (a *Actor) Close(ctx context.Context) error {
	w := a.w
	if p := procOf(ctx); p != nil && p.w == w {
		if err := p.enter(ctx); err != nil {
			return err
		}
		a.killAndForget()
		if p.dead {
			return p.dying()
		}
		return Yield(ctx) // the dying have their turns before ours
	}
	if err := w.take(); err != nil {
		return err
	}
	defer w.mu.Unlock()
	a.killAndForget()
	return w.guard(func() error {
		w.unwind()
		return nil
	})
}

func (a *Actor) killAndForget() {
	a.Kill()
	if up := a.parent; up != nil && !a.closed {
		up.names.forgetOnly(a.base)
	}
	a.closed = true
}

type killHook struct {
	owner *Actor
	name  string
	fn    func(ctx context.Context) error
}

func (h *killHook) start() {
	if !h.owner.dead {
		h.owner.Go(h.name, h.fn)
	}
}

// OnKill starts fn as a process of owner when a is killed, as a supervisor
// learns of a death; at once, if a is dead. Nothing happens if owner is dead by
// then. The returned function takes the order back.
func (a *Actor) OnKill(owner *Actor, name string, fn func(ctx context.Context) error) (cancel func()) {
	h := &killHook{owner, name, fn}
	if a.dead {
		h.start()
		return func() {}
	}
	a.onKill = append(a.onKill, h)
	return func() {
		if i := slices.Index(a.onKill, h); i >= 0 {
			a.onKill = slices.Delete(a.onKill, i, i+1)
		}
	}
}

func (a *Actor) each(fn func(*Actor)) {
	fn(a)
	for _, c := range a.children {
		if c != nil {
			c.each(fn)
		}
	}
}
