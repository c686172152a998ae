package requester

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Restore is a restore that can be run, from what a [Backup] left in its
// target. All but Service, Source and Destination may be left zero.
type Restore struct {
	Service     *vss.Service
	Source      fs.FS
	Destination Files

	// Select chooses among the components of the backup; all of them if nil.
	Select func(w *vss.WriterMetadata, c *vss.ComponentInfo) bool

	// NewTarget sends the files of a file set to another directory. The writer
	// must support it.
	NewTarget func(w *vss.WriterMetadata, c *vss.ComponentInfo, set vss.FileSet) (dir string, ok bool)
}

// A Report is what a restore did.
type Report struct {
	Components []RestoredComponent
	Writers    []vss.WriterStatus // at the end
	Files      int
	Bytes      int64
}

// A RestoredComponent is a component of a restore, and how its files were put
// back.
type RestoredComponent struct {
	Component
	Status vss.FileRestoreStatus
	Err    error // why not all of them
}

// Run restores what is chosen. Each component's files are all put back, or the
// writer is told that they are not; a writer that refused in PreRestore keeps its
// files as they are. When a component or a writer failed, Run returns the report
// and an error.
//
// Components of a writer that is not running are restored as plain files.
func (r *Restore) Run(ctx context.Context) (*Report, error) {
	j := &restoreJob{Restore: r, report: &Report{}}
	err := inProcess(ctx, r.Service, "restore", j.run)
	return j.report, err
}

// A restoreJob is a restore that runs.
type restoreJob struct {
	*Restore
	bc     *vss.BackupComponents
	items  []*item
	report *Report
}

// An item is a component that is restored.
type item struct {
	RestoredComponent
	members   []*vss.ComponentInfo
	writer    *vss.WriterMetadata
	withEvent bool              // its writer runs and takes part
	targets   map[string]string // new directories, by file set
}

