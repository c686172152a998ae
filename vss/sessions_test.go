package vss_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// gather makes an object, lets the test set filters, and gathers.
func (m *machine) gather(ctx context.Context, filter func(b *vss.BackupComponents) error) ([]string, error) {
	b, err := m.s.CreateBackupComponents(ctx)
	err = errors.Join(err, b.InitializeForBackup(ctx, nil), filter(b), b.GatherWriterMetadata(ctx))
	n, e := b.GetWriterMetadataCount()
	var names []string
	for i := range n {
		md, e := b.GetWriterMetadata(i)
		err = errors.Join(err, e)
		names = append(names, md.Identity.FriendlyName)
	}
	return names, errors.Join(err, e, b.Release(ctx))
}

// The filters: nothing called enables all; disabling accumulates; the first
// enabling cancels all disabling; single instances can be switched off.
func TestWriterFilters(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	g := m.subscribe("G", vss.WriterConfig{})
	for _, tt := range []struct {
		name   string
		filter func(ctx context.Context, b *vss.BackupComponents) error
		want   []string
	}{
		{"none", func(context.Context, *vss.BackupComponents) error { return nil }, []string{"F", "B", "G"}},
		{"disable", func(ctx context.Context, b *vss.BackupComponents) error {
			return errors.Join(b.DisableWriterClasses(ctx, m.f.class), b.DisableWriterClasses(ctx, g.class))
		}, []string{"B"}},
		{"enable cancels disable", func(ctx context.Context, b *vss.BackupComponents) error {
			return errors.Join(b.DisableWriterClasses(ctx, m.f.class), b.EnableWriterClasses(ctx, m.f.class))
		}, []string{"F"}},
		{"instance", func(ctx context.Context, b *vss.BackupComponents) error {
			return b.DisableWriterInstances(ctx, m.b.sub.InstanceID())
		}, []string{"F", "G"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m.must(m.as(func(ctx context.Context) error {
				got, err := m.gather(ctx, func(b *vss.BackupComponents) error { return tt.filter(ctx, b) })
				if !slices.Equal(got, tt.want) {
					t.Errorf("%v, not %v", got, tt.want)
				}
				return err
			}))
		})
	}
}

// A filter after GatherWriterMetadata has no effect and is no error.
func TestLateFilter(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		return errors.Join(err, b.DisableWriterClasses(ctx, m.f.class), b.DoSnapshotSet(ctx), b.Release(ctx))
	}))
	if !slices.Contains(m.f.heard, "Freeze") {
		t.Errorf("F heard %v", m.f.heard)
	}
}

// In component mode a writer without a component hears nothing after Identify;
// without component mode everybody hears everything.
func TestWhoTakesPart(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f)
		return errors.Join(err, b.DoSnapshotSet(ctx), b.BackupComplete(ctx), b.Release(ctx))
	}))
	if got := m.b.heard; !slices.Equal(got, []string{"Identify"}) {
		t.Errorf("B heard %v", got)
	}
	m.b.heard = nil
	m.must(m.as(func(ctx context.Context) error { return wholeBackup(ctx, m.s) }))
	want := []string{"Identify", "PrepareBackup", "PrepareSnapshot", "Freeze", "Thaw", "PostSnapshot", "BackupComplete", "BackupShutdown"}
	if !slices.Equal(m.b.heard, want) {
		t.Errorf("B heard %v", m.b.heard)
	}
}

// A writer that fails Identify is in no list and hears nothing more.
func TestFailedIdentify(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.b.fails(vss.EventIdentify, retryable)
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, b.DoSnapshotSet(ctx), b.GatherWriterStatus(ctx))
		if n, _ := b.GetWriterStatusCount(); n != 1 {
			t.Errorf("%d statuses", n)
		}
		return errors.Join(err, b.Release(ctx))
	}))
	if got := m.b.heard; !slices.Equal(got, []string{"Identify"}) {
		t.Errorf("B heard %v", got)
	}
	m.settled()
}

