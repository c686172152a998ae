package sim

import (
	"context"
	"errors"
)

// A Signal is an event that happens once; who waits for it goes on when it has
// happened. The zero Signal is ready.
type Signal struct {
	Name string // for reports

	// World may be set from the start, for the sake of a pruned [Search]: only so
	// does it know who set a signal that nobody waited for, and takes fewer
	// states for different. It must be set where IsSet is asked before anybody
	// waits.
	World *World

	set     bool
	note    note
	waiters line
}

func (s *Signal) String() string { return named(s.Name, "a signal") }

// IsSet tells whether the signal has happened.
func (s *Signal) IsSet() bool {
	s.note.read(s.World)
	return s.set
}

// Set makes the signal happen. Further calls do nothing.
func (s *Signal) Set() {
	if s.set {
		return
	}
	s.set = true
	s.note.write(s.World)
	s.waiters.wake(s)
}

// Wait gives way until the signal has happened.
func (s *Signal) Wait(ctx context.Context) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	s.World = p.w
	for !s.set {
		p.line(&s.waiters, false)
		if err := p.park(ctx, "signal", s); err != nil {
			s.waiters.remove(p)
			return err
		}
	}
	s.note.read(s.World)
	return nil
}

// A Mutex lets one process at a time pass; the others wait in the order they
// came. The zero Mutex is unlocked. A process that dies with it must unlock it in
// a deferred call, as anywhere.
type Mutex struct {
	Name string // for reports

	owner   *Proc
	note    note
	waiters line
}

func (m *Mutex) String() string {
	if m.owner != nil {
		return named(m.Name, "a mutex") + " held by " + m.owner.String()
	}
	return named(m.Name, "a mutex")
}

// Lock gives way until the mutex is the process's own.
func (m *Mutex) Lock(ctx context.Context) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	if m.owner == p {
		return errors.New("sim: " + named(m.Name, "a mutex") + " is locked twice by " + p.String())
	}
	if m.owner == nil {
		m.owner = p
		m.note.read(p.w)
		return nil
	}
	p.line(&m.waiters, true)
	if err := p.park(ctx, "mutex", m); err != nil {
		m.waiters.remove(p)
		if m.owner == p { // handed over and killed before it could see it
			m.Unlock()
		}
		return err
	}
	m.note.read(p.w)
	return nil
}

// Unlock hands the mutex to the next that waits. It needs no context, so that a
// dying process can call it.
func (m *Mutex) Unlock() {
	if m.owner == nil {
		return
	}
	m.note.write(m.owner.w)
	m.owner = nil
	for m.waiters.first != nil && m.owner == nil {
		if p := m.waiters.next(); p.waitsOn(m) {
			m.owner = p
			p.wakeUp(nil)
		}
	}
}

// A Gate holds back who passes it while it is shut, as a volume holds writes
// during a flush-and-hold. The zero Gate is open.
type Gate struct {
	Name string // for reports

	// World may be set from the start, for the sake of a pruned [Search]: it must
	// be if more than one actor shuts and opens the gate before anybody waits.
	World *World

	shut    bool
	note    note
	waiters line
}

func (g *Gate) String() string { return named(g.Name, "a gate") }

// Shut makes Pass wait.
func (g *Gate) Shut() { g.turn(true) }

// Open lets everybody go on who waits.
func (g *Gate) Open() {
	g.turn(false)
	g.waiters.wake(g)
}

func (g *Gate) turn(shut bool) {
	g.note.read(g.World) // who turned it before is in what comes of it
	g.note.write(g.World)
	g.shut = shut
}

// IsShut tells whether Pass waits.
func (g *Gate) IsShut() bool {
	g.note.read(g.World)
	return g.shut
}

// Pass gives way until the gate is open.
func (g *Gate) Pass(ctx context.Context) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	g.World = p.w
	g.note.read(g.World) // whether it is open or shut is news of who turned it
	for g.shut {
		p.line(&g.waiters, false)
		if err := p.park(ctx, "gate", g); err != nil {
			g.waiters.remove(p)
			return err
		}
		g.note.read(g.World)
	}
	return nil
}

func named(name, kind string) string {
	if name == "" {
		return kind
	}
	return name
}
