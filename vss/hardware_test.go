package vss_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

var arrayID = guid.GUID{0xA7}

// An array is a hardware provider: its copies are disks of their own, which
// another machine at the same storage can import, break off and write back.
type array struct {
	mirror
	storage map[guid.GUID]string // of all machines
	broken  int
}

func newArray(storage map[guid.GUID]string) *array {
	return &array{mirror: mirror{pending: map[guid.GUID]*disk{}, copies: map[guid.GUID]string{}}, storage: storage}
}

func (a *array) BreakSnapshotSet(context.Context, guid.GUID, vss.HardwareOptions) error {
	a.broken++
	return nil
}

func (a *array) DescribeSnapshot(_ context.Context, id guid.GUID) ([]byte, error) {
	a.storage[id] = a.copies[id]
	return []byte("LUN"), nil
}

func (a *array) ImportSnapshot(_ context.Context, r vss.SnapshotRecord) error {
	data, ok := a.storage[r.ID]
	if !ok || string(r.LUNInfo) != "LUN" {
		return vss.ErrObjectNotFound
	}
	a.copies[r.ID] = data
	return nil
}

func (a *array) ResyncSnapshot(_ context.Context, r vss.ResyncRequest) error {
	r.Destination.(*disk).data = a.storage[r.Snapshot]
	return nil
}

