package vss

import "slices"

// CallRules returns the call-order table of [BackupComponents]: a row for each
// method, or several where it leads to different phases. The object acts on
// nothing else.
//
// Where the public pages disagree the more permissive reading is taken:
// SetContext is legal until StartSnapshotSet, components may be added until
// PrepareForBackup, SetBackupState is accepted in a restore too. DoSnapshotSet
// demands PrepareForBackup where writers take part, although its page only says
// that one should always call it (IVssBackupComponents).
func CallRules() []CallRule {
	rules := callRules()
	for i := range rules {
		rules[i].From = slices.Clone(rules[i].From)
	}
	return rules
}

func callRules() []CallRule {
	return slices.Concat(backupRules, restoreRules, bothRules, catalogueRules)
}

// rulesOf holds the rows by method.
var rulesOf = func() map[string][]CallRule {
	m := make(map[string][]CallRule)
	for _, r := range callRules() {
		m[r.Method] = append(m[r.Method], r)
	}
	return m
}()

var (
	beforeSet    = []Phase{PhaseBackup, PhaseGathered}
	beforePrep   = []Phase{PhaseBackup, PhaseGathered, PhaseSetStarted}
	choosing     = []Phase{PhaseGathered, PhaseSetStarted}
	preparing    = []Phase{PhaseSetStarted, PhasePrepared}
	copying      = []Phase{PhasePrepared, PhaseSnapped}
	inBackup     = []Phase{PhaseBackup, PhaseGathered, PhaseSetStarted, PhasePrepared, PhaseSnapped, PhaseFailed, PhaseCompleted, PhaseAborted, PhaseCatalogue, PhaseImported}
	beforeFiles  = []Phase{PhaseRestore, PhaseRestoreGathered, PhaseSelected}
	selecting    = []Phase{PhaseRestoreGathered, PhaseSelected}
	filesBack    = []Phase{PhasePreRestored}
	inRestore    = []Phase{PhaseRestore, PhaseRestoreGathered, PhaseSelected, PhasePreRestored, PhasePostRestored}
	gatheredOnce = []Phase{PhaseGathered, PhaseSetStarted, PhasePrepared, PhaseSnapped, PhaseFailed, PhaseCompleted, PhaseAborted,
		PhaseRestoreGathered, PhaseSelected, PhasePreRestored, PhasePostRestored}
	initialised = slices.Concat(inBackup, inRestore)
)

var backupRules = []CallRule{
	{Method: "InitializeForBackup", From: []Phase{PhaseNew}, To: PhaseBackup},
	{Method: "SetContext", From: beforeSet, Stays: true, Needs: FactContextUnset},
	{Method: "StartSnapshotSet", From: beforeSet, To: PhaseSetStarted, Needs: FactCreatable, NeedsWithWriters: FactMetadata},
	{Method: "AddComponent", From: choosing, Stays: true, Needs: FactWriters | FactComponentMode | FactMetadata},
	{Method: "AddToSnapshotSet", From: preparing, Stays: true, Asks: true},
	{Method: "SetBackupOptions", From: choosing, Stays: true},
	{Method: "SetPreviousBackupStamp", From: choosing, Stays: true},
	{Method: "PrepareForBackup", From: []Phase{PhaseSetStarted}, To: PhasePrepared, Fails: PhaseFailed, Needs: FactWriters | FactBackupState | FactMetadata},
	{Method: "DoSnapshotSet", From: preparing, To: PhaseSnapped, Fails: PhaseFailed, Needs: FactCreatable, NeedsWithWriters: FactMetadata | FactPrepared},
	{Method: "SetBackupSucceeded", From: copying, Stays: true},
	{Method: "BackupComplete", From: copying, To: PhaseCompleted, Fails: PhaseCompleted, Needs: FactWriters},
	{Method: "AbortBackup", From: []Phase{PhaseSetStarted, PhasePrepared, PhaseSnapped, PhaseFailed}, To: PhaseAborted, Asks: true},
	{Method: "AbortBackup", From: []Phase{PhaseBackup, PhaseGathered, PhaseCompleted, PhaseAborted, PhaseCatalogue, PhaseImported}, Stays: true},
	{Method: "ImportSnapshots", From: []Phase{PhaseBackup}, To: PhaseImported, Needs: FactStored},
}

