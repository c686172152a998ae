package sim

import (
	"context"
	"errors"
)

// A Signal is an event that happens once; who waits for it goes on when it has
// happened. The zero Signal is ready. Name it for reports.
type Signal struct {
	Name    string
	set     bool
	history uint64
	waiters []*Proc
}

func (s *Signal) String() string { return named(s.Name, "a signal") }

// IsSet tells whether the signal has happened.
func (s *Signal) IsSet() bool { return s.set }

// Set makes the signal happen. Further calls do nothing.
func (s *Signal) Set() {
	if s.set {
		return
	}
	s.set = true
	for _, p := range s.waiters {
		if p.waitOn == s {
			p.wakeUp(nil)
			s.history = p.actor.history
		}
	}
	s.waiters = nil
}

// Wait gives way until the signal has happened.
func (s *Signal) Wait(ctx context.Context) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	for !s.set {
		s.waiters = append(s.waiters, p)
		if err := p.park(ctx, "signal", s); err != nil {
			return err
		}
	}
	p.learn(s.history)
	return nil
}

// A Mutex lets one process at a time pass; the others wait in the order they
// came. The zero Mutex is unlocked. A process that dies with it must unlock it in
// a deferred call, as anywhere.
type Mutex struct {
	Name    string
	owner   *Proc
	history uint64
	waiters []*Proc
}

func (m *Mutex) String() string { return named(m.Name, "a mutex") }

// Lock gives way until the mutex is the process's own.
func (m *Mutex) Lock(ctx context.Context) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	if m.owner == p {
		return errors.New("sim: " + m.String() + " is locked twice by " + p.String())
	}
	if m.owner == nil {
		m.owner = p
		p.learn(m.history)
		return nil
	}
	m.waiters = append(m.waiters, p)
	err = p.park(ctx, "mutex", m)
	if err != nil && m.owner == p { // handed over and ended at once
		m.Unlock()
	}
	return err
}

// Unlock hands the mutex to the next that waits. It needs no context, so that a
// dying process can call it.
func (m *Mutex) Unlock() {
	if m.owner != nil {
		m.history = m.owner.actor.history
	}
	m.owner = nil
	for len(m.waiters) > 0 && m.owner == nil {
		p := m.waiters[0]
		m.waiters = m.waiters[1:]
		if p.waitOn == m && p.waitFor != "" {
			m.owner = p
			p.wakeUp(nil)
		}
	}
}

// A Gate holds back who passes it while it is shut, as a volume holds writes
// during a flush-and-hold. The zero Gate is open.
type Gate struct {
	Name    string
	shut    bool
	waiters []*Proc
}

func (g *Gate) String() string { return named(g.Name, "a gate") }

// Shut makes Pass wait.
func (g *Gate) Shut() { g.shut = true }

// IsShut tells whether Pass waits.
func (g *Gate) IsShut() bool { return g.shut }

// Open lets everybody go on who waits.
func (g *Gate) Open() {
	g.shut = false
	for _, p := range g.waiters {
		if p.waitOn == g {
			p.wakeUp(nil)
		}
	}
	g.waiters = nil
}

// Pass gives way until the gate is open.
func (g *Gate) Pass(ctx context.Context) error {
	if !g.shut {
		return nil
	}
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	for g.shut {
		g.waiters = append(g.waiters, p)
		if err := p.park(ctx, "gate", g); err != nil {
			return err
		}
	}
	return nil
}

func named(name, kind string) string {
	if name == "" {
		return kind
	}
	return name
}
