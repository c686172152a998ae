package requester

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
)

// planParts notes which planned files the backup has only parts of, and adds
// those that belong to no file set, and the files that hold the ranges.
func (j *restoreJob) planParts(files fs.FS, it *item, plan []planned) ([]planned, error) {
	if len(it.subcomponents) > 0 {
		return j.markParts(files, it, plan)
	}
	for i := range it.stored.PartialFiles {
		p := &it.stored.PartialFiles[i]
		for _, path := range j.pathsOf(p) {
			known := slices.ContainsFunc(plan, func(k planned) bool { return fold(k.Path) == fold(path) })
			if known {
				continue
			}
			f, err := fileIn(files, path)
			if err != nil {
				return nil, phase("restore", path, err)
			}
			to := path
			if path != j.partialPath(p) && j.RangesDirectory != "" {
				_, name, _ := cutLast(path)
				to = j.places.path(j.RangesDirectory) + `\` + name
			}
			name, err := fileName(to)
			if err != nil {
				return nil, phase("restore", to, err)
			}
			plan = append(plan, planned{FoundFile: f, to: to, name: name})
		}
	}
	return j.markParts(files, it, plan)
}

// markParts finds the ranges of partial files.
func (j *restoreJob) markParts(files fs.FS, it *item, plan []planned) ([]planned, error) {
	for i := range it.stored.PartialFiles {
		p := &it.stored.PartialFiles[i]
		at := slices.IndexFunc(plan, func(k planned) bool { return fold(k.Path) == fold(j.partialPath(p)) })
		if at < 0 || it.changed(plan[at].Path, j.places) {
			continue
		}
		ranges, err := j.rangesOf(files, p)
		if err != nil {
			return nil, phase("restore", plan[at].to, err)
		}
		plan[at].ranges = append([]vss.Range{}, ranges...)
	}
	return plan, nil
}

// changed tells whether the backup has a file whole because the writer named it
// as changed too.
func (it *item) changed(path string, places *places) bool {
	for _, d := range it.stored.DifferencedFiles {
		rest, ok := cutDirectory(path, places.path(d.Path))
		dir, name, _ := cutLast(rest)
		if ok && (dir == "" || d.Recursive) && vss.MatchFileName(d.Spec, name) {
			return true
		}
	}
	return false
}

func (j *restoreJob) partialPath(p *vss.PartialFile) string {
	return j.places.path(p.Path) + `\` + p.Name
}

// pathsOf lists the files that a backup has of a partial one: itself, and the
// file of its ranges.
func (j *restoreJob) pathsOf(p *vss.PartialFile) []string {
	paths := []string{j.partialPath(p)}
	if _, file, err := vss.ParseRanges(p.Ranges); err == nil && file != "" {
		paths = append(paths, j.places.path(file))
	}
	return paths
}

// fileIn finds a file of the backup.
func fileIn(files fs.FS, path string) (vss.FoundFile, error) {
	dir, name, _ := cutLast(strings.TrimPrefix(path, `\\?\`))
	found, err := vss.ExpandFileSet(files, "", vss.FileSet{FileSpec: vss.FileSpec{Path: dir + `\`, Spec: name}}, vss.ExpandOptions{})
	if err != nil {
		return vss.FoundFile{}, err
	}
	return found[0], nil
}

// rangesOf reads the ranges of a partial file, in the order in which the backup
// has them.
func (j *restoreJob) rangesOf(files fs.FS, p *vss.PartialFile) ([]vss.Range, error) {
	ranges, file, err := vss.ParseRanges(p.Ranges)
	if err == nil && file != "" {
		var f vss.FoundFile
		if f, err = fileIn(files, j.places.path(file)); err == nil {
			ranges, err = readRanges(files, f.Name)
		}
	}
	if err != nil {
		return nil, err
	}
	return inOffsetOrder(ranges)
}

// tellRanges tells the writers where files of ranges went.
func (j *restoreJob) tellRanges(ctx context.Context) error {
	if j.RangesDirectory == "" {
		return nil
	}
	for _, it := range j.items {
		if !it.takesPart() || it.Err != nil || len(it.subcomponents) > 0 {
			continue
		}
		for i := range it.stored.PartialFiles {
			paths := j.pathsOf(&it.stored.PartialFiles[i])
			if len(paths) < 2 {
				continue
			}
			_, name, _ := cutLast(paths[1])
			to := strings.TrimSuffix(j.RangesDirectory, `\`) + `\` + name
			if err := j.bc.SetRangesFilePath(ctx, it.ComponentChoice, i, to); err != nil {
				return phase("SetRangesFilePath", it.FullPath(), err)
			}
		}
	}
	return nil
}

// putParts puts the parts of a file, which stand one behind the other in the
// backup, to their places in the file.
func (t *tree) putParts(to string, files fs.FS, p planned) (int64, error) {
	return t.putDirected(to, files, planned{FoundFile: p.FoundFile, pieces: inPlace(p.ranges)})
}

// A directedPiece is a part of a file of the backup that goes to an offset.
type directedPiece struct{ at, n, offset int64 }

func inPlace(ranges []vss.Range) []directedPiece {
	pieces := []directedPiece{}
	at := int64(0)
	for _, r := range ranges {
		pieces = append(pieces, directedPiece{at, int64(r.Length), int64(r.Offset)})
		at += int64(r.Length)
	}
	return pieces
}

// putDirected puts pieces of a file of the backup into another file.
func (t *tree) putDirected(to string, files fs.FS, p planned) (n int64, err error) {
	f, err := files.Open(p.Name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	pieces := make([]piece, len(p.pieces))
	for i, d := range p.pieces {
		pieces[i] = piece{from: f, at: d.at, n: d.n, offset: d.offset}
	}
	return t.patch(to, info, pieces)
}

// direct plans for directed targets: the parts of files go where the writer says,
// and files of which it says nothing to their own places ("IVssComponent::
// AddDirectedTarget").
func (j *restoreJob) direct(files fs.FS, it *item) ([]planned, error) {
	all, err := j.plan(files, it, false)
	if err != nil {
		return nil, err
	}
	var plan, directed []planned
	taken := make(map[string]bool)
	for _, d := range it.directed {
		p, err := j.directOne(all, d)
		if err != nil {
			return nil, phase("restore", d.Source.Path+`\`+d.Source.Name, err)
		}
		taken[fold(p.Path)] = true
		directed = append(directed, p)
	}
	for _, p := range all {
		if !taken[fold(p.Path)] {
			plan = append(plan, p)
		}
	}
	return append(plan, directed...), nil
}

func (j *restoreJob) directOne(all []planned, d vss.DirectedTarget) (planned, error) {
	source := j.places.path(d.Source.Path) + `\` + d.Source.Name
	at := slices.IndexFunc(all, func(k planned) bool { return fold(k.Path) == fold(source) })
	if at < 0 {
		return planned{}, fmt.Errorf("%w: not in the backup", vss.ErrObjectNotFound)
	}
	p := all[at]
	from, _, err := vss.ParseRanges(d.Source.Ranges)
	to, _, err2 := vss.ParseRanges(d.Destination.Ranges)
	if err := errors.Join(err, err2); err != nil {
		return planned{}, err
	}
	if p.pieces, err = pair(from, to, p.ranges); err != nil {
		return planned{}, err
	}
	p.to = j.places.path(d.Destination.Path) + `\` + d.Destination.Name
	p.name, err = fileName(p.to)
	return p, err
}

// pair matches source ranges with those of the destination. Where the backup has
// only parts of the source they must be these parts.
func pair(from, to, parts []vss.Range) ([]directedPiece, error) {
	if len(from) != len(to) || len(from) == 0 {
		return nil, fmt.Errorf("%w: %d ranges are sent to %d", vss.ErrInvalidArg, len(from), len(to))
	}
	var pieces []directedPiece
	for i, r := range from {
		at := int64(r.Offset)
		switch {
		case r.Length != to[i].Length || r.Offset > math.MaxInt64 || to[i].Offset > math.MaxInt64-r.Length:
			return nil, fmt.Errorf("%w: range %v is sent to %v", vss.ErrInvalidArg, r, to[i])
		case parts != nil:
			k := slices.Index(parts, r)
			if k < 0 {
				return nil, fmt.Errorf("%w: range %v is not in the backup", vss.ErrObjectNotFound, r)
			}
			at = inPlace(parts)[k].at
		}
		pieces = append(pieces, directedPiece{at, int64(r.Length), int64(to[i].Offset)})
	}
	slices.SortStableFunc(pieces, func(a, b directedPiece) int {
		return int(min(max(a.offset-b.offset, -1), 1))
	})
	for i := 1; i < len(pieces); i++ {
		if pieces[i].offset < pieces[i-1].offset+pieces[i-1].n {
			return nil, fmt.Errorf("%w: ranges of the destination overlap", vss.ErrInvalidArg)
		}
	}
	return pieces, nil
}
