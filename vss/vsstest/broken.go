package vsstest

import (
	"errors"
	"fmt"
	"strings"
)

// A Promise is what a writer or a provider owes, as a sentence.
type Promise string

// A Broken is a promise that was not kept: by which call, what happened instead,
// and the line that repeats the run in which it happened.
type Broken struct {
	Promise Promise
	Call    string // "Freeze": the handler, or the provider's method
	When    string // the session or the set, and the time
	Fact    string // what happened
	Replay  string // for the Replay of the options
}

// Error is one sentence, and the line that repeats the run.
func (b *Broken) Error() string {
	at := b.Call
	if b.When != "" {
		at += " " + b.When
	}
	return fmt.Sprintf("%s: %s: %s\n\treplay with Replay: %q", at, b.Promise, b.Fact, b.Replay)
}

// Promises lists the promises that an error of this package says were broken,
// each once, in order.
func Promises(err error) []Promise {
	var out []Promise
	seen := make(map[Promise]bool)
	for _, b := range brokenIn(err) {
		if !seen[b.Promise] {
			seen[b.Promise] = true
			out = append(out, b.Promise)
		}
	}
	return out
}

func brokenIn(err error) []*Broken {
	var one *Broken
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*Broken
		for _, e := range joined.Unwrap() {
			out = append(out, brokenIn(e)...)
		}
		return out
	}
	if errors.As(err, &one) {
		return []*Broken{one}
	}
	return nil
}

// key tells findings apart: one promise broken by one kind of call is told once.
func (b *Broken) key() string { return string(b.Promise) + "\x00" + b.Call }

// findings collects broken promises, the first of each kind.
type findings struct {
	list []*Broken
	seen map[string]bool
}

func (f *findings) known(b *Broken) bool { return f.seen[b.key()] }

func (f *findings) add(list ...*Broken) {
	if f.seen == nil {
		f.seen = make(map[string]bool)
	}
	for _, b := range list {
		if !f.known(b) {
			f.seen[b.key()] = true
			f.list = append(f.list, b)
		}
	}
}

func (f *findings) err() error {
	errs := make([]error, len(f.list))
	for i, b := range f.list {
		errs[i] = b
	}
	return errors.Join(errs...)
}

// oneLine makes an error's text fit into a sentence.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
