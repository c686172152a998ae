package requester

import (
	"fmt"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// A writerPlan is what is wanted of one writer.
type writerPlan struct {
	metadata *vss.WriterMetadata
	tree     *vss.ComponentTree
	whole    bool
	wanted   []vss.ComponentKey
	keys     []vss.ComponentKey // to be added, so that the wanted ones are in
}

// selectAll decides which components are to be added, writer by writer: those
// that are wanted, and those on which they depend ("Dependencies Between
// Components Managed by Different Writers").
func (j *job) selectAll() ([]*writerPlan, error) {
	plans := make([]*writerPlan, len(j.metadata))
	for i, m := range j.metadata {
		p := &writerPlan{metadata: m, tree: vss.NewComponentTree(m.Components)}
		p.whole = j.Select == nil && j.Selection.all(m.Identity.WriterID)
		if !p.whole {
			p.wanted = j.wanted(m, p.tree)
		}
		if err := p.settle(); err != nil {
			return nil, err
		}
		plans[i] = p
	}
	for {
		more, err := pullIn(plans)
		if err != nil || !more {
			return plans, err
		}
	}
}

// wanted lists what the requester's user chose of a writer.
func (j *job) wanted(m *vss.WriterMetadata, tree *vss.ComponentTree) []vss.ComponentKey {
	var keys []vss.ComponentKey
	if !j.Selection.all(m.Identity.WriterID) {
		keys = j.Selection.of(m.Identity.WriterID)
	} else {
		for i := range m.Components {
			if rule, _ := tree.Inclusion(m.Components[i].ComponentKey); rule == vss.MayAdd || rule == vss.MayAddAlone {
				keys = append(keys, m.Components[i].ComponentKey)
			}
		}
	}
	if j.Select == nil {
		return keys
	}
	return slices.DeleteFunc(keys, func(key vss.ComponentKey) bool {
		c := m.Component(key)
		return c != nil && !j.Select(m, c)
	})
}

// settle works out what has to be added.
func (p *writerPlan) settle() (err error) {
	if p.whole {
		p.keys = p.tree.Everything()
		return nil
	}
	p.keys, err = p.tree.Choose(p.wanted...)
	return phase("AddComponent", p.metadata.Identity.FriendlyName, err)
}

// covers tells whether a component is in the backup, by itself or along with
// another.
func (p *writerPlan) covers(key vss.ComponentKey) bool {
	return slices.ContainsFunc(p.keys, func(added vss.ComponentKey) bool {
		return added.Same(key) || slices.ContainsFunc(p.tree.Members(added), key.Same)
	})
}

// pullIn wants the first component that is depended on and not in the backup.
func pullIn(plans []*writerPlan) (more bool, err error) {
	for _, p := range plans {
		for i := range p.metadata.Components {
			c := &p.metadata.Components[i]
			if len(c.Dependencies) == 0 || !p.covers(c.ComponentKey) {
				continue
			}
			for _, d := range c.Dependencies {
				if more, err := satisfy(plans, c, d); more || err != nil {
					return more, err
				}
			}
		}
	}
	return false, nil
}

// satisfy sees to it that a dependency is in the backup. One on another machine
// is that machine's business.
func satisfy(plans []*writerPlan, c *vss.ComponentInfo, d vss.Dependency) (more bool, err error) {
	if d.Remote() {
		return false, nil
	}
	var found *writerPlan
	for _, p := range plans {
		if p.metadata.Identity.WriterID != d.WriterID || p.metadata.Component(d.ComponentKey) == nil {
			continue
		}
		if p.covers(d.ComponentKey) {
			return false, nil
		}
		if found == nil {
			found = p
		}
	}
	if found == nil {
		return false, phase("AddComponent", c.FullPath(), fmt.Errorf("%w: %s of writer %s", ErrDependency, d.FullPath(), guid.Braced(d.WriterID)))
	}
	found.wanted = append(found.wanted, found.carrier(d.ComponentKey))
	return true, found.settle()
}

// carrier is the component to add so that another is in: itself, or the closest
// selectable one above it.
func (p *writerPlan) carrier(key vss.ComponentKey) vss.ComponentKey {
	if rule, _ := p.tree.Inclusion(key); rule != vss.NeverAdd {
		return key
	}
	best := key
	for i := range p.metadata.Components {
		c := &p.metadata.Components[i]
		if c.Selectable && key.IsDescendantOf(c.ComponentKey) && (best.Same(key) || c.IsDescendantOf(best)) {
			best = c.ComponentKey
		}
	}
	return best
}
