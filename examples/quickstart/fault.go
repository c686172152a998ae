package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// fault tells how a run ended that failed, and proves that nothing is lost and
// nothing left: the machines are as they must be, the audit is clean, and the
// same once more succeeds.
func (s *story) fault(what string, err error) (int, error) {
	if len(s.faults) == 0 {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	s.chapter("How " + what + " ended")
	s.explain(err)
	s.w.Heal()
	if err := s.w.Advance(minutes); err != nil {
		return 0, err
	}
	s.tidy()
	s.narrate()
	switch what {
	case "the backup":
		s.afterBackup()
	case "the destruction":
		s.report([]check{{"what failed succeeds now", s.destroy()}, audited(s.host)})
	default:
		s.afterRestore()
	}
	return s.verdict()
}

// minutes is time enough for everything that was given up to be cleaned away.
const minutes = 5 * time.Minute

// explain prints who failed, with which code.
func (s *story) explain(err error) {
	if e, ok := errors.AsType[*requester.Error](err); ok {
		for _, w := range e.Writers {
			s.say("writer   %s: %v, %v", w.Name, w.State, w.Code)
			if w.Message != "" {
				s.say("         %s", w.Message)
			}
		}
	}
	s.say("result   %v", vss.HRESULTOf(err))
	s.say("reason   %v", err)
}

// afterBackup checks that the failed backup changed nothing, and makes another.
func (s *story) afterBackup() {
	var checks []check
	for _, vm := range s.host.VMs() {
		want := s.expected(vm)
		checks = append(checks, check{fmt.Sprintf("%s is %v", vm.Name(), want), wantState(vm, want)})
	}
	s.report(append(checks, audited(s.host)))
	_, err := s.backup()
	s.report([]check{{"the next backup succeeds", err}, audited(s.host)})
}

// expected is the state a machine must be in after a backup: the one before, or
// off if it died itself.
func (s *story) expected(vm *hyperv.VM) hyperv.State {
	if s.crashed(vm) {
		return hyperv.StateOff
	}
	return s.prior[vm.Name()]
}

// crashed tells whether the machine itself died of the fault: it went off
// without being told to.
func (s *story) crashed(vm *hyperv.VM) bool {
	for _, e := range s.w.Trace().Select("vm/state") {
		if e.Get("vm") == vm.Name() && e.Get("from") == "running" && e.Get("to") == "off" {
			return true
		}
	}
	return false
}

// tidy does what a fault leaves to an administrator: a service that died is
// started, and a shadow copy that could not be deleted is.
func (s *story) tidy() {
	if len(s.faults) == 0 {
		return
	}
	if !s.host.ManagementRunning() {
		s.report([]check{{"the management service is started again, and undoes what it had done", s.host.StartManagement(s.ctx)}})
	}
	for _, c := range s.host.VSS().Snapshots() {
		if c.Attributes&vss.AttrNoAutoRelease != 0 {
			continue
		}
		s.say("left to the administrator: delete shadow copy %s", c.DeviceObject)
		err := s.as("administrator", func(ctx context.Context) error {
			bc, err := s.host.VSS().CreateBackupComponents(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = bc.Release(ctx) }()
			if err := bc.InitializeForBackup(ctx, nil); err != nil {
				return err
			}
			_, err = bc.DeleteSnapshots(ctx, c.SnapshotID, vss.ObjectSnapshot, true)
			return err
		})
		s.report([]check{{"it is deleted", err}})
	}
}

// afterRestore shows that a failed restore leaves no machine that was to be
// restored and could not be, and restores once more.
func (s *story) afterRestore() {
	for _, name := range []string{"sql01", "files01", "pause01", "off01"} {
		if s.host.VM(name) == nil {
			s.say("%s is not registered: it was deleted before its files were known to be good [R45, R51]", name)
		}
	}
	s.report([]check{audited(s.host)})
	err := s.restore(s.host, s.w)
	s.report([]check{{"the next restore succeeds", err}})
	s.report(s.checkRestored(s.host))
}
