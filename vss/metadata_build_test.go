package vss

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/internal/guid"
)

var ledgerID = guid.MustParse("2f1d0c3b-4a59-4687-9786-a5b4c3d2e1f0")

// sampleMetadata is a correct document with one file group and one database.
func sampleMetadata(t *testing.T) *WriterMetadata {
	m := NewWriterMetadata(WriterIdentity{WriterID: ledgerID, FriendlyName: "Ledger Writer", Usage: UsageUserData, Source: SourceTransactedDB})
	for _, err := range []error{
		m.SetRestoreMethod(RestorePolicy{Method: MethodRestoreIfCanReplace, WriterRestore: WriterRestoreAlways}),
		m.AddComponent(ComponentInfo{ComponentKey: key("files"), Type: ComponentFileGroup}),
		m.AddComponent(ComponentInfo{ComponentKey: key(`inst\db`), Type: ComponentDatabase}),
		m.AddFilesToFileGroup(key("FILES"), FileSet{FileSpec: FileSpec{`D:\files`, "*", true}, AlternatePath: `D:\spit`}),
		m.AddDatabaseFiles(key(`inst\db`), FileSet{FileSpec: FileSpec{`E:\`, "db.mdf", false}}),
		m.AddDatabaseLogFiles(key(`inst\db`), FileSet{FileSpec: FileSpec{`L:\`, "*.ldf", false}, Mask: LogBackupRequired}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// TestBuilderRefusals holds every method against the codes its page lists.
func TestBuilderRefusals(t *testing.T) {
	files := FileSet{FileSpec: FileSpec{`D:\`, "*", false}}
	for _, row := range []struct {
		name string
		call func(m *WriterMetadata) error
		want HRESULT
	}{
		{"a component twice", func(m *WriterMetadata) error {
			return m.AddComponent(ComponentInfo{ComponentKey: key(`INST\DB`), Type: ComponentFileGroup})
		}, ErrObjectAlreadyExists},
		{"a component without a type", func(m *WriterMetadata) error { return m.AddComponent(ComponentInfo{ComponentKey: key("x")}) }, ErrInvalidArg},
		{"a component of an unknown type", func(m *WriterMetadata) error {
			return m.AddComponent(ComponentInfo{ComponentKey: key("x"), Type: ComponentFileGroup + 1})
		}, ErrInvalidArg},
		{"a component without a name", func(m *WriterMetadata) error { return m.AddComponent(ComponentInfo{Type: ComponentFileGroup}) }, ErrInvalidArg},
		{"a name with a backslash", func(m *WriterMetadata) error {
			return m.AddComponent(ComponentInfo{ComponentKey: ComponentKey{"", `a\b`}, Type: ComponentFileGroup})
		}, ErrInvalidArg},
		{"a component with files of the other type", func(m *WriterMetadata) error {
			return m.AddComponent(ComponentInfo{ComponentKey: key("x"), Type: ComponentFileGroup, DatabaseFiles: []FileSet{files}})
		}, ErrInvalidArg},
		{"a database with files of a file group", func(m *WriterMetadata) error {
			return m.AddComponent(ComponentInfo{ComponentKey: key("x"), Type: ComponentDatabase, Files: []FileSet{files}})
		}, ErrInvalidArg},
		{"a component with a dependency on itself", func(m *WriterMetadata) error {
			return m.AddComponent(ComponentInfo{ComponentKey: key("x"), Type: ComponentFileGroup, Dependencies: []Dependency{{WriterID: ledgerID, ComponentKey: key("files")}}})
		}, ErrInvalidArg},
		{"files of an unknown component", func(m *WriterMetadata) error { return m.AddFilesToFileGroup(key("db"), files) }, ErrObjectNotFound},
		{"database files of an unknown component", func(m *WriterMetadata) error { return m.AddDatabaseFiles(key("db"), files) }, ErrObjectNotFound},
		{"log files of an unknown component", func(m *WriterMetadata) error { return m.AddDatabaseLogFiles(key("db"), files) }, ErrObjectNotFound},
		{"files of a database", func(m *WriterMetadata) error { return m.AddFilesToFileGroup(key(`inst\db`), files) }, ErrInvalidArg},
		{"database files of a file group", func(m *WriterMetadata) error { return m.AddDatabaseFiles(key("files"), files) }, ErrInvalidArg},
		{"log files of a file group", func(m *WriterMetadata) error { return m.AddDatabaseLogFiles(key("files"), files) }, ErrInvalidArg},
		{"recursive database files", func(m *WriterMetadata) error {
			return m.AddDatabaseFiles(key(`inst\db`), FileSet{FileSpec: FileSpec{`D:\`, "*", true}})
		}, ErrInvalidArg},
		{"log files at an alternate path", func(m *WriterMetadata) error {
			return m.AddDatabaseLogFiles(key(`inst\db`), FileSet{FileSpec: files.FileSpec, AlternatePath: `E:\`})
		}, ErrInvalidArg},
		{"a path with a wildcard", func(m *WriterMetadata) error {
			return m.AddFilesToFileGroup(key("files"), FileSet{FileSpec: FileSpec{`D:\*`, "x", false}})
		}, ErrInvalidArg},
		{"an excluded path in the specification", func(m *WriterMetadata) error { return m.AddExcludeFiles(FileSpec{`D:\`, `x\*`, true}) }, ErrInvalidArg},
		{"nothing excluded from the snapshot", func(m *WriterMetadata) error { return m.AddExcludeFilesFromSnapshot(FileSpec{}) }, ErrInvalidArg},
		{"a mapping before the restore method", func(m *WriterMetadata) error {
			m.Restore = nil
			return m.AddAlternateLocationMapping(FileMapping{FileSpec: files.FileSpec, Destination: `E:\`})
		}, ErrObjectNotFound},
		{"a mapping to nowhere", func(m *WriterMetadata) error {
			return m.AddAlternateLocationMapping(FileMapping{FileSpec: files.FileSpec})
		}, ErrInvalidArg},
		{"a mapping of nothing", func(m *WriterMetadata) error { return m.AddAlternateLocationMapping(FileMapping{Destination: `E:\`}) }, ErrInvalidArg},
		{"an undefined restore method", func(m *WriterMetadata) error {
			return m.SetRestoreMethod(RestorePolicy{WriterRestore: WriterRestoreNever})
		}, ErrInvalidArg},
		{"a restore method that does not exist", func(m *WriterMetadata) error {
			return m.SetRestoreMethod(RestorePolicy{Method: 9, WriterRestore: WriterRestoreNever})
		}, ErrInvalidArg},
		{"an undefined participation", func(m *WriterMetadata) error { return m.SetRestoreMethod(RestorePolicy{Method: MethodCustom}) }, ErrInvalidArg},
		{"a service without a name", func(m *WriterMetadata) error {
			return m.SetRestoreMethod(RestorePolicy{Method: MethodRestoreStopStart, WriterRestore: WriterRestoreAlways})
		}, ErrInvalidArg},
		{"a policy with a mapping to nowhere", func(m *WriterMetadata) error {
			return m.SetRestoreMethod(RestorePolicy{Method: MethodCustom, WriterRestore: WriterRestoreAlways, AlternateLocations: []FileMapping{{FileSpec: files.FileSpec}}})
		}, ErrInvalidArg},
		{"a schema that makes no sense", func(m *WriterMetadata) error { return m.SetBackupSchema(SchemaTimestamped) }, ErrInvalidArg},
		{"a dependency of an unknown component", func(m *WriterMetadata) error {
			return m.AddComponentDependency(key("x"), Dependency{ComponentKey: key("y")})
		}, ErrObjectNotFound},
		{"a dependency on the writer itself", func(m *WriterMetadata) error {
			return m.AddComponentDependency(key("files"), Dependency{WriterID: ledgerID, ComponentKey: key(`inst\db`)})
		}, ErrInvalidArg},
		{"a dependency on nothing", func(m *WriterMetadata) error { return m.AddComponentDependency(key("files"), Dependency{}) }, ErrInvalidArg},
	} {
		m := sampleMetadata(t)
		err := row.call(m)
		var e *Error
		if HRESULTOf(err) != row.want || !errors.As(err, &e) || e.Op == "" {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
		if m.Restore == nil {
			m.Restore = sampleMetadata(t).Restore
		}
		if diff := cmp.Diff(sampleMetadata(t), m, exact); diff != "" {
			t.Errorf("%s: refused, but the document has changed:\n%s", row.name, diff)
		}
	}
}

func TestBuilderFillsIn(t *testing.T) {
	m := sampleMetadata(t)
	if err := m.Check(); err != nil {
		t.Error(err)
	}
	if got := m.Component(key("files")).Files[0].Mask; got != FileSpecDefault {
		t.Errorf("a file set without a mask gets %v", got)
	}
	if got := m.Component(key(`inst\db`)).LogFiles[0].Mask; got != LogBackupRequired {
		t.Errorf("a file set with a mask gets %v", got)
	}
	sets := []FileSet{{FileSpec: FileSpec{`D:\x`, "*", false}}}
	if err := m.AddComponent(ComponentInfo{ComponentKey: key("with files"), Type: ComponentFileGroup, Files: sets}); err != nil {
		t.Fatal(err)
	}
	if got := m.Component(key("with files")).Files[0].Mask; got != FileSpecDefault || sets[0].Mask != 0 {
		t.Errorf("a component with files gets the mask %v and changes the caller's to %v", got, sets[0].Mask)
	}
	remote := Dependency{WriterID: ledgerID, ComponentKey: ComponentKey{`\\other\inst`, "db"}}
	if err := m.AddComponentDependency(key("files"), remote); err != nil || !remote.Remote() || (Dependency{}).Remote() || !(Dependency{ComponentKey: ComponentKey{"", `\\m\x`}}).Remote() {
		t.Errorf("a dependency on the same writer elsewhere: %v", err)
	}
	mapping := FileMapping{FileSpec: FileSpec{`D:\x`, "*", false}, Destination: `E:\x`}
	if err := m.AddAlternateLocationMapping(mapping); err != nil {
		t.Error(err)
	}
	if err := m.SetRestoreMethod(RestorePolicy{Method: MethodCustom, WriterRestore: WriterRestoreNever}); err != nil || len(m.Restore.AlternateLocations) != 1 {
		t.Errorf("a new policy: %v, %+v", err, m.Restore)
	}
	if sets := slices.Collect(m.Component(key(`inst\db`)).FileSets()); len(sets) != 2 || sets[1].Spec != "*.ldf" {
		t.Errorf("file sets %v", sets)
	}
	for range m.Component(key(`inst\db`)).FileSets() {
		break // an iterator may be left early
	}
}

// TestOrderOfAdding keeps components and excluded files mixed as they were added.
func TestOrderOfAdding(t *testing.T) {
	m := NewWriterMetadata(WriterIdentity{})
	exclude := func(spec string) {
		if err := m.AddExcludeFiles(FileSpec{`C:\`, spec, false}); err != nil {
			t.Fatal(err)
		}
	}
	add := func(name string) {
		if err := m.AddComponent(ComponentInfo{ComponentKey: key(name), Type: ComponentFileGroup}); err != nil {
			t.Fatal(err)
		}
	}
	exclude("1")
	exclude("2")
	add("a")
	add("b")
	if err := m.AddExcludeFilesFromSnapshot(FileSpec{`C:\`, "s", false}); err != nil {
		t.Fatal(err)
	}
	exclude("3")
	add("c")
	text := metadataXML(t, m)
	at := 0
	for _, part := range []string{`"1"`, `"2"`, `"a"`, `"b"`, `"s"`, `"3"`, `"c"`} {
		i := strings.Index(text, part)
		if i < at {
			t.Fatalf("%s is out of order in\n%s", part, text)
		}
		at = i
	}
	back, err := ReadWriterMetadata(strings.NewReader(text))
	if diff := cmp.Diff(m, back, exact); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestLookupsNoticeChangesByHand edits the list of components beside the methods.
func TestLookupsNoticeChangesByHand(t *testing.T) {
	m := sampleMetadata(t)
	m.Components = append(m.Components, ComponentInfo{ComponentKey: key("by hand"), Type: ComponentFileGroup})
	if m.Component(key("BY HAND")) == nil {
		t.Error("an appended component is not found")
	}
	if err := m.AddComponent(ComponentInfo{ComponentKey: key("by hand"), Type: ComponentFileGroup}); !errors.Is(err, ErrObjectAlreadyExists) {
		t.Errorf("an appended component is added again: %v", err)
	}
	m.Components = slices.Delete(m.Components, 0, 1)
	if m.Component(key("files")) != nil || m.Component(key(`inst\db`)) != &m.Components[0] {
		t.Error("lookups go by old positions")
	}
	m.Components[0], m.Components[1] = m.Components[1], m.Components[0]
	if err := m.AddComponent(ComponentInfo{ComponentKey: key("files"), Type: ComponentFileGroup}); err != nil {
		t.Error(err)
	}
	m.Components[0], m.Components[2] = m.Components[2], m.Components[0]
	if m.Component(key("files")) != &m.Components[0] || m.Component(key("by hand")) != &m.Components[2] {
		t.Error("lookups go by old positions after a swap")
	}
	copied := *m
	if err := copied.AddComponent(ComponentInfo{ComponentKey: key("in the copy"), Type: ComponentFileGroup}); err != nil {
		t.Fatal(err)
	}
	if m.Component(key("in the copy")) != nil || m.Component(key("files")) == nil || copied.Component(key("in the copy")) == nil {
		t.Error("a copy and its original are mixed up")
	}
}

// TestCheckFindsEveryBrokenRule breaks one rule at a time.
func TestCheckFindsEveryBrokenRule(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(m *WriterMetadata)
		want  HRESULT
		says  string
	}{
		{"class", func(m *WriterMetadata) { m.Identity.WriterID = guid.GUID{} }, ErrInvalidArg, "class id"},
		{"name", func(m *WriterMetadata) { m.Identity.FriendlyName = "" }, ErrInvalidArg, "no name"},
		{"usage", func(m *WriterMetadata) { m.Identity.Usage = UsageUndefined }, ErrInvalidArg, "used for"},
		{"source", func(m *WriterMetadata) { m.Identity.Source = 4 }, ErrInvalidArg, "kind of data"},
		{"no component", func(m *WriterMetadata) { m.Components = nil }, ErrObjectNotFound, "no component"},
		{"duplicate", func(m *WriterMetadata) { m.Components[1].ComponentKey = key("FILES") }, ErrObjectAlreadyExists, "that name"},
		{"component name", func(m *WriterMetadata) { m.Components[0].Name = `a\b` }, ErrInvalidArg, "backslash"},
		{"reserved", func(m *WriterMetadata) { m.Components[0].NotifyOnBackupComplete = true }, ErrInvalidArg, "reserved"},
		{"files", func(m *WriterMetadata) { m.Components[0].Files[0].Path = "" }, ErrInvalidArg, "no path"},
		{"recursive database", func(m *WriterMetadata) { m.Components[1].LogFiles[0].Recursive = true }, ErrInvalidArg, "not recursive"},
		{"a file twice", func(m *WriterMetadata) {
			m.Components[1].LogFiles = append(m.Components[1].LogFiles, m.Components[1].DatabaseFiles[0])
		}, ErrObjectAlreadyExists, `named twice, also by inst\db`},
		{"dependency", func(m *WriterMetadata) {
			m.Components[0].Dependencies = []Dependency{{WriterID: ledgerID, ComponentKey: key("x")}}
		}, ErrInvalidArg, "itself"},
		{"exclusion", func(m *WriterMetadata) { m.Excludes = []ExcludedFiles{{}} }, ErrInvalidArg, "no path"},
		{"snapshot exclusion", func(m *WriterMetadata) { m.SnapshotExcludes = []ExcludedFiles{{FileSpec: FileSpec{`C:\`, "", true}}} }, ErrInvalidArg, "no file spec"},
		{"schema", func(m *WriterMetadata) { m.Schema = SchemaLastModify }, ErrInvalidArg, "need incremental"},
		{"log schema", func(m *WriterMetadata) { m.Schema, m.Components = SchemaLog, m.Components[:1] }, ErrInvalidArg, "without a log file"},
		{"no restore method", func(m *WriterMetadata) { m.Restore = nil }, ErrObjectNotFound, "no restore method"},
		{"restore method", func(m *WriterMetadata) { m.Restore.Method = 0 }, ErrInvalidArg, "no restore method"},
		{"service", func(m *WriterMetadata) { m.Restore.Service = "x" }, ErrInvalidArg, "no use for a service"},
		{"mapping of nothing", func(m *WriterMetadata) {
			m.Restore.AlternateLocations = []FileMapping{{FileSpec: FileSpec{`D:\files`, "*", false}, Destination: `E:\`}}
		}, ErrObjectNotFound, "matches no file set"},
		{"mapping to nowhere", func(m *WriterMetadata) {
			m.Restore.AlternateLocations = []FileMapping{{FileSpec: FileSpec{`D:\`, "*", false}}}
		}, ErrObjectNotFound, "nowhere"},
	} {
		m := sampleMetadata(t)
		row.spoil(m)
		if err := m.Check(); !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want %v and %q", row.name, err, row.want, row.says)
		}
	}
	m := sampleMetadata(t)
	m.Schema = SchemaLog
	m.Restore.AlternateLocations = []FileMapping{{FileSpec: FileSpec{`d:\FILES\`, "*", true}, Destination: `E:\`}}
	if err := m.Check(); err != nil {
		t.Errorf("a correct document: %v", err)
	}
}
