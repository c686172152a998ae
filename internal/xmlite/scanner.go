package xmlite

import (
	"fmt"
	"slices"
	"strings"
)

// A Kind tells tokens apart, and the nodes of a tree.
type Kind uint8

// The tokens. An empty-element tag comes as Start and End, and a CDATA section
// as Text of its own.
const (
	EOF Kind = iota
	Start
	End
	Text
	Comment
	ProcInst // a processing instruction; the XML declaration is none
)

// An Attr is one attribute of a start tag.
type Attr struct {
	Name   string
	Value  string // references resolved, white space normalized
	Raw    string // name="value" as written
	Offset int
}

// A Scanner walks a text. Its strings are parts of that text wherever that is
// possible.
type Scanner struct {
	src      string
	lim      Limits
	at       int // the next byte
	start    int // where the present token begins
	err      error
	name     string
	text     string
	attrs    []Attr
	open     []string
	elements int
	closing  bool // the present start tag closes itself
	rooted   bool // the root was seen
	decl     string
}

// NewScanner makes a scanner for src, which has been through [Read]. What is
// wrong with src comes from [Scanner.Next].
func NewScanner(src string, lim Limits) *Scanner {
	s := new(Scanner)
	s.reset(src, lim)
	return s
}

// reset makes s a new scanner in the same memory.
func (s *Scanner) reset(src string, lim Limits) {
	*s = Scanner{src: src, lim: lim.withDefaults(), attrs: slices.Grow(s.attrs[:0], 8), open: slices.Grow(s.open[:0], 8)}
	if i := badChar(src); i >= 0 {
		s.err = s.Errorf(i, "not a character of XML")
		return
	}
	s.scanDeclaration()
}

// Name is the element's name at Start and End, and the target at ProcInst.
func (s *Scanner) Name() string { return s.name }

// Text is what a Text, Comment or ProcInst says, references resolved.
func (s *Scanner) Text() string { return s.text }

// Attrs are the attributes at Start, valid until the next call of Next.
func (s *Scanner) Attrs() []Attr { return s.attrs }

// Attr returns the value of one attribute at Start.
func (s *Scanner) Attr(name string) (string, bool) {
	for i := range s.attrs {
		if s.attrs[i].Name == name {
			return s.attrs[i].Value, true
		}
	}
	return "", false
}

// Declaration returns the XML declaration as written, or "".
func (s *Scanner) Declaration() string { return s.decl }

// Offset is where the present token begins, in bytes from the start.
func (s *Scanner) Offset() int { return s.start }

// EndOffset is where the present token ends.
func (s *Scanner) EndOffset() int { return s.at }

// Slice returns the text between two offsets as written.
func (s *Scanner) Slice(from, to int) string { return s.src[from:to] }

// Blank tells whether the present Text is white space alone.
func (s *Scanner) Blank() bool { return blank(s.text) }

// Errorf makes a [SyntaxError] at an offset; callers use it for what is wrong
// with a document above its syntax.
func (s *Scanner) Errorf(offset int, format string, args ...any) error {
	line, column := Position(s.src, offset)
	return &SyntaxError{Line: line, Column: column, Msg: fmt.Sprintf(format, args...)}
}

func (s *Scanner) limitf(format string, args ...any) error {
	err := s.Errorf(s.start, format, args...)
	err.(*SyntaxError).Err = ErrLimit
	return err
}

// Next steps to the next token. After an error it returns that error for good;
// after EOF, EOF.
func (s *Scanner) Next() (Kind, error) {
	if s.err != nil {
		return EOF, s.err
	}
	kind, err := s.next()
	s.err = err
	return kind, err
}

func (s *Scanner) next() (Kind, error) {
	s.attrs = s.attrs[:0]
	if s.closing {
		s.closing = false
		return s.pop(), nil
	}
	s.start = s.at
	if s.at == len(s.src) {
		return EOF, s.atEnd()
	}
	rest := s.src[s.at:]
	switch {
	case rest[0] != '<':
		return s.scanText(rest)
	case strings.HasPrefix(rest, "</"):
		return s.scanEnd(rest)
	case strings.HasPrefix(rest, "<!--"):
		return s.scanComment(rest)
	case strings.HasPrefix(rest, "<![CDATA["):
		return s.scanCDATA(rest)
	case strings.HasPrefix(rest, "<?"):
		return s.scanProcInst(rest)
	case strings.HasPrefix(rest, "<!"):
		return EOF, s.Errorf(s.at, "a document type is not accepted")
	}
	return s.scanStart()
}

