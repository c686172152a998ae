package vss_test

import (
	"fmt"
	"os"

	"github.com/shadowsim/shadowsim/vss"
)

// A requester reads the stored document of a writer to find what to restore.
func ExampleReadWriterMetadata() {
	stored, err := os.Open("testdata/documents/hyperv_writer.xml")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = stored.Close() }()

	metadata, err := vss.ReadWriterMetadata(stored)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(metadata.Identity.FriendlyName, metadata.Restore.Method)
	for i := range metadata.Components {
		component := &metadata.Components[i]
		fmt.Println(component.Caption)
		for set := range component.FileSets() {
			fmt.Println("   ", set.FileSpec)
		}
	}
	// Output:
	// Microsoft Hyper-V VSS Writer VSS_RME_RESTORE_IF_CAN_REPLACE
	// Backup Using Child Partition Snapshot\sql01
	//     D:\VMs\sql01\Virtual Machines\7B1C2D3E-4F50-4617-8829-3A4B5C6D7E8F.xml
	//     D:\VMs\sql01\Virtual Hard Disks\data.vhd
	//     D:\VMs\sql01\Virtual Hard Disks\log.vhd
	//     D:\VMs\sql01\Snapshots\...\*
	// Backup Using Saved State\files & prints
	//     \\?\Volume{3c0e5f1a-7d44-4e0f-9b6a-1c2d3e4f5a6b}\VMs\files01\...\*
}

// A writer describes a database with data and logs on different volumes.
func ExampleWriterMetadata() {
	metadata := vss.NewWriterMetadata(vss.WriterIdentity{
		WriterID:     [16]byte{0x2f, 0x1d, 0x0c, 0x3b},
		FriendlyName: "Ledger Writer",
		Usage:        vss.UsageUserData,
		Source:       vss.SourceTransactedDB,
	})
	ledger := vss.ComponentKey{Name: "ledger"}
	for _, err := range []error{
		metadata.SetBackupSchema(vss.SchemaLog | vss.SchemaCopy),
		metadata.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreAlways}),
		metadata.AddComponent(vss.ComponentInfo{ComponentKey: ledger, Type: vss.ComponentDatabase, Selectable: true}),
		metadata.AddDatabaseFiles(ledger, vss.FileSet{FileSpec: vss.FileSpec{Path: `D:\Ledger`, Spec: "ledger.db"}}),
		metadata.AddDatabaseLogFiles(ledger, vss.FileSet{FileSpec: vss.FileSpec{Path: `L:\Ledger`, Spec: "*.log"}}),
		metadata.Check(),
	} {
		if err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(metadata.AddFilesToFileGroup(ledger, vss.FileSet{FileSpec: vss.FileSpec{Path: `D:\`, Spec: "*"}}))
	fmt.Println(metadata.WriteXML(os.Stdout))
	// Output:
	// AddFilesToFileGroup: ledger: E_INVALIDARG (0x80070057): the component is a VSS_CT_DATABASE
	// <WRITER_METADATA xmlns="x-schema:#VssWriterMetadataInfo" version="1.2" backupSchema="24"><IDENTIFICATION writerId="2f1d0c3b-0000-0000-0000-000000000000" instanceId="00000000-0000-0000-0000-000000000000" friendlyName="Ledger Writer" usage="USER_DATA" dataSource="TRANSACTION_DB" majorVersion="0" minorVersion="0"/><RESTORE_METHOD method="RESTORE_IF_CAN_BE_REPLACED" writerRestore="always" rebootRequired="no"/><BACKUP_LOCATIONS><DATABASE componentName="ledger" restoreMetadata="no" notifyOnBackupComplete="no" selectable="yes" selectableForRestore="no" componentFlags="0"><DATABASE_FILES path="D:\Ledger" filespec="ledger.db" filespecBackupType="3855"/><DATABASE_LOGFILES path="L:\Ledger" filespec="*.log" filespecBackupType="3855"/></DATABASE></BACKUP_LOCATIONS></WRITER_METADATA><nil>
}
