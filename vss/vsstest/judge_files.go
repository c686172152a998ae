package vsstest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// A judgeFile is what a file was at some moment.
type judgeFile struct {
	mode       fs.FileMode // its kind
	data       string      // or the target of a link
	modified   time.Time
	attributes uint32
}

// A judgeTree is the live files of a machine, by names as D/dir/file.
type judgeTree struct {
	requester.Files
	environment map[string]string
}

// name turns a Windows path into a name of the tree.
func (t judgeTree) name(path string) string {
	path = strings.ReplaceAll(vss.ExpandEnvironment(path, t.environment), `\`, "/")
	path = strings.TrimSuffix(path, "/")
	if len(path) > 1 && path[1] == ':' {
		path = strings.ToUpper(path[:1]) + path[2:]
	}
	return path
}

// judgeKey is a name as it is compared, without regard to case.
func judgeKey(name string) string { return strings.ToUpper(name) }

// find lists the files of a set at the place where a backup reads them, by the
// name to which a restore puts each. A file that is missing is no error here.
func (t judgeTree) find(set vss.FileSet, excludes []vss.FileSpec) ([]vss.FoundFile, error) {
	found, err := vss.ExpandFileSet(t.Files, "", set, vss.ExpandOptions{Excludes: excludes, Environment: t.environment})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return found, err
}

// read describes one file.
func (t judgeTree) read(name string) (judgeFile, error) {
	info, err := fs.Lstat(t.Files, name)
	if err != nil {
		return judgeFile{}, err
	}
	f := judgeFile{mode: info.Mode().Type(), modified: info.ModTime()}
	if a, ok := info.(interface{ FileAttributes() uint32 }); ok {
		f.attributes = a.FileAttributes()
	}
	switch {
	case info.Mode().IsRegular():
		data, err := fs.ReadFile(t.Files, name)
		f.data = string(data)
		return f, err
	case f.mode&fs.ModeSymlink != 0:
		f.data, err = fs.ReadLink(t.Files, name)
	}
	return f, err
}

// all describes all files, but not directories.
func (t judgeTree) all() (map[string]judgeFile, error) {
	out := make(map[string]judgeFile)
	err := fs.WalkDir(t.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[judgeKey(name)], err = t.read(name)
		return err
	})
	return out, err
}

// write makes a file of these bytes, and the directories above it.
func (t judgeTree) write(name string, f judgeFile) error {
	for i := range name {
		if name[i] == '/' {
			if err := t.Mkdir(name[:i]); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	w, err := t.Create(name)
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(f.data))
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	if s, ok := t.Files.(interface {
		SetMetadata(string, time.Time, time.Time, uint32) error
	}); ok {
		return s.SetMetadata(name, time.Time{}, f.modified, f.attributes)
	}
	return nil
}

// differs says how a file is not what it should be, or "".
func (f judgeFile) differs(want judgeFile, got bool) string {
	switch {
	case !got:
		return "is missing"
	case f.mode != want.mode:
		return "is of another kind"
	case f.data != want.data:
		return fmt.Sprintf("has other bytes: %.40q where %.40q was backed up", f.data, want.data)
	case want.mode.IsRegular() && f.attributes != want.attributes:
		return fmt.Sprintf("has the attributes 0x%X where 0x%X were backed up", f.attributes, want.attributes)
	case want.mode.IsRegular() && !f.modified.Equal(want.modified):
		return fmt.Sprintf("has the time %v where %v was backed up", f.modified, want.modified)
	}
	return ""
}

// changedNames lists the files that are not the same in two descriptions, in
// order.
func changedNames(was, is map[string]judgeFile) []string {
	var names []string
	for name, f := range was {
		if g, ok := is[name]; !ok || g != f {
			names = append(names, name)
		}
	}
	for name := range is {
		if _, ok := was[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// holds tells whether a file set holds the file of a name, recursion and all.
func (t judgeTree) holds(f vss.FileSpec, name string) bool {
	dir, base := path.Split(name)
	dir, at := judgeKey(strings.TrimSuffix(dir, "/")), judgeKey(t.name(f.Path))
	inside := dir == at || f.Recursive && strings.HasPrefix(dir, at+"/")
	return inside && vss.MatchFileName(f.Spec, base)
}
