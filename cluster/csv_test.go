package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// Preparing makes the caller the owner and redirects everybody; when the shadow
// copy is gone again all is as before.
func TestPrepareForBackup(t *testing.T) {
	l := newLab(t, labConfig{})
	db := l.vm("db", inside)
	l.must(db.Group().Move(l.ctx(), "h2", cluster.LiveMigration))
	l.must(l.csv.PrepareForBackup(l.ctx(), "h2"))
	if node, yes := l.csv.BackupInProgress(); node != "h2" || !yes || l.csv.Owner().Name() != "h2" {
		t.Errorf("%s, %v; owner %s", node, yes, l.csv.Owner().Name())
	}
	for _, node := range []string{"h1", "h2"} {
		if s := l.csv.State(node); s != cluster.SharedVolumeActiveRedirected {
			t.Errorf("%s reaches it %v", node, s)
		}
	}
	l.must(l.csv.PrepareForBackup(l.ctx(), "h2")) // again is no harm
	if err := l.csv.MoveOwner(l.ctx(), "h1"); !errors.Is(err, cluster.ErrBackupInProgress) {
		t.Errorf("the owner moves: %v", err)
	}
	var during cluster.SharedVolumeState
	l.w.Actor("watch").Go("watch", func(ctx context.Context) error {
		err := sim.Sleep(ctx, 500*time.Millisecond)
		during = l.csv.State("h1")
		return err
	})
	_, err := l.backup("h2")
	l.must(err)
	l.advance(time.Minute)
	if _, yes := l.csv.BackupInProgress(); yes || during != cluster.SharedVolumeActiveRedirected || l.csv.State("h1") != cluster.SharedVolumeActive {
		t.Errorf("in progress %v, was %v, is %v", yes, during, l.csv.State("h1"))
	}
	l.must(l.csv.MoveOwner(l.ctx(), "h1"))
	if l.csv.Owner().Name() != "h1" || l.csv.State("h9") != cluster.SharedVolumeUnavailable {
		t.Errorf("the owner is %s", l.csv.Owner().Name())
	}
}

// Without the call there is no shadow copy on Windows Server 2008 R2; later there
// is.
func TestUnpreparedBackup(t *testing.T) {
	for _, version := range []cluster.Version{cluster.W2008R2, cluster.W2012} {
		l := newLab(t, labConfig{config: cluster.Config{Version: version}})
		l.vm("db", inside)
		l.csv = nil // nobody prepares
		_, err := l.backup("h1")
		if (err == nil) != (version == cluster.W2012) || version == cluster.W2008R2 && !errors.Is(err, cluster.ErrInvalidState) {
			t.Errorf("%v: %v", version, err)
		}
		l.advance(time.Minute)
		l.clean()
	}
}

// A requester that dies before there is a shadow copy leaves the state behind, for
// thirty minutes or until somebody clears it.
func TestBackupStateIsCleared(t *testing.T) {
	l := newLab(t, labConfig{})
	l.vm("db", inside)
	l.must(l.csv.PrepareForBackup(l.ctx(), "h1"))
	l.advance(29 * time.Minute)
	if err := l.csv.PrepareForBackup(l.ctx(), "h2"); !errors.Is(err, cluster.ErrBackupInProgress) {
		t.Errorf("after 29 minutes: %v", err)
	}
	l.clean("is prepared for a backup of h1")
	l.advance(2 * time.Minute)
	l.must(l.csv.PrepareForBackup(l.ctx(), "h2"))
	l.csv.ClearBackupState()
	if _, yes := l.csv.BackupInProgress(); yes {
		t.Error("it is not cleared")
	}
	l.must(l.csv.PrepareForBackup(l.ctx(), "h1"))
	l.csv.ClearBackupState()
	l.clean()
}

// Clearing by hand in the middle of another's backup: nobody is asked.
func TestClearingDuringABackup(t *testing.T) {
	l := newLab(t, labConfig{})
	l.vm("db", saved)
	l.slowSave("db")
	target := &requester.Memory{}
	b := l.w.Actor("backup").Go("backup", func(ctx context.Context) error { return l.runBackup(ctx, "h1", target) })
	l.advance(2 * time.Second)
	l.csv.ClearBackupState()
	if err := b.Wait(l.ctx()); !errors.Is(err, cluster.ErrInvalidState) {
		t.Errorf("the backup: %v", err)
	}
	l.advance(time.Minute)
	l.clean()
	l.nextBackup()
}

