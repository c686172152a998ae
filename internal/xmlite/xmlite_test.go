package xmlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/internal/xmlite"
)

func ExampleParse() {
	config := xmlite.Encode([]byte(`<?xml version="1.0" encoding="UTF-16"?>
<configuration>
  <!-- of a machine -->
  <properties><name type="string">sql01</name></properties>
</configuration>`), xmlite.UTF16LEBOM)
	doc, err := xmlite.Parse(bytes.NewReader(config), xmlite.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	name := doc.Root.Child("properties").Child("name")
	fmt.Println(name.Content(), doc.Root.Child("nothing").Child("name").Content() == "")

	name.SetContent("sql02 & more")
	name.SetAttr("seen", "yes")
	w := xmlite.Writer{Indent: "  ", Newline: "\n"}
	doc.Write(&w)
	text, err := w.Bytes()
	fmt.Println(string(text), err)
	// Output:
	// sql01 true
	// <configuration>
	//   <!-- of a machine -->
	//   <properties>
	//     <name type="string" seen="yes">sql02 &amp; more</name>
	//   </properties>
	// </configuration> <nil>
}

func TestTree(t *testing.T) {
	doc, err := xmlite.Parse(strings.NewReader(`<?xml version="1.0"?><!--1--><a x="y"> <b> </b>t<?p q?><b> <c/> </b> </a><!--2--><!--3-->`), xmlite.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if doc.Declaration != `<?xml version="1.0"?>` || len(doc.Before) != 1 || len(doc.After) != 2 || doc.Root.Name != "a" || doc.Root.Offset != 29 {
		t.Errorf("%+v", doc)
	}
	if elements := doc.Root.Elements(); len(elements) != 2 || elements[0].Content() != " " || len(elements[1].Children) != 1 {
		t.Errorf("elements %+v", elements)
	}
	if doc.Root.Content() != "t" {
		t.Errorf("content %q", doc.Root.Content())
	}
	if v, ok := doc.Root.Attr("x"); !ok || v != "y" {
		t.Errorf("x is %q, %v", v, ok)
	}
	doc.Root.SetAttr("x", "z")
	var none *xmlite.Node
	if _, ok := none.Attr("x"); ok || none.Child("x") != nil || none.Elements() != nil || none.Content() != "" {
		t.Error("no node has something")
	}
	var w xmlite.Writer
	w.Declare("UTF-8")
	doc.Write(&w)
	want := `<?xml version="1.0" encoding="UTF-8"?><!--1--><a x="z"><b> </b>t<?p q?><b><c/></b></a><!--2--><!--3-->`
	if got, err := w.Bytes(); err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	if _, err := xmlite.Parse(strings.NewReader(`<a>`+strings.Repeat("<b/>", 1<<18)+`</a>`), xmlite.Limits{}); !errors.Is(err, xmlite.ErrLimit) {
		t.Errorf("a large tree: %v", err)
	}
}

func TestWriterIndents(t *testing.T) {
	w := xmlite.Writer{Indent: "\t"}
	w.Declare("UTF-16")
	w.Start("a")
	w.Attr("x", "1\r\n\t<>&\"'")
	w.Start("b")
	w.Text("1\r\n\t<>&\"'")
	w.Text("")
	w.End()
	w.Start("empty")
	w.End()
	w.Comment("c")
	w.ProcInst("p", "")
	w.Raw("<raw/>")
	w.Start("mixed")
	w.Text("t")
	w.Start("in")
	w.Start("deep")
	w.End()
	w.End()
	w.End()
	w.End()
	want := strings.ReplaceAll(`<?xml version="1.0" encoding="UTF-16"?>
<a x="1&#13;&#10;&#9;&lt;&gt;&amp;&quot;'">
	<b>1&#13;
	&lt;&gt;&amp;"'</b>
	<empty/>
	<!--c-->
	<?p?>
	<raw/>
	<mixed>t<in><deep/></in></mixed>
</a>`, "\n", "\r\n")
	want = strings.Replace(want, "1&#13;\r\n", "1&#13;\n", 1)
	if got, err := w.Bytes(); err != nil || string(got) != want {
		t.Errorf("%v:\n%s\nwant\n%s", err, got, want)
	}
}

func TestWriterRefuses(t *testing.T) {
	for _, s := range []string{"\x00", "a\x1fb", "\xff", "\uFFFF", "ok\xed\xb0\x80"} {
		for name, write := range map[string]func(w *xmlite.Writer){
			"attribute":   func(w *xmlite.Writer) { w.Attr("x", s) },
			"text":        func(w *xmlite.Writer) { w.Text(s) },
			"comment":     func(w *xmlite.Writer) { w.Comment(s) },
			"instruction": func(w *xmlite.Writer) { w.ProcInst("p", s) },
		} {
			var w xmlite.Writer
			w.Start("a")
			write(&w)
			w.Text("fine")
			w.End()
			if _, err := w.Bytes(); !errors.Is(err, xmlite.ErrUnprintable) {
				t.Errorf("%q as %s: %v", s, name, err)
			}
		}
	}
	for _, s := range []string{"--", "a--b", "a-"} {
		var w xmlite.Writer
		if w.Comment(s); !refused(&w) {
			t.Errorf("the comment %q is written", s)
		}
	}
	var w xmlite.Writer
	if w.ProcInst("p", "a?>b"); !refused(&w) {
		t.Error("an instruction that ends early is written")
	}
	errFirst := errors.New("first")
	w = xmlite.Writer{}
	w.Fail(errFirst)
	w.Fail(errors.New("second"))
	if _, err := w.Bytes(); err != errFirst {
		t.Errorf("the error is %v", err)
	}
}

func refused(w *xmlite.Writer) bool {
	_, err := w.Bytes()
	return errors.Is(err, xmlite.ErrUnprintable)
}

// TestValuesReadBack prints any text and reads it again, in every encoding.
func TestValuesReadBack(t *testing.T) {
	texts := rapid.StringOf(rapid.SampledFrom([]rune("ab <>&'\"\t\n\r]-?ä語\U0001F4BE\uFEFF\uD7FF\uE000")))
	rapid.Check(t, func(t *rapid.T) {
		attr, text := texts.Draw(t, "attribute"), texts.Draw(t, "text")
		w := xmlite.Writer{Indent: rapid.SampledFrom([]string{"", " "}).Draw(t, "indent")}
		w.Start("root")
		w.Start("leaf")
		w.Attr("x", attr)
		w.Text(text)
		w.End()
		w.End()
		printed, err := w.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []xmlite.Encoding{xmlite.UTF8, xmlite.UTF8BOM, xmlite.UTF16LE, xmlite.UTF16LEBOM} {
			doc, err := xmlite.Parse(bytes.NewReader(xmlite.Encode(printed, e)), xmlite.Limits{})
			if err != nil {
				t.Fatalf("%v in %q", err, printed)
			}
			leaf := doc.Root.Child("leaf")
			if got, _ := leaf.Attr("x"); got != attr || leaf.Content() != text {
				t.Fatalf("reads back as %q, %q", got, leaf.Content())
			}
		}
	})
}

func TestReadRecognizesEncodings(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"<a/>", "<a/>"},
		{"\xEF\xBB\xBF<a/>", "<a/>"},
		{"\xFF\xFE<\x00\xE4\x00", "<ä"},
		{"\xFE\xFF\x00<\x00\xE4", "<ä"},
		{"<\x00a\x00", "<a"},
		{"\x00<\x00a", "<a"},
		{"\n\x00<\x00", "\n<"},
		{"\xFF\xFE\x3D\xD8\xBE\xDC", "💾"},
		{"", ""}, {"\xFF\xFE", ""}, {"<", "<"}, {"\x00\x00", "\x00\x00"},
	} {
		if got, err := xmlite.Read(strings.NewReader(row.in), xmlite.Limits{}); err != nil || got != row.want {
			t.Errorf("%q reads as %q, %v", row.in, got, err)
		}
	}
	for _, in := range []string{"\xFF\xFEa", "\xFF\xFE\x3D\xD8", "\xFF\xFE\x3D\xD8a\x00", "\xFF\xFE\xBE\xDC\x3D\xD8", "\xFF\xFEa\x00\xBE\xDC"} {
		var syntax *xmlite.SyntaxError
		if got, err := xmlite.Read(strings.NewReader(in), xmlite.Limits{}); !errors.As(err, &syntax) {
			t.Errorf("%q reads as %q, %v", in, got, err)
		}
	}
}

func TestReadErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := xmlite.Parse(io.MultiReader(strings.NewReader("<a/>"), iotest.ErrReader(broken)), xmlite.Limits{}); !errors.Is(err, broken) {
		t.Errorf("a broken reader: %v", err)
	}
	for size, ok := range map[int64]bool{4: true, 3: false} {
		for _, r := range []io.Reader{strings.NewReader("<a/>"), iotest.OneByteReader(strings.NewReader("<a/>")), open(t, "a/b")} {
			if _, err := xmlite.Read(r, xmlite.Limits{Size: size}); (err == nil) != ok || err != nil && !errors.Is(err, xmlite.ErrLimit) {
				t.Errorf("at most %d bytes: %v", size, err)
			}
		}
	}
	if _, err := xmlite.Parse(strings.NewReader("<a></b>"), xmlite.Limits{}); err == nil {
		t.Error("a malformed text is parsed")
	}
	if _, err := xmlite.Read(open(t, "a"), xmlite.Limits{}); err == nil {
		t.Error("a directory is read")
	}
}

func open(t *testing.T, name string) fs.File {
	t.Helper()
	f, err := fstest.MapFS{"a/b": {Data: []byte("<a/>")}}.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A parser that has read other documents reads the next one as a new parser does.
func TestParserIsUsedAgain(t *testing.T) {
	texts := []string{
		`<a x="1"><b>t</b></a>`, `<a/>`, `<a>`, `<!--c--><a><b y="2" z="3"/> <c> </c>t</a>`,
		`<a>` + strings.Repeat(`<b x="1">t</b>`, 300) + `</a>`, `<a> <![CDATA[ ]]><b/></a>`, `<a> <![CDATA[ ]]></a>`, ` <a x=""/> `,
	}
	rapid.Check(t, func(t *rapid.T) {
		var p xmlite.Parser
		for _, text := range rapid.SliceOfN(rapid.SampledFrom(texts), 1, 6).Draw(t, "texts") {
			want, errWant := xmlite.ParseText(text, xmlite.Limits{})
			got, err := p.Parse(text, xmlite.Limits{})
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || (err == nil) != (errWant == nil) {
				t.Fatalf("%s: %v, want %v (-new +used):\n%s", text, err, errWant, diff)
			}
		}
	})
}
