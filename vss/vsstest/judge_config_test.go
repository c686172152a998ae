package vsstest_test

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// wholeConfig uses every element and attribute of the language.
const wholeConfig = `<?xml version="1.0"?>
<!-- everything -->
<TestWriter xmlns="x-schema:TestWriter" usage="BOOTABLE_SYSTEM_STATE" verbosity="High" deleteFiles="yes" deletePartialFiles="Yes"
	deleteDifferencedFiles="yes" checkIncludes="no" checkExcludes="no" supportsCopy="no" supportsDifferential="yes"
	supportsIncremental="yes" supportsLog="yes" supportsNewTarget="no" future="1">
	<RestoreMethod method="STOP_RESTORE_START" service="Svc" userProcedure="call us" writerRestore="ifReplaceFails" rebootRequired="yes">
		<AlternateLocationMapping path="D:\a" filespec="*" recursive="yes" alternatePath="E:\b"/>
	</RestoreMethod>
	<ExcludeFile path="D:\a" filespec="*.tmp" recursive="yes"/>
	<Component componentType="filegroup" logicalPath="x\y" componentName="files" caption="Files" selectable="no" selectableForRestore="yes">
		<ComponentFile path="D:\a" filespec="*" recursive="yes" alternatePath="E:\spit" fullBackupRequired="no" incSnapshotRequired="no"/>
		<Dependency writerId="{66841cd4-6ded-4f4b-8f17-fd23f8ddc3de}" logicalPath="l" componentName="n"/>
		<PartialFile path="D:\a" filespec="p" ranges="0:1, 0x10:2" metadata="m"/>
		<DifferencedFile path="D:\a" filespec="*" recursive="yes" year="2008" month="12" day="31" hour="23" minute="59" second="58"/>
		<Later/>
	</Component>
	<Component componentType="database" componentName="db">
		<ComponentFile path="D:\db" filespec="data"/>
		<ComponentFile path="D:\db" filespec="log" fullBackupRequired="no" diffBackupRequired="no" incBackupRequired="no"/>
	</Component>
	<FailEvent writerEvent="Freeze" retryable="yes" numFailures="3"/>
	<FailEvent writerEvent="Abort"/>
</TestWriter>`

func TestReadJudgeConfig(t *testing.T) {
	c, err := vsstest.ReadJudgeConfig(strings.NewReader(wholeConfig))
	if err != nil {
		t.Fatal(err)
	}
	a := vss.FileSpec{Path: `D:\a`, Spec: "*", Recursive: true}
	all := vss.FileSpecDefault
	var files, db vsstest.JudgeComponent
	files.Type, files.LogicalPath, files.Name, files.Caption, files.SelectableForRestore = vss.ComponentFileGroup, `x\y`, "files", "Files", true
	files.Files = []vss.FileSet{{FileSpec: a, AlternatePath: `E:\spit`, Mask: all &^ (vss.FullBackupRequired | vss.IncrementalSnapshotRequired)}}
	files.Dependencies = []vss.Dependency{{WriterID: guid.MustParse("66841cd4-6ded-4f4b-8f17-fd23f8ddc3de"), ComponentKey: vss.ComponentKey{LogicalPath: "l", Name: "n"}}}
	files.Partial = []vss.PartialFile{{FilePart: vss.FilePart{Path: `D:\a`, Name: "p", Ranges: "0:1, 0x10:2"}, Metadata: "m"}}
	files.Differenced = []vss.DifferencedFiles{{FileSpec: a, LastModified: 128752415980000000}}
	db.Type, db.Name, db.Selectable = vss.ComponentDatabase, "db", true
	db.DatabaseFiles = []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\db`, Spec: "data"}, Mask: all}}
	db.LogFiles = []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\db`, Spec: "log"}, Mask: vss.LogBackupRequired | vss.AllSnapshotRequired}}
	want := &vsstest.JudgeConfig{
		Usage: vss.UsageBootableSystemState, Verbosity: "High", DeleteFiles: true, DeletePartialFiles: true, DeleteDifferencedFiles: true,
		Schema: vss.SchemaDifferential | vss.SchemaIncremental | vss.SchemaLog | vss.SchemaTimestamped | vss.SchemaLastModify,
		Restore: vss.RestorePolicy{
			Method: vss.MethodStopRestoreStart, Service: "Svc", UserProcedure: "call us", WriterRestore: vss.WriterRestoreIfReplaceFails, RebootRequired: true,
			AlternateLocations: []vss.FileMapping{{FileSpec: a, Destination: `E:\b`}},
		},
		Excludes:   []vss.FileSpec{{Path: `D:\a`, Spec: "*.tmp", Recursive: true}},
		Components: []vsstest.JudgeComponent{files, db},
		Fails:      []vsstest.FailEvent{{Event: vss.EventFreeze, Retryable: true, Times: 3}, {Event: vss.EventAbort}},
		Unknown:    []string{"Component holds an element Later that is not known", "TestWriter has an attribute future that is not known"},
	}
	options := cmp.Comparer(func(a, b vss.FileMapping) bool { return a.Same(b.FileSpec) && a.Destination == b.Destination })
	ignored := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".extra" }, cmp.Ignore())
	if diff := cmp.Diff(want, c, options, ignored); diff != "" {
		t.Error(diff)
	}
	if got := c.Components[0].Differenced[0].LastModified.Time().String(); got != "2008-12-31 23:59:58 +0000 UTC" {
		t.Errorf("the moment is %s", got)
	}
}

