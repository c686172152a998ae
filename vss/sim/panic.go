package sim

import (
	"context"
	"runtime/debug"
)

// caught says what a recovered panic means for the process.
func (w *World) caught(p *Proc, r any) error {
	switch {
	case w.passes(r):
		if w.fatal == nil && w.belongsToDriver(r) {
			w.fatal = r
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
