package vss

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// An attribute describes one attribute of the elements that stand for a T.
type attribute[T any] struct {
	name     string
	required bool   // an element without it is not valid
	always   bool   // it is written even where it says what its absence says
	absent   string // what its absence says
	text     func(*T) string
	set      func(*T, string) error
}

// need makes the attribute one that every element has.
func (a attribute[T]) need() attribute[T] {
	a.required, a.always = true, true
	return a
}

// spell makes the attribute one that is written at its default, too.
func (a attribute[T]) spell() attribute[T] {
	a.always = true
	return a
}

// written returns the attribute's text and whether it is written.
func (a *attribute[T]) written(t *T) (string, bool) {
	text := a.text(t)
	return text, a.always || text != a.absent
}

// textAttr is a string; an empty one is left out.
func textAttr[T any](name string, field func(*T) *string) attribute[T] {
	return attribute[T]{name: name,
		text: func(t *T) string { return *field(t) },
		set:  func(t *T, s string) error { *field(t) = s; return nil },
	}
}

// constAttr always says the same; what else a document says there is let be.
func constAttr[T any](name, value string) attribute[T] {
	return attribute[T]{name: name, always: true,
		text: func(*T) string { return value },
		set:  func(*T, string) error { return nil },
	}
}

// boolAttr is yes or no.
func boolAttr[T any](name string, field func(*T) *bool) attribute[T] {
	return attribute[T]{name: name, absent: "no",
		text: func(t *T) string {
			if *field(t) {
				return "yes"
			}
			return "no"
		},
		set: func(t *T, s string) error {
			if s != "yes" && s != "no" {
				return fmt.Errorf("%q is neither yes nor no", s)
			}
			*field(t) = s == "yes"
			return nil
		},
	}
}

// enumAttr is a word for one of the values of an enumeration. A word that is not
// known stands for the undefined value 0 and is kept: not all words of real
// documents are known.
func enumAttr[T any, E ~int32](name string, words *enumeration, field func(*T) *E) attribute[T] {
	return attribute[T]{name: name, absent: words.token(0),
		text: func(t *T) string { return words.token(int64(*field(t))) },
		set: func(t *T, s string) error {
			n, _ := words.parse(s)
			*field(t) = E(n)
			return nil
		},
	}
}

// uintAttr is a decimal number.
func uintAttr[T any, N ~uint32 | ~uint64](name string, field func(*T) *N) attribute[T] {
	return attribute[T]{name: name, absent: "0",
		text: func(t *T) string { return strconv.FormatUint(uint64(*field(t)), 10) },
		set: func(t *T, s string) error {
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil || uint64(N(n)) != n {
				return fmt.Errorf("%q is not a number", s)
			}
			*field(t) = N(n)
			return nil
		},
	}
}

// codeAttr is a result code in hexadecimal.
func codeAttr[T any](name string, field func(*T) *HRESULT) attribute[T] {
	return attribute[T]{name: name, absent: "0x00000000",
		text: func(t *T) string { return fmt.Sprintf("0x%08X", uint32(*field(t))) },
		set: func(t *T, s string) error {
			n, ok := parseNumber(s)
			if !ok {
				return fmt.Errorf("%q is not a result code", s)
			}
			*field(t) = n
			return nil
		},
	}
}

// guidAttr is a GUID without braces; a null one is left out.
func guidAttr[T any](name string, field func(*T) *guid.GUID) attribute[T] {
	return attribute[T]{name: name, absent: guid.String(guid.GUID{}),
		text: func(t *T) string { return guid.String(*field(t)) },
		set: func(t *T, s string) (err error) {
			*field(t), err = guid.Parse(s)
			return err
		},
	}
}

// bytesAttr is base64; white space in it is passed over.
func bytesAttr[T any](name string, field func(*T) *[]byte) attribute[T] {
	return attribute[T]{name: name,
		text: func(t *T) string { return base64.StdEncoding.EncodeToString(*field(t)) },
		set: func(t *T, s string) (err error) {
			*field(t), err = base64.StdEncoding.DecodeString(strings.ReplaceAll(s, " ", ""))
			return err
		},
	}
}

// readAttrs sets the fields from the attributes of the present start tag, and
// returns them as found if they are not as they would be written.
func (e *element[T]) readAttrs(d *decoder, t *T) ([]keptAttr, error) {
	var seen uint64
	for _, a := range d.s.Attrs() {
		i := e.attrIndex(a.Name)
		if i < 0 {
			continue
		}
		seen |= 1 << i
		if err := e.attrs[i].set(t, a.Value); err != nil {
			return nil, d.s.Errorf(a.Offset, "attribute %s of %s: %v", a.Name, d.s.Name(), err)
		}
	}
	for i := range e.attrs {
		if e.attrs[i].required && seen>>i&1 == 0 {
			return nil, d.s.Errorf(d.s.Offset(), "%s without attribute %s", d.s.Name(), e.attrs[i].name)
		}
	}
	if e.canonical(d.s.Attrs(), t) {
		return nil, nil
	}
	return e.keepAttrs(d, t), nil
}

func (e *element[T]) attrIndex(name string) int {
	for i := range e.attrs {
		if e.attrs[i].name == name {
			return i
		}
	}
	return -1
}

// canonical tells whether t would be written with just these attributes.
func (e *element[T]) canonical(attrs []xmlite.Attr, t *T) bool {
	n := 0
	for i := range e.attrs {
		text, written := e.attrs[i].written(t)
		if !written {
			continue
		}
		if n == len(attrs) || attrs[n].Name != e.attrs[i].name || attrs[n].Value != text {
			return false
		}
		n++
	}
	return n == len(attrs)
}

// keepAttrs notes the attributes as found; neighbours that are not known
// become one entry.
func (e *element[T]) keepAttrs(d *decoder, t *T) []keptAttr {
	attrs := d.s.Attrs()
	kept := make([]keptAttr, 0, len(attrs))
	start := 0 // of the last entry
	for _, a := range attrs {
		i := e.attrIndex(a.Name)
		if last := len(kept) - 1; i < 0 && last >= 0 && kept[last].at < 0 {
			kept[last].raw = d.s.Slice(start, a.Offset+len(a.Raw))
			continue
		}
		start = a.Offset
		k := keptAttr{at: i, raw: a.Raw}
		if i >= 0 {
			k.canon = e.attrs[i].text(t)
		}
		kept = append(kept, k)
	}
	return kept
}

// writeAttrs prints the attributes as they were found where they still say the
// same, and the others behind them.
func (e *element[T]) writeAttrs(w *xmlite.Writer, t *T) {
	var done uint64
	if x := *e.extra(t); x != nil {
		for _, k := range x.attrs {
			if k.at < 0 {
				w.RawAttr(k.raw)
				continue
			}
			done |= 1 << k.at
			a := &e.attrs[k.at]
			if text, written := a.written(t); text == k.canon {
				w.RawAttr(k.raw)
			} else if written {
				w.Attr(a.name, text)
			}
		}
	}
	for i := range e.attrs {
		a := &e.attrs[i]
		if text, written := a.written(t); written && done>>i&1 == 0 {
			w.Attr(a.name, text)
		}
	}
}
