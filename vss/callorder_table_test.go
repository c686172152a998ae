package vss_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// publishedOrder says, by hand and from the pages of IVssBackupComponents, how each
// call ends in each phase when its arguments are those of the function calls. A
// column is a phase:
//
//	N  new                         I  ImportSnapshots
//	B  InitializeForBackup         R  InitializeForRestore
//	G  GatherWriterMetadata        H  GatherWriterMetadata
//	S  StartSnapshotSet            L  SetSelectedForRestore
//	P  PrepareForBackup            E  PreRestore
//	D  DoSnapshotSet               O  PostRestore
//	F  a failed DoSnapshotSet      X  Release
//	C  BackupComplete
//	A  AbortBackup
//	Q  Query
//
// and a letter a code:
//
//	.  VSS_E_BAD_STATE             o  S_OK
//	n  VSS_E_OBJECT_NOT_FOUND      x  VSS_E_OBJECT_ALREADY_EXISTS
//	s  VSS_E_VOLUME_NOT_SUPPORTED  t  VSS_E_NONTRANSPORTABLE_BCD
//
// Two calls in one row are made one after the other, and the second one counts.
const publishedOrder = `
                                     N B G S P D F C A Q I R H L E O X
InitializeForBackup                  o . . . . . . . . . . . . . . . .
InitializeForRestore                 o . . . . . . . . . . . . . . . .
SetContext                           . o o . . . . . . . . . . . . . .
SetBackupState                       . o o o . . . . . . . o o o . . .
EnableWriterClasses                  . o o o o o o o o o o o o o o o .
DisableWriterClasses                 . o o o o o o o o o o o o o o o .
DisableWriterInstances               . o o o o o o o o o o o o o o o .
GatherWriterMetadata                 . o . . . . . . . . . o . . . . .
GatherWriterMetadata+GatherWriterMetadata . . . . . . . . . . . . . . . . .
GetWriterMetadata                    . . o o o o o o o . . . o o o o .
FreeWriterMetadata                   . . o o o o o o o . . . o o o o .
FreeWriterMetadata+GetWriterMetadata . . . . . . . . . . . . . . . . .
GatherWriterStatus                   . . o o o o o o o . . o o o o o .
GetWriterStatus                      . . . . . . . . . . . . . . . . .
FreeWriterStatus                     . . . . . . . . . . . . . . . . .
GatherWriterStatus+GetWriterStatus   . . o o o o o o o . . o o o o o .
GatherWriterStatus+FreeWriterStatus  . . o o o o o o o . . o o o o o .
GetWriterComponents                  . n n o o o o o o n n o o o o o .
AddComponent                         . . o x . . . . . . . . . . . . .
AddComponent+AddComponent            . . x x . . . . . . . . . . . . .
SetBackupOptions                     . . n o . . . . . . . . . . . . .
AddComponent+SetBackupOptions        . . o o . . . . . . . . . . . . .
SetPreviousBackupStamp               . . n o . . . . . . . . . . . . .
AddComponent+SetPreviousBackupStamp  . . o o . . . . . . . . . . . . .
StartSnapshotSet                     . . o . . . . . . . . . . . . . .
AddToSnapshotSet                     . . . o o . . . . . . . . . . . .
AddToSnapshotSet+AddToSnapshotSet    . . . x x . . . . . . . . . . . .
IsVolumeSupported                    . o o o o o o o o o o . . . . . .
PrepareForBackup                     . . . o . . . . . . . . . . . . .
DoSnapshotSet                        . . . . o . . . . . . . . . . . .
SetBackupSucceeded                   . . . . o o . . . . . . . . . . .
BackupComplete                       . . . . o o . . . . . . . . . . .
AbortBackup                          . o o o o o o o o o o . . . . . .
AbortBackup+BackupComplete           . . . . . . . . . . . . . . . . .
SaveAsXML                            . . . . o o o o . . o o o o o o .
ImportSnapshots                      . . . . . . . . . . . . . . . . .
GetSnapshotProperties                . n n n n n n n n n n . . . . . .
DeleteSnapshots                      . n n n n n n n n n n . . . . . .
BreakSnapshotSet                     . n n n n n n n n n n . . . . . .
ExposeSnapshot                       . n n n n n n n n n n . . . . . .
UnexposeSnapshot                     . n n n n n n n n n n . . . . . .
RevertToSnapshot                     . n n n n n n n n n n . . . . . .
QueryRevertStatus                    . s s s s s s s s s s s s s s s .
Query                                . o o o o o o o o o o . . . . . .
Query+GatherWriterMetadata           . . . . . . . . . . . o . . . . .
SetRestoreState                      . . . . . . . . . . . o o o . . .
SetSelectedForRestore                . . . . . . . . . . . . o o . . .
SetSelectedForRestoreEx              . . . . . . . . . . . . o o . . .
AddRestoreSubcomponent               . . . . . . . . . . . . . o . . .
SetAdditionalRestores                . . . . . . . . . . . o o o . . .
SetRestoreOptions                    . . . . . . . . . . . o o o . . .
SetRestoreOptions+SetRestoreOptions  . . . . . . . . . . . . . . . . .
SetAuthoritativeRestore              . . . . . . . . . . . o o o . . .
SetRollForward                       . . . . . . . . . . . o o o . . .
SetRestoreName                       . . . . . . . . . . . o o o . . .
AddNewTarget                         . . . . . . . . . . . n o o . . .
PreRestore                           . . . . . . . . . . . . . o . . .
AddAlternativeLocationMapping        . . . . . . . . . . . . . . n . .
SetFileRestoreStatus                 . . . . . . . . . . . . . . o . .
SetRangesFilePath                    . . . . . . . . . . . n n n n . .
PostRestore                          . . . . . . . . . . . . . . o . .
AddSnapshotToRecoverySet             . . . . . . . . . . . t t t . . .
RecoverSet                           . . . . . . . . . . . n n n . . .
Release                              o o o o o o o o o o o o o o o o o
`

