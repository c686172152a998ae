package guest

import (
	"context"
	"time"
)

// A Requestor is the backup service inside a machine, as the host sees it (R2).
// What it does happens in the machine: pausing the machine stops it, and when
// the run ends the call fails with [ErrEnded].
//
// An implementation for another operating system owes these: on error nothing
// is left behind, neither a shadow copy nor a writer or volume that is frozen; an
// error that wraps [ErrTimeout], [ErrAborted], [ErrBusy] or [ErrNothingToDo] for
// these causes.
type Requestor interface {
	// Snapshot runs a whole backup inside the guest and returns the shadow copies
	// that it leaves there (R26).
	Snapshot(ctx context.Context, o SnapshotOptions) (*Snapshot, error)
	// Release deletes the shadow copies of a Snapshot. No writer hears of it
	// (R35). Those that are gone already are no error.
	Release(ctx context.Context, s *Snapshot) error
	// Abort makes a Snapshot that is under way fail with [ErrAborted] and waits
	// until nothing of it is left. Without one it does nothing.
	Abort(ctx context.Context) error
}

// A HotBackuper is a [Requestor] that tells the host beforehand whether its
// operating system can be backed up while it runs. The host takes it of others that
// they can. One that wraps another has a method Unwrap that returns it.
type HotBackuper interface {
	HotBackup() bool
}

// DefaultTimeout is how long a guest may take for a Snapshot. The limit of the
// real host is not published; its Linux counterpart allows this long.
const DefaultTimeout = 15 * time.Minute

// SnapshotOptions is what the host asks for.
type SnapshotOptions struct {
	// Timeout is how long the guest may take, by its own clock, which stands still
	// while it is paused; 0 is [DefaultTimeout].
	Timeout time.Duration
	// Copy makes writers leave their logs and backup history alone. A full backup
	// lets them truncate logs.
	Copy bool
}

func (o SnapshotOptions) timeout() time.Duration {
	if o.Timeout <= 0 {
		return DefaultTimeout
	}
	return o.Timeout
}

// A Snapshot is the shadow copies that one session left inside the machine.
type Snapshot struct {
	Set    [16]byte
	Copies []Copy
	// Frozen names volumes that somebody had frozen before the backup service did, so
	// that the host cannot rely on what their copies hold.
	Frozen []string
}

// A Copy is the shadow copy of one volume: a range of a disk that the disk keeps
// under ID. The other ranges of what is kept belong to no one.
type Copy struct {
	Disk     int   // which of the machine's disks, from 0
	Off, Len int64 // the volume's range of it
	ID       [16]byte
	Volume   string // "C:"
}
