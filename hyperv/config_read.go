package hyperv

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// Bounds of the numbers in a configuration. No host of any version goes beyond.
const (
	maxDrive      = 64 // controllers, and drives of one
	maxMemoryMB   = 1 << 24
	maxProcessors = 1 << 11
)

const (
	startActionLeaf = "global_settings/power/host_startup/action"
	stopActionLeaf  = "global_settings/power/host_shutdown/action"

	mergePendingLeaf = "global_settings/disk_merge_pending"

	partnerLeaf = "global_settings/replication/partner" // the model's own
)

// ReadConfiguration parses a configuration file: UTF-16, or a single-byte copy
// whatever its declaration says. A file without an identity or with values that
// cannot be is an error that wraps [ErrConfiguration]; what is merely missing
// gets its default. Elements may be in any order, and those that are unknown are
// kept; see [ReadConfigurationStrictly] for who wants to know of them.
func ReadConfiguration(file []byte) (*Configuration, error) {
	return readConfiguration(new(xmlite.Parser), file)
}

// readConfiguration is ReadConfiguration in the memory of a parser.
func readConfiguration(p *xmlite.Parser, file []byte) (*Configuration, error) {
	text, err := xmlite.Decode(file, xmlite.Limits{})
	if err != nil {
		return nil, badConfiguration(err)
	}
	doc, err := p.Parse(text, xmlite.Limits{})
	if err != nil {
		return nil, badConfiguration(err)
	}
	if doc.Root.Name != "configuration" {
		return nil, badConfiguration(fmt.Errorf("the root is %q", doc.Root.Name))
	}
	r := reader{root: doc.Root}
	c := &Configuration{
		text:          text,
		ID:            r.guid("properties/global_id"),
		Name:          r.text("properties/name"),
		Notes:         r.text("properties/notes"),
		SnapshotRoot:  r.text("global_settings/snapshots/data_root"),
		MemoryMB:      r.integer("settings/memory/bank/size", maxMemoryMB),
		Processors:    r.integer("settings/processors/count", maxProcessors),
		BackupOffered: r.boolean(backupEnabled, true),
	}
	c.StartAction = StartAction(r.integer(startActionLeaf, int64(StartAlways)))
	c.StopAction = StopAction(r.integer(stopActionLeaf, int64(StopShutDown)))
	c.MergePending = r.boolean(mergePendingLeaf, false)
	c.ReplicationPartner = r.text(partnerLeaf)
	c.Initiators = initiators(doc.Root)
	r.checkpoints(c)
	r.sections()
	r.drives(c)
	r.adapters(c)
	if r.err == nil && c.ID == [16]byte{} {
		r.fail("properties/global_id", "is missing")
	}
	if r.err == nil && c.ID != r.guid("settings/global/logical_id") && r.node("settings/global/logical_id") != nil {
		r.fail("settings/global/logical_id", "is not the machine's")
	}
	if r.err != nil {
		return nil, badConfiguration(r.err)
	}
	return c, nil
}

func badConfiguration(err error) error {
	return &Error{Op: "ReadConfiguration", Err: fmt.Errorf("%w: %w", ErrConfiguration, err)}
}

// A reader takes leaves from a configuration by path; the first fault sticks.
type reader struct {
	root *xmlite.Node
	err  error
}

func (r *reader) fail(path, what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s %s", path, what)
	}
}

func (r *reader) node(path string) *xmlite.Node {
	n := r.root
	for name := range strings.SplitSeq(path, "/") {
		n = n.Child(name)
	}
	return n
}

func (r *reader) text(path string) string { return r.node(path).Content() }

func (r *reader) integer(path string, limit int64) int64 {
	n := r.node(path)
	if n == nil {
		return 0
	}
	v, err := strconv.ParseInt(strings.TrimSpace(n.Content()), 10, 64)
	if err != nil || v < 0 || v > limit {
		r.fail(path, "is not a number that could be")
	}
	return v
}

func (r *reader) boolean(path string, missing bool) bool {
	n := r.node(path)
	if n == nil {
		return missing
	}
	switch strings.ToLower(strings.TrimSpace(n.Content())) {
	case "true":
		return true
	case "false":
		return false
	}
	r.fail(path, "is neither True nor False")
	return missing
}

func (r *reader) guid(path string) [16]byte {
	return r.guidIn(path, r.text(path))
}

func (r *reader) guidIn(path, text string) [16]byte {
	text = strings.TrimSpace(text)
	if text == "" {
		return [16]byte{}
	}
	id, err := guid.Parse(text)
	if err != nil {
		r.fail(path, "is not a GUID")
	}
	return id
}

// sections refuses a device, or a controller of it, that stands twice.
func (r *reader) sections() {
	seen := make(map[[2]string]bool)
	once := func(section, controller string) {
		key := [2]string{section, controller}
		if seen[key] {
			r.fail(strings.TrimSuffix(section+"/"+controller, "/"), "stands twice")
		}
		seen[key] = true
	}
	for _, s := range r.root.Elements() {
		if !strings.HasPrefix(s.Name, "_") {
			continue
		}
		for _, e := range s.Elements() {
			if _, ok := numbered(e.Name, "controller"); ok {
				once(s.Name, e.Name)
			}
		}
		once(s.Name, "")
	}
}

