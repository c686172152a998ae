package requester

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Backup is a backup that can be run. All but Service and Target may be left
// zero.
type Backup struct {
	Service *vss.Service
	Target  Files

	// Select chooses among the components that can be chosen; all of them if nil.
	// Components that come along with others, or that have to be chosen when
	// any of their writer is, are the requester's business.
	Select func(w *vss.WriterMetadata, c *vss.ComponentInfo) bool

	Type    vss.BackupType      // full if undefined
	Context vss.SnapshotContext // kind of shadow copies and further attributes
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

// A Component is an explicitly chosen component of a backup.
type Component struct {
	vss.ComponentChoice
	Writer  string
	Caption string
	Files   int
	Bytes   int64
}

// An Error says in which phase a backup or restore failed, and which writers had
// failed by then. It wraps the cause and the writers' codes.
type Error struct {
	Phase   string // "PrepareForBackup", "copy"
	On      string // a file or component, or ""
	Writers []vss.WriterStatus
	Err     error
}

func (e *Error) Error() string {
	var parts []string
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	for _, w := range e.Writers {
		text := w.Name + ": " + w.State.String() + ": " + w.Code.Error()
		if w.Message != "" {
			text += ": " + w.Message
		}
		parts = append(parts, text)
	}
	s := e.Phase
	if e.On != "" {
		s += ": " + e.On
	}
	return s + ": " + strings.Join(parts, "; ")
}

// Unwrap gives the cause and the errors of the writers.
func (e *Error) Unwrap() []error {
	var out []error
	if e.Err != nil {
		out = append(out, e.Err)
	}
	for _, w := range e.Writers {
		out = append(out, w.Err())
	}
	return out
}

// Run makes the backup. When it fails, the backup was given up, the writers were
// told, and no shadow copy of a context that releases them is left; what was
// copied to the target by then stays there without a Backup Components Document.
//
// Called from ordinary code, it runs as a process of an actor "requester".
func (b *Backup) Run(ctx context.Context) (*Result, error) {
	j := &job{Backup: b, result: &Result{}}
	if err := inProcess(ctx, b.Service, "backup", j.run); err != nil {
		return nil, err
	}
	return j.result, nil
}

// inProcess runs fn as the calling process, or as a process of its own.
func inProcess(ctx context.Context, s *vss.Service, name string, fn func(ctx context.Context) error) error {
	if sim.Self(ctx) != nil {
		return fn(ctx)
	}
	return s.Actor().World().Actor("requester").Call(ctx, name, fn)
}

// A job is a backup that runs.
type job struct {
	*Backup
	bc       *vss.BackupComponents
	metadata []*vss.WriterMetadata
	chosen   []*chosen
	result   *Result
}

// A chosen component, with everything that comes along with it.
type chosen struct {
	Component
	writer  *vss.WriterMetadata
	members []*vss.ComponentInfo
}

func (j *job) run(ctx context.Context) error {
	bc, err := j.Service.CreateBackupComponents(ctx)
	if err != nil {
		return &Error{Phase: "CreateBackupComponents", Err: err}
	}
	j.bc = bc
	defer func() { _ = bc.Release(ctx) }()
	for _, phase := range []func(context.Context) error{j.initialize, j.choose, j.prepare, j.snapshot, j.copy, j.complete} {
		if err := phase(ctx); err != nil {
			return errors.Join(err, bc.AbortBackup(context.WithoutCancel(ctx)))
		}
	}
	return j.save()
}

func (j *job) initialize(ctx context.Context) error {
	typ := j.Type
	if typ == vss.BackupUndefined {
		typ = vss.BackupFull
	}
	return first("Initialize",
		func() error { return j.bc.InitializeForBackup(ctx, nil) },
		func() error {
			if j.Context == 0 {
				return nil
			}
			return j.bc.SetContext(ctx, j.Context)
		},
		func() error { return j.bc.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: typ}) },
		func() error { return j.bc.GatherWriterMetadata(ctx) },
	)
}

// first runs steps until one fails.
func first(phase string, steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return &Error{Phase: phase, Err: err}
		}
	}
	return nil
}

// choose adds the components that are to be in the backup.
func (j *job) choose(ctx context.Context) error {
	n, err := j.bc.GetWriterMetadataCount()
	if err != nil {
		return &Error{Phase: "AddComponent", Err: err}
	}
	for i := range n {
		m, err := j.bc.GetWriterMetadata(i)
		if err != nil {
			return &Error{Phase: "AddComponent", Err: err}
		}
		j.metadata = append(j.metadata, m)
		list, err := j.explicit(m)
		if err != nil {
			return &Error{Phase: "AddComponent", On: m.Identity.FriendlyName, Err: err}
		}
		for _, c := range list {
			if err := j.bc.AddComponent(ctx, c.ComponentChoice); err != nil {
				return &Error{Phase: "AddComponent", On: c.FullPath(), Err: err}
			}
			j.chosen = append(j.chosen, c)
		}
	}
	if len(j.chosen) == 0 {
		return &Error{Phase: "AddComponent", Err: ErrNothing}
	}
	return nil
}

