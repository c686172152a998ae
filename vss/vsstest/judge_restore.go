package vsstest

import (
	"context"
	"io/fs"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
)

// A judgePlan is what a requester must do with one component in a restore.
type judgePlan struct {
	key      vss.ComponentKey
	image    *judgeImage
	parts    []*JudgeComponent // the component and its members, or the subcomponents chosen
	narrowed bool
	where    judgePlace
	to       map[string]string // where files go, by where they were
	last     bool              // no more restores follow
	told     vss.FileRestoreStatus
	record   *vss.ComponentRecord
}

// A judgePlace is where a component must go.
type judgePlace int

const (
	judgeNowhere judgePlace = iota
	judgeOriginal
	judgeAlternate
)

// A judgeRestored is the restore of a component that came last.
type judgeRestored struct {
	image *judgeImage
	more  bool
}

// PreRestore works out what the requester must do now.
func (j *Judge) PreRestore(_ context.Context, ev *vss.PreRestoreEvent) error {
	j.judgeUnheard() // while the files are as the restore before left them
	s := j.session(ev.SessionID(), vss.EventPreRestore)
	if j.config.Restore.WriterRestore == vss.WriterRestoreNever {
		j.report(s, "SetSelectedForRestore", "selects components of a writer that takes no part in restores")
	}
	var err error
	if s.before, err = j.files.all(); err != nil {
		return err
	}
	for _, w := range ev.Components().All() {
		if w.SelectedForRestore() {
			j.planRestore(s, w)
		}
	}
	return j.refuse(s, vss.EventPreRestore)
}

// planRestore decides where the files of a component go.
func (j *Judge) planRestore(s *judgeSession, w *vss.WriterComponent) {
	r := w.Record()
	image := j.images[string(w.BackupMetadata())]
	if image == nil || !image.component.Same(w.Key()) {
		j.report(s, "InitializeForRestore", "restores %s from a document without the metadata that the writer put into it", r.FullPath())
		return
	}
	p := &judgePlan{key: r.ComponentKey, image: image, record: r, last: !w.AdditionalRestores(), parts: j.members(r.ComponentKey)}
	if len(r.Subcomponents) > 0 {
		p.narrowed = true
		p.parts = slices.DeleteFunc(p.parts, func(c *JudgeComponent) bool {
			return !slices.ContainsFunc(r.Subcomponents, func(sub vss.RestoreSubcomponent) bool {
				return sub.Same(c.ComponentKey) || c.IsDescendantOf(sub.ComponentKey)
			})
		})
	}
	for _, c := range p.parts {
		for _, d := range c.Dependencies {
			if !d.Remote() && !j.hasCall(s, "SetSelectedForRestore", d) {
				j.report(s, "PreRestore", "restores %s without %s, on which it depends", c.FullPath(), d.FullPath())
			}
		}
	}
	j.place(s, p)
	j.checkOrder(s, p)
	s.restores = append(s.restores, p)
}

// place decides by new targets, the restore method, and what stands in the way.
func (j *Judge) place(s *judgeSession, p *judgePlan) {
	original := j.destinations(p, false)
	p.where, p.to = judgeOriginal, original
	method := j.config.Restore.Method
	free := true
	for _, to := range original {
		_, there := s.before[to]
		switch {
		case !there || method == vss.MethodCustom:
		case method == vss.MethodRestoreIfNotThere:
			free = false
		default:
			free = free && j.replaceable(to, s.before[to])
		}
	}
	if free && method != vss.MethodRestoreToAlternateLocation {
		return
	}
	p.where, p.to = judgeNowhere, nil
	if alternate := j.destinations(p, true); alternate != nil {
		p.where, p.to = judgeAlternate, alternate
	}
}

// destinations lists where files go, by where they were: to their alternate
// locations if that is wanted, where nil says that a file has none.
func (j *Judge) destinations(p *judgePlan, alternate bool) map[string]string {
	out := make(map[string]string)
	for from := range p.restores(j) {
		set, owned := p.image.owner[from]
		dir, ok := p.record.NewTarget(set)
		if !ok && alternate {
			if dir, ok = j.metadata.AlternateLocation(set); !ok {
				return nil
			}
		}
		to := from
		if ok && owned {
			to = judgeKey(j.files.name(dir)) + strings.TrimPrefix(from, judgeKey(j.files.name(set.Path)))
		}
		out[from] = to
	}
	return out
}

// restores lists the files of the image that belong to what is restored.
func (p *judgePlan) restores(j *Judge) map[string]bool {
	names := make(map[string]bool)
	for name := range p.image.files {
		names[name] = true
	}
	for name := range p.image.parts {
		names[name] = true
	}
	for name := range names {
		if p.narrowed && !slices.ContainsFunc(p.parts, func(c *JudgeComponent) bool { return j.owns(c, name) }) {
			delete(names, name)
		}
	}
	return names
}

