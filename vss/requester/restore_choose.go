package requester

import (
	"context"
	"errors"
	"slices"

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
	var items []*item
	for i := range n {
		w, err := j.bc.GetWriterComponents(i)
		if err != nil {
			return phase("SetSelectedForRestore", "", err)
		}
		m := stored[w.InstanceID]
		if m == nil || m.Identity.WriterID != w.WriterID {
			return phase("load", guid.String(w.WriterID), ErrNoMetadata)
		}
		list, err := j.chooseOf(m, w, standsFor(w, running))
		if err != nil {
			return err
		}
		items = append(items, list...)
	}
	pullInItems(items)
	for _, it := range items {
		if len(it.parts) == 0 {
			continue
		}
		if err := j.add(ctx, it); err != nil {
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

// chooseOf lists the components of a stored writer that are wanted; the instance,
// if it is not null, stands for it.
func (j *restoreJob) chooseOf(m *vss.WriterMetadata, w *vss.WriterRecord, instance guid.GUID) ([]*item, error) {
	tree := vss.NewComponentTree(m.Components)
	excludes := j.places.excludes(m)
	if m.Restore == nil || m.Restore.WriterRestore == vss.WriterRestoreNever {
		instance = guid.GUID{}
	}
	var items []*item
	for _, r := range w.Components {
		info := m.Component(r.ComponentKey)
		if info == nil {
			return nil, phase("load", r.FullPath(), ErrNoMetadata)
		}
		it := &item{writer: m, excludes: excludes, instance: instance, typ: m.Schema.Effective(j.bc.BackupType()), stored: r}
		it.Component, it.Status, it.AsFiles = component(m, info, tree), vss.FilesNone, !it.takesPart()
		j.choosePart(it, info)
		items = append(items, it)
	}
	return items, nil
}

// choosePart decides what of a component is restored: all of it, some components
// that came along with it, or nothing.
func (j *restoreJob) choosePart(it *item, info *vss.ComponentInfo) {
	subs := j.subcomponents(it)
	whole := (j.Select == nil || j.Select(it.writer, info)) && j.Selection.names(it.WriterID, it.ComponentKey)
	switch {
	case len(subs) > 0 && (j.Select == nil || j.Select(it.writer, info)):
		it.subcomponents = subs
		for _, sub := range subs {
			it.parts = append(it.parts, it.writer.Component(sub))
			for i := range it.writer.Components {
				if c := &it.writer.Components[i]; c.IsDescendantOf(sub) {
					it.parts = append(it.parts, c)
				}
			}
		}
	case whole:
		it.takeAll()
	}
}

// takeAll restores the component with all that came along with it.
func (it *item) takeAll() {
	it.subcomponents, it.parts = nil, nil
	_ = it.infos(it.writer, func(info *vss.ComponentInfo) error {
		it.parts = append(it.parts, info)
		return nil
	})
}

// subcomponents lists the members that are wanted by themselves.
func (j *restoreJob) subcomponents(it *item) []vss.ComponentKey {
	var subs []vss.ComponentKey
	for _, key := range it.Members {
		info := it.writer.Component(key)
		byName := j.Selection != nil && !j.Selection.names(it.WriterID, it.ComponentKey) && j.Selection.names(it.WriterID, key)
		if info != nil && info.SelectableForRestore && (byName || j.Subcomponents != nil && j.Subcomponents(it.writer, info)) {
			subs = append(subs, key)
		}
	}
	return subs
}

// pullInItems restores what the wanted components depend on as well, as far as the
// backup has it.
func pullInItems(items []*item) {
	for more := true; more; {
		more = false
		for _, it := range items {
			for _, part := range it.parts {
				for _, d := range part.Dependencies {
					more = satisfyItem(items, d) || more
				}
			}
		}
	}
}

func satisfyItem(items []*item, d vss.Dependency) (more bool) {
	if d.Remote() {
		return false
	}
	for _, it := range items {
		if it.WriterID != d.WriterID || !it.Same(d.ComponentKey) && !slices.ContainsFunc(it.Members, d.ComponentKey.Same) {
			continue
		}
		if !slices.ContainsFunc(it.parts, func(c *vss.ComponentInfo) bool { return c.Same(d.ComponentKey) }) {
			it.takeAll()
			return true
		}
	}
	return false
}

// add tells the service of a choice, and of new places for its files.
func (j *restoreJob) add(ctx context.Context, it *item) error {
	if err := j.selectItem(ctx, it); err != nil {
		return err
	}
	if it.takesPart() {
		j.writers[it.instance] = true
	}
	j.items = append(j.items, it)
	for _, info := range it.parts {
		for set := range info.FileSets() {
			d := &destination{FileSet: j.places.fileSet(*set), spec: set.FileSpec, optional: !set.Mask.BackupRequired(it.typ)}
			it.sets = append(it.sets, d)
			if err := j.redirect(ctx, it, info, d, *set); err != nil {
				return phase("AddNewTarget", info.FullPath(), err)
			}
		}
	}
	j.addChanged(it)
	return nil
}

// addChanged marks the file sets of which the backup holds what had changed, and
// adds those that the writer named beyond its metadata.
func (j *restoreJob) addChanged(it *item) {
	for _, f := range it.stored.DifferencedFiles {
		known := false
		for _, d := range it.sets {
			if d.spec.Same(f.FileSpec) {
				known, d.optional = true, true
			}
		}
		if !known && len(it.subcomponents) == 0 {
			it.sets = append(it.sets, &destination{FileSet: j.places.fileSet(vss.FileSet{FileSpec: f.FileSpec}), spec: f.FileSpec, optional: true})
		}
	}
}

// selectItem selects a component for restore, if its writer takes part.
func (j *restoreJob) selectItem(ctx context.Context, it *item) error {
	if !it.takesPart() {
		return nil
	}
	var o ComponentOptions
	if j.Options != nil {
		o = j.Options(it.writer, it.writer.Component(it.ComponentKey))
	}
	var err error
	if o.Instance != (guid.GUID{}) {
		it.instance = o.Instance
		err = j.bc.SetSelectedForRestoreEx(ctx, it.ComponentChoice, true, o.Instance)
	} else {
		err = j.bc.SetSelectedForRestore(ctx, it.ComponentChoice, true)
	}
	if errors.Is(err, vss.ErrObjectNotFound) {
		it.instance = guid.GUID{}
		return nil
	}
	if err != nil {
		return phase("SetSelectedForRestore", it.FullPath(), err)
	}
	for _, sub := range it.subcomponents {
		if err := j.bc.AddRestoreSubcomponent(ctx, it.ComponentChoice, sub); err != nil {
			return phase("AddRestoreSubcomponent", sub.FullPath(), err)
		}
	}
	return j.describe(ctx, it, o)
}

// describe tells the writer what it is to know about the restore of a component.
func (j *restoreJob) describe(ctx context.Context, it *item, o ComponentOptions) error {
	for _, call := range []struct {
		name   string
		wanted bool
		fn     func() error
	}{
		{"SetAdditionalRestores", j.AdditionalRestores, func() error { return j.bc.SetAdditionalRestores(ctx, it.ComponentChoice, true) }},
		{"SetRestoreOptions", o.Options != "", func() error { return j.bc.SetRestoreOptions(ctx, it.ComponentChoice, o.Options) }},
		{"SetAuthoritativeRestore", o.Authoritative, func() error { return j.bc.SetAuthoritativeRestore(ctx, it.ComponentChoice, true) }},
		{"SetRollForward", o.RollForward != vss.RollForwardUndefined, func() error {
			return j.bc.SetRollForward(ctx, it.ComponentChoice, o.RollForward, o.RollForwardPoint)
		}},
		{"SetRestoreName", o.Name != "", func() error { return j.bc.SetRestoreName(ctx, it.ComponentChoice, o.Name) }},
	} {
		if !call.wanted {
			continue
		}
		if err := call.fn(); err != nil {
			return phase(call.name, it.FullPath(), err)
		}
	}
	return nil
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
			it.directed = r.DirectedTargets
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
// of failures alone are left in peace when all files went to their own places and
// nobody else is to be told.
func (j *restoreJob) postRestore(ctx context.Context) error {
	wanted := false
	for _, it := range j.items {
		wanted = wanted || it.takesPart() && (it.Err != nil || it.moved || it.writer.Restore.WriterRestore != vss.WriterRestoreIfReplaceFails)
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
