package requester

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Backup is a backup that can be run. All but Service and Target may be left
// zero.
type Backup struct {
	Service *vss.Service

	// Target holds one backup. What an earlier one left there is removed when
	// the shadow copies have been made and before files are copied. Files of
	// something else where a backup's would go are ErrNotATarget.
	Target Files

	// Select chooses among the components that can be chosen; all of them if nil.
	// Components that come along with others, or that have to be chosen when
	// any of their writer is, are the requester's business.
	Select func(w *vss.WriterMetadata, c *vss.ComponentInfo) bool

	// Selection, if set, leaves only what it names; Select is asked about that.
	Selection *Selection

	Type    vss.BackupType      // full if undefined
	Context vss.SnapshotContext // kind of shadow copies and further attributes

	// Environment holds the variables that paths of writers may name: those of
	// the machine, as in vss.ServiceConfig.
	Environment map[string]string

	// Previous is the target of the backup that an incremental or differential
	// one builds on. The writers get the stamps that they put into it: for an
	// incremental backup it is the last full or incremental one, for a
	// differential one the last full one.
	Previous fs.FS

	// Options are the writer-defined options of a component, "" for none.
	Options func(w *vss.WriterMetadata, c *vss.ComponentInfo) string

	// MayBeMissing tells of a file that a writer names, without wildcards, and that is
	// not on the shadow copy, whether the backup may do without it: a writer lists files
	// when it describes itself, and what it does may remove some before the shadow copy
	// is made. None may if nil. Component.Missing tells which were.
	MayBeMissing func(w *vss.WriterMetadata, path string) bool

	// WholeFiles has the writers know that parts of files cannot be backed up.
	WholeFiles bool

	// BootableSystemState says that a bootable system state is backed up.
	BootableSystemState bool

	// RefuseRoots fails with ErrAtRoot if a chosen component has files in the root of
	// a volume itself. The host of a virtual machine lets its files be there, and they
	// are backed up as any others; the troubleshooting guides for Windows Server Backup
	// say that it does not support that. Component.Roots tells either way.
	RefuseRoots bool

	// SnapshotOnly makes the shadow copies and copies no files. Target is not
	// used; the writers hear that nothing was backed up.
	SnapshotOnly bool

	// CompleteOnly makes neither shadow copies nor files: the writers hear
	// PrepareForBackup and BackupComplete, and that nothing was backed up. Target
	// is not used.
	CompleteOnly bool

	// LeaveIncomplete ends the backup without BackupComplete, so that a writer
	// does not take it for its history.
	LeaveIncomplete bool

	through func(client) client
}

// A Result is what a backup did.
type Result struct {
	Set        guid.GUID
	Volumes    []Volume
	Components []Component
	Writers    []vss.WriterStatus // at the end
	Files      int
	Bytes      int64
}

// A Volume is a volume of the shadow copy set.
type Volume struct {
	Name     string // `D:\`
	Snapshot guid.GUID
	Device   string
}

// A Component is an explicitly chosen component of a backup, with what came along
// with it.
type Component struct {
	vss.ComponentChoice
	Members []vss.ComponentKey // the components below it that came along
	Writer  string
	Caption string
	Roots   []string // volumes in whose root its writer has files: `D:\`
	Missing []string // files that the backup does without
	Files   int      // of all its members; a file of several components counts for the first
	Bytes   int64
}

// Run makes the backup. When it fails, the backup was given up, the writers were
// told, and no shadow copy of a context that releases them is left; what was
// copied to the target by then stays there without a Backup Components Document.
// A backup that failed before it copied anything leaves the target as it was.
//
// If only the clearing away in the end fails, as when a shadow copy cannot be
// deleted, the backup is whole: Run returns its result and an [Error] of the
// phase Release.
//
// Called from ordinary code, it runs as a process of an actor "requester".
func (b *Backup) Run(ctx context.Context) (*Result, error) {
	j := &job{Backup: b}
	err := inProcess(ctx, b.Service, "backup", j.run)
	return j.result, err
}

// inProcess runs fn as the calling process, or as a process of its own.
func inProcess(ctx context.Context, s *vss.Service, name string, fn func(ctx context.Context) error) error {
	if sim.Self(ctx) != nil {
		return fn(ctx)
	}
	a := s.Actor().World().Actor("requester")
	err := a.Call(ctx, name, fn)
	if gone := a.Close(context.WithoutCancel(ctx)); err == nil {
		err = gone
	}
	return err
}

// A job is a backup that runs.
type job struct {
	*Backup
	bc       client
	places   *places
	typ      vss.BackupType
	metadata []*vss.WriterMetadata
	chosen   []*chosen
	base     base
	writers  instances
	made     Result
	result   *Result // made, when the backup is whole
}

