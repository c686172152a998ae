package vsstest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// A judgeImage is what one backup must hold of a component.
type judgeImage struct {
	stamp     string
	component vss.ComponentKey
	typ       vss.BackupType
	base      *judgeImage
	files     map[string]judgeFile // by name: files that it must hold whole
	may       map[string]judgeFile // files that it may hold
	parts     map[string][]judgePart
	state     map[string]judgeFile // all files of the component at that moment
	owner     map[string]vss.FileSpec
}

// A judgePart is a range of a file, and its bytes.
type judgePart struct {
	vss.Range
	data string
}

// A judgeHistory is the backups on which later ones of a component can build.
type judgeHistory struct{ full, last *judgeImage }

// PrepareBackup looks at the choice of components.
func (j *Judge) PrepareBackup(_ context.Context, ev *vss.PrepareBackupEvent) error {
	s := j.session(ev.SessionID(), vss.EventPrepareBackup)
	s.typ = j.config.Schema.Effective(ev.BackupType())
	s.partials = ev.PartialFiles()
	const call = "PrepareForBackup"
	for _, c := range ev.Components().All() {
		s.added = append(s.added, c.Key())
		j.checkStamp(s, c.Record())
	}
	if !ev.ComponentsSelected() {
		return j.refuse(s, vss.EventPrepareBackup)
	}
	for _, err := range unjoin(vss.NewComponentTree(j.metadata.Components).Check(s.added)) {
		j.report(s, call, "has chosen components wrongly: %v", err)
	}
	for _, key := range s.added {
		for _, m := range j.members(key) {
			for _, d := range m.Dependencies {
				if !d.Remote() && !j.hasCall(s, "AddComponent", d) {
					j.report(s, call, "backs up %s without %s of writer %s, on which it depends", m.FullPath(), d.FullPath(), guid.Braced(d.WriterID))
				}
			}
		}
	}
	return j.refuse(s, vss.EventPrepareBackup)
}

