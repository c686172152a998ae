package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// sentences say what an event means to somebody who reads it for the first
// time. Words in braces are attributes. Events that are not here are left out;
// -trace has them all.
var sentences = map[string]string{
	"vm/register":         "{vm} is registered, {state}",
	"vm/unregister":       "{vm} is no longer registered",
	"vm/delete":           "{vm} is deleted",
	"vm/state":            "{vm}: {from} -> {to}",
	"vm/migrated":         "{vm} has come from {from}, running",
	"volume/mount":        "has the volume {volume}",
	"volume/unmount":      "no longer has the volume {volume}",
	"hyperv/decide":       "the writer will back up {vm} by {method}",
	"hyperv/save":         "the writer saves {vm}",
	"hyperv/bring-back":   "the writer wants {vm} back in the state {to}",
	"hyperv/turn-off":     "the writer turns {vm} off",
	"hyperv/undo":         "the writer undoes everything: {because}",
	"vss/hold":            "writes to {volume} are held",
	"provider/commit":     "the shadow copies are taken",
	"cluster/resource":    "{resource}: {from} -> {to}",
	"cluster/node":        "node {node}: {from} -> {to}",
	"cluster/event":       "EVENT {id}",
	"cluster/unaware":     "behind the cluster's back {vm} goes from {from} to {to}",
	"cluster/restart":     "{resource} is restarted on the same node, {count} of {threshold}",
	"cluster/failover":    "the group of {group} fails over to {to}",
	"cluster/owner":       "{to} owns the group of {group} now, because {because}",
	"cluster/move":        "the group of {group} is moved to {to}",
	"cluster/remedy":      "REMEDY: {step}",
	"cluster/retry":       "{resource} is tried again",
	"cluster/quorum":      "quorum is {quorum}: {votes} of {of} votes",
	"cluster/partition":   "{node} is on side {side} of the network",
	"cluster/heal":        "the network is whole again",
	"cluster/start":       "the cluster runs again",
	"cluster/csv":         "{volume} is {state}",
	"cluster/csv-refused": "{volume} is in use by a backup of {held-by}",
	"cluster/shadow-lost": "a shadow copy of {volume} is lost with {node}",
	"fault":               "FAULT at {point}: {outcome}",
	"panic":               "PANIC in {process}: {value}",
}

// states are the names of states without their prefixes.
var states = strings.NewReplacer("ClusterResource", "", "ClusterNode", "")

// narrate prints the events since the last time.
func (s *stage) narrate() {
	t := s.w.Trace()
	for _, e := range t[s.told:] {
		if text := sentence(e); text != "" {
			who, _, _ := strings.Cut(strings.ReplaceAll(e.Actor, "#", "/"), "/") // h1 may be at its second life
			s.say("%10s  %-3s %s", seconds(e.Time), who, text)
		}
	}
	s.told = len(t)
}

// skip leaves the events since the last time untold.
func (s *stage) skip() { s.told = len(s.w.Trace()) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// sentence fills in the sentence of an event, or returns "".
func sentence(e sim.Event) string {
	text, ok := sentences[e.Kind]
	if !ok || strings.Contains(e.Actor, "/guest/") {
		return ""
	}
	for _, a := range e.Attrs {
		v := states.Replace(strings.ReplaceAll(a.Value(), "\n", "; "))
		if e.Kind == "cluster/event" && a.Key != "id" && a.Key != "group" {
			text += ", " + a.Key + " " + v
		}
		text = strings.ReplaceAll(text, "{"+a.Key+"}", v)
	}
	if e.Rule != "" {
		text += " [" + e.Rule + "]"
	}
	return text
}

// verdict prints the rules that the events cite, and how it went, and returns the
// exit status.
func (s *stage) verdict() int {
	fmt.Fprintln(s.out)
	cited := make(map[int]hyperv.Requirement)
	for _, e := range s.w.Trace() {
		if r, ok := hyperv.RequirementByID(e.Rule); ok && r.Number >= 59 && r.Number <= 66 {
			cited[r.Number] = r
		}
	}
	numbers := make([]int, 0, len(cited))
	for n := range cited {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	if len(numbers) > 0 {
		fmt.Fprintf(s.out, "The rules about clusters that made it so, from %s:\n", hyperv.Document)
	}
	for _, n := range numbers {
		s.say("%-4s %s", cited[n].ID(), cited[n].Statement)
	}
	fmt.Fprintln(s.out)
	switch {
	case s.failed > 0:
		fmt.Fprintf(s.out, "Verdict: %d checks failed.\n", s.failed)
		return exitFailed
	case s.remedy:
		fmt.Fprintln(s.out, "Verdict: every check held.")
		return exitGood
	}
	fmt.Fprintln(s.out, "Verdict: it went wrong as it must, and every check held. Try -remedy.")
	return exitTrouble
}
