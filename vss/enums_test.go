package vss

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestEnumerationsCarryTheRealNumbersAndNames holds every constant against the
// public headers.
func TestEnumerationsCarryTheRealNumbersAndNames(t *testing.T) {
	for _, row := range enumRows {
		number, ok := numberOf(row.value)
		if !ok {
			t.Fatalf("%T is not an enumeration", row.value)
		}
		if number != row.number || row.value.String() != row.name {
			t.Errorf("%s = %d (%s), want %d (%s)", row.name, number, row.value, row.number, row.name)
		}
		if n, ok := row.value.names().parse(row.name); !ok || n != row.number {
			t.Errorf("%q parses to %d, %v; want %d", row.name, n, ok, row.number)
		}
	}
}

type named interface {
	String() string
	names() vocabulary
}

var enumRows = []struct {
	value  named
	name   string
	number int64
}{
	{StateUnknown, "VSS_WS_UNKNOWN", 0},
	{StateStable, "VSS_WS_STABLE", 1},
	{StateWaitingForFreeze, "VSS_WS_WAITING_FOR_FREEZE", 2},
	{StateWaitingForThaw, "VSS_WS_WAITING_FOR_THAW", 3},
	{StateWaitingForPostSnapshot, "VSS_WS_WAITING_FOR_POST_SNAPSHOT", 4},
	{StateWaitingForBackupComplete, "VSS_WS_WAITING_FOR_BACKUP_COMPLETE", 5},
	{StateFailedAtIdentify, "VSS_WS_FAILED_AT_IDENTIFY", 6},
	{StateFailedAtPrepareBackup, "VSS_WS_FAILED_AT_PREPARE_BACKUP", 7},
	{StateFailedAtPrepareSnapshot, "VSS_WS_FAILED_AT_PREPARE_SNAPSHOT", 8},
	{StateFailedAtFreeze, "VSS_WS_FAILED_AT_FREEZE", 9},
	{StateFailedAtThaw, "VSS_WS_FAILED_AT_THAW", 10},
	{StateFailedAtPostSnapshot, "VSS_WS_FAILED_AT_POST_SNAPSHOT", 11},
	{StateFailedAtBackupComplete, "VSS_WS_FAILED_AT_BACKUP_COMPLETE", 12},
	{StateFailedAtPreRestore, "VSS_WS_FAILED_AT_PRE_RESTORE", 13},
	{StateFailedAtPostRestore, "VSS_WS_FAILED_AT_POST_RESTORE", 14},
	{StateFailedAtBackupShutdown, "VSS_WS_FAILED_AT_BACKUPSHUTDOWN", 15},
	{BackupUndefined, "VSS_BT_UNDEFINED", 0},
	{BackupFull, "VSS_BT_FULL", 1},
	{BackupIncremental, "VSS_BT_INCREMENTAL", 2},
	{BackupDifferential, "VSS_BT_DIFFERENTIAL", 3},
	{BackupLog, "VSS_BT_LOG", 4},
	{BackupCopy, "VSS_BT_COPY", 5},
	{BackupOther, "VSS_BT_OTHER", 6},
	{RestoreUndefined, "VSS_RTYPE_UNDEFINED", 0},
	{RestoreByCopy, "VSS_RTYPE_BY_COPY", 1},
	{RestoreImport, "VSS_RTYPE_IMPORT", 2},
	{RestoreOther, "VSS_RTYPE_OTHER", 3},
	{MethodUndefined, "VSS_RME_UNDEFINED", 0},
	{MethodRestoreIfNotThere, "VSS_RME_RESTORE_IF_NOT_THERE", 1},
	{MethodRestoreIfCanReplace, "VSS_RME_RESTORE_IF_CAN_REPLACE", 2},
	{MethodStopRestoreStart, "VSS_RME_STOP_RESTORE_START", 3},
	{MethodRestoreToAlternateLocation, "VSS_RME_RESTORE_TO_ALTERNATE_LOCATION", 4},
	{MethodRestoreAtReboot, "VSS_RME_RESTORE_AT_REBOOT", 5},
	{MethodRestoreAtRebootIfCannotReplace, "VSS_RME_RESTORE_AT_REBOOT_IF_CANNOT_REPLACE", 6},
	{MethodCustom, "VSS_RME_CUSTOM", 7},
	{MethodRestoreStopStart, "VSS_RME_RESTORE_STOP_START", 8},
	{WriterRestoreUndefined, "VSS_WRE_UNDEFINED", 0},
	{WriterRestoreNever, "VSS_WRE_NEVER", 1},
	{WriterRestoreIfReplaceFails, "VSS_WRE_IF_REPLACE_FAILS", 2},
	{WriterRestoreAlways, "VSS_WRE_ALWAYS", 3},
	{TargetUndefined, "VSS_RT_UNDEFINED", 0},
	{TargetOriginal, "VSS_RT_ORIGINAL", 1},
	{TargetAlternate, "VSS_RT_ALTERNATE", 2},
	{TargetDirected, "VSS_RT_DIRECTED", 3},
	{TargetOriginalLocation, "VSS_RT_ORIGINAL_LOCATION", 4},
	{FilesUndefined, "VSS_RS_UNDEFINED", 0},
	{FilesNone, "VSS_RS_NONE", 1},
	{FilesAll, "VSS_RS_ALL", 2},
	{FilesFailed, "VSS_RS_FAILED", 3},
	{RollForwardUndefined, "VSS_RF_UNDEFINED", 0},
	{RollForwardNone, "VSS_RF_NONE", 1},
	{RollForwardAll, "VSS_RF_ALL", 2},
	{RollForwardPartial, "VSS_RF_PARTIAL", 3},
	{UsageUndefined, "VSS_UT_UNDEFINED", 0},
	{UsageBootableSystemState, "VSS_UT_BOOTABLESYSTEMSTATE", 1},
	{UsageSystemService, "VSS_UT_SYSTEMSERVICE", 2},
	{UsageUserData, "VSS_UT_USERDATA", 3},
	{UsageOther, "VSS_UT_OTHER", 4},
	{SourceUndefined, "VSS_ST_UNDEFINED", 0},
	{SourceTransactedDB, "VSS_ST_TRANSACTEDDB", 1},
	{SourceNonTransactedDB, "VSS_ST_NONTRANSACTEDDB", 2},
	{SourceOther, "VSS_ST_OTHER", 3},
	{ComponentUndefined, "VSS_CT_UNDEFINED", 0},
	{ComponentDatabase, "VSS_CT_DATABASE", 1},
	{ComponentFileGroup, "VSS_CT_FILEGROUP", 2},
	{FlagBackupRecovery, "VSS_CF_BACKUP_RECOVERY", 1},
	{FlagAppRollbackRecovery, "VSS_CF_APP_ROLLBACK_RECOVERY", 2},
	{FlagNotSystemState, "VSS_CF_NOT_SYSTEM_STATE", 4},
	{LevelAuto, "VSS_APP_AUTO", -1},
	{LevelUnknown, "VSS_APP_UNKNOWN", 0},
	{LevelSystem, "VSS_APP_SYSTEM", 1},
	{LevelBackEnd, "VSS_APP_BACK_END", 2},
	{LevelFrontEnd, "VSS_APP_FRONT_END", 3},
	{LevelSystemRM, "VSS_APP_SYSTEM_RM", 4},
	{AlternateWriterUndefined, "VSS_AWS_UNDEFINED", 0},
	{NoAlternateWriter, "VSS_AWS_NO_ALTERNATE_WRITER", 1},
	{AlternateWriterExists, "VSS_AWS_ALTERNATE_WRITER_EXISTS", 2},
	{ThisIsAlternateWriter, "VSS_AWS_THIS_IS_ALTERNATE_WRITER", 3},
	{ObjectUnknown, "VSS_OBJECT_UNKNOWN", 0},
	{ObjectNone, "VSS_OBJECT_NONE", 1},
	{ObjectSnapshotSet, "VSS_OBJECT_SNAPSHOT_SET", 2},
	{ObjectSnapshot, "VSS_OBJECT_SNAPSHOT", 3},
	{ObjectProvider, "VSS_OBJECT_PROVIDER", 4},
	{ProviderUnknown, "VSS_PROV_UNKNOWN", 0},
	{ProviderSystem, "VSS_PROV_SYSTEM", 1},
	{ProviderSoftware, "VSS_PROV_SOFTWARE", 2},
	{ProviderHardware, "VSS_PROV_HARDWARE", 3},
	{ProviderFileShare, "VSS_PROV_FILESHARE", 4},
	{DisableDefrag, "VSS_SC_DISABLE_DEFRAG", 1},
	{DisableContentIndex, "VSS_SC_DISABLE_CONTENTINDEX", 2},
	{RecoveryRevertIdentityAll, "VSS_RECOVERY_REVERT_IDENTITY_ALL", 0x100},
	{RecoveryNoVolumeCheck, "VSS_RECOVERY_NO_VOLUME_CHECK", 0x200},
	{ProtectOriginalVolume, "VSS_PROTECTION_LEVEL_ORIGINAL_VOLUME", 0},
	{ProtectSnapshot, "VSS_PROTECTION_LEVEL_SNAPSHOT", 1},
	{FaultNone, "VSS_PROTECTION_FAULT_NONE", 0},
	{FaultDiffAreaMissing, "VSS_PROTECTION_FAULT_DIFF_AREA_MISSING", 1},
	{FaultIOFailureDuringOnline, "VSS_PROTECTION_FAULT_IO_FAILURE_DURING_ONLINE", 2},
	{FaultMetadataCorruption, "VSS_PROTECTION_FAULT_META_DATA_CORRUPTION", 3},
	{FaultMemoryAllocationFailure, "VSS_PROTECTION_FAULT_MEMORY_ALLOCATION_FAILURE", 4},
	{FaultMappedMemoryFailure, "VSS_PROTECTION_FAULT_MAPPED_MEMORY_FAILURE", 5},
	{FaultCOWReadFailure, "VSS_PROTECTION_FAULT_COW_READ_FAILURE", 6},
	{FaultCOWWriteFailure, "VSS_PROTECTION_FAULT_COW_WRITE_FAILURE", 7},
	{FaultDiffAreaFull, "VSS_PROTECTION_FAULT_DIFF_AREA_FULL", 8},
	{FaultGrowTooSlow, "VSS_PROTECTION_FAULT_GROW_TOO_SLOW", 9},
	{FaultGrowFailed, "VSS_PROTECTION_FAULT_GROW_FAILED", 10},
	{FaultDestroyAllSnapshots, "VSS_PROTECTION_FAULT_DESTROY_ALL_SNAPSHOTS", 11},
	{FaultFileSystemFailure, "VSS_PROTECTION_FAULT_FILE_SYSTEM_FAILURE", 12},
	{FaultIOFailure, "VSS_PROTECTION_FAULT_IO_FAILURE", 13},
	{FaultDiffAreaRemoved, "VSS_PROTECTION_FAULT_DIFF_AREA_REMOVED", 14},
	{FaultExternalWriterToDiffArea, "VSS_PROTECTION_FAULT_EXTERNAL_WRITER_TO_DIFF_AREA", 15},
	{FaultMountDuringClusterOffline, "VSS_PROTECTION_FAULT_MOUNT_DURING_CLUSTER_OFFLINE", 16},
	{SubscribePostSnapshot, "VSS_SM_POST_SNAPSHOT_FLAG", 1},
	{SubscribeBackupEvents, "VSS_SM_BACKUP_EVENTS_FLAG", 2},
	{SubscribeRestoreEvents, "VSS_SM_RESTORE_EVENTS_FLAG", 4},
	{SubscribeIOThrottling, "VSS_SM_IO_THROTTLING_FLAG", 8},
	{BreakMaskLUNs, "VSS_BREAKEX_FLAG_MASK_LUNS", 1},
	{BreakMakeReadWrite, "VSS_BREAKEX_FLAG_MAKE_READ_WRITE", 2},
	{BreakRevertIdentityAll, "VSS_BREAKEX_FLAG_REVERT_IDENTITY_ALL", 4},
	{BreakRevertIdentityNone, "VSS_BREAKEX_FLAG_REVERT_IDENTITY_NONE", 8},
	{NotifyReadWrite, "VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE", 0x100},
	{NotifyLUNPreRecovery, "VSS_ONLUNSTATECHANGE_NOTIFY_LUN_PRE_RECOVERY", 0x200},
	{NotifyLUNPostRecovery, "VSS_ONLUNSTATECHANGE_NOTIFY_LUN_POST_RECOVERY", 0x400},
	{DoMaskLUNs, "VSS_ONLUNSTATECHANGE_DO_MASK_LUNS", 0x800},
	{SnapshotUnknown, "VSS_SS_UNKNOWN", 0},
	{SnapshotPreparing, "VSS_SS_PREPARING", 1},
	{SnapshotProcessingPrepare, "VSS_SS_PROCESSING_PREPARE", 2},
	{SnapshotPrepared, "VSS_SS_PREPARED", 3},
	{SnapshotProcessingPreCommit, "VSS_SS_PROCESSING_PRECOMMIT", 4},
	{SnapshotPreCommitted, "VSS_SS_PRECOMMITTED", 5},
	{SnapshotProcessingCommit, "VSS_SS_PROCESSING_COMMIT", 6},
	{SnapshotCommitted, "VSS_SS_COMMITTED", 7},
	{SnapshotProcessingPostCommit, "VSS_SS_PROCESSING_POSTCOMMIT", 8},
	{SnapshotProcessingPreFinalCommit, "VSS_SS_PROCESSING_PREFINALCOMMIT", 9},
	{SnapshotPreFinalCommitted, "VSS_SS_PREFINALCOMMITTED", 10},
	{SnapshotProcessingPostFinalCommit, "VSS_SS_PROCESSING_POSTFINALCOMMIT", 11},
	{SnapshotCreated, "VSS_SS_CREATED", 12},
	{SnapshotAborted, "VSS_SS_ABORTED", 13},
	{SnapshotDeleted, "VSS_SS_DELETED", 14},
	{SnapshotPostCommitted, "VSS_SS_POSTCOMMITTED", 15},
	{AttrPersistent, "VSS_VOLSNAP_ATTR_PERSISTENT", 1},
	{AttrNoAutoRecovery, "VSS_VOLSNAP_ATTR_NO_AUTORECOVERY", 2},
	{AttrClientAccessible, "VSS_VOLSNAP_ATTR_CLIENT_ACCESSIBLE", 4},
	{AttrNoAutoRelease, "VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE", 8},
	{AttrNoWriters, "VSS_VOLSNAP_ATTR_NO_WRITERS", 16},
	{AttrTransportable, "VSS_VOLSNAP_ATTR_TRANSPORTABLE", 32},
	{AttrNotSurfaced, "VSS_VOLSNAP_ATTR_NOT_SURFACED", 64},
	{AttrNotTransacted, "VSS_VOLSNAP_ATTR_NOT_TRANSACTED", 128},
	{AttrHardwareAssisted, "VSS_VOLSNAP_ATTR_HARDWARE_ASSISTED", 0x10000},
	{AttrDifferential, "VSS_VOLSNAP_ATTR_DIFFERENTIAL", 0x20000},
	{AttrPlex, "VSS_VOLSNAP_ATTR_PLEX", 0x40000},
	{AttrImported, "VSS_VOLSNAP_ATTR_IMPORTED", 0x80000},
	{AttrExposedLocally, "VSS_VOLSNAP_ATTR_EXPOSED_LOCALLY", 0x100000},
	{AttrExposedRemotely, "VSS_VOLSNAP_ATTR_EXPOSED_REMOTELY", 0x200000},
	{AttrAutoRecover, "VSS_VOLSNAP_ATTR_AUTORECOVER", 0x400000},
	{AttrRollbackRecovery, "VSS_VOLSNAP_ATTR_ROLLBACK_RECOVERY", 0x800000},
	{AttrDelayedPostSnapshot, "VSS_VOLSNAP_ATTR_DELAYED_POSTSNAPSHOT", 0x1000000},
	{AttrTxFRecovery, "VSS_VOLSNAP_ATTR_TXF_RECOVERY", 0x2000000},
	{AttrFileShare, "VSS_VOLSNAP_ATTR_FILE_SHARE", 0x4000000},
	{ContextBackup, "VSS_CTX_BACKUP", 0},
	{ContextFileShareBackup, "VSS_CTX_FILE_SHARE_BACKUP", 16},
	{ContextNASRollback, "VSS_CTX_NAS_ROLLBACK", 25},
	{ContextAppRollback, "VSS_CTX_APP_ROLLBACK", 9},
	{ContextClientAccessible, "VSS_CTX_CLIENT_ACCESSIBLE", 29},
	{ContextClientAccessibleWriters, "VSS_CTX_CLIENT_ACCESSIBLE_WRITERS", 13},
	{ContextAll, "VSS_CTX_ALL", 0xffffffff},
	{SchemaUndefined, "VSS_BS_UNDEFINED", 0},
	{SchemaDifferential, "VSS_BS_DIFFERENTIAL", 1},
	{SchemaIncremental, "VSS_BS_INCREMENTAL", 2},
	{SchemaExclusiveIncrementalDifferential, "VSS_BS_EXCLUSIVE_INCREMENTAL_DIFFERENTIAL", 4},
	{SchemaLog, "VSS_BS_LOG", 8},
	{SchemaCopy, "VSS_BS_COPY", 16},
	{SchemaTimestamped, "VSS_BS_TIMESTAMPED", 32},
	{SchemaLastModify, "VSS_BS_LAST_MODIFY", 64},
	{SchemaLSN, "VSS_BS_LSN", 128},
	{SchemaNewTarget, "VSS_BS_WRITER_SUPPORTS_NEW_TARGET", 0x100},
	{SchemaRestoreWithMove, "VSS_BS_WRITER_SUPPORTS_RESTORE_WITH_MOVE", 0x200},
	{SchemaIndependentSystemState, "VSS_BS_INDEPENDENT_SYSTEM_STATE", 0x400},
	{SchemaRollForwardRestore, "VSS_BS_ROLLFORWARD_RESTORE", 0x1000},
	{SchemaRestoreRename, "VSS_BS_RESTORE_RENAME", 0x2000},
	{SchemaAuthoritativeRestore, "VSS_BS_AUTHORITATIVE_RESTORE", 0x4000},
	{SchemaParallelRestores, "VSS_BS_WRITER_SUPPORTS_PARALLEL_RESTORES", 0x8000},
	{FullBackupRequired, "VSS_FSBT_FULL_BACKUP_REQUIRED", 1},
	{DifferentialBackupRequired, "VSS_FSBT_DIFFERENTIAL_BACKUP_REQUIRED", 2},
	{IncrementalBackupRequired, "VSS_FSBT_INCREMENTAL_BACKUP_REQUIRED", 4},
	{LogBackupRequired, "VSS_FSBT_LOG_BACKUP_REQUIRED", 8},
	{AllBackupRequired, "VSS_FSBT_ALL_BACKUP_REQUIRED", 15},
	{FullSnapshotRequired, "VSS_FSBT_FULL_SNAPSHOT_REQUIRED", 0x100},
	{DifferentialSnapshotRequired, "VSS_FSBT_DIFFERENTIAL_SNAPSHOT_REQUIRED", 0x200},
	{IncrementalSnapshotRequired, "VSS_FSBT_INCREMENTAL_SNAPSHOT_REQUIRED", 0x400},
	{LogSnapshotRequired, "VSS_FSBT_LOG_SNAPSHOT_REQUIRED", 0x800},
	{AllSnapshotRequired, "VSS_FSBT_ALL_SNAPSHOT_REQUIRED", 0xf00},
	{CreatedDuringBackup, "VSS_FSBT_CREATED_DURING_BACKUP", 0x10000},
	{SubscribeAll, "VSS_SM_ALL_FLAGS", 0xffffffff},
}

