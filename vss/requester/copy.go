package requester

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// The points at which the requester asks for a fault; the object is the actor it
// runs as.
const (
	FaultCopy    sim.Point = "requester/copy"    // before a file is copied out of a shadow copy
	FaultRestore sim.Point = "requester/restore" // before a file is put back
)

// FaultPoints lists the requester's own fault points.
func FaultPoints() []sim.FaultPoint {
	full := sim.Outcome{Err: 0x80070070}
	dies := sim.Outcome{Kill: "."}
	return []sim.FaultPoint{
		{Point: FaultCopy, Doc: "a file is about to be copied out of a shadow copy", Outcomes: []sim.Outcome{full, dies}},
		{Point: FaultRestore, Doc: "a file is about to be put back", Outcomes: []sim.Outcome{full, dies}},
	}
}

// copy copies the files of the chosen components out of the shadow copies. Which
// files there are is seen only now. A file that several components have is copied
// once.
func (j *job) copy(ctx context.Context) error {
	done := make(map[string]bool)
	for _, c := range j.chosen {
		for _, m := range c.members {
			for set := range m.FileSets() {
				if err := j.copySet(ctx, c, *set, done); err != nil {
					return err
				}
			}
		}
		j.result.Files += c.Files
		j.result.Bytes += c.Bytes
	}
	return nil
}

// copySet copies the files of one file set.
func (j *job) copySet(ctx context.Context, c *chosen, set vss.FileSet, done map[string]bool) error {
	i := slices.IndexFunc(j.result.Volumes, func(v Volume) bool { return v.Name == j.volumeOf(set.Source().Path) })
	if i < 0 {
		return &Error{Phase: "copy", On: set.String(), Err: fs.ErrNotExist}
	}
	v := j.result.Volumes[i]
	shadow, err := j.Service.Open(v.Device)
	if err != nil {
		return &Error{Phase: "copy", On: v.Device, Err: err}
	}
	found, err := vss.ExpandFileSet(shadow, v.Name, set, vss.ExpandOptions{Excludes: c.excludes()})
	if err != nil {
		return &Error{Phase: "copy", On: set.String(), Err: err}
	}
	for _, f := range found {
		to := FilesName + "/" + fileName(f.Path)
		if done[to] {
			continue
		}
		done[to] = true
		n, err := j.copyOne(ctx, shadow, f, to)
		if err != nil {
			return &Error{Phase: "copy", On: f.Path, Err: err}
		}
		c.Files++
		c.Bytes += n
	}
	return nil
}

func (c *chosen) excludes() []vss.FileSpec {
	out := make([]vss.FileSpec, len(c.writer.Excludes))
	for i, x := range c.writer.Excludes {
		out[i] = x.FileSpec
	}
	return out
}

func (j *job) copyOne(ctx context.Context, shadow fs.FS, f vss.FoundFile, to string) (int64, error) {
	if err := sim.At(ctx, FaultCopy); err != nil {
		return 0, err
	}
	n, err := place(j.Target, to, shadow, f)
	if err == nil {
		sim.Emit(ctx, "requester/copy", "", sim.S("file", f.Path), sim.N("bytes", n))
	}
	return n, err
}

// place puts what was found in one tree to a name in another.
func place(dst Files, to string, src fs.FS, f vss.FoundFile) (int64, error) {
	switch {
	case f.Type.IsDir():
		return 0, mkdirAll(dst, to)
	case f.Type&fs.ModeSymlink != 0:
		target, err := fs.ReadLink(src, f.Name)
		if err == nil {
			err = mkdirAll(dst, path.Dir(to))
		}
		if err != nil {
			return 0, err
		}
		if err := dst.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		return 0, dst.Symlink(target, to)
	default:
		return copyFile(dst, to, src, f.Name)
	}
}