// A failed state is what a query outside of a session shows until the writer joins
// another one; a requester of its own sees it until then.
func TestStatusOutsideOfASession(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.b.fails(vss.EventPostSnapshot, vss.ErrWriterErrorOutOfResources)
	_, err := m.backup2()
	if !errors.Is(err, vss.ErrWriterErrorOutOfResources) {
		t.Fatal(err)
	}
	if st := m.b.sub.Status(); st.State != vss.StateFailedAtPostSnapshot || st.Code != vss.ErrWriterErrorOutOfResources {
		t.Errorf("outside it is %v, %v", st.State, st.Code)
	}
	clear(m.b.on)
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.GatherWriterMetadata(ctx))
		state, _, e := status(ctx, b, m.b)
		if state != vss.StateFailedAtPostSnapshot {
			t.Errorf("before the session %v", state)
		}
		return errors.Join(err, e, b.Release(ctx))
	}))
	m.settled()
	if st := m.b.sub.Status(); st.State != vss.StateStable || st.Err() != nil {
		t.Errorf("after the next backup %v, %v", st.State, st.Err())
	}
}

// A writer that dies is reported as not responding; started anew it has another
// instance and no part in the old session.
func TestWriterRestart(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	old := m.b
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		old.actor.Kill()
		m.b = m.subscribe("B", vss.WriterConfig{Level: vss.LevelBackEnd})
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		state, code, e := status(ctx, b, old)
		if state != vss.StateUnknown || code != vss.ErrWriterNotResponding {
			t.Errorf("%v, %v", state, code)
		}
		return errors.Join(err, e, b.Release(ctx))
	}))
	if len(m.b.heard) != 0 || m.b.sub.InstanceID() == old.sub.InstanceID() {
		t.Errorf("the new one heard %v", m.b.heard)
	}
	m.settled()
}

// A writer that is gone between PreRestore and PostRestore fails PostRestore; the
// other one hears of it all the same.
func TestWriterLostInRestore(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	xml, err := m.backup2()
	m.must(err)
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.restoring(ctx, xml)
		err = errors.Join(err, b.PreRestore(ctx))
		m.f.actor.Kill()
		if e := b.PostRestore(ctx); !errors.Is(e, vss.ErrUnexpectedWriterError) {
			t.Errorf("PostRestore: %v", e)
		}
		return errors.Join(err, b.Release(ctx))
	}))
	if !slices.Contains(m.b.heard, "PostRestore") {
		t.Errorf("B heard %v", m.b.heard)
	}
	m.settled()
}

// Several sessions at once: only making sets is serialised. A writer with room for
// one session loses the status of the older one.
func TestSeveralSessions(t *testing.T) {
	for _, room := range []int{0, 1} {
		m := newMachine(t, vss.ServiceConfig{WriterSessions: room})
		m.must(m.as(func(ctx context.Context) error {
			first, err := m.prepared(ctx, m.f, m.b)
			err = errors.Join(err, first.DoSnapshotSet(ctx))
			second, e := m.prepared(ctx, m.f, m.b)
			err = errors.Join(err, e, second.DoSnapshotSet(ctx))
			_, code, e := status(ctx, first, m.f)
			if want := map[int]vss.HRESULT{0: vss.SOK, 1: vss.ErrWriterStatusNotAvailable}[room]; code != want {
				t.Errorf("room for %d: %v", room, code)
			}
			return errors.Join(err, e, second.BackupComplete(ctx), second.Release(ctx), first.BackupComplete(ctx), first.Release(ctx))
		}))
		m.settled()
	}
}

