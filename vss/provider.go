package vss

import (
	"context"
	"io/fs"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Provider makes and keeps shadow copies. Only the service calls it. A set
// goes BeginPrepareSnapshot for each volume, then once each EndPrepareSnapshots,
// PreCommitSnapshots, CommitSnapshots, PostCommitSnapshots,
// PreFinalCommitSnapshots and PostFinalCommitSnapshots; AbortSnapshots may come
// at any time behind EndPrepareSnapshots was called. A set that is given up
// before that ends without a word: the provider learns of it when a
// BeginPrepareSnapshot names another set, and must then drop the old one.
//
// A provider may return S_OK (nil), E_OUTOFMEMORY, E_INVALIDARG, E_ACCESSDENIED
// and the codes [ErrBadState], [ErrObjectNotFound], [ErrInsufficientStorage],
// [ErrVolumeNotSupported], [ErrVolumeNotSupportedByProvider],
// [ErrMaximumNumberOfSnapshotsReached], [ErrProviderVeto],
// [ErrCannotRevertDiskID] and [ErrRebootRequired]. Any other error arrives as
// [ErrUnexpectedProviderError] ("Error Handling in Shadow Copy Providers"). One
// failure fails the whole set.
type Provider interface {
	SnapshotSetCreator
	SnapshotKeeper
}

// A SnapshotSetCreator takes the steps of a shadow copy set
// (IVssProviderCreateSnapshotSet and the beginning of it).
type SnapshotSetCreator interface {
	// IsVolumeSupported tells whether the provider can copy the volume in the
	// context.
	IsVolumeSupported(ctx context.Context, v Volume, c SnapshotContext) (bool, error)
	// BeginPrepareSnapshot adds a volume to a set. It starts long work and
	// returns soon.
	BeginPrepareSnapshot(ctx context.Context, p PrepareRequest) error
	// EndPrepareSnapshots waits until everything is ready; it may take long.
	EndPrepareSnapshots(ctx context.Context, set guid.GUID) error
	// PreCommitSnapshots comes when the applications are frozen.
	PreCommitSnapshots(ctx context.Context, set guid.GUID) error
	// CommitSnapshots takes the copies. Writes are held: the provider writes to
	// no volume of the set, and has [HoldTimeout] at most.
	CommitSnapshots(ctx context.Context, set guid.GUID) error
	// PostCommitSnapshots comes when writes go on and applications are still
	// frozen.
	PostCommitSnapshots(ctx context.Context, set guid.GUID) error
	// PreFinalCommitSnapshots opens the copies for the writers' recovery.
	PreFinalCommitSnapshots(ctx context.Context, set guid.GUID) error
	// PostFinalCommitSnapshots makes the copies read-only.
	PostFinalCommitSnapshots(ctx context.Context, set guid.GUID) error
	// AbortSnapshots takes back what there is of the set. Its error is not
	// reported to the requester.
	AbortSnapshots(ctx context.Context, set guid.GUID) error
}

// A SnapshotKeeper looks after finished shadow copies (IVssSoftwareSnapshotProvider).
type SnapshotKeeper interface {
	// DeleteSnapshot removes a copy.
	DeleteSnapshot(ctx context.Context, snapshot guid.GUID) error
	// OpenSnapshot gives access to the files of a copy.
	OpenSnapshot(snapshot guid.GUID) (fs.FS, error)
}

// A PrepareRequest names a volume that is to be copied
// (IVssSoftwareSnapshotProvider::BeginPrepareSnapshot).
type PrepareRequest struct {
	Set      guid.GUID
	Snapshot guid.GUID // of the copy to be made
	Volume   Volume
	Context  SnapshotContext
}

// A ProviderConfig describes a provider that is registered with
// [Service.RegisterProvider] (IVssAdmin::RegisterProvider).
type ProviderConfig struct {
	// Actor is the provider's process: its calls run on it. Nil stands for a
	// child of the service's actor.
	Actor   *sim.Actor
	ID      guid.GUID // tells providers apart; requesters name it
	Name    string
	Type    ProviderType // ProviderSoftware if it is left unknown
	Version string
}

// ProviderInfo is a registered provider's identity (VSS_PROVIDER_PROP).
type ProviderInfo struct {
	ID      guid.GUID
	Name    string
	Type    ProviderType
	Version string
}

// The identity of the system provider, as vssadmin lists it.
const (
	SystemProviderName    = "Microsoft Software Shadow Copy provider 1.0"
	SystemProviderVersion = "1.0.0.7"
)

// SystemProviderID names the system provider.
var SystemProviderID = guid.MustParse("b5946137-7b9f-4925-af80-51abd60b20d5")

type provider struct {
	service *Service
	Provider
	ProviderInfo
	actor *sim.Actor
}
