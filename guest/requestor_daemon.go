package guest

import (
	"context"
	"errors"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// PointFreeze is where a Linux daemon may fail to freeze a file system, asked
// for the volume: on=h1/web01/guest/disk0.1
const PointFreeze sim.Point = "guest/fsfreeze"

// A daemon is the backup service of a Linux: it freezes the file systems, has
// the disks kept and thaws. There are no writers and nothing is recovered, so
// its copies are consistent for the file systems alone (hv_vss_daemon).
type daemon struct{ runner sessionRunner }

func newDaemon(m *Machine) *daemon {
	return &daemon{sessionRunner{machine: m, name: "hypervvssd"}}
}

func (d *daemon) Snapshot(ctx context.Context, o SnapshotOptions) (*Snapshot, error) {
	return d.runner.run(ctx, o, &fsFreeze{machine: d.runner.machine, result: &Snapshot{}})
}

func (d *daemon) Abort(ctx context.Context) error { return d.runner.abort(ctx) }

func (d *daemon) Release(ctx context.Context, s *Snapshot) error {
	return d.runner.release(ctx, s, func(context.Context) error { return d.runner.machine.dropAll(s) })
}

// An fsFreeze is one backup by a daemon.
type fsFreeze struct {
	machine *Machine
	frozen  []*Drive
	result  *Snapshot
}

// run freezes one mount after the other, the root last, keeps the disks, and
// thaws.
func (f *fsFreeze) run(ctx context.Context) (*Snapshot, error) {
	m := f.machine
	drives := m.backupDrives()
	if len(drives) == 0 {
		return nil, ErrNothingToDo
	}
	slices.SortStableFunc(drives, func(a, b *Drive) int { return f.order(a) - f.order(b) })
	for _, d := range drives {
		if err := sim.AtOn(ctx, PointFreeze, d.path); err != nil {
			return nil, err
		}
		d.freeze()
		f.frozen = append(f.frozen, d)
		m.actor.Emit("guest/fsfreeze", "", sim.S("volume", d.volume.Name()))
	}
	if err := f.keep(ctx, drives); err != nil {
		return nil, err
	}
	f.thaw()
	return f.result, nil
}

func (f *fsFreeze) order(d *Drive) int {
	if d == f.machine.boot {
		return 1
	}
	return 0
}

// keep keeps and seals every drive's disk at one instant.
func (f *fsFreeze) keep(ctx context.Context, drives []*Drive) error {
	f.result.Set = f.machine.actor.NewID("snapshot set")
	for _, d := range drives {
		id := f.machine.actor.NewID("snapshot")
		if err := d.keep(id); err != nil {
			return err
		}
		f.result.Copies = append(f.result.Copies, d.copyOf(id))
		if err := d.SealShadow(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (f *fsFreeze) thaw() {
	for _, d := range f.frozen {
		d.Release()
		f.machine.actor.Emit("guest/fsthaw", "", sim.S("volume", d.volume.Name()))
	}
	f.frozen = nil
}

func (f *fsFreeze) undo(context.Context) error {
	f.thaw()
	return f.machine.dropAll(f.result)
}

// backupDrives lists the volumes that a backup from inside covers: those on
// virtual hard disks (R39, R40). A partition that the table keeps from having a
// letter takes part only if its file system can be snapshotted.
func (m *Machine) backupDrives() []*Drive {
	var list []*Drive
	for _, d := range m.drives {
		v := d.volume
		if m.config.Disks[v.Disk].Kind == VirtualHardDisk && (!v.Exempt || d.rules.capable(v.FileSystem)) {
			list = append(list, d)
		}
	}
	return list
}

func (d *Drive) copyOf(id [16]byte) Copy {
	v := d.volume
	return Copy{Disk: v.Disk, Off: v.Off, Len: v.Len, ID: id, Volume: v.Name()}
}

// dropAll deletes what is left of the shadow copies of s.
func (m *Machine) dropAll(s *Snapshot) error {
	var failed error
	for _, c := range s.Copies {
		for _, d := range m.drives {
			if d.find(c.ID) < 0 {
				continue
			}
			err := d.DeleteShadow(context.Background(), c.ID)
			failed = errors.Join(failed, err)
			if err == nil {
				m.actor.Emit("guest/shadow-dropped", "", sim.S("volume", c.Volume), sim.S("shadow", guid.String(c.ID)))
			}
		}
	}
	return failed
}
