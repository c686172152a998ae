package vss

// A UsageType tells what the computer uses a writer's data for (VSS_USAGE_TYPE).
type UsageType int32

// The usage types. UsageUndefined is a mistake of the writer.
const (
	UsageUndefined UsageType = iota
	UsageBootableSystemState
	UsageSystemService
	UsageUserData
	UsageOther
)

var usageTypes = newEnumeration(enumeration{
	prefix: "VSS_UT_",
	words:  []string{"UNDEFINED", "BOOTABLESYSTEMSTATE", "SYSTEMSERVICE", "USERDATA", "OTHER"},
	tokens: []string{"UNDEFINED", "BOOTABLE_SYSTEM_STATE", "SYSTEM_SERVICE", "USER_DATA", "OTHER"},
})

func (t UsageType) names() vocabulary { return usageTypes }

// String returns the Windows name, VSS_UT_USERDATA.
func (t UsageType) String() string { return usageTypes.text(int64(t)) }

// A SourceType tells what kind of data a writer has (VSS_SOURCE_TYPE).
type SourceType int32

// The source types.
const (
	SourceUndefined SourceType = iota
	SourceTransactedDB
	SourceNonTransactedDB
	SourceOther
)

var sourceTypes = newEnumeration(enumeration{
	prefix: "VSS_ST_",
	words:  []string{"UNDEFINED", "TRANSACTEDDB", "NONTRANSACTEDDB", "OTHER"},
	tokens: []string{"UNDEFINED", "TRANSACTION_DB", "NONTRANSACTION_DB", "OTHER"},
})

func (t SourceType) names() vocabulary { return sourceTypes }

// String returns the Windows name, VSS_ST_TRANSACTEDDB.
func (t SourceType) String() string { return sourceTypes.text(int64(t)) }

// A ComponentType tells databases from groups of files (VSS_COMPONENT_TYPE).
type ComponentType int32

// The component types.
const (
	ComponentUndefined ComponentType = iota
	ComponentDatabase
	ComponentFileGroup
)

var componentTypes = newEnumeration(enumeration{
	prefix: "VSS_CT_",
	words:  []string{"UNDEFINED", "DATABASE", "FILEGROUP"},
	tokens: []string{"undefined", "database", "filegroup"},
})

func (t ComponentType) names() vocabulary { return componentTypes }

// String returns the Windows name, VSS_CT_FILEGROUP.
func (t ComponentType) String() string { return componentTypes.text(int64(t)) }

// ComponentFlags say what a component needs after the shadow copy was made
// (VSS_COMPONENT_FLAGS).
type ComponentFlags uint32

// The component flags.
const (
	FlagBackupRecovery      ComponentFlags = 0x1 // the writer writes to every shadow copy
	FlagAppRollbackRecovery ComponentFlags = 0x2 // the writer writes to shadow copies made for rollback
	FlagNotSystemState      ComponentFlags = 0x4 // not a part of the system state
)

var componentFlagBits = &bitSet{prefix: "VSS_CF_", bits: []bit{
	{0x1, "BACKUP_RECOVERY"}, {0x2, "APP_ROLLBACK_RECOVERY"}, {0x4, "NOT_SYSTEM_STATE"},
}}

func (f ComponentFlags) names() vocabulary { return componentFlagBits }

// String returns the Windows names of the bits.
func (f ComponentFlags) String() string { return componentFlagBits.text(int64(f)) }

// NeedsRecovery tells whether the writer must be able to write to a shadow copy
// made in the context c.
func (f ComponentFlags) NeedsRecovery(c SnapshotContext) bool {
	return f&FlagBackupRecovery != 0 ||
		f&FlagAppRollbackRecovery != 0 && c.Attributes()&AttrRollbackRecovery != 0
}

// An ApplicationLevel decides when a writer is frozen (VSS_APPLICATION_LEVEL):
// front-end applications first, then back-end ones, then the system, although
// the numbers run the other way.
type ApplicationLevel int32

// The application levels. LevelFrontEnd is the default of a writer.
const (
	LevelAuto     ApplicationLevel = iota - 1 // reserved
	LevelUnknown                              // an error
	LevelSystem                               // services of the operating system
	LevelBackEnd                              // between the two, such as a database
	LevelFrontEnd                             // what users work with
	LevelSystemRM                             // a resource manager of the system; not documented
)

var applicationLevels = newEnumeration(enumeration{prefix: "VSS_APP_", first: -1,
	words: []string{"AUTO", "UNKNOWN", "SYSTEM", "BACK_END", "FRONT_END", "SYSTEM_RM"}})

func (l ApplicationLevel) names() vocabulary { return applicationLevels }

// String returns the Windows name, VSS_APP_FRONT_END.
func (l ApplicationLevel) String() string { return applicationLevels.text(int64(l)) }

// An AlternateWriterState tells whether another writer does the same work
// (VSS_ALTERNATE_WRITER_STATE).
type AlternateWriterState int32

// The values of AlternateWriterState. NoAlternateWriter is the default.
const (
	AlternateWriterUndefined AlternateWriterState = iota
	NoAlternateWriter
	AlternateWriterExists
	ThisIsAlternateWriter
)

var alternateWriterStates = newEnumeration(enumeration{prefix: "VSS_AWS_",
	words: []string{"UNDEFINED", "NO_ALTERNATE_WRITER", "ALTERNATE_WRITER_EXISTS", "THIS_IS_ALTERNATE_WRITER"}})

func (s AlternateWriterState) names() vocabulary { return alternateWriterStates }

// String returns the Windows name, VSS_AWS_NO_ALTERNATE_WRITER.
func (s AlternateWriterState) String() string { return alternateWriterStates.text(int64(s)) }

// A SubscribeMask names the events a writer asks for (VSS_SUBSCRIBE_MASK). Only
// backup and restore events can be asked for; both are the default.
type SubscribeMask uint32

// The bits of a subscription.
const (
	SubscribePostSnapshot  SubscribeMask = 0x1
	SubscribeBackupEvents  SubscribeMask = 0x2
	SubscribeRestoreEvents SubscribeMask = 0x4
	SubscribeIOThrottling  SubscribeMask = 0x8
	SubscribeAll           SubscribeMask = 0xFFFFFFFF

	// SubscribeDefault is what a writer gets that does not choose.
	SubscribeDefault = SubscribeBackupEvents | SubscribeRestoreEvents
)

var subscribeMasks = &bitSet{prefix: "VSS_SM_", bits: []bit{
	{0xFFFFFFFF, "ALL_FLAGS"},
	{0x1, "POST_SNAPSHOT_FLAG"}, {0x2, "BACKUP_EVENTS_FLAG"}, {0x4, "RESTORE_EVENTS_FLAG"}, {0x8, "IO_THROTTLING_FLAG"},
}}

func (m SubscribeMask) names() vocabulary { return subscribeMasks }

// String returns the Windows names of the bits.
func (m SubscribeMask) String() string { return subscribeMasks.text(int64(m)) }
