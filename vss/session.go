package vss

import (
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A session is one writer's part in one requester's operation. It begins with
// Identify and joins the writer's sessions when the writer gets its first event
// that matters.
type session struct {
	bc       *BackupComponents
	sub      *Subscription
	metadata *WriterMetadata

	state   WriterState
	failure WriterFailure

	joined  bool // PrepareBackup, PrepareSnapshot or PreRestore was sent
	takes   bool // takes part: see BackupComponents.participants
	aborted bool
	posted  bool // PostSnapshot was sent
	closed  bool
	omitted bool // Identify failed
	evicted bool // the writer had no room for the session any more

	deadline time.Duration // when the freeze window ends; 0: it is not open
}

// join puts the session among those of the writer, which begins with a clean
// state.
func (x *session) join() {
	if x.joined {
		return
	}
	x.joined = true
	sub := x.sub
	if n := sub.service.config.WriterSessions; n > 0 && len(sub.sessions) >= n {
		sub.sessions[0].evicted = true
		sub.sessions = sub.sessions[1:]
	}
	sub.sessions = append(sub.sessions, x)
	x.record(StateStable, WriterFailure{})
}

// record sets the state, also as what the writer shows to the outside.
func (x *session) record(s WriterState, f WriterFailure) {
	x.state, x.failure = s, f
	x.sub.state, x.sub.failure = s, f
}

// step moves the session by the table. It returns the row, or false if there is
// none and nothing changes.
func (x *session) step(e Event, o Outcome, f WriterFailure) (WriterMove, bool) {
	m, ok := move(x.state, e, o)
	if !ok || e == EventIdentify {
		return m, ok
	}
	switch m.Record {
	case RecordOK:
		f = WriterFailure{}
	case RecordKept:
		f = x.failure
	}
	x.record(m.To, f)
	if m.Closes {
		x.close()
	}
	return m, true
}

// close takes the session off the writer's list; the state it ended with stays
// visible outside.
func (x *session) close() {
	if x.closed {
		return
	}
	x.closed = true
	x.deadline = 0
	x.leave()
}

// leave frees the writer's memory of the session, which may still be told that
// the requester is gone.
func (x *session) leave() {
	x.sub.sessions = slices.DeleteFunc(x.sub.sessions, func(o *session) bool { return o == x })
}

// gets tells whether the writer is to have the event.
func (x *session) gets(e Event) bool {
	switch {
	case !x.takes || x.closed || x.sub.express != nil || !x.sub.alive() || !receives(x.state, e):
		return false
	case e == EventBackupShutdown:
		return x.joined
	case e == EventAbort:
		return x.joined && !x.aborted && (!x.posted || x.sub.service.config.AbortAfterPostSnapshot)
	}
	return !x.aborted
}

// status is the requester's view: the session's own state once it has joined,
// and before that the last that is known of the writer.
func (x *session) status() WriterStatus {
	st := x.sub.Status()
	switch {
	case x.evicted:
		st.State, st.WriterFailure = StateUnknown, WriterFailure{Code: ErrWriterStatusNotAvailable}
	case x.sub.alive() && x.joined:
		st.State, st.WriterFailure = x.state, x.failure
	}
	return st
}

// instanceOf finds the session of a writer instance.
func (b *BackupComponents) instanceOf(id guid.GUID) *session {
	for _, x := range b.sessions {
		if x.sub.instance == id {
			return x
		}
	}
	return nil
}
