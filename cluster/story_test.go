package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// ledgerOf looks at the ledger on the disk of a running machine.
func (l *lab) ledgerOf(vm *cluster.VM) ledger.Report {
	l.t.Helper()
	m := l.host(vm.Owner().Name()).VMByID(vm.ID())
	if m == nil || m.Guest() == nil {
		l.t.Fatalf("%s does not run on %s\n%s", vm.Name(), vm.Owner().Name(), l.story(0))
	}
	d := m.Guest().Disks()[0].Disk
	layout, err := guest.ReadLayout(d, d.Size())
	l.must(err)
	c := guest.Volumes(layout)[0].Store(d)
	shape, report := ledger.Check(c, c)
	if shape == ledger.Torn {
		l.t.Errorf("%s: the ledger is torn: %v", vm.Name(), report)
	}
	return report
}

// outcome says how something ended, on one line.
func outcome(err error) string {
	if err == nil {
		return "ends without an error"
	}
	return "fails: " + strings.ReplaceAll(err.Error(), "\n", "; ")
}

// safe notes how far the machines' ledgers are, and returns a check that nothing
// of it is lost.
func (l *lab) safe(vms ...*cluster.VM) func() {
	l.t.Helper()
	last := make([]uint64, len(vms))
	for i, vm := range vms {
		last[i] = l.ledgerOf(vm).Last
	}
	return func() {
		l.t.Helper()
		for i, vm := range vms {
			if now := l.ledgerOf(vm).Last; now < last[i] || last[i] == 0 {
				l.t.Errorf("%s: the ledger was at %d and is at %d", vm.Name(), last[i], now)
			}
		}
	}
}

// nextBackup takes every machine where it is now, from each node that has any, and
// demands that all of it is well.
func (l *lab) nextBackup() {
	l.t.Helper()
	l.w.Heal()
	for _, n := range l.c.Nodes() {
		if n.State() != cluster.NodeUp {
			continue
		}
		if h := l.host(n.Name()); len(h.VMs()) > 0 {
			if _, err := l.backup(n.Name()); err != nil {
				l.t.Errorf("the next backup of %s: %v\n%s", n.Name(), err, l.story(0))
			}
			l.advance(time.Minute)
		}
	}
}

// A backup in the saved state behind the cluster's back: the machine that was saved
// first is restarted while the others are still being saved. The backup claims to
// be good, but the machine's memory is not in it. The product finds out and tries
// again ten minutes later: now the group fails over, and the writer cannot bring
// its machine back.
func TestStoryUnmanagedBackup(t *testing.T) {
	l := newLab(t, labConfig{})
	db := l.vm("db", saved, threshold(1))
	var all = []*cluster.VM{db}
	for _, name := range []string{"web", "mail", "files"} {
		all = append(all, l.vm(name, saved, threshold(1)))
	}
	l.advance(3 * time.Second)
	whole := l.safe(all...)
	n := l.now()
	first, err := l.backup("h1")
	l.must(err)
	text := l.story(n) + "the first backup " + outcome(err) + "\n"
	l.findings(first, "db")
	l.advance(10 * time.Minute)
	n = l.now()
	_, err = l.backup("h1")
	if err == nil {
		t.Errorf("the second backup does not fail\n%s", l.story(n))
	}
	text += "\nten minutes later\n" + l.story(n) + "the second backup " + outcome(err) + "\n"
	l.advance(10 * time.Minute)
	l.wantAt(db, "h2")
	golden(t, "backup", text)
	whole()
	l.clean()
	l.managedBackup(all)
}

// managedBackup takes the next backup as it should be.
func (l *lab) managedBackup(vms []*cluster.VM) {
	l.t.Helper()
	after, err := l.c.BeforeBackup(l.ctx(), vms...)
	l.must(err)
	l.nextBackup()
	l.must(after(l.ctx()))
	l.advance(time.Minute)
	l.clean()
}

