package vss

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func genComponents(t *rapid.T) *BackupComponentsDocument {
	d := &BackupComponentsDocument{
		SelectComponents:    rapid.Bool().Draw(t, "select"),
		BootableSystemState: rapid.Bool().Draw(t, "bootable"),
		BackupType:          BackupType(rapid.Int32Range(0, 6).Draw(t, "type")),
		PartialFileSupport:  rapid.Bool().Draw(t, "partial"),
		SnapshotSetID:       drawGUID(t),
		RestoreType:         RestoreType(rapid.Int32Range(0, 3).Draw(t, "restore type")),
		Snapshots: drawMany(t, "snapshots", func(t *rapid.T) SnapshotRecord {
			return SnapshotRecord{ID: drawGUID(t), ProviderID: drawGUID(t), Volume: texts.Draw(t, "volume"), Machine: texts.Draw(t, "machine"),
				Attributes: SnapshotAttributes(rapid.Uint32().Draw(t, "attributes")), LUNInfo: drawBytes(t)}
		}),
	}
	for range rapid.IntRange(0, 3).Draw(t, "writers") {
		w := d.AddWriter(WriterRecord{WriterID: drawGUID(t), InstanceID: drawGUID(t), InstanceName: texts.Draw(t, "instance name"),
			Schema: BackupSchema(rapid.Uint32().Draw(t, "schema"))})
		for range rapid.IntRange(0, 3).Draw(t, "components") {
			_, _ = w.AddComponent(drawRecord(t)) // a duplicate is left out
		}
	}
	return d
}

func drawRecord(t *rapid.T) ComponentRecord {
	c := ComponentRecord{
		ComponentKey:       ComponentKey{LogicalPath: texts.Draw(t, "path"), Name: texts.Draw(t, "name")},
		Type:               ComponentType(rapid.Int32Range(0, 2).Draw(t, "type")),
		BackupSucceeded:    rapid.Bool().Draw(t, "succeeded"),
		BackupMetadata:     drawMetadata(t),
		BackupStamp:        texts.Draw(t, "stamp"),
		BackupOptions:      texts.Draw(t, "options"),
		RestoreMetadata:    drawMetadata(t),
		RestoreTarget:      RestoreTarget(rapid.Int32Range(0, 4).Draw(t, "target")),
		FileRestoreStatus:  FileRestoreStatus(rapid.Int32Range(0, 3).Draw(t, "status")),
		RollForward:        RollForwardType(rapid.Int32Range(0, 3).Draw(t, "roll forward")),
		NewTargets:         drawMany(t, "new targets", drawMapping),
		AlternateLocations: drawMany(t, "mappings", drawMapping),
	}
	for _, flag := range []*bool{&c.SelectedForRestore, &c.AdditionalRestores, &c.AuthoritativeRestore} {
		*flag = rapid.Bool().Draw(t, "flag")
	}
	for _, text := range []*string{&c.PreviousBackupStamp, &c.RestoreOptions, &c.RollForwardPoint, &c.RestoreName,
		&c.PrepareForBackupFailure, &c.PostSnapshotFailure, &c.PreRestoreFailure, &c.PostRestoreFailure} {
		*text = texts.Draw(t, "text")
	}
	if c.SelectedForRestore {
		c.SelectedInstance = drawGUID(t)
	}
	c.PartialFiles = drawMany(t, "partial", func(t *rapid.T) PartialFile {
		return PartialFile{FilePart: drawPart(t), Metadata: texts.Draw(t, "metadata")}
	})
	c.DifferencedFiles = drawMany(t, "differenced", func(t *rapid.T) DifferencedFiles {
		return DifferencedFiles{FileSpec: drawFiles(t), LastModified: Filetime(rapid.Uint64().Draw(t, "time"))}
	})
	c.DirectedTargets = drawMany(t, "directed", func(t *rapid.T) DirectedTarget {
		return DirectedTarget{Source: drawPart(t), Destination: drawPart(t)}
	})
	c.Subcomponents = drawMany(t, "subcomponents", func(t *rapid.T) RestoreSubcomponent {
		return RestoreSubcomponent{ComponentKey: ComponentKey{LogicalPath: texts.Draw(t, "path"), Name: texts.Draw(t, "name")}}
	})
	if rapid.Bool().Draw(t, "failure") {
		c.Failure = &ComponentFailure{Code: HRESULT(rapid.Uint32().Draw(t, "code")), Application: HRESULT(rapid.Uint32().Draw(t, "application")),
			Message: texts.Draw(t, "message")}
	}
	return c
}

func drawPart(t *rapid.T) FilePart {
	return FilePart{Path: texts.Draw(t, "path"), Name: texts.Draw(t, "file"), Ranges: texts.Draw(t, "ranges")}
}

// drawMetadata draws what a writer may have set: nothing, no bytes, or some.
func drawMetadata(t *rapid.T) []byte {
	if rapid.Bool().Draw(t, "none") {
		return nil
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes")
}

// TestComponentsGoXMLGo writes values and reads them back, in both encodings.
func TestComponentsGoXMLGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := genComponents(t)
		for _, write := range []func(*bytes.Buffer) error{
			func(b *bytes.Buffer) error { return d.WriteXML(b) },
			func(b *bytes.Buffer) error { return d.WriteXMLUTF16(b) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			back, err := ReadBackupComponents(&b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, back, exact); diff != "" {
				t.Fatalf("reads back differently (-want +got):\n%s", diff)
			}
		}
	})
}
