package vss

import (
	"errors"
	"slices"
	"testing"
)

func TestWriterStateTexts(t *testing.T) {
	for _, row := range []struct {
		state           WriterState
		word, display   string
		failed, healthy bool
	}{
		{StateUnknown, "Unknown", "[0] Unknown", false, false},
		{StateStable, "Stable", "[1] Stable", false, true},
		{StateWaitingForFreeze, "WaitingForFreeze", "[2] Waiting for freeze", false, false},
		{StateWaitingForThaw, "WaitingForThaw", "[3] Frozen", false, false},
		{StateWaitingForPostSnapshot, "WaitingForPostSnapshot", "[4] Waiting for post-snapshot", false, false},
		{StateWaitingForBackupComplete, "WaitingForBackupComplete", "[5] Waiting for completion", false, true},
		{StateFailedAtIdentify, "FailedAtIdentify", "[6] Failed", true, false},
		{StateFailedAtThaw, "FailedAtThaw", "[10] Failed", true, false},
		{StateFailedAtBackupShutdown, "FailedAtBackupShutdown", "[15] Failed", true, false},
		{WriterState(16), "Count", "[16] Unknown", false, false},
		{WriterState(-1), "-1", "[-1] Unknown", false, false},
	} {
		s := row.state
		if s.Word() != row.word || s.Display() != row.display || s.Failed() != row.failed || s.Healthy() != row.healthy {
			t.Errorf("%v: %q %q failed=%v healthy=%v; want %+v", s, s.Word(), s.Display(), s.Failed(), s.Healthy(), row)
		}
	}
}

func TestContextsAreComposedAsDocumented(t *testing.T) {
	for _, row := range []struct {
		context                          SnapshotContext
		composition                      SnapshotAttributes
		persistent, autoRelease, writers bool
	}{
		{ContextBackup, 0, false, true, true},
		{ContextFileShareBackup, AttrNoWriters, false, true, false},
		{ContextNASRollback, AttrPersistent | AttrNoAutoRelease | AttrNoWriters, true, false, false},
		{ContextAppRollback, AttrPersistent | AttrNoAutoRelease, true, false, true},
		{ContextClientAccessible, AttrPersistent | AttrClientAccessible | AttrNoAutoRelease | AttrNoWriters, true, false, false},
		{ContextClientAccessibleWriters, AttrPersistent | AttrClientAccessible | AttrNoAutoRelease, true, false, true},
	} {
		c := row.context
		if c.Attributes() != row.composition || c.Persistent() != row.persistent ||
			c.AutoRelease() != row.autoRelease || c.Writers() != row.writers {
			t.Errorf("%v is %v, persistent %v, auto-release %v, writers %v; want %+v",
				c, c.Attributes(), c.Persistent(), c.AutoRelease(), c.Writers(), row)
		}
		if c.Base() != c || c.Check() != nil {
			t.Errorf("%v: base %v, check %v", c, c.Base(), c.Check())
		}
	}
}

func TestContextCheck(t *testing.T) {
	for _, row := range []struct {
		context SnapshotContext
		ok      bool
		printed string
	}{
		{ContextAll, true, "VSS_CTX_ALL"},
		{ContextBackup.With(SettableAttributes &^ (AttrPlex | AttrNoAutoRecovery)), true, ""},
		{ContextBackup.With(AttrTransportable), true, "VSS_CTX_BACKUP|VSS_VOLSNAP_ATTR_TRANSPORTABLE"},
		{ContextAppRollback.With(AttrRollbackRecovery | AttrTxFRecovery | AttrPlex), true, ""},
		{ContextNASRollback.With(AttrNoAutoRecovery), true, ""},
		{ContextBackup.With(AttrDifferential | AttrPlex), false, ""},
		{ContextBackup.With(AttrNoAutoRecovery | AttrRollbackRecovery), false, ""},
		{ContextBackup.With(AttrNoAutoRecovery | AttrTxFRecovery), false, ""},
		{ContextClientAccessible.With(AttrDifferential), false, ""},
		{ContextClientAccessibleWriters.With(AttrNoAutoRecovery), false, ""},
		{ContextBackup.With(AttrImported), false, ""},
		{ContextBackup.With(AttrAutoRecover), false, ""},
		{ContextBackup.With(AttrDelayedPostSnapshot), false, ""},
		{SnapshotContext(AttrPersistent), false, "VSS_VOLSNAP_ATTR_PERSISTENT"},
		{SnapshotContext(AttrNoAutoRelease), false, ""},
		{SnapshotContext(AttrClientAccessible), false, ""},
		{SnapshotContext(0x100), false, "VSS_CTX_BACKUP|0x100"},
		{ContextAll &^ 1, false, ""},
	} {
		err := row.context.Check()
		if (err == nil) != row.ok || err != nil && !errors.Is(err, ErrInvalidArg) {
			t.Errorf("%v: %v, want ok %v", row.context, err, row.ok)
		}
		if row.printed != "" && row.context.String() != row.printed {
			t.Errorf("prints %v, want %s", row.context, row.printed)
		}
		if back, err := ParseEnum[SnapshotContext](row.context.String()); err != nil || back != row.context {
			t.Errorf("%v parses to %v, %v", row.context, back, err)
		}
	}
}

