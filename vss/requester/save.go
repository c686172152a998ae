package requester

import (
	"bytes"
	"context"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// Where a backup's documents stand in its target.
const (
	DocumentName = "BackupComponents.xml"
	WritersName  = "Writers"
	FilesName    = "files"
)

// unfinished is the document while it is written.
const unfinished = DocumentName + ".new"

// begin removes what an earlier backup left in the target, the document first, so
// that nobody takes the rest for a whole backup, and stores the writers' metadata.
func (j *job) begin(context.Context) error {
	if exists(j.Target, FilesName) && !exists(j.Target, WritersName) && !exists(j.Target, DocumentName) {
		return phase("save", FilesName, ErrNotATarget)
	}
	for _, name := range []string{DocumentName, unfinished, FilesName, WritersName} {
		if err := removeAll(j.Target, name); err != nil {
			return phase("save", name, err)
		}
	}
	to := newTree(j.Target)
	for i, name := range metadataNames(j.metadata) {
		var xml bytes.Buffer
		err := j.metadata[i].WriteXML(&xml)
		if err == nil {
			err = to.writeFile(WritersName+"/"+name, xml.Bytes())
		}
		if err != nil {
			return phase("save", name, err)
		}
	}
	return nil
}

// metadataNames names the files of the writers' metadata documents: after the
// writer's class, and after the instance too where there are several.
func metadataNames(all []*vss.WriterMetadata) []string {
	count := make(map[guid.GUID]int)
	for _, m := range all {
		count[m.Identity.WriterID]++
	}
	names := make([]string, len(all))
	for i, m := range all {
		names[i] = guid.String(m.Identity.WriterID)
		if count[m.Identity.WriterID] > 1 {
			names[i] += "_" + guid.String(m.Identity.InstanceID)
		}
		names[i] += ".xml"
	}
	return names
}

// save stores the Backup Components Document, under its name only when it is
// complete: a target that has it is whole.
func (j *job) save(context.Context) error {
	xml, err := j.bc.SaveAsXML()
	if err == nil {
		err = newTree(j.Target).writeFile(unfinished, xml)
	}
	if err == nil {
		err = j.Target.Rename(unfinished, DocumentName)
	}
	return phase("save", DocumentName, err)
}
