package vsstest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// handlerGrace is how long a handler may go on, in virtual time, when its time is
// over.
const handlerGrace = 10 * time.Second

// A traceJudge reads the trace of a run from its beginning to its end.
type traceJudge struct {
	run        *writerRun
	generation string                   // the writer's process
	frozen     map[string]time.Duration // session: since when it is frozen
	offline    map[string]time.Duration // session: since when it is being restored
	thawed     map[string]time.Duration // session: since when it was thawed
	written    time.Duration            // when the writer wrote last
	over       map[string]time.Duration // event and session: when its time was over
}

// judgeTrace looks for what only the order of events tells.
func (r *writerRun) judgeTrace() {
	j := &traceJudge{run: r, frozen: map[string]time.Duration{}, offline: map[string]time.Duration{},
		thawed: map[string]time.Duration{}, over: map[string]time.Duration{}}
	for _, e := range r.world.Trace() {
		j.event(e)
	}
	j.late()
}

func (j *traceJudge) event(e sim.Event) {
	session := e.Get("session")
	if g := generation(e.Actor); ours(e.Actor) && g != j.generation {
		j.generation = g
		clear(j.frozen)
		clear(j.offline)
		clear(j.thawed)
	}
	switch {
	case isWrite(e.Kind):
		if ours(e.Actor) {
			j.write(e)
		}
	case !ours(e.Actor):
	case e.Kind == vss.EventFreeze.Kind()+".end":
		if e.Get("outcome") == vss.OutcomeTrue.String() {
			j.frozen[session] = e.Time
		}
		j.ended(e)
	case e.Kind == vss.EventThaw.Kind(), e.Kind == vss.EventAbort.Kind(), e.Kind == "vss/freeze-window":
		delete(j.frozen, session)
	case e.Kind == vss.EventThaw.Kind()+".end":
		if e.Get("outcome") == vss.OutcomeTrue.String() {
			j.thawed[session] = e.Time
		}
		j.ended(e)
	case e.Kind == vss.EventPostSnapshot.Kind():
		j.resumed(e)
	case e.Kind == vss.EventPreRestore.Kind()+".end":
		if _, takesPart := j.run.writer.(vss.PreRestorer); takesPart && e.Get("outcome") == vss.OutcomeTrue.String() {
			j.offline[session] = e.Time
		}
		j.ended(e)
	case e.Kind == vss.EventPostRestore.Kind():
		delete(j.offline, session)
	default:
		j.ended(e)
	}
}

// generation is the process of the writer that an actor is, or belongs to.
func generation(path string) string {
	parts := strings.SplitN(path, "/", 3)
	return parts[min(1, len(parts)-1)]
}

// write checks that the writer is free to write.
func (j *traceJudge) write(e sim.Event) {
	j.written = e.Time
	what := e.Get("volume")
	if f := e.Get("file"); f != "" {
		what += `\` + f
	}
	for _, s := range slices.Sorted(maps.Keys(j.frozen)) {
		j.run.breaks(promiseQuiet, "Freeze", "in session "+s, "%s was written at %v; Freeze had returned at %v", what, e.Time, j.frozen[s])
	}
	for _, s := range slices.Sorted(maps.Keys(j.offline)) {
		j.run.breaks(promiseOffline, "PreRestore", "in session "+s, "%s was written at %v; PreRestore had returned at %v", what, e.Time, j.offline[s])
	}
	clear(j.frozen) // once told is enough
	clear(j.offline)
}

// resumed checks that the load went on between Thaw and PostSnapshot.
func (j *traceJudge) resumed(e sim.Event) {
	r := j.run
	since, ok := j.thawed[e.Get("session")]
	delete(j.thawed, e.Get("session"))
	if ok && r.sawLoad && r.slow == 0 && len(j.frozen) == 0 && len(j.offline) == 0 && e.Time-since > r.Patience && j.written < since {
		r.breaks(promiseGoesOn, "Thaw", "in session "+e.Get("session"), "nothing was written from %v, when Thaw had returned, until PostSnapshot at %v", since, e.Time)
	}
}

// ended notes handlers whose time was over before they returned.
func (j *traceJudge) ended(e sim.Event) {
	switch e.Get("outcome") {
	case vss.OutcomeExpired.String(), vss.OutcomeLost.String(), "abandoned":
		j.over[e.Kind+" "+e.Get("session")] = e.Time
	}
}

// late checks that every handler returned in its time, or soon behind it.
func (j *traceJudge) late() {
	r := j.run
	for _, c := range r.calls {
		if c.actor.Dead() {
			continue
		}
		over, told := j.over[c.event.Kind()+".end "+shortOf(c)]
		switch {
		case !c.over:
			r.breaks(promiseReturns, c.event.String(), c.when(), "it has not returned by %v", r.world.Now())
		case told && over >= c.began && c.ended > over+handlerGrace:
			r.breaks(promiseReturns, c.event.String(), c.when(), "its time was over at %v, and it returned at %v", over, c.ended)
		}
	}
}

func shortOf(c *handlerCall) string { return guid.String(c.session)[:8] }