// numberOf reads the number of any enumeration.
func numberOf(v any) (int64, bool) {
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return r.Int(), true
	case r.CanUint():
		return int64(r.Uint()), true
	}
	return 0, false
}

func TestBitSetsPrintEveryName(t *testing.T) {
	for _, row := range []struct {
		value interface{ String() string }
		want  string
	}{
		{FileSpecDefault, "VSS_FSBT_ALL_BACKUP_REQUIRED|VSS_FSBT_ALL_SNAPSHOT_REQUIRED"},
		{FullBackupRequired | LogSnapshotRequired, "VSS_FSBT_FULL_BACKUP_REQUIRED|VSS_FSBT_LOG_SNAPSHOT_REQUIRED"},
		{FileSpecBackupType(0), "0"},
		{FlagBackupRecovery | FlagNotSystemState, "VSS_CF_BACKUP_RECOVERY|VSS_CF_NOT_SYSTEM_STATE"},
		{ComponentFlags(0x18), "0x18"},
		{SubscribeDefault, "VSS_SM_BACKUP_EVENTS_FLAG|VSS_SM_RESTORE_EVENTS_FLAG"},
		{BackupSchema(881), "VSS_BS_COPY|VSS_BS_TIMESTAMPED|VSS_BS_LAST_MODIFY|VSS_BS_WRITER_SUPPORTS_NEW_TARGET|" +
			"VSS_BS_WRITER_SUPPORTS_RESTORE_WITH_MOVE|VSS_BS_DIFFERENTIAL"},
		{BackupSchema(0x801), "VSS_BS_DIFFERENTIAL|0x800"},
		{BackupType(99), "VSS_BT_99"},
		{WriterState(16), "VSS_WS_COUNT"},
		{ApplicationLevel(-2), "VSS_APP_-2"},
	} {
		if got := row.value.String(); got != row.want && !sameNames(got, row.want) {
			t.Errorf("prints %s, want %s", got, row.want)
		}
	}
}

