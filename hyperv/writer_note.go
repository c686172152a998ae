package hyperv

import (
	"bytes"
	"errors"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
	"github.com/shadowsim/shadowsim/vss"
)

// A note is what the writer records about a machine in the Backup Components
// Document, as the opaque metadata of its component: what a restore needs to
// know beside the files.
type note struct {
	Machine [16]byte
	Name    string
	Method  Method
	Prior   State    // before the backup
	Path    string   // of the configuration file
	VHDs    []string // in the order of the drives
}

func (n *note) encode() ([]byte, error) {
	root := xmlite.NewElement("virtual_machine")
	root.SetAttr("version", "1")
	root.SetAttr("id", guid.Upper(n.Machine))
	root.SetAttr("name", n.Name)
	root.SetAttr("method", n.Method.String())
	root.SetAttr("prior_state", n.Prior.String())
	root.SetAttr("configuration", n.Path)
	for _, path := range n.VHDs {
		e := xmlite.NewElement("vhd")
		e.SetAttr("path", path)
		root.Children = append(root.Children, e)
	}
	w := &xmlite.Writer{}
	(&xmlite.Document{Root: root}).Write(w)
	return w.Bytes()
}

func decodeNote(data []byte) (*note, error) {
	doc, err := xmlite.Parse(bytes.NewReader(data), xmlite.Limits{})
	if err != nil {
		return nil, err
	}
	r := doc.Root
	if v, _ := r.Attr("version"); r.Name != "virtual_machine" || v != "1" {
		return nil, errors.New("not the metadata of a virtual machine of version 1")
	}
	n := &note{}
	if n.Machine, err = guidAttr(r, "id"); err != nil {
		return nil, err
	}
	n.Name, _ = r.Attr("name")
	n.Path, _ = r.Attr("configuration")
	for _, e := range r.Elements() {
		path, _ := e.Attr("path")
		n.VHDs = append(n.VHDs, path)
	}
	return n, nil
}

// noteMachines records every machine of the session with its component.
func (w *Writer) noteMachines(ev *vss.PostSnapshotEvent, s *writerSession) error {
	for _, m := range s.members {
		c := ev.Components().Component(vss.ComponentKey{Name: guid.Upper(m.ID)})
		if c == nil { // the requester works without components
			continue
		}
		n := note{
			Machine: m.ID, Name: m.Name(), Method: m.decision.Method, Prior: m.prior,
			Path: m.Path, VHDs: m.Configuration.VHDPaths(),
		}
		data, err := n.encode()
		if err != nil {
			return err
		}
		if err := c.SetBackupMetadata(data); err != nil {
			return err
		}
	}
	return nil
}
