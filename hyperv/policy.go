package hyperv

import (
	"time"

	"github.com/shadowsim/shadowsim/vss"
)

// A Policy settles what the document leaves open. The zero value is what a
// conformance test expects.
type Policy struct {
	// Parallel is how many machines PrepareSnapshot works at, at the same time. 0
	// and 1 work at one after another.
	Parallel int
	// InCreationOrder takes the machines of a backup in the order in which they were
	// created; by default they come in the order of their GUIDs. What real hosts do is
	// not published.
	InCreationOrder bool
	// GuestsFirst has the guests take their snapshots before other machines are
	// saved, which shortens the outage of those.
	GuestsFirst bool
	// RollBackFirst has PostSnapshot roll back the VHD files before it brings
	// machines back.
	RollBackFirst bool

	// MetadataLimit is how many bytes of XML the writer's metadata may have. With more,
	// which very many machines and files make, the writer is not in the backup at all:
	// entry 8193 of the event log with 0x80070018. Zero sets no bound; that of the real
	// service is not published.
	MetadataLimit int64
	// InitialStore lists the authorization store, InitialStore.xml, as a component of
	// its own, as hosts up to Windows Server 2012 do; its exact metadata are not
	// published, so by default the writer has machines alone.
	InitialStore bool
	// BrokenLosesWriter takes the whole writer out of the metadata if one machine's
	// configuration is no good, as Windows Server 2008 did before the update of article
	// 956697; by default that machine alone is left out.
	BrokenLosesWriter bool

	// Usage, Source, RestoreMethod and WriterRestore are what the writer says of itself.
	// Those of the real one are not published; zero values are [vss.UsageUserData],
	// [vss.SourceOther], [vss.MethodRestoreIfCanReplace] and [vss.WriterRestoreAlways].
	Usage         vss.UsageType
	Source        vss.SourceType
	RestoreMethod vss.RestoreMethod
	WriterRestore vss.WriterRestore

	// Redecide says what counts if a machine would be backed up otherwise when the
	// shadow copy is made than its caption told.
	Redecide Redecide
	// TransitionLimit is how long PrepareSnapshot waits for a machine that is on its
	// way to another state. Zero refuses the machine at once.
	TransitionLimit time.Duration
	// SaveCritical backs up a machine whose storage failed in the saved state, if its
	// storage works again by then, and leaves it paused; by default it is refused.
	SaveCritical bool

	// JudgeAllDisks holds pass-through and iSCSI disks of a guest to the conditions for
	// a snapshot inside it as well (R17 to R19 speak of all its disks and volumes); by
	// default only disks count that the backup has.
	JudgeAllDisks bool
	// NTFSOnly takes NTFS for the only file system of guests that can be
	// snapshotted, as books about the time of Windows Server 2008 do; by default ReFS
	// is one too where the guest's operating system mounts it.
	NTFSOnly bool

	// LateAutoRecovery notices only in PostSnapshot that the shadow copy of a machine
	// cannot be rolled back, for its context forbids auto-recovery; by default that
	// is refused in PrepareSnapshot.
	LateAutoRecovery bool

	// AllOrNothing registers no machine in PostRestore if the files of one are not
	// all there; by default the others are registered before the writer fails.
	AllOrNothing bool

	// IgnoreSecurity starts a machine whatever the security descriptors of its files
	// say: for requesters that copy files and know nothing of descriptors, on hosts
	// where somebody sets them right afterwards. By default the machine's account
	// needs access, see [AccessError].
	IgnoreSecurity bool

	// OperationLimit is how long the writer waits until a machine is saved, brought
	// back, turned off or deleted; [DefaultOperationLimit] if zero.
	OperationLimit time.Duration
	// AnswerLimit is how long the writer waits for a guest, which should have given
	// up by itself before; [DefaultAnswerLimit] if zero.
	AnswerLimit time.Duration
}

// DefaultOperationLimit is far more than any operation takes. No figure is
// published.
const DefaultOperationLimit = time.Hour

func (p Policy) operationLimit() time.Duration {
	if p.OperationLimit > 0 {
		return p.OperationLimit
	}
	return DefaultOperationLimit
}

func (p Policy) answerLimit() time.Duration {
	if p.AnswerLimit > 0 {
		return p.AnswerLimit
	}
	return DefaultAnswerLimit
}

// A Redecide is what PrepareSnapshot makes of the method that a machine's caption
// told when metadata were gathered.
type Redecide uint8

const (
	RedecideAlways Redecide = iota // the machine's state now decides
	RedecideNever                  // what the caption told is done, or fails
	RedecideRefuse                 // the backup fails if both differ
)
