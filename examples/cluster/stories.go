package main

import (
	"context"
	"errors"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// stories are the stories by name, in the order in which they are listed.
var stories = []struct {
	name string
	tell func(s *stage) error
}{
	{"backup", tellBackup}, {"restore", tellRestore}, {"csv", tellShared}, {"crash", tellCrash}, {"partition", tellPartition},
}

func storyNames() []string {
	var out []string
	for _, s := range stories {
		out = append(out, s.name)
	}
	return out
}

func storyNamed(name string) func(*stage) error {
	for _, s := range stories {
		if s.name == name {
			return s.tell
		}
	}
	return nil
}

// tellBackup backs up machines that have to be saved for it.
func tellBackup(s *stage) error {
	s.noteLedgers()
	if s.remedy {
		return s.managedBackup()
	}
	s.chapter("A backup that nobody told the cluster about; mail is large and takes long to save")
	s.w.Inject(sim.Fault{Point: hyperv.FaultSave, On: "h1/mail", From: 1, Outcome: sim.Outcome{Delay: 10 * time.Second}})
	target := &requester.Memory{}
	err := s.backup("h1", target)
	s.narrate()
	s.report(
		check{"the backup claims to be good", err},
		s.saw("the cluster took a saved machine for a failed one", "cluster/event", "id=1069"),
		s.saw("it restarted the machine in the middle of the backup", "cluster/restart"),
	)
	if err := s.advance(time.Minute); err != nil {
		return err
	}
	s.narrate()
	s.chapter("What is in that backup, seen on another host")
	good, bad, err := s.inspect(target)
	if err != nil {
		return err
	}
	for _, f := range bad {
		s.say("%v", f)
	}
	s.report(
		check{"db is not what the backup promised", want(contains(bad, "db"))},
		check{"files, which was backed up from inside, is", want(contains(good, "files") && !contains(bad, "files"))},
	)
	s.chapter("Ten minutes later the product tries again")
	if err := s.advance(9 * time.Minute); err != nil {
		return err
	}
	s.narrate()
	err = s.backup("h1", &requester.Memory{})
	s.narrate()
	s.report(check{"the backup fails: " + oneLine(err), want(err != nil)}, s.saw("db has failed over", "cluster/failover", "group=db"))
	s.w.Heal()
	return s.after("What is left")
}

// managedBackup saves the machines through the cluster first (R64).
func (s *stage) managedBackup() error {
	s.chapter("The machines are saved through the cluster, backed up, and brought online")
	var vms []*cluster.VM
	for _, m := range machines {
		if !m.inside {
			vms = append(vms, s.c.VM(m.name))
		}
	}
	after, err := s.c.BeforeBackup(s.ctx, vms...)
	if err != nil {
		return err
	}
	target := &requester.Memory{}
	failure := s.backup("h1", target)
	if err := after(s.ctx); err != nil {
		return err
	}
	s.narrate()
	s.report(check{"the backup is good", failure}, s.quiet())
	s.chapter("What is in that backup, seen on another host")
	good, bad, err := s.inspect(target)
	if err != nil {
		return err
	}
	for _, f := range good {
		s.say("%v", f)
	}
	s.report(check{"every machine is what the backup promised", join(bad)})
	return s.after("Ten minutes later")
}

// tellRestore restores a machine over itself.
func tellRestore(s *stage) error {
	s.noteLedgers()
	s.chapter("A backup of the machines, through the cluster where it is needed")
	target := &requester.Memory{}
	if err := s.goodBackup("h1", target); err != nil {
		return err
	}
	if err := s.advance(time.Minute); err != nil {
		return err
	}
	s.skip()
	vm := s.c.VM("files")
	if s.remedy {
		s.chapter("The resources of files are taken offline, it is restored, and they come online again")
		after, err := s.c.BeforeRestore(s.ctx, vm)
		if err != nil {
			return err
		}
		failure := s.restore("h1", "files", target)
		if err := after(s.ctx); err != nil {
			return err
		}
		s.narrate()
		s.report(check{"the restore is good", failure}, s.quiet())
		return s.after("Ten minutes later")
	}
	s.chapter("files is restored while its resources are online")
	// The host takes its time to delete the machine, so that the cluster finds out.
	s.w.Inject(sim.Fault{Point: hyperv.FaultDelete, On: "h1/files", Outcome: sim.Outcome{Delay: 6 * time.Second}})
	err := s.restore("h1", "files", target)
	s.narrate()
	s.report(
		check{"the restore claims to be good", err},
		s.saw("the cluster saw a failure", "cluster/event", "id=1069"),
		s.saw("the group has failed over", "cluster/failover", "group=files"),
	)
	s.chapter("An hour later the cluster tries again by itself")
	if err := s.advance(61 * time.Minute); err != nil {
		return err
	}
	s.narrate()
	left := s.left()
	s.report(check{"the audit tells the administrator what to do", want(len(left) > 0)})
	s.chapter("The administrator removes the registration on the node that does not own the machine")
	for _, n := range s.c.Nodes() {
		if m := s.hosts[n.Name()].VMByID(vm.ID()); m != nil && n != vm.Owner() {
			if err := m.Unregister(s.ctx); err != nil {
				return err
			}
		}
	}
	if err := vm.Group().Online(s.ctx); err != nil {
		return err
	}
	return s.after("What is left")
}

// tellShared backs one Cluster Shared Volume up from both nodes.
func tellShared(s *stage) error {
	s.noteLedgers()
	s.chapter("files moves to h2, while it runs")
	if err := s.c.Group("files").Move(s.ctx, "h2", cluster.LiveMigration); err != nil {
		return err
	}
	s.narrate()
	if !s.remedy {
		s.chapter("Both nodes back up the shared volume at the same time")
	} else {
		s.chapter("Both nodes back up the shared volume; who finds a backup in progress comes back later")
	}
	after, err := s.c.BeforeBackup(s.ctx, s.c.VM("db"), s.c.VM("web"), s.c.VM("mail"))
	if err != nil {
		return err
	}
	var procs []*sim.Proc
	for _, node := range []string{"h1", "h2"} {
		target := &requester.Memory{}
		procs = append(procs, s.w.Actor("backup of "+node).Go("backup", func(ctx context.Context) error {
			return s.patientBackup(ctx, node, target)
		}))
	}
	first, second := procs[0].Wait(s.ctx), procs[1].Wait(s.ctx)
	if err := after(s.ctx); err != nil {
		return err
	}
	s.narrate()
	s.report(check{"the backup of h1 is good", first})
	if s.remedy {
		s.report(check{"the backup of h2 is good, at the second try", second})
	} else {
		s.report(check{"the backup of h2 is refused: " + oneLine(second), want(errors.Is(second, cluster.ErrBackupInProgress))})
	}
	return s.after("What is left")
}

// patientBackup tries again after ten minutes, if that is the remedy. Node h2
// begins a moment later than h1.
func (s *stage) patientBackup(ctx context.Context, node string, target *requester.Memory) error {
	if node == "h2" {
		if err := sim.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	err := s.runBackup(ctx, node, target)
	if s.remedy && errors.Is(err, cluster.ErrBackupInProgress) {
		if err := sim.Sleep(ctx, 10*time.Minute); err != nil {
			return err
		}
		err = s.runBackup(ctx, node, target)
	}
	return err
}

// tellCrash kills the node in the middle of a backup.
func tellCrash(s *stage) error {
	s.noteLedgers()
	s.chapter("h1 dies while the writers of its backup are frozen")
	s.w.Inject(sim.Fault{Point: "vss/freeze", On: "h1/vmms", Outcome: sim.Outcome{Kill: "h1"}})
	err := s.backup("h1", &requester.Memory{})
	s.narrate()
	s.report(check{"the backup has died: " + oneLine(err), want(err != nil)})
	s.chapter("h2 takes over")
	if err := s.advance(time.Minute); err != nil {
		return err
	}
	s.narrate()
	s.report(s.saw("h2 has removed h1 from the cluster", "cluster/event", "id=1135"))
	if s.remedy {
		s.chapter("h1 is repaired and joins again, and the machines go home")
		h, err := s.newHost("h1")
		if err != nil {
			return err
		}
		if err := s.c.Join(s.ctx, "h1", cluster.HyperV(h)); err != nil {
			return err
		}
		for _, m := range machines {
			if err := s.c.Group(m.name).Move(s.ctx, "h1", cluster.LiveMigration); err != nil {
				return err
			}
		}
		s.narrate()
	}
	return s.after("What is left")
}

// tellPartition cuts the network between the nodes in the middle of a backup. Of two
// votes neither node has more than half; a witness is the third.
func tellPartition(s *stage) error {
	if err := s.c.Group("files").Move(s.ctx, "h2", cluster.LiveMigration); err != nil {
		return err
	}
	s.skip()
	s.noteLedgers()
	if s.remedy {
		s.chapter("The network between the nodes breaks while h2 backs up files; a witness is the third vote")
	} else {
		s.chapter("The network between the nodes breaks while h2 backs up files; there are two votes")
	}
	s.w.Inject(sim.Fault{Point: vss.PointPrepareSnapshot, On: "h2/vmms", Outcome: sim.Outcome{Delay: 8 * time.Second}})
	b := s.w.Actor("backup of h2").Go("backup", func(ctx context.Context) error {
		return s.runBackup(ctx, "h2", &requester.Memory{})
	})
	if err := errors.Join(s.advance(time.Second), s.c.Partition([]string{"h1"}, []string{"h2"})); err != nil {
		return err
	}
	err := b.Wait(s.ctx)
	s.narrate()
	s.report(
		check{"the backup fails: " + oneLine(err), want(err != nil)},
		s.saw("the cluster service of h2 has stopped", "cluster/event", "id=1177", "node=h2"),
	)
	s.chapter("A minute later")
	if err := s.advance(time.Minute); err != nil {
		return err
	}
	s.narrate()
	s.where()
	if s.remedy {
		s.report(
			check{"h1 has quorum, and files with the others", want(s.c.HasQuorum() && s.c.VM("files").Owner().Name() == "h1")},
			check{"db has not stopped", want(s.count("vm/state", "vm=db") == 2)}, // it started, in the beginning
		)
	} else {
		s.report(
			s.saw("the cluster service of h1 has stopped as well", "cluster/event", "id=1177", "node=h1"),
			check{"nobody has quorum, and no machine runs", want(!s.c.HasQuorum() && s.running() == 0)},
		)
	}
	s.chapter("The network is repaired")
	if err := s.c.Heal(s.ctx); err != nil {
		return err
	}
	return s.after("What is left")
}
