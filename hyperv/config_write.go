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

// Encode prints the configuration as its file: UTF-16LE with a byte order mark,
// elements sorted by name, every leaf with its type. Of a configuration that was
// read, nothing changes but what was changed in c.
func (c *Configuration) Encode() ([]byte, error) {
	text, err := c.print(&xmlite.Writer{})
	if err != nil {
		return nil, err
	}
	return xmlite.Encode(text, xmlite.UTF16LEBOM), nil
}

// print is the text of the file, in the memory of w.
func (c *Configuration) print(w *xmlite.Writer) ([]byte, error) {
	w.Indent = "  "
	w.Grow(max(len(c.text), 2<<10) + 512)
	w.Declare("UTF-16")
	write := c.printChanged
	if c.text == "" {
		write = c.printNew
	}
	if err := write(w); err != nil {
		return nil, err
	}
	text, err := w.Bytes()
	if err != nil {
		return nil, &Error{Op: "Encode", On: c.Name, Err: fmt.Errorf("%w: %w", ErrConfiguration, err)}
	}
	if bytes.Count(text, []byte("\n")) != bytes.Count(text, []byte("\r\n")) { // line ends within leaves are those of the file as well
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	}
	return text, nil
}

// printChanged prints the configuration over what its file says.
func (c *Configuration) printChanged(w *xmlite.Writer) error {
	doc, err := xmlite.ParseText(c.text, xmlite.Limits{})
	if err != nil {
		return badConfiguration(err) // it was read once
	}
	t := tree{root: doc.Root}
	c.encodeDrives(t)
	if err := c.encodeAdapters(t); err != nil {
		return err
	}
	c.encodeSettings(t)
	doc.Write(w)
	return nil
}

// Equal tells whether two configurations would be written alike.
func (c *Configuration) Equal(d *Configuration) bool {
	a, errA := c.Encode()
	b, errB := d.Encode()
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func (c *Configuration) encodeSettings(t tree) {
	t.boolean(backupEnabled, c.BackupOffered, true)
	t.text("global_settings/snapshots/data_root", c.SnapshotRoot)
	if c.StartAction != StartNothing || t.find(startActionLeaf) != nil {
		t.integer(startActionLeaf, int64(c.StartAction))
	}
	if c.StopAction != StopTurnOff || t.find(stopActionLeaf) != nil {
		t.integer(stopActionLeaf, int64(c.StopAction))
	}
	if c.MergePending || t.find(mergePendingLeaf) != nil {
		t.boolean(mergePendingLeaf, c.MergePending, false)
	}
	t.text(partnerLeaf, c.ReplicationPartner)
	c.encodeCheckpoints(t)
	t.guid("properties/global_id", c.ID)
	t.text("properties/name", c.Name)
	t.text("properties/notes", c.Notes)
	if t.find("settings/global/logical_id") != nil {
		t.guid("settings/global/logical_id", c.ID)
	}
	t.integer("settings/memory/bank/size", c.MemoryMB)
	t.integer("settings/processors/count", c.Processors)
	if !slices.Equal(initiators(t.root), c.Initiators) {
		t.remove("guest_initiator")
		for i, iqn := range c.Initiators {
			t.text(initiatorLeaf(i), iqn)
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
		t.guid(checkpointLeaf(i), id)
	}
	t.leaf(checkpointList+"/size", "integer", strconv.Itoa(len(c.Checkpoints)))
}

func (c *Configuration) encodeDrives(t tree) {
	for _, r := range controllers(t.root) {
		t.dropDrives(r.node, func(n int) bool {
			at := Slot{r.bus, r.index, n}
			return !slices.ContainsFunc(c.Drives, func(d Drive) bool { return d.Slot == at }) && c.dvd(at) < 0
		})
	}
	for _, d := range c.Drives {
		drive := fmt.Sprintf("%s/drive%d/", c.controllerPath(t, d.Slot), d.Slot.Drive)
		t.text(drive+"pathname", d.Path)
		t.text(drive+"type", string(d.Kind))
	}
	for _, d := range c.DVDs {
		drive := fmt.Sprintf("%s/drive%d/", c.controllerPath(t, d.Slot), d.Slot.Drive)
		t.text(drive+"pathname", d.Path)
		t.text(drive+"type", string(driveISO))
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
		t.section(scsiController(own))
		t.text(in+"/ChannelInstanceGuid", guid.Braced(own)) // by which readers know it
	}
	return fmt.Sprintf("%s/controller%d", in, s.Controller-first)
}

// encodeAdapters writes each adapter to the section it came from, which its
// address tells, or to a section of its own.
func (c *Configuration) encodeAdapters(t tree) error {
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
			if n == i+maxInstances {
				return errTooManyAdapters
			}
			if id := c.instance(networkDevice, n); t.find(section(id)) == nil {
				at[i] = section(id)
				t.section(ethernetPort(id))
			}
		}
		c.encodeAdapter(t, at[i], a)
	}
	return nil
}

func (c *Configuration) encodeAdapter(t tree, section string, a Adapter) {
	t.text(section+"/FriendlyName", a.Name)
	t.always(section+"/MacAddress", a.MAC) // by which readers know it
	t.boolean(section+"/MacAddressIsStatic", a.StaticMAC, false)
	t.guid(section+"/PortName", a.Port)
	t.guid(section+"/SwitchName", a.Switch)
}

// section adds the section of a device, and its line in the manifest.
func (t tree) section(d device) {
	if t.find(section(d.instance)) != nil {
		return
	}
	t.child(section(d.instance))
	n := 1
	for t.find(vdev(n)) != nil {
		n++
	}
	for _, l := range d.leaves(n) {
		t.leaf(l.path, l.kind, l.value)
	}
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
