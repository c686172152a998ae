package xmlite

import (
	"strconv"
	"strings"
)

// scanStart reads a start tag or an empty-element tag.
func (s *Scanner) scanStart() (Kind, error) {
	n := nameLen(s.src[s.at+1:])
	if n == 0 {
		return EOF, s.Errorf(s.at, "not a tag")
	}
	name := s.src[s.at+1 : s.at+1+n]
	if err := s.admit(name); err != nil {
		return EOF, err
	}
	s.at += 1 + n
	for {
		next := s.skipSpace(s.at)
		rest := s.src[next:]
		switch {
		case rest == "":
			return EOF, s.Errorf(s.start, "the tag <%s does not end", name)
		case rest[0] == '>':
			s.at = next + 1
		case strings.HasPrefix(rest, "/>"):
			s.at, s.closing = next+2, true
		case next == s.at:
			return EOF, s.Errorf(next, "white space is missing in <%s>", name)
		default:
			if err := s.scanAttr(next); err != nil {
				return EOF, err
			}
			continue
		}
		s.name, s.open, s.rooted = name, append(s.open, name), true
		return Start, nil
	}
}

// admit counts an element that is about to begin.
func (s *Scanner) admit(name string) error {
	s.elements++
	switch {
	case s.rooted && len(s.open) == 0:
		return s.Errorf(s.at, "<%s> is a second root element", name)
	case len(s.open) >= s.lim.Depth:
		return s.limitf("more than %d elements within each other", s.lim.Depth)
	case s.elements > s.lim.Elements:
		return s.limitf("more than %d elements", s.lim.Elements)
	}
	return nil
}

// scanAttr reads the attribute that begins at offset from.
func (s *Scanner) scanAttr(from int) error {
	n := nameLen(s.src[from:])
	if n == 0 {
		return s.Errorf(from, "not an attribute")
	}
	name := s.src[from : from+n]
	i := s.skipSpace(from + n)
	if i == len(s.src) || s.src[i] != '=' {
		return s.Errorf(from, "attribute %s has no value", name)
	}
	i = s.skipSpace(i + 1)
	if i == len(s.src) || s.src[i] != '"' && s.src[i] != '\'' {
		return s.Errorf(from, "attribute %s has no quoted value", name)
	}
	length := strings.IndexByte(s.src[i+1:], s.src[i])
	if length < 0 {
		return s.Errorf(from, "the value of attribute %s does not end", name)
	}
	raw := s.src[i+1 : i+1+length]
	if lt := strings.IndexByte(raw, '<'); lt >= 0 {
		return s.Errorf(i+1+lt, "< in the value of attribute %s", name)
	}
	value, err := s.resolve(raw, i+1, true)
	if err != nil {
		return err
	}
	s.at = i + length + 2
	return s.addAttr(Attr{Name: name, Value: value, Raw: s.src[from:s.at], Offset: from})
}

func (s *Scanner) addAttr(a Attr) error {
	if len(s.attrs) >= s.lim.Attrs {
		return s.limitf("more than %d attributes", s.lim.Attrs)
	}
	for i := range s.attrs {
		if s.attrs[i].Name == a.Name {
			return s.Errorf(a.Offset, "attribute %s stands twice", a.Name)
		}
	}
	s.attrs = append(s.attrs, a)
	return nil
}

// resolve replaces references, and normalizes line ends and, in attributes,
// other white space, as XML asks. It returns raw itself when there are none.
func (s *Scanner) resolve(raw string, offset int, attr bool) (string, error) {
	special := "&\r"
	if attr {
		special = "&\r\n\t"
	}
	i := strings.IndexAny(raw, special)
	if i < 0 {
		return raw, nil
	}
	if !attr && i == 0 && strings.HasPrefix(raw, "\r\n") && !strings.ContainsAny(raw[2:], special) {
		return raw[1:], nil // the white space before the next element, most often
	}
	var b strings.Builder
	b.Grow(len(raw))
	for at := 0; ; {
		b.WriteString(raw[at : at+i])
		at += i
		if at == len(raw) {
			return b.String(), nil
		}
		n := 1
		switch {
		case raw[at] == '&':
			r, length := reference(raw[at:])
			if length == 0 {
				return "", s.Errorf(offset+at, "not a reference to a character")
			}
			b.WriteRune(r)
			n = length
		case strings.HasPrefix(raw[at:], "\r\n"):
			b.WriteByte(pick(attr, ' ', '\n'))
			n = 2
		default:
			b.WriteByte(pick(attr, ' ', '\n'))
		}
		at += n
		if i = strings.IndexAny(raw[at:], special); i < 0 {
			i = len(raw) - at
		}
	}
}

