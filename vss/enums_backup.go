package vss

// A BackupType is the kind of backup a requester makes (VSS_BACKUP_TYPE).
// Note that its order is not that of the bits of [FileSpecBackupType].
type BackupType int32

// The backup types. BackupUndefined is an error wherever it is met.
const (
	BackupUndefined    BackupType = iota
	BackupFull                    // everything; the base of later backups
	BackupIncremental             // what changed since the last full or incremental backup
	BackupDifferential            // what changed since the last full backup
	BackupLog                     // log files only
	BackupCopy                    // everything, leaving the backup history alone
	BackupOther                   // none of these
)

var backupTypes = newEnumeration(enumeration{
	prefix: "VSS_BT_",
	words:  []string{"UNDEFINED", "FULL", "INCREMENTAL", "DIFFERENTIAL", "LOG", "COPY", "OTHER"},
	tokens: []string{"undefined", "full", "incremental", "differential", "log", "copy", "other"},
})

func (t BackupType) names() vocabulary { return backupTypes }

// String returns the Windows name, VSS_BT_FULL.
func (t BackupType) String() string { return backupTypes.text(int64(t)) }

// A BackupSchema tells what a writer can do beyond full backups
// (VSS_BACKUP_SCHEMA).
type BackupSchema uint32

// The bits of a backup schema.
const (
	SchemaUndefined                        BackupSchema = 0 // full backups only
	SchemaDifferential                     BackupSchema = 0x1
	SchemaIncremental                      BackupSchema = 0x2
	SchemaExclusiveIncrementalDifferential BackupSchema = 0x4 // one or the other after a full backup
	SchemaLog                              BackupSchema = 0x8
	SchemaCopy                             BackupSchema = 0x10
	SchemaTimestamped                      BackupSchema = 0x20 // uses backup stamps
	SchemaLastModify                       BackupSchema = 0x40 // uses times of modification
	SchemaLSN                              BackupSchema = 0x80 // reserved
	SchemaNewTarget                        BackupSchema = 0x100
	SchemaRestoreWithMove                  BackupSchema = 0x200
	SchemaIndependentSystemState           BackupSchema = 0x400
	SchemaRollForwardRestore               BackupSchema = 0x1000
	SchemaRestoreRename                    BackupSchema = 0x2000
	SchemaAuthoritativeRestore             BackupSchema = 0x4000
	SchemaParallelRestores                 BackupSchema = 0x8000
)

var backupSchemas = &bitSet{prefix: "VSS_BS_", none: "UNDEFINED", bits: []bit{
	{0x1, "DIFFERENTIAL"}, {0x2, "INCREMENTAL"}, {0x4, "EXCLUSIVE_INCREMENTAL_DIFFERENTIAL"}, {0x8, "LOG"},
	{0x10, "COPY"}, {0x20, "TIMESTAMPED"}, {0x40, "LAST_MODIFY"}, {0x80, "LSN"},
	{0x100, "WRITER_SUPPORTS_NEW_TARGET"}, {0x200, "WRITER_SUPPORTS_RESTORE_WITH_MOVE"},
	{0x400, "INDEPENDENT_SYSTEM_STATE"}, {0x1000, "ROLLFORWARD_RESTORE"}, {0x2000, "RESTORE_RENAME"},
	{0x4000, "AUTHORITATIVE_RESTORE"}, {0x8000, "WRITER_SUPPORTS_PARALLEL_RESTORES"},
}}

func (s BackupSchema) names() vocabulary { return backupSchemas }

// String returns the Windows names of the bits.
func (s BackupSchema) String() string { return backupSchemas.text(int64(s)) }

// Supports tells whether a writer with this schema can make a backup of type t.
// Every writer can make a full one.
func (s BackupSchema) Supports(t BackupType) bool {
	switch t {
	case BackupFull:
		return true
	case BackupIncremental:
		return s&SchemaIncremental != 0
	case BackupDifferential:
		return s&SchemaDifferential != 0
	case BackupLog:
		return s&SchemaLog != 0
	case BackupCopy:
		return s&SchemaCopy != 0
	}
	return false
}

