package hyperv_test

import (
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// replicate puts a machine into a replication relation.
func (l *lab) replicate(vm *hyperv.VM, partner string) {
	l.t.Helper()
	c := vm.Configuration()
	c.ReplicationPartner = partner
	l.must(vm.Configure(l.ctx(), c))
}

// A restore over a machine in a replication relation deletes it as any other, and
// tells of the relation that it breaks; the restored machine is in none, and others
// stay in theirs.
func TestRestoreBreaksReplication(t *testing.T) {
	l := newLab(t)
	db, other := l.machine("db", withLedger()), l.machine("other")
	plain := l.mustBackup(only("db"))
	l.replicate(db, "replica1")
	l.replicate(other, "replica2")
	id, err := db.Checkpoint(l.ctx(), "one")
	l.must(err)
	l.must(db.Start(l.ctx()))
	target := l.mustBackup()
	l.must(db.TurnOff(l.ctx()))
	if l.must(db.Apply(l.ctx(), id)); db.Configuration().ReplicationPartner != "replica1" {
		t.Error("a checkpoint ends the relation")
	}
	l.must(db.Start(l.ctx()))

	check := func(when string, h *lab, broken, dropped int) {
		t.Helper()
		for kind, n := range map[string]int{"hyperv/replication-broken": broken, "hyperv/replication-dropped": dropped} {
			list := h.w.Trace().Select(kind)
			if len(list) != n {
				t.Errorf("%s: %d events %s, want %d", when, len(list), kind, n)
			}
			for _, e := range list {
				if e.Get("vm") != "db" || e.Get("partner") != "replica1" || !strings.Contains(e.Get("todo"), "resynchronize") {
					t.Errorf("%s: %v", when, e)
				}
			}
		}
		back := h.h.VM("db")
		c, err := hyperv.ReadConfigurationStrictly(h.bytes(back.ConfigurationPath()))
		h.must(err)
		if c.ReplicationPartner != "" || back.Configuration().ReplicationPartner != "" {
			t.Errorf("%s: it is in a relation with %q", when, c.ReplicationPartner)
		}
		m, err := h.h.Management().Machine(h.ctx(), back.ID())
		h.must(err)
		for _, path := range m.Checkpoints {
			if c, err := hyperv.ReadConfigurationStrictly(h.bytes(path)); err != nil || c.ReplicationPartner != "" {
				t.Errorf("%s: a checkpoint is in a relation with %q, %v", when, c.ReplicationPartner, err)
			}
		}
		h.must(back.Start(h.ctx()))
		h.mustBackup(only("db"))
		h.settledNow()
	}
	l.mustRestore(target, onlyRestore("db"))
	check("over the relation", l, 1, 1)
	if l.h.VM("other").Configuration().ReplicationPartner != "replica2" {
		t.Error("the relation of another machine is broken")
	}
	if l.must(l.h.VM("db").TurnOff(l.ctx())); len(l.h.VM("db").Configuration().Checkpoints) != 1 {
		t.Fatal("the checkpoint is gone")
	}
	if l.must(l.h.VM("db").Apply(l.ctx(), id)); l.h.VM("db").Configuration().ReplicationPartner != "" {
		t.Error("a checkpoint has the relation still")
	}
	l.mustRestore(target, onlyRestore("db"))
	check("over what was restored", l, 1, 2)

	o := newLabOf(t, hyperv.HostConfig{Name: "h2"})
	o.mustRestore(target, onlyRestore("db"))
	check("where there was none", o, 0, 1)

	l.must(l.h.VM("db").TurnOff(l.ctx()))
	l.replicate(l.h.VM("db"), "replica1")
	l.mustRestore(plain)
	check("from a backup of before", l, 2, 2)
}

// A restore that fails when the machine is gone has broken the relation all the same;
// one that cannot delete it has not.
func TestFailedRestoreBreaksReplication(t *testing.T) {
	for plan, broken := range map[string]int{"requester/restore nth=1 err=0x80070070": 1, "hyperv/delete on=h1/db err=0x80070005": 0} {
		l := newLab(t, sim.Plan(plan))
		db := l.machine("db")
		l.replicate(db, "replica1")
		target := l.mustBackup()
		if _, err := l.restore(target); err == nil || len(l.w.Unreached()) > 0 {
			t.Fatalf("%v, %v", err, l.w.Unreached())
		}
		if n := len(l.w.Trace().Select("hyperv/replication-broken")); n != broken {
			t.Errorf("%s: %d events", plan, n)
		}
		if vm := l.h.VM("db"); (vm == nil) != (broken == 1) || vm != nil && vm.Configuration().ReplicationPartner == "" {
			t.Errorf("%s: %v", plan, vm)
		}
		l.settledNow()
		l.mustRestore(target)
	}
}