// TestSettableAttributes holds every attribute against the column "settable".
func TestSettableAttributes(t *testing.T) {
	settable := map[SnapshotAttributes]bool{
		AttrNoAutoRecovery: true, AttrTransportable: true, AttrNotTransacted: true, AttrDifferential: true,
		AttrPlex: true, AttrRollbackRecovery: true, AttrTxFRecovery: true,
	}
	for _, bit := range snapshotAttributes.bits {
		a := SnapshotAttributes(bit.mask)
		if got := a&SettableAttributes != 0; got != settable[a] {
			t.Errorf("%v settable: %v", a, got)
		}
		inContext := a&contextAttributes != 0
		if err := ContextBackup.With(a).Check(); !inContext && (err == nil) != settable[a] {
			t.Errorf("SetContext with %v: %v", a, err)
		}
	}
}

func TestMaskBitsRunOtherwiseThanBackupTypes(t *testing.T) {
	for _, row := range []struct {
		mask     FileSpecBackupType
		backup   []BackupType
		snapshot []BackupType
	}{
		{FileSpecDefault, []BackupType{BackupFull, BackupIncremental, BackupDifferential, BackupLog, BackupCopy, BackupOther},
			[]BackupType{BackupFull, BackupIncremental, BackupDifferential, BackupLog, BackupCopy, BackupOther}},
		{0x2, []BackupType{BackupDifferential}, nil},
		{0x4, []BackupType{BackupIncremental}, nil},
		{0x8, []BackupType{BackupLog}, nil},
		{0x1, []BackupType{BackupFull, BackupCopy, BackupOther}, nil},
		{0x200, nil, []BackupType{BackupDifferential}},
		{0x400, nil, []BackupType{BackupIncremental}},
		{0x10000, nil, nil},
	} {
		for b := BackupFull; b <= BackupOther; b++ {
			if got := row.mask.BackupRequired(b); got != slices.Contains(row.backup, b) {
				t.Errorf("%v requires %v: %v", row.mask, b, got)
			}
			if got := row.mask.SnapshotRequired(b); got != slices.Contains(row.snapshot, b) {
				t.Errorf("%v requires the shadow copy for %v: %v", row.mask, b, got)
			}
		}
	}
}

func TestSchemaDecidesTheTypeOfBackup(t *testing.T) {
	bits := map[BackupType]BackupSchema{BackupFull: 0, BackupIncremental: SchemaIncremental,
		BackupDifferential: SchemaDifferential, BackupLog: SchemaLog, BackupCopy: SchemaCopy}
	for b := BackupUndefined; b <= BackupOther; b++ {
		bit, has := bits[b]
		if got := bit.Supports(b); got != has {
			t.Errorf("%v supports %v: %v", bit, b, got)
		}
		if got := SchemaUndefined.Effective(b); got != BackupFull {
			t.Errorf("without a schema, %v becomes %v", b, got)
		}
		if got := bit.Effective(b); has && got != b {
			t.Errorf("%v makes %v of %v", bit, got, b)
		}
	}
}

func TestSchemaCheck(t *testing.T) {
	for schema, ok := range map[BackupSchema]bool{
		SchemaUndefined: true, 881: true, 0xFFFF: true, SchemaCopy | SchemaLog: true,
		SchemaExclusiveIncrementalDifferential:                                          false,
		SchemaExclusiveIncrementalDifferential | SchemaIncremental:                      false,
		SchemaExclusiveIncrementalDifferential | SchemaIncremental | SchemaDifferential: true,
		SchemaTimestamped: false, SchemaLastModify: false, SchemaTimestamped | SchemaCopy: false,
		SchemaTimestamped | SchemaDifferential: true, SchemaLastModify | SchemaIncremental: true,
	} {
		if err := schema.Check(); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalidArg) {
			t.Errorf("%v: %v, want ok %v", schema, err, ok)
		}
	}
}

func TestComponentFlagsAskForRecovery(t *testing.T) {
	rollback := ContextAppRollback.With(AttrRollbackRecovery)
	for _, row := range []struct {
		flags          ComponentFlags
		plain, forBack bool
	}{{0, false, false}, {FlagBackupRecovery, true, true}, {FlagAppRollbackRecovery, false, true}, {FlagNotSystemState, false, false}} {
		if row.flags.NeedsRecovery(ContextBackup) != row.plain || row.flags.NeedsRecovery(rollback) != row.forBack {
			t.Errorf("%v: %+v", row.flags, row)
		}
	}
}

func TestServiceMethods(t *testing.T) {
	for m := MethodUndefined; m <= MethodRestoreStopStart; m++ {
		if got := m.UsesService(); got != (m == MethodStopRestoreStart || m == MethodRestoreStopStart) {
			t.Errorf("%v uses a service: %v", m, got)
		}
	}
}
