package vss

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// An element describes how a T stands in a document: the tables of attributes
// and children serve reading and writing both, so that the two cannot disagree.
//
// A T that was read from a document in the way it would be written keeps
// nothing. One with anything more, or in another order or spelling, keeps that in
// its extra, and is written as it was found except for what has changed.
type element[T any] struct {
	name     string
	nameOf   func(*T) string       // where the name depends on the value
	begin    func(*T, string)      // prepares a T for what is read from the element of that name
	extra    func(*T) **extra      // where a T keeps what does not fit it
	attrs    []attribute[T]        // in the order in which they are written
	children []child[T]            // likewise
	valid    func(t *T) (s string) // why a T cannot be written, or ""
}

// A child describes the children of one kind.
type child[T any] struct {
	names       []string
	bare        bool // they may stand in no namespace at all
	least, most int  // how many there must be and may be; most 0 is any number
	count       func(*T) int
	read        func(d *decoder, t *T, name string) error
	write       func(w *xmlite.Writer, t *T, i int)
}

// An extra holds what a document has beyond the fields of a value. Copies of the
// value may share it: only the order of children is ever added to, and that
// decides where children are written, not whether.
type extra struct {
	attrs         []keptAttr
	children      []run
	before, after string // comments and instructions around the root element
}

// A keptAttr is an attribute as it was found.
type keptAttr struct {
	at    int    // in the table of attributes; -1 for one or several unknown ones
	raw   string // as written
	canon string // of a known one: what would have been written in its place
}

// A run is a number of children of one kind that stand together.
type run struct {
	kind int // in the table of children; -1 for unknown content
	n    int
	raw  string // unknown content as written
}

// A decoder reads one document.
type decoder struct {
	s     *xmlite.Scanner
	space string // the namespace of the document
}

// A documentFormat is the form of a kind of document.
type documentFormat[T any] struct {
	space string
	root  *element[T]
}

// read reads a whole document. Whatever is wrong with it is an
// [ErrInvalidXMLDocument]; an error of r is passed on.
func (f documentFormat[T]) read(op string, r io.Reader, lim xmlite.Limits) (*T, error) {
	src, err := xmlite.Read(r, lim)
	if err != nil {
		var syntax *xmlite.SyntaxError
		if !errors.As(err, &syntax) {
			return nil, &Error{Op: op, Err: err}
		}
		return nil, invalidDocument(op, err)
	}
	t := new(T)
	d := &decoder{s: xmlite.NewScanner(src, lim), space: f.space}
	if err := f.readAll(d, t); err != nil {
		return nil, invalidDocument(op, err)
	}
	return t, nil
}

func invalidDocument(op string, err error) error {
	return &Error{Op: op, Err: fmt.Errorf("%w: %w", ErrInvalidXMLDocument, err)}
}

// readAll reads the root element and what stands around it.
func (f documentFormat[T]) readAll(d *decoder, t *T) error {
	var around [2]span
	side := &around[0]
	for {
		kind, err := d.s.Next()
		switch {
		case err != nil:
			return err
		case kind == xmlite.EOF:
			keep(f.root.extra(t), extra{before: around[0].text(d), after: around[1].text(d)})
			return nil
		case kind == xmlite.Start:
			if err := f.readRoot(d, t); err != nil {
				return err
			}
			side = &around[1]
		case kind != xmlite.Text:
			side.extend(d)
		}
	}
}

func (f documentFormat[T]) readRoot(d *decoder, t *T) error {
	if name := d.s.Name(); name != f.root.name {
		return d.s.Errorf(d.s.Offset(), "the root element is %s, not %s", name, f.root.name)
	}
	if space, _ := d.s.Attr("xmlns"); space != f.space {
		return d.s.Errorf(d.s.Offset(), "the namespace is %q, not %q", space, f.space)
	}
	return f.root.read(d, t, f.root.name)
}

// write prints a whole document.
func (f documentFormat[T]) write(w io.Writer, t *T, e xmlite.Encoding) error {
	const op = "WriteXML"
	var out xmlite.Writer
	x := *f.root.extra(t)
	if x != nil && x.before != "" {
		out.Raw(x.before)
	}
	f.root.write(&out, t)
	if x != nil && x.after != "" {
		out.Raw(x.after)
	}
	text, err := out.Bytes()
	if err != nil {
		return &Error{Op: op, Err: fmt.Errorf("%w: %w", ErrInvalidArg, err)}
	}
	if _, err := w.Write(xmlite.Encode(text, e)); err != nil {
		return &Error{Op: op, Err: err}
	}
	return nil
}

// keep adds to what a value keeps, if there is anything.
func keep(at **extra, more extra) {
	if more.attrs == nil && more.children == nil && more.before == "" && more.after == "" {
		return
	}
	if *at != nil {
		more.attrs, more.children = (*at).attrs, (*at).children
	}
	*at = &more
}

// read fills t from the element whose start tag was just scanned.
func (e *element[T]) read(d *decoder, t *T, name string) error {
	if e.begin != nil {
		e.begin(t, name)
	}
	attrs, err := e.readAttrs(d, t)
	if err != nil {
		return err
	}
	children, err := e.readChildren(d, t)
	if err != nil {
		return err
	}
	keep(e.extra(t), extra{attrs: attrs, children: children})
	return nil
}

