package xmlite

import (
	"io"
	"slices"
	"strings"
)

// A Document is a text as a tree.
type Document struct {
	Declaration string  // as written, or ""
	Before      []*Node // comments and instructions before the root
	Root        *Node
	After       []*Node // and behind it
}

// A Node is an element, a piece of text, a comment or an instruction.
type Node struct {
	Kind     Kind // Start for an element, Text, Comment or ProcInst
	Name     string
	Attrs    []NodeAttr
	Children []*Node
	Text     string
	Offset   int // in the text it was parsed from
}

// A NodeAttr is an attribute in a tree.
type NodeAttr struct{ Name, Value string }

// NewElement makes an element that holds children.
func NewElement(name string, children ...*Node) *Node {
	return &Node{Kind: Start, Name: name, Children: children}
}

// Parse reads a document as a tree. White space between elements is dropped
// unless it is all that an element holds.
func Parse(r io.Reader, lim Limits) (*Document, error) {
	src, err := Read(r, lim)
	if err != nil {
		return nil, err
	}
	return parse(src, lim)
}

// ParseBytes is [Parse] of a text that is in memory already.
func ParseBytes(file []byte, lim Limits) (*Document, error) {
	if err := lim.checkSize(int64(len(file))); err != nil {
		return nil, err
	}
	src, err := decode(file)
	if err != nil {
		return nil, err
	}
	return parse(src, lim)
}

func parse(src string, lim Limits) (*Document, error) {
	lim.Elements = orDefault(lim.Elements, 1<<18)
	s := NewScanner(src, lim)
	top, err := s.nodes()
	if err != nil {
		return nil, err
	}
	root := slices.IndexFunc(top, func(n *Node) bool { return n.Kind == Start })
	return &Document{s.Declaration(), top[:root:root], top[root], top[root+1:]}, nil
}

// nodes builds the whole tree; the elements still open wait on a stack.
func (s *Scanner) nodes() ([]*Node, error) {
	var top Node
	var slab []Node // nodes are made many at a time, all of a small text at once
	room := min(strings.Count(s.src[s.at:], "<")+1, 128)
	stack := []*Node{&top}
	for {
		kind, err := s.Next()
		if err != nil {
			return nil, err
		}
		parent := stack[len(stack)-1]
		switch kind {
		case EOF:
			top.dropBlanks()
			return top.Children, nil
		case End:
			parent.dropBlanks()
			stack = stack[:len(stack)-1]
			continue
		}
		if len(slab) == 0 {
			slab = make([]Node, room)
		}
		n := &slab[0]
		slab = slab[1:]
		*n = Node{Kind: kind, Name: s.name, Text: s.text, Offset: s.start}
		switch kind {
		case Start:
			n.Text = ""
			n.Attrs = s.nodeAttrs()
			stack = append(stack, n)
		case Text, Comment:
			n.Name = ""
		}
		parent.Children = append(parent.Children, n)
	}
}

func (s *Scanner) nodeAttrs() []NodeAttr {
	if len(s.attrs) == 0 {
		return nil
	}
	list := make([]NodeAttr, len(s.attrs))
	for i, a := range s.attrs {
		list[i] = NodeAttr{a.Name, a.Value}
	}
	return list
}

// dropBlanks removes white space that only sets elements apart.
func (n *Node) dropBlanks() {
	isText := func(c *Node) bool { return c.Kind == Text }
	if n.Kind == Start && !slices.ContainsFunc(n.Children, func(c *Node) bool { return !isText(c) }) {
		return
	}
	n.Children = slices.DeleteFunc(n.Children, func(c *Node) bool { return isText(c) && blank(c.Text) })
}

// Child returns the first child element of that name, or nil. A nil Node has
// none, so that a path of calls needs one check.
func (n *Node) Child(name string) *Node {
	if n == nil {
		return nil
	}
	for _, c := range n.Children {
		if c.Kind == Start && c.Name == name {
			return c
		}
	}
	return nil
}

// Elements returns the child elements.
func (n *Node) Elements() []*Node {
	var list []*Node
	if n != nil {
		for _, c := range n.Children {
			if c.Kind == Start {
				list = append(list, c)
			}
		}
	}
	return list
}

// Attr returns the value of an attribute.
func (n *Node) Attr(name string) (string, bool) {
	if n != nil {
		for _, a := range n.Attrs {
			if a.Name == name {
				return a.Value, true
			}
		}
	}
	return "", false
}

// SetAttr sets an attribute where it stands, or adds it behind the others.
func (n *Node) SetAttr(name, value string) {
	for i := range n.Attrs {
		if n.Attrs[i].Name == name {
			n.Attrs[i].Value = value
			return
		}
	}
	n.Attrs = append(n.Attrs, NodeAttr{name, value})
}

// Content returns the text that an element holds directly.
func (n *Node) Content() string {
	if n == nil {
		return ""
	}
	var b strings.Builder
	for _, c := range n.Children {
		if c.Kind == Text {
			b.WriteString(c.Text)
		}
	}
	return b.String()
}

// SetContent makes text the only child of an element.
func (n *Node) SetContent(text string) { n.Children = []*Node{{Kind: Text, Text: text}} }

// Write prints the node and all below it. A tree has no cycles; that is the
// caller's promise.
func (n *Node) Write(w *Writer) {
	switch n.Kind {
	case Text:
		w.Text(n.Text)
	case Comment:
		w.Comment(n.Text)
	case ProcInst:
		w.ProcInst(n.Name, n.Text)
	default:
		w.Start(n.Name)
		for _, a := range n.Attrs {
			w.Attr(a.Name, a.Value)
		}
		for _, c := range n.Children {
			c.Write(w)
		}
		w.End()
	}
}

// Write prints the document without its declaration, whose encoding only the
// caller knows.
func (d *Document) Write(w *Writer) {
	for _, n := range d.Before {
		n.Write(w)
	}
	d.Root.Write(w)
	for _, n := range d.After {
		n.Write(w)
	}
}