// The same machines with the remedy: saved through the cluster, backed up, brought
// online again.
func TestStoryManagedBackup(t *testing.T) {
	l := newLab(t, labConfig{})
	var all []*cluster.VM
	for _, name := range []string{"db", "web", "mail", "files"} {
		all = append(all, l.vm(name, saved, threshold(1)))
	}
	l.advance(3 * time.Second)
	whole := l.safe(all...)
	n := l.now()
	after, err := l.c.BeforeBackup(l.ctx(), all...)
	l.must(err)
	target, err := l.backup("h1")
	l.must(err)
	l.must(after(l.ctx()))
	golden(t, "backup-remedy", l.story(n))
	l.advance(10 * time.Minute)
	l.quiet(n)
	for _, vm := range all {
		l.wantAt(vm, "h1")
	}
	whole()
	l.clean()
	l.findings(target)
}

// A child VM snapshot: there is nothing for the cluster to see.
func TestStoryChildSnapshot(t *testing.T) {
	l := newLab(t, labConfig{})
	db := l.vm("db", inside, threshold(1))
	l.advance(3 * time.Second)
	whole := l.safe(db)
	n := l.now()
	target, err := l.backup("h1")
	l.must(err)
	golden(t, "backup-child", l.story(n))
	l.advance(10 * time.Minute)
	l.quiet(n)
	whole()
	l.clean()
	l.findings(target)
	l.nextBackup()
}

// A restore over machines whose resources are online, on a disk that goes with the
// group: the cluster takes the disk away while files are written to it.
func TestStoryRestoreOverOnlineDisk(t *testing.T) {
	l := newLab(t, labConfig{disk: true})
	db := l.vm("db", inside, threshold(0))
	l.advance(3 * time.Second)
	whole := l.safe(db)
	target, err := l.backup("h1")
	l.must(err)
	l.advance(time.Minute)
	n := l.now()
	err = l.slowRestore("h1", target)
	if err == nil {
		t.Errorf("the restore does not fail\n%s", l.story(n))
	}
	text := l.story(n) + "the restore " + outcome(err) + "\n"
	l.advance(time.Minute)
	text += "what is left for the administrator:\n" + l.left()
	golden(t, "restore-disk", text)
	// The administrator takes everything offline and does it again, as it should be.
	l.must(db.Group().Offline(l.ctx()))
	l.must(l.disk.Online(l.ctx()))
	l.must(l.restore("h2", target))
	l.must(db.Group().Online(l.ctx()))
	l.wantAt(db, "h2")
	whole()
	l.clean()
	l.nextBackup()
}

// slowRestore is a restore in which a copy takes long enough for the cluster to
// find out: the writer of another program is slow in PreRestore.
func (l *lab) slowRestore(node string, source *requester.Memory) error {
	l.t.Helper()
	f, err := sim.ParseFault("hyperv/delete on=" + node + "/* delay=6s")
	l.must(err)
	l.w.Inject(f)
	return l.restore(node, source)
}

// The same on a Cluster Shared Volume, which both nodes have: the cluster tries to
// bring the machine up on the other node while its files are missing, gives up,
// and the restore registers the machine where it is not owned.
func TestStoryRestoreOverOnlineShared(t *testing.T) {
	l := newLab(t, labConfig{})
	db := l.vm("db", inside, threshold(1))
	l.advance(3 * time.Second)
	whole := l.safe(db)
	target, err := l.backup("h1")
	l.must(err)
	l.advance(time.Minute)
	n := l.now()
	err = l.slowRestore("h1", target)
	text := l.story(n) + "the restore " + outcome(err) + "\n"
	l.advance(time.Minute)
	text += "what is left for the administrator:\n" + l.left()
	l.advance(time.Hour)
	text += "\nan hour later\n" + l.left()
	golden(t, "restore-shared", text)
	// The administrator removes the registration on the wrong node, and brings the
	// group online where it is owned.
	if vm := l.host("h1").VM("db"); vm != nil && db.Owner().Name() != "h1" {
		l.must(vm.Unregister(l.ctx()))
	}
	l.must(db.Group().Online(l.ctx()))
	whole()
	l.clean()
	l.nextBackup()
}