// owns tells whether a file belongs to a component's file sets, or to the files
// that it names singly.
func (j *Judge) owns(c *JudgeComponent, name string) bool {
	for set := range c.FileSets() {
		if j.files.holds(set.FileSpec, name) {
			return true
		}
	}
	return slices.ContainsFunc(c.Differenced, func(d vss.DifferencedFiles) bool { return j.files.holds(d.FileSpec, name) }) ||
		slices.ContainsFunc(c.Partial, func(p vss.PartialFile) bool {
			return j.files.holds(vss.FileSpec{Path: p.Path, Spec: p.Name}, name)
		})
}

// replaceable tells whether a requester may write over a file.
func (j *Judge) replaceable(name string, f judgeFile) bool {
	const readOnly = 0x1
	if f.attributes&readOnly != 0 {
		return false
	}
	w, ok := j.files.Files.(interface{ Writable(name string) error })
	return !ok || w.Writable(name) == nil
}

// checkOrder looks whether the images of a chain come in their order.
func (j *Judge) checkOrder(s *judgeSession, p *judgePlan) {
	key := componentName(p.key)
	last := j.restored[key]
	if base := p.image.base; base != nil {
		switch {
		case last == nil || last.image != base:
			j.report(s, "PreRestore", "restores the %v backup %q of %s, and not %q before it, on which it builds",
				p.image.typ, p.image.stamp, p.key.FullPath(), base.stamp)
		case !last.more:
			j.report(s, "SetAdditionalRestores", "did not say with %q of %s that %q follows: the writer has recovered", base.stamp, p.key.FullPath(), p.image.stamp)
		}
	}
	j.restored[key] = &judgeRestored{p.image, !p.last}
}

// noSession is the session of what concerns several.
const noSession = "-"

// judgeChains finds chains that were not restored to their end.
func (j *Judge) judgeChains() []*Violation {
	var out []*Violation
	for _, c := range j.config.Components {
		if r := j.restored[componentName(c.ComponentKey)]; r != nil && r.more {
			out = append(out, &Violation{Writer: j.options.Name, Session: noSession, Call: "SetAdditionalRestores",
				Fact: "said with " + r.image.stamp + " of " + c.FullPath() + " that more restores follow, and none came"})
		}
	}
	return out
}

// PostRestore looks at what the requester did.
func (j *Judge) PostRestore(_ context.Context, ev *vss.PostRestoreEvent) error {
	s := j.session(ev.SessionID(), vss.EventPostRestore)
	for _, p := range s.restores {
		if w := ev.Components().Component(p.key); w != nil {
			p.record = w.Record()
			p.told, _ = w.FileRestoreStatus()
		}
	}
	if err := j.look(s); err != nil {
		return err
	}
	return j.refuse(s, vss.EventPostRestore)
}

// judgeUnheard looks at the files where PostRestore did not come: the requester
// told the writer nothing, which is to say that all is well.
func (j *Judge) judgeUnheard() {
	for _, s := range j.sessions {
		if !s.restore || s.looked || s.before == nil || j.wasLost(s) {
			continue
		}
		silent := j.config.Restore.WriterRestore == vss.WriterRestoreIfReplaceFails && !s.failedAny
		for _, p := range s.restores {
			silent = silent && p.where == judgeOriginal
			p.told = vss.FilesAll
			if s.failedAny {
				p.told = vss.FilesNone
			}
		}
		if !silent {
			j.report(s, "PostRestore", "does not tell the writer how the restore ended")
		}
		if err := j.look(s); err != nil {
			j.report(s, "PostRestore", "leaves files that cannot be read: %v", err)
		}
	}
}

// look compares the live files with what must be there.
func (j *Judge) look(s *judgeSession) error {
	s.looked = true
	now, err := j.files.all()
	if err != nil {
		return err
	}
	changed := changedNames(s.before, now)
	allowed := make(map[string]bool)
	for _, p := range s.restores {
		j.judgeComponent(s, p, now, changed, allowed)
	}
	for _, name := range changed {
		if allowed[name] || !j.watches(name) {
			continue
		}
		if j.excluded(name) {
			if j.config.CheckExcludes {
				j.report(s, "PostRestore", "puts back %s, which the writer excludes", name)
			}
			continue
		}
		j.report(s, "PostRestore", "changes %s, which no component restored from this backup has there", name)
	}
	return nil
}

func (j *Judge) excluded(name string) bool {
	return slices.ContainsFunc(j.config.Excludes, func(x vss.FileSpec) bool { return j.files.holds(x, name) })
}

// watches tells whether the file of a name is the writer's: below the paths of its
// file sets and their alternate places.
func (j *Judge) watches(name string) bool {
	below := func(dir string) bool { return dir != "" && strings.HasPrefix(name, judgeKey(j.files.name(dir))+"/") }
	for i := range j.config.Components {
		if j.owns(&j.config.Components[i], name) {
			return true
		}
		for set := range j.config.Components[i].FileSets() {
			if below(set.AlternatePath) {
				return true
			}
		}
	}
	return slices.ContainsFunc(j.config.Restore.AlternateLocations, func(m vss.FileMapping) bool { return below(m.Destination) })
}

