package vss

// An Event is a call that the service makes to a writer (CVssWriter).
type Event uint8

// The events, in the order in which a session has them.
const (
	EventIdentify Event = iota
	EventPrepareBackup
	EventPrepareSnapshot
	EventFreeze
	EventThaw
	EventPostSnapshot
	EventAbort
	EventBackupComplete
	EventBackupShutdown
	EventPreRestore
	EventPostRestore
	eventCount
)

var eventNames = [eventCount]string{
	"Identify", "PrepareBackup", "PrepareSnapshot", "Freeze", "Thaw", "PostSnapshot",
	"Abort", "BackupComplete", "BackupShutdown", "PreRestore", "PostRestore",
}

var eventKinds = [eventCount]string{
	"vss/identify", "vss/prepare-backup", "vss/prepare-snapshot", "vss/freeze", "vss/thaw", "vss/post-snapshot",
	"vss/abort", "vss/backup-complete", "vss/backup-shutdown", "vss/pre-restore", "vss/post-restore",
}

// String is the name of the handler without its "On": "PrepareSnapshot".
func (e Event) String() string { return nameOf(eventNames[:], int(e)) }

// Kind is the kind of the trace event with which the handler begins, and the
// name of its fault point: "vss/prepare-snapshot". The end has ".end" behind it.
func (e Event) Kind() string { return nameOf(eventKinds[:], int(e)) }

func nameOf(names []string, i int) string {
	if i >= 0 && i < len(names) {
		return names[i]
	}
	return "?"
}

// An Outcome is how a handler ended, as the service sees it
// ("Writer Errors and Vetoes").
type Outcome uint8

// The outcomes.
const (
	OutcomeTrue    Outcome = iota // the handler returned true
	OutcomeFailed                 // it set a failure and returned true
	OutcomeFalse                  // it returned false
	OutcomeExpired                // the window from Freeze to Thaw ran out
	OutcomeLost                   // the writer died, or did not answer in the time its event has
	outcomeCount
)

var outcomeNames = [outcomeCount]string{"true", "failure-set", "false", "expired", "lost"}

// String names the outcome in a word.
func (o Outcome) String() string { return nameOf(outcomeNames[:], int(o)) }

// A Record says what a transition does to the writer's recorded code, which
// IVssBackupComponents::GetWriterStatus reports ("Determining Writer Status").
type Record uint8

// The ways to record.
const (
	RecordOK   Record = iota // S_OK
	RecordCode               // the code of the failure
	RecordKept               // as it was
)

// String names the way in a word.
func (r Record) String() string { return nameOf([]string{"S_OK", "code", "kept"}, int(r)) }
