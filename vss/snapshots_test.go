package vss_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// started makes an object with a set in a context without writers.
func (m *machine) started(ctx context.Context, c vss.SnapshotContext) (*vss.BackupComponents, error) {
	b, err := m.s.CreateBackupComponents(ctx)
	err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetContext(ctx, c))
	_, e := b.StartSnapshotSet(ctx)
	return b, errors.Join(err, e)
}

// take makes a set of volumes in a context without writers.
func (m *machine) take(ctx context.Context, c vss.SnapshotContext, volumes ...string) (*vss.BackupComponents, []guid.GUID, error) {
	b, err := m.started(ctx, c)
	var ids []guid.GUID
	for _, v := range volumes {
		id, e := b.AddToSnapshotSet(ctx, v, guid.GUID{})
		err = errors.Join(err, e)
		ids = append(ids, id)
	}
	if err != nil {
		return b, nil, errors.Join(err, b.Release(ctx))
	}
	return b, ids, b.DoSnapshotSet(ctx)
}

func TestAddToSnapshotSetCodes(t *testing.T) {
	other := guid.GUID{9}
	for _, tt := range []struct {
		name     string
		context  vss.SnapshotContext
		volume   string
		provider guid.GUID
		setUp    func(m *machine)
		want     vss.HRESULT
	}{
		{name: "fine", volume: `D:\`},
		{name: "by GUID, in any case", volume: `\\?\Volume{443A0000-0000-0000-0000-000000000000}\`},
		{name: "no backslash", volume: `D:`, want: vss.ErrInvalidArg},
		{name: "unknown volume", volume: `X:\`, want: vss.ErrObjectNotFound},
		{name: "twice", volume: `c:\`, want: vss.ErrObjectAlreadyExists},
		{name: "unknown provider", volume: `D:\`, provider: other, want: vss.ErrProviderNotRegistered},
		{name: "named provider refuses", volume: `E:\`, provider: vss.SystemProviderID, want: vss.ErrVolumeNotSupportedByProvider, context: vss.ContextNASRollback},
		{name: "nobody takes it", volume: `E:\`, want: vss.ErrVolumeNotSupported, context: vss.ContextNASRollback},
		{name: "not NTFS, but not to stay", volume: `E:\`},
		{name: "plex", volume: `D:\`, context: vss.ContextFileShareBackup.With(vss.AttrPlex), want: vss.ErrVolumeNotSupported},
		{name: "too many copies", volume: `D:\`, want: vss.ErrMaximumNumberOfSnapshotsReached, setUp: func(m *machine) {
			for i := range vss.MaxSoftwareSnapshots {
				m.d.shadows = append(m.d.shadows, &shadow{id: guid.GUID{1, byte(i), byte(i >> 8)}})
			}
		}},
		{name: "on a virtual disk of a volume in the set", volume: `D:\`, want: vss.ErrNestedVolumeLimit, setUp: func(m *machine) { m.d.below = &m.c.id }},
		{name: "holds the virtual disk of one in the set", volume: `D:\`, want: vss.ErrNestedVolumeLimit, setUp: func(m *machine) { m.c.below = &m.d.id }},
		{name: "virtual disk within a virtual disk", volume: `E:\`, want: vss.ErrNestedVolumeLimit, setUp: func(m *machine) {
			e := m.s.Volumes()[2].(*disk)
			e.below, m.d.below = &m.d.id, &guid.GUID{77}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{})
			e := newDisk("E:")
			e.fileSystem = "FAT32"
			m.must(m.s.AddVolume(e))
			if tt.setUp != nil {
				tt.setUp(m)
			}
			if tt.context == 0 {
				tt.context = vss.ContextFileShareBackup
			}
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.started(ctx, tt.context)
				if tt.context.Attributes()&vss.AttrPlex == 0 {
					_, e := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{})
					err = errors.Join(err, e)
				}
				id, got := b.AddToSnapshotSet(ctx, tt.volume, tt.provider)
				if vss.HRESULTOf(got) != tt.want || (id == guid.GUID{}) != (got != nil) {
					t.Errorf("%v, not %v", got, tt.want)
				}
				return errors.Join(err, b.Release(ctx))
			}))
		})
	}
}

func TestVolumesPerSet(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.started(ctx, vss.ContextFileShareBackup)
		for i := range vss.MaxVolumesPerSet + 1 {
			d := newDisk(fmt.Sprintf(`D:\mount%d`, i))
			copy(d.id[:], fmt.Sprintf("volume %d", i))
			_, e := b.AddToSnapshotSet(ctx, d.name, guid.GUID{})
			if errors.Is(e, vss.ErrObjectNotFound) {
				m.must(m.s.AddVolume(d))
				_, e = b.AddToSnapshotSet(ctx, d.name, guid.GUID{})
			}
			if want := i == vss.MaxVolumesPerSet; errors.Is(e, vss.ErrMaximumNumberOfVolumesReached) != want || e != nil && !want {
				t.Errorf("volume %d: %v", i+1, e)
			}
		}
		return errors.Join(err, b.DoSnapshotSet(ctx), b.Release(ctx))
	}))
	m.settled()
}

// A provider's code arrives if it is one that a provider may return; all others
// are an unexpected provider error. Either fails the whole set.
func TestProviderCodes(t *testing.T) {
	for _, tt := range []struct{ code, want vss.HRESULT }{
		{vss.ErrProviderVeto, vss.ErrProviderVeto}, {vss.ErrInsufficientStorage, vss.ErrInsufficientStorage},
		{vss.ErrBadState, vss.ErrBadState}, {vss.ErrOutOfMemory, vss.ErrOutOfMemory}, {vss.ErrAccessDenied, vss.ErrAccessDenied},
		{vss.ErrFail, vss.ErrUnexpectedProviderError}, {vss.ErrAbort, vss.ErrUnexpectedProviderError},
		{vss.ErrWriterErrorRetryable, vss.ErrUnexpectedProviderError},
	} {
		for _, p := range []sim.Point{vss.PointProviderEndPrepare, vss.PointProviderPreCommit, vss.PointProviderCommit, vss.PointProviderPostCommit,
			vss.PointProviderPreFinalCommit, vss.PointProviderPostFinalCommit} {
			m := newMachine(t, vss.ServiceConfig{}, sim.Faults(sim.Fault{Point: p, Outcome: sim.Outcome{Err: uint32(tt.code)}}))
			_, err := m.backup2()
			if !errors.Is(err, tt.want) {
				t.Errorf("%s %v: %v", p, tt.code, err)
			}
			m.settled()
		}
	}
}

// What the first provider finished goes too when the second one fails at the end.
func TestOneProviderFailsTheSet(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	p := &mirror{pending: map[guid.GUID]*disk{}, copies: map[guid.GUID]string{}}
	id := guid.GUID{5}
	m.must(m.s.RegisterProvider(p, vss.ProviderConfig{ID: id, Name: "mirror"}))
	if err := m.s.RegisterProvider(p, vss.ProviderConfig{ID: id}); !errors.Is(err, vss.ErrProviderAlreadyRegistered) {
		t.Error(err)
	}
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.started(ctx, vss.ContextFileShareBackup)
		_, e := b.AddToSnapshotSet(ctx, `C:\`, vss.SystemProviderID)
		_, e2 := b.AddToSnapshotSet(ctx, `D:\`, guid.GUID{})
		if e := m.s.UnregisterProvider(id); !errors.Is(e, vss.ErrProviderInUse) {
			t.Errorf("%v", e)
		}
		m.d.flush = func(context.Context) error { return errors.New("broken") }
		if e := b.DoSnapshotSet(ctx); !errors.Is(e, vss.ErrFlushWritesTimeout) {
			t.Errorf("%v", e)
		}
		m.d.flush = nil
		return errors.Join(err, e, e2, b.Release(ctx))
	}))
	if fmt.Sprint(p.step) != "[EndPrepare PreCommit Abort]" || len(p.copies) > 0 {
		t.Errorf("the mirror did %v", p.step)
	}
	m.must(m.s.UnregisterProvider(id))
	m.settled()
}

// Writes wait while the copies are made, and the copies hold what was there then.
func TestWritesAreHeld(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{}, sim.Plan("provider/commit delay=2s"))
	var wrote time.Duration
	m.b.on[vss.EventFreeze] = func(ctx context.Context, _ any) error {
		m.s.Actor().Parent().Go("app", func(ctx context.Context) error {
			err := sim.Sleep(ctx, time.Second)
			err = errors.Join(err, m.d.write(ctx, "second"))
			wrote = sim.Now(ctx)
			return err
		})
		return nil
	}
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		list := m.s.Snapshots()
		files, e := m.s.Open(list[1].DeviceObject + `\`)
		data, e2 := fs.ReadFile(files, "data")
		if string(data) != "first" || m.d.data != "second" || wrote != 2*time.Second {
			t.Errorf("the copy holds %s, the volume %s, written at %v", data, m.d.data, wrote)
		}
		return errors.Join(err, e, e2, b.Release(ctx))
	}))
	m.settled()
}

// Client-accessible copies make room by themselves, the oldest first.
func TestClientAccessibleLimit(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{MaxClientAccessible: 2})
	var ids []guid.GUID
	m.must(m.as(func(ctx context.Context) error {
		for range 3 {
			b, id, err := m.take(ctx, vss.ContextClientAccessible, `D:\`)
			if err := errors.Join(err, b.Release(ctx)); err != nil {
				return err
			}
			ids = append(ids, id...)
		}
		return nil
	}))
	list := m.s.Snapshots()
	if len(list) != 2 || list[0].SnapshotID != ids[1] || list[1].SnapshotID != ids[2] {
		t.Errorf("left are %v", list)
	}
}

func TestDiffAreaFull(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.d.used, m.d.maximum = 10, 10
	if _, err := m.backup2(); !errors.Is(err, vss.ErrInsufficientStorage) {
		t.Error(err)
	}
	m.d.used = 0
	m.settled()
}

// Query sees the copies of its context, all of them in the context for all.
// DeleteSnapshots deletes one or a set.
func TestQueryAndDelete(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.must(m.as(func(ctx context.Context) error {
		nas, _, err := m.take(ctx, vss.ContextNASRollback, `C:\`, `D:\`)
		file, ids, e := m.take(ctx, vss.ContextFileShareBackup, `D:\`)
		err = errors.Join(err, e, nas.Release(ctx))
		for want, c := range []vss.SnapshotContext{vss.ContextClientAccessible, vss.ContextFileShareBackup, vss.ContextNASRollback, vss.ContextAll} {
			q, e := m.s.CreateBackupComponents(ctx)
			err = errors.Join(err, e, q.InitializeForBackup(ctx, nil), q.SetContext(ctx, c))
			list, e := q.Query(ctx)
			if len(list) != want {
				t.Errorf("%v shows %d, not %d", c, len(list), want)
			}
			if c == vss.ContextAll {
				set := list[0].SnapshotSetID
				d, e := q.DeleteSnapshots(ctx, set, vss.ObjectSnapshotSet, false)
				if d.Count != 2 || e != nil {
					t.Errorf("deleted %d, %v", d.Count, e)
				}
				if _, e := q.DeleteSnapshots(ctx, set, vss.ObjectSnapshotSet, false); !errors.Is(e, vss.ErrObjectNotFound) {
					t.Errorf("again: %v", e)
				}
				if _, e := q.StartSnapshotSet(ctx); !errors.Is(e, vss.ErrBadState) {
					t.Errorf("a set in the context for all: %v", e)
				}
			}
			err = errors.Join(err, e, q.Release(ctx))
		}
		p, e := file.GetSnapshotProperties(ids[0])
		if p.OriginatingMachine != "h1/vss" || p.SnapshotsCount != 1 || p.Status != vss.SnapshotCreated || p.CreationTimestamp.Time() != sim.Epoch {
			t.Errorf("%+v", p)
		}
		return errors.Join(err, e, file.Release(ctx))
	}))
	m.settled()
}

// Only copies of two contexts can be exposed; a name is taken once.
func TestExpose(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.must(m.as(func(ctx context.Context) error {
		b, ids, err := m.take(ctx, vss.ContextNASRollback, `C:\`, `D:\`)
		try := func(id guid.GUID, e vss.Exposure, want vss.HRESULT) {
			t.Helper()
			if _, err := b.ExposeSnapshot(ctx, id, e); vss.HRESULTOf(err) != want {
				t.Errorf("%v: %v", e, err)
			}
		}
		try(ids[0], vss.Exposure{Name: "D:"}, vss.ErrObjectAlreadyExists)
		for _, bad := range []vss.Exposure{{}, {Name: "X"}, {Name: "folder"}, {Name: `\\server\share`}, {Name: "X:", Path: `\a`}, {Name: "*:"},
			{Remote: true}, {Name: `a\b`, Remote: true}, {Name: "X:", Remote: true}} {
			try(ids[0], bad, vss.ErrInvalidArg)
		}
		try(ids[0], vss.Exposure{Name: `C:\mounts\copy`}, vss.SOK)
		try(ids[0], vss.Exposure{Name: "Z:"}, vss.ErrObjectAlreadyExists)
		err = errors.Join(err, b.UnexposeSnapshot(ctx, ids[0]))
		try(ids[0], vss.Exposure{Name: "X:"}, vss.SOK)
		try(ids[1], vss.Exposure{Name: "x:"}, vss.ErrObjectAlreadyExists)
		try(ids[1], vss.Exposure{Name: "copies", Remote: true, Path: `\a`}, vss.SOK)
		p, e := b.GetSnapshotProperties(ids[1])
		if p.Attributes&(vss.AttrExposedRemotely|vss.AttrExposedLocally|vss.AttrNotSurfaced) != vss.AttrExposedRemotely {
			t.Errorf("%v", p.Attributes)
		}
		_, e2 := m.s.Open("X:")
		err = errors.Join(err, e, e2, b.UnexposeSnapshot(ctx, ids[0]))
		if e := b.UnexposeSnapshot(ctx, ids[0]); !errors.Is(e, vss.ErrObjectNotFound) {
			t.Errorf("%v", e)
		}
		if e := b.BreakSnapshotSet(ctx, p.SnapshotSetID, 0); !errors.Is(e, vss.ErrProviderVeto) {
			t.Errorf("%v", e)
		}
		_, e = b.DeleteSnapshots(ctx, p.SnapshotSetID, vss.ObjectSnapshotSet, true)
		err = errors.Join(err, e, b.Release(ctx))
		w, ids, e := m.take(ctx, vss.ContextFileShareBackup, `D:\`)
		b = w
		try(ids[0], vss.Exposure{Name: "Y:"}, vss.ErrBadState)
		return errors.Join(err, e, b.Release(ctx))
	}))
	m.settled()
}

// Cancel ends an operation with everything undone; later calls say how it ended.
func TestCancel(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.b.sleeps(vss.EventThaw, time.Hour)
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		a, e := b.StartDoSnapshotSet(ctx)
		err = errors.Join(err, e, sim.Sleep(ctx, time.Minute))
		for _, want := range []vss.HRESULT{vss.SOK, vss.AsyncCancelled} {
			if h, e := a.Cancel(ctx); h != want || e != nil {
				t.Errorf("Cancel: %v, %v", h, e)
			}
		}
		if h, e := a.QueryStatus(ctx); h != vss.AsyncCancelled || e != nil || !errors.Is(a.Err(), vss.AsyncCancelled) {
			t.Errorf("%v, %v, %v", h, e, a.Err())
		}
		return errors.Join(err, a.Wait(ctx), b.Release(ctx))
	}))
	m.settled()
}

// Polled from ordinary code, the world moves, so that the loop ends.
func TestPolling(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.b.sleeps(vss.EventPrepareSnapshot, time.Minute)
	ctx := t.Context()
	b, err := m.prepared(ctx, m.f, m.b)
	m.must(err)
	a, err := b.StartDoSnapshotSet(ctx)
	m.must(err)
	for polls := 0; ; polls++ {
		h, err := a.QueryStatus(ctx)
		m.must(err)
		if h == vss.AsyncFinished {
			break
		}
		if polls > 1000 {
			t.Fatal("it does not end")
		}
	}
	if h, err := a.Cancel(ctx); h != vss.AsyncFinished || err != nil {
		t.Errorf("%v, %v", h, err)
	}
	m.must(b.Release(ctx))
	m.settled()
}

// A caller whose time is over has its operation cancelled and undone.
func TestCallerGivesUp(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.b.sleeps(vss.EventPrepareSnapshot, time.Hour)
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		limited, cancel := sim.WithTimeout(ctx, time.Minute)
		defer cancel()
		if e := b.DoSnapshotSet(limited); !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("%v", e)
		}
		return errors.Join(err, b.Release(limited))
	}))
	m.settled()
}

// An account that may not back up is neither requester nor writer.
func TestAccessDenied(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{Account: func(a *sim.Actor) vss.Account {
		if a.Path() == "guest" {
			return vss.OrdinaryUser
		}
		return vss.BackupOperator
	}})
	stranger := m.w.Actor("guest")
	err := stranger.Call(t.Context(), "try", func(ctx context.Context) error {
		_, err := m.s.CreateBackupComponents(ctx)
		return err
	})
	_, err2 := m.s.Subscribe(&quiet{}, vss.WriterConfig{Actor: stranger, ClassID: guid.GUID{1}, Name: "x"})
	if !errors.Is(err, vss.ErrAccessDenied) || !errors.Is(err2, vss.ErrAccessDenied) {
		t.Errorf("%v, %v", err, err2)
	}
	m.settled()
}
