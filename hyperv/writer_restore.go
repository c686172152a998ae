package hyperv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// PreRestore turns off and deletes every machine that is about to be restored
// (R44, R45), and no other (R46). It happens before anybody knows whether the
// files are good: a restore that fails later leaves no machine. If one of the
// machines is held by another operation, none is touched.
func (w *Writer) PreRestore(ctx context.Context, ev *vss.PreRestoreEvent) error {
	for _, step := range []func(context.Context, [16]byte, *vss.WriterComponent) error{w.checkFree, w.clear} {
		for id, c := range machinesOf(&ev.ComponentEvent) {
			if err := step(ctx, id, c); err != nil {
				_ = c.SetPreRestoreFailureMsg(err.Error())
				return failure(vss.ErrWriterErrorNonRetryable, c.Key().Name, err)
			}
		}
	}
	return nil
}

// machinesOf walks over the machines that are to be restored.
func machinesOf(ev *vss.ComponentEvent) iter.Seq2[[16]byte, *vss.WriterComponent] {
	return func(yield func([16]byte, *vss.WriterComponent) bool) {
		for _, c := range ev.Components().All() {
			id, err := guid.Parse(c.Key().Name)
			if err == nil && c.SelectedForRestore() && !yield(id, c) {
				return
			}
		}
	}
}

func (w *Writer) checkFree(ctx context.Context, id [16]byte, _ *vss.WriterComponent) error {
	m, err := w.manage.Machine(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err == nil && m.LockedBy != "":
		return &Error{Op: "PreRestore", On: m.Name(), State: m.State, Err: fmt.Errorf("%w: %s", ErrInUse, m.LockedBy)}
	}
	return err
}

// clear removes the machine with an id, if there is one, and what an earlier one
// has left behind where this one is to be: a link, and a saved state that would
// be taken for that of the restored machine.
func (w *Writer) clear(ctx context.Context, id [16]byte, c *vss.WriterComponent) error {
	m, err := w.manage.Machine(ctx, id)
	switch {
	case err == nil:
		sim.Emit(ctx, "hyperv/turn-off", "R44", sim.S("vm", m.Name()), sim.S("state", m.State.String()))
		err = w.limited(ctx, "PreRestore", m.Name(), func(ctx context.Context) error {
			if err := w.manage.TurnOff(ctx, id); err != nil {
				return err
			}
			return w.manage.Delete(ctx, id)
		})
		if err == nil {
			breakReplication(ctx, m)
		}
	case errors.Is(err, ErrNotFound):
		err = nil
	}
	if err != nil {
		return err
	}
	if n, err := w.noteOf(id, c); err == nil {
		err := w.host.removeSavedState(filesOf(w.restoredTo(c, n.Path), id))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
			return err
		}
	}
	return w.host.removeStaleLink(id)
}

// noteOf reads what the writer recorded about a machine.
func (w *Writer) noteOf(id [16]byte, c *vss.WriterComponent) (*note, error) {
	n, err := decodeNote(&w.host.parser, c.BackupMetadata())
	if err != nil {
		return nil, fmt.Errorf("the component's metadata: %w", err)
	}
	if n.Machine != id {
		return nil, fmt.Errorf("the component's metadata are those of %s", guid.Upper(n.Machine))
	}
	return n, nil
}