// judgeComponent looks at one component, and notes which changes are its own.
func (j *Judge) judgeComponent(s *judgeSession, p *judgePlan, now map[string]judgeFile, changed []string, allowed map[string]bool) {
	const call = "SetFileRestoreStatus"
	on := p.key.FullPath()
	var touched []string
	for _, to := range p.to {
		allowed[to] = p.where != judgeNowhere
		if slices.Contains(changed, to) {
			touched = append(touched, to)
		}
	}
	for name := range p.image.may {
		allowed[name] = true
	}
	slices.Sort(touched)
	missing := p.missing(s.before, now)
	switch {
	case s.failedAt == vss.EventPreRestore && s.failedAny:
		if len(touched) > 0 {
			j.report(s, "PreRestore", "puts back %s although the writer has refused the restore", touched[0])
		}
		if p.told == vss.FilesAll {
			j.report(s, call, "reports %v for %s, whose writer has refused the restore", p.told, on)
		}
	case p.told == vss.FilesUndefined:
		j.report(s, call, "does not say how the files of %s were put back", on)
	case p.where == judgeNowhere && p.told == vss.FilesAll:
		j.report(s, call, "reports %v for %s, whose restore method %v has no place for it", p.told, on, j.config.Restore.Method)
	case p.where == judgeNowhere:
	case p.told == vss.FilesAll && missing != "" && j.config.CheckIncludes:
		j.report(s, call, "reports %v for %s, but %s", p.told, on, missing)
	case p.told == vss.FilesNone && len(touched) > 0:
		j.report(s, call, "reports %v for %s, but has changed %s", p.told, on, touched[0])
	case p.told != vss.FilesAll && missing == "" && len(touched) > 0:
		j.report(s, call, "reports %v for %s, although all its files are in place", p.told, on)
	}
	if p.told != vss.FilesAll || missing != "" || s.failedAny {
		delete(j.restored, componentName(p.key)) // the chain ends here
		return
	}
	j.judgeMappings(s, p)
	j.judgeEnd(s, p, now)
}

// missing says which file of the image is not as it should be, or "".
func (p *judgePlan) missing(before, now map[string]judgeFile) string {
	for _, from := range sortedKeys(p.to) {
		to := p.to[from]
		f, ok := now[to]
		if want, whole := p.image.files[from]; whole {
			if d := f.differs(want, ok); d != "" {
				return to + " " + d
			}
			continue
		}
		for _, part := range p.image.parts[from] {
			if end := part.Offset + part.Length; !ok || end > uint64(len(f.data)) || f.data[part.Offset:end] != part.data {
				return to + " has other bytes in range " + part.String() + " than were backed up"
			}
		}
		if parts, partial := p.image.parts[from]; partial && f.strays(before[to], parts) {
			return to + " has changed outside of the ranges that were backed up"
		}
	}
	return ""
}

// strays tells whether a file is not what it was, where it was there, outside of
// some parts.
func (f judgeFile) strays(was judgeFile, parts []judgePart) bool {
	for i := range min(len(was.data), len(f.data)) {
		inside := slices.ContainsFunc(parts, func(p judgePart) bool { return uint64(i) >= p.Offset && uint64(i) < p.Offset+p.Length })
		if !inside && was.data[i] != f.data[i] {
			return true
		}
	}
	return len(f.data) < len(was.data)
}

// judgeMappings looks whether the use of alternate locations is on record.
func (j *Judge) judgeMappings(s *judgeSession, p *judgePlan) {
	const call = "AddAlternativeLocationMapping"
	if p.where != judgeAlternate {
		if len(p.record.AlternateLocations) > 0 {
			j.report(s, call, "says that files of %s went to %s, where they are not", p.key.FullPath(), p.record.AlternateLocations[0].Destination)
		}
		return
	}
	for _, from := range sortedKeys(p.to) {
		set := p.image.owner[from]
		_, sent := p.record.NewTarget(set)
		recorded := slices.ContainsFunc(p.record.AlternateLocations, func(m vss.FileMapping) bool { return m.Same(set) })
		if !sent && !recorded {
			j.report(s, call, "does not record that %v went to its alternate location", set)
		}
	}
}

// judgeEnd looks, when the last image of a chain is back, whether everything is as
// it was at that moment.
func (j *Judge) judgeEnd(s *judgeSession, p *judgePlan, now map[string]judgeFile) {
	if !p.last || p.image.base == nil || p.narrowed || p.where != judgeOriginal || len(p.record.NewTargets) > 0 {
		return
	}
	for _, name := range sortedKeys(p.image.state) {
		want := p.image.state[name]
		if want.mode&fs.ModeDir != 0 || !p.image.inChain(name) {
			continue
		}
		f, ok := now[name]
		if d := f.differs(want, ok); d != "" {
			j.report(s, "PostRestore", "has restored the chain of %s to its end, and %s %s", p.key.FullPath(), name, d)
		}
	}
}

// inChain tells whether the image, or one that it builds on, holds a file.
func (i *judgeImage) inChain(name string) bool {
	for ; i != nil; i = i.base {
		_, whole := i.files[name]
		_, parts := i.parts[name]
		if whole || parts {
			return true
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
