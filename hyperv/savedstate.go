package hyperv

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
)

// A deviceState is what stands in the .vsv file of a saved machine, beside the
// memory image in the .bin file: which machine it is, and what it ran on. The real
// file's form is not published; this one is the model's own.
type deviceState struct {
	Machine  [16]byte
	Memory   int64 // bytes of the memory image
	Platform platform
	Disks    []diskIdentity

	PassedThrough []passedDisk
}

// A platform is what a saved machine has to find again on the host where it goes
// on, beside its disks.
type platform struct{ Processor, Windows string }

// A PlatformError is why a machine does not go on on a host: it ran on another
// processor, or under another version of Windows. A saved one can once its saved
// state is discarded, and then boots from disks that nobody brought in order.
type PlatformError struct {
	What      string // "processor" or "version of Windows"
	Ran, Here string
}

// Error names both.
func (e *PlatformError) Error() string {
	return fmt.Sprintf("the machine ran on the %s %q, and this is %q", e.What, e.Ran, e.Here)
}

// Unwrap is [ErrFailed].
func (e *PlatformError) Unwrap() error { return ErrFailed }

// goesOnAt tells why what ran on a platform cannot go on at another.
func (p platform) goesOnAt(here platform) error {
	switch {
	case p.Processor != here.Processor:
		return &PlatformError{"processor", p.Processor, here.Processor}
	case p.Windows != here.Windows:
		return &PlatformError{"version of Windows", p.Windows, here.Windows}
	}
	return nil
}

// A diskIdentity is how a saved machine knows its disks again.
type diskIdentity struct {
	Slot Slot
	ID   [16]byte
}

func (s *deviceState) encode() ([]byte, error) {
	root := xmlite.NewElement("saved_state")
	root.SetAttr("version", "1")
	root.SetAttr("machine", guid.Upper(s.Machine))
	root.SetAttr("memory", strconv.FormatInt(s.Memory, 10))
	if s.Platform.Processor != "" {
		root.SetAttr("processor", s.Platform.Processor)
	}
	if s.Platform.Windows != "" {
		root.SetAttr("windows", s.Platform.Windows)
	}
	for _, d := range s.Disks {
		e := xmlite.NewElement("disk")
		d.Slot.encode(e)
		e.SetAttr("id", guid.Upper(d.ID))
		root.Children = append(root.Children, e)
	}
	for _, d := range s.PassedThrough {
		root.Children = append(root.Children, d.encode())
	}
	w := &xmlite.Writer{Indent: "  "}
	(&xmlite.Document{Root: root}).Write(w)
	return w.Bytes()
}

func decodeDeviceState(file []byte) (*deviceState, error) {
	doc, err := xmlite.ParseBytes(file, xmlite.Limits{})
	if err != nil {
		return nil, err
	}
	r := doc.Root
	if v, _ := r.Attr("version"); r.Name != "saved_state" || v != "1" {
		return nil, errors.New("not a saved state of version 1")
	}
	s := &deviceState{}
	if s.Machine, err = guidAttr(r, "machine"); err != nil {
		return nil, err
	}
	if s.Memory, err = numberAttr(r, "memory", 1<<50); err != nil {
		return nil, err
	}
	s.Platform.Processor, _ = r.Attr("processor")
	s.Platform.Windows, _ = r.Attr("windows")
	for _, e := range r.Elements() {
		if e.Name == passedElement {
			d, err := decodePassedDisk(e)
			if err != nil {
				return nil, err
			}
			s.PassedThrough = append(s.PassedThrough, d)
			continue
		}
		d, err := decodeDiskIdentity(e)
		if err != nil {
			return nil, err
		}
		s.Disks = append(s.Disks, d)
	}
	return s, nil
}

func decodeDiskIdentity(e *xmlite.Node) (d diskIdentity, err error) {
	if d.Slot, err = decodeSlot(e); err == nil {
		d.ID, err = guidAttr(e, "id")
	}
	return d, err
}

func (s Slot) encode(e *xmlite.Node) {
	e.SetAttr("bus", s.Bus.String())
	e.SetAttr("controller", strconv.Itoa(s.Controller))
	e.SetAttr("drive", strconv.Itoa(s.Drive))
}

func decodeSlot(e *xmlite.Node) (s Slot, err error) {
	bus, _ := e.Attr("bus")
	switch bus {
	case "IDE":
	case "SCSI":
		s.Bus = SCSI
	default:
		return s, fmt.Errorf("%q is no bus", bus)
	}
	controller, err := numberAttr(e, "controller", maxDrive)
	if err != nil {
		return s, err
	}
	drive, err := numberAttr(e, "drive", maxDrive)
	s.Controller, s.Drive = int(controller), int(drive)
	return s, err
}

