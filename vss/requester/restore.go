package requester

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// A Restore is a restore that can be run, from what a [Backup] left in its
// target. All but Service, Source and Destination may be left zero.
type Restore struct {
	Service     *vss.Service
	Source      fs.FS
	Destination Files

	// Select chooses among the components of the backup; all of them if nil.
	Select func(w *vss.WriterMetadata, c *vss.ComponentInfo) bool

	// Selection, if set, leaves only what it names; Select is asked about that.
	// A component that came along with another one, if it is selectable for
	// restore, is then restored without the rest.
	Selection *Selection

	// Subcomponents chooses components that came along with others and are
	// selectable for restore. Where one is chosen, only it and what lies below is
	// restored of the whole.
	Subcomponents func(w *vss.WriterMetadata, c *vss.ComponentInfo) bool

	// Type is the kind of restore; by copy if undefined.
	Type vss.RestoreType

	// AdditionalRestores tells the writers that the next backup of a chain
	// follows, so that they must not recover yet; see [Restore.RunChain].
	AdditionalRestores bool

	// Options are what the writer is told about a component.
	Options func(w *vss.WriterMetadata, c *vss.ComponentInfo) ComponentOptions

	// RangesDirectory is where files of ranges go; by default each goes where it
	// was.
	RangesDirectory string

	// NewTarget sends the files of a file set to another directory. The writer
	// must support it.
	NewTarget func(w *vss.WriterMetadata, c *vss.ComponentInfo, set vss.FileSet) (dir string, ok bool)

	// WithoutSecurity leaves the security descriptors of the files where they are, in
	// the backup, as a program does that copies contents alone: what is new inherits
	// from its folder, what is overwritten keeps its own. By default they are put back,
	// as BackupWrite does ("BackupWrite function").
	WithoutSecurity bool

	// Environment holds the variables that paths of writers may name, with the
	// values they had in the backup.
	Environment map[string]string

	through func(client) client
}

// ComponentOptions are what a restore tells a writer about a component. All but
// Options need a writer that says in its schema that it knows them.
type ComponentOptions struct {
	Options          string // as [vss.ParseRestoreOptions] reads them, or in the writer's own form
	Authoritative    bool
	RollForward      vss.RollForwardType
	RollForwardPoint string
	Name             string    // a new name for the component
	Instance         guid.GUID // the running instance of the writer to restore to
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
	Status  vss.FileRestoreStatus
	Err     error // why not all of them
	AsFiles bool  // no writer took part: it is not running, did not describe itself, or wants no part
}

// Run restores what is chosen. A component's files are all put back, or the
// writer is told that they are not: nothing is written before all of them are
// found and have their place. A writer that refused in PreRestore keeps its files
// as they are. When a component or a writer failed, Run returns the report and an
// error.
//
// Components of a writer that is not running, or that wants no part in restores,
// are restored as plain files. The files go where the requester sends them, else
// where the writer does by its restore target or method. A method that waits for
// the next start of the computer puts them in their place at once.
func (r *Restore) Run(ctx context.Context) (*Report, error) {
	j := &restoreJob{Restore: r, report: &Report{}}
	err := inProcess(ctx, r.Service, "restore", j.run)
	return j.report, err
}

// A restoreJob is a restore that runs.
type restoreJob struct {
	*Restore
	bc      client
	places  *places
	items   []*item
	writers instances // running ones that take part

	security map[string]string // descriptors, by the folded names of files
	missing  map[string]bool   // what the backup did without, by folded names
	report   *Report
}

// An item is a component that is restored.
type item struct {
	RestoredComponent
	writer   *vss.WriterMetadata // as it was backed up
	sets     []*destination
	excludes []vss.FileSpec
	instance guid.GUID // the running writer that takes part; null if none does
	target   vss.RestoreTarget
	parts    []*vss.ComponentInfo // what is restored: the component and its members, or some of these
	typ      vss.BackupType       // what the writer took the backup for
	stored   *vss.ComponentRecord // as it was backed up
	directed []vss.DirectedTarget
	moved    bool // to alternate locations

	subcomponents []vss.ComponentKey // restored without the rest
}

// A destination is a file set that is restored, its paths in their one form.
type destination struct {
	vss.FileSet
	spec      vss.FileSpec // in the writer's words
	newTarget string       // where the requester sends it
	optional  bool         // the backup need not hold its files
}

func (j *restoreJob) run(ctx context.Context) error {
	xml, err := readText(j.Source, DocumentName)
	if err != nil {
		return phase("load", DocumentName, err)
	}
	if !j.WithoutSecurity {
		if j.security, err = loadSecurity(j.Source); err != nil {
			return err
		}
	}
	if j.missing, err = loadMissing(j.Source); err != nil {
		return err
	}
	bc, err := connect(ctx, j.Service, j.through)
	if err != nil {
		return err
	}
	j.bc, j.places, j.writers = bc, newPlaces(j.Service, j.Environment), make(instances)
	err = inOrder("Initialize",
		func() error { return bc.InitializeForRestore(ctx, bytes.NewReader(xml)) },
		func() error {
			if j.Type == vss.RestoreUndefined {
				return nil
			}
			return bc.SetRestoreState(ctx, j.Type)
		},
		func() error { return bc.GatherWriterMetadata(ctx) },
	)
	if err == nil {
		err = j.all(ctx)
	}
	return also(err, phase("Release", "", bc.Release(ctx)))
}

func (j *restoreJob) all(ctx context.Context) error {
	if err := j.choose(ctx); err != nil {
		return err
	}
	if err := j.preRestore(ctx); err != nil {
		return also(j.verdict(), err)
	}
	j.putBack(ctx)
	after := context.WithoutCancel(ctx) // the writers hear how it went in any case
	err := j.tell(after)
	if err == nil {
		err = j.tellRanges(after)
	}
	if err == nil {
		err = j.postRestore(after)
	}
	return also(j.verdict(), err)
}

// stored reads the metadata documents of the backup, by writer instance.
func (j *restoreJob) stored() (map[guid.GUID]*vss.WriterMetadata, error) {
	entries, err := fs.ReadDir(j.Source, WritersName)
	if err != nil {
		return nil, phase("load", WritersName, err)
	}
	out := make(map[guid.GUID]*vss.WriterMetadata)
	for _, e := range entries {
		if path.Ext(e.Name()) != ".xml" {
			continue
		}
		m, err := readMetadata(j.Source, WritersName+"/"+e.Name())
		if err != nil {
			return nil, phase("load", e.Name(), err)
		}
		out[m.Identity.InstanceID] = m
	}
	return out, nil
}

func readMetadata(fsys fs.FS, name string) (*vss.WriterMetadata, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	m, err := vss.ReadWriterMetadata(f)
	return m, errors.Join(err, f.Close())
}

// verdict fills the report in, and is the error of a restore in which something
// failed.
func (j *restoreJob) verdict() error {
	var errs []error
	j.report.Components = slices.Grow(j.report.Components, len(j.items))
	for _, it := range j.items {
		j.report.Components = append(j.report.Components, it.RestoredComponent)
		j.report.Files += it.Files
		j.report.Bytes += it.Bytes
		if it.Err != nil {
			errs = append(errs, it.Err)
		}
	}
	return errors.Join(errs...)
}
