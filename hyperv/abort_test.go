package hyperv_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// Abort, by how far the writer had come: what it finds to undo, and whether it
// comes at all.
func TestAbortByPhase(t *testing.T) {
	fails := "provider/%s on=h1/vss/swprv err=0x80042306"
	for _, row := range []struct {
		phase  string
		plan   string
		next   string // the call that is not made any more; AbortBackup comes instead
		aborts int
		back   int  // machines that Abort brings back
		drops  int  // guests that are asked to delete their copies while it runs
		posted bool // the writer had PostSnapshot
	}{
		{phase: "before PrepareBackup", next: "PrepareForBackup"},
		{phase: "before PrepareSnapshot", next: "DoSnapshotSet", aborts: 1},
		{phase: "after PrepareSnapshot", plan: fmt.Sprintf(fails, "pre-commit"), aborts: 1, back: 2, drops: 2},
		{phase: "at the commit", plan: fmt.Sprintf(fails, "commit"), aborts: 1, back: 2, drops: 2},
		{phase: "after the commit", plan: fmt.Sprintf(fails, "post-commit"), aborts: 1, back: 2, drops: 2},
		{phase: "before PostSnapshot", plan: fmt.Sprintf(fails, "pre-final-commit"), aborts: 1, back: 2, drops: 2},
		{phase: "after PostSnapshot", next: "BackupComplete", posted: true},
		{phase: "after the set failed late", plan: fmt.Sprintf(fails, "post-final-commit"), posted: true},
	} {
		t.Run(row.phase, func(t *testing.T) {
			var plans []string
			if row.plan != "" {
				plans = append(plans, row.plan)
			}
			l := newLab(t, sim.Plan(plans...))
			crew(l)
			l.note()
			given := errors.New("given up")
			err := l.as("backup", func(ctx context.Context) error {
				_, err := l.byHand(ctx, []string{`C:\`, `D:\`}, func(next string, b *vss.BackupComponents) error {
					if next != row.next {
						return nil
					}
					return errors.Join(given, b.AbortBackup(ctx))
				})
				return err
			})
			if err == nil || row.plan == "" && !errors.Is(err, given) {
				t.Errorf("%v", err)
			}
			list := l.events(func(e sim.Event) bool { return e.Actor == "h1/vmms" && e.Kind == "vss/abort" })
			if len(list) != row.aborts {
				t.Errorf("%d aborts, want %d", len(list), row.aborts)
			}
			back, drops := 0, 0
			if row.aborts > 0 {
				for _, e := range l.in("vss/abort") {
					if e.Kind == "vm/state" && e.Get("from") == "saved" {
						back++
					}
					if e.Kind == "guest/release" {
						drops++
					}
				}
			}
			if back != row.back || drops != row.drops {
				t.Errorf("Abort brought %d machines back and had %d guests delete copies, want %d, %d", back, drops, row.back, row.drops)
			}
			if posted := len(l.w.Trace().Select("hyperv/roll-back")) > 0; posted != row.posted {
				t.Errorf("rolled back: %v", posted)
			}
			l.recovers()
		})
	}
}

// A second Abort, and one out of a clear sky, change nothing.
func TestAbortIsHarmless(t *testing.T) {
	l := newLab(t, sim.Plan("provider/commit on=h1/vss/swprv err=0x80042306"))
	crew(l)
	if _, err := l.backup(); err == nil { // the set was aborted, and the requester aborts as well
		t.Fatal("the backup succeeds")
	}
	l.settled()
	l.recovers()
}

// The management service is stopped and started while a session is open: what the
// old run did is undone, the new run has no part in the session, and the requester
// learns that its writer is gone.
func TestManagementRestartsInTheMiddle(t *testing.T) {
	for _, point := range []string{
		"vss/prepare-backup on=h1/vmms", "hyperv/save on=h1/web", "hyperv/save on=h1/app", "guest/answer on=h1/db/*", "guest/snapshot on=h1/erp/*",
		"provider/commit on=h1/vss/swprv", "vss/thaw on=h1/vmms", "hyperv/mount on=h1/db", "provider/post-final-commit on=h1/vss/swprv",
		"requester/copy", "vss/backup-complete on=h1/vmms",
	} {
		t.Run(point, func(t *testing.T) {
			l := newLab(t, sim.Plan(point+" delay=30s"))
			crew(l)
			l.w.Actor("administrator").Go("restart", func(ctx context.Context) error {
				name, on, _ := strings.Cut(point, " on=")
				for {
					if err := sim.Sleep(ctx, time.Second); err != nil {
						return err
					}
					for _, h := range l.w.Hits() {
						if string(h.Point) == name && (on == "" || strings.HasPrefix(h.On, strings.TrimSuffix(on, "*"))) {
							return errors.Join(l.h.StopManagement(ctx), l.h.StartManagement(ctx))
						}
					}
				}
			})
			_, err := l.backup()
			if err == nil {
				t.Error("the backup succeeds without its writer")
			}
			l.advance(20 * time.Minute)
			l.recovers()
		})
	}
}

// Two backups of the same machine at once: the second is told to come back later,
// and the first is not disturbed.
func TestTwoBackupsOfOneMachine(t *testing.T) {
	l := newLab(t)
	crew(l)
	l.note()
	var second error
	l.must(l.as("first", func(ctx context.Context) error {
		st, err := l.byHand(ctx, []string{`C:\`, `D:\`}, func(next string, _ *vss.BackupComponents) error {
			if next == "BackupComplete" { // the files are being copied
				second = sim.Self(ctx).World().Actor("second").Call(ctx, "backup", func(ctx context.Context) error {
					st, err := l.byHand(ctx, []string{`C:\`, `D:\`}, nil)
					if st.State != atPrepareBackup || st.Code != retryable || !strings.Contains(st.Message, "in use by another operation") {
						t.Errorf("the second backup: %+v", st)
					}
					return err
				})
			}
			return nil
		})
		if st.Code != vss.SOK {
			t.Errorf("the first backup: %+v", st)
		}
		return err
	}))
	if second != nil {
		t.Logf("the second backup ended with %v", second)
	}
	l.recovers()
}

// A backup of other machines may begin while the first copies its files.
func TestTwoBackupsOfDifferentMachines(t *testing.T) {
	l := newLab(t)
	crew(l)
	other := l.running("other")
	done := false
	_, err := l.backup(only("db", "web"), func(r *requester.Backup) {
		r.Target = spyTarget{r.Target, func() {
			if done {
				return
			}
			done = true
			second := &requester.Backup{Service: l.h.VSS(), Target: &requester.Memory{}, MayBeMissing: hyperv.MayBeMissing}
			only("erp", "other")(second)
			if _, err := second.Run(l.w.Current()); err != nil {
				t.Errorf("the second backup: %v", err)
			}
		}}
	})
	l.must(err)
	if !done || other.LockedBy() != "" {
		t.Errorf("second backup: %v, %q", done, other.LockedBy())
	}
	l.recovers()
}

// A spyTarget tells when a file of a backup is about to be made.
type spyTarget struct {
	requester.Files
	creating func()
}

func (s spyTarget) Create(name string) (io.WriteCloser, error) {
	s.creating()
	return s.Files.Create(name)
}

// A guest that is at a backup of its own makes the host's fail, to be tried again.
func TestGuestIsAtABackupOfItsOwn(t *testing.T) {
	l := newLab(t)
	crew(l)
	g := l.h.VM("db").Guest()
	var bc *vss.BackupComponents
	l.must(g.Actor().Call(l.ctx(), "backup program", func(ctx context.Context) (err error) {
		if bc, err = g.VSS().CreateBackupComponents(ctx); err != nil {
			return err
		}
		err = errors.Join(bc.InitializeForBackup(ctx, nil), bc.SetBackupState(ctx, vss.BackupState{Type: vss.BackupCopy}), bc.GatherWriterMetadata(ctx))
		if err == nil {
			_, err = bc.StartSnapshotSet(ctx)
		}
		return err
	}))
	_, err := l.backup()
	l.failsWith(err, atPrepareSnapshot, retryable, "db: ", "VSS_E_SNAPSHOT_SET_IN_PROGRESS")
	l.must(bc.Release(l.ctx()))
	l.recovers()
}

// Between the events of a session the machines are the administrator's all the
// same: what he does holds.
func TestAdministratorBetweenTheEvents(t *testing.T) {
	turnOff := func(ctx context.Context, vm *hyperv.VM) error { return vm.TurnOff(ctx) }
	remove := func(ctx context.Context, vm *hyperv.VM) error {
		if vm.State() != hyperv.StateOff {
			if err := vm.TurnOff(ctx); err != nil {
				return err
			}
		}
		if err := vm.Delete(ctx); !errors.Is(err, hyperv.ErrInUse) {
			return fmt.Errorf("deleting a machine that is being backed up: %w", err)
		}
		return nil
	}
	start := func(ctx context.Context, vm *hyperv.VM) error { return vm.Start(ctx) }
	for _, row := range []struct {
		vm, next string
		do       func(context.Context, *hyperv.VM) error
		ends     hyperv.State
	}{
		{"db", "DoSnapshotSet", turnOff, hyperv.StateOff},
		{"web", "DoSnapshotSet", turnOff, hyperv.StateOff},
		{"mine", "DoSnapshotSet", turnOff, hyperv.StateOff},
		{"off", "DoSnapshotSet", start, hyperv.StateRunning},
		{"mine", "DoSnapshotSet", start, hyperv.StateRunning},
		{"db", "DoSnapshotSet", remove, hyperv.StateOff},
		{"off", "DoSnapshotSet", remove, hyperv.StateOff},
		// While the provider is at the commit:
		{"db", "commit", turnOff, hyperv.StateOff},
		{"db", "commit", remove, hyperv.StateOff},
		{"web", "commit", turnOff, hyperv.StateOff},
		{"web", "commit", remove, hyperv.StateOff},
		{"web", "commit", start, hyperv.StateRunning},
		{"app", "commit", start, hyperv.StateRunning},
		{"off", "commit", remove, hyperv.StateOff},
		// While the files are copied:
		{"db", "BackupComplete", turnOff, hyperv.StateOff},
		{"db", "BackupComplete", remove, hyperv.StateOff},
		{"web", "BackupComplete", remove, hyperv.StateOff},
	} {
		t.Run(row.vm+"/"+row.next, func(t *testing.T) {
			l := newLab(t, sim.Plan("provider/commit on=h1/vss/swprv delay=9s"))
			crew(l)
			l.note()
			vm := l.h.VM(row.vm)
			var st vss.WriterStatus
			l.must(l.as("backup", func(ctx context.Context) (err error) {
				var admin *sim.Proc
				st, err = l.byHand(ctx, []string{`C:\`, `D:\`}, func(next string, _ *vss.BackupComponents) error {
					if next == row.next {
						return row.do(ctx, vm)
					}
					if next == "DoSnapshotSet" && row.next == "commit" {
						admin = l.atCommit(func(ctx context.Context) error { return row.do(ctx, vm) })
					}
					return nil
				})
				if admin != nil {
					err = errors.Join(err, admin.Wait(ctx))
				}
				return err
			}))
			if st.Code != vss.SOK {
				t.Errorf("the writer is %+v", st)
			}
			if s := vm.State(); s != row.ends {
				t.Errorf("%s is %v, want %v", row.vm, s, row.ends)
			}
			l.settled(row.vm)
			for _, vm := range l.h.VMs() {
				l.works(vm)
			}
			l.mustBackup()
			l.settled()
		})
	}
}

func (l *lab) reached(point sim.Point, on string) bool {
	for _, h := range l.w.Hits() {
		if h.Point == point && h.On == on {
			return true
		}
	}
	return false
}

// A machine turned off in the middle of its backup is in the backup as its guest
// had it, rolled back like any other.
func TestMachineTurnedOffBeforeTheRollback(t *testing.T) {
	l := newLab(t, sim.Plan("provider/commit on=h1/vss/swprv delay=9s"))
	vm := l.running("db")
	l.write(vm, "C:", blockX, 'a')
	l.after = func(string, *guest.Snapshot) { l.writeNow(vm, "C:", blockX, 'b') }
	l.atCommit(vm.TurnOff)
	target := l.mustBackup()
	if vm.State() != hyperv.StateOff {
		t.Fatal("it was not turned off")
	}
	c := volumeIn(t, l.diskIn(target, `D:\VMs\db\system.vhd`), 0)
	if got := byteAt(t, c, blockX); got != 'a' {
		t.Errorf("the backup holds %q", got)
	}
	l.settled("db")
	l.mustRestore(target)
	l.must(l.h.VM("db").Start(l.ctx()))
}

// atCommit has an administrator act while the host's provider is at its commit,
// which has to be slow.
func (l *lab) atCommit(do func(ctx context.Context) error) *sim.Proc {
	return l.w.Actor("administrator").Go("acts", func(ctx context.Context) error {
		for !l.reached("provider/commit", "h1/vss/swprv") {
			if err := sim.Sleep(ctx, time.Second); err != nil {
				return err
			}
		}
		return do(ctx)
	})
}
