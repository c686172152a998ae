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
	"vm/register":                    "{vm} is registered from {path}, {state}",
	"vm/link":                        "a link in the default location leads to the configuration of {vm}",
	"vm/state":                       "{vm}: {from} -> {to}",
	"vm/delete":                      "{vm} is deleted",
	"vm/connect":                     "{vm} gets a new port on its switch",
	"guest/boot":                     "{os} starts (volumes: {volumes}, programs: {programs})",
	"guest/resume":                   "the guest goes on from its memory",
	"guest/save":                     "the guest stops between two steps; its memory is saved",
	"service/start":                  "{service} starts, and with it the writer",
	"requester/GatherWriterMetadata": "GatherWriterMetadata: which writers are there, and what do they have?",
	"requester/PrepareForBackup":     "PrepareForBackup: the components are chosen",
	"requester/DoSnapshotSet":        "DoSnapshotSet: make the shadow copies",
	"requester/BackupComplete":       "BackupComplete: the files are safe",
	"requester/PreRestore":           "PreRestore: files are about to be put back",
	"requester/PostRestore":          "PostRestore: the files are there",
	"vss/prepare-snapshot":           "{writer}: PrepareForSnapshot begins",
	"vss/prepare-snapshot.end":       "{writer}: PrepareForSnapshot is over, {state}, {hr}",
	"vss/freeze":                     "{writer}: Freeze",
	"vss/freeze.end":                 "{writer}: Freeze is over, {state}, {hr}",
	"vss/thaw.end":                   "{writer}: Thaw is over, {state}, {hr}",
	"vss/abort":                      "{writer}: Abort",
	"vss/post-snapshot":              "{writer}: PostSnapshot begins",
	"vss/post-snapshot.end":          "{writer}: PostSnapshot is over, {state}, {hr}",
	"vss/hold":                       "writes to {volume} are held",
	"vss/release":                    "writes to {volume} go on",
	"provider/commit":                "the shadow copies are taken",
	"provider/abort":                 "the shadow copies are given up",
	"hyperv/decide":                  "{vm}: {method}{reasons}",
	"hyperv/save":                    "{vm} has to be saved",
	"hyperv/child-snapshot":          "{vm}: the guest is asked to take a snapshot of itself",
	"hyperv/child-snapshot.end":      "{vm}: the guest has taken {copies} shadow copies",
	"hyperv/bring-back":              "{vm} goes back to {to}",
	"hyperv/roll-back":               "{vm}: {volume} in {vhd} of the shadow copy is rolled back to the guest's own",
	"hyperv/undo":                    "everything is undone: {because}",
	"hyperv/turn-off":                "{vm} is turned off",
	"hyperv/file-restore-status":     "component {component}: {status}",
	"hyperv/update-vhd":              "{vm}: {from} is at {to} now",
	"hyperv/excluded-disk":           "{vm}: {disk} is not part of the backup",
	"fault":                          "FAULT at {point} on {on}: {outcome}",
	"panic":                          "PANIC in {process}: {value}",
}

// narrate prints the events since the last time.
func (s *story) narrate() {
	t := s.w.Trace()
	for _, e := range t[s.told:] {
		if text := sentence(e); text != "" {
			s.say("%10s  %-26s %s", seconds(e.Time), e.Actor, text)
		}
	}
	s.told = len(t)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

// sentence fills in the sentence of an event, or returns "".
func sentence(e sim.Event) string {
	text, ok := sentences[e.Kind]
	if !ok {
		return ""
	}
	for _, a := range e.Attrs {
		v := a.Value()
		if a.Key == "reasons" && v != "" {
			v = ", because " + v
		}
		text = strings.ReplaceAll(text, "{"+a.Key+"}", v)
	}
	if e.Rule != "" {
		text += " [" + e.Rule + "]"
	}
	return text
}

// rules prints the requirements that the events cite.
func (s *story) rules() {
	cited := make(map[int]hyperv.Requirement)
	for _, e := range s.w.Trace() {
		if r, ok := hyperv.RequirementByID(e.Rule); ok {
			cited[r.Number] = r
		}
	}
	fmt.Fprintf(s.out, "The rules that made it so, from %s:\n", hyperv.Document)
	numbers := make([]int, 0, len(cited))
	for n := range cited {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		s.say("%-4s %s", cited[n].ID(), cited[n].Statement)
	}
	fmt.Fprintln(s.out)
}
