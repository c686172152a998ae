package hyperv

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// MaxCheckpoints is how many checkpoints a machine may have.
const MaxCheckpoints = 50

// A Checkpoint is a state of a machine that it can be brought back to: its
// configuration, its disks, and its memory if it was executing. Windows Server 2008
// calls it a snapshot. The machine's disks are differencing ones from then on, over
// those of the checkpoint.
type Checkpoint struct {
	ID     [16]byte
	Name   string
	Parent [16]byte // the checkpoint that the machine stood on, or zero
	Saved  bool     // it has the machine's memory
	Disks  []string // paths of its VHD files
}

// checkpointFiles names the files of a checkpoint of a machine whose Snapshot File
// Location is root.
func checkpointFiles(root string, id [16]byte) files {
	return files{folder: volume.Join(root, snapshotsFolder), id: id}
}

func (vm *VM) checkpointFiles(id [16]byte) files { return checkpointFiles(vm.config.SnapshotRoot, id) }

// Checkpoints lists the machine's checkpoints in the order they were made, as their
// files describe them.
func (vm *VM) Checkpoints() ([]Checkpoint, error) {
	var out []Checkpoint
	for _, id := range vm.config.Checkpoints {
		f := vm.checkpointFiles(id)
		c, err := vm.host.loadConfiguration(f.config())
		if err != nil {
			return out, &Error{Op: "Checkpoints", On: f.config(), Err: err}
		}
		out = append(out, Checkpoint{ID: id, Name: c.Name, Parent: c.ParentCheckpoint, Saved: vm.host.isSaved(f), Disks: c.VHDPaths()})
	}
	return out, nil
}

// checkpointPaths lists the configuration files of the checkpoints.
func (vm *VM) checkpointPaths() []string {
	var out []string
	for _, id := range vm.config.Checkpoints {
		out = append(out, vm.checkpointFiles(id).config())
	}
	return out
}

// Checkpoint makes a checkpoint of the machine as it is, which must be at rest. One
// that executes is stopped for as long as it takes to save it, and goes on.
func (vm *VM) Checkpoint(ctx context.Context, name string) (id [16]byte, err error) {
	err = vm.call(ctx, "checkpoint", func(ctx context.Context) error {
		from := vm.state
		switch {
		case !from.Stable():
			return &Error{Op: "Checkpoint", On: vm.Name(), State: from, Err: ErrInvalidState}
		case vm.lock != "":
			return &Error{Op: "Checkpoint", On: vm.Name(), State: from, Err: vm.inUse()}
		case len(vm.config.Checkpoints) >= MaxCheckpoints:
			return &Error{Op: "Checkpoint", On: vm.Name(), State: from, Err: ErrNotSupported}
		}
		id = vm.host.actor.NewID("checkpoint of " + guid.String(vm.ID()))
		return vm.atRest(ctx, "Checkpoint", from, func() error { return vm.freeze(id, name) })
	})
	return id, err
}

// atRest does something to the disks of a machine while nothing of it executes, and
// takes it back to where it was.
func (vm *VM) atRest(ctx context.Context, op string, from State, do func() error) error {
	executes := from == StateRunning || from == StatePaused
	saved := false
	vm.setState(StateSnapshotting, "")
	back := func() {
		to := vm.fallback(from)
		if to == StateOff && (vm.host.isSaved(vm.files()) || saved && vm.cannotLook()) {
			to = StateSaved
		}
		vm.setState(to, "")
	}
	done := vm.whenLost(back)
	var err error
	if executes {
		err = vm.save(ctx, from)
		saved = err == nil
	}
	if err == nil {
		err = do()
		if executes {
			err = errors.Join(err, vm.goOnSaved(ctx, from))
		}
	}
	if sim.Dead(ctx) {
		return err // the host finds out what is left
	}
	done()
	back()
	if err != nil {
		return &Error{Op: op, On: vm.Name(), State: from, Err: err}
	}
	return nil
}

// cannotLook tells whether the machine's volume is away, so that nobody can see
// whether it still has a saved state.
func (vm *VM) cannotLook() bool {
	_, _, err := vm.host.volumeOf(vm.files().config())
	return errors.Is(err, volume.ErrNotReady)
}

func (vm *VM) goOnSaved(ctx context.Context, to State) error {
	if to == StatePaused {
		return vm.restorePaused(ctx)
	}
	return vm.start(ctx, StateSaved)
}

// freeze writes a checkpoint of a machine that does not execute, and puts new disks
// over its own.
func (vm *VM) freeze(id [16]byte, name string) (err error) {
	h, f := vm.host, vm.checkpointFiles(id)
	frozen := vm.config.clone()
	frozen.ID, frozen.Name, frozen.Checkpoints, frozen.MergePending = id, name, nil, false
	c := vm.config.clone()
	c.Checkpoints, c.ParentCheckpoint = append(c.Checkpoints, id), id
	made, err := vm.spread(c, id)
	defer func() {
		if err == nil {
			return
		}
		for _, path := range append(made, f.config()) {
			err = errors.Join(err, h.removeFile(path))
		}
		err = errors.Join(err, h.removeSavedState(f))
	}()
	if err != nil {
		return err
	}
	if err := h.writeConfiguration(frozen, f.config()); err != nil {
		return err
	}
	if err := h.allowOwn(f.config(), vm.ID(), nil); err != nil {
		return err
	}
	if err := h.copySavedState(vm.files(), f); err != nil {
		return err
	}
	if err := vm.adoptConfiguration(c); err != nil {
		return err
	}
	vm.emit("vm/checkpoint", "", sim.S("id", guid.Upper(id)), sim.S("name", name))
	return vm.knowDisks()
}

