package requester

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
)

// A chosen component, with everything that comes along with it.
type chosen struct {
	Component
	writer    *vss.WriterMetadata
	typ       vss.BackupType // what the writer takes the backup for
	sets      []source
	excludes  []vss.FileSpec         // of its writer
	partial   []vss.PartialFile      // what the writer said when the copies were made
	differing []vss.DifferencedFiles // the same
}

// A source is a file set that is in the backup, its paths in their one form, and
// the volume to read it from.
type source struct {
	vss.FileSet
	words  vss.FileSpec // the writer's
	on     *place
	needed bool // in a backup of this type
}

// choose adds the components that are to be in the backup.
func (j *job) choose(ctx context.Context) error {
	n, err := j.bc.GetWriterMetadataCount()
	for i := range n {
		m, e := j.bc.GetWriterMetadata(i)
		if e != nil {
			return phase("AddComponent", "", e)
		}
		j.metadata = append(j.metadata, m)
	}
	if err != nil {
		return phase("AddComponent", "", err)
	}
	plan, err := j.selectAll()
	if err != nil {
		return err
	}
	for i, m := range j.metadata {
		if err := j.add(ctx, m, plan[i]); err != nil {
			return err
		}
	}
	if len(j.chosen) == 0 {
		return phase("AddComponent", "", ErrNothing)
	}
	return nil
}

// add adds components of a writer.
func (j *job) add(ctx context.Context, m *vss.WriterMetadata, plan *writerPlan) error {
	excludes := j.places.excludes(m)
	for _, key := range plan.keys {
		info := m.Component(key)
		c := &chosen{writer: m, excludes: excludes, typ: m.Schema.Effective(j.typ), Component: component(m, info, plan.tree)}
		if err := j.addSources(c, m); err != nil {
			return err
		}
		if err := j.bc.AddComponent(ctx, c.ComponentChoice); err != nil {
			return phase("AddComponent", c.FullPath(), err)
		}
		if err := j.describe(ctx, c, m, info); err != nil {
			return err
		}
		j.writers[c.InstanceID] = true
		j.chosen = append(j.chosen, c)
	}
	return nil
}

// describe tells the writer what it is to know of a component before the backup.
func (j *job) describe(ctx context.Context, c *chosen, m *vss.WriterMetadata, info *vss.ComponentInfo) error {
	if j.Options != nil {
		if options := j.Options(m, info); options != "" {
			if err := j.bc.SetBackupOptions(ctx, c.ComponentChoice, options); err != nil {
				return phase("SetBackupOptions", c.FullPath(), err)
			}
		}
	}
	if stamp := j.base.stampOf(m, c.ComponentKey); stamp != "" {
		return phase("SetPreviousBackupStamp", c.FullPath(), j.bc.SetPreviousBackupStamp(ctx, c.ComponentChoice, stamp))
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

// addSources lists the file sets of a component, and marks the volumes that a
// backup of its type may read. A volume that the service does not know is found
// out here, while nothing has begun.
func (j *job) addSources(c *chosen, m *vss.WriterMetadata) error {
	return c.infos(m, func(info *vss.ComponentInfo) error {
		for set := range info.FileSets() {
			s := source{FileSet: j.places.fileSet(*set), words: set.FileSpec}
			s.needed = set.Mask.BackupRequired(c.typ)
			if s.on = j.places.volumeOf(s.Source().Path); s.on == nil && s.needed {
				err := fmt.Errorf("%w: %s is not on a volume of this machine", vss.ErrObjectNotFound, set.Source())
				return phase("AddComponent", info.FullPath(), err)
			}
			if s.on != nil && (s.needed || c.mayAdd(m)) {
				s.on.inSet = true
			}
			c.sets = append(c.sets, s)
			if err := j.noteRoot(c, s); err != nil {
				return phase("AddComponent", info.FullPath(), err)
			}
		}
		return nil
	})
}

// noteRoot notes that a file set is in the root of a volume, if it is: files right
// there, or all of the volume.
func (j *job) noteRoot(c *chosen, s source) error {
	if s.on == nil || !strings.EqualFold(s.Source().Path, s.on.path) {
		return nil
	}
	if j.RefuseRoots {
		return fmt.Errorf("%w: %s", ErrAtRoot, s.Source())
	}
	if !slices.Contains(c.Roots, s.on.Name) {
		c.Roots = append(c.Roots, s.on.Name)
	}
	return nil
}

// mayAdd tells whether the writer may yet name files of sets that a backup of the
// type does not need as they are: those that changed.
func (c *chosen) mayAdd(m *vss.WriterMetadata) bool {
	return m.Schema&vss.SchemaLastModify != 0 && (c.typ == vss.BackupIncremental || c.typ == vss.BackupDifferential)
}
