package vss

import (
	"fmt"
	"strconv"
	"strings"
)

// Enum is met by every enumeration and bit set of this package. They carry the
// numbers of the Windows headers and print as the names there; a value without
// a name prints its number.
type Enum interface {
	~int32 | ~uint32
	fmt.Stringer
	names() vocabulary
}

// ParseEnum reads a value by its Windows name (VSS_BT_FULL), by that name
// without its prefix (FULL), by the word a document uses (full), or as printed
// by String, in any case. The members of a bit set are joined by |. The error is
// [ErrInvalidArg].
func ParseEnum[E Enum](s string) (E, error) {
	var zero E
	if n, ok := zero.names().parse(strings.TrimSpace(s)); ok {
		return E(n), nil
	}
	return 0, fail("ParseEnum", "", ErrInvalidArg, "%q is not a %s", s, strings.TrimPrefix(fmt.Sprintf("%T", zero), "vss."))
}

// A vocabulary holds the names of an enumeration or of a bit set.
type vocabulary interface {
	text(n int64) string
	parse(s string) (int64, bool)
}

// An enumeration names consecutive values: words[i] stands for first+i, and
// tokens[i] is how a document spells it, where that differs.
type enumeration struct {
	prefix string
	first  int64
	words  []string
	tokens []string
	names  []string // words with the prefix
}

func newEnumeration(e enumeration) *enumeration {
	for _, word := range e.words {
		e.names = append(e.names, e.prefix+word)
	}
	return &e
}

func (e *enumeration) text(n int64) string {
	if i := n - e.first; i >= 0 && i < int64(len(e.names)) {
		return e.names[i]
	}
	return e.prefix + strconv.FormatInt(n, 10)
}

func (e *enumeration) parse(s string) (int64, bool) {
	short := cutPrefixFold(s, e.prefix)
	for _, list := range [][]string{e.words, e.tokens} {
		for i, word := range list {
			if strings.EqualFold(word, short) {
				return e.first + int64(i), true
			}
		}
	}
	n, err := strconv.ParseInt(short, 10, 32)
	return n, err == nil
}

// token returns what a document says for n.
func (e *enumeration) token(n int64) string {
	i := n - e.first
	switch {
	case i < 0 || i >= int64(len(e.words)):
		return strconv.FormatInt(n, 10)
	case e.tokens != nil:
		return e.tokens[i]
	}
	return e.words[i]
}

// A bitSet names the bits of a mask. A name for several bits stands before
// the names of the single ones, so that it is preferred.
type bitSet struct {
	prefix string
	none   string // the name of 0 behind the prefix, or ""
	bits   []bit
}

type bit struct {
	mask uint32
	word string
}

func (b *bitSet) text(n int64) string {
	rest := uint32(n)
	if rest == 0 {
		if b.none == "" {
			return "0"
		}
		return b.prefix + b.none
	}
	var parts []string
	for _, bit := range b.bits {
		if rest&bit.mask == bit.mask {
			parts = append(parts, b.prefix+bit.word)
			rest &^= bit.mask
		}
	}
	if rest != 0 {
		parts = append(parts, fmt.Sprintf("0x%X", rest))
	}
	return strings.Join(parts, "|")
}

func (b *bitSet) parse(s string) (int64, bool) {
	var sum uint32
	for part := range strings.SplitSeq(s, "|") {
		n, ok := b.parseOne(strings.TrimSpace(part))
		if !ok {
			return 0, false
		}
		sum |= n
	}
	return int64(sum), true
}

func (b *bitSet) parseOne(s string) (uint32, bool) {
	short := cutPrefixFold(s, b.prefix)
	if b.none != "" && strings.EqualFold(short, b.none) {
		return 0, true
	}
	for _, bit := range b.bits {
		if strings.EqualFold(bit.word, short) {
			return bit.mask, true
		}
	}
	n, err := strconv.ParseUint(short, 0, 32)
	return uint32(n), err == nil
}

func cutPrefixFold(s, prefix string) string {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):]
	}
	return s
}
