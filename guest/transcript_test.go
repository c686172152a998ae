package guest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/vss/sim"
)

var updateRuns = flag.Bool("update-runs", false, "rewrite the transcripts in testdata/run")

// TestTranscripts plays the stories in testdata/run. Each is one world: prose and
// commands, dashes, and what the world printed up to the next empty line.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/run/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d transcripts: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(b), "\r\n", "\n")
			s := &stage{t: t, args: map[string]string{"data": "D:", "log": "E:"}}
			var blocks []string
			for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
				input, _, dashes := strings.Cut(block+"\n", "----\n")
				if dashes {
					input += "----\n" + s.play(input)
				}
				blocks = append(blocks, strings.TrimSuffix(input, "\n"))
			}
			got := strings.Join(blocks, "\n\n") + "\n"
			if *updateRuns {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(text, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// A stage is where a story is played.
type stage struct {
	t      *testing.T
	args   map[string]string
	faults []sim.Option
	rig    *rig
	change func(s *guest.System)
	kinds  map[int]guest.DiskKind
	m      *guest.Machine
	saved  *disk.Memory
	copies *guest.Snapshot
	shown  int
	out    strings.Builder
}

func (s *stage) play(input string) string {
	s.out.Reset()
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if err := s.do(words[0], words[1:]); err != nil {
			s.show()
			fmt.Fprintf(&s.out, "%s: %v\n", words[0], err)
		}
	}
	s.show()
	return s.out.String()
}

// do runs one command:
//
//	ledger KEY=VALUE...   arguments of the program
//	os NAME...            the operating system
//	disk N KIND           pass-through or iscsi
//	fault FAULT...        something goes wrong
//	boot, save, resume, shutdown, off, pause, continue
//	run DURATION          let time pass
//	stop NAME..., start NAME...   an integration service
//	backup, release       what the host asks of the backup service
//	look [copy]           what the bytes of the volumes say
func (s *stage) do(command string, args []string) (err error) {
	ctx := s.t.Context()
	switch command {
	case "ledger":
		for _, a := range args {
			k, v, _ := strings.Cut(a, "=")
			s.args[k] = v
		}
	case "os":
		s.change = func(r *guest.System) {
			r.OS = guest.OS(strings.Join(args, " "))
			r.Services = guest.IntegrationServices(r.OS, "6.0.6001.18016")
		}
	case "disk":
		s.kinds = map[int]guest.DiskKind{int(args[0][0] - '0'): map[string]guest.DiskKind{"pass-through": guest.PassThrough, "iscsi": guest.InGuestISCSI}[args[1]]}
	case "fault":
		s.faults = append(s.faults, sim.Plan(strings.Join(args, " ")))
	case "boot":
		s.build()
		s.m, err = guest.Boot(ctx, s.rig.Config)
	case "save":
		s.saved, err = s.m.Save(ctx)
	case "resume":
		s.m, err = guest.Resume(ctx, s.rig.Config, s.saved)
	case "shutdown":
		err = s.m.Shutdown(ctx)
	case "off":
		s.m.PowerOff()
	case "pause":
		s.m.Pause()
	case "continue":
		s.m.Continue()
	case "run":
		d, bad := time.ParseDuration(args[0])
		if bad != nil {
			return bad
		}
		err = s.rig.world.Advance(d)
	case "stop":
		err = s.m.StopService(ctx, strings.Join(args, " "))
	case "start":
		err = s.m.StartService(ctx, strings.Join(args, " "))
	case "backup", "release":
		err = s.ask(command)
	case "look":
		s.look(len(args) > 0)
	default:
		s.t.Fatalf("no command %s", command)
	}
	return err
}

func (s *stage) build() {
	if s.rig != nil {
		return
	}
	s.rig = newRig(s.t, s.faults...)
	r, err := guest.ReadSystem(s.rig.volume(0))
	s.rig.must(err)
	r.Programs[0].Args = s.args
	if s.change != nil {
		s.change(r)
	}
	s.rig.install(r)
	for i, k := range s.kinds {
		s.rig.Disks[i].Kind = k
	}
}

func (s *stage) ask(command string) error {
	r, err := s.m.Requestor()
	if err != nil {
		return fmt.Errorf("%w: status %v", err, guest.Status(err))
	}
	if command == "release" {
		return r.Release(s.t.Context(), s.copies)
	}
	s.copies, err = r.Snapshot(s.t.Context(), guest.SnapshotOptions{})
	if err != nil {
		return err
	}
	s.show()
	for _, c := range s.copies.Copies {
		fmt.Fprintf(&s.out, "the copy of %s is kept in disk %d, bytes %d+%d\n", c.Volume, c.Disk, c.Off, c.Len)
	}
	return nil
}

// look shows what the volumes hold, live or in the copies.
func (s *stage) look(copied bool) {
	s.show()
	data, log, what := s.rig.volume(1), s.rig.volume(2), "now"
	if copied {
		data, log, what = s.rig.copyOf(s.copies, "D:"), s.rig.copyOf(s.copies, "E:"), "copy"
	}
	verdict, report := ledger.Check(data, log)
	fmt.Fprintf(&s.out, "%s: %v: %v\n", what, verdict, report)
	kept := 0
	for _, d := range s.rig.Disks {
		kept += len(d.Disk.KeptIDs())
	}
	if kept > 0 {
		fmt.Fprintf(&s.out, "%s: the disks keep %d snapshots\n", what, kept)
	}
}

// show prints the events since the last time: what writers did, when writes were
// held, what the machine says. What the requestor asks and the provider answers
// is left out.
func (s *stage) show() {
	if s.rig == nil {
		return
	}
	tr := s.rig.world.Trace()
	for _, e := range tr[s.shown:] {
		group, kind, slash := strings.Cut(e.Kind, "/")
		if !slash {
			kind = group
		}
		name, ended := strings.CutSuffix(kind, ".end")
		switch {
		case group == "requester" || group == "provider":
			continue
		case group == "vss" && !ended && hasEnd(e):
			if !late(tr, e) {
				continue // its end tells more
			}
			name += " …"
		}
		fmt.Fprintf(&s.out, "%-8v %-9s %s%s\n", e.Time, strings.TrimPrefix(strings.TrimPrefix(e.Actor, "h1/sql01/"), "guest/"), name, details(e))
	}
	s.shown = len(tr)
}

// hasEnd tells whether events of the kind come in pairs.
func hasEnd(e sim.Event) bool {
	return e.Get("writer") != "" && e.Kind != "vss/subscribe" && e.Kind != "vss/unsubscribe" && e.Kind != "vss/freeze-window"
}

// late tells whether a handler ended at another time than it began.
func late(tr sim.Trace, e sim.Event) bool {
	for _, o := range tr[e.Seq:] {
		if o.Kind == e.Kind+".end" && o.Actor == e.Actor {
			return o.Time != e.Time
		}
	}
	return true
}

func details(e sim.Event) string {
	out := ""
	for _, a := range e.Attrs {
		switch v := a.Value(); a.Key {
		case "session", "instance", "set", "writer", "outcome", "shadow", "computer", "requester":
		case "state":
			out += " " + strings.TrimPrefix(v, "VSS_WS_")
		case "hr":
			if v != "S_OK" {
				out += " " + v
			}
		default:
			out += " " + a.Key + "=" + v
		}
	}
	if e.Rule != "" {
		out += " [" + e.Rule + "]"
	}
	return out
}
