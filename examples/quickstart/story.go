package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A story is one run of the program.
type story struct {
	ctx    context.Context
	w      *sim.World
	out    io.Writer
	target requester.Files
	image  *image
	faults []sim.Fault // to inject, from the backup on
	before []sim.Hit   // points reached before the backup
	oracle *hypervtest.Oracle
	taken  uint64 // the ledger's last transaction in sql01's own shadow copy
	after  uint64 // and on its disks when the host's was there
	host   *hyperv.Host
	prior  map[string]hyperv.State
	told   int // events of the trace that were printed
	failed int // checks that did not hold
}

// tell runs the whole story and returns the exit status.
func (s *story) tell() (int, error) {
	s.oracle = hypervtest.NewOracle()
	s.oracle.OnSnapshot = s.noteTaken
	s.oracle.OnCommitted = s.noteAfter
	s.chapter("1. A host with four virtual machines")
	h, err := newHost(s.w, "h1", s.oracle.Watch)
	if err != nil {
		return 0, err
	}
	s.host = h
	err = createVMs(s.ctx, h, s.image)
	s.narrate()
	if err != nil {
		return 0, err
	}
	if err := s.w.Advance(5 * time.Second); err != nil {
		return 0, err
	}
	s.notePrior()

	s.chapter("2. A backup, while the guests go on writing")
	s.before = s.w.Hits()
	s.w.Inject(s.faults...)
	result, err := s.backup()
	s.narrate()
	if err != nil {
		return s.fault("the backup", err)
	}
	s.say("%d files, %d bytes, from %s", result.Files, result.Bytes, number(len(result.Volumes), "shadow copy", "shadow copies"))
	if err := s.w.Advance(5 * time.Second); err != nil {
		return 0, err
	}
	s.tidy()
	s.sameStates()

	s.chapter("3. All machines and their files are destroyed")
	err = s.destroy()
	s.narrate()
	if err != nil {
		return s.fault("the destruction", err)
	}

	s.chapter("4. The restore")
	err = s.restore(h, s.w)
	s.narrate()
	if err != nil {
		return s.fault("the restore", err)
	}
	s.report(s.checkRestored(h))
	started := s.checkStarted(h)
	s.narrate()
	s.report(started)

	s.chapter("5. The same files on another host, in a world that knows nothing else")
	if err := s.elsewhere(); err != nil {
		return 0, err
	}
	if left := s.w.Unreached(); len(left) > 0 {
		return 0, &usageError{fmt.Errorf("the fault %v was never reached", left[0])}
	}
	return s.verdict()
}

// number counts things in words.
func number(n int, one, many string) string {
	if n != 1 {
		one = many
	}
	return fmt.Sprint(n, " ", one)
}

// reached lists the points that were reached since the backup began.
func (s *story) reached() []sim.Hit {
	return slices.DeleteFunc(s.w.Hits(), func(h sim.Hit) bool { return slices.Contains(s.before, h) })
}

// noteTaken looks into the shadow copies that a guest has taken of itself.
func (s *story) noteTaken(_ *hyperv.VM, volumes map[string]disk.Store) {
	_, report := ledger.Check(volumes["D:"], volumes["E:"])
	s.taken = report.Last
}

// noteAfter looks at sql01's live disks when the host's shadow copy was taken.
func (s *story) noteAfter() {
	if m := s.host.VM("sql01").Guest(); m != nil {
		if _, report, err := checkLedger(m.Disks()[1].Disk, m.Disks()[2].Disk); err == nil {
			s.after = report.Last
		}
	}
}

// backup runs the reference requester as a process that can die.
func (s *story) backup() (result *requester.Result, err error) {
	if err := s.oracle.Begin(s.host); err != nil {
		return nil, err
	}
	err = s.as("backup", func(ctx context.Context) error {
		result, err = (&requester.Backup{Service: s.host.VSS(), Target: s.target, MayBeMissing: hyperv.MayBeMissing}).Run(ctx)
		return err
	})
	return result, err
}

func (s *story) restore(h *hyperv.Host, w *sim.World) error {
	return asActor(s.ctx, w, "restore", func(ctx context.Context) error {
		_, err := (&requester.Restore{Service: h.VSS(), Source: s.target, Destination: h.Files()}).Run(ctx)
		return err
	})
}

func (s *story) as(name string, fn func(ctx context.Context) error) error {
	return asActor(s.ctx, s.w, name, fn)
}

// asActor runs fn as a program of its own; if it can never end, it is killed, as
// an administrator would.
func asActor(ctx context.Context, w *sim.World, name string, fn func(ctx context.Context) error) error {
	a := w.Actor(name)
	err := a.Call(ctx, name, fn)
	if _, stuck := errors.AsType[*sim.StuckError](err); stuck {
		a.Kill()
	}
	return err
}

func (s *story) notePrior() {
	s.prior = make(map[string]hyperv.State)
	for _, vm := range s.host.VMs() {
		s.prior[vm.Name()] = vm.State()
	}
}

// sameStates checks that the backup left every machine as it was.
func (s *story) sameStates() {
	var checks []check
	for _, vm := range s.host.VMs() {
		checks = append(checks, check{fmt.Sprintf("%s is %v again", vm.Name(), s.expected(vm)), wantState(vm, s.expected(vm))})
	}
	s.report(append(checks, audited(s.host)))
}

// destroy turns the machines off, deletes them, and deletes what is left of
// them.
func (s *story) destroy() error {
	for _, vm := range s.host.VMs() {
		if vm.State() != hyperv.StateOff {
			if err := vm.TurnOff(s.ctx); err != nil {
				return err
			}
		}
		if err := vm.Delete(s.ctx); err != nil {
			return err
		}
	}
	return s.host.Volume("D:").RemoveAll(`\VMs`)
}

// elsewhere restores the target's files on another host.
func (s *story) elsewhere() error {
	w := sim.New()
	defer func() { _ = w.Close() }()
	h, err := newHost(w, "h2", nil)
	if err != nil {
		return err
	}
	if err := s.restore(h, w); err != nil {
		return err
	}
	s.report(s.checkRestored(h))
	for _, vm := range h.VMs() {
		for _, a := range vm.Configuration().Adapters {
			if a.Connected() {
				return fmt.Errorf("%s is connected to a switch that h2 does not have", vm.Name())
			}
		}
	}
	s.say("there is no switch LAN on h2, so the adapters are not connected [R58]")
	s.report(s.checkStarted(h))
	return nil
}

func (s *story) verdict() (int, error) {
	fmt.Fprintln(s.out)
	s.rules()
	if s.failed > 0 {
		fmt.Fprintf(s.out, "Verdict: %d checks failed.\n", s.failed)
		return exitFailed, nil
	}
	if len(s.faults) > 0 {
		fmt.Fprintln(s.out, "Verdict: nothing was lost and nothing is left; every check held.")
		return exitFault, nil
	}
	fmt.Fprintln(s.out, "Verdict: every check held. The restored machines are what the backup promised, twice.")
	return exitGood, nil
}

func (s *story) chapter(title string) {
	fmt.Fprintf(s.out, "\n%s\n%s\n", title, strings.Repeat("-", len(title)))
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, "  "+format+"\n", args...) }

// report prints checks and counts those that failed.
func (s *story) report(checks []check) {
	for _, c := range checks {
		if c.err != nil {
			s.failed++
			s.say("FAILED  %s: %v", c.what, c.err)
			continue
		}
		s.say("ok      %s", c.what)
	}
}
