package requester

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
)

// A tree is what is written in one run. It remembers the directories, so that one
// is made once, and files whose paths differ in case alone come to stand in one
// directory, as they do on Windows, whatever the tree itself makes of case.
type tree struct {
	Files
	fresh bool              // nothing stands there that would have to give way
	wrote int               // how often something was made, emptied or removed
	dirs  map[string]string // how a directory is spelled, by its name and by its folded name

	list     *securityList // of a backup: descriptors that files had
	security string        // of a restore: the descriptor of the file that is put back now, or ""
}

func newTree(f Files) *tree { return &tree{Files: f, dirs: map[string]string{".": "."}} }

// directory makes a directory, and those above it, and returns its name.
func (t *tree) directory(name string) (string, error) {
	if spelled, ok := t.dirs[name]; ok {
		return spelled, nil
	}
	folded := fold(name)
	spelled, ok := t.dirs[folded]
	if !ok {
		above, err := t.directory(path.Dir(name))
		if err != nil {
			return "", err
		}
		spelled = path.Join(above, path.Base(name))
		if err := t.makeDirectory(spelled); err != nil {
			return "", err
		}
	}
	t.dirs[name], t.dirs[folded] = spelled, spelled
	return spelled, nil
}

func (t *tree) makeDirectory(name string) error {
	if t.fresh {
		if err := t.Mkdir(name); !errors.Is(err, fs.ErrExist) {
			return t.count(err)
		}
	}
	info, err := fs.Stat(t.Files, name)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	case err == nil:
		return nil
	}
	return t.count(t.Mkdir(name))
}

// count notes that something was written, if it was.
func (t *tree) count(err error) error {
	if err == nil {
		t.wrote++
	}
	return err
}

// name readies the place for a file: its directory is there.
func (t *tree) name(to string) (string, error) {
	i := strings.LastIndexByte(to, '/')
	if i < 0 {
		return to, nil
	}
	dir, err := t.directory(to[:i])
	return dir + to[i:], err
}

// put puts what was found in another tree to a name in this one.
func (t *tree) put(to string, src fs.FS, f vss.FoundFile) (int64, error) {
	if f.Type.IsDir() {
		_, err := t.directory(to)
		return 0, err
	}
	to, err := t.name(to)
	if err != nil {
		return 0, err
	}
	if f.Type&fs.ModeSymlink == 0 {
		return t.copyFile(to, src, f.Name)
	}
	target, err := fs.ReadLink(src, f.Name)
	if err != nil {
		return 0, err
	}
	if err := t.count(t.Remove(to)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if err := t.count(t.Symlink(target, to)); err != nil {
		return 0, err
	}
	info, err := fs.Lstat(src, f.Name)
	if err != nil {
		return 0, err
	}
	return 0, t.secureLink(to, info)
}

// copyFile copies one file; what both sides can pass on without copying, and
// holes, are their business ([io.Copy]). A link that stands there gives way: the
// file that it leads to is another one.
func (t *tree) copyFile(to string, src fs.FS, from string) (n int64, err error) {
	r, err := src.Open(from)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if !t.fresh {
		if info, err := fs.Lstat(t.Files, to); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if err := t.count(t.Remove(to)); err != nil {
				return 0, err
			}
		}
	}
	w, err := t.Create(to)
	if t.count(err) != nil {
		return 0, err
	}
	n, err = io.Copy(w, r)
	err = errors.Join(err, w.Close())
	if err == nil {
		var info fs.FileInfo
		if info, err = r.Stat(); err == nil {
			err = t.keep(to, info)
		}
	}
	return n, err
}

// writeFile makes a file of these bytes.
func (t *tree) writeFile(to string, data []byte) error {
	to, err := t.name(to)
	if err != nil {
		return err
	}
	w, err := t.Create(to)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return errors.Join(err, w.Close())
}

// exists tells whether anything has the name.
func exists(f fs.FS, name string) bool {
	_, err := fs.Lstat(f, name)
	return err == nil
}

// removeAll removes what has the name, and all below it; links are not followed.
func removeAll(f Files, name string) error {
	info, err := fs.Lstat(f, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.IsDir() {
		return errors.Join(err, remove(f, name))
	}
	var names []string
	err = fs.WalkDir(f, name, func(name string, _ fs.DirEntry, err error) error {
		names = append(names, name)
		return err
	})
	for _, name := range slices.Backward(names) {
		if err == nil {
			err = remove(f, name)
		}
	}
	return err
}
