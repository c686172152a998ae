package hyperv

import (
	"context"
	"errors"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// The numbers under which the end of a merge is reported ("Event ID 19080"), and
// its failure ("Event ID 19100").
const (
	EventMerged      = 19080
	EventMergeFailed = 19100
)

// DeleteCheckpoint takes a checkpoint away from a machine. Its disks are merged with
// those that stand on them, if that is one each; what several stand on stays. The
// disks of a machine that executes are merged when it is next off or saved and no
// operation holds it; until then its configuration says that a merge is pending. So
// it does after a merge that failed.
func (vm *VM) DeleteCheckpoint(ctx context.Context, id [16]byte) error {
	return vm.call(ctx, "delete checkpoint", func(context.Context) error {
		if err := vm.mayChange("DeleteCheckpoint", id, StateOff, StateSaved, StateRunning, StatePaused); err != nil {
			return err
		}
		from := vm.state
		if !vm.executes() {
			vm.setState(StateSnapshotting, "")
		}
		err := vm.dropCheckpoint(id)
		vm.setState(from, "")
		if err != nil {
			return &Error{Op: "DeleteCheckpoint", On: vm.Name(), State: from, Err: err}
		}
		return nil
	})
}

func (vm *VM) dropCheckpoint(id [16]byte) error {
	h, f := vm.host, vm.checkpointFiles(id)
	frozen, err := h.loadConfiguration(f.config())
	if err != nil {
		return err
	}
	c := vm.config.clone()
	c.Checkpoints = slices.DeleteFunc(c.Checkpoints, func(x [16]byte) bool { return x == id })
	if c.ParentCheckpoint == id {
		c.ParentCheckpoint = frozen.ParentCheckpoint
	}
	c.MergePending = c.MergePending || vm.executes()
	if err := vm.adoptConfiguration(c); err != nil {
		return err
	}
	err = errors.Join(vm.adoptOrphans(id, frozen.ParentCheckpoint), h.removeSavedState(f), h.removeFile(f.config()))
	vm.emit("vm/delete-checkpoint", "", sim.S("id", guid.Upper(id)), sim.S("name", frozen.Name))
	for _, path := range frozen.VHDPaths() {
		// With it may go the last but one that stood on a disk below.
		for _, p := range append([]string{path}, parentsOf(h.live, path)...) {
			err = errors.Join(err, vm.settleDisk(p))
		}
	}
	if err = errors.Join(err, vm.knowDisks()); err != nil { // it is tried again
		c := vm.config.clone()
		c.MergePending = true
		err = errors.Join(err, vm.adoptConfiguration(c))
	}
	return err
}

func (vm *VM) executes() bool { return vm.state == StateRunning || vm.state == StatePaused }

func (vm *VM) mayMerge() bool {
	return vm.config.MergePending && (vm.state == StateOff || vm.state == StateSaved) && vm.lock == ""
}

// mergeSoon has the host carry out pending merges, if it may.
func (vm *VM) mergeSoon() {
	if !vm.mayMerge() {
		return
	}
	vm.host.actor.Background("merges the disks of "+vm.Name(), func(ctx context.Context) error {
		err := vm.call(ctx, "merge", vm.mergePending)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
}

// mergePending does away with all disks that belong to no checkpoint any more. If
// that fails it is tried again when the machine next stops.
func (vm *VM) mergePending(context.Context) error {
	if !vm.mayMerge() {
		return nil
	}
	err := vm.settleAll()
	if err == nil {
		c := vm.config.clone()
		c.MergePending = false
		err = vm.adoptConfiguration(c)
	}
	if err = errors.Join(err, vm.knowDisks()); err != nil {
		vm.emit("vm/merge-failed", "", sim.N("id", EventMergeFailed), sim.S("because", err.Error()))
	}
	vm.mergeFailed = err
	return nil
}

func (vm *VM) settleAll() error {
	tips, err := vm.tips()
	if err != nil {
		return err
	}
	var parents []string
	for _, tip := range tips {
		parents = append(parents, parentsOf(vm.host.live, tip)...)
	}
	var errs []error
	for _, path := range parents { // one that several stand on comes several times, and is done with the first
		errs = append(errs, vm.settleDisk(path))
	}
	return errors.Join(errs...)
}

// adoptOrphans gives the checkpoints that stood on one that is gone its parent.
func (vm *VM) adoptOrphans(gone, parent [16]byte) error {
	return vm.editCheckpoints(func(c *Configuration) bool {
		if c.ParentCheckpoint != gone {
			return false
		}
		c.ParentCheckpoint = parent
		return true
	})
}

// editCheckpoints changes the configurations of checkpoints.
func (vm *VM) editCheckpoints(edit func(c *Configuration) bool) error {
	for _, id := range vm.config.Checkpoints {
		path := vm.checkpointFiles(id).config()
		c, err := vm.host.loadConfiguration(path)
		if err != nil {
			return err
		}
		if c = c.clone(); edit(c) {
			if err := vm.host.writeConfiguration(c, path); err != nil {
				return err
			}
		}
	}
	return nil
}

// tips lists the disks of the machine and of its checkpoints.
func (vm *VM) tips() ([]string, error) {
	out := vm.config.VHDPaths()
	list, err := vm.Checkpoints()
	for _, c := range list {
		out = append(out, c.Disks...)
	}
	return out, err
}

// settleDisk does away with a disk that belongs to no checkpoint any more: if one
// disk stands on it, that is merged into it, unless the machine executes; if none
// does, it is deleted.
func (vm *VM) settleDisk(path string) error {
	tips, err := vm.tips()
	if err != nil {
		return err
	}
	same := func(p string) bool { return volume.Equal(p, path) }
	if slices.ContainsFunc(tips, same) {
		return nil
	}
	var children []string // files whose parent it is
	for _, tip := range tips {
		line := append([]string{tip}, parentsOf(vm.host.live, tip)...)
		if i := slices.IndexFunc(line, same); i > 0 && !slices.ContainsFunc(children, func(p string) bool { return volume.Equal(p, line[i-1]) }) {
			children = append(children, line[i-1])
		}
	}
	switch {
	case len(children) == 0 && isCheckpointDisk(path):
		return vm.host.removeFile(path)
	case len(children) == 1 && isCheckpointDisk(children[0]) && !vm.executes():
		return vm.merge(children[0], path, tips)
	}
	return nil
}

// merge writes what a disk holds itself into its parent, which takes its place. The
// machine's account needs access to both.
func (vm *VM) merge(child, parent string, tips []string) error {
	if err := vm.mayAttach(child, nil); err != nil {
		return err
	}
	if err := vm.mayAttach(parent, nil); err != nil {
		return err
	}
	if err := vm.host.mergeFile(child, parent); err != nil {
		return err
	}
	for _, tip := range tips { // who stands on the child stands on the parent
		line := append([]string{tip}, parentsOf(vm.host.live, tip)...)
		if i := slices.IndexFunc(line, func(p string) bool { return volume.Equal(p, child) }); i > 0 {
			if err := relinkTo(vm.host.live, line[i-1], parent); err != nil {
				return err
			}
		}
	}
	rename := func(c *Configuration) bool {
		changed := false
		for i, d := range c.Drives {
			if volume.Equal(d.Path, child) {
				c.Drives[i].Path, changed = parent, true
			}
		}
		return changed
	}
	err := vm.editCheckpoints(rename)
	if c := vm.config.clone(); rename(c) {
		err = errors.Join(err, vm.adoptConfiguration(c))
	}
	vm.emit("vm/merge", "", sim.N("id", EventMerged), sim.S("from", child), sim.S("into", parent))
	return errors.Join(err, vm.host.removeFile(child))
}

// mergeFile writes what a differencing VHD holds itself into its parent.
func (h *Host) mergeFile(child, parent string) error {
	into, err := openChain(h.live, parent)
	if err != nil {
		return h.noteChain(err)
	}
	defer into.close()
	_, image, err := readImage(h.live, child)
	if err != nil {
		return err
	}
	if link, ok := image.Link(); !ok || link.ID != into.ID() {
		return h.noteChain(&ChainError{Child: child, Parent: parent, Err: vhd.ErrParentID})
	}
	for s := range image.Spans(0, image.Size()) {
		switch s.Origin {
		case disk.Own:
			err = disk.Copy(disk.Section(into.Image, s.Off, s.Len), disk.Section(image, s.Off, s.Len))
		case disk.Zero: // written as zeros, or discarded
			err = into.Discard(s.Off, s.Len)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
