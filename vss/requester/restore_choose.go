package requester

import (
	"context"
	"errors"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// choose selects components for the restore.
func (j *restoreJob) choose(ctx context.Context) error {
	stored, err := j.stored()
	if err != nil {
		return err
	}
	running, err := j.gathered()
	if err != nil {
		return err
	}
	n, err := j.bc.GetWriterComponentsCount()
	if err != nil {
		return phase("SetSelectedForRestore", "", err)
	}
	for i := range n {
		w, err := j.bc.GetWriterComponents(i)
		if err != nil {
			return phase("SetSelectedForRestore", "", err)
		}
		m := stored[w.InstanceID]
		if m == nil || m.Identity.WriterID != w.WriterID {
			return phase("load", guid.String(w.WriterID), ErrNoMetadata)
		}
		if err := j.chooseOf(ctx, m, w, standsFor(w, running)); err != nil {
			return err
		}
	}
	if len(j.items) == 0 {
		return phase("SetSelectedForRestore", "", ErrNothing)
	}
	return nil
}

// gathered lists the writers that run.
func (j *restoreJob) gathered() ([]*vss.WriterMetadata, error) {
	n, err := j.bc.GetWriterMetadataCount()
	list := make([]*vss.WriterMetadata, n)
	for i := range list {
		if err == nil {
			list[i], err = j.bc.GetWriterMetadata(i)
		}
	}
	return list, phase("GatherWriterMetadata", "", err)
}

// standsFor finds the running writer that gets the events of a stored one, as the
// service does: the same instance, else one of the same class and instance name,
// else the first of the class.
func standsFor(w *vss.WriterRecord, running []*vss.WriterMetadata) guid.GUID {
	var named, first guid.GUID
	none := guid.GUID{}
	for _, m := range running {
		id := m.Identity
		switch {
		case id.WriterID != w.WriterID:
			continue
		case id.InstanceID == w.InstanceID:
			return id.InstanceID
		case w.InstanceName != "" && id.InstanceName == w.InstanceName && named == none:
			named = id.InstanceID
		}
		if first == none {
			first = id.InstanceID
		}
	}
	if named != none {
		return named
	}
	return first
}

// chooseOf selects components of a stored writer, which the instance, if it is
// not null, stands for.
func (j *restoreJob) chooseOf(ctx context.Context, m *vss.WriterMetadata, w *vss.WriterRecord, instance guid.GUID) error {
	tree := vss.NewComponentTree(m.Components)
	excludes := j.places.excludes(m)
	if m.Restore == nil || m.Restore.WriterRestore == vss.WriterRestoreNever {
		instance = guid.GUID{}
	}
	for _, r := range w.Components {
		info := m.Component(r.ComponentKey)
		if info == nil {
			return phase("load", r.FullPath(), ErrNoMetadata)
		}
		if j.Select != nil && !j.Select(m, info) {
			continue
		}
		it := &item{writer: m, excludes: excludes, instance: instance}
		it.Component, it.Status = component(m, info, tree), vss.FilesNone
		if err := j.add(ctx, it); err != nil {
			return err
		}
	}
	return nil
}

// add tells the service of a choice, and of new places for its files.
func (j *restoreJob) add(ctx context.Context, it *item) error {
	if it.takesPart() {
		err := j.bc.SetSelectedForRestore(ctx, it.ComponentChoice, true)
		if errors.Is(err, vss.ErrObjectNotFound) {
			it.instance = guid.GUID{}
		} else if err != nil {
			return phase("SetSelectedForRestore", it.FullPath(), err)
		}
	}
	if it.takesPart() {
		j.writers[it.instance] = true
	}
	j.items = append(j.items, it)
	return it.infos(it.writer, func(info *vss.ComponentInfo) error {
		for set := range info.FileSets() {
			d := &destination{FileSet: j.places.fileSet(*set), spec: set.FileSpec}
			it.sets = append(it.sets, d)
			if err := j.redirect(ctx, it, info, d, *set); err != nil {
				return phase("AddNewTarget", info.FullPath(), err)
			}
		}
		return nil
	})
}

// redirect asks for a new place for the files of a file set.
func (j *restoreJob) redirect(ctx context.Context, it *item, info *vss.ComponentInfo, d *destination, set vss.FileSet) error {
	if j.NewTarget == nil {
		return nil
	}
	dir, ok := j.NewTarget(it.writer, info, set)
	if !ok {
		return nil
	}
	d.newTarget = j.places.path(dir)
	if !it.takesPart() {
		return nil
	}
	return j.bc.AddNewTarget(ctx, it.ComponentChoice, vss.FileMapping{FileSpec: d.spec, Destination: dir})
}

// takesPart tells whether the component's writer gets the events of the restore.
func (it *item) takesPart() bool { return it.instance != guid.GUID{} }

// preRestore has the writers prepare, and notes what they want: those that refuse
// keep their files.
func (j *restoreJob) preRestore(ctx context.Context) error {
	if len(j.writers) == 0 {
		return nil
	}
	if err := j.bc.PreRestore(ctx); err != nil {
		return phase("PreRestore", "", err)
	}
	if err := j.bc.GatherWriterStatus(ctx); err != nil {
		return phase("PreRestore", "", err)
	}
	for _, st := range failed(j.bc, j.writers) {
		for _, it := range j.items {
			if it.instance == st.InstanceID {
				it.Err = &Error{Phase: "PreRestore", On: it.FullPath(), Writers: []vss.WriterStatus{st}}
			}
		}
	}
	return j.readTargets()
}

// readTargets reads where the writers want the components put.
func (j *restoreJob) readTargets() error {
	n, err := j.bc.GetWriterComponentsCount()
	records := make(map[[2]guid.GUID]*vss.WriterRecord)
	for i := range n {
		w, e := j.bc.GetWriterComponents(i)
		if e != nil {
			return phase("PreRestore", "", e)
		}
		records[[2]guid.GUID{w.WriterID, w.InstanceID}] = w
	}
	for _, it := range j.items {
		w := records[[2]guid.GUID{it.WriterID, it.InstanceID}]
		if w == nil || !it.takesPart() {
			continue
		}
		if r := w.Component(it.ComponentKey); r != nil {
			it.target = r.Target()
		}
	}
	return phase("PreRestore", "", err)
}

// tell says how the files of each component were put back.
func (j *restoreJob) tell(ctx context.Context) error {
	for _, it := range j.items {
		if !it.takesPart() {
			continue
		}
		if err := j.bc.SetFileRestoreStatus(ctx, it.ComponentChoice, it.Status); err != nil {
			return phase("SetFileRestoreStatus", it.FullPath(), err)
		}
	}
	return nil
}

// postRestore has the writers take the files into use. Writers that want to hear
// of failures alone are left in peace when there was none and nobody else is to
// be told.
func (j *restoreJob) postRestore(ctx context.Context) error {
	wanted := false
	for _, it := range j.items {
		wanted = wanted || it.takesPart() && (it.Err != nil || it.writer.Restore.WriterRestore != vss.WriterRestoreIfReplaceFails)
	}
	if !wanted {
		return nil
	}
	before := failed(j.bc, j.writers)
	if err := j.bc.PostRestore(ctx); err != nil {
		return phase("PostRestore", "", err)
	}
	err := j.bc.GatherWriterStatus(ctx)
	j.report.Writers = statuses(j.bc)
	bad := failed(j.bc, without(j.writers, before))
	if err == nil && len(bad) > 0 {
		return &Error{Phase: "PostRestore", Writers: bad}
	}
	return phase("PostRestore", "", err)
}

// without leaves writers out whose failure is told already.
func without(who instances, list []vss.WriterStatus) instances {
	rest := make(instances)
	for id := range who {
		rest[id] = true
	}
	for _, st := range list {
		delete(rest, st.InstanceID)
	}
	return rest
}
