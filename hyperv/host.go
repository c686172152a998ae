package hyperv

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/internal/xmlite"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A HostConfig says what a host is made of.
type HostConfig struct {
	Name    string
	Volumes []VolumeConfig // C: alone if there are none
	// Root is where configurations go by default; [DefaultRoot] if empty.
	Root string
	// MemoryMB is what all machines that execute have together, in mebibytes; as
	// much as they ask for if zero. One that does not fit in does not start:
	// [ErrOutOfMemory].
	MemoryMB int64
	// Processor names vendor and family of the processor, in whatever words. A
	// machine goes on from a saved state, or migrates, only where they are the same.
	Processor string
	// MACs is what adapters without an address of their own get theirs from.
	MACs MACRange
	// Catalog makes the programs that guests have installed.
	Catalog guest.Catalog
	Profile Profile
	// OfflineGroup, if set, tells the cluster group that a machine belongs to if it is
	// offline, and "" otherwise; such a machine is not backed up from inside, as books
	// about backup of the time have it. By itself a host knows nothing of clusters (R59).
	// It must neither give way nor change anything.
	OfflineGroup func(machine [16]byte) string
	// NewRequestor makes the backup services of guests in place of the ones that
	// belong to their operating systems, as [guest.Config] has it.
	NewRequestor func(m *guest.Machine) guest.Requestor
	// Manage wraps the management that the writer works with, to watch it or to
	// put another in its place.
	Manage func(Management) Management
}

// A VolumeConfig is a volume of a host. The zero values of all but Letter are
// useful.
type VolumeConfig struct {
	Letter     string // "C:"
	Capacity   int64
	FileSystem string
	// Folder is a mounted folder of another volume in which this one is seen as well
	// (`C:\mnt\e`). Paths through it are those of the volume under its letter: the
	// writer names files so, and a VHD that is restored to the one is where the other
	// says. A volume that is in a folder of this one is not looked for through it.
	Folder string
}

// Volumes makes volumes with default values out of drive letters.
func Volumes(letters ...string) []VolumeConfig {
	out := make([]VolumeConfig, len(letters))
	for i, l := range letters {
		out[i].Letter = l
	}
	return out
}

// A Host is a computer that runs Hyper-V.
type Host struct {
	world    *sim.World
	actor    *sim.Actor
	name     string
	root     string
	folder   string // of the configurations below root
	memory   int64  // in mebibytes; 0 is without end
	platform platform
	profile  Profile
	catalog  guest.Catalog
	manage   func(Management) Management
	wrapped  Management // see managed

	newRequestor func(*guest.Machine) guest.Requestor
	offlineGroup func([16]byte) string

	volumes  []*hostVolume
	switches []*Switch
	vms      []*VM // in the order they were created or registered
	byID     map[[16]byte]*VM
	luns     map[string]guest.Disk
	service  *vss.Service
	vmms     *managementService
	files    *volume.Host
	undo     undoStack
	macs     addressPool
	watchers []*stateWatcher
	lastRead parsedFile
	granted  string        // the security descriptor that was set last
	parser   xmlite.Parser // of configuration files and the writer's notes
	printer  xmlite.Writer // of configuration files
	buffer   []byte        // the bytes of a file, for as long as a call has them
	lost     []Leftover    // registrations that did not survive the last boot
}

// NewHost makes a host whose services run.
func NewHost(w *sim.World, c HostConfig) (*Host, error) {
	h := &Host{
		world:   w,
		actor:   w.Actor(c.Name),
		name:    c.Name,
		root:    c.Root,
		memory:  c.MemoryMB,
		profile: c.Profile,
		catalog: c.Catalog,
		manage:  c.Manage,

		newRequestor: c.NewRequestor,
		offlineGroup: c.OfflineGroup,

		byID: make(map[[16]byte]*VM),
		luns: make(map[string]guest.Disk),
	}
	var err error
	if h.macs, err = c.MACs.pool(); err != nil {
		return nil, &Error{Op: "NewHost", On: c.Name, Err: fmt.Errorf("%w: the range of MAC addresses: %w", ErrParameter, err)}
	}
	h.undo.host = h
	h.platform = platform{c.Processor, c.Profile.Windows}
	if h.root == "" {
		h.root = DefaultRoot
	}
	if len(c.Volumes) == 0 {
		c.Volumes = Volumes("C:")
	}
	h.service = vss.NewService(h.actor.Child("vss"), vss.ServiceConfig{Machine: c.Name})
	for _, v := range c.Volumes {
		if err := h.addVolume(v); err != nil {
			return nil, err
		}
	}
	drives := make(map[string]fs.FS, len(h.volumes))
	for _, v := range h.volumes {
		drives[v.letter] = v.FS()
	}
	files, err := volume.NewHost(drives)
	if err != nil {
		return nil, err
	}
	h.files = files
	if err := h.mountFolders(c.Volumes); err != nil {
		return nil, err
	}
	if err := h.createInitialStore(); err != nil {
		return nil, err
	}
	h.vmms = &managementService{host: h}
	if err := h.vmms.start(); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *Host) addVolume(c VolumeConfig) error {
	letter, err := driveLetter(c.Letter)
	if err != nil {
		return &Error{Op: "NewHost", On: c.Letter, Err: err}
	}
	gate := newHoldGate(h.world, "writes to "+h.actor.Path()+"/"+letter+":")
	v := &hostVolume{letter: letter, gate: gate, Volume: volume.New(volume.Config{
		ID:         h.actor.NewID("volume " + letter),
		FileSystem: c.FileSystem,
		Capacity:   c.Capacity,
		Now:        h.world.Date,
	})}
	h.volumes = append(h.volumes, v)
	return h.service.AddVolume(v)
}

