package hyperv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A VMConfig says what a new machine is to be. The zero values of all but Name
// are useful.
type VMConfig struct {
	Name string
	ID   [16]byte // zero: one of its own

	Root         string // for configuration and saved state; the host's default if empty
	SnapshotRoot string // the Snapshot File Location; Root if empty
	MemoryMB     int64  // 64 if zero
	Processors   int64  // 1 if zero
	Notes        string

	Disks    []DiskConfig
	DVDs     []string // a DVD drive each, with the ISO file in it; "" for an empty one
	Adapters []AdapterConfig

	// StartAction is what becomes of the machine when the host boots.
	StartAction StartAction
	// StopAction is what becomes of it when the host is shut down in order.
	StopAction StopAction

	// BackupNotOffered keeps the backup integration service from the guest.
	BackupNotOffered bool

	// Guest is installed on the first volume of the disks. Without it a machine
	// starts what its disks hold.
	Guest *guest.System
}

// A DiskConfig is a disk of a new machine: a VHD file, or one of the host's
// other disks.
type DiskConfig struct {
	Path      string // of the VHD file; an existing one is attached as it is
	Size      int64  // of the disk, when the file is made
	Parent    string // path of the VHD file that the new one shows where it holds nothing; Size and BlockSize are the parent's
	Fixed     bool   // make a fixed VHD rather than a dynamically expanding one
	BlockSize int64  // of a dynamically expanding one; 2 MiB if zero
	Format    *guest.DiskSpec

	PassThrough string // instead of Path: a disk added with [Host.AddDisk]
	Initiator   string // instead of Path: an iSCSI target added with [Host.AddDisk]
}

// An AdapterConfig is a network adapter of a new machine.
type AdapterConfig struct {
	Switch *Switch
	MAC    string // static; from the host's pool if empty
}

