package vss

// A RestoreType is the kind of restore a requester makes (VSS_RESTORE_TYPE).
type RestoreType int32

// The restore types. RestoreUndefined, the default, means by copy.
const (
	RestoreUndefined RestoreType = iota
	RestoreByCopy
	RestoreImport
	RestoreOther
)

var restoreTypes = newEnumeration(enumeration{
	prefix: "VSS_RTYPE_",
	words:  []string{"UNDEFINED", "BY_COPY", "IMPORT", "OTHER"},
	tokens: []string{"undefined", "byCopy", "import", "other"},
})

func (t RestoreType) names() vocabulary { return restoreTypes }

// String returns the Windows name, VSS_RTYPE_BY_COPY.
func (t RestoreType) String() string { return restoreTypes.text(int64(t)) }

// A RestoreMethod is how a writer wants its files put back
// (VSS_RESTOREMETHOD_ENUM). Methods act on whole component sets: all files or
// none.
type RestoreMethod int32

// The restore methods. MethodUndefined is a mistake of the writer.
const (
	MethodUndefined                      RestoreMethod = iota
	MethodRestoreIfNotThere                            // only if none of the files exist
	MethodRestoreIfCanReplace                          // only if all files can be replaced
	MethodStopRestoreStart                             // stop the service, restore, start it
	MethodRestoreToAlternateLocation                   // to the mapped place
	MethodRestoreAtReboot                              // stage, and move at the next start
	MethodRestoreAtRebootIfCannotReplace               // stage if some file cannot be replaced
	MethodCustom                                       // as the writer's documentation says
	MethodRestoreStopStart                             // restore, then stop and start the service
)

var restoreMethods = newEnumeration(enumeration{
	prefix: "VSS_RME_",
	words: []string{"UNDEFINED", "RESTORE_IF_NOT_THERE", "RESTORE_IF_CAN_REPLACE", "STOP_RESTORE_START",
		"RESTORE_TO_ALTERNATE_LOCATION", "RESTORE_AT_REBOOT", "RESTORE_AT_REBOOT_IF_CANNOT_REPLACE",
		"CUSTOM", "RESTORE_STOP_START"},
	tokens: []string{"UNDEFINED", "RESTORE_IF_NOT_THERE", "RESTORE_IF_CAN_BE_REPLACED", "STOP_RESTORE_START",
		"RESTORE_TO_ALTERNATE_LOCATION", "REPLACE_AT_REBOOT", "REPLACE_AT_REBOOT_IF_CANNOT_REPLACE",
		"CUSTOM", "RESTORE_STOP_START"},
})

func (m RestoreMethod) names() vocabulary { return restoreMethods }

// String returns the Windows name, VSS_RME_RESTORE_IF_CAN_REPLACE.
func (m RestoreMethod) String() string { return restoreMethods.text(int64(m)) }

// UsesService tells whether the method stops and starts a service, which the
// writer then names.
func (m RestoreMethod) UsesService() bool {
	return m == MethodStopRestoreStart || m == MethodRestoreStopStart
}

// A WriterRestore tells when a writer takes part in a restore
// (VSS_WRITERRESTORE_ENUM). The requester, not the service, obeys it.
type WriterRestore int32

// The values of WriterRestore. WriterRestoreUndefined is a mistake of the writer.
const (
	WriterRestoreUndefined WriterRestore = iota
	WriterRestoreNever
	WriterRestoreIfReplaceFails // PreRestore always, PostRestore if a file could not be put back
	WriterRestoreAlways
)

var writerRestores = newEnumeration(enumeration{
	prefix: "VSS_WRE_",
	words:  []string{"UNDEFINED", "NEVER", "IF_REPLACE_FAILS", "ALWAYS"},
	tokens: []string{"undefined", "never", "ifReplaceFails", "always"},
})

func (w WriterRestore) names() vocabulary { return writerRestores }

// String returns the Windows name, VSS_WRE_ALWAYS.
func (w WriterRestore) String() string { return writerRestores.text(int64(w)) }

// A RestoreTarget is where a writer, in PreRestore, wants a component set put
// (VSS_RESTORE_TARGET).
type RestoreTarget int32

// The restore targets. TargetOriginal, the default, means to obey the restore
// method, which may name another place; TargetOriginalLocation means the
// original place whatever the method says.
const (
	TargetUndefined RestoreTarget = iota
	TargetOriginal
	TargetAlternate
	TargetDirected
	TargetOriginalLocation
)

var restoreTargets = newEnumeration(enumeration{
	prefix: "VSS_RT_",
	words:  []string{"UNDEFINED", "ORIGINAL", "ALTERNATE", "DIRECTED", "ORIGINAL_LOCATION"},
	tokens: []string{"undefined", "original", "alternate", "directed", "originalLocation"},
})

func (t RestoreTarget) names() vocabulary { return restoreTargets }

// String returns the Windows name, VSS_RT_ORIGINAL.
func (t RestoreTarget) String() string { return restoreTargets.text(int64(t)) }

// A FileRestoreStatus is how the files of a component set were put back
// (VSS_FILE_RESTORE_STATUS).
type FileRestoreStatus int32

// The values of FileRestoreStatus.
const (
	FilesUndefined FileRestoreStatus = iota
	FilesNone                        // a clean failure: nothing was put on the disk
	FilesAll                         // success
	FilesFailed                      // a partial restore: what is on the disk is corrupt
)

var fileRestoreStatuses = newEnumeration(enumeration{
	prefix: "VSS_RS_",
	words:  []string{"UNDEFINED", "NONE", "ALL", "FAILED"},
	tokens: []string{"undefined", "none", "all", "failed"},
})

func (s FileRestoreStatus) names() vocabulary { return fileRestoreStatuses }

// String returns the Windows name, VSS_RS_ALL.
func (s FileRestoreStatus) String() string { return fileRestoreStatuses.text(int64(s)) }

// A RollForwardType tells how far logs are applied (VSS_ROLLFORWARD_TYPE).
type RollForwardType int32

// The roll-forward types. RollForwardPartial goes to a point that is named
// beside it.
const (
	RollForwardUndefined RollForwardType = iota
	RollForwardNone
	RollForwardAll
	RollForwardPartial
)

var rollForwardTypes = newEnumeration(enumeration{
	prefix: "VSS_RF_",
	words:  []string{"UNDEFINED", "NONE", "ALL", "PARTIAL"},
	tokens: []string{"undefined", "none", "all", "partial"},
})

func (t RollForwardType) names() vocabulary { return rollForwardTypes }

// String returns the Windows name, VSS_RF_ALL.
func (t RollForwardType) String() string { return rollForwardTypes.text(int64(t)) }
