package requester

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// MissingName is the file of a target that names the files which the backup did
// without ([Backup.MayBeMissing]): for each a line with its path below the directory
// of files, in UTF-8. A restore does without those, and no others. There is none if
// nothing was missing.
const MissingName = "Missing.txt"

// expand lists the files of a file set in the shadow copy: none where the one file
// that it names is gone, and may be.
func (c *copier) expand(ctx context.Context, comp *chosen, set *source) ([]vss.FoundFile, error) {
	found, err := vss.ExpandFileSet(set.on.shadow, set.on.Name, set.FileSet, vss.ExpandOptions{Excludes: comp.excludes})
	if err == nil && len(found) == 0 || errors.Is(err, fs.ErrNotExist) { // or is it the shadow copy that is gone?
		if _, err := fs.Stat(set.on.shadow, "."); err != nil {
			return nil, phase("copy", set.FileSpec.String(), err)
		}
	}
	if may := c.job.MayBeMissing; errors.Is(err, fs.ErrNotExist) && may != nil {
		if path := pathOf(set.FileSet); may(comp.writer, path) {
			return nil, c.without(ctx, comp, path)
		}
	}
	return found, phase("copy", set.FileSpec.String(), err)
}

// pathOf is the path of the file that a file set without wildcards names.
func pathOf(set vss.FileSet) string { return strings.TrimSuffix(set.Path, `\`) + `\` + set.Spec }

// without notes that the backup does without a file.
func (c *copier) without(ctx context.Context, comp *chosen, path string) error {
	name, err := fileName(path)
	if err == nil && strings.ContainsAny(name, "\r\n") {
		err = fmt.Errorf("%w: %q", fs.ErrInvalid, path)
	}
	if err != nil {
		return phase("copy", path, err)
	}
	if slices.ContainsFunc(comp.Missing, func(p string) bool { return fold(p) == fold(path) }) {
		return nil // several sets name it
	}
	sim.Emit(ctx, "requester/missing", "", sim.S("file", path))
	comp.Missing = append(comp.Missing, path)
	c.missing = append(append(c.missing, strings.ReplaceAll(name, "/", `\`)...), "\r\n"...)
	return nil
}

// saveMissing stores what the backup did without, if there is anything.
func (c *copier) saveMissing() error {
	if len(c.missing) == 0 {
		return nil
	}
	return phase("save", MissingName, newTree(c.job.Target).writeFile(MissingName, c.missing))
}

// loadMissing reads what a backup did without, as folded names of files.
func loadMissing(source fs.FS) (map[string]bool, error) {
	text, err := readText(source, MissingName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, phase("load", MissingName, err)
	}
	out := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		name := strings.ReplaceAll(strings.TrimRight(line, "\r\n"), `\`, "/")
		if !fs.ValidPath(name) {
			return nil, phase("load", MissingName, fmt.Errorf("%w: %q names no file", fs.ErrInvalid, line))
		}
		out[fold(name)] = true
	}
	return out, nil
}

// without tells whether the backup did without the file that a file set names.
func (j *restoreJob) without(set vss.FileSet) bool {
	if len(j.missing) == 0 {
		return false
	}
	name, err := fileName(pathOf(set))
	return err == nil && j.missing[fold(name)]
}
