package vss_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A coordinator is a transaction manager for tests.
type coordinator struct {
	name         string
	frozen       bool
	freeze, thaw error
	steps        []string
}

func (c *coordinator) Name() string { return c.name }

func (c *coordinator) FreezeTransactions(context.Context) error {
	c.frozen = true
	c.steps = append(c.steps, "freeze")
	return c.freeze
}

func (c *coordinator) ThawTransactions(context.Context) error {
	c.frozen = false
	c.steps = append(c.steps, "thaw")
	return c.thaw
}

// TestTransactionManagers: they are frozen behind the writers and thawed before
// them; a failure has its own code; what failed leaves none frozen; a context
// with NOT_TRANSACTED leaves them alone.
func TestTransactionManagers(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name         string
		freeze, thaw error
		plan         string
		attributes   vss.SnapshotAttributes
		want         vss.HRESULT
		second       string // what the second manager did
	}{
		{name: "fine", second: "[freeze thaw]"},
		{name: "the first does not freeze", freeze: broken, want: vss.ErrTransactionFreezeTimeout, second: "[]"},
		{name: "the first does not thaw", thaw: broken, want: vss.ErrTransactionThawTimeout, second: "[freeze thaw]"},
		{name: "a fault at the freeze", plan: "vss/transaction-freeze err=0x80004005", want: vss.ErrTransactionFreezeTimeout, second: "[]"},
		{name: "a fault at the thaw", plan: "vss/transaction-thaw err=0x80004005", want: vss.ErrTransactionThawTimeout, second: "[freeze thaw]"},
		{name: "a provider fails between", plan: "provider/commit err=0x80042306", want: vss.ErrProviderVeto, second: "[freeze thaw]"},
		{name: "not transacted", freeze: broken, attributes: vss.AttrNotTransacted, second: "[]"},
		{name: "not transacted, faults or not", plan: "vss/transaction-freeze err=0x80004005", attributes: vss.AttrNotTransacted, second: "[]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ktm, dtc := &coordinator{name: "KTM", freeze: tt.freeze, thaw: tt.thaw}, &coordinator{name: "DTC"}
			m := newMachine(t, vss.ServiceConfig{TransactionManagers: []vss.TransactionManager{ktm, dtc}}, sim.Plan(plan(tt.plan)...))
			m.f.on[vss.EventFreeze] = func(context.Context, any) error {
				if ktm.frozen {
					t.Error("transactions are frozen before the writers")
				}
				return nil
			}
			m.f.on[vss.EventThaw] = func(context.Context, any) error {
				if ktm.frozen || dtc.frozen {
					t.Error("the writers thaw before transactions do")
				}
				return nil
			}
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.s.CreateBackupComponents(ctx)
				err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetContext(ctx, vss.ContextBackup.With(tt.attributes)),
					b.SetBackupState(ctx, vss.BackupState{Type: vss.BackupFull}), b.GatherWriterMetadata(ctx))
				_, e := b.StartSnapshotSet(ctx)
				_, e2 := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{})
				err = errors.Join(err, e, e2, b.PrepareForBackup(ctx))
				if got := b.DoSnapshotSet(ctx); vss.HRESULTOf(got) != tt.want {
					t.Errorf("%v, not %v", got, tt.want)
				}
				return errors.Join(err, b.AbortBackup(ctx), b.Release(ctx))
			}))
			if ktm.frozen || dtc.frozen || fmt.Sprint(dtc.steps) != tt.second {
				t.Errorf("frozen %v and %v, the second did %v", ktm.frozen, dtc.frozen, dtc.steps)
			}
			ktm.freeze, ktm.thaw = nil, nil
			m.settled()
		})
	}
}

// A healer is a volume whose file system recovers its copies.
type healer struct {
	*disk
	healed []guid.GUID
	err    error
}

