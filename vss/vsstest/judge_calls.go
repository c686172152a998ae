package vsstest

import (
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A judgeCall is a call of a requester, read from the trace.
type judgeCall struct {
	method string
	result string
	sim.Event
}

func (c judgeCall) ok() bool { return c.result == "S_OK" || strings.HasPrefix(c.result, "VSS_S_") }

// callsOf lists the calls of a session that have ended, in order.
func (j *Judge) callsOf(session string) []judgeCall {
	var calls []judgeCall
	for _, e := range j.world.Trace() {
		method, ok := strings.CutPrefix(e.Kind, "requester/")
		result := e.Get("result")
		if ok && result != "" && e.Get("session") == session {
			calls = append(calls, judgeCall{strings.TrimSuffix(method, ".end"), result, e})
		}
	}
	return calls
}

// hasCall tells whether a call named the component of a dependency, or one above
// it.
func (j *Judge) hasCall(s *judgeSession, method string, d vss.Dependency) bool {
	return slices.ContainsFunc(j.callsOf(s.name), func(c judgeCall) bool {
		writer := c.Get("writer")
		key := vss.ComponentKey{Name: c.Get("component")}
		return c.method == method && c.ok() && (writer == "" || writer == guid.String(d.WriterID)) &&
			(strings.EqualFold(key.Name, d.FullPath()) || d.IsDescendantOf(key))
	})
}

// wasLost tells whether the requester of a session died, which it is not to be
// blamed for.
func (j *Judge) wasLost(s *judgeSession) bool {
	return slices.ContainsFunc(j.world.Trace(), func(e sim.Event) bool {
		return e.Kind == "vss/requester-lost" && e.Get("session") == s.name
	})
}

// judgeCalls looks at the calls of all sessions that the judge took part in.
func (j *Judge) judgeCalls() []*Violation {
	var out []*Violation
	for _, s := range j.sessions {
		if j.wasLost(s) {
			continue
		}
		r := &judgeReading{judge: j, session: s, calls: j.callsOf(s.name)}
		r.codes()
		r.statuses()
		if s.restore {
			r.ends("a restore")
		} else {
			r.backup()
		}
		out = append(out, r.found...)
	}
	return out
}

// A judgeReading is one look at the calls of a session.
type judgeReading struct {
	judge   *Judge
	session *judgeSession
	calls   []judgeCall
	found   []*Violation
}

func (r *judgeReading) report(call, fact string) {
	r.found = append(r.found, &Violation{Writer: r.judge.options.Name, Session: r.session.name, Call: call, Fact: fact})
}

// index finds the first call of some methods behind a position, -1 for none.
func (r *judgeReading) index(from int, methods ...string) int {
	for i := max(from, 0); i < len(r.calls); i++ {
		if slices.Contains(methods, r.calls[i].method) {
			return i
		}
	}
	return -1
}

// codes finds calls that the service had to refuse.
func (r *judgeReading) codes() {
	for _, c := range r.calls {
		switch c.result {
		case vss.ErrBadState.Name():
			r.report(c.method, "calls it out of order")
		case vss.ErrInvalidArg.Name():
			r.report(c.method, "passes an argument that is refused")
		case vss.ErrObjectAlreadyExists.Name():
			r.report(c.method, "adds something twice: "+c.Get("component")+c.Get("volume"))
		}
	}
}

// statuses finds operations after which the requester went on without asking how
// the writers did.
func (r *judgeReading) statuses() {
	for _, rule := range []struct {
		method string
		before []string
	}{
		{"DoSnapshotSet", []string{"SetBackupSucceeded", "BackupComplete"}},
		{"BackupComplete", []string{"Release"}},
		{"PreRestore", []string{"SetFileRestoreStatus", "AddAlternativeLocationMapping", "PostRestore", "Release"}},
		{"PostRestore", []string{"Release"}},
	} {
		at := r.index(0, rule.method)
		if at < 0 || !r.calls[at].ok() {
			continue
		}
		next := r.index(at, rule.before...)
		asked := r.index(at, "GatherWriterStatus")
		if next >= 0 && (asked < 0 || asked > next) {
			r.report(r.calls[next].method, "does not ask with GatherWriterStatus how the writers did in "+rule.method)
		}
	}
}

// ends finds an object that was never released.
func (r *judgeReading) ends(what string) {
	if r.index(0, "Release") < 0 {
		r.report("Release", "never releases the object of "+what)
	}
}

// backup looks at how a backup goes on and ends.
func (r *judgeReading) backup() {
	r.ends("a backup")
	started, made := r.index(0, "StartSnapshotSet"), r.index(0, "DoSnapshotSet")
	aborted, complete := r.index(0, "AbortBackup"), r.index(0, "BackupComplete")
	done := made >= 0 && r.calls[made].ok()
	switch {
	case started < 0:
	case !done && aborted < 0:
		r.report("Release", "gives a backup up after StartSnapshotSet without AbortBackup")
	case done && aborted < 0 && complete < 0:
		r.report("Release", "ends a backup with neither BackupComplete nor AbortBackup")
	}
	if complete >= 0 && aborted < 0 {
		r.succeeded()
	}
}

// succeeded looks whether the requester says of each component how it went, and
// vouches for none whose writer failed.
func (r *judgeReading) succeeded() {
	said, safe := make(map[string]bool), make(map[string]bool)
	for _, c := range r.calls {
		if c.method == "SetBackupSucceeded" && c.ok() {
			key := strings.ToUpper(c.Get("component"))
			said[key], safe[key] = true, c.Get("succeeded") == ""
		}
	}
	for _, key := range r.session.added {
		name := componentName(key)
		switch {
		case !said[name]:
			r.report("SetBackupSucceeded", "does not say whether it has the files of "+key.FullPath()+" safe")
		case safe[name] && r.session.failedAny && r.session.failedAt != vss.EventBackupComplete && r.session.failedAt != vss.EventAbort:
			r.report("SetBackupSucceeded", "vouches for "+key.FullPath()+" although the writer failed in "+r.session.failedAt.String())
		}
	}
}
