package guest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A daemon is the backup service of a Linux or a FreeBSD: it freezes the file
// systems, has the disks kept and thaws. There are no writers and nothing is
// recovered, so its copies are consistent for the file systems alone
// (hv_vss_daemon), and for programs that are a [Quiescer] in a FreeBSD.
type daemon struct {
	runner  sessionRunner
	options DaemonOptions
}

// DaemonOptions is how a daemon differs from the one that comes with the system.
type DaemonOptions struct {
	// Logs has the daemon write to a log on the root file system when all file systems
	// are frozen, which a daemon must not do: it waits for its own thaw then, until the
	// limit of the request is over (hv_vss_daemon.c).
	Logs bool
}

// NewDaemon makes the backup service of a Linux or a FreeBSD; for other operating
// systems it is nil. [Config.NewRequestor] may give it to a machine.
func NewDaemon(m *Machine, o DaemonOptions) Requestor {
	switch {
	case m.system.OS.IsLinux():
		return newDaemon(m, "hypervvssd", o)
	case m.system.OS.IsFreeBSD():
		return newDaemon(m, "hv_vss_daemon", o)
	}
	return nil
}

func newDaemon(m *Machine, name string, o DaemonOptions) *daemon {
	return &daemon{sessionRunner{machine: m, name: name}, o}
}

func (d *daemon) Snapshot(ctx context.Context, o SnapshotOptions) (*Snapshot, error) {
	return d.runner.run(ctx, o, &fsFreeze{machine: d.runner.machine, logs: d.options.Logs, result: &Snapshot{}})
}

func (d *daemon) Abort(ctx context.Context) error { return d.runner.abort(ctx) }

func (d *daemon) Release(ctx context.Context, s *Snapshot) error {
	return d.runner.release(ctx, s, func(context.Context) error { return d.runner.machine.dropAll(s) })
}

// An fsFreeze is one backup by a daemon.
type fsFreeze struct {
	machine *Machine
	frozen  []*Drive // asked to freeze, those that were frozen already as well
	quiet   []*app   // told to be
	logs    bool     // see DaemonOptions
	result  *Snapshot
}

// run freezes one mount after the other, the root last, keeps the disks, and
// thaws. What the kernel cannot freeze is kept as it is at that instant. Programs
// that are to be quiet are so before, and until after.
func (f *fsFreeze) run(ctx context.Context) (*Snapshot, error) {
	m := f.machine
	drives := m.backupDrives()
	if len(drives) == 0 {
		return nil, ErrNothingToDo
	}
	if m.system.OS.asksDaemon() {
		err := f.inTime(ctx, "HOT_BACKUP", m.system.OS.answerLimit(daemonLimit), func(ctx context.Context) error { return sim.AtOn(ctx, PointHotBackup, m.path) })
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(drives, func(a, b *Drive) int { return f.order(a) - f.order(b) })
	if err := f.inTime(ctx, "FREEZE", m.system.OS.answerLimit(DefaultTimeout), func(ctx context.Context) error { return f.freezeAll(ctx, drives) }); err != nil {
		return nil, err
	}
	if err := f.keep(ctx, drives); err != nil {
		return nil, err
	}
	return f.result, f.inTime(ctx, "THAW", m.system.OS.answerLimit(daemonLimit), f.answerThaw)
}

func (f *fsFreeze) freezeAll(ctx context.Context, drives []*Drive) error {
	if err := f.quiesce(ctx); err != nil {
		return err
	}
	for _, d := range drives {
		if err := f.freeze(ctx, d); err != nil {
			return err
		}
	}
	return f.log(ctx)
}

// log writes a line to the log. What is in it is not modelled: the block has what it
// had before.
func (f *fsFreeze) log(ctx context.Context) error {
	if !f.logs {
		return nil
	}
	root := f.machine.boot.Open(ctx)
	block := make([]byte, 512)
	if _, err := root.ReadAt(block, 0); err != nil {
		return err
	}
	_, err := root.WriteAt(block, 0)
	return err
}

// How long the driver of a Linux waits for its daemon before it tells the host that
// the request failed: a quarter of an hour for a freeze, which is also what the host
// waits, half a minute for all else, and ten seconds for everything before 4.10
// (hv_snapshot.c). Kernels of distributions may have the later figures earlier.
const (
	daemonLimit    = 30 * time.Second
	oldDaemonLimit = 10 * time.Second
	newDaemonLinux = "4.10"

	// Since then the driver asks its daemon whether the guest can be backed up while it
	// runs; before, it answers by itself that it can.
	askedDaemonLinux = "4.9"
)

// linuxBefore tells a Linux whose version is known to be older than another.
func (os OS) linuxBefore(version string) bool {
	own, ok := strings.CutPrefix(string(os), string(Linux)+" ")
	return ok && versionPart(strings.Split(own, "."), 0) > 0 && older(own, version)
}

// asksDaemon tells whether the question for a hot backup reaches the daemon.
func (os OS) asksDaemon() bool { return os.IsLinux() && !os.linuxBefore(askedDaemonLinux) }

// answerLimit is how long a request may take for which a Linux of today has the
// limit. The limits of a FreeBSD are not known: the host's alone counts.
func (os OS) answerLimit(today time.Duration) time.Duration {
	switch {
	case !os.IsLinux():
		return 0
	case os.linuxBefore(newDaemonLinux):
		return oldDaemonLimit
	}
	return today
}

// inTime has a request of the host answered within its limit; 0 is none.
func (f *fsFreeze) inTime(ctx context.Context, request string, limit time.Duration, answer func(context.Context) error) error {
	if limit == 0 {
		return answer(ctx)
	}
	within, cancel := sim.WithTimeout(ctx, limit)
	defer cancel()
	err := answer(within)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: %s is not answered after %v: %w", ErrTimeout, request, limit, err)
	}
	return err
}

// answerThaw thaws when the daemon gets to it.
func (f *fsFreeze) answerThaw(ctx context.Context) error {
	if err := sim.AtOn(ctx, PointThaw, f.machine.path); err != nil {
		return err
	}
	return f.thaw(ctx)
}

// freeze freezes one mount. One that is frozen already, by an administrator or
// because it is mounted twice, is no failure.
func (f *fsFreeze) freeze(ctx context.Context, d *Drive) error {
	volume := sim.S("volume", d.volume.Name())
	if !d.volume.FileSystem.freezable(d.os) {
		f.machine.actor.Emit("guest/fsfreeze-skip", "", volume, sim.S("holds", d.volume.FileSystem.Kind.String()))
		return nil
	}
	switch err := d.fifreeze(ctx); {
	case err == nil:
		f.machine.actor.Emit("guest/fsfreeze", "", volume)
	case errors.Is(err, ErrFrozen):
		f.machine.actor.Emit("guest/fsfreeze-busy", "", volume)
		f.result.Frozen = append(f.result.Frozen, d.volume.Name())
	default:
		return err
	}
	f.frozen = append(f.frozen, d)
	return nil
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

// thaw lets every mount go on, and then the programs. A mount that is thawed
// already is no failure.
func (f *fsFreeze) thaw(ctx context.Context) error {
	for _, d := range f.frozen {
		if d.Thaw() == nil {
			f.machine.actor.Emit("guest/fsthaw", "", sim.S("volume", d.volume.Name()))
		}
	}
	f.frozen = nil
	return f.goOn(ctx)
}

func (f *fsFreeze) undo(ctx context.Context) error {
	return errors.Join(f.thaw(context.WithoutCancel(ctx)), f.machine.dropAll(f.result))
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
