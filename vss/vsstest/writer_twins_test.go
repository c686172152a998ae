package vsstest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A twin is the journal with one mistake: handlers that are set replace its own.
type twin struct {
	*journal
	identify        func(ev *vss.IdentifyEvent) error
	prepareBackup   func(ev *vss.PrepareBackupEvent) error
	prepareSnapshot func(ctx context.Context, ev *vss.PrepareSnapshotEvent) error
	freeze          func(ctx context.Context, ev *vss.FreezeEvent) error
	thaw            func(ctx context.Context, ev *vss.ThawEvent) error
	abort           func(ctx context.Context, ev *vss.AbortEvent) error
	postSnapshot    func(ctx context.Context, ev *vss.PostSnapshotEvent) error
	complete        func(ctx context.Context, ev *vss.BackupCompleteEvent) error
	shutdown        func(ctx context.Context, ev *vss.BackupShutdownEvent) error
	preRestore      func(ctx context.Context, ev *vss.PreRestoreEvent) error
	postRestore     func(ctx context.Context, ev *vss.PostRestoreEvent) error
	work            func(ctx context.Context) error
}

func (t *twin) Identify(ctx context.Context, ev *vss.IdentifyEvent) error {
	if t.identify != nil {
		return t.identify(ev)
	}
	return t.journal.Identify(ctx, ev)
}

func (t *twin) PrepareBackup(ctx context.Context, ev *vss.PrepareBackupEvent) error {
	if t.prepareBackup != nil {
		return t.prepareBackup(ev)
	}
	return t.journal.PrepareBackup(ctx, ev)
}

// either calls the twin's handler, or the journal's.
func either[E any](ctx context.Context, ev E, own, journals func(context.Context, E) error) error {
	if own != nil {
		return own(ctx, ev)
	}
	return journals(ctx, ev)
}

func (t *twin) PrepareSnapshot(ctx context.Context, ev *vss.PrepareSnapshotEvent) error {
	return either(ctx, ev, t.prepareSnapshot, t.journal.PrepareSnapshot)
}

func (t *twin) Freeze(ctx context.Context, ev *vss.FreezeEvent) error {
	return either(ctx, ev, t.freeze, t.journal.Freeze)
}

func (t *twin) Thaw(ctx context.Context, ev *vss.ThawEvent) error {
	return either(ctx, ev, t.thaw, t.journal.Thaw)
}

func (t *twin) Abort(ctx context.Context, ev *vss.AbortEvent) error {
	return either(ctx, ev, t.abort, t.journal.Abort)
}

func (t *twin) PostSnapshot(ctx context.Context, ev *vss.PostSnapshotEvent) error {
	return either(ctx, ev, t.postSnapshot, t.journal.PostSnapshot)
}

func (t *twin) BackupComplete(ctx context.Context, ev *vss.BackupCompleteEvent) error {
	return either(ctx, ev, t.complete, t.journal.BackupComplete)
}

func (t *twin) BackupShutdown(ctx context.Context, ev *vss.BackupShutdownEvent) error {
	return either(ctx, ev, t.shutdown, t.journal.BackupShutdown)
}

func (t *twin) PreRestore(ctx context.Context, ev *vss.PreRestoreEvent) error {
	return either(ctx, ev, t.preRestore, t.journal.PreRestore)
}

func (t *twin) PostRestore(ctx context.Context, ev *vss.PostRestoreEvent) error {
	return either(ctx, ev, t.postRestore, t.journal.PostRestore)
}

func (t *twin) transact(ctx context.Context) error {
	if t.work != nil {
		return t.work(ctx)
	}
	return t.journal.transact(ctx)
}

