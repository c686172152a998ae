package vsstest

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// The steps of a provider's script:
//
//	begin set=1 volume=D context=norecovery
//	end set=1               EndPrepareSnapshots; then precommit, commit,
//	                        postcommit, prefinal, postfinal, abort
//	recover set=1           changes the copies of the set
//	delete set=1 volume=D   deletes a copy
//	backup volume=DE context=rollback
//	                        a backup through the service
//	watch                   looks for goroutines in what follows

// setCalls are the calls of a set in their order.
var setCalls = []string{"end", "precommit", "commit", "postcommit", "prefinal", "postfinal"}

var providerContexts = map[string]vss.SnapshotContext{
	"": vss.ContextBackup, "norecovery": vss.ContextBackup.With(vss.AttrNoAutoRecovery), "rollback": vss.ContextNASRollback,
	"share": vss.ContextFileShareBackup, "accessible": vss.ContextClientAccessible,
}

var contextNames = []string{"norecovery", "rollback", "share", "accessible"}

func providerCases() []kitCase {
	return []kitCase{
		{"clean sets", cleanSets},
		{"sets given up", setsGivenUp},
		{"calls out of order", outOfOrder},
		{"volumes that fail", failingVolumes},
		{"backups through the service", serviceBackups},
	}
}

// set is the script of a set up to a call; all of it if that is empty.
func setScript(n int, volumes, context, until string) script {
	var s script
	for _, v := range volumes {
		s = append(s, step(fmt.Sprintf("begin set=%d volume=%c", n, v)).with("context", context))
	}
	if until == "begin" {
		return s
	}
	for _, c := range setCalls {
		s = append(s, step(fmt.Sprintf("%s set=%d", c, n)))
		if c == "prefinal" {
			s = append(s, step(fmt.Sprintf("recover set=%d", n)))
		}
		if c == until {
			break
		}
	}
	return s
}

func cleanSets() []script {
	out := []script{append(script{"watch"}, setScript(1, "D", "", "")...), setScript(1, "DE", "", "")}
	for _, c := range contextNames {
		out = append(out, setScript(1, "D", c, ""), setScript(1, "F", c, ""))
	}
	two := append(setScript(1, "DE", "", ""), setScript(2, "DE", "", "")...)
	out = append(out, setScript(1, "F", "", ""), two,
		append(slices.Clone(two), "delete set=1 volume=D", "delete set=1 volume=D", "delete set=2 volume=E"),
		append(setScript(1, "D", "", ""), "delete set=1 volume=D", "delete set=7 volume=D"))
	return out
}

func setsGivenUp() []script {
	var out []script
	for _, until := range append([]string{"begin"}, setCalls...) {
		s := setScript(1, "DE", "", until)
		if until != "begin" {
			out = append(out, append(slices.Clone(s), "abort set=1"), append(slices.Clone(s), "abort set=1", "abort set=1"))
		}
		out = append(out, append(slices.Clone(s), setScript(2, "D", "", "")...), append(slices.Clone(s), "abort set=9"))
	}
	finished := setScript(1, "D", "", "")
	return append(out, append(slices.Clone(finished), append(setScript(2, "D", "", "commit"), "abort set=2")...),
		append(slices.Clone(finished), append(setScript(2, "D", "", "postcommit"), "abort set=1", "abort set=2")...))
}

// outOfOrder calls each method behind each other one, where it does not belong.
func outOfOrder() []script {
	var out []script
	for _, until := range append([]string{"begin"}, setCalls...) {
		for _, c := range setCalls {
			s := setScript(1, "D", "", until)
			if slices.Index(setCalls, c) != slices.Index(setCalls, until)+1 {
				out = append(out, append(s, step(c+" set=1")))
			}
		}
		out = append(out, append(setScript(1, "D", "", until), "end set=9"))
	}
	for _, c := range setCalls {
		out = append(out, script{step(c + " set=1")})
	}
	return append(out, append(setScript(1, "D", "", "end"), "begin set=1 volume=E"))
}

func failingVolumes() []script {
	var out []script
	for _, o := range []string{"err=0x8004231F", "err=0x80070070", "delay=12s"} {
		for _, on := range []string{"D:", "E:"} {
			f := step(fmt.Sprintf("fault %s on=%s %s", PointTakeShadow, on, o))
			out = append(out, append(script{f}, setScript(1, "DE", "", "")...), script{f, "backup volume=DE"})
		}
	}
	return out
}

func serviceBackups() []script {
	out := []script{{"backup volume=D"}, {"backup volume=DE"}, {"backup volume=DE context=norecovery"}, {"backup volume=D context=rollback"},
		{"backup volume=D", "backup volume=DE"}}
	for _, p := range providerPoints() {
		for _, o := range p.Outcomes {
			out = append(out, script{faultStep(sim.Fault{Point: p.Point, Outcome: o}), "backup volume=DE"})
		}
	}
	return out
}

// providerPoints are the points of a provider's calls that a backup reaches.
func providerPoints() []sim.FaultPoint {
	var out []sim.FaultPoint
	for _, p := range vss.FaultPoints() {
		if strings.HasPrefix(string(p.Point), "provider/") && inBackup(p.Point) {
			out = append(out, p)
		}
	}
	return out
}

func drawProviderScript(t *rapid.T) script {
	var s script
	if rapid.IntRange(0, 3).Draw(t, "fault?") == 3 {
		if rapid.Bool().Draw(t, "of a volume") {
			s = append(s, step(fmt.Sprintf("fault %s on=%s %s", PointTakeShadow, pick(t, "on", []string{"D:", "E:"}), pick(t, "outcome", []string{"err=0x8004231F", "delay=3s", "delay=12s"}))))
		} else {
			p := pick(t, "point", providerPoints())
			s = append(s, faultStep(sim.Fault{Point: p.Point, Nth: rapid.IntRange(1, 2).Draw(t, "time"), Outcome: pick(t, "outcome", p.Outcomes)}))
		}
	}
	for n := 1; n <= rapid.IntRange(1, 4).Draw(t, "sets"); n++ {
		if rapid.IntRange(0, 4).Draw(t, "how") == 4 {
			s = append(s, step("backup").with("volume", pick(t, "volumes", []string{"D", "E", "DE"})).with("context", maybe(t, "context", 3, contextNames)))
			continue
		}
		s = append(s, drawSet(t, n)...)
	}
	return s
}

// drawSet draws a set, mostly a good one.
func drawSet(t *rapid.T, n int) script {
	until := maybe(t, "until", 3, append([]string{"begin"}, setCalls...))
	s := setScript(n, pick(t, "volumes", []string{"D", "E", "DE", "F", "DEF"}), maybe(t, "context", 3, contextNames), until)
	for range rapid.IntRange(0, 2).Draw(t, "more calls") {
		call := pick(t, "call", append([]string{"abort", "delete", "recover"}, setCalls...))
		st := step(fmt.Sprintf("%s set=%d", call, rapid.IntRange(1, n).Draw(t, "of set")))
		if call == "delete" {
			st = st.with("volume", pick(t, "copy of", []string{"D", "E"}))
		}
		at := rapid.IntRange(0, len(s)).Draw(t, "at")
		s = slices.Insert(s, at, st)
	}
	return s
}