func (s *Scanner) atEnd() error {
	if len(s.open) > 0 {
		return s.Errorf(s.at, "the text ends inside <%s>", s.open[len(s.open)-1])
	}
	if !s.rooted {
		return s.Errorf(s.at, "no element")
	}
	return nil
}

func (s *Scanner) pop() Kind {
	s.name = s.open[len(s.open)-1]
	s.open = s.open[:len(s.open)-1]
	return End
}

// Skip passes over the element whose Start was just returned, and returns it
// as written. The next token is the one behind it.
func (s *Scanner) Skip() (string, error) {
	from := s.start
	for depth := 1; depth > 0; {
		kind, err := s.Next()
		if err != nil {
			return "", err
		}
		switch kind {
		case Start:
			depth++
		case End:
			depth--
		}
	}
	return s.src[from:s.at], nil
}

func (s *Scanner) scanText(rest string) (Kind, error) {
	n := strings.IndexByte(rest, '<')
	if n < 0 {
		n = len(rest)
	}
	raw := rest[:n]
	if len(s.open) == 0 && !blank(raw) {
		return EOF, s.Errorf(s.at, "text outside the root element")
	}
	if i := strings.Index(raw, "]]>"); i >= 0 {
		return EOF, s.Errorf(s.at+i, "]]> in text")
	}
	text, err := s.resolve(raw, s.at, false)
	s.text, s.at = text, s.at+n
	return Text, err
}

func (s *Scanner) scanCDATA(rest string) (Kind, error) {
	const opener = len("<![CDATA[")
	n := strings.Index(rest, "]]>")
	if n < 0 {
		return EOF, s.Errorf(s.at, "a CDATA section does not end")
	}
	if len(s.open) == 0 {
		return EOF, s.Errorf(s.at, "text outside the root element")
	}
	s.text = newlines(rest[opener:n])
	s.at += n + len("]]>")
	return Text, nil
}

func (s *Scanner) scanComment(rest string) (Kind, error) {
	const opener = len("<!--")
	n := strings.Index(rest[opener:], "--")
	if n < 0 {
		return EOF, s.Errorf(s.at, "a comment does not end")
	}
	if !strings.HasPrefix(rest[opener+n:], "-->") {
		return EOF, s.Errorf(s.at+opener+n, "-- in a comment")
	}
	s.text = newlines(rest[opener : opener+n])
	s.at += opener + n + len("-->")
	return Comment, nil
}

func (s *Scanner) scanProcInst(rest string) (Kind, error) {
	const opener = len("<?")
	n := strings.Index(rest[opener:], "?>")
	if n < 0 {
		return EOF, s.Errorf(s.at, "a processing instruction does not end")
	}
	body := rest[opener : opener+n]
	target := body[:nameLen(body)]
	data := body[len(target):]
	if target == "" || strings.EqualFold(target, "xml") || data != "" && !isSpace(data[0]) {
		return EOF, s.Errorf(s.at, "not a processing instruction")
	}
	s.name, s.text = target, newlines(strings.TrimLeft(data, " \t\r\n"))
	s.at += opener + n + len("?>")
	return ProcInst, nil
}

func (s *Scanner) scanEnd(rest string) (Kind, error) {
	n := nameLen(rest[2:])
	name := rest[2 : 2+n]
	s.at = s.skipSpace(s.at + 2 + n)
	if n == 0 || s.at == len(s.src) || s.src[s.at] != '>' {
		return EOF, s.Errorf(s.start, "not an end tag")
	}
	s.at++
	if len(s.open) == 0 || s.open[len(s.open)-1] != name {
		return EOF, s.Errorf(s.start, "</%s> closes nothing", name)
	}
	return s.pop(), nil
}

func (s *Scanner) skipSpace(i int) int {
	for i < len(s.src) && isSpace(s.src[i]) {
		i++
	}
	return i
}
