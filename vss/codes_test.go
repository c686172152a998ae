package vss_test

import (
	"bytes"
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

// A codeRow makes one call on an object that has been brought to where the call is
// in order, and names the code it ends with.
type codeRow struct {
	name string
	call func(ctx context.Context, m *machine, b *vss.BackupComponents) error
	want vss.HRESULT
}

// of makes a row's call of one that needs no machine.
func of(fn func(ctx context.Context, b *vss.BackupComponents) error) func(context.Context, *machine, *vss.BackupComponents) error {
	return func(ctx context.Context, _ *machine, b *vss.BackupComponents) error { return fn(ctx, b) }
}

// TestBackupCodes: the codes beside BAD_STATE that the pages of the backup methods
// name for arguments.
func TestBackupCodes(t *testing.T) {
	other := vss.ComponentChoice{WriterID: guid.GUID{0x99}, ComponentKey: vss.ComponentKey{Name: "F"}}
	for _, r := range []codeRow{
		{"SetBackupState without a type", of(func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetBackupState(ctx, vss.BackupState{})
		}), vss.ErrInvalidArg},
		{"SetBackupState with an unknown type", of(func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetBackupState(ctx, vss.BackupState{Type: 7})
		}), vss.ErrInvalidArg},
		{"SetContext with an attribute of its own", of(func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetContext(ctx, vss.ContextBackup.With(vss.AttrImported))
		}), vss.ErrInvalidArg},
		{"GetWriterMetadata behind the last", of(func(_ context.Context, b *vss.BackupComponents) error {
			_, err := b.GetWriterMetadata(2)
			return err
		}), vss.ErrObjectNotFound},
		{"GetWriterMetadata before the first", of(func(_ context.Context, b *vss.BackupComponents) error {
			_, err := b.GetWriterMetadata(-1)
			return err
		}), vss.ErrObjectNotFound},
		{"GetWriterStatus before GatherWriterStatus", of(func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.GetWriterStatus(0)
			return errors.Join(err, b.GatherWriterStatus(ctx))
		}), vss.ErrBadState},
		{"GetWriterStatus behind the last", of(func(ctx context.Context, b *vss.BackupComponents) error {
			if err := b.GatherWriterStatus(ctx); err != nil {
				return err
			}
			_, err := b.GetWriterStatus(2)
			return err
		}), vss.ErrObjectNotFound},
		{"GetWriterComponents behind the last", of(func(_ context.Context, b *vss.BackupComponents) error {
			_, err := b.GetWriterComponents(2)
			return err
		}), vss.ErrObjectNotFound},
		{"AddComponent of an unknown writer", of(func(ctx context.Context, b *vss.BackupComponents) error { return b.AddComponent(ctx, other) }), vss.ErrObjectNotFound},
		{"AddComponent of another type", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			c := m.f.key()
			c.Type = vss.ComponentDatabase
			return b.AddComponent(ctx, c)
		}, vss.ErrObjectNotFound},
		{"AddComponent twice", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			return b.AddComponent(ctx, m.f.key())
		}, vss.ErrObjectAlreadyExists},
		{"SetBackupOptions of an unknown component", of(func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetBackupOptions(ctx, other, "x")
		}), vss.ErrObjectNotFound},
		{"SetPreviousBackupStamp of another instance", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			c := m.f.key()
			c.InstanceID = m.b.sub.InstanceID()
			return b.SetPreviousBackupStamp(ctx, c, "x")
		}, vss.ErrObjectNotFound},
		{"IsVolumeSupported by an unknown provider", of(func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.IsVolumeSupported(ctx, `C:\`, guid.GUID{0x98})
			return err
		}), vss.ErrProviderNotRegistered},
		{"IsVolumeSupported of a volume nobody takes", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			m.c.fileSystem, m.d.fileSystem = "FAT32", "FAT32" // no NTFS for the differences
			ok, err := b.IsVolumeSupported(ctx, `C:\`, guid.GUID{})
			if ok {
				return errors.New("it is supported")
			}
			return err
		}, vss.SOK},
		{"DeleteSnapshots of a type that is none", of(func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.DeleteSnapshots(ctx, guid.GUID{1}, vss.ObjectProvider, false)
			return err
		}), vss.ErrInvalidArg},
		{"RevertToSnapshot of an unknown copy", of(func(ctx context.Context, b *vss.BackupComponents) error {
			return b.RevertToSnapshot(ctx, guid.GUID{1}, false)
		}), vss.ErrObjectNotFound},
		{"QueryRevertStatus of an unknown volume", of(func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.QueryRevertStatus(ctx, `X:\`)
			return err
		}), vss.ErrObjectNotFound},
		{"QueryRevertStatus of a volume that cannot be reverted", of(func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.QueryRevertStatus(ctx, `C:\`)
			return err
		}), vss.ErrVolumeNotSupported},
	} {
		t.Run(r.name, func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{})
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.s.CreateBackupComponents(ctx)
				err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}),
					b.GatherWriterMetadata(ctx), addAll(ctx, b, []*app{m.f, m.b}))
				if got := r.call(ctx, m, b); vss.HRESULTOf(got) != r.want {
					t.Errorf("%v, not %v", got, r.want)
				}
				return errors.Join(err, b.Release(ctx))
			}))
		})
	}
}

// TestRestoreCodes: the same for the methods of a restore, before PreRestore.
func TestRestoreCodes(t *testing.T) {
	mapping := vss.FileMapping{FileSpec: vss.FileSpec{Path: `C:\F`, Spec: "*"}, Destination: `D:\new`}
	type call = func(ctx context.Context, m *machine, b *vss.BackupComponents) error
	key := func(fn func(ctx context.Context, b *vss.BackupComponents, f, unknown vss.ComponentChoice) error) call {
		return func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			unknown := m.f.key()
			unknown.Name = "unknown"
			return fn(ctx, b, m.f.key(), unknown)
		}
	}
	type choice = vss.ComponentChoice
	for _, r := range []codeRow{
		{"SetRestoreState of an unknown type", of(func(ctx context.Context, b *vss.BackupComponents) error { return b.SetRestoreState(ctx, 4) }), vss.ErrInvalidArg},
		{"SetSelectedForRestore of an unknown component", key(func(ctx context.Context, b *vss.BackupComponents, _, u choice) error {
			return b.SetSelectedForRestore(ctx, u, true)
		}), vss.ErrObjectNotFound},
		{"SetSelectedForRestore taken back", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return b.SetSelectedForRestore(ctx, f, false)
		}), vss.SOK},
		{"SetSelectedForRestore of a writer that is gone", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			m.f.actor.Kill()
			r, err := m.s.CreateBackupComponents(ctx)
			xml, e := b.SaveAsXML()
			err = errors.Join(err, e, r.InitializeForRestore(ctx, bytes.NewReader(xml)), r.GatherWriterMetadata(ctx))
			if err != nil {
				return err
			}
			err = r.SetSelectedForRestore(ctx, m.f.key(), true)
			_ = r.Release(ctx)
			return err
		}, vss.ErrObjectNotFound},
		{"SetSelectedForRestoreEx of an unknown instance", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return b.SetSelectedForRestoreEx(ctx, f, true, guid.GUID{3})
		}), vss.ErrObjectNotFound},
		{"SetSelectedForRestoreEx of another class", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			return b.SetSelectedForRestoreEx(ctx, m.f.key(), true, m.b.sub.InstanceID())
		}, vss.ErrObjectNotFound},
		{"SetSelectedForRestoreEx without RESTORE_WITH_MOVE", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			return b.SetSelectedForRestoreEx(ctx, m.b.key(), true, m.b.sub.InstanceID())
		}, vss.ErrInvalidArg},
		{"AddRestoreSubcomponent beside the component", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return b.AddRestoreSubcomponent(ctx, f, vss.ComponentKey{Name: "beside"})
		}), vss.ErrInvalidArg},
		{"AddRestoreSubcomponent that is unknown", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return b.AddRestoreSubcomponent(ctx, f, vss.ComponentKey{LogicalPath: "F", Name: "unknown"})
		}), vss.ErrObjectNotFound},
		{"SetAdditionalRestores", key(func(ctx context.Context, b *vss.BackupComponents, _, u choice) error {
			return b.SetAdditionalRestores(ctx, u, true)
		}), vss.ErrObjectNotFound},
		{"SetRestoreOptions", key(func(ctx context.Context, b *vss.BackupComponents, _, u choice) error {
			return b.SetRestoreOptions(ctx, u, "x")
		}), vss.ErrObjectNotFound},
		{"SetRestoreOptions twice", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			if err := b.SetRestoreOptions(ctx, f, "x"); err != nil {
				return err
			}
			return b.SetRestoreOptions(ctx, f, "y")
		}), vss.ErrBadState},
		{"PreRestore with every choice taken back", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			for _, a := range []*app{m.f, m.b} {
				if err := b.SetSelectedForRestore(ctx, a.key(), false); err != nil {
					return err
				}
			}
			return b.PreRestore(ctx)
		}, vss.ErrBadState},
		{"PreRestore with one choice taken back", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			return errors.Join(b.SetSelectedForRestore(ctx, m.f.key(), false), b.PreRestore(ctx))
		}, vss.SOK},
		{"SetAuthoritativeRestore", key(func(ctx context.Context, b *vss.BackupComponents, _, u choice) error {
			return b.SetAuthoritativeRestore(ctx, u, true)
		}), vss.ErrObjectNotFound},
		{"SetAuthoritativeRestore without the schema bit", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			return b.SetAuthoritativeRestore(ctx, m.b.key(), true)
		}, vss.ErrInvalidArg},
		{"SetRollForward without the schema bit", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			return b.SetRollForward(ctx, m.b.key(), vss.RollForwardAll, "")
		}, vss.ErrInvalidArg},
		{"SetRollForward to a point that is not named", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return b.SetRollForward(ctx, f, vss.RollForwardPartial, "")
		}), vss.ErrInvalidArg},
		{"SetRollForward of an undefined type", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return b.SetRollForward(ctx, f, vss.RollForwardUndefined, "")
		}), vss.ErrInvalidArg},
		{"SetRestoreName without a name", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return b.SetRestoreName(ctx, f, "")
		}), vss.ErrInvalidArg},
		{"SetRestoreName without the schema bit", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			return b.SetRestoreName(ctx, m.b.key(), "x")
		}, vss.ErrInvalidArg},
		{"AddNewTarget to nowhere", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return b.AddNewTarget(ctx, f, vss.FileMapping{FileSpec: mapping.FileSpec})
		}), vss.ErrInvalidArg},
		{"AddNewTarget of another file set", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			m := mapping
			m.Recursive = true
			return b.AddNewTarget(ctx, f, m)
		}), vss.ErrObjectNotFound},
		{"AddNewTarget of a set below", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return b.AddNewTarget(ctx, f, vss.FileMapping{FileSpec: vss.FileSpec{Path: `D:\part`, Spec: "*"}, Destination: `D:\new`})
		}), vss.SOK},
		{"AddNewTarget without the schema bit", func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			return b.AddNewTarget(ctx, m.b.key(), mapping)
		}, vss.ErrInvalidArg},
		{"SetRangesFilePath of no partial file", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return b.SetRangesFilePath(ctx, f, 1, `D:\r`)
		}), vss.ErrObjectNotFound},
		{"SetRangesFilePath", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			if err := b.SetRangesFilePath(ctx, f, 0, `D:\r`); err != nil {
				return err
			}
			w, err := b.GetWriterComponents(0)
			if got := w.Components[0].PartialFiles[0].Ranges; got != `D:\r` {
				return fmt.Errorf("the ranges are at %s", got)
			}
			return err
		}), vss.SOK},
		{"SetFileRestoreStatus undefined", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			if err := b.PreRestore(ctx); err != nil {
				return err
			}
			return b.SetFileRestoreStatus(ctx, f, vss.FilesUndefined)
		}), vss.ErrInvalidArg},
		{"AddAlternativeLocationMapping of a file set with a mapping", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			if err := b.PreRestore(ctx); err != nil {
				return err
			}
			return b.AddAlternativeLocationMapping(ctx, f, mapping)
		}), vss.SOK},
		{"PreRestore and PostRestore of all this", key(func(ctx context.Context, b *vss.BackupComponents, f, _ choice) error {
			return errors.Join(b.PreRestore(ctx), b.SetFileRestoreStatus(ctx, f, vss.FilesAll), b.PostRestore(ctx))
		}), vss.SOK},
	} {
		t.Run(r.name, func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{})
			m.f.schema = fullSchema
			m.f.extra = []vss.ComponentInfo{{ComponentKey: vss.ComponentKey{LogicalPath: "F", Name: "part"}, Type: vss.ComponentFileGroup,
				Files: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\part`, Spec: "*"}}}}}
			m.f.on[vss.EventIdentify] = func(_ context.Context, ev any) error {
				return ev.(*vss.IdentifyEvent).Metadata.AddAlternateLocationMapping(mapping)
			}
			m.f.on[vss.EventPostSnapshot] = func(_ context.Context, ev any) error {
				return ev.(*vss.PostSnapshotEvent).Components().All()[0].AddPartialFile(vss.PartialFile{FilePart: vss.FilePart{Path: `C:\F`, Name: "x", Ranges: "0:1"}})
			}
			xml, err := m.backup2()
			m.must(err)
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.restoring(ctx, xml)
				if got := r.call(ctx, m, b); vss.HRESULTOf(got) != r.want || r.want == vss.SOK && got != nil {
					t.Errorf("%v, not %v", got, r.want)
				}
				return errors.Join(err, b.Release(ctx))
			}))
		})
	}
}

