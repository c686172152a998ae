package vss

import (
	"bytes"
	"io"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// An ExpressWriter describes data to be backed up without a process that hears
// events: its metadata is registered once and stays known (IVssExpressWriter,
// IVssCreateExpressWriterMetadata). Requesters find it among the metadata and add
// its components as those of any writer; it has no status, and in a restore its
// files are put back without it.
//
// It can say less than other writers: file groups alone, no alternate paths, the
// default backup mask, the restore participation [WriterRestoreNever], and no
// schema bits but [SchemaCopy] and [SchemaIndependentSystemState]. More is
// [ErrNotSupported]; for all but the schema the pages state the limit and leave
// the code open.
type ExpressWriter struct{ metadata *WriterMetadata }

// NewExpressWriter returns an express writer that has said nothing but who it is
// ("IVssExpressWriter::CreateMetadata"). Class and name must be there, else it is
// [ErrInvalidArg]; an undefined usage stands for [UsageUserData]. Instances are the
// service's business.
func NewExpressWriter(id WriterIdentity) (*ExpressWriter, error) {
	if id.WriterID == (guid.GUID{}) || id.FriendlyName == "" {
		return nil, fail("CreateMetadata", id.FriendlyName, ErrInvalidArg, "an express writer needs a class and a name")
	}
	if id.Usage == UsageUndefined {
		id.Usage = UsageUserData
	}
	if id.Source == SourceUndefined {
		id.Source = SourceOther
	}
	return &ExpressWriter{NewWriterMetadata(id)}, nil
}

// LoadExpressWriter reads the metadata that SaveAsXML wrote
// ("IVssExpressWriter::LoadMetadata"). What cannot be read is
// [ErrInvalidXMLDocument]; what an express writer may not say, [ErrNotSupported].
func LoadExpressWriter(xml io.Reader) (*ExpressWriter, error) {
	m, err := ReadWriterMetadata(xml)
	if err != nil {
		return nil, err
	}
	w := &ExpressWriter{m}
	if err := w.supported("LoadMetadata"); err != nil {
		return nil, err
	}
	return w, nil
}

// SaveAsXML returns the metadata as a document.
func (w *ExpressWriter) SaveAsXML() ([]byte, error) {
	var b bytes.Buffer
	err := w.metadata.WriteXML(&b)
	return b.Bytes(), err
}

// SetRestoreMethod says how the files are to be put back; see
// [WriterMetadata.SetRestoreMethod].
func (w *ExpressWriter) SetRestoreMethod(p RestorePolicy) error {
	if p.WriterRestore != WriterRestoreNever {
		return w.refuse("SetRestoreMethod", "an express writer takes no part in a restore")
	}
	return w.metadata.SetRestoreMethod(p)
}

// SetBackupSchema says what the writer can do beyond full backups; see
// [WriterMetadata.SetBackupSchema].
func (w *ExpressWriter) SetBackupSchema(s BackupSchema) error {
	if s&^expressSchema != 0 {
		return w.refuse("SetBackupSchema", (s &^ expressSchema).String())
	}
	return w.metadata.SetBackupSchema(s)
}

const expressSchema = SchemaCopy | SchemaIndependentSystemState

// AddComponent adds a file group; see [WriterMetadata.AddComponent].
func (w *ExpressWriter) AddComponent(c ComponentInfo) error {
	if c.Type == ComponentDatabase {
		return w.refuse("AddComponent", "an express writer has no databases")
	}
	for set := range c.FileSets() {
		if problem := expressProblem(*set); problem != "" {
			return w.refuse("AddComponent", problem)
		}
	}
	return w.metadata.AddComponent(c)
}

// AddFilesToFileGroup adds a file set; see [WriterMetadata.AddFilesToFileGroup].
func (w *ExpressWriter) AddFilesToFileGroup(key ComponentKey, set FileSet) error {
	if problem := expressProblem(set); problem != "" {
		return w.refuse("AddFilesToFileGroup", problem)
	}
	return w.metadata.AddFilesToFileGroup(key, set)
}

func expressProblem(set FileSet) string {
	switch {
	case set.AlternatePath != "":
		return "an express writer has no alternate paths"
	case set.Mask != 0 && set.Mask != FileSpecDefault:
		return "an express writer has no backup mask of its own: " + set.Mask.String()
	}
	return ""
}

// AddExcludeFiles leaves files out of every backup.
func (w *ExpressWriter) AddExcludeFiles(f FileSpec) error { return w.metadata.AddExcludeFiles(f) }

// AddComponentDependency says that a component is of no use without one of another
// writer; see [WriterMetadata.AddComponentDependency].
func (w *ExpressWriter) AddComponentDependency(key ComponentKey, d Dependency) error {
	return w.metadata.AddComponentDependency(key, d)
}

func (w *ExpressWriter) refuse(op, why string) error {
	return fail(op, w.metadata.Identity.FriendlyName, ErrNotSupported, "%s", why)
}

// supported holds metadata that came from outside against the limits.
func (w *ExpressWriter) supported(op string) error {
	m := w.metadata
	switch {
	case m.Schema&^expressSchema != 0:
		return w.refuse(op, (m.Schema &^ expressSchema).String())
	case m.Restore != nil && m.Restore.WriterRestore != WriterRestoreNever:
		return w.refuse(op, "an express writer takes no part in a restore")
	}
	for i := range m.Components {
		if m.Components[i].Type == ComponentDatabase {
			return w.refuse(op, "an express writer has no databases")
		}
		for set := range m.Components[i].FileSets() {
			if problem := expressProblem(*set); problem != "" {
				return w.refuse(op, problem)
			}
		}
	}
	return nil
}

// RegisterExpressWriter makes an express writer known until it is unregistered
// ("IVssExpressWriter::Register"). What it says is taken as it is now. A class that
// is registered already is [ErrObjectAlreadyExists].
func (s *Service) RegisterExpressWriter(w *ExpressWriter) error {
	const op = "RegisterExpressWriter"
	id := w.metadata.Identity
	if slices.ContainsFunc(s.express, func(o *Subscription) bool { return o.config.ClassID == id.WriterID }) {
		return fail(op, id.FriendlyName, ErrObjectAlreadyExists, "%s", guid.Braced(id.WriterID))
	}
	xml, err := w.SaveAsXML()
	if err != nil {
		return err
	}
	copied, err := ReadWriterMetadata(bytes.NewReader(xml))
	if err != nil {
		return err
	}
	copied.Identity.InstanceID = s.actor.NewID("writer instance " + id.FriendlyName)
	s.express = append(s.express, &Subscription{
		service: s, actor: s.actor, name: id.FriendlyName, instance: copied.Identity.InstanceID, express: copied, state: StateStable,
		config: WriterConfig{
			ClassID: id.WriterID, Name: id.FriendlyName, InstanceName: id.InstanceName, Usage: id.Usage, Source: id.Source,
		},
	})
	return nil
}

// UnregisterExpressWriter forgets an express writer
// ("IVssExpressWriter::Unregister"). An unknown class is [ErrObjectNotFound].
func (s *Service) UnregisterExpressWriter(class guid.GUID) error {
	n := len(s.express)
	s.express = slices.DeleteFunc(s.express, func(o *Subscription) bool { return o.config.ClassID == class })
	if len(s.express) == n {
		return fail("UnregisterExpressWriter", guid.Braced(class), ErrObjectNotFound, "no such express writer")
	}
	return nil
}

// newExpressSession is the part of an express writer in an operation: its
// metadata.
func (b *BackupComponents) newExpressSession(sub *Subscription) *session {
	return &session{bc: b, sub: sub, state: StateStable, metadata: sub.express}
}
