package hyperv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// PostSnapshot brings back the machines that the writer saved, to the states
// they had (R31, R32); rolls the VHD files of the shadow copy back to what the
// guests' own snapshots hold (R33); and deletes those snapshots from the live
// disks. Failures do not keep it from trying all the others.
func (w *Writer) PostSnapshot(ctx context.Context, ev *vss.PostSnapshotEvent) error {
	s := w.sessions[ev.SessionID()]
	if s == nil {
		return nil
	}
	return w.inTurn(ctx, s, func() error {
		steps := []func(context.Context, *vss.PostSnapshotEvent, *writerSession) error{w.bringAllBack, w.rollAllBack}
		if w.host.profile.Policy.RollBackFirst {
			slices.Reverse(steps)
		}
		errs := []error{steps[0](ctx, ev, s), steps[1](ctx, ev, s)}
		for _, e := range w.host.undo.of(s.id, undoSnapshot) {
			errs = append(errs, w.note(ev, e.vm, w.host.undo.undo(ctx, w.manage, []*undoEntry{e})))
		}
		for _, m := range s.members {
			errs = append(errs, w.note(ev, m.ID, w.noteMachine(ev, m)))
		}
		return errors.Join(errs...)
	})
}

func (w *Writer) bringAllBack(ctx context.Context, ev *vss.PostSnapshotEvent, s *writerSession) error {
	var errs []error
	for _, e := range w.host.undo.of(s.id, undoSaved) {
		errs = append(errs, w.note(ev, e.vm, w.bringBack(ctx, e)))
	}
	return errors.Join(errs...)
}

func (w *Writer) rollAllBack(ctx context.Context, ev *vss.PostSnapshotEvent, s *writerSession) error {
	var errs []error
	for _, m := range s.members {
		if m.inside != nil {
			errs = append(errs, w.note(ev, m.ID, w.rollBackVM(ctx, ev, m)))
		}
	}
	return errors.Join(errs...)
}

// note leaves a failure with the machine's component, for the requester to read.
func (w *Writer) note(ev *vss.PostSnapshotEvent, vm [16]byte, err error) error {
	if c := componentOf(ev, vm); err != nil && c != nil {
		_ = c.SetPostSnapshotFailureMsg(err.Error())
	}
	return err
}

// bringBack takes a machine that the writer saved to where it was.
func (w *Writer) bringBack(ctx context.Context, e *undoEntry) error {
	rule := "R31"
	if e.to != StateRunning {
		rule = "R32"
	}
	sim.Emit(ctx, "hyperv/bring-back", rule, sim.S("vm", e.name), sim.S("to", e.to.String()))
	if _, err := w.manage.Machine(ctx, e.vm); errors.Is(err, ErrNotFound) { // it went to another host
		w.host.undo.drop(e)
		return failure(vss.ErrWriterErrorNonRetryable, e.name, err)
	}
	return w.host.undo.undo(ctx, w.manage, []*undoEntry{e})
}

// rollBackVM rolls back those VHD files of a machine in which its guest took
// snapshots, and no others (R34). No guest is asked (R35).
func (w *Writer) rollBackVM(ctx context.Context, ev *vss.PostSnapshotEvent, m *member) error {
	byDisk := make([][]guest.Copy, len(m.Configuration.Drives))
	for _, c := range m.inside.copies {
		if c.Disk < 0 || c.Disk >= len(byDisk) {
			return failure(vss.ErrWriterErrorNonRetryable, m.Name(), fmt.Errorf("the guest took a snapshot on disk %d, which the host does not know", c.Disk))
		}
		byDisk[c.Disk] = append(byDisk[c.Disk], c)
	}
	for i, list := range byDisk {
		if len(list) == 0 {
			continue
		}
		path := m.Configuration.Drives[i].Path
		if err := w.rollBack(ctx, ev, m, path, list); err != nil {
			w.report(ctx, ev.Service(), m, path, err)
			return failure(writerCode(err, vss.ErrWriterErrorRetryable), m.Name(), err)
		}
	}
	return w.removeMemory(ctx, ev, m)
}

// removeMemory takes the memory of a machine whose guest took a snapshot out of the
// shadow copy: the file that is kept free for it ([StopSave]), or that of a machine
// which somebody saved meanwhile. It does not go with disks that were rolled back.
func (w *Writer) removeMemory(ctx context.Context, ev *vss.PostSnapshotEvent, m *member) error {
	f := filesOf(m.Path, m.ID)
	for _, path := range []string{f.devices(), f.memory()} {
		shadow, rest, err := w.shadowOf(ev, path)
		if errors.Is(err, errReadOnlyShadow) { // nothing on it was rolled back, or it has failed by now
			return nil
		}
		if err == nil {
			err = shadow.Remove(rest)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return failure(writerCode(err, vss.ErrWriterErrorRetryable), m.Name(), fmt.Errorf("%s on the shadow copy: %w", path, err))
		default:
			sim.Emit(ctx, "hyperv/remove-memory", "", sim.S("vm", m.Name()), sim.S("file", path))
		}
	}
	return nil
}