// With the resources offline first: quiet.
func TestStoryRestoreRemedy(t *testing.T) {
	for name, disk := range map[string]bool{"restore-remedy-disk": true, "restore-remedy-shared": false} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, labConfig{disk: disk})
			db := l.vm("db", inside, threshold(0))
			l.advance(3 * time.Second)
			whole := l.safe(db)
			target, err := l.backup("h1")
			l.must(err)
			l.advance(time.Minute)
			n := l.now()
			after, err := l.c.BeforeRestore(l.ctx(), db)
			l.must(err)
			l.must(l.restore("h1", target))
			l.must(after(l.ctx()))
			golden(t, name, l.story(n))
			l.advance(10 * time.Minute)
			l.quiet(n)
			l.wantAt(db, "h1")
			whole()
			l.clean()
			l.nextBackup()
		})
	}
}

// A restore on a node that does not own the machine registers it there: it is on
// two nodes until somebody sees to it.
func TestStorySplitOwnership(t *testing.T) {
	l := newLab(t, labConfig{})
	db := l.vm("db", inside)
	l.advance(3 * time.Second)
	whole := l.safe(db)
	target, err := l.backup("h1")
	l.must(err)
	l.advance(time.Minute)
	n := l.now()
	l.must(db.Resource().Offline(l.ctx())) // but not the configuration
	l.must(l.restore("h2", target))
	text := l.story(n) + "what is left for the administrator:\n" + l.left()
	golden(t, "split", text)
	if !strings.Contains(l.left(), "is registered on h1 and h2") {
		t.Errorf("the audit says\n%s", l.left())
	}
	l.must(l.host("h2").VM("db").Unregister(l.ctx()))
	l.must(db.Configuration().Offline(l.ctx())) // what h1 knows of the machine is out of date
	l.must(db.Resource().Online(l.ctx()))
	l.wantAt(db, "h1")
	whole()
	l.clean()
	l.nextBackup()
}

// A group is moved in the middle of a backup. A live migration is refused, because
// the backup holds the machine; a quick one is not, and the backup fails.
func TestStoryMoveDuringBackup(t *testing.T) {
	for _, child := range []bool{inside, saved} {
		t.Run(fmt.Sprintf("inside=%v", child), func(t *testing.T) {
			l := newLab(t, labConfig{config: cluster.Config{Detection: cluster.Off}})
			db := l.vm("db", child)
			l.vm("web", saved)
			l.advance(3 * time.Second)
			whole := l.safe(db)
			l.slowSave("web")
			n := l.now()
			target := &requester.Memory{}
			b := l.w.Actor("backup").Go("backup", func(ctx context.Context) error { return l.runBackup(ctx, "h1", target) })
			l.advance(3 * time.Second)
			if err := db.Group().Move(l.ctx(), "h2", cluster.LiveMigration); child == inside && !errors.Is(err, hyperv.ErrInUse) {
				t.Errorf("the live migration: %v", err)
			}
			l.must(db.Group().Move(l.ctx(), "h2", cluster.MoveSave))
			err := b.Wait(l.ctx())
			if err == nil {
				t.Errorf("the backup does not fail\n%s", l.story(n))
			}
			golden(t, map[bool]string{inside: "move-inside", saved: "move-saved"}[child], l.story(n)+"the backup "+outcome(err)+"\n")
			l.advance(time.Minute)
			l.wantAt(db, "h2")
			whole()
			l.clean()
			l.nextBackup()
		})
	}
}

