package hyperv

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// configurationVersion is what Windows Server 2008 writes: 1.0.
const configurationVersion = 256

// The sections of devices that every machine has.
var (
	ideSection    = section(ideDevice)
	backupEnabled = section(backupDevice) + "/Enabled"
)

// section names the element of a device instance.
func section(instance [16]byte) string { return "_" + guid.String(instance) + "_" }

func vdev(n int) string           { return fmt.Sprintf("manifest/vdev%03d", n) }
func initiatorLeaf(n int) string  { return fmt.Sprintf("guest_initiator/target%03d/name", n) }
func checkpointLeaf(n int) string { return fmt.Sprintf("%s/snapshot%03d/id", checkpointList, n) }

// device is a line of the manifest.
type device struct {
	name             string
	device, instance [16]byte
}

func scsiController(instance [16]byte) device {
	return device{"Synthetic SCSI Controller", scsiDevice, instance}
}

func ethernetPort(instance [16]byte) device {
	return device{"Synthetic Ethernet Port", networkDevice, instance}
}

// leaves is the nth line.
func (d device) leaves(n int) [4]leaf {
	entry := vdev(n)
	return [...]leaf{
		{entry + "/device", "string", guid.String(d.device)},
		{entry + "/flags", "integer", "0"},
		{entry + "/instance", "string", guid.Upper(d.instance)},
		{entry + "/name", "string", d.name},
	}
}

// A leaf is an element that has a value.
type leaf struct{ path, kind, value string }

// leaves are those of a configuration that has no file yet.
type leaves struct {
	list    []leaf
	devices int
}

func (l *leaves) text(path, value string) { l.list = append(l.list, leaf{path, "string", value}) }

func (l *leaves) integer(path string, n int64) {
	l.list = append(l.list, leaf{path, "integer", strconv.FormatInt(n, 10)})
}

func (l *leaves) boolean(path string, b bool) {
	value := "False"
	if b {
		value = "True"
	}
	l.list = append(l.list, leaf{path, "bool", value})
}

// guid adds a GUID; zero is an empty leaf.
func (l *leaves) guid(path string, id [16]byte) {
	value := ""
	if id != [16]byte{} {
		value = guid.Upper(id)
	}
	l.text(path, value)
}

func (l *leaves) device(d device) {
	l.devices++
	for _, x := range d.leaves(l.devices) {
		l.list = append(l.list, x)
	}
}

// printNew prints the configuration of a machine that has no file yet.
func (c *Configuration) printNew(w *xmlite.Writer) error {
	if len(c.Adapters) > maxInstances {
		return errTooManyAdapters
	}
	l := &leaves{list: make([]leaf, 0, 32)}
	l.device(device{"Microsoft Emulated IDE Controller", ideDevice, ideDevice})
	c.newDrives(l)
	for i, a := range c.Adapters {
		id := c.instance(networkDevice, i)
		l.device(ethernetPort(id))
		l.text(section(id)+"/FriendlyName", a.Name)
		l.text(section(id)+"/MacAddress", a.MAC)
		l.boolean(section(id)+"/MacAddressIsStatic", a.StaticMAC)
		l.guid(section(id)+"/PortName", a.Port)
		l.guid(section(id)+"/SwitchName", a.Switch)
	}
	l.device(device{"Microsoft VSS Component", backupDevice, backupDevice})
	l.integer("manifest/size", int64(l.devices))
	c.newSettings(l)
	l.print(w)
	return nil
}

func (c *Configuration) newDrives(l *leaves) {
	own := c.instance(scsiDevice, 0)
	if slices.ContainsFunc(c.Drives, func(d Drive) bool { return d.Slot.Bus == SCSI }) ||
		slices.ContainsFunc(c.DVDs, func(d DVD) bool { return d.Slot.Bus == SCSI }) {
		l.device(scsiController(own))
		l.text(section(own)+"/ChannelInstanceGuid", guid.Braced(own)) // by which readers know it
	}
	add := func(s Slot, kind DriveKind, path string) {
		in := ideSection
		if s.Bus == SCSI {
			in = section(own)
		}
		drive := in + "/controller" + strconv.Itoa(s.Controller) + "/drive" + strconv.Itoa(s.Drive)
		l.text(drive+"/pathname", path)
		l.text(drive+"/type", string(kind))
	}
	for _, d := range c.Drives {
		add(d.Slot, d.Kind, d.Path)
	}
	for _, d := range c.DVDs {
		add(d.Slot, driveISO, d.Path)
	}
}

func (c *Configuration) newSettings(l *leaves) {
	l.boolean(backupEnabled, c.BackupOffered)
	l.text("global_settings/snapshots/data_root", c.SnapshotRoot)
	if c.StartAction != StartNothing {
		l.integer(startActionLeaf, int64(c.StartAction))
	}
	if c.StopAction != StopTurnOff {
		l.integer(stopActionLeaf, int64(c.StopAction))
	}
	if c.MergePending {
		l.boolean(mergePendingLeaf, true)
	}
	if c.ReplicationPartner != "" {
		l.text(partnerLeaf, c.ReplicationPartner)
	}
	if c.ParentCheckpoint != [16]byte{} {
		l.guid(checkpointParent, c.ParentCheckpoint)
	}
	for i, id := range c.Checkpoints {
		l.guid(checkpointLeaf(i), id)
	}
	if n := len(c.Checkpoints); n > 0 {
		l.integer(checkpointList+"/size", int64(n))
	}
	l.guid("properties/global_id", c.ID)
	l.text("properties/name", c.Name)
	l.text("properties/notes", c.Notes)
	l.text("properties/type_id", "Virtual Machines")
	l.integer("properties/version", configurationVersion)
	l.guid("settings/global/logical_id", c.ID)
	l.integer("settings/memory/bank/size", c.MemoryMB)
	l.integer("settings/processors/count", c.Processors)
	for i, iqn := range c.Initiators {
		l.text(initiatorLeaf(i), iqn)
	}
}

// print writes the leaves within their elements, sorted by name; of two at the same
// place the later one counts.
func (l *leaves) print(w *xmlite.Writer) {
	slices.SortStableFunc(l.list, func(a, b leaf) int { return comparePaths(a.path, b.path) })
	w.Start("configuration")
	open := make([]string, 0, 8)
	leave := func(depth int) {
		for ; len(open) > depth; open = open[:len(open)-1] {
			w.End()
		}
	}
	for i, x := range l.list {
		if i+1 < len(l.list) && l.list[i+1].path == x.path {
			continue
		}
		depth := 0
		for name := range strings.SplitSeq(x.path, "/") {
			if depth >= len(open) || open[depth] != name {
				leave(depth)
				w.Start(name)
				open = append(open, name)
			}
			depth++
		}
		w.Attr("type", x.kind)
		w.Text(x.value)
		leave(depth - 1)
	}
	leave(0)
	w.End()
}

// comparePaths orders paths by their elements.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		default:
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}
