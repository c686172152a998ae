package guest

import (
	"context"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// PointFreeze is where a Linux or a FreeBSD may fail to freeze a file system, asked for the
// volume: on=h1/web01/guest/disk0.1
const PointFreeze sim.Point = "guest/fsfreeze"

// PointThaw is where the daemon of a Linux or a FreeBSD may fail to thaw in time, asked
// for the run of the machine: on=h1/web01/guest
const PointThaw sim.Point = "guest/fsthaw"

// PointHotBackup is where the daemon of a Linux may not answer whether the guest can be
// backed up while it runs, asked for the run of the machine: on=h1/web01/guest
const PointHotBackup sim.Point = "guest/hot-backup"

// Freeze keeps writes to the drive waiting until [Drive.Thaw], however long that
// is: FIFREEZE, as an administrator's "fsfreeze --freeze" sends it. A drive that
// is frozen already is [ErrFrozen], the kernel's EBUSY. A file system that the
// kernel cannot freeze is [ErrNotFreezable], its EOPNOTSUPP.
//
// The daemon of a Linux freezes with it too, and takes [ErrFrozen] for done. It
// does not note who froze a file system first: its thaw ends the
// administrator's freeze along with its own (hv_vss_daemon). [Snapshot.Frozen] tells
// the host, which warns that such a backup may not be consistent; it does not fail.
func (d *Drive) Freeze(ctx context.Context) error {
	return d.actor.Call(ctx, "Freeze", d.fifreeze)
}

// fifreeze is Freeze for a process inside the machine.
func (d *Drive) fifreeze(ctx context.Context) error {
	if err := sim.AtOn(ctx, PointFreeze, d.path); err != nil {
		return err
	}
	switch {
	case !d.volume.FileSystem.freezable(d.os):
		return &Error{Op: "Freeze", On: d.path, Err: ErrNotFreezable}
	case d.Held():
		return &Error{Op: "Freeze", On: d.path, Err: ErrFrozen}
	}
	d.freeze()
	return nil
}

// Thaw ends a freeze, whoever began it: FITHAW. A drive that is not frozen is
// [ErrNotFrozen], the kernel's EINVAL.
func (d *Drive) Thaw() error {
	if !d.Held() {
		return &Error{Op: "Thaw", On: d.path, Err: ErrNotFrozen}
	}
	d.Release()
	return nil
}

// freezable tells whether a Linux mounts such a file system writable and can
// freeze it. The daemon passes over FAT and what is read-only; swap and what is
// not formatted is not mounted. A FreeBSD suspends UFS alone.
func (f FileSystem) freezable(os OS) bool {
	if os.IsFreeBSD() {
		return f.Kind == UFS
	}
	switch f.Kind {
	case Ext2, Ext3, Ext4, XFS, Btrfs:
		return true
	}
	return false
}
