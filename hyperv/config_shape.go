package hyperv

import (
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A shape is what an element of a configuration file may be: as in the files of hosts
// that have been published, and with what the model adds of its own.
type shape struct {
	name  string // see fits
	kinds string // the types of a leaf, "any" for a container of anything, "" for any other container
	need  bool   // it must be there
	in    []shape
}

func optional(name, kinds string) shape     { return shape{name: name, kinds: kinds} }
func required(name, kinds string) shape     { return shape{name: name, kinds: kinds, need: true} }
func holder(name string, in ...shape) shape { return shape{name: name, in: in} }

// mustHold is a container that must be there.
func mustHold(name string, in ...shape) shape { return shape{name: name, need: true, in: in} }

const anyShape = "any"

// fits tells whether an element has the name. That of a shape may end with "*" for
// anything, "#" for a number as of drives, or "###" for one of three digits, or more
// if it takes them.
func (s *shape) fits(name string) bool {
	if prefix, ok := strings.CutSuffix(s.name, "###"); ok {
		digits, ok := strings.CutPrefix(name, prefix)
		return ok && len(digits) >= 3 && strings.Trim(digits, "0123456789") == "" && (len(digits) == 3 || digits[0] != '0')
	}
	if prefix, ok := strings.CutSuffix(s.name, "#"); ok {
		_, ok := numbered(name, prefix)
		return ok
	}
	if prefix, ok := strings.CutSuffix(s.name, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return s.name == name
}

// child is the shape of an element within, or nil.
func (s *shape) child(name string) *shape {
	for i := range s.in {
		if s.in[i].fits(name) {
			return &s.in[i]
		}
	}
	return nil
}

// configurationShape is that of a whole file but for the sections of devices.
var configurationShape = shape{in: []shape{
	holder("global_settings",
		optional("disk_merge_pending", "bool"),
		optional("metrics", anyShape),
		holder("owner", optional("sid", "string bytes")),
		holder("power",
			holder("host_shutdown", optional("action", "integer")),
			holder("host_startup", optional("action", "integer"))),
		holder("replication", optional("partner", "string")),
		holder("snapshots",
			optional("data_root", "string"),
			holder("list", optional("size", "integer"), holder("snapshot###", required("id", "string"))),
			optional("parent_id", "string"))),
	holder("guest_initiator", holder("target###", required("name", "string"))),
	mustHold("manifest",
		required("size", "integer"),
		optional("version", "integer"),
		holder("vdev###", required("device", "string"), optional("flags", "integer"), required("instance", "string"), required("name", "string"))),
	mustHold("properties",
		optional("creation_time", "integer bytes"),
		required("global_id", "string"),
		optional("highly_available", "bool"),
		optional("last_*", "integer"),
		required("name", "string"),
		optional("notes", "string"),
		optional("subtype", "integer"),
		required("type_id", "string"),
		required("version", "integer")),
	mustHold("settings",
		mustHold("global", required("logical_id", "string")),
		mustHold("memory", mustHold("bank", optional("dynamic_memory_enabled", "bool"), required("size", "integer"))),
		mustHold("processors", required("count", "integer")),
		optional("topology", anyShape),
		optional("vnuma", anyShape)),
}}

var (
	deviceVersion = optional("VDEVVersion", "integer")
	controller    = holder("controller#", holder("drive#",
		optional("pathname", "string"), required("type", "string"), // a drive may be empty
		optional("iops_*", "integer"), optional("weight", "integer")))
)

// deviceShapes are those of the sections, by the kind of device.
var deviceShapes = map[[16]byte]*shape{
	ideDevice:    {in: []shape{deviceVersion, controller}},
	scsiDevice:   {in: []shape{deviceVersion, controller, required("ChannelInstanceGuid", "string")}},
	backupDevice: {in: []shape{deviceVersion, optional("Enabled", "bool")}},
	networkDevice: {in: []shape{
		deviceVersion,
		optional("ChannelInstanceGuid", "string"),
		optional("Connection", anyShape),
		optional("FriendlyName", "string"),
		required("MacAddress", "string"),
		optional("MacAddressIsStatic", "bool"),
		optional("PortName", "string"),
		optional("SwitchName", "string"),
		optional("VpciInstanceGuid", "string"),
	}},
	floppyDevice: {in: []shape{deviceVersion, optional("pathname", "string"), optional("type", "string")}},
	biosDevice:   {in: []shape{deviceVersion, holder("boot", optional("device#", "string"))}},
}

// Devices of which the model knows no more than the shape of their sections.
var (
	floppyDevice = guid.MustParse("8f0d2762-0b00-4e04-af4f-19010527cb93")
	biosDevice   = guid.MustParse("ac6b8dc1-3257-4a70-b1b2-a9c9215659ad")
)
