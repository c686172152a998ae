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
	return d.runner.run(ctx, o, d.backup)
}

func (d *daemon) Abort(ctx context.Context) error { return d.runner.abort(ctx) }

func (d *daemon) Release(ctx context.Context, s *Snapshot) error {
	return d.runner.call(ctx, "Release", func(context.Context) error { return d.runner.machine.dropAll(s) })
}

// backup freezes one mount after the other, the root last, and thaws on every
// way out.
func (d *daemon) backup(ctx, _ context.Context) (*Snapshot, error) {
	m := d.runner.machine
	drives := m.backupDrives()
	if len(drives) == 0 {
		return nil, ErrNothingToDo
	}
	slices.SortStableFunc(drives, func(a, b *Drive) int { return rootLast(m, a) - rootLast(m, b) })
	var frozen []*Drive
	defer func() {
		for _, v := range frozen {
			v.Release()
			m.actor.Emit("guest/fsthaw", "", sim.S("volume", v.volume.Name()))
		}
	}()
	for _, v := range drives {
		if err := sim.AtOn(ctx, PointFreeze, v.path); err != nil {
			return nil, err
		}
		if err := v.FlushAndHold(ctx); err != nil {
			return nil, err
		}
		frozen = append(frozen, v)
		m.actor.Emit("guest/fsfreeze", "", sim.S("volume", v.volume.Name()))
	}
	return m.keepAll(drives)
}

func rootLast(m *Machine, d *Drive) int {
	if d == m.boot {
		return 1
	}
	return 0
}

// keepAll keeps and seals every drive's disk at one instant, or none.
func (m *Machine) keepAll(drives []*Drive) (*Snapshot, error) {
	s := &Snapshot{Set: m.actor.NewID("snapshot set")}
	for _, d := range drives {
		id := m.actor.NewID("snapshot")
		err := d.keep(id)
		if err == nil {
			s.Copies = append(s.Copies, d.copyOf(id))
			err = d.SealShadow(context.Background(), id)
		}
		if err != nil {
			return nil, errors.Join(err, m.dropAll(s))
		}
	}
	return s, nil
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
			if d.shadows.find(c.ID) < 0 {
				continue
			}
			err := d.DeleteShadow(context.Background(), c.ID)
			failed = errors.Join(failed, err)
			if err == nil {
				m.actor.Emit("guest/release", "R35", sim.S("volume", c.Volume), sim.S("shadow", guid.String(c.ID)))
			}
		}
	}
	return failed
}