func (h *healer) RecoverShadow(_ context.Context, id [16]byte) error {
	if s, err := h.find(id); err != nil || s.sealed {
		return errors.Join(errors.New("not there, or sealed"), err)
	}
	h.healed = append(h.healed, id)
	return h.err
}

// TestAutoRecovery: the system recovers the copies before PostSnapshot, on all
// volumes of the set and whether a component asked for it or not; a failure is
// AUTORECOVERY_FAILED from DoSnapshotSet; NO_AUTORECOVERY leaves the copies alone.
func TestAutoRecovery(t *testing.T) {
	for _, tt := range []struct {
		name    string
		context vss.SnapshotContext
		err     error
		plan    string
		want    vss.HRESULT
		healed  int
	}{
		{name: "fine", healed: 1},
		{name: "it fails", err: errors.New("corrupt"), want: vss.ErrAutoRecoveryFailed, healed: 1},
		{name: "a fault", plan: "volume/recover on=h1/vss/E: err=0x80004005", want: vss.ErrAutoRecoveryFailed},
		{name: "on a volume without recovery of its own", plan: "volume/recover on=h1/vss/D: err=0x80004005", want: vss.ErrAutoRecoveryFailed},
		{name: "forbidden", context: vss.ContextFileShareBackup.With(vss.AttrNoAutoRecovery), err: errors.New("corrupt")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{}, sim.Plan(plan(tt.plan)...))
			h := &healer{disk: newDisk("E:"), err: tt.err}
			m.must(m.s.AddVolume(h))
			c := tt.context
			if c == 0 {
				c = vss.ContextFileShareBackup
			}
			m.must(m.as(func(ctx context.Context) error {
				b, _, err := m.take(ctx, c, `D:\`, `E:\`)
				if vss.HRESULTOf(err) != tt.want {
					t.Errorf("%v, not %v", err, tt.want)
				}
				return b.Release(ctx)
			}))
			if len(h.healed) != tt.healed || len(h.shadows) != 0 {
				t.Errorf("%d recovered, %d left", len(h.healed), len(h.shadows))
			}
			m.settled()
		})
	}
}

// TestRecoveryAttribute: AUTORECOVER is in the context, in PostSnapshot, and on the
// copy exactly if a chosen component needs recovery there and nothing forbids it.
func TestRecoveryAttribute(t *testing.T) {
	rollback := vss.ContextAppRollback.With(vss.AttrRollbackRecovery)
	for _, tt := range []struct {
		flags   vss.ComponentFlags
		context vss.SnapshotContext
		chosen  bool
		want    bool
	}{
		{0, vss.ContextBackup, true, false},
		{vss.FlagBackupRecovery, vss.ContextBackup, true, true},
		{vss.FlagBackupRecovery, vss.ContextBackup, false, false},
		{vss.FlagBackupRecovery, vss.ContextBackup.With(vss.AttrNoAutoRecovery), true, false},
		{vss.FlagAppRollbackRecovery, vss.ContextBackup, true, false},
		{vss.FlagAppRollbackRecovery, rollback, true, true},
	} {
		t.Run(fmt.Sprintf("%v in %v, chosen %v", tt.flags, tt.context, tt.chosen), func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{})
			m.b.flags = tt.flags
			seen := map[vss.Event]bool{}
			for _, e := range []vss.Event{vss.EventFreeze, vss.EventPostSnapshot} {
				m.f.on[e] = func(_ context.Context, ev any) error {
					c := ev.(interface{ Context() vss.SnapshotContext }).Context()
					seen[e] = c.Attributes()&vss.AttrAutoRecover != 0
					return nil
				}
			}
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.s.CreateBackupComponents(ctx)
				err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetContext(ctx, tt.context),
					b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}), b.GatherWriterMetadata(ctx), addAll(ctx, b, []*app{m.f}))
				if tt.chosen {
					err = errors.Join(err, addAll(ctx, b, []*app{m.b}))
				}
				_, e := b.StartSnapshotSet(ctx)
				id, e2 := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{})
				err = errors.Join(err, e, e2, b.PrepareForBackup(ctx), b.DoSnapshotSet(ctx))
				p, e := b.GetSnapshotProperties(id)
				if got := p.Attributes&vss.AttrAutoRecover != 0; got != tt.want {
					t.Errorf("the copy has %v", p.Attributes)
				}
				_, e2 = b.DeleteSnapshots(ctx, id, vss.ObjectSnapshot, true)
				return errors.Join(err, e, e2, b.Release(ctx))
			}))
			if seen[vss.EventFreeze] || seen[vss.EventPostSnapshot] != tt.want {
				t.Errorf("the writer sees it: %v", seen)
			}
		})
	}
}

// TestStrictVetoes: where vetoes fail the set, each event of DoSnapshotSet does so
// with the writer's code, in both forms of a failure, and so does a freeze window
// that runs out. By default none of them does.
func TestStrictVetoes(t *testing.T) {
	type step struct {
		name  string
		setUp func(m *machine)
		plan  string
		code  vss.HRESULT
	}
	var steps []step
	for _, e := range []vss.Event{vss.EventPrepareSnapshot, vss.EventFreeze, vss.EventThaw, vss.EventPostSnapshot} {
		steps = append(steps,
			step{e.String() + " returns false", func(m *machine) { m.b.fails(e, retryable) }, "", retryable},
			step{e.String() + " sets a failure", func(m *machine) { m.b.sets(e, retryable) }, "", retryable})
	}
	steps = append(steps,
		step{"the window runs out in Freeze", func(m *machine) { m.b.sleeps(vss.EventFreeze, 2*time.Minute) }, "", timedOut},
		step{"the window runs out behind it", func(*machine) {}, "provider/pre-commit delay=61s", timedOut})
	for _, s := range steps {
		for _, strict := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, strict %v", s.name, strict), func(t *testing.T) {
				m := newMachine(t, vss.ServiceConfig{VetoFailsSet: strict}, sim.Plan(plan(s.plan)...))
				s.setUp(m)
				m.must(m.as(func(ctx context.Context) error {
					b, err := m.prepared(ctx, m.f, m.b)
					got := b.DoSnapshotSet(ctx)
					if strict && !errors.Is(got, s.code) || !strict && got != nil {
						t.Errorf("%v", got)
					}
					state, code, e := status(ctx, b, m.b)
					if !state.Failed() || code != s.code {
						t.Errorf("the writer is %v, %v", state, code)
					}
					return errors.Join(err, e, b.AbortBackup(ctx), b.Release(ctx))
				}))
				m.must(m.w.Advance(5 * time.Minute))
				m.settled()
			})
		}
	}
}

// TestAbortAfterPostSnapshot: by default writers that have had PostSnapshot are
// not sent Abort by AbortBackup; the other reading sends it.
func TestAbortAfterPostSnapshot(t *testing.T) {
	for _, sent := range []bool{false, true} {
		m := newMachine(t, vss.ServiceConfig{AbortAfterPostSnapshot: sent})
		m.must(m.as(func(ctx context.Context) error { return abortAfter(ctx, m) }))
		if got := slices.Contains(m.f.heard, "Abort"); got != sent {
			t.Errorf("%v: F heard %v", sent, m.f.heard)
		}
		if st := m.f.sub.Status(); st.State != vss.StateStable {
			t.Errorf("%v: F is %v", sent, st.State)
		}
		m.settled()
	}
}

// TestEmptySet: a set without volumes is made where writers' components name none.
func TestEmptySet(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{Type: vss.BackupFull}), b.GatherWriterMetadata(ctx))
		_, e := b.StartSnapshotSet(ctx)
		return errors.Join(err, e, b.PrepareForBackup(ctx), b.DoSnapshotSet(ctx), b.BackupComplete(ctx), b.Release(ctx))
	}))
	if !slices.Contains(m.f.heard, "PostSnapshot") {
		t.Errorf("F heard %v", m.f.heard)
	}
	m.settled()
}

// TestBackupWithoutSnapshot: files that need no copy are backed up without
// DoSnapshotSet; no event of the copy comes, and the stamps are set in
// PrepareBackup.
func TestBackupWithoutSnapshot(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.b.on[vss.EventPrepareBackup] = func(_ context.Context, ev any) error {
		return ev.(*vss.PrepareBackupEvent).Components().All()[0].SetBackupStamp("live")
	}
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, b.SetBackupSucceeded(ctx, m.b.key(), true), b.BackupComplete(ctx))
		w, e := b.GetWriterComponents(1)
		if r := w.Components[0]; r.BackupStamp != "live" || !r.BackupSucceeded {
			t.Errorf("%+v", r)
		}
		return errors.Join(err, e, b.Release(ctx))
	}))
	want := "Identify PrepareBackup BackupComplete BackupShutdown"
	if got := strings.Join(m.b.heard, " "); got != want {
		t.Errorf("B heard %s", got)
	}
	m.settled()
}

// TestCreationLock: the machine makes one set at a time. The lock is free again
// when DoSnapshotSet has returned, well or not, when the set is given up, and when
// its requester is gone.
func TestCreationLock(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(ctx context.Context, m *machine, b *vss.BackupComponents) error
		held bool
	}{
		{"AddToSnapshotSet", func(context.Context, *machine, *vss.BackupComponents) error { return nil }, true},
		{"GatherWriterStatus", func(ctx context.Context, _ *machine, b *vss.BackupComponents) error { return b.GatherWriterStatus(ctx) }, true},
		{"DoSnapshotSet", func(ctx context.Context, _ *machine, b *vss.BackupComponents) error { return b.DoSnapshotSet(ctx) }, false},
		{"a failed DoSnapshotSet", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			m.c.flush = func(context.Context) error { return errors.New("broken") }
			err := b.DoSnapshotSet(ctx)
			m.c.flush = nil
			if !errors.Is(err, vss.ErrFlushWritesTimeout) {
				return fmt.Errorf("it did not fail: %v", err)
			}
			return nil
		}, false},
		{"a cancelled DoSnapshotSet", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			m.f.sleeps(vss.EventFreeze, 10*time.Second)
			a, err := b.StartDoSnapshotSet(ctx)
			if err != nil {
				return err
			}
			if _, err := a.Cancel(ctx); err != nil {
				return err
			}
			clear(m.f.on)
			return nil
		}, false},
		{"BackupComplete without a copy", func(ctx context.Context, _ *machine, b *vss.BackupComponents) error { return b.BackupComplete(ctx) }, false},
		{"AbortBackup", func(ctx context.Context, _ *machine, b *vss.BackupComponents) error { return b.AbortBackup(ctx) }, false},
		{"Release", func(ctx context.Context, _ *machine, b *vss.BackupComponents) error { return b.Release(ctx) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{})
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.prepared(ctx, m.f, m.b)
				if err := errors.Join(err, tt.end(ctx, m, b)); err != nil {
					return err
				}
				before := sim.Now(ctx)
				second, err := m.prepared(ctx, m.f, m.b)
				if errors.Is(err, vss.ErrSnapshotSetInProgress) != tt.held || !tt.held && err != nil {
					t.Errorf("the second requester: %v", err)
				}
				if sim.Now(ctx) != before {
					t.Error("the second requester waited")
				}
				return errors.Join(second.Release(ctx), b.Release(ctx))
			}))
			m.settled()
		})
	}
	t.Run("death", func(t *testing.T) {
		m := newMachine(t, vss.ServiceConfig{})
		_ = m.as(func(ctx context.Context) error {
			_, err := m.prepared(ctx, m.f, m.b)
			m.requester.Kill()
			return err
		})
		m.must(m.w.Advance(time.Second))
		m.settled()
	})
}
