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

// maxDrive bounds the number of a controller or drive in a configuration.
const maxDrive = 64

// ReadConfiguration parses a configuration file: UTF-16, or a single-byte copy
// whatever its declaration says. A file without an identity or with values that
// cannot be is an error that wraps [ErrConfiguration]; what is merely missing
// gets its default.
func ReadConfiguration(file []byte) (*Configuration, error) {
	doc, err := xmlite.Parse(bytes.NewReader(file), xmlite.Limits{})
	if err != nil {
		return nil, badConfiguration(err)
	}
	if doc.Root.Name != "configuration" {
		return nil, badConfiguration(fmt.Errorf("the root is %q", doc.Root.Name))
	}
	r := reader{root: doc.Root}
	c := &Configuration{
		doc:           doc,
		ID:            r.guid("properties/global_id"),
		Name:          r.text("properties/name"),
		Notes:         r.text("properties/notes"),
		SnapshotRoot:  r.text("global_settings/snapshots/data_root"),
		MemoryMB:      r.integer("settings/memory/bank/size"),
		Processors:    r.integer("settings/processors/count"),
		BackupOffered: r.boolean(section(backupDevice)+"/Enabled", true),
	}
	r.devices(c)
	for _, t := range doc.Root.Child("guest_initiator").Elements() {
		c.Initiators = append(c.Initiators, t.Child("name").Content())
	}
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

func (r *reader) integer(path string) int64 {
	n := r.node(path)
	if n == nil {
		return 0
	}
	v, err := strconv.ParseInt(strings.TrimSpace(n.Content()), 10, 64)
	if err != nil || v < 0 {
		r.fail(path, "is not a number")
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

// devices reads the drives and network adapters from the device sections.
func (r *reader) devices(c *Configuration) {
	for _, s := range r.root.Elements() {
		if !strings.HasPrefix(s.Name, "_") {
			continue
		}
		if s.Child("MacAddress") != nil {
			r.adapter(c, s)
		}
		bus := IDE
		if s.Child("ChannelInstanceGuid") != nil {
			bus = SCSI
		}
		for _, controller := range s.Elements() {
			if n, ok := numbered(controller.Name, "controller"); ok {
				r.drives(c, controller, Slot{Bus: bus, Controller: n})
			}
		}
	}
	slices.SortFunc(c.Drives, func(a, b Drive) int { return a.Slot.compare(b.Slot) })
	for i := 1; i < len(c.Drives); i++ {
		if c.Drives[i].Slot == c.Drives[i-1].Slot {
			r.fail(c.Drives[i].Slot.String(), "is taken twice")
		}
	}
}

func (r *reader) drives(c *Configuration, controller *xmlite.Node, at Slot) {
	for _, d := range controller.Elements() {
		n, ok := numbered(d.Name, "drive")
		kind := driveKind(d)
		if !ok || kind == "" {
			continue
		}
		at.Drive = n
		path := d.Child("pathname").Content()
		if path == "" {
			r.fail(at.String(), "has no path")
		}
		c.Drives = append(c.Drives, Drive{Slot: at, Kind: kind, Path: path})
	}
}

// driveKind is the kind of a drive element, or "" for one that is no disk.
func driveKind(d *xmlite.Node) DriveKind {
	switch kind := DriveKind(d.Child("type").Content()); kind {
	case DriveVHD, DrivePassThrough:
		return kind
	}
	return ""
}

func (r *reader) adapter(c *Configuration, s *xmlite.Node) {
	leaf := func(name string) string { return s.Child(name).Content() }
	c.Adapters = append(c.Adapters, Adapter{
		Name:      leaf("FriendlyName"),
		MAC:       leaf("MacAddress"),
		StaticMAC: strings.EqualFold(leaf("MacAddressIsStatic"), "true"),
		Switch:    r.guidIn(s.Name+"/SwitchName", leaf("SwitchName")),
		Port:      r.guidIn(s.Name+"/PortName", leaf("PortName")),
	})
}

// numbered takes a name such as "controller1" apart.
func numbered(name, prefix string) (int, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0 && n < maxDrive
}
