package vss

import "slices"

// A WriterMove is a row of the writer's state machine: what an event with an
// outcome does to a writer's session ("VSS_WRITER_STATE").
type WriterMove struct {
	From    WriterState
	Event   Event
	Outcome Outcome
	To      WriterState
	Record  Record
	Abort   bool // the service sends the writer Abort at once
	Omits   bool // the writer is left out of the requester's lists
	Closes  bool // the session is over
}

// WriterMoves returns the state machine of a writer's session, one row for each
// state, event and outcome that can occur, ordered by these. The service acts on
// nothing else: a writer in a state without a row for an event does not get it.
//
// States and failures are those of "VSS_WRITER_STATE"; where the public pages
// are silent the table says what follows from the states' names. Failing
// PrepareSnapshot or PostSnapshot raises no Abort, returning false from Freeze or
// Thaw does ("Aborting VSS Operations"). PreRestore has no state of its own: a
// writer that was prepared for a restore is stable.
func WriterMoves() []WriterMove { return slices.Clone(writerMoves.rows) }

// moveRule is a line of the table before it is written out: several states and
// outcomes that have the same consequence.
type moveRule struct {
	from     []WriterState
	event    Event
	outcomes []Outcome
	to       WriterState // sameState: unchanged
	record   Record
	abort    bool
	omits    bool
	closes   bool
}

const sameState = WriterState(-1)

func stateRange(lo, hi WriterState) []WriterState {
	var out []WriterState
	for s := lo; s <= hi; s++ {
		out = append(out, s)
	}
	return out
}

// moveRules lists the rules in the order of the session. The first rule that
// fits counts.
func moveRules() []moveRule {
	var (
		yes     = []Outcome{OutcomeTrue}
		fails   = []Outcome{OutcomeFailed, OutcomeFalse}
		set     = []Outcome{OutcomeFailed}
		no      = []Outcome{OutcomeFalse}
		expired = []Outcome{OutcomeExpired}
		lost    = []Outcome{OutcomeLost}
		answers = []Outcome{OutcomeTrue, OutcomeFailed, OutcomeFalse}

		stable = []WriterState{StateStable}
		any    = stateRange(StateUnknown, StateFailedAtBackupShutdown)
		under  = stateRange(StateStable, StateWaitingForBackupComplete)
		failed = stateRange(StateFailedAtPrepareBackup, StateFailedAtPostSnapshot)
		ended  = stateRange(StateFailedAtPrepareBackup, StateFailedAtBackupComplete)
		one    = func(s WriterState) []WriterState { return []WriterState{s} }
	)
	rules := []moveRule{
		{from: any, event: EventIdentify, outcomes: yes, to: sameState, record: RecordKept},
		{from: any, event: EventIdentify, outcomes: append(fails, lost...), to: sameState, record: RecordKept, omits: true},

		{from: stable, event: EventPrepareBackup, outcomes: yes, to: StateStable},
		{from: stable, event: EventPrepareBackup, outcomes: fails, to: StateFailedAtPrepareBackup, record: RecordCode},

		{from: stable, event: EventPrepareSnapshot, outcomes: yes, to: StateWaitingForFreeze},
		{from: stable, event: EventPrepareSnapshot, outcomes: fails, to: StateFailedAtPrepareSnapshot, record: RecordCode},

		{from: one(StateWaitingForFreeze), event: EventFreeze, outcomes: yes, to: StateWaitingForThaw},
		{from: one(StateWaitingForFreeze), event: EventFreeze, outcomes: no, to: StateFailedAtFreeze, record: RecordCode, abort: true},
		{from: one(StateWaitingForFreeze), event: EventFreeze, outcomes: set, to: StateFailedAtFreeze, record: RecordCode},
		{from: stateRange(StateWaitingForFreeze, StateWaitingForThaw), event: EventFreeze, outcomes: expired, to: StateFailedAtFreeze, record: RecordCode, abort: true},

		{from: one(StateWaitingForThaw), event: EventThaw, outcomes: yes, to: StateWaitingForPostSnapshot},
		{from: one(StateWaitingForThaw), event: EventThaw, outcomes: no, to: StateFailedAtThaw, record: RecordCode, abort: true},
		{from: one(StateWaitingForThaw), event: EventThaw, outcomes: set, to: StateFailedAtThaw, record: RecordCode},

		// A writer that set a failure in Freeze and returned true is frozen, and
		// exactly one of Thaw and Abort follows Freeze.
		{from: one(StateFailedAtFreeze), event: EventThaw, outcomes: append(yes, set...), to: sameState, record: RecordKept},
		{from: one(StateFailedAtFreeze), event: EventThaw, outcomes: no, to: sameState, record: RecordKept, abort: true},
		{from: one(StateFailedAtFreeze), event: EventFreeze, outcomes: expired, to: sameState, record: RecordKept, abort: true},

		{from: one(StateWaitingForPostSnapshot), event: EventPostSnapshot, outcomes: yes, to: StateWaitingForBackupComplete},
		{from: one(StateWaitingForPostSnapshot), event: EventPostSnapshot, outcomes: fails, to: StateFailedAtPostSnapshot, record: RecordCode},

		{from: one(StateWaitingForBackupComplete), event: EventBackupComplete, outcomes: yes, to: StateStable},
		{from: one(StateWaitingForBackupComplete), event: EventBackupComplete, outcomes: fails, to: StateFailedAtBackupComplete, record: RecordCode},
		{from: stable, event: EventBackupComplete, outcomes: yes, to: StateStable},
		{from: stable, event: EventBackupComplete, outcomes: fails, to: StateFailedAtBackupComplete, record: RecordCode},

		{from: under, event: EventAbort, outcomes: answers, to: StateStable},
		{from: failed, event: EventAbort, outcomes: answers, to: sameState, record: RecordKept},

		{from: under, event: EventBackupShutdown, outcomes: yes, to: StateStable, closes: true},
		{from: under, event: EventBackupShutdown, outcomes: fails, to: StateFailedAtBackupShutdown, record: RecordCode, closes: true},
		{from: ended, event: EventBackupShutdown, outcomes: answers, to: sameState, record: RecordKept, closes: true},

		{from: stable, event: EventPreRestore, outcomes: yes, to: StateStable},
		{from: stable, event: EventPreRestore, outcomes: fails, to: StateFailedAtPreRestore, record: RecordCode},
		{from: stable, event: EventPostRestore, outcomes: yes, to: StateStable},
		{from: stable, event: EventPostRestore, outcomes: fails, to: StateFailedAtPostRestore, record: RecordCode},
		{from: one(StateFailedAtPreRestore), event: EventPostRestore, outcomes: answers, to: sameState, record: RecordKept},
	}
	// A writer that is gone is reported as such, whatever it had been asked.
	for e := EventPrepareBackup; e < eventCount; e++ {
		rules = append(rules, moveRule{from: any, event: e, outcomes: lost, to: StateUnknown, record: RecordCode, closes: e == EventBackupShutdown})
	}
	return rules
}

