package volume

import (
	"io/fs"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/shadowsim/shadowsim/internal/names"
)

// The limits of NTFS, in UTF-16 units.
const (
	maxName = 255   // one element of a path
	maxPath = 32767 // a whole path
)

// Split takes the drive letter off a Windows path: `d:/VMs\.\sql01` is "D" and
// `\VMs\sql01`. The rest is clean, begins at the root of the volume and has only
// names that Windows allows; the drive is "" when the path names none. A path
// relative to a drive's current directory, as `C:x`, a network path and a path
// by volume GUID are refused with [ErrInvalidName].
func Split(path string) (drive, rest string, err error) {
	drive, rest = cutDrive(path)
	if len(path) <= maxPath && isClean(rest) {
		return drive, rest, nil
	}
	drive, elems, err := parse(nil, path)
	if err != nil {
		return "", "", fail("Split", path, err)
	}
	return drive, `\` + strings.Join(elems, `\`), nil
}

// Clean gives a path its one form: an upper-case drive letter, single
// backslashes, "." and ".." worked out. It changes no letter's case elsewhere
// and fails where [Split] does.
func Clean(path string) (string, error) {
	drive, rest, err := Split(path)
	if err == nil && len(path) == len(rest)+2 && path[:1] == drive && path[2:] == rest {
		return path, nil
	}
	if err != nil {
		return "", fail("Clean", path, bare(err))
	}
	if drive != "" {
		rest = drive + ":" + rest
	}
	return rest, nil
}

// Join puts elements together with backslashes; empty ones are left out. It does
// not clean: the methods that take a path do.
func Join(elems ...string) string {
	size := 0
	for _, e := range elems {
		size += len(e) + 1
	}
	var b strings.Builder
	b.Grow(size)
	for _, e := range elems {
		if e == "" {
			continue
		}
		if b.Len() > 0 {
			if s := b.String(); !isSlash(s[len(s)-1]) {
				b.WriteByte('\\')
			}
			e = strings.TrimLeft(e, `\/`)
		}
		b.WriteString(e)
	}
	return b.String()
}

// Base is the last element of a path, and "" at a root.
func Base(path string) string {
	path = strings.TrimRight(path, `\/`)
	return path[strings.LastIndexAny(path, `\/:`)+1:]
}

// Dir is the path without its last element: `D:\VMs` for `D:\VMs\sql01.xml`, and
// the root for a root.
func Dir(path string) string {
	base := Base(path)
	if base == "" {
		return path
	}
	dir := path[:len(strings.TrimRight(path, `\/`))-len(base)]
	if t := strings.TrimRight(dir, `\/`); t != "" && t[len(t)-1] != ':' {
		return t
	}
	return dir
}

// Equal tells whether two paths mean the same place, links aside: case and the
// kind of slash do not count. A path that [Clean] refuses equals only itself.
func Equal(a, b string) bool {
	if a == b {
		return true
	}
	ca, errA := Clean(a)
	cb, errB := Clean(b)
	if errA != nil || errB != nil {
		return a == b
	}
	return compareFold(ca, cb) == 0
}

// Fold upper-cases a name or a path as the file system does to compare names;
// two names that fold alike cannot stand in one directory. It serves as a map key.
func Fold(s string) string { return names.Fold(s) }

// Name turns a Windows path into the io/fs name that a [Host] knows it by:
// `D:\VMs\sql01` is "D/VMs/sql01". A path without a drive becomes the name in a
// volume's own view: `\VMs` is "VMs", and the root is ".".
func Name(path string) (string, error) {
	if drive, rest := cutDrive(path); drive != "" && len(rest) > 1 && len(path) <= maxPath && isClean(rest) {
		return nameOnDrive(drive, rest), nil
	}
	drive, elems, err := parse(nil, path)
	if err != nil {
		return "", fail("Name", path, err)
	}
	if drive != "" {
		elems = append([]string{drive}, elems...)
	}
	return nameOf(elems), nil
}

// nameOnDrive is the io/fs name of a clean path below the root of a drive.
func nameOnDrive(drive, rest string) string {
	b := make([]byte, 0, 128) // on the stack, as most names are short
	b = append(append(b, drive...), rest...)
	for i, c := range b {
		if c == '\\' {
			b[i] = '/'
		}
	}
	return string(b)
}

// Path turns a name of a [Host] into the Windows path: "D/VMs" is `D:\VMs`.
func Path(name string) (string, error) {
	drive, rest, _ := strings.Cut(name, "/")
	if !fs.ValidPath(name) || len(drive) != 1 || !isLetter(drive[0]) {
		return "", failName("Path", name, ErrInvalidName)
	}
	if _, err := parseName(nil, rest); rest != "" && err != nil {
		return "", failName("Path", name, err)
	}
	return strings.ToUpper(drive) + `:\` + strings.ReplaceAll(rest, "/", `\`), nil
}

// nameOf joins elements to an io/fs name.
func nameOf(elems []string) string {
	if len(elems) == 0 {
		return "."
	}
	return strings.Join(elems, "/")
}

// isClean tells whether a path without a drive is in its one form already, as
// most paths are: it begins at the root and has nothing but names that Windows
// allows.
func isClean(rest string) bool {
	if rest == "" || rest[0] != '\\' {
		return false
	}
	if rest == `\` {
		return true
	}
	for e := range strings.SplitSeq(rest[1:], `\`) {
		if checkName(e) != nil {
			return false
		}
	}
	return true
}

// parse takes a Windows path apart: the upper-case drive letter or "", and the
// checked elements after "." and ".." are worked out; ".." stops at the root. The
// elements take the place of buf if there is room.
func parse(buf []string, path string) (drive string, elems []string, err error) {
	drive, rest := cutDrive(path)
	network := drive == "" && len(rest) >= 2 && isSlash(rest[0]) && isSlash(rest[1])
	relative := drive != "" && rest != "" && !isSlash(rest[0])
	if network || relative {
		return "", nil, ErrInvalidName
	}
	if elems = buf[:0]; cap(elems) == 0 {
		elems = make([]string, 0, 8)
	}
	for len(rest) > 0 {
		var e string
		i := 0
		for i < len(rest) && !isSlash(rest[i]) {
			i++
		}
		e, rest = rest[:i], rest[min(i+1, len(rest)):]
		elems, err = push(elems, e)
		if err != nil {
			return "", nil, err
		}
	}
	return drive, elems, checkLength(path)
}

// parseLocal takes a path within a volume apart. It names no drive.
func parseLocal(buf []string, path string) ([]string, error) {
	drive, elems, err := parse(buf, path)
	if drive != "" {
		return nil, ErrInvalidName
	}
	return elems, err
}

// push adds an element to a clean path.
func push(elems []string, e string) ([]string, error) {
	switch e {
	case "", ".":
		return elems, nil
	case "..":
		return elems[:max(len(elems)-1, 0)], nil
	}
	return append(elems, e), checkName(e)
}

// parseName takes an io/fs name apart. It has to be valid for io/fs and for
// Windows. The elements take the place of buf.
func parseName(buf []string, name string) ([]string, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	if name == "." {
		return nil, nil
	}
	elems := buf[:0]
	for e := range strings.SplitSeq(name, "/") {
		if err := checkName(e); err != nil {
			return nil, err
		}
		elems = append(elems, e)
	}
	return elems, checkLength(name)
}

// cutDrive takes off the drive, and the prefixes `\\?\` and `\??\` before one.
func cutDrive(path string) (drive, rest string) {
	rest = path
	if strings.HasPrefix(path, `\\?\`) || strings.HasPrefix(path, `\??\`) {
		rest = path[4:]
	}
	if len(rest) >= 2 && rest[1] == ':' && isLetter(rest[0]) {
		return letters[rest[0]&^0x20-'A':][:1], rest[2:]
	}
	return "", path
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// checkLength refuses paths that are longer than Windows can say.
func checkLength(path string) error {
	if len(path) > maxPath && units(path) > maxPath {
		return ErrFilenameTooLong
	}
	return nil
}

// checkName refuses what Windows does not allow as one element of a path.
func checkName(name string) error {
	if name == "" || len(name) > maxName && units(name) > maxName {
		return ErrInvalidName
	}
	if last := name[len(name)-1]; last == '.' || last == ' ' {
		return ErrInvalidName
	}
	ascii := true
	for i := range len(name) {
		if forbidden[name[i]] {
			return ErrInvalidName
		}
		ascii = ascii && name[i] < utf8.RuneSelf
	}
	if !ascii && !utf8.ValidString(name) || isDevice(name) {
		return ErrInvalidName
	}
	return nil
}

// forbidden are the bytes that no name may hold.
var forbidden = func() (t [256]bool) {
	for c := range ' ' {
		t[c] = true
	}
	for _, c := range []byte(`<>:"/\|?*`) {
		t[c] = true
	}
	return t
}()

