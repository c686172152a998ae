package sim

import (
	"cmp"
	"slices"
)

// A pruned search compares states of the world by a fingerprint. What a process
// will do is a function of what it took part in and heard of, so each actor keeps
// a running hash of that, its history. Whatever carries news from one actor to
// another carries the history with it: the functions here are what the rest of
// the kernel says for it. All of them do nothing unless a search prunes.

// Where a process may hear one thing or another, it learns from both: else two
// questions with one answer each way would look alike in either order.

// learn folds what a process heard of into its actor's history.
func (p *Proc) learn(history uint64) {
	if p.w.print != nil {
		p.actor.history = mix(p.actor.history, history)
	}
}

// learnTurn notes that p gets its turn.
func (p *Proc) learnTurn() {
	if p.step == 1 {
		p.learn(p.history)
		p.history = 0
	}
	p.learn(p.turnHash())
}

// turnHash is the same for a process's nth turn in every run.
func (p *Proc) turnHash() uint64 { return mix(p.hash, p.step) }

// observe folds what the running process, or ordinary code, read of the world
// into its history.
func (w *World) observe(what uint64) {
	if w.print != nil {
		a := w.who()
		a.history = mix(a.history, what)
	}
}

// who is the actor that acts: the running process's, or the root for ordinary
// code.
func (w *World) who() *Actor {
	if p := w.running.Load(); p != nil {
		return p.actor
	}
	return w.root
}

func (w *World) here() uint64 { return w.who().history }

// line adds p to those who wait for a thing. It counts as news who stands there already
// if they go on one after another, or if the search may not choose any order.
func (p *Proc) line(waiters *line, oneByOne bool) {
	if f := p.w.print; f != nil && (f.ordered || oneByOne) {
		h := uint64(offset64)
		for q := waiters.first; q != nil; q = q.co.wait.behind {
			h = mix(h, q.hash)
		}
		p.learn(h)
	}
	waiters.add(p)
}

// heard is what who asks whether p has ended hears of: nothing until it has.
func (p *Proc) heard() uint64 {
	if p.ended {
		return p.history
	}
	return 0
}

// A note is what an object keeps of who changed it last, for who reads it next.
type note struct {
	history uint64
	unknown bool // changed while the world was not known
}

func (n *note) write(w *World) {
	if w == nil {
		n.unknown = true
	} else if w.print != nil {
		n.history, n.unknown = w.here(), false
	}
}

func (n *note) read(w *World) {
	if w == nil || w.print == nil {
		return
	}
	if n.unknown { // somebody did it: then who reads hears of all
		n.history, n.unknown = w.histories(), false
	}
	w.observe(n.history)
}

// histories is a hash of all that happened.
func (w *World) histories() uint64 {
	var sum uint64 // of hashes: the order of the actors is not part of the state
	add := func(a *Actor) { sum += mix(mix(a.hash, a.history), uint64(a.pauses)) }
	w.root.each(add)
	for _, a := range w.graves {
		add(a)
	}
	return sum
}

// fingerprints remembers the states in which choices were made, and with how few
// deviations.
type fingerprints struct {
	w       *World
	base    uint64 // of the worlds that the scenario made before this one
	ordered bool   // the order in which things are ready is part of the state
	seen    map[uint64]int
}

func (f *fingerprints) enter(w *World) {
	if f.w != nil && f.w != w {
		f.base = mix(f.base, f.w.fingerprint(f.ordered))
	}
	f.w = w
}

// restart prepares for another run.
func (f *fingerprints) restart() { f.w, f.base = nil, 0 }

func (f *fingerprints) known(what string, deviations int) bool {
	h := hashString(mix(f.base, f.w.fingerprint(f.ordered)), what)
	least, ok := f.seen[h]
	if ok && least <= deviations {
		return true
	}
	f.seen[h] = deviations
	return false
}

// fingerprint is a hash of where the world stands.
func (w *World) fingerprint(ordered bool) uint64 {
	var things []uint64
	add := func(kind int, h uint64) { things = append(things, mix(h, uint64(kind))) }
	for i, list := range [][]*Proc{w.runq, w.held, w.dying} {
		for _, p := range list {
			add(i, p.prospect())
		}
	}
	for _, t := range w.allTimers() {
		if t.asleep {
			add(3, mix(t.owner(), uint64(t.at)))
		} else {
			add(4, mix(t.owner(), uint64(t.at-w.now)))
		}
	}
	var sum uint64
	for _, h := range things {
		if ordered {
			sum = mix(sum, h)
		} else {
			sum += h
		}
	}
	return mix(w.histories(), sum)
}

// allTimers are the timers that are set, in the order in which they were.
func (w *World) allTimers() []*timer {
	timers := slices.Clone(w.timers)
	w.root.each(func(a *Actor) {
		for _, p := range a.procs {
			p.eachTimer(func(t *timer) {
				if t.asleep {
					timers = append(timers, t)
				}
			})
		}
	})
	slices.SortFunc(timers, func(a, b *timer) int { return cmp.Compare(a.seq, b.seq) })
	return timers
}

// prospect is a hash of what p will do with its turn, as far as its actor's
// history does not say it.
func (p *Proc) prospect() uint64 {
	h := p.turnHash()
	if p.step == 0 {
		h = mix(h, p.history)
	}
	if p.co != nil && p.co.wait.wake != nil {
		h = mix(h, 1)
	}
	return h
}

func (t *timer) owner() uint64 {
	if t.ctx != nil {
		return mix(t.ctx.p.hash, 1)
	}
	return t.p.hash
}
