package vss

import (
	"io"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// ReadBackupComponents reads a Backup Components Document, under the same rules
// as [ReadWriterMetadata] ("Backup Components Document Life Cycle").
func ReadBackupComponents(r io.Reader) (*BackupComponentsDocument, error) {
	return readBackupComponents(r, xmlite.Limits{})
}

func readBackupComponents(r io.Reader, lim xmlite.Limits) (*BackupComponentsDocument, error) {
	d, err := componentsFormat.read("ReadBackupComponents", r, lim)
	if err != nil {
		return nil, err
	}
	d.reindex()
	for _, w := range d.Writers {
		w.reindex()
	}
	return d, nil
}

// WriteXML writes the document in UTF-8, on one line and without an XML
// declaration, as it is found in a backup.
//
// Root, WRITER_COMPONENTS, COMPONENT and BACKUP_METADATA are as in real documents
// that were saved right after the shadow copy was made. Those of later moments
// and of transportable sets are not publicly known; the names of what they add
// are ours, and an attribute of ours is left out where it would say nothing, so
// that the documents that are known look as they do.
func (d *BackupComponentsDocument) WriteXML(w io.Writer) error {
	return componentsFormat.write(w, d, xmlite.UTF8)
}

// WriteXMLUTF16 writes the document in UTF-16 with a byte order mark, as a
// program stores the text it got from SaveAsXML.
func (d *BackupComponentsDocument) WriteXMLUTF16(w io.Writer) error {
	return componentsFormat.write(w, d, xmlite.UTF16LEBOM)
}

const componentsSpace = "x-schema:#VssComponentMetadata"

var componentsFormat = documentFormat[BackupComponentsDocument]{space: componentsSpace, root: &element[BackupComponentsDocument]{
	name:  "BACKUP_COMPONENTS",
	extra: func(d *BackupComponentsDocument) **extra { return &d.extra },
	attrs: []attribute[BackupComponentsDocument]{
		constAttr[BackupComponentsDocument]("xmlns", componentsSpace),
		constAttr[BackupComponentsDocument]("version", "1.2"),
		boolAttr("bootableSystemStateBackup", func(d *BackupComponentsDocument) *bool { return &d.BootableSystemState }).spell(),
		boolAttr("selectComponents", func(d *BackupComponentsDocument) *bool { return &d.SelectComponents }).spell(),
		enumAttr("backupType", backupTypes, func(d *BackupComponentsDocument) *BackupType { return &d.BackupType }).spell(),
		boolAttr("partialFileSupport", func(d *BackupComponentsDocument) *bool { return &d.PartialFileSupport }).spell(),
		guidAttr("snapshotSetId", func(d *BackupComponentsDocument) *guid.GUID { return &d.SnapshotSetID }),
		enumAttr("restoreType", restoreTypes, func(d *BackupComponentsDocument) *RestoreType { return &d.RestoreType }),
	},
	children: []child[BackupComponentsDocument]{
		many(snapshotElement, func(d *BackupComponentsDocument) *[]SnapshotRecord { return &d.Snapshots }),
		manyPointers(writerElement, func(d *BackupComponentsDocument) *[]*WriterRecord { return &d.Writers }),
	},
}}

var snapshotElement = &element[SnapshotRecord]{
	name:  "SNAPSHOT_DESCRIPTION",
	extra: func(s *SnapshotRecord) **extra { return &s.extra },
	attrs: []attribute[SnapshotRecord]{
		guidAttr("snapshotId", func(s *SnapshotRecord) *guid.GUID { return &s.ID }).need(),
		guidAttr("providerId", func(s *SnapshotRecord) *guid.GUID { return &s.ProviderID }).spell(),
		textAttr("originalVolumeName", func(s *SnapshotRecord) *string { return &s.Volume }).need(),
		textAttr("originatingMachine", func(s *SnapshotRecord) *string { return &s.Machine }),
		uintAttr("snapshotAttributes", func(s *SnapshotRecord) *SnapshotAttributes { return &s.Attributes }).spell(),
		bytesAttr("lunInformation", func(s *SnapshotRecord) *[]byte { return &s.LUNInfo }),
	},
}

var writerElement = &element[WriterRecord]{
	name:  "WRITER_COMPONENTS",
	extra: func(w *WriterRecord) **extra { return &w.extra },
	attrs: []attribute[WriterRecord]{
		guidAttr("instanceId", func(w *WriterRecord) *guid.GUID { return &w.InstanceID }).need(),
		guidAttr("writerId", func(w *WriterRecord) *guid.GUID { return &w.WriterID }).need(),
		textAttr("instanceName", func(w *WriterRecord) *string { return &w.InstanceName }),
		uintAttr("backupSchema", func(w *WriterRecord) *BackupSchema { return &w.Schema }).spell(),
	},
	children: []child[WriterRecord]{
		manyPointers(recordElement, func(w *WriterRecord) *[]*ComponentRecord { return &w.Components }),
	},
}

var recordElement = &element[ComponentRecord]{
	name:     "COMPONENT",
	extra:    func(c *ComponentRecord) **extra { return &c.extra },
	attrs:    recordAttrs,
	children: recordChildren,
}

var recordAttrs = []attribute[ComponentRecord]{
	textAttr("logicalPath", func(c *ComponentRecord) *string { return &c.LogicalPath }),
	textAttr("componentName", func(c *ComponentRecord) *string { return &c.Name }).need(),
	enumAttr("componentType", componentTypes, func(c *ComponentRecord) *ComponentType { return &c.Type }).need(),
	textAttr("backupStamp", func(c *ComponentRecord) *string { return &c.BackupStamp }),
	textAttr("previousBackupStamp", func(c *ComponentRecord) *string { return &c.PreviousBackupStamp }),
	boolAttr("backupSucceeded", func(c *ComponentRecord) *bool { return &c.BackupSucceeded }),
	textAttr("backupOptions", func(c *ComponentRecord) *string { return &c.BackupOptions }),
	boolAttr("selectedForRestore", func(c *ComponentRecord) *bool { return &c.SelectedForRestore }),
	guidAttr("selectedInstanceId", func(c *ComponentRecord) *guid.GUID { return &c.SelectedInstance }),
	boolAttr("additionalRestores", func(c *ComponentRecord) *bool { return &c.AdditionalRestores }),
	textAttr("restoreOptions", func(c *ComponentRecord) *string { return &c.RestoreOptions }),
	enumAttr("restoreTarget", restoreTargets, func(c *ComponentRecord) *RestoreTarget { return &c.RestoreTarget }),
	enumAttr("fileRestoreStatus", fileRestoreStatuses, func(c *ComponentRecord) *FileRestoreStatus { return &c.FileRestoreStatus }),
	boolAttr("authoritativeRestore", func(c *ComponentRecord) *bool { return &c.AuthoritativeRestore }),
	enumAttr("rollForward", rollForwardTypes, func(c *ComponentRecord) *RollForwardType { return &c.RollForward }),
	textAttr("rollForwardPoint", func(c *ComponentRecord) *string { return &c.RollForwardPoint }),
	textAttr("restoreName", func(c *ComponentRecord) *string { return &c.RestoreName }),
	textAttr("prepareForBackupFailure", func(c *ComponentRecord) *string { return &c.PrepareForBackupFailure }),
	textAttr("postSnapshotFailure", func(c *ComponentRecord) *string { return &c.PostSnapshotFailure }),
	textAttr("preRestoreFailure", func(c *ComponentRecord) *string { return &c.PreRestoreFailure }),
	textAttr("postRestoreFailure", func(c *ComponentRecord) *string { return &c.PostRestoreFailure }),
}

var recordChildren = []child[ComponentRecord]{
	opaque("BACKUP_METADATA", func(c *ComponentRecord) *[]byte { return &c.BackupMetadata },
		func(c *ComponentRecord) **extra { return &c.backupExtra }),
	opaque("RESTORE_METADATA", func(c *ComponentRecord) *[]byte { return &c.RestoreMetadata },
		func(c *ComponentRecord) **extra { return &c.restoreExtra }),
	many(partialElement, func(c *ComponentRecord) *[]PartialFile { return &c.PartialFiles }),
	many(differencedElement, func(c *ComponentRecord) *[]DifferencedFiles { return &c.DifferencedFiles }),
	many(subcomponentElement, func(c *ComponentRecord) *[]RestoreSubcomponent { return &c.Subcomponents }),
	many(directedElement, func(c *ComponentRecord) *[]DirectedTarget { return &c.DirectedTargets }),
	many(mappingElement("NEW_TARGET"), func(c *ComponentRecord) *[]FileMapping { return &c.NewTargets }),
	many(mappingElement("ALTERNATE_LOCATION_MAPPING"), func(c *ComponentRecord) *[]FileMapping { return &c.AlternateLocations }),
	perhaps(failureElement, func(c *ComponentRecord) **ComponentFailure { return &c.Failure }),
}

// opaque is a child whose only content is base64 in an attribute. Real documents
// have it in no namespace.
func opaque(name string, data func(*ComponentRecord) *[]byte, kept func(*ComponentRecord) **extra) child[ComponentRecord] {
	c := within(&element[ComponentRecord]{
		name:  name,
		extra: kept,
		attrs: []attribute[ComponentRecord]{
			constAttr[ComponentRecord]("xmlns", ""),
			bytesAttr("metadata", data).need(),
		},
	}, func(c *ComponentRecord) bool { return *data(c) != nil })
	c.bare = true
	return c
}

var partialElement = &element[PartialFile]{
	name:  "PARTIAL_FILE",
	extra: func(p *PartialFile) **extra { return &p.extra },
	attrs: append(filePartAttrs([3]string{"path", "filespec", "ranges"}, func(p *PartialFile) *FilePart { return &p.FilePart }),
		textAttr("metadata", func(p *PartialFile) *string { return &p.Metadata })),
}

func filePartAttrs[T any](names [3]string, part func(*T) *FilePart) []attribute[T] {
	return []attribute[T]{
		textAttr(names[0], func(t *T) *string { return &part(t).Path }).need(),
		textAttr(names[1], func(t *T) *string { return &part(t).Name }).need(),
		textAttr(names[2], func(t *T) *string { return &part(t).Ranges }).need(),
	}
}

var differencedElement = &element[DifferencedFiles]{
	name:  "DIFFERENCED_FILES",
	extra: func(f *DifferencedFiles) **extra { return &f.extra },
	attrs: append(fileSpecAttrs(func(f *DifferencedFiles) *FileSpec { return &f.FileSpec }, true),
		uintAttr("lastModifyTime", func(f *DifferencedFiles) *Filetime { return &f.LastModified }).need()),
}

var subcomponentElement = &element[RestoreSubcomponent]{
	name:  "RESTORE_SUBCOMPONENT",
	extra: func(s *RestoreSubcomponent) **extra { return &s.extra },
	attrs: []attribute[RestoreSubcomponent]{
		textAttr("logicalPath", func(s *RestoreSubcomponent) *string { return &s.LogicalPath }),
		textAttr("componentName", func(s *RestoreSubcomponent) *string { return &s.Name }).need(),
	},
}

var directedElement = &element[DirectedTarget]{
	name:  "DIRECTED_TARGET",
	extra: func(t *DirectedTarget) **extra { return &t.extra },
	attrs: append(
		filePartAttrs([3]string{"sourcePath", "sourceFilespec", "sourceRanges"}, func(t *DirectedTarget) *FilePart { return &t.Source }),
		filePartAttrs([3]string{"targetPath", "targetFilespec", "targetRanges"}, func(t *DirectedTarget) *FilePart { return &t.Destination })...),
}

var failureElement = &element[ComponentFailure]{
	name:  "COMPONENT_FAILURE",
	extra: func(f *ComponentFailure) **extra { return &f.extra },
	attrs: []attribute[ComponentFailure]{
		codeAttr("hresult", func(f *ComponentFailure) *HRESULT { return &f.Code }).need(),
		codeAttr("applicationHresult", func(f *ComponentFailure) *HRESULT { return &f.Application }).need(),
		textAttr("message", func(f *ComponentFailure) *string { return &f.Message }),
	},
}
