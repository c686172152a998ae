package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A check is one thing that must be true.
type check struct {
	what string
	err  error // why it is not
}

// checkRestored judges the restored machines by the bytes of their files alone,
// before any of them is started.
func (s *story) checkRestored(h *hyperv.Host) []check {
	var out []check
	for _, f := range s.oracle.Check(h) {
		out = append(out, check{f.VM + ": " + f.What, f.Err})
	}
	add := func(err error, format string, args ...any) {
		out = append(out, check{fmt.Sprintf(format, args...), err})
	}
	sql := h.VM("sql01")
	if sql != nil && s.oracle.Snapshotted(sql.ID()) {
		if s.ledgerTookPart() {
			add(consistent(h, sql, ledger.Application), "sql01: the ledger is application-consistent")
		} else {
			add(consistent(h, sql, ledger.Application, ledger.Crash), "sql01: the ledger, whose writer took no part, is recoverable")
		}
		if !s.ledgerDied() {
			add(s.wroteOn(), "sql01: the guest had gone on writing: the backup holds transaction %d, the disk was at %d when the host's shadow copy was taken", s.taken, s.after)
		}
	}
	if sql != nil && s.image != nil {
		add(s.image.equal(h, sql), "sql01: the disk of %s is unchanged", s.image.name)
	}
	return append(out, audited(h))
}

func wantState(vm *hyperv.VM, want hyperv.State) error {
	if got := vm.State(); got != want {
		return fmt.Errorf("it is %v", got)
	}
	return nil
}

// ledgerTookPart tells whether sql01's ledger was frozen for the backup.
func (s *story) ledgerTookPart() bool {
	return slices.ContainsFunc(s.w.Trace(), func(e sim.Event) bool {
		return e.Kind == "vss/freeze.end" && strings.HasSuffix(e.Actor, "/guest/ledger") && e.Get("outcome") == "true"
	})
}

// ledgerDied tells whether a fault ended a ledger, so that it wrote no more.
func (s *story) ledgerDied() bool {
	return slices.ContainsFunc(s.w.Trace(), func(e sim.Event) bool {
		return e.Kind == "guest/program" && e.Get("state") == "crashed" ||
			e.Kind == "fault" && e.Get("outcome") == "kill" && strings.HasSuffix(e.Get("on"), "/guest/ledger")
	})
}

func consistent(h *hyperv.Host, vm *hyperv.VM, want ...ledger.Consistency) error {
	paths := vm.Configuration().VHDPaths()
	data, err := hypervtest.OpenVHD(h, paths[1])
	if err != nil {
		return err
	}
	log, err := hypervtest.OpenVHD(h, paths[2])
	if err != nil {
		return err
	}
	c, report, err := checkLedger(data, log)
	if err == nil && !slices.Contains(want, c) {
		err = fmt.Errorf("it is %v: %v", c, report)
	}
	return err
}

// wroteOn tells whether the guest wrote between its own shadow copy and the
// host's.
func (s *story) wroteOn() error {
	if s.after <= s.taken {
		return fmt.Errorf("nothing was written in between")
	}
	return nil
}

// checkLedger looks at a ledger on the only volumes of two disks.
func checkLedger(data, log disk.Store) (ledger.Consistency, ledger.Report, error) {
	var stores [2]disk.Store
	for i, d := range []disk.Store{data, log} {
		l, err := guest.ReadLayout(d, d.Size())
		if err != nil {
			return 0, ledger.Report{}, err
		}
		stores[i] = guest.Volumes(l)[0].Store(d)
	}
	c, report := ledger.Check(stores[0], stores[1])
	return c, report, nil
}

// equal compares the restored disk with the image it was made from.
func (img *image) equal(h *hyperv.Host, vm *hyperv.VM) error {
	paths := vm.Configuration().VHDPaths()
	restored, err := hypervtest.OpenVHD(h, paths[len(paths)-1])
	if err != nil {
		return err
	}
	at, err := disk.FirstDifference(restored, img.disk)
	if err == nil && at >= 0 {
		err = fmt.Errorf("it differs from byte %d on", at)
	}
	return err
}

func audited(h *hyperv.Host) check {
	c := check{what: "the audit of " + h.Name() + " is clean"}
	if left := hyperv.Audit(h); len(left) > 0 {
		c.err = fmt.Errorf("%v", left)
	}
	return c
}

// checkStarted starts the restored machines. A fault that strikes here is told,
// and the machine started again without it.
func (s *story) checkStarted(h *hyperv.Host) []check {
	var out []check
	for _, vm := range h.VMs() {
		err := vm.Start(s.ctx)
		if err != nil && len(s.faults) > 0 {
			s.explain(err)
			s.w.Heal()
			err = vm.Start(s.ctx)
		}
		if err == nil {
			err = wantState(vm, hyperv.StateRunning)
		}
		out = append(out, check{vm.Name() + " starts", err})
	}
	return append(out, audited(h))
}