// TestDeleteStopsAtTheFirstFailure: DeleteSnapshots deletes one copy after the
// other and says how many went and which one stayed.
func TestDeleteStopsAtTheFirstFailure(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{}, sim.Plan("provider/delete nth=2 err=0x80042306"))
	e := newDisk("E:")
	m.must(m.s.AddVolume(e))
	m.must(m.as(func(ctx context.Context) error {
		b, ids, err := m.take(ctx, vss.ContextNASRollback, `C:\`, `D:\`, `E:\`)
		p, e := b.GetSnapshotProperties(ids[0])
		d, got := b.DeleteSnapshots(ctx, p.SnapshotSetID, vss.ObjectSnapshotSet, true)
		if !errors.Is(got, vss.ErrProviderVeto) || d.Count != 1 || d.Nondeleted != ids[1] || len(m.s.Snapshots()) != 2 {
			t.Errorf("%v, %+v, %d left", got, d, len(m.s.Snapshots()))
		}
		d, again := b.DeleteSnapshots(ctx, p.SnapshotSetID, vss.ObjectSnapshotSet, true)
		if again != nil || d.Count != 2 || d.Nondeleted != (guid.GUID{}) {
			t.Errorf("%v, %+v", again, d)
		}
		return errors.Join(err, e, b.Release(ctx))
	}))
}

// A frail is a volume whose calls about copies fail when they are told to.
type frail struct {
	*disk
	create, seal, remove error
}

func (f *frail) CreateShadow(ctx context.Context, id [16]byte) error {
	if f.create != nil {
		return f.create
	}
	return f.disk.CreateShadow(ctx, id)
}

func (f *frail) SealShadow(ctx context.Context, id [16]byte) error {
	return errors.Join(f.disk.SealShadow(ctx, id), f.seal)
}

func (f *frail) DeleteShadow(ctx context.Context, id [16]byte) error {
	if f.remove != nil {
		return f.remove
	}
	return f.disk.DeleteShadow(ctx, id)
}

// TestVolumeFailures: what a volume answers the system provider with is the
// provider's failure: its own code if it has one, else a veto. Nothing of the set
// is left where the volume lets it go.
func TestVolumeFailures(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name  string
		setUp func(v *frail)
		want  vss.HRESULT
	}{
		{"no room for the copy", func(v *frail) { v.create = vss.ErrInsufficientStorage }, vss.ErrInsufficientStorage},
		{"no copy", func(v *frail) { v.create = broken }, vss.ErrProviderVeto},
		{"a code that no provider has", func(v *frail) { v.create = vss.ErrFail }, vss.ErrUnexpectedProviderError},
		{"not sealed", func(v *frail) { v.seal = broken }, vss.ErrProviderVeto},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{})
			v := &frail{disk: newDisk("E:")}
			m.must(m.s.AddVolume(v))
			tt.setUp(v)
			m.must(m.as(func(ctx context.Context) error {
				b, _, err := m.take(ctx, vss.ContextNASRollback, `D:\`, `E:\`)
				if vss.HRESULTOf(err) != tt.want {
					t.Errorf("%v, not %v", err, tt.want)
				}
				return b.Release(ctx)
			}))
			if len(v.shadows) != 0 {
				t.Errorf("%d copies are left", len(v.shadows))
			}
			m.settled()
		})
	}
	t.Run("not deleted", func(t *testing.T) {
		m := newMachine(t, vss.ServiceConfig{MaxClientAccessible: 1})
		v := &frail{disk: newDisk("E:")}
		m.must(m.s.AddVolume(v))
		m.must(m.as(func(ctx context.Context) error {
			b, ids, err := m.take(ctx, vss.ContextClientAccessible, `E:\`)
			v.remove = broken
			_, got := b.DeleteSnapshots(ctx, ids[0], vss.ObjectSnapshot, true)
			second, _, got2 := m.take(ctx, vss.ContextClientAccessible, `E:\`) // which wants the place of the first
			if !errors.Is(got, vss.ErrProviderVeto) || !errors.Is(got2, vss.ErrProviderVeto) {
				t.Errorf("%v, %v", got, got2)
			}
			return errors.Join(err, b.Release(ctx), second.Release(ctx))
		}))
	})
}

// TestLeftovers: what is there while a requester is at work, and gone behind it.
func TestLeftovers(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		if got := m.s.Leftovers(); len(got) != 3 || got[0] != "a shadow copy set is being created" || !strings.Contains(got[1], "F has an open session in state VSS_WS_STABLE") {
			t.Errorf("%q", got)
		}
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		if got := m.s.Leftovers(); len(got) != 4 || !strings.Contains(got[2], "was not released") {
			t.Errorf("%q", got)
		}
		return errors.Join(err, b.Release(ctx))
	}))
	if got := m.s.Leftovers(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestIdentitiesOfAnOperation: requester and writers see one session, and writers
// the set that is being made.
func TestIdentitiesOfAnOperation(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	var session, set []guid.GUID
	m.f.on[vss.EventIdentify] = func(_ context.Context, ev any) error {
		if ev.(*vss.IdentifyEvent).Service() != m.s {
			t.Error("of another service")
		}
		return nil
	}
	note := func(_ context.Context, ev any) error {
		e := ev.(interface {
			SessionID() guid.GUID
			SnapshotSetID() guid.GUID
		})
		session, set = append(session, e.SessionID()), append(set, e.SnapshotSetID())
		return nil
	}
	for _, e := range []vss.Event{vss.EventPrepareSnapshot, vss.EventFreeze, vss.EventThaw, vss.EventPostSnapshot, vss.EventBackupShutdown} {
		m.f.on[e] = note
	}
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		id, made := b.GetSessionID(), m.s.Snapshots()[0].SnapshotSetID
		if err := errors.Join(err, b.Release(ctx)); err != nil {
			return err
		}
		if len(session) != 5 || slices.ContainsFunc(session, func(s guid.GUID) bool { return s != id }) || slices.ContainsFunc(set, func(s guid.GUID) bool { return s != made }) {
			t.Errorf("sessions %v, sets %v", session, set)
		}
		return nil
	}))
	if got := m.f.sub.FreezeTimeout(); got != 60*time.Second {
		t.Errorf("the window is %v", got)
	}
}

// TestVolumesOfAService: names and identities are taken once.
func TestVolumesOfAService(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	bare := newDisk("E:")
	bare.name = "E:"
	same := newDisk("F:")
	same.id = m.c.id
	for want, d := range map[vss.HRESULT]*disk{vss.ErrInvalidArg: bare, vss.ErrObjectAlreadyExists: same} {
		if err := m.s.AddVolume(d); !errors.Is(err, want) {
			t.Errorf("%s: %v", d.name, err)
		}
	}
	if err := m.s.AddVolume(newDisk("c:")); !errors.Is(err, vss.ErrObjectAlreadyExists) {
		t.Errorf("c: %v", err)
	}
	if err := m.s.UnregisterProvider(vss.SystemProviderID); !errors.Is(err, vss.ErrProviderNotRegistered) {
		t.Errorf("the system provider: %v", err)
	}
}