// The coordinator dies: another node coordinates.
func TestCoordinatorDies(t *testing.T) {
	l := newLab(t, labConfig{nodes: 3})
	l.must(l.csv.PrepareForBackup(l.ctx(), "h1"))
	l.host("h1").Actor().Kill()
	l.advance(10 * time.Second)
	if l.csv.Owner().Name() != "h2" || l.csv.State("h1") != cluster.SharedVolumeUnavailable || l.csv.State("h3") != cluster.SharedVolumeActive {
		t.Errorf("%s coordinates; h1 %v, h3 %v", l.csv.Owner().Name(), l.csv.State("h1"), l.csv.State("h3"))
	}
	h := l.newHost("h1")
	l.must(l.c.Join(l.ctx(), "h1", cluster.HyperV(h)))
	l.hosts[0] = h
	if l.csv.State("h1") != cluster.SharedVolumeActive {
		t.Errorf("h1 has come back and reaches it %v", l.csv.State("h1"))
	}
	l.vm("db", inside)
	l.nextBackup()
	l.clean()
}

// A disk of one node is nobody else's at the same time.
func TestDiskHasOneOwner(t *testing.T) {
	l := newLab(t, labConfig{disk: true})
	if !l.host("h1").Mounted(l.shared) || l.host("h2").Mounted(l.shared) {
		t.Error("the disk is not on h1 alone")
	}
	_, err := l.disk.Group().AddDisk(l.shared, nil)
	if !errors.Is(err, cluster.ErrObjectAlreadyExists) {
		t.Errorf("a second resource: %v", err)
	}
	l.must(l.disk.Group().Move(l.ctx(), "h2", cluster.MoveSave))
	if l.host("h1").Mounted(l.shared) || !l.host("h2").Mounted(l.shared) {
		t.Error("the disk is not on h2 alone")
	}
	l.host("h2").Unmount(l.shared) // somebody pulls it
	l.advance(6 * time.Second)
	if !l.host("h2").Mounted(l.shared) || l.count("cluster/event", "id=1069") != 1 {
		t.Errorf("nobody noticed\n%s", l.story(0))
	}
}

// A disk does not come online on a node while another still has it.
func TestDiskIsReserved(t *testing.T) {
	l := newLab(t, labConfig{disk: true})
	l.must(l.disk.Offline(l.ctx()))
	l.must(l.host("h2").Mount(hyperv.Mount{Volume: l.shared})) // somebody does not keep to the rules
	if err := l.disk.Online(l.ctx()); !errors.Is(err, cluster.ErrInvalidState) || l.host("h1").Mounted(l.shared) {
		t.Errorf("the disk comes online: %v", err)
	}
}

// A volume that does not answer for a while stops the machines' writes and no
// machine; a backup fails, and the next one is good.
func TestPausedVolume(t *testing.T) {
	l := newLab(t, labConfig{config: cluster.Config{Version: cluster.W2012}})
	db := l.vm("db", saved)
	l.advance(3 * time.Second)
	whole := l.safe(db)
	before := l.ledgerOf(db).Last
	l.csv.Pause(time.Minute)
	l.csv.Pause(30 * time.Second)
	if s := l.csv.State("h2"); s != cluster.SharedVolumePaused || l.count("cluster/event", "id=5120") != 2 {
		t.Errorf("it is %v", s)
	}
	l.advance(50 * time.Second)
	if now := l.ledgerOf(db).Last; now > before+1 {
		t.Errorf("the ledger went on from %d to %d", before, now)
	}
	l.advance(time.Minute)
	after, err := l.c.BeforeBackup(l.ctx(), db)
	l.must(err)
	l.csv.Pause(time.Hour)
	if _, err := l.backup("h2"); err != nil { // it has no machines, but a volume of its own
		t.Errorf("a backup of something else: %v", err)
	}
	if _, err := l.backup("h1"); !errors.Is(err, cluster.ErrTimeout) {
		t.Errorf("a backup of a volume that does not answer: %v", err)
	}
	l.advance(2 * time.Hour)
	l.must(after(l.ctx()))
	l.advance(10 * time.Second)
	if s := l.csv.State("h2"); s != cluster.SharedVolumeActive {
		t.Errorf("it is %v", s)
	}
	l.wantAt(db, db.Owner().Name())
	if now := l.ledgerOf(db).Last; now <= before+1 {
		t.Error("the ledger does not go on")
	}
	whole()
	l.managedBackup(l.c.VMs())
}