var publishedCodes = map[string]vss.HRESULT{
	".": vss.ErrBadState, "o": vss.SOK, "n": vss.ErrObjectNotFound, "x": vss.ErrObjectAlreadyExists,
	"s": vss.ErrVolumeNotSupported, "t": vss.ErrNonTransportableBCD,
}

var publishedPhases = map[string]vss.Phase{
	"N": vss.PhaseNew, "B": vss.PhaseBackup, "G": vss.PhaseGathered, "S": vss.PhaseSetStarted, "P": vss.PhasePrepared,
	"D": vss.PhaseSnapped, "F": vss.PhaseFailed, "C": vss.PhaseCompleted, "A": vss.PhaseAborted, "Q": vss.PhaseCatalogue,
	"I": vss.PhaseImported, "R": vss.PhaseRestore, "H": vss.PhaseRestoreGathered, "L": vss.PhaseSelected,
	"E": vss.PhasePreRestored, "O": vss.PhasePostRestored, "X": vss.PhaseReleased,
}

// TestPublishedOrder makes every call, and some pairs, in every phase and holds
// the code against the table above, which owes nothing to the package's own.
func TestPublishedOrder(t *testing.T) {
	first := newMachine(t, vss.ServiceConfig{})
	first.b.schema = fullSchema
	xml, err := first.backup2()
	first.must(err)
	reach := make(map[vss.Phase]stage)
	for _, st := range append(stages(xml), importedStage()) {
		reach[st.phase] = st
	}
	lines := strings.Split(strings.TrimSpace(publishedOrder), "\n")
	columns := strings.Fields(lines[0])
	named := make(map[string]bool)
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) != len(columns)+1 {
			t.Fatalf("a row of %d columns: %s", len(f)-1, line)
		}
		methods := strings.Split(f[0], "+")
		named[methods[len(methods)-1]] = true
		for i, column := range columns {
			st, ok := reach[publishedPhases[column]]
			if !ok {
				t.Fatalf("no way to %v", publishedPhases[column])
			}
			endsWith(t, st, xml, methods, publishedCodes[f[i+1]])
		}
	}
	for method := range calls(first, xml) {
		if !named[method] {
			t.Errorf("the table does not have %s", method)
		}
	}
}

// endsWith makes calls in a phase and checks how the last one ends.
func endsWith(t *testing.T, st stage, xml []byte, methods []string, want vss.HRESULT) {
	t.Helper()
	m := newMachine(t, vss.ServiceConfig{})
	defer func() { _ = m.w.Close() }()
	m.b.schema = fullSchema
	m.b.extra = []vss.ComponentInfo{{ComponentKey: vss.ComponentKey{LogicalPath: "B", Name: "part"}, Type: vss.ComponentFileGroup, SelectableForRestore: true}}
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		if err := errors.Join(err, st.reach(ctx, m, b)); err != nil {
			return err
		}
		if b.Phase() != st.phase {
			t.Fatalf("the phase is %v, not %v", b.Phase(), st.phase)
		}
		for _, method := range methods {
			err = calls(m, xml)[method](ctx, b)
		}
		if got := vss.HRESULTOf(err); got != want {
			t.Errorf("%s in %v: %v, not %v", strings.Join(methods, ", "), st.phase, err, want)
		}
		return b.Release(ctx)
	}))
}

