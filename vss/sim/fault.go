package sim

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A Point names a place where something can go wrong: "vss/freeze". Constants
// stand next to the code that asks.
type Point string

// A FaultPoint documents a point and the outcomes worth trying there.
type FaultPoint struct {
	Point    Point
	Doc      string
	Outcomes []Outcome
}

// A Fault is something that goes wrong at a point. It prints as it is written:
//
//	vss/freeze on=h1/db/guest/ledger nth=2 err=0x800423F4
//	disk/write on=h1/D: from=10 err=0x80070070
//	guest/answer delay=20m
//	hyperv/save kill=h1/vmms
//
// On is the object the point is asked for, mostly the path of the asking actor;
// "*" in it stands for any text, and without it any object will do. The fault
// strikes the nth time the point is reached so, or from that time on; without
// either just the first time.
type Fault struct {
	Point   Point
	On      string
	Nth     int
	From    int
	Outcome Outcome
}

// An Outcome is what a fault does: one of an error, a delay, a hang and a death.
type Outcome struct {
	Err   uint32        // the HRESULT of an error
	Delay time.Duration // the call goes on after it
	Hang  bool          // the call never goes on
	Kill  string        // the path of the actor that dies; "." is the asking one
}

// A FaultError is the error of an injected fault.
type FaultError struct {
	Fault Fault
	On    string // the object that asked
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("%s on %s: injected error 0x%08X", e.Fault.Point, e.On, e.Fault.Outcome.Err)
}

// HRESULT is the code the fault was planned with.
func (e *FaultError) HRESULT() uint32 { return e.Fault.Outcome.Err }

// Plan adds faults, written one to a string. It panics on a malformed one; parse
// what a user wrote with [ParseFault] and pass it to [Faults].
func Plan(faults ...string) Option {
	var list []Fault
	for _, s := range faults {
		f, err := ParseFault(s)
		if err != nil {
			panic(err)
		}
		list = append(list, f)
	}
	return Faults(list...)
}

// Faults adds faults to the world's plan.
func Faults(faults ...Fault) Option {
	return func(w *World) {
		for _, f := range faults {
			w.plan = append(w.plan, &plannedFault{Fault: f})
		}
	}
}

type plannedFault struct {
	Fault
	healed bool // it strikes no more
	seen   int
	fired  int
}

func (f *plannedFault) strikes(point Point, on string) bool {
	if f.healed || f.Point != point || f.On != "" && !match(f.On, on) {
		return false
	}
	f.seen++
	if f.From > 0 && f.seen < f.From || f.From == 0 && f.seen != max(f.Nth, 1) {
		return false
	}
	f.fired++
	return true
}

// match tells whether s has the form of the pattern, in which "*" stands for any
// text.
func match(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, head)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, last)
}

// Unreached lists the planned faults that never struck.
func (w *World) Unreached() []Fault {
	var out []Fault
	for _, f := range w.plan {
		if f.fired == 0 {
			out = append(out, f.Fault)
		}
	}
	return out
}

// Inject adds faults to the plan from now on: what happened before does not
// count towards theirs. Call it between operations or inside a process.
func (w *World) Inject(faults ...Fault) { Faults(faults...)(w) }

// Plan lists the planned faults.
func (w *World) Plan() []Fault {
	out := make([]Fault, len(w.plan))
	for i, f := range w.plan {
		out[i] = f.Fault
	}
	return out
}

// Heal ends the faults planned so far: what follows goes well, but for what is
// injected later.
func (w *World) Heal() {
	for _, f := range w.plan {
		f.healed = true
	}
}

// A Hit counts how often a point was reached for an object.
type Hit struct {
	Point Point
	On    string
	Count int
	After int // how often of these after a planned fault had struck
}

// A faultPlace is an object that points are reached for.
type faultPlace struct {
	object string
	first  *hit
}

// A hit is a Hit in the list of its object and in that of all.
type hit struct {
	Hit
	next  *hit // of the object
	later *hit
}

// A hitList holds the hits of a world, in the order they were first reached.
type hitList struct {
	first, last *hit
	room        []hit
	n           int
}

const hitChunk = 16

func (l *hitList) add(point Point, on string) *hit {
	if len(l.room) == 0 {
		l.room = make([]hit, min(max(hitChunk, l.n), 32*hitChunk))
	}
	h := &l.room[0]
	l.room = l.room[1:]
	h.Point, h.On = point, on
	if l.n++; l.first == nil {
		l.first = h
	} else {
		l.last.later = h
	}
	l.last = h
	return h
}

// place finds the object, or makes it known.
func (w *World) place(object string) *faultPlace {
	f := w.places[object]
	if f == nil {
		if f = (&faultPlace{object: object}); w.places == nil {
			w.places = make(map[string]*faultPlace)
		}
		w.places[object] = f
	}
	return f
}

// reach finds the hit of a point; an object has few of them.
func (f *faultPlace) reach(w *World, point Point) *hit {
	at := &f.first
	for h := *at; h != nil; h = *at {
		if h.Point == point {
			return h
		}
		at = &h.next
	}
	*at = w.hits.add(point, f.object)
	return *at
}

// Hits lists the points reached so far, in the order they were first reached: of
// a clean run, what a plan can be drawn from.
func (w *World) Hits() []Hit {
	out := make([]Hit, 0, w.hits.n)
	for h := w.hits.first; h != nil; h = h.later {
		out = append(out, h.Hit)
	}
	return out
}

// At asks whether something is to go wrong at the point for the running
// process's actor. A delay and a hang happen inside At; an error and the
// process's own death are returned. Of several faults that strike at once the
// first come first: a delay, then an error. One that is to kill an actor that is
// not there, or dead, does not strike.
func At(ctx context.Context, point Point) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	a := p.actor
	if a.faults == nil {
		a.faults = p.w.place(a.path)
	}
	return p.at(ctx, point, a.faults)
}

// AtOn is [At] for another object than the running process's actor.
func AtOn(ctx context.Context, point Point, object string) error {
	p, err := caller(ctx)
	if err != nil {
		return err
	}
	return p.at(ctx, point, p.w.place(object))
}

func (p *Proc) at(ctx context.Context, point Point, place *faultPlace) error {
	w := p.w
	on := place.object
	h := place.reach(w, point)
	h.Count++
	if w.struck {
		h.After++
	}
	var struck []*plannedFault
	for _, f := range w.plan {
		if f.strikes(point, on) {
			struck = append(struck, f)
		}
	}
	p.learn(uint64(len(struck)))
	for _, f := range struck {
		if err := p.suffer(ctx, f, on); err != nil {
			return err
		}
	}
	return nil
}

func (p *Proc) suffer(ctx context.Context, f *plannedFault, on string) error {
	o := f.Outcome
	victim := p.actor
	if o.Kill != "" && o.Kill != "." {
		if victim = p.w.Find(o.Kill); victim == nil {
			f.fired-- // who is not there cannot be struck
			return nil
		}
	}
	p.w.struck = true
	p.w.emit(p.actor, "fault", "", []Attr{S("point", string(f.Point)), S("on", on), S("outcome", o.String())})
	switch {
	case o.Err != 0:
		return &FaultError{Fault: f.Fault, On: on}
	case o.Delay > 0:
		return Sleep(ctx, o.Delay)
	case o.Hang:
		return p.park(ctx, "a hang at "+string(f.Point), nil)
	case o.Kill != "":
		victim.Kill()
	}
	return p.enter(ctx)
}
