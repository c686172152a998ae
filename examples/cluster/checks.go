package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A check is one thing that must be true.
type check struct {
	what string
	err  error // why it is not
}

var errNot = errors.New("it is not so")

func want(so bool) error {
	if so {
		return nil
	}
	return errNot
}

// oneLine is an error's text on one line.
func oneLine(err error) string {
	if err == nil {
		return "no error"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// report prints checks and counts those that failed.
func (s *stage) report(checks ...check) {
	for _, c := range checks {
		if c.err != nil {
			s.failed++
			s.say("FAILED  %s: %s", c.what, oneLine(c.err))
			continue
		}
		s.say("ok      %s", c.what)
	}
}

// saw checks that the trace has an event of a kind with these attributes.
func (s *stage) saw(what, kind string, attrs ...string) check {
	for _, e := range s.w.Trace().Select(kind) {
		if !slices.ContainsFunc(attrs, func(a string) bool {
			key, value, _ := strings.Cut(a, "=")
			return e.Get(key) != value
		}) {
			return check{what: what}
		}
	}
	return check{what, errNot}
}

// count counts the events of a kind with this attribute.
func (s *stage) count(kind, attr string) (n int) {
	key, value, _ := strings.Cut(attr, "=")
	for _, e := range s.w.Trace().Select(kind) {
		if e.Get(key) == value {
			n++
		}
	}
	return n
}

// running counts the machines that run, on any node.
func (s *stage) running() (n int) {
	for _, node := range s.c.Nodes() {
		for _, m := range s.hosts[node.Name()].VMs() {
			if m.State() == hyperv.StateRunning {
				n++
			}
		}
	}
	return n
}

// quiet checks that the cluster never saw a failure.
func (s *stage) quiet() check {
	c := check{what: "the cluster saw nothing to worry about"}
	for _, e := range s.w.Trace() {
		switch e.Kind {
		case "cluster/event", "cluster/restart", "cluster/failover", "cluster/unaware":
			c.err = fmt.Errorf("%s", sentence(e))
		}
	}
	return c
}

// inspect restores a backup on a host of another world, and judges the machines by
// the bytes of their files.
func (s *stage) inspect(target *requester.Memory) (good, bad []hypervtest.Finding, err error) {
	w := sim.New()
	defer func() { err = errors.Join(err, w.Close()) }()
	h, err := hyperv.NewHost(w, hyperv.HostConfig{Name: "elsewhere"})
	if err != nil {
		return nil, nil, err
	}
	err = w.Do(s.ctx, func(ctx context.Context) error {
		_, err := (&requester.Restore{Service: h.VSS(), Source: target, Destination: h.Files()}).Run(ctx)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	for _, f := range s.oracle.Check(h) {
		if f.Err == nil {
			good = append(good, f)
		} else {
			bad = append(bad, f)
		}
	}
	return good, bad, nil
}

func contains(list []hypervtest.Finding, vm string) bool {
	return slices.ContainsFunc(list, func(f hypervtest.Finding) bool { return f.VM == vm })
}

func join(list []hypervtest.Finding) error {
	var errs []error
	for _, f := range list {
		errs = append(errs, errors.New(f.String()))
	}
	return errors.Join(errs...)
}

// noteLedgers notes how far the ledger in every machine is.
func (s *stage) noteLedgers() {
	s.last = make(map[string]uint64)
	for _, vm := range s.c.VMs() {
		if report, err := s.ledger(vm); err == nil {
			s.last[vm.Name()] = report.Last
		}
	}
}

// ledger looks at the ledger on the disk of a running machine.
func (s *stage) ledger(vm *cluster.VM) (ledger.Report, error) {
	m := s.hosts[vm.Owner().Name()].VMByID(vm.ID())
	if m == nil || m.Guest() == nil {
		return ledger.Report{}, fmt.Errorf("it does not run on %s", vm.Owner().Name())
	}
	d := m.Guest().Disks()[0].Disk
	layout, err := guest.ReadLayout(d, d.Size())
	if err != nil {
		return ledger.Report{}, err
	}
	c := guest.Volumes(layout)[0].Store(d)
	shape, report := ledger.Check(c, c)
	if shape == ledger.Torn {
		return report, fmt.Errorf("the ledger is torn: %v", report)
	}
	return report, nil
}

// nothingLost checks that every machine runs where it belongs, and that its ledger
// has everything it had when the story began.
func (s *stage) nothingLost() {
	for _, vm := range s.c.VMs() {
		report, err := s.ledger(vm)
		if was := s.last[vm.Name()]; err == nil && (report.Last < was || was == 0) {
			err = fmt.Errorf("the ledger was at %d and is at %d", was, report.Last)
		}
		s.report(check{vm.Name() + " runs, and its ledger has lost nothing", err})
	}
}

// left prints what the audit finds.
func (s *stage) left() []hyperv.Leftover {
	list := cluster.Audit(s.ctx, s.c)
	for _, l := range list {
		s.say("to do: %s", strings.ReplaceAll(l.String(), "\n", "; "))
	}
	return list
}

// after is the end of every story: time passes, everything is where it should be,
// and the next backup, done as it should be, is good.
func (s *stage) after(title string) error {
	s.chapter(title)
	wait := time.Minute
	if s.remedy {
		wait = 10 * time.Minute
	}
	if err := s.advance(wait); err != nil {
		return err
	}
	s.narrate()
	s.where()
	s.nothingLost()
	s.audited()
	for _, n := range s.c.Nodes() {
		if n.State() != cluster.NodeUp || len(s.hosts[n.Name()].VMs()) == 0 {
			continue
		}
		err := s.goodBackup(n.Name(), &requester.Memory{})
		s.skip()
		s.report(check{"the next backup of " + n.Name() + ", with the remedy, succeeds", err})
		if err := s.advance(time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// audited checks that nothing is left but nodes that are down.
func (s *stage) audited() {
	var errs []error
	for _, l := range s.left() {
		if n := s.c.Node(l.On); n == nil || n.State() != cluster.NodeDown {
			errs = append(errs, errors.New(l.String()))
		}
	}
	for _, p := range s.w.Panics() {
		errs = append(errs, p)
	}
	s.report(check{"the audit finds nothing else", errors.Join(errs...)})
}

// goodBackup backs up what a node owns, and saves through the cluster what has to
// be saved.
func (s *stage) goodBackup(node string, target *requester.Memory) error {
	var vms []*cluster.VM
	for _, m := range machines {
		if vm := s.c.VM(m.name); !m.inside && vm.Owner().Name() == node {
			vms = append(vms, vm)
		}
	}
	after, err := s.c.BeforeBackup(s.ctx, vms...)
	if err != nil {
		return err
	}
	return errors.Join(s.backup(node, target), after(s.ctx))
}