// BackupShutdown carries the set, or the null GUID where there was none.
func TestBackupShutdownSet(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	var got []guid.GUID
	m.f.on[vss.EventBackupShutdown] = func(_ context.Context, ev any) error {
		got = append(got, ev.(*vss.BackupShutdownEvent).SnapshotSetID())
		return nil
	}
	m.must(m.as(func(ctx context.Context) error { return errors.Join(prepareOnly(ctx, m), snapshot(ctx, m)) }))
	if len(got) != 2 || got[0] != (guid.GUID{}) || got[1] == (guid.GUID{}) {
		t.Errorf("%v", got)
	}
	m.settled()
}

// A panic in a handler is the writer's failure, and a code that a writer may not
// report counts as not retryable.
func TestHandlersThatMisbehave(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.f.on[vss.EventPrepareSnapshot] = func(context.Context, any) error { panic("oops") }
	m.b.on[vss.EventPrepareSnapshot] = func(_ context.Context, ev any) error {
		if err := ev.(*vss.PrepareSnapshotEvent).Fail(vss.ErrBadState, ""); !errors.Is(err, vss.ErrInvalidArg) {
			t.Errorf("Fail: %v", err)
		}
		return vss.ErrBadState
	}
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		for _, a := range []*app{m.f, m.b} {
			state, code, e := status(ctx, b, a)
			if state != vss.StateFailedAtPrepareSnapshot || code != vss.ErrWriterErrorNonRetryable {
				t.Errorf("%s is %v, %v", a.name, state, code)
			}
			err = errors.Join(err, e)
		}
		return errors.Join(err, b.AbortBackup(ctx), b.Release(ctx))
	}))
	if len(m.w.Panics()) != 1 {
		t.Errorf("%d panics", len(m.w.Panics()))
	}
	m.settled()
}

// A window for an event other than Freeze: a writer that takes longer does not
// respond, and the others go on.
func TestEventWindows(t *testing.T) {
	for _, e := range []vss.Event{vss.EventIdentify, vss.EventPrepareBackup, vss.EventPrepareSnapshot, vss.EventThaw, vss.EventPostSnapshot, vss.EventBackupComplete} {
		t.Run(e.String(), func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{Windows: map[vss.Event]time.Duration{e: time.Minute}}, sim.Plan(e.Kind()+" on=h1/F hang"))
			_, err := m.backup2()
			if e != vss.EventIdentify && !errors.Is(err, vss.ErrWriterNotResponding) && !errors.Is(err, vss.ErrUnexpectedWriterError) {
				t.Errorf("%v", err)
			}
			if m.w.Now() != time.Minute {
				t.Errorf("it took %v", m.w.Now())
			}
			m.f.frozen = false // it was told by its context alone
			m.settled()
		})
	}
}

// A writer that hangs in the Abort its own refusal raised holds the set up only
// as long as Abort may take.
func TestLocalAbortHangs(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{Windows: map[vss.Event]time.Duration{vss.EventAbort: time.Minute}}, sim.Plan("vss/abort on=h1/F hang"))
	m.f.fails(vss.EventFreeze, retryable)
	if _, err := m.backup2(); !errors.Is(err, vss.ErrWriterNotResponding) || m.w.Now() != time.Minute {
		t.Errorf("%v after %v", err, m.w.Now())
	}
	m.f.frozen = false
	m.settled()
}

// The strict reading of a veto fails the set with the writer's code.
func TestVetoFailsSet(t *testing.T) {
	for _, e := range []vss.Event{vss.EventPrepareSnapshot, vss.EventFreeze} {
		m := newMachine(t, vss.ServiceConfig{VetoFailsSet: true})
		m.b.fails(e, retryable)
		m.must(m.as(func(ctx context.Context) error {
			b, err := m.prepared(ctx, m.f, m.b)
			if e := b.DoSnapshotSet(ctx); !errors.Is(e, retryable) {
				t.Errorf("%v", e)
			}
			return errors.Join(err, b.Release(ctx))
		}))
		if !slices.Contains(m.f.heard, "Abort") || slices.Contains(m.f.heard, "PostSnapshot") {
			t.Errorf("F heard %v", m.f.heard)
		}
		m.settled()
	}
}