// ErrNothing is a backup or restore for which no component was chosen.
var ErrNothing = errors.New("no component was chosen")

// prepare makes the set with every volume that a chosen component has files on,
// and has the writers prepare.
func (j *job) prepare(ctx context.Context) error {
	set, err := j.bc.StartSnapshotSet(ctx)
	if err != nil {
		return &Error{Phase: "StartSnapshotSet", Err: err}
	}
	j.result.Set = set
	for _, name := range j.volumes() {
		id, err := j.bc.AddToSnapshotSet(ctx, name, guid.GUID{})
		if err != nil {
			return &Error{Phase: "AddToSnapshotSet", On: name, Err: err}
		}
		j.result.Volumes = append(j.result.Volumes, Volume{Name: name, Snapshot: id})
	}
	if err := j.bc.PrepareForBackup(ctx); err != nil {
		return &Error{Phase: "PrepareForBackup", Err: err}
	}
	return j.check(ctx, "PrepareForBackup")
}

// volumes lists the volumes that the chosen components' files lie on.
func (j *job) volumes() []string {
	var names []string
	for _, c := range j.chosen {
		for _, m := range c.members {
			for set := range m.FileSets() {
				if name := j.volumeOf(set.Source().Path); name != "" && !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// volumeOf finds the volume that a path lies on: the one with the longest root.
func (j *job) volumeOf(path string) string {
	best := ""
	for _, v := range j.Service.Volumes() {
		root := v.Name()
		if len(root) > len(best) && len(path)+1 >= len(root) && strings.EqualFold((path + `\`)[:len(root)], root) {
			best = root
		}
	}
	return best
}

func (j *job) snapshot(ctx context.Context) error {
	if err := j.bc.DoSnapshotSet(ctx); err != nil {
		e := &Error{Phase: "DoSnapshotSet", Err: err}
		if j.bc.GatherWriterStatus(ctx) == nil {
			e.Writers = failed(j.bc, j.concerns)
		}
		return e
	}
	if err := j.check(ctx, "DoSnapshotSet"); err != nil {
		return err
	}
	for i := range j.result.Volumes {
		v := &j.result.Volumes[i]
		p, err := j.bc.GetSnapshotProperties(v.Snapshot)
		if err != nil {
			return &Error{Phase: "GetSnapshotProperties", On: v.Name, Err: err}
		}
		v.Device = p.DeviceObject
	}
	return nil
}

// check asks for the status of the writers, and fails if one that takes part has
// failed: an operation that ended well says nothing about them.
func (j *job) check(ctx context.Context, phase string) error {
	if err := j.bc.GatherWriterStatus(ctx); err != nil {
		return &Error{Phase: phase, Err: err}
	}
	if bad := failed(j.bc, j.concerns); len(bad) > 0 {
		return &Error{Phase: phase, Writers: bad}
	}
	return nil
}

// concerns tells whether components of a writer are in the backup.
func (j *job) concerns(st vss.WriterStatus) bool {
	return slices.ContainsFunc(j.chosen, func(c *chosen) bool { return c.InstanceID == st.InstanceID })
}

func statuses(bc *vss.BackupComponents) []vss.WriterStatus {
	n, err := bc.GetWriterStatusCount()
	if err != nil {
		return nil
	}
	var out []vss.WriterStatus
	for i := range n {
		if st, err := bc.GetWriterStatus(i); err == nil {
			out = append(out, st)
		}
	}
	return out
}

func failed(bc *vss.BackupComponents, concerns func(vss.WriterStatus) bool) []vss.WriterStatus {
	return slices.DeleteFunc(statuses(bc), func(st vss.WriterStatus) bool { return st.Err() == nil || !concerns(st) })
}

// complete says which components were copied, and has the writers finish.
func (j *job) complete(ctx context.Context) error {
	for _, c := range j.chosen {
		if err := j.bc.SetBackupSucceeded(ctx, c.ComponentChoice, true); err != nil {
			return &Error{Phase: "SetBackupSucceeded", On: c.FullPath(), Err: err}
		}
		j.result.Components = append(j.result.Components, c.Component)
	}
	if err := j.bc.BackupComplete(ctx); err != nil {
		return &Error{Phase: "BackupComplete", Err: err}
	}
	err := j.check(ctx, "BackupComplete")
	j.result.Writers = statuses(j.bc)
	return err
}

// Where a backup's documents stand in its target.
const (
	DocumentName = "BackupComponents.xml"
	WritersName  = "Writers"
	FilesName    = "files"
)

// save stores the documents. The Backup Components Document comes last: a target
// that has it is whole.
func (j *job) save() error {
	for i, m := range j.metadata {
		var xml bytes.Buffer
		err := m.WriteXML(&xml)
		if err == nil {
			err = writeFile(j.Target, metadataName(j.metadata, i), xml.Bytes())
		}
		if err != nil {
			return &Error{Phase: "save", On: m.Identity.FriendlyName, Err: err}
		}
	}
	xml, err := j.bc.SaveAsXML()
	if err == nil {
		err = writeFile(j.Target, DocumentName, xml)
	}
	if err != nil {
		return &Error{Phase: "save", On: DocumentName, Err: err}
	}
	return nil
}
