package requester

import (
	"bytes"
	"context"
	"io/fs"

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
	if err := CheckTarget(j.Target); err != nil {
		return err
	}
	if err := newTree(j.Target).writeFile(unfinished, nil); err != nil { // what follows is ours to remove
		return phase("save", unfinished, err)
	}
	for _, name := range []string{DocumentName, SecurityName, MissingName, FilesName, WritersName} {
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

// CheckTarget tells whether a backup can go to a target: it must be without files
// where the backup's would go, or those must be an earlier backup's, which the
// next one replaces. It is an [ErrNotATarget] otherwise. A backup asks for itself
// before it writes.
func CheckTarget(f Files) error {
	if exists(f, DocumentName) || exists(f, unfinished) {
		return nil
	}
	for _, name := range []string{FilesName, WritersName, SecurityName, MissingName} {
		if holds(f, name) {
			return phase("save", name, ErrNotATarget)
		}
	}
	return nil
}

// holds tells whether something stands under a name, other than an empty
// directory.
func holds(f Files, name string) bool {
	entries, err := fs.ReadDir(f, name)
	return err == nil && len(entries) > 0 || err != nil && exists(f, name)
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