func guidAttr(n *xmlite.Node, name string) ([16]byte, error) {
	text, _ := n.Attr(name)
	return guid.Parse(text)
}

func numberAttr(n *xmlite.Node, name string, limit int64) (int64, error) {
	text, _ := n.Attr(name)
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < 0 || v > limit {
		return 0, fmt.Errorf("%s=%q is out of range", name, text)
	}
	return v, nil
}

// writeSavedState puts memory and device state beside the configuration. On
// failure nothing of them is left.
func (h *Host) writeSavedState(f files, s *deviceState, memory *disk.Memory) (err error) {
	v, folder, err := h.volumeOf(f.stateFolder())
	if err != nil {
		return err
	}
	text, err := s.encode()
	if err != nil {
		return err
	}
	if err := v.MkdirAll(folder); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.removeSavedState(f))
		}
	}()
	_, bin, _ := h.volumeOf(f.memory())
	if err := v.Adopt(bin, memory); err != nil {
		return err
	}
	_, vsv, _ := h.volumeOf(f.devices())
	return v.WriteFile(vsv, text)
}

// readSavedState reads what writeSavedState wrote; fs.ErrNotExist says that the
// machine is not saved.
func (h *Host) readSavedState(f files) (*deviceState, *disk.Memory, error) {
	v, vsv, err := h.volumeOf(f.devices())
	if err != nil {
		return nil, nil, err
	}
	text, err := v.ReadFile(vsv)
	if err != nil {
		return nil, nil, err
	}
	s, err := decodeDeviceState(text)
	if err != nil {
		return nil, nil, &Error{Op: "ReadSavedState", On: f.devices(), Err: err}
	}
	_, bin, _ := h.volumeOf(f.memory())
	m, err := v.Open(bin)
	if err != nil {
		return nil, nil, &Error{Op: "ReadSavedState", On: f.memory(), Err: err}
	}
	defer func() { _ = m.Close() }()
	if s.Machine != f.id || s.Memory != m.Size() {
		return nil, nil, &Error{Op: "ReadSavedState", On: f.memory(), Err: errors.New("memory and device state do not belong together")}
	}
	return s, m.Bytes(), nil
}

// isSaved tells whether a machine has a saved state.
func (h *Host) isSaved(f files) bool {
	v, vsv, err := h.volumeOf(f.devices())
	if err != nil {
		return false
	}
	_, err = v.Describe(vsv)
	return err == nil
}

// removeSavedState deletes a machine's saved state, if it has one. The memory goes
// first: if somebody holds it, the saved state stays whole.
func (h *Host) removeSavedState(f files) error {
	v, folder, err := h.volumeOf(f.stateFolder())
	if err != nil {
		return err
	}
	if _, err := v.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, path := range []string{f.memory(), f.devices()} {
		_, rest, _ := h.volumeOf(path)
		if err := v.Remove(rest); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := v.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, volume.ErrDirNotEmpty) {
		return err
	}
	return nil
}

// A machine whose stop action is to be saved has room for its memory from the start:
// the .bin file is there while it executes, as long as the memory is, and says
// nothing. Here the file is sparse; whether there is room is asked when the machine
// starts.

// roomToSave refuses to start a machine that could not be saved when the host ends.
func (vm *VM) roomToSave() error {
	f := vm.files()
	if vm.config.StopAction != StopSave || vm.host.isSaved(f) {
		return nil
	}
	v, bin, err := vm.host.volumeOf(f.memory())
	if err != nil {
		return err
	}
	free, err := v.FreeBelow(bin)
	if err != nil {
		free = v.Free() // the folder is still to be made
	}
	if free < vm.config.MemoryMB<<20 {
		return &Error{Op: "Reserve", On: f.memory(), Err: volume.ErrDiskFull}
	}
	return nil
}

// reserve makes the file. Without it the machine executes all the same.
func (vm *VM) reserve() {
	if vm.config.StopAction != StopSave {
		return
	}
	f := vm.files()
	v, folder, err := vm.host.volumeOf(f.stateFolder())
	if err != nil || v.MkdirAll(folder) != nil {
		return
	}
	_, bin, _ := volume.Split(f.memory())
	_ = v.Adopt(bin, disk.NewMemory(vm.config.MemoryMB<<20))
}

// unreserve removes the file of a machine that does not execute any more.
func (vm *VM) unreserve() {
	if f := vm.files(); vm.config.StopAction == StopSave && !vm.host.isSaved(f) {
		_ = vm.host.removeSavedState(f)
	}
}
