package hyperv

import (
	"context"
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// PreRestore turns off and deletes every machine that is about to be restored
// (R44, R45), and no other (R46). It happens before anybody knows whether the
// files are good: a restore that fails later leaves no machine.
func (w *Writer) PreRestore(ctx context.Context, ev *vss.PreRestoreEvent) error {
	for _, c := range ev.Components().All() {
		id, err := guid.Parse(c.Key().Name)
		if err != nil || !c.SelectedForRestore() {
			continue
		}
		if err := w.clear(ctx, id); err != nil {
			_ = c.SetPreRestoreFailureMsg(err.Error())
			return failure(vss.ErrWriterErrorNonRetryable, c.Key().Name, err)
		}
	}
	return nil
}

// clear removes the machine with an id, if there is one.
func (w *Writer) clear(ctx context.Context, id [16]byte) error {
	m, err := w.manage.Machine(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.LockedBy != "" {
		return &Error{Op: "PreRestore", On: m.Name(), State: m.State, Err: ErrInUse}
	}
	sim.Emit(ctx, "hyperv/turn-off", "R44", sim.S("vm", m.Name()), sim.S("state", m.State.String()))
	if err := w.manage.TurnOff(ctx, id); err != nil {
		return err
	}
	return w.manage.Delete(ctx, id)
}

// PostRestore takes the restored machines into use. It asks for the file restore
// status of every component first (R48), registers the machines whose files are
// all there, and then fails if any other was bad (R49, R50).
func (w *Writer) PostRestore(ctx context.Context, ev *vss.PostRestoreEvent) error {
	var bad []error
	for _, c := range ev.Components().All() {
		id, err := guid.Parse(c.Key().Name)
		if err != nil || !c.SelectedForRestore() {
			continue
		}
		status, err := c.FileRestoreStatus()
		if err != nil {
			return err
		}
		sim.Emit(ctx, "hyperv/file-restore-status", "R48", sim.S("component", c.Key().Name), sim.S("status", status.String()))
		if status == vss.FilesAll {
			err = w.takeUp(ctx, id, c)
		} else {
			err = fmt.Errorf("the files were not all restored: %v", status)
		}
		if err != nil {
			_ = c.SetPostRestoreFailureMsg(err.Error())
			bad = append(bad, failure(vss.ErrWriterErrorNonRetryable, c.Key().Name, err))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	err := errors.Join(bad...)
	_ = ev.Fail(vss.ErrWriterErrorNonRetryable, err.Error()) // SetWriterFailure (R49)
	return err                                               // and FALSE (R50)
}

// takeUp registers a machine from its restored files and brings its
// configuration in line with where they are and with the host's switches.
func (w *Writer) takeUp(ctx context.Context, id [16]byte, c *vss.WriterComponent) error {
	n, err := decodeNote(c.BackupMetadata())
	if err != nil {
		return fmt.Errorf("the component's metadata: %w", err)
	}
	if n.Machine != id {
		return fmt.Errorf("the component's metadata are those of %s", guid.Upper(n.Machine))
	}
	path := restoredTo(c, n.Path)
	m, err := w.manage.Register(ctx, path)
	if err != nil {
		return err
	}
	if m.ID != id {
		return fmt.Errorf("%s describes another machine, %s", path, guid.Upper(m.ID))
	}
	if err := w.reconcile(ctx, m, n, c); err != nil {
		return err
	}
	return w.reconnect(ctx, m)
}

// restoredTo tells where a file was restored to.
func restoredTo(c *vss.WriterComponent, path string) string {
	for _, t := range c.Record().NewTargets {
		if volume.Equal(t.Path, volume.Dir(path)) && volume.Equal(t.Spec, volume.Base(path)) {
			return volume.Join(t.Destination, volume.Base(path))
		}
	}
	return path
}

// reconcile compares the location of every restored VHD with the one in the
// machine's configuration and corrects the configuration where they differ (R54,
// R55).
func (w *Writer) reconcile(ctx context.Context, m Machine, n *note, c *vss.WriterComponent) error {
	conf := m.Configuration
	changed := false
	for i, d := range conf.Drives {
		if d.Kind != DriveVHD {
			continue
		}
		actual := restoredTo(c, d.Path)
		same := volume.Equal(actual, d.Path)
		sim.Emit(ctx, "hyperv/compare-vhd", "R54", sim.S("vm", m.Name()), sim.S("recorded", d.Path), sim.S("actual", actual))
		if !same {
			conf.Drives[i].Path = actual
			changed = true
			sim.Emit(ctx, "hyperv/update-vhd", "R55", sim.S("vm", m.Name()), sim.S("from", d.Path), sim.S("to", actual))
		}
	}
	if was, is := filesOf(n.Path, m.ID).root, filesOf(m.Path, m.ID).root; !volume.Equal(was, is) && volume.Equal(conf.SnapshotRoot, was) {
		conf.SnapshotRoot = is
		changed = true
	}
	if !changed {
		return nil
	}
	return w.manage.Configure(ctx, m.ID, conf)
}

// reconnect gives every adapter a new port on its switch (R57). An adapter whose
// switch is gone ends up unconnected, and the restore goes on (R58).
func (w *Writer) reconnect(ctx context.Context, m Machine) error {
	for i, a := range m.Configuration.Adapters {
		if !a.Connected() {
			continue
		}
		err := w.manage.Connect(ctx, m.ID, i, a.Switch)
		if errors.Is(err, ErrNotFound) {
			err = w.manage.Connect(ctx, m.ID, i, [16]byte{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
