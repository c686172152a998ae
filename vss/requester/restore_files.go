package requester

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A planned file is to be put back.
type planned struct {
	vss.FoundFile
	to     string          // of Windows
	name   string          // in the destination
	ranges []vss.Range     // the parts of the file that the backup has; nil for a whole file
	pieces []directedPiece // where they go instead, if the writer directs them
}

// errNoAlternate is a file set that must go elsewhere and has no place to go.
var errNoAlternate = fmt.Errorf("%w: no alternate location", vss.ErrObjectNotFound)

// putBack restores the files of every item whose writer has not refused.
func (j *restoreJob) putBack(ctx context.Context) {
	files, to := below{j.Source, FilesName}, newTree(j.Destination)
	for _, it := range j.items {
		if it.Err == nil {
			j.putBackItem(ctx, to, files, it)
		}
	}
}

func (j *restoreJob) putBackItem(ctx context.Context, to *tree, files fs.FS, it *item) {
	plan, err := j.decide(ctx, files, it)
	if err != nil {
		it.Err = err
		return
	}
	before := to.wrote
	for _, p := range plan {
		if it.Err = j.putBackFile(ctx, to, files, it, p); it.Err != nil {
			break
		}
	}
	switch {
	case it.Err == nil:
		it.Status = vss.FilesAll
	case to.wrote > before:
		it.Status = vss.FilesFailed
	}
}

func (j *restoreJob) putBackFile(ctx context.Context, to *tree, files fs.FS, it *item, p planned) error {
	if err := sim.At(ctx, FaultRestore); err != nil {
		return phase("restore", p.to, err)
	}
	n, err := int64(0), error(nil)
	to.security = ""
	if p.pieces == nil { // others go into files that are somebody else's
		to.security = j.security[fold(p.Name)]
	}
	switch {
	case p.pieces != nil:
		n, err = to.putDirected(p.name, files, p)
	case p.ranges != nil:
		n, err = to.putParts(p.name, files, p)
	default:
		n, err = to.put(p.name, files, p.FoundFile)
	}
	if err != nil {
		return phase("restore", p.to, err)
	}
	sim.Emit(ctx, "requester/restore", "", sim.S("file", p.to), sim.N("bytes", n))
	it.Files++
	it.Bytes += n
	return nil
}

// decide finds the files of a component and their places, as the writer's restore
// target and method have it: all of them in one way, or none ("Setting VSS Restore
// Methods").
func (j *restoreJob) decide(ctx context.Context, files fs.FS, it *item) ([]planned, error) {
	method := vss.MethodCustom
	if it.writer.Restore != nil {
		method = it.writer.Restore.Method
	}
	switch {
	case it.target == vss.TargetDirected:
		return j.direct(files, it)
	case it.target == vss.TargetAlternate, it.target != vss.TargetOriginalLocation && method == vss.MethodRestoreToAlternateLocation:
		return j.elsewhere(ctx, files, it)
	}
	plan, err := j.plan(files, it, false)
	if err != nil {
		return nil, err
	}
	err = j.free(plan, method)
	if err == nil {
		return plan, nil
	}
	if it.target != vss.TargetOriginalLocation && it.mapped() {
		return j.elsewhere(ctx, files, it)
	}
	return nil, err
}

// free tells whether the method lets all files be put into their places.
func (j *restoreJob) free(plan []planned, method vss.RestoreMethod) error {
	if method == vss.MethodCustom {
		return nil
	}
	for _, p := range plan {
		info, err := fs.Lstat(j.Destination, p.name)
		switch {
		case err != nil: // what is wrong with the way there shows when it is made
		case info.IsDir() && p.Type.IsDir():
		case info.IsDir() || method == vss.MethodRestoreIfNotThere:
			return phase("restore", p.to, fs.ErrExist)
		case info.Mode().IsRegular() && info.Mode().Perm()&0o200 == 0:
			return phase("restore", p.to, fs.ErrPermission)
		case info.Mode().IsRegular():
			if err := j.writable(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// writable tells whether a file could be written, where the destination knows.
func (j *restoreJob) writable(p planned) error {
	if w, ok := j.Destination.(interface{ Writable(name string) error }); ok {
		return phase("restore", p.to, w.Writable(p.name))
	}
	return nil
}

// mapped tells whether every file set has an alternate location.
func (it *item) mapped() bool {
	for _, d := range it.sets {
		if _, ok := it.writer.AlternateLocation(d.spec); !ok && d.newTarget == "" {
			return false
		}
	}
	return len(it.sets) > 0
}

// elsewhere plans for the alternate locations, and notes in the document that
// they are used.
func (j *restoreJob) elsewhere(ctx context.Context, files fs.FS, it *item) ([]planned, error) {
	plan, err := j.plan(files, it, true)
	it.moved = err == nil
	if err != nil || !it.takesPart() {
		return plan, err
	}
	for _, d := range it.sets {
		dir, ok := it.writer.AlternateLocation(d.spec)
		if !ok || d.newTarget != "" {
			continue
		}
		if err := j.bc.AddAlternativeLocationMapping(ctx, it.ComponentChoice, vss.FileMapping{FileSpec: d.spec, Destination: dir}); err != nil {
			return nil, phase("AddAlternativeLocationMapping", it.FullPath(), err)
		}
	}
	return plan, nil
}

// plan lists the files of an item.
func (j *restoreJob) plan(files fs.FS, it *item, alternate bool) ([]planned, error) {
	var plan []planned
	seen := make(map[string]bool)
	for _, d := range it.sets {
		list, err := j.planSet(files, it, d, alternate)
		if err != nil {
			return nil, phase("restore", d.spec.String(), err)
		}
		for _, p := range list {
			if key := fold(p.name); !seen[key] {
				seen[key] = true
				plan = append(plan, p)
			}
		}
	}
	return j.planParts(files, it, plan)
}

// planSet lists the files of a file set. They stand under their original paths.
func (j *restoreJob) planSet(files fs.FS, it *item, d *destination, alternate bool) ([]planned, error) {
	at := d.FileSet
	at.AlternatePath = ""
	at.Path = strings.TrimPrefix(at.Path, `\\?\`)
	dir := at.Path
	if d.newTarget != "" {
		dir = d.newTarget
	} else if alternate {
		mapping, ok := it.writer.AlternateLocation(d.spec)
		if !ok {
			return nil, errNoAlternate
		}
		dir = j.places.path(mapping)
	}
	found, err := vss.ExpandFileSet(files, "", at, vss.ExpandOptions{Excludes: it.excludes})
	if errors.Is(err, fs.ErrNotExist) && j.without(at) {
		return nil, nil
	}
	if errors.Is(err, fs.ErrNotExist) && (d.optional || at.Mask&vss.AllBackupRequired != vss.AllBackupRequired) {
		return nil, nil // another backup of the chain holds it
	}
	if err != nil {
		return nil, err
	}
	plan := make([]planned, len(found))
	for i, f := range found {
		to := dir + f.Path[len(at.Path):]
		name, err := fileName(to)
		if err != nil {
			return nil, err
		}
		plan[i] = planned{FoundFile: f, to: to, name: name}
	}
	return plan, nil
}
