package vss

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Subscription is a writer that the service knows: one instance, from
// Subscribe until Unsubscribe or the death of its process. A writer that starts
// anew subscribes anew, with a new instance, and has no part in sessions the old
// one began (CVssWriter::Subscribe).
type Subscription struct {
	service  *Service
	writer   Writer
	actor    *sim.Actor
	config   WriterConfig
	name     string
	instance guid.GUID
	gone     bool
	express  *WriterMetadata // of a writer that gets no events, which has only this
	forget   func()
	sessions []*session // open ones, oldest first
	pending  []*delivery

	// What a query outside of a session shows: the last that happened.
	state   WriterState
	failure WriterFailure
}

// Subscribe makes a writer known, so that requesters find it from now on. A
// writer that is subscribed already, with its class on its actor, is
// [ErrWriterAlreadySubscribed]; a
// configuration without class, name or a usable level [ErrInvalidArg]; an actor
// whose account may not back up [ErrAccessDenied].
func (s *Service) Subscribe(w Writer, c WriterConfig) (*Subscription, error) {
	const op = "Subscribe"
	if c.Actor == nil {
		c.Actor = s.actor
	}
	if err := s.admit(op, c.Actor, AccessWriter); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	for _, o := range s.writers {
		if o.alive() && o.actor == c.Actor && o.config.ClassID == c.ClassID && sameWriter(o.writer, w) {
			return nil, fail(op, c.Name, ErrWriterAlreadySubscribed, "subscribed as %s", guid.Braced(o.instance))
		}
	}
	sub := &Subscription{service: s, writer: w, actor: c.Actor, config: c, name: c.Name, state: StateStable}
	sub.instance = c.Actor.NewID("writer instance " + c.Name)
	sub.forget = c.Actor.OnKill(s.actor, "writer lost", func(context.Context) error {
		sub.lose()
		return nil
	})
	s.writers = append(s.writers, sub)
	s.actor.Emit("vss/subscribe", "", sim.S("writer", sub.name), sim.S("instance", guid.String(sub.instance)))
	return sub, nil
}

// sameWriter compares without the panic of values that cannot be compared.
func sameWriter(a, b Writer) bool { return reflect.TypeOf(a).Comparable() && a == b }

func (c *WriterConfig) complete() error {
	if c.Usage == UsageUndefined {
		c.Usage = UsageUserData
	}
	if c.Source == SourceUndefined {
		c.Source = SourceOther
	}
	if c.Level == LevelUnknown {
		c.Level = LevelFrontEnd
	}
	if c.FreezeTimeout == 0 {
		c.FreezeTimeout = DefaultFreezeTimeout
	}
	switch {
	case c.ClassID == guid.GUID{}:
		return fail("Initialize", c.Name, ErrInvalidArg, "no class")
	case c.Name == "":
		return fail("Initialize", guid.Braced(c.ClassID), ErrInvalidArg, "no name")
	case c.Level < LevelSystem || c.Level > LevelSystemRM:
		return fail("Initialize", c.Name, ErrInvalidArg, "%v cannot be asked for", c.Level)
	case c.FreezeTimeout < 0:
		return fail("Initialize", c.Name, ErrInvalidArg, "a freeze window of %v", c.FreezeTimeout)
	}
	return nil
}

// Unsubscribe takes the writer off the list. Sessions it is in see it as not
// responding. A second call does nothing.
func (sub *Subscription) Unsubscribe() {
	if sub.gone {
		return
	}
	sub.forget()
	sub.service.actor.Emit("vss/unsubscribe", "", sim.S("writer", sub.name), sim.S("instance", guid.String(sub.instance)))
	sub.lose()
}

// lose makes the service see that the writer is gone: what it was asked has no
// answer.
func (sub *Subscription) lose() {
	if sub.gone {
		return
	}
	sub.gone = true
	s := sub.service
	s.writers = slices.DeleteFunc(s.writers, func(o *Subscription) bool { return o == sub })
	for _, d := range slices.Clone(sub.pending) {
		d.settle(OutcomeLost, WriterFailure{Code: ErrWriterNotResponding})
	}
}

func (sub *Subscription) alive() bool { return !sub.gone && !sub.actor.Dead() }

// Writers lists the writers that are alive, in the order they subscribed.
func (s *Service) Writers() []*Subscription {
	return slices.DeleteFunc(slices.Clone(s.writers), func(o *Subscription) bool { return !o.alive() })
}

// InstanceID is the GUID of this run of the writer.
func (sub *Subscription) InstanceID() guid.GUID { return sub.instance }

// ClassID is the GUID of the writer's kind.
func (sub *Subscription) ClassID() guid.GUID { return sub.config.ClassID }

// Name is the writer's name.
func (sub *Subscription) Name() string { return sub.name }

// Level decides when the writer is frozen.
func (sub *Subscription) Level() ApplicationLevel { return sub.config.Level }

// FreezeTimeout is the writer's window from Freeze to Thaw.
func (sub *Subscription) FreezeTimeout() time.Duration { return sub.config.FreezeTimeout }

// Status is the writer as "vssadmin list writers" shows it: the last known state
// of the instance, whichever session it belongs to. A failed state stays visible
// until the writer joins another session or starts anew.
func (sub *Subscription) Status() WriterStatus {
	st := WriterStatus{
		InstanceID: sub.instance, WriterID: sub.config.ClassID, Name: sub.name,
		State: sub.state, WriterFailure: sub.failure,
	}
	if !sub.alive() {
		st.State, st.WriterFailure = StateUnknown, WriterFailure{Code: ErrWriterNotResponding}
	}
	return st
}

// A WriterStatus is what GatherWriterStatus found out about a writer
// (IVssBackupComponents::GetWriterStatus).
type WriterStatus struct {
	InstanceID guid.GUID
	WriterID   guid.GUID
	Name       string
	State      WriterState
	WriterFailure
}

// Err is nil for a writer that has not failed, and otherwise an [*Error] with its
// state and code.
func (st WriterStatus) Err() error {
	if st.Code.Succeeded() {
		return nil
	}
	return &Error{Op: "GetWriterStatus", On: st.Name, State: st.State, Err: st.Code}
}
