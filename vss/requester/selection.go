package requester

import (
	"fmt"
	"io"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
	"github.com/shadowsim/shadowsim/vss"
)

// A Selection names the components that a backup or restore is to have. It is
// what a component selection file of BETest says ("BETest Tool").
type Selection struct {
	Writers []SelectedWriter

	// Unknown lists what the file has beyond that, as sentences. It has no
	// effect.
	Unknown []string
}

// A SelectedWriter names components of a writer, or with none all of them.
type SelectedWriter struct {
	WriterID   guid.GUID
	Components []vss.ComponentKey
}

// A SelectionError is a component selection file that cannot be used.
type SelectionError struct {
	Element string // where it is: "BETest", "Writer"
	Problem string
	Err     error // what the XML reader found, or nil
}

// Error names the element and what is wrong with it.
func (e *SelectionError) Error() string {
	s := "component selection: "
	if e.Element != "" {
		s += e.Element + ": "
	}
	if e.Err != nil {
		return s + e.Err.Error()
	}
	return s + e.Problem
}

// Unwrap gives the XML reader's error.
func (e *SelectionError) Unwrap() error { return e.Err }

// selectionLimits bound a selection file.
var selectionLimits = xmlite.Limits{Size: 8 << 20, Depth: 16, Elements: 1 << 16, Attrs: 32}

// ReadSelection reads a component selection file: an element BETest with Writer
// elements, each with its writerid and Component elements with componentName and
// logicalPath. A file that is not one is a [*SelectionError].
func ReadSelection(r io.Reader) (*Selection, error) {
	doc, err := xmlite.Parse(r, selectionLimits)
	if err != nil {
		return nil, &SelectionError{Err: err}
	}
	if doc.Root.Name != "BETest" {
		return nil, &SelectionError{Element: doc.Root.Name, Problem: "the root element is not BETest"}
	}
	s := &Selection{}
	for _, n := range doc.Root.Elements() {
		if n.Name != "Writer" {
			s.Unknown = append(s.Unknown, fmt.Sprintf("BETest holds an element %s that is not known", n.Name))
			continue
		}
		w, err := s.readWriter(n)
		if err != nil {
			return nil, err
		}
		s.Writers = append(s.Writers, w)
	}
	return s, nil
}

func (s *Selection) readWriter(n *xmlite.Node) (w SelectedWriter, err error) {
	id, _ := n.Attr("writerid")
	w.WriterID, err = guid.Parse(id)
	if err != nil {
		return w, &SelectionError{Element: "Writer", Problem: fmt.Sprintf("writerid %q is no GUID", id)}
	}
	for _, c := range n.Elements() {
		if c.Name != "Component" {
			s.Unknown = append(s.Unknown, fmt.Sprintf("Writer holds an element %s that is not known", c.Name))
			continue
		}
		var key vss.ComponentKey
		key.LogicalPath, _ = c.Attr("logicalPath")
		if key.Name, _ = c.Attr("componentName"); key.Name == "" {
			return w, &SelectionError{Element: "Component", Problem: "no componentName"}
		}
		w.Components = append(w.Components, key)
	}
	return w, nil
}

// all tells whether a selection wants a writer whole.
func (s *Selection) all(writer guid.GUID) bool {
	return s == nil || slices.ContainsFunc(s.Writers, func(w SelectedWriter) bool { return w.WriterID == writer && len(w.Components) == 0 })
}

// of lists the components that a selection names of a writer.
func (s *Selection) of(writer guid.GUID) []vss.ComponentKey {
	var keys []vss.ComponentKey
	if s != nil {
		for _, w := range s.Writers {
			if w.WriterID == writer {
				keys = append(keys, w.Components...)
			}
		}
	}
	return keys
}

// names tells whether a selection names a component, or its writer whole.
func (s *Selection) names(writer guid.GUID, key vss.ComponentKey) bool {
	return s.all(writer) || slices.ContainsFunc(s.of(writer), key.Same)
}
