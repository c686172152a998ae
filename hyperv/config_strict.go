package hyperv

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// A ShapeError says where a configuration file is not as hosts write them.
type ShapeError struct {
	Path         string // of the element, below the root: "settings/processors/count"
	Line, Column int    // where it begins, or where the one begins that lacks it; from 1
	What         string // "is unknown"
}

// Error tells the place and what is wrong there.
func (e *ShapeError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s %s", e.Line, e.Column, e.Path, e.What)
}

// ReadConfigurationStrictly is [ReadConfiguration] for a file that must be as a host
// writes it. An element that is unknown, stands twice, is out of order or is missing,
// and a leaf whose type or value is not its own, is an error that wraps
// [ErrConfiguration] and a [*ShapeError]. What hosts of later versions have beyond the
// files that have been published is unknown.
func ReadConfigurationStrictly(file []byte) (*Configuration, error) {
	text, err := xmlite.Decode(file, xmlite.Limits{})
	if err != nil {
		return nil, badConfiguration(err)
	}
	doc, err := xmlite.ParseText(text, xmlite.Limits{})
	if err != nil {
		return nil, badConfiguration(err)
	}
	if doc.Root.Name == "configuration" {
		s := strictReader{text: text, devices: make(map[string]*shape)}
		if err := s.configuration(doc.Root); err != nil {
			return nil, badConfiguration(err)
		}
	}
	return ReadConfiguration(file)
}

// A strictReader compares a configuration with its shape.
type strictReader struct {
	text    string
	devices map[string]*shape // of the sections, by name; nil for a device that is unknown
}

func (s *strictReader) fail(at *xmlite.Node, path, what string) error {
	line, column := xmlite.Position(s.text, at.Offset)
	return &ShapeError{Path: path, Line: line, Column: column, What: what}
}

// configuration compares the whole file: the manifest first, which says what the
// sections are.
func (s *strictReader) configuration(root *xmlite.Node) error {
	for device, shape := range deviceShapes { // what the machine has without a line of the manifest
		s.devices[section(device)] = shape
	}
	if m := root.Child("manifest"); m != nil {
		if err := s.manifest(m); err != nil {
			return err
		}
	}
	return s.container(root, "", &configurationShape)
}

// manifest learns the devices.
func (s *strictReader) manifest(m *xmlite.Node) error {
	lines := 0
	seen := make(map[[16]byte]bool)
	for _, e := range m.Elements() {
		if !strings.HasPrefix(e.Name, "vdev") {
			continue
		}
		lines++
		path := "manifest/" + e.Name
		var id [2][16]byte
		for i, name := range []string{"device", "instance"} {
			leaf := e.Child(name)
			if leaf == nil {
				return s.fail(e, path+"/"+name, "is missing")
			}
			var err error
			if id[i], err = guid.Parse(leaf.Content()); err != nil {
				return s.fail(leaf, path+"/"+name, "is not a GUID")
			}
		}
		if seen[id[1]] {
			return s.fail(e, path+"/instance", "stands twice")
		}
		seen[id[1]] = true
		s.devices[section(id[1])] = deviceShapes[id[0]]
	}
	if size := m.Child("size"); size != nil && size.Content() != strconv.Itoa(lines) {
		return s.fail(size, "manifest/size", fmt.Sprintf("is not the number of lines, %d", lines))
	}
	return nil
}

// node compares an element.
func (s *strictReader) node(n *xmlite.Node, path string, is *shape) error {
	if is.kinds != "" && is.kinds != anyShape {
		return s.leaf(n, path, is.kinds)
	}
	if is.kinds == anyShape {
		if _, ok := n.Attr("type"); ok {
			return s.leaf(n, path, "string integer bool bytes")
		}
	}
	return s.container(n, path, is)
}

// container compares an element that holds others.
func (s *strictReader) container(n *xmlite.Node, path string, is *shape) error {
	if len(n.Attrs) > 0 {
		return s.fail(n, path, "has the attribute "+strconv.Quote(n.Attrs[0].Name))
	}
	last := ""
	for _, c := range n.Children {
		if c.Kind == xmlite.Text && strings.TrimSpace(c.Text) != "" {
			return s.fail(c, path, "holds text")
		}
		if c.Kind != xmlite.Start {
			continue
		}
		at := pathBelow(path, c.Name)
		switch {
		case c.Name == last:
			return s.fail(c, at, "stands twice")
		case c.Name < last:
			return s.fail(c, at, "stands behind "+last)
		}
		last = c.Name
		within, err := s.shapeOf(c, at, is)
		if err == nil {
			err = s.node(c, at, within)
		}
		if err != nil {
			return err
		}
	}
	for i := range is.in {
		if w := &is.in[i]; w.need && n.Child(w.name) == nil {
			return s.fail(n, pathBelow(path, w.name), "is missing")
		}
	}
	return nil
}

// shapeOf is what an element within a container may be.
func (s *strictReader) shapeOf(c *xmlite.Node, path string, of *shape) (*shape, error) {
	if of.kinds == anyShape {
		return of, nil
	}
	if of == &configurationShape && strings.HasPrefix(c.Name, "_") {
		is, known := s.devices[c.Name]
		switch {
		case !known:
			return nil, s.fail(c, path, "is not in the manifest")
		case is == nil:
			return nil, s.fail(c, path, "is of an unknown device")
		}
		return is, nil
	}
	if is := of.child(c.Name); is != nil {
		return is, nil
	}
	return nil, s.fail(c, path, "is unknown")
}

// leaf compares an element that has a value.
func (s *strictReader) leaf(n *xmlite.Node, path, kinds string) error {
	kind, ok := n.Attr("type")
	switch {
	case !ok:
		return s.fail(n, path, "has no type")
	case len(n.Attrs) > 1:
		return s.fail(n, path, "has further attributes")
	case !strings.Contains(" "+kinds+" ", " "+kind+" "):
		return s.fail(n, path, fmt.Sprintf("is of the type %q, not %s", kind, strings.ReplaceAll(kinds, " ", " or ")))
	}
	if len(n.Elements()) > 0 {
		return s.fail(n, path, "holds elements")
	}
	if err := checkValue(kind, n.Content()); err != nil {
		return s.fail(n, path, err.Error())
	}
	return nil
}

// checkValue tells why a text is not a value of a type as it is written.
func checkValue(kind, text string) error {
	switch kind {
	case "integer":
		if n, err := strconv.ParseInt(text, 10, 64); err != nil || strconv.FormatInt(n, 10) != text {
			return errors.New("is no number")
		}
	case "bool":
		if text != "True" && text != "False" {
			return errors.New("is neither True nor False")
		}
	case "bytes":
		if _, err := base64.StdEncoding.DecodeString(text); err != nil || !strings.HasSuffix(text, "\n") {
			return errors.New("is not base64 with a line end")
		}
	}
	return nil
}

func pathBelow(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}
