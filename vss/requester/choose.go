package requester

import (
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// explicit lists the components of a writer to add by name, each with what comes
// along with it.
func (j *job) explicit(m *vss.WriterMetadata) ([]*chosen, error) {
	tree := vss.NewComponentTree(m.Components)
	keys := tree.Everything()
	if j.Select != nil {
		var err error
		if keys, err = tree.Choose(j.wanted(m, tree)...); err != nil {
			return nil, err
		}
	}
	var out []*chosen
	for _, key := range keys {
		info := m.Component(key)
		c := &chosen{writer: m, members: []*vss.ComponentInfo{info}, Component: Component{
			ComponentChoice: choice(m, info),
			Writer:          m.Identity.FriendlyName,
			Caption:         info.Caption,
		}}
		for _, k := range tree.Members(key) {
			c.members = append(c.members, m.Component(k))
		}
		out = append(out, c)
	}
	return out, nil
}

func choice(m *vss.WriterMetadata, c *vss.ComponentInfo) vss.ComponentChoice {
	return vss.ComponentChoice{
		WriterID: m.Identity.WriterID, InstanceID: m.Identity.InstanceID,
		Type: c.Type, ComponentKey: c.ComponentKey,
	}
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

// metadataName names the file of the ith writer's metadata document: after the
// writer's class, and after the instance too where there are several.
func metadataName(all []*vss.WriterMetadata, i int) string {
	id := all[i].Identity
	name := guid.String(id.WriterID)
	same := func(m *vss.WriterMetadata) bool { return m.Identity.WriterID == id.WriterID }
	if slices.ContainsFunc(all[:i], same) || slices.ContainsFunc(all[i+1:], same) {
		name += "_" + guid.String(id.InstanceID)
	}
	return WritersName + "/" + name + ".xml"
}

// fileName turns a Windows path into the name of a file below a tree of drives:
// D:\VMs\a.vhd is D/VMs/a.vhd.
func fileName(path string) string {
	path = strings.TrimPrefix(path, `\\?\`)
	if len(path) >= 2 && path[1] == ':' {
		path = strings.ToUpper(path[:1]) + path[2:]
	}
	return strings.Trim(strings.ReplaceAll(path, `\`, "/"), "/")
}