// report puts a rollback that failed into the trace, with the numbers of the events. A
// shadow copy that cannot be written is an event of the Volume Shadow Copy Service too
// (article 2462424).
func (w *Writer) report(ctx context.Context, s *vss.Service, m *member, path string, err error) {
	vm := sim.S("vm", m.Name())
	if e, ok := errors.AsType[*RollbackError](err); ok {
		sim.Emit(ctx, "hyperv/event", "", vm, sim.N("id", e.Event), sim.S("vhd", path), sim.S("error", e.Err.Error()))
	}
	sim.Emit(ctx, "hyperv/event", "", vm, sim.N("id", EventRollbackFailed))
	if errors.Is(err, errReadOnlyShadow) || errors.Is(err, volume.ErrWriteProtect) {
		s.Log(w.host.actor, vss.LogEntry{ID: vss.LogVolumeError, Text: "unexpected error mounting the shadow copy of " + path + " for writing: " + err.Error()})
	}
}

// rollBack mounts the copy of one VHD on the shadow copy, reverts the guest's
// volumes on it, and dismounts it.
func (w *Writer) rollBack(ctx context.Context, ev *vss.PostSnapshotEvent, m *member, path string, copies []guest.Copy) error {
	shadow, rest, image, err := w.mount(ctx, ev, m, path)
	if err != nil {
		return &RollbackError{VHD: path, Event: EventMountFailed, Err: err}
	}
	mounted := w.host.undo.push(undoEntry{kind: undoMount, session: ev.SessionID(), vm: m.ID, name: m.Name()})
	sim.Emit(ctx, "hyperv/mount", "R33", sim.S("vm", m.Name()), sim.S("vhd", path))
	defer func() {
		image.close()
		w.host.undo.drop(mounted)
		sim.Emit(ctx, "hyperv/dismount", "R33", sim.S("vm", m.Name()), sim.S("vhd", path))
	}()
	for _, c := range copies {
		if err := sim.AtOn(ctx, FaultRevert, w.object(m)); err != nil {
			return &RollbackError{VHD: path, Event: EventRevertFailed, Err: err}
		}
		if err := revert(shadow, rest, image, c); err != nil {
			return &RollbackError{VHD: path, Event: EventRevertFailed, Err: err}
		}
		sim.Emit(ctx, "hyperv/roll-back", "R33", sim.S("vm", m.Name()), sim.S("vhd", path), sim.S("volume", c.Volume))
	}
	return nil
}

// mount finds the copy of a VHD on the shadow copy and opens it for writing, over
// the copies of its parents.
func (w *Writer) mount(ctx context.Context, ev *vss.PostSnapshotEvent, m *member, path string) (shadow *volume.Volume, rest string, _ *chain, err error) {
	if err := sim.AtOn(ctx, FaultMount, w.object(m)); err != nil {
		return nil, "", nil, err
	}
	at := func(path string) (*volume.Volume, string, error) { return w.shadowOf(ev, path) }
	if shadow, rest, err = at(path); err != nil {
		return nil, "", nil, err
	}
	c, err := openChain(at, path)
	return shadow, rest, c, w.host.noteChain(err)
}

// object names a machine to the fault plan.
func (w *Writer) object(m *member) string {
	if vm := w.host.byID[m.ID]; vm != nil {
		return vm.actor.Path()
	}
	return w.host.actor.Path() + "/" + m.Name()
}

var errReadOnlyShadow = errors.New("the shadow copy cannot be mounted for writing")

// shadowOf finds the copy of a file of the host on the set's shadow copies.
func (w *Writer) shadowOf(ev *vss.PostSnapshotEvent, path string) (*volume.Volume, string, error) {
	on, rest, err := w.host.volumeOf(path)
	if err != nil {
		return nil, "", err
	}
	device, err := ev.SnapshotDeviceName(on.Name())
	if err != nil {
		return nil, "", err
	}
	fsys, err := ev.Service().Open(device)
	if err != nil {
		return nil, "", err
	}
	v, ok := fsys.(interface{ Volume() *volume.Volume })
	if !ok {
		return nil, "", fmt.Errorf("%w: %s", errReadOnlyShadow, device)
	}
	return v.Volume(), rest, nil
}

// revert makes a guest volume on an image what the guest's snapshot holds, and
// takes the snapshot out of the image.
func revert(shadow *volume.Volume, rest string, image *chain, c guest.Copy) error {
	kept, err := openKept(shadow, rest, c.ID, image.Parent())
	if err != nil {
		return err
	}
	if err := disk.Copy(disk.Section(image, c.Off, c.Len), disk.Section(kept, c.Off, c.Len)); err != nil {
		return err
	}
	return dropKept(shadow, rest, c.ID)
}
