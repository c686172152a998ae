package vss_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// A stage is a phase, the way to it, and what is true there.
type stage struct {
	phase vss.Phase
	facts vss.Facts
	reach func(ctx context.Context, m *machine, b *vss.BackupComponents) error
}

const (
	begun    = vss.FactWriters | vss.FactCreatable | vss.FactContextUnset | vss.FactMetadataKept
	chosen   = begun | vss.FactBackupState | vss.FactComponentMode
	gathered = chosen | vss.FactMetadata
	prepared = gathered | vss.FactPrepared
)

func stages(xml []byte) []stage {
	type step = func(ctx context.Context, m *machine, b *vss.BackupComponents) error
	then := func(steps ...step) step {
		return func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
			for _, s := range steps {
				if err := s(ctx, m, b); err != nil {
					return err
				}
			}
			return nil
		}
	}
	initB := func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
		return errors.Join(b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}))
	}
	gather := func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
		return b.GatherWriterMetadata(ctx)
	}
	start := func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
		err := addAll(ctx, b, []*app{m.f, m.b})
		_, e := b.StartSnapshotSet(ctx)
		_, e2 := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{})
		return errors.Join(err, e, e2)
	}
	prepare := func(ctx context.Context, m *machine, b *vss.BackupComponents) error { return b.PrepareForBackup(ctx) }
	snap := func(ctx context.Context, m *machine, b *vss.BackupComponents) error { return b.DoSnapshotSet(ctx) }
	broken := func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
		m.c.flush = func(context.Context) error { return errors.New("broken") }
		defer func() { m.c.flush = nil }()
		if err := b.DoSnapshotSet(ctx); !errors.Is(err, vss.ErrFlushWritesTimeout) {
			return errors.Join(errors.New("the set did not fail"), err)
		}
		return nil
	}
	end := func(ctx context.Context, m *machine, b *vss.BackupComponents) error { return b.BackupComplete(ctx) }
	abort := func(ctx context.Context, m *machine, b *vss.BackupComponents) error { return b.AbortBackup(ctx) }
	query := func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
		_, err := b.Query(ctx)
		return err
	}
	release := func(ctx context.Context, m *machine, b *vss.BackupComponents) error { return b.Release(ctx) }
	initR := func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
		return b.InitializeForRestore(ctx, bytes.NewReader(xml))
	}
	sel := func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
		return b.SetSelectedForRestore(ctx, m.b.key(), true)
	}
	pre := func(ctx context.Context, m *machine, b *vss.BackupComponents) error { return b.PreRestore(ctx) }
	post := func(ctx context.Context, m *machine, b *vss.BackupComponents) error { return b.PostRestore(ctx) }
	stored := (begun | vss.FactComponentMode | vss.FactStored)
	return []stage{
		{vss.PhaseNew, begun, then()},
		{vss.PhaseBackup, chosen, initB},
		{vss.PhaseGathered, gathered, then(initB, gather)},
		{vss.PhaseSetStarted, gathered, then(initB, gather, start)},
		{vss.PhasePrepared, prepared, then(initB, gather, start, prepare)},
		{vss.PhaseSnapped, prepared, then(initB, gather, start, prepare, snap)},
		{vss.PhaseFailed, prepared, then(initB, gather, start, prepare, broken)},
		{vss.PhaseCompleted, prepared, then(initB, gather, start, prepare, snap, end)},
		{vss.PhaseAborted, prepared, then(initB, gather, start, prepare, abort)},
		{vss.PhaseCatalogue, chosen, then(initB, query)},
		{vss.PhaseRestore, stored, initR},
		{vss.PhaseRestoreGathered, stored | vss.FactMetadata, then(initR, gather)},
		{vss.PhaseSelected, stored | vss.FactMetadata | vss.FactSelected, then(initR, gather, sel)},
		{vss.PhasePreRestored, stored | vss.FactMetadata, then(initR, gather, sel, pre)},
		{vss.PhasePostRestored, stored | vss.FactMetadata, then(initR, gather, sel, pre, post)},
		{vss.PhaseReleased, gathered, then(initB, gather, release)},
	}
}

