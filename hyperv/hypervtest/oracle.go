package hypervtest

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
)

// An Oracle knows which bytes a backup must contain. It stands between the
// writer and the machines and notes digests at the instants that count: of a
// guest's own shadow copies when the guest is done with them, and of the files of
// a machine when it has been saved.
//
//	oracle := hypervtest.NewOracle()
//	host, err := hyperv.NewHost(w, hyperv.HostConfig{Name: "h1", Manage: oracle.Watch})
//	err = oracle.Begin(host) // before each backup that is to be checked
//	... back up, destroy, restore, on this host or on another ...
//	for _, f := range oracle.Check(restored) { ... }
type Oracle struct {
	// OnSnapshot is called when a guest's shadow copies have been noted, with the
	// copy of each volume by name.
	OnSnapshot func(vm *hyperv.VM, volumes map[string]disk.Store)
	// OnCommitted is called once a backup, at the first thing the writer does with
	// a machine after the host's shadow copy was taken.
	OnCommitted func()

	host      *hyperv.Host
	machines  map[[16]byte]*expected
	committed bool
}

// expected is what a machine's backup must hold.
type expected struct {
	name   string
	state  hyperv.State // after a restore
	ranges []rangeDigest
	files  []fileDigest
}

type rangeDigest struct {
	volume   string // the guest's name for it
	disk     int
	off, len int64
	sum      [32]byte
}

type fileDigest struct {
	path string
	sum  [32]byte
}

// NewOracle makes an oracle; its Watch goes into a host's configuration.
func NewOracle() *Oracle { return &Oracle{} }

// Watch puts the oracle in front of a management, as [hyperv.HostConfig] wants
// it.
func (o *Oracle) Watch(m hyperv.Management) hyperv.Management { return &watch{m, o} }

