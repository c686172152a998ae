package vss_test

import (
	"fmt"

	"github.com/shadowsim/shadowsim/vss"
)

func ExampleWriterState() {
	state := vss.StateWaitingForBackupComplete
	fmt.Println(state)
	fmt.Printf("State: %s\nLast error: %s\n", state.Display(), vss.SOK.LastError())
	// Output:
	// VSS_WS_WAITING_FOR_BACKUP_COMPLETE
	// State: [5] Waiting for completion
	// Last error: No error
}

func ExampleSnapshotContext() {
	context := vss.ContextNASRollback.With(vss.AttrDifferential)
	fmt.Println(context)
	fmt.Println("persistent:", context.Persistent(), "auto-release:", context.AutoRelease(), "writers:", context.Writers())
	fmt.Println(context.With(vss.AttrPlex).Check())
	// Output:
	// VSS_CTX_NAS_ROLLBACK|VSS_VOLSNAP_ATTR_DIFFERENTIAL
	// persistent: true auto-release: false writers: false
	// SetContext: VSS_CTX_NAS_ROLLBACK|VSS_VOLSNAP_ATTR_DIFFERENTIAL|VSS_VOLSNAP_ATTR_PLEX: E_INVALIDARG (0x80070057): differential and plex exclude each other
}

func ExampleParseEnum() {
	kind, err := vss.ParseEnum[vss.BackupType]("differential")
	fmt.Println(kind, err)
	schema, err := vss.ParseEnum[vss.BackupSchema]("LOG|COPY")
	fmt.Println(schema, err, schema.Effective(kind))
	// Output:
	// VSS_BT_DIFFERENTIAL <nil>
	// VSS_BS_LOG|VSS_BS_COPY <nil> VSS_BT_FULL
}

func ExampleFileSpecBackupType() {
	mask := vss.LogBackupRequired | vss.IncrementalBackupRequired | vss.LogSnapshotRequired
	fmt.Println(mask)
	fmt.Println(mask.BackupRequired(vss.BackupFull), mask.BackupRequired(vss.BackupLog), mask.SnapshotRequired(vss.BackupIncremental))
	// Output:
	// VSS_FSBT_INCREMENTAL_BACKUP_REQUIRED|VSS_FSBT_LOG_BACKUP_REQUIRED|VSS_FSBT_LOG_SNAPSHOT_REQUIRED
	// false true false
}
