package hyperv

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// component describes a machine: its name is the GUID, its caption tells the
// method that would be used now.
func (w *Writer) component(m Machine, d described) vss.ComponentInfo {
	c := vss.ComponentInfo{
		ComponentKey: vss.ComponentKey{Name: guid.Upper(m.ID)},
		Type:         vss.ComponentFileGroup,
		Caption:      d.method.Caption(m.Name()),
		Selectable:   true,
	}
	f := filesOf(m.Path, m.ID)
	add := func(path, spec string) {
		c.Files = append(c.Files, vss.FileSet{FileSpec: vss.FileSpec{Path: path, Spec: spec}})
	}
	add(f.folder, volume.Base(m.Path))
	// Memory and device state are not named one by one, for those that the method now
	// would have saved alone: the machine may have to be saved by the time of the
	// shadow copy that is not to be now, and its memory must be in the backup then. Of
	// one whose guest takes a snapshot the writer removes them from the shadow copy;
	// see removeMemory. So the folder may be missing or empty.
	add(f.stateFolder(), "*")
	for i, path := range w.host.ownPaths(d.files) {
		add(volume.Dir(path), volume.Base(path))
		if i >= len(d.files)-len(m.Checkpoints) {
			add(strings.TrimSuffix(path, ".xml"), "*")
		}
	}
	return c
}

// MayBeMissing tells of a file that a writer lists, and that is not on the shadow copy,
// whether a backup may do without it: a disk of a checkpoint, which may have been merged
// since the metadata were gathered, or a part of a saved state. The program hypervbackup
// does without these, and without no others. It is a requester's business:
//
//	b := &requester.Backup{Service: h.VSS(), Target: target, MayBeMissing: hyperv.MayBeMissing}
func MayBeMissing(w *vss.WriterMetadata, path string) bool {
	dot := max(strings.LastIndexByte(path, '.'), 0)
	switch strings.ToLower(path[dot:]) {
	case ".avhd", ".avhdx", ".bin", ".vsv", ".vmrs":
		return w.Identity.WriterID == WriterID
	}
	return false
}

// errMetadataTooLong is ERROR_BAD_LENGTH, as the service logs it.
const errMetadataTooLong vss.HRESULT = 0x80070018

// checkSize refuses a document that is longer than the policy says.
func (w *Writer) checkSize(ev *vss.IdentifyEvent) error {
	limit := w.host.profile.Policy.MetadataLimit
	if limit <= 0 {
		return nil
	}
	var xml bytes.Buffer
	if err := ev.Metadata.WriteXML(&xml); err != nil || int64(xml.Len()) <= limit {
		return err
	}
	err := fmt.Errorf("the metadata have %d bytes, more than %d: %w", xml.Len(), limit, errMetadataTooLong)
	ev.Service().Log(w.host.actor, vss.LogEntry{ID: vss.LogUnexpectedCall, Text: "unexpected error with the metadata of writer " + WriterName + ": " + err.Error()})
	return failure(vss.ErrWriterErrorNonRetryable, WriterName, err)
}

func (w *Writer) storeComponent() vss.ComponentInfo {
	return vss.ComponentInfo{
		ComponentKey: vss.ComponentKey{Name: initialStoreComponent},
		Type:         vss.ComponentFileGroup,
		Caption:      "Initial Store",
		Selectable:   true,
		Files:        []vss.FileSet{{FileSpec: vss.FileSpec{Path: w.host.root, Spec: initialStore}}},
	}
}
