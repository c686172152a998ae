package hyperv

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A Configuration is what the configuration file of a machine says. Reading one
// and writing it back keeps everything the model does not know.
type Configuration struct {
	ID            [16]byte
	Name          string
	Notes         string
	SnapshotRoot  string // the Snapshot File Location; a host takes its own root if a file has none
	MemoryMB      int64
	Processors    int64
	BackupOffered bool // the backup integration service is offered to the guest
	StartAction   StartAction
	StopAction    StopAction
	MergePending  bool // disks of checkpoints that were deleted are still to be merged
	// Checkpoints are those of the machine in the order they were made, and
	// ParentCheckpoint is the one that it, or the checkpoint, stands on.
	Checkpoints      [][16]byte
	ParentCheckpoint [16]byte
	Drives           []Drive
	DVDs             []DVD
	Adapters         []Adapter
	// ReplicationPartner names the other host of the replication relation that the
	// machine is in, or is empty. The model replicates nothing; a restore breaks the
	// relation.
	ReplicationPartner string
	// Initiators names the iSCSI targets that the guest connects to by itself. The
	// host cannot see such disks (R40); the list stands in for the settings
	// inside the guest.
	Initiators []string

	text string // of the file that it was read from or written to, or ""
}

// A StartAction is what becomes of a machine when its host boots, with the numbers
// of AutomaticStartupAction ("Msvm_VirtualSystemGlobalSettingData").
type StartAction uint8

const (
	StartNothing   StartAction = iota // it stays off, or saved
	StartIfRunning                    // it is started if it ran when the host ended
	StartAlways
)

func (a StartAction) String() string {
	return [...]string{"nothing", "start if it was running", "always start"}[a]
}

// A StopAction is what becomes of a machine that executes when its host is shut down
// in order, with the numbers of AutomaticShutdownAction
// ("Msvm_VirtualSystemGlobalSettingData").
type StopAction uint8

const (
	StopTurnOff StopAction = iota
	StopSave
	StopShutDown // by the guest
)

func (a StopAction) String() string { return [...]string{"turn off", "save", "shut down"}[a] }

// A Bus is a kind of disk controller.
type Bus uint8

const (
	IDE Bus = iota
	SCSI
)

func (b Bus) String() string { return [...]string{"IDE", "SCSI"}[b] }

// A Slot is where a disk is attached.
type Slot struct {
	Bus        Bus
	Controller int
	Drive      int
}

func (s Slot) String() string { return fmt.Sprintf("%v %d:%d", s.Bus, s.Controller, s.Drive) }

func (s Slot) compare(t Slot) int {
	return cmp.Or(cmp.Compare(s.Bus, t.Bus), cmp.Compare(s.Controller, t.Controller), cmp.Compare(s.Drive, t.Drive))
}

// slotOf is where a machine's nth disk goes by default: two IDE controllers with
// two drives each, then SCSI.
func slotOf(n int) Slot {
	if n < 4 {
		return Slot{IDE, n / 2, n % 2}
	}
	return Slot{SCSI, (n - 4) / 64, (n - 4) % 64}
}

// A DriveKind says what a drive is backed by.
type DriveKind string

const (
	DriveVHD         DriveKind = "VHD"
	DrivePassThrough DriveKind = "PHYSICAL" // a disk of the host, handed to the machine whole (R39)
)

// driveISO is the kind of a drive element that is a DVD drive.
const driveISO DriveKind = "ISO"

// A Drive is a disk of a machine.
type Drive struct {
	Slot Slot
	Kind DriveKind
	Path string // of the VHD file, or the name of the host's disk
}

// An Adapter is a network adapter of a machine.
type Adapter struct {
	Name      string
	MAC       string // twelve hexadecimal digits
	StaticMAC bool
	Switch    [16]byte // zero: not connected
	Port      [16]byte
}

// Connected tells whether the adapter is configured to be on a switch.
func (a Adapter) Connected() bool { return a.Switch != [16]byte{} }

// VHDPaths lists the paths of the VHD files, in the order of the drives.
func (c *Configuration) VHDPaths() []string {
	var out []string
	for _, d := range c.Drives {
		if d.Kind == DriveVHD {
			out = append(out, d.Path)
		}
	}
	return out
}

// clone copies what a caller may change.
func (c *Configuration) clone() *Configuration {
	d := *c
	d.Drives = slices.Clone(c.Drives)
	d.DVDs = slices.Clone(c.DVDs)
	d.Adapters = slices.Clone(c.Adapters)
	d.Initiators = slices.Clone(c.Initiators)
	d.Checkpoints = slices.Clone(c.Checkpoints)
	return &d
}

// Devices of a machine, as the manifest of a configuration names them.
var (
	ideDevice     = guid.MustParse("83f8638b-8dca-4152-9eda-2ca8b33039b4")
	scsiDevice    = guid.MustParse("d422512d-2bf2-4752-809d-7b82b5fcb1b4")
	networkDevice = guid.MustParse("2fc216b0-d2e2-4967-9b6d-b8a5c9ca2778")
	backupDevice  = guid.MustParse("5ced1297-4598-4915-a5fc-ad21bb4d02a4")
)

// maxInstances is how many devices of one kind instance has names for.
const maxInstances = 1 << 8

var errTooManyAdapters = badConfiguration(fmt.Errorf("a file has sections for %d network adapters", maxInstances))

// instance names the nth added device of a machine: the device's own GUID mixed
// with the machine's, and the number, so that they stand in order.
func (c *Configuration) instance(device [16]byte, n int) [16]byte {
	for i := range device {
		device[i] ^= c.ID[i]
	}
	device[15] = byte(n)
	return device
}
