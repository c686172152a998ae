package vss

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

// ExpandOptions say how [ExpandFileSet] finds files. The zero value leaves
// nothing out and knows no variables ("Generating a Backup Set").
type ExpandOptions struct {
	// Excludes beat every file set. They are compared with the place a file is
	// restored to, also where it is read from an alternate path. A path rooted
	// without a drive is meant on every volume.
	Excludes []FileSpec

	// Environment holds the variables that paths may name, without percent signs.
	Environment map[string]string
}

// A FoundFile is a file that belongs to a file set, or a directory without
// anything in it: a restore of a recursive file set makes such a one again
// ("Generating a Backup Set").
type FoundFile struct {
	Name string      // in the file system searched
	Path string      // of Windows: where a restore puts it
	Type fs.FileMode // the type bits alone
}

// A NamedFS finds entries of a directory by name, so that the search for one file
// does not take longer the more lie beside it.
type NamedFS interface {
	fs.FS
	// ReadNamed lists those entries of a directory that have a name, in whatever
	// case; it may list entries that have it by another rule as well. A file system
	// that cannot tell without a look at all entries returns
	// errors.ErrUnsupported.
	ReadNamed(dir, name string) ([]fs.DirEntry, error)
}

// ExpandFileSet lists the files of a file set in fsys, in the order of names,
// each directory's files before its directories. The path root is what "." of
// fsys stands for, such as D:\ or a volume's name; with an empty root the first
// elements are the drives, so that D:\VMs is D/VMs. A path that does not lie
// below the root is an [ErrObjectNotFound].
//
// Files are searched at the alternate path if the set has one. Names are compared
// without regard to case whatever fsys does; symbolic links are listed and not
// followed. A specification without wildcards must fit a file, else the result
// is an [ErrObjectNotFound] which is also fs.ErrNotExist; one with wildcards may
// fit none, and its directory may be missing. A file that is named is not searched
// among others where fsys is a [NamedFS].
func ExpandFileSet(fsys fs.FS, root string, set FileSet, opt ExpandOptions) ([]FoundFile, error) {
	env := environment(opt.Environment)
	e := &expansion{fsys: fsys, spec: set.Spec, recursive: set.Recursive, all: !hasWildcard(set.Spec)}
	target := trimDirectory(env.expand(set.Path))
	source := trimDirectory(env.expand(set.Source().Path))
	for _, x := range opt.Excludes {
		e.excludes = append(e.excludes, newExclude(x, env))
	}
	name, err := e.locate(source, root)
	if err == nil {
		err = e.walk(name, target)
	}
	if missing := errors.Is(err, fs.ErrNotExist); missing || err == nil && e.all && e.matched == 0 {
		if !e.all {
			return nil, nil
		}
		err = fmt.Errorf("%w: %w", ErrObjectNotFound, fs.ErrNotExist)
	}
	if err != nil {
		return nil, &Error{Op: "ExpandFileSet", On: set.FileSpec.String(), Err: err}
	}
	return e.found, nil
}

