package hyperv

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
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
	err := errors.Join(
		w.bringBack(ctx, s),
		w.rollBackAll(ctx, ev, s),
		w.host.undo.undo(ctx, w.manage, w.host.undo.of(s.id, undoSnapshot)),
		w.noteMachines(ev, s),
	)
	if err == nil {
		return nil
	}
	return &WriterError{Code: writerCode(err, vss.ErrWriterErrorNonRetryable), VM: failedVM(err), Err: err}
}

// failedVM names the machine of the first failure.
func failedVM(err error) string {
	var e *WriterError
	if errors.As(err, &e) {
		return e.VM
	}
	return WriterName
}

func (w *Writer) bringBack(ctx context.Context, s *writerSession) error {
	var errs []error
	for _, e := range w.host.undo.of(s.id, undoSaved) {
		rule := "R31"
		if e.to != StateRunning {
			rule = "R32"
		}
		sim.Emit(ctx, "hyperv/bring-back", rule, sim.S("vm", e.name), sim.S("to", e.to.String()))
		if err := w.host.undo.undo(ctx, w.manage, []*undoEntry{e}); err != nil {
			errs = append(errs, failure(writerCode(err, vss.ErrWriterErrorNonRetryable), e.name, err))
		}
	}
	return errors.Join(errs...)
}

func (w *Writer) rollBackAll(ctx context.Context, ev *vss.PostSnapshotEvent, s *writerSession) error {
	var errs []error
	for _, e := range w.host.undo.of(s.id, undoSnapshot) {
		i := slices.IndexFunc(s.members, func(m *member) bool { return m.ID == e.vm })
		if i < 0 {
			continue
		}
		if err := w.rollBackVM(ctx, ev, s.members[i], e.copies); err != nil {
			errs = append(errs, failure(writerCode(err, vss.ErrWriterErrorRetryable), e.name, err))
		}
	}
	return errors.Join(errs...)
}

// rollBackVM rolls back those VHD files of a machine in which its guest took
// snapshots, and no others (R34). No guest is asked (R35).
func (w *Writer) rollBackVM(ctx context.Context, ev *vss.PostSnapshotEvent, m *member, copies []guest.Copy) error {
	byDisk := make([][]guest.Copy, len(m.Configuration.Drives))
	for _, c := range copies {
		if c.Disk >= len(byDisk) {
			return fmt.Errorf("the guest took a snapshot on disk %d, which the host does not know", c.Disk)
		}
		byDisk[c.Disk] = append(byDisk[c.Disk], c)
	}
	for i, list := range byDisk {
		if len(list) == 0 {
			continue
		}
		if err := w.rollBack(ctx, ev, m, m.Configuration.Drives[i].Path, list); err != nil {
			return fmt.Errorf("%s: %w", m.Configuration.Drives[i].Path, err)
		}
	}
	return nil
}

// rollBack mounts the copy of one VHD on the shadow copy, reverts the guest's
// volumes on it, and dismounts it.
func (w *Writer) rollBack(ctx context.Context, ev *vss.PostSnapshotEvent, m *member, path string, copies []guest.Copy) error {
	if err := sim.AtOn(ctx, FaultMount, w.host.actor.Path()+"/"+m.Name()); err != nil {
		return err
	}
	shadow, rest, err := w.shadowOf(ev, path)
	if err != nil {
		return err
	}
	f, err := shadow.OpenFile(rest, volume.ReadWrite, volume.Exclusive)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	w.host.undo.push(undoEntry{kind: undoMount, session: ev.SessionID(), vm: m.ID, name: m.Name(), path: path})
	defer func() {
		for _, e := range w.host.undo.of(ev.SessionID(), undoMount) {
			w.host.undo.drop(e)
		}
	}()
	image, err := vhd.OpenFile(f)
	if err != nil {
		return err
	}
	for _, c := range copies {
		if err := sim.AtOn(ctx, FaultRevert, w.host.actor.Path()+"/"+m.Name()); err != nil {
			return err
		}
		if err := revert(shadow, rest, image, c); err != nil {
			return err
		}
		sim.Emit(ctx, "hyperv/roll-back", "R33", sim.S("vm", m.Name()), sim.S("vhd", path), sim.S("volume", c.Volume))
	}
	return nil
}

// shadowOf finds the copy of a file of the host on the set's shadow copies.
func (w *Writer) shadowOf(ev *vss.PostSnapshotEvent, path string) (*volume.Volume, string, error) {
	letter, rest, err := volume.Split(path)
	if err != nil {
		return nil, "", err
	}
	device, err := ev.SnapshotDeviceName(letter + `:\`)
	if err != nil {
		return nil, "", err
	}
	fsys, err := ev.Service().Open(device)
	if err != nil {
		return nil, "", err
	}
	v, ok := fsys.(interface{ Volume() *volume.Volume })
	if !ok {
		return nil, "", fmt.Errorf("the shadow copy %s cannot be mounted for writing", device)
	}
	return v.Volume(), rest, nil
}

// revert makes a guest volume on an image what the guest's snapshot holds, and
// takes the snapshot out of the image.
func revert(shadow *volume.Volume, rest string, image *vhd.Image, c guest.Copy) error {
	kept, err := openKept(shadow, rest, c.ID)
	if err != nil {
		return err
	}
	if err := disk.Copy(disk.Section(image, c.Off, c.Len), disk.Section(kept, c.Off, c.Len)); err != nil {
		return err
	}
	return dropKept(shadow, rest, c.ID)
}
