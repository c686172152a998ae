package sim

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// An Event is one thing that happened in a world.
type Event struct {
	Seq   uint64        // from 1, without gaps
	Time  time.Duration // virtual, since the world began
	Actor string        // path
	Kind  string        // what happened: "vss/freeze", "vm/state"
	Rule  string        // the requirement that makes it happen: "R33", or ""
	Attrs []Attr
}

// An Attr is a named detail of an event: a text or a number.
type Attr struct {
	Key    string
	Text   string
	Num    int64
	Number bool // Num holds the value
}

// S is a text attribute.
func S(key, value string) Attr { return Attr{Key: key, Text: value} }

// N is a number attribute.
func N[T ~int | ~int64 | ~uint32 | ~int32](key string, value T) Attr {
	return Attr{Key: key, Num: int64(value), Number: true}
}

// Value is the attribute's value as text.
func (a Attr) Value() string {
	if a.Number {
		return strconv.FormatInt(a.Num, 10)
	}
	return a.Text
}

// String prints the attribute as key=value; a value that is not one word is
// quoted.
func (a Attr) String() string { return string(a.append(nil)) }

func (a Attr) append(b []byte) []byte {
	b = append(append(b, a.Key...), '=')
	if a.Number {
		return strconv.AppendInt(b, a.Num, 10)
	}
	if a.Text == "" || strings.ContainsFunc(a.Text, mustQuote) {
		return strconv.AppendQuote(b, a.Text)
	}
	return append(b, a.Text...)
}

func mustQuote(r rune) bool {
	return r == ' ' || r == '"' || r == '=' || r == utf8.RuneError || !strconv.IsPrint(r)
}

// Get returns the value of the attribute with the key, or "".
func (e Event) Get(key string) string {
	for _, a := range e.Attrs {
		if a.Key == key {
			return a.Value()
		}
	}
	return ""
}

// String prints the event as one line: time, actor, kind, attributes, rule.
func (e Event) String() string { return string(e.append(nil)) }

func (e Event) append(b []byte) []byte {
	b = fmt.Appendf(b, "%12s  %-28s %s", e.Time, e.Actor, e.Kind)
	for _, a := range e.Attrs {
		b = a.append(append(b, ' '))
	}
	if e.Rule != "" {
		b = append(b, "  ["...)
		b = append(b, e.Rule...)
		b = append(b, ']')
	}
	return b
}

// A Trace is the events of a run in order.
type Trace []Event

// Trace returns the events so far. They must not be changed.
func (w *World) Trace() Trace { return w.events.trace() }

// String prints one line an event.
func (t Trace) String() string {
	var b []byte
	for _, e := range t {
		b = append(e.append(b), '\n')
	}
	return string(b)
}

// Digest is the SHA-256 of the printed trace: two runs are the same if their
// digests are.
func (t Trace) Digest() [32]byte {
	h := sha256.New()
	var b []byte
	for _, e := range t {
		b = append(e.append(b[:0]), '\n')
		h.Write(b)
	}
	return [32]byte(h.Sum(nil))
}

// Select returns the events of a kind, in order.
func (t Trace) Select(kind string) Trace {
	var out Trace
	for _, e := range t {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// TracesIO tells whether single reads and writes are to be recorded.
func (w *World) TracesIO() bool { return w.traceIO }
