package requester

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// SecurityName is the file of a target that holds the security descriptors of the
// files in it, as far as they have their own: for each a line with its path below the
// directory of files, and one with the descriptor, as icacls /save writes them, in
// UTF-8. So any target keeps them. There is none if no file has one.
const SecurityName = "Security.txt"

// A securitySetter is a tree of files that keeps security descriptors in words.
type securitySetter interface {
	SetSecurity(name, sddl string) error
}

// securityOf is a file's own descriptor, or "".
func securityOf(info fs.FileInfo) string {
	if s, ok := info.(interface{ Security() string }); ok {
		return s.Security()
	}
	return ""
}

// A securityList is the text of the file while a backup copies.
type securityList struct{ text []byte }

func (l *securityList) add(name, sddl string) error {
	path := strings.ReplaceAll(strings.TrimPrefix(name, FilesName+"/"), "/", `\`)
	if strings.ContainsAny(path+sddl, "\r\n") {
		return fmt.Errorf("%w: %q has the security descriptor %q", fs.ErrInvalid, path, sddl)
	}
	for _, line := range []string{path, sddl} {
		l.text = append(append(l.text, line...), "\r\n"...)
	}
	return nil
}

// save stores the list, if there is anything in it.
func (l *securityList) save(f Files) error {
	if len(l.text) == 0 {
		return nil
	}
	return phase("save", SecurityName, newTree(f).writeFile(SecurityName, l.text))
}

// loadSecurity reads the list of a backup: descriptors by the folded names of files.
func loadSecurity(source fs.FS) (map[string]string, error) {
	text, err := readText(source, SecurityName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, phase("load", SecurityName, err)
	}
	rest := string(text)
	out := make(map[string]string)
	for line := 1; rest != ""; line += 2 {
		path, after, ok := strings.Cut(rest, "\n")
		sddl, after, ok2 := strings.Cut(after, "\n")
		name := strings.ReplaceAll(strings.TrimSuffix(path, "\r"), `\`, "/")
		if sddl = strings.TrimSuffix(sddl, "\r"); !ok || !ok2 || sddl == "" || !fs.ValidPath(name) {
			return nil, phase("load", SecurityName, fmt.Errorf("%w: line %d names no file with a security descriptor", fs.ErrInvalid, line))
		}
		out[fold(name)] = sddl
		rest = after
	}
	return out, nil
}

// maxText is how long a text file of a backup may be.
const maxText = 1 << 30

// readText reads a text file of a backup. Memory grows with what is read, not with the
// size that the source claims.
func readText(source fs.FS, name string) ([]byte, error) {
	f, err := source.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("%w: longer than %d bytes", fs.ErrInvalid, maxText)
	}
	return text, errors.Join(err, f.Close())
}

// secureLink is secure for a link itself.
func (t *tree) secureLink(name string, like fs.FileInfo) error {
	if sddl := securityOf(like); t.list != nil && sddl != "" {
		return t.list.add(name, sddl)
	}
	if s, ok := t.Files.(interface{ SetLinkSecurity(name, sddl string) error }); ok && t.security != "" {
		return s.SetLinkSecurity(name, t.security)
	}
	return nil
}

// secure gives a file that was written the descriptor that belongs to it, or notes
// what it had.
func (t *tree) secure(name string, like fs.FileInfo) error {
	if sddl := securityOf(like); t.list != nil && sddl != "" {
		return t.list.add(name, sddl)
	}
	if s, ok := t.Files.(securitySetter); ok && t.security != "" {
		return s.SetSecurity(name, t.security)
	}
	return nil
}