// readChildren reads up to the end tag and returns the order of the children if
// it is not the one in which they would be written.
func (e *element[T]) readChildren(d *decoder, t *T) ([]run, error) {
	start, name := d.s.Offset(), d.s.Name()
	var order orderOf
	for {
		kind, err := d.s.Next()
		switch {
		case err != nil:
			return nil, err
		case kind == xmlite.End:
			return order.close(d), e.checkCounts(d, &order.found, start, name)
		case kind == xmlite.Text && d.s.Blank():
			continue
		}
		if at := e.childIndex(d, kind); at >= 0 {
			order.child(d, at)
			err = e.children[at].read(d, t, d.s.Name())
		} else {
			err = order.unknown(d, kind)
		}
		if err != nil {
			return nil, err
		}
	}
}

// childIndex finds the kind of the child that was just scanned, -1 for one that
// is not known: of another name, or of another namespace.
func (e *element[T]) childIndex(d *decoder, kind xmlite.Kind) int {
	if kind != xmlite.Start {
		return -1
	}
	at := slices.IndexFunc(e.children, func(c child[T]) bool { return slices.Contains(c.names, d.s.Name()) })
	if at < 0 {
		return -1
	}
	if space, ok := d.s.Attr("xmlns"); ok && space != d.space && (space != "" || !e.children[at].bare) {
		return -1
	}
	return at
}

func (e *element[T]) checkCounts(d *decoder, found *[maxKinds]int, start int, name string) error {
	for i := range e.children {
		c := &e.children[i]
		if found[i] < c.least {
			return d.s.Errorf(start, "%s without %s", name, c.names[0])
		}
		if c.most > 0 && found[i] > c.most {
			return d.s.Errorf(start, "%s with %d times %s", name, found[i], c.names[0])
		}
	}
	return nil
}

// maxKinds is the number of kinds of children that an element may have.
const maxKinds = 16

// An orderOf notes the order of an element's children.
type orderOf struct {
	found  [maxKinds]int // how many of each kind
	runs   []run
	last   int  // the kind that came last
	mixed  bool // the order is not the canonical one
	strays span
}

func (o *orderOf) child(d *decoder, kind int) {
	o.flush(d)
	o.found[kind]++
	o.mixed = o.mixed || kind < o.last
	o.last = kind
	if n := len(o.runs); n > 0 && o.runs[n-1].kind == kind {
		o.runs[n-1].n++
		return
	}
	o.runs = append(o.runs, run{kind: kind, n: 1})
}

// unknown passes over content that is kept as it is.
func (o *orderOf) unknown(d *decoder, kind xmlite.Kind) error {
	o.mixed = true
	o.strays.extend(d)
	if kind != xmlite.Start {
		return nil
	}
	_, err := d.s.Skip()
	o.strays.to = d.s.EndOffset()
	return err
}

func (o *orderOf) flush(d *decoder) {
	if raw := o.strays.text(d); raw != "" {
		o.runs = append(o.runs, run{kind: -1, raw: raw})
		o.strays = span{}
	}
}

func (o *orderOf) close(d *decoder) []run {
	o.flush(d)
	if !o.mixed {
		return nil
	}
	return o.runs
}

// A span is a part of a document, from the first to the last of its tokens.
type span struct{ from, to int }

func (p *span) extend(d *decoder) {
	if p.to == 0 {
		p.from = d.s.Offset()
	}
	p.to = d.s.EndOffset()
}

func (p *span) text(d *decoder) string { return d.s.Slice(p.from, p.to) }

// write prints t.
func (e *element[T]) write(w *xmlite.Writer, t *T) {
	name := e.name
	if e.nameOf != nil {
		name = e.nameOf(t)
	}
	if e.valid != nil {
		if problem := e.valid(t); problem != "" {
			w.Fail(errors.New(problem))
		}
	}
	w.Start(name)
	e.writeAttrs(w, t)
	e.writeChildren(w, t)
	w.End()
}

// writeChildren prints the children in the order noted, and what has been added
// since behind the last of its kind.
func (e *element[T]) writeChildren(w *xmlite.Writer, t *T) {
	var runs []run
	if x := *e.extra(t); x != nil {
		runs = x.children
	}
	var left, written [maxKinds]int // runs to come, children written
	for _, r := range runs {
		if r.kind >= 0 {
			left[r.kind]++
		}
	}
	for _, r := range runs {
		if r.kind < 0 {
			w.Raw(r.raw)
			continue
		}
		until := written[r.kind] + r.n
		if left[r.kind]--; left[r.kind] == 0 {
			until = math.MaxInt
		}
		e.writeSome(w, t, &written, r.kind, until)
	}
	for kind := range e.children {
		e.writeSome(w, t, &written, kind, math.MaxInt)
	}
}

// writeSome prints children of one kind until so many are written, or all.
func (e *element[T]) writeSome(w *xmlite.Writer, t *T, written *[maxKinds]int, kind, until int) {
	c := &e.children[kind]
	until = min(until, c.count(t))
	for written[kind] < until {
		c.write(w, t, written[kind])
		written[kind]++
	}
}

// noteNext notes that the next child of t to be added is of that kind.
func (e *element[T]) noteNext(at **extra, t *T, kind int) {
	if *at == nil || (*at).children == nil {
		canonical := e.runs(t)
		if len(canonical) == 0 || canonical[len(canonical)-1].kind <= kind {
			return
		}
		if *at == nil {
			*at = &extra{}
		}
		(*at).children = canonical
	}
	x := *at
	if last := &x.children[len(x.children)-1]; last.kind == kind {
		last.n++
		return
	}
	x.children = append(x.children, run{kind: kind, n: 1})
}

// runs returns the canonical order of t's children.
func (e *element[T]) runs(t *T) []run {
	var list []run
	for kind := range e.children {
		if n := e.children[kind].count(t); n > 0 {
			list = append(list, run{kind: kind, n: n})
		}
	}
	return list
}
