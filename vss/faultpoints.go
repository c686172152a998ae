package vss

import (
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// The fault points of writers: asked in the writer's process just before the
// handler, for the path of the writer's actor. An error is the handler returning
// false with that code; a death is that of the writer.
const (
	PointIdentify        sim.Point = "vss/identify"
	PointPrepareBackup   sim.Point = "vss/prepare-backup"
	PointPrepareSnapshot sim.Point = "vss/prepare-snapshot"
	PointFreeze          sim.Point = "vss/freeze"
	PointThaw            sim.Point = "vss/thaw"
	PointPostSnapshot    sim.Point = "vss/post-snapshot"
	PointAbort           sim.Point = "vss/abort"
	PointBackupComplete  sim.Point = "vss/backup-complete"
	PointBackupShutdown  sim.Point = "vss/backup-shutdown"
	PointPreRestore      sim.Point = "vss/pre-restore"
	PointPostRestore     sim.Point = "vss/post-restore"
)

// The fault points of providers: asked in the provider's process just before the
// call, for the path of the provider's actor. An error is what the call returned.
const (
	PointProviderSupported       sim.Point = "provider/is-volume-supported"
	PointProviderBeginPrepare    sim.Point = "provider/begin-prepare"
	PointProviderEndPrepare      sim.Point = "provider/end-prepare"
	PointProviderPreCommit       sim.Point = "provider/pre-commit"
	PointProviderCommit          sim.Point = "provider/commit"
	PointProviderPostCommit      sim.Point = "provider/post-commit"
	PointProviderPreFinalCommit  sim.Point = "provider/pre-final-commit"
	PointProviderPostFinalCommit sim.Point = "provider/post-final-commit"
	PointProviderAbort           sim.Point = "provider/abort"
	PointProviderDelete          sim.Point = "provider/delete"
	PointProviderBreak           sim.Point = "provider/break"
	PointProviderDescribe        sim.Point = "provider/describe"
	PointProviderImport          sim.Point = "provider/import"
	PointProviderResync          sim.Point = "provider/resync"
)

// The fault points of volumes: asked by the service for its own path, a slash and
// the volume's name without its backslash ("h1/vss/D:").
const (
	PointVolumeFlush   sim.Point = "volume/flush"
	PointVolumeHold    sim.Point = "volume/hold"
	PointVolumeRecover sim.Point = "volume/recover"
)

// FaultPoints lists the points that this package asks at, with outcomes worth
// trying: those after which a requester that checks what it gets comes to an end.
// A hang where no limit of time is set ([ServiceConfig.Windows]) is left out.
func FaultPoints() []sim.FaultPoint {
	return slices.Concat(writerPoints(), transactionPoints(), providerPoints(), volumePoints())
}

func injected(codes ...HRESULT) []sim.Outcome {
	var out []sim.Outcome
	for _, c := range codes {
		out = append(out, sim.Outcome{Err: uint32(c)})
	}
	return out
}

var (
	dies  = sim.Outcome{Kill: "."}
	hangs = sim.Outcome{Hang: true}
)

func late(d time.Duration) sim.Outcome { return sim.Outcome{Delay: d} }

func writerPoints() []sim.FaultPoint {
	fails := injected(ErrWriterErrorRetryable, ErrWriterErrorNonRetryable)
	with := func(more ...sim.Outcome) []sim.Outcome { return slices.Concat(fails, more) }
	minute := late(time.Minute + time.Second)
	return []sim.FaultPoint{
		{Point: PointIdentify, Doc: "the writer does not describe itself and is missing", Outcomes: with(dies, minute)},
		{Point: PointPrepareBackup, Doc: "the writer refuses the backup", Outcomes: with(dies, minute)},
		{Point: PointPrepareSnapshot, Doc: "the writer refuses the shadow copy; no Abort is raised", Outcomes: with(dies, minute)},
		{Point: PointFreeze, Doc: "the writer does not freeze, or too slowly; Abort is raised", Outcomes: with(dies, minute, hangs)},
		{Point: PointThaw, Doc: "the writer does not thaw; Abort is raised", Outcomes: with(dies, minute)},
		{Point: PointPostSnapshot, Doc: "the writer does not recover the copy; no Abort is raised", Outcomes: with(dies, minute)},
		{Point: PointAbort, Doc: "the writer does not undo what it did", Outcomes: with(dies, minute)},
		{Point: PointBackupComplete, Doc: "the writer does not take note of the finished backup", Outcomes: with(dies, minute)},
		{Point: PointBackupShutdown, Doc: "the writer fails while the requester goes; only later queries show it", Outcomes: with(dies, minute)},
		{Point: PointPreRestore, Doc: "the writer does not prepare for the restore", Outcomes: with(dies, minute)},
		{Point: PointPostRestore, Doc: "the writer does not take the restored files into use", Outcomes: with(dies, minute)},
	}
}

func transactionPoints() []sim.FaultPoint {
	return []sim.FaultPoint{
		{Point: PointTransactionFreeze, Doc: "transactions are not frozen in time", Outcomes: injected(ErrTransactionFreezeTimeout)},
		{Point: PointTransactionThaw, Doc: "transactions are not thawed in time", Outcomes: injected(ErrTransactionThawTimeout)},
	}
}

func providerPoints() []sim.FaultPoint {
	fails := injected(ErrProviderVeto, ErrInsufficientStorage, ErrFail)
	with := func(more ...sim.Outcome) []sim.Outcome { return slices.Concat(fails, more) }
	return []sim.FaultPoint{
		{Point: PointProviderSupported, Doc: "the provider cannot say whether it takes the volume", Outcomes: with()},
		{Point: PointProviderBeginPrepare, Doc: "the volume does not get into the set", Outcomes: with()},
		{Point: PointProviderEndPrepare, Doc: "the set fails before the writers hear of it", Outcomes: with(late(time.Minute))},
		{Point: PointProviderPreCommit, Doc: "the set fails while writers are frozen", Outcomes: with(late(time.Minute + time.Second))},
		{Point: PointProviderCommit, Doc: "the set fails while writes are held", Outcomes: with(late(HoldTimeout+time.Second), hangs)},
		{Point: PointProviderPostCommit, Doc: "the set fails before the writers thaw", Outcomes: with(late(time.Minute + time.Second))},
		{Point: PointProviderPreFinalCommit, Doc: "the set fails before the writers see the copies", Outcomes: with()},
		{Point: PointProviderPostFinalCommit, Doc: "the set fails when the writers have seen the copies", Outcomes: with()},
		{Point: PointProviderAbort, Doc: "the provider does not take the set back", Outcomes: with()},
		{Point: PointProviderDelete, Doc: "the provider does not delete a copy", Outcomes: with()},
		{Point: PointProviderBreak, Doc: "the provider does not break a set off", Outcomes: with()},
		{Point: PointProviderDescribe, Doc: "the provider cannot describe a transportable copy", Outcomes: with()},
		{Point: PointProviderImport, Doc: "the provider does not import a copy", Outcomes: with()},
		{Point: PointProviderResync, Doc: "the provider does not write a copy back", Outcomes: with()},
	}
}

func volumePoints() []sim.FaultPoint {
	slow := late(HoldTimeout + time.Second)
	return []sim.FaultPoint{
		{Point: PointVolumeFlush, Doc: "a file system is not flushed in time", Outcomes: append(injected(ErrFlushWritesTimeout), slow, hangs)},
		{Point: PointVolumeHold, Doc: "writes cannot be held, or are held for too long", Outcomes: append(injected(ErrHoldWritesTimeout), slow, hangs)},
		{Point: PointVolumeRecover, Doc: "a fresh copy does not recover", Outcomes: injected(ErrAutoRecoveryFailed)},
	}
}