// TestParseEnumReadsWhatIsPrinted covers values without a name, too.
func TestParseEnumReadsWhatIsPrinted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, row := range enumRows {
			n := rapid.Int32().Draw(t, "value")
			if n < 0 && row.number >= 0 && isBitSet(row.value) {
				n = -n - 1
			}
			names := row.value.names()
			if back, ok := names.parse(names.text(int64(n))); !ok || back != int64(n) {
				t.Fatalf("%q parses to %d, %v; want %d", names.text(int64(n)), back, ok, n)
			}
		}
	})
}

func TestParseEnum(t *testing.T) {
	if got, err := ParseEnum[BackupType]("incremental"); err != nil || got != BackupIncremental {
		t.Errorf("incremental = %v, %v", got, err)
	}
	if got, err := ParseEnum[UsageType]("USER_DATA"); err != nil || got != UsageUserData {
		t.Errorf("USER_DATA = %v, %v", got, err)
	}
	if got, err := ParseEnum[RestoreMethod]("vss_rme_restore_if_can_replace"); err != nil || got != MethodRestoreIfCanReplace {
		t.Errorf("vss_rme_restore_if_can_replace = %v, %v", got, err)
	}
	if got, err := ParseEnum[BackupSchema]("copy | VSS_BS_LOG|0x800"); err != nil || got != SchemaCopy|SchemaLog|0x800 {
		t.Errorf("copy | VSS_BS_LOG|0x800 = %v, %v", got, err)
	}
	if got, err := ParseEnum[SnapshotContext](" nas_rollback|transportable"); err != nil || got != ContextNASRollback.With(AttrTransportable) {
		t.Errorf("nas_rollback|transportable = %v, %v", got, err)
	}
	for _, bad := range []string{"", "VSS_BT_", "fulll", "VSS_RT_ORIGINAL", "99999999999"} {
		if got, err := ParseEnum[BackupType](bad); !errors.Is(err, ErrInvalidArg) {
			t.Errorf("%q = %v, %v; want ErrInvalidArg", bad, got, err)
		}
		if got, err := ParseEnum[BackupSchema](bad); !errors.Is(err, ErrInvalidArg) {
			t.Errorf("%q = %v, %v; want ErrInvalidArg", bad, got, err)
		}
	}
	_, err := ParseEnum[BackupType]("x")
	if want := `ParseEnum: E_INVALIDARG (0x80070057): "x" is not a BackupType`; err.Error() != want {
		t.Errorf("error is %q, want %q", err, want)
	}
}

func sameNames(a, b string) bool {
	x, y := strings.Split(a, "|"), strings.Split(b, "|")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

func isBitSet(v named) bool { return reflect.ValueOf(v).CanUint() }
