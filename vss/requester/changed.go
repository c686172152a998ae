package requester

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
)

// refine reads what the writers said about single files, which they may do until
// the shadow copies are there.
func (j *job) refine() error {
	n, err := j.bc.GetWriterComponentsCount()
	for i := range n {
		w, e := j.bc.GetWriterComponents(i)
		if e != nil {
			return phase("GetWriterComponents", "", e)
		}
		for _, c := range j.chosen {
			if c.WriterID != w.WriterID || c.InstanceID != w.InstanceID {
				continue
			}
			if r := w.Component(c.ComponentKey); r != nil {
				c.partial = r.PartialFiles
				c.differing = r.DifferencedFiles
			}
		}
	}
	return phase("GetWriterComponents", "", err)
}

// differing copies, whole, the files of a specification that changed since the
// moment the writer names; at no moment all of them, as no records of earlier
// backups are kept. The files are settled thereby, whatever file sets say.
func (c *copier) differing(ctx context.Context, comp *chosen, d *vss.DifferencedFiles, settled map[string]bool) error {
	set := comp.sourceOf(d.FileSpec)
	if set == nil {
		set = &source{FileSet: c.job.places.fileSet(vss.FileSet{FileSpec: d.FileSpec})}
		set.on = c.job.places.volumeOf(set.Path)
	}
	if set.on == nil || set.on.shadow == nil {
		return phase("copy", d.FileSpec.String(), fmt.Errorf("%w: changed files outside of the shadow copies", vss.ErrObjectNotFound))
	}
	found, err := c.expand(ctx, comp, set)
	if err != nil {
		return err
	}
	for _, f := range found {
		if settled[fold(f.Path)] {
			continue
		}
		settled[fold(f.Path)] = true
		changed, err := changedSince(set.on.shadow, f, d.LastModified)
		if err != nil {
			return phase("copy", f.Path, err)
		}
		if !changed {
			continue
		}
		if err := c.whole(ctx, comp, set, f); err != nil {
			return err
		}
	}
	return nil
}

func changedSince(fsys fs.FS, f vss.FoundFile, since vss.Filetime) (bool, error) {
	if since == 0 {
		return true, nil
	}
	info, err := fs.Lstat(fsys, f.Name)
	return err == nil && vss.FiletimeOf(info.ModTime()) > since, err
}

// sourceOf finds the file set that is named by the same words.
func (c *chosen) sourceOf(f vss.FileSpec) *source {
	for i := range c.sets {
		if c.sets[i].words.Same(f) {
			return &c.sets[i]
		}
	}
	return nil
}

// partial copies the ranges of a file: they stand in the target one behind the
// other, in the order of their offsets. A file of ranges is copied as well. What
// is named as changed too, which is the writer's mistake, is copied whole.
func (c *copier) partial(ctx context.Context, comp *chosen, p *vss.PartialFile, settled map[string]bool) error {
	path := c.job.places.path(p.Path) + `\` + p.Name
	if settled[fold(path)] {
		return nil
	}
	settled[fold(path)] = true
	ranges, err := c.ranges(ctx, comp, p.Ranges)
	if err != nil {
		return phase("copy", path, err)
	}
	return c.file(ctx, comp, path, func(to string) (int64, error) {
		fsys, name, err := c.job.find(comp.readAt(path))
		if err != nil {
			return 0, err
		}
		return c.to.putRanges(to, fsys, name, ranges)
	})
}

// ranges reads ranges, out of their file in the shadow copy if they are in one.
func (c *copier) ranges(ctx context.Context, comp *chosen, text string) ([]vss.Range, error) {
	list, file, err := vss.ParseRanges(text)
	if err != nil || file == "" {
		return list, err
	}
	file = c.job.places.path(file)
	fsys, name, err := c.job.find(file)
	if err != nil {
		return nil, err
	}
	err = c.file(ctx, comp, file, func(to string) (int64, error) {
		return c.to.put(to, fsys, vss.FoundFile{Name: name, Path: file})
	})
	if err != nil {
		return nil, err
	}
	return readRanges(fsys, name)
}

// readAt is where a backup reads a file: below the alternate path of the file set
// that holds it, if that has one.
func (c *chosen) readAt(path string) string {
	for i := range c.sets {
		s := &c.sets[i]
		rest, ok := cutDirectory(path, s.Path)
		if !ok || s.AlternatePath == "" {
			continue
		}
		dir, name, _ := cutLast(rest)
		if (dir == "" || s.Recursive) && vss.MatchFileName(s.Spec, name) {
			return s.AlternatePath + rest
		}
	}
	return path
}

// cutLast cuts a path at its last backslash.
func cutLast(path string) (dir, name string, ok bool) {
	i := strings.LastIndexByte(path, '\\')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// find finds one file in the shadow copies.
func (j *job) find(path string) (fs.FS, string, error) {
	v := j.places.volumeOf(path)
	if v == nil || v.shadow == nil {
		return nil, "", fmt.Errorf("%w: %s is not on a shadow copy", vss.ErrObjectNotFound, path)
	}
	dir, name, _ := cutLast(path)
	set := vss.FileSet{FileSpec: vss.FileSpec{Path: dir + `\`, Spec: name}}
	found, err := vss.ExpandFileSet(v.shadow, v.Name, set, vss.ExpandOptions{})
	if err != nil {
		return nil, "", err
	}
	return v.shadow, found[0].Name, nil
}