func pick(first bool, a, b byte) byte {
	if first {
		return a
	}
	return b
}

// reference reads the reference that s begins with: the character and the
// length of the reference, 0 when it is none.
func reference(s string) (rune, int) {
	const longest = len("&#1114111;") + 6 // some leading zeros
	end := strings.IndexByte(s[:min(len(s), longest)], ';')
	if end < 0 {
		return 0, 0
	}
	switch body := s[1:end]; {
	case body == "amp":
		return '&', end + 1
	case body == "lt":
		return '<', end + 1
	case body == "gt":
		return '>', end + 1
	case body == "quot":
		return '"', end + 1
	case body == "apos":
		return '\'', end + 1
	case strings.HasPrefix(body, "#x"):
		return charRef(body[2:], 16, end+1)
	case strings.HasPrefix(body, "#"):
		return charRef(body[1:], 10, end+1)
	}
	return 0, 0
}

func charRef(digits string, base, length int) (rune, int) {
	n, err := strconv.ParseUint(digits, base, 31)
	if err != nil || !isChar(rune(n)) {
		return 0, 0
	}
	return rune(n), length
}

// newlines turns the line ends of Windows and of old into single line feeds.
func newlines(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// scanDeclaration passes over an XML declaration. Its encoding is not believed
// where the bytes say otherwise: real files are copied from UTF-16 to UTF-8 with
// the declaration left as it was. An encoding that is neither is refused unless
// the text is ASCII.
func (s *Scanner) scanDeclaration() {
	if !strings.HasPrefix(s.src, "<?xml") || len(s.src) == 5 || !isSpace(s.src[5]) {
		return
	}
	end := strings.Index(s.src, "?>")
	if end < 0 {
		s.err = s.Errorf(0, "the XML declaration does not end")
		return
	}
	s.at = 5
	order := [...]string{"version", "encoding", "standalone"}
	next := 0
	for i := s.skipSpace(5); i < end; i = s.skipSpace(s.at) {
		if i == s.at {
			s.err = s.Errorf(i, "white space is missing in the XML declaration")
			return
		}
		if s.err = s.scanAttr(i); s.err != nil {
			return
		}
		a := s.attrs[len(s.attrs)-1]
		for next < len(order) && order[next] != a.Name {
			next++
		}
		if next == len(order) || s.at > end || len(s.attrs) == 1 && a.Name != "version" {
			s.err = s.Errorf(i, "the XML declaration holds %s out of place", a.Name)
			return
		}
	}
	s.checkDeclaration()
	s.decl, s.at, s.attrs = s.src[:end+2], end+2, s.attrs[:0]
}

func (s *Scanner) checkDeclaration() {
	if version, _ := s.Attr("version"); version != "1.0" {
		s.err = s.Errorf(0, "the XML declaration does not say version 1.0")
	}
	encoding, ok := s.Attr("encoding")
	if !ok || known(encoding) {
		return
	}
	for i := range len(s.src) {
		if s.src[i] >= 0x80 {
			s.err = s.Errorf(0, "encoding %s is not supported", encoding)
			return
		}
	}
}

// known tells the encodings that need no look at the text: Read has recognized
// them.
func known(encoding string) bool {
	for _, name := range [...]string{"utf-8", "utf-16", "utf-16le", "utf-16be", "us-ascii"} {
		if strings.EqualFold(encoding, name) {
			return true
		}
	}
	return false
}
