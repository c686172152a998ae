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
	return ParseText(src, lim)
}

// ParseBytes is [Parse] of a text that is in memory already.
func ParseBytes(file []byte, lim Limits) (*Document, error) {
	src, err := Decode(file, lim)
	if err != nil {
		return nil, err
	}
	return ParseText(src, lim)
}

// ParseText is [Parse] of what [Read] or [Decode] returned. The strings of the
// tree are parts of src wherever that is possible.
func ParseText(src string, lim Limits) (*Document, error) { return new(Parser).Parse(src, lim) }

// A Parser reads one document after another into the same memory. The zero value
// is ready.
type Parser struct {
	s Scanner
	b builder
}

// Parse is [ParseText]. The next call of Parse takes the tree away; its strings stay.
func (p *Parser) Parse(src string, lim Limits) (*Document, error) {
	lim.Elements = orDefault(lim.Elements, 1<<18)
	p.s.reset(src, lim)
	top, err := p.s.nodes(&p.b)
	if err != nil {
		return nil, err
	}
	root := slices.IndexFunc(top, func(n *Node) bool { return n.Kind == Start })
	return &Document{p.s.Declaration(), top[:root:root], top[root], top[root+1:]}, nil
}

// A builder makes a tree. Nodes, lists of children and attributes are cut from few
// large pieces, those of a small text each from one.
type builder struct {
	room    int // how many nodes a piece has
	nodes   pieces[Node]
	kids    pieces[*Node]
	attrs   pieces[NodeAttr]
	pending []*Node // nodes of elements that have not ended
	open    []unfinished
}

// unfinished is an element that has not ended.
type unfinished struct {
	node  *Node
	first int  // where its children begin among those pending
	mixed bool // one of them is no text
}

// nodes builds the whole tree; the elements still open wait on a stack.
func (s *Scanner) nodes(b *builder) ([]*Node, error) {
	var top Node
	b.room = min(strings.Count(s.src[s.at:], "<")+1, 128)
	b.nodes.reset()
	b.kids.reset()
	b.attrs.reset()
	b.pending = slices.Grow(b.pending[:0], b.room)
	b.open = append(slices.Grow(b.open[:0], 8), unfinished{node: &top, mixed: true})
	for {
		kind, err := s.Next()
		if err != nil {
			return nil, err
		}
		switch kind {
		case EOF:
			b.end()
			return top.Children, nil
		case End:
			b.end()
		case Text:
			if !s.Blank() || !b.inElement().mixed && !s.atTag() {
				b.add(s, kind)
			}
		default:
			b.add(s, kind)
		}
	}
}

// atTag tells whether what follows is markup that makes white space before it
// mean nothing.
func (s *Scanner) atTag() bool {
	rest := s.src[s.at:]
	return strings.HasPrefix(rest, "<") && !strings.HasPrefix(rest, "</") && !strings.HasPrefix(rest, "<![")
}

func (b *builder) inElement() *unfinished { return &b.open[len(b.open)-1] }

func (b *builder) add(s *Scanner, kind Kind) {
	n := &b.nodes.take(1, b.room)[0]
	n.Kind, n.Offset = kind, s.start
	parent := b.inElement()
	parent.mixed = parent.mixed || kind != Text
	b.pending = append(b.pending, n)
	switch kind {
	case Start:
		n.Name = s.name
		n.Attrs = b.attrs.take(len(s.attrs), b.room/2)
		for i, a := range s.attrs {
			n.Attrs[i] = NodeAttr{a.Name, a.Value}
		}
		b.open = append(b.open, unfinished{node: n, first: len(b.pending)})
	case ProcInst:
		n.Name, n.Text = s.name, s.text
	default:
		n.Text = s.text
	}
}

// end gives the element that ends its children, without white space that only
// sets elements apart.
func (b *builder) end() {
	e := b.inElement()
	children := b.pending[e.first:]
	if e.mixed {
		children = slices.DeleteFunc(children, func(c *Node) bool { return c.Kind == Text && blank(c.Text) })
	}
	e.node.Children = b.kids.take(len(children), b.room)
	copy(e.node.Children, children)
	b.pending = b.pending[:e.first]
	b.open = b.open[:len(b.open)-1]
}

// Pieces are memory of which parts are given out.
type pieces[T any] struct{ first, rest []T }

// take gives out n elements, of a new piece if need be; none is nil.
func (p *pieces[T]) take(n, room int) []T {
	if n == 0 {
		return nil
	}
	if len(p.rest) < n {
		p.rest = make([]T, max(n, room))
		if len(p.rest) > len(p.first) {
			p.first = p.rest
		}
	}
	out := p.rest[:n:n]
	p.rest = p.rest[n:]
	return out
}

// reset takes back what was given out, and keeps the largest piece.
func (p *pieces[T]) reset() {
	clear(p.first)
	p.rest = p.first
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
	if n == nil {
		return nil
	}
	number := 0
	for _, c := range n.Children {
		if c.Kind == Start {
			number++
		}
	}
	list := slices.Grow([]*Node(nil), number)
	for _, c := range n.Children {
		if c.Kind == Start {
			list = append(list, c)
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
	if len(n.Children) == 1 && n.Children[0].Kind == Text {
		return n.Children[0].Text
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
