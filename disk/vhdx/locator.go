package vhdx

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// The keys of a parent locator that the format defines.
const (
	keyLinkage  = "parent_linkage"
	keyLinkage2 = "parent_linkage2"
	keyRelative = "relative_path"
	keyVolume   = "volume_path"
	keyAbsolute = "absolute_win32_path"
)

// locatorType says that a locator names a VHDX; no other is defined.
var locatorType = guid.MustParse("B04AEFB7-D19E-4A81-B789-25B8E9445913")

const (
	locatorHead  = 20
	locatorEntry = 12
)

// A Link names the parent of a differencing disk: by its
// DataWriteGUID, which must match, and by paths, of which there is at least
// one. They are tried in the order of the fields here.
type Link struct {
	Linkage  GUID
	Linkage2 GUID   // the parent may have this one instead, unless it is zero
	Relative string // from the folder of the child: `..\base\disk.vhdx`
	Volume   string // `\\?\Volume{...}\base\disk.vhdx`
	Absolute string // `\\?\C:\base\disk.vhdx`, or a UNC path

	Others []KeyValue // whatever else a locator holds, in its order
}

// A KeyValue is an entry of a parent locator that this package does not know.
type KeyValue struct{ Key, Value string }

// Candidates returns the paths that are there, in the order in which they are to be
// tried.
func (l Link) Candidates() []string {
	return slices.DeleteFunc([]string{l.Relative, l.Volume, l.Absolute}, func(p string) bool { return p == "" })
}

// Matches reports whether a parent with that DataWriteGUID is the one meant.
func (l Link) Matches(dataWrite GUID) bool {
	return l.Linkage == dataWrite || l.Linkage2 != GUID{} && l.Linkage2 == dataWrite
}

// pairs returns the entries to be written.
func (l Link) pairs() []KeyValue {
	kv := []KeyValue{{keyLinkage, guid.Braced(l.Linkage)}}
	if l.Linkage2 != (GUID{}) {
		kv = append(kv, KeyValue{keyLinkage2, guid.Braced(l.Linkage2)})
	}
	for _, p := range []KeyValue{{keyRelative, l.Relative}, {keyVolume, l.Volume}, {keyAbsolute, l.Absolute}} {
		if p.Value != "" {
			kv = append(kv, p)
		}
	}
	return append(kv, l.Others...)
}

// bytes returns the item as it stands in a file.
func (l Link) bytes() ([]byte, error) {
	const field = "parent locator"
	if len(l.Candidates()) == 0 {
		return nil, bad(ErrParentNotFound, -1, field, "no path leads to the parent")
	}
	kv := l.pairs()
	le := binary.LittleEndian
	b := make([]byte, locatorHead+locatorEntry*len(kv))
	putGUID(b, locatorType)
	le.PutUint16(b[18:], uint16(len(kv)))
	for i, p := range kv {
		e := b[locatorHead+locatorEntry*i:][:locatorEntry]
		for j, s := range []string{p.Key, p.Value} {
			u := utf16.Encode([]rune(s))
			if s == "" || len(u) > 1<<15-1 || strings.ContainsRune(s, 0) {
				return nil, bad(ErrMetadataRead, -1, field, "key %q cannot have its value of %d characters", p.Key, len(u))
			}
			le.PutUint32(e[4*j:], uint32(len(b)))
			le.PutUint16(e[8+2*j:], uint16(2*len(u)))
			for _, x := range u {
				b = le.AppendUint16(b, x)
			}
			e = b[locatorHead+locatorEntry*i:][:locatorEntry] // b may have moved
		}
	}
	if len(b) > maxItem {
		return nil, bad(ErrMetadataRead, -1, field, "%d bytes are more than %d", len(b), maxItem)
	}
	return b, nil
}

// ParseParentLocator reads a parent locator item.
func ParseParentLocator(b []byte) (Link, error) {
	l, err := parseLocator(b, 0)
	return l, during("ParseParentLocator", err)
}

// parseLocator is ParseParentLocator for an item that stands at off.
func parseLocator(b []byte, off int64) (Link, error) {
	const field = "parent locator"
	var l Link
	if len(b) < locatorHead {
		return l, bad(ErrMetadataRead, off, field, "%d bytes are too few", len(b))
	}
	if typ := getGUID(b); typ != locatorType {
		return l, bad(ErrLimit, off, field, "type %s is unknown", guid.String(typ))
	}
	n := int(binary.LittleEndian.Uint16(b[18:]))
	if locatorHead+locatorEntry*n > len(b) {
		return l, bad(ErrMetadataRead, off+18, field, "%d entries do not fit in %d bytes", n, len(b))
	}
	seen := make(map[string]bool, n)
	for i := range n {
		key, value, err := locatorPair(b, i, off)
		if err != nil {
			return l, err
		}
		if seen[key] {
			return l, bad(ErrMetadataRead, off, field, "key %q is there twice", key)
		}
		seen[key] = true
		if err := l.set(key, value, off); err != nil {
			return l, err
		}
	}
	switch {
	case !seen[keyLinkage]:
		return l, bad(ErrParentNotFound, off, field, "no %s", keyLinkage)
	case len(l.Candidates()) == 0:
		return l, bad(ErrParentNotFound, off, field, "no path leads to the parent")
	}
	return l, nil
}

// locatorPair returns the i-th entry of a locator.
func locatorPair(b []byte, i int, off int64) (key, value string, err error) {
	le := binary.LittleEndian
	at := locatorHead + locatorEntry*i
	e := b[at:][:locatorEntry]
	var s [2]string
	for j := range s {
		place, n := int64(le.Uint32(e[4*j:])), int64(le.Uint16(e[8+2*j:]))
		if n == 0 || n%2 != 0 || place < locatorHead || place+n > int64(len(b)) {
			return "", "", bad(ErrMetadataRead, off+int64(at), "parent locator", "no text can lie at %d for %d bytes", place, n)
		}
		s[j] = text(b[place : place+n])
		if units := b[place : place+n]; hasZero(units) {
			return "", "", bad(ErrMetadataRead, off+place, "parent locator", "a zero within a text")
		}
	}
	return s[0], s[1], nil
}

// hasZero reports whether a zero is among units of UTF-16.
func hasZero(b []byte) bool {
	for ; len(b) >= 2; b = b[2:] {
		if b[0] == 0 && b[1] == 0 {
			return true
		}
	}
	return false
}

// set stores an entry in its field.
func (l *Link) set(key, value string, off int64) error {
	switch key {
	case keyLinkage, keyLinkage2:
		g, err := guid.Parse(value)
		if err != nil {
			return bad(ErrParentNotFound, off, "parent locator", "%s: %v", key, err)
		}
		if key == keyLinkage {
			l.Linkage = g
		} else {
			l.Linkage2 = g
		}
	case keyRelative:
		l.Relative = value
	case keyVolume:
		l.Volume = value
	case keyAbsolute:
		l.Absolute = value
	default:
		l.Others = append(l.Others, KeyValue{key, value})
	}
	return nil
}
