// Package sddl asks security descriptors in words who may do what, and adds an
// entry to them ("Security Descriptor Definition Language", "ACE Strings"). It
// knows the entries that allow and deny; others, as those of audits, it leaves
// alone.
package sddl

import (
	"errors"
	"strconv"
	"strings"
)

// A Mask is a set of rights to a file.
type Mask uint32

// The rights that a file may be opened with.
const (
	Read  Mask = 0x120089
	Write Mask = 0x120116
	All   Mask = 0x1F01FF
)

// ErrMalformed is a text that is no security descriptor.
var ErrMalformed = errors.New("no security descriptor")

// A dacl is the part of a descriptor that says who may do what.
type dacl struct {
	flags string
	aces  []string // without their parentheses
	at    []int    // where each stands in the text
	end   int      // where the next would stand
	there bool
}

// parse finds the part in a descriptor.
func parse(text string) (dacl, error) {
	d := dacl{end: len(text)}
	for at := 0; at < len(text); {
		if len(text)-at < 2 || text[at+1] != ':' || !strings.Contains("OGDS", text[at:at+1]) {
			return d, ErrMalformed
		}
		n, err := section(text[at+2:])
		if err != nil {
			return d, err
		}
		body := text[at+2 : at+2+n]
		switch text[at] {
		case 'D':
			if d.there {
				return d, ErrMalformed
			}
			if err := d.fill(body, at+2); err != nil {
				return d, err
			}
		case 'S':
			if !d.there {
				d.end = min(d.end, at)
			}
		}
		at += 2 + n
	}
	return d, nil
}

// section is how long the body of a part is: up to the letter of the next.
func section(text string) (int, error) {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ':':
			if depth == 0 && i == 0 {
				return 0, ErrMalformed
			}
			if depth == 0 {
				return i - 1, nil
			}
		}
		if depth < 0 {
			return 0, ErrMalformed
		}
	}
	if depth != 0 {
		return 0, ErrMalformed
	}
	return len(text), nil
}

// fill takes the body apart, which begins at a place in the text.
func (d *dacl) fill(body string, begin int) error {
	d.there, d.end = true, begin+len(body)
	i := strings.IndexByte(body, '(')
	if i < 0 {
		d.flags = body
		return nil
	}
	d.flags = body[:i]
	depth, from := 0, i
	for ; i < len(body); i++ {
		switch body[i] {
		case '(':
			if depth++; depth == 1 {
				from = i
			}
		case ')':
			if depth--; depth == 0 {
				d.aces, d.at = append(d.aces, body[from+1:i]), append(d.at, begin+from)
			}
		default:
			if depth == 0 {
				return ErrMalformed
			}
		}
	}
	return nil
}

// An entry is an entry that allows or denies.
type entry struct {
	deny    bool
	flags   string
	rights  Mask
	account string
}

// read reads an entry; ok is false for one of another kind.
func read(ace string) (e entry, ok bool) {
	f := strings.Split(ace, ";")
	if len(f) != 6 || f[0] != "A" && f[0] != "D" || f[3] != "" {
		return e, false
	}
	e.deny, e.flags, e.account = f[0] == "D", f[1], f[5]
	e.rights, ok = rights(f[2])
	return e, ok
}

// has tells whether an entry has a flag, which are pairs of letters.
func (e entry) has(flag string) bool {
	for i := 0; i+2 <= len(e.flags); i += 2 {
		if e.flags[i:i+2] == flag {
			return true
		}
	}
	return false
}

var letters = map[string]Mask{
	"GA": All, "GR": Read, "GW": Write, "GX": 0x1200A0,
	"FA": All, "FR": Read, "FW": Write, "FX": 0x1200A0,
	"RC": 0x20000, "SD": 0x10000, "WD": 0x40000, "WO": 0x80000,
	"CC": 0x1, "DC": 0x2, "LC": 0x4, "SW": 0x8, "RP": 0x10, "WP": 0x20, "DT": 0x40, "LO": 0x80, "CR": 0x100,
}

// rights reads a mask: a number, or pairs of letters.
func rights(text string) (m Mask, ok bool) {
	if strings.HasPrefix(text, "0x") || text != "" && text[0] >= '0' && text[0] <= '9' {
		n, err := strconv.ParseUint(text, 0, 32)
		return Mask(n), err == nil
	}
	for ; len(text) >= 2; text = text[2:] {
		bit, known := letters[text[:2]]
		if !known {
			return 0, false
		}
		m |= bit
	}
	return m, text == ""
}

// A Question is whether accounts may do something, asked of one descriptor after
// another: the file's, and those of the folders above it, the nearest first. The
// first entry that speaks of a right counts.
type Question struct {
	Accounts []string // one token: the account and the groups it is in
	missing  Mask
	denied   bool
	above    int // folders between the file and the descriptor that is asked
	over     bool
}

// Ask begins a question.
func Ask(want Mask, accounts ...string) *Question {
	return &Question{Accounts: accounts, missing: want}
}

// Put asks a descriptor, and then waits for that of the folder above. A text that is
// none says nothing, and nor does "".
func (q *Question) Put(text string) *Question {
	d, err := parse(text)
	if !q.Settled() && err == nil {
		if q.above == 0 && strings.Contains(d.flags, "NO_ACCESS_CONTROL") {
			q.missing = 0 // there is no list, which lets everybody do all
		}
		for _, ace := range d.aces {
			if e, ok := read(ace); ok && q.concerns(e) {
				q.hear(e)
			}
		}
		q.over = strings.Contains(d.flags, "P") // nothing is inherited
	}
	q.above++
	return q
}

// concerns tells whether an entry holds for the file: one of a folder, if files
// inherit it.
func (q *Question) concerns(e entry) bool {
	switch {
	case q.above == 0 && e.has("IO"), q.above > 0 && !e.has("OI"), q.above > 1 && e.has("NP"):
		return false
	}
	for _, a := range q.Accounts {
		if a == e.account {
			return true
		}
	}
	return false
}

func (q *Question) hear(e entry) {
	switch {
	case !e.deny && !q.denied:
		q.missing &^= e.rights
	case e.rights&q.missing != 0:
		q.denied = true
	}
}

// Settled tells whether descriptors of folders further above can change nothing.
func (q *Question) Settled() bool { return q.denied || q.over || q.missing == 0 }

// Allowed is the answer so far.
func (q *Question) Allowed() bool { return !q.denied && q.missing == 0 }

// Grant adds an entry to a descriptor that allows an account what rights say ("FA"),
// before all other entries that allow something. "" is a descriptor without any.
func Grant(text, rights, account string) (string, error) {
	if text == "" {
		return "D:(A;;" + rights + ";;;" + account + ")", nil
	}
	d, err := parse(text)
	if err != nil {
		return "", err
	}
	ace := "(A;;" + rights + ";;;" + account + ")"
	if !d.there {
		return text[:d.end] + "D:" + ace + text[d.end:], nil
	}
	at := d.end
	for i, x := range d.aces {
		if e, ok := read(x); !ok || !e.deny || e.has("ID") {
			at = d.at[i]
			break
		}
	}
	return text[:at] + ace + text[at:], nil
}
