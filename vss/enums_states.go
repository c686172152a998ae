package vss

import (
	"fmt"
	"strings"
)

// A WriterState is where a writer stands in a session (VSS_WRITER_STATE).
type WriterState int32

// The states of a writer. StateStable spans everything up to and including
// PrepareBackup; each waiting state says which event comes next.
const (
	StateUnknown WriterState = iota
	StateStable
	StateWaitingForFreeze
	StateWaitingForThaw
	StateWaitingForPostSnapshot
	StateWaitingForBackupComplete
	StateFailedAtIdentify
	StateFailedAtPrepareBackup
	StateFailedAtPrepareSnapshot
	StateFailedAtFreeze
	StateFailedAtThaw
	StateFailedAtPostSnapshot
	StateFailedAtBackupComplete
	StateFailedAtPreRestore
	StateFailedAtPostRestore
	StateFailedAtBackupShutdown
)

var writerStates = newEnumeration(enumeration{prefix: "VSS_WS_", words: []string{
	"UNKNOWN", "STABLE", "WAITING_FOR_FREEZE", "WAITING_FOR_THAW", "WAITING_FOR_POST_SNAPSHOT",
	"WAITING_FOR_BACKUP_COMPLETE", "FAILED_AT_IDENTIFY", "FAILED_AT_PREPARE_BACKUP", "FAILED_AT_PREPARE_SNAPSHOT",
	"FAILED_AT_FREEZE", "FAILED_AT_THAW", "FAILED_AT_POST_SNAPSHOT", "FAILED_AT_BACKUP_COMPLETE",
	"FAILED_AT_PRE_RESTORE", "FAILED_AT_POST_RESTORE", "FAILED_AT_BACKUPSHUTDOWN", "COUNT",
}})

func (s WriterState) names() vocabulary { return writerStates }

// String returns the Windows name, VSS_WS_WAITING_FOR_THAW.
func (s WriterState) String() string { return writerStates.text(int64(s)) }

// Word returns the name without its prefix, in one word: WaitingForThaw.
func (s WriterState) Word() string {
	var b strings.Builder
	for part := range strings.SplitSeq(strings.TrimPrefix(s.String(), writerStates.prefix), "_") {
		if part == "BACKUPSHUTDOWN" {
			part = "BackupShutdown"
		} else if part != "" {
			part = part[:1] + strings.ToLower(part[1:])
		}
		b.WriteString(part)
	}
	return b.String()
}

// Failed tells whether s is one of the FAILED_AT states.
func (s WriterState) Failed() bool {
	return s >= StateFailedAtIdentify && s <= StateFailedAtBackupShutdown
}

// Healthy tells whether s is a state in which the tools find a writer outside of
// shadow copy creation that has no trouble: Stable, or waiting for the end of
// a backup ("VShadow Tool and Sample").
func (s WriterState) Healthy() bool {
	return s == StateStable || s == StateWaitingForBackupComplete
}

// Display prints s as vssadmin does: "[5] Waiting for completion". The text of
// state 4 is ours; the tools' documentation names six texts, and none for it.
func (s WriterState) Display() string {
	text := "Unknown"
	switch {
	case s == StateStable:
		text = "Stable"
	case s == StateWaitingForFreeze:
		text = "Waiting for freeze"
	case s == StateWaitingForThaw:
		text = "Frozen"
	case s == StateWaitingForPostSnapshot:
		text = "Waiting for post-snapshot"
	case s == StateWaitingForBackupComplete:
		text = "Waiting for completion"
	case s.Failed():
		text = "Failed"
	}
	return fmt.Sprintf("[%d] %s", int32(s), text)
}

// A SnapshotState is how far a shadow copy has come (VSS_SNAPSHOT_STATE). A
// requester only ever sees [SnapshotCreated]: until then its properties cannot
// be read.
type SnapshotState int32

// The states of a shadow copy. The last one stands out of order in the header.
const (
	SnapshotUnknown SnapshotState = iota
	SnapshotPreparing
	SnapshotProcessingPrepare
	SnapshotPrepared
	SnapshotProcessingPreCommit
	SnapshotPreCommitted
	SnapshotProcessingCommit
	SnapshotCommitted
	SnapshotProcessingPostCommit
	SnapshotProcessingPreFinalCommit
	SnapshotPreFinalCommitted
	SnapshotProcessingPostFinalCommit
	SnapshotCreated
	SnapshotAborted
	SnapshotDeleted
	SnapshotPostCommitted
)

var snapshotStates = newEnumeration(enumeration{prefix: "VSS_SS_", words: []string{
	"UNKNOWN", "PREPARING", "PROCESSING_PREPARE", "PREPARED", "PROCESSING_PRECOMMIT", "PRECOMMITTED",
	"PROCESSING_COMMIT", "COMMITTED", "PROCESSING_POSTCOMMIT", "PROCESSING_PREFINALCOMMIT", "PREFINALCOMMITTED",
	"PROCESSING_POSTFINALCOMMIT", "CREATED", "ABORTED", "DELETED", "POSTCOMMITTED", "COUNT",
}})

func (s SnapshotState) names() vocabulary { return snapshotStates }

// String returns the Windows name, VSS_SS_CREATED.
func (s SnapshotState) String() string { return snapshotStates.text(int64(s)) }