// PostRestore takes the restored machines into use. It asks for the file restore
// status of every component first (R48), registers the machines whose files are
// all there, and then fails if any other was bad (R49, R50). The accounts of the
// machines have the access to configurations and disks that was restored; what is
// missing shows when a machine starts, as an [AccessError]. A disk that was moved is
// attached anew, which gives access to it.
func (w *Writer) PostRestore(ctx context.Context, ev *vss.PostRestoreEvent) error {
	var bad []error
	statuses, complete := w.statuses(ctx, ev)
	i := 0
	for id, c := range machinesOf(&ev.ComponentEvent) {
		st := statuses[i]
		i++
		err := st.err
		switch {
		case err != nil:
		case !complete && st.status == vss.FilesAll && w.host.profile.Policy.AllOrNothing:
			err = errOtherIncomplete
		default:
			err = w.takeUp(ctx, id, c, st.status)
		}
		if err != nil {
			_ = c.SetPostRestoreFailureMsg(err.Error())
			bad = append(bad, fmt.Errorf("%s: %w", c.Key().Name, err))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	err := errors.Join(bad...)
	_ = ev.Fail(vss.ErrWriterErrorNonRetryable, err.Error())                 // SetWriterFailure (R49)
	return failure(vss.ErrWriterErrorNonRetryable, "what was restored", err) // and FALSE (R50)
}

var errOtherIncomplete = errors.New("the files of another machine were not all restored, so none is registered")

// A restoreStatus is what a component says about its files.
type restoreStatus struct {
	status vss.FileRestoreStatus
	err    error
}

// statuses asks every component for its file restore status (R48), and tells
// whether all are complete.
func (w *Writer) statuses(ctx context.Context, ev *vss.PostRestoreEvent) (list []restoreStatus, complete bool) {
	complete = true
	for _, c := range machinesOf(&ev.ComponentEvent) {
		status, err := c.FileRestoreStatus()
		if err == nil {
			sim.Emit(ctx, "hyperv/file-restore-status", "R48", sim.S("component", c.Key().Name), sim.S("status", status.String()))
		}
		complete = complete && err == nil && status == vss.FilesAll
		list = append(list, restoreStatus{status, err})
	}
	return list, complete
}

// takeUp registers a machine from its restored files and brings its
// configuration in line with where they are and with the host's switches.
func (w *Writer) takeUp(ctx context.Context, id [16]byte, c *vss.WriterComponent, status vss.FileRestoreStatus) error {
	if status != vss.FilesAll {
		return fmt.Errorf("the files were not all restored: %v", status)
	}
	n, err := w.noteOf(id, c)
	if err != nil {
		return err
	}
	path := w.restoredTo(c, n.Path)
	if conf, err := w.host.loadConfiguration(path); err == nil && conf.ID != id {
		return fmt.Errorf("%s describes another machine, %s", path, guid.Upper(conf.ID))
	}
	m, err := w.manage.Register(ctx, path)
	if err != nil {
		return err
	}
	if n.saved() && m.State != StateSaved {
		sim.Emit(ctx, "hyperv/no-saved-state", "", sim.S("vm", m.Name()), sim.S("expected", filesOf(m.Path, id).stateFolder()))
	}
	w.noteNewerDisks(ctx, m)
	if err := w.reconcile(ctx, m, n, c); err != nil {
		return err
	}
	return w.reconnect(ctx, m)
}

// restoredTo tells where a file was restored to: the path in its one form, and not
// through links. A place that is the same under another name is not another.
func (w *Writer) restoredTo(c *vss.WriterComponent, path string) string {
	own := w.host.ownPath(path)
	for _, t := range c.NewTargets() {
		if !volume.Equal(t.Path, volume.Dir(own)) || !volume.Equal(t.Spec, volume.Base(own)) {
			continue
		}
		to := volume.Join(t.Destination, volume.Base(path))
		if clean, err := volume.Clean(to); err == nil {
			to = clean
		}
		if volume.Equal(to, path) {
			return to
		}
		real := w.host.placeOf(to)
		switch {
		case volume.Equal(real, own), volume.Equal(real, w.host.placeOf(path)):
			return path
		case volume.Equal(real, to):
			return to
		}
		return real
	}
	return path
}

// reconcile compares the location of every restored VHD with the one in the
// machine's configuration and corrects the configuration where they differ (R54,
// R55).
func (w *Writer) reconcile(ctx context.Context, m Machine, n *note, c *vss.WriterComponent) error {
	conf := m.Configuration
	recorded := conf.VHDPaths() // and those of the checkpoints
	changed := false
	for i, d := range conf.Drives {
		if d.Kind != DriveVHD {
			continue
		}
		actual := w.restoredTo(c, d.Path)
		same := volume.Equal(actual, d.Path)
		sim.Emit(ctx, "hyperv/compare-vhd", "R54", sim.S("vm", m.Name()), sim.S("recorded", d.Path), sim.S("actual", actual))
		if !same {
			conf.Drives[i].Path = actual
			changed = true
			sim.Emit(ctx, "hyperv/update-vhd", "R55", sim.S("vm", m.Name()), sim.S("from", d.Path), sim.S("to", actual))
		}
	}
	if conf.ReplicationPartner != "" {
		noteReplication(ctx, "hyperv/replication-dropped", m)
		conf.ReplicationPartner = ""
		changed = true
	}
	wasRoot := conf.SnapshotRoot
	if was, is := rootOf(n.Path), rootOf(m.Path); !volume.Equal(was, is) && volume.Equal(w.host.ownPath(conf.SnapshotRoot), was) {
		conf.SnapshotRoot = is
		changed = true
	}
	for _, id := range conf.Checkpoints {
		was := checkpointFiles(wasRoot, id).config()
		if is := w.restoredTo(c, was); !volume.Equal(is, was) && !volume.Equal(conf.SnapshotRoot, rootOf(is)) {
			conf.SnapshotRoot = rootOf(is)
			changed = true
		}
	}
	tips, err := w.reconcileCheckpoints(ctx, m, c)
	if err != nil {
		return err
	}
	recorded = append(recorded, tips...)
	if err := w.relinkAll(ctx, m, recorded, c); err != nil || !changed {
		return err
	}
	return w.manage.Configure(ctx, m.ID, conf)
}

// reconcileCheckpoints does for the checkpoints of a machine, whose configurations
// are files of their own, what reconcile does for the machine. It returns the paths
// of their disks at the time of the backup.
func (w *Writer) reconcileCheckpoints(ctx context.Context, m Machine, c *vss.WriterComponent) (recorded []string, err error) {
	for _, id := range m.Configuration.Checkpoints {
		path := checkpointFiles(m.Configuration.SnapshotRoot, id).config()
		conf, err := w.host.loadConfiguration(path)
		if err != nil {
			return recorded, fmt.Errorf("the checkpoint %s: %w", guid.Upper(id), err)
		}
		recorded = append(recorded, conf.VHDPaths()...)
		conf = conf.clone()
		changed := !volume.Equal(conf.SnapshotRoot, m.Configuration.SnapshotRoot) || conf.ReplicationPartner != ""
		conf.SnapshotRoot, conf.ReplicationPartner = m.Configuration.SnapshotRoot, ""
		for i, d := range conf.Drives {
			if to := w.restoredTo(c, d.Path); d.Kind == DriveVHD && !volume.Equal(to, d.Path) {
				sim.Emit(ctx, "hyperv/update-vhd", "R55", sim.S("vm", m.Name()), sim.S("checkpoint", conf.Name), sim.S("from", d.Path), sim.S("to", to))
				conf.Drives[i].Path = to
				changed = true
			}
		}
		if changed {
			if err := w.host.writeConfiguration(conf, path); err != nil {
				return recorded, err
			}
		}
	}
	return recorded, nil
}

// relinkAll has every differencing VHD of the machine find the parent that was
// restored with it, wherever both are now. recorded are the paths of the drives at
// the time of the backup.
func (w *Writer) relinkAll(ctx context.Context, m Machine, recorded []string, c *vss.WriterComponent) error {
	for _, was := range recorded {
		is := w.restoredTo(c, was)
		for range vhd.MaxChain {
			parentWas, parentIs, ok := w.parentOf(was, is, c)
			if !ok {
				break
			}
			changed, err := relink(w.host.live, is, parentIs)
			if err != nil {
				return w.host.noteChain(err)
			}
			if changed {
				sim.Emit(ctx, "hyperv/relink-vhd", "R55", sim.S("vm", m.Name()), sim.S("vhd", is), sim.S("parent", parentIs))
			}
			was, is = parentWas, parentIs
		}
	}
	return nil
}

// parentOf tells where the parent of a VHD lay at the time of the backup, and where
// it is now; ok is false if the VHD has none, or none that can be found.
func (w *Writer) parentOf(was, is string, c *vss.WriterComponent) (parentWas, parentIs string, ok bool) {
	link, ok := linkIn(w.host.live, is)
	if !ok {
		return "", "", false
	}
	places := parentPlaces(was, link)
	for _, p := range places { // one that the requester moved was it
		if to := w.restoredTo(c, p); !volume.Equal(to, p) {
			return p, to, true
		}
	}
	parentWas, err := firstThere(w.host.live, places)
	return parentWas, parentWas, err == nil
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