// importedStage is an object that has imported a transportable set.
func importedStage() stage {
	return stage{vss.PhaseImported, begun | vss.FactStored, func(ctx context.Context, m *machine, b *vss.BackupComponents) error {
		err := m.s.RegisterProvider(newArray(make(map[guid.GUID]string)), vss.ProviderConfig{ID: arrayID, Name: "array", Type: vss.ProviderHardware})
		maker, _, e := m.take(ctx, vss.ContextFileShareBackup.With(vss.AttrTransportable), `C:\`)
		xml, e2 := maker.SaveAsXML()
		return errors.Join(err, e, e2, maker.Release(ctx), b.InitializeForBackup(ctx, bytes.NewReader(xml)), b.ImportSnapshots(ctx))
	}}
}

// TestPrerequisites: what a call demands beside its phase. Without it the call is
// BAD_STATE, with it it works.
func TestPrerequisites(t *testing.T) {
	full := vss.BackupState{SelectComponents: true, Type: vss.BackupFull}
	whole := vss.BackupState{Type: vss.BackupFull}
	type object = *vss.BackupComponents
	start := func(ctx context.Context, b object) error { _, err := b.StartSnapshotSet(ctx); return err }
	state := func(st vss.BackupState) func(ctx context.Context, b object) error {
		return func(ctx context.Context, b object) error { return b.SetBackupState(ctx, st) }
	}
	within := func(c vss.SnapshotContext) func(ctx context.Context, b object) error {
		return func(ctx context.Context, b object) error { return b.SetContext(ctx, c) }
	}
	gather := func(ctx context.Context, b object) error { return b.GatherWriterMetadata(ctx) }
	free := func(_ context.Context, b object) error { return b.FreeWriterMetadata() }
	read := func(_ context.Context, b object) error { _, err := b.GetWriterMetadataCount(); return err }
	prepare := func(ctx context.Context, b object) error { return b.PrepareForBackup(ctx) }
	do := func(ctx context.Context, b object) error { return b.DoSnapshotSet(ctx) }
	complete := func(ctx context.Context, b object) error { return b.BackupComplete(ctx) }
	query := func(ctx context.Context, b object) error { _, err := b.Query(ctx); return err }
	m := newMachine(t, vss.ServiceConfig{})
	add := func(ctx context.Context, b object) error { return b.AddComponent(ctx, m.f.key()) }
	type steps []func(ctx context.Context, b object) error
	for _, tt := range []struct {
		name string
		do   steps // all but the last must work
		bad  bool
	}{
		{"PrepareForBackup without SetBackupState", steps{gather, start, prepare}, true},
		{"PrepareForBackup with it", steps{state(whole), gather, start, prepare}, false},
		{"AddComponent without component mode", steps{state(whole), gather, add}, true},
		{"AddComponent with it", steps{state(full), gather, add}, false},
		{"StartSnapshotSet without GatherWriterMetadata", steps{state(full), start}, true},
		{"StartSnapshotSet in a context without writers", steps{within(vss.ContextNASRollback), start}, false},
		{"GetWriterMetadata behind FreeWriterMetadata", steps{gather, free, read}, true},
		{"a backup behind FreeWriterMetadata", steps{state(full), gather, free, add, start, prepare, do, complete}, false},
		{"a backup of all writers behind FreeWriterMetadata", steps{state(whole), gather, free, start, prepare, do, complete}, false},
		{"SetContext twice", steps{within(vss.ContextBackup), within(vss.ContextBackup)}, true},
		{"SetContext behind GatherWriterMetadata", steps{gather, within(vss.ContextAppRollback)}, false},
		{"SetContext behind StartSnapshotSet", steps{gather, start, within(vss.ContextAppRollback)}, true},
		{"Query in the context for all", steps{within(vss.ContextAll), query}, false},
		{"StartSnapshotSet in the context for all", steps{within(vss.ContextAll), gather, start}, true},
		{"DoSnapshotSet without PrepareForBackup", steps{state(full), gather, start, do}, true},
		{"DoSnapshotSet in a context without writers", steps{within(vss.ContextFileShareBackup), start, do}, false},
		{"GatherWriterMetadata in a context without writers", steps{within(vss.ContextFileShareBackup), gather, start, do}, false},
		{"AddComponent in a context without writers", steps{within(vss.ContextClientAccessible), state(full), gather, add}, true},
		{"PrepareForBackup in a context without writers", steps{within(vss.ContextNASRollback), state(full), gather, start, prepare}, true},
		{"BackupComplete in a context without writers", steps{within(vss.ContextFileShareBackup), start, do, complete}, true},
		{"PrepareForBackup in a context with writers for clients", steps{within(vss.ContextClientAccessibleWriters), state(full), gather, start, prepare, do, complete}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.s.CreateBackupComponents(ctx)
				err = errors.Join(err, b.InitializeForBackup(ctx, nil))
				last := len(tt.do) - 1
				for _, step := range tt.do[:last] {
					err = errors.Join(err, step(ctx, b))
				}
				if got := tt.do[last](ctx, b); errors.Is(got, vss.ErrBadState) != tt.bad || !tt.bad && got != nil {
					t.Errorf("%v", got)
				}
				return errors.Join(err, b.Release(ctx))
			}))
		})
	}
}