// The node dies in every phase of a backup: the machines run again on the other
// node, the shadow copies are gone or are told of, and the next backup succeeds.
func TestStoryNodeCrashDuringBackup(t *testing.T) {
	points := []sim.Point{
		vss.PointPrepareBackup, vss.PointPrepareSnapshot, hyperv.FaultSave, vss.PointProviderBeginPrepare, vss.PointFreeze,
		vss.PointProviderCommit, vss.PointThaw, vss.PointPostSnapshot, hyperv.FaultMount, hyperv.FaultRevert, hyperv.FaultStart,
		vss.PointBackupComplete, vss.PointBackupShutdown, vss.PointProviderDelete,
	}
	for _, version := range []cluster.Version{cluster.W2008R2, cluster.W2012} {
		leaks := 0
		for _, point := range points {
			for _, disk := range []bool{false, true} {
				if disk && version == cluster.W2012 {
					continue
				}
				l := newLab(t, labConfig{disk: disk, config: cluster.Config{Version: version, Witness: true}})
				db, web := l.vm("db", inside), l.vm("web", saved)
				l.advance(3 * time.Second)
				whole := l.safe(db, web)
				f, err := sim.ParseFault(string(point) + " on=h1/* kill=h1")
				l.must(err)
				l.w.Inject(f)
				if _, err := l.backup("h1"); err == nil && point != vss.PointBackupShutdown {
					t.Errorf("%s: the backup survives its node", point)
				}
				if left := l.w.Unreached(); len(left) > 0 {
					t.Fatalf("%v was not reached\n%s", left, l.story(0))
				}
				l.advance(time.Minute)
				l.wantAt(db, "h2")
				l.wantAt(web, "h2")
				whole()
				l.clean("h1", "RemoveOrphans")
				if strings.Contains(l.left(), "RemoveOrphans") {
					leaks++
					l.must(l.c.RemoveOrphans())
				}
				if n := len(l.shared.Shadows()); n > 0 {
					t.Errorf("%s: %d shadow copies are left", point, n)
				}
				l.clean("h1")
				l.nextBackup()
				l.clean("h1")
			}
		}
		if (leaks > 0) != (version == cluster.W2012) {
			t.Errorf("%v: %d leaks", version, leaks)
		}
	}
}

// Two nodes back one Cluster Shared Volume up at the same time. On Windows Server
// 2008 R2 the second is refused and has to come back later; from Windows Server
// 2012 on both succeed.
func TestStoryTwoBackupsOfOneVolume(t *testing.T) {
	for _, version := range []cluster.Version{cluster.W2008R2, cluster.W2012} {
		t.Run(version.String(), func(t *testing.T) {
			l := newLab(t, labConfig{config: cluster.Config{Version: version}})
			db, web := l.vm("db", inside), l.vm("web", inside)
			l.must(web.Group().Move(l.ctx(), "h2", cluster.LiveMigration))
			l.wantAt(web, "h2")
			l.advance(3 * time.Second)
			whole := l.safe(db, web)
			n := l.now()
			var results [2]*requester.Memory
			var procs [2]*sim.Proc
			for i, node := range []string{"h1", "h2"} {
				results[i] = &requester.Memory{}
				procs[i] = l.w.Actor("backup of "+node).Go("backup", func(ctx context.Context) error {
					if err := sim.Sleep(ctx, time.Duration(i)*time.Second/2); err != nil {
						return err
					}
					return l.runBackup(ctx, node, results[i])
				})
			}
			first, second := procs[0].Wait(l.ctx()), procs[1].Wait(l.ctx())
			l.must(first)
			switch {
			case version == cluster.W2008R2 && (!errors.Is(second, cluster.ErrBackupInProgress) || vss.HRESULTOf(second) != 0x8007173D):
				t.Errorf("the second backup: %v", second)
			case version == cluster.W2012:
				l.must(second)
			}
			golden(t, "csv-"+version.String(), l.story(n)+"the backup of h1 "+outcome(first)+"\nthe backup of h2 "+outcome(second)+"\n")
			l.advance(time.Minute)
			l.wantAt(db, "h1")
			l.wantAt(web, "h2")
			whole()
			l.clean()
			l.nextBackup()
		})
	}
}
