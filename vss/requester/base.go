package requester

import (
	"errors"
	"io/fs"

	"github.com/shadowsim/shadowsim/vss"
)

// A base is the document of the backup that another one builds on.
type base struct{ *vss.BackupComponentsDocument }

// loadBase reads the document of an earlier backup; without one there is nothing
// to build on.
func loadBase(from fs.FS) (base, error) {
	if from == nil {
		return base{}, nil
	}
	doc, err := readDocument(from)
	return base{doc}, err
}

// readDocument reads a backup's Backup Components Document.
func readDocument(from fs.FS) (*vss.BackupComponentsDocument, error) {
	f, err := from.Open(DocumentName)
	if err != nil {
		return nil, phase("load", DocumentName, err)
	}
	doc, err := vss.ReadBackupComponents(f)
	return doc, phase("load", DocumentName, errors.Join(err, f.Close()))
}

// stampOf finds the stamp that the writer gave a component in the base: that of
// the same instance, else of one of its class by the instance's name. A stamp can
// be read by any instance of the class ("IVssComponent::SetBackupStamp").
func (b base) stampOf(m *vss.WriterMetadata, key vss.ComponentKey) string {
	if b.BackupComponentsDocument == nil {
		return ""
	}
	stamp := ""
	for w := range b.WritersOf(m.Identity.WriterID) {
		r := w.Component(key)
		switch {
		case r == nil:
		case w.InstanceID == m.Identity.InstanceID:
			return r.BackupStamp
		case w.InstanceName == m.Identity.InstanceName && stamp == "":
			stamp = r.BackupStamp
		}
	}
	return stamp
}
