package vss

import (
	"strconv"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// The kind of trace event that an entry of the event log is.
const logKind = "vss/event"

// The numbers of the entries that the service writes to the Application log
// under the source VSS ("VSS Error Logging"). The documentation names no list;
// these are those that administrators know.
const (
	LogUnexpectedCall      = 8193  // an unexpected error in a call, such as a handler that crashed
	LogWriterCallback      = 8194  // access was denied when a writer called back
	LogWriterRejected      = 8229  // a writer rejected an event, or ran out of time
	LogVolumeError         = 12289 // an unexpected error of a volume or file system
	LogProviderUnreachable = 12292 // a provider cannot be called at all
	LogProviderError       = 12293 // a call to a provider failed
	LogWritesNotHeld       = 12298 // the writes of a volume could not be held
	LogCommitFailed        = 12310 // the copies were not taken while writes could be held
)

// The numbers of the entries of the System log under the source VolSnap.
const (
	LogCopiesLost       = 25 // copies were dropped: the diff area could not grow
	LogCopiesOverLimit  = 36 // copies were dropped: the diff area has reached its limit
	logSourceService    = "VSS"
	logSourceVolSnap    = "VolSnap"
	logNameApplication  = "Application"
	logNameOfTheDrivers = "System"
)

// A LogLevel is how bad an entry of the event log is ("Event Types").
type LogLevel uint8

// The levels.
const (
	LogError LogLevel = iota
	LogWarning
	LogInformation
)

var logLevels = []string{"Error", "Warning", "Information"}

// String names the level as the event viewer does.
func (l LogLevel) String() string { return nameOf(logLevels, int(l)) }

// A LogEntry is an entry of a machine's event log. Errors of the service, of
// requesters, writers and providers go to the Application log, those of drivers
// to the System log ("VSS Error Logging").
type LogEntry struct {
	Time   time.Duration // virtual, since the world began
	Actor  string        // the path of the process that wrote it
	Log    string        // "Application" if it is left empty
	Source string        // "VSS" if it is left empty
	ID     int
	Level  LogLevel
	Text   string
}

// EventLog reads the entries of the event logs out of a trace, in their order
// ("VSS Error Logging").
func EventLog(tr sim.Trace) []LogEntry {
	var out []LogEntry
	for _, e := range tr {
		if e.Kind != logKind {
			continue
		}
		id, _ := strconv.Atoi(e.Get("id"))
		entry := LogEntry{Time: e.Time, Actor: e.Actor, Log: e.Get("log"), Source: e.Get("source"), ID: id, Text: e.Get("text")}
		for i, name := range logLevels {
			if name == e.Get("level") {
				entry.Level = LogLevel(i)
			}
		}
		out = append(out, entry)
	}
	return out
}

// Log writes an entry to the event log on behalf of a process, as writers do
// with each failure and providers before they return [ErrProviderVeto]. While the
// writes of a set are held the entry waits: on Windows such a write to a held
// volume would keep the set from being made in time ("Required Behaviors for
// Shadow Copy Providers"). Time and Actor of the entry are filled in.
func (s *Service) Log(by *sim.Actor, e LogEntry) {
	if e.Log == "" {
		e.Log = logNameApplication
	}
	if e.Source == "" {
		e.Source = logSourceService
	}
	if s.holding {
		s.unwritten = append(s.unwritten, logged{by, e})
		return
	}
	by.Emit(logKind, "", sim.S("log", e.Log), sim.S("source", e.Source), sim.N("id", e.ID),
		sim.S("level", e.Level.String()), sim.S("text", e.Text))
}

// A logged entry waits until writes go on.
type logged struct {
	by    *sim.Actor
	entry LogEntry
}

// writeLog writes the entries that waited.
func (s *Service) writeLog() {
	s.holding = false
	waiting := s.unwritten
	s.unwritten = nil
	for _, l := range waiting {
		s.Log(l.by, l.entry)
	}
}

// logCrash notes that a handler panicked.
func (d *delivery) logCrash(err error) {
	if p, ok := err.(*sim.PanicError); ok {
		s := d.session.sub.service
		s.Log(d.session.sub.actor, LogEntry{ID: LogUnexpectedCall, Text: "unexpected error calling routine On" + d.event.String() + " of writer " +
			d.session.sub.name + ": " + p.Error()})
	}
}

// logRejection notes that a writer did not handle an event.
func (x *session) logRejection(e Event, o Outcome, f WriterFailure) {
	if o == OutcomeLost {
		return // it is the service that gave up
	}
	text := "writer " + x.sub.name + " has rejected " + e.String() + " with " + codeName(f.Code)
	if f.Message != "" && f.Message != f.Code.Error() {
		text += ": " + f.Message
	}
	x.sub.service.Log(x.sub.actor, LogEntry{ID: LogWriterRejected, Level: LogWarning, Text: text})
}