// trimDirectory removes the backslash at the end, which is optional.
func trimDirectory(path string) string { return strings.TrimSuffix(path, `\`) }

// An expansion is the search for the files of one set.
type expansion struct {
	fsys      fs.FS
	spec      string
	recursive bool
	all       bool // the specification must fit a file
	excludes  []exclude
	matched   int // files that fit, the excluded ones among them
	found     []FoundFile
}

// locate turns a Windows path into the name of a directory in fsys.
func (e *expansion) locate(source, root string) (string, error) {
	rest := source
	if root != "" {
		base := windowsPath(root)
		if !inDirectory(windowsPath(source), base) {
			return "", fmt.Errorf("%w: %s is not on %s", ErrObjectNotFound, source, root)
		}
		rest = cutRunes(source, utf8.RuneCountInString(base))
	} else if volume, below := cutVolume(source); len(volume) == 2 {
		rest = volume[:1] + below
	}
	elements := make([]string, 0, 16) // enough for most, on the stack
	for element := range strings.FieldsFuncSeq(rest, isSlash) {
		if element == "." || element == ".." {
			if _, err := e.descend(elements); err != nil {
				return "", err
			}
			return "", fmt.Errorf("%w: %s goes through %s", ErrInvalidArg, source, element)
		}
		elements = append(elements, element)
	}
	return e.descend(elements)
}

func isSlash(r rune) bool { return r == '\\' || r == '/' }

// descend enters one directory after another. Those that stand there as they are
// spelled are passed at once.
func (e *expansion) descend(elements []string) (string, error) {
	name, n := path.Join(elements...), len(elements)
	for ; n > 0 && !e.isDirectory(name); n-- {
		name = name[:max(strings.LastIndexByte(name, '/'), 0)]
	}
	if n == 0 {
		name = "."
	}
	for _, element := range elements[n:] {
		var err error
		if name, err = e.enter(name, element); err != nil {
			return "", err
		}
	}
	return name, nil
}

func (e *expansion) isDirectory(name string) bool {
	if !fs.ValidPath(name) {
		return false
	}
	info, err := fs.Stat(e.fsys, name)
	return err == nil && info.IsDir()
}

// cutRunes removes the first n runes. Folding keeps the number of runes, but not
// that of bytes.
func cutRunes(s string, n int) string {
	for range n {
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
	}
	return s
}

// enter finds a directory within another, by its own spelling if there is one so
// spelled, else by the first that differs in case only. A file of that name is no
// directory, so there is none.
func (e *expansion) enter(dir, element string) (string, error) {
	name := path.Join(dir, element)
	if !fs.ValidPath(name) {
		return "", fmt.Errorf("%w: %q is not a name", ErrInvalidArg, element)
	}
	info, err := fs.Stat(e.fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		if name, err = e.spelling(dir, element); err == nil {
			info, err = fs.Stat(e.fsys, name)
		}
	}
	if err == nil && !info.IsDir() {
		err = fs.ErrNotExist
	}
	return name, err
}

// spelling finds the name of a directory's entry that is element but for case.
func (e *expansion) spelling(dir, element string) (string, error) {
	entries, err := e.named(dir, element)
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		if sameFolded(entry.Name(), element) {
			return path.Join(dir, entry.Name()), nil
		}
	}
	return "", fs.ErrNotExist
}

// walk lists a directory and, if the set is recursive, those below it. The
// directories to come wait on a stack, so that depth costs no more than width.
func (e *expansion) walk(name, target string) error {
	type place struct{ name, target string }
	for stack := []place{{name, target}}; len(stack) > 0; {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		entries, err := e.list(at.name)
		if err != nil {
			return err
		}
		patterns := e.excluding(at.target)
		for i := range entries {
			if d := entries[i].Name(); d == "." || d == ".." || strings.Contains(d, "/") {
				return fmt.Errorf("%w: %s lists %q, which is no name", ErrInvalidArg, at.name, d)
			}
			if !entries[i].IsDir() {
				e.file(entries[i], at.name, at.target, patterns)
			}
		}
		if !e.recursive {
			continue
		}
		if len(entries) == 0 {
			e.emptyDirectory(at.name, at.target)
		}
		for i := len(entries) - 1; i >= 0; i-- {
			if d := entries[i].Name(); entries[i].IsDir() {
				stack = append(stack, place{path.Join(at.name, d), at.target + `\` + d})
			}
		}
	}
	return nil
}

// list lists a directory, or what may fit of it.
func (e *expansion) list(dir string) ([]fs.DirEntry, error) {
	if e.all && !e.recursive {
		return e.named(dir, e.spec)
	}
	return fs.ReadDir(e.fsys, dir)
}

// named lists what may have a name in a directory.
func (e *expansion) named(dir, name string) ([]fs.DirEntry, error) {
	if named, ok := e.fsys.(NamedFS); ok {
		entries, err := named.ReadNamed(dir, name)
		if !errors.Is(err, errors.ErrUnsupported) {
			return entries, err
		}
	}
	return fs.ReadDir(e.fsys, dir)
}

func (e *expansion) file(entry fs.DirEntry, dir, target string, patterns []string) {
	if !MatchFileName(e.spec, entry.Name()) {
		return
	}
	e.matched++
	if !matchAny(patterns, entry.Name()) {
		e.found = append(e.found, FoundFile{path.Join(dir, entry.Name()), target + `\` + entry.Name(), entry.Type()})
	}
}

// emptyDirectory lists a directory with nothing in it unless it is a whole volume
// or an exclusion covers it.
func (e *expansion) emptyDirectory(name, target string) {
	if _, rest := cutVolume(target); !strings.Contains(rest, `\`) {
		return
	}
	parent, base := target[:strings.LastIndexByte(target, '\\')], path.Base(name)
	if !matchAny(e.excluding(parent), base) && !matchAny(e.excluding(target), "*") {
		e.found = append(e.found, FoundFile{name, target, fs.ModeDir})
	}
}

func matchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if MatchFileName(p, name) {
			return true
		}
	}
	return false
}

// An exclude is an excluded FileSpec, ready to be compared.
type exclude struct {
	dir       string // a windowsPath
	anywhere  bool   // rooted without a drive
	spec      string
	recursive bool
}

func newExclude(f FileSpec, env folded) exclude {
	dir := env.expand(f.Path)
	return exclude{
		dir:       windowsPath(dir),
		anywhere:  strings.HasPrefix(dir, `\`) && !strings.HasPrefix(dir, `\\`),
		spec:      f.Spec,
		recursive: f.Recursive,
	}
}

// excluding returns the specifications of excluded files that hold in a
// directory.
func (e *expansion) excluding(target string) []string {
	if len(e.excludes) == 0 {
		return nil
	}
	whole := windowsPath(target)
	_, rooted := cutVolume(whole)
	var patterns []string
	for _, x := range e.excludes {
		dir := whole
		if x.anywhere {
			dir = rooted
		}
		if dir == x.dir || x.recursive && inDirectory(dir, x.dir) {
			patterns = append(patterns, x.spec)
		}
	}
	return patterns
}
