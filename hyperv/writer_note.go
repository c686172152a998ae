package hyperv

import (
	"errors"
	"fmt"

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
	Prior   State  // before the backup
	Path    string // of the configuration file
}

// saved tells whether the machine's memory is in the backup.
func (n *note) saved() bool { return n.Method == MethodSavedState || n.Prior == StateSaved }

func (n *note) encode() ([]byte, error) {
	root := xmlite.NewElement("virtual_machine")
	root.SetAttr("version", "1")
	root.SetAttr("id", guid.Upper(n.Machine))
	root.SetAttr("name", n.Name)
	root.SetAttr("method", n.Method.String())
	root.SetAttr("prior_state", n.Prior.String())
	root.SetAttr("configuration", n.Path)
	w := &xmlite.Writer{}
	w.Grow(512)
	(&xmlite.Document{Root: root}).Write(w)
	return w.Bytes()
}

func decodeNote(p *xmlite.Parser, data []byte) (*note, error) {
	text, err := xmlite.Decode(data, xmlite.Limits{})
	if err != nil {
		return nil, err
	}
	doc, err := p.Parse(text, xmlite.Limits{})
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
	method, _ := r.Attr("method")
	n.Method = parse(method, MethodOffline, MethodSavedState, MethodChildSnapshot)
	prior, _ := r.Attr("prior_state")
	n.Prior = parse(prior, StateRunning, StateOff, StatePaused, StateSaved)
	if n.Path == "" || n.Method == 0 || n.Prior == 0 {
		return nil, errors.New("the metadata of the virtual machine are not complete")
	}
	return n, nil
}

// parse finds the value that prints as s, or zero.
func parse[T fmt.Stringer](s string, values ...T) (found T) {
	for _, v := range values {
		if v.String() == s {
			return v
		}
	}
	return found
}

// noteMachine records a machine of the session with its component. There is none
// where the requester works without components.
func (w *Writer) noteMachine(ev *vss.PostSnapshotEvent, m *member) error {
	c := componentOf(ev, m.ID)
	if c == nil {
		return nil
	}
	n := note{
		Machine: m.ID, Name: m.Name(), Method: m.decision.Method, Prior: m.prior,
		Path: m.Path,
	}
	data, err := n.encode()
	if err == nil {
		err = c.SetBackupMetadata(data)
	}
	if err != nil {
		return failure(vss.ErrWriterErrorNonRetryable, m.Name(), err)
	}
	return nil
}

func componentOf(ev *vss.PostSnapshotEvent, vm [16]byte) *vss.WriterComponent {
	return ev.Components().Component(vss.ComponentKey{Name: guid.Upper(vm)})
}
