package sim

import "context"

// Current is the context of the process whose turn it is, or nil between turns.
// It serves calls that carry no context, such as a write to a block store that
// has to wait at a [Gate]. Only code that a process runs may ask.
func (w *World) Current() context.Context {
	if p := w.running.Load(); p != nil && p.co.own() {
		return &p.ctx
	}
	return nil
}
