package sim

import (
	"context"
	"slices"
)

// Emit adds an event of the running process's actor to the trace. A killed
// process emits nothing.
func Emit(ctx context.Context, kind, rule string, attrs ...Attr) {
	if p := procOf(ctx); p != nil {
		p.w.emit(p.actor, kind, rule, attrs)
	}
}

// Emit adds an event of the actor to the trace. Rule is the requirement that
// makes the event happen ("R33"), or "".
func (a *Actor) Emit(kind, rule string, attrs ...Attr) { a.w.emit(a, kind, rule, attrs) }

func (w *World) emit(a *Actor, kind, rule string, attrs []Attr) {
	if p := w.running.Load(); p != nil && p.dead {
		return
	}
	if w.print != nil {
		a.history = mix(a.history, hashString(offset64, kind))
		for _, t := range attrs {
			a.history = mix(hashString(a.history, t.Text), uint64(t.Num))
		}
	}
	if w.traceOff {
		return
	}
	l := &w.events
	l.n++
	e := l.next()
	e.Seq, e.Time, e.Actor, e.Kind, e.Rule = l.n, w.now, a.path, kind, rule
	if len(attrs) > 0 {
		e.Attrs = l.keep(attrs)
	}
}

// An eventLog keeps events in one piece while they are few, and then in chunks, so
// that a long trace is not copied again and again while it grows.
type eventLog struct {
	n     uint64
	whole Trace     // the oldest, in one piece
	full  [][]Event // what came next, chunk by chunk
	last  []Event   // the newest
	attrs []Attr    // room for attributes
}

const (
	firstChunk = 16
	fewEvents  = 16 * firstChunk
	maxChunk   = 2 * fewEvents
)

// next makes room for one event.
func (l *eventLog) next() *Event {
	if n := len(l.last); n == cap(l.last) {
		switch {
		case l.n == 1:
			l.last = make([]Event, 0, firstChunk)
		case l.n <= fewEvents:
			l.last = append(make([]Event, 0, 4*n), l.last...)
		default:
			if n > 0 {
				l.full = append(l.full, l.last)
			}
			l.last = make([]Event, 0, maxChunk)
		}
	}
	l.last = l.last[:len(l.last)+1]
	return &l.last[len(l.last)-1]
}

// keep copies attributes to where they stay.
func (l *eventLog) keep(attrs []Attr) []Attr {
	n := len(l.attrs)
	if cap(l.attrs)-n < len(attrs) {
		l.attrs = make([]Attr, 0, max(2*firstChunk, min(2*cap(l.attrs), 2*maxChunk), len(attrs)))
		n = 0
	}
	l.attrs = append(l.attrs, attrs...)
	return l.attrs[n:len(l.attrs):len(l.attrs)]
}

// trace puts the chunks together.
func (l *eventLog) trace() Trace {
	if l.n <= fewEvents {
		return slices.Clip(Trace(l.last))
	}
	if len(l.last) > 0 {
		l.whole = slices.Grow(l.whole, int(l.n)-len(l.whole))
		for _, chunk := range l.full {
			l.whole = append(l.whole, chunk...)
		}
		l.whole = append(l.whole, l.last...)
		l.full, l.last = nil, l.last[len(l.last):]
	}
	return slices.Clip(l.whole)
}
