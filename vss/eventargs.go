package vss

import (
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// An IdentifyEvent asks a writer to describe itself. There is no way to set a
// failure in it: a writer that cannot answer returns an error (CVssWriter::OnIdentify).
type IdentifyEvent struct {
	// Metadata is to be filled in; identity, usage and instance are there
	// already. It is read-only once the handler has returned.
	Metadata *WriterMetadata

	service *Service
}

// Service is the service that asks.
func (e *IdentifyEvent) Service() *Service { return e.service }

// A SessionEvent is what all events of a session have in common
// (CVssWriterEx2::GetSessionId).
type SessionEvent struct {
	call *delivery
}

// Service is the service that sends the event.
func (e *SessionEvent) Service() *Service { return e.call.session.sub.service }

// SessionID tells the writer's sessions apart. Each requester object has its
// own, whether it makes a backup or a restore.
func (e *SessionEvent) SessionID() guid.GUID { return e.call.session.bc.sessionID }

// Fail sets the writer's failure: the handler will be taken as failed although
// it returns true. Only the codes of [HRESULT.WriterFailure] are allowed, others
// give [ErrInvalidArg] and set nothing ("CVssWriter::SetWriterFailure").
func (e *SessionEvent) Fail(code HRESULT, message string) error {
	if !code.WriterFailure() {
		return fail("SetWriterFailure", e.call.session.sub.name, ErrInvalidArg, "%v is not a writer's failure", code)
	}
	return e.FailWith(WriterFailure{Code: code, Message: message})
}

// FailWith is Fail with all that [WriterFailure] can say. Beside the codes of
// Fail it takes [SOK] and [ErrWriterErrorPartialFailure], which says that single
// components failed ("CVssWriterEx2::SetWriterFailureEx").
func (e *SessionEvent) FailWith(f WriterFailure) error {
	if !f.Code.WriterFailure() && f.Code != SOK && f.Code != ErrWriterErrorPartialFailure {
		return fail("SetWriterFailureEx", e.call.session.sub.name, ErrInvalidArg, "%v is not a writer's failure", f.Code)
	}
	e.call.failure = f
	return nil
}

// A WriterFailure is what a writer says about a failure of its own
// (CVssWriterEx2::SetWriterFailureEx).
type WriterFailure struct {
	Code            HRESULT
	ApplicationCode HRESULT // the application's own number, or S_OK
	Message         string
}

// A SnapshotEvent is an event that belongs to a shadow copy set
// (CVssWriter::GetCurrentVolumeArray).
type SnapshotEvent struct{ SessionEvent }

// SnapshotSetID is the set that is being made; zero in an Abort that comes before
// there is one.
func (e *SnapshotEvent) SnapshotSetID() guid.GUID { return e.call.session.bc.setID }

// Context is the context of the set, with the attributes it has by now: in
// PostSnapshot [AttrAutoRecover] if a component asked for recovery.
func (e *SnapshotEvent) Context() SnapshotContext { return e.call.session.bc.effectiveContext() }

// Volumes lists the root paths of the set's volumes, in the order they were
// added.
func (e *SnapshotEvent) Volumes() []string {
	var names []string
	for _, m := range e.call.session.bc.members {
		names = append(names, m.volume.Name())
	}
	return names
}

// IsPathAffected tells whether a path lies on a volume of the set. Environment
// variables are expanded with [ServiceConfig.Environment]; there are no
// wildcards.
func (e *SnapshotEvent) IsPathAffected(path string) bool {
	v := e.Service().volumeOf(path)
	return v != nil && e.call.session.bc.member(v.ID()) != nil
}

// A ComponentEvent is an event in which a writer sees the components that the
// requester chose (CVssWriter::OnPrepareBackup).
type ComponentEvent struct{ SessionEvent }

// Components is the writer's part of the Backup Components Document. It is never
// nil, and empty where the requester works without components. It can be edited
// in PrepareBackup, PostSnapshot and PreRestore; it is no good when the handler
// has returned.
func (e *ComponentEvent) Components() *WriterComponents { return e.call.components() }

// BackupType is the type of backup that the requester makes.
func (e *ComponentEvent) BackupType() BackupType { return e.call.session.bc.doc.BackupType }

// ComponentsSelected tells whether the requester works in component mode.
func (e *ComponentEvent) ComponentsSelected() bool { return e.call.session.bc.doc.SelectComponents }

// BootableSystemState tells whether a bootable system state is backed up.
func (e *ComponentEvent) BootableSystemState() bool {
	return e.call.session.bc.doc.BootableSystemState
}

// PartialFiles tells whether the requester can back up parts of files.
func (e *ComponentEvent) PartialFiles() bool { return e.call.session.bc.doc.PartialFileSupport }

// RestoreType is the type of restore that the requester makes.
func (e *ComponentEvent) RestoreType() RestoreType { return e.call.session.bc.doc.RestoreType }

// The events.
type (
	// A PrepareBackupEvent comes when the requester has chosen components
	// (CVssWriter::OnPrepareBackup).
	PrepareBackupEvent struct{ ComponentEvent }
	// A PrepareSnapshotEvent comes before the freeze (CVssWriter::OnPrepareSnapshot).
	// It brings no components: what a writer has to say about a failure in it stands in
	// the writer's status.
	PrepareSnapshotEvent struct{ SnapshotEvent }
	// A FreezeEvent stops the writer (CVssWriter::OnFreeze).
	FreezeEvent struct{ SnapshotEvent }
	// A ThawEvent lets the writer go on (CVssWriter::OnThaw).
	ThawEvent struct{ SnapshotEvent }
	// An AbortEvent ends the writer's part in a set that is given up (CVssWriter::OnAbort).
	AbortEvent struct{ SnapshotEvent }
	// A PostSnapshotEvent comes when the shadow copies are there (CVssWriter::OnPostSnapshot).
	PostSnapshotEvent struct {
		SnapshotEvent
		ComponentEvent
	}
	// A BackupCompleteEvent comes when the data is copied (CVssWriter::OnBackupComplete).
	BackupCompleteEvent struct{ ComponentEvent }
	// A BackupShutdownEvent comes when the requester is done or gone
	// (CVssWriter::OnBackupShutdown).
	BackupShutdownEvent struct{ SessionEvent }
	// A PreRestoreEvent comes before files are put back (CVssWriter::OnPreRestore).
	PreRestoreEvent struct{ ComponentEvent }
	// A PostRestoreEvent comes when files were put back (CVssWriter::OnPostRestore).
	PostRestoreEvent struct{ ComponentEvent }
)

// SnapshotDeviceName is the device of the fresh shadow copy of a volume of the
// set; pass it to [Service.Open]. A volume that is not in the set is
// [ErrObjectNotFound].
func (e *PostSnapshotEvent) SnapshotDeviceName(volume string) (string, error) {
	const op = "GetSnapshotDeviceName"
	bc := e.SnapshotEvent.call.session.bc
	if e.SnapshotEvent.call.over {
		return "", fail(op, volume, ErrBadState, "only inside PostSnapshot")
	}
	for _, m := range bc.members {
		if strings.EqualFold(m.volume.Name(), volume) || strings.EqualFold(volumeGUIDPath(m.volume), volume) {
			return m.device, nil
		}
	}
	return "", fail(op, volume, ErrObjectNotFound, "not in the set")
}

// Fail sets the writer's failure; see [SessionEvent.Fail].
func (e *PostSnapshotEvent) Fail(code HRESULT, message string) error {
	return e.SnapshotEvent.Fail(code, message)
}

// FailWith sets the writer's failure; see [SessionEvent.FailWith].
func (e *PostSnapshotEvent) FailWith(f WriterFailure) error { return e.SnapshotEvent.FailWith(f) }

// Service is the service that sends the event.
func (e *PostSnapshotEvent) Service() *Service { return e.SnapshotEvent.Service() }

// SessionID tells the writer's sessions apart; see [SessionEvent.SessionID].
func (e *PostSnapshotEvent) SessionID() guid.GUID { return e.SnapshotEvent.SessionID() }

// SnapshotSetID is the set of the session, or the null GUID if no shadow copy was
// made.
func (e *BackupShutdownEvent) SnapshotSetID() guid.GUID { return e.call.session.bc.setOf() }
