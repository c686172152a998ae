package hyperv_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the transcripts in testdata")

// golden compares a text with what stands below the dashes in testdata/NAME.txt;
// what stands above tells a newcomer what is going on.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	want, err := os.ReadFile(path)
	if err != nil && !*rewrite {
		t.Fatal(err)
	}
	prose, _, _ := strings.Cut(string(want), "----\n")
	all := prose + "----\n" + got
	if *rewrite {
		if err := os.WriteFile(path, []byte(all), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(want) != all {
		t.Errorf("%s differs; got\n%s", path, got)
	}
}

// timelineKinds are the kinds of events that a timeline shows, with how it shows
// them.
var timelineKinds = map[string]func(e sim.Event) string{
	"vm/state":             func(e sim.Event) string { return e.Get("from") + " -> " + e.Get("to") },
	"vm/lock":              func(sim.Event) string { return "held for the backup" },
	"vm/unlock":            func(sim.Event) string { return "given back" },
	"hyperv/decide":        func(e sim.Event) string { return "method: " + e.Get("method") },
	"hyperv/reason":        reason,
	"hyperv/excluded-disk": func(e sim.Event) string { return "not in the backup: " + e.Get("disk") },
	"hyperv/bring-back":    func(e sim.Event) string { return "belongs back to " + e.Get("to") },
	"hyperv/roll-back": func(e sim.Event) string {
		return "the copy of " + base(e.Get("vhd")) + " is rolled back, volume " + e.Get("volume")
	},
	"hyperv/undo":           func(e sim.Event) string { return "undo" },
	"hyperv/turn-off":       func(e sim.Event) string { return "to be turned off, is " + e.Get("state") },
	"hyperv/compare-vhd":    func(e sim.Event) string { return base(e.Get("recorded")) + " is where it was" },
	"vm/delete":             func(sim.Event) string { return "deleted" },
	"vm/register":           func(e sim.Event) string { return "registered, " + e.Get("state") },
	"vm/link":               func(sim.Event) string { return "linked in the default location" },
	"vm/connect":            func(sim.Event) string { return "connected to a new port" },
	"guest/release":         func(e sim.Event) string { return "deletes its snapshots: " + e.Get("copies") },
	"guest/shadow-dropped":  func(e sim.Event) string { return "a snapshot of " + e.Get("volume") + " is dropped" },
	"hyperv/child-snapshot": func(sim.Event) string { return "the guest is asked" },
	"hyperv/save":           func(sim.Event) string { return "to be saved" },
	"hyperv/back":           func(e sim.Event) string { return "was down for " + seconds(e.Get("down")) },
	"hyperv/file-restore-status": func(e sim.Event) string {
		return "status " + e.Get("status")
	},
}

func reason(e sim.Event) string {
	if e.Get("detail") == "" {
		return "  because " + e.Get("code")
	}
	return "  because " + e.Get("code") + " (" + e.Get("detail") + ")"
}

func seconds(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		return text
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

func base(path string) string { return path[strings.LastIndexByte(path, '\\')+1:] }

// timeline renders what a host, its writer and its guests did: one line an event,
// with the time since the beginning in seconds, the rule behind it, and events of
// guests indented.
func timeline(tr sim.Trace) string {
	var b strings.Builder
	for _, e := range tr {
		who, what := timelineEvent(e)
		if what == "" {
			continue
		}
		rule := ""
		if e.Rule != "" {
			rule = "  [" + e.Rule + "]"
		}
		fmt.Fprintf(&b, "%6.1fs  %-9s %s%s\n", (e.Time - tr[0].Time).Seconds(), who, what, rule)
	}
	return b.String()
}

func timelineEvent(e sim.Event) (who, what string) {
	who = e.Get("vm")
	parts := strings.Split(e.Actor, "/")
	inGuest := len(parts) > 2 && parts[2] == "guest"
	if inGuest {
		who = parts[1]
	}
	if show := timelineKinds[e.Kind]; show != nil {
		if what = show(e); inGuest {
			what = "  " + what
		}
		return who, what
	}
	kind, ok := strings.CutPrefix(e.Kind, "vss/")
	name, end := strings.CutSuffix(kind, ".end")
	switch {
	case kind == "hold" && !inGuest:
		return "host", "shadow copy of " + e.Get("volume")
	case !ok || e.Get("session") == "" || end && e.Get("outcome") == "true" && inGuest:
		return "", ""
	case inGuest:
		what = "  guest " + name
	default:
		who, what = "WRITER", name
	}
	if end {
		what += " ends: " + e.Get("outcome")
		if hr := e.Get("hr"); hr != "S_OK" {
			what += ", " + e.Get("state") + ", " + hr
		}
	}
	return who, what
}

// cast makes the machines of the timeline: A and F are backed up from inside, B
// and E in the saved state, C and D as they are.
func cast(l *lab) {
	l.t.Helper()
	l.lun("lun0", false)
	l.running("A", withLedger())
	l.running("B", stopped)
	l.machine("C")
	l.saved("D")
	l.paused("E")
	l.running("F", withLedger(), withDisk(hyperv.DiskConfig{PassThrough: "lun0"}))
	l.running("G", func(c *hyperv.VMConfig) { withDisk(l.dynamic(c.Root + `\dynamic.vhd`))(c) })
}

func TestTimelineOfABackup(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: inOrder})
	cast(l)
	l.advance(time.Second)
	began := len(l.w.Trace())
	l.mustBackup()
	l.settled()
	golden(t, "backup", timeline(l.w.Trace()[began:]))
}

func TestTimelineOfAVeto(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: inOrder})
	l.running("A", withLedger())
	l.running("B", stopped)
	l.paused("E")
	l.running("F", withLedger("veto=freeze"))
	l.advance(time.Second)
	began := len(l.w.Trace())
	_, err := l.backup()
	got := timeline(l.w.Trace()[began:]) + fmt.Sprintf("backup: %v\n", err)
	l.settled()
	golden(t, "veto", got)
}

func TestTimelineOfARestore(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: inOrder})
	l.running("A", withLedger(), onSwitch(l.lan))
	l.running("B", stopped, onSwitch(l.lan))
	target := l.mustBackup()
	began := len(l.w.Trace())
	l.mustRestore(target)
	golden(t, "restore", timeline(l.w.Trace()[began:]))
}
