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
// elements sorted by name, every leaf with its type.
func (c *Configuration) Encode() ([]byte, error) {
	doc := c.doc
	if doc == nil {
		doc = &xmlite.Document{Root: xmlite.NewElement("configuration")}
	} else {
		doc = &xmlite.Document{Before: doc.Before, Root: copyTree(doc.Root), After: doc.After}
	}
	t := tree{doc.Root}
	c.encodeDevices(t)
	c.encodeSettings(t)
	w := &xmlite.Writer{Indent: "  "}
	w.Declare("UTF-16")
	doc.Write(w)
	text, err := w.Bytes()
	if err != nil {
		return nil, &Error{Op: "Encode", On: c.Name, Err: fmt.Errorf("%w: %w", ErrConfiguration, err)}
	}
	return xmlite.Encode(text, xmlite.UTF16LEBOM), nil
}

func (c *Configuration) encodeSettings(t tree) {
	t.text("global_settings/snapshots/data_root", c.SnapshotRoot)
	t.text("properties/global_id", guid.Upper(c.ID))
	t.text("properties/name", c.Name)
	t.text("properties/notes", c.Notes)
	t.text("properties/type_id", "Virtual Machines")
	t.integer("properties/version", configurationVersion)
	t.text("settings/global/logical_id", guid.Upper(c.ID))
	t.integer("settings/memory/bank/size", c.MemoryMB)
	t.integer("settings/processors/count", c.Processors)
	t.remove("guest_initiator")
	for i, iqn := range c.Initiators {
		t.text(fmt.Sprintf("guest_initiator/target%03d/name", i), iqn)
	}
}

// device is a line of the manifest.
type device struct {
	name             string
	device, instance [16]byte
}

func (c *Configuration) encodeDevices(t tree) {
	devices := []device{{"Microsoft Emulated IDE Controller", ideDevice, ideDevice}, {"Microsoft VSS Component", backupDevice, backupDevice}}
	t.dropDisks()
	for _, d := range c.Drives {
		section := section(ideDevice)
		if d.Slot.Bus == SCSI {
			id := c.instance(scsiDevice, 0)
			section = scsiSection(t, id)
			if !slices.ContainsFunc(devices, func(d device) bool { return d.instance == id }) {
				devices = append(devices, device{"Synthetic SCSI Controller", scsiDevice, id})
			}
		}
		drive := fmt.Sprintf("%s/controller%d/drive%d/", section, d.Slot.Controller, d.Slot.Drive)
		t.text(drive+"pathname", d.Path)
		t.text(drive+"type", string(d.Kind))
	}
	t.boolean(section(backupDevice)+"/Enabled", c.BackupOffered)
	for i, a := range c.Adapters {
		id := c.instance(networkDevice, i)
		devices = append(devices, device{"Synthetic Ethernet Port", networkDevice, id})
		c.encodeAdapter(t, section(id), a)
	}
	t.integer("manifest/size", int64(len(devices)))
	for i, d := range devices {
		entry := fmt.Sprintf("manifest/vdev%03d/", i+1)
		t.text(entry+"device", guid.String(d.device))
		t.integer(entry+"flags", 0)
		t.text(entry+"instance", guid.Upper(d.instance))
		t.text(entry+"name", d.name)
	}
}

// scsiSection makes sure that readers recognise the section: only a SCSI
// controller has a channel.
func scsiSection(t tree, id [16]byte) string {
	s := section(id)
	t.text(s+"/ChannelInstanceGuid", guid.Braced(id))
	return s
}

func (c *Configuration) encodeAdapter(t tree, section string, a Adapter) {
	t.text(section+"/FriendlyName", a.Name)
	t.text(section+"/MacAddress", a.MAC)
	t.boolean(section+"/MacAddressIsStatic", a.StaticMAC)
	t.text(section+"/PortName", guidOrEmpty(a.Port))
	t.text(section+"/SwitchName", guidOrEmpty(a.Switch))
}

func guidOrEmpty(id [16]byte) string {
	if id == [16]byte{} {
		return ""
	}
	return guid.Upper(id)
}

// section names the element of a device instance.
func section(instance [16]byte) string { return "_" + guid.String(instance) + "_" }

// A tree sets leaves of a configuration by path, in sorted places.
type tree struct{ root *xmlite.Node }

func (t tree) text(path, value string)      { t.set(path, "string", value) }
func (t tree) integer(path string, n int64) { t.set(path, "integer", strconv.FormatInt(n, 10)) }

func (t tree) boolean(path string, b bool) {
	value := "False"
	if b {
		value = "True"
	}
	t.set(path, "bool", value)
}

func (t tree) set(path, kind, value string) {
	n := t.root
	for name := range strings.SplitSeq(path, "/") {
		n = sortedChild(n, name)
	}
	n.SetAttr("type", kind)
	n.SetContent(value)
}

func (t tree) remove(name string) {
	t.root.Children = slices.DeleteFunc(t.root.Children, func(c *xmlite.Node) bool {
		return c.Kind == xmlite.Start && c.Name == name
	})
}

// dropDisks takes out the drives of all controllers that the configuration
// describes itself; a DVD drive and the like stay.
func (t tree) dropDisks() {
	for _, s := range t.root.Elements() {
		for _, controller := range s.Elements() {
			controller.Children = slices.DeleteFunc(controller.Children, func(d *xmlite.Node) bool {
				return d.Kind == xmlite.Start && driveKind(d) != ""
			})
		}
	}
}

func sortedChild(n *xmlite.Node, name string) *xmlite.Node {
	if c := n.Child(name); c != nil {
		return c
	}
	c := xmlite.NewElement(name)
	at := len(n.Children)
	for i, other := range n.Children {
		if other.Kind == xmlite.Start && other.Name > name {
			at = i
			break
		}
	}
	n.Children = slices.Insert(n.Children, at, c)
	return c
}

func copyTree(n *xmlite.Node) *xmlite.Node {
	c := *n
	c.Attrs = slices.Clone(n.Attrs)
	c.Children = make([]*xmlite.Node, len(n.Children))
	for i, d := range n.Children {
		c.Children[i] = copyTree(d)
	}
	return &c
}

// Equal tells whether two configurations would be written alike.
func (c *Configuration) Equal(d *Configuration) bool {
	a, errA := c.Encode()
	b, errB := d.Encode()
	return errA == nil && errB == nil && bytes.Equal(a, b)
}
