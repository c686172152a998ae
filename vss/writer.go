package vss

import (
	"context"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Writer is an application that takes part in backups: it describes its data,
// brings it to rest while the shadow copy is made, and goes on. These methods
// are the ones every writer must have ("CVssWriter Class"); what else it wants
// to hear it says by implementing [BackupPreparer], [PostSnapshotter],
// [BackupCompleter], [BackupShutdowner], [PreRestorer] and [PostRestorer]. An
// event without a method counts as handled.
//
// The handlers run as processes of the writer's actor, one event at a time in a
// session; a writer that has several requesters at once sees their sessions
// interleaved. A handler fails in one of two ways:
//
//   - it returns an error: the handler returned false. The writer stands in the
//     FAILED_AT state of the event; after Freeze and Thaw it gets Abort at once;
//   - it calls Fail on the event and returns nil: a failure was set and true
//     returned. The state is the same, but Abort is not raised.
//
// The recorded code is that of Fail, else the writer failure code in the chain of
// the returned error ([HRESULT.WriterFailure]), else
// [ErrWriterErrorNonRetryable]. A panic is the same as returning false. A failed
// writer gets no later event of the session except BackupShutdown; after Abort it
// gets none but that either.
//
// A context that ends tells the handler that its time is over: the freeze window
// has expired or the operation was given up. The handler may go on to clean up,
// but nobody waits for it any more, and Abort may run beside it.
type Writer interface {
	// Identify describes the writer in ev.Metadata. It may come at any time,
	// also in the middle of another session, and must not touch the state of a
	// session. A writer that returns an error is missing from the requester's
	// lists.
	Identify(ctx context.Context, ev *IdentifyEvent) error
	// PrepareSnapshot gets the data ready: long work belongs here.
	PrepareSnapshot(ctx context.Context, ev *PrepareSnapshotEvent) error
	// Freeze stops writing until Thaw or Abort; exactly one of them follows.
	Freeze(ctx context.Context, ev *FreezeEvent) error
	// Thaw resumes writing.
	Thaw(ctx context.Context, ev *ThawEvent) error
	// Abort undoes whatever the session did so far, like Thaw and PostSnapshot
	// together. It must bear being called twice; its result is recorded only.
	Abort(ctx context.Context, ev *AbortEvent) error
}

// A BackupPreparer is a writer that acts when the requester has chosen its
// components, before any shadow copy is made. It may edit its components
// (CVssWriter::OnPrepareBackup).
type BackupPreparer interface {
	// PrepareBackup checks the choice and may begin long work.
	PrepareBackup(ctx context.Context, ev *PrepareBackupEvent) error
}

// A PostSnapshotter is a writer that acts on the fresh shadow copy while it is
// still writable. It may edit its components for the last time
// (CVssWriter::OnPostSnapshot).
type PostSnapshotter interface {
	// PostSnapshot recovers the copy, names what changed, and cleans up.
	PostSnapshot(ctx context.Context, ev *PostSnapshotEvent) error
}

// A BackupCompleter is a writer that acts when the data is safely copied: it
// truncates logs if [WriterComponent.BackupSucceeded] says so. Its components
// are read-only (CVssWriter::OnBackupComplete).
type BackupCompleter interface {
	// BackupComplete enters the backup into the writer's history.
	BackupComplete(ctx context.Context, ev *BackupCompleteEvent) error
}

// A BackupShutdowner is a writer that wants to know when the requester is done
// or dead (CVssWriter::OnBackupShutdown).
type BackupShutdowner interface {
	// BackupShutdown cleans up for the last time; it comes without BackupComplete
	// when a backup was given up.
	BackupShutdown(ctx context.Context, ev *BackupShutdownEvent) error
}

// A PreRestorer is a writer that prepares for files being put back: it goes
// offline, and may say where they are to go (CVssWriter::OnPreRestore).
type PreRestorer interface {
	// PreRestore goes offline and says where files are to go.
	PreRestore(ctx context.Context, ev *PreRestoreEvent) error
}

// A PostRestorer is a writer that takes restored files into use
// (CVssWriter::OnPostRestore).
type PostRestorer interface {
	// PostRestore recovers and goes online, unless further restores follow.
	PostRestore(ctx context.Context, ev *PostRestoreEvent) error
}

// DefaultFreezeTimeout is how long a writer may take from Freeze to Thaw unless
// it says otherwise ("CVssWriter::Initialize").
const DefaultFreezeTimeout = 60 * time.Second

// A WriterConfig is what a writer tells about itself when it subscribes
// (CVssWriter::Initialize).
type WriterConfig struct {
	// Actor is the writer's process: handlers run on it, and killing it is the
	// death of the writer. Nil stands for the service's own actor, where the
	// in-box writers live.
	Actor *sim.Actor

	ClassID      guid.GUID // of the writer's kind, chosen by its developer
	Name         string    // not localised: "SqlServerWriter"
	InstanceName string    // tells instances of one class apart across restarts
	Usage        UsageType // UsageUserData if it is left undefined
	Source       SourceType
	Level        ApplicationLevel // LevelFrontEnd if it is left unknown

	// FreezeTimeout is the window from Freeze to Thaw; 0 is
	// [DefaultFreezeTimeout].
	FreezeTimeout time.Duration
}
