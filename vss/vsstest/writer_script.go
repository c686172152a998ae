package vsstest

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// The steps of a writer's script:
//
//	identify                a requester asks for the metadata and goes
//	backup                  a backup of everything, as a careful requester makes it
//	  mode=volumes          without components
//	  type=incremental      of that type
//	  context=norecovery    without auto-recovery; rollback: persistent
//	  set=system            of C: alone
//	  until=STEP how=HOW    the requester gives up behind a call or an event
//	  dies=EVENT            the writer's process dies behind an event
//	  beside=EVENT:WHAT     another requester comes behind an event: identify, backup, aborted
//	  succeeded=no          the files were not saved
//	  again=yes             Abort comes twice
//	restore                 of the last backup that was saved
//	  files=failed          nothing could be put back
//	  more=yes              another restore follows at once
//	  until=PreRestore      the requester goes before PostRestore
//	crash                   the writer's process dies and starts anew
//	watch                   looks for goroutines in what follows

var (
	untilCalls  = []string{"GatherWriterMetadata", "AddToSnapshotSet", "PrepareForBackup", "DoSnapshotSet", "BackupComplete"}
	untilEvents = []string{"PrepareBackup", "PrepareSnapshot", "Freeze", "Thaw", "PostSnapshot", "BackupComplete"}
	hows        = []string{"abort", "release", "die"}
	writerDies  = []string{"Identify", "PrepareBackup", "PrepareSnapshot", "Freeze", "Thaw", "PostSnapshot", "Abort", "BackupComplete", "BackupShutdown", "PreRestore", "PostRestore"}
	besides     = []string{"PrepareBackup:identify", "PrepareSnapshot:identify", "Freeze:identify", "Thaw:identify", "PostSnapshot:identify",
		"Copy:identify", "Copy:backup", "Copy:aborted", "Copy:restore"}
	backupTypes = []string{"copy", "incremental", "differential", "log"}
)

var typeOf = map[string]vss.BackupType{
	"": vss.BackupFull, "copy": vss.BackupCopy, "incremental": vss.BackupIncremental,
	"differential": vss.BackupDifferential, "log": vss.BackupLog,
}

var contextOf = map[string]vss.SnapshotContext{
	"": vss.ContextBackup, "norecovery": vss.ContextBackup.With(vss.AttrNoAutoRecovery), "rollback": vss.ContextAppRollback,
}

func writerCases() []kitCase {
	return []kitCase{
		{"clean backups", cleanScripts},
		{"backups given up", givenUpScripts},
		{"side by side", besideScripts},
		{"faults", faultScripts},
		{"deaths of the writer", deathScripts},
		{"restores", restoreScripts},
	}
}

func cleanScripts() []script {
	out := []script{{"watch", "backup", "identify"}, {"backup", "backup"}, {"crash", "backup"}, {"backup", "crash", "backup"}, {"backup succeeded=no"},
		{"backup mode=volumes"}, {"backup mode=volumes set=system"}, {"backup context=norecovery"}, {"backup context=rollback"}}
	for _, t := range backupTypes {
		out = append(out, script{"backup", step("backup type=" + t)})
	}
	return out
}

func givenUpScripts() []script {
	var out []script
	for _, how := range hows {
		for _, at := range append(append([]string{}, untilCalls...), untilEvents...) {
			st := step("backup").with("until", at).with("how", how)
			out = append(out, script{"backup", st})
			if how == "abort" {
				out = append(out, script{st.with("again", "yes"), st})
			}
		}
	}
	return out
}

func besideScripts() []script {
	var out []script
	for _, b := range besides {
		out = append(out, script{step("backup").with("beside", b)})
	}
	return append(out, script{"backup beside=Copy:aborted succeeded=no"}, script{"backup mode=volumes beside=Copy:backup"})
}

// faultScripts plans one fault each: those that the service's own points offer,
// as they strike a backup, and failing and slow writes of the volume.
func faultScripts() []script {
	var out []script
	add := func(f sim.Fault) { out = append(out, script{faultStep(f), "backup"}) }
	for _, p := range vss.FaultPoints() {
		if !inBackup(p.Point) {
			continue
		}
		for _, o := range p.Outcomes {
			add(sim.Fault{Point: p.Point, On: faultOn(p.Point), Outcome: o})
		}
	}
	for nth := 1; nth <= 4; nth++ {
		for _, o := range writeOutcomes {
			for _, at := range []string{"PrepareSnapshot", "Freeze", "Thaw"} {
				out = append(out, script{step("write").with("at", at).with("nth", fmt.Sprint(nth)).with("does", o), "backup"})
			}
		}
	}
	return out
}

// writeOutcomes are what becomes of a write in a handler.
var writeOutcomes = []string{"err=0x80070070", "delay=70s", "kill=kit/writer"}

