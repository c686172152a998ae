package xmlite_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// tokens lists what a scanner finds: <name a="b">, </name>, text, <!--…-->, <?…?>.
func tokens(src string, lim xmlite.Limits) ([]string, error) {
	s := xmlite.NewScanner(src, lim)
	var list []string
	for {
		kind, err := s.Next()
		if err != nil {
			return list, err
		}
		switch kind {
		case xmlite.EOF:
			return list, nil
		case xmlite.Start:
			tag := "<" + s.Name()
			for _, a := range s.Attrs() {
				tag += fmt.Sprintf(" %s=%q", a.Name, a.Value)
			}
			list = append(list, tag+">")
		case xmlite.End:
			list = append(list, "</"+s.Name()+">")
		case xmlite.Text:
			list = append(list, s.Text())
		case xmlite.Comment:
			list = append(list, "<!--"+s.Text()+"-->")
		case xmlite.ProcInst:
			list = append(list, "<?"+s.Name()+" "+s.Text()+"?>")
		}
	}
}

func TestTokens(t *testing.T) {
	for _, row := range []struct {
		text string
		want []string
	}{
		{`<a/>`, []string{"<a>", "</a>"}},
		{"<a ></a\n>", []string{"<a>", "</a>"}},
		{` <a.b-c:d_1 x = 'y"' z="'"/> `, []string{" ", `<a.b-c:d_1 x="y\"" z="'">`, "</a.b-c:d_1>", " "}},
		{`<a>b<c/>d</a>`, []string{"<a>", "b", "<c>", "</c>", "d", "</a>"}},
		{`<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#x1F4BE;&#000067;</a>`, []string{"<a>", `<>&"'AB💾C`, "</a>"}},
		{"<a>1\r\n2\r3\n4&#13;</a>", []string{"<a>", "1\n2\n3\n4\r", "</a>"}},
		{"<a b='1\r\n2\r3\n4\t5&#10;&#9;'/>", []string{`<a b="1 2 3 4 5\n\t">`, "</a>"}},
		{`<a><![CDATA[<b>&amp;]]]]><![CDATA[>]]></a>`, []string{"<a>", "<b>&amp;]]", ">", "</a>"}},
		{`<!-- - --><a><!----></a><?p?><?q  r ?>`, []string{"<!-- - -->", "<a>", "<!---->", "</a>", "<?p ?>", "<?q r ?>"}},
		{`<?xml version="1.0"?><a/>`, []string{"<a>", "</a>"}},
		{`<?xml version='1.0' encoding="UTF-16" standalone='no' ?><ä·/>`, []string{"<ä·>", "</ä·>"}},
		{`<?xml version='1.0' encoding="latin1"?><a/>`, []string{"<a>", "</a>"}},
		{`<?xml-stylesheet x?><a/>`, []string{"<?xml-stylesheet x?>", "<a>", "</a>"}},
		{"<語\u00D7/>", nil}, {"<語·‿/>", []string{"<語·‿>", "</語·‿>"}},
		{"<a>\uFEFF\u0085\u2028</a>", []string{"<a>", "\uFEFF\u0085\u2028", "</a>"}},
	} {
		got, err := tokens(row.text, xmlite.Limits{})
		if row.want == nil {
			if err == nil {
				t.Errorf("%s is accepted: %q", row.text, got)
			}
			continue
		}
		if diff := cmp.Diff(row.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", row.text, err, diff)
		}
	}
}

