package virtdisk

import "strings"

// A Windows path is taken apart at backslashes, and at slashes too, which
// Windows accepts in most places.

// IsAbs reports whether a Windows path names a place by itself: it begins with
// a drive and a backslash, or with two backslashes as a share, a volume or a
// device does.
func IsAbs(path string) bool { return rootLen(path) > 0 }

// rootLen returns the length of what comes before the first name of an
// absolute path: `C:\`, `\\server\share\`, `\\?\C:\`, `\\?\Volume{...}\`. Other
// paths have 0.
func rootLen(path string) int {
	switch {
	case len(path) >= 3 && isLetter(path[0]) && path[1] == ':' && isSlash(path[2]):
		return 3
	case len(path) < 3 || !isSlash(path[0]) || !isSlash(path[1]):
		return 0
	case (path[2] == '?' || path[2] == '.') && len(path) > 3 && isSlash(path[3]):
		return upTo(path, 4, 1)
	}
	return upTo(path, 2, 2)
}

// upTo returns where n names that begin at from end, with the slash behind.
func upTo(path string, from, n int) int {
	for i := from; i < len(path); i++ {
		if isSlash(path[i]) {
			if n--; n == 0 {
				return i + 1
			}
		}
	}
	return len(path)
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isSlash(c byte) bool  { return c == '\\' || c == '/' }

// split returns the names of a path, without those that say nothing.
func split(path string) []string {
	all := strings.FieldsFunc(path, func(r rune) bool { return r == '\\' || r == '/' })
	kept := all[:0]
	for _, name := range all {
		if name != "." {
			kept = append(kept, name)
		}
	}
	return kept
}

// Base returns the last name of a path, or "" for a root.
func Base(path string) string {
	all := split(path[rootLen(path):])
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// Dir returns the folder of a path, without a backslash at its end unless it
// is a root; "" for a name alone.
func Dir(path string) string {
	root := rootLen(path)
	end := len(path)
	for end > root && isSlash(path[end-1]) {
		end--
	}
	for end > root && !isSlash(path[end-1]) {
		end--
	}
	for end > root && isSlash(path[end-1]) {
		end--
	}
	return path[:end]
}

// Join returns a path as seen from a folder: the path itself where it is
// absolute. Single and double dots are worked out; those that lead above the
// root, or above a folder that is not absolute, make ok false.
func Join(folder, path string) (joined string, ok bool) {
	if !IsAbs(path) && folder != "" {
		path = folder + `\` + path
	}
	root := rootLen(path)
	var kept []string
	for _, name := range split(path[root:]) {
		if name != ".." {
			kept = append(kept, name)
		} else if len(kept) == 0 {
			return "", false
		} else {
			kept = kept[:len(kept)-1]
		}
	}
	return strings.ReplaceAll(path[:root], "/", `\`) + strings.Join(kept, `\`), true
}

// Rel returns how target is named from folder, both absolute: `.\base.vhd`,
// `..\base.vhd`. There is no such name, and ok is false, from one volume to
// another.
func Rel(folder, target string) (rel string, ok bool) {
	from, to := rootLen(folder), rootLen(target)
	if from == 0 || to == 0 || !sameRoot(folder[:from], target[:to]) {
		return "", false
	}
	up, down := split(folder[from:]), split(target[to:])
	for len(up) > 0 && len(down) > 1 && strings.EqualFold(up[0], down[0]) {
		up, down = up[1:], down[1:]
	}
	if len(up) == 0 {
		return `.\` + strings.Join(down, `\`), true
	}
	return strings.Repeat(`..\`, len(up)) + strings.Join(down, `\`), true
}

func sameRoot(a, b string) bool {
	return strings.EqualFold(strings.Join(split(a), `\`), strings.Join(split(b), `\`))
}