// createInitialStore writes the authorization store that every host has.
func (h *Host) createInitialStore() error {
	path := volume.Join(h.root, initialStore)
	v, rest, err := h.volumeOf(path)
	if err != nil {
		return err
	}
	if err := v.MkdirAll(volume.Dir(rest)); err != nil {
		return err
	}
	return v.WriteFile(rest, []byte(`<AzAdminManager MajorVersion="1" MinorVersion="0"/>`+"\r\n"))
}

// Name is the computer's name.
func (h *Host) Name() string { return h.name }

// Actor is the host's place in the world.
func (h *Host) Actor() *sim.Actor { return h.actor }

// World is the world the host lives in.
func (h *Host) World() *sim.World { return h.world }

// VSS is the host's Volume Shadow Copy Service: where a backup begins (R1).
func (h *Host) VSS() *vss.Service { return h.service }

// Root is the default location of configurations.
func (h *Host) Root() string { return h.root }

// Files is the host's file system as io/fs sees it: `D:\VMs` is "D/VMs". It has
// the methods a restore writes with.
func (h *Host) Files() *volume.Host {
	return h.files
}

// VMs lists the machines in the order they were created or registered.
func (h *Host) VMs() []*VM { return slices.Clone(h.vms) }

// VM finds the first machine with the name, or returns nil.
func (h *Host) VM(name string) *VM {
	for _, vm := range h.vms {
		if vm.config.Name == name {
			return vm
		}
	}
	return nil
}

// VMByID finds a machine, or returns nil.
func (h *Host) VMByID(id [16]byte) *VM { return h.byID[id] }

// AddDisk offers a disk that is not a file of the host: a physical disk for a
// pass-through drive, or an iSCSI target for the initiators of guests.
func (h *Host) AddDisk(name string, d guest.Disk) { h.luns[name] = d }

func (h *Host) adopt(vm *VM) {
	h.vms = append(h.vms, vm)
	h.byID[vm.config.ID] = vm
	h.macs.take(vm.config)
	h.macs.tell(vm)
}

func (h *Host) forget(vm *VM) {
	h.undo.forget(vm.config.ID)
	h.dismiss(vm)
}

// dismiss is forget for a machine that lives on elsewhere.
func (h *Host) dismiss(vm *VM) {
	if i := slices.Index(h.vms, vm); i == 0 { // as it is most often in a restore, which deletes one after another
		h.vms[0] = nil
		h.vms = h.vms[1:]
	} else if i > 0 {
		h.vms = slices.Delete(h.vms, i, i+1)
	}
	delete(h.byID, vm.config.ID)
	h.macs.giveBack(vm.config)
}

// call runs fn as a process of the host.
func (h *Host) call(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	return h.actor.Call(ctx, name, fn)
}

// writeFile writes a file of the host, with its folder.
func (h *Host) writeFile(path string, data []byte) error {
	v, rest, err := h.volumeOf(path)
	if err != nil {
		return err
	}
	if err := v.MkdirAll(volume.Dir(rest)); err != nil {
		return err
	}
	return v.WriteFile(rest, data)
}

// readFile reads a file of the host into the buffer; links to other volumes resolve.
func (h *Host) readFile(path string) error {
	name, err := volume.Name(path)
	if err != nil {
		return err
	}
	h.buffer, err = h.files.AppendFile(h.buffer[:0], name)
	return err
}
