package hyperv

import (
	"errors"
	"slices"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A SharedVolume is a volume on storage that several hosts reach. It has the same
// drive letter, or is in the same folder, on every host that mounts it, so that the
// paths in a machine's configuration hold everywhere. Nothing here keeps two hosts from mounting it at
// the same time; who manages the hosts has to know whether that is right.
type SharedVolume struct {
	*volume.Volume
	letter string
	gate   *holdGate
	hold   hostVolume // stands for who holds writes without being a host
}

// NewSharedVolume makes a volume that no host has mounted. One without a drive
// letter can be mounted in a folder alone.
func NewSharedVolume(w *sim.World, c VolumeConfig) (*SharedVolume, error) {
	letter, name := "", "a shared volume"
	if c.Letter != "" {
		var err error
		if letter, err = driveLetter(c.Letter); err != nil {
			return nil, &Error{Op: "NewSharedVolume", On: c.Letter, Err: err}
		}
		name = letter + ":"
	}
	return &SharedVolume{
		letter: letter,
		gate:   newHoldGate(w, "writes to "+name),
		Volume: volume.New(volume.Config{
			ID: w.NewID("shared volume " + letter), FileSystem: c.FileSystem, Capacity: c.Capacity, Now: w.Date,
		}),
	}, nil
}

func driveLetter(s string) (string, error) {
	letter, rest, err := volume.Split(s + `\`)
	if err != nil || letter == "" || rest != `\` {
		return "", ErrParameter
	}
	return letter, nil
}

// Letter is the volume's drive letter, "S", or "" if it has none.
func (s *SharedVolume) Letter() string { return s.letter }

// HoldWrites makes every write of any host wait until ReleaseWrites, as when the
// storage does not answer.
func (s *SharedVolume) HoldWrites() { s.gate.hold(&s.hold) }

// ReleaseWrites lets writes go on, unless a host holds them.
func (s *SharedVolume) ReleaseWrites() { s.gate.release(&s.hold) }

// A Mount says how a host is to have a shared volume.
type Mount struct {
	Volume *SharedVolume
	// Folder is where the volume is to be seen in place of its drive letter, as a
	// mounted folder: `C:\ClusterStorage\Volume1`.
	Folder string
	// AllowShadow is asked before the host takes a shadow copy of the volume; an
	// error refuses it.
	AllowShadow func() error
}

// Mount gives the host a shared volume. A drive letter or a folder that is taken
// is [ErrInUse].
func (h *Host) Mount(m Mount) error {
	s := m.Volume
	if h.mounted(s) != nil {
		return nil
	}
	v := &hostVolume{letter: s.letter, Volume: s.Volume, gate: s.gate, shared: &sharing{of: s, allow: m.AllowShadow}}
	if m.Folder != "" {
		folder, err := volume.Clean(m.Folder)
		if err != nil {
			return &Error{Op: "Mount", On: m.Folder, Err: errors.Join(ErrParameter, err)}
		}
		v.letter, v.folder = "", folder
	}
	if v.letter+v.folder == "" {
		return &Error{Op: "Mount", On: s.gate.Name, Err: ErrParameter}
	}
	if err := h.show(v); err != nil {
		return &Error{Op: "Mount", On: v.Name(), Err: errors.Join(ErrInUse, err)}
	}
	if err := h.service.AddVolume(v); err != nil {
		h.hide(v)
		return &Error{Op: "Mount", On: v.Name(), Err: err}
	}
	h.volumes = append(h.volumes, v)
	h.actor.Emit("volume/mount", "", sim.S("volume", v.Name()))
	return nil
}

// show makes the files of a volume part of the host's.
func (h *Host) show(v *hostVolume) error {
	if v.folder != "" {
		return h.files.MountFolder(v.folder, v.FS())
	}
	err := h.files.Mount(v.letter, v.FS())
	if err == nil && v.also != "" {
		err = h.files.MountFolder(v.also, v.FS())
	}
	return err
}

func (h *Host) hide(v *hostVolume) {
	if v.folder != "" {
		h.files.UnmountFolder(v.folder)
		return
	}
	h.files.Unmount(v.letter)
	if v.also != "" {
		h.files.UnmountFolder(v.also)
	}
}

// Unmount takes a shared volume away from the host, whether the host lives or
// not: files that its machines have open on the volume are closed under them, and
// writes that it held go on. It returns the shadow copies that the host has taken
// and that are still there: nobody will delete them by himself.
func (h *Host) Unmount(s *SharedVolume) (left [][16]byte) {
	v := h.mounted(s)
	if v == nil {
		return nil
	}
	v.shared.gone = true
	h.volumes = slices.DeleteFunc(h.volumes, func(o *hostVolume) bool { return o == v })
	h.hide(v)
	_ = h.service.RemoveVolume(v.Name()) // it is there: Mount has added it
	v.Release()
	for _, d := range v.shared.open {
		_ = d.file.Close()
	}
	v.shared.open = nil
	h.actor.Emit("volume/unmount", "", sim.S("volume", v.Name()))
	for _, id := range s.Shadows() {
		if slices.Contains(v.shared.made, id) {
			left = append(left, id)
		}
	}
	return left
}

// StandsOn tells whether the machine's configuration file or one of its VHD files
// lies on a shared volume that its host has.
func (vm *VM) StandsOn(s *SharedVolume) bool {
	return slices.ContainsFunc(append(vm.config.VHDPaths(), vm.path), func(path string) bool {
		v, _, err := vm.host.volumeOf(path)
		return err == nil && v.shared != nil && v.shared.of == s
	})
}

// Mounted tells whether the host has a shared volume.
func (h *Host) Mounted(s *SharedVolume) bool { return h.mounted(s) != nil }

func (h *Host) mounted(s *SharedVolume) *hostVolume {
	for _, v := range h.volumes {
		if v.shared != nil && v.shared.of == s {
			return v
		}
	}
	return nil
}

// sharing is what a host's volume is beyond a volume if others reach it too.
type sharing struct {
	of    *SharedVolume
	allow func() error
	made  [][16]byte // shadow copies this host has taken
	open  []*vhdDisk // disks of machines
	gone  bool       // it was unmounted
}

// admit tells whether a shadow copy may be taken.
func (s *sharing) admit() error {
	switch {
	case s == nil:
		return nil
	case s.gone:
		return volume.ErrNoSuchDevice
	case s.allow != nil:
		return s.allow()
	}
	return nil
}

func (s *sharing) taken(id [16]byte) {
	if s != nil {
		s.made = append(s.made, id)
	}
}

func (s *sharing) opened(d *vhdDisk) {
	if s != nil {
		s.open = append(s.open, d)
	}
}

func (s *sharing) closed(d *vhdDisk) {
	if s != nil {
		s.open = slices.DeleteFunc(s.open, func(o *vhdDisk) bool { return o == d })
	}
}

// A holdGate holds writes as long as any of the hosts that share a volume wants
// them held.
type holdGate struct {
	sim.Gate
	holders []*hostVolume
}

func newHoldGate(w *sim.World, name string) *holdGate {
	return &holdGate{Gate: sim.Gate{Name: name, World: w}}
}

func (g *holdGate) hold(v *hostVolume) {
	if !slices.Contains(g.holders, v) {
		g.holders = append(g.holders, v)
	}
	g.Shut()
}

func (g *holdGate) release(v *hostVolume) {
	g.holders = slices.DeleteFunc(g.holders, func(o *hostVolume) bool { return o == v })
	if len(g.holders) == 0 {
		g.Open()
	}
}