// Effective returns the type of backup that a writer with this schema takes a
// backup of type t for: t, or a full one where it does not support t
// ("VSS_BACKUP_TYPE").
func (s BackupSchema) Effective(t BackupType) BackupType {
	if s.Supports(t) {
		return t
	}
	return BackupFull
}

// Check returns an [ErrInvalidArg] that names the rule which the combination of
// bits breaks, or nil.
func (s BackupSchema) Check() error {
	chain := SchemaDifferential | SchemaIncremental
	switch {
	case s&SchemaExclusiveIncrementalDifferential != 0 && s&chain != chain:
		return fail("SetBackupSchema", "", ErrInvalidArg, "an exclusive choice needs both incremental and differential")
	case s&(SchemaTimestamped|SchemaLastModify) != 0 && s&chain == 0:
		return fail("SetBackupSchema", "", ErrInvalidArg, "stamps and times need incremental or differential")
	}
	return nil
}

// A FileSpecBackupType says for which types of backup a file set is needed, and
// for which of them it must be read from the shadow copy
// (VSS_FILE_SPEC_BACKUP_TYPE).
type FileSpecBackupType uint32

// The bits of a file set's mask. Note the order: differential before
// incremental, unlike [BackupType].
const (
	FullBackupRequired           FileSpecBackupType = 0x1
	DifferentialBackupRequired   FileSpecBackupType = 0x2
	IncrementalBackupRequired    FileSpecBackupType = 0x4
	LogBackupRequired            FileSpecBackupType = 0x8
	AllBackupRequired            FileSpecBackupType = 0xF
	FullSnapshotRequired         FileSpecBackupType = 0x100
	DifferentialSnapshotRequired FileSpecBackupType = 0x200
	IncrementalSnapshotRequired  FileSpecBackupType = 0x400
	LogSnapshotRequired          FileSpecBackupType = 0x800
	AllSnapshotRequired          FileSpecBackupType = 0xF00
	CreatedDuringBackup          FileSpecBackupType = 0x10000

	// FileSpecDefault is the mask of a file set for which none was given.
	FileSpecDefault = AllBackupRequired | AllSnapshotRequired
)

var fileSpecBackupTypes = &bitSet{prefix: "VSS_FSBT_", bits: []bit{
	{0xF, "ALL_BACKUP_REQUIRED"}, {0xF00, "ALL_SNAPSHOT_REQUIRED"},
	{0x1, "FULL_BACKUP_REQUIRED"}, {0x2, "DIFFERENTIAL_BACKUP_REQUIRED"},
	{0x4, "INCREMENTAL_BACKUP_REQUIRED"}, {0x8, "LOG_BACKUP_REQUIRED"},
	{0x100, "FULL_SNAPSHOT_REQUIRED"}, {0x200, "DIFFERENTIAL_SNAPSHOT_REQUIRED"},
	{0x400, "INCREMENTAL_SNAPSHOT_REQUIRED"}, {0x800, "LOG_SNAPSHOT_REQUIRED"},
	{0x10000, "CREATED_DURING_BACKUP"},
}}

func (m FileSpecBackupType) names() vocabulary { return fileSpecBackupTypes }

// String returns the Windows names of the bits.
func (m FileSpecBackupType) String() string { return fileSpecBackupTypes.text(int64(m)) }

// BackupRequired tells whether a backup of type t must hold the files. A copy
// holds what a full backup holds, and so does a type without bits of its own.
func (m FileSpecBackupType) BackupRequired(t BackupType) bool { return m&backupBit(t) != 0 }

// SnapshotRequired tells whether a backup of type t must read the files from
// the shadow copy; otherwise the live volume will do.
func (m FileSpecBackupType) SnapshotRequired(t BackupType) bool { return m&(backupBit(t)<<8) != 0 }

func backupBit(t BackupType) FileSpecBackupType {
	switch t {
	case BackupIncremental:
		return IncrementalBackupRequired
	case BackupDifferential:
		return DifferentialBackupRequired
	case BackupLog:
		return LogBackupRequired
	}
	return FullBackupRequired
}
