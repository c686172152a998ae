package vss_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// order lists the actors that an event began at, in order.
func order(w *sim.World, kind string) string {
	var names []string
	for _, e := range w.Trace().Select(kind) {
		names = append(names, strings.TrimPrefix(e.Actor, "h1/"))
	}
	return strings.Join(names, " ")
}

// times lists when an event began, and when it ended, at an actor.
func when(w *sim.World, kind, actor string) []time.Duration {
	var out []time.Duration
	for _, e := range w.Trace().Select(kind) {
		if e.Actor == actor {
			out = append(out, e.Time)
		}
	}
	return out
}

// Writers are frozen by level, front-end applications first although their number
// is the highest, and in the order of subscription within a level. They are
// thawed the other way round.
func TestFreezeOrder(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	var apps []*app
	for _, a := range []struct {
		name  string
		level vss.ApplicationLevel
	}{{"sys1", vss.LevelSystem}, {"rm", vss.LevelSystemRM}, {"back", vss.LevelBackEnd}, {"front", vss.LevelFrontEnd}, {"default", 0}, {"sys2", vss.LevelSystem}} {
		apps = append(apps, m.subscribe(a.name, vss.WriterConfig{Level: a.level}))
	}
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, append(apps, m.f, m.b)...)
		return errors.Join(err, b.DoSnapshotSet(ctx), b.Release(ctx))
	}))
	if got, want := order(m.w, "vss/freeze"), "F front default B back sys1 sys2 rm"; got != want {
		t.Errorf("frozen %s, not %s", got, want)
	}
	if got, want := order(m.w, "vss/thaw"), "rm sys2 sys1 back B default front F"; got != want {
		t.Errorf("thawed %s, not %s", got, want)
	}
	for _, kind := range []string{"vss/identify", "vss/prepare-backup", "vss/prepare-snapshot", "vss/post-snapshot", "vss/backup-shutdown"} {
		if got, want := order(m.w, kind), "F B sys1 rm back front default sys2"; got != want {
			t.Errorf("%s %s, not %s", kind, got, want)
		}
	}
	m.settled()
}

// A level is frozen only when the one before has answered, writers of one level
// side by side; and a round begins only when the one before is over.
func TestRoundsWaitForAll(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	f2 := m.subscribe("F2", vss.WriterConfig{})
	m.b.sleeps(vss.EventPrepareSnapshot, 7*time.Second)
	m.f.sleeps(vss.EventFreeze, 5*time.Second)
	f2.sleeps(vss.EventFreeze, 6*time.Second)
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b, f2)
		return errors.Join(err, b.DoSnapshotSet(ctx), b.Release(ctx))
	}))
	for _, tt := range []struct {
		kind, actor string
		at          time.Duration
	}{
		{"vss/freeze", "h1/F", 7 * time.Second},
		{"vss/freeze", "h1/F2", 7 * time.Second},
		{"vss/freeze", "h1/B", 13 * time.Second},
		{"vss/thaw", "h1/F", 13 * time.Second},
	} {
		if got := when(m.w, tt.kind, tt.actor); len(got) != 1 || got[0] != tt.at {
			t.Errorf("%s at %s: %v, not %v", tt.kind, tt.actor, got, tt.at)
		}
	}
	m.settled()
}

// The window is each writer's own, from its Freeze to its Thaw; it ends by itself
// also when the writer has long answered.
func TestFreezeWindowIsPerWriter(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{}, sim.Plan("provider/pre-commit delay=25s"))
	quick := m.subscribe("quick", vss.WriterConfig{Level: vss.LevelSystem, FreezeTimeout: 20 * time.Second})
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b, quick)
		if err := errors.Join(err, b.DoSnapshotSet(ctx)); err != nil {
			return err
		}
		state, code, err := status(ctx, b, quick)
		if state != vss.StateFailedAtFreeze || code != vss.ErrWriterErrorTimeout {
			t.Errorf("quick is %v, %v", state, code)
		}
		state, code, e := status(ctx, b, m.f)
		if state != vss.StateWaitingForBackupComplete || code != vss.SOK {
			t.Errorf("F is %v, %v", state, code)
		}
		return errors.Join(err, e, b.Release(ctx))
	}))
	if got := when(m.w, "vss/abort", "h1/quick"); len(got) != 1 || got[0] != 20*time.Second {
		t.Errorf("aborted at %v", got)
	}
	if slices.Contains(quick.heard, "Thaw") {
		t.Error("thawed after Abort")
	}
	quick.sub.Unsubscribe() // its failure would show until its next session
	m.settled()
}

