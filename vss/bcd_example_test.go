package vss_test

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/vss"
)

// A restore begins with the stored document of the backup.
func ExampleReadBackupComponents() {
	stored, err := os.Open("testdata/documents/backup_components.xml")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = stored.Close() }()

	backup, err := vss.ReadBackupComponents(stored)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(backup.BackupType)
	for _, writer := range backup.Writers {
		for _, component := range writer.Components {
			fmt.Printf("%v %v: %d bytes of metadata\n", component.Type, component, len(component.BackupMetadata))
		}
	}
	// Output:
	// VSS_BT_FULL
	// VSS_CT_FILEGROUP 7B1C2D3E-4F50-4617-8829-3A4B5C6D7E8F: 18 bytes of metadata
	// VSS_CT_FILEGROUP 9A8B7C6D-5E4F-4302-9182-7364554637AF: 0 bytes of metadata
	// VSS_CT_DATABASE LEDGER01\ledger: 0 bytes of metadata
}

func ExampleBackupComponentsDocument() {
	backup := &vss.BackupComponentsDocument{SelectComponents: true, BackupType: vss.BackupCopy}
	writer := backup.AddWriter(vss.WriterRecord{WriterID: [16]byte{1}, InstanceID: [16]byte{2}})
	component, err := writer.AddComponent(vss.ComponentRecord{
		ComponentKey: vss.ComponentKey{Name: "ledger"},
		Type:         vss.ComponentDatabase,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	component.BackupStamp = "log 4711"
	component.BackupSucceeded = true

	var xml strings.Builder
	fmt.Println(backup.WriteXML(&xml))
	_, found, _ := strings.Cut(xml.String(), "<COMPONENT")
	fmt.Println("<COMPONENT" + found)
	// Output:
	// <nil>
	// <COMPONENT componentName="ledger" componentType="database" backupStamp="log 4711" backupSucceeded="yes"/></WRITER_COMPONENTS></BACKUP_COMPONENTS>
}

func ExampleFiletime() {
	changed := vss.FiletimeOf(time.Date(2009, 3, 14, 15, 9, 26, 0, time.UTC))
	fmt.Println(uint64(changed), changed.Time())
	// Output:
	// 128815169660000000 2009-03-14 15:09:26 +0000 UTC
}

func ExampleParseRestoreOptions() {
	options, err := vss.ParseRestoreOptions(`"Authoritative"="All", "mail\db1":"Roll Forward"="Partial:12:30"`)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, o := range options.For("roll forward", vss.ComponentKey{LogicalPath: `mail\db1`, Name: "logs"}) {
		fmt.Println(o.Value)
	}
	// Output:
	// Partial:12:30
}