// TestJudgeConfigDefaults: what a file does not say, and other encodings.
func TestJudgeConfigDefaults(t *testing.T) {
	const text = `<TestWriter><Component componentName="c"><ComponentFile path="D:\x" filespec="*"/></Component></TestWriter>`
	wide := []byte{0xFF, 0xFE}
	for _, u := range utf16.Encode([]rune(text)) {
		wide = binary.LittleEndian.AppendUint16(wide, u)
	}
	for _, data := range []string{text, "\uFEFF" + text, string(wide)} {
		c, err := vsstest.ReadJudgeConfig(strings.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		chain := vss.SchemaIncremental | vss.SchemaDifferential | vss.SchemaTimestamped
		if c.Schema != chain|vss.SchemaCopy|vss.SchemaNewTarget || c.Usage != vss.UsageUserData || c.DeleteFiles || !c.CheckIncludes || !c.CheckExcludes ||
			c.Restore.Method != vss.MethodRestoreIfCanReplace || c.Restore.WriterRestore != vss.WriterRestoreAlways || !c.Components[0].Selectable {
			t.Errorf("read %+v", c)
		}
	}
}

func TestJudgeConfigErrors(t *testing.T) {
	in := func(inner string) string { return "<TestWriter>" + inner + "</TestWriter>" }
	of := func(inner string) string { return in(`<Component componentName="c">` + inner + "</Component>") }
	for _, tt := range []struct{ text, element, attribute string }{
		{"", "", ""},
		{"<TestWriter>", "", ""},
		{"<Writer/>", "Writer", ""},
		{`<TestWriter usage="MINE"/>`, "TestWriter", "usage"},
		{`<TestWriter verbosity="loud"/>`, "TestWriter", "verbosity"},
		{`<TestWriter deleteFiles="maybe"/>`, "TestWriter", "deleteFiles"},
		{`<TestWriter supportsCopy="1"/>`, "TestWriter", "supportsCopy"},
		{in(`<ExcludeFile path="D:\" filespec="*"/><RestoreMethod/>`), "RestoreMethod", ""},
		{in(`<RestoreMethod/><RestoreMethod/>`), "RestoreMethod", ""},
		{in(`<RestoreMethod method="NEVER_MIND"/>`), "RestoreMethod", "method"},
		{in(`<RestoreMethod method="UNDEFINED" writerRestore="sometimes"/>`), "RestoreMethod", "writerRestore"},
		{in(`<RestoreMethod method="STOP_RESTORE_START"/>`), "TestWriter", ""}, // without a service
		{in(`<RestoreMethod><AlternateLocationMapping path="D:\" filespec="*"/></RestoreMethod>`), "AlternateLocationMapping", "alternatePath"},
		{in(`<ExcludeFile path="D:\"/>`), "ExcludeFile", "filespec"},
		{in(`<ExcludeFile path="D:\*" filespec="*"/>`), "TestWriter", ""},
		{in(`<Component/>`), "Component", "componentName"},
		{in(`<Component componentName="a\b"/>`), "TestWriter", ""},
		{in(`<Component componentName="a"/><Component componentName="A"/>`), "TestWriter", ""},
		{in(`<Component componentType="folder" componentName="a"/>`), "Component", "componentType"},
		{of(`<ComponentFile filespec="*"/>`), "ComponentFile", "path"},
		{of(`<ComponentFile path="D:\" filespec="a\b"/>`), "TestWriter", ""},
		{of(`<ComponentFile path="D:\" filespec="*" incBackupRequired="-"/>`), "ComponentFile", "incBackupRequired"},
		{of(`<Dependency writerId="x" componentName="n"/>`), "Dependency", "writerId"},
		{of(`<PartialFile path="D:\" filespec="a" ranges="x"/>`), "PartialFile", "ranges"},
		{of(`<PartialFile path="D:\" filespec="a"/>`), "PartialFile", "ranges"},
		{of(`<DifferencedFile path="D:\" filespec="a" year="2008" month="2" day="30"/>`), "DifferencedFile", ""},
		{of(`<DifferencedFile path="D:\" filespec="a" year="x"/>`), "DifferencedFile", "year"},
		{of(`<DifferencedFile path="D:\" filespec="a" year="99999999999"/>`), "DifferencedFile", "year"},
		{in(`<FailEvent writerEvent="Melt"/>`), "FailEvent", "writerEvent"},
		{in(`<FailEvent writerEvent="Thaw" numFailures="-1"/>`), "FailEvent", "numFailures"},
	} {
		c, err := vsstest.ReadJudgeConfig(strings.NewReader(tt.text))
		e, ok := errors.AsType[*vsstest.JudgeConfigError](err)
		if !ok || c != nil || e.Element != tt.element || e.Attribute != tt.attribute || !strings.HasPrefix(e.Error(), "configuration of the test writer: ") {
			t.Errorf("%s: %v", tt.text, err)
		}
	}
}

// TestJudgeCases: the configurations of the kit use the whole language.
func TestJudgeCases(t *testing.T) {
	var all vss.BackupSchema
	events, methods, restores := map[vss.Event]bool{}, map[vss.RestoreMethod]bool{}, map[vss.WriterRestore]bool{}
	var spit, partial, differenced, excludes, dependencies, databases, several int
	for _, c := range vsstest.JudgeCases() {
		if len(c.Configs) > 1 {
			several++
		}
		for _, w := range c.Configs {
			if len(w.Unknown) > 0 {
				t.Errorf("%s: %q", c.Name, w.Unknown)
			}
			all |= w.Schema
			excludes += len(w.Excludes)
			methods[w.Restore.Method], restores[w.Restore.WriterRestore] = true, true
			for _, f := range w.Fails {
				events[f.Event] = true
			}
			for _, p := range w.Components {
				partial, differenced, dependencies = partial+len(p.Partial), differenced+len(p.Differenced), dependencies+len(p.Dependencies)
				databases += len(p.DatabaseFiles) * len(p.LogFiles)
				for set := range p.FileSets() {
					if set.AlternatePath != "" {
						spit++
					}
				}
			}
		}
	}
	if len(events) != 10 || len(methods) < 6 || len(restores) != 3 || min(spit, partial, differenced, excludes, dependencies, databases, several) == 0 {
		t.Errorf("missing: %d events, %d methods, %d; %v", len(events), len(methods), len(restores),
			[]int{spit, partial, differenced, excludes, dependencies, databases, several})
	}
	if want := vss.SchemaCopy | vss.SchemaIncremental | vss.SchemaDifferential | vss.SchemaLog | vss.SchemaNewTarget | vss.SchemaLastModify; all&want != want {
		t.Errorf("schemas %v", all)
	}
}

func FuzzReadJudgeConfig(f *testing.F) {
	f.Add(wholeConfig)
	entries, err := os.ReadDir("testdata/judge")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile("testdata/judge/" + e.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add(`<TestWriter><Component componentName="c"><DifferencedFile path="D:\" filespec="a" year="1600" month="1" day="1"/></Component></TestWriter>`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := vsstest.ReadJudgeConfig(strings.NewReader(text))
		if err != nil {
			if _, ok := errors.AsType[*vsstest.JudgeConfigError](err); !ok || c != nil {
				t.Fatalf("%v, %v", c, err)
			}
			return
		}
		if err := c.Schema.Check(); err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Components {
			for _, r := range p.Partial {
				if _, _, err := vss.ParseRanges(r.Ranges); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