// spread puts a new differencing disk over each VHD of a configuration, and returns
// the new files.
func (vm *VM) spread(c *Configuration, id [16]byte) (made []string, err error) {
	folder := checkpointFiles(c.SnapshotRoot, id).folder
	for i, d := range c.Drives {
		if d.Kind != DriveVHD {
			continue
		}
		base := volume.Base(d.Path)
		if dot := strings.LastIndexByte(base, '.'); dot > 0 {
			base = base[:dot]
		}
		base, _, _ = strings.Cut(base, "_{")
		child := volume.Join(folder, base+"_{"+guid.Upper(vm.host.actor.NewID("disk of "+guid.String(id)))+"}.avhd")
		if _, err := vm.host.createDisk(DiskConfig{Path: child, Parent: d.Path}); err != nil {
			return made, err
		}
		made = append(made, child)
		if err := vm.host.allowOwn(child, vm.ID(), nil); err != nil {
			return made, err
		}
		c.Drives[i].Path = child
	}
	return made, nil
}

// copySavedState copies a saved state, if there is one, for another identity.
func (h *Host) copySavedState(from, to files) error {
	if !h.isSaved(from) {
		return nil
	}
	s, memory, err := h.readSavedState(from)
	if err != nil {
		return err
	}
	s.Machine = to.id
	return h.writeSavedState(to, s, memory.Fork())
}

// knowDisks makes a saved machine know the disks that it has now.
func (vm *VM) knowDisks() error {
	if !vm.host.isSaved(vm.files()) {
		return nil
	}
	s, memory, err := vm.host.readSavedState(vm.files())
	if err != nil {
		return err
	}
	s.Disks = nil
	for _, d := range vm.config.Drives {
		if d.Kind != DriveVHD {
			continue
		}
		image, err := vm.host.OpenVHD(d.Path)
		if err != nil {
			return err
		}
		s.Disks = append(s.Disks, diskIdentity{Slot: d.Slot, ID: image.ID()})
	}
	memory = memory.Fork()
	if err := vm.host.removeSavedState(vm.files()); err != nil {
		return err
	}
	return vm.host.writeSavedState(vm.files(), s, memory)
}

// Apply brings a machine that does not execute back to a checkpoint: it is saved
// then if the checkpoint has its memory, and off otherwise. What it was is lost,
// unless there is a checkpoint of that.
func (vm *VM) Apply(ctx context.Context, id [16]byte) error {
	return vm.call(ctx, "apply", func(ctx context.Context) error {
		if err := vm.mayChange("Apply", id, StateOff, StateSaved); err != nil {
			return err
		}
		vm.setState(StateSnapshotting, "")
		err := vm.apply(id)
		vm.setState(StateOff, "")
		if vm.host.isSaved(vm.files()) {
			vm.setState(StateSaved, "")
		}
		if err != nil {
			return &Error{Op: "Apply", On: vm.Name(), Err: err}
		}
		return nil
	})
}

// mayChange refuses to touch the checkpoints of a machine that is in none of the
// states, is held, or has no such checkpoint.
func (vm *VM) mayChange(op string, id [16]byte, in ...State) error {
	switch {
	case !slices.Contains(vm.config.Checkpoints, id):
		return &Error{Op: op, On: guid.Upper(id), Err: ErrNotFound}
	case !slices.Contains(in, vm.state):
		return &Error{Op: op, On: vm.Name(), State: vm.state, Err: ErrInvalidState}
	case vm.lock != "":
		return &Error{Op: op, On: vm.Name(), State: vm.state, Err: vm.inUse()}
	}
	return nil
}

func (vm *VM) apply(id [16]byte) error {
	h, f := vm.host, vm.checkpointFiles(id)
	frozen, err := h.loadConfiguration(f.config())
	if err != nil {
		return err
	}
	was := vm.config
	c := frozen.clone()
	c.ID, c.Name, c.SnapshotRoot = was.ID, was.Name, was.SnapshotRoot
	c.Checkpoints, c.ParentCheckpoint, c.MergePending = slices.Clone(was.Checkpoints), id, was.MergePending
	c.ReplicationPartner = was.ReplicationPartner
	if _, err := vm.spread(c, id); err != nil {
		return err
	}
	if err := vm.adoptConfiguration(c); err != nil {
		return err
	}
	for _, path := range was.VHDPaths() { // nobody stands on what the machine wrote last
		if isCheckpointDisk(path) {
			err = errors.Join(err, h.removeFile(path))
		}
	}
	err = errors.Join(err, h.removeSavedState(vm.files()), h.copySavedState(f, vm.files()), vm.knowDisks())
	vm.emit("vm/apply", "", sim.S("id", guid.Upper(id)), sim.S("name", frozen.Name))
	return err
}

// isCheckpointDisk tells a disk that was made for a checkpoint from one that was
// there before.
func isCheckpointDisk(path string) bool { return strings.HasSuffix(strings.ToLower(path), ".avhd") }