// calls makes each method of the table, with arguments that are good where it is
// in order.
func calls(m *machine, xml []byte) map[string]func(ctx context.Context, b *vss.BackupComponents) error {
	type call = func(ctx context.Context, b *vss.BackupComponents) error
	key := m.b.key()
	mapping := vss.FileMapping{FileSpec: vss.FileSpec{Path: `C:\B`, Spec: "*"}, Destination: `D:\elsewhere`}
	return map[string]call{
		"InitializeForBackup": func(ctx context.Context, b *vss.BackupComponents) error { return b.InitializeForBackup(ctx, nil) },
		"InitializeForRestore": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.InitializeForRestore(ctx, bytes.NewReader(xml))
		},
		"SetContext": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetContext(ctx, vss.ContextAppRollback)
		},
		"SetBackupState": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupCopy})
		},
		"EnableWriterClasses": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.EnableWriterClasses(ctx, m.f.class, m.b.class)
		},
		"DisableWriterClasses":   func(ctx context.Context, b *vss.BackupComponents) error { return b.DisableWriterClasses(ctx) },
		"DisableWriterInstances": func(ctx context.Context, b *vss.BackupComponents) error { return b.DisableWriterInstances(ctx) },
		"GatherWriterMetadata":   func(ctx context.Context, b *vss.BackupComponents) error { return b.GatherWriterMetadata(ctx) },
		"GetWriterMetadata": func(_ context.Context, b *vss.BackupComponents) error {
			_, err := b.GetWriterMetadataCount()
			_, e := b.GetWriterMetadata(0)
			return errors.Join(err, e)
		},
		"FreeWriterMetadata":  func(_ context.Context, b *vss.BackupComponents) error { return b.FreeWriterMetadata() },
		"GatherWriterStatus":  func(ctx context.Context, b *vss.BackupComponents) error { return b.GatherWriterStatus(ctx) },
		"GetWriterStatus":     func(_ context.Context, b *vss.BackupComponents) error { _, err := b.GetWriterStatus(0); return err },
		"FreeWriterStatus":    func(_ context.Context, b *vss.BackupComponents) error { return b.FreeWriterStatus() },
		"GetWriterComponents": func(_ context.Context, b *vss.BackupComponents) error { _, err := b.GetWriterComponents(0); return err },
		"AddComponent":        func(ctx context.Context, b *vss.BackupComponents) error { return b.AddComponent(ctx, key) },
		"SetBackupOptions":    func(ctx context.Context, b *vss.BackupComponents) error { return b.SetBackupOptions(ctx, key, "fast") },
		"SetPreviousBackupStamp": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetPreviousBackupStamp(ctx, key, "1")
		},
		"StartSnapshotSet": func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.StartSnapshotSet(ctx)
			return err
		},
		"AddToSnapshotSet": func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.AddToSnapshotSet(ctx, `D:\`, guid.GUID{})
			return err
		},
		"IsVolumeSupported": func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.IsVolumeSupported(ctx, `D:\`, guid.GUID{})
			return err
		},
		"PrepareForBackup":   func(ctx context.Context, b *vss.BackupComponents) error { return b.PrepareForBackup(ctx) },
		"DoSnapshotSet":      func(ctx context.Context, b *vss.BackupComponents) error { return b.DoSnapshotSet(ctx) },
		"SetBackupSucceeded": func(ctx context.Context, b *vss.BackupComponents) error { return b.SetBackupSucceeded(ctx, key, true) },
		"BackupComplete":     func(ctx context.Context, b *vss.BackupComponents) error { return b.BackupComplete(ctx) },
		"AbortBackup":        func(ctx context.Context, b *vss.BackupComponents) error { return b.AbortBackup(ctx) },
		"SaveAsXML":          func(_ context.Context, b *vss.BackupComponents) error { _, err := b.SaveAsXML(); return err },
		"ImportSnapshots":    func(ctx context.Context, b *vss.BackupComponents) error { return b.ImportSnapshots(ctx) },
		"GetSnapshotProperties": func(_ context.Context, b *vss.BackupComponents) error {
			_, err := b.GetSnapshotProperties(guid.GUID{1})
			return err
		},
		"DeleteSnapshots": func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.DeleteSnapshots(ctx, guid.GUID{1}, vss.ObjectSnapshot, true)
			return err
		},
		"BreakSnapshotSet": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.BreakSnapshotSet(ctx, guid.GUID{1}, 0)
		},
		"ExposeSnapshot": func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.ExposeSnapshot(ctx, guid.GUID{1}, vss.Exposure{Name: "X:"})
			return err
		},
		"UnexposeSnapshot": func(ctx context.Context, b *vss.BackupComponents) error { return b.UnexposeSnapshot(ctx, guid.GUID{1}) },
		"RevertToSnapshot": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.RevertToSnapshot(ctx, guid.GUID{1}, true)
		},
		"QueryRevertStatus": func(ctx context.Context, b *vss.BackupComponents) error {
			_, err := b.QueryRevertStatus(ctx, `C:\`)
			return err
		},
		"Query": func(ctx context.Context, b *vss.BackupComponents) error { _, err := b.Query(ctx); return err },
		"SetRestoreState": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetRestoreState(ctx, vss.RestoreByCopy)
		},
		"SetSelectedForRestore": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetSelectedForRestore(ctx, key, true)
		},
		"SetSelectedForRestoreEx": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetSelectedForRestoreEx(ctx, key, true, m.b.sub.InstanceID())
		},
		"AddRestoreSubcomponent": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.AddRestoreSubcomponent(ctx, key, vss.ComponentKey{LogicalPath: "B", Name: "part"})
		},
		"SetAdditionalRestores": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetAdditionalRestores(ctx, key, true)
		},
		"SetRestoreOptions": func(ctx context.Context, b *vss.BackupComponents) error { return b.SetRestoreOptions(ctx, key, "x") },
		"SetAuthoritativeRestore": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetAuthoritativeRestore(ctx, key, true)
		},
		"SetRollForward": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetRollForward(ctx, key, vss.RollForwardAll, "")
		},
		"SetRestoreName": func(ctx context.Context, b *vss.BackupComponents) error { return b.SetRestoreName(ctx, key, "C") },
		"AddNewTarget":   func(ctx context.Context, b *vss.BackupComponents) error { return b.AddNewTarget(ctx, key, mapping) },
		"PreRestore":     func(ctx context.Context, b *vss.BackupComponents) error { return b.PreRestore(ctx) },
		"AddAlternativeLocationMapping": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.AddAlternativeLocationMapping(ctx, key, mapping)
		},
		"SetFileRestoreStatus": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetFileRestoreStatus(ctx, key, vss.FilesAll)
		},
		"SetRangesFilePath": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.SetRangesFilePath(ctx, key, 0, `D:\r`)
		},
		"PostRestore": func(ctx context.Context, b *vss.BackupComponents) error { return b.PostRestore(ctx) },
		"AddSnapshotToRecoverySet": func(ctx context.Context, b *vss.BackupComponents) error {
			return b.AddSnapshotToRecoverySet(ctx, guid.GUID{1}, "")
		},
		"RecoverSet": func(ctx context.Context, b *vss.BackupComponents) error { return b.RecoverSet(ctx, 0) },
		"Release":    func(ctx context.Context, b *vss.BackupComponents) error { return b.Release(ctx) },
	}
}

const fullSchema = vss.SchemaNewTarget | vss.SchemaRestoreWithMove | vss.SchemaRestoreRename |
	vss.SchemaRollForwardRestore | vss.SchemaAuthoritativeRestore

// TestEveryCallInEveryPhase makes each call of the table in each phase. A call
// out of order is VSS_E_BAD_STATE and changes nothing; one in order is anything
// but that, and leads where the table says.
func TestEveryCallInEveryPhase(t *testing.T) {
	first := newMachine(t, vss.ServiceConfig{})
	first.b.schema = fullSchema
	xml, err := first.backup2()
	first.must(err)
	methods := make(map[string][]vss.CallRule)
	for _, r := range vss.CallRules() {
		methods[r.Method] = append(methods[r.Method], r)
	}
	legal, illegal := 0, 0
	for _, st := range stages(xml) {
		for method, rules := range methods {
			m := newMachine(t, vss.ServiceConfig{})
			m.b.schema = fullSchema
			m.b.extra = []vss.ComponentInfo{{ComponentKey: vss.ComponentKey{LogicalPath: "B", Name: "part"}, Type: vss.ComponentFileGroup, SelectableForRestore: true}}
			call := calls(m, xml)[method]
			if call == nil {
				t.Fatalf("nothing calls %s", method)
			}
			i := slices.IndexFunc(rules, func(r vss.CallRule) bool { return r.Allows(st.phase, st.facts) })
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.s.CreateBackupComponents(ctx)
				if err := errors.Join(err, st.reach(ctx, m, b)); err != nil {
					return err
				}
				if b.Phase() != st.phase {
					t.Fatalf("the phase is %v, not %v", b.Phase(), st.phase)
				}
				err = call(ctx, b)
				switch bad := errors.Is(err, vss.ErrBadState); {
				case method == "Release":
				case i < 0 && (!bad || b.Phase() != st.phase):
					t.Errorf("%s in %v: %v, then %v", method, st.phase, err, b.Phase())
				case i >= 0 && (bad || b.Phase() != rules[i].Next(st.phase, err == nil)):
					t.Errorf("%s in %v: %v, then %v", method, st.phase, err, b.Phase())
				}
				if i < 0 {
					illegal++
				} else {
					legal++
				}
				return b.Release(ctx)
			}))
		}
	}
	t.Logf("%d legal calls, %d illegal", legal, illegal)
	if legal < 200 || illegal < 400 {
		t.Error("too few")
	}
}

// TestCallsWhileAnOperationRuns demands that only AbortBackup and Release are in
// order then.
func TestCallsWhileAnOperationRuns(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.f.sleeps(vss.EventFreeze, 30*time.Second)
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		if err != nil {
			return err
		}
		a, err := b.StartDoSnapshotSet(ctx)
		if err != nil {
			return err
		}
		for method, call := range calls(m, nil) {
			if method == "AbortBackup" || method == "Release" {
				continue
			}
			if err := call(ctx, b); !errors.Is(err, vss.ErrBadState) {
				t.Errorf("%s: %v", method, err)
			}
		}
		if h, err := a.QueryStatus(ctx); h != vss.AsyncPending || err != nil {
			t.Errorf("the operation is %v, %v", h, err)
		}
		return errors.Join(a.Wait(ctx), a.Err(), b.Release(ctx))
	}))
	m.settled()
}
