package vss

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// TestMetadataXMLGoXML and TestComponentsXMLGoXML read documents with unknown
// content, in any order and spelling, write them again, and let encoding/xml say
// whether they still mean the same.
func TestMetadataXMLGoXML(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkKeepsAll(t, metadataXML(t, genMetadata(t)), func(r io.Reader, w io.Writer) error {
			m, err := ReadWriterMetadata(r)
			if err != nil {
				return err
			}
			return m.WriteXML(w)
		})
	})
}

func TestComponentsXMLGoXML(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		if err := genComponents(t).WriteXML(&b); err != nil {
			t.Fatal(err)
		}
		checkKeepsAll(t, b.String(), func(r io.Reader, w io.Writer) error {
			d, err := ReadBackupComponents(r)
			if err != nil {
				return err
			}
			return d.WriteXML(w)
		})
	})
}

func checkKeepsAll(t *rapid.T, canonical string, through func(io.Reader, io.Writer) error) {
	doc, err := xmlite.Parse(strings.NewReader(canonical), xmlite.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	roughen(t, doc.Root)
	var p roughPrinter
	p.prolog(t)
	p.node(t, doc.Root)
	p.stray(t)
	rough := p.b.String()

	var out bytes.Buffer
	if err := through(strings.NewReader(rough), &out); err != nil {
		t.Fatalf("%v in\n%s", err, rough)
	}
	if diff := cmp.Diff(meaning(t, rough), meaning(t, out.String())); diff != "" {
		t.Fatalf("means something else (-want +got):\n%s\nread\n%s\nwrote\n%s", diff, rough, out.String())
	}
	again := bytes.Buffer{}
	if err := through(bytes.NewReader(out.Bytes()), &again); err != nil || again.String() != out.String() {
		t.Fatalf("not written the same twice: %v\n%s\n%s", err, out.String(), again.String())
	}
}

// roughen puts attributes and children in any order and adds unknown ones.
func roughen(t *rapid.T, n *xmlite.Node) {
	if n.Kind != xmlite.Start {
		return
	}
	for _, c := range n.Children {
		roughen(t, c)
	}
	for i, a := range n.Attrs {
		if strings.HasSuffix(a.Name, "Id") && rapid.Bool().Draw(t, "upper case") {
			n.Attrs[i].Value = strings.ToUpper(a.Value)
		}
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "unknown attributes") {
		n.Attrs = append(n.Attrs, xmlite.NodeAttr{Name: fmt.Sprintf("x:unknown%d", i), Value: texts.Draw(t, "value")})
	}
	if rapid.Bool().Draw(t, "shuffle") {
		n.Attrs = rapid.Permutation(n.Attrs).Draw(t, "attributes")
		n.Children = rapid.Permutation(n.Children).Draw(t, "children")
	}
	for range rapid.IntRange(0, 2).Draw(t, "unknown children") {
		at := rapid.IntRange(0, len(n.Children)).Draw(t, "at")
		n.Children = slices.Insert(n.Children, at, drawUnknown(t))
	}
}

func drawUnknown(t *rapid.T) *xmlite.Node {
	switch rapid.IntRange(0, 4).Draw(t, "unknown") {
	case 0:
		return &xmlite.Node{Kind: xmlite.Comment, Text: " a comment "}
	case 1:
		return &xmlite.Node{Kind: xmlite.ProcInst, Name: "x", Text: "y=z"}
	case 2:
		return &xmlite.Node{Kind: xmlite.Text, Text: "stray " + texts.Draw(t, "text")}
	case 3: // a known name in another namespace
		n := xmlite.NewElement(rapid.SampledFrom([]string{"FILE_GROUP", "FILE_LIST", "COMPONENT", "IDENTIFICATION"}).Draw(t, "name"))
		n.SetAttr("xmlns", "urn:other")
		return n
	}
	n := xmlite.NewElement("UNKNOWN", xmlite.NewElement("FILE_LIST"), &xmlite.Node{Kind: xmlite.Text, Text: texts.Draw(t, "text")})
	n.SetAttr("path", texts.Draw(t, "value"))
	return n
}

// A roughPrinter prints a tree in one of the many ways there are.
type roughPrinter struct{ b strings.Builder }

func (p *roughPrinter) prolog(t *rapid.T) {
	p.b.WriteString(rapid.SampledFrom([]string{"", "<?xml version='1.0'?>", `<?xml version="1.0" encoding="UTF-16" standalone = "yes" ?>`}).Draw(t, "declaration"))
	p.stray(t)
}

func (p *roughPrinter) stray(t *rapid.T) {
	p.b.WriteString(rapid.SampledFrom([]string{"", "\r\n", " <!-- around -->\n<?pi?>"}).Draw(t, "around"))
}

func (p *roughPrinter) space(t *rapid.T) {
	p.b.WriteString(rapid.SampledFrom([]string{"", "", "\r\n\t", " "}).Draw(t, "space"))
}

func (p *roughPrinter) node(t *rapid.T, n *xmlite.Node) {
	switch n.Kind {
	case xmlite.Comment:
		p.b.WriteString("<!--" + n.Text + "-->")
	case xmlite.ProcInst:
		p.b.WriteString("<?" + n.Name + " " + n.Text + "?>")
	case xmlite.Text:
		p.text(t, n.Text)
	default:
		p.element(t, n)
	}
}

func (p *roughPrinter) element(t *rapid.T, n *xmlite.Node) {
	p.b.WriteString("<" + n.Name)
	for _, a := range n.Attrs {
		p.b.WriteString(" ")
		p.space(t)
		quote := rapid.SampledFrom([]string{`"`, `'`}).Draw(t, "quote")
		p.b.WriteString(a.Name + rapid.SampledFrom([]string{"=", " = "}).Draw(t, "equals") + quote)
		p.text(t, a.Value)
		p.b.WriteString(quote)
	}
	p.space(t)
	if len(n.Children) == 0 && rapid.Bool().Draw(t, "empty tag") {
		p.b.WriteString("/>")
		return
	}
	p.b.WriteString(">")
	for _, c := range n.Children {
		p.space(t)
		p.node(t, c)
	}
	p.space(t)
	p.b.WriteString("</" + n.Name)
	p.space(t)
	p.b.WriteString(">")
}

// text escapes what must be, and now and then what need not be.
func (p *roughPrinter) text(t *rapid.T, s string) {
	escapeAll := rapid.Bool().Draw(t, "escape all")
	for _, r := range s {
		if escapeAll || strings.ContainsRune("<>&'\"\t\n\r", r) {
			fmt.Fprintf(&p.b, "&#x%X;", r)
		} else {
			p.b.WriteRune(r)
		}
	}
}

// meaning returns what encoding/xml reads, without white space that only sets
// elements apart.
func meaning(t interface{ Fatalf(string, ...any) }, doc string) []string {
	d := xml.NewDecoder(strings.NewReader(doc))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	var list []string
	text := ""
	flush := func() {
		if strings.Trim(text, " \t\r\n") != "" {
			list = append(list, fmt.Sprintf("text %q", strings.Trim(text, " \t\r\n")))
		}
		text = ""
	}
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("encoding/xml: %v in\n%s", err, doc)
		}
		if chars, ok := token.(xml.CharData); ok {
			text += string(chars)
			continue
		}
		flush()
		if inst, ok := token.(xml.ProcInst); ok && inst.Target == "xml" {
			continue
		}
		list = append(list, fmt.Sprintf("%T %s", token, token))
	}
}
