package vss

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// exact compares documents with all that they keep of what they were read from;
// only the indexes are left out.
var exact = cmp.Options{
	cmp.AllowUnexported(WriterMetadata{}, WriterIdentity{}, RestorePolicy{}, FileMapping{}, ExcludedFiles{}, ComponentInfo{},
		FileSet{}, Dependency{}, extra{}, keptAttr{}, run{},
		BackupComponentsDocument{}, SnapshotRecord{}, WriterRecord{}, ComponentRecord{}, PartialFile{}, DifferencedFiles{},
		DirectedTarget{}, RestoreSubcomponent{}, ComponentFailure{}),
	cmp.Comparer(func(a, b index[ComponentKey]) bool { return true }),
	cmp.Comparer(func(a, b index[writerKey]) bool { return true }),
}

func metadataXML(t interface{ Fatal(...any) }, m *WriterMetadata) string {
	var b bytes.Buffer
	if err := m.WriteXML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// texts are strings that XML can hold, the awkward ones among them.
var texts = rapid.StringOfN(rapid.OneOf(
	rapid.SampledFrom([]rune("aB01 \\:.%*?-<>&'\"\t\n\r]äß語\U0001F4BE\u0085\u2028\uFEFF")),
	rapid.RuneFrom(nil, &unicode.RangeTable{R16: []unicode.Range16{{Lo: 'A', Hi: 'z', Stride: 1}, {Lo: 0x400, Hi: 0x4FF, Stride: 1}}}),
), 0, 8, -1)

func genMetadata(t *rapid.T) *WriterMetadata {
	m := NewWriterMetadata(WriterIdentity{
		WriterID:     drawGUID(t),
		InstanceID:   drawGUID(t),
		InstanceName: texts.Draw(t, "instance name"),
		FriendlyName: texts.Draw(t, "name"),
		Usage:        UsageType(rapid.Int32Range(0, 4).Draw(t, "usage")),
		Source:       SourceType(rapid.Int32Range(0, 3).Draw(t, "source")),
		MajorVersion: rapid.Uint32().Draw(t, "major"),
	})
	m.Schema = BackupSchema(rapid.Uint32().Draw(t, "schema"))
	if rapid.Bool().Draw(t, "restore") {
		m.Restore = &RestorePolicy{
			Method:             RestoreMethod(rapid.Int32Range(0, 8).Draw(t, "method")),
			Service:            texts.Draw(t, "service"),
			UserProcedure:      texts.Draw(t, "procedure"),
			WriterRestore:      WriterRestore(rapid.Int32Range(0, 3).Draw(t, "writer restore")),
			RebootRequired:     rapid.Bool().Draw(t, "reboot"),
			AlternateLocations: drawMany(t, "mappings", drawMapping),
		}
	}
	for range rapid.IntRange(0, 8).Draw(t, "locations") {
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			_ = m.AddComponent(drawComponent(t)) // a duplicate is left out
		case 1:
			if err := m.AddExcludeFiles(drawFiles(t)); err != nil {
				t.Fatal(err)
			}
		case 2:
			if err := m.AddExcludeFilesFromSnapshot(drawFiles(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

func drawGUID(t *rapid.T) (g guid.GUID) {
	copy(g[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "guid"))
	return g
}

// drawMany draws up to three; none is nil, as a document that has none.
func drawMany[T any](t *rapid.T, label string, draw func(*rapid.T) T) []T {
	var list []T
	for range rapid.IntRange(0, 3).Draw(t, label) {
		list = append(list, draw(t))
	}
	return list
}

func drawFiles(t *rapid.T) FileSpec {
	return FileSpec{
		Path:      rapid.SampledFrom([]string{`C:\`, `%SystemRoot%\x`, `\\?\Volume{1}\`, `\rooted`, "D:\\<&\">\t"}).Draw(t, "path"),
		Spec:      rapid.SampledFrom([]string{"*", "a.b", "?x*"}).Draw(t, "spec"),
		Recursive: rapid.Bool().Draw(t, "recursive"),
	}
}

func drawMapping(t *rapid.T) FileMapping {
	return FileMapping{FileSpec: drawFiles(t), Destination: texts.Draw(t, "destination")}
}

func drawFileSet(t *rapid.T) FileSet {
	return FileSet{FileSpec: drawFiles(t), AlternatePath: texts.Draw(t, "alternate"), Mask: FileSpecBackupType(1 + rapid.Uint32Range(0, 1<<20).Draw(t, "mask"))}
}

func drawDatabaseFiles(t *rapid.T) FileSet {
	s := drawFileSet(t)
	s.Recursive, s.AlternatePath = false, ""
	return s
}

func drawComponent(t *rapid.T) ComponentInfo {
	c := ComponentInfo{
		ComponentKey:         ComponentKey{LogicalPath: texts.Draw(t, "path"), Name: "n" + strings.ReplaceAll(texts.Draw(t, "name"), `\`, "")},
		Type:                 ComponentType(rapid.Int32Range(1, 2).Draw(t, "type")),
		Caption:              texts.Draw(t, "caption"),
		Selectable:           rapid.Bool().Draw(t, "selectable"),
		SelectableForRestore: rapid.Bool().Draw(t, "selectable for restore"),
		RestoreMetadata:      rapid.Bool().Draw(t, "reserved"),
		Flags:                ComponentFlags(rapid.Uint32().Draw(t, "flags")),
		Icon:                 drawBytes(t),
		Dependencies: drawMany(t, "dependencies", func(t *rapid.T) Dependency {
			return Dependency{WriterID: drawGUID(t), ComponentKey: ComponentKey{LogicalPath: texts.Draw(t, "path"), Name: "n" + texts.Draw(t, "name")}}
		}),
	}
	if c.Type == ComponentFileGroup {
		c.Files = drawMany(t, "files", drawFileSet)
	} else {
		c.DatabaseFiles = drawMany(t, "database files", drawDatabaseFiles)
		c.LogFiles = drawMany(t, "log files", drawDatabaseFiles)
	}
	return c
}

// drawBytes draws bytes, nil for none.
func drawBytes(t *rapid.T) []byte {
	b := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes")
	if len(b) == 0 {
		return nil
	}
	return b
}

// TestMetadataGoXMLGo writes values and reads them back, in both encodings.
func TestMetadataGoXMLGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMetadata(t)
		for _, write := range []func(*bytes.Buffer) error{
			func(b *bytes.Buffer) error { return m.WriteXML(b) },
			func(b *bytes.Buffer) error { return m.WriteXMLUTF16(b) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			back, err := ReadWriterMetadata(&b)
			if err != nil {
				t.Fatalf("%v in\n%s", err, metadataXML(t, m))
			}
			if diff := cmp.Diff(m, back, exact); diff != "" {
				t.Fatalf("reads back differently (-want +got):\n%s", diff)
			}
		}
	})
}