// malformed are texts with the place where they go wrong.
var malformed = []struct{ text, at, says string }{
	{"", "1:1", "no element"},
	{" \n ", "2:2", "no element"},
	{"text", "1:1", "outside"},
	{"<a/>text", "1:5", "outside"},
	{"<![CDATA[x]]><a/>", "1:1", "outside"},
	{"<a/><b/>", "1:5", "second root"},
	{"<a>", "1:4", "ends inside <a>"},
	{"<a></b>", "1:4", "closes nothing"},
	{"</a>", "1:1", "closes nothing"},
	{"<a></a", "1:4", "not an end tag"},
	{"<a></ a>", "1:4", "not an end tag"},
	{"<a></a x>", "1:4", "not an end tag"},
	{"<", "1:1", "not a tag"},
	{"< a/>", "1:1", "not a tag"},
	{"<1/>", "1:1", "not a tag"},
	{"<-a/>", "1:1", "not a tag"},
	{"<·/>", "1:1", "not a tag"},
	{"<a", "1:1", "does not end"},
	{"<a /", "1:4", "not an attribute"},
	{"<a b", "1:4", "no value"},
	{"<a b=", "1:4", "no quoted value"},
	{"<a b=c/>", "1:4", "no quoted value"},
	{"<a b='c/>", "1:4", "does not end"},
	{"<a b='1'c='2'/>", "1:9", "white space is missing"},
	{"<a b='1' b='2'/>", "1:10", "twice"},
	{"<a b='<'/>", "1:7", "< in the value"},
	{"<a b='&x;'/>", "1:7", "reference"},
	{"<a>&</a>", "1:4", "reference"},
	{"<a>&;</a>", "1:4", "reference"},
	{"<a>&amp</a>", "1:4", "reference"},
	{"<a>&#0;</a>", "1:4", "reference"},
	{"<a>&#xD800;</a>", "1:4", "reference"},
	{"<a>&#x110000;</a>", "1:4", "reference"},
	{"<a>&#xFFFFFFFFFFFFFFFFF;</a>", "1:4", "reference"},
	{"<a>&#-1;</a>", "1:4", "reference"},
	{"<a>&#x;</a>", "1:4", "reference"},
	{"<a>&nbsp;</a>", "1:4", "reference"},
	{"<a>]]></a>", "1:4", "]]>"},
	{"<a><![CDATA[</a>", "1:4", "CDATA section does not end"},
	{"<a><!-- </a>", "1:4", "comment does not end"},
	{"<a><!-- -- --></a>", "1:9", "-- in a comment"},
	{"<a><!--></a>", "1:4", "comment does not end"},
	{"<a><? x?></a>", "1:4", "not a processing instruction"},
	{"<?>", "1:1", "does not end"},
	{"<??><a/>", "1:1", "not a processing instruction"},
	{"<a><?x", "1:4", "does not end"},
	{"<a><?x:?></a>", "", ""},
	{"<a><?x+?></a>", "1:4", "not a processing instruction"},
	{"<a><?XML x?></a>", "1:4", "not a processing instruction"},
	{" <?xml version='1.0'?><a/>", "1:2", "not a processing instruction"},
	{"<?xml?><a/>", "1:1", "not a processing instruction"},
	{"<?xml ?><a/>", "1:1", "version 1.0"},
	{"<?xml version='1.1'?><a/>", "1:1", "version 1.0"},
	{"<?xml version='1.0'", "1:1", "does not end"},
	{"<?xml encoding='utf-8'?><a/>", "1:7", "out of place"},
	{"<?xml version='1.0' standalone='no' encoding='utf-8'?><a/>", "1:37", "out of place"},
	{"<?xml version='1.0' x='y'?><a/>", "1:21", "out of place"},
	{"<?xml version='1.0'encoding='utf-8'?><a/>", "1:20", "white space"},
	{"<?xml version='?>'?><a/>", "1:7", "out of place"},
	{"<?xml version?><a/>", "1:7", "no value"},
	{"<?xml version='1.0' encoding='latin1'?><a>ä</a>", "1:1", "not supported"},
	{"<!DOCTYPE a><a/>", "1:1", "document type"},
	{"<a><!ELEMENT a></a>", "1:4", "document type"},
	{"<a>\x00</a>", "1:4", "not a character"},
	{"<a>\x0b</a>", "1:4", "not a character"},
	{"<a>\n\xff</a>", "2:1", "not a character"},
	{"<a>ä\uFFFE</a>", "1:5", "not a character"},
	{"<a>\xed\xa0\x80</a>", "1:4", "not a character"},
	{"<a\x00/>", "1:3", "not a character"},
}

func TestMalformedTexts(t *testing.T) {
	for _, row := range malformed {
		got, err := tokens(row.text, xmlite.Limits{})
		if row.says == "" {
			if err != nil {
				t.Errorf("%q: %v", row.text, err)
			}
			continue
		}
		var syntax *xmlite.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%q: %q, %v", row.text, got, err)
			continue
		}
		if at := fmt.Sprintf("%d:%d", syntax.Line, syntax.Column); at != row.at || !strings.Contains(syntax.Msg, row.says) {
			t.Errorf("%q: %v, want %q at %s", row.text, err, row.says, row.at)
		}
	}
}

func TestErrorsStick(t *testing.T) {
	s := xmlite.NewScanner("<a></b><c/>", xmlite.Limits{})
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	_, first := s.Next()
	_, second := s.Next()
	if first == nil || first != second {
		t.Errorf("%v, then %v", first, second)
	}
	s = xmlite.NewScanner("<a/>", xmlite.Limits{})
	for range 2 {
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if kind, err := s.Next(); kind != xmlite.EOF || err != nil {
			t.Errorf("behind the end: %v, %v", kind, err)
		}
	}
}

func TestSkipReturnsWhatWasWritten(t *testing.T) {
	const inner = `<b x = '1'><!-- </b> --><b/>&lt;<![CDATA[</b>]]></b >`
	s := xmlite.NewScanner("<a>"+inner+"<c/></a>", xmlite.Limits{})
	for _, want := range []string{inner, "<c/>"} {
		for {
			if kind, err := s.Next(); err != nil {
				t.Fatal(err)
			} else if kind == xmlite.Start && s.Name() != "a" {
				break
			}
		}
		if got, err := s.Skip(); err != nil || got != want {
			t.Errorf("skips %q, %v; want %q", got, err, want)
		}
	}
	if kind, err := s.Next(); kind != xmlite.End || s.Name() != "a" || err != nil {
		t.Errorf("behind it stands %v %s, %v", kind, s.Name(), err)
	}
	s = xmlite.NewScanner("<a><b>", xmlite.Limits{})
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	if raw, err := s.Skip(); err == nil {
		t.Errorf("skips %q, which does not end", raw)
	}
}