func (j *restoreJob) run(ctx context.Context) error {
	document, err := fs.ReadFile(j.Source, DocumentName)
	if err != nil {
		return &Error{Phase: "load", On: DocumentName, Err: err}
	}
	bc, err := j.Service.CreateBackupComponents(ctx)
	if err != nil {
		return &Error{Phase: "CreateBackupComponents", Err: err}
	}
	j.bc = bc
	defer func() { _ = bc.Release(ctx) }()
	err = first("Initialize",
		func() error { return bc.InitializeForRestore(ctx, bytes.NewReader(document)) },
		func() error { return bc.GatherWriterMetadata(ctx) },
	)
	if err != nil {
		return err
	}
	for _, phase := range []func(context.Context) error{j.choose, j.preRestore, j.putBack, j.postRestore} {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	return j.verdict()
}

// stored reads the metadata documents of the backup, by writer instance.
func (j *restoreJob) stored() (map[guid.GUID]*vss.WriterMetadata, error) {
	entries, err := fs.ReadDir(j.Source, WritersName)
	if err != nil {
		return nil, &Error{Phase: "load", On: WritersName, Err: err}
	}
	out := make(map[guid.GUID]*vss.WriterMetadata)
	for _, e := range entries {
		data, err := fs.ReadFile(j.Source, WritersName+"/"+e.Name())
		if err != nil {
			return nil, &Error{Phase: "load", On: e.Name(), Err: err}
		}
		m, err := vss.ReadWriterMetadata(bytes.NewReader(data))
		if err != nil {
			return nil, &Error{Phase: "load", On: e.Name(), Err: err}
		}
		out[m.Identity.InstanceID] = m
	}
	return out, nil
}

// choose selects components for the restore.
func (j *restoreJob) choose(ctx context.Context) error {
	stored, err := j.stored()
	if err != nil {
		return err
	}
	n, err := j.bc.GetWriterComponentsCount()
	if err != nil {
		return &Error{Phase: "SetSelectedForRestore", Err: err}
	}
	for i := range n {
		w, err := j.bc.GetWriterComponents(i)
		if err != nil {
			return &Error{Phase: "SetSelectedForRestore", Err: err}
		}
		m := stored[w.InstanceID]
		if m == nil {
			return &Error{Phase: "load", On: guid.String(w.WriterID), Err: ErrNoMetadata}
		}
		if err := j.chooseOf(ctx, m, w); err != nil {
			return err
		}
	}
	if len(j.items) == 0 {
		return &Error{Phase: "SetSelectedForRestore", Err: ErrNothing}
	}
	return nil
}

// ErrNoMetadata is a backup that lacks the metadata document of a writer.
var ErrNoMetadata = errors.New("the backup has no metadata document of the writer")

func (j *restoreJob) chooseOf(ctx context.Context, m *vss.WriterMetadata, w *vss.WriterRecord) error {
	tree := vss.NewComponentTree(m.Components)
	for _, r := range w.Components {
		info := m.Component(r.ComponentKey)
		if info == nil {
			return &Error{Phase: "load", On: r.FullPath(), Err: ErrNoMetadata}
		}
		if j.Select != nil && !j.Select(m, info) {
			continue
		}
		it := &item{writer: m, members: []*vss.ComponentInfo{info}, targets: make(map[string]string)}
		it.ComponentChoice = choice(m, info)
		it.Writer, it.Caption = m.Identity.FriendlyName, info.Caption
		for _, key := range tree.Members(r.ComponentKey) {
			it.members = append(it.members, m.Component(key))
		}
		if err := j.selectItem(ctx, it); err != nil {
			return &Error{Phase: "SetSelectedForRestore", On: r.FullPath(), Err: err}
		}
		j.items = append(j.items, it)
	}
	return nil
}

// selectItem tells the service of a choice, and of new places for its files.
func (j *restoreJob) selectItem(ctx context.Context, it *item) error {
	it.withEvent = it.writer.Restore != nil && it.writer.Restore.WriterRestore != vss.WriterRestoreNever
	if it.withEvent {
		err := j.bc.SetSelectedForRestore(ctx, it.ComponentChoice, true)
		if errors.Is(err, vss.ErrObjectNotFound) {
			it.withEvent = false
		} else if err != nil {
			return err
		}
	}
	if j.NewTarget == nil {
		return nil
	}
	for _, m := range it.members {
		for set := range m.FileSets() {
			dir, ok := j.NewTarget(it.writer, m, *set)
			if !ok {
				continue
			}
			it.targets[set.FileSpec.String()] = dir
			if !it.withEvent {
				continue
			}
			if err := j.bc.AddNewTarget(ctx, it.ComponentChoice, vss.FileMapping{FileSpec: set.FileSpec, Destination: dir}); err != nil {
				return err
			}
		}
	}
	return nil
}

// preRestore has the writers prepare, and notes the items of those that refuse.
func (j *restoreJob) preRestore(ctx context.Context) error {
	if !slices.ContainsFunc(j.items, func(it *item) bool { return it.withEvent }) {
		return nil
	}
	if err := j.bc.PreRestore(ctx); err != nil {
		return &Error{Phase: "PreRestore", Err: err}
	}
	if err := j.bc.GatherWriterStatus(ctx); err != nil {
		return &Error{Phase: "PreRestore", Err: err}
	}
	for _, st := range failed(j.bc, j.concerns) {
		for _, it := range j.items {
			if it.withEvent && it.WriterID == st.WriterID {
				it.Status = vss.FilesNone
				it.Err = &Error{Phase: "PreRestore", Writers: []vss.WriterStatus{st}}
			}
		}
	}
	return nil
}

func (j *restoreJob) concerns(st vss.WriterStatus) bool {
	return slices.ContainsFunc(j.items, func(it *item) bool { return it.withEvent && it.WriterID == st.WriterID })
}

// putBack restores the files of every item and says how it went.
func (j *restoreJob) putBack(ctx context.Context) error {
	files, err := fs.Sub(j.Source, FilesName)
	if err != nil {
		return &Error{Phase: "restore", Err: err}
	}
	for _, it := range j.items {
		if it.Err == nil {
			j.putBackItem(ctx, files, it)
		}
		j.report.Files += it.Files
		j.report.Bytes += it.Bytes
		if !it.withEvent {
			continue
		}
		if err := j.bc.SetFileRestoreStatus(ctx, it.ComponentChoice, it.Status); err != nil {
			return &Error{Phase: "SetFileRestoreStatus", On: it.FullPath(), Err: err}
		}
	}
	return nil
}

func (j *restoreJob) putBackItem(ctx context.Context, files fs.FS, it *item) {
	for _, m := range it.members {
		for set := range m.FileSets() {
			if err := j.putBackSet(ctx, files, it, *set); err != nil {
				it.Err = err
				it.Status = vss.FilesNone
				if it.Files > 0 {
					it.Status = vss.FilesFailed
				}
				return
			}
		}
	}
	it.Status = vss.FilesAll
}

func (j *restoreJob) putBackSet(ctx context.Context, files fs.FS, it *item, set vss.FileSet) error {
	at := set
	at.AlternatePath = "" // the files stand under their original paths
	found, err := vss.ExpandFileSet(files, "", at, vss.ExpandOptions{})
	if err != nil {
		return &Error{Phase: "restore", On: set.String(), Err: err}
	}
	for _, f := range found {
		to := f.Path
		if dir, ok := it.targets[set.FileSpec.String()]; ok {
			to = dir + f.Path[len(trimmed(set.Path)):]
		}
		if err := sim.At(ctx, FaultRestore); err != nil {
			return &Error{Phase: "restore", On: to, Err: err}
		}
		n, err := place(j.Destination, fileName(to), files, f)
		if err != nil {
			return &Error{Phase: "restore", On: to, Err: err}
		}
		sim.Emit(ctx, "requester/restore", "", sim.S("file", to), sim.N("bytes", n))
		it.Files++
		it.Bytes += n
	}
	return nil
}

func trimmed(dir string) string {
	for len(dir) > 0 && dir[len(dir)-1] == '\\' {
		dir = dir[:len(dir)-1]
	}
	return dir
}

// postRestore has the writers take the files into use.
func (j *restoreJob) postRestore(ctx context.Context) error {
	if !slices.ContainsFunc(j.items, func(it *item) bool { return it.withEvent }) {
		return nil
	}
	if err := j.bc.PostRestore(ctx); err != nil {
		return &Error{Phase: "PostRestore", Err: err}
	}
	if err := j.bc.GatherWriterStatus(ctx); err != nil {
		return &Error{Phase: "PostRestore", Err: err}
	}
	j.report.Writers = statuses(j.bc)
	return nil
}

// verdict is the error of a restore in which something failed.
func (j *restoreJob) verdict() error {
	var errs []error
	for _, it := range j.items {
		j.report.Components = append(j.report.Components, it.RestoredComponent)
		if it.Err != nil {
			errs = append(errs, it.Err)
		}
	}
	bad := slices.DeleteFunc(slices.Clone(j.report.Writers), func(st vss.WriterStatus) bool { return st.Err() == nil || !j.concerns(st) })
	if len(bad) > 0 {
		errs = append(errs, &Error{Phase: "PostRestore", Writers: bad})
	}
	return errors.Join(errs...)
}
