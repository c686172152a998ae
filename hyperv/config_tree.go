package hyperv

import (
	"slices"
	"strconv"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// A tree sets leaves of a configuration by path, in sorted places. A leaf that
// says the same already, in whatever form, stays as it is; one that is missing
// from a file that was read is not added for what its absence means anyway.
type tree struct{ root *xmlite.Node }

// find returns the element at a path, or nil.
func (t tree) find(path string) *xmlite.Node {
	n := t.root
	for name := range strings.SplitSeq(path, "/") {
		n = n.Child(name)
	}
	return n
}

// child returns the element at a path, which it makes if need be.
func (t tree) child(path string) *xmlite.Node {
	n := t.root
	for name := range strings.SplitSeq(path, "/") {
		n = sortedChild(n, name)
	}
	return n
}

// leaf sets a leaf whatever it said.
func (t tree) leaf(path, kind, value string) {
	n := t.child(path)
	n.SetAttr("type", kind)
	n.SetContent(value)
}

// set sets a leaf unless it says the same already, or its absence does.
func (t tree) set(path, kind, value string, absent bool, same func(old string) bool) {
	n := t.find(path)
	if n == nil && absent || n != nil && same(n.Content()) {
		return
	}
	t.leaf(path, kind, value)
}

func (t tree) text(path, value string) {
	t.set(path, "string", value, value == "", func(old string) bool { return old == value })
}

// always is text for a leaf that must be there, even if it is empty.
func (t tree) always(path, value string) {
	t.set(path, "string", value, false, func(old string) bool { return old == value })
}

func (t tree) integer(path string, n int64) {
	t.set(path, "integer", strconv.FormatInt(n, 10), n == 0, func(old string) bool {
		v, err := strconv.ParseInt(strings.TrimSpace(old), 10, 64)
		return err == nil && v == n
	})
}

func (t tree) boolean(path string, b, missing bool) {
	value := "False"
	if b {
		value = "True"
	}
	t.set(path, "bool", value, b == missing, func(old string) bool { return strings.EqualFold(strings.TrimSpace(old), value) })
}

// guid sets a GUID; zero is an empty leaf.
func (t tree) guid(path string, id [16]byte) {
	value := ""
	if id != [16]byte{} {
		value = guid.Upper(id)
	}
	t.set(path, "string", value, value == "", func(old string) bool {
		was, err := guid.Parse(strings.TrimSpace(old))
		return err == nil && was == id || strings.TrimSpace(old) == value
	})
}

func (t tree) remove(name string) {
	t.root.Children = slices.DeleteFunc(t.root.Children, func(c *xmlite.Node) bool {
		return c.Kind == xmlite.Start && c.Name == name
	})
}

// dropDrives takes disks and DVD drives out of a controller; what else there may be
// stays.
func (t tree) dropDrives(controller *xmlite.Node, gone func(n int) bool) {
	controller.Children = slices.DeleteFunc(controller.Children, func(d *xmlite.Node) bool {
		n, ok := numbered(d.Name, "drive")
		return d.Kind == xmlite.Start && ok && driveKind(d) != "" && gone(n)
	})
}

func sortedChild(n *xmlite.Node, name string) *xmlite.Node {
	if c := n.Child(name); c != nil {
		return c
	}
	c := xmlite.NewElement(name)
	at := len(n.Children)
	for i, other := range n.Children {
		if other.Kind == xmlite.Start && other.Name > name {
			at = i
			break
		}
	}
	n.Children = slices.Insert(n.Children, at, c)
	return c
}