// CreateVM makes a machine, with its disks and its configuration file, and
// registers it. It is off. On failure nothing of it is left.
func (h *Host) CreateVM(ctx context.Context, c VMConfig) (vm *VM, err error) {
	err = h.call(ctx, "create "+c.Name, func(ctx context.Context) error {
		vm, err = h.createVM(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return vm, nil
}

func (h *Host) createVM(ctx context.Context, c VMConfig) (_ *VM, err error) {
	conf, path, err := h.newConfiguration(c)
	if err != nil {
		return nil, err
	}
	undo := undoCreate{host: h}
	defer func() {
		if err != nil {
			undo.all()
		}
	}()
	for _, d := range c.Disks {
		undo.folder(d.Path)
		made, err := h.createDisk(d)
		if err != nil {
			return nil, &Error{Op: "CreateVM", On: c.Name, Err: err}
		}
		if made {
			undo.file(d.Path)
		}
		if err := h.allowFirst(d, made, conf.ID, &undo.granted); err != nil {
			return nil, &Error{Op: "CreateVM", On: d.Path, Err: err}
		}
	}
	if err := h.install(conf, c.Guest); err != nil {
		return nil, &Error{Op: "CreateVM", On: c.Name, Err: err}
	}
	undo.folder(path)
	if _, err := h.stampOf(path); err == nil {
		return nil, &Error{Op: "CreateVM", On: path, Err: volume.ErrFileExists}
	}
	if err := h.writeConfiguration(conf, path); err != nil {
		return nil, err
	}
	undo.file(path)
	if err := h.allowOwn(path, conf.ID, nil); err != nil {
		return nil, err
	}
	return h.enrollNew(ctx, conf, path)
}

// allowFirst gives a new machine's account access to a disk.
func (h *Host) allowFirst(d DiskConfig, made bool, machine [16]byte, keep *granted) error {
	switch {
	case d.Path == "":
		return nil
	case made && d.Parent == "":
		return h.allowOwn(d.Path, machine, nil)
	}
	return h.allowDisk(d.Path, machine, keep)
}

// enrollNew registers a machine whose configuration was just written.
func (h *Host) enrollNew(ctx context.Context, conf *Configuration, path string) (*VM, error) {
	if err := sim.At(ctx, FaultRegister); err != nil {
		return nil, &Error{Op: "Register", On: path, Err: err}
	}
	path, err := h.resolve(path)
	if err != nil {
		return nil, err
	}
	stamp, err := h.stampOf(path)
	if err != nil {
		return nil, err
	}
	vm, err := h.enroll(conf, path, stamp, enrolRules{})
	if err != nil {
		return nil, err
	}
	h.plugIn(vm)
	return vm, nil
}

// plugIn makes the ports that the machine's configuration names.
func (h *Host) plugIn(vm *VM) {
	for i, a := range vm.config.Adapters {
		if s := h.Switch(a.Switch); s != nil {
			s.ports = append(s.ports, &Port{ID: a.Port, VM: vm.ID(), Adapter: i})
		}
	}
}

// An undoCreate is what has to go if a machine cannot be made.
type undoCreate struct {
	host  *Host
	paths []string // files and, before them, folders that were made

	granted granted // of files that were there
}

func (u *undoCreate) file(path string) { u.paths = append(u.paths, path) }

// folder notes the folders that are missing on the way to a file.
func (u *undoCreate) folder(path string) {
	var missing []string
	for dir := volume.Dir(path); volume.Base(dir) != ""; dir = volume.Dir(dir) {
		if _, err := u.host.stampOf(dir); err == nil {
			break
		}
		missing = append(missing, dir)
	}
	slices.Reverse(missing)
	u.paths = append(u.paths, missing...)
}

func (u *undoCreate) all() {
	u.granted.takeBack()
	for _, path := range slices.Backward(u.paths) {
		_ = u.host.removeFile(path)
	}
}

func (h *Host) newConfiguration(c VMConfig) (*Configuration, string, error) {
	if c.Name == "" || c.MemoryMB > maxMemoryMB || c.Processors > maxProcessors {
		return nil, "", &Error{Op: "CreateVM", Err: ErrParameter}
	}
	conf := &Configuration{
		ID:            c.ID,
		Name:          c.Name,
		Notes:         c.Notes,
		SnapshotRoot:  c.SnapshotRoot,
		MemoryMB:      max(c.MemoryMB, 0),
		Processors:    max(c.Processors, 1),
		BackupOffered: !c.BackupNotOffered,
		StartAction:   c.StartAction,
		StopAction:    c.StopAction,
	}
	if conf.ID == [16]byte{} {
		conf.ID = h.actor.NewID("vm")
	}
	if h.byID[conf.ID] != nil {
		return nil, "", &Error{Op: "CreateVM", On: guid.Upper(conf.ID), Err: ErrInUse}
	}
	if conf.MemoryMB == 0 {
		conf.MemoryMB = 64
	}
	root := c.Root
	if root == "" {
		root = h.root
	}
	if conf.SnapshotRoot == "" {
		conf.SnapshotRoot = root
	}
	h.addDrives(conf, c.Disks)
	for i, d := range conf.Drives {
		same := func(e Drive) bool { return e.Kind == d.Kind && volume.Equal(e.Path, d.Path) }
		if slices.ContainsFunc(conf.Drives[:i], same) {
			return nil, "", &Error{Op: "CreateVM", On: d.Path, Err: fmt.Errorf("%w: the disk is given twice", ErrParameter)}
		}
	}
	if err := h.addDVDs(conf, c.DVDs); err != nil {
		return nil, "", err
	}
	for _, a := range c.Adapters {
		adapter, err := h.newAdapter(conf.ID, a)
		if slices.ContainsFunc(conf.Adapters, func(o Adapter) bool { return o.MAC == adapter.MAC }) && a.MAC == "" {
			err = errNoAddress // the range is all this machine's
		}
		if err != nil {
			return nil, "", &Error{Op: "CreateVM", On: c.Name, Err: err}
		}
		conf.Adapters = append(conf.Adapters, adapter)
	}
	return conf, filesBelow(root, conf.ID).config(), nil
}

func (h *Host) addDrives(conf *Configuration, disks []DiskConfig) {
	for _, d := range disks {
		slot := slotOf(len(conf.Drives))
		switch {
		case d.Initiator != "":
			conf.Initiators = append(conf.Initiators, d.Initiator)
		case d.PassThrough != "":
			conf.Drives = append(conf.Drives, Drive{Slot: slot, Kind: DrivePassThrough, Path: d.PassThrough})
		default:
			conf.Drives = append(conf.Drives, Drive{Slot: slot, Kind: DriveVHD, Path: d.Path})
		}
	}
}

func (h *Host) newAdapter(vm [16]byte, a AdapterConfig) (out Adapter, err error) {
	out = Adapter{Name: "Network Adapter", MAC: a.MAC, StaticMAC: a.MAC != ""}
	if !out.StaticMAC {
		if out.MAC, err = h.macs.draw(); err != nil {
			return out, err
		}
	}
	if a.Switch != nil {
		out.Switch, out.Port = a.Switch.ID, h.newPortID(vm)
	}
	return out, nil
}

// CreateDisk makes a VHD file that belongs to no machine yet. A file that is there
// already is [volume.ErrFileExists].
func (h *Host) CreateDisk(ctx context.Context, d DiskConfig) error {
	return h.call(ctx, "create "+d.Path, func(context.Context) error {
		undo := undoCreate{host: h}
		undo.folder(d.Path)
		made, err := h.createDisk(d)
		switch {
		case err == nil && made:
			return nil
		case err == nil && d.Path != "" && (d.Size > 0 || d.Parent != ""):
			err = volume.ErrFileExists
		case err == nil:
			err = ErrParameter
		}
		undo.all()
		return &Error{Op: "CreateDisk", On: d.Path, Err: err}
	})
}

// createDisk makes a VHD file, unless it exists or the disk is none.
func (h *Host) createDisk(d DiskConfig) (made bool, err error) {
	if d.PassThrough != "" || d.Initiator != "" {
		if name := d.PassThrough + d.Initiator; h.luns[name] == nil {
			return false, &Error{Op: "Attach", On: name, Err: ErrNotFound}
		}
		return false, nil
	}
	v, rest, err := h.volumeOf(d.Path)
	if err != nil {
		return false, err
	}
	if info, err := v.Describe(rest); err == nil && info.IsDir() {
		return false, &Error{Op: "Attach", On: d.Path, Err: volume.ErrAccessDenied}
	} else if err == nil || d.Size == 0 && d.Parent == "" {
		return false, err
	}
	if err := v.MkdirAll(volume.Dir(rest)); err != nil {
		return false, err
	}
	f, err := v.OpenFile(rest, volume.ReadWrite|volume.CreateNew, volume.Exclusive)
	if err != nil {
		return false, err
	}
	err = h.fillDisk(f, d)
	if err = errors.Join(err, f.Close()); err != nil {
		return false, errors.Join(err, v.Remove(rest))
	}
	return true, nil
}

func (h *Host) fillDisk(f *volume.File, d DiskConfig) error {
	o := vhd.Options{
		Size:      d.Size,
		Type:      vhd.Dynamic,
		BlockSize: d.BlockSize,
		ID:        h.actor.NewID("disk " + d.Path),
		Time:      h.world.Date(),
	}
	if d.Fixed {
		o.Type = vhd.Fixed
	}
	if d.Parent != "" {
		p, err := openParent(h.live, d.Parent)
		if err != nil {
			return err
		}
		defer p.close()
		o.Type, o.Size, o.Parent = vhd.Differencing, 0, vhd.Parent{Image: p.Image, Path: d.Parent, Child: d.Path}
	}
	image, err := vhd.Create(f, o)
	if err != nil || d.Format == nil {
		return err
	}
	spec := *d.Format
	if id := h.actor.NewID("partition table " + d.Path); spec.Scheme == guest.GPT && spec.GUID == [16]byte{} {
		spec.GUID = id
	} else if spec.Scheme == guest.MBR && spec.Signature == 0 {
		spec.Signature = binary.BigEndian.Uint32(id[:])
	}
	return guest.Format(image, spec)
}

// install writes the guest's system record on the first volume of the first VHD
// that has one.
func (h *Host) install(c *Configuration, s *guest.System) error {
	if s == nil {
		return nil
	}
	for _, path := range c.VHDPaths() {
		d, err := h.attach(path, nil)
		if err != nil {
			return err
		}
		done, err := installOn(d, s)
		d.detach()
		if done || err != nil {
			return err
		}
	}
	return errors.New("no disk has a volume that an operating system could be installed on")
}

func installOn(d *vhdDisk, s *guest.System) (bool, error) {
	l, err := guest.ReadLayout(d, d.Size())
	if err != nil {
		return false, nil
	}
	for _, v := range guest.Volumes(l) {
		if v.Data().Len > 0 {
			return true, guest.WriteSystem(v.Store(d), s)
		}
	}
	return false, nil
}

// writeConfiguration writes a configuration file in place of what was there.
func (h *Host) writeConfiguration(c *Configuration, path string) error {
	h.printer.Reset()
	text, err := c.print(&h.printer)
	if err != nil {
		return err
	}
	h.buffer = xmlite.AppendUTF16(h.buffer[:0], text)
	if err := h.writeFile(path, h.buffer); err != nil {
		return &Error{Op: "WriteConfiguration", On: path, Err: err}
	}
	c.text = string(text)
	return nil
}

func (h *Host) removeFile(path string) error {
	v, rest, err := h.volumeOf(path)
	if err != nil {
		return err
	}
	if err := v.Remove(rest); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