// isDevice tells the names that mean a device in every directory, whatever
// extension they have: "nul.txt" is NUL.
func isDevice(name string) bool {
	if strings.IndexByte("CPANLcpanl", name[0]) < 0 {
		return false
	}
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.TrimRight(stem, " ")
	if len(stem) < 3 || len(stem) > len("CONOUT$") {
		return false
	}
	switch stem = Fold(stem); stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, isCOM := strings.CutPrefix(stem, "COM")
	if !isCOM {
		var isLPT bool
		if port, isLPT = strings.CutPrefix(stem, "LPT"); !isLPT {
			return false
		}
	}
	return utf8.RuneCountInString(port) == 1 && strings.Contains("123456789¹²³", port)
}

// compareFold orders names as a directory of NTFS does: by the upper case of
// each letter.
func compareFold(a, b string) int {
	same := 0 // bytes that both begin with
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	for same > 0 && (same < len(a) && !utf8.RuneStart(a[same]) || same < len(b) && !utf8.RuneStart(b[same])) {
		same-- // to where a letter begins
	}
	a, b = a[same:], b[same:]
	for len(a) > 0 && len(b) > 0 {
		x, n := rune(a[0]), 1
		y, m := rune(b[0]), 1
		if x >= utf8.RuneSelf || y >= utf8.RuneSelf {
			x, n = utf8.DecodeRuneInString(a)
			y, m = utf8.DecodeRuneInString(b)
		}
		if x != y {
			if x, y = names.FoldRune(x), names.FoldRune(y); x != y {
				return int(x) - int(y)
			}
		}
		a, b = a[n:], b[m:]
	}
	return len(a) - len(b)
}

// units counts the UTF-16 units of a text.
func units(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

func isSlash(c byte) bool { return c == '\\' || c == '/' }

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
