package xmlite

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Writer prints one document into memory, as UTF-8. The zero value is ready
// and prints everything on one line. An error sticks and comes from
// [Writer.Bytes].
type Writer struct {
	// Indent, when not empty, puts every element on a line of its own, set in
	// by that much a level. Elements that hold text stay on one line.
	Indent string
	// Newline ends a line; "\r\n" when empty.
	Newline string

	buf   []byte
	open  []opened
	inTag bool
	err   error
}

// opened is an element that waits for its end.
type opened struct {
	name string
	text bool // it holds text or stands in text, so white space would change it
}

// ErrUnprintable is found in the error of a Writer that was given a character
// which XML cannot hold.
var ErrUnprintable = errors.New("xml cannot hold it")

// Grow makes room for n more bytes.
func (w *Writer) Grow(n int) { w.buf = slices.Grow(w.buf, n) }

// Reset begins another document in the memory of the one before, whose bytes are
// lost.
func (w *Writer) Reset() { w.buf, w.open, w.inTag, w.err = w.buf[:0], w.open[:0], false, nil }

// Fail makes err the Writer's error unless it has one.
func (w *Writer) Fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Declare prints the XML declaration; encoding is what it says.
func (w *Writer) Declare(encoding string) {
	w.buf = append(w.buf, `<?xml version="1.0" encoding="`...)
	w.escape(encoding, true)
	w.buf = append(w.buf, `"?>`...)
}

// Start begins an element.
func (w *Writer) Start(name string) {
	w.closeTag()
	w.breakLine()
	w.buf = append(append(w.buf, '<'), name...)
	inText := len(w.open) > 0 && w.open[len(w.open)-1].text
	w.open = append(w.open, opened{name: name, text: inText})
	w.inTag = true
}

// Attr adds an attribute to the element just begun.
func (w *Writer) Attr(name, value string) {
	w.buf = append(append(append(w.buf, ' '), name...), `="`...)
	w.escape(value, true)
	w.buf = append(w.buf, '"')
}

// RawAttr adds attributes as they were written: one or several of name="value".
func (w *Writer) RawAttr(raw string) { w.buf = append(append(w.buf, ' '), raw...) }

// Text adds character data.
func (w *Writer) Text(s string) {
	if s == "" {
		return
	}
	w.closeTag()
	w.escape(s, false)
	if n := len(w.open); n > 0 {
		w.open[n-1].text = true
	}
}

// Comment adds a comment, which holds no -- and does not end in -.
func (w *Writer) Comment(s string) {
	if strings.Contains(s+"-", "--") {
		w.Fail(fmt.Errorf("comment %+q: %w", s, ErrUnprintable))
	}
	w.plain("<!--" + s + "-->")
}

// ProcInst adds a processing instruction, which holds no ?>.
func (w *Writer) ProcInst(target, s string) {
	if strings.Contains(s, "?>") {
		w.Fail(fmt.Errorf("instruction %+q: %w", s, ErrUnprintable))
	}
	if s != "" {
		s = " " + s
	}
	w.plain("<?" + target + s + "?>")
}

// plain prints what cannot be escaped.
func (w *Writer) plain(s string) {
	if badChar(s) >= 0 {
		w.Fail(fmt.Errorf("%+q: %w", s, ErrUnprintable))
	}
	w.Raw(s)
}

// Raw adds content as it was written.
func (w *Writer) Raw(raw string) {
	w.closeTag()
	w.breakLine()
	w.buf = append(w.buf, raw...)
}

// End ends the element begun last.
func (w *Writer) End() {
	last := w.open[len(w.open)-1]
	w.open = w.open[:len(w.open)-1]
	if w.inTag {
		w.inTag = false
		w.buf = append(w.buf, "/>"...)
	} else {
		if !last.text {
			w.breakLine()
		}
		w.buf = append(append(append(w.buf, "</"...), last.name...), '>')
	}
}

// Bytes returns the document so far.
func (w *Writer) Bytes() ([]byte, error) { return w.buf, w.err }

func (w *Writer) closeTag() {
	if w.inTag {
		w.inTag = false
		w.buf = append(w.buf, '>')
	}
}

func (w *Writer) breakLine() {
	n := len(w.open)
	if w.Indent == "" || len(w.buf) == 0 || n > 0 && w.open[n-1].text {
		return
	}
	if w.Newline == "" {
		w.buf = append(w.buf, "\r\n"...)
	} else {
		w.buf = append(w.buf, w.Newline...)
	}
	for range n {
		w.buf = append(w.buf, w.Indent...)
	}
}

// escape prints s so that it reads back as it is, line ends included.
func (w *Writer) escape(s string, attr bool) {
	from, i := 0, 0
	for i < len(s) && isPlain[s[i]] {
		i++
	}
	if i == len(s) { // as most are
		w.buf = append(w.buf, s...)
		return
	}
	for i < len(s) {
		n := 1
		if s[i] >= utf8.RuneSelf {
			_, n = utf8.DecodeRuneInString(s[i:])
		}
		if esc := escaped(s[i], attr); esc != "" {
			w.buf = append(append(w.buf, s[from:i]...), esc...)
			from = i + n
		}
		i += n
	}
	w.buf = append(w.buf, s[from:]...)
	if i := badChar(s); i >= 0 {
		w.Fail(fmt.Errorf("%+q: %w", s, ErrUnprintable))
	}
}

// isPlain are the bytes that are printed as they are, wherever they stand.
var isPlain = func() (t [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		t[c] = escaped(c, true) == ""
	}
	return t
}()

func escaped(c byte, attr bool) string {
	switch {
	case c > '>':
	case c == '&':
		return "&amp;"
	case c == '<':
		return "&lt;"
	case c == '>':
		return "&gt;"
	case c == '\r':
		return "&#13;"
	case !attr:
	case c == '"':
		return "&quot;"
	case c == '\n':
		return "&#10;"
	case c == '\t':
		return "&#9;"
	}
	return ""
}
