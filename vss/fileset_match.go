package vss

import (
	"maps"
	"slices"
	"strings"
)

// MatchFileName tells whether a file name fits a file specification: ? stands
// for one character, * for any number, and letters are compared without regard
// to case. *.* fits every name, as everywhere in Windows
// ("Definition of Components by Writers").
func MatchFileName(spec, name string) bool {
	if spec == "*" || spec == "*.*" {
		return true
	}
	if !hasWildcard(spec) {
		return sameFolded(spec, name)
	}
	return matchFolded([]rune(fold(spec)), []rune(fold(name)))
}

// matchFolded goes back to the last star only, so it takes at most the product
// of the two lengths.
func matchFolded(spec, name []rune) bool {
	s, star, retry := 0, -1, 0
	for n := 0; n < len(name); {
		switch {
		case s < len(spec) && spec[s] == '*':
			star, retry = s, n
			s++
		case s < len(spec) && (spec[s] == '?' || spec[s] == name[n]):
			s++
			n++
		case star >= 0:
			retry++
			s, n = star+1, retry
		default:
			return false
		}
	}
	for s < len(spec) && spec[s] == '*' {
		s++
	}
	return s == len(spec)
}

// hasWildcard tells whether a file specification may fit several names.
func hasWildcard(spec string) bool { return strings.ContainsAny(spec, "?*") }

// ExpandEnvironment replaces %NAME% by the value of that variable; names are
// compared without regard to case. What names no variable stays as it is
// (ExpandEnvironmentStrings).
func ExpandEnvironment(path string, env map[string]string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	return environment(env).expand(path)
}

// folded variables; where names differ in case only, the first in order counts.
type folded map[string]string

func environment(env map[string]string) folded {
	if len(env) == 0 {
		return nil
	}
	f := make(folded, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if _, ok := f[fold(name)]; !ok {
			f[fold(name)] = env[name]
		}
	}
	return f
}

func (f folded) expand(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(path, "%")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, "%")
		value, known := f[fold(name)]
		switch {
		case closed && known:
			b.WriteString(value)
			path = after
		default:
			b.WriteByte('%') // it may open a name yet
			path = rest
		}
	}
}

// A windowsPath is a path in the form in which paths are compared: folded and
// without a backslash at the end.
func windowsPath(path string) string { return fold(strings.TrimRight(path, `\`)) }

// within tells whether dir is above or below it; both are windowsPaths.
func inDirectory(dir, above string) bool {
	rest, ok := strings.CutPrefix(dir, above)
	return ok && (rest == "" || rest[0] == '\\')
}

// cutVolume splits the volume off a path: a drive, a volume's GUID path, or a
// share. A path rooted without a drive has none.
func cutVolume(path string) (volume, rest string) {
	switch {
	case len(path) >= 2 && path[1] == ':':
		return path[:2], path[2:]
	case strings.HasPrefix(path, `\\?\`):
		return cutAfter(path, len(`\\?\`), 1)
	case strings.HasPrefix(path, `\\`):
		return cutAfter(path, len(`\\`), 2)
	}
	return "", path
}

// cutAfter cuts path behind n names that begin at from.
func cutAfter(path string, from, n int) (string, string) {
	at := from
	for range n {
		next := strings.IndexByte(path[min(at, len(path)):], '\\')
		if next < 0 {
			return path, ""
		}
		at += next + 1
	}
	return path[:at-1], path[at-1:]
}
