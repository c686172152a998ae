package guest

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// startLimit is how long a run waits for one program to start before it goes on
// without it ("ServicesPipeTimeout").
const startLimit = 30 * time.Second

// An app is a program in a run of the machine: its process, and the writer it
// may be.
type app struct {
	machine *Machine
	name    string // its own in the machine: "ledger", "ledger#2"
	actor   *sim.Actor
	env     Env
	code    Application
	turn    sim.Mutex // its methods are called one at a time
	started sim.Signal
	rest    time.Duration // until its first step of this run
	due     time.Duration // of its next step
	sub     *vss.Subscription
	ended   bool // it crashed
}

// load makes the applications of the programs in the system record. A program
// that cannot be made is an event, and the machine does without.
func (m *Machine) load() {
	count := make(map[string]int)
	for _, p := range m.system.Programs {
		name := p.Name
		if count[p.Name]++; count[p.Name] > 1 {
			name = numbered(p.Name, count[p.Name])
		}
		a, err := m.loadOne(name, p)
		if err != nil {
			m.programEvent(name, "not started", err)
			continue
		}
		m.apps = append(m.apps, a)
	}
}

func (m *Machine) loadOne(name string, p Program) (*app, error) {
	construct := m.config.Catalog[p.Name]
	if construct == nil {
		return nil, &Error{Op: m.began, On: m.path + "/" + name, Err: ErrNoProgram}
	}
	code, err := construct(p)
	if err != nil {
		return nil, &Error{Op: m.began, On: m.path + "/" + name, Err: err}
	}
	rest, err := m.memory.ensure(name, regionSize(code))
	if err != nil {
		return nil, err
	}
	region, _ := m.memory.Region(name)
	a := &app{machine: m, name: name, actor: m.actor.Child(name), code: code, rest: rest}
	a.env = Env{Program: p, Memory: region, machine: m}
	a.turn.Name = "the turn of " + a.actor.Path()
	a.started.Name = "the start of " + a.actor.Path()
	return a, nil
}

func regionSize(code Application) int64 {
	if s, ok := code.(Sizer); ok {
		return s.RegionSize()
	}
	return DefaultRegion
}

// startApps sets the programs going in the order of the record and waits for
// each, up to startLimit.
func (m *Machine) startApps(ctx context.Context) error {
	for _, a := range m.apps {
		a.due = sim.Now(ctx) + a.rest
		a.actor.Background("run", a.run)
		limited, cancel := sim.WithTimeout(ctx, startLimit)
		err := a.started.Wait(limited)
		cancel()
		if ctx.Err() != nil || errors.Is(err, sim.ErrDead) {
			return err
		}
		if err != nil {
			m.programEvent(a.name, "slow to start", err)
		}
	}
	return nil
}

// run is the program's process. Whatever ends it, a crash too, ends the writer.
func (a *app) run(ctx context.Context) error {
	defer a.crash()
	err := a.start(ctx)
	if err == nil {
		a.subscribe()
		a.machine.programEvent(a.name, "started", nil)
		a.started.Set()
		err = a.steps(ctx)
	}
	if errors.Is(err, sim.ErrDead) {
		return err
	}
	a.machine.programEvent(a.name, "crashed", err)
	return err
}

func (a *app) start(ctx context.Context) error {
	s, ok := a.code.(Starter)
	if !ok {
		return nil
	}
	return a.inTurn(ctx, func(ctx context.Context) error { return s.Start(ctx, &a.env) })
}

// subscribe makes the program known as a writer if it is one.
func (a *app) subscribe() {
	w, ok := a.code.(WriterApplication)
	if !ok || a.machine.service == nil {
		return
	}
	c := w.WriterConfig()
	c.Actor = a.actor
	sub, err := a.machine.service.Subscribe(&guestWriter{app: a, w: w}, c)
	if err != nil {
		a.machine.programEvent(a.name, "no writer", err)
		return
	}
	a.sub = sub
}

func (a *app) steps(ctx context.Context) error {
	rest := a.due - sim.Now(ctx)
	for {
		if err := sim.Sleep(ctx, rest); err != nil {
			return err
		}
		err := a.inTurn(ctx, func(ctx context.Context) (err error) {
			rest, err = a.code.Step(ctx, &a.env)
			rest = max(rest, MinRest)
			a.due = sim.Now(ctx) + rest
			return err
		})
		if err != nil {
			return err
		}
	}
}

// inTurn runs fn while no other method of the program runs and the machine is
// not being saved.
func (a *app) inTurn(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := a.turn.Lock(ctx); err != nil {
		return err
	}
	defer a.turn.Unlock()
	if err := a.machine.steps.enter(ctx); err != nil {
		return err
	}
	defer a.machine.steps.leave()
	return fn(ctx)
}

func (a *app) crash() {
	a.ended = true
	a.started.Set()
	if a.sub != nil && !a.machine.Ended() {
		a.sub.Unsubscribe()
	}
}

func numbered(name string, n int) string { return name + "#" + strconv.Itoa(n) }

func (m *Machine) programEvent(name, state string, err error) {
	attrs := []sim.Attr{sim.S("program", name), sim.S("state", state)}
	if err != nil {
		attrs = append(attrs, sim.S("error", err.Error()))
	}
	m.actor.Emit("guest/program", "", attrs...)
}