const stateCount = StateFailedAtBackupShutdown + 1

type moveIndex struct {
	rows []WriterMove
	at   [stateCount][eventCount][outcomeCount]int16 // in rows, plus one
}

var writerMoves = writeOutMoves()

func writeOutMoves() *moveIndex {
	x := &moveIndex{}
	for _, r := range moveRules() {
		for _, from := range r.from {
			for _, o := range r.outcomes {
				x.add(r, from, o)
			}
		}
	}
	x.sort()
	return x
}

func (x *moveIndex) add(r moveRule, from WriterState, o Outcome) {
	if x.at[from][r.event][o] != 0 {
		return
	}
	to := r.to
	if to == sameState {
		to = from
	}
	x.rows = append(x.rows, WriterMove{
		From: from, Event: r.event, Outcome: o, To: to,
		Record: r.record, Abort: r.abort, Omits: r.omits, Closes: r.closes,
	})
	x.at[from][r.event][o] = int16(len(x.rows))
}

func (x *moveIndex) sort() {
	slices.SortFunc(x.rows, func(a, b WriterMove) int {
		return 256*256*(int(a.From)-int(b.From)) + 256*(int(a.Event)-int(b.Event)) + int(a.Outcome) - int(b.Outcome)
	})
	for i, m := range x.rows {
		x.at[m.From][m.Event][m.Outcome] = int16(i + 1)
	}
}

// move finds the row for a state, an event and an outcome.
func move(from WriterState, e Event, o Outcome) (WriterMove, bool) {
	if from < 0 || from >= stateCount || e >= eventCount || o >= outcomeCount {
		return WriterMove{}, false
	}
	i := writerMoves.at[from][e][o]
	if i == 0 {
		return WriterMove{}, false
	}
	return writerMoves.rows[i-1], true
}

// receives tells whether a writer in the state gets the event at all: there is a
// row for what it may answer.
func receives(s WriterState, e Event) bool {
	_, ok := move(s, e, OutcomeTrue)
	return ok
}