func unjoin(err error) []error {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		return list.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// checkStamp looks whether a backup builds on the right one.
func (j *Judge) checkStamp(s *judgeSession, r *vss.ComponentRecord) {
	if s.typ != vss.BackupIncremental && s.typ != vss.BackupDifferential {
		return
	}
	h := j.history[componentName(r.ComponentKey)]
	var want *judgeImage
	if h != nil && s.typ == vss.BackupIncremental {
		want = h.last
	} else if h != nil {
		want = h.full
	}
	switch {
	case want == nil:
		j.report(s, "PrepareForBackup", "makes an %v backup of %s, which has no full one", s.typ, r.FullPath())
	case r.PreviousBackupStamp == "":
		j.report(s, "SetPreviousBackupStamp", "does not say which backup of %s it builds on", r.FullPath())
	case r.PreviousBackupStamp != want.stamp:
		j.report(s, "SetPreviousBackupStamp", "builds on the backup %q of %s, where the last one is %q", r.PreviousBackupStamp, r.FullPath(), want.stamp)
	}
}

// PrepareSnapshot looks at the volumes, and makes the copies that are backed up in
// the place of files.
func (j *Judge) PrepareSnapshot(_ context.Context, ev *vss.PrepareSnapshotEvent) error {
	s := j.session(ev.SessionID(), vss.EventPrepareSnapshot)
	for set, c := range j.setsOf(s) {
		path := set.Source().Path
		if set.Mask.BackupRequired(s.typ) && set.Mask.SnapshotRequired(s.typ) && !ev.IsPathAffected(vss.ExpandEnvironment(path, j.options.Environment)) {
			j.report(s, "AddToSnapshotSet", "makes no shadow copy of the volume of %s, which component %s needs", set.Source(), c.FullPath())
		}
		if set.AlternatePath != "" {
			if err := j.spit(*set); err != nil {
				return err
			}
		}
	}
	return j.refuse(s, vss.EventPrepareSnapshot)
}

// setsOf walks the file sets of the components of a session, and of what came
// along with them.
func (j *Judge) setsOf(s *judgeSession) func(yield func(*vss.FileSet, *JudgeComponent) bool) {
	return func(yield func(*vss.FileSet, *JudgeComponent) bool) {
		for _, key := range s.added {
			for _, m := range j.members(key) {
				for set := range m.FileSets() {
					if !yield(set, m) {
						return
					}
				}
			}
		}
	}
}

// spitMark tells the copy at an alternate path from the file itself.
const spitMark = "\n(as it is backed up)"

// spit copies files to the alternate path from which they are backed up.
func (j *Judge) spit(set vss.FileSet) error {
	to := j.files.name(set.AlternatePath)
	from := set
	from.AlternatePath = ""
	found, err := j.files.find(from, nil)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Type.IsDir() {
			continue
		}
		file, err := j.files.read(f.Name)
		if err == nil {
			file.data = strings.TrimSuffix(file.data, spitMark) + spitMark
			err = j.files.write(to+strings.TrimPrefix(f.Name, j.files.name(set.Path)), file)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Freeze remembers the files.
func (j *Judge) Freeze(_ context.Context, ev *vss.FreezeEvent) error {
	s := j.session(ev.SessionID(), vss.EventFreeze)
	if err := j.refuse(s, vss.EventFreeze); err != nil {
		return err
	}
	for _, key := range s.added {
		image := &judgeImage{
			stamp: fmt.Sprintf("%s-%d", j.options.Name, len(j.images)+1), component: key, typ: s.typ,
			files: make(map[string]judgeFile), may: make(map[string]judgeFile), parts: make(map[string][]judgePart),
			state: make(map[string]judgeFile), owner: make(map[string]vss.FileSpec),
		}
		for _, m := range j.members(key) {
			if err := j.remember(s, image, m); err != nil {
				return err
			}
		}
		j.images[image.stamp] = image
		s.images[componentName(key)] = image
	}
	return nil
}

// remember notes what a backup must hold of one component.
func (j *Judge) remember(s *judgeSession, image *judgeImage, c *JudgeComponent) error {
	for set := range c.FileSets() {
		found, err := j.files.find(*set, j.config.Excludes)
		if err != nil {
			return err
		}
		for _, f := range found {
			file, err := j.files.read(f.Name)
			if err != nil {
				return err
			}
			to := judgeKey(j.files.name(f.Path))
			image.state[to], image.owner[to] = file, set.FileSpec
			if file.mode.IsDir() {
				continue // the last image need not hold an empty one
			}
			if set.Mask.BackupRequired(s.typ) {
				image.files[to] = file
			}
		}
	}
	if err := j.rememberChanged(s, image, c); err != nil {
		return err
	}
	return j.rememberParts(s, image, c)
}

// namesChanged tells whether the judge names changed files in a session.
func (j *Judge) namesChanged(s *judgeSession) bool {
	return s.typ == vss.BackupIncremental || s.typ == vss.BackupDifferential
}

func (j *Judge) namesParts(s *judgeSession) bool {
	never := j.config.Schema&(vss.SchemaIncremental|vss.SchemaDifferential) == 0
	return s.partials && (never || j.namesChanged(s))
}

func (j *Judge) rememberChanged(s *judgeSession, image *judgeImage, c *JudgeComponent) error {
	if !j.namesChanged(s) {
		return nil
	}
	for _, d := range c.Differenced {
		set := vss.FileSet{FileSpec: d.FileSpec}
		for known := range c.FileSets() {
			if known.Same(d.FileSpec) {
				set = *known
			}
		}
		found, err := j.files.find(set, j.config.Excludes)
		if err != nil {
			return err
		}
		for _, f := range found {
			file, err := j.files.read(f.Name)
			if err != nil {
				return err
			}
			to := judgeKey(j.files.name(f.Path))
			delete(image.files, to)
			image.state[to], image.owner[to] = file, d.FileSpec
			switch {
			case d.LastModified == 0:
				image.may[to] = file
			case vss.FiletimeOf(file.modified) > d.LastModified:
				image.files[to] = file
			}
		}
	}
	return nil
}

func (j *Judge) rememberParts(s *judgeSession, image *judgeImage, c *JudgeComponent) error {
	if !j.namesParts(s) {
		return nil
	}
	for _, p := range c.Partial {
		name := j.files.name(p.Path) + "/" + p.Name
		file, err := j.files.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		ranges, where, err2 := vss.ParseRanges(p.Ranges)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if where != "" {
			holder, err := j.files.read(j.files.name(where))
			if err == nil {
				ranges, err = vss.ReadRangesFile(strings.NewReader(holder.data))
			}
			if err != nil {
				return err
			}
			image.may[judgeKey(j.files.name(where))] = holder
		}
		name = judgeKey(name)
		delete(image.files, name)
		image.parts[name] = []judgePart{}
		for _, r := range ranges {
			if end := r.Offset + r.Length; end <= uint64(len(file.data)) {
				image.parts[name] = append(image.parts[name], judgePart{r, file.data[r.Offset:end]})
			}
		}
	}
	return nil
}

// Thaw goes on.
func (j *Judge) Thaw(_ context.Context, ev *vss.ThawEvent) error {
	return j.refuse(j.session(ev.SessionID(), vss.EventThaw), vss.EventThaw)
}

// Abort is the end of a backup that was given up.
func (j *Judge) Abort(_ context.Context, ev *vss.AbortEvent) error {
	return j.refuse(j.session(ev.SessionID(), vss.EventAbort), vss.EventAbort)
}

// PostSnapshot names partial and changed files, and deletes the live ones.
func (j *Judge) PostSnapshot(_ context.Context, ev *vss.PostSnapshotEvent) error {
	s := j.session(ev.SessionID(), vss.EventPostSnapshot)
	for _, w := range ev.Components().All() {
		image := s.images[componentName(w.Key())]
		if image == nil {
			continue
		}
		image.base = j.images[w.Record().PreviousBackupStamp]
		err := w.SetBackupMetadata([]byte(image.stamp))
		if j.config.Schema&vss.SchemaTimestamped != 0 {
			err = errors.Join(err, w.SetBackupStamp(image.stamp))
		}
		for _, m := range j.members(w.Key()) {
			err = errors.Join(err, j.nameFiles(s, m, w))
		}
		if err != nil {
			return err
		}
	}
	if err := j.refuse(s, vss.EventPostSnapshot); err != nil {
		return err
	}
	return j.deleteLive(s)
}

func (j *Judge) nameFiles(s *judgeSession, m *JudgeComponent, w *vss.WriterComponent) error {
	var errs []error
	if j.namesParts(s) {
		for _, p := range m.Partial {
			errs = append(errs, w.AddPartialFile(p))
		}
	}
	if j.namesChanged(s) {
		for _, d := range m.Differenced {
			errs = append(errs, w.AddDifferencedFiles(d.FileSpec, d.LastModified.Time()))
		}
	}
	return errors.Join(errs...)
}

// deleteLive deletes the files that must be read from the shadow copies.
func (j *Judge) deleteLive(s *judgeSession) error {
	for set, c := range j.setsOf(s) {
		if !set.Mask.SnapshotRequired(s.typ) {
			continue
		}
		found, err := j.files.find(vss.FileSet{FileSpec: set.FileSpec}, j.config.Excludes)
		copies, err2 := j.files.find(*set, j.config.Excludes)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		for _, f := range append(found, copies...) {
			if f.Type.IsDir() || !j.deletes(s, c, f.Name) {
				continue
			}
			if err := j.files.Remove(f.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// deletes tells by which switch a file is deleted, and whether it is on.
func (j *Judge) deletes(s *judgeSession, c *JudgeComponent, name string) bool {
	partial := slices.ContainsFunc(c.Partial, func(p vss.PartialFile) bool {
		return j.files.holds(vss.FileSpec{Path: p.Path, Spec: p.Name}, name)
	})
	changed := slices.ContainsFunc(c.Differenced, func(d vss.DifferencedFiles) bool { return j.files.holds(d.FileSpec, name) })
	switch {
	case partial:
		return j.config.DeletePartialFiles && s.partials
	case changed:
		return j.config.DeleteDifferencedFiles
	}
	return j.config.DeleteFiles
}

// BackupComplete looks at what the requester says it has safe.
func (j *Judge) BackupComplete(_ context.Context, ev *vss.BackupCompleteEvent) error {
	s := j.session(ev.SessionID(), vss.EventBackupComplete)
	if err := j.refuse(s, vss.EventBackupComplete); err != nil {
		return err
	}
	for _, w := range ev.Components().All() {
		image := s.images[componentName(w.Key())]
		if !w.BackupSucceeded() || image == nil {
			continue
		}
		h := j.history[componentName(w.Key())]
		if h == nil {
			h = &judgeHistory{}
			j.history[componentName(w.Key())] = h
		}
		switch s.typ {
		case vss.BackupFull:
			h.full, h.last = image, image
		case vss.BackupIncremental:
			h.last = image
		}
	}
	return nil
}
