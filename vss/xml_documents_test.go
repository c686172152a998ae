package vss

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
)

func document(t testing.TB, name string) string {
	b, err := os.ReadFile(filepath.Join("testdata", "documents", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// inAllForms calls f with a document in every form in which it may be stored.
func inAllForms(text string, f func(form string, document []byte)) {
	bigEndian := xmlite.Encode([]byte(text), xmlite.UTF16LEBOM)
	for i := 0; i < len(bigEndian); i += 2 {
		bigEndian[i], bigEndian[i+1] = bigEndian[i+1], bigEndian[i]
	}
	f("UTF-8", []byte(text))
	f("UTF-8 with a mark", xmlite.Encode([]byte(text), xmlite.UTF8BOM))
	f("UTF-16", xmlite.Encode([]byte(text), xmlite.UTF16LE))
	f("UTF-16 with a mark", xmlite.Encode([]byte(text), xmlite.UTF16LEBOM))
	f("UTF-16 in the other order", bigEndian)
	f("CRLF", []byte(strings.ReplaceAll(text, "\n", "\r\n")))
	f("with a declaration", []byte(`<?xml version="1.0" encoding="utf-16"?>`+text))
}

func TestHyperVWriterDocument(t *testing.T) {
	text := document(t, "hyperv_writer.xml")
	inAllForms(text, func(form string, stored []byte) {
		m, err := ReadWriterMetadata(bytes.NewReader(stored))
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if got := metadataXML(t, m); got != text {
			t.Errorf("%s: is written as\n%s\nnot as\n%s", form, got, text)
		}
		if m.Schema != 881 || m.Restore.Method != MethodRestoreIfCanReplace || m.Restore.WriterRestore != WriterRestoreAlways {
			t.Errorf("%s: %v, %+v", form, m.Schema, m.Restore)
		}
		c := m.Component(ComponentKey{Name: "7b1c2d3e-4f50-4617-8829-3a4b5c6d7e8f"})
		if c == nil || c.Caption != `Backup Using Child Partition Snapshot\sql01` || !c.Selectable || len(c.Files) != 4 {
			t.Fatalf("%s: component %+v", form, c)
		}
		if c.Files[3] != (FileSet{FileSpec: FileSpec{`D:\VMs\sql01\Snapshots\`, "*", true}, Mask: FileSpecDefault}) {
			t.Errorf("%s: %+v", form, c.Files[3])
		}
		if m.Components[1].Caption != `Backup Using Saved State\files & prints` {
			t.Errorf("%s: caption %q", form, m.Components[1].Caption)
		}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	})
}

// TestHandWrittenDocument reads one with comments, unknown elements and
// attributes, mixed children and its restore method at the end.
func TestHandWrittenDocument(t *testing.T) {
	text := document(t, "system_writer.xml")
	m, err := ReadWriterMetadata(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(meaning(t, text), meaning(t, metadataXML(t, m))); diff != "" {
		t.Errorf("means something else (-want +got):\n%s", diff)
	}
	if guid.String(m.Identity.WriterID) != "e8132975-6f93-4464-a53e-1050253ae220" || m.Identity.Usage != UsageBootableSystemState || m.Identity.MinorVersion != 3 {
		t.Errorf("identity %+v", m.Identity)
	}
	if len(m.Components) != 2 || len(m.Components[0].Files) != 3 || len(m.Excludes) != 2 || len(m.SnapshotExcludes) != 1 {
		t.Fatalf("%+v", m)
	}
	if m.Components[0].Files[2].Mask != FullBackupRequired || m.Components[0].Flags != FlagAppRollbackRecovery {
		t.Errorf("%+v", m.Components[0])
	}

	// What changes is written in place, the rest stays as it was.
	m.Identity.InstanceID = guid.MustParse("{4c9e2b7f-0a13-4d68-b5f2-8e7d6c5b4a40}")
	m.Components[0].Files[1].Recursive = true
	m.Components[0].Files = append(m.Components[0].Files, FileSet{FileSpec: FileSpec{`C:\new`, "*", false}})
	m.Components = append(m.Components, ComponentInfo{ComponentKey: key("New"), Type: ComponentDatabase})
	m.Excludes = m.Excludes[:1]
	want := strings.NewReplacer(
		"4C9E2B7F-0A13-4D68-B5F2-8E7D6C5B4A39", "4c9e2b7f-0a13-4d68-b5f2-8e7d6c5b4a40",
		`filespec="*.dll" recursive="no"`, `filespec="*.dll" recursive="yes"`,
		`filespecBackupType="1"/>`, `filespecBackupType="1"/><FILE_LIST path="C:\new" filespec="*" filespecBackupType="0"/>`,
		`		<EXCLUDE_FILES path="%SystemRoot%\Prefetch\" filespec="*.pf" recursive="no"/>`, "",
		`componentFlags="4"/>`, `componentFlags="4"/><DATABASE componentName="New" restoreMetadata="no" notifyOnBackupComplete="no" selectable="no" `+
			`selectableForRestore="no" componentFlags="0"/>`,
	).Replace(text)
	if diff := cmp.Diff(meaning(t, want), meaning(t, metadataXML(t, m))); diff != "" {
		t.Errorf("after changes (-want +got):\n%s", diff)
	}
}

// TestAdditionsStayWithTheirKind adds to the middle one of three kinds.
func TestAdditionsStayWithTheirKind(t *testing.T) {
	m, err := ReadWriterMetadata(strings.NewReader(document(t, "system_writer.xml")))
	if err != nil {
		t.Fatal(err)
	}
	m.Excludes = append(m.Excludes, ExcludedFiles{FileSpec: FileSpec{`C:\`, "added", false}})
	text := metadataXML(t, m)
	if before, at, behind := strings.Index(text, "*.pf"), strings.Index(text, "added"), strings.Index(text, "Catalogs"); before > at || at > behind {
		t.Errorf("excluded files are added at the wrong place:\n%s", text)
	}
	if err := m.AddExcludeFiles(FileSpec{`C:\`, "last", false}); err != nil {
		t.Fatal(err)
	}
	if text := metadataXML(t, m); strings.Index(text, "last") < strings.Index(text, "Catalogs") {
		t.Errorf("excluded files added by the method do not come last:\n%s", text)
	}
}

func TestDatabaseDocument(t *testing.T) {
	m, err := ReadWriterMetadata(strings.NewReader(document(t, "database_writer.xml")))
	if err != nil {
		t.Fatal(err)
	}
	want := NewWriterMetadata(WriterIdentity{
		WriterID:     guid.MustParse("2f1d0c3b-4a59-4687-9786-a5b4c3d2e1f0"),
		InstanceID:   guid.MustParse("11111111-2222-4333-8444-555555555555"),
		InstanceName: "LEDGER01", FriendlyName: "Ledger Writer", Usage: UsageUserData, Source: SourceTransactedDB,
		MajorVersion: 2, MinorVersion: 1,
	})
	ledger := ComponentKey{LogicalPath: "LEDGER01", Name: "ledger"}
	for _, err := range []error{
		want.SetBackupSchema(SchemaDifferential | SchemaIncremental | SchemaLog | SchemaTimestamped),
		want.SetRestoreMethod(RestorePolicy{Method: MethodStopRestoreStart, Service: "ledgerd", WriterRestore: WriterRestoreAlways}),
		want.AddAlternateLocationMapping(FileMapping{FileSpec: FileSpec{`E:\Ledger`, "ledger.db", false}, Destination: `F:\Ledger`}),
		want.AddComponent(ComponentInfo{ComponentKey: ledger, Type: ComponentDatabase, Caption: "The ledger", Icon: []byte{0, 1, 2, 255},
			Selectable: true, Flags: FlagBackupRecovery | FlagAppRollbackRecovery}),
		want.AddDatabaseFiles(ledger, FileSet{FileSpec: FileSpec{`E:\Ledger`, "ledger.db", false}}),
		want.AddDatabaseLogFiles(ledger, FileSet{FileSpec: FileSpec{`L:\Ledger`, "*.log", false},
			Mask: IncrementalBackupRequired | LogBackupRequired | IncrementalSnapshotRequired | LogSnapshotRequired}),
		want.AddComponentDependency(ledger, Dependency{WriterID: guid.MustParse("afbab4a2-367d-4d15-a586-71dbb18f8485"), ComponentKey: key("Registry")}),
		want.Check(),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(want, m, exact); diff != "" {
		t.Errorf("reads differently (-want +got):\n%s", diff)
	}
	if to, ok := m.AlternateLocation(FileSpec{`e:\LEDGER\`, "Ledger.DB", false}); !ok || to != `F:\Ledger` {
		t.Errorf("the files go to %q, %v", to, ok)
	}
	if _, ok := m.AlternateLocation(FileSpec{`E:\Ledger`, "ledger.db", true}); ok {
		t.Error("a mapping is found for another file set")
	}
}

func TestBackupComponentsAsFound(t *testing.T) {
	text := document(t, "backup_components.xml")
	inAllForms(text, func(form string, stored []byte) {
		d, err := ReadBackupComponents(bytes.NewReader(stored))
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		var b strings.Builder
		if err := d.WriteXML(&b); err != nil || b.String() != text {
			t.Errorf("%s: is written as\n%s\nnot as\n%s", form, b.String(), text)
		}
		w := d.Writer(guid.MustParse("66841CD4-6DED-4F4B-8F17-FD23F8DDC3DE"), guid.MustParse("0d6f1a3c-92be-4d5e-8a11-3f6c2b7e9001"))
		c := w.Component(ComponentKey{Name: "7b1c2d3e-4f50-4617-8829-3a4b5c6d7e8f"})
		if string(c.BackupMetadata) != "<\x00\x43\x00o\x00n\x00f\x00i\x00g\x00/\x00>\x00" {
			t.Errorf("%s: metadata %q", form, c.BackupMetadata)
		}
		if !d.SelectComponents || d.BackupType != BackupFull || c.BackupStamp != "2009-03-14T15:09:26Z" || c.Type != ComponentFileGroup || c.Target() != TargetOriginal {
			t.Errorf("%s: %+v %+v", form, d, c)
		}
		if c := d.Writers[1].Component(key(`ledger01\LEDGER`)); c == nil || c.Type != ComponentDatabase || c.BackupMetadata != nil {
			t.Errorf("%s: %+v", form, c)
		}
	})
}