// journalTwins are mistakes that writers really make, and the promise that each
// breaks.
var journalTwins = []struct {
	mistake string
	breaks  string // the beginning of the promise
	make    func(t *twin)
}{
	{"Freeze keeps transactions out and does not flush", "the frozen image", func(t *twin) {
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			t.frozen[ev.SessionID()] = true
			t.settle()
			return nil
		}
	}},
	{"Freeze flushes and does not keep transactions out", "nothing is written between Freeze", func(t *twin) {
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error { return t.flush(ctx) }
	}},
	{"Freeze flushes first and keeps transactions out in a process of its own", "nothing is written between Freeze", func(t *twin) {
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			err := t.flush(ctx)
			sim.Go(ctx, "freezing", func(ctx context.Context) error {
				err := sim.Sleep(ctx, 100*time.Millisecond)
				t.frozen[ev.SessionID()] = true
				t.settle()
				return err
			})
			return err
		}
	}},
	{"Freeze ignores the error of its flush", "the frozen image", func(t *twin) {
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			_ = t.journal.Freeze(ctx, ev)
			t.frozen[ev.SessionID()] = true
			t.settle()
			return nil
		}
	}},
	{"Freeze reports an error without a writer's code", "a handler that fails", func(t *twin) {
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			if err := t.journal.Freeze(ctx, ev); err != nil {
				return errors.New("the flush failed")
			}
			return nil
		}
	}},
	{"Freeze reports a code of the service", "a handler that fails", func(t *twin) {
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			if err := t.journal.Freeze(ctx, ev); err != nil {
				return vss.ErrUnexpectedWriterError
			}
			return nil
		}
	}},
	{"Freeze takes longer than its window", "a backup in which nothing goes wrong", func(t *twin) {
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			if err := t.journal.Freeze(ctx, ev); err != nil {
				return err
			}
			return sim.Sleep(ctx, 61*time.Second)
		}
	}},
	{"Freeze retries its flush for minutes when its time is over", "a handler returns", func(t *twin) {
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			for {
				err := t.journal.Freeze(ctx, ev)
				if err == nil || sim.Now(ctx) > 5*time.Minute {
					return err
				}
				if err := sim.Sleep(context.WithoutCancel(ctx), 20*time.Second); err != nil {
					return err
				}
			}
		}
	}},
	{"Freeze waits for a transaction that waits for the freeze", "a handler returns", func(t *twin) {
		idle := true
		t.work = func(ctx context.Context) error {
			idle = false
			err := t.gate.Pass(ctx)
			if err == nil {
				err = t.journal.transact(ctx)
			}
			idle = true
			return err
		}
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			if err := t.journal.Freeze(ctx, ev); err != nil {
				return err
			}
			if err := sim.Sleep(ctx, 200*time.Millisecond); err != nil {
				return err
			}
			for !idle {
				if err := sim.Sleep(context.WithoutCancel(ctx), time.Second); err != nil {
					return err
				}
			}
			return nil
		}
	}},
	{"Freeze forgets that it was under way when it panics at a full volume", "a writer does not panic", func(t *twin) {
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			if err := t.journal.Freeze(ctx, ev); err != nil {
				panic(err)
			}
			return nil
		}
	}},
	{"Freeze writes with a context of its own", "a handler uses the context", func(t *twin) {
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			_ = t.volume.WriteFile(context.Background(), "journal/frozen", nil)
			return t.journal.Freeze(ctx, ev)
		}
	}},
	{"Freeze flushes in a goroutine", "a handler starts processes", func(t *twin) {
		done := make(chan bool)
		t.freeze = func(ctx context.Context, ev *vss.FreezeEvent) error {
			go func() { <-done }()
			return t.journal.Freeze(ctx, ev)
		}
		t.shutdown = func(ctx context.Context, ev *vss.BackupShutdownEvent) error {
			select {
			case done <- true:
			default:
			}
			return t.journal.BackupShutdown(ctx, ev)
		}
	}},
	{"Thaw takes a real lock that the load sleeps with", "a handler waits only", func(t *twin) {
		var mu sync.Mutex
		t.work = func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			return errors.Join(sim.Sleep(ctx, 50*time.Millisecond), t.journal.transact(ctx))
		}
		t.thaw = func(ctx context.Context, ev *vss.ThawEvent) error {
			mu.Lock()
			defer mu.Unlock()
			return t.journal.Thaw(ctx, ev)
		}
	}},
	{"Thaw does not let transactions in", "the load goes on", func(t *twin) {
		t.thaw = func(context.Context, *vss.ThawEvent) error { return nil }
	}},
	{"the load goes on at BackupComplete and not at Thaw", "the load goes on", func(t *twin) {
		t.thaw = func(context.Context, *vss.ThawEvent) error { return nil }
		t.complete = func(ctx context.Context, ev *vss.BackupCompleteEvent) error {
			delete(t.frozen, ev.SessionID())
			t.settle()
			return t.journal.BackupComplete(ctx, ev)
		}
		t.shutdown = func(ctx context.Context, ev *vss.BackupShutdownEvent) error {
			delete(t.frozen, ev.SessionID())
			t.settle()
			return t.journal.BackupShutdown(ctx, ev)
		}
	}},
	{"Abort does not let transactions in", "the load goes on", func(t *twin) {
		t.abort = func(context.Context, *vss.AbortEvent) error { return nil }
	}},
	{"Abort fails where nothing is frozen", "Abort succeeds", func(t *twin) {
		t.abort = func(ctx context.Context, ev *vss.AbortEvent) error {
			if !t.frozen[ev.SessionID()] {
				return vss.ErrWriterErrorNonRetryable
			}
			return t.journal.Abort(ctx, ev)
		}
	}},
	{"Abort panics when it comes twice", "a writer does not panic", func(t *twin) {
		ended := map[guid.GUID]bool{}
		t.abort = func(ctx context.Context, ev *vss.AbortEvent) error {
			if ended[ev.SessionID()] {
				panic("aborted twice")
			}
			ended[ev.SessionID()] = true
			return t.journal.Abort(ctx, ev)
		}
	}},
	{"what PrepareBackup notes is kept from a set that was given up", "nothing of a set that was given up", func(t *twin) {
		var notes []string
		t.prepareBackup = func(ev *vss.PrepareBackupEvent) error { notes = append(notes, "log"); return nil }
		t.postSnapshot = func(ctx context.Context, ev *vss.PostSnapshotEvent) error {
			t.notes[ev.SessionID()], notes = notes, nil
			return t.journal.PostSnapshot(ctx, ev)
		}
	}},
	{"the state of one session serves for all", "the load goes on", func(t *twin) {
		var session guid.GUID // of the backup that is under way
		t.prepareBackup = func(ev *vss.PrepareBackupEvent) error {
			if session == (guid.GUID{}) {
				session = ev.SessionID()
			}
			return nil
		}
		t.thaw = func(ctx context.Context, ev *vss.ThawEvent) error {
			if ev.SessionID() != session {
				return nil // not ours
			}
			return t.journal.Thaw(ctx, ev)
		}
		t.shutdown = func(ctx context.Context, ev *vss.BackupShutdownEvent) error {
			delete(t.frozen, ev.SessionID())
			t.settle()
			return t.journal.BackupShutdown(ctx, ev)
		}
	}},
	{"Identify thaws", "nothing is written between Freeze", func(t *twin) {
		t.identify = func(ev *vss.IdentifyEvent) error {
			clear(t.frozen)
			t.settle()
			return describeJournal(ev.Metadata)
		}
	}},
	{"Identify fails while the journal is frozen", "Identify succeeds", func(t *twin) {
		t.identify = func(ev *vss.IdentifyEvent) error {
			if len(t.frozen) > 0 {
				return vss.ErrWriterErrorRetryable
			}
			return describeJournal(ev.Metadata)
		}
	}},
	{"Identify says no restore method", "the metadata keeps the rules", func(t *twin) {
		t.identify = func(ev *vss.IdentifyEvent) error {
			err := describeJournal(ev.Metadata)
			ev.Metadata.Restore = nil
			return err
		}
	}},
	{"Identify adds the instance's number to the caption", "the metadata is the same", func(t *twin) {
		n := 0
		t.identify = func(ev *vss.IdentifyEvent) error {
			err := describeJournal(ev.Metadata)
			n++
			ev.Metadata.Components[0].Caption = fmt.Sprint("Journal ", n)
			return err
		}
	}},
	{"the file sets leave the log out", "the file sets name all", func(t *twin) {
		t.identify = func(ev *vss.IdentifyEvent) error {
			err := describeJournal(ev.Metadata)
			ev.Metadata.Schema = vss.SchemaCopy
			ev.Metadata.Components[0].LogFiles = nil
			return err
		}
	}},
	{"the file sets name a file that is not there", "the file sets name all", func(t *twin) {
		t.identify = func(ev *vss.IdentifyEvent) error {
			err := describeJournal(ev.Metadata)
			c := &ev.Metadata.Components[0]
			c.DatabaseFiles = append(c.DatabaseFiles, vss.FileSet{FileSpec: vss.FileSpec{Path: `D:\journal`, Spec: "index"}})
			return err
		}
	}},
	{"two components have one name", "the metadata keeps the rules", func(t *twin) {
		t.identify = func(ev *vss.IdentifyEvent) error {
			err := describeJournal(ev.Metadata)
			ev.Metadata.Components = append(ev.Metadata.Components, ev.Metadata.Components[0])
			return err
		}
	}},
	{"PostSnapshot recovers the live log instead of the copy's", "the recovered image", func(t *twin) {
		t.postSnapshot = func(ctx context.Context, ev *vss.PostSnapshotEvent) error {
			device, err := ev.SnapshotDeviceName(`D:\`)
			if err != nil {
				return nil
			}
			files, err := ev.Service().Open(device)
			if w, ok := files.(vsstest.WritableFS); ok && err == nil {
				data, _ := t.volume.ReadFile(journalLog)
				err = w.WriteFile(journalLog, data)
			}
			return err
		}
	}},
	{"PostSnapshot writes to a copy that nobody may recover", "a backup in which nothing goes wrong", func(t *twin) {
		t.postSnapshot = func(_ context.Context, ev *vss.PostSnapshotEvent) error {
			device, err := ev.SnapshotDeviceName(`D:\`)
			if err != nil {
				return nil
			}
			if err := emptyLog(ev.Service(), device); err != nil {
				return vss.ErrWriterErrorRecoveryFailed
			}
			return nil
		}
	}},
	{"PostSnapshot takes for granted that its volume is in the set", "a set without the writer's volumes", func(t *twin) {
		t.postSnapshot = func(_ context.Context, ev *vss.PostSnapshotEvent) error {
			device, err := ev.SnapshotDeviceName(`D:\`)
			if err != nil {
				return retryable("PostSnapshot", err)
			}
			if ev.Context().Attributes()&vss.AttrAutoRecover == 0 {
				return nil
			}
			return emptyLog(ev.Service(), device)
		}
	}},
	{"PostSnapshot takes for granted that components were chosen", "a writer does not panic", func(t *twin) {
		t.postSnapshot = func(ctx context.Context, ev *vss.PostSnapshotEvent) error {
			_ = ev.Components().Component(vss.ComponentKey{Name: "journal"}).Key()
			return t.journal.PostSnapshot(ctx, ev)
		}
	}},
	{"BackupComplete truncates the log whether the files are safe or not", "logs are truncated only", func(t *twin) {
		t.complete = func(ctx context.Context, ev *vss.BackupCompleteEvent) error {
			return t.truncate(ctx, t.backedUp[ev.SessionID()])
		}
	}},
	{"a copy backup truncates the log", "logs are truncated only", func(t *twin) {
		t.complete = func(ctx context.Context, ev *vss.BackupCompleteEvent) error {
			c := ev.Components().Component(vss.ComponentKey{Name: "journal"})
			if c == nil || !c.BackupSucceeded() {
				return nil
			}
			return t.truncate(ctx, t.backedUp[ev.SessionID()])
		}
	}},
	{"BackupShutdown truncates the log", "logs are truncated only", func(t *twin) {
		t.complete = func(context.Context, *vss.BackupCompleteEvent) error { return nil }
		t.shutdown = func(ctx context.Context, ev *vss.BackupShutdownEvent) error {
			return errors.Join(t.truncate(ctx, t.backedUp[ev.SessionID()]), t.journal.BackupShutdown(ctx, ev))
		}
	}},
	{"PreRestore stays online", "nothing is written between PreRestore", func(t *twin) {
		t.preRestore = func(context.Context, *vss.PreRestoreEvent) error { return nil }
	}},
	{"PostRestore stays offline", "the load goes on", func(t *twin) {
		t.postRestore = func(ctx context.Context, ev *vss.PostRestoreEvent) error { return t.load(ctx) }
	}},
	{"PostRestore goes on with what was in memory", "PostRestore takes", func(t *twin) {
		t.postRestore = func(context.Context, *vss.PostRestoreEvent) error {
			t.offline = false
			t.settle()
			return nil
		}
	}},
	{"PostRestore fails with the code of the first file", "a handler that fails", func(t *twin) {
		t.postRestore = func(ctx context.Context, ev *vss.PostRestoreEvent) error {
			for _, c := range ev.Components().All() {
				if st, _ := c.FileRestoreStatus(); st != vss.FilesAll {
					t.offline = false
					t.settle()
					return os.ErrNotExist
				}
			}
			return t.journal.PostRestore(ctx, ev)
		}
	}},
	{"a start forgets the log that is ahead of the data", "the frozen image", func(t *twin) {
		for i := range t.balances {
			t.balances[i] = journalOpening
		}
		t.last, t.applied = 0, 0
	}},
	{"the load fails while the journal is frozen", "the load does not fail", func(t *twin) {
		t.work = func(ctx context.Context) error {
			if t.gate.IsShut() {
				return errors.New("the journal is frozen")
			}
			return t.journal.transact(ctx)
		}
	}},
	{"the stamp is the bytes of a number", "what the writer adds to the document", func(t *twin) {
		t.postSnapshot = func(ctx context.Context, ev *vss.PostSnapshotEvent) error {
			for _, c := range ev.Components().All() {
				if err := c.SetBackupStamp(string([]byte{0, byte(t.last)})); err != nil {
					return retryable("PostSnapshot", err)
				}
			}
			return t.journal.PostSnapshot(ctx, ev)
		}
	}},
	{"PostRestore fails although all files are back", "a restore in which nothing goes wrong", func(t *twin) {
		t.postRestore = func(ctx context.Context, ev *vss.PostRestoreEvent) error {
			if err := t.journal.PostRestore(ctx, ev); err != nil {
				return err
			}
			return ev.Fail(vss.ErrWriterErrorNonRetryable, "files are older than the journal")
		}
	}},
	{"the load asks for the end of the freeze without rest", "a backup comes to an end", func(t *twin) {
		t.work = func(ctx context.Context) error {
			for t.gate.IsShut() {
				if err := sim.Yield(ctx); err != nil {
					return err
				}
			}
			return t.journal.transact(ctx)
		}
	}},
	{"PrepareSnapshot freezes, and waits for the next transaction", "a handler returns", func(t *twin) {
		t.prepareSnapshot = func(ctx context.Context, _ *vss.PrepareSnapshotEvent) error {
			for was := t.last; t.last == was || len(t.frozen) > 0; {
				if err := sim.Sleep(context.WithoutCancel(ctx), time.Second); err != nil {
					return err
				}
				t.frozen[guid.GUID{}] = true
				t.settle()
			}
			return nil
		}
	}},
}

// patience is short where a twin is expected to be stuck for good; elsewhere a busy
// machine is given time.
func patience(breaks string) time.Duration {
	if strings.Contains(breaks, "waits only") {
		return time.Second
	}
	return 0
}

// Every twin is caught, by the promise that it breaks.
func TestJournalTwins(t *testing.T) {
	if racing {
		t.Skip("some of the broken twins are data races")
	}
	for _, m := range journalTwins {
		t.Run(m.mistake, func(t *testing.T) {
			o := journalOptions()
			o.Runs, o.Stuck = -1, patience(m.breaks)
			is := func(p vsstest.Promise) bool { return strings.HasPrefix(string(p), m.breaks) }
			err := vsstest.WriterUntil(func(ctx context.Context, env *vsstest.WriterEnv) (vss.Writer, error) {
				j, err := openJournal(ctx, env)
				w := &twin{journal: j}
				m.make(w)
				return w, err
			}, o, is)
			if !slices.ContainsFunc(vsstest.Promises(err), is) {
				t.Errorf("not caught; what was found is\n%v", err)
			}
		})
	}
}

// A twinNote is the note with a mistake.
type twinNote struct {
	*note
	freeze func(ctx context.Context) error
	thaw   func()
	abort  func()
}

func (t *twinNote) Freeze(ctx context.Context, _ *vss.FreezeEvent) error { return t.freeze(ctx) }

func (t *twinNote) Thaw(context.Context, *vss.ThawEvent) error {
	t.thaw()
	return nil
}

func (t *twinNote) Abort(context.Context, *vss.AbortEvent) error {
	t.abort()
	return nil
}

var noteTwins = []struct {
	mistake string
	breaks  string
	make    func(t *twinNote)
}{
	{"Freeze does not wait for the writing under way", "the frozen image", func(t *twinNote) {
		t.freeze = func(context.Context) error { t.gate.Shut(); return nil }
	}},
	{"freezes are counted, and an Abort without one makes the count wrong", "nothing is written between Freeze", func(t *twinNote) {
		count := 0
		move := func(by int) {
			if count += by; count > 0 {
				t.gate.Shut()
			} else {
				t.gate.Open()
			}
		}
		t.freeze = func(ctx context.Context) error {
			move(1)
			if err := t.turn.Lock(ctx); err != nil {
				move(-1)
				return vss.ErrWriterErrorTimeout
			}
			t.turn.Unlock()
			return nil
		}
		t.thaw, t.abort = func() { move(-1) }, func() { move(-1) }
	}},
	{"Freeze keeps the turn until it is thawed, and Abort does not give it back", "the load goes on", func(t *twinNote) {
		held := false
		t.freeze = func(ctx context.Context) error {
			err := t.turn.Lock(ctx)
			held = err == nil
			if err != nil {
				return vss.ErrWriterErrorTimeout
			}
			return nil
		}
		t.thaw = func() {
			if held {
				held = false
				t.turn.Unlock()
			}
		}
	}},
}

func TestNoteTwins(t *testing.T) {
	if racing {
		t.Skip("some of the broken twins are data races")
	}
	for _, m := range noteTwins {
		t.Run(m.mistake, func(t *testing.T) {
			o := noteOptions()
			o.Runs, o.Stuck = -1, patience(m.breaks)
			is := func(p vsstest.Promise) bool { return strings.HasPrefix(string(p), m.breaks) }
			err := vsstest.WriterUntil(func(_ context.Context, env *vsstest.WriterEnv) (vss.Writer, error) {
				n, err := openNote(env)
				w := &twinNote{note: n, thaw: func() { n.gate.Open() }, abort: func() { n.gate.Open() }}
				m.make(w)
				return w, err
			}, o, is)
			if !slices.ContainsFunc(vsstest.Promises(err), is) {
				t.Errorf("not caught; what was found is\n%v", err)
			}
		})
	}
}