// A transportable set is made on one machine and used on another: its document
// says how to find the copies, which are not to be seen where they were made.
func TestTransportableSet(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	storage := make(map[guid.GUID]string)
	m.must(m.s.RegisterProvider(newArray(storage), vss.ProviderConfig{ID: arrayID, Name: "array", Type: vss.ProviderHardware}))
	other := vss.NewService(m.w.Actor("h2").Child("vss"), vss.ServiceConfig{})
	there := newArray(storage)
	m.must(m.as(func(ctx context.Context) error {
		b, ids, err := m.take(ctx, vss.ContextFileShareBackup.With(vss.AttrTransportable), `C:\`, `D:\`)
		xml, e := b.SaveAsXML()
		if err := errors.Join(err, e); err != nil {
			return err
		}
		if n := len(m.s.Snapshots()); n != 0 {
			t.Errorf("%d copies to be seen", n)
		}
		importing := func() (*vss.BackupComponents, error) {
			i, err := other.CreateBackupComponents(ctx)
			if err := errors.Join(err, i.InitializeForBackup(ctx, bytes.NewReader(xml))); err != nil {
				return nil, err
			}
			return i, i.ImportSnapshots(ctx)
		}
		if _, e := importing(); !errors.Is(e, vss.ErrProviderNotRegistered) {
			t.Errorf("without the provider: %v", e)
		}
		m.must(other.RegisterProvider(there, vss.ProviderConfig{ID: arrayID, Name: "array", Type: vss.ProviderHardware}))
		data := storage[ids[0]]
		delete(storage, ids[0])
		half, e := importing()
		if !errors.Is(e, vss.ErrSomeSnapshotsNotImported) {
			t.Errorf("one of two: %v", e)
		}
		m.must(half.Release(ctx))
		delete(storage, ids[1])
		if _, e := importing(); !errors.Is(e, vss.ErrNoSnapshotsImported) {
			t.Errorf("none: %v", e)
		}
		storage[ids[0]], storage[ids[1]] = data, data
		i, e := importing()
		list := other.Snapshots()
		if e != nil || len(list) != 2 || list[0].Attributes&vss.AttrImported == 0 || list[0].OriginatingMachine != "h1/vss" {
			t.Fatalf("%v, %+v", e, list)
		}
		if e := i.BreakSnapshotSet(ctx, list[0].SnapshotSetID, vss.BreakMakeReadWrite); e != nil || there.broken != 1 || len(other.Snapshots()) != 0 {
			t.Errorf("break: %v", e)
		}
		return errors.Join(i.Release(ctx), b.Release(ctx))
	}))
}

// A provider is found by its ID, and none by an unknown one.
func TestProviderByID(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	a := newArray(nil)
	m.must(m.s.RegisterProvider(a, vss.ProviderConfig{ID: arrayID, Name: "array"}))
	if m.s.Provider(arrayID) != vss.Provider(a) || m.s.Provider(vss.SystemProviderID) == nil || m.s.Provider(guid.GUID{1}) != nil {
		t.Error("not those that are registered")
	}
}

// A document without transportable copies cannot be imported, nor written back.
func TestNotTransportable(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	xml, err := m.backup2()
	m.must(err)
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, b.InitializeForBackup(ctx, bytes.NewReader(xml)))
		if e := b.ImportSnapshots(ctx); !errors.Is(e, vss.ErrNonTransportableBCD) {
			t.Errorf("import: %v", e)
		}
		r, e := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, e, r.InitializeForRestore(ctx, bytes.NewReader(xml)))
		if e := r.AddSnapshotToRecoverySet(ctx, guid.GUID{1}, `C:\`); !errors.Is(e, vss.ErrNonTransportableBCD) {
			t.Errorf("resync: %v", e)
		}
		return errors.Join(err, b.Release(ctx), r.Release(ctx))
	}))
}

// RecoverSet writes transportable copies back over the volumes.
func TestRecoverSet(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.must(m.s.RegisterProvider(newArray(make(map[guid.GUID]string)), vss.ProviderConfig{ID: arrayID, Name: "array", Type: vss.ProviderHardware}))
	m.must(m.as(func(ctx context.Context) error {
		b, ids, err := m.take(ctx, vss.ContextFileShareBackup.With(vss.AttrTransportable), `D:\`)
		xml, e := b.SaveAsXML()
		m.d.data = "spoiled"
		r, e2 := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, e, e2, r.InitializeForRestore(ctx, bytes.NewReader(xml)))
		for id, want := range map[guid.GUID]vss.HRESULT{{1}: vss.ErrSnapshotNotInSet, ids[0]: vss.SOK} {
			if e := r.AddSnapshotToRecoverySet(ctx, id, ""); vss.HRESULTOf(e) != want {
				t.Errorf("%v", e)
			}
		}
		return errors.Join(err, r.RecoverSet(ctx, 0), r.Release(ctx), b.Release(ctx))
	}))
	if m.d.data != "first" {
		t.Errorf("D: holds %s", m.d.data)
	}
}

// A reverting volume goes back to a copy and loses the younger ones.
type reverting struct {
	*disk
	busy bool
}

func (r *reverting) InUse() bool { return r.busy }

func (r *reverting) RevertToShadow(ctx context.Context, id [16]byte) error {
	for i, s := range r.shadows {
		if s.id == id {
			r.data, r.shadows = s.data, r.shadows[:i+1]
		}
	}
	return sim.Sleep(ctx, time.Minute)
}

func TestRevert(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	e := &reverting{disk: newDisk("E:"), busy: true}
	m.must(m.s.AddVolume(e))
	m.must(m.as(func(ctx context.Context) error {
		old, ids, err := m.take(ctx, vss.ContextClientAccessible, `E:\`)
		e.data = "second"
		young, _, err2 := m.take(ctx, vss.ContextNASRollback, `E:\`, `C:\`)
		short, volatile, err3 := m.take(ctx, vss.ContextFileShareBackup, `E:\`)
		err = errors.Join(err, err2, err3)
		for _, try := range []struct {
			id    guid.GUID
			force bool
			want  vss.HRESULT
		}{
			{guid.GUID{1}, false, vss.ErrObjectNotFound}, {volatile[0], true, vss.ErrUnsupportedContext},
			{m.s.Snapshots()[2].SnapshotID, true, vss.ErrNotImpl}, {ids[0], false, vss.ErrVolumeInUse},
			{ids[0], true, vss.SOK}, {ids[0], true, vss.ErrRevertInProgress},
		} {
			if e := old.RevertToSnapshot(ctx, try.id, try.force); vss.HRESULTOf(e) != try.want {
				t.Errorf("%v, not %v", e, try.want)
			}
		}
		a, err4 := old.QueryRevertStatus(ctx, `E:\`)
		if _, e := a.Cancel(ctx); !errors.Is(e, vss.ErrNotSupported) {
			t.Errorf("cancel: %v", e)
		}
		err = errors.Join(err, err4, a.Wait(ctx), a.Err())
		if e.data != "first" || len(e.shadows) != 1 {
			t.Errorf("E: holds %s and %d copies", e.data, len(e.shadows))
		}
		return errors.Join(err, old.Release(ctx), young.Release(ctx), short.Release(ctx))
	}))
	if n := len(m.s.Snapshots()); n != 2 {
		t.Errorf("%d copies in the list", n)
	}
}

// Copies that a volume brings along are in the list, and go with the volume.
func TestAdoptedCopies(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	e := newDisk("E:")
	e.shadows = []*shadow{{id: guid.GUID{1}, data: "old"}}
	m.must(m.s.AddVolume(e))
	list := m.s.Snapshots()
	if len(list) != 1 || list[0].Attributes&vss.AttrPersistent == 0 {
		t.Fatalf("%+v", list)
	}
	if _, err := m.s.Open(list[0].DeviceObject); err != nil {
		t.Error(err)
	}
	m.must(m.s.RemoveVolume(`E:\`))
	if len(m.s.Snapshots()) != 0 || len(e.shadows) != 1 {
		t.Error("the list and the volume")
	}
	if err := m.s.RemoveVolume(`E:\`); !errors.Is(err, vss.ErrObjectNotFound) {
		t.Error(err)
	}
}

// A restore goes to the writer instance that was backed up if it still runs, else
// to one of its instance name, and to the one the requester chose if the writer
// can be moved.
func TestRestoreToAnInstance(t *testing.T) {
	for _, how := range []string{"name", "chosen"} {
		m := newMachine(t, vss.ServiceConfig{})
		var apps []*app
		start := func(name string) *app {
			a := &app{name: "F", class: guid.GUID{0xD0}, on: map[vss.Event]func(context.Context, any) error{}, schema: fullSchema}
			a.actor = m.w.Actor(name)
			_, err := m.s.Subscribe(a, vss.WriterConfig{Actor: a.actor, ClassID: a.class, Name: "db", InstanceName: name})
			m.must(err)
			apps = append(apps, a)
			return a
		}
		start("one")
		two := start("two")
		m.must(m.as(func(ctx context.Context) error {
			b, err := m.s.CreateBackupComponents(ctx)
			err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}), b.GatherWriterMetadata(ctx))
			var key vss.ComponentChoice
			for i := range 4 {
				if md, e := b.GetWriterMetadata(i); e == nil && md.Identity.InstanceName == "two" {
					key = two.key()
					key.InstanceID = md.Identity.InstanceID
				}
			}
			err = errors.Join(err, b.AddComponent(ctx, key))
			_, e := b.StartSnapshotSet(ctx)
			err = errors.Join(err, e, b.PrepareForBackup(ctx), b.BackupComplete(ctx))
			xml, e := b.SaveAsXML()
			err = errors.Join(err, e, b.Release(ctx))
			for _, a := range apps {
				a.actor.Kill()
			}
			apps = nil
			one := start("one")
			start("two")
			r, e := m.s.CreateBackupComponents(ctx)
			err = errors.Join(err, e, r.InitializeForRestore(ctx, bytes.NewReader(xml)), r.GatherWriterMetadata(ctx))
			if how == "name" {
				err = errors.Join(err, r.SetSelectedForRestore(ctx, key, true))
			} else {
				for _, sub := range m.s.Writers() {
					if sub.ClassID() == one.class && sub.Name() == "db" && one.sub == nil {
						one.sub = sub
					}
				}
				err = errors.Join(err, r.SetSelectedForRestoreEx(ctx, key, true, one.sub.InstanceID()))
			}
			return errors.Join(err, r.PreRestore(ctx), r.PostRestore(ctx), r.Release(ctx))
		}))
		got := fmt.Sprint(apps[0].heard, apps[1].heard)
		if want := map[string]string{
			"name":   "[Identify] [Identify PreRestore PostRestore]",
			"chosen": "[Identify PreRestore PostRestore] [Identify]",
		}[how]; got != want {
			t.Errorf("by %s: %s", how, got)
		}
	}
}

// The service of a machine that dies gives its callers an error, not silence.
func TestServiceDies(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	other := m.w.Actor("h2")
	m.f.on[vss.EventFreeze] = func(context.Context, any) error { m.s.Actor().Parent().Kill(); return nil }
	err := other.Call(t.Context(), "backup", func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		if err != nil {
			return err
		}
		err = b.DoSnapshotSet(ctx)
		var e *vss.Error
		if !errors.As(err, &e) || !errors.Is(err, sim.ErrDead) || !errors.Is(err, vss.ErrUnexpected) {
			t.Errorf("%v", err)
		}
		return b.Release(ctx)
	})
	if !errors.Is(err, sim.ErrDead) {
		t.Errorf("Release: %v", err)
	}
}

// Paths with environment variables are on the volume they expand to.
func TestPathsExpand(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{Environment: map[string]string{"DataRoot": `D:\data`}})
	for path, want := range map[string]bool{`%dataroot%\x`: true, `%DataRoot%`: true, `%other%\x`: false, `100%`: false, `C:\x`: false, `\\?\Volume{443A0000-0000-0000-0000-000000000000}\x`: true} {
		m.f.on[vss.EventFreeze] = func(_ context.Context, ev any) error {
			if got := ev.(*vss.FreezeEvent).IsPathAffected(path); got != want {
				t.Errorf("%s: %v", path, got)
			}
			return nil
		}
		m.must(m.as(func(ctx context.Context) error {
			b, err := m.s.CreateBackupComponents(ctx)
			err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{Type: vss.BackupFull}), b.GatherWriterMetadata(ctx))
			_, e := b.StartSnapshotSet(ctx)
			_, e2 := b.AddToSnapshotSet(ctx, `D:\`, guid.GUID{})
			return errors.Join(err, e, e2, b.PrepareForBackup(ctx), b.DoSnapshotSet(ctx), b.Release(ctx))
		}))
	}
}