func TestLimits(t *testing.T) {
	for _, row := range []struct {
		lim  xmlite.Limits
		text string
		ok   bool
	}{
		{xmlite.Limits{Depth: 3}, "<a><a><a/></a><a/></a>", true},
		{xmlite.Limits{Depth: 2}, "<a><a><a/></a><a/></a>", false},
		{xmlite.Limits{Elements: 3}, "<a><a/><a/></a>", true},
		{xmlite.Limits{Elements: 2}, "<a><a/><a/></a>", false},
		{xmlite.Limits{Attrs: 2}, "<a b='' c=''><d e='' f=''/></a>", true},
		{xmlite.Limits{Attrs: 1}, "<a b='' c=''/>", false},
		{xmlite.Limits{}, strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100), true},
		{xmlite.Limits{}, strings.Repeat("<a>", 101) + strings.Repeat("</a>", 101), false},
	} {
		_, err := tokens(row.text, row.lim)
		if (err == nil) != row.ok || err != nil && !errors.Is(err, xmlite.ErrLimit) {
			t.Errorf("%+v %s: %v", row.lim, row.text, err)
		}
	}
}

// FuzzScanner compares the scanner with encoding/xml: what it accepts, that one
// accepts and reads the same way.
func FuzzScanner(f *testing.F) {
	for _, row := range malformed {
		f.Add(row.text)
	}
	f.Add(`<?xml version="1.0"?><a b='&amp;&#65;'>t<!-- c --><?p i?><![CDATA[x]]><d/></a>`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := tokens(text, xmlite.Limits{})
		if err != nil {
			return
		}
		want, err := standardTokens(text)
		if err != nil && strings.Contains(err.Error(), "name") {
			return // it knows the names of an older edition of XML
		}
		if err != nil {
			t.Fatalf("encoding/xml: %v", err)
		}
		if diff := cmp.Diff(want, joined(got)); diff != "" {
			t.Fatalf("differs (-encoding/xml +xmlite):\n%s", diff)
		}
		writeAndReadBack(t, text)
	})
}

// standardTokens is tokens by encoding/xml, in the form that joined makes.
func standardTokens(text string) ([]string, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	var list []string
	name := func(n xml.Name) string {
		if n.Space != "" {
			return n.Space + ":" + n.Local
		}
		return n.Local
	}
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			return joined(list), nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			tag := "<" + name(token.Name)
			for _, a := range token.Attr {
				tag += fmt.Sprintf(" %s=%q", name(a.Name), a.Value)
			}
			list = append(list, tag+">")
		case xml.EndElement:
			list = append(list, "</"+name(token.Name)+">")
		case xml.CharData:
			list = append(list, string(token))
		case xml.Comment:
			list = append(list, "<!--"+string(token)+"-->")
		case xml.ProcInst:
			if token.Target != "xml" {
				list = append(list, "<?"+token.Target+" "+string(token.Inst)+"?>")
			}
		}
	}
}

// joined joins neighbouring text, and drops what the two are known to see
// differently: line ends in comments and instructions, and white space in
// attribute values, which encoding/xml does not normalize.
func joined(list []string) []string {
	var out []string
	text := ""
	flush := func() {
		if text != "" {
			out = append(out, "text "+strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n"))
			text = ""
		}
	}
	space := strings.NewReplacer(`\r\n`, " ", `\r`, " ", `\n`, " ", `\t`, " ", "\r\n", " ", "\r", " ", "\n", " ", "\t", " ")
	for _, token := range list {
		if !strings.HasPrefix(token, "<") || len(token) < 3 || !strings.HasSuffix(token, ">") {
			text += token
			continue
		}
		flush()
		out = append(out, space.Replace(token))
	}
	flush()
	return out
}

// writeAndReadBack prints a tree and expects the same tree from what it printed.
func writeAndReadBack(t *testing.T, text string) {
	doc, err := xmlite.Parse(strings.NewReader(text), xmlite.Limits{})
	if err != nil {
		return // a text that begins like another encoding
	}
	var w xmlite.Writer
	doc.Write(&w)
	printed, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	back, err := xmlite.Parse(bytes.NewReader(printed), xmlite.Limits{})
	if err != nil {
		t.Fatalf("%v in\n%q", err, printed)
	}
	var again xmlite.Writer
	back.Write(&again)
	if b, err := again.Bytes(); err != nil || !bytes.Equal(b, printed) {
		t.Fatalf("%v: printed as\n%q\nand then as\n%q", err, printed, b)
	}
}

func BenchmarkScanner(b *testing.B) {
	text := "<a>" + strings.Repeat(`<FILE_LIST path="C:\Windows\WinSxS\amd64_package" filespec="file.dll" recursive="yes" filespecBackupType="3855"/>`, 20_000) + "</a>"
	b.Run("xmlite", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			s := xmlite.NewScanner(text, xmlite.Limits{})
			for kind, err := s.Next(); kind != xmlite.EOF; kind, err = s.Next() {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("encoding-xml", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			d := xml.NewDecoder(strings.NewReader(text))
			for _, err := d.RawToken(); err != io.EOF; _, err = d.RawToken() {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
