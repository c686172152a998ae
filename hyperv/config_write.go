package hyperv

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// configurationVersion is what Windows Server 2008 writes: 1.0.
const configurationVersion = 256

// Encode prints the configuration as its file: UTF-16LE with a byte order mark,
// elements sorted by name, every leaf with its type. Of a configuration that was
// read, nothing changes but what was changed in c.
func (c *Configuration) Encode() ([]byte, error) {
	t := tree{root: xmlite.NewElement("configuration"), fresh: true}
	doc := &xmlite.Document{Root: t.root}
	if c.file != nil {
		var err error
		if doc, err = xmlite.ParseBytes(c.file, xmlite.Limits{}); err != nil {
			return nil, badConfiguration(err) // it was read once; somebody changed the bytes
		}
		t = tree{root: doc.Root}
	}
	c.encodeDrives(t)
	c.encodeAdapters(t)
	c.encodeSettings(t)
	w := &xmlite.Writer{Indent: "  "}
	w.Grow(max(len(c.file)/2, 4<<10))
	w.Declare("UTF-16")
	doc.Write(w)
	text, err := w.Bytes()
	if err != nil {
		return nil, &Error{Op: "Encode", On: c.Name, Err: fmt.Errorf("%w: %w", ErrConfiguration, err)}
	}
	if bytes.Count(text, []byte("\n")) != bytes.Count(text, []byte("\r\n")) { // line ends within leaves are those of the file as well
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	}
	return xmlite.Encode(text, xmlite.UTF16LEBOM), nil
}

