package vss

import (
	"context"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A Breaker is a provider whose shadow copies can become volumes of their own,
// as those of hardware can (IVssBackupComponents::BreakSnapshotSet).
type Breaker interface {
	Provider
	// BreakSnapshotSet gives the copies of the set up; they are the provider's
	// business no longer.
	BreakSnapshotSet(ctx context.Context, set guid.GUID, o HardwareOptions) error
}

// A Transporter is a provider that makes transportable shadow copies, which
// another machine with the same kind of provider imports
// ("Importing Transportable Shadow Copied Volumes").
type Transporter interface {
	Provider
	// DescribeSnapshot returns what another machine needs to find the copy.
	DescribeSnapshot(ctx context.Context, snapshot guid.GUID) ([]byte, error)
	// ImportSnapshot makes the described copy available here. A copy that cannot
	// be found is [ErrObjectNotFound].
	ImportSnapshot(ctx context.Context, r SnapshotRecord) error
}

// A Resyncer is a provider that can write a shadow copy back over a disk
// (IVssHardwareSnapshotProviderEx::ResyncLuns).
type Resyncer interface {
	Provider
	// ResyncSnapshot makes the volume what it was when the copy was taken.
	ResyncSnapshot(ctx context.Context, r ResyncRequest) error
}

// A ResyncRequest names a copy and the volume it is to be written over
// (IVssHardwareSnapshotProviderEx::ResyncLuns).
type ResyncRequest struct {
	Snapshot    guid.GUID
	Destination Volume
	Options     RecoveryOptions
}
