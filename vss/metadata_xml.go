package vss

import (
	"io"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// ReadWriterMetadata reads a Writer Metadata Document, in UTF-8 or UTF-16, with
// or without a byte order mark. Elements may come in any order. Anything that is
// not such a document is an [ErrInvalidXMLDocument] with the place in it; a word
// for one of the enumerations that is not known counts as undefined and is kept.
// Documents of more than 128 MiB or 1 million elements are refused
// (CreateVssExamineWriterMetadata).
func ReadWriterMetadata(r io.Reader) (*WriterMetadata, error) {
	return readWriterMetadata(r, xmlite.Limits{})
}

func readWriterMetadata(r io.Reader, lim xmlite.Limits) (*WriterMetadata, error) {
	m, err := metadataFormat.read("ReadWriterMetadata", r, lim)
	if err != nil {
		return nil, err
	}
	m.index.rebuild(len(m.Components), m.keyAt)
	return m, nil
}

// WriteXML writes the document in UTF-8, on one line and without an XML
// declaration, as it is found in a backup. What XML cannot hold, such as a NUL
// in a path, is an [ErrInvalidArg].
//
// Names of elements and attributes are those of real documents, as far as those
// are publicly known; the others are ours: ALTERNATE_LOCATION_MAPPING, DEPENDENCY,
// and the attributes alternatePath, service, userProcedure and icon.
func (m *WriterMetadata) WriteXML(w io.Writer) error {
	return metadataFormat.write(w, m, xmlite.UTF8)
}

// WriteXMLUTF16 writes the document in UTF-16 with a byte order mark, as a
// program stores the text it got from SaveAsXML.
func (m *WriterMetadata) WriteXMLUTF16(w io.Writer) error {
	return metadataFormat.write(w, m, xmlite.UTF16LEBOM)
}

const metadataSpace = "x-schema:#VssWriterMetadataInfo"

var metadataFormat = documentFormat[WriterMetadata]{space: metadataSpace, root: &element[WriterMetadata]{
	name:  "WRITER_METADATA",
	extra: func(m *WriterMetadata) **extra { return &m.extra },
	attrs: []attribute[WriterMetadata]{
		constAttr[WriterMetadata]("xmlns", metadataSpace),
		constAttr[WriterMetadata]("version", "1.2"),
		uintAttr("backupSchema", func(m *WriterMetadata) *BackupSchema { return &m.Schema }),
	},
	children: []child[WriterMetadata]{
		one(identityElement, func(m *WriterMetadata) *WriterIdentity { return &m.Identity }),
		perhaps(restoreElement, func(m *WriterMetadata) **RestorePolicy { return &m.Restore }),
		within(locationsElement, func(*WriterMetadata) bool { return true }).must(),
	},
}}

var identityElement = &element[WriterIdentity]{
	name:  "IDENTIFICATION",
	extra: func(i *WriterIdentity) **extra { return &i.extra },
	attrs: []attribute[WriterIdentity]{
		guidAttr("writerId", func(i *WriterIdentity) *guid.GUID { return &i.WriterID }).need(),
		guidAttr("instanceId", func(i *WriterIdentity) *guid.GUID { return &i.InstanceID }).need(),
		textAttr("instanceName", func(i *WriterIdentity) *string { return &i.InstanceName }),
		textAttr("friendlyName", func(i *WriterIdentity) *string { return &i.FriendlyName }).need(),
		enumAttr("usage", usageTypes, func(i *WriterIdentity) *UsageType { return &i.Usage }).need(),
		enumAttr("dataSource", sourceTypes, func(i *WriterIdentity) *SourceType { return &i.Source }).need(),
		uintAttr("majorVersion", func(i *WriterIdentity) *uint32 { return &i.MajorVersion }).spell(),
		uintAttr("minorVersion", func(i *WriterIdentity) *uint32 { return &i.MinorVersion }).spell(),
	},
}

var restoreElement = &element[RestorePolicy]{
	name:  "RESTORE_METHOD",
	extra: func(p *RestorePolicy) **extra { return &p.extra },
	attrs: []attribute[RestorePolicy]{
		enumAttr("method", restoreMethods, func(p *RestorePolicy) *RestoreMethod { return &p.Method }).need(),
		textAttr("service", func(p *RestorePolicy) *string { return &p.Service }),
		textAttr("userProcedure", func(p *RestorePolicy) *string { return &p.UserProcedure }),
		enumAttr("writerRestore", writerRestores, func(p *RestorePolicy) *WriterRestore { return &p.WriterRestore }).need(),
		boolAttr("rebootRequired", func(p *RestorePolicy) *bool { return &p.RebootRequired }).spell(),
	},
	children: []child[RestorePolicy]{
		many(mappingElement("ALTERNATE_LOCATION_MAPPING"), func(p *RestorePolicy) *[]FileMapping { return &p.AlternateLocations }),
	},
}

// mappingElement describes a file set with a destination.
func mappingElement(name string) *element[FileMapping] {
	return &element[FileMapping]{
		name:  name,
		extra: func(m *FileMapping) **extra { return &m.extra },
		attrs: append(fileSpecAttrs(func(m *FileMapping) *FileSpec { return &m.FileSpec }, true),
			textAttr("alternatePath", func(m *FileMapping) *string { return &m.Destination }).need()),
	}
}

// fileSpecAttrs are the three attributes that name files. Excluded files always
// spell out whether they are recursive, file sets only if they are.
func fileSpecAttrs[T any](files func(*T) *FileSpec, spell bool) []attribute[T] {
	recursive := boolAttr("recursive", func(t *T) *bool { return &files(t).Recursive })
	if spell {
		recursive = recursive.spell()
	}
	return []attribute[T]{
		textAttr("path", func(t *T) *string { return &files(t).Path }).need(),
		textAttr("filespec", func(t *T) *string { return &files(t).Spec }).need(),
		recursive,
	}
}

// The kinds of children of locationsElement, in the order of its table.
const (
	componentsChild = iota
	excludesChild
	snapshotExcludesChild
)

var locationsElement = &element[WriterMetadata]{
	name:  "BACKUP_LOCATIONS",
	extra: func(m *WriterMetadata) **extra { return &m.locations },
	children: []child[WriterMetadata]{
		componentsChild: many(componentElement, func(m *WriterMetadata) *[]ComponentInfo { return &m.Components }, "FILE_GROUP", "DATABASE"),
		excludesChild:   many(excludedElement("EXCLUDE_FILES"), func(m *WriterMetadata) *[]ExcludedFiles { return &m.Excludes }),
		snapshotExcludesChild: many(excludedElement("EXCLUDE_FILES_FROM_SNAPSHOT"),
			func(m *WriterMetadata) *[]ExcludedFiles { return &m.SnapshotExcludes }),
	},
}

func excludedElement(name string) *element[ExcludedFiles] {
	return &element[ExcludedFiles]{
		name:  name,
		extra: func(e *ExcludedFiles) **extra { return &e.extra },
		attrs: fileSpecAttrs(func(e *ExcludedFiles) *FileSpec { return &e.FileSpec }, true),
	}
}

var componentElement = &element[ComponentInfo]{
	nameOf: func(c *ComponentInfo) string {
		if c.Type == ComponentDatabase {
			return "DATABASE"
		}
		return "FILE_GROUP"
	},
	begin: func(c *ComponentInfo, name string) {
		c.Type = ComponentFileGroup
		if name == "DATABASE" {
			c.Type = ComponentDatabase
		}
	},
	valid: func(c *ComponentInfo) string {
		if c.Type != ComponentDatabase && c.Type != ComponentFileGroup {
			return "component " + c.FullPath() + " is neither database nor file group"
		}
		return ""
	},
	extra: func(c *ComponentInfo) **extra { return &c.extra },
	attrs: []attribute[ComponentInfo]{
		textAttr("logicalPath", func(c *ComponentInfo) *string { return &c.LogicalPath }),
		textAttr("componentName", func(c *ComponentInfo) *string { return &c.Name }).need(),
		textAttr("caption", func(c *ComponentInfo) *string { return &c.Caption }),
		bytesAttr("icon", func(c *ComponentInfo) *[]byte { return &c.Icon }),
		boolAttr("restoreMetadata", func(c *ComponentInfo) *bool { return &c.RestoreMetadata }).spell(),
		boolAttr("notifyOnBackupComplete", func(c *ComponentInfo) *bool { return &c.NotifyOnBackupComplete }).spell(),
		boolAttr("selectable", func(c *ComponentInfo) *bool { return &c.Selectable }).spell(),
		boolAttr("selectableForRestore", func(c *ComponentInfo) *bool { return &c.SelectableForRestore }).spell(),
		uintAttr("componentFlags", func(c *ComponentInfo) *ComponentFlags { return &c.Flags }).spell(),
	},
	children: []child[ComponentInfo]{
		many(fileSetElement("FILE_LIST"), func(c *ComponentInfo) *[]FileSet { return &c.Files }),
		many(fileSetElement("DATABASE_FILES"), func(c *ComponentInfo) *[]FileSet { return &c.DatabaseFiles }),
		many(fileSetElement("DATABASE_LOGFILES"), func(c *ComponentInfo) *[]FileSet { return &c.LogFiles }),
		many(dependencyElement, func(c *ComponentInfo) *[]Dependency { return &c.Dependencies }),
	},
}

func fileSetElement(name string) *element[FileSet] {
	return &element[FileSet]{
		name:  name,
		begin: func(s *FileSet, _ string) { s.Mask = FileSpecDefault },
		extra: func(s *FileSet) **extra { return &s.extra },
		attrs: append(fileSpecAttrs(func(s *FileSet) *FileSpec { return &s.FileSpec }, false),
			textAttr("alternatePath", func(s *FileSet) *string { return &s.AlternatePath }),
			uintAttr("filespecBackupType", func(s *FileSet) *FileSpecBackupType { return &s.Mask }).spell()),
	}
}

var dependencyElement = &element[Dependency]{
	name:  "DEPENDENCY",
	extra: func(d *Dependency) **extra { return &d.extra },
	attrs: []attribute[Dependency]{
		guidAttr("writerId", func(d *Dependency) *guid.GUID { return &d.WriterID }).need(),
		textAttr("logicalPath", func(d *Dependency) *string { return &d.LogicalPath }),
		textAttr("componentName", func(d *Dependency) *string { return &d.Name }).need(),
	},
}
