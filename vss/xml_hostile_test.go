package vss

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/internal/xmlite"
)

const (
	identification = `<IDENTIFICATION writerId="2f1d0c3b-4a59-4687-9786-a5b4c3d2e1f0" instanceId="2f1d0c3b-4a59-4687-9786-a5b4c3d2e1f0" ` +
		`friendlyName="x" usage="USER_DATA" dataSource="OTHER" majorVersion="0" minorVersion="0"/>`
	metadataStart = `<WRITER_METADATA xmlns="x-schema:#VssWriterMetadataInfo" version="1.2">` + identification
)

// locations is a document with the given content of BACKUP_LOCATIONS.
func locations(content string) string {
	return metadataStart + `<BACKUP_LOCATIONS>` + content + `</BACKUP_LOCATIONS></WRITER_METADATA>`
}

// TestInvalidMetadataDocuments expects a refusal that says where and why.
func TestInvalidMetadataDocuments(t *testing.T) {
	for _, row := range []struct{ name, text, says string }{
		{"nothing", "", "no element"},
		{"another root", `<CONFIGURATION/>`, "not WRITER_METADATA"},
		{"the other document", document(t, "backup_components.xml"), "not WRITER_METADATA"},
		{"no namespace", `<WRITER_METADATA version="1.2"/>`, "namespace"},
		{"another namespace", `<WRITER_METADATA xmlns="x-schema:#VssComponentMetadata" version="1.2"/>`, "namespace"},
		{"a root with a prefix", `<v:WRITER_METADATA xmlns:v="x-schema:#VssWriterMetadataInfo" version="1.2"/>`, "root element"},
		{"no identification", strings.ReplaceAll(locations(""), identification, ""), "without IDENTIFICATION"},
		{"two identifications", locations("")[:len(metadataStart)] + identification + locations("")[len(metadataStart):], "2 times IDENTIFICATION"},
		{"no locations", metadataStart + `</WRITER_METADATA>`, "without BACKUP_LOCATIONS"},
		{"two locations", metadataStart + `<BACKUP_LOCATIONS/><BACKUP_LOCATIONS/></WRITER_METADATA>`, "BACKUP_LOCATIONS"},
		{"a malformed id", strings.Replace(locations(""), "2f1d", "xf1d", 1), "writerId"},
		{"a missing id", strings.Replace(locations(""), "instanceId", "instanceID", 1), "without attribute instanceId"},
		{"a version that is no number", strings.Replace(locations(""), `majorVersion="0"`, `majorVersion="-1"`, 1), "not a number"},
		{"a version beyond 32 bits", strings.Replace(locations(""), `majorVersion="0"`, `majorVersion="4294967296"`, 1), "not a number"},
		{"a truth value of its own", locations(`<EXCLUDE_FILES path="x" filespec="y" recursive="true"/>`), "neither yes nor no"},
		{"a file set without a path", locations(`<FILE_GROUP componentName="a"><FILE_LIST filespec="*"/></FILE_GROUP>`), "without attribute path"},
		{"an icon that is not base64", locations(`<FILE_GROUP componentName="a" icon="?"/>`), "icon"},
		{"two restore methods", strings.Replace(locations(""), `<BACKUP`, strings.Repeat(`<RESTORE_METHOD method="CUSTOM" writerRestore="always"/>`, 2)+`<BACKUP`, 1), "RESTORE_METHOD"},
		{"cut short", locations("")[:200], "does not end"},
		{"a document type", `<!DOCTYPE x [<!ENTITY a "aaaa">]>` + locations(""), "document type"},
		{"an entity of its own", locations(`<FILE_GROUP componentName="&a;"/>`), "reference"},
		{"an attribute twice", locations(`<FILE_GROUP componentName="a" componentName="a"/>`), "twice"},
		{"two documents", locations("") + locations(""), "second root"},
		{"half a character", "\xff\xfe<\x00W", "odd number"},
		{"not a text", "\x00\x01\x02\x03", ""},
	} {
		_, err := ReadWriterMetadata(strings.NewReader(row.text))
		var e *Error
		if !errors.Is(err, ErrInvalidXMLDocument) || !errors.As(err, &e) || e.Op != "ReadWriterMetadata" {
			t.Errorf("%s: %v", row.name, err)
		} else if !strings.Contains(err.Error(), row.says) || !strings.Contains(err.Error(), "line 1") && row.name != "cut short" {
			t.Errorf("%s: %v does not say %q and where", row.name, err, row.says)
		}
	}
}