var restoreRules = []CallRule{
	{Method: "InitializeForRestore", From: []Phase{PhaseNew}, To: PhaseRestore},
	{Method: "SetRestoreState", From: beforeFiles, Stays: true},
	{Method: "SetSelectedForRestore", From: selecting, To: PhaseSelected},
	{Method: "SetSelectedForRestoreEx", From: selecting, To: PhaseSelected},
	{Method: "AddRestoreSubcomponent", From: []Phase{PhaseSelected}, Stays: true},
	{Method: "SetAdditionalRestores", From: beforeFiles, Stays: true},
	{Method: "SetRestoreOptions", From: beforeFiles, Stays: true},
	{Method: "SetAuthoritativeRestore", From: beforeFiles, Stays: true},
	{Method: "SetRollForward", From: beforeFiles, Stays: true},
	{Method: "SetRestoreName", From: beforeFiles, Stays: true},
	{Method: "AddNewTarget", From: beforeFiles, Stays: true},
	{Method: "PreRestore", From: []Phase{PhaseSelected}, To: PhasePreRestored, Fails: PhasePreRestored, Needs: FactSelected},
	{Method: "AddAlternativeLocationMapping", From: filesBack, Stays: true},
	{Method: "SetFileRestoreStatus", From: filesBack, Stays: true},
	{Method: "SetRangesFilePath", From: append(slices.Clone(beforeFiles), PhasePreRestored), Stays: true},
	{Method: "PostRestore", From: filesBack, To: PhasePostRestored, Fails: PhasePostRestored},
	{Method: "AddSnapshotToRecoverySet", From: beforeFiles, Stays: true},
	{Method: "RecoverSet", From: beforeFiles, Stays: true},
}

var bothRules = []CallRule{
	{Method: "GatherWriterMetadata", From: []Phase{PhaseBackup}, To: PhaseGathered},
	{Method: "GatherWriterMetadata", From: []Phase{PhaseRestore}, To: PhaseRestoreGathered},
	{Method: "SetBackupState", From: slices.Concat(beforePrep, beforeFiles), Stays: true},
	{Method: "EnableWriterClasses", From: initialised, Stays: true},
	{Method: "DisableWriterClasses", From: initialised, Stays: true},
	{Method: "DisableWriterInstances", From: initialised, Stays: true},
	{Method: "GetWriterMetadata", From: gatheredOnce, Stays: true, Needs: FactMetadata | FactMetadataKept},
	{Method: "FreeWriterMetadata", From: gatheredOnce, Stays: true, Needs: FactMetadata | FactMetadataKept},
	{Method: "GatherWriterStatus", From: append(slices.Clone(gatheredOnce), PhaseRestore), Stays: true},
	{Method: "GetWriterStatus", From: initialised, Stays: true, Needs: FactStatus},
	{Method: "FreeWriterStatus", From: initialised, Stays: true, Needs: FactStatus},
	{Method: "GetWriterComponents", From: initialised, Stays: true},
	{Method: "SaveAsXML", From: slices.Concat([]Phase{PhasePrepared, PhaseSnapped, PhaseFailed, PhaseCompleted, PhaseImported}, inRestore), Stays: true},
	{Method: "Release", From: append(slices.Clone(initialised), PhaseNew), To: PhaseReleased},
}

var catalogueRules = []CallRule{
	{Method: "IsVolumeSupported", From: inBackup, Stays: true, Asks: true},
	{Method: "GetSnapshotProperties", From: inBackup, Stays: true},
	{Method: "DeleteSnapshots", From: inBackup, Stays: true, Asks: true},
	{Method: "BreakSnapshotSet", From: inBackup, Stays: true, Asks: true},
	{Method: "ExposeSnapshot", From: inBackup, Stays: true},
	{Method: "UnexposeSnapshot", From: inBackup, Stays: true},
	{Method: "RevertToSnapshot", From: inBackup, Stays: true},
	{Method: "QueryRevertStatus", From: initialised, Stays: true},
	{Method: "Query", From: []Phase{PhaseBackup, PhaseCatalogue}, To: PhaseCatalogue},
	{Method: "Query", From: []Phase{PhaseGathered, PhaseSetStarted, PhasePrepared, PhaseSnapped, PhaseFailed, PhaseCompleted, PhaseAborted, PhaseImported}, Stays: true},
}

// guardedCalls are the methods whose pages name E_ACCESSDENIED: the caller must be
// an administrator or a backup operator, or be let in otherwise
// ([ServiceConfig.AccessControl]), whoever made the object.
var guardedCalls = []string{
	"InitializeForBackup", "InitializeForRestore", "EnableWriterClasses", "DisableWriterClasses", "DisableWriterInstances",
	"GatherWriterMetadata", "GatherWriterStatus", "IsVolumeSupported", "AddToSnapshotSet", "DoSnapshotSet",
	"GetSnapshotProperties", "ImportSnapshots", "DeleteSnapshots", "BreakSnapshotSet", "ExposeSnapshot", "UnexposeSnapshot",
	"Query", "RevertToSnapshot", "QueryRevertStatus", "PostRestore",
}