// A handler that overruns its window runs on with a context that has ended, and
// Abort runs beside it.
func TestOverrunRunsOnBesideAbort(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	var ended, aborted time.Duration
	m.f.on[vss.EventFreeze] = func(ctx context.Context, _ any) error {
		err := sim.Sleep(ctx, 2*time.Minute)
		if !errors.Is(err, context.Canceled) || ctx.Err() == nil {
			t.Errorf("the context: %v, %v", err, ctx.Err())
		}
		ended = sim.Now(ctx)
		return nil
	}
	m.f.on[vss.EventAbort] = func(ctx context.Context, _ any) error {
		aborted = sim.Now(ctx)
		return sim.Sleep(ctx, time.Second)
	}
	_, err := m.backup2()
	if !errors.Is(err, vss.ErrWriterErrorTimeout) || ended != time.Minute || aborted != time.Minute {
		t.Errorf("%v; ended at %v, aborted at %v", err, ended, aborted)
	}
	m.settled()
}

// Whoever was frozen gets exactly one of Thaw and Abort, also one that set a
// failure and returned true.
func TestThawOrAbortFollowsFreeze(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.f.sets(vss.EventFreeze, retryable)
	_, err := m.backup2()
	if !errors.Is(err, retryable) {
		t.Error(err)
	}
	if !slices.Contains(m.f.heard, "Thaw") {
		t.Errorf("F heard %v", m.f.heard)
	}
	m.settled()
}

// Identify may come in the middle of a session and touches nothing.
func TestIdentifyInsideASession(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.f.on[vss.EventFreeze] = func(ctx context.Context, _ any) error {
		b, err := m.s.CreateBackupComponents(ctx)
		return errors.Join(err, b.InitializeForBackup(ctx, nil), b.GatherWriterMetadata(ctx), b.Release(ctx))
	}
	_, err := m.backup2()
	m.must(err)
	if got := order(m.w, "vss/identify"); got != "F B F B" {
		t.Error(got)
	}
	m.settled()
}

// In contexts without writers AddComponent, PrepareForBackup and BackupComplete
// are out of order, no writer hears of the set, and the copies are made as ever.
func TestContextsWithoutWriters(t *testing.T) {
	for _, c := range []vss.SnapshotContext{vss.ContextFileShareBackup, vss.ContextNASRollback, vss.ContextClientAccessible} {
		t.Run(c.String(), func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{})
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.s.CreateBackupComponents(ctx)
				err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetContext(ctx, c), b.GatherWriterMetadata(ctx),
					b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupCopy}))
				_, e := b.StartSnapshotSet(ctx)
				id, e2 := b.AddToSnapshotSet(ctx, `D:\`, guid.GUID{})
				for what, e := range map[string]error{
					"AddComponent": b.AddComponent(ctx, m.f.key()), "PrepareForBackup": b.PrepareForBackup(ctx),
				} {
					if !errors.Is(e, vss.ErrBadState) {
						t.Errorf("%s: %v", what, e)
					}
				}
				err = errors.Join(err, e, e2, b.DoSnapshotSet(ctx))
				if e := b.BackupComplete(ctx); !errors.Is(e, vss.ErrBadState) {
					t.Errorf("BackupComplete: %v", e)
				}
				p, e := b.GetSnapshotProperties(id)
				if p.Attributes&^(vss.AttrDifferential|vss.AttrNotSurfaced) != c.Attributes() {
					t.Errorf("attributes %v", p.Attributes)
				}
				return errors.Join(err, e, b.Release(ctx))
			}))
			if got := m.f.heard; !slices.Equal(got, []string{"Identify"}) {
				t.Errorf("F heard %v", got)
			}
			if want := map[bool]int{true: 0, false: 1}[c.AutoRelease()]; len(m.s.Snapshots()) != want || len(m.d.shadows) != want {
				t.Errorf("%d copies are left, not %d", len(m.s.Snapshots()), want)
			}
		})
	}
}
