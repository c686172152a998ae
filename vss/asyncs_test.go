package vss_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// Every operation can be started, polled, and waited for, from ordinary code.
func TestStartedOperations(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	ctx := t.Context()
	await := func(a *vss.Async, err error) {
		t.Helper()
		m.must(err)
		if a.Err() != nil {
			t.Error("it has failed before it began")
		}
		m.must(a.Wait(ctx), a.Err())
		if h, err := a.QueryStatus(ctx); h != vss.AsyncFinished || err != nil {
			t.Errorf("%v, %v", h, err)
		}
	}
	b, err := m.s.CreateBackupComponents(ctx)
	m.must(err, b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}))
	await(b.StartGatherWriterMetadata(ctx))
	m.must(addAll(ctx, b, []*app{m.f, m.b}))
	_, err = b.StartSnapshotSet(ctx)
	m.must(err)
	_, err = b.AddToSnapshotSet(ctx, `D:\`, guid.GUID{})
	m.must(err)
	await(b.StartPrepareForBackup(ctx))
	await(b.StartDoSnapshotSet(ctx))
	await(b.StartGatherWriterStatus(ctx))
	m.must(b.FreeWriterStatus())
	if _, err := b.GetWriterStatusCount(); !errors.Is(err, vss.ErrBadState) {
		t.Error(err)
	}
	await(b.StartBackupComplete(ctx))
	xml, err := b.SaveAsXML()
	m.must(err, b.Release(ctx), b.Release(ctx))
	r, err := m.restoring(ctx, xml)
	m.must(err)
	await(r.StartPreRestore(ctx))
	await(r.StartPostRestore(ctx))
	m.must(r.Release(ctx))
	m.settled()
}

// Several goroutines of a product may use objects of their own at once.
func TestSeveralGoroutines(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			errs[i] = func() error {
				ctx := context.Background()
				b, err := m.s.CreateBackupComponents(ctx)
				err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.GatherWriterMetadata(ctx))
				for range 3 {
					err = errors.Join(err, b.GatherWriterStatus(ctx))
				}
				return errors.Join(err, b.Release(ctx))
			}()
		})
	}
	wg.Wait()
	m.must(errs...)
	m.settled()
}

// What a requester set up is what a writer reads in its events.
func TestWritersReadTheState(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	var got []string
	note := func(_ context.Context, ev any) error {
		e := ev.(interface {
			BackupType() vss.BackupType
			ComponentsSelected() bool
			BootableSystemState() bool
			PartialFiles() bool
			RestoreType() vss.RestoreType
			SessionID() guid.GUID
			Service() *vss.Service
			Components() *vss.WriterComponents
		})
		c := e.Components().All()[0]
		if e.Service() != m.s || e.SessionID() == (guid.GUID{}) || c.Key().Name != "B" || c.Type() != vss.ComponentFileGroup ||
			c.Record().Name != "B" || e.Components().InstanceID() != m.b.sub.InstanceID() {
			t.Errorf("the event is not of this service, or about another component")
		}
		got = append(got, fmt.Sprintf("%v %v %v %v %v %v %q %q", e.BackupType(), e.ComponentsSelected(), e.BootableSystemState(), e.PartialFiles(),
			e.RestoreType(), c.AdditionalRestores(), c.RestoreMetadata(), c.Record().RestoreOptions))
		return nil
	}
	m.b.on[vss.EventPrepareBackup] = note
	m.b.on[vss.EventPreRestore] = func(ctx context.Context, ev any) error {
		err := note(ctx, ev)
		return errors.Join(err, ev.(*vss.PreRestoreEvent).Components().All()[0].SetRestoreMetadata([]byte("kept")))
	}
	m.b.on[vss.EventPostRestore] = note
	xml, err := m.backup2()
	m.must(err)
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.restoring(ctx, xml)
		return errors.Join(err, b.SetRestoreState(ctx, vss.RestoreByCopy), b.SetAdditionalRestores(ctx, m.b.key(), true),
			b.SetRestoreOptions(ctx, m.b.key(), "x"), b.PreRestore(ctx), b.PostRestore(ctx), b.Release(ctx))
	}))
	want := []string{
		"VSS_BT_FULL true false false VSS_RTYPE_UNDEFINED false \"\" \"\"",
		"VSS_BT_FULL true false false VSS_RTYPE_BY_COPY true \"\" \"x\"",
		"VSS_BT_FULL true false false VSS_RTYPE_BY_COPY true \"kept\" \"x\"",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A writer started anew after the backup finds what its old instance noted.
func TestNewInstanceSeesTheOldRecord(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	xml, err := m.backup2()
	m.must(err)
	m.b.actor.Kill()
	m.b = m.subscribe("B", vss.WriterConfig{Level: vss.LevelBackEnd})
	seen := 0
	m.b.on[vss.EventPreRestore] = func(_ context.Context, ev any) error {
		seen = len(ev.(*vss.PreRestoreEvent).Components().All())
		return nil
	}
	m.must(m.as(func(ctx context.Context) error { return m.restore(ctx, xml) }))
	if seen != 1 {
		t.Errorf("it saw %d components", seen)
	}
}

// A partial failure names components; the application's own code and words arrive.
func TestPartialFailure(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.b.on[vss.EventPostSnapshot] = func(_ context.Context, ev any) error {
		p := ev.(*vss.PostSnapshotEvent)
		if err := p.FailWith(vss.WriterFailure{Code: vss.ErrBadState}); !errors.Is(err, vss.ErrInvalidArg) {
			t.Errorf("%v", err)
		}
		c := p.Components().All()[0]
		return errors.Join(
			c.SetFailure(vss.ComponentFailure{Code: vss.ErrWriterErrorRetryable, Application: 7, Message: "this one"}),
			p.FailWith(vss.WriterFailure{Code: vss.ErrWriterErrorPartialFailure, ApplicationCode: 7, Message: "one of them"}))
	}
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, b.DoSnapshotSet(ctx), b.GatherWriterStatus(ctx))
		st, e := b.GetWriterStatus(1)
		if st.State != vss.StateFailedAtPostSnapshot || st.Code != vss.ErrWriterErrorPartialFailure || st.ApplicationCode != 7 || st.Message != "one of them" {
			t.Errorf("%+v", st)
		}
		w, e2 := b.GetWriterComponents(1)
		if f := w.Components[0].Failure; f == nil || f.Code != vss.ErrWriterErrorRetryable {
			t.Errorf("%+v", f)
		}
		return errors.Join(err, e, e2, b.Release(ctx))
	}))
	m.settled()
}

func TestSubscribeChecks(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	for _, tt := range []struct {
		c    vss.WriterConfig
		want vss.HRESULT
	}{
		{vss.WriterConfig{Name: "x"}, vss.ErrInvalidArg},
		{vss.WriterConfig{ClassID: guid.GUID{1}}, vss.ErrInvalidArg},
		{vss.WriterConfig{ClassID: guid.GUID{1}, Name: "x", Level: vss.LevelAuto}, vss.ErrInvalidArg},
		{vss.WriterConfig{ClassID: guid.GUID{1}, Name: "x", FreezeTimeout: -1}, vss.ErrInvalidArg},
		{vss.WriterConfig{ClassID: m.f.class, Name: "F", Actor: m.f.actor}, vss.ErrWriterAlreadySubscribed},
	} {
		if _, err := m.s.Subscribe(m.f, tt.c); vss.HRESULTOf(err) != tt.want {
			t.Errorf("%+v: %v", tt.c, err)
		}
	}
	m.f.sub.Unsubscribe()
	m.f.sub.Unsubscribe()
	if _, err := m.s.Subscribe(m.f, vss.WriterConfig{ClassID: m.f.class, Name: "F", Actor: m.f.actor}); err != nil {
		t.Error(err)
	}
}

// Where it is asked for, a component that only comes with another is refused.
func TestCheckSelectability(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{CheckSelectability: true})
	part := vss.ComponentKey{LogicalPath: "B", Name: "part"}
	m.b.extra = []vss.ComponentInfo{{ComponentKey: part, Type: vss.ComponentFileGroup}}
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}), b.GatherWriterMetadata(ctx))
		c := m.b.key()
		for _, tt := range []struct {
			key  vss.ComponentKey
			want vss.HRESULT
		}{{part, vss.ErrInvalidArg}, {c.ComponentKey, vss.SOK}, {c.ComponentKey, vss.ErrObjectAlreadyExists}, {vss.ComponentKey{Name: "nothing"}, vss.ErrObjectNotFound}} {
			c.ComponentKey = tt.key
			if e := b.AddComponent(ctx, c); vss.HRESULTOf(e) != tt.want {
				t.Errorf("%v: %v", tt.key, e)
			}
		}
		c.WriterID = guid.GUID{1}
		if e := b.AddComponent(ctx, c); !errors.Is(e, vss.ErrObjectNotFound) {
			t.Errorf("no writer: %v", e)
		}
		return errors.Join(err, b.Release(ctx))
	}))
}

// A document that cannot be read, none at all, and one of a backup of some type.
func TestBadDocuments(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	ctx := t.Context()
	b, err := m.s.CreateBackupComponents(ctx)
	m.must(err)
	if err := b.InitializeForRestore(ctx, bytes.NewReader([]byte("<x"))); !errors.Is(err, vss.ErrInvalidXMLDocument) || b.Phase() != vss.PhaseNew {
		t.Errorf("%v, then %v", err, b.Phase())
	}
	if err := b.InitializeForRestore(ctx, nil); !errors.Is(err, vss.ErrInvalidArg) {
		t.Error(err)
	}
	if typ := b.BackupType(); typ != vss.BackupUndefined {
		t.Errorf("without a document its type is %v", typ)
	}
	var doc bytes.Buffer
	m.must((&vss.BackupComponentsDocument{BackupType: vss.BackupDifferential}).WriteXML(&doc), b.InitializeForRestore(ctx, &doc))
	if typ := b.BackupType(); typ != vss.BackupDifferential {
		t.Errorf("the type of a differential backup is %v", typ)
	}
	m.must(b.Release(ctx))
}
