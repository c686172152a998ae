package requester

import (
	"context"
	"fmt"

	"github.com/shadowsim/shadowsim/vss"
)

// A chosen component, with everything that comes along with it.
type chosen struct {
	Component
	sets     []source
	excludes []vss.FileSpec // of its writer
}

// A source is a file set that is in the backup, its paths in their one form, and
// the volume to read it from.
type source struct {
	vss.FileSet
	on *place
}

// choose adds the components that are to be in the backup.
func (j *job) choose(ctx context.Context) error {
	n, err := j.bc.GetWriterMetadataCount()
	if err != nil {
		return phase("AddComponent", "", err)
	}
	for i := range n {
		m, err := j.bc.GetWriterMetadata(i)
		if err != nil {
			return phase("AddComponent", "", err)
		}
		j.metadata = append(j.metadata, m)
		if err := j.chooseOf(ctx, m); err != nil {
			return err
		}
	}
	if len(j.chosen) == 0 {
		return phase("AddComponent", "", ErrNothing)
	}
	return nil
}

// chooseOf adds components of a writer.
func (j *job) chooseOf(ctx context.Context, m *vss.WriterMetadata) error {
	tree := vss.NewComponentTree(m.Components)
	keys := tree.Everything()
	if j.Select != nil {
		var err error
		if keys, err = tree.Choose(j.wanted(m, tree)...); err != nil {
			return phase("AddComponent", m.Identity.FriendlyName, err)
		}
	}
	excludes := j.places.excludes(m)
	for _, key := range keys {
		info := m.Component(key)
		c := &chosen{excludes: excludes, Component: component(m, info, tree)}
		if err := j.addSources(c, m); err != nil {
			return err
		}
		if err := j.bc.AddComponent(ctx, c.ComponentChoice); err != nil {
			return phase("AddComponent", c.FullPath(), err)
		}
		j.writers[c.InstanceID] = true
		j.chosen = append(j.chosen, c)
	}
	return nil
}

func component(m *vss.WriterMetadata, info *vss.ComponentInfo, tree *vss.ComponentTree) Component {
	return Component{
		ComponentChoice: vss.ComponentChoice{
			WriterID: m.Identity.WriterID, InstanceID: m.Identity.InstanceID,
			Type: info.Type, ComponentKey: info.ComponentKey,
		},
		Members: tree.Members(info.ComponentKey),
		Writer:  m.Identity.FriendlyName,
		Caption: info.Caption,
	}
}

// infos walks the component and its members in their writer's metadata.
func (c *Component) infos(m *vss.WriterMetadata, visit func(*vss.ComponentInfo) error) error {
	err := visit(m.Component(c.ComponentKey))
	for _, key := range c.Members {
		if err == nil {
			err = visit(m.Component(key))
		}
	}
	return err
}

// addSources lists the file sets that a backup of this type needs. A volume that
// the service does not know is found out here, while nothing has begun.
func (j *job) addSources(c *chosen, m *vss.WriterMetadata) error {
	typ := m.Schema.Effective(j.typ)
	return c.infos(m, func(info *vss.ComponentInfo) error {
		for set := range info.FileSets() {
			if !set.Mask.BackupRequired(typ) {
				continue
			}
			s := source{FileSet: j.places.fileSet(*set)}
			if s.on = j.places.volumeOf(s.Source().Path); s.on == nil {
				err := fmt.Errorf("%w: %s is not on a volume of this machine", vss.ErrObjectNotFound, set.Source())
				return phase("AddComponent", info.FullPath(), err)
			}
			s.on.inSet = true
			c.sets = append(c.sets, s)
		}
		return nil
	})
}

// wanted asks about every component that can be chosen.
func (j *job) wanted(m *vss.WriterMetadata, tree *vss.ComponentTree) []vss.ComponentKey {
	var keys []vss.ComponentKey
	for i := range m.Components {
		c := &m.Components[i]
		rule, _ := tree.Inclusion(c.ComponentKey)
		if (rule == vss.MayAdd || rule == vss.MayAddAlone) && j.Select(m, c) {
			keys = append(keys, c.ComponentKey)
		}
	}
	return keys
}
