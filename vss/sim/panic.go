package sim

import (
	"context"
	"runtime"
	"runtime/debug"
)

// caught says what a recovered panic means for the process.
func (w *World) caught(p *Proc, r any) error {
	switch {
	case w.passes(r):
		if w.fatal == nil && w.belongsToDriver(r) {
			w.fatal = &fatal{r, site()}
		}
		return ErrDead
	case p.dead: // code that did not expect ErrDead; it is nobody's failure
		return ErrDead
	}
	e := &PanicError{Process: p.String(), Value: r, Stack: string(debug.Stack())}
	w.panics = append(w.panics, e)
	w.emit(p.actor, "panic", "", []Attr{S("process", p.name), S("value", panicText(r))})
	return e
}

// A fatal is a panic that began in a process and goes on in the driver's
// goroutine.
type fatal struct {
	value any
	site  uint64
}

// site is a hash of where a panic that was just recovered came from.
func site() uint64 {
	var pcs [32]uintptr
	h := uint64(offset64)
	for _, pc := range pcs[:runtime.Callers(2, pcs[:])] {
		h = mix(h, uint64(pc))
	}
	return h
}

// goOn panics with the value, from a stack that tells where it began: whoever
// compares stacks to know whether two failures are one, as rapid does, would take
// all that come out of a world for the same. Each bit is a frame, on one of two
// lines.
//
//go:noinline
func (f *fatal) goOn(bits int) {
	switch {
	case bits == 0:
		panic(f.value)
	case f.site>>bits&1 == 0:
		f.goOn(bits - 1)
	default:
		f.goOn(bits - 1)
	}
}

// passes tells whether a panic is to go through code that catches panics.
func (w *World) passes(r any) bool {
	switch r.(type) {
	case killed, doomed:
		return true
	}
	return w.belongsToDriver(r)
}

func (w *World) belongsToDriver(r any) bool {
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
		if r := recover(); r != nil {
			if p.w.passes(r) {
				panic(r)
			}
			err = p.w.caught(p, r)
		}
	}()
	return fn()
}