var writerPoints = []sim.Point{vss.PointPrepareBackup, vss.PointPrepareSnapshot, vss.PointFreeze, vss.PointThaw, vss.PointPostSnapshot,
	vss.PointAbort, vss.PointBackupComplete, vss.PointBackupShutdown}

func inBackup(p sim.Point) bool {
	switch p {
	case vss.PointIdentify, vss.PointPreRestore, vss.PointPostRestore, vss.PointProviderBreak, vss.PointProviderDescribe, vss.PointProviderImport, vss.PointProviderResync:
		return false
	}
	return true
}

// faultOn is whom a fault of the point is to strike.
func faultOn(p sim.Point) string {
	for _, w := range writerPoints {
		if w == p {
			return "kit/writer"
		}
	}
	return ""
}

func deathScripts() []script {
	var out []script
	for _, e := range writerDies {
		switch e {
		case "PreRestore", "PostRestore":
			out = append(out, script{"backup", step("restore").with("dies", e)})
		case "Abort":
			out = append(out, script{"backup until=PrepareForBackup how=abort dies=Abort"})
		default:
			out = append(out, script{step("backup").with("dies", e)})
		}
	}
	return out
}

func restoreScripts() []script {
	return []script{
		{"backup", "restore"}, {"backup", "backup", "restore", "restore"}, {"backup", "restore files=failed"}, {"backup", "restore more=yes"},
		{"backup", "restore until=PreRestore"}, {"backup", "crash", "restore"}, {"backup", "restore", "crash"}, {"backup mode=volumes", "restore"},
	}
}

func drawWriterScript(t *rapid.T) script {
	var s script
	for range rapid.IntRange(0, 2).Draw(t, "faults") {
		s = append(s, drawFault(t))
	}
	for range rapid.IntRange(1, 4).Draw(t, "steps") {
		s = append(s, drawWriterStep(t))
	}
	return s
}

func pick[T any](t *rapid.T, name string, from []T) T { return rapid.SampledFrom(from).Draw(t, name) }

// maybe picks one of several words, in one of n times; else none.
func maybe(t *rapid.T, name string, n int, from []string) string {
	if rapid.IntRange(0, n-1).Draw(t, name+"?") < n-1 {
		return ""
	}
	return pick(t, name, from)
}

func drawWriterStep(t *rapid.T) step {
	switch rapid.IntRange(0, 9).Draw(t, "step") {
	case 0:
		return "identify"
	case 1:
		return "crash"
	case 2, 3:
		return step("restore").with("files", maybe(t, "files", 6, []string{"failed"})).with("more", maybe(t, "more", 6, []string{"yes"})).
			with("until", maybe(t, "until", 6, []string{"PreRestore"})).with("dies", maybe(t, "dies", 6, []string{"PreRestore", "PostRestore"}))
	}
	s := step("backup").with("mode", maybe(t, "mode", 5, []string{"volumes"})).with("type", maybe(t, "type", 4, backupTypes)).
		with("context", maybe(t, "context", 6, []string{"norecovery", "rollback"})).with("set", maybe(t, "set", 8, []string{"system"})).
		with("succeeded", maybe(t, "succeeded", 6, []string{"no"})).with("beside", maybe(t, "beside", 4, besides)).
		with("dies", maybe(t, "dies", 6, writerDies)).with("again", maybe(t, "again", 3, []string{"yes"}))
	if at := maybe(t, "until", 3, append(append([]string{}, untilCalls...), untilEvents...)); at != "" {
		s = s.with("until", at).with("how", pick(t, "how", hows))
	}
	return s
}

func drawFault(t *rapid.T) step {
	if rapid.Bool().Draw(t, "write") {
		return step("write").with("at", pick(t, "at", []string{"PrepareBackup", "PrepareSnapshot", "Freeze", "Thaw", "PostSnapshot", "BackupComplete"})).
			with("nth", fmt.Sprint(rapid.IntRange(1, 6).Draw(t, "nth"))).with("does", pick(t, "does", writeOutcomes))
	}
	var points []sim.FaultPoint
	for _, p := range vss.FaultPoints() {
		if inBackup(p.Point) {
			points = append(points, p)
		}
	}
	p := pick(t, "point", points)
	o := pick(t, "outcome", p.Outcomes)
	if o.Delay > 0 && rapid.Bool().Draw(t, "shorter") {
		o.Delay = time.Duration(rapid.IntRange(1, 30).Draw(t, "seconds")) * time.Second
	}
	return faultStep(sim.Fault{Point: p.Point, On: faultOn(p.Point), Nth: rapid.IntRange(1, 2).Draw(t, "time"), Outcome: o})
}