// The leaf names of the list's entries are the model's own.
const (
	checkpointList   = "global_settings/snapshots/list"
	checkpointParent = "global_settings/snapshots/parent_id"
)

// checkpoints reads the list of checkpoints.
func (r *reader) checkpoints(c *Configuration) {
	c.ParentCheckpoint = r.guid(checkpointParent)
	for _, e := range r.node(checkpointList).Elements() {
		if !strings.HasPrefix(e.Name, "snapshot") {
			continue
		}
		id := r.guidIn(checkpointList+"/"+e.Name, e.Child("id").Content())
		if id == [16]byte{} || slices.Contains(c.Checkpoints, id) || len(c.Checkpoints) == MaxCheckpoints {
			r.fail(checkpointList+"/"+e.Name, "is no checkpoint, one too many, or stands twice")
		}
		c.Checkpoints = append(c.Checkpoints, id)
	}
}

// initiators lists the iSCSI targets of the guest.
func initiators(root *xmlite.Node) []string {
	var list []string
	for _, t := range root.Child("guest_initiator").Elements() {
		list = append(list, t.Child("name").Content())
	}
	return list
}

// A controllerRef is a disk controller in a configuration. Every SCSI controller
// of a machine has a section of its own, with numbers from 0 in it; here they are
// numbered through.
type controllerRef struct {
	bus     Bus
	index   int // as a Slot has it
	number  int // as the section has it
	section string
	path    string
	node    *xmlite.Node
}

// controllers lists the disk controllers in the order of the file. A section that
// has a channel is a SCSI controller's.
func controllers(root *xmlite.Node) []controllerRef {
	var list []controllerRef
	scsi := 0
	for _, s := range root.Elements() {
		if !strings.HasPrefix(s.Name, "_") {
			continue
		}
		r := controllerRef{section: s.Name}
		first, next := 0, scsi
		if s.Child("ChannelInstanceGuid") != nil {
			r.bus, first = SCSI, scsi
		}
		for _, e := range s.Elements() {
			n, ok := numbered(e.Name, "controller")
			if !ok {
				continue
			}
			r.number, r.index, r.path, r.node = n, first+n, s.Name+"/"+e.Name, e
			list = append(list, r)
			if r.bus == SCSI {
				next = max(next, r.index+1)
			}
		}
		scsi = next
	}
	return list
}

func (r *reader) drives(c *Configuration) {
	for _, at := range controllers(r.root) {
		for _, d := range at.node.Elements() {
			n, ok := numbered(d.Name, "drive")
			kind := driveKind(d)
			if !ok || kind == "" {
				continue
			}
			slot := Slot{at.bus, at.index, n}
			path := d.Child("pathname").Content()
			if kind == driveISO {
				c.DVDs = append(c.DVDs, DVD{Slot: slot, Path: path})
				continue
			}
			if path == "" {
				r.fail(slot.String(), "has no path")
			}
			c.Drives = append(c.Drives, Drive{Slot: slot, Kind: kind, Path: path})
		}
	}
	slices.SortStableFunc(c.Drives, func(a, b Drive) int { return a.Slot.compare(b.Slot) })
	for i := 1; i < len(c.Drives); i++ {
		if c.Drives[i].Slot == c.Drives[i-1].Slot {
			r.fail(c.Drives[i].Slot.String(), "is taken twice")
		}
	}
	if at, twice := c.sortDVDs(); twice {
		r.fail(at.String(), "is taken twice")
	}
}

// driveKind is the kind of a drive element, or "" for one that is neither a disk nor
// a DVD drive.
func driveKind(d *xmlite.Node) DriveKind {
	switch kind := DriveKind(d.Child("type").Content()); kind {
	case DriveVHD, DrivePassThrough, driveISO:
		return kind
	}
	return ""
}

// adapterSections lists the sections of network adapters.
func adapterSections(root *xmlite.Node) []*xmlite.Node {
	return slices.DeleteFunc(root.Elements(), func(s *xmlite.Node) bool {
		return !strings.HasPrefix(s.Name, "_") || s.Child("MacAddress") == nil
	})
}

func (r *reader) adapters(c *Configuration) {
	for _, s := range adapterSections(r.root) {
		leaf := func(name string) string { return s.Child(name).Content() }
		c.Adapters = append(c.Adapters, Adapter{
			Name:      leaf("FriendlyName"),
			MAC:       leaf("MacAddress"),
			StaticMAC: strings.EqualFold(strings.TrimSpace(leaf("MacAddressIsStatic")), "true"),
			Switch:    r.guidIn(s.Name+"/SwitchName", leaf("SwitchName")),
			Port:      r.guidIn(s.Name+"/PortName", leaf("PortName")),
		})
	}
}

// numbered takes a name such as "controller1" apart.
func numbered(name, prefix string) (int, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0 && n < maxDrive && strconv.Itoa(n) == digits
}