func (j *job) run(ctx context.Context) error {
	base, err := loadBase(j.Previous)
	if err != nil {
		return err
	}
	bc, err := connect(ctx, j.Service, j.through)
	if err != nil {
		return err
	}
	j.bc, j.base, j.places, j.writers = bc, base, newPlaces(j.Service, j.Environment), make(instances)
	err = j.all(ctx)
	if err != nil && bc.Phase() != vss.PhaseNew {
		err = also(err, phase("AbortBackup", "", bc.AbortBackup(context.WithoutCancel(ctx))))
	}
	if err == nil {
		j.result = &j.made
	}
	return also(err, phase("Release", "", bc.Release(ctx)))
}

// also joins a further error to one, if there is any.
func also(err, further error) error {
	switch {
	case further == nil:
		return err
	case err == nil:
		return further
	}
	return errors.Join(err, further)
}

func (j *job) all(ctx context.Context) error {
	steps := []func(context.Context) error{j.initialize, j.choose, j.prepare, j.snapshot, j.begin, j.copy, j.complete, j.save}
	switch {
	case j.CompleteOnly:
		steps = []func(context.Context) error{j.initialize, j.choose, j.prepare, j.complete}
	case j.SnapshotOnly:
		steps = []func(context.Context) error{j.initialize, j.choose, j.prepare, j.snapshot, j.complete}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) initialize(ctx context.Context) error {
	j.typ = cmp.Or(j.Type, vss.BackupFull)
	return inOrder("Initialize",
		func() error { return j.bc.InitializeForBackup(ctx, nil) },
		func() error {
			if j.Context == 0 {
				return nil
			}
			return j.bc.SetContext(ctx, j.Context)
		},
		func() error {
			return j.bc.SetBackupState(ctx, vss.BackupState{
				SelectComponents: true, BootableSystemState: j.BootableSystemState, Type: j.typ, PartialFileSupport: !j.WholeFiles,
			})
		},
		func() error { return j.bc.GatherWriterMetadata(ctx) },
	)
}

// prepare makes the set with every volume that a chosen component has files on,
// without any if no copies are to be made, and has the writers prepare.
func (j *job) prepare(ctx context.Context) error {
	set, err := j.bc.StartSnapshotSet(ctx)
	if err != nil {
		return phase("StartSnapshotSet", "", err)
	}
	j.made.Set = set
	volumes := j.set()
	if j.CompleteOnly {
		volumes = nil
	}
	for _, v := range volumes {
		if v.Snapshot, err = j.bc.AddToSnapshotSet(ctx, v.Name, guid.GUID{}); err != nil {
			return phase("AddToSnapshotSet", v.Name, err)
		}
	}
	if err := j.bc.PrepareForBackup(ctx); err != nil {
		return phase("PrepareForBackup", "", err)
	}
	return check(ctx, j.bc, "PrepareForBackup", j.writers)
}

// set lists the volumes that the chosen components' files lie on, by name.
func (j *job) set() []*place {
	list := slices.DeleteFunc(slices.Clone(j.places.volumes), func(v *place) bool { return !v.inSet })
	slices.SortFunc(list, func(a, b *place) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (j *job) snapshot(ctx context.Context) error {
	if err := j.bc.DoSnapshotSet(ctx); err != nil {
		e := &Error{Phase: "DoSnapshotSet", Err: err}
		if j.bc.GatherWriterStatus(ctx) == nil {
			e.Writers = failed(j.bc, j.writers)
		}
		return e
	}
	if err := check(ctx, j.bc, "DoSnapshotSet", j.writers); err != nil {
		return err
	}
	for _, v := range j.set() {
		p, err := j.bc.GetSnapshotProperties(v.Snapshot)
		if err == nil {
			v.Device = p.DeviceObject
			v.shadow, err = j.bc.Open(v.Device)
		}
		if err != nil {
			return phase("GetSnapshotProperties", v.Name, err)
		}
		j.made.Volumes = append(j.made.Volumes, v.Volume)
	}
	return j.refine()
}

// complete says which components were copied, and has the writers finish.
func (j *job) complete(ctx context.Context) error {
	for _, c := range j.chosen {
		if err := j.bc.SetBackupSucceeded(ctx, c.ComponentChoice, !j.SnapshotOnly && !j.CompleteOnly); err != nil {
			return phase("SetBackupSucceeded", c.FullPath(), err)
		}
		j.made.Components = append(j.made.Components, c.Component)
	}
	if j.LeaveIncomplete {
		j.made.Writers = statuses(j.bc)
		return nil
	}
	if err := j.bc.BackupComplete(ctx); err != nil {
		return phase("BackupComplete", "", err)
	}
	err := check(ctx, j.bc, "BackupComplete", j.writers)
	j.made.Writers = statuses(j.bc)
	return err
}