// Equal tells whether two configurations would be written alike.
func (c *Configuration) Equal(d *Configuration) bool {
	a, errA := c.Encode()
	b, errB := d.Encode()
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func (c *Configuration) encodeSettings(t tree) {
	t.section(device{"Microsoft VSS Component", backupDevice, backupDevice})
	t.boolean(section(backupDevice)+"/Enabled", c.BackupOffered, true)
	t.text("global_settings/snapshots/data_root", c.SnapshotRoot)
	if c.StartAction != StartNothing || t.find(startActionLeaf) != nil {
		t.integer(startActionLeaf, int64(c.StartAction))
	}
	c.encodeCheckpoints(t)
	t.guid("properties/global_id", c.ID)
	t.text("properties/name", c.Name)
	t.text("properties/notes", c.Notes)
	if t.fresh {
		t.text("properties/type_id", "Virtual Machines")
		t.integer("properties/version", configurationVersion)
	}
	if t.fresh || t.find("settings/global/logical_id") != nil {
		t.guid("settings/global/logical_id", c.ID)
	}
	t.integer("settings/memory/bank/size", c.MemoryMB)
	t.integer("settings/processors/count", c.Processors)
	if !slices.Equal(initiators(t.root), c.Initiators) {
		t.remove("guest_initiator")
		for i, iqn := range c.Initiators {
			t.text(fmt.Sprintf("guest_initiator/target%03d/name", i), iqn)
		}
	}
}

// encodeCheckpoints writes the list of checkpoints, if it is another.
func (c *Configuration) encodeCheckpoints(t tree) {
	was := &Configuration{}
	(&reader{root: t.root}).checkpoints(was)
	if c.ParentCheckpoint != was.ParentCheckpoint {
		t.guid(checkpointParent, c.ParentCheckpoint)
	}
	if slices.Equal(was.Checkpoints, c.Checkpoints) {
		return
	}
	list := t.child(checkpointList)
	list.Children = slices.DeleteFunc(list.Children, func(n *xmlite.Node) bool {
		return n.Kind == xmlite.Start && strings.HasPrefix(n.Name, "snapshot")
	})
	for i, id := range c.Checkpoints {
		t.guid(fmt.Sprintf("%s/snapshot%03d/id", checkpointList, i), id)
	}
	t.leaf(checkpointList+"/size", "integer", strconv.Itoa(len(c.Checkpoints)))
}

func (c *Configuration) encodeDrives(t tree) {
	t.section(device{"Microsoft Emulated IDE Controller", ideDevice, ideDevice})
	for _, r := range controllers(t.root) {
		t.dropDrives(r.node, func(n int) bool {
			at := Slot{r.bus, r.index, n}
			return !slices.ContainsFunc(c.Drives, func(d Drive) bool { return d.Slot == at })
		})
	}
	for _, d := range c.Drives {
		drive := fmt.Sprintf("%s/drive%d/", c.controllerPath(t, d.Slot), d.Slot.Drive)
		t.text(drive+"pathname", d.Path)
		t.text(drive+"type", string(d.Kind))
	}
}

// controllerPath is where the controller of a slot stands, or is to stand so that
// it is found as that slot again: as a further controller of the last section.
func (c *Configuration) controllerPath(t tree, s Slot) string {
	list := controllers(t.root)
	for _, r := range list {
		if r.bus == s.Bus && r.index == s.Controller {
			return r.path
		}
	}
	if s.Bus == IDE {
		return fmt.Sprintf("%s/controller%d", section(ideDevice), s.Controller)
	}
	own := c.instance(scsiDevice, 0)
	in, first := section(own), 0
	for _, r := range list {
		if r.bus == SCSI {
			in, first = r.section, r.index-r.number
		}
	}
	if t.find(in) == nil {
		t.section(device{"Synthetic SCSI Controller", scsiDevice, own})
		t.text(in+"/ChannelInstanceGuid", guid.Braced(own)) // by which readers know it
	}
	return fmt.Sprintf("%s/controller%d", in, s.Controller-first)
}

// encodeAdapters writes each adapter to the section it came from, which its
// address tells, or to a section of its own.
func (c *Configuration) encodeAdapters(t tree) {
	free := adapterSections(t.root)
	at := make([]string, len(c.Adapters))
	claim := func(i int, fits func(*xmlite.Node) bool) {
		if k := slices.IndexFunc(free, fits); at[i] == "" && k >= 0 {
			at[i] = free[k].Name
			free = slices.Delete(free, k, k+1)
		}
	}
	for i, a := range c.Adapters {
		claim(i, func(s *xmlite.Node) bool { return s.Child("MacAddress").Content() == a.MAC })
	}
	for i := range c.Adapters {
		claim(i, func(*xmlite.Node) bool { return true })
	}
	for _, s := range free {
		t.removeSection(s.Name)
	}
	for i, a := range c.Adapters {
		for n := i; at[i] == ""; n++ {
			if id := c.instance(networkDevice, n); t.find(section(id)) == nil {
				at[i] = section(id)
				t.section(device{"Synthetic Ethernet Port", networkDevice, id})
			}
		}
		c.encodeAdapter(t, at[i], a)
	}
}

func (c *Configuration) encodeAdapter(t tree, section string, a Adapter) {
	t.text(section+"/FriendlyName", a.Name)
	t.always(section+"/MacAddress", a.MAC) // by which readers know it
	t.boolean(section+"/MacAddressIsStatic", a.StaticMAC, false)
	t.guid(section+"/PortName", a.Port)
	t.guid(section+"/SwitchName", a.Switch)
}

// section names the element of a device instance.
func section(instance [16]byte) string { return "_" + guid.String(instance) + "_" }

// device is a line of the manifest.
type device struct {
	name             string
	device, instance [16]byte
}

// section adds the section of a device, and its line in the manifest. Of a
// configuration that was read, what every machine has is not added.
func (t tree) section(d device) {
	builtIn := d.device == d.instance
	if t.find(section(d.instance)) != nil || builtIn && !t.fresh {
		return
	}
	if !builtIn {
		t.child(section(d.instance))
	}
	n := 1
	for t.find(vdev(n)) != nil {
		n++
	}
	entry := vdev(n) + "/"
	t.always(entry+"device", guid.String(d.device))
	t.leaf(entry+"flags", "integer", "0")
	t.always(entry+"instance", guid.Upper(d.instance))
	t.always(entry+"name", d.name)
	t.countManifest()
}

// removeSection takes a device out of the configuration.
func (t tree) removeSection(name string) {
	t.remove(name)
	manifest := t.root.Child("manifest")
	if manifest == nil {
		return
	}
	manifest.Children = slices.DeleteFunc(manifest.Children, func(e *xmlite.Node) bool {
		id, err := guid.Parse(e.Child("instance").Content())
		return err == nil && section(id) == name
	})
	t.countManifest()
}

func (t tree) countManifest() {
	n := 0
	for _, e := range t.root.Child("manifest").Elements() {
		if strings.HasPrefix(e.Name, "vdev") {
			n++
		}
	}
	t.leaf("manifest/size", "integer", strconv.Itoa(n))
}

func vdev(n int) string { return fmt.Sprintf("manifest/vdev%03d", n) }