func TestInvalidComponentsDocuments(t *testing.T) {
	const start = `<BACKUP_COMPONENTS xmlns="x-schema:#VssComponentMetadata" version="1.2">`
	const writer = `<WRITER_COMPONENTS instanceId="2f1d0c3b-4a59-4687-9786-a5b4c3d2e1f0" writerId="2f1d0c3b-4a59-4687-9786-a5b4c3d2e1f0">`
	inComponent := func(content string) string {
		return start + writer + `<COMPONENT componentName="a" componentType="filegroup">` + content + `</COMPONENT></WRITER_COMPONENTS></BACKUP_COMPONENTS>`
	}
	if _, err := ReadBackupComponents(strings.NewReader(inComponent(""))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"the other document":           document(t, "hyperv_writer.xml"),
		"a malformed set":              strings.Replace(start, ">", ` snapshotSetId="{}"/>`, 1),
		"a writer without a class":     start + `<WRITER_COMPONENTS instanceId="2f1d0c3b-4a59-4687-9786-a5b4c3d2e1f0"/></BACKUP_COMPONENTS>`,
		"an unnamed component":         start + writer + `<COMPONENT componentType="filegroup"/></WRITER_COMPONENTS></BACKUP_COMPONENTS>`,
		"metadata twice":               inComponent(strings.Repeat(`<BACKUP_METADATA xmlns="" metadata=""/>`, 2)),
		"metadata without any":         inComponent(`<BACKUP_METADATA xmlns=""/>`),
		"metadata that is text":        inComponent(`<BACKUP_METADATA xmlns="" metadata="not base64!"/>`),
		"a time that is text":          inComponent(`<DIFFERENCED_FILES path="a" filespec="b" recursive="no" lastModifyTime="today"/>`),
		"a code that is text":          inComponent(`<COMPONENT_FAILURE hresult="BAD" applicationHresult="0"/>`),
		"a directed target to nowhere": inComponent(`<DIRECTED_TARGET sourcePath="a" sourceFilespec="b" sourceRanges="0:1"/>`),
	} {
		if _, err := ReadBackupComponents(strings.NewReader(text)); !errors.Is(err, ErrInvalidXMLDocument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLenience lists what is taken although it is not as usual.
func TestLenience(t *testing.T) {
	for _, row := range []struct{ name, text string }{
		{"a usage without a known word", strings.Replace(locations(""), "USER_DATA", "SPACE_FLIGHT", 1)},
		{"another version", strings.Replace(locations(""), `"1.2"`, `"1.3"`, 1)},
		{"braces", strings.Replace(locations(""), `writerId="2f1d0c3b-4a59-4687-9786-a5b4c3d2e1f0"`, `writerId="{2F1D0C3B-4A59-4687-9786-A5B4C3D2E1F0}"`, 1)},
		{"a known name in another namespace", locations(`<FILE_GROUP xmlns="urn:x"><y:z/></FILE_GROUP>`)},
		{"a known name in no namespace", locations(`<FILE_GROUP xmlns=""/>`)},
		{"the namespace once more", locations(`<EXCLUDE_FILES xmlns="x-schema:#VssWriterMetadataInfo" path="a" filespec="b" recursive="no"/>`)},
	} {
		m, err := ReadWriterMetadata(strings.NewReader(row.text))
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if diff := cmp.Diff(meaning(t, row.text), meaning(t, metadataXML(t, m))); diff != "" {
			t.Errorf("%s: means something else (-want +got):\n%s", row.name, diff)
		}
	}
}

func TestReadersThatFail(t *testing.T) {
	for _, r := range []io.Reader{iotest.ErrReader(errBroken), io.MultiReader(strings.NewReader(metadataStart), iotest.ErrReader(errBroken))} {
		_, err := ReadWriterMetadata(r)
		if !errors.Is(err, errBroken) || errors.Is(err, ErrInvalidXMLDocument) || HRESULTOf(err) != ErrUnexpected {
			t.Errorf("a broken disk: %v", err)
		}
	}
	if err := sampleMetadata(t).WriteXML(brokenWriter{}); !errors.Is(err, errBroken) {
		t.Errorf("a broken disk: %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// TestUnprintableValues refuses to write what could not be read back.
func TestUnprintableValues(t *testing.T) {
	for _, bad := range []string{"a\x00", "\x1f", "\xff", "\uFFFE", "\xed\xa0\x80"} {
		m := sampleMetadata(t)
		m.Components[0].Caption = bad
		if err := m.WriteXML(io.Discard); !errors.Is(err, ErrInvalidArg) {
			t.Errorf("%q is written: %v", bad, err)
		}
	}
	m := sampleMetadata(t)
	m.Components[0].Type = ComponentUndefined
	if err := m.WriteXMLUTF16(io.Discard); !errors.Is(err, ErrInvalidArg) {
		t.Errorf("a component without a type is written: %v", err)
	}
}

// TestHostileDocumentsAreCheap bounds the memory that a document takes by a
// multiple of its length, whatever it consists of.
func TestHostileDocumentsAreCheap(t *testing.T) {
	const length = 1 << 18
	fill := func(part string) string { return strings.Repeat(part, length/len(part)) }
	for _, row := range []struct {
		name, text string
		valid      bool
		most       uint64 // bytes allocated for one byte read, garbage included
	}{
		{"unknown elements", locations(fill("<x/>")), true, 8},
		{"unknown elements apart", locations(fill("<x/> ")), true, 8},
		{"file sets", locations(`<FILE_GROUP componentName="a">` + fill(`<FILE_LIST path="" filespec=""/>`) + `</FILE_GROUP>`), true, 24},
		{"file sets and unknown elements", locations(`<FILE_GROUP componentName="a">` + fill(`<FILE_LIST path="" filespec=""/><x/>`) + `</FILE_GROUP>`), true, 32},
		{"unknown attributes", locations(fill(`<EXCLUDE_FILES path="" filespec="" a="" b="" c=""/>`)), true, 32},
		{"components", locations(fill(`<FILE_GROUP componentName=""/>`)), true, 64},
		{"text", locations(fill("text &amp; ")), true, 12},
		{"white space", fill(" "), false, 8},
		{"comments", fill("<!---->") + locations(""), true, 8},
		{"attributes", fill("<x a='' b='' c=''>"), false, 8},
		{"depth", fill("<x>"), false, 8},
		{"references", locations(`<FILE_GROUP componentName="` + fill("&amp;") + `"/>`), true, 12},
		{"an endless name", "<" + fill("x"), false, 8},
		{"an endless value", "<x a='" + fill("x"), false, 8},
		{"one logical path", locations(`<FILE_GROUP componentName="a" logicalPath="` + fill(`\a`) + `"/>`), true, 16},
	} {
		before := allocated()
		m, err := ReadWriterMetadata(strings.NewReader(row.text))
		if used := allocated() - before; used > row.most*length {
			t.Errorf("%s: %d bytes for each one read", row.name, used/length)
		}
		if (err == nil) != row.valid || err != nil && !errors.Is(err, ErrInvalidXMLDocument) {
			t.Errorf("%s: %.200v", row.name, err)
		}
		if err == nil {
			var again bytes.Buffer
			if err := m.WriteXML(&again); err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestLimits(t *testing.T) {
	text := locations(`<FILE_GROUP componentName="a"><FILE_LIST path="" filespec="" a="" b=""/><x><y/></x></FILE_GROUP>`)
	size := int64(len(text))
	for _, row := range []struct {
		lim xmlite.Limits
		ok  bool
	}{
		{xmlite.Limits{}, true},
		{xmlite.Limits{Size: size, Depth: 5, Elements: 7, Attrs: 7}, true},
		{xmlite.Limits{Size: size - 1}, false},
		{xmlite.Limits{Depth: 4}, false},
		{xmlite.Limits{Elements: 6}, false},
		{xmlite.Limits{Attrs: 6}, false},
	} {
		_, err := readWriterMetadata(strings.NewReader(text), row.lim)
		if (err == nil) != row.ok || err != nil && (!errors.Is(err, ErrInvalidXMLDocument) || !errors.Is(err, xmlite.ErrLimit)) {
			t.Errorf("%+v: %v", row.lim, err)
		}
	}
	if _, err := readBackupComponents(strings.NewReader(document(t, "backup_components.xml")), xmlite.Limits{Elements: 6}); !errors.Is(err, xmlite.ErrLimit) {
		t.Errorf("seven elements: %v", err)
	}
	endless := io.MultiReader(strings.NewReader(metadataStart), spaces{})
	if _, err := readWriterMetadata(endless, xmlite.Limits{Size: 1 << 20}); !errors.Is(err, xmlite.ErrLimit) {
		t.Errorf("an endless document: %v", err)
	}
}

// spaces is a reader without an end.
type spaces struct{}

func (spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// FuzzReadWriterMetadata and FuzzReadBackupComponents look for panics, and for
// documents that change when they are read and written twice.
func FuzzReadWriterMetadata(f *testing.F) {
	for _, name := range []string{"hyperv_writer.xml", "system_writer.xml", "database_writer.xml"} {
		inAllForms(document(f, name), func(_ string, text []byte) { f.Add(text) })
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ReadWriterMetadata(bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrInvalidXMLDocument) {
				t.Fatal(err)
			}
			return
		}
		once := metadataXML(t, m)
		again, err := ReadWriterMetadata(strings.NewReader(once))
		if err != nil {
			t.Fatalf("%v in\n%q", err, once)
		}
		if twice := metadataXML(t, again); twice != once {
			t.Fatalf("written as\n%q\nand then as\n%q", once, twice)
		}
		_ = m.Check()
		_, _ = NewComponentTree(m.Components).Choose()
	})
}

func FuzzReadBackupComponents(f *testing.F) {
	inAllForms(document(f, "backup_components.xml"), func(_ string, text []byte) { f.Add(text) })
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := ReadBackupComponents(bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrInvalidXMLDocument) {
				t.Fatal(err)
			}
			return
		}
		var once, twice bytes.Buffer
		if err := d.WriteXML(&once); err != nil {
			t.Fatal(err)
		}
		again, err := ReadBackupComponents(bytes.NewReader(once.Bytes()))
		if err != nil {
			t.Fatalf("%v in\n%q", err, once.String())
		}
		if err := again.WriteXML(&twice); err != nil || twice.String() != once.String() {
			t.Fatalf("%v: written as\n%q\nand then as\n%q", err, once.String(), twice.String())
		}
	})
}
