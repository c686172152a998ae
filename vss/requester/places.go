package requester

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/names"
	"github.com/shadowsim/shadowsim/vss"
)

// Places turn the paths that writers use into those that files are stored under:
// without variables, and with a volume's own name where a path has its GUID.
type places struct {
	environment map[string]string
	volumes     []*place
}

// A place is a volume of the service, and its shadow copy if there is one.
type place struct {
	Volume
	path   string // Name without the backslash
	byGUID string // \\?\Volume{GUID}
	inSet  bool
	shadow fs.FS
}

func newPlaces(s *vss.Service, environment map[string]string) *places {
	p := &places{environment: environment}
	for _, v := range s.Volumes() {
		p.volumes = append(p.volumes, &place{
			Volume: Volume{Name: v.Name()},
			path:   strings.TrimRight(v.Name(), `\`),
			byGUID: `\\?\Volume` + guid.Braced(v.ID()),
		})
	}
	return p
}

// path gives a path its one form, which has no backslash at its end.
func (p *places) path(path string) string {
	if path == "" {
		return ""
	}
	path = strings.ReplaceAll(vss.ExpandEnvironment(path, p.environment), "/", `\`)
	for _, v := range p.volumes {
		if rest, ok := cutDirectory(path, v.byGUID); ok {
			path = v.path + rest
		}
	}
	head := ""
	switch {
	case !strings.HasPrefix(path, `\\?\`):
	case len(path) > 5 && path[5] == ':':
		path = path[4:]
	default:
		head, path = path[:4], path[4:]
	}
	for strings.Contains(path[min(1, len(path)):], `\\`) {
		path = path[:1] + strings.ReplaceAll(path[1:], `\\`, `\`)
	}
	return head + strings.TrimRight(path, `\`)
}

// fileSet is a file set with its paths in their one form.
func (p *places) fileSet(set vss.FileSet) vss.FileSet {
	set.Path = p.path(set.Path)
	set.AlternatePath = p.path(set.AlternatePath)
	return set
}

// excludes are the files that a writer leaves out, in the same form.
func (p *places) excludes(m *vss.WriterMetadata) []vss.FileSpec {
	out := make([]vss.FileSpec, len(m.Excludes))
	for i, x := range m.Excludes {
		out[i] = x.FileSpec
		out[i].Path = p.path(x.Path)
	}
	return out
}

// volumeOf finds the volume that a path lies on, the one with the longest root,
// or nil.
func (p *places) volumeOf(path string) *place {
	var best *place
	for _, v := range p.volumes {
		if _, ok := cutDirectory(path, v.path); ok && (best == nil || len(v.path) > len(best.path)) {
			best = v
		}
	}
	return best
}

// cutDirectory removes a directory from the beginning of a path.
func cutDirectory(path, dir string) (rest string, ok bool) {
	if len(path) < len(dir) || !strings.EqualFold(path[:len(dir)], dir) {
		return "", false
	}
	rest = path[len(dir):]
	return rest, rest == "" || rest[0] == '\\'
}

// fileName turns a Windows path into the name of a file below a tree of drives:
// D:\VMs\a.vhd is D/VMs/a.vhd. A path that does not begin with a volume, or that
// leads out of it, has none.
func fileName(path string) (string, error) {
	volume, rest, _ := strings.Cut(strings.TrimPrefix(path, `\\?\`), `\`)
	name, isGUID := strings.CutPrefix(volume, "Volume{")
	switch {
	case isDrive(volume):
		volume = strings.ToUpper(volume[:1])
	case isGUID && strings.HasSuffix(name, "}"):
	default:
		return "", fmt.Errorf("%w: %q does not begin with a volume", fs.ErrInvalid, path)
	}
	name = volume
	if rest != "" {
		name += "/" + strings.ReplaceAll(rest, `\`, "/")
	}
	if !fs.ValidPath(name) || strings.ContainsAny(name, ":\x00") {
		return "", fmt.Errorf("%w: %q is not a path of Windows", fs.ErrInvalid, path)
	}
	return name, nil
}

// isDrive tells whether a volume's name is a drive letter, one of A to Z, and a
// colon.
func isDrive(volume string) bool {
	if len(volume) != 2 || volume[1] != ':' {
		return false
	}
	letter := volume[0] &^ 0x20 // in upper case
	return 'A' <= letter && letter <= 'Z'
}

// fold makes equal what Windows takes for the same name.
func fold(s string) string { return names.Fold(s) }