// Begin forgets earlier backups and notes the machines that do not execute: their
// files are copied as they are.
func (o *Oracle) Begin(h *hyperv.Host) error {
	o.host, o.committed = h, false
	o.machines = make(map[[16]byte]*expected)
	for _, vm := range h.VMs() {
		if s := vm.State(); s == hyperv.StateOff || s == hyperv.StateSaved {
			if err := o.noteFiles(vm, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteFiles notes what the files of a machine hold that is off or saved. It may
// be on its way from there already, if somebody is quick.
func (o *Oracle) noteFiles(vm *hyperv.VM, state hyperv.State) error {
	if vm == nil { // it has gone to another host; the backup will fail
		return nil
	}
	e := &expected{name: vm.Name(), state: state}
	for _, path := range stateFiles(vm, state) {
		sum, err := digestFile(vm.Host(), path)
		if err != nil {
			return err
		}
		e.files = append(e.files, fileDigest{path, sum})
	}
	o.machines[vm.ID()] = e
	return nil
}

// stateFiles lists the files that hold the state of a machine: its VHD files,
// and its memory if it is saved.
func stateFiles(vm *hyperv.VM, state hyperv.State) []string {
	paths := vm.Configuration().VHDPaths()
	if state == hyperv.StateSaved {
		paths = append(paths, vm.MemoryPath())
	}
	return paths
}

// watch is a management with the oracle in front.
type watch struct {
	hyperv.Management
	oracle *Oracle
}

// Unwrap is the management behind.
func (w *watch) Unwrap() hyperv.Management { return w.Management }

func (w *watch) Save(ctx context.Context, id [16]byte) error {
	if err := w.Management.Save(ctx, id); err != nil {
		return err
	}
	if w.oracle.host == nil {
		return nil
	}
	return w.oracle.noteFiles(w.oracle.host.VMByID(id), hyperv.StateSaved)
}

func (w *watch) Restore(ctx context.Context, id [16]byte, to hyperv.State) error {
	w.oracle.commit()
	return w.Management.Restore(ctx, id, to)
}

func (w *watch) DropSnapshots(ctx context.Context, id [16]byte, copies []guest.Copy) error {
	w.oracle.commit()
	return w.Management.DropSnapshots(ctx, id, copies)
}

func (o *Oracle) commit() {
	if !o.committed && o.OnCommitted != nil {
		o.OnCommitted()
	}
	o.committed = true
}

func (w *watch) Requestor(ctx context.Context, id [16]byte) (guest.Requestor, error) {
	r, err := w.Management.Requestor(ctx, id)
	if err != nil || w.oracle.host == nil {
		return r, err
	}
	return &watchedRequestor{r, w.oracle, id}, nil
}

type watchedRequestor struct {
	guest.Requestor
	oracle *Oracle
	id     [16]byte
}

func (r *watchedRequestor) Snapshot(ctx context.Context, opts guest.SnapshotOptions) (*guest.Snapshot, error) {
	s, err := r.Requestor.Snapshot(ctx, opts)
	if err != nil {
		return nil, err
	}
	return s, r.oracle.noteCopies(r.oracle.host.VMByID(r.id), s.Copies)
}

// noteCopies notes what the guest's shadow copies hold at the end of the guest's
// own PostSnapshot.
func (o *Oracle) noteCopies(vm *hyperv.VM, copies []guest.Copy) error {
	if vm == nil || vm.Guest() == nil { // it died just now; the backup will fail
		return nil
	}
	disks := vm.Guest().Disks()
	e := &expected{name: vm.Name(), state: hyperv.StateOff}
	volumes := make(map[string]disk.Store)
	for _, c := range copies {
		kept, err := disks[c.Disk].Disk.Kept(c.ID)
		if err != nil {
			return err
		}
		volumes[c.Volume] = disk.Section(kept, c.Off, c.Len)
		sum, err := disk.Digest(volumes[c.Volume])
		if err != nil {
			return err
		}
		e.ranges = append(e.ranges, rangeDigest{c.Volume, c.Disk, c.Off, c.Len, sum})
	}
	o.machines[vm.ID()] = e
	if o.OnSnapshot != nil {
		o.OnSnapshot(vm, volumes)
	}
	return nil
}

// A Finding is one thing that must be true of restored machines.
type Finding struct {
	VM   string
	What string // a statement: "C: equals the guest's own shadow copy"
	Err  error  // why it is not so, or nil
}

func (f Finding) String() string {
	s := f.VM + ": " + f.What
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Check compares the machines on a host with what their backup must hold, by the
// bytes of their files alone. Call it after a restore, before any machine is
// started.
func (o *Oracle) Check(h *hyperv.Host) []Finding {
	var out []Finding
	ids := make([][16]byte, 0, len(o.machines))
	for id := range o.machines {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		out = append(out, o.machines[id].check(h.VMByID(id))...)
	}
	return out
}

// Snapshotted tells whether a machine was backed up by a snapshot in its guest.
func (o *Oracle) Snapshotted(id [16]byte) bool {
	e := o.machines[id]
	return e != nil && len(e.ranges) > 0
}

func (e *expected) check(vm *hyperv.VM) []Finding {
	if vm == nil {
		return []Finding{{e.name, "is registered", hyperv.ErrNotFound}}
	}
	var out []Finding
	add := func(err error, format string, args ...any) {
		out = append(out, Finding{e.name, fmt.Sprintf(format, args...), err})
	}
	for _, r := range e.ranges {
		add(r.equal(vm), "%s equals the guest's own shadow copy", r.volume)
	}
	if len(e.ranges) == 0 {
		add(e.equalFiles(vm), "disks and memory are those of the instant of the backup")
	}
	var err error
	if vm.State() != e.state {
		err = fmt.Errorf("it is %v", vm.State())
	}
	add(err, "comes back %v", e.state)
	return out
}

// equal compares a volume inside a restored VHD with the guest's shadow copy.
func (r rangeDigest) equal(vm *hyperv.VM) error {
	drives := vm.Configuration().Drives
	if r.disk >= len(drives) || drives[r.disk].Kind != hyperv.DriveVHD {
		return fmt.Errorf("disk %d is no VHD", r.disk)
	}
	image, err := OpenVHD(vm.Host(), drives[r.disk].Path)
	if err != nil {
		return err
	}
	sum, err := disk.Digest(disk.Section(image, r.off, r.len))
	if err == nil && sum != r.sum {
		err = fmt.Errorf("digest %x, want %x", sum[:4], r.sum[:4])
	}
	return err
}

// equalFiles compares the files of a machine, in their order, with those that
// were noted; a restore may have put them elsewhere.
func (e *expected) equalFiles(vm *hyperv.VM) error {
	paths := stateFiles(vm, vm.State())
	if len(paths) != len(e.files) {
		return fmt.Errorf("%d files, want %d", len(paths), len(e.files))
	}
	for i, path := range paths {
		sum, err := digestFile(vm.Host(), path)
		if err != nil {
			return err
		}
		if sum != e.files[i].sum {
			return fmt.Errorf("%s differs from %s as it was", path, e.files[i].path)
		}
	}
	return nil
}

// OpenVHD opens a VHD file of a host for reading, from its bytes as they are now.
func OpenVHD(h *hyperv.Host, path string) (*vhd.Image, error) { return h.OpenVHD(path) }

func openFile(h *hyperv.Host, path string) (*volume.File, error) {
	name, err := volume.Name(path)
	if err != nil {
		return nil, err
	}
	f, err := h.Files().Open(name)
	if err != nil {
		return nil, err
	}
	file, ok := f.(*volume.File)
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, volume.ErrAccessDenied)
	}
	return file, nil
}

// digestFile is the digest of a file's bytes, or of what a differencing VHD shows:
// how that names its parent depends on where it is.
func digestFile(h *hyperv.Host, path string) ([32]byte, error) {
	if image, err := h.OpenVHD(path); err == nil && image.Parent() != nil {
		return disk.Digest(image)
	}
	f, err := openFile(h, path)
	if err != nil {
		return [32]byte{}, err
	}
	defer func() { _ = f.Close() }()
	return disk.Digest(f)
}
